"""What glibc's malloc holds: the difference between memory in use and memory that it keeps."""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

__all__ = ["Heap", "heap", "version"]


class Heap(NamedTuple):
    """Bytes, of all arenas. What Python's own allocator for small objects has mapped is not in it."""

    in_use: int  # handed out, without the large blocks that are mapped one by one
    arena: int  # taken from the kernel for such blocks, in use or free
    mapped: int  # large blocks, mapped one by one


def heap() -> Heap | None:
    """How things stand now; None where malloc is not glibc's 2.33 or newer. Takes longer the more free blocks it has.

    With another malloc loaded before it (jemalloc, tcmalloc) these are glibc's numbers still: nearly nothing.
    """
    ask = _mallinfo2()
    if ask is None:
        return None
    told = ask()
    return Heap(in_use=told.uordblks, arena=told.arena, mapped=told.hblkhd)


@cache
def version() -> str:
    """`glibc 2.36`, "" where the C library is another."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return ""
    ask = library.gnu_get_libc_version
    ask.restype = ctypes.c_char_p
    return f"glibc {ask().decode()}"


class _Mallinfo2(ctypes.Structure):
    """https://man7.org/linux/man-pages/man3/mallinfo.3.html."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    )


@cache
def _mallinfo2() -> Callable[[], _Mallinfo2] | None:
    library = ctypes.CDLL(None)  # a call of it lets go of the GIL
    if not hasattr(library, "mallinfo2"):  # `mallinfo` before it counts in ints, and is wrong from 2 GiB on
        return None
    ask = library.mallinfo2
    ask.restype = _Mallinfo2
    ask.argtypes = ()
    return ask
