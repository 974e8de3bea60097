"""Chunks of offsets and of metalayers, which C-Blosc2 is only given where they are harmless."""

from __future__ import annotations

import numpy as np
import pytest

import caterva_cffi as cat
from caterva_cffi.format.byte_chunks import (
    UNQUESTIONED,
    check_byte_chunk,
    decode_byte_chunk,
    is_possible,
)
from caterva_cffi.format.chunk_header import special_header
from caterva_cffi.format.offsets import encode_offsets

CONTENT = np.arange(100)
CHUNK = encode_offsets(CONTENT).tobytes()


@pytest.mark.parametrize("behind", [b"", b"anything"])
@pytest.mark.parametrize("nbytes", [None, CONTENT.nbytes])
def test_decoding(behind, nbytes):
    assert decode_byte_chunk(CHUNK + behind, nbytes, "").tobytes() == CONTENT.tobytes()


@pytest.mark.parametrize("nbytes", [0, CONTENT.nbytes - 1, CONTENT.nbytes + 1])
def test_another_length(nbytes):
    with pytest.raises(cat.FormatError, match=rf"^the offsets: .* for {nbytes}$"):
        decode_byte_chunk(CHUNK, nbytes, "the offsets")


@pytest.mark.parametrize("size", range(len(CHUNK)))
def test_a_chunk_that_is_cut_off(size):
    with pytest.raises(cat.FormatError, match=r"^the offsets: "):
        decode_byte_chunk(CHUNK[:size], None, "the offsets")


def test_plugins_are_not_looked_for():
    chunk = bytearray(CHUNK)
    chunk[21] = 200
    with pytest.raises(cat.FormatError, match=r"^the offsets: a codec, filter or flag"):
        check_byte_chunk(bytes(chunk), "the offsets")


def test_memory_in_proportion():
    assert is_possible(UNQUESTIONED, 0)
    assert not is_possible(UNQUESTIONED + 1, 0)
    assert is_possible(UNQUESTIONED + 1024, 1)
    chunk = special_header(1 << 30, 1 << 20, 8, 1)
    with pytest.raises(cat.FormatError, match="32 bytes that would decode to 1073741824"):
        check_byte_chunk(chunk, "the offsets")
    check_byte_chunk(special_header(UNQUESTIONED, 1 << 20, 8, 1), "the offsets")


def test_fewer_bytes_than_the_chunk_may_have():
    check_byte_chunk(CHUNK[:32], "the offsets", len(CHUNK))
