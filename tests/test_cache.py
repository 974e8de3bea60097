"""Beginnings of chunks that are kept: never believed unseen, never more than their limit."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

import caterva_cffi as cat
from caterva_cffi.planning.cache import Cache, remembering
from caterva_cffi.steps import run
from caterva_cffi.storage.stored import stamp_of
from caterva_cffi.zarr import CatervaCodec


def chain(first):
    """Follow a chain of places: each byte says where the next one is, 0 ends it."""

    def steps():
        at, path = first, []
        while at:
            path.append(at)
            [data] = yield [(at, at + 1)]
            at = data[0]
        return path

    return steps


def follow(data, first):
    path = []
    while first:
        path.append(first)
        first = data[first]
    return path


@st.composite
def memories(draw):
    """Draw bytes of which each points behind itself, or nowhere."""
    n = draw(st.integers(2, 12))
    return bytes(draw(st.sampled_from([0, *range(k + 1, n)])) for k in range(n))


@given(st.lists(memories(), min_size=1, max_size=4), st.data())
def test_what_is_kept_is_never_believed_unseen(versions, data):
    """Whatever the object becomes between two reads, a read says what it is now."""
    cache = Cache(1 << 20)
    shortest = min(map(len, versions))
    for memory in versions:
        memory += bytes(20)
        for _ in range(2):
            first = data.draw(st.integers(1, shortest - 1))
            rounds = []

            def read(ranges, memory=memory, rounds=rounds):
                rounds.append(ranges)
                return [memory[start:stop] for start, stop in ranges]

            known = cache.get("key", None)
            steps = remembering(
                chain(first), known, False, lambda found: cache.put("key", None, found)
            )
            assert run(steps, read) == follow(memory, first)
    assert len(rounds) <= len(follow(memory, first))
    if len(follow(memory, first)) > 1:
        steps = remembering(chain(first), cache.get("key", None), False, lambda found: None)
        rounds.clear()
        run(steps, read)
        assert len(rounds) == 1  # what is known is asked for again beside what is not


def test_what_is_trusted_is_not_read_again():
    memory, rounds = bytes([0, 2, 3, 0]), []

    def read(ranges):
        rounds.append(ranges)
        return [memory[start:stop] for start, stop in ranges]

    kept = {}
    run(remembering(chain(1), {}, True, kept.update), read)
    assert kept == {(1, 2): b"\2", (2, 3): b"\3"}
    rounds.clear()
    assert run(remembering(chain(1), kept, True, kept.update), read) == [1, 2, 3]
    assert rounds == [[(3, 4)]]


def test_objects_with_another_stamp_are_unknown():
    cache = Cache(1000)
    cache.put("a", 1, {(0, 1): b"x"})
    assert cache.get("a", 1) == {(0, 1): b"x"}
    assert cache.get("a", 2) == cache.get("b", 1) == {}


def test_no_more_is_kept_than_the_limit():
    cache = Cache(3000)
    for name in "abcd":
        cache.get("a", 0)
        cache.put(name, 0, {(0, 400): bytes(400)})
    assert [bool(cache.get(name, 0)) for name in "abcd"] == [True, False, True, True]
    cache.resize(0)
    assert not any(cache.get(name, 0) for name in "abcd")
    cache.put("a", 0, {(0, 1): b"x"})
    assert not cache.get("a", 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_while_another_thread_is_at_work_does_not_hang():
    cache = Cache(1000)
    cache.put("a", 1, {(0, 1): b"x"})
    with cache._lock:  # as that thread would
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            os._exit(len(cache.get("a", 1)))
    assert os.waitpid(child, 0)[1] == 0
    assert cache.get("a", 1)


@pytest.mark.parametrize("size", [-1, 1.5, None, True])
def test_sizes_that_make_no_sense_are_refused(size):
    with pytest.raises(cat.ArgumentError, match="cache"):
        cat.set_cache_size(size)


def test_a_file_that_was_just_changed_has_no_stamp(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x")
    assert stamp_of(path.stat()) is None
    os.utime(path, (1, 1))  # the time of the file's status is still new
    assert stamp_of(path.stat()) is None


@pytest.mark.parametrize("where", ["file", "memory"])
def test_chunks_that_were_overwritten_are_read_anew(where, tmp_path):
    data = np.arange(64 * 64, dtype="f8").reshape(64, 64)
    z = zarr.create_array(
        str(tmp_path / "a.zarr") if where == "file" else zarr.storage.MemoryStore(),
        shape=data.shape,
        chunks=data.shape,
        dtype=data.dtype,
        serializer=CatervaCodec(block_shape=(4, 4)),
        compressors=None,
    )
    for version in (data, data * 3, data[::-1], np.ones_like(data), data):
        z[...] = version
        for _ in range(2):
            assert z[5, 6] == version[5, 6]
            assert np.array_equal(z[60, 3:9], version[60, 3:9])


def test_the_cache_can_be_switched_off():
    before = cat.set_cache_size(0)
    try:
        assert cat.get_cache_size() == 0
    finally:
        assert cat.set_cache_size(before) == 0
    assert cat.get_cache_size() == before
