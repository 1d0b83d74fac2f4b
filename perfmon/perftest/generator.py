"""Whether the figures of a test are the target's, by what the generator knows of itself. Pure."""

from perfmon.offer import Open
from perfmon.run import Generator, Snapshot, percentile
from perfmon.scenario import Scenario
from perfmon.units import format_duration, format_ratio

__all__ = ["judge"]

_LAG_S = 0.01
_LAG_SHARE = 0.1  # of the response time's p99: beside a second, 50 ms are no lie
_STALLED = 0.02  # of the time
_BUSY = 0.95  # of a core
_BACKLOG, _FEW = 0.05, 10  # of all arrivals; and so few are no sign of anything


def judge(scenario: Scenario, total: Snapshot, *, backlog: int, unfinished: int, took_s: float) -> Generator:
    """INVALID when the generator itself was late or had no time left, SATURATED when the target did not keep up.

    `backlog` is what was under way or waited when the last arrival was due.
    """
    lag = percentile(total.lag, 0, 0.99)
    seconds = max(took_s, 1e-9)
    cpu, stalled = total.cpu_s / seconds, total.stall_s / seconds
    why = _invalid(scenario, total, lag, cpu, stalled)
    verdict: str = "INVALID" if why else "VALID"
    if not why and isinstance(scenario.offer, Open):
        why = _saturated(scenario, total, backlog=backlog, unfinished=unfinished)
        verdict = "SATURATED" if why else "VALID"
    return Generator(
        verdict=verdict,  # type: ignore[arg-type]  # one of the three, see above
        why=why,
        lag_p99_s=lag,
        lag_max_s=total.lag.max if total.lag.count else None,
        cpu_share=cpu,
        stall_share=stalled,
    )


def _invalid(scenario: Scenario, total: Snapshot, lag: float | None, cpu: float, stalled: float) -> str:
    if not total.started:
        return "" if total.dropped else "nothing was started"
    response = percentile(total.response, 0, 0.99) or 0.0
    limit = max(_LAG_S, _LAG_SHARE * response)
    if lag is not None and lag > limit:
        seen, most = format_duration(lag, brief=True), format_duration(limit, brief=True)
        return f"the generator began late: p99 of its lag is {seen}, expected at most {most}"
    if stalled > _STALLED:
        seen = format_ratio(stalled, brief=True)
        return f"the generator's own loop stood still for {seen} of the time, expected at most {format_ratio(_STALLED)}"
    if not isinstance(scenario.offer, Open) and cpu > _BUSY:
        seen = format_ratio(cpu, brief=True)
        return f"the generator's own core was busy {seen}: these users could have come more often"
    return ""


def _saturated(scenario: Scenario, total: Snapshot, *, backlog: int, unfinished: int) -> str:
    late = backlog > max(_FEW, _BACKLOG * total.due)
    if not (late or total.dropped or unfinished):
        return ""
    duration_s = scenario.offer.duration_s
    served = max(0, total.due - total.dropped - backlog)
    return (
        f"the target did not keep up: {served / duration_s:.4g}/s of the {total.due / duration_s:.4g}/s that were due"
        f" ({total.dropped} dropped, {backlog} behind at the end, {unfinished} never answered)"
    )
