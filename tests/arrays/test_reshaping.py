"""Changes of shape, one after another, compared with NumPy; metalayers follow them."""

import itertools
import os
from contextlib import contextmanager

import blosc2
import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import caterva_cffi as cat
from caterva_cffi import ffi, lib
from caterva_cffi.format.metalayers import decode_geometry

KINDS = ["memory", "frame in memory", "file", "directory"]


@pytest.fixture(scope="module")
def new_path(tmp_path_factory):
    folder, numbers = tmp_path_factory.mktemp("arrays"), itertools.count()
    return lambda: str(folder / f"{next(numbers)}")


def where(kind, new_path):
    return {
        "contiguous": kind in ("frame in memory", "file"),
        "urlpath": new_path() if kind in ("file", "directory") else None,
    }


def resized(items, shape):
    """Return what NumPy has no function for: items keep their positions, new ones are zeros."""
    result = np.zeros(shape, items.dtype)
    shared = tuple(map(slice, map(min, items.shape, shape)))
    result[shared] = items[shared]
    return result


# --- what others see --------------------------------------------------------------------------


@contextmanager
def opened_by_caterva(frame):
    context, array = ffi.new("caterva_ctx_t **"), ffi.new("caterva_array_t **")
    config = ffi.new("caterva_config_t *", lib.CATERVA_CONFIG_DEFAULTS)
    assert lib.caterva_ctx_new(config, context) == lib.CATERVA_SUCCEED
    data = ffi.from_buffer("uint8_t[]", frame)
    code = lib.caterva_from_cframe(context[0], data, len(data), True, array)
    assert code == lib.CATERVA_SUCCEED
    try:
        yield context[0], array[0]
    finally:
        lib.caterva_free(context[0], array)
        lib.caterva_ctx_free(context)


def items_by_caterva(frame, dtype):
    with opened_by_caterva(frame) as (context, array):
        shape = tuple(array.shape[0 : array.ndim])
        items = np.empty(shape, dtype)
        if items.size:
            code = lib.caterva_to_buffer(
                context, array, ffi.from_buffer(items, require_writable=True), items.nbytes
            )
            assert code == lib.CATERVA_SUCCEED
        return items


def check(array, expected):
    """Compare an array with NumPy's, through this package and as all others see it."""
    assert array.shape == expected.shape
    assert array.dtype == expected.dtype
    assert array.to_buffer() == expected.tobytes()
    geometries = [
        decode_geometry({name: content}, array.itemsize)[0]
        for name, content in array.meta.items()
        if name in ("b2nd", "caterva")
    ]
    assert len(geometries) == 2
    assert all(grid == array._items.grid for grid in geometries)
    assert array.nchunks == array.schunk.nchunks == geometries[0].nchunks


def check_by_others(array, expected):
    frame = bytes(array.to_cframe())
    check(cat.from_cframe(frame), expected)
    theirs = blosc2.ndarray_from_cframe(frame)
    assert (theirs.shape, theirs.dtype) == (expected.shape, expected.dtype)
    assert theirs[()].tobytes() == expected.tobytes() if expected.size else True
    if expected.ndim:
        assert items_by_caterva(frame, expected.dtype).tobytes() == expected.tobytes()
    for name in ("b2nd", "caterva"):
        layer = msgpack.unpackb(array.meta[name])
        assert tuple(layer[2]) == expected.shape
    if array.urlpath is not None:
        check(cat.open(array.urlpath, mode="r"), expected)


# --- sequences --------------------------------------------------------------------------------


