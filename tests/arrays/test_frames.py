"""Frames as buffers: views that are no copies, stay valid and hold off changes; frames opened."""

from __future__ import annotations

import array
import contextlib
import copy
import gc
import itertools
import mmap
import os
import pickle
import weakref

import blosc2
import numpy as np
import pytest

import caterva_cffi as cat
from caterva_cffi import ffi, lib
from caterva_cffi.engine.groups import pieces

pytestmark = pytest.mark.usefixtures("in_empty_folder")


ITEMS = np.random.default_rng(5).integers(0, 1000, (20, 30))
PARTITION = {"chunks": (7, 8), "blocks": (3, 4)}
STORED = {
    "memory": {},
    "frame in memory": {"contiguous": True},
    "file": {"contiguous": True, "urlpath": "a.b2frame"},
    "directory": {"urlpath": "a"},
}
each_storage = pytest.mark.parametrize("storage", STORED.values(), ids=STORED)


def make(**kwargs):
    made = cat.asarray(ITEMS, **{**PARTITION, "meta": {"note": b"fixed"}, **kwargs})
    made.vlmeta["title"] = b"variable"
    return made


def check(found, *, read_only=False):
    assert found.shape == ITEMS.shape
    assert found.chunks == PARTITION["chunks"]
    assert found.dtype == ITEMS.dtype
    assert (found[...] == ITEMS).all()
    assert found.meta["note"] == b"fixed"
    assert dict(found.vlmeta) == {"title": b"variable"}
    assert found.read_only is read_only


def address_of(buffer):
    return np.frombuffer(buffer, np.uint8).ctypes.data


def frame_address(schunk):
    """Ask C where the contiguous frame is."""
    pointer, needs_free = ffi.new("uint8_t **"), ffi.new("bool *")
    size = lib.blosc2_schunk_to_buffer(schunk.ptr, pointer, needs_free)
    assert not needs_free[0]
    return int(ffi.cast("uintptr_t", pointer[0])), size


# --- views ------------------------------------------------------------------------------------


def test_a_view_is_no_copy():
    stored = make(contiguous=True)
    view, again = stored.to_cframe(), cat.schunk_to_buffer(stored)
    assert isinstance(view, memoryview)
    assert (view.readonly, view.format, view.ndim) == (True, "B", 1)
    address, size = frame_address(stored.schunk)
    assert address_of(view) == address_of(again) == address
    assert view.nbytes == again.nbytes == size
    with pytest.raises(TypeError):
        view[0] = 0


@each_storage
def test_a_frame_is_a_right_copy(storage):
    stored = make(**storage)
    frame = stored.to_cframe()
    check(cat.from_cframe(frame), read_only=True)
    check(cat.from_cframe(bytes(frame), copy=True))
    assert (blosc2.ndarray_from_cframe(bytes(frame))[...] == ITEMS).all()
    if storage != STORED["frame in memory"]:
        stored[...] = 0
        check(cat.from_cframe(frame), read_only=True)


@each_storage
def test_a_view_outlives_its_array(storage):
    stored = make(**storage)
    view = stored.to_cframe()
    expected = bytes(view)
    part = view[10:]
    del stored, view
    gc.collect()
    pressure = (
        [make(contiguous=True) for _ in range(5)],
        [bytearray(len(expected)) for _ in range(50)],
    )
    assert bytes(part) == expected[10:]
    del pressure


def test_the_memory_goes_with_the_last_view():
    stored = make(contiguous=True)
    schunk = weakref.ref(stored.schunk)
    view, part = stored.to_cframe(), stored.to_cframe()[1:]
    del stored, view
    gc.collect()
    assert schunk() is not None
    del part
    gc.collect()
    assert schunk() is None


