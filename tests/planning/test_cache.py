"""Heads of chunks that are kept: never believed unseen, never more than their limit."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

import caterva_cffi as cat
from caterva_cffi.binding.compression import Compression
from caterva_cffi.codecs.encoding import encode_frame
from caterva_cffi.engine.objects import ObjectRead, Selected
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.keys import normalize
from caterva_cffi.planning import cache
from caterva_cffi.planning.cache import Cache, Known, recording
from caterva_cffi.planning.frame import Heads
from caterva_cffi.planning.layout import layout_steps, slices, whole_layout
from caterva_cffi.planning.policy import ReadPolicy
from caterva_cffi.steps import Work, run
from caterva_cffi.storage.stored import settled_version_of
from caterva_cffi.zarr import CatervaCodec

GRID = Grid((64,), (32,), (4,), 1)
FRAME = bytes(encode_frame(np.arange(64, dtype="u1"), GRID, Compression()))


def known_of(frame, nbytes=0):
    seen = {}
    layout = run(recording(layout_steps(256), seen), lambda ranges: slices(frame, ranges))
    return Known(layout, {**seen, (0, nbytes): bytes(nbytes)}, Heads(1 << 20))


def frame_of(items, blocks, checksums):
    return bytes(encode_frame(items, Grid((64,), (32,), (blocks,), 1, checksums), Compression()))


@st.composite
def frames(draw):
    """Draw a frame of one shape, of items that take few bytes or many."""
    items = np.arange(64, dtype="u1") * draw(st.integers(0, 3))
    items[draw(st.integers(0, 63)) :] = draw(st.integers(0, 1))
    return items, frame_of(items, draw(st.sampled_from([4, 32])), draw(st.booleans()))


@given(st.lists(frames(), min_size=1, max_size=4), st.data())
def test_what_is_kept_is_never_believed_unseen(versions, data):
    """Whatever the object becomes between two reads, a read says what it is now."""
    policy = ReadPolicy(first=data.draw(st.integers(16, 400)), gap=0, whole=1.0)
    key = object()
    for items, frame in versions:
        rounds = []

        def answer(asked, frame=frame, rounds=rounds):
            if isinstance(asked, Work):
                return asked.action()
            rounds.append(asked)
            return slices(frame, asked)

        for _ in range(2):
            wanted = slice(data.draw(st.integers(0, 63)), None, 9)
            read = ObjectRead(Selected(normalize(wanted, (64,))), GRID, policy, lambda layout: None)
            rounds.clear()
            np.testing.assert_array_equal(run(read.steps(key, None), answer), items[wanted])
        known = cache.shared.get(key, None)
        assert known.layout.offsets.tolist() == whole_layout(frame).offsets.tolist()
    rounds.clear()
    run(read.steps(key, None), answer)
    assert len(rounds) == 1  # what is known is asked for again beside what is not
    rounds.clear()
    cache.shared.put(key, 1, known)
    run(read.steps(key, 1), answer)
    stored = [offset for offset in known.layout.offsets if offset >= 0]
    assert len(rounds) <= bool(stored)
    assert not set(known.evidence) & {part for ranges in rounds for part in ranges}


def test_objects_with_another_version_are_unknown():
    cache, known = Cache(10_000), known_of(FRAME)
    cache.put("a", 1, known)
    assert cache.get("a", 1) is known
    assert cache.get("a", 2) is cache.get("b", 1) is None


def test_no_more_is_kept_than_the_limit():
    known = known_of(FRAME, 400)
    cache = Cache(3 * known.nbytes)
    for name in "abcd":
        cache.get("a", 0)
        cache.put(name, 0, known)
    assert [bool(cache.get(name, 0)) for name in "abcd"] == [True, False, True, True]
    cache.drop("a")
    assert [bool(cache.get(name, 0)) for name in "abcd"] == [False, False, True, True]
    cache.resize(0)
    assert not any(cache.get(name, 0) for name in "abcd")
    cache.put("a", 0, known)
    assert not cache.get("a", 0)


def test_beginnings_are_bounded():
    heads = Heads(100)
    for number in range(5):
        heads.put(number, bytes(40))
        assert heads.nbytes <= 100
    assert [len(heads.get(number)) for number in range(5)] == [0, 0, 0, 0, 40]
    heads.put(5, bytes(101))
    assert not heads.get(5)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_while_another_thread_is_at_work_does_not_hang():
    cache = Cache(100_000)
    cache.put("a", 1, known_of(FRAME))
    with cache._lock:  # as that thread would
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            os._exit(bool(cache.get("a", 1)))
    assert os.waitpid(child, 0)[1] == 0
    assert cache.get("a", 1)


@pytest.mark.parametrize("size", [-1, 1.5, None, True])
def test_sizes_that_make_no_sense_are_refused(size):
    with pytest.raises(cat.ArgumentError, match="cache"):
        cat.set_cache_size(size)


def test_a_file_that_was_just_changed_has_no_settled_version(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x")
    assert settled_version_of(path.stat()) is None
    os.utime(path, (1, 1))  # the time of the file's status is still new
    assert settled_version_of(path.stat()) is None


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
