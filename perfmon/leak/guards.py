"""What grows and does not leak, told apart by name.

A guard says in words why a rise is no leak, or "" when it has nothing against it. All of them must be content.
"""

import math
from collections.abc import Callable, Mapping
from itertools import accumulate
from statistics import median

from perfmon.leak.fit import Curve, Track, fit_of, p_above, regress, theil_sen
from perfmon.leak.trend import SEASONS, Trend

__all__ = ["GUARDS", "objections"]

EFFECT = 0.005  # share of the level that must be added over the window
COUNTED = 2.0  # of what is counted in whole numbers, so many must be added


def objections(trend: Trend) -> dict[str, str]:
    """What each guard has against the trend, those that have something."""
    return {name: said for name, guard in GUARDS.items() if (said := guard(trend))}


def _effect_size(trend: Trend) -> str:
    """Too little to matter."""
    added = trend.lead.slope * trend.whole_s / trend.span_s
    least = max(EFFECT * abs(trend.level), COUNTED if trend.countable else 0.0)
    return f"it adds less than {EFFECT:.1%} of its level over the window" if added < least else ""


def _envelope(trend: Trend) -> str:
    """Only the peaks rise, or only the troughs."""
    lead, other = trend.lead, trend.other
    if other.p < _OTHER_P:
        return ""
    if trend.is_low:  # the middle of a sawtooth is too rough to prove a rise; it is enough that it allows one
        return (
            "" if other.slope + 1.65 * other.error > _ALLOWED * lead.slope else "the middle does not rise with the lows"
        )
    return "the lows do not rise with the middle"