CHANGES = {
    "assignment": lambda a: a.__setitem__((0, 0), 1),
    "empty assignment": lambda a: a.__setitem__(slice(0, 0), 1),
    "orthogonal assignment": lambda a: a.oindex.__setitem__(([0, 1], 2), 1),
    "resize": lambda a: a.resize((1, 50)),
    "append": lambda a: a.append(ITEMS),
    "insert": lambda a: a.insert(1, ITEMS, axis=1),
    "delete": lambda a: a.delete(0),
    "squeeze": lambda a: a.squeeze(),
    "meta": lambda a: a.meta.__setitem__("note", b"FIXED"),
    "vlmeta": lambda a: a.vlmeta.__setitem__("title", b"other"),
    "new vlmeta": lambda a: a.vlmeta.__setitem__("new", b"other"),
    "delete vlmeta": lambda a: a.vlmeta.__delitem__("title"),
    "close": lambda a: a.close(),
}
each_change = pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)


@each_change
def test_a_view_holds_off_changes(change):
    stored = make(contiguous=True)
    view = stored.to_cframe()
    expected = bytes(view)
    part = view[5:8]
    del view
    with pytest.raises(BufferError, match="1 views of the frame are alive"):
        change(stored)
    assert bytes(part) == expected[5:8]
    assert bytes(stored.to_cframe()) == expected
    check(stored)
    del part
    change(stored)


def test_a_context_manager_does_not_free_a_view():
    with pytest.raises(BufferError), make(contiguous=True) as stored:
        view = stored.to_cframe()
    check(cat.from_cframe(view), read_only=True)
    del view
    stored.close()


# --- frames that are opened -------------------------------------------------------------------


class Owned(np.ndarray):
    """An array that weak references can watch."""


def mapped(frame):
    with open("frame", "wb") as file:
        file.write(frame)
    with open("frame", "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


BUFFERS = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": lambda frame: memoryview(frame)[:],
    "writable memoryview": lambda frame: memoryview(bytearray(frame)),
    "mmap": mapped,
    "ndarray": lambda frame: np.frombuffer(frame, np.uint8),
    "ndarray of void": lambda frame: np.frombuffer(frame, f"V{len(frame)}"),
    "2-d ndarray": lambda frame: np.frombuffer(frame, np.uint8).reshape(1, -1),
    "array.array": lambda frame: array.array("b", frame),
    "view of another array": lambda frame: cat.from_cframe(frame, copy=True).to_cframe(),
}
each_buffer = pytest.mark.parametrize("wrap", BUFFERS.values(), ids=BUFFERS)


@pytest.fixture(scope="module")
def frame():
    return bytes(make(contiguous=True).to_cframe())


@each_buffer
def test_opening_is_no_copy(frame, wrap):
    buffer = wrap(frame)
    opened = cat.from_cframe(buffer)
    check(opened, read_only=True)
    first = address_of(buffer)
    for number in range(opened.nchunks):
        chunk = int(ffi.cast("uintptr_t", opened.schunk.chunk(number).pointer))
        assert first < chunk < first + len(frame)
    assert address_of(opened.to_cframe()) == first
    assert opened.contiguous
    assert opened.urlpath is None


@each_buffer
def test_what_is_opened_keeps_its_buffer(frame, wrap):
    opened = cat.from_cframe(wrap(frame))
    gc.collect()
    pressure = [bytearray(len(frame)) for _ in range(200)]
    check(opened, read_only=True)
    view = opened.to_cframe()
    del opened, pressure
    gc.collect()
    pressure = [bytearray(len(frame)) for _ in range(200)]
    assert bytes(view) == frame
    del pressure


def test_the_buffer_lives_as_long_as_it_is_needed(frame):
    buffer = np.frombuffer(bytearray(frame), np.uint8).view(Owned)
    alive = weakref.ref(buffer)
    opened = cat.from_cframe(buffer)
    del buffer
    gc.collect()
    assert alive() is not None
    view = opened.to_cframe()
    del opened
    gc.collect()
    assert alive() is not None
    del view
    gc.collect()
    assert alive() is None


def test_a_closed_array_lets_its_buffer_go(frame):
    buffer = bytearray(frame)
    opened = cat.from_cframe(buffer)
    with pytest.raises(BufferError):
        buffer.append(0)
    opened.close()
    buffer.append(0)


@each_change
def test_a_buffer_of_others_is_never_changed(frame, change):
    buffer = bytearray(frame)
    opened = cat.from_cframe(buffer)
    if change is CHANGES["close"]:
        change(opened)
    else:
        with pytest.raises(cat.ReadOnlyError, match="opened for reading"):
            change(opened)
        check(opened, read_only=True)
    assert buffer == frame


