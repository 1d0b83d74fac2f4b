"""A thread for one call, awaited from the event loop.

An executor's threads are few, and Python waits for them when the process ends. One call that never comes back (a read
from a network filesystem that is gone) would hold up the other calls, and the end.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

__all__ = ["in_thread"]

Result = TypeVar("Result")


def in_thread(call: Callable[[], Result], name: str) -> asyncio.Future[Result]:
    """Begin `call` in a thread of its own; who stops waiting for it leaves it to itself."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def tell(put: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(lambda: None if future.done() else put())

    def run() -> None:
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - it belongs to who awaits it
            tell(partial(future.set_exception, error))
        else:
            tell(partial(future.set_result, result))

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
