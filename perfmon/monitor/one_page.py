"""Serve one page of metrics and nothing else, for a command that runs a while; the daemon has far more."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

from prometheus_client.samples import Sample
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perfmon.metrics import Family
from perfmon.monitor import listen as listening
from perfmon.monitor.negotiation import negotiate
from perfmon.monitor.textformat import write_samples

__all__ = ["PATH", "Families", "serve"]

PATH = "/metrics"

Families = Iterable[tuple[Family, Iterable[Sample]]]
"""What stands on the page; a family without samples is left out."""


@contextlib.asynccontextmanager
async def serve(families: Callable[[], Families], listen: Sequence[str]) -> AsyncIterator[tuple[str, ...]]:
    """While the context lasts, answer with what `families` gives when asked; yields the addresses as bound.

    `listen` is as for `perfmon.monitor.listen.serve`: UsageError when an address cannot be listened on.
    """

    async def page(request: Request) -> Response:
        form = negotiate(request.headers.get("accept", ""))
        parts = []
        for family, samples in families():
            parts.append(write_samples(family, samples, form))
            await asyncio.sleep(0)  # whoever measures gets his turn in between
        return Response("".join(parts) + form.end, headers={"content-type": form.content_type})

    async with listening.serve(Starlette(routes=[Route(PATH, page)]), listen) as addresses:
        yield addresses