@each_buffer
def test_a_copy_is_independent(frame, wrap):
    buffer = wrap(frame)
    opened = cat.from_cframe(buffer, copy=True)
    check(opened)
    assert address_of(opened.to_cframe()) != address_of(buffer)
    gc.collect()
    opened[...] = np.random.default_rng(0).integers(0, 2**60, ITEMS.shape)
    opened.append(ITEMS)
    opened.vlmeta["new"] = b"x" * 100_000
    opened.resize((50, 60))
    assert (opened[20:40, :30] == ITEMS).all()
    assert bytes(memoryview(buffer).cast("B")) == frame
    assert len(opened.to_cframe()) > len(frame) + 1000
    again = cat.from_cframe(opened.to_cframe())
    assert (again[...] == opened[...]).all()


WRONG_BUFFERS = {
    "str": ("text", TypeError, "the frame is str; expected an object with the buffer protocol"),
    "int": (5, TypeError, "the frame is int"),
    "None": (None, TypeError, "the frame is NoneType"),
    "objects": (np.array([None]), TypeError, "references"),
    "empty": (b"", cat.FormatError, "0 bytes that are no Blosc2 frame"),
    "empty ndarray": (np.empty(0), cat.FormatError, "0 bytes"),
    "zeros": (bytes(500), cat.FormatError, "500 bytes that are no Blosc2 frame"),
    "noise": (np.random.default_rng(1).bytes(500), cat.FormatError, "no Blosc2 frame"),
    "magic": (b"\x9e\xa8b2frame\0", cat.FormatError, "no Blosc2 frame"),
    "steps": (np.zeros(500, "u1")[::2], cat.ArgumentError, r"not C-contiguous: strides \(2,\)"),
    "F order": (np.zeros((9, 9), "u1", order="F")[:5], cat.ArgumentError, "not C-contiguous"),
    "memoryview with steps": (memoryview(bytes(500))[::2], cat.ArgumentError, "C-contiguous"),
}


@pytest.mark.parametrize("copied", [False, True], ids=["view", "copy"])
@pytest.mark.parametrize(
    ("buffer", "error", "message"), WRONG_BUFFERS.values(), ids=list(WRONG_BUFFERS)
)
def test_wrong_buffers(buffer, error, message, copied, capfd):
    with pytest.raises(error, match=message):
        cat.from_cframe(buffer, copy=copied)
    assert capfd.readouterr() == ("", "")


def test_every_truncation_is_refused(frame):
    for size in itertools.chain(range(400), range(400, len(frame), 37), [len(frame) - 1]):
        with pytest.raises(cat.FormatError):
            cat.from_cframe(frame[:size])


def test_every_changed_byte_of_a_small_frame(capfd):
    items = np.arange(60, dtype="i4").reshape(6, 10)
    small = cat.asarray(items, chunks=(4, 4), blocks=(2, 3), contiguous=True, meta={"n": b"abc"})
    small.vlmeta["title"] = b"hello" * 10
    whole = bytes(small.to_cframe())
    accepted = 0
    for at, change in itertools.product(range(len(whole)), (0x01, 0x80)):
        damaged = whole[:at] + bytes([whole[at] ^ change]) + whole[at + 1 :]
        # A frame has no checksum: what it holds may change, but nothing else may happen.
        with contextlib.suppress(cat.CatervaError):
            opened = cat.from_cframe(damaged)
            assert opened[...].nbytes == opened.nbytes
            assert repr(opened)
            assert dict(opened.meta)
            dict(opened.vlmeta)
            accepted += 1
    assert 0 < accepted < 2 * len(whole)
    assert capfd.readouterr() == ("", "")


def test_frames_that_are_no_arrays():
    plain = blosc2.SChunk(chunksize=800, data=np.arange(300), contiguous=True)
    with pytest.raises(cat.FormatError, match=r"no metalayer 'b2nd' or 'caterva' \(found: none\)"):
        cat.from_cframe(plain.to_cframe())
    named = blosc2.SChunk(chunksize=800, meta={"mine": 1}, contiguous=True, urlpath="plain.b2frame")
    assert named.nchunks == 0
    with pytest.raises(cat.FormatError, match=r"\(found: 'mine'\): not an N-d array"):
        cat.open("plain.b2frame")


