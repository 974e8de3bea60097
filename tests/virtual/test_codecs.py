"""Zarr arrays whose chunks HDF5 or a .b2nd file could hold, in each of Zarr's pipelines."""

from __future__ import annotations

import blosc2
import numpy as np
import pytest
import zarr
from zarr.registry import get_codec_class
from zarr_arrays import DEFAULT, pipeline  # noqa: F401 -- each test runs in all pipelines
from zarr_stores import RecordedLocal, reading

import caterva_cffi as cat
from caterva_cffi.planning.policy import ReadPolicy
from caterva_cffi.virtual.codecs import Blosc2ChunkCodec, HDF5ChunkCodec

CHUNK, BLOCK = (8, 12, 10), (4, 4, 10)
ITEMS = np.cumsum(np.random.default_rng(3).integers(0, 3, (16, 20, 10)), axis=0)
SELECTIONS = [np.s_[...], np.s_[3], np.s_[2:14:3, ::2, 4], np.s_[15, 19, 9]]


def chunk_of(items, at):
    """Return a chunk's items, padded with zeros to the chunk shape."""
    part = items[tuple(slice(i * n, (i + 1) * n) for i, n in zip(at, CHUNK, strict=True))]
    chunk = np.zeros(CHUNK, items.dtype)
    chunk[tuple(map(slice, part.shape))] = part
    return chunk


def with_metalayer(chunk):
    plain = chunk.view(f"V{chunk.itemsize}")  # HDF5's filter names no dtype
    return bytes(blosc2.asarray(plain, chunks=CHUNK, blocks=BLOCK).to_cframe())


def in_a_row(chunk):
    cparams = {"typesize": chunk.itemsize, "blocksize": 1000}
    frame = blosc2.SChunk(chunksize=chunk.nbytes, data=chunk.tobytes(), cparams=cparams)
    return bytes(frame.to_cframe())


def bare(chunk):
    array = blosc2.asarray(chunk, chunks=CHUNK, blocks=BLOCK)  # owns the super-chunk
    return array.schunk.get_chunk(0)


def array_of(items, codec, encode, store=None):
    """Return a Zarr array whose chunks were encoded by others."""
    store = zarr.storage.MemoryStore() if store is None else store
    z = zarr.create_array(
        store, shape=items.shape, dtype=items.dtype, chunks=CHUNK, serializer=codec, **DEFAULT
    )
    for at in np.ndindex(2, 2, 1):
        key = z.metadata.encode_chunk_key(at)
        data = zarr.core.buffer.cpu.Buffer.from_bytes(encode(chunk_of(items, at)))
        zarr.core.sync.sync(store.set(key, data))
    return zarr.open_array(store, mode="r")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("encode", [with_metalayer, in_a_row, np.ndarray.tobytes, bare])
def test_what_others_stored_is_read(encode, order):
    endian = {"<": "little", ">": "big"}[order]
    codec = HDF5ChunkCodec(endian=endian)
    if encode is bare:
        codec = Blosc2ChunkCodec(block_shape=BLOCK, endian=endian)
    items = ITEMS.astype(f"{order}f4")
    z = array_of(items, codec, encode)
    for selection in SELECTIONS:
        assert (z[selection] == items[selection]).all()


@pytest.mark.parametrize(
    ("codec", "encode"),
    [
        (HDF5ChunkCodec(), with_metalayer),
        (HDF5ChunkCodec(), in_a_row),
        (HDF5ChunkCodec(), np.ndarray.tobytes),
        (Blosc2ChunkCodec(block_shape=BLOCK), bare),
    ],
)
def test_a_part_costs_a_part(codec, encode, tmp_path):
    noise = np.random.default_rng(0).integers(0, 2**40, (16, 20, 10))
    store = RecordedLocal(tmp_path)
    z = array_of(noise, codec, encode, store)
    with reading(ReadPolicy(first=200, gap=0, whole=0.5)):
        assert z[0, 0, 0] == noise[0, 0, 0]
    assert sum(request.size for request in store.requests) < chunk_of(noise, (0, 0, 0)).nbytes / 2


@pytest.mark.parametrize(
    "codec", [HDF5ChunkCodec(), HDF5ChunkCodec(endian="big"), Blosc2ChunkCodec(block_shape=[2, 3])]
)
def test_metadata_give_the_codec_back(codec):
    data = codec.to_dict()
    assert get_codec_class(data["name"]).from_dict(data) == codec


@pytest.mark.parametrize("codec", [HDF5ChunkCodec(), Blosc2ChunkCodec(block_shape=BLOCK)])
def test_writing_is_refused(codec):
    z = zarr.create_array(
        {}, shape=(16, 20, 10), dtype="f4", chunks=CHUNK, serializer=codec, **DEFAULT
    )
    with pytest.raises(cat.ReadOnlyError, match="only reads what is in other files"):
        z[...] = 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": "caterva"}, "expected 'caterva.hdf5_chunk'"),
        ({"name": "caterva.hdf5_chunk", "configuration": {"order": 1}}, "configured with 'order'"),
        (
            {"name": "caterva.hdf5_chunk", "configuration": {"endian": "<"}},
            "'little', 'big'",
        ),
    ],
)
def test_wrong_metadata_are_refused(data, message):
    with pytest.raises(ValueError, match=message):
        HDF5ChunkCodec.from_dict(data)


def test_items_of_variable_length_are_refused():
    with pytest.raises(TypeError, match="cannot read"):
        zarr.create_array({}, shape=4, dtype=str, serializer=HDF5ChunkCodec(), **DEFAULT)


def test_an_error_names_the_chunk():
    z = array_of(ITEMS, HDF5ChunkCodec(), lambda chunk: b"no frame")
    with pytest.raises(cat.FormatError, match=r"c/0/0/0.*8 bytes that are no frame"):
        z[0, 0, 0]
