"""Runs that stand for a bucket of a latency histogram, each by an id that opens it: the exemplars of OpenMetrics.

Pure. An id is made of what it names, the check and when its run began, so nothing has to be kept for finding it again:
also long after, an id leads to the check and the moment.
https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md#exemplars
"""

import re
import zlib
from collections.abc import Mapping
from typing import NamedTuple

from perfmon.model import Phase

__all__ = ["LABEL", "Exemplar", "RunId", "at_ms", "check_id", "read", "written"]

LABEL = "run_id"

Exemplar = tuple[float, float, Mapping[Phase, float], str]
"""A run: its duration in seconds, when it began in Unix time, its phases, and why it failed, or "none"."""


class RunId(NamedTuple):
    """One run of one check."""

    check: str  # see `check_id`
    at_ms: int  # when it began, milliseconds of Unix time

    def __str__(self) -> str:
        return f"{self.check}-{self.at_ms:x}"


def check_id(key: str) -> str:
    """Eight characters for the key of a check, the same in each life of the daemon."""
    return f"{zlib.crc32(key.encode('utf-8', 'replace')):08x}"


def at_ms(exemplar: Exemplar) -> int:
    """When it began, as its id says it."""
    return round(exemplar[1] * 1000)


def read(text: str) -> RunId | None:
    """The id that a text is; None when it is none."""
    found = _RUN_ID.fullmatch(text)
    return None if found is None else RunId(found[1], int(found[2], 16))


def written(check: str, exemplar: Exemplar) -> str:
    """What stands behind the value of a bucket's line."""
    seconds, wall, *_ = exemplar
    return f' # {{{LABEL}="{RunId(check, at_ms(exemplar))}"}} {seconds!r} {wall:.3f}'


_RUN_ID = re.compile("([0-9a-f]{8})-([0-9a-f]{1,14})", re.ASCII)