def _persistence(trend: Trend) -> str:
    """A rise that is that of one half only."""
    if not _one_life(trend):
        return ""
    track, lead = trend.lead.track, trend.lead
    half = len(track) // 2
    for name, part in (("first", track.part(0, half)), ("second", track.part(half, len(track)))):
        # Of a random walk half a window says next to nothing, which must not excuse it: hence the bound.
        slack = 0.5 * min(regress(part, [part.times], lead.phi).errors[0], _HALF_ERROR * lead.error)
        if theil_sen(part) < _ALLOWED * lead.slope - slack:
            return f"the {name} half of the window does not rise"
    thirds = [median(track.values[third * len(track) // 3 : (third + 1) * len(track) // 3]) for third in range(3)]
    return "" if thirds[0] < thirds[1] < thirds[2] else "its thirds do not stand one above the other"


def _step(trend: Trend) -> str:
    """Up to three steps say it as well as a line."""
    if not _one_life(trend):
        return ""
    gain = _bic_of_line(trend) - _bic_of_steps(trend.lead.track)
    return "one to three steps describe it better than a line" if gain > _BIC else ""


def _restarts(trend: Trend) -> str:
    """Growth that is not that of most lives."""
    if _one_life(trend):
        return ""
    track = trend.lead.track
    lives = [part for part in map(track.of_life, sorted(set(track.lives))) if len(part) >= _LIFE]
    rising = sum(len(part) for part in lives if theil_sen(part) > 0.2 * trend.lead.slope)
    total = sum(map(len, lives))
    if total < 2 * _LIFE:
        return "no life between two restarts is long enough"
    return "" if rising >= _RISING * total else f"it rises in {rising / total:.0%} of the time between restarts only"


def _deceleration(trend: Trend) -> str:
    """It slows down: filling, not leaking."""
    ages = _ages(trend.lead.track)
    middle = sum(ages) / len(ages)
    fit = fit_of(trend.lead.track, [ages, [(age - middle) ** 2 for age in ages]])
    if p_above(-fit.t(1), fit.freedom) >= _SLOWING_P:
        return ""
    end = fit.slopes[0] + 2 * fit.slopes[1] * (max(ages) - middle)
    mean = fit.slopes[0] + fit.slopes[1] * (max(ages) - 2 * middle)
    return (
        f"it slows down: at the end it grows at {max(0.0, end / mean):.0%} of its mean rate" if end < 0.8 * mean else ""
    )


def _saturation(trend: Trend) -> str:
    """It has come to rest at the end, or a curve towards a ceiling leaves no line to see."""
    if not _one_life(trend):
        return ""
    track, lead = trend.lead.track, trend.lead
    last = track.part(len(track) - max(5, len(track) // 4), len(track))
    fit = regress(last, [last.times], lead.phi)
    lag = 0.5 * lead.slope - theil_sen(last)
    if lag > 0 and (fit.errors[0] == 0 or p_above(lag / fit.errors[0], fit.freedom) < _RESTING_P):
        return "the last quarter grows at less than half the rate"
    curved = fit_of(track, [track.times, _best_curve(track)])
    if curved.slopes[1] <= 0 or p_above(curved.t(1), curved.freedom) >= _CURVED_P:
        return ""
    hidden = p_above(curved.t(0), curved.freedom) >= _LINE_P
    return "a curve towards a ceiling describes it without a line" if hidden else ""


def _season(trend: Trend) -> str:
    """Half a day's cycle is a trend, too."""
    if trend.seasons is None or trend.seasons * 1.02 >= SEASONS:
        return ""
    return f"the window holds {trend.seasons:.1f} cycles of the season, two are needed to tell it from growth"


GUARDS: Mapping[str, Callable[[Trend], str]] = {
    "effect_size": _effect_size,
    "envelope": _envelope,
    "persistence": _persistence,
    "step": _step,
    "restarts": _restarts,
    "deceleration": _deceleration,
    "saturation": _saturation,
    "season": _season,
}

_OTHER_P = 0.05  # the other envelope must rise at this level
_ALLOWED = 0.3  # of the slope, for a part of the window
_HALF_ERROR = 4.2  # the error of half a window's slope is 2.8 times that of the whole in white noise
_BIC = 4.0
_LIFE = 4  # blocks
_RISING = 0.7
_SLOWING_P = 0.01
_RESTING_P = 0.05
_CURVED_P = 0.05
_LINE_P = 0.05
_TAUS = (0.05, 0.1, 0.2, 0.35, 0.5)


def _one_life(trend: Trend) -> bool:
    return trend.lead.track.lives[0] == trend.lead.track.lives[-1]


def _ages(track: Track) -> list[float]:
    """The time of each block since the first one of its life."""
    born: dict[int, float] = {}
    return [at - born.setdefault(life, at) for at, life in zip(track.times, track.lives, strict=True)]


def _best_curve(track: Track) -> Curve:
    """The curve that flattens, 1 - exp(-t / tau) or log(1 + 10 t), which says most beside a line."""
    shapes = [[1 - math.exp(-at / tau) for at in track.times] for tau in _TAUS]
    shapes.append([math.log1p(10 * at) for at in track.times])
    return min(shapes, key=lambda shape: regress(track, [track.times, shape], 0.0).rss)


def _bic_of_line(trend: Trend) -> float:
    """Of a line in white noise, or in noise with a memory when that says it better."""
    track, n = trend.lead.track, len(trend.lead.track)
    floor = _floor(track)
    bic = n * math.log(max(regress(track, [track.times], 0.0).rss, floor) / n) + 2 * math.log(n)
    phi = min(trend.lead.phi, 0.8)
    if phi == 0:
        return bic
    fresh = 1 - phi * phi  # the share of the noise that is new at each block
    rss = max(regress(track, [track.times], phi).rss * fresh, floor)
    return min(bic, n * math.log(rss / n) - math.log(fresh) + 3 * math.log(n))


def _bic_of_steps(track: Track) -> float:
    """Of the best piecewise constant with one to three steps, one for each eight blocks at most."""
    n, costs, floor = len(track), _costs(track), _floor(track)
    best = [costs(0, end) if end else 0.0 for end in range(n + 1)]
    found = math.inf
    for steps in range(1, min(3, n // 8) + 1):
        best = [
            min((best[start] + costs(start, end) for start in range(steps, end)), default=math.inf)
            for end in range(n + 1)
        ]
        found = min(found, n * math.log(max(best[n], floor) / n) + (2 * steps + 1) * math.log(n))
    return found


def _costs(track: Track) -> Callable[[int, int], float]:
    """Sum of squares around the mean of the blocks from one number to another."""
    sums = [0.0, *accumulate(track.values)]
    squares = [0.0, *accumulate(value * value for value in track.values)]

    def cost(start: int, end: int) -> float:
        total = sums[end] - sums[start]
        return squares[end] - squares[start] - total * total / (end - start)

    return cost


def _floor(track: Track) -> float:
    """What rounding makes of a sum of squares that is 0."""
    return 1e-12 * max(1e-300, *(value * value for value in track.values)) * len(track)
