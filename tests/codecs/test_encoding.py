"""Frames written in one go, against those that grew by appending."""

from __future__ import annotations

import math

import numpy as np
import pytest

import caterva_cffi as cat
from caterva_cffi.binding.kernel import kernel_of
from caterva_cffi.codecs.encoding import encode_frame, encode_frames, frame_bound, wrap_chunk
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


@pytest.mark.parametrize("checksum", [False, True])
@pytest.mark.parametrize("value", ["items", "zeros", "nan", "one value"])
def test_a_chunk_that_exists_is_put_into_a_frame(value, checksum):
    shape, blocks = (50, 60), (10, 9)
    items = np.random.default_rng(0).normal(size=shape)
    if value != "items":
        items[...] = {"zeros": 0, "nan": np.nan, "one value": 7}[value]
    grid = Grid(shape, shape, blocks, 8, checksum)
    compression = cat.Compression(codec=cat.Codec.ZSTD)
    chunk = kernel_of(grid).encode(0, compression.to_kernel(), items)
    frame = wrap_chunk(chunk, grid, items.dtype, compression)
    np.testing.assert_array_equal(cat.from_cframe(frame)[...], items)
    assert bytes(frame) == bytes(encode_frame(items, grid, compression))
    found = cat.verify(frame)
    assert found.whole is checksum and found.decodes
    with pytest.raises(cat.FormatError, match=r"a chunk of .* decodes to 25200 in blocks of 720"):
        wrap_chunk(chunk[:-1], grid, items.dtype, compression)
    with pytest.raises(cat.FormatError, match="expected 24000 in blocks of 800"):
        wrap_chunk(chunk, Grid(shape, shape, (10, 10), 8, checksum), items.dtype, compression)


@pytest.mark.parametrize("checksum", [False, True])
def test_frames_of_one_call(checksum):
    shape = (50, 60)
    grid, compression = Grid(shape, shape, (10, 9), 8, checksum), cat.Compression()
    noise = np.random.default_rng(0).normal(size=shape)
    arrays = [noise, noise[::-1], np.zeros(shape), np.asfortranarray(noise)]
    expected = [bytes(encode_frame(each, grid, compression)) for each in arrays]
    assert list(map(bytes, encode_frames(arrays, grid, compression))) == expected
    assert max(map(len, expected)) <= frame_bound(grid, noise.dtype, compression)
