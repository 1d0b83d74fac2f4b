"""What servers of databases say, written by hand: enough for a probe to log in and to get a row."""

import asyncio
import struct

from servers import closing, reset, silent


def saying(*parts: bytes, then="wait"):
    """Say the first part at once, and each other one after the client said something; then wait, close or reset."""

    async def handle(reader, writer):
        for number, part in enumerate(parts):
            if number:
                await reader.read(65_536)
            writer.write(part)
            await writer.drain()
        if then == "wait":
            await silent(reader, writer)
        elif then == "reset":
            await asyncio.sleep(0.05)
            reset(writer)
        else:
            await closing(reader, writer)

    return handle


def pg(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def my(number: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "little") + bytes([number]) + body


PG_READY = pg(b"R", b"\0\0\0\0") + pg(b"Z", b"I")
PG_COLUMN = pg(b"T", b"\0\1n\0" + b"\0" * 18)
PG_ROW = pg(b"D", b"\0\1\0\0\0\1" + b"1")
SALT = bytes(range(1, 21))


def greeting(method=b"mysql_native_password", capabilities=0xF7FE, version=b"8.0.36") -> bytes:
    low, high = (capabilities | 0x80000).to_bytes(4, "little")[:2], (capabilities | 0x80000).to_bytes(4, "little")[2:]
    head = b"\x0a" + version + b"\0" + b"\1\0\0\0" + SALT[:8] + b"\0" + low + b"\x2d\2\0" + high + b"\x15" + b"\0" * 10
    return my(0, head + SALT[8:] + b"\0" + method + b"\0")


MY_OK = b"\0\0\0\2\0\0\0"
MY_COLUMN = my(1, b"\1") + my(2, b"\3def\0\0\0\1n\0\x0c\x3f\0\1\0\0\0\3\0\0\0\0\0") + my(3, b"\xfe\0\0\2\0")


# What a server says until the first row, in parts that each wait for the client; and a row.
UNTIL_ROWS = {
    "postgres": (b"", PG_READY, PG_COLUMN),
    "mysql": (greeting(), my(2, MY_OK), my(1, MY_OK), MY_COLUMN),
    "redis": (b"", b"+OK\r\n", b"*1000000000\r\n"),
}
ROW = {"postgres": PG_ROW, "mysql": my(4, b"\1" + b"1"), "redis": b":1\r\n"}
