"""Arrays read by ranges: equal to NumPy's, with few requests, and never of two versions."""

from __future__ import annotations

import functools
import os
import pickle
import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import fsspec
import numpy as np
import pytest
from golden_frames import check_array, every_file
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from remote_arrays import FRAME, ITEMS, OTHER, PARTITION, Counting
from servers import honest

import caterva_cffi as cat
from caterva_cffi.binding.kernel import Kernel
from caterva_cffi.engine import groups


@pytest.fixture
def address():
    """An address in fsspec's memory, at which FRAME is."""
    where = "memory://remote.b2frame"
    put(where)
    yield where
    fsspec.filesystem("memory").rm("/remote.b2frame")


def put(where, frame=FRAME):
    fs, path = fsspec.core.url_to_fs(where)
    fs.pipe_file(path, frame)


@pytest.fixture
def policy():
    """Lets a test change how much is read at a time."""
    before = cat.get_read_policy("remote")
    yield lambda **changes: cat.set_read_policy("remote", cat.ReadPolicy(**changes))
    cat.set_read_policy("remote", before)


# --- what is read ---------------------------------------------------------------------------------
@st.composite
def arrays(draw):
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=9))
    chunks = [draw(st.integers(1, n)) if n else 0 for n in shape]
    blocks = [draw(st.integers(1, n)) if n else 0 for n in chunks]
    items = np.arange(1, np.prod(shape, dtype=int) + 1, dtype="i4").reshape(shape)
    items[items % draw(st.integers(1, 40)) != 0] = 0  # some chunks are zeros
    return items, {"chunks": chunks, "blocks": blocks}


@settings(max_examples=200, deadline=None)
@given(arrays(), st.data())
def test_selections_are_those_of_numpy(array, data):
    """In few rounds, through small groups and small gaps as well."""
    items, partition = array
    reader = Counting(bytes(cat.asarray(items, **partition).to_cframe()))
    least = cat.ReadPolicy(first=0, gap=0, whole=data.draw(st.sampled_from([0.0, 0.5, 1.0])))
    policy = data.draw(st.sampled_from([least, cat.get_read_policy("remote")]))
    group = data.draw(st.sampled_from([1, 2000, groups.GROUP_BYTES]))
    before = cat.set_read_policy("remote", policy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "GROUP_BYTES", group)
        try:
            found = cat.open(reader)
            assert (found.shape, found.dtype) == (items.shape, items.dtype)
            for _ in range(2):
                key = data.draw(hnp.basic_indices(items.shape, allow_newaxis=True))
                np.testing.assert_array_equal(found[key], items[key], strict=True)
            if items.ndim and items.size:
                key = data.draw(hnp.integer_array_indices(items.shape))
                np.testing.assert_array_equal(found[key], items[key], strict=True)
                mask = data.draw(hnp.arrays(bool, items.shape))
                np.testing.assert_array_equal(found[mask], items[mask], strict=True)
                rows = data.draw(st.lists(st.integers(0, len(items) - 1), max_size=4))
                picked = found.oindex[np.array(rows, int)]
                np.testing.assert_array_equal(picked, items[rows], strict=True)
            reader.calls.clear()
            out = np.full(items.shape, -1, items.dtype, order="F")
            assert found.read(out=out) is out
            np.testing.assert_array_equal(out, items)
            if group > 2000:
                assert len(reader.calls) <= 3
        finally:
            cat.set_read_policy("remote", before)


@every_file
def test_frames_of_other_libraries(frame):
    where = "memory://golden.b2frame"
    put(where, frame.path.read_bytes())
    check_array(cat.open(where), frame)


def test_it_tells_what_the_local_array_tells(tmp_path, address):
    local = cat.asarray(ITEMS, urlpath=str(tmp_path / "a"), contiguous=True, **PARTITION)
    local.vlmeta["long"] = bytes(np.random.default_rng(1).bytes(5000))
    local.vlmeta["short"] = b"s"
    put(address, (tmp_path / "a").read_bytes())
    array = cat.open(address)
    names = (
        "shape chunks blocks ndim dtype itemsize size nbytes nitems nchunks chunksize blocksize "
        "cbytes cratio"
    )
    for name in names.split():
        assert getattr(array, name) == getattr(local, name), name
    assert dict(array.meta) == {name: bytes(local.meta[name]) for name in local.meta}
    assert dict(array.vlmeta) == dict(local.vlmeta)
    assert len(array) == 64 and array.read_only and array.urlpath == address
    assert str(array.shape) in repr(array) and "RemoteArray" in repr(array.info)
    assert "<svg" in array._repr_html_()
    np.testing.assert_array_equal(np.asarray(array), ITEMS)
    with pytest.raises(TypeError):
        array[0] = 1
    with pytest.raises(cat.ArgumentError, match="out has shape"):
        array.read(0, out=np.empty(3, "f4"))
    with pytest.raises(IndexError):
        array[64]


