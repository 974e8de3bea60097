"""Zarr chunks that are damaged, and stores that misbehave: an error that names the chunk, or values
that are right."""

from __future__ import annotations

import gc
import itertools
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore
from zarr_arrays import create, hypothesis_settings, pipeline  # noqa: F401
from zarr_stores import Asynchronous, RecordedLocal, RecordedMemory, empty_cache, reading

import caterva_cffi as cat
from caterva_cffi.planning.policy import ReadPolicy
from caterva_cffi.zarr import CatervaCodec

BUFFER = default_buffer_prototype().buffer
KEY = "c/0/0"
DATA = np.random.default_rng(0).integers(0, 9, (24, 20)).astype("i4")
SELECTIONS = [np.s_[2:9, 3:14], np.s_[7, 8], np.s_[:12]]
# What is partly read is read in many requests, and never for being small read whole.
PARTS = ReadPolicy(first=0, gap=0, whole=1)


@pytest.fixture(autouse=True)
def _quiet(capfd):
    empty_cache()
    yield
    assert capfd.readouterr().err == ""


@pytest.fixture(params=[LocalStore, RecordedLocal, RecordedMemory, Asynchronous])
def store(request, tmp_path):
    return request.param(tmp_path) if issubclass(request.param, LocalStore) else request.param()


def stored(store):
    return sync(store.get(KEY, default_buffer_prototype())).to_bytes()


def replace(store, data):
    sync(store.set(KEY, BUFFER.from_bytes(bytes(data))))


def made(store, inner=None):
    z = create(DATA, (12, 20), CatervaCodec(block_shape=(3, 5), chunk_shape=inner), store)
    return z, stored(store)


def check(z, *, must_fail=False):
    """Read and write parts of a damaged chunk; the other chunk stays readable."""
    for selection in SELECTIONS:
        empty_cache()
        with reading(PARTS):
            try:
                found = z[selection]
            except cat.CatervaError as error:
                assert KEY in str(error)
            else:
                assert not must_fail
                assert found.shape == DATA[selection].shape
        assert np.array_equal(z[12:], DATA[12:])
    try:
        z[1, 1] = 5
    except cat.CatervaError as error:
        assert "verify" in error.__notes__[0]  # Zarr tells no codec which chunk it writes
    else:
        assert not must_fail


def header_of(frame):
    """Return where the first chunk begins, and how many bytes all chunks have."""
    return struct.unpack_from(">i", frame, 11)[0], struct.unpack_from(">q", frame, 39)[0]


# --- objects ---------------------------------------------------------------------------------


@pytest.mark.parametrize("inner", [None, (6, 10)])
def test_truncated(store, inner):
    z, frame = made(store, inner)
    begin, cbytes = header_of(frame)
    lengths = {0, 1, 15, 16, 31, 32, 86, 87, begin - 1, begin, begin + 31, begin + 32, begin + 50}
    for length in sorted(lengths | {begin + cbytes - 1}):
        replace(store, frame[:length])
        check(z)
        empty_cache()
        with pytest.raises(cat.CatervaError, match=KEY):
            z[:12]


def test_longer_or_shorter_files_are_refused(tmp_path):
    store = LocalStore(tmp_path)
    z, frame = made(store)
    for data in (frame + b"\0", frame[:-1], frame * 2):
        replace(store, data)
        check(z, must_fail=True)


def changed(frame, at, form, value):
    data = bytearray(frame)
    struct.pack_into(form, data, at, value)
    return data


