"""A real HTTP proxy on loopback: CONNECT, and requests in absolute form; every host is this machine."""

import asyncio
from urllib.parse import urlsplit

from servers import Request, answer, read_request


def proxying(*, seen: list[Request] | None = None, refuse: int = 0, wants: str = ""):
    """Pass everything on; `refuse` is answered to all, and 407 without `wants` as Proxy-Authorization."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await read_request(reader)
        if seen is not None:
            seen.append(request)
        if refuse or (wants and request.headers.get("proxy-authorization") != wants):
            writer.write(answer(b"no", status=refuse or 407))
            await writer.drain()
            return
        if request.method == "CONNECT":
            port = int(request.path.rpartition(":")[2])
            there = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"HTTP/1.1 200 Connection established\r\nX-From: proxy\r\n\r\n")
        else:
            parts = urlsplit(request.path)
            there = await asyncio.open_connection("127.0.0.1", parts.port or 80)
            there[1].write(_as_sent(request, parts.path))
        await _between((reader, writer), there)

    return handle


def _as_sent(request: Request, path: str) -> bytes:
    lines = [f"{request.method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + request.body


async def _between(one, other) -> None:
    async def copy(reader, writer) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()

    ways = [asyncio.create_task(copy(one[0], other[1])), asyncio.create_task(copy(other[0], one[1]))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        other[1].transport.abort()
        one[1].close()
