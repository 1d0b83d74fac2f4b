"""Demand that a series does not leak: a verdict that knows warm-up, caches, steps and days (`perfmon.leak`).

    leak: {window: 30m, growth: 10MiB/min, horizon: 14d, limit: 1GiB}
    leak: {requests: {metric: perfmon_prometheus_counted_total, select: {series: http_requests_total}}}
    leak: {requests: {metric: perfmon_probe_runs_total, select: {probe: checkout}}}
    leak: {python: shop-inside}

Every setting may be left out. `growth` alone is the simple rule: broken when the series grows faster than that, for
whatever reason. It is judged thirty times a window, and `agree` of these verdicts in a row make an alert. With
`requests` it says of growth whether it goes with the requests that those counters count, or with time; with `python`,
whether what the process has in use grows along. That changes no verdict.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from perfmon import leak, units
from perfmon import promql as prometheus
from perfmon.leak import CAUSES, HEAPS, VERDICTS, Growth, Heap, Judgement, PerRequest
from perfmon.leak.words import pace, with_interval
from perfmon.metrics import Family
from perfmon.model import Verdict, Window, fact_key
from perfmon.promql import Expression, Source
from perfmon.selection import RUNS
from perfmon.units import Duration, Quantity, Unit, format_duration, format_quantity, quoted

__all__ = [
    "FAMILIES", "Beside", "Config", "Requests", "Settings", "Written",
    "beside", "counters", "evaluate", "every_s", "for_s", "parse", "problem", "promql", "span_s",
]  # fmt: skip

WindowLength = Annotated[Duration, msgspec.Meta(ge=10, le=366 * 86_400.0)]
Time = Annotated[Duration, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1, le=30)]


class Requests(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Counters of samplers, or the runs of probes, that tell how many requests came; those that match are added up."""

    metric: str  # the counters' metric; `perfmon_probe_runs_total` = perfmon's own runs of the probes that match
    select: dict[str, str] = {}  # globs that their labels must match, as in a rule's `select`


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The form in a file."""

    window: WindowLength | None = None  # how far to look back; default 30m, or 10m where `growth` stands alone
    growth: str | None = None  # the slowest growth that matters: `10MiB/min`, `2/h`; alone it is the simple rule
    limit: float | str = "auto"  # where growth ends: `1GiB`, `1024`; `auto` is what the sampler knows, if it does
    horizon: Time | None = None  # growth that takes longer to the limit is no leak; default 14d
    season: Time | None = None  # length of a cycle that the series follows: `24h`; the window must hold two
    agree: Count = 3  # how many verdicts in a row make an alert
    requests: Requests | None = None  # what counts requests: growth is told for each of them
    python: str | None = None  # a `python` sampler of the same process: does what it has in use grow along?


Written = Settings


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The settings in base units."""

    window_s: float
    growth: Quantity | None
    limit: Quantity | None  # None = what the sampler knows
    horizon_s: float
    season_s: float | None
    agree: int
    simple: bool  # growth alone is judged, not its shape
    requests: Requests | None
    python: str | None


class Beside(NamedTuple):
    """A series that the window brings along, and the setting that asks for it."""

    setting: str
    metric: str
    select: Mapping[str, str]


FAMILIES = (
    Family("perfmon_leak_verdict", "gauge", "1 for the verdict on the series, 0 for the others.", ("verdict",)),
    Family("perfmon_leak_slope_bytes_per_second", "gauge", "How fast the series grows.", (), "bytes"),
    Family("perfmon_leak_slope_lower_bytes_per_second", "gauge", "Lower end of its 95 % interval.", (), "bytes"),
    Family("perfmon_leak_slope_upper_bytes_per_second", "gauge", "Upper end of its 95 % interval.", (), "bytes"),
    Family("perfmon_leak_slope_per_second", "gauge", "How fast a series grows that is not in bytes."),
    Family("perfmon_leak_slope_lower_per_second", "gauge", "Lower end of its 95 % interval."),
    Family("perfmon_leak_slope_upper_per_second", "gauge", "Upper end of its 95 % interval."),
    Family(
        "perfmon_leak_seconds_to_limit",
        "gauge",
        "Time until the series reaches its limit at this rate; absent while it is clean, and without a limit.",
        (),
        "seconds",
    ),
    Family(
        "perfmon_leak_cause",
        "gauge",
        "1 for what the growth goes with, 0 for the others; with `requests` only.",
        ("cause",),
    ),
    Family(
        "perfmon_leak_heap",
        "gauge",
        "1 for how what the process has in use went while its memory grew, 0 for the others; with `python` only.",
        ("heap",),
    ),
    Family("perfmon_leak_slope_bytes_per_request", "gauge", "What each request leaves behind.", (), "bytes"),
    Family("perfmon_leak_slope_lower_bytes_per_request", "gauge", "Lower end of its 95 % interval.", (), "bytes"),
    Family("perfmon_leak_slope_upper_bytes_per_request", "gauge", "Upper end of its 95 % interval.", (), "bytes"),
    Family("perfmon_leak_slope_per_request", "gauge", "What each request leaves behind that is not in bytes."),
    Family("perfmon_leak_slope_lower_per_request", "gauge", "Lower end of its 95 % interval."),
    Family("perfmon_leak_slope_upper_per_request", "gauge", "Upper end of its 95 % interval."),
)