def test_sizes_that_contradict_each_other(store):
    z, frame = made(store)
    begin, cbytes = header_of(frame)
    first = struct.unpack_from("<i", frame, begin + 32)[0]
    second = struct.unpack_from("<i", frame, begin + 36)[0]
    changes = [
        *((at, ">i", value) for at in (11, 48, 53, 58) for value in (-1, 1, 2**31 - 1)),
        *((at, ">q", value) for at in (30, 39) for value in (-1, 1, 2**62)),
        *((begin + at, "<i", value) for at in (4, 8, 12) for value in (-1, 1, 2**31 - 1)),
        # Every value the same, in a chunk that has bytes for other ones.
        *((begin + 31, "B", special << 4) for special in (1, 2, 3, 4)),
        # Blocks' offsets: outside, twice the same, into the header.
        *((begin + 36, "<i", value) for value in (-1, 0, 31, 2**31 - 1, cbytes, first)),
        (begin + 32, "<i", second),
    ]
    for change in changes:
        replace(store, changed(frame, *change))
        with reading(PARTS):
            empty_cache()
            try:
                found = z[:12]
            except cat.CatervaError as error:
                assert KEY in str(error)
            else:  # the field says nothing that reading needs
                assert np.array_equal(found, DATA[:12]), change
        check(z)


@pytest.mark.parametrize("wrong", ["same", "overlap", "outside"])
def test_offsets_of_chunks_inside_the_chunk(store, wrong):
    z, frame = made(store, (6, 10))
    begin, cbytes = header_of(frame)
    chunk = frame[begin + cbytes :]
    behind = struct.unpack_from("<i", chunk, 12)[0]
    offsets = np.array([0, 0, 0, 0], "<i8")
    offsets[1:] = {"same": 0, "overlap": 40, "outside": cbytes}[wrong]
    if wrong == "overlap":
        offsets[2:] = 200, 400
    head = bytearray(chunk[:32])
    head[2] |= 2  # stored as they are
    struct.pack_into("<iii", head, 4, 32, 32, 64)
    body = bytes(head) + offsets.tobytes()
    data = bytearray(frame[: begin + cbytes] + body + chunk[behind:])
    struct.pack_into(">q", data, 16, len(data))
    replace(store, data)
    with pytest.raises(cat.CatervaError, match=KEY):
        z[:12]
    check(z)


@given(st.data())
@hypothesis_settings
def test_flipped_bytes(draws):
    """Whatever is damaged: an error that names the chunk, or values of the right shape."""
    inner = draws.draw(st.sampled_from([None, (6, 10)]))
    store = draws.draw(st.sampled_from([RecordedMemory, Asynchronous]))()
    z, frame = made(store, inner)
    begin, cbytes = header_of(frame)
    places = st.one_of(
        st.integers(0, begin + 32 + 4 * 16), st.integers(begin + cbytes, len(frame) - 1)
    )
    data = bytearray(frame)
    for at, value in draws.draw(st.dictionaries(places, st.integers(0, 255), min_size=1)).items():
        data[at] = value
    replace(store, data)
    check(z)


def test_errors_that_are_kept_can_be_collected():
    """An error's traceback, kept by one of its frames, holds buffers until the collector comes."""
    store = RecordedMemory()
    z, frame = made(store)
    replace(store, changed(frame, header_of(frame)[0] + 36, "<i", 2**31 - 1))
    kept = []
    for _ in range(20):
        with pytest.raises(cat.CatervaError) as caught:
            z[:12]
        kept.append(caught.value)
    kept.append(kept)
    del kept, caught
    gc.collect()


# --- stores ----------------------------------------------------------------------------------

ranged_stores = pytest.mark.parametrize("store_class", [RecordedMemory, Asynchronous])


def answers(store, answer):
    store.requests.clear()
    store.answer = answer
    empty_cache()


@ranged_stores
def test_ranges_that_are_ignored_or_cut_off(store_class):
    store = store_class()
    z, frame = made(store)
    whole = BUFFER.from_bytes(frame)
    ignored = lambda number, asked, found: whole  # noqa: E731
    short = lambda number, asked, found: found if asked is None else found[: len(found) - 1]  # noqa: E731
    long = lambda number, asked, found: (  # noqa: E731
        found if asked is None else BUFFER.from_bytes(found.to_bytes() + b"\0")
    )
    for answer, selection in itertools.product([ignored, short, long], SELECTIONS):
        answers(store, answer)
        with reading(PARTS):
            assert np.array_equal(z[selection], DATA[selection])


