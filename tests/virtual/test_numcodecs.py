"""The numcodecs codec `blosc2`."""

from __future__ import annotations

import blosc2
import numcodecs
import numpy as np
import pytest
import zarr
from zarr_arrays import DEFAULT

import caterva_cffi as cat
from caterva_cffi.virtual.codecs import Blosc2BytesCodec

ITEMS = np.arange(1000, dtype="i4")


def test_others_find_it_by_its_name():
    codec = numcodecs.get_codec({"id": "blosc2", "cname": "lz4"})
    assert type(codec).__module__ == "caterva_cffi.virtual.numcodecs"
    assert codec.get_config() == {"id": "blosc2", "cname": "lz4"}


def test_it_decodes_into_new_memory_and_given_one():
    codec = numcodecs.get_codec({"id": "blosc2"})
    chunk, out = blosc2.compress2(ITEMS), np.zeros_like(ITEMS)
    assert codec.decode(chunk).view("i4").tolist() == ITEMS.tolist()
    for data in (chunk, ITEMS.tobytes()):
        out[:] = 0
        assert codec.decode(data, out) is out
        assert out.tolist() == ITEMS.tolist()


def test_it_does_not_write():
    with pytest.raises(cat.ReadOnlyError, match="'caterva' also writes"):
        numcodecs.get_codec({"id": "blosc2"}).encode(b"")


def test_an_array_of_zarr_2_is_read():
    store = {}
    z = zarr.create_array(store, shape=1000, chunks=1000, dtype="i4", zarr_format=2,
                          compressors=numcodecs.get_codec({"id": "blosc2"}))  # fmt: skip
    store["0"] = zarr.core.buffer.cpu.Buffer.from_bytes(blosc2.compress2(ITEMS))
    assert z[10:20].tolist() == list(range(10, 20))


@pytest.mark.parametrize("data", [blosc2.compress2(ITEMS), ITEMS.tobytes()], ids=len)
def test_an_array_of_zarr_3_is_read(data):
    store = {}
    codec = {**DEFAULT, "compressors": Blosc2BytesCodec()}
    z = zarr.create_array(store, shape=1000, chunks=1000, dtype="i4", **codec)
    store["c/0"] = zarr.core.buffer.cpu.Buffer.from_bytes(data)
    z = zarr.open_array(store)
    assert z[10:20].tolist() == list(range(10, 20))
    with pytest.raises(cat.ReadOnlyError):
        z[:] = 1


def test_the_codec_of_zarr_3_takes_no_other_name():
    with pytest.raises(ValueError, match=r"expected 'numcodecs\.blosc2'"):
        Blosc2BytesCodec.from_dict({"name": "blosc2"})
