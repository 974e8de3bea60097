"""The first bytes of a frame."""

from __future__ import annotations

import numpy as np
import pytest

import caterva_cffi as cat
from caterva_cffi.format.frame_start import (
    START,
    begins_as_frame,
    find_frame,
    frame_length,
    length_error,
)

FRAME = bytes(cat.asarray(np.arange(100), contiguous=True).to_cframe())
SIZE = len(FRAME)


def test_a_frame():
    start = FRAME[:START]
    assert begins_as_frame(start)
    assert frame_length(start) == SIZE
    assert length_error(start, SIZE) is None
    assert find_frame(b"before" + FRAME) == 6


@pytest.mark.parametrize("start", [b"", b"PK\3\4", b"\x89HDF\r\n\x1a\n", bytes(START)])
def test_something_else(start):
    assert not begins_as_frame(start)
    assert frame_length(start) is None
    assert length_error(start, 5) is None
    assert find_frame(start) is None


@pytest.mark.parametrize("at", range(11))
def test_one_wrong_byte_leaves_it_a_frame(at):
    damaged = bytearray(FRAME[:START])
    damaged[at] ^= 0x40
    assert begins_as_frame(bytes(damaged))
    assert not begins_as_frame(bytes(byte ^ 0x40 for byte in damaged))


@pytest.mark.parametrize("length", [-1, 0, 86])
def test_a_length_that_no_frame_has(length):
    start = FRAME[: START - 8] + length.to_bytes(8, "big", signed=True)
    assert frame_length(start) is None


@pytest.mark.parametrize(
    ("size", "wrong"),
    [
        (10, "10 bytes of a frame, which is cut off"),
        (SIZE - 1, f"{SIZE - 1} bytes of a frame that has {SIZE}: it is cut off"),
        (SIZE + 9, f"a frame of {SIZE} bytes, and 9 bytes behind it"),
    ],
)
def test_wrong_lengths(size, wrong):
    assert length_error(FRAME[: min(size, START)], size) == wrong
