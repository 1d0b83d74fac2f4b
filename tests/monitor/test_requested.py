"""What is kept of runs on request: the latest, and failures that are older, in bounded memory."""

from perfmon.model import Failure, Measurement, Module, Target
from perfmon.monitor.requested import Requested

MODULE = Module(name="tcp", kind="tcp", timeout_s=1.0, config=None)
OTHER = Module(name="icmp", kind="icmp", timeout_s=1.0, config=None)
REFUSED = Failure(reason="connect_refused", phase="connect", message="refused")


def add(requested, target, *, failure=None, module=MODULE, lines=()):
    measurement = Measurement(
        target=Target(probe="", address=target),
        module=module.name,
        at=0.0,
        duration_s=0.1,
        phases={},
        facts={},
        failure=failure,
        lines=lines,
    )
    requested.add(measurement, module, at=1.0, timeout_s=0.5)


def targets(requested):
    return [run.measurement.target.address for run in requested]


def test_the_newest_run_of_a_target_is_found_though_older_failures_are_kept():
    requested = Requested(limit=2)
    add(requested, "a", failure=REFUSED)
    add(requested, "b")
    add(requested, "b")
    add(requested, "a")

    assert (3, True) == (requested.newest("a").id, requested.newest("a").measurement.success)
    assert (0, False) == (requested.by_id(0).id, requested.by_id(0).measurement.success)


def test_of_two_kept_failures_the_newer_is_the_newest():
    requested = Requested(limit=2)
    for _ in range(3):
        add(requested, "a", failure=REFUSED)
        add(requested, "b")

    assert 4 == requested.newest("a").id


def test_a_module_chooses_among_the_runs_of_a_target():
    requested = Requested()
    add(requested, "a", module=OTHER)
    add(requested, "a")

    assert (0, 1, None) == (requested.newest("a", "icmp").id, requested.newest("a").id, requested.newest("a", "dns"))


def test_successes_go_first_and_failures_stay_as_long_again():
    requested = Requested(limit=3)
    for number in range(10):
        add(requested, f"{number}", failure=REFUSED if number % 2 else None)

    assert ["9", "8", "7", "5", "3", "1"] == targets(requested)
    assert requested.by_id(0) is None


def test_no_more_is_kept_than_twice_the_limit():
    requested = Requested()
    for number in range(5_000):
        add(requested, f"{number}", failure=REFUSED)

    assert [str(number) for number in range(4_999, 4_799, -1)] == targets(requested)


def test_of_a_talkative_run_the_beginning_is_kept():
    requested = Requested()
    add(requested, "a", lines=[f"line {number}" for number in range(2_000)])

    kept = requested.newest("a").measurement.lines
    assert ("line 0", 61) == (kept[0], len(kept))
    assert "... and 1940 more lines; ask with debug=true to see all" == kept[-1]