def parse(raw: Any) -> Config:
    """The settings as YAML gives them; ValueError with what was expected."""
    given = {name: value for name, value in raw.items() if value is not None} if isinstance(raw, Mapping) else {}
    simple = set(given) <= {"growth", "agree"} and "growth" in given
    season_s = _setting(given, "season", units.parse_duration)
    window_s = _setting(given, "window", units.parse_duration) or max(
        _SIMPLE_S if simple else _WINDOW_S, _SEASONS * (season_s or 0.0)
    )
    if season_s is not None and window_s < _SEASONS * season_s:
        raise ValueError(
            f"expected a window of two seasons at least, {format_duration(_SEASONS * season_s)}, "
            f"got {format_duration(window_s)}"
        )
    return Config(
        window_s=window_s,
        growth=_setting(given, "growth", _growth),
        limit=_setting(given, "limit", _limit),
        horizon_s=_setting(given, "horizon", units.parse_duration) or _HORIZON_S,
        season_s=season_s,
        agree=given.get("agree", 3),
        simple=simple,
        requests=msgspec.convert(given["requests"], Requests) if "requests" in given else None,
        python=given.get("python"),
    )


def written(config: Config) -> dict[str, str | int]:
    """What `parse` makes this of."""
    told: dict[str, str | int] = {} if config.simple else {"window": format_duration(config.window_s)}
    if config.growth is not None:
        told["growth"] = _written_growth(config.growth)
    if config.limit is not None:
        told["limit"] = str(config.limit)
    if not config.simple:
        told["horizon"] = format_duration(config.horizon_s)
    if config.season_s is not None:
        told["season"] = format_duration(config.season_s)
    return told | {"agree": config.agree}


def problem(config: Config, series_type: Literal["gauge", "counter", "flag"], unit: Unit = "") -> str | None:
    """Why the settings make no sense for such a series, in words; None when they do."""
    if series_type != "gauge":
        return "a counter only grows and a flag never does, expected a gauge"
    for name, quantity in (("growth", config.growth), ("limit", config.limit)):
        if quantity is not None and quantity.unit not in ("", unit):
            return f"the series is in {unit or 'bare numbers'}, and {name} is in {quantity.unit}"
    if config.python is not None and unit != "bytes":
        return f"the series is in {unit or 'bare numbers'}, and python tells of memory"
    return None


def counters(config: Config) -> Requests | None:
    """What the window must bring beside the series as its `requests`."""
    return config.requests


def beside(config: Config) -> Sequence[Beside]:
    """The gauges of the process' inside, where they are wanted."""
    if config.python is None:
        return ()
    return [Beside("python", metric, {"sampler": config.python}) for metric in (_BLOCKS, *_MALLOC)]


def span_s(config: Config) -> float:
    """The window."""
    return config.window_s


def every_s(config: Config) -> float:
    """How often it is judged: a point more among a thousand changes nothing."""
    return min(max(config.window_s / _VERDICTS, _FASTEST_S), _SLOWEST_S)


def for_s(config: Config) -> float:
    """As long as it takes until so many verdicts agree."""
    return (config.agree - 1) * every_s(config)


def evaluate(window: Window, config: Config) -> Verdict:
    """Critical for a leak, or for more growth than the simple rule allows; waiting until there is enough to judge."""
    if window.gone_s > max(_GONE_READINGS * window.interval_s, every_s(config)):
        return _gone(window, config)
    covered_s = window.times[-1] - window.times[0] if len(window) else 0.0
    if covered_s < _COVERED * config.window_s:
        seen = f"{format_duration(covered_s, brief=True)} of {window.metric} so far"
        why = f"{seen}, expected half the window of {_duration(config.window_s)} at least"
        if config.simple:
            return Verdict(level="waiting", why=why, n=len(window))
        return _insufficient(why, len(window))
    return _simple(window, config) if config.simple else _shaped(window, config)


