"""Requests for ranges are those that `explain` tells: of readers, HTTP servers, and stores."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mixed_items import basic_or_fancy, mixed
from remote_arrays import Counting
from servers import NotInstalled, nginx
from zarr_directories import Counting as CountingStore
from zarr_directories import objects, write
from zarr_stores import empty_cache, reading

import caterva_cffi as cat

SHAPE, CHUNKS, BLOCKS = (70, 60, 90), (40, 32, 64), (8, 12, 16)
MANY = (400, 300)
POLICIES = {
    "default": replace(cat.get_read_policy("remote"), learn=False),
    "exact": cat.ReadPolicy(first=64, gap=0, whole=1),
    "near": cat.ReadPolicy(first=1 << 16, gap=3000, whole=0.4),
}
FRAMES = {
    "plain": cat.asarray(mixed(SHAPE), chunks=CHUNKS, blocks=BLOCKS),
    "checksums": cat.asarray(mixed(SHAPE), chunks=CHUNKS, blocks=BLOCKS, checksum=True),
    "many chunks": cat.asarray(mixed(MANY), chunks=(10, 10), blocks=(4, 10)),
}


@pytest.mark.parametrize("policy", list(POLICIES))
@pytest.mark.parametrize("name", list(FRAMES))
@settings(deadline=None, max_examples=15)
@given(data=st.data(), seen=st.booleans())
def test_requests_to_a_reader_are_those_that_are_told(name, policy, data, seen):
    reader = Counting(bytes(FRAMES[name].to_cframe()))
    array = cat.open(reader)
    selection = data.draw(basic_or_fancy(array.shape))
    with reading(POLICIES[policy], "remote"):
        if seen:  # the heads of some chunks are known
            array[:, array.shape[1] // 2]
        told = array.explain(selection)
        reader.counted()
        array[selection]
    assert (told.rounds, told.requests, told.nbytes) == reader.counted()


def test_requests_to_a_server_are_those_that_are_told(tmp_path):
    (tmp_path / "a.b2nd").write_bytes(FRAMES["plain"].to_cframe())
    try:
        web = nginx(tmp_path)
        with web as server:
            array = cat.open(f"{server.url}/a.b2nd")
            with reading(POLICIES["exact"], "remote"):
                told = array.explain(np.s_[5:60:3, 20])
                with server.counted() as requests:
                    array[5:60:3, 20]
    except NotInstalled as error:
        pytest.skip(str(error))
    assert told.requests == len(requests) > 10
    assert told.nbytes == sum(request.sent for request in requests)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """The objects of Zarr arrays; some have several inner chunks in a chunk, or many."""
    path = tmp_path_factory.mktemp("zarr")
    write(path / "0", mixed(SHAPE), CHUNKS, block_shape=BLOCKS, fill_value=5)
    write(path / "1", mixed(SHAPE), SHAPE, block_shape=BLOCKS, chunk_shape=CHUNKS)
    write(path / "2", mixed(MANY), MANY, block_shape=(4, 10), chunk_shape=(10, 10))
    return [objects(path / name) for name in "012"]


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("policy", list(POLICIES))
@settings(deadline=None, max_examples=15)
@given(data=st.data(), seen=st.booleans())
def test_requests_to_a_store_are_those_that_are_told(stored, which, policy, data, seen):
    empty_cache()
    store = CountingStore(stored[which])
    array = cat.open(store)
    selection = data.draw(basic_or_fancy(array.shape))
    with reading(POLICIES[policy], "remote"):
        if seen:
            array[10, 20]
        told = array.explain(selection)
        store.calls.clear()
        array[selection]
    requests = [request for call in store.calls for request in call]
    answers = [store.read_objects([request])[0] for request in requests]
    assert told.requests == len(requests)
    assert told.nbytes == sum(len(answer or b"") for answer in answers)


def test_what_was_read_under_another_policy_is_asked_for_again(stored):
    empty_cache()
    array = cat.open(store := CountingStore(stored[0]))
    array[10, 20]
    with reading(POLICIES["exact"], "remote"):
        told = array.explain(np.s_[10, 20])
        store.calls.clear()
        array[10, 20]
    assert told.requests == sum(map(len, store.calls))


def test_nothing_is_kept_of_what_was_read(stored):
    empty_cache()
    for array, reads in (
        (cat.open(reader := Counting(bytes(FRAMES["plain"].to_cframe()))), reader),
        (cat.open(store := CountingStore(stored[0])), store),
    ):
        told = array.explain(np.s_[:, 3])
        assert array.explain(np.s_[:, 3]) == told
        reads.calls.clear()
        array[:, 3]
        assert told.requests == sum(map(len, reads.calls))


def test_memory_is_about_what_is_told():
    reader = Counting(bytes(FRAMES["plain"].to_cframe()))
    array = cat.open(reader)
    for selection in (np.s_[:, 30], np.s_[...]):
        told = array.explain(selection)
        tracemalloc.start()
        array[selection]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert told.memory / 2 < peak < told.memory * 1.2 + 100_000
