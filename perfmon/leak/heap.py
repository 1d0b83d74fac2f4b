"""Whether what a Python process has in use grows along with its memory: what tells fragmentation from a leak."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

from perfmon.leak.judge import Growth, growth

__all__ = ["HEAPS", "Heap", "HeapCourse", "heap_beside"]

HeapCourse = Literal["flat", "grows", "unknown"]
HEAPS: tuple[HeapCourse, ...] = get_args(HeapCourse)

_BLOCK_AT_MOST = 512  # bytes: what is larger Python asks malloc for
_SHARE = 0.2  # of the growth in question: less does not explain it


class Heap(NamedTuple):
    """What is in use, as it went while memory grew."""

    course: HeapCourse
    blocks: Growth | None = None  # of Python's allocator
    malloc: tuple[Growth, ...] = ()  # in bytes: what malloc has handed out, in its heap and mapped one by one


Track = tuple[Sequence[float], Sequence[float]]  # times and values


def heap_beside(grows_bytes_per_s: float, blocks: Track, malloc: Sequence[Track]) -> Heap:
    """Flat where all that is in use, at the upper end of its 95 % interval, explains less than a fifth of the growth.

    A block of Python's allocator counts as the 512 bytes that it has at most. Unknown where points are too few, nothing
    grows that would have to be explained, or what is in use goes up and down too much to say.
    """
    of_blocks, of_malloc = growth(*blocks), [growth(*track) for track in malloc]
    known = tuple(one for one in of_malloc if one is not None)
    if of_blocks is None or len(known) < len(of_malloc) or grows_bytes_per_s <= 0:
        return Heap("unknown", of_blocks, known)
    sizes = [(of_blocks, _BLOCK_AT_MOST), *((one, 1) for one in known)]
    at_most = sum(max(0.0, one.high) * size for one, size in sizes)
    likely = sum(max(0.0, one.slope) * size for one, size in sizes)
    width = sum((one.high - one.low) * size for one, size in sizes)
    if at_most < _SHARE * grows_bytes_per_s and width <= 2 * _SHARE * grows_bytes_per_s:
        return Heap("flat", of_blocks, known)
    surely = any(one.low > 0 for one, _ in sizes)
    return Heap("grows" if surely and likely >= _SHARE * grows_bytes_per_s else "unknown", of_blocks, known)
