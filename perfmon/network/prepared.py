"""Remembers what probes made ready for a target and a config, and forgets what is no longer used."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

from perfmon.clock import Clock
from perfmon.model import Failure, Target
from perfmon.network.address import BadAddress

__all__ = ["Prepared"]

T = TypeVar("T")
_Key = tuple[str, str, int, Callable[..., Any]]

_UNUSED_S = 600.0  # forgotten between one and two times this after its last use
_AT_MOST = 10_000  # some 10 KB each
# Of targets that a client of /probe names, which may be ever new ones; it costs less to prepare than to probe.
_AT_MOST_NAMED = 256


class Prepared:
    """Two generations: what is asked for moves to the younger one, and the older one is dropped as a whole.

    Targets that belong to no check share a few places, of which the longest unused is given up first.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._younger: dict[_Key, tuple[Any, Any]] = {}
        self._older: dict[_Key, tuple[Any, Any]] = {}
        self._named: OrderedDict[_Key, tuple[Any, Any]] = OrderedDict()
        self._turned = clock.monotonic()

    def get(self, target: Target, config: Any, prepare: Callable[[Target, Any], T]) -> T | Failure:
        """What `prepare` made of this target and config, made now if need be; of a bad address, the failure it is.

        The config is told by identity (a reload makes new ones) and kept alive here, so that its id stays its own.
        """
        made_ready = self._of_check if target.probe else self._of_request
        entry = made_ready((target.address, target.hostname, id(config), prepare), target, config)
        made: T | Failure = entry[1]
        return made

    def forget(self, target: Target, config: Any, prepare: Callable[[Target, Any], Any]) -> None:
        """Make it anew when it is asked for next, since it rests on something that has changed."""
        key = (target.address, target.hostname, id(config), prepare)
        for kept in (self._younger, self._older, self._named):
            kept.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self._younger.clear()
        self._older.clear()
        self._named.clear()

    def __len__(self) -> int:
        return len(self._younger) + len(self._older) + len(self._named)

    def _of_check(self, key: _Key, target: Target, config: Any) -> tuple[Any, Any]:
        if self._clock.monotonic() - self._turned > _UNUSED_S or len(self._younger) >= _AT_MOST:
            self._turn()
        entry = self._younger.get(key)
        if entry is None:
            entry = self._older.pop(key, None) or (config, _made(key[3], target, config))
            self._younger[key] = entry
        return entry

    def _of_request(self, key: _Key, target: Target, config: Any) -> tuple[Any, Any]:
        entry = self._named.get(key)
        if entry is None:
            entry = self._named[key] = (config, _made(key[3], target, config))
            if len(self._named) > _AT_MOST_NAMED:
                self._named.popitem(last=False)
        self._named.move_to_end(key)
        return entry

    def _turn(self) -> None:
        self._older, self._younger = self._younger, {}
        self._turned = self._clock.monotonic()


def _made(prepare: Callable[[Target, Any], T], target: Target, config: Any) -> T | Failure:
    try:
        return prepare(target, config)
    except BadAddress as error:
        return Failure(reason="unreachable", phase="", message=str(error))
