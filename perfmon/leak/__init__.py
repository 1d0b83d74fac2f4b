"""Does this series leak? A verdict that is believed at three in the morning, from points and nothing else.

    judge(times, values) -> Judgement      clean, suspect, growing, leak or insufficient_data, and why in words
    growth(times, values) -> Growth        how fast, whatever the reason
    per_request(times, values, requests)   how much of the growth each request leaves behind
    per_request_of_load(times, values, ends, done)   the same, of a load that was counted by seconds
    heap_beside(slope, blocks, malloc)     whether what a Python process has in use grows along

The design is that of `docs/leaks.md`: the series is cut into some thirty blocks with two envelopes, the middle and the
low one (`blocks`); a robust slope gets an interval and a test that know that noise remembers itself (`fit`); and what
grows for another reason than a leak is told apart by name (`guards`). Plain Python on 32 blocks takes 1 to 2 ms a
series of 1,440 points; numpy would be no faster there and cost the daemon 24 MiB.
"""

from perfmon.leak.heap import HEAPS, Heap, heap_beside
from perfmon.leak.judge import VERDICTS, Growth, Judgement, LeakVerdict, growth, judge
from perfmon.leak.line import Line, lines_of
from perfmon.leak.requests import CAUSES, PerRequest, per_request, per_request_of_load
from perfmon.leak.trend import LEAST_FOR_GROWTH, LEAST_POINTS

__all__ = [
    "CAUSES",
    "HEAPS",
    "LEAST_FOR_GROWTH",
    "LEAST_POINTS",
    "VERDICTS",
    "Growth",
    "Heap",
    "Judgement",
    "LeakVerdict",
    "Line",
    "PerRequest",
    "growth",
    "heap_beside",
    "judge",
    "lines_of",
    "per_request",
    "per_request_of_load",
]
