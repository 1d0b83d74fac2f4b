"""What is kept of a check's newest runs, in bounded memory."""

import pytest

from perfmon.model import Failure, Measurement, Target
from perfmon.monitor.recent import RUNS, SPELLS, Recent, shifted

TARGET = Target(probe="shop", address="http://shop/")


def run(at, reason="", *, phase="processing", message="m", evidence=None):
    failure = Failure(reason=reason, phase=phase, message=message, evidence=evidence or {}) if reason else None
    return Measurement(
        target=TARGET, module="m", at=at, duration_s=0.5, phases={"connect": 0.25, "processing": 0.25}, facts={},
        failure=failure, address="10.0.0.1",
    )  # fmt: skip


def after(*runs):
    recent = Recent()
    for one in runs:
        recent.add(one)
    return recent


def test_failures_alike_are_one_spell_with_the_newest_in_full():
    recent = after(run(1, "status", message="old"), run(2, "status", message="new", evidence={"status": "503"}))

    (spell,) = recent.spells()
    assert (1, 2, 2) == (spell.first_at, spell.last_at, spell.runs)
    assert ("status", "processing", "new", {"status": "503"}) == (
        spell.reason,
        spell.phase,
        spell.message,
        spell.evidence,
    )
    assert ({"connect": 0.25, "processing": 0.25}, 0.5, "10.0.0.1") == (spell.phases, spell.duration_s, spell.address)


@pytest.mark.parametrize(
    ("runs", "spells"),
    [
        ([], []),
        ([run(1)], []),
        ([run(1, "status"), run(2), run(3, "status")], [(3, 1), (1, 1)]),
        ([run(1, "status"), run(2, "body"), run(3, "body")], [(2, 2), (1, 1)]),
        ([run(1, "timeout", phase="connect"), run(2, "timeout", phase="tls")], [(2, 1), (1, 1)]),
    ],
)
def test_a_success_another_reason_or_another_phase_ends_a_spell(runs, spells):
    assert spells == [(spell.first_at, spell.runs) for spell in after(*runs).spells()]


def test_how_long_it_has_been_failing_whatever_the_reasons():
    recent = after(run(1), run(2, "status"), run(3, "body"), run(4, "reset"))
    assert (3, 2) == (recent.failed_in_a_row, recent.failing_since)

    recent.add(run(5))
    assert (0, None) == (recent.failed_in_a_row, recent.failing_since)


def test_the_newest_runs_are_kept_with_the_phases_that_they_had():
    recent = after(*(run(at, "status" if at % 2 else "") for at in range(RUNS + 5)))

    assert list(range(5, RUNS + 5)) == [one.at for one in recent.runs()]
    assert (0.5, False, {"connect": 0.25, "processing": 0.25}) == (
        recent.runs()[0].duration_s,
        recent.runs()[0].success,
        recent.runs()[0].phases,
    )


def test_a_target_that_says_much_fills_no_memory():
    evidence = {f"name{number}" * 100: "x" * 10_000 for number in range(100)}
    recent = after(
        *(run(at, "status" if at % 2 else "body", message="x" * 10_000, evidence=evidence) for at in range(99))
    )

    assert SPELLS == len(recent.spells())
    assert 500 == max(len(spell.message) for spell in recent.spells())
    assert 12 == max(len(spell.evidence) for spell in recent.spells())
    assert 300 == max(len(text) for spell in recent.spells() for pair in spell.evidence.items() for text in pair)


def test_spells_of_a_former_life_come_before_new_ones():
    former = after(run(1, "status"), run(2), run(3, "body")).spells()
    recent = Recent()
    recent.restore(shifted(spell, lambda at: at - 10) for spell in former)
    recent.add(run(4, "body"))

    assert [(4, 1), (-7, 1), (-9, 1)] == [(spell.first_at, spell.runs) for spell in recent.spells()]
