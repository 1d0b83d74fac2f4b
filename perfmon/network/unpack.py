"""Undoes gzip and deflate piece by piece, and knows where their end is: libcurl takes half a stream for a whole."""

import zlib
from collections.abc import Iterator

__all__ = ["Unpacker"]

_PIECE_BYTES = 1 << 16
_GZIP, _RAW = 31, -15


class Unpacker:
    """For one body. `gzip` may have several members in a row, `deflate` has zlib's header or none."""

    def __init__(self, encoding: str) -> None:
        self.ended = False  # the stream is whole
        self._gzip = encoding == "gzip"
        self._stream = zlib.decompressobj(_GZIP) if self._gzip else None
        self._head = b""  # of deflate, until it says which of the two it is

    def unpack(self, chunk: bytes) -> Iterator[bytes]:
        """What the chunk holds, in pieces of 64 KiB at most; zlib.error for what is no such stream."""
        if self._stream is None:
            chunk = self._head = self._head + chunk
            if len(chunk) < 2:
                return
            self._stream = zlib.decompressobj(zlib.MAX_WBITS if _has_header(chunk) else _RAW)
        more = True  # may be inside, although all of the chunk went in
        while chunk or more:
            if self._stream.eof:
                if not chunk or not self._gzip:  # what follows deflate is nothing of ours
                    return
                self._stream = zlib.decompressobj(_GZIP)
            piece = self._stream.decompress(chunk, _PIECE_BYTES)
            more = len(piece) == _PIECE_BYTES
            self.ended = self._stream.eof
            if piece:
                yield piece
            chunk = self._stream.unused_data if self.ended else self._stream.unconsumed_tail


def _has_header(head: bytes) -> bool:
    """RFC 1950: the method is 8, and the first two bytes are a multiple of 31."""
    return head[0] & 0x0F == 8 and int.from_bytes(head[:2], "big") % 31 == 0