def promql(config: Config, source: Source, severity: str = "") -> Expression:  # noqa: ARG001 -- it has one level
    """Where the verdict that perfmon exports says so: Prometheus could not find one by itself."""
    own = {"rule": source.rule, "metric": source.metric}
    # Twice as long as from one verdict to the next, so that a scrape that fails ends nothing.
    span = prometheus.duration(max(2 * every_s(config), 4 * source.scrape_s))
    of_slope = "_bytes_per_second" if source.unit == "bytes" else "_per_second"
    slope, low = (
        f"last_over_time({prometheus.selector(f'perfmon_leak_slope{bound}{of_slope}', source, **own)}[{span}])"
        for bound in ("", "_lower")
    )
    least = 0.0 if config.growth is None else config.growth.value
    if config.simple:
        text = f"{slope} > {prometheus.number(least)}\nand {low} > 0"
    else:
        verdict = prometheus.selector("perfmon_leak_verdict", source, **own, verdict="leak")
        text = f"{slope} > {prometheus.number(least)}\nand ignoring (verdict) last_over_time({verdict}[{span}]) == 1"
    return Expression(
        text=prometheus.without(f"\n{text}\n", "rule", "metric"),
        says=f"{source.metric} grows by {prometheus.words(source.unit)} a second"
        f"{'' if config.simple else ', and nothing speaks against a leak'}",
        remarks=("perfmon leaves an alert as it is while it has too little to judge by; Prometheus ends it",),
    )


_WINDOW_S = 1800.0
_SIMPLE_S = 600.0
_HORIZON_S = 14 * 86_400.0
_SEASONS = 2
_GONE_READINGS = 3  # without it, of a sampler that reads others: one alone may be a restart
_COVERED = 0.5  # of the window must have been seen
_VERDICTS = 30  # a window
_FASTEST_S = 1.0
_SLOWEST_S = 600.0

# ---------------------------------------------------------------- settings


def _setting(given: Mapping[str, Any], name: str, read: Any) -> Any:
    if name not in given:
        return None
    try:
        return read(given[name])
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _growth(raw: object) -> Quantity:
    """How much a second; "10MiB" alone has no time in it."""
    units.parse_rate(raw)
    quantity = units.parse_quantity(raw)
    if not quantity.per_s or not quantity.value > 0:
        raise ValueError(f"expected a rate above 0 such as 10MiB/min or 2/h, got {quoted(raw)}")
    return quantity


def _written_growth(growth: Quantity) -> str:
    """In the shortest of the writings that mean exactly this: `10 MiB/min`, not `174762.66666666666 B/s`."""
    paces = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": _DAY_S}
    texts = [f"{format_quantity(growth.value * seconds, growth.unit)}/{name}" for name, seconds in paces.items()]
    exact = [text for text in texts if units.parse_quantity(text).value == growth.value]
    return min(exact, key=lambda text: len(text.partition("/")[0]))


def _limit(raw: object) -> Quantity | None:
    if raw == "auto":
        return None
    quantity = units.parse_quantity(raw)
    if quantity.per_s or not quantity.value > 0:
        raise ValueError(f"expected a limit above 0 such as 1GiB or 1024, or auto, got {quoted(raw)}")
    return quantity


# ---------------------------------------------------------------- the two ways to judge


def _simple(window: Window, config: Config) -> Verdict:
    """More than so much, for whatever reason; a slope that may as well be none does not count."""
    assert config.growth is not None, "the simple rule is growth alone"
    limit = config.growth.value
    grown = leak.growth(window.times, window.values)
    if grown is None:
        return Verdict(
            level="waiting", why=f"{len(window)} points of {window.metric}, {leak.LEAST_FOR_GROWTH} are needed"
        )
    broken = grown.slope > limit and grown.low > 0
    expected = f"expected at most {_rate(limit, window.unit)}"
    return Verdict(
        level="critical" if broken else "ok",
        why=f"{_slope(grown, window)}, {expected}",
        value=grown.slope,
        limit=limit,
        n=grown.n,
        low=grown.low,
        high=grown.high,
        facts=_slopes(grown, window.unit),
    )


