"""Every dtype of fixed-size items survives arrays and frames; python-blosc2 sees the same one."""

from __future__ import annotations

import math

import blosc2
import numpy as np
import pytest

import caterva_cffi as cat

DTYPES = {
    str(dtype): dtype
    for dtype in map(
        np.dtype,
        [
            *["?", "i1", "u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8"],
            *["<f2", "<f4", "<f8", "g", "<c8", "<c16", "G"],
            *[">i2", ">u4", ">i8", ">f2", ">f4", ">f8", ">c8", ">c16"],
            *["S1", "S7", "S300", "U1", "<U5", ">U5", "U100", "V1", "V7", "V300"],
            *["<M8[D]", "<M8[ns]", ">M8[25s]", "<m8[ms]", ">m8[D]", "M8", "m8"],
            [("x", "<f4"), ("y", "<i8")],
            [("x", ">f4"), ("y", "<i2"), ("when", "M8[s]"), ("name", "U3"), ("raw", "V2")],
            [("point", [("x", "<f8"), ("y", "<f8")]), ("ok", "?")],
            [("matrix", "<f4", (2, 3)), ("tags", "S2", 4)],
            [("inner", [("a", "u1"), ("b", "<u2", (2,))], (2,)), ("z", ">c8")],
            np.dtype([("a", "u1"), ("b", "<f8"), ("c", "<i2")], align=True),
            np.dtype({"names": ["a"], "formats": ["<i2"], "offsets": [3], "itemsize": 11}),
            [(("a title", "a"), "<i4"), ("b", "u1")],
            [("größe", "<f4"), ("", "u1")],
        ],
    )
}
each_dtype = pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
SHAPE = (5, 6)


def items_of(dtype, shape=SHAPE):
    """Items of any bytes that are valid for the dtype."""
    random = np.random.default_rng(5)
    if dtype.names is not None:
        items = np.zeros(shape, dtype)
        for name in dtype.names:
            field = dtype.fields[name][0]
            base, inner = (field.base, field.shape) if field.subdtype else (field, ())
            items[name] = items_of(base, (*shape, *inner))
        return items
    if dtype.kind == "b":
        return random.integers(0, 2, shape).astype(bool)
    if dtype.kind == "U":
        return np.array([*"aé漢𝄞"])[random.integers(0, 4, shape)].astype(dtype)
    if dtype.kind in "fc":
        items = (random.standard_normal(shape) + (1j if dtype.kind == "c" else 0)).astype(dtype)
        items.flat[:3] = np.nan, -0.0, np.inf
        return items
    count = math.prod(shape) * dtype.itemsize
    return np.frombuffer(random.bytes(count), dtype).reshape(shape).copy()


def assert_same(found, expected):
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.dtype.metadata == expected.dtype.metadata
    if expected.dtype.char in "gG":  # so is the padding of these
        np.testing.assert_array_equal(found, expected)
    elif expected.dtype.names is None:
        assert found.tobytes() == expected.tobytes()
    else:
        for name in expected.dtype.names:  # padding between fields is nobody's
            assert_same(found[name], expected[name])


@each_dtype
@pytest.mark.parametrize("contiguous", [False, True])
def test_round_trip(dtype, contiguous):
    items = items_of(dtype)
    array = cat.asarray(items, chunks=(3, 4), blocks=(2, 3), contiguous=contiguous)
    assert (array.dtype, array.itemsize) == (dtype, dtype.itemsize)
    assert_same(array[...], items)
    assert_same(array[1:4, ::-2], items[1:4, ::-2])
    assert_same(np.asarray(array), items)
    assert type(array[0, 0]) is type(items[0, 0])
    frame = array.to_cframe()
    for copy in (False, True):
        again = cat.from_cframe(frame, copy=copy)
        assert again.dtype == dtype
        assert_same(again[...], items)


@each_dtype
def test_files(dtype, tmp_path):
    items = items_of(dtype)
    for name, contiguous in [("file", True), ("directory", False)]:
        cat.asarray(items, urlpath=tmp_path / name, contiguous=contiguous).close()
        with cat.open(tmp_path / name) as array:
            assert_same(array[...], items)


@each_dtype
def test_constructors(dtype):
    items = items_of(dtype)
    kwargs = {"dtype": dtype, "chunks": (3, 4), "blocks": (2, 3)}
    zeros = np.zeros(SHAPE, dtype)
    assert_same(cat.zeros(SHAPE, **kwargs)[...], zeros)
    assert_same(cat.empty(SHAPE, **kwargs)[...], zeros)
    assert_same(cat.from_buffer(items.tobytes(), SHAPE, **kwargs)[...], items)
    assert_same(cat.from_buffer(items, SHAPE, **kwargs)[...], items)
    filled = cat.full(SHAPE, items[1, 1], **kwargs)
    assert_same(filled[...], np.full(SHAPE, items[1, 1], dtype))
    assert cat.full(SHAPE, items[1, 1]).dtype == items[1, 1].dtype
    assert cat.copy(filled).dtype == dtype
    assert cat.zeros(SHAPE, dtype.itemsize, dtype=dtype).dtype == dtype
    with pytest.raises(cat.ArgumentError, match="contradicts"):
        cat.zeros(SHAPE, dtype.itemsize + 1, dtype=dtype)


@each_dtype
def test_assignment(dtype):
    items = items_of(dtype)
    array = cat.zeros(SHAPE, dtype=dtype, chunks=(3, 4), blocks=(2, 3))
    array[...] = items
    array[2] = items[1]
    array[0, 0] = items[3, 3]
    array[[4, 3], 1:2] = cat.asarray(items)[0:2, 0:1]
    expected = items.copy()
    expected[2], expected[0, 0], expected[[4, 3], 1:2] = items[1], items[3, 3], items[0:2, 0:1]
    assert_same(array[...], expected)