def test_without_variable_metalayers():
    assert dict(cat.open(Counting(FRAME)).vlmeta) == {}


# --- how much is read -----------------------------------------------------------------------------
def test_requests_and_bytes(policy):
    """Rounds, requests and bytes at most; what was read before is not asked for again."""
    items = np.random.default_rng(2).integers(0, 2**16, (256, 128, 128)).astype("u4")
    array = cat.asarray(items, chunks=(128, 128, 128), blocks=(16, 16, 16))
    frame = bytes(array.to_cframe())
    block = array.cbytes / 2 / 512  # they are all about as long
    policy(first=16384, gap=4096, whole=0.5)
    reader = Counting(frame, len(frame))
    found = cat.open(reader)
    rounds, requests, nbytes = reader.counted()
    assert (rounds, requests) == (2, 2) and nbytes < 20_000
    for key, most_rounds, most_requests, blocks in [
        ((200, 5, 5), 2, 2, 1),
        ((200, 5, 6), 1, 1, 1),
        (np.s_[140:160, 20:40, 20:40], 1, 4, 12),
        (np.s_[:, 3, 3], 1, 16, 16),  # of the first chunk the offsets came with the beginning
        (np.s_[10], 1, 24, 64),  # few runs, whatever the axis
        (np.s_[:128, 10], 1, 24, 64),
        (np.s_[:128, :, 10], 1, 24, 64),
    ]:
        np.testing.assert_array_equal(found[key], items[key])
        rounds, requests, nbytes = reader.counted()
        assert rounds <= most_rounds and requests <= most_requests, key
        assert nbytes <= 1.25 * blocks * block + 24 * 1024, key
    found = cat.open(reader)
    reader.counted()
    np.testing.assert_array_equal(found[128:], items[128:])
    assert reader.counted()[:2] == (1, 1)
    np.testing.assert_array_equal(found[...], items)
    rounds, requests, nbytes = reader.counted()
    assert rounds == 1 and requests <= 2 and nbytes <= len(frame)


def test_small_chunks_come_together():
    items = np.random.default_rng(3).integers(0, 99, 100_000).astype("u1")
    reader = Counting(bytes(cat.asarray(items, chunks=(1000,), blocks=(500,)).to_cframe()))
    found = cat.open(reader)
    reader.counted()
    np.testing.assert_array_equal(found[...], items)
    assert reader.counted()[:2] == (1, 1)


@pytest.mark.parametrize(
    "key",
    [np.s_[...], np.s_[::2, ::3], (np.arange(64), 5, np.arange(64))],
    ids=["all", "steps", "points"],
)
def test_memory_is_bounded(monkeypatch, policy, key):
    policy(first=0, gap=0, whole=0.5)
    reader = Counting(FRAME)
    found = cat.open(reader)
    chunk = found.cbytes / found.nchunks
    monkeypatch.setattr(groups, "GROUP_BYTES", int(2.5 * chunk))
    reader.counted()
    np.testing.assert_array_equal(found[key], ITEMS[key])
    assert len(reader.calls) > 1
    for call in reader.calls:
        assert sum(stop - start for start, stop in call) <= 2.5 * chunk


