"""What is seen of a test while it runs."""

import io

from loading import arrivals, scenario
from rich.console import Console

from perfmon.perftest.live import open_view
from perfmon.run import Snapshot, Tally


def shown(console_is_terminal, duration_s=10, seconds=3):
    out = io.StringIO()
    console = Console(file=out, force_terminal=console_is_terminal, width=120, highlight=False)
    tally = Tally()
    one = scenario("http://127.0.0.1:8080/", arrivals(10, duration_s), "p(95) < 5ms", "failed: rate < 50%")
    with open_view(one, console) as view:
        for number in range(seconds):
            second = Snapshot(begin_s=number, end_s=number + 1.0, due=10, started=10, done=10, in_flight=2, waiting=7)
            for _ in range(10):
                second.response.record(0.01)
            second.failed["status 503"] = 1
            tally.add(second)
            view.second(second, tally)
    return out.getvalue()


def test_a_terminal_gets_a_panel_with_the_thresholds_so_far():
    text = shown(console_is_terminal=True)

    for part in ("last 3s", "10/s", "10ms", "7s left", "3 status 503", "BROKEN p95 of duration is 10ms", "\x1b["):
        assert part in text


def test_whatever_is_no_terminal_gets_plain_lines():
    lines = shown(console_is_terminal=False).splitlines()

    assert 3 == len(lines)
    assert "3s of 10s: 10/s, 2 in flight, 7 waiting, p50 10ms p95 10ms p99 10ms, 3 failed" == lines[-1]
    assert "\x1b" not in "".join(lines)


def test_a_long_test_fills_no_log():
    assert 2 == len(shown(console_is_terminal=False, duration_s=36_000, seconds=130).splitlines())