def _shaped(window: Window, config: Config) -> Verdict:
    limit = window.ceiling if config.limit is None else config.limit.value
    judged = leak.judge(
        window.times,
        window.values,
        lows=window.lows,
        restarts=_parted(window),
        season_s=config.season_s or (_DAY_S if config.window_s >= _SEASONS * _DAY_S else None),
        limit=limit,
        horizon_s=config.horizon_s,
    )
    if judged.growth is None:
        return _insufficient(f"{window.metric}: {judged.failed['data']}", judged.n)
    grown, least = judged.growth, 0.0 if config.growth is None else config.growth.value
    left_s = None if judged.verdict == "clean" else judged.seconds_to_limit
    each = None if config.requests is None else _each(window)
    heap = None if config.python is None else _heap(window, judged)
    return Verdict(
        level="critical" if judged.verdict == "leak" and grown.slope > least else "ok",
        why="; ".join(
            [
                _sentence(judged, grown, window, config, limit),
                *_cause(each, judged, window, config),
                *_inside(heap, judged),
            ]
        ),
        value=grown.slope,
        limit=least,
        n=judged.n,
        low=grown.low,
        high=grown.high,
        p=grown.p,
        facts=_stateset(judged.verdict)
        | _slopes(grown, window.unit)
        | ({} if left_s is None else {_LEFT: left_s})
        | _costs(each, window.unit)
        | _course(heap),
        word=judged.verdict,
        remarks=judged.failed,
    )


def _parted(window: Window) -> list[float]:
    """Where a level of its own begins: with another life, or after perfmon itself has changed it."""
    return sorted((*window.restarts, *window.cuts))


def _each(window: Window) -> PerRequest:
    """Of the life that is under way: each begins at a level of its own."""
    parted = _parted(window)
    first = bisect_left(window.times, parted[-1]) if parted else 0
    counted = window.requests or [math.nan] * len(window)
    return leak.per_request(window.times[first:], window.values[first:], counted[first:])


def _heap(window: Window, judged: Judgement) -> Heap:
    """Over the time that the verdict rests on: without the warm-up, and of the life that is under way."""
    since = window.times[0] + _WARM_UP * (window.times[-1] - window.times[0])
    since = max((since, *_parted(window)))

    def track(metric: str) -> tuple[Sequence[float], Sequence[float]]:
        seen = window.beside[metric]
        first = bisect_left(seen.times, since)
        return seen.times[first:], seen.values[first:]

    if _BLOCKS not in window.beside or judged.growth is None or judged.verdict == "clean":
        return Heap("unknown")
    return leak.heap_beside(
        judged.growth.slope, track(_BLOCKS), [track(name) for name in _MALLOC if name in window.beside]
    )


def _gone(window: Window, config: Config) -> Verdict:
    """Fine: what ended leaks no more, and its successor has yet to show that it does."""
    seen = format_duration(window.gone_s, brief=True)
    why = f"it is gone: no {window.metric} for {seen}, while its sampler reads on"
    word = "" if config.simple else "insufficient_data"
    return Verdict(level="ok", why=why, n=len(window), facts=_stateset(word) if word else {}, word=word)


def _insufficient(why: str, n: int) -> Verdict:
    word = "insufficient_data"
    return Verdict(level="waiting", why=why, n=n, facts=_stateset(word), word=word)


_DAY_S = 86_400.0
_WARM_UP = 0.25  # of the window, as `perfmon.leak` leaves it out
_BLOCKS = "perfmon_python_allocated_blocks"
_MALLOC = ("perfmon_python_malloc_in_use_bytes", "perfmon_python_malloc_mapped_bytes")
_LEFT = "perfmon_leak_seconds_to_limit"

# ---------------------------------------------------------------- the words


def _sentence(judged: Judgement, grown: Growth, window: Window, config: Config, limit: float | None) -> str:
    """`leak: grows 1.2 MiB/min (95 % interval 1.1 to 1.3) over 42m, n 252, p < 0.001; at this rate ... in 9h`."""
    parts = [f"{judged.verdict}: {_slope(grown, window)}, {_chance(grown.p)}", *_lives(judged, window)]
    if config.growth is not None and judged.verdict == "leak" and grown.slope <= config.growth.value:
        parts.append(f"less than the {_rate(config.growth.value, window.unit)} that would matter")
    if limit is not None and judged.seconds_to_limit is not None and judged.verdict != "clean":
        left = format_duration(judged.seconds_to_limit, brief=True)
        parts.append(
            f"at this rate the limit of {format_quantity(limit, window.unit, brief=True)} is reached in {left}"
        )
    parts += [f"{why} ({name.replace('_', ' ')})" for name, why in judged.failed.items()]
    return "; ".join(parts)


def _lives(judged: Judgement, window: Window) -> Iterator[str]:
    """`seen over 3 lives, the one under way began 2m ago`: the new one may be too short to show anything by itself."""
    within = [at for at in window.restarts if window.times[0] < at <= window.times[-1]]
    if within and judged.verdict != "clean":
        ago = format_duration(window.now - within[-1], brief=True)
        yield f"seen over {len(within) + 1} lives, the one under way began {ago} ago"


