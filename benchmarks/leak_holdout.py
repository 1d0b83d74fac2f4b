"""Eight families that nobody tuned perfmon's leak verdict to, written after it by somebody else, judged once.

    .venv/bin/python benchmarks/leak_holdout.py [--runs 100] [--lengths 480 1440]

Unlike those of `leak_families`, their parameters are drawn anew for each run: what a service does is not known to one
digit. Prints the shares of series called a leak, and what else was said of them. Level 100, noise of 1. Then the same of
`per_request`: what growth was said to go with, how often the 95 % interval holds what each request left, and how far the
estimate is off.
"""

import argparse
from collections import Counter
from collections.abc import Mapping

import numpy as np
from leak_detection import METHODS, series, verdict
from leak_families import Family, Scene, autoregressive, day, ramp, scene, white

from perfmon.leak import per_request


def shots(rng: np.random.Generator, n: int) -> Scene:
    """Jobs that come at random, take memory of very different size, and give it back little by little."""
    tau, rate = n / rng.uniform(15, 50), rng.uniform(20, 80) / n
    heights = np.minimum(rng.pareto(2.0, n) * 2, 25) * (rng.random(n) < rate)
    kept = np.convolve(heights, np.exp(-np.arange(6 * tau) / tau))[:n]
    return scene(kept + white(rng, n))


def zipf_cache(rng: np.random.Generator, n: int) -> Scene:
    """A cache of bounded size under Zipf's keys, full somewhere between a tenth and nine tenths of the window."""
    asked = rng.zipf(rng.uniform(1.2, 1.6), 20 * n)
    distinct = np.cumsum(np.isin(np.arange(20 * n), np.unique(asked, return_index=True)[1]))[19::20].astype(float)
    full = distinct[int(n * rng.uniform(0.1, 0.9))]
    return scene(rng.uniform(10, 30) * np.minimum(distinct, full) / full + white(rng, n))


def batch_jobs(rng: np.random.Generator, n: int) -> Scene:
    """A job that runs for a while, rests for a while, and holds 5 to 15 % while it runs."""
    running = np.cumsum(rng.random(n) < rng.uniform(6, 20) / n) % 2
    return scene(rng.uniform(5, 15) * running + autoregressive(rng, n, 0.5))


def high_water(rng: np.random.Generator, n: int) -> Scene:
    """An allocator that gives nothing back: the highest use so far, of a load that remembers itself."""
    before = n // 2  # it has been up for a while
    load = 3 * autoregressive(rng, n + before, rng.uniform(0.9, 0.99))
    return scene(np.maximum.accumulate(load)[before:] + white(rng, n, 0.5))


def by_uneven_load(rng: np.random.Generator, n: int) -> Scene:
    """12 % by request, under a load that is now half, now double."""
    requests = np.exp(0.7 * autoregressive(rng, n, 0.95))
    return scene(12 * np.cumsum(requests) / requests.sum() + white(rng, n))


def one_worker_of_eight(rng: np.random.Generator, n: int) -> Scene:
    """Seven workers grow and are recycled, each in its time; the eighth leaks 12 % and is not."""
    recycled = sum(3 * ((np.arange(n) / rng.uniform(n / 30, n / 10) + rng.random()) % 1.0) for _ in range(7))
    return scene(ramp(n, 12) + recycled + white(rng, n))


