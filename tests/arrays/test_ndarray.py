"""Every kind of selection, read and written, compared with NumPy on arrays of any geometry."""

from __future__ import annotations

import itertools
import math
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import caterva_cffi as cat

LAW = settings(
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

DTYPES = [np.dtype(name) for name in ("u1", "<i2", ">f8", "S3", "M8[s]", "i4,S5")]
WHOLE = slice(None)


@pytest.fixture(scope="module")
def new_path(tmp_path_factory):
    folder, numbers = tmp_path_factory.mktemp("arrays"), itertools.count()
    return lambda: folder / f"{next(numbers)}.caterva"


def numbered(shape, dtype, first=0):
    """Return an array in which items differ, as far as the dtype allows."""
    numbers = np.arange(first, first + math.prod(shape)).reshape(shape)
    if dtype.names is None:
        return numbers.astype(dtype)
    items = np.empty(shape, dtype)
    for name in dtype.names:
        items[name] = numbers
    return items


@st.composite
def geometries(draw, min_dims=0, max_dims=5):
    most = {0: 1, 1: 40, 2: 12, 3: 7, 4: 4, 5: 3}
    ndim = draw(st.integers(min_dims, max_dims))
    shape = draw(hnp.array_shapes(min_dims=ndim, max_dims=ndim, min_side=0, max_side=most[ndim]))
    chunks = tuple(draw(st.integers(1, max(length, 1) + 3)) for length in shape)
    blocks = tuple(draw(st.integers(1, chunk)) for chunk in chunks)
    return shape, chunks, blocks


@st.composite
def stored_arrays(draw, min_dims=0, max_dims=5):
    """Return arguments for `store`, and the items."""
    shape, chunks, blocks = draw(geometries(min_dims, max_dims))
    items = numbered(shape, draw(st.sampled_from(DTYPES)))
    # Files are slower than memory, so that few examples use them.
    where = draw(st.sampled_from([*["memory"] * 8, "file"]))
    return items, {"chunks": chunks, "blocks": blocks, "contiguous": draw(st.booleans())}, where


def store(new_path, stored):
    items, kwargs, where = stored
    return cat.asarray(items, urlpath=new_path() if where == "file" else None, **kwargs)


# --- strategies for each kind of selection ----------------------------------------------------


def slices(length):
    most = length + 2
    bound = st.none() | st.integers(-most, most)
    step = st.none() | st.integers(-most, most).filter(bool)
    return st.builds(slice, bound, bound, step)


def positions(length):
    """Any position, and now and then one that is out of bounds."""
    inside = st.integers(-length, length - 1) if length else st.nothing()
    return st.one_of(*[inside] * 12, st.integers(-length - 1, length))


def index_arrays(length, base=(3, 1, 2)):
    """Arrays of shapes that can be broadcast together."""
    shapes = hnp.broadcastable_shapes(base, max_dims=3, max_side=3)
    if not length:
        return st.builds(np.zeros, shapes.map(lambda shape: (*shape, 0)), st.just(np.intp))
    dtypes = st.sampled_from([np.int64, np.int8, np.uint16])
    return st.one_of(
        shapes.flatmap(
            lambda shape: hnp.arrays(np.int64, shape, elements=st.integers(-length, length - 1))
        ),
        st.lists(st.integers(-length, length - 1), min_size=1, max_size=1),
        st.tuples(shapes, dtypes).flatmap(
            lambda drawn: hnp.arrays(drawn[1], drawn[0], elements=st.integers(0, length - 1))
        ),
    )


@st.composite
def keys(draw, shape, kinds):
    """Draw an index that has the given kinds of keys in it."""
    result, dim = [], 0
    mixed = st.sampled_from(sorted(kinds))
    while dim < len(shape):
        kind = draw(mixed)
        if kind == "stop":
            break
        if kind == "newaxis":
            result.append(None)
            if len(result) > 10:
                break
            continue
        if kind == "0-d mask":
            result.append(draw(st.sampled_from([True, False, np.True_, np.array(True)])))
            if len(result) > 10:
                break
            continue
        if kind == "mask":
            ndim = draw(st.integers(1, len(shape) - dim))
            result.append(draw(hnp.arrays(bool, shape[dim : dim + ndim])))
            dim += ndim
            continue
        if kind == "ellipsis":
            if Ellipsis not in [key for key in result if not isinstance(key, np.ndarray)]:
                result.append(Ellipsis)
            dim += draw(st.integers(0, len(shape) - dim))
            continue
        make = {"integer": positions, "slice": slices, "array": index_arrays}[kind]
        result.append(draw(make(shape[dim])))
        dim += 1
    if len(result) == 1 and draw(st.booleans()):
        return result[0]
    return tuple(result)


KINDS = {
    "integers": {"integer", "stop"},
    "slices": {"slice", "stop"},
    "basic": {"integer", "slice", "ellipsis", "newaxis", "stop"},
    "masks": {"mask", "slice", "stop"},
    "0-d masks": {"0-d mask", "slice", "integer", "stop"},
    "arrays": {"array", "stop"},
    "mixed": {"array", "mask", "0-d mask", "integer", "slice", "ellipsis", "newaxis", "stop"},
}
each_kind = pytest.mark.parametrize("kinds", KINDS.values(), ids=KINDS)


def outcome(function):
    """Return a result, or IndexError where that is raised."""
    try:
        return function()
    except IndexError:
        return IndexError


def assert_same(found, expected):
    assert type(found) is type(expected), (found, expected)
    if not isinstance(expected, type):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert found.tobytes() == expected.tobytes()


# --- reading ----------------------------------------------------------------------------------


@each_kind
@LAW
@given(st.data(), stored_arrays())
def test_getitem_is_numpys(new_path, kinds, data, stored):
    items = stored[0]
    key = data.draw(keys(items.shape, kinds))
    with store(new_path, stored) as array:
        found, expected = outcome(lambda: array[key]), outcome(lambda: items[key])
        # NumPy looks at no positions where index arrays broadcast to nothing; we do.
        if found is not IndexError or expected is IndexError or expected.size:
            assert_same(found, expected)


@LAW
@given(st.data(), stored_arrays())
def test_getitem_of_hypothesis_own_basic_indices(new_path, data, stored):
    items = stored[0]
    key = data.draw(hnp.basic_indices(items.shape, allow_newaxis=True, max_dims=12))
    with store(new_path, stored) as array:
        assert_same(array[key], items[key])


@LAW
@given(st.data(), stored_arrays(1).filter(lambda stored: stored[0].size))
def test_getitem_of_hypothesis_own_index_arrays(new_path, data, stored):
    items = stored[0]
    key = data.draw(hnp.integer_array_indices(items.shape))
    with store(new_path, stored) as array:
        assert_same(array[key], items[key])


@st.composite
def destinations(draw, shape, dtype):
    """Return memory, and a view of it of any strides with the given shape."""
    order = draw(st.permutations(range(len(shape))))
    axes = [
        (draw(st.sampled_from([1, -1, 2, -3])), draw(st.integers(0, 2)), length) for length in shape
    ]
    shape_in_memory = [0] * len(shape)
    for axis, (step, offset, length) in zip(order, axes, strict=True):
        shape_in_memory[axis] = offset + abs(step) * length + 1
    if draw(st.booleans()):
        dtype = np.dtype([("", "u1"), ("items", dtype), ("", "u1")])  # neither dense nor aligned
    memory = np.full(math.prod(shape_in_memory) * dtype.itemsize, 0xA5, "u1")

    def view(memory):
        base = memory.view(dtype).reshape(shape_in_memory)
        base = (base if dtype.names != ("f0", "items", "f2") else base["items"]).transpose(order)
        for axis, (step, offset, length) in enumerate(axes):
            wanted = slice(offset, offset + abs(step) * length, abs(step))
            base = base[(*[WHOLE] * axis, wanted)]
            base = base[(*[WHOLE] * axis, slice(None, None, -1 if step < 0 else 1))]
        return base

    return memory, view


@pytest.mark.parametrize("kinds", [KINDS["basic"], KINDS["mixed"]], ids=["basic", "mixed"])
@LAW
@given(st.data(), stored_arrays())
def test_read_fills_its_destination_and_nothing_else(new_path, kinds, data, stored):
    items = stored[0]
    key = data.draw(keys(items.shape, kinds))
    expected = outcome(lambda: np.asarray(items[key]))
    assume(expected is not IndexError)
    memory, view = data.draw(destinations(expected.shape, items.dtype))
    expected_memory = memory.copy()
    view(expected_memory)[...] = expected
    with store(new_path, stored) as array:
        out = view(memory)
        found = outcome(lambda: array.read(key, out=out))
        # NumPy looks at no positions where index arrays broadcast to nothing; we do.
        assert found is out or (found is IndexError and not expected.size)
    assert memory.tobytes() == expected_memory.tobytes()


DESTINATIONS = {
    "longer": lambda shape: np.zeros((shape[0] + 1,), "f4"),
    "broadcast": lambda shape: np.zeros((*shape, 1), "f4"),
    "0-d": lambda shape: np.zeros((), "f4"),
    "empty": lambda shape: np.zeros((0,), "f4"),
    "f8": lambda shape: np.zeros(shape, "f8"),
    "i4": lambda shape: np.zeros(shape, "i4"),
    "big-endian": lambda shape: np.zeros(shape, ">f4"),
    "objects": lambda shape: np.zeros(shape, "O"),
    "read-only": lambda shape: np.frombuffer(bytes(4 * math.prod(shape)), "f4").reshape(shape),
    "no array": lambda shape: bytearray(4 * math.prod(shape)),
}
REFUSALS = {"read-only": cat.ReadOnlyError, "no array": TypeError}


@pytest.mark.parametrize("key", [(WHOLE, 1), ([0, 2], 1)], ids=["slice", "array"])
@pytest.mark.parametrize("kind", DESTINATIONS)
def test_read_refuses_wrong_destinations(key, kind):
    items = numbered((3, 5), np.dtype("f4"), first=1)
    out = DESTINATIONS[kind](items[key].shape)
    with pytest.raises(REFUSALS.get(kind, cat.ArgumentError)):
        cat.asarray(items, chunks=(2, 3), blocks=(1, 2)).read(key, out=out)
    assert not np.any(np.asarray(out))


@pytest.mark.parametrize("dtype", ["i4", "M8[s]", "S5", "i4,f4", "V3"])
@pytest.mark.parametrize(
    ("shape", "key"),
    [
        ((), ()),
        ((), ...),
        ((), None),
        ((), True),
        ((), False),
        ((3,), 1),
        ((3,), np.int8(-1)),
        ((3,), np.array(1)),
        ((3,), (1, ...)),
        ((3,), (..., 1)),
        ((3,), [1]),
        ((3,), np.array([True, False, False])),
        ((2, 3), (1, 2)),
        ((2, 3), (np.array(1), np.array(2))),
        ((2, 3), (1, np.array(2), ...)),
        ((2, 3), (np.array(1), 2, ...)),
        ((2, 3), 1),
        ((2, 3), (1, None, 2)),
        ((2, 3), ()),
    ],
    ids=str,
)
def test_scalars_and_arrays_as_numpy(shape, key, dtype):
    items = numbered(shape, np.dtype(dtype)) if dtype != "V3" else np.ones(shape, "S3").view("V3")
    assert_same(cat.asarray(items)[key], items[key])


def test_length_and_iteration():
    items = numbered((3, 4), np.dtype("i4"))
    array = cat.asarray(items)
    assert len(array) == 3
    assert [row.tolist() for row in array] == items.tolist()
    with pytest.raises(TypeError, match="0-d"):
        len(cat.asarray(np.float32(1)))


WRONG = [
    5,
    -6,
    (0, 0, 0),
    (..., ...),
    1.0,
    "name",
    [0.5],
    np.array([], float),
    np.array([1], object),
    slice(None, None, 0),
    slice(0.5, 2),
    ([0, 5], 0),
    ([0, -6], 0),
    ([0, 1], [0, 1, 2]),
    np.ones(4, bool),
    np.ones(6, bool),
    np.ones((5, 2), bool),
    np.ones((5, 3, 1), bool),
    (WHOLE, np.ones(5, bool)),
    (True, False, [0, 1]),
    2**70,
    np.array([2**63], "u8"),
    {},
    (0, {}),
]


@pytest.mark.parametrize("key", WRONG, ids=str)
def test_wrong_indices_raise_as_in_numpy(key):
    items = numbered((5, 3), np.dtype("i4"))
    array = cat.asarray(items, chunks=(2, 2), blocks=(1, 2))
    for target in (items, array):
        with pytest.raises((IndexError, TypeError, ValueError)) as caught:
            target[key]
        with pytest.raises(caught.type):
            target[key] = 1
        if target is items:
            expected = caught.type
    assert issubclass(caught.type, expected)
    assert (array[...] == items).all()


# --- writing ----------------------------------------------------------------------------------


@st.composite
def values_for(draw, shape, dtype):
    """Values that can be broadcast to a shape, sometimes with needless leading dimensions."""
    kind = draw(st.sampled_from(["scalar", "whole", "part", "leading"]))
    if kind == "scalar":
        return numbered((1,), dtype, 99)[0]
    if kind == "part":
        shape = tuple(draw(st.sampled_from([1, length])) for length in shape)
        shape = shape[draw(st.integers(0, len(shape))) :]
    if kind == "leading":
        shape = (1,) * draw(st.integers(0, 2)) + shape
    values = numbered(shape, dtype, 100)
    if draw(st.booleans()) and values.size:
        return values.tolist()
    return np.asfortranarray(values) if draw(st.booleans()) else values


@each_kind
@LAW
@given(st.data(), stored_arrays())
def test_setitem_is_numpys(new_path, kinds, data, stored):
    items = stored[0]
    key = data.draw(keys(items.shape, kinds))
    expected = items.copy()
    selected = outcome(lambda: np.asarray(items[key]))
    values = data.draw(values_for((1,) if selected is IndexError else selected.shape, items.dtype))
    with store(new_path, stored) as array:
        if outcome(lambda: array[key]) is IndexError:
            assert selected is IndexError or not selected.size
            with pytest.raises(IndexError):
                array[key] = values
        else:
            # NumPy takes needless dimensions of length 1 for some selections, we take them for all.
            expected[key] = _without_leading(values, items.dtype, selected.ndim)
            array[key] = values
        assert_same(array[...], expected)


@LAW
@given(geometries(1), geometries(1), st.booleans())
def test_one_array_is_assigned_to_another(one, other, contiguous):
    shape = one[0]
    items = numbered(shape, np.dtype("i4"))
    array = cat.zeros(shape, dtype="i4", chunks=one[1], blocks=one[2], contiguous=contiguous)
    array[...] = cat.asarray(items)
    assert_same(array[...], items)
    array[::-1] = array
    assert_same(array[...], items[::-1])
    value = numbered(other[0], np.dtype("i4"), 100)
    try:
        items[...] = value
    except ValueError:
        with pytest.raises(ValueError, match="broadcast"):
            array[...] = cat.asarray(value)
        assert_same(array[...], items[::-1])
    else:
        array[...] = cat.asarray(value)
        assert_same(array[...], items)


@pytest.mark.parametrize(
    "values", [np.zeros(4), np.zeros((2, 2)), np.zeros((2, 1, 3))], ids=np.shape
)
@pytest.mark.parametrize("key", [..., (slice(0, 2),), [0, 1], np.array([True, True])], ids=str)
def test_values_that_do_not_fit_change_nothing(key, values):
    array = cat.zeros((2, 3), dtype="f8")
    with pytest.raises(ValueError, match="broadcast"):
        array[key] = values
    assert not array[...].any()


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("i4", 1.75),
        ("i4", "17"),
        ("u1", np.array([300, -1, 2], "i8")),
        ("f4", 2),
        ("f4", [1, 2.5, True]),
        ("?", [2, 0, -1]),
        ("c8", 1.5),
        ("M8[D]", "2024-02-29"),
        ("m8[s]", np.timedelta64(2, "m")),
        ("U2", "abc"),
        ("S4", b"a"),
        ("S4", b""),
        ("S4", "abcd"),
        ("S4", 7),
        ("S8", 7),
        ("S4", [b"a", b"bc", b"defg"]),
        ("i4,f8", (1, 2.5)),
        ("i4,f8", [(1, 2.5), (3, 4), (5, 6)]),
    ],
    ids=str,
)
def test_values_are_cast_as_in_numpy(dtype, value):
    expected, array = np.zeros(3, dtype), cat.zeros(3, dtype=dtype)
    expected[...] = value
    array[...] = value
    assert_same(array[...], expected)