def _cause(each: PerRequest | None, judged: Judgement, window: Window, config: Config) -> Iterator[str]:
    """`4.1 KiB per request (95 % interval 3.9 to 4.4), nothing by time alone, over 1200 of shop_requests_total`."""
    if each is None or config.requests is None or (judged.verdict == "clean" and each.cause not in _PROVEN):
        return
    counted = fact_key(config.requests.metric, **config.requests.select)
    one, many = _called(config.requests)
    told = each.sentence(window.unit, one=one, many=many)
    if each.cause == "insufficient_data":
        why = told if window.requests else "none there, or more than can be added up"
        yield f"what it grows with cannot be told by {counted}: {why}"
    else:
        yield f"{told}, over {each.requests:.0f} of {counted}"


def _called(requests: Requests) -> tuple[str, str]:
    """One of what is counted, and many: a run of a probe may be several requests, or none."""
    if requests.metric != RUNS:
        return "request", "requests"
    of = f" of {requests.select['probe']}" if "probe" in requests.select else ""
    return f"run{of}", f"runs{of}"


def _inside(heap: Heap | None, judged: Judgement) -> Iterator[str]:
    """`the heap in use does not grow (0.1 blocks/s): fragmentation or native memory, not Python objects`."""
    if heap is None or judged.verdict == "clean":
        return
    blocks = "" if heap.blocks is None else f"{format_quantity(heap.blocks.slope, '', brief=True)} blocks/s"
    malloc = [f"{format_quantity(sum(one.slope for one in heap.malloc), 'bytes', brief=True)}/s of malloc"]
    told = " and ".join([blocks, *(malloc if heap.malloc else [])])
    match heap.course:
        case "flat":
            yield f"the heap in use does not grow ({told}): fragmentation or native memory, not Python objects"
        case "grows":
            yield f"the heap in use grows along ({told}): something is kept"
        case "unknown":
            why = f"{told} may be chance" if heap.blocks is not None else "its gauges are not there, or too few"
            yield f"whether the heap in use grows along cannot be told: {why}"


_PROVEN = ("requests", "time", "both")


def _slope(grown: Growth, window: Window) -> str:
    """`grows 1.2 MiB/min (95 % interval 1.1 to 1.3) over 42m, n 252`."""
    seconds, per = pace(grown.slope, window.unit)
    sign = 1 if grown.slope >= 0 else -1
    low, high = sorted(sign * seconds * bound for bound in (grown.low, grown.high))
    amount = with_interval(abs(grown.slope) * seconds, low, high, window.unit, f"/{per}")
    verb = "grows" if sign > 0 else "falls"
    return f"{verb} {amount} over {format_duration(grown.span_s, brief=True)}, n {grown.n}"


def _rate(per_s: float, unit: Unit) -> str:
    seconds, name = pace(per_s, unit)
    return f"{format_quantity(per_s * seconds, unit, brief=True)}/{name}"


def _chance(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p {p:.2g}"


# Spans are the same at each evaluation, and writing them exactly is slow.
_duration = lru_cache(maxsize=256)(format_duration)

# ---------------------------------------------------------------- the gauges


def _stateset(verdict: str) -> dict[str, float]:
    return {fact_key("perfmon_leak_verdict", verdict=name): float(name == verdict) for name in VERDICTS}


def _slopes(grown: Growth, unit: Unit) -> dict[str, float]:
    per = "_bytes" if unit == "bytes" else ""
    bounds = {"": grown.slope, "_lower": grown.low, "_upper": grown.high}
    return {f"perfmon_leak_slope{bound}{per}_per_second": value for bound, value in bounds.items()}


def _costs(each: PerRequest | None, unit: Unit) -> dict[str, float]:
    """What each request leaves; only where it is the requests, since elsewhere the number misleads."""
    if each is None:
        return {}
    causes = {fact_key("perfmon_leak_cause", cause=name): float(name == each.cause) for name in CAUSES}
    if each.cause not in ("requests", "both"):
        return causes
    per = "_bytes" if unit == "bytes" else ""
    bounds = {"": each.per_request, "_lower": each.low, "_upper": each.high}
    return causes | {
        f"perfmon_leak_slope{bound}{per}_per_request": value for bound, value in bounds.items() if value is not None
    }


def _course(heap: Heap | None) -> dict[str, float]:
    return (
        {} if heap is None else {fact_key("perfmon_leak_heap", heap=name): float(name == heap.course) for name in HEAPS}
    )
