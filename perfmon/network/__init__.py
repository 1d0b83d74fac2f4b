"""What probes reach the network through, one for the whole process: resolver, transfer engine, backstop."""

from types import TracebackType
from typing import Self

from perfmon.clock import Clock
from perfmon.network.backstop import Backstop
from perfmon.network.prepared import Prepared
from perfmon.network.resolve import Resolver
from perfmon.network.transfer import Transfer

__all__ = ["Network"]


class Network:
    """Opened once, inside the running event loop: `async with Network(clock=clock) as network`.

    With `keep_alive`, HTTP connections serve more than one request; with `private`, no public address is ever reached.
    """

    def __init__(self, *, clock: Clock, keep_alive: bool = False, private: bool = False) -> None:
        self.resolver = Resolver(clock=clock, private=private)
        self.transfer = Transfer(clock=clock, keep_alive=keep_alive)
        self.backstop = Backstop(clock)
        self.prepared = Prepared(clock)

    async def __aenter__(self) -> Self:
        self.transfer.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.backstop.close()
        self.prepared.clear()
        self.transfer.close()
        await self.resolver.close()