@ranged_stores
@pytest.mark.parametrize("nth", [0, 1])
def test_requests_that_fail(store_class, nth):
    store = store_class()
    z, _ = made(store)

    def fail(number, asked, found):
        if number == nth:
            raise ConnectionError("no answer")
        return found

    answers(store, fail)
    with reading(PARTS), pytest.raises(ConnectionError, match="no answer") as caught:
        z[2:9, 3:14]
    assert any(KEY in note for note in caught.value.__notes__)
    answers(store, lambda number, asked, found: found)
    assert np.array_equal(z[2:9, 3:14], DATA[2:9, 3:14])


@pytest.mark.parametrize("whole", [True, False])
def test_writes_that_fail(whole):
    class Full(RecordedMemory):
        full = False

        async def set(self, key, value):
            if self.full:
                raise OSError("no space left")
            await super().set(key, value)

        def set_sync(self, key, value):
            if self.full:
                raise OSError("no space left")
            super().set_sync(key, value)

    store = Full()
    z, _ = made(store)
    store.full = True
    with pytest.raises(OSError, match="no space left"):
        z[slice(12) if whole else 1] = 5
    assert np.array_equal(z[...], DATA)


@ranged_stores
@pytest.mark.parametrize("nth", [0, 1])
def test_objects_that_are_deleted_meanwhile_are_missing(store_class, nth):
    store = store_class()
    z, _ = made(store)
    answers(store, lambda number, asked, found: None if number >= nth else found)
    with reading(PARTS):
        assert (z[2:9, 3:14] == z.fill_value).all()


@ranged_stores
@pytest.mark.parametrize("other", [DATA[:12] * 1000, np.zeros((12, 20), "i4")])
def test_objects_that_are_replaced_meanwhile(store_class, other):
    """Beginnings and blocks of different objects do not fit; then the new one is read whole."""
    store = store_class()
    z, _ = made(store)
    frame = CatervaCodec(block_shape=(3, 5)).to_frame(np.ascontiguousarray(other))

    def change(number, asked, found):
        if number == 0:
            return found
        data = bytes(frame) if asked is None else bytes(frame)[asked[0] : asked[1]]
        return BUFFER.from_bytes(data)

    answers(store, change)
    with reading(PARTS):
        assert np.array_equal(z[2:9, 3:14], other[2:9, 3:14])


CONTENTS = {
    "small": DATA[:12],
    "smaller": DATA[:12] % 2,
    "larger": DATA[:12] * 70000,
    "random, stored as it is": np.random.default_rng(1).integers(0, 2**31, (12, 20), "i4"),
    "zeros": np.zeros((12, 20), "i4"),
}


@pytest.mark.parametrize(("before", "after"), list(itertools.permutations(CONTENTS, 2)))
@pytest.mark.parametrize("options", [{}, {"shuffle": "noshuffle"}, {"cname": "zstd"}])
def test_no_row_is_a_mixture(before, after, options):
    """Whatever replaces an object between two requests, each item is an old one or a new one."""
    store = RecordedMemory()
    codec = CatervaCodec(block_shape=(3, 20), **options)
    z = create(DATA, (12, 20), codec, store)
    old, new = (bytes(codec.to_frame(np.ascontiguousarray(CONTENTS[n]))) for n in (before, after))

    def change(number, asked, found):
        data = new if number else old
        return BUFFER.from_bytes(data if asked is None else data[asked[0] : asked[1]])

    for row in range(0, 12, 3):
        empty_cache()
        answers(store, change)
        with reading(PARTS):
            found = z[row]
        assert any(np.array_equal(found, CONTENTS[n][row]) for n in (before, after))