def test_a_group_holds_what_its_blocks_take_compressed(monkeypatch, policy):
    policy(first=0, gap=0, whole=1)
    noise = np.random.default_rng(0).integers(0, 9, (128, 128, 32), "i4")
    array = cat.asarray(noise, chunks=(64, 64, 32), blocks=(8, 8, 8))
    found = cat.open(Counting(bytes(array.to_cframe())))
    monkeypatch.setattr(groups, "GROUP_BYTES", found.cbytes // 2)
    assert found.explain(np.s_[5]).rounds == 2  # an eighth of two chunks
    assert found.explain(np.s_[:, :, :8]).rounds == 2  # a quarter of four
    assert found.explain(np.s_[:, :, :24]).rounds > 2


def test_the_next_group_comes_while_one_is_decoded(monkeypatch):
    coming, waited = threading.Event(), []

    class Announcing(Counting):
        def read_ranges(self, ranges):
            if len(self.calls) == 1:
                coming.set()
            return super().read_ranges(ranges)

    reader = Announcing(FRAME)
    found = cat.open(reader)
    monkeypatch.setattr(groups, "GROUP_BYTES", 1)
    reader.counted()
    decode = Kernel.decode

    def decoding(*arguments, **options):
        waited.append(coming.wait(60))
        return decode(*arguments, **options)

    monkeypatch.setattr(Kernel, "decode", decoding)
    np.testing.assert_array_equal(found[...], ITEMS)
    assert waited == [True] * 8 and len(reader.calls) == 8


def test_an_error_of_the_next_group_comes_in_its_turn(monkeypatch):
    class Failing(Counting):
        def read_ranges(self, ranges):
            if len(self.calls) == 2:
                raise ConnectionError("no answer")
            return super().read_ranges(ranges)

    reader = Failing(FRAME)
    found = cat.open(reader)
    monkeypatch.setattr(groups, "GROUP_BYTES", 1)
    reader.counted()
    out, nthreads = np.zeros_like(ITEMS), threading.active_count()
    with pytest.raises(ConnectionError, match="no answer"):
        found.read(out=out)
    np.testing.assert_array_equal(out[:32, :32], ITEMS[:32, :32])
    assert not out[32:].any() and threading.active_count() == nthreads


def test_a_file_of_100_gigabytes(tmp_path, monkeypatch):
    """Opening and reading it reads a few kilobytes, through fsspec's own files."""
    path = tmp_path / "huge.b2frame"
    shape, chunks = (400, 1 << 26), (1, 1 << 24)  # of 64 MiB
    array = cat.zeros(
        shape, dtype="f4", chunks=chunks, blocks=(1, 1 << 15), urlpath=str(path), contiguous=True
    )
    array[0, : 1 << 24] = np.arange(1 << 24)
    array[170, 5 << 20] = 7
    assert array.nbytes == 100 << 30
    array.close()
    hole = 100 << 30
    with path.open("r+b") as file:  # a hole between the chunks and their offsets, as a longer frame
        head = bytearray(file.read(64))
        (header_len,) = struct.unpack_from(">i", head, 11)
        frame_len, cbytes = (struct.unpack_from(">q", head, at)[0] for at in (16, 39))
        file.seek(header_len + cbytes)
        tail = file.read()
        struct.pack_into(">q", head, 16, frame_len + hole)
        struct.pack_into(">q", head, 39, cbytes + hole)
        file.seek(0)
        file.write(head)
        file.seek(header_len + cbytes)
        file.truncate()
        file.seek(hole, os.SEEK_CUR)
        file.write(tail)
    assert path.stat().st_size > hole
    read = []
    fs = fsspec.filesystem("file")
    cat_ranges = type(fs).cat_ranges

    def counting(self, paths, starts, ends, **kwargs):
        read.extend(np.subtract(ends, starts))
        return cat_ranges(self, paths, starts, ends, **kwargs)

    monkeypatch.setattr(type(fs), "cat_ranges", counting)
    with cat.open(path.as_uri()) as found:
        assert sum(read) < 32 << 10
        assert found.shape == shape and found[0, 12345] == 12345
        assert found[170, (5 << 20) - 1 : (5 << 20) + 2].tolist() == [0, 7, 0]
        assert not found[100:110, ::1000].any()
        assert sum(read) < 3 << 20


# --- many readers ---------------------------------------------------------------------------------
def test_threads_and_pickles(address):
    array = cat.open(address)
    again = pickle.loads(pickle.dumps(array))
    reader = pickle.loads(pickle.dumps(cat.open(Counting(FRAME))))
    planes = [(found, n) for n in range(64) for found in (array, again, reader)]
    with ThreadPoolExecutor(8) as pool:
        for (_, n), plane in zip(planes, pool.map(lambda p: p[0][:, p[1]], planes), strict=True):
            np.testing.assert_array_equal(plane, ITEMS[:, n])


def test_closed(address):
    with cat.open(address) as array:
        pass
    assert "closed" in repr(array)
    for use in (lambda: array[0], lambda: array.vlmeta, lambda: pickle.dumps(array)):
        with pytest.raises(cat.ClosedError):
            use()


# --- what cannot be opened ------------------------------------------------------------------------
def test_what_is_asked_wrongly(address, tmp_path):
    for wrong in (
        lambda: cat.open(address, "a"),
        lambda: cat.open(Counting(FRAME), "a"),
        lambda: cat.open(Counting(FRAME), storage_options={"a": 1}),
        lambda: cat.open(str(tmp_path), storage_options={"a": 1}),
        lambda: cat.open("nowhere-known://a"),
        lambda: cat.open(Counting(FRAME, -1)),
    ):
        with pytest.raises(cat.ArgumentError):
            wrong()
    with pytest.raises(FileNotFoundError, match=r"no such object: .memory://user/no\?\.\.\.'"):
        cat.open("memory://user/no?secret=1")
    cat.zeros((5, 5), 4, urlpath=str(tmp_path / "sparse"))
    with pytest.raises(cat.UnsupportedError, match="directory"):
        cat.open((tmp_path / "sparse").as_uri())
    with pytest.raises(cat.UnsupportedError, match="sparse"):
        cat.open((tmp_path / "sparse" / "chunks.b2frame").as_uri())


def test_secrets_are_not_pickled(misbehaving):
    url = f"{misbehaving({'a': FRAME}).url}/a?b=hushhush"
    array = cat.open(url)
    assert "hushhush" not in f"{array!r} {array.info} {array.urlpath}"
    with pytest.raises(cat.UnsupportedError, match="give others the URL") as caught:
        pickle.dumps(array)
    assert "hushhush" not in str(caught.value)
    opens = pickle.loads(pickle.dumps(functools.partial(cat.open, url)))  # as pools are given it
    np.testing.assert_array_equal(opens()[::9], ITEMS[::9])


# --- damage, and what readers do wrong ------------------------------------------------------------
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_frames_are_refused_or_read(data):
    """What is no chunk any more is refused; no error is of another kind."""
    items = np.arange(600, dtype="i4").reshape(20, 30)
    frame = bytearray(cat.asarray(items, chunks=(10, 10), blocks=(3, 4)).to_cframe())
    for _ in range(data.draw(st.integers(1, 3))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([len(frame), data.draw(st.integers(0, len(frame)))]))
    try:
        found = cat.open(Counting(bytes(frame[:cut])))
        assert found[...].shape == found.shape
        dict(found.vlmeta)
    except (cat.CatervaError, MemoryError):
        pass


@pytest.mark.parametrize("cut", [0, 5, 90, 200, 3000, len(FRAME) // 2, len(FRAME) - 40])
@pytest.mark.parametrize("known", [True, False], ids=["size known", "size unknown"])
def test_frames_that_are_cut_off_are_refused(cut, known):
    with pytest.raises(cat.FormatError):
        cat.open(Counting(FRAME[:cut], cut if known else None))


def test_frames_to_which_something_was_appended_are_refused():
    with pytest.raises(cat.FormatError, match="appended"):
        cat.open(Counting(FRAME + b"more", len(FRAME) + 4))


# --- objects that change --------------------------------------------------------------------------
def test_an_object_that_changes_is_noticed(address):
    assert len(OTHER) == len(FRAME) or OTHER != FRAME
    array = cat.open(address)
    array[0]
    put(address, OTHER)
    for key in [np.s_[0], np.s_[...], np.s_[:, 5]]:
        with pytest.raises(cat.StorageError, match="has changed since it was opened"):
            array[key]
    np.testing.assert_array_equal(cat.open(address)[...], ITEMS[::-1])
    put(address, FRAME[:2000])
    with pytest.raises(cat.StorageError, match="has changed"):
        array[-1]
    fsspec.filesystem("memory").rm("/remote.b2frame")
    with pytest.raises(cat.StorageError, match="gone"):
        array[-1]
    put(address)


@pytest.mark.parametrize("call", range(4))
def test_a_change_in_the_middle_of_a_read_is_noticed(address, monkeypatch, call):
    """Even where all offsets stay the same, so that any mixture of both would decode."""
    old, new = (bytes(cat.asarray(x, clevel=0, **PARTITION).to_cframe()) for x in (ITEMS, -ITEMS))
    put(address, old)
    array = cat.open(address)
    kind, done = type(fsspec.filesystem("memory")), []
    cat_ranges = kind.cat_ranges

    def changing(self, *arguments, **kwargs):
        if len(done) == call:
            put(address, new)
        done.append(None)
        return cat_ranges(self, *arguments, **kwargs)

    monkeypatch.setattr(kind, "cat_ranges", changing)
    monkeypatch.setattr(groups, "GROUP_BYTES", len(old) // 3)
    with pytest.raises(cat.StorageError, match="has changed"):
        array[:, 3]
        array[...]
    assert len(done) > call


def test_requests_at_a_time_are_counted_by_chunk(misbehaving, policy):
    together = threading.Barrier(4, timeout=60)
    present, most = set(), []

    def meets_others(asked):
        present.add(asked.number)
        most.append(len(present))
        together.wait()
        present.discard(asked.number)
        return honest(asked)

    policy(first=0, gap=0, whole=1.0, concurrency=2)
    server = misbehaving({"a": FRAME})
    array = cat.open(f"{server.url}/a")
    array[::32, 0, 0]  # brings the offsets of two chunks
    server.restart(meets_others)
    np.testing.assert_array_equal(array[:, 0, 0], ITEMS[:, 0, 0])
    assert len(most) == 8 and max(most) == 4
