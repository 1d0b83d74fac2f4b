"""A real HTTP/3 server on loopback: aioquic, one answer for every request."""

import contextlib
import socket
from collections.abc import AsyncIterator

from aioquic.asyncio import QuicConnectionProtocol, serve
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ProtocolNegotiated


class _Answering(QuicConnectionProtocol):
    headers: dict[bytes, bytes]
    body: bytes
    seen: list[dict[bytes, bytes]]
    _http: H3Connection | None = None

    def quic_event_received(self, event) -> None:
        if isinstance(event, ProtocolNegotiated):
            self._http = H3Connection(self._quic)
        for told in self._http.handle_event(event) if self._http is not None else ():
            if isinstance(told, HeadersReceived):
                self.seen.append(dict(told.headers))
                self._http.send_headers(told.stream_id, list(self.headers.items()))
                self._http.send_data(told.stream_id, self.body, end_stream=True)
                self.transmit()


@contextlib.asynccontextmanager
async def http3(
    leaf, folder, *, body: bytes = b"hello\n", status: int = 200, seen: list[dict[bytes, bytes]] | None = None
) -> AsyncIterator[int]:
    """Serve over UDP with the certificate `leaf` of trustme, and give the port."""
    chain, key = folder / "http3.pem", folder / "http3.key"
    chain.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(str(key))
    configuration = QuicConfiguration(is_client=False, alpn_protocols=H3_ALPN)
    configuration.load_cert_chain(str(chain), str(key))

    def protocol(*how, **more):
        one = _Answering(*how, **more)
        one.headers = {b":status": str(status).encode(), b"content-length": str(len(body)).encode()}
        one.body, one.seen = body, [] if seen is None else seen
        return one

    port = _free_udp_port()
    server = await serve("127.0.0.1", port, configuration=configuration, create_protocol=protocol)
    try:
        yield port
    finally:
        server.close()


def _free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