@pytest.mark.parametrize(
    ("dtype", "value"), [("u1", 300), ("u1", -1), ("i4", "x"), ("f4", "x"), ("i4", None)], ids=str
)
def test_values_that_cannot_be_cast_raise_as_in_numpy(dtype, value):
    expected, array = np.zeros(3, dtype), cat.zeros(3, dtype=dtype)
    with pytest.raises((ValueError, TypeError, OverflowError)) as caught:
        expected[...] = value
    with pytest.raises(caught.type):
        array[...] = value
    assert not array[...].any()


# --- orthogonal -------------------------------------------------------------------------------


@st.composite
def orthogonal_keys(draw, shape):
    """Draw an orthogonal index, and the positions that it selects along each dimension."""
    result, wanted = [], []
    for length in shape:
        kind = draw(st.sampled_from(["array", "mask", "slice", "integer", "list"]))
        if kind == "integer" and not length:
            kind = "slice"
        if kind == "slice":
            result.append(draw(slices(length)))
        elif kind == "mask":
            result.append(draw(hnp.arrays(bool, length)))
        elif kind == "integer":
            result.append(draw(st.integers(-length, length - 1)))
        else:
            inside = st.integers(-length, length - 1) if length else st.nothing()
            result.append(draw(st.lists(inside, max_size=6 if length else 0)))
            if kind == "array":
                result[-1] = np.array(result[-1], np.int64)
        key = np.array(result[-1], int) if isinstance(result[-1], list) else result[-1]
        wanted.append(np.atleast_1d(np.arange(length)[key]))
    dropped = tuple(d for d, key in enumerate(result) if isinstance(key, int))
    # Trailing dimensions may be left out, and an ellipsis may stand for whole ones.
    whole = len(shape)
    while whole and isinstance(result[whole - 1], slice) and result[whole - 1] == WHOLE:
        whole -= 1
    if whole < len(shape):
        result = [*result[:whole], *draw(st.sampled_from([[], [...]]))]
    return tuple(result), np.ix_(*wanted), dropped


