"""Claim: perfmon's leak verdict is silent on healthy series where the usual tests cry leak, and misses few leaks.

    .venv/bin/python benchmarks/leak_detection.py --runs 200

Each cell is the share of seeded series of a family on which a method says "leak": false alarms above, power below. The
rivals are what is used today, each at 1 % one-sided: the t-test of an ordinary least-squares slope (`deriv` > 0 with an
error bar), Mann-Kendall, Mann-Kendall as corrected by Hamed and Rao (1998), and Prometheus' `predict_linear` with a
limit half above the level, reached within four windows. perfmon alone is told of restarts and of a season, where a
family has them: the rivals have no use for either. `--held-out` adds families that were not tuned on.
"""

import argparse
import csv
import gzip
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from leak_families import HEALTHY, HELD_HEALTHY, HELD_LEAKING, LEAKING, Family, Scene

from perfmon.leak import judge

TRACES = Path(__file__).resolve().parent.parent / "tests" / "data" / "leak"
Z = 2.3263478740408408  # of 1 %, one-sided
LIMIT = 1.5  # of the level
WINDOWS_AHEAD = 4


def series(name: str, family: Family, n: int, run: int) -> Scene:
    """The same for the same name, length and number, wherever it is made."""
    return family(np.random.default_rng([zlib.crc32(name.encode()), n, run]), n)


def verdict(scene: Scene) -> str:
    """What perfmon says."""
    judged = judge(
        scene.times.tolist(), scene.values.tolist(), restarts=scene.restarts, season_s=scene.season
    )  # fmt: skip
    return judged.verdict


# ---------------------------------------------------------------- the rivals


def line(scene: Scene) -> tuple[float, float, float]:
    """Slope, its standard error, and the value at the end, by ordinary least squares."""
    t = scene.times - scene.times.mean()
    slope = (t @ scene.values) / (t @ t)
    left = scene.values - scene.values.mean() - slope * t
    error = np.sqrt((left @ left) / (len(t) - 2) / (t @ t))
    return slope, error, scene.values.mean() + slope * t[-1]


def least_squares(scene: Scene) -> bool:
    slope, error, _ = line(scene)
    return bool(slope > Z * error)


def predict_linear(scene: Scene) -> bool:
    slope, _, end = line(scene)
    return bool(end + slope * WINDOWS_AHEAD * np.ptp(scene.times) > LIMIT * np.median(scene.values))


def kendall(scene: Scene) -> tuple[float, float]:
    """Mann and Kendall's S and its variance without ties, which floats do not have."""
    n = len(scene.values)
    s = float(sum(np.sign(scene.values[i + 1 :] - scene.values[i]).sum() for i in range(n - 1)))
    return s, n * (n - 1) * (2 * n + 5) / 18


def mann_kendall(scene: Scene) -> bool:
    s, variance = kendall(scene)
    return s > 0 and (s - 1) / np.sqrt(variance) > Z


def hamed_rao(scene: Scene) -> bool:
    """Mann-Kendall with the variance that the significant autocorrelations of the detrended ranks make of it."""
    s, variance = kendall(scene)
    n = len(scene.values)
    slope = sen(scene)
    ranks = np.argsort(np.argsort(scene.values - slope * scene.times)).astype(float)
    ranks -= ranks.mean()
    spectrum = np.fft.rfft(ranks, 2 * n)
    acf = np.fft.irfft(spectrum * spectrum.conj())[:n]
    acf /= acf[0]
    lags = np.arange(1, n - 2)
    rho = np.where(np.abs(acf[1 : n - 2]) > 1.959963984540054 / np.sqrt(n), acf[1 : n - 2], 0.0)
    inflated = 1 + 2 / (n * (n - 1) * (n - 2)) * ((n - lags) * (n - lags - 1) * (n - lags - 2) * rho).sum()
    return bool(s > 0 and (s - 1) / np.sqrt(variance * max(inflated, 1e-9)) > Z)


