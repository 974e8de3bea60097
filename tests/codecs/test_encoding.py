"""Frames written in one go, against those that grew by appending."""

from __future__ import annotations

import math

import numpy as np
import pytest

import caterva_cffi as cat
from caterva_cffi.codecs.encoding import encode_frame
from caterva_cffi.format.frame_header import FrameHeader
from caterva_cffi.format.trailer import TRAILER_MIN
from caterva_cffi.geometry.grid import Grid


@pytest.mark.parametrize("clevel", [0, 5])
@pytest.mark.parametrize("step", [1, 7, 10**6])  # the last one makes zeros of all but one item
@pytest.mark.parametrize(
    ("shape", "chunks", "blocks"),
    [
        ((), (), ()),
        ((0, 5), (2, 5), (1, 2)),
        ((50, 60), (50, 60), (10, 9)),
        ((50, 60), (20, 9), (10, 4)),
    ],
)
def test_encode_frame_gives_what_appending_gives(shape, chunks, blocks, step, clevel):
    items = np.arange(math.prod(shape), dtype="i8").reshape(shape)
    items = np.where(items % step == 0, items, 0)
    options = {"chunks": chunks, "blocks": blocks, "meta": {"m": b"x"}}
    grid = Grid(shape, chunks, blocks, 8)
    frame = encode_frame(items, grid, cat.Compression(clevel=clevel), options["meta"])
    appended = cat.asarray(items, contiguous=True, clevel=clevel, **options).to_cframe()
    found = []
    for data in map(bytes, (frame, appended)):
        header = FrameHeader.parse(data[: FrameHeader.length_of(data[:16])])
        assert header.frame_len == len(data)
        layers = {k: v for k, v in header.metalayers.items() if k != "caterva"}
        chunks_end = header.header_len + header.cbytes
        sizes = header.nbytes, header.itemsize, header.blocksize, header.chunksize
        found.append((sizes, layers, data[header.header_len : chunks_end], data[-TRAILER_MIN:]))
    assert found[0] == found[1]
    np.testing.assert_array_equal(cat.from_cframe(frame)[...], items)