def partly_freed(rng: np.random.Generator, n: int) -> Scene:
    """A leak of 20 % of which full collections get back a quarter, three to six times."""
    values, kept = np.empty(n), 0.0
    collections = set(rng.choice(np.arange(n // 10, n), rng.integers(3, 7), replace=False).tolist())
    for i in range(n):
        kept = 0.75 * kept if i in collections else kept + 20 / n
        values[i] = kept
    return scene(values + white(rng, n))


def with_deployment(rng: np.random.Generator, n: int) -> Scene:
    """10 to 15 %, two days of it, and a step up to 5 % somewhere that has nothing to do with it."""
    step = rng.uniform(1, 5) * (np.arange(n) >= n * rng.uniform(0.3, 0.8))
    values = ramp(n, rng.uniform(10, 15)) + step + day(rng, n, 2.2, rng.uniform(1, 4)) + white(rng, n)
    return scene(values, season=n / 2.2)


HEALTHY: dict[str, Family] = {
    "jobs of very different size": shots,
    "bounded cache, Zipf's keys": zipf_cache,
    "batch jobs": batch_jobs,
    "high-water mark": high_water,
}

LEAKING: dict[str, Family] = {
    "12 % by request, uneven load": by_uneven_load,
    "12 %, one worker of eight": one_worker_of_eight,
    "20 %, partly freed": partly_freed,
    "10 to 15 %, day, deployment": with_deployment,
}


def table(title: str, families: Mapping[str, Family], lengths: list[int], runs: int) -> None:
    print(f"\n| {title} | n | {' | '.join(METHODS)} | perfmon's verdicts |\n|---|---|{'---|' * len(METHODS)}---|")
    for name, family in families.items():
        for n in lengths:
            scenes = [series(name, family, n, run) for run in range(runs)]
            shares = (f"{np.mean([says(one) for one in scenes]):.2f}" for says in METHODS.values())
            said = Counter(map(verdict, scenes))
            words = ", ".join(f"{word} {count}" for word, count in said.most_common())
            print(f"| {name} | {n} | {' | '.join(shares)} | {words} |", flush=True)


CAUSES = {  # what grows: by request, by the second, and what a request under way holds, in KiB
    "nothing": ((0, 0), (0, 0), 0.0),
    "nothing; memory follows the load": ((0, 0), (0, 0), 0.5),
    "by request": ((0.3, 4), (0, 0), 0.0),
    "by time": ((0, 0), (3, 40), 0.0),
    "both": ((0.3, 4), (3, 40), 0.0),
}


def causes(lengths: list[int], runs: int) -> None:
    """A load that changes slowly and by much, some 20 requests a sample, two seconds each; 200 KiB of noise."""
    print("\n| what grows | n | said to go with | interval holds it | off by (median) |\n|---|---|---|---|---|")
    for row, (name, grown) in enumerate(CAUSES.items()):
        for n in lengths:
            found = [one_cause(np.random.default_rng([row, n, run]), n, *grown) for run in range(runs)]
            said = ", ".join(f"{cause} {count}" for cause, count in Counter(one[0] for one in found).most_common())
            held = [(holds, off) for _, holds, off in found if off is not None]
            shares = (
                f"{np.mean([one[0] for one in held]):.2f} | {np.median([one[1] for one in held]):.1%}"
                if held
                else " | "
            )
            print(f"| {name} | {n} | {said} | {shares} |", flush=True)


def one_cause(
    rng: np.random.Generator, n: int, each_kib: tuple[float, float], per_s_kib: tuple[float, float], held_kib: float
) -> tuple[str, bool, float | None]:
    """What was said, whether the interval holds the truth, and the error; None where there is no truth or no answer."""
    times, load = 2.0 * np.arange(n), 20 * np.exp(0.8 * autoregressive(rng, n, rng.choice([0.9, 0.97, 0.99])))
    requests = np.cumsum(rng.poisson(load)).astype(float)
    each, per_s = 1024 * rng.uniform(*each_kib), 1024 * rng.uniform(*per_s_kib)
    noise = 200 * 1024 * autoregressive(rng, n, rng.choice([0, 0.6, 0.9]))
    values = 50e6 + each * requests + per_s * times + 1024 * held_kib * load + noise
    found = per_request(times.tolist(), values.tolist(), requests.tolist())
    if not each or found.per_request is None or found.low is None or found.high is None:
        return found.cause, False, None
    return found.cause, found.low <= each <= found.high, abs(found.per_request / each - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--lengths", type=int, nargs="+", default=[480, 1440])
    options = parser.parse_args()
    table("healthy: share called a leak", HEALTHY, options.lengths, options.runs)
    table("leaking: share called a leak", LEAKING, options.lengths, options.runs)
    causes(options.lengths, options.runs)


if __name__ == "__main__":
    main()