def sen(scene: Scene) -> float:
    """Sen's slope, of every third point where there are many."""
    step = 1 + len(scene.times) // 500
    t, x = scene.times[::step], scene.values[::step]
    i, j = np.triu_indices(len(t), 1)
    return float(np.median((x[j] - x[i]) / (t[j] - t[i])))


METHODS: dict[str, Callable[[Scene], bool]] = {
    "OLS": least_squares,
    "Mann-Kendall": mann_kendall,
    "Hamed-Rao": hamed_rao,
    "predict_linear": predict_linear,
    "perfmon": lambda scene: verdict(scene) == "leak",
}


# ---------------------------------------------------------------- tables


def shares(families: Mapping[str, Family], n: int, runs: int) -> dict[str, dict[str, float]]:
    """By family and method."""
    found: dict[str, dict[str, float]] = {}
    for name, family in families.items():
        scenes = [series(name, family, n, run) for run in range(runs)]
        found[name] = {method: np.mean([says(scene) for scene in scenes]) for method, says in METHODS.items()}
    found["**mean**"] = {method: np.mean([row[method] for row in found.values()]) for method in METHODS}
    return found


def table(title: str, families: Mapping[str, Family], lengths: Iterable[int], runs: int) -> None:
    by_length = {n: shares(families, n, runs) for n in lengths}
    columns = [(method, n) for method in METHODS for n in by_length]
    print(f"\n| {title}, n = | " + " | ".join(f"{method} {n}" for method, n in columns) + " |")
    print("|---|" + "---|" * len(columns))
    for name in next(iter(by_length.values())):
        cells = (f"{by_length[n][name][method]:.3f}".lstrip("0") if name.startswith("**") else
                 f"{by_length[n][name][method]:.2f}".lstrip("0") or "0" for method, n in columns)  # fmt: skip
        print(f"| {name} | " + " | ".join(cell if cell.strip(".0") else "0" for cell in cells) + " |")


def traces(minutes: Iterable[float]) -> None:
    """The labelled traces, at their first so many minutes."""
    print("\n| 19 traces | " + " | ".join(METHODS) + " |\n|---|" + "---|" * len(METHODS))
    for cut in minutes:
        found: Counter[tuple[str, str]] = Counter()
        for label, scene in labelled(cut):
            found.update((method, label) for method, says in METHODS.items() if says(scene))
        cells = (f"{found[method, 'positive']} and {found[method, 'negative']}" for method in METHODS)
        print(f"| {cut:g} min: found of 9, false of 10 | " + " | ".join(cells) + " |")


def labelled(minutes: float) -> Iterable[tuple[str, Scene]]:
    for row in csv.DictReader((TRACES / "labels.csv").read_text().splitlines()):
        with gzip.open(TRACES / row["file"], "rt") as file:
            points = [(float(t), float(value)) for t, value in list(csv.reader(file))[1:]]
        kept = np.array([point for point in points if point[0] <= 60 * minutes])
        yield row["label"].partition("-")[0], Scene(kept[:, 0], kept[:, 1])


def cost(lengths: Iterable[int]) -> None:
    print("\n| CPU of one verdict | healthy | leaking |\n|---|---|---|")
    for n in lengths:
        cells = []
        for name, families in (("AR(1) 0.9", HEALTHY), ("5 % in AR(1) 0.9", LEAKING)):
            scenes = [series(name, families[name], n, run) for run in range(30)]
            began = time.process_time()
            for scene in scenes:
                verdict(scene)
            cells.append(f"{1000 * (time.process_time() - began) / len(scenes):.2f} ms")
        print(f"| {n} points | " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--lengths", type=int, nargs="+", default=[240, 480, 1440])
    parser.add_argument("--held-out", action="store_true")
    options = parser.parse_args()
    table("healthy: share called a leak", HEALTHY, options.lengths, options.runs)
    table("leaking: share called a leak", LEAKING, options.lengths, options.runs)
    if options.held_out:
        table("held out, healthy", HELD_HEALTHY, options.lengths, options.runs)
        table("held out, leaking", HELD_LEAKING, options.lengths, options.runs)
    traces((10, 22, 45))
    cost(options.lengths)


if __name__ == "__main__":
    main()