def test_index_of_a_sparse_directory_is_no_frame():
    make(urlpath="a")
    with open("a/chunks.b2frame", "rb") as file, pytest.raises(cat.FormatError):
        cat.from_cframe(file.read())


# --- frames by others -------------------------------------------------------------------------


def frame_by_caterva():
    """Encode the items with the C library Caterva, which writes its own metalayer only."""
    context, made = ffi.new("caterva_ctx_t **"), ffi.new("caterva_array_t **")
    config = ffi.new("caterva_config_t *", lib.CATERVA_CONFIG_DEFAULTS)
    assert lib.caterva_ctx_new(config, context) == lib.CATERVA_SUCCEED
    params = ffi.new("caterva_params_t *", {"itemsize": 8, "shape": ITEMS.shape, "ndim": 2})
    storage = ffi.new(
        "caterva_storage_t *",
        {"chunkshape": PARTITION["chunks"], "blockshape": PARTITION["blocks"], "contiguous": True},
    )
    data = ffi.from_buffer(ITEMS)
    code = lib.caterva_from_buffer(context[0], data, len(data), params, storage, made)
    assert code == lib.CATERVA_SUCCEED
    pointer, size, needs_free = ffi.new("uint8_t **"), ffi.new("int64_t *"), ffi.new("bool *")
    code = lib.caterva_to_cframe(context[0], made[0], pointer, size, needs_free)
    assert code == lib.CATERVA_SUCCEED
    frame = bytes(ffi.buffer(pointer[0], size[0]))
    assert not needs_free[0]
    lib.caterva_free(context[0], made)
    lib.caterva_ctx_free(context)
    return frame


def frame_by_blosc2():
    options = {**PARTITION, "cparams": {"codec": blosc2.Codec.ZSTD}, "contiguous": True}
    return blosc2.asarray(ITEMS, **options).to_cframe()


@pytest.mark.parametrize(
    ("encode", "layers", "dtype"),
    [
        (frame_by_caterva, {"caterva"}, np.dtype("S8")),
        (frame_by_blosc2, {"b2nd"}, ITEMS.dtype),
        (lambda: bytes(make().to_cframe()), {"caterva", "b2nd", "note"}, ITEMS.dtype),
    ],
    ids=["caterva", "b2nd", "both"],
)
def test_either_metalayer_is_enough(encode, layers, dtype):
    opened = cat.from_cframe(encode(), copy=True)
    assert set(opened.meta) == layers
    assert opened.dtype == dtype
    assert opened.to_buffer() == ITEMS.tobytes()
    opened[3, 4:6] = np.array([7, 8])
    opened.append(ITEMS.view(dtype))
    opened.resize((50, 31))
    expected = np.zeros((50, 31), ITEMS.dtype)
    expected[:40, :30] = np.concatenate([ITEMS, ITEMS])
    expected[3, 4:6] = [7, 8]
    assert opened.to_buffer() == expected.tobytes()
    again = cat.from_cframe(opened.to_cframe())
    assert set(again.meta) == layers
    assert again.to_buffer() == expected.tobytes()


# --- pickles ----------------------------------------------------------------------------------

