"""What probes reach the network through, one for the whole process: resolver, transfer engine, backstop."""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from perfmon.clock import Clock
from perfmon.model import Target
from perfmon.network.backstop import Backstop
from perfmon.network.resolve import Resolver
from perfmon.network.transfer import Transfer

__all__ = ["Network"]

T = TypeVar("T")

_PREPARED_AT_MOST = 50_000


class Network:
    """Opened once, inside the running event loop: `async with Network(clock=clock) as network`."""

    def __init__(self, *, clock: Clock) -> None:
        self.resolver = Resolver(clock=clock)
        self.transfer = Transfer(clock=clock)
        self.backstop = Backstop(clock)
        self._prepared: dict[tuple[Any, ...], tuple[Any, Any]] = {}

    async def __aenter__(self) -> Self:
        self.transfer.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._prepared.clear()
        self.backstop.close()
        self.transfer.close()
        await self.resolver.close()

    def prepared(self, target: Target, config: Any, prepare: Callable[[Target, Any], T]) -> T:
        """What `prepare` once made of this target and config: a parsed URL, a configured handle.

        The config is told by identity (a reload makes new ones) and kept alive here, so its id stays its own.
        """
        key = (target.address, target.hostname, id(config), prepare)
        entry = self._prepared.get(key)
        if entry is None:
            if len(self._prepared) >= _PREPARED_AT_MOST:
                del self._prepared[next(iter(self._prepared))]
            entry = self._prepared[key] = (config, prepare(target, config))
        made: T = entry[1]
        return made
