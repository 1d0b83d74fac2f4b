"""Read what `perfmon.instrument` tells of the inside of a Python service, from the service's own /metrics.

Where resident memory grows and allocated blocks stay flat, it is fragmentation that grows, and no leak.
"""

from collections.abc import Iterator

from perfmon import scrape
from perfmon.clock import Clock
from perfmon.instrument.python import HELP, PAUSES
from perfmon.metrics import family_named
from perfmon.model import Sample
from perfmon.prometheus_text import Series, read
from perfmon.scrape import Source

__all__ = ["FAMILIES", "LIFE", "Config", "Reader", "check", "open"]


class Config(Source, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The page."""


def _labels(name: str) -> tuple[str, ...]:
    if name == "perfmon_python_info":
        return ("implementation", "malloc", "version")
    return ("generation",) if "_gc_" in name else ()


_PAUSE_SECONDS, _PAUSE_RUNS = "perfmon_python_gc_pause_seconds_total", "perfmon_python_gc_pauses_total"
_OF_PAUSES = {f"{PAUSES}_sum": _PAUSE_SECONDS, f"{PAUSES}_count": _PAUSE_RUNS}

FAMILIES = (
    *(family_named(name, text, *_labels(name)) for name, text in HELP.items()),
    family_named(_PAUSE_SECONDS, "Time for which the garbage collector held the process up."),
    family_named(_PAUSE_RUNS, "Times that it did."),
)

LIFE = "perfmon_python_start_timestamp_seconds"


def check(config: Config) -> Iterator[tuple[str, str]]:
    """Mistakes that types cannot express."""
    yield from scrape.check(config)


def open(config: Config, clock: Clock) -> "Reader":  # noqa: A001, ARG001 - the contract of all samplers
    """A reader that has asked for nothing yet."""
    return Reader(config)


class Reader:
    """Fetches the page anew at each reading."""

    def __init__(self, config: Config) -> None:
        self.missing = ""
        self._config = config

    def sample(self) -> list[Sample]:
        """What is there; LookupError when nothing of it is."""
        found = read(scrape.fetch(self._config), _NAMES.__contains__)
        samples = [_sample(one) for one in found.series if _is_ours(one)]
        if not samples:
            where = scrape.origin(self._config)
            raise LookupError(f"{where}: the page has no gauges of perfmon.instrument: does the service register them?")
        return samples


_DECLARED = {family.name: set(family.labels) for family in FAMILIES}
_NAMES = frozenset({*HELP, *_OF_PAUSES})


def _is_ours(one: Series) -> bool:
    """With further labels they are of several processes, gathered by somebody else: not one process' gauges."""
    return {name for name, _ in one.labels} <= _DECLARED[_OF_PAUSES.get(one.name, one.name)]


def _sample(one: Series) -> Sample:
    return Sample(name=_OF_PAUSES.get(one.name, one.name), value=one.value, labels=dict(one.labels))
