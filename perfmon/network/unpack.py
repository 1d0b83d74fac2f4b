"""Undoes gzip, deflate and brotli piece by piece, and knows their end: libcurl takes half a stream for a whole."""

import zlib
from collections.abc import Iterator
from typing import Any

__all__ = ["ENCODINGS", "Unpacker", "UnpackingError"]

ENCODINGS = ("br", "deflate", "gzip")

_PIECE_BYTES = 1 << 16
_GZIP, _RAW = 31, -15


class UnpackingError(Exception):
    """What came is no stream of that encoding."""


class Unpacker:
    """For one body, in one of `ENCODINGS`. `gzip` may have several members, `deflate` has zlib's header or none."""

    def __init__(self, encoding: str) -> None:
        self._stream: _Brotli | _Zlib = _Brotli() if encoding == "br" else _Zlib(is_gzip=encoding == "gzip")

    @property
    def ended(self) -> bool:
        """Whether the stream is whole."""
        return self._stream.ended

    def unpack(self, chunk: bytes) -> Iterator[bytes]:
        """What the chunk holds, in pieces of about 64 KiB; `UnpackingError` for what is no such stream."""
        return self._stream.unpack(chunk)


class _Brotli:
    def __init__(self) -> None:
        import brotli  # noqa: PLC0415 - half a megabyte that only this encoding needs

        self.ended = False
        self._error: type[Exception] = brotli.error
        self._stream: Any = brotli.Decompressor()

    def unpack(self, chunk: bytes) -> Iterator[bytes]:
        """More may be inside when all of the chunk went in; the limit on a piece is the decoder's, and rough."""
        while not self.ended:
            try:
                piece = self._stream.process(chunk, output_buffer_limit=_PIECE_BYTES)
            except self._error as error:
                raise UnpackingError("no brotli stream") from error
            chunk = b""
            self.ended = self._stream.is_finished()
            if not piece:
                return
            yield piece


class _Zlib:
    def __init__(self, *, is_gzip: bool) -> None:
        self.ended = False
        self._gzip = is_gzip
        self._stream = zlib.decompressobj(_GZIP) if is_gzip else None
        self._head = b""  # of deflate, until it says which of the two it is

    def unpack(self, chunk: bytes) -> Iterator[bytes]:
        try:
            yield from self._unpack(chunk)
        except zlib.error as error:
            raise UnpackingError(str(error)) from error

    def _unpack(self, chunk: bytes) -> Iterator[bytes]:
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
