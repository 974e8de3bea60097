"""Buffers that arrays are made of."""

from __future__ import annotations

import numpy as np
import pytest
from stored_arrays import ITEMS, PARTITION

import caterva_cffi as cat


@pytest.mark.parametrize("size", [0, 1, 2399, 2401, 4800])
def test_buffers_of_wrong_sizes(size):
    with pytest.raises(
        cat.ArgumentError, match=rf"{size} bytes; shape \(20, 30\) of 4-byte items needs 2400"
    ):
        cat.from_buffer(bytes(size), (20, 30), 4)


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, np.asarray], ids=str)
def test_buffers_of_any_kind(wrap):
    source = ITEMS if wrap is np.asarray else ITEMS.tobytes()
    made = cat.from_buffer(wrap(source), ITEMS.shape, dtype="i4", **PARTITION)
    assert (made[...] == ITEMS).all()


def test_from_buffer_copies():
    source = bytearray(ITEMS.tobytes())
    made = cat.from_buffer(source, ITEMS.shape, dtype="i4")
    source[:] = bytes(len(source))
    source.append(0)
    assert (made[...] == ITEMS).all()


@pytest.mark.parametrize(
    ("buffer", "error", "message"),
    [
        ("text", TypeError, "the buffer is str; expected an object with the buffer protocol"),
        (None, TypeError, "the buffer is NoneType"),
        (np.zeros((4, 4), "u1")[:, ::2], cat.ArgumentError, "not C-contiguous"),
        (memoryview(bytes(16))[::2], cat.ArgumentError, "C-contiguous"),
    ],
)
def test_wrong_buffers(buffer, error, message):
    with pytest.raises(error, match=message):
        cat.from_buffer(buffer, (4, 2), 1)
