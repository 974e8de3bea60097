"""What a read of a Zarr array costs: counted by stores and by the system, as it was told."""

from __future__ import annotations

import os

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from mixed_items import basic, mixed
from system_reads import counted_by_the_system, system_reads
from zarr_arrays import create, objects, pipeline  # noqa: F401, a fixture
from zarr_directories import settle, write
from zarr_stores import Asynchronous, RecordedMemory, empty_cache, reading

import caterva_cffi as cat
from caterva_cffi.zarr import CatervaCodec, explain

SHAPE, CHUNKS, BLOCKS = (70, 60, 90), (40, 32, 64), (8, 12, 16)
CODEC = CatervaCodec(block_shape=BLOCKS)
STEPS = [None, 1, 2, 7, 20]  # zarr takes no negative ones
EXACT = cat.ReadPolicy(first=64, gap=0, whole=1)


@pytest.fixture(scope="module")
def stored():
    """The objects of an array, and those of one that has several inner chunks in a chunk."""
    found = [{}, {}]
    create(mixed(SHAPE), CHUNKS, CODEC, found[0], fill_value=5)
    create(mixed(SHAPE), SHAPE, CatervaCodec(block_shape=BLOCKS, chunk_shape=CHUNKS), found[1])
    return found


@pytest.mark.parametrize("kind", [RecordedMemory, Asynchronous])
@pytest.mark.parametrize("which", [0, 1])
@settings(deadline=None, max_examples=10)
@given(selection=basic(SHAPE, STEPS), seen=st.booleans(), exact=st.booleans())
def test_requests_are_those_that_are_told(stored, which, kind, selection, seen, exact):
    empty_cache()
    store = kind(dict(stored[which]))
    z = zarr.open_array(store, mode="r+")
    policy = EXACT if exact else cat.get_read_policy("local")
    with reading(policy):
        if seen:
            z[10, 20]
        told = explain(z, selection)
        store.forget()
        z[selection]
    assert told.requests == len(store.requests)
    assert told.nbytes == sum(request.size or 0 for request in store.requests)


def test_index_arrays_and_masks(stored):
    store = RecordedMemory(dict(stored[0]))
    z = zarr.open_array(store, mode="r+")
    mask = np.zeros(SHAPE, bool)
    mask[3, 50:, ::40] = True
    for selection in (np.s_[[1, 69, 2], 3:5], np.s_[[1, 69], [2, 5], [0, 89]], mask):
        told = explain(z, selection)
        store.forget()
        empty_cache()
        assert told.selected == z[selection].shape
        assert told.requests == len(store.requests) > 0
        empty_cache()


def test_a_store_in_memory_gives_objects_whole(stored):
    z = zarr.open_array(zarr.storage.MemoryStore(dict(stored[0])), mode="r+")
    told = explain(z, np.s_[3])
    first = [each for key, each in objects(stored[0]).items() if key.startswith("c/0/")]
    assert (told.requests, told.nbytes) == (len(first), sum(map(len, first)))
    assert told.rounds == 1 and told.nchunks == 4


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("zarr")
    write(path / "0", mixed(SHAPE), CHUNKS, block_shape=BLOCKS)
    settle(path)
    return path


@counted_by_the_system
@settings(deadline=None, max_examples=10)
@given(selection=basic(SHAPE, STEPS), is_first=st.booleans())
def test_reads_of_files_are_those_that_are_told(path, selection, is_first):
    before = cat.set_nthreads(1)
    z = zarr.open_array(path / "0", mode="r+")
    z[::50, 20]
    if is_first:
        empty_cache()
    told = explain(z, selection)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "cpu_count", lambda: 2)  # reads a file of the system
        with system_reads() as counted:
            z[selection]
    cat.set_nthreads(before)
    assert (told.requests, told.nbytes) == counted[0]


def test_the_same_as_without_zarr(path):
    z, ours = zarr.open_array(path / "0", mode="r+"), cat.open(path / "0")
    for selection in (np.s_[5], np.s_[..., 7], np.s_[[1, 60]]):
        told, other = explain(z, selection), ours.explain(selection)
        assert (told.nblocks, told.ndecoded) == (other.nblocks, other.ndecoded)
        assert (told.nchunks, told.all_chunks) == (other.nchunks, other.all_chunks)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"serializer": "auto"}, "BytesCodec"),
        ({"compressors": [zarr.codecs.ZstdCodec()]}, "CatervaCodec, ZstdCodec"),
        ({"shards": (8, 8)}, "in shards"),
        ({"zarr_format": 2, "serializer": "auto"}, "format 2"),
    ],
)
def test_arrays_that_are_not_read_in_part_are_refused(options, message):
    how = {"serializer": CODEC, "compressors": None, "chunks": (4, 4), **options}
    z = zarr.create_array({}, shape=(8, 8), dtype="i4", **how)
    with pytest.raises(cat.CatervaError, match=message):
        explain(z)
