"""Packed bodies, however they come and wherever they end."""

import contextlib
import zlib

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmon.network.unpack import Unpacker, UnpackingError


def pack(text, form):
    if form == "br":
        return brotli.compress(text, quality=5)
    packer = zlib.compressobj(wbits={"gzip": 31, "zlib": 15, "raw": -15}[form])
    return packer.compress(text) + packer.flush()


def unpack(encoding, *chunks):
    """What was unpacked, and whether that was all."""
    unpacker = Unpacker(encoding)
    return b"".join(piece for chunk in chunks for piece in unpacker.unpack(chunk)), unpacker.ended


FORMS = st.sampled_from([("gzip", "gzip"), ("deflate", "zlib"), ("deflate", "raw"), ("br", "br")])


@given(FORMS, st.binary(max_size=300), st.integers(1, 50))
def test_a_body_is_unpacked_however_it_comes(form, text, size):
    encoding, kind = form
    packed = pack(text, kind)

    assert (text, True) == unpack(encoding, *(packed[at : at + size] for at in range(0, len(packed), size)))


@given(FORMS, st.binary(max_size=300), st.data())
def test_no_beginning_of_a_body_is_all_of_it(form, text, data):
    encoding, kind = form
    packed = pack(text, kind)
    begun, ended = unpack(encoding, packed[: data.draw(st.integers(0, len(packed) - 1))])

    assert not ended
    assert text.startswith(begun)


def test_gzip_may_have_several_members():
    assert (b"onetwo", True) == unpack("gzip", pack(b"one", "gzip") + pack(b"two", "gzip"))
    assert (b"onet", False) == (unpack("gzip", pack(b"one", "gzip") + pack(b"t", "gzip")[:-8]))


@pytest.mark.parametrize(("encoding", "largest"), [("gzip", 1 << 16), ("br", 1 << 17)])
def test_a_bomb_comes_in_pieces(encoding, largest):
    unpacker = Unpacker(encoding)
    sizes = [len(piece) for piece in unpacker.unpack(pack(bytes(10 << 20), encoding))]

    assert (10 << 20, True) == (sum(sizes), unpacker.ended)
    assert max(sizes) <= largest


@pytest.mark.parametrize("form", ["gzip", "zlib", "raw", "br"])
def test_the_end_of_a_piece_may_fall_anywhere(form):
    for size in range((1 << 17) - 300, (1 << 17) + 300):
        unpacked, ended = unpack(form if form in ("gzip", "br") else "deflate", pack(bytes(size), form))
        assert (size, True) == (len(unpacked), ended)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
@given(said=st.binary(min_size=2, max_size=100))
def test_whatever_comes_is_unpacked_or_is_no_such_stream(encoding, said):
    with contextlib.suppress(UnpackingError):
        unpack(encoding, said)
