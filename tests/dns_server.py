"""A name server on loopback that says what a test wants, over UDP, TCP or TLS."""

import asyncio
import contextlib
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Sequence

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import msgspec
from servers import serve

Reply = Sequence[bytes]  # what goes back on the wire, in this order; nothing = silence
Tell = Callable[[dns.message.Message], dns.message.Message | Reply]


class Asked(msgspec.Struct):
    """What the server heard."""

    udp: list[dns.message.Message] = []
    tcp: list[dns.message.Message] = []
    heard_from: list[tuple[str, int]] = []  # over UDP
    transport: asyncio.DatagramTransport | None = None

    def reply(self, wire: bytes) -> None:
        """Send something to whoever asked last over UDP."""
        self.transport.sendto(wire, self.heard_from[-1])


def answering(
    *records: str,
    authority: Sequence[str] = (),
    additional: Sequence[str] = (),
    rcode: str = "NOERROR",
    flags: str = "",
) -> Tell:
    """Records as `name TTL IN type data`; flags as `AA TC AD`."""

    def tell(query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.set_rcode(dns.rcode.from_text(rcode))
        response.flags |= dns.flags.from_text(flags)
        for section, texts in (
            (response.answer, records),
            (response.authority, authority),
            (response.additional, additional),
        ):
            for text in texts:
                name, ttl, klass, kind, data = text.split(None, 4)
                section.append(dns.rrset.from_text(name, int(ttl), klass, kind, data))
        return response

    return tell


@contextlib.asynccontextmanager
async def name_server(
    udp: Tell | None, tcp: Tell | None = None, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[str, Asked]]:
    """`("127.0.0.1:PORT", asked)`; a transport without its own `Tell` is not listened on."""
    asked = Asked()

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            query = dns.message.from_wire(await reader.readexactly(length))
            asked.tcp.append(query)
            for wire in _wires(tcp(query)):
                writer.write(struct.pack("!H", len(wire)) + wire)

    class Datagrams(asyncio.DatagramProtocol):
        def connection_made(self, transport) -> None:
            asked.transport = transport

        def datagram_received(self, data, sender) -> None:
            query = dns.message.from_wire(data)
            asked.udp.append(query)
            asked.heard_from.append(sender)
            for wire in _wires(udp(query)):
                asked.transport.sendto(wire, sender)

    async with contextlib.AsyncExitStack() as stack:
        port = 0
        if tcp is not None:
            port = await stack.enter_async_context(serve(stream, tls=tls))
        if udp is not None:
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_datagram_endpoint(Datagrams, local_addr=("127.0.0.1", port))
            stack.callback(transport.close)
            port = transport.get_extra_info("sockname")[1]
        yield f"127.0.0.1:{port}", asked


def _wires(said: dns.message.Message | Reply) -> Reply:
    return [said.to_wire()] if isinstance(said, dns.message.Message) else said