DUPLICATES = {
    "pickle": lambda a: pickle.loads(pickle.dumps(a)),
    "oldest pickle": lambda a: pickle.loads(pickle.dumps(a, 0)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@each_storage
@pytest.mark.parametrize("duplicate", DUPLICATES.values(), ids=DUPLICATES)
def test_pickles_keep_everything(storage, duplicate):
    parameters = {"codec": cat.Codec.ZSTD, "clevel": 3, "filters": [cat.Filter.BITSHUFFLE]}
    stored = make(**storage, **parameters)
    second = duplicate(stored)
    check(second)
    assert second.contiguous == stored.contiguous
    assert second.urlpath == (stored.urlpath and os.path.abspath(stored.urlpath))
    assert (second.codec, second.clevel) == (cat.Codec.ZSTD, 3)
    assert second.filters == stored.filters
    second[0] = 0
    if stored.urlpath is None:
        check(stored)
    else:
        assert not stored[0].any()


def test_pickles_of_what_is_read_only(frame):
    check(pickle.loads(pickle.dumps(cat.from_cframe(frame))), read_only=True)
    make(urlpath="a").close()
    check(pickle.loads(pickle.dumps(cat.open("a", mode="r"))), read_only=True)


# --- buffers in garbage -----------------------------------------------------------------------


def test_memoryviews_in_garbage_cycles():
    """Python clears a cycle's memoryviews while C's pointers to them are still there."""
    frame = bytes(cat.asarray(np.arange(100)).to_cframe())
    for _ in range(200):
        view = memoryview(frame)[:]
        cycle = [view, pieces([(0, view)]), cat.from_cframe(view)]
        cycle.append(cycle)
    del view, cycle
    gc.collect()


# --- frames in blobs ------------------------------------------------------------------------------

FIRST = bytes(cat.asarray(np.arange(30), contiguous=True).to_cframe())
SECOND = bytes(cat.asarray(np.arange(500.0), chunks=(90,), blocks=(20,)).to_cframe())
BLOB = b"header!" + FIRST + SECOND + b"trailer"
AT, NEXT = 7, 7 + len(FIRST)


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize(
    "wrap",
    [bytes, bytearray, memoryview, lambda blob: np.frombuffer(blob, "u1")],
)
def test_a_frame_in_a_blob(wrap, copy):
    blob = wrap(BLOB)
    first = cat.from_cframe(blob, copy, offset=AT)
    second = cat.from_cframe(blob, copy=copy, offset=np.int64(NEXT))
    del blob
    np.testing.assert_array_equal(first[...], np.arange(30))
    np.testing.assert_array_equal(second[...], np.arange(500.0))
    assert len(first.to_cframe()) == len(FIRST) and first.read_only is not copy
    assert (cat.from_cframe(FIRST, offset=0)[...] == np.arange(30)).all()


@pytest.mark.parametrize(
    ("blob", "offset", "message"),
    [
        (FIRST + b"tail", None, rf"a frame of {len(FIRST)} bytes, and 4 bytes behind it; offset=0"),
        (FIRST + FIRST, None, rf"a frame of {len(FIRST)} bytes, and {len(FIRST)} bytes behind it"),
        (FIRST[:-1], None, f"a frame that has {len(FIRST)}: it is cut off"),
        (FIRST[:20], None, "20 bytes of a frame, which is cut off"),
        (BLOB, None, r"begin with b'header!.*one may begin at byte 7, which offset=7 opens"),
        (BLOB, 0, r"byte 0: .* one may begin at byte 7, which offset=7 opens"),
        (BLOB, AT + 1, rf"byte 8: .* one may begin at byte {NEXT}, which offset={NEXT} opens"),
        (BLOB, len(BLOB) - 7, r"7 bytes that are no Blosc2 frame: they begin with b'trailer'"),
        (BLOB, len(BLOB), r"0 bytes that are no Blosc2 frame: nothing is there"),
        (b"a,b\n", None, r"4 bytes that are no Blosc2 frame: they begin with b'a,b\\n'"),
        (b"", None, r"0 bytes that are no Blosc2 frame: nothing is there"),
        (BLOB[: NEXT + 400], NEXT, rf"byte {NEXT}: 400 bytes .* that has {len(SECOND)}: it is cut"),
        (BLOB[:AT] + FIRST[:60] + bytes(len(FIRST) - 60), AT, r"byte 7: "),
    ],
)
@pytest.mark.parametrize("copy", [False, True])
def test_where_a_frame_was_looked_for(blob, offset, message, copy):
    with pytest.raises(cat.FormatError, match=message):
        cat.from_cframe(blob, copy, offset=offset)


@pytest.mark.parametrize("offset", [-1, len(BLOB) + 1])
def test_offsets_outside(offset):
    with pytest.raises(cat.ArgumentError, match=rf"offset is {offset}; the buffer has {len(BLOB)}"):
        cat.from_cframe(BLOB, offset=offset)
    with pytest.raises(TypeError):
        cat.from_cframe(BLOB, offset="7")