@LAW
@given(st.data(), stored_arrays(1))
def test_oindex_is_ix(new_path, data, stored):
    items = stored[0]
    key, wanted, dropped = data.draw(orthogonal_keys(items.shape))
    expected = np.squeeze(items[wanted], dropped)
    with store(new_path, stored) as array:
        # A single item is a scalar, whose dtype may be shorter, as NumPy has it.
        assert_same(array.oindex[key], expected if expected.shape else expected[()])
        # Repeated positions take the last value, in which all of these are equal.
        values = data.draw(values_for(expected.shape, items.dtype))
        changed = items.copy()
        changed[wanted] = np.expand_dims(
            np.broadcast_to(_without_leading(values, items.dtype, expected.ndim), expected.shape),
            dropped,
        )
        array.oindex[key] = values
        assert_same(array[...], changed)


def _without_leading(values, dtype, ndim):
    values = np.asarray(values, dtype)
    return values.reshape(values.shape[max(values.ndim - ndim, 0) :])


@pytest.mark.parametrize(
    "key",
    [
        (None, [0]),
        ([[0, 1]], 0),
        (np.ones((5, 3), bool),),
        (True, 0),
        ([5], 0),
        ([-6], 0),
        (np.ones(4, bool), 0),
        (0, 0, [0]),
        (..., ..., [0]),
        ([0.5], 0),
        5,
    ],
    ids=str,
)
def test_wrong_orthogonal_indices(key):
    array = cat.zeros((5, 3), dtype="i4")
    with pytest.raises(IndexError):
        array.oindex[key]
    with pytest.raises(IndexError):
        array.oindex[key] = 1
    assert not array[...].any()


# --- the rest ---------------------------------------------------------------------------------


@LAW
@given(st.data(), stored_arrays())
def test_slice_is_a_compressed_array(new_path, data, stored):
    items = stored[0]
    key = data.draw(keys(items.shape, KINDS["mixed"]))
    expected = outcome(lambda: np.asarray(items[key]))
    assume(expected is not IndexError and expected.size)
    with store(new_path, stored) as array:
        assert_same(array.slice(key)[...], expected.astype(items.dtype))


def test_only_touched_chunks_are_rewritten(tmp_path):
    items = numbered((4, 4), np.dtype("i4"))
    array = cat.asarray(items, chunks=(2, 2), blocks=(2, 1), urlpath=tmp_path / "a")
    files = sorted((tmp_path / "a").glob("*.chunk"))
    for path in files:
        os.utime(path, (0, 0))
    array[[0, 3], [0, 3]] = [1, 2]
    array[0:2, 0:2] += 1
    assert [path.stat().st_mtime > 0 for path in files] == [True, False, False, True]
    items[[0, 3], [0, 3]] = [1, 2]
    items[0:2, 0:2] += 1
    assert_same(array[...], items)
