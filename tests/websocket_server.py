"""A WebSocket server written by hand, frame by frame, so that it can be wrong in every way."""

import asyncio
import base64
import hashlib

from servers import read_request

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def frame(opcode, payload=b"", *, final=True, masked=False):
    """A frame as a server sends it; a masked one is a fault."""
    length = len(payload)
    size = (
        bytes([length])
        if length < 126
        else b"\x7e" + length.to_bytes(2)
        if length < 65_536
        else b"\x7f" + length.to_bytes(8)
    )
    if masked:
        return bytes([0x80 * final | opcode, 0x80 | size[0]]) + size[1:] + bytes(4) + payload
    return bytes([0x80 * final | opcode]) + size + payload


async def read_frame(reader):
    """`(opcode, payload)` of a frame of the client's, which must be masked."""
    first, second = await reader.readexactly(2)
    assert second & 0x80, "a client masks"
    length = second & 0x7F
    if length == 126:
        length = int.from_bytes(await reader.readexactly(2))
    elif length == 127:
        length = int.from_bytes(await reader.readexactly(8))
    mask = await reader.readexactly(4)
    payload = await reader.readexactly(length)
    return first & 0x0F, bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


def accept_of(request):
    key = request.headers["sec-websocket-key"].encode()
    return base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()


def upgrading(talk=None, *, seen=None, **changed):
    """Upgrade, then `talk(reader, writer)`; `changed` are headers of the answer, None leaves one out."""

    async def handle(reader, writer):
        request = await read_request(reader)
        if seen is not None:
            seen.append(request)
        headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept_of(request)}
        headers |= {name.replace("_", "-"): value for name, value in changed.items()}
        lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
        writer.write("\r\n".join(["HTTP/1.1 101 Switching Protocols", *lines, "", ""]).encode())
        if talk is not None:
            await talk(reader, writer)
        while await reader.read(65_536):
            pass

    return handle


def saying(*frames, then=None):
    """Send frames, and do something to the connection."""

    async def talk(_reader, writer):
        writer.write(b"".join(frames))
        await writer.drain()
        if then is not None:
            await asyncio.sleep(0.02)
            then(writer)

    return talk


async def passing(reader, writer):
    """The dialogue of blackbox_exporter's own test."""
    writer.write(frame(TEXT, b"incoming_test"))
    opcode, payload = await read_frame(reader)
    writer.write(frame(TEXT, b"passed" if (opcode, payload) == (TEXT, b"outgoing_test") else b"no: " + payload))
