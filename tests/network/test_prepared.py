"""What is made ready once, and for how long it is kept."""

from perfmon.clock import ManualClock
from perfmon.model import Target
from perfmon.network.address import BadAddress
from perfmon.network.prepared import Prepared
from perfmon.probes.tcp import Config

SHOP = Target(probe="shop", address="127.0.0.1:80")


def counting(made):
    def prepare(target, config):
        made.append(target.address)
        return f"{target.address} as {target.hostname}"

    return prepare


def test_a_target_is_made_ready_once():
    made, config = [], Config()
    prepared, prepare = Prepared(ManualClock()), counting(made)

    assert "127.0.0.1:80 as " == prepared.get(SHOP, config, prepare)
    assert "127.0.0.1:80 as " == prepared.get(Target(probe="other", address="127.0.0.1:80"), config, prepare)
    assert ["127.0.0.1:80"] == made


def test_another_hostname_or_a_new_config_is_another_thing():
    made, config = [], Config()
    prepared, prepare = Prepared(ManualClock()), counting(made)

    prepared.get(SHOP, config, prepare)
    assert "127.0.0.1:80 as x" == prepared.get(
        Target(probe="shop", address="127.0.0.1:80", hostname="x"), config, prepare
    )
    prepared.get(SHOP, Config(), prepare)  # equal, but of another reading of the file
    assert 3 == len(made)


def test_what_is_used_stays_and_what_is_not_used_goes():
    made, config, clock = [], Config(), ManualClock()
    prepared, prepare = Prepared(clock), counting(made)
    idle = Target(probe="idle", address="127.0.0.1:81")

    prepared.get(idle, config, prepare)
    for _ in range(30):
        prepared.get(SHOP, config, prepare)
        clock.advance(60)
    prepared.get(idle, config, prepare)

    assert ["127.0.0.1:81", "127.0.0.1:80", "127.0.0.1:81"] == made


def test_ever_new_targets_do_not_fill_the_memory():
    config = Config()
    prepared, prepare = Prepared(ManualClock()), counting([])

    for number in range(30_000):
        prepared.get(Target(probe="x", address=f"127.0.0.1:{number}"), config, prepare)

    assert len(prepared._younger) + len(prepared._older) <= 20_000


def test_a_bad_address_is_a_failure_that_is_made_once():
    made, config, prepared = [], Config(), Prepared(ManualClock())

    def prepare(target, config):
        made.append(target.address)
        raise BadAddress("leads nowhere")

    failures = [prepared.get(SHOP, config, prepare) for _ in range(2)]

    assert [("unreachable", "", "leads nowhere")] * 2 == [(it.reason, it.phase, it.message) for it in failures]
    assert ["127.0.0.1:80"] == made


def test_targets_of_no_check_share_a_few_places_and_the_longest_unused_goes_first():
    """A client of `/probe` may name ever new ones."""
    made, config = [], Config()
    prepared, prepare = Prepared(ManualClock()), counting(made)
    often = Target(probe="", address="127.0.0.1:1")

    for number in range(2, 5_000):
        prepared.get(often, config, prepare)
        prepared.get(Target(probe="", address=f"127.0.0.1:{number}"), config, prepare)
    prepared.get(SHOP, config, prepare)

    assert 257 == len(prepared)
    assert 1 == made.count("127.0.0.1:1")
