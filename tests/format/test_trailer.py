"""The ends of frames, with metalayers of variable length."""

from __future__ import annotations

import numpy as np
import pytest

import caterva_cffi as cat
from caterva_cffi.format.byte_chunks import decode_byte_chunk
from caterva_cffi.format.trailer import (
    TRAILER_MIN,
    empty_trailer,
    parse_trailer,
    trailer_length,
)

VLMETA = {"a": b"1", "b": b"text" * 1000}


def trailer_of(array):
    frame = bytes(array.to_cframe())
    return frame[len(frame) - trailer_length(frame[-TRAILER_MIN:]) :]


@pytest.mark.parametrize("vlmeta", [{}, VLMETA], ids=["none", "some"])
def test_what_c_blosc2_writes(vlmeta):
    with cat.asarray(np.arange(10), contiguous=True) as array:
        array.vlmeta.update(vlmeta)
        layers = parse_trailer(trailer_of(array))
    contents = {name: decode_byte_chunk(chunk, None, name) for name, chunk in layers.items()}
    assert {name: content.tobytes() for name, content in contents.items()} == vlmeta


def test_an_empty_one():
    trailer = empty_trailer()
    assert len(trailer) == TRAILER_MIN == trailer_length(trailer)
    assert parse_trailer(trailer) == {}
    with cat.zeros((3,), 1, contiguous=True) as array:
        assert trailer == trailer_of(array)


def test_fewer_bytes_than_a_trailer_has():
    assert trailer_length(empty_trailer()[1:]) == 0
    with pytest.raises(cat.FormatError, match="metalayers reach byte"):
        parse_trailer(b"")