@st.composite
def starts(draw):
    ndim = draw(st.integers(1, 3))
    most = {1: 20, 2: 9, 3: 5}[ndim]
    shape = draw(st.tuples(*[st.integers(0, most)] * ndim))
    chunks = draw(st.tuples(*[st.integers(1, most // 2 + 2)] * ndim))
    blocks = tuple(draw(st.integers(1, chunk)) for chunk in chunks)
    return shape, chunks, blocks, most


def numbered(shape, first):
    return np.arange(first, first + np.prod(shape, dtype=int), dtype="<i4").reshape(shape)


def change(data, array, items, most, first):
    """Change both alike; return NumPy's result."""
    ndim = items.ndim
    actions = ["resize", "squeeze", "assign", "reopen"]
    if ndim:
        actions += ["append", "insert", "delete", "resize"]
    action = data.draw(st.sampled_from(actions), "action")
    if action == "resize":
        shape = data.draw(st.tuples(*[st.integers(0, most + 3)] * ndim), "shape")
        assert array.resize(shape) is array
        return resized(items, shape)
    if action == "squeeze":
        assert array.squeeze() is None
        return items.squeeze()
    if action == "assign":
        key = data.draw(hnp.basic_indices(items.shape), "key")
        values = numbered(np.shape(items[key]), first)
        array[key] = values
        items = items.copy()
        items[key] = values
        return items
    if action == "reopen":
        return items
    axis = data.draw(st.integers(-ndim, ndim - 1), "axis")
    length = items.shape[axis]
    if action == "delete":
        start = data.draw(st.integers(0, length), "start")
        count = data.draw(st.integers(0, length - start), "count")
        assert array.delete(start, count, axis) is array
        return np.delete(items, np.s_[start : start + count], axis)
    shape = list(items.shape)
    shape[axis] = data.draw(st.integers(0, 4), "length")
    values = numbered(tuple(shape), first)
    if action == "append":
        assert array.append(values, axis) is array
        return np.append(items, values, axis)
    index = data.draw(st.integers(-length, length), "index")
    assert array.insert(index, values, axis) is array
    position = index + length if index < 0 else index
    before, after = np.split(items, [position], axis)
    return np.concatenate([before, values, after], axis)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), start=starts())
@settings(deadline=None, max_examples=30, suppress_health_check=list(HealthCheck))
def test_any_sequence_of_changes(kind, new_path, data, start):
    shape, chunks, blocks, most = start
    items = numbered(shape, 1)
    array = cat.asarray(items, chunks=chunks, blocks=blocks, **where(kind, new_path))
    array.vlmeta["title"] = b"kept"
    for step in range(1, data.draw(st.integers(1, 6), "steps") + 1):
        items = change(data, array, items, most, step * 10_000)
        check(array, items)
    check_by_others(array, items)
    assert dict(array.vlmeta) == {"title": b"kept"}
    if array.urlpath:
        folder, name = os.path.split(array.urlpath)
        array.close()
        cat.remove(array.urlpath)
        assert not [found for found in os.listdir(folder) if name in found]


# --- single changes ---------------------------------------------------------------------------

each_kind = pytest.mark.parametrize("kind", KINDS)


def make(kind, new_path, shape=(10, 12), chunks=(4, 5), blocks=(2, 3), **kwargs):
    items = numbered(shape, 1)
    options = {"chunks": chunks, "blocks": blocks, **where(kind, new_path), **kwargs}
    return cat.asarray(items, **options), items


@each_kind
@pytest.mark.parametrize("small", [(9, 11), (10, 11), (5, 12), (1, 1), (0, 12), (0, 0)], ids=str)
def test_growth_after_shrinking_shows_zeros(kind, new_path, small):
    array, items = make(kind, new_path)
    array.resize(small)
    check(array, resized(items, small))
    array.resize((14, 16))
    expected = resized(resized(items, small), (14, 16))
    check(array, expected)
    check_by_others(array, expected)


def test_growth_shows_zeros_in_arrays_that_others_shrank():
    items = numbered((10, 12), 1)
    theirs = blosc2.asarray(items, chunks=(4, 5), blocks=(2, 3))
    theirs.resize((7, 7))
    array = cat.from_cframe(theirs.to_cframe(), copy=True)
    array.resize((10, 12))
    assert (array[...] == resized(items[:7, :7], (10, 12))).all()


@each_kind
@pytest.mark.parametrize("axis", [0, 1, -1, -2])
def test_appending_many_times(kind, new_path, axis):
    array, items = make(kind, new_path, (3, 3))
    for turn in range(12):
        shape = list(items.shape)
        shape[axis] = turn % 3
        values = numbered(shape, 100 * turn)
        array.append(values, axis=axis)
        items = np.append(items, values, axis)
    check(array, items)
    check_by_others(array, items)


@each_kind
def test_from_nothing_and_back(kind, new_path):
    array, _ = make(kind, new_path, (0, 6))
    assert array.nchunks == 0
    array.append(numbered((7, 6), 1))
    check(array, numbered((7, 6), 1))
    array.delete(0, 7)
    check(array, np.zeros((0, 6), "<i4"))
    array.append(numbered((2, 6), 1))
    array.resize((2, 0))
    check(array, np.zeros((2, 0), "<i4"))
    array.resize((3, 7))
    check(array, np.zeros((3, 7), "<i4"))
    check_by_others(array, np.zeros((3, 7), "<i4"))


@each_kind
@pytest.mark.parametrize(
    ("shape", "chunks", "blocks"),
    [
        ((1, 9), (1, 4), (1, 2)),
        ((9, 1), (4, 3), (2, 2)),
        ((1, 9, 1), (2, 4, 1), (1, 2, 1)),
        ((1, 1), (1, 1), (1, 1)),
        ((1, 1), (3, 4), (2, 2)),
        ((1, 0), (1, 2), (1, 1)),
        ((3, 4), (2, 2), (1, 1)),
        ((), (), ()),
    ],
    ids=str,
)
def test_squeeze(kind, new_path, shape, chunks, blocks):
    parameters = {"codec": cat.Codec.ZSTD, "clevel": 2, "meta": {"note": b"fixed"}}
    array, items = make(kind, new_path, shape, chunks, blocks, **parameters)
    array.vlmeta["title"] = b"variable"
    path = array.urlpath
    array.squeeze()
    check(array, items.squeeze())
    check_by_others(array, items.squeeze())
    kept = [d for d, length in enumerate(shape) if length != 1]
    assert array.chunks == tuple(chunks[d] for d in kept)
    assert array.blocks == tuple(blocks[d] for d in kept)
    assert (array.codec, array.clevel, array.urlpath) == (cat.Codec.ZSTD, 2, path)
    assert array.meta["note"] == b"fixed"
    assert dict(array.vlmeta) == {"title": b"variable"}
    # It is an array like any other.
    array[...] = 5
    assert (array[...] == 5).all()
    if array.ndim:
        array.append(np.asarray(array[:1]))
    if path:
        assert cat.open(path).shape == array.shape


@pytest.mark.parametrize("chunks", [(1, 5), (2, 5)], ids=str)
def test_squeeze_of_what_is_gone_leaves_nothing(tmp_path, chunks):
    array = cat.asarray(numbered((1, 5), 1), chunks=chunks, urlpath=tmp_path / "a")
    cat.remove(tmp_path / "a")
    with pytest.raises(OSError):
        array.squeeze()
    assert os.listdir(tmp_path) == []


@each_kind
@pytest.mark.parametrize("index", [0, 4, 7, 10, -1])
@pytest.mark.parametrize("count", [0, 5])
def test_insert_is_undone_by_delete(kind, new_path, index, count):
    array, items = make(kind, new_path)
    values = numbered((count, 12), 1000)
    array.insert(index, values)
    position = index % 10 if index < 0 else index
    check(array, np.insert(items, [position] * count, values, axis=0))
    array.delete(position, count)
    check(array, items)


def test_delete_from_the_end(new_path):
    array, items = make("memory", new_path)
    array.delete(-1)
    check(array, items[:-1])
    array.delete(-3, 2, axis=1)
    check(array, np.delete(items[:-1], [9, 10], axis=1))


def test_values_are_cast_and_may_be_the_array_itself(new_path):
    array, items = make("memory", new_path)
    array.append(array)
    array.insert(0, array, axis=1)
    array.append([[1.0] * 24])
    doubled = np.concatenate([items, items])
    expected = np.concatenate([np.concatenate([doubled, doubled], axis=1), np.ones((1, 24), "<i4")])
    check(array, expected)


@pytest.mark.parametrize("dtype", ["u1", ">f8", "S5", "U2", "M8[s]", "c16", "V300", "i4,S3"])
def test_any_dtype_changes_its_shape(dtype):
    items = np.frombuffer(np.random.default_rng(3).bytes(20 * np.dtype(dtype).itemsize), "u1")
    items = (items % 100).view(dtype).reshape(4, 5)
    array = cat.asarray(items, chunks=(3, 2), blocks=(2, 1), contiguous=True)
    array.append(items, axis=1)
    array.delete(1)
    array.resize((7, 11))
    expected = resized(np.delete(np.concatenate([items, items], axis=1), 1, axis=0), (7, 11))
    expected = expected.astype(dtype)  # np.concatenate gives the native byte order
    assert array.to_buffer() == expected.tobytes()
    assert cat.from_cframe(array.to_cframe()).to_buffer() == expected.tobytes()


def test_more_dimensions_than_caterva_has():
    array = cat.asarray(np.arange(2**10, dtype="i4").reshape((2,) * 10))
    array.resize((1, 3) + (2,) * 8)
    assert set(array.meta) == {"b2nd"}
    array.squeeze()
    expected = resized(np.arange(2**10, dtype="i4").reshape((2,) * 10), (1, 3) + (2,) * 8)
    assert (array[...] == expected[0]).all()
    assert array.shape == (3,) + (2,) * 8
    assert blosc2.ndarray_from_cframe(bytes(array.to_cframe())).shape == array.shape


def test_a_large_array_grows_without_its_chunks_being_decoded():
    array = cat.zeros((10**5, 10**4), 8, chunks=(10**4, 10**2), blocks=(10**2, 10**2))
    assert array.size == 8 * 10**9
    array.resize((10**5, 10**4 + 1))
    array[-1, -1] = b"x" * 8
    assert array[-1, -1] == b"x" * 8
    assert array.cbytes < 10**6


# --- the partition of arrays that grow ------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "axis"),
    [((0,), 0), ((0, 3), 0), ((3, 0), 1), ((0, 0, 2), 1), ((1,), 0), ((1, 1), 1), ((2, 0, 5), 1)],
)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", ["append", "insert", "resize", "reopen and append"])
def test_small_arrays_grow_in_chunks_of_many_items(change, kind, shape, axis, new_path):
    place = where(kind, new_path)
    array = cat.zeros(shape, dtype="f8", checksum=True, **place)
    array.vlmeta["kept"] = b"1"
    count = 2**16 // max(np.prod(shape), 1)
    more = (*shape[:axis], count, *shape[axis + 1 :])
    if change == "resize":
        grown = (*shape[:axis], count + shape[axis], *shape[axis + 1 :])
        array.resize(grown)
        expected = np.zeros(grown)
    else:
        # Whether chunks were given is not known any more, but those of empty arrays are large.
        if change == "reopen and append" and place["urlpath"] and 0 in shape:
            array = cat.open(place["urlpath"])
        added = np.arange(np.prod(more), dtype="f8").reshape(more)
        expected = np.concatenate([np.zeros(shape), added], axis)
        array.insert(shape[axis], added, axis) if change == "insert" else array.append(added, axis)
    assert array.nchunks <= 8 and array.chunksize <= 2**24
    np.testing.assert_array_equal(array[...], expected)
    assert dict(array.vlmeta) == {"kept": b"1"} and array.checksum
    if place["urlpath"]:
        np.testing.assert_array_equal(cat.open(place["urlpath"])[...], expected)


def test_one_item_after_another(new_path):
    array = cat.asarray([0.0])
    chunks = set()
    for k in range(1, 400):
        array.append([k])
        chunks.add(array.chunks)
        assert array.nchunks <= 5
    assert array[:].tolist() == list(range(400))
    assert len(chunks) <= 6  # it is copied now and then


@pytest.mark.parametrize("given", [{"chunks": (1, 8)}, {"chunks": (1, 8), "blocks": (1, 4)}])
def test_chunks_that_were_given_are_kept(given):
    array = cat.zeros((1, 8), dtype="i4", **given)
    array.append(np.ones((50, 8)))
    assert array.chunks == (1, 8) and array.nchunks == 51
    blocks = cat.zeros((0, 8), dtype="i4", blocks=(1, 4))
    blocks.append(np.ones((50, 8)))
    assert blocks.blocks == (1, 4) and blocks.nchunks == 1


def test_what_does_not_grow_is_not_copied(new_path):
    array = cat.asarray(np.zeros((2, 3)), urlpath=new_path(), contiguous=True)
    before = bytes(array.to_cframe()), array.chunks
    for wrong in (
        lambda: array.append(np.zeros((900, 4))),
        lambda: array.insert(3, np.zeros((900, 3))),
        lambda: array.resize((2**62, 3)),
        lambda: array.resize((900,)),
        lambda: array.resize((900, -1)),
    ):
        with pytest.raises((ValueError, IndexError, MemoryError)):
            wrong()
        assert (bytes(array.to_cframe()), array.chunks) == before
    view = cat.asarray(np.zeros((2, 3)), contiguous=True)
    frame = view.to_cframe()
    with pytest.raises(BufferError):
        view.append(np.zeros((900, 3)))
    assert len(frame) and view.shape == (2, 3)
