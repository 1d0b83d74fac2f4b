"""The families of series that leak detection is tried on: healthy ones, leaking ones, and a hold-out of both.

A level of 100 with noise of 1 (the reference's "sigma is 1 % of base"), over a window of one unit of time per sample.
`Scene` is what a detector is given; what a watcher of processes knows beside the values (restarts, a daily cycle that
the user has named) is part of it.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

BASE = 100.0


class Scene(NamedTuple):
    """One series."""

    times: np.ndarray
    values: np.ndarray
    restarts: tuple[float, ...] = ()  # when the process began anew
    season: float | None = None  # the cycle that the user has named


Family = Callable[[np.random.Generator, int], Scene]


def white(rng, n, sigma=1.0):
    return sigma * rng.standard_normal(n)


def heavy(rng, n, df=2.5):
    return 0.6 * rng.standard_t(df, n)


def autoregressive(rng, n, phi):
    """AR(1) of standard deviation 1."""
    shocks = rng.standard_normal(n) * np.sqrt(1 - phi * phi)
    values = np.empty(n)
    level = rng.standard_normal()
    for i in range(n):
        level = phi * level + shocks[i]
        values[i] = level
    return values


def unit(n):
    """From 0 to 1 over the window."""
    return np.arange(n) / n


def saw(rng, n, height=15.0, period=40.0):
    """A collector's teeth: it grows, then falls to where it was."""
    return height * ((np.arange(n) / period + rng.random()) % 1.0)


def steps(rng, n, count, low=3.0, high=10.0):
    u = unit(n)
    return sum(rng.uniform(low, high) * (u >= rng.uniform(0.1, 0.9)) for _ in range(count))


def day(rng, n, periods, height=5.0, phase=None):
    start = rng.random() if phase is None else phase
    return height * np.sin(2 * np.pi * (periods * unit(n) + start))


