"""Real servers on loopback, well-behaved and ill-behaved ones, each an async context manager that gives its port."""

import asyncio
import contextlib
import itertools
import re
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import trustme

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def serve(
    handler: Handler, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[int]:
    """Serve `handler` and give the port; connections that still stand at the end are cut."""
    tasks: set[asyncio.Task] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        # The client may go away at any time; that is what these servers are for.
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, asyncio.CancelledError):
            await handler(reader, writer)
        writer.transport.abort()

    server = await asyncio.start_server(handle, host, port, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# ---------------------------------------------------------------- servers that answer


class Request(msgspec.Struct, frozen=True):
    """What an HTTP server was asked."""

    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes = b""


def answer(
    body: bytes = b"hello\n",
    *,
    status: int = 200,
    headers: dict[str, str] | list[tuple[str, str]] = (),
    length: int | None = None,
    version: str = "1.1",
) -> bytes:
    """An HTTP response; `length` lies about the body's."""
    pairs = list(headers.items()) if isinstance(headers, dict) else list(headers)
    lines = [f"HTTP/{version} {status} Whatever", *(f"{name}: {value}" for name, value in pairs)]
    lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


def http(
    app: Callable[[Request], bytes] | bytes, *, seen: list[Request] | None = None, delay_s: float = 0.0
) -> Handler:
    """Answer one request per connection by `app(request)`; `seen` keeps the requests."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await read_request(reader)
        if seen is not None:
            seen.append(request)
        await asyncio.sleep(delay_s)
        writer.write(app if isinstance(app, bytes) else app(request))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    return handle


async def read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, path, headers, body)


def redirecting(hops: int | None, *, status: int = 302) -> Callable[[Request], bytes]:
    """`/0` leads to `/1` and so on, `hops` times or for ever."""

    def app(request: Request) -> bytes:
        number = int(re.sub(r"\D", "", request.path) or 0)
        if hops is not None and number >= hops:
            return answer()
        return answer(b"", status=status, headers={"Location": f"/{number + 1}"})

    return app


# ---------------------------------------------------------------- servers that do not


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take the connection and everything that is said on it, and answer nothing."""
    while await reader.read(65_536):
        pass


async def closing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take the connection and close it."""
    writer.close()
    await writer.wait_closed()


async def hanging_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read the request and close."""
    await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()


async def resetting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read the request and reset the connection."""
    await reader.readuntil(b"\r\n\r\n")
    reset(writer)


async def resetting_in_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send half of the body and reset the connection."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(answer(b"half", length=8))
    await writer.drain()
    await asyncio.sleep(0.05)
    reset(writer)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with SO_LINGER 0: the kernel sends RST."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


def dripping(interval_s: float = 0.05) -> Handler:
    """Send the head at once and the body byte by byte, for ever."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(b"", length=1_000_000))
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(interval_s)

    return handle


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a chunked body as fast as it is taken, for ever."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    while True:
        writer.write(chunk)
        await writer.drain()


async def endless_header(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send headers for ever."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\n")
    for number in itertools.count():
        writer.write(f"X-Header-{number}: {'x' * 1000}\r\n".encode())
        await writer.drain()


async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with bytes that are no HTTP."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(bytes(range(256)) * 4)
    await writer.drain()
    writer.close()
    await writer.wait_closed()


@contextlib.contextmanager
def flooding(data: bytes):
    """Answer the first bytes with `data`, again and again, as fast as it is taken; in a process of its own."""
    script = (
        "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)\n"
        "data = bytes.fromhex(sys.stdin.read()) * 8\n"
        "while True:\n"
        "    client = s.accept()[0]\n"
        "    try:\n"
        "        client.recv(4096)\n"
        "        while True: client.sendall(data)\n"
        "    except OSError: client.close()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as it:
        it.stdin.write(data.hex())
        it.stdin.close()
        try:
            yield int(it.stdout.readline())
        finally:
            it.kill()


def unused_port() -> int:
    """A port that refuses connections."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.contextmanager
def full_backlog():
    """A port that neither takes nor refuses connections: nobody accepts and the queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


# ---------------------------------------------------------------- TLS


class Authority:
    """A certificate authority whose root stands in `file`."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.ca = trustme.CA()
        self.file = str(folder / f"{name}.pem")
        self.ca.cert_pem.write_to_path(self.file)
        self._folder = folder
        self._numbers = itertools.count()

    def context(self, *names: str, until: datetime | None = None, ask_client: bool = False) -> ssl.SSLContext:
        """What a server for `names` needs; `ask_client` demands a certificate of this authority from the client."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.issue(*names, until=until).configure_cert(context)
        if ask_client:
            self.ca.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def issue(self, *names: str, until: datetime | None = None) -> trustme.LeafCert:
        since = datetime(2000, 1, 1, tzinfo=UTC)
        return self.ca.issue_cert(*names, not_before=since, not_after=until or datetime(2100, 1, 1, tzinfo=UTC))

    def client_files(self) -> tuple[str, str]:
        """Paths of a client's certificate and key."""
        leaf = self.issue("client.example")
        stem = self._folder / f"client{next(self._numbers)}"
        leaf.cert_chain_pems[0].write_to_path(f"{stem}.pem")
        leaf.private_key_pem.write_to_path(f"{stem}.key")
        return f"{stem}.pem", f"{stem}.key"


LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)

# ---------------------------------------------------------------- DNS


class Dns(asyncio.DatagramProtocol):
    """A name server: `zone` has names and their addresses; `broken` names get SERVFAIL, `mute` ones no answer."""

    def __init__(self, zone: dict[str, list[str]], *, broken: tuple[str, ...] = (), mute: tuple[str, ...] = ()) -> None:
        self.zone = zone
        self.asked: list[str] = []
        self._broken = broken
        self._mute = mute

    def connection_made(self, transport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, sender) -> None:
        name, end = _dns_name(data)
        question = data[12 : end + 4]
        (kind,) = struct.unpack("!H", data[end : end + 2])
        self.asked.append(name)
        if name in self._mute:
            return
        known = self.zone.get(name)
        code = 2 if name in self._broken else 3 if known is None else 0
        records = [_dns_record(address) for address in known or () if (":" in address) == (kind == 28)]
        head = struct.pack("!2sHHHHH", data[:2], 0x8180 | code, 1, len(records), 0, 0)
        self._transport.sendto(head + question + b"".join(records), sender)


@contextlib.asynccontextmanager
async def name_server(zone: dict[str, list[str]], **how) -> AsyncIterator[tuple[str, Dns]]:
    """`("127.0.0.1:PORT", server)`."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(lambda: Dns(zone, **how), local_addr=("127.0.0.1", 0))
    try:
        yield f"127.0.0.1:{transport.get_extra_info('sockname')[1]}", server
    finally:
        transport.close()


def _dns_name(data: bytes) -> tuple[str, int]:
    labels, at = [], 12
    while data[at]:
        labels.append(data[at + 1 : at + 1 + data[at]].decode())
        at += data[at] + 1
    return ".".join(labels).lower(), at + 1


def _dns_record(address: str) -> bytes:
    packed = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    return struct.pack("!HHHIH", 0xC00C, 28 if ":" in address else 1, 1, 3600, len(packed)) + packed
