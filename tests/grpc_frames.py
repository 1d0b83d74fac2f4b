"""A server of gRPC's HTTP/2 written by hand, frame by frame, so that it can say what no sane one does."""


def frame(kind, flags, payload, *, stream=1):
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def headers(*pairs, end=False):
    """A HEADERS frame, its fields as plain literals of HPACK."""
    fields = b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode() for name, value in pairs
    )
    return frame(1, 0x04 | end, fields)


def data(payload, *, end=False):
    return frame(0, end, payload)


SETTINGS = frame(4, 0, b"", stream=0) + frame(4, 1, b"", stream=0)
HEAD = headers((":status", "200"), ("content-type", "application/grpc"))
GOOD = b"\0\0\0\0\2\x08\x01"
OK_TRAILER = headers(("grpc-status", "0"), end=True)


def speaking(*frames, then_close=False):
    """Answer any call with these frames."""

    async def handle(reader, writer):
        await reader.readexactly(24)
        while (await _read_frame(reader))[0] != 0:
            pass
        writer.write(SETTINGS + b"".join(frames))
        await writer.drain()
        while not then_close and await reader.read(65_536):
            pass

    return handle


async def _read_frame(reader):
    head = await reader.readexactly(9)
    return head[3], await reader.readexactly(int.from_bytes(head[:3]))
