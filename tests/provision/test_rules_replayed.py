"""The same rule text, judged by perfmon and by Prometheus over one recorded past: the same alerts at the same times.

Two differences are known, and told in docs/prometheus.md: Prometheus keeps an alert one evaluation longer with
`keep_firing_for`, and where a probe is not run it goes on counting the last value of a gauge.
"""

import random

import pytest
import replay

COUNTED = [
    '{name: Down, select: {probe: "s*"}, threshold: "rate < 50% over 28s", for: 10s, keep_firing_for: 15s}',
    '{name: Unreliable, threshold: "rate < 15% warning, 45% critical over 58s"}',
    '{name: Last, threshold: "last < 1", for: 5s, labels: {team: "{{x}}"}}',
    '{name: Often, threshold: "sum < 3.5 over 58s"}',
    "{name: Silent, absent: 17s}",
]
MEASURED = [
    '{name: Slow, metric: duration, select: {path: "a*b"}, threshold: "p(90) < 500ms over 28s", for: 10s}',
    '{name: Average, metric: duration, threshold: "avg < 200ms warning, 450ms critical over 43s"}',
    '{name: Slowest, metric: "duration:connect", threshold: "max < 500ms over 12s", keep_firing_for: 10s}',
    '{name: Both, metric: duration, threshold: {warning: "med < 300ms over 28s", critical: "min < 300ms over 13s"}}',
]
SAMPLED = [
    '{name: Gone, select: {group: api}, metric: perfmon_process_up, threshold: "last >= 1", for: 10s}',
    '{name: Threads, metric: perfmon_process_threads, threshold: "avg <= 30 over 28s"}',
    '{name: Cpu, metric: perfmon_process_cpu_usage_seconds_total, threshold: "rate < 30% over 28s", for: 5s}',
]
CALM = "." * 14
PASTS = {
    "outage": (f"{CALM}{'x' * 20}{'.' * 20}", COUNTED + MEASURED + SAMPLED),
    "flap": (f"{CALM}{'x.' * 10}{'xx..' * 6}{'.' * 16}", COUNTED + MEASURED + SAMPLED),
    "slow": (f"{CALM}{'s' * 12}{'.s' * 6}{'.' * 16}", COUNTED + MEASURED + SAMPLED),
    "one failure": (f"{CALM}x{'.' * 14}", COUNTED),
    "silence": (f"{CALM}{'-' * 16}{'.' * 10}x-x-x-x{'.' * 14}", COUNTED),
    "restart while calm": (f"{CALM}RR{'.' * 14}x.x{'.' * 14}", COUNTED),
    # A restart empties perfmon's windows, and none of Prometheus', so only shares and the last run are the same.
    "restart in an outage": (
        f"{CALM}{'x' * 16}R{'x' * 14}{'.' * 20}",
        [rule for rule in COUNTED if "sum" not in rule],
    ),
}


async def compared(binary, folder, past, rules, **scraping):
    read = replay.configured(folder, rules)
    timeline, pages = await replay.lived(read, past, folder)
    same, printed = replay.told_by_prometheus(
        binary("promtool"), folder, read, pages, replay.kept_longer(timeline, read), **scraping
    )
    assert same, printed
    return replay.changes(timeline)


@pytest.mark.servers
@pytest.mark.parametrize("name", PASTS)
async def test_prometheus_and_perfmon_tell_the_same(binary, tmp_path, name):
    past, rules = PASTS[name]

    seen = await compared(binary, tmp_path, past, rules)

    assert seen


@pytest.mark.servers
@pytest.mark.parametrize(("bad", "fires"), [("x.....x.....x", True), ("x.....x......", False), ("x" * 15, True)])
async def test_a_budget_burns_at_the_same_times(binary, tmp_path, bad, fires):
    """perfmon counts in sixtieths of a window, which here are a tick; and what is as old as the window is in neither."""
    windows = [
        f"{{long: 1h, short: 300s, burn: {burn}, severity: {level}}}"
        for burn, level in [(3, "warning"), (9, "critical")]
    ]
    budget = f"{{name: Budget, burn_rate: {{objective: 99%, period: 1d, windows: [{', '.join(windows)}]}}}}"

    seen = await compared(binary, tmp_path, f"{CALM * 2}{bad}{'.' * 75}", [budget], scrape_s=4.9)

    assert fires == (0 < seen["Budget", "firing"] == seen["Budget", "over"])


@pytest.mark.servers
@pytest.mark.parametrize("seed", range(4))
async def test_they_tell_the_same_of_a_random_past(binary, tmp_path, seed):
    """Runs that come in spells of good, bad and slow ones."""
    chance = random.Random(seed)
    spells = ((chance.choice(".xs"), min(int(chance.expovariate(0.3)) + 1, 30)) for _ in range(30))
    past = CALM + "".join(sign * length for sign, length in spells)[:120]

    seen = await compared(binary, tmp_path, past, COUNTED + MEASURED + SAMPLED)

    assert 20 < sum(seen.values())