def lives(rng, n, growth, spread=2.0, count=None):
    """Growth that begins anew at each of two to four restarts, at a level of its own."""
    count = int(rng.integers(2, 5)) if count is None else count
    cuts = np.sort(rng.choice(np.arange(n // 12, n - n // 12), count, replace=False))
    values, start = np.zeros(n), 0
    for end in (*cuts, n):
        age = np.arange(end - start)
        values[start:end] = growth * age / n + spread * rng.standard_normal()
        start = end
    return values, tuple(float(cut) for cut in cuts)


def scene(values, **known):
    return Scene(np.arange(len(values), dtype=float), BASE + values, **known)


def thinned(rng, values, share, **known):
    keep = rng.random(len(values)) >= share
    return Scene(np.arange(len(values), dtype=float)[keep], BASE + values[keep], **known)


def bursts(rng, n, height=10.0, rate=8):
    values = np.zeros(n)
    for _ in range(rng.poisson(rate)):
        at, long = rng.integers(0, n), rng.integers(max(2, n // 100), max(3, n // 20))
        values[at : at + long] += rng.uniform(0.3, 1.0) * height
    return values


def staircase(n, growth, stairs):
    return growth * np.floor(unit(n) * stairs) / stairs


def restarted(rng, n, growth):
    values, cuts = lives(rng, n, growth)
    return scene(values + white(rng, n), restarts=cuts)


def ramp(n, growth, start=0.0):
    """Growth to `growth` at the end, from `start` of the window on."""
    return growth * np.clip((unit(n) - start) / (1 - start), 0, None)


HEALTHY: dict[str, Family] = {
    "white noise": lambda rng, n: scene(white(rng, n)),
    "heavy tails (t 2.5)": lambda rng, n: scene(heavy(rng, n)),
    "AR(1) 0.6": lambda rng, n: scene(autoregressive(rng, n, 0.6)),
    "AR(1) 0.9": lambda rng, n: scene(autoregressive(rng, n, 0.9)),
    "AR(1) 0.98": lambda rng, n: scene(autoregressive(rng, n, 0.98)),
    "collector's sawtooth": lambda rng, n: scene(saw(rng, n) + white(rng, n)),
    "fast warm-up": lambda rng, n: scene(20 * (1 - np.exp(-unit(n) / 0.05)) + white(rng, n)),
    "slow warm-up": lambda rng, n: scene(20 * (1 - np.exp(-unit(n) / 0.25)) + white(rng, n)),
    "log growth": lambda rng, n: scene(5 * np.log1p(unit(n) / 0.05) + white(rng, n)),
    "cache fills": lambda rng, n: scene(20 * np.minimum(unit(n) / 0.6, 1) + white(rng, n)),
    "daily, 2 periods": lambda rng, n: scene(day(rng, n, 2) + white(rng, n), season=n / 2),
    "daily, 0.7 period": lambda rng, n: scene(day(rng, n, 0.7) + white(rng, n), season=n / 0.7),
    "one step": lambda rng, n: scene(steps(rng, n, 1) + white(rng, n)),
    "two steps": lambda rng, n: scene(steps(rng, n, 2) + white(rng, n)),
    "bursts": lambda rng, n: scene(bursts(rng, n) + white(rng, n)),
    "20 % missing": lambda rng, n: thinned(rng, white(rng, n), 0.2),
    "restarts": lambda rng, n: restarted(rng, n, 0.0),
}

LEAKING: dict[str, Family] = {
    "leak of 1 %": lambda rng, n: scene(ramp(n, 1) + white(rng, n)),
    "leak of 2 %": lambda rng, n: scene(ramp(n, 2) + white(rng, n)),
    "leak of 5 %": lambda rng, n: scene(ramp(n, 5) + white(rng, n)),
    "leak of 20 %": lambda rng, n: scene(ramp(n, 20) + white(rng, n)),
    "5 % in AR(1) 0.9": lambda rng, n: scene(ramp(n, 5) + autoregressive(rng, n, 0.9)),
    "15 % in AR(1) 0.98": lambda rng, n: scene(ramp(n, 15) + 3 * autoregressive(rng, n, 0.98)),
    "5 % under sawtooth": lambda rng, n: scene(ramp(n, 5) + saw(rng, n) + white(rng, n)),
    "15 % under sawtooth": lambda rng, n: scene(ramp(n, 15) + saw(rng, n) + white(rng, n)),
    "10 % after warm-up": lambda rng, n: scene(10 * (1 - np.exp(-unit(n) / 0.05)) + ramp(n, 10) + white(rng, n)),
    "10 % and daily": lambda rng, n: scene(ramp(n, 10) + day(rng, n, 2) + white(rng, n), season=n / 2),
    "staircase of 12": lambda rng, n: scene(staircase(n, 10, 12) + white(rng, n)),
    "20 % from 40 % on": lambda rng, n: scene(ramp(n, 20, 0.4) + white(rng, n)),
    "5 %, 20 % missing": lambda rng, n: thinned(rng, ramp(n, 5) + white(rng, n), 0.2),
    "20 % with restarts": lambda rng, n: restarted(rng, n, 20.0),
}


# ---------------------------------------------------------------- hold-out: written before tuning, never tuned on


def page_noise(rng, n, values, page=0.5):
    """RSS in whole steps, which only moves now and then."""
    return scene(np.round((values + 0.3 * autoregressive(rng, n, 0.8)) / page) * page)


def with_gap(rng, n, values, share=0.15):
    at = rng.uniform(0.3, 0.7)
    keep = (unit(n) < at) | (unit(n) >= at + share)
    times = np.arange(n, dtype=float)
    return Scene(times[keep], BASE + values[keep])


def with_outliers(rng, n, values, share=0.03):
    return scene(values + white(rng, n) + (rng.random(n) < share) * rng.exponential(20, n))


def coupon(n, fill, tau):
    return fill * (1 - np.exp(-unit(n) / tau))


def warm_at_each_restart(rng, n):
    values, cuts = lives(rng, n, 0.0)
    start = 0
    for end in (*map(int, cuts), n):
        values[start:end] += 10 * (1 - np.exp(-np.arange(end - start) / (0.03 * n)))
        start = end
    return scene(values + white(rng, n), restarts=cuts)


def two_restarts(rng, n):
    values, cuts = lives(rng, n, 15.0, count=2)
    return scene(values + autoregressive(rng, n, 0.6), restarts=cuts)


HELD_HEALTHY: dict[str, Family] = {
    "square root": lambda rng, n: scene(20 * np.sqrt(unit(n)) + white(rng, n)),
    "slow log": lambda rng, n: scene(8 * np.log1p(unit(n) / 0.2) + white(rng, n)),
    "three steps": lambda rng, n: scene(steps(rng, n, 3) + white(rng, n)),
    "warm-up of half the window": lambda rng, n: scene(coupon(n, 15, 0.15) + white(rng, n, 0.5)),
    "cache full at 80 %": lambda rng, n: scene(25 * np.minimum(unit(n) / 0.8, 1) + white(rng, n)),
    "sawtooth of 7": lambda rng, n: scene(saw(rng, n, 15, n / 7.3) + white(rng, n)),
    "sawtooth of 17, uneven": lambda rng, n: scene(saw(rng, n, 20, n / 17) * (1 + 0.1 * white(rng, n)) + white(rng, n)),
    "day's morning": lambda rng, n: scene(day(rng, n, 0.4, 5, rng.uniform(0.75, 0.85)) + white(rng, n), season=n / 0.4),
    "daily, 3.3 periods, untold": lambda rng, n: scene(day(rng, n, 3.3) + white(rng, n)),
    "two days with noise AR(1) 0.9": lambda rng, n: scene(
        day(rng, n, 2.2, 8) + autoregressive(rng, n, 0.9), season=n / 2.2
    ),
    "pages, healthy": lambda rng, n: page_noise(rng, n, np.zeros(n)),
    "outliers": lambda rng, n: with_outliers(rng, n, np.zeros(n)),
    "gap": lambda rng, n: with_gap(rng, n, white(rng, n)),
    "AR(1) 0.95, heavy": lambda rng, n: scene(2 * autoregressive(rng, n, 0.95) + heavy(rng, n, 2.1)),
    "step down and up": lambda rng, n: scene(steps(rng, n, 1) - steps(rng, n, 1) + white(rng, n)),
    "more load, more bursts": lambda rng, n: scene(bursts(rng, n) * unit(n) * 2 + white(rng, n)),
    "warm-up at each restart": warm_at_each_restart,
}


HELD_LEAKING: dict[str, Family] = {
    "pages, 5 %": lambda rng, n: page_noise(rng, n, ramp(n, 5)),
    "outliers, 8 %": lambda rng, n: with_outliers(rng, n, ramp(n, 8)),
    "8 % with a gap": lambda rng, n: with_gap(rng, n, ramp(n, 8) + white(rng, n)),
    "bursty leak of 15 %": lambda rng, n: scene(np.cumsum(rng.random(n) < 40 / n) * 15 / 40 + white(rng, n)),
    "arena steps, 20 of 1 %": lambda rng, n: scene(staircase(n, 20, 20) + white(rng, n, 0.2)),
    "10 % in heavy AR(1) 0.7": lambda rng, n: scene(ramp(n, 10) + autoregressive(rng, n, 0.7) + heavy(rng, n)),
    "15 % under sawtooth of 11": lambda rng, n: scene(ramp(n, 15) + saw(rng, n, 15, n / 11) + white(rng, n)),
    "20 % after slow warm-up": lambda rng, n: scene(coupon(n, 10, 0.08) + ramp(n, 20) + white(rng, n)),
    "12 % and day's 2.5 periods": lambda rng, n: scene(
        ramp(n, 12) + day(rng, n, 2.5, 6) + white(rng, n), season=n / 2.5
    ),
    "accelerating to 15 %": lambda rng, n: scene(15 * unit(n) ** 1.6 + white(rng, n)),
    "two restarts, 15 %": two_restarts,
}
