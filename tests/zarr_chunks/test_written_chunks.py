"""Whole chunks that Zarr writes: encoded many at a time, with the same bytes as one by one."""

from __future__ import annotations

import asyncio
from collections import deque

import numpy as np
import pytest
import zarr
from zarr.core import codec_pipeline
from zarr.core.buffer import cpu
from zarr_arrays import PIPELINES, create

import caterva_cffi as cat
from caterva_cffi.binding.kernel import Kernel
from caterva_cffi.codecs.encoding import encode_frame
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.zarr import CatervaCodec
from caterva_cffi.zarr_chunks import written_chunks as module
from caterva_cffi.zarr_chunks.written_chunks import UnencodedFrame, WaitingChunk

DATA = np.random.default_rng(0).integers(1, 99, (40, 36), "<i4")
CODEC = CatervaCodec(block_shape=(4, 4))
COMPRESSION = cat.Compression()

pytestmark = pytest.mark.skipif(
    not hasattr(codec_pipeline, "FusedCodecPipeline"), reason="an earlier zarr"
)


@pytest.fixture(autouse=True)
def pipeline():
    with zarr.config.set({"codec_pipeline.path": PIPELINES["CatervaPipeline"]}):
        yield


@pytest.fixture
def calls(monkeypatch):
    """Record how many chunks are encoded by each call: lists, or one."""
    found = []
    many, one = Kernel.encode_many, Kernel.encode

    def encode_many(self, compression, sources, dests):
        found.append([len(sources)])
        return many(self, compression, sources, dests)

    def encode(self, *arguments):
        found.append(1)
        return one(self, *arguments)

    monkeypatch.setattr(Kernel, "encode_many", encode_many)
    monkeypatch.setattr(Kernel, "encode", encode)
    return found


def files(path):
    return {each.relative_to(path): each.read_bytes() for each in path.rglob("c/*/*")}


@pytest.mark.parametrize("checksum", [False, True])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_files_are_those_of_zarrs_pipeline(tmp_path, calls, order, checksum):
    codec = CatervaCodec(block_shape=(4, 4), checksum=checksum)
    data = np.array(DATA, order=order)
    data[10:20, :12] = 0
    array = create(data, (10, 12), codec, tmp_path / "ours")
    assert calls == [[11]]
    np.testing.assert_array_equal(array[...], data)
    with zarr.config.set({"codec_pipeline.path": PIPELINES["FusedCodecPipeline"]}):
        create(data, (10, 12), codec, tmp_path / "zarrs")
    assert files(tmp_path / "ours") == files(tmp_path / "zarrs")
    array[...] = 0
    assert files(tmp_path / "ours") == {}


def test_chunks_at_the_edge_and_parts_go_zarrs_way(tmp_path, calls):
    array = create(DATA, (10, 10), CODEC, tmp_path)
    assert calls == [1, 1, 1, 1, [12]]
    calls.clear()
    array[0:10, 0:10] = DATA[0:10, 0:10] + 1
    assert calls == [1]
    np.testing.assert_array_equal(array[:10, :10], DATA[:10, :10] + 1)
    array[...] = 5
    np.testing.assert_array_equal(array[...], 5)


@pytest.mark.parametrize(("frames", "size"), [(3, 1 << 20), (64, 3000), (64, 1)])
def test_calls_are_bounded(tmp_path, calls, monkeypatch, frames, size):
    monkeypatch.setattr(module, "_FRAMES", frames)
    monkeypatch.setattr(module, "_BYTES", size)
    array = create(DATA, (10, 12), CODEC, tmp_path)
    np.testing.assert_array_equal(array[...], DATA)
    assert sum(each[0] for each in calls) == 12
    most = max(each[0] for each in calls)
    assert most == {1 << 20: 3, 1: 1}.get(size, most) and most < 12


def test_what_cannot_be_stored_is_an_error(tmp_path, monkeypatch):
    array = create(DATA, (10, 12), CODEC, tmp_path)
    monkeypatch.setattr(module, "_FRAMES", 1)
    (tmp_path / "c/1/1").unlink()
    (tmp_path / "c/1/1/in_the_way").mkdir(parents=True)
    with pytest.raises(OSError, match="c/1/1"):
        array[...] = DATA + 1


def test_errors_and_warnings_of_the_codec(tmp_path):
    codec = CatervaCodec(cname="zfp_accuracy", tolerance=0.1)
    with pytest.raises(cat.ArgumentError, match="finite"):
        create(np.full((8, 8), np.inf), (4, 4), codec, tmp_path)


def test_somebody_wants_the_bytes():
    grid = Grid(DATA.shape, DATA.shape, (4, 4), 4)
    frame = UnencodedFrame(DATA, grid, COMPRESSION)
    expected = bytes(encode_frame(DATA, grid, COMPRESSION))
    assert (len(frame), frame.to_bytes()) == (len(expected), expected)
    assert frame[5:9].to_bytes() == expected[5:9]


def test_what_is_encoded_does_not_wait():
    async def use():
        chunk.set_sync(value)
        assert (await chunk.get(prototype)).to_bytes() == b"x"
        chunk.delete_sync()
        await chunk.set(value)
        assert chunk.get_sync(prototype).to_bytes() == b"x"
        await chunk.delete()
        assert await chunk.get(prototype) is None
        await chunk.set_if_not_exists(value)
        assert await chunk.get(prototype) is not None and not waiting
        chunk.set_sync(frame)
        await chunk.set(frame)

    waiting = deque()
    place = zarr.storage.StorePath(zarr.storage.MemoryStore(), "a")
    chunk, value = WaitingChunk(place, waiting), cpu.Buffer.from_bytes(b"x")
    frame = UnencodedFrame(DATA, Grid(DATA.shape, DATA.shape, (4, 4), 4), COMPRESSION)
    prototype = zarr.core.buffer.default_buffer_prototype()
    asyncio.run(use())
    assert list(waiting) == [(place, frame)] * 2