@each_dtype
def test_python_blosc2_sees_the_same(dtype):
    items = items_of(dtype)
    frame = bytes(cat.asarray(items, chunks=(3, 4), blocks=(2, 3)).to_cframe())
    theirs = blosc2.ndarray_from_cframe(frame)
    assert theirs.dtype.itemsize == dtype.itemsize
    if dtype.names is None or "V" not in str(theirs.dtype):
        assert theirs.dtype == dtype
    for name in dtype.names or [...]:  # python-blosc2 gives padding a name
        assert_same(theirs[...][name], items[name])


@each_dtype
def test_python_blosc2_made_the_same(dtype):
    items = items_of(dtype)
    theirs = blosc2.asarray(items, chunks=(3, 4), blocks=(2, 3))
    ours = cat.from_cframe(theirs.to_cframe())
    # python-blosc2 wraps plain void, and gives padding a name.
    assert ours.dtype == (dtype if dtype.kind == "V" and dtype.names is None else theirs.dtype)
    for name in dtype.names or [...]:
        assert ours[...][name].tobytes() == theirs[...][name].tobytes()


@pytest.mark.parametrize(
    "dtype",
    [
        np.dtype({"names": ["b", "a"], "formats": ["<i4", "u1"], "offsets": [4, 1]}),
        np.dtype({"names": ["a", "b"], "formats": ["<i4", "u1"], "offsets": [0, 2]}),
        *["O", "S", "U", "V", "S0", np.dtypes.StringDType(), np.dtypes.StringDType(na_object=None)],
        *[
            [("a", "O")],
            [("a", "i4"), ("b", [("c", "O")])],
            [],
            [("a", "S0")],
            "(2,)f4",
            "nonsense",
        ],
    ],
    ids=str,
)
def test_items_without_a_fixed_size_are_refused(dtype):
    for make in (
        lambda: cat.zeros((2,), dtype=dtype),
        lambda: cat.empty((2,), dtype=dtype),
        lambda: cat.full((2,), 0, dtype=dtype),
        lambda: cat.from_buffer(b"", (0,), dtype=dtype),
    ):
        with pytest.raises(TypeError):
            make()


@pytest.mark.parametrize(
    "items", [np.array([{}, 1]), np.zeros(2, []), np.zeros(2, "V0"), [None], [{}, 1]], ids=repr
)
def test_arrays_of_such_items_are_refused(items):
    with pytest.raises(TypeError):
        cat.asarray(items)


# --- arrays of which only the item size is known ----------------------------------------------


@pytest.mark.parametrize("itemsize", [1, 2, 7, 8, 255, 256, 1000])
def test_untyped_items_are_raw_bytes(itemsize):
    data = np.random.default_rng(itemsize).integers(0, 3, 30 * itemsize, "u1").tobytes()
    array = cat.from_buffer(data, SHAPE, itemsize, chunks=(3, 4), blocks=(2, 3))
    assert array.dtype == np.dtype(f"S{itemsize}")
    assert array[...].tobytes() == data
    assert array.to_buffer() == data
    assert cat.from_cframe(array.to_cframe())[...].tobytes() == data
    items = np.frombuffer(data, f"V{itemsize}").reshape(SHAPE)
    assert array[1:4, 2].tobytes() == items[1:4, 2].tobytes()
    other = cat.zeros(SHAPE, itemsize)
    other[...] = items
    assert other.to_buffer() == data
    other[0] = items[3].tobytes()
    other[3] = bytearray(items[0].tobytes())
    other[1, 2] = items[4, 4].tobytes()
    other[2] = array[4]
    expected = items.copy()
    expected[[0, 3]], expected[1, 2], expected[2] = items[[3, 0]], items[4, 4], items[4]
    assert other.to_buffer() == expected.tobytes()


@pytest.mark.parametrize("dtype", ["<f8", ">i8", "<M8[s]", "V8", "<c8", "<U2", "i4,f4"])
def test_untyped_arrays_take_items_of_the_same_size_as_bytes(dtype):
    items = items_of(np.dtype(dtype))
    array = cat.zeros(SHAPE, 8, chunks=(3, 4), blocks=(2, 3))
    array[...] = items
    assert array.to_buffer() == items.tobytes()
    array[1, ::-1] = items[2]
    items[1, ::-1] = items[2]
    array[:, 3] = np.asfortranarray(items)[:, 4]
    items[:, 3] = items[:, 4]
    array[4, 4] = items[0, :1]
    items[4, 4] = items[0, 0]
    assert array.to_buffer() == items.tobytes()
    out = np.zeros(SHAPE, dtype)
    array.read(out=out)
    assert out.tobytes() == items.tobytes()


def test_full_of_bytes_is_untyped():
    array = cat.full(SHAPE, b"ab\0\0")
    assert array.dtype == np.dtype("S4")
    assert array.to_buffer() == b"ab\0\0" * 30


def test_buffers_of_another_size_are_refused():
    for make in (
        lambda: cat.from_buffer(b"12345", (2,), 2),
        lambda: cat.from_buffer(b"1234", (3,), 2),
        lambda: cat.from_buffer(b"1234", (1,), dtype="i8"),
    ):
        with pytest.raises(cat.ArgumentError, match="needs"):
            make()
    array = cat.zeros((3,), 4)
    with pytest.raises(ValueError, match="multiple"):
        array[...] = b"12345"
    with pytest.raises(TypeError, match="neither"):
        cat.zeros((3,))
