"""Remembers what probes made ready for a target and a config, and forgets what is no longer used."""

from collections.abc import Callable
from typing import Any, TypeVar

from perfmon.clock import Clock
from perfmon.model import Failure, Target
from perfmon.network.address import BadAddress

__all__ = ["Prepared"]

T = TypeVar("T")
_Key = tuple[str, str, int, Callable[..., Any]]

_UNUSED_S = 600.0  # forgotten between one and two times this after its last use
_AT_MOST = 10_000  # so that a client of /probe with ever new targets cannot fill the memory


class Prepared:
    """Two generations: what is asked for moves to the younger one, and the older one is dropped as a whole."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._younger: dict[_Key, tuple[Any, Any]] = {}
        self._older: dict[_Key, tuple[Any, Any]] = {}
        self._turned = clock.monotonic()

    def get(self, target: Target, config: Any, prepare: Callable[[Target, Any], T]) -> T | Failure:
        """What `prepare` made of this target and config, made now if need be; of a bad address, the failure it is.

        The config is told by identity (a reload makes new ones) and kept alive here, so that its id stays its own.
        """
        key = (target.address, target.hostname, id(config), prepare)
        if self._clock.monotonic() - self._turned > _UNUSED_S or len(self._younger) >= _AT_MOST:
            self._turn()
        entry = self._younger.get(key)
        if entry is None:
            entry = self._older.pop(key, None) or (config, _made(prepare, target, config))
            self._younger[key] = entry
        made: T | Failure = entry[1]
        return made

    def clear(self) -> None:
        """Forget everything."""
        self._younger.clear()
        self._older.clear()

    def _turn(self) -> None:
        self._older, self._younger = self._younger, {}
        self._turned = self._clock.monotonic()


def _made(prepare: Callable[[Target, Any], T], target: Target, config: Any) -> T | Failure:
    try:
        return prepare(target, config)
    except BadAddress as error:
        return Failure(reason="unreachable", phase="", message=str(error))
