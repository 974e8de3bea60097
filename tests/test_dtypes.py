"""Every dtype of fixed-size items survives arrays and frames; python-blosc2 sees the same one."""

from __future__ import annotations

import math
import pickle

import blosc2
import ml_dtypes
import msgpack
import numpy as np
import pytest
import zarr
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from zarr.core.dtype import data_type_registry
from zarr.core.dtype.common import HasItemSize
from zarr.core.dtype.wrapper import ZDType

import caterva_cffi as cat
from caterva_cffi.numcodecs import Caterva
from caterva_cffi.zarr import CatervaCodec

DTYPES = {
    str(dtype): dtype
    for dtype in map(
        np.dtype,
        [
            *["?", "i1", "u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8"],
            *["<f2", "<f4", "<f8", "g", "<c8", "<c16", "G"],
            *[">i2", ">u4", ">i8", ">f2", ">f4", ">f8", ">c8", ">c16"],
            *["S1", "S7", "S300", "U1", "<U5", ">U5", "U100", "V1", "V7", "V300"],
            *["<M8[D]", "<M8[ns]", ">M8[25s]", "<m8[ms]", ">m8[D]", "M8", "m8", ">M8", ">m8"],
            [("x", "<f4"), ("y", "<i8")],
            [("x", ">f4"), ("y", "<i2"), ("when", "M8[s]"), ("name", "U3"), ("raw", "V2")],
            [("point", [("x", "<f8"), ("y", "<f8")]), ("ok", "?")],
            [("matrix", "<f4", (2, 3)), ("tags", "S2", 4)],
            [("inner", [("a", "u1"), ("b", "<u2", (2,))], (2,)), ("z", ">c8")],
            np.dtype([("a", "u1"), ("b", "<f8"), ("c", "<i2")], align=True),
            np.dtype({"names": ["a"], "formats": ["<i2"], "offsets": [3], "itemsize": 11}),
            [(("a title", "a"), "<i4"), ("b", "u1")],
            [("größe", "<f4"), ("", "u1")],
            [("a", ">M8"), ("b", ">m8", (2,)), ("c", "<M8[7D]")],
            [("f0", "V5")],
            [("\\", "<i4"), ("\\alpha", "u1"), ("a\\\\b", "u1"), ("\\N{BULLET}\\x41", "u1")],
            [("'\"]\n\t\0", "<i4"), ("\ud800", "u1"), ("\\'", "u1")],
            np.dtype({"names": ["b", "a"], "formats": ["<i4", "u1"], "offsets": [4, 1]}),
            np.dtype({"names": ["a", "b"], "formats": ["<i4", "u1"], "offsets": [0, 2]}),
            np.dtype({"names": ["", "b"], "formats": ["V2", "u1"]}),
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
    assert dtype.names is not None or array[0, 0].tobytes() == items[0, 0].tobytes()
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
    zeros = np.zeros(SHAPE, f"V{dtype.itemsize}").view(dtype)  # also of dates without a unit
    assert_same(cat.zeros(SHAPE, **kwargs)[...], zeros)
    assert_same(cat.empty(SHAPE, **kwargs)[...], zeros)
    assert_same(cat.from_buffer(items.tobytes(), SHAPE, **kwargs)[...], items)
    assert_same(cat.from_buffer(items, SHAPE, **kwargs)[...], items)
    filled = cat.full(SHAPE, items[1, 1], **kwargs)
    expected = items.copy()
    expected[...] = items[1, 1]
    assert_same(filled[...], expected)
    assert cat.full(SHAPE, items[1, 1]).dtype == items[1, 1].dtype
    assert cat.copy(filled).dtype == dtype
    assert cat.zeros(SHAPE, dtype.itemsize, dtype=dtype).dtype == dtype
    with pytest.raises(cat.ArgumentError, match="contradicts"):
        cat.zeros(SHAPE, dtype.itemsize + 1, dtype=dtype)


ORDERED = ["i4", "u8", "f2", "f8", "c16", "M8", "m8", "M8[7D]", "U3", [("a", "i4"), ("b", "M8")]]


def in_order(dtype, order):
    return np.dtype(dtype).newbyteorder(order)


@pytest.mark.parametrize("dtype", ORDERED, ids=str)
@pytest.mark.parametrize("after", "<>")
@pytest.mark.parametrize("before", "<>")
def test_casts_to_another_byte_order(before, after, dtype):
    items, wanted = items_of(in_order(dtype, before)), in_order(dtype, after)
    expected = (items if before == after else items.byteswap()).view(wanted)
    array = cat.asarray(items)
    for found in (cat.asarray(items, dtype=wanted), array.copy(dtype=wanted)):
        assert found.dtype == wanted
        assert_same(found[...], expected)
    assert_same(np.asarray(array, wanted), np.asarray(items, wanted))
    target = cat.zeros(SHAPE, dtype=wanted, chunks=(3, 4), blocks=(2, 3))
    target[...] = items
    target[1] = array[1:2]
    target[[0, 2], 1:] = items[[0, 2], 1:]
    assert_same(target[...], expected)
    assert_same(cat.full(SHAPE, items[1, 1], dtype=wanted)[1, 1:2], expected[1, 1:2])


@pytest.mark.parametrize("asked", ["M8", "S", "U"])
def test_units_and_lengths_that_are_left_out_are_found(asked):
    items = np.array(["2020-01-01", "1999-02-03"], "M8[D]" if asked == "M8" else f"{asked}10")
    assert cat.asarray(items, dtype=asked).dtype == items.dtype
    assert cat.asarray(items).copy(dtype=asked).dtype == items.dtype


def test_a_unit_is_not_dropped():
    array = cat.zeros(2, dtype="M8")
    with pytest.raises(ValueError, match="generic"):
        array[...] = np.array([1, 2], "M8[s]")


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
    if "('', '|V" not in dtype_text(frame):  # python-blosc2 gives padding a name
        assert theirs.dtype == dtype
    assert theirs[...].tobytes() == items.tobytes()


@each_dtype
@pytest.mark.parametrize("make", [blosc2.asarray, blosc2.zeros], ids=lambda make: make.__name__)
def test_python_blosc2_made_the_same(make, dtype):
    items = items_of(dtype)
    given = (SHAPE, dtype) if make is blosc2.zeros else (items,)
    theirs = make(*given, chunks=(3, 4), blocks=(2, 3))
    ours = cat.from_cframe(theirs.to_cframe(), copy=True)
    # Its `asarray` gives padding a name, and wraps plain void; what it reads has no empty names.
    expected = dtype if make is blosc2.zeros else theirs.dtype
    void = np.dtype(f"V{dtype.itemsize}")
    assert ours.dtype == (void if expected == [("f0", void)] else expected)
    assert ours[...].tobytes() == theirs[...].tobytes()
    ours.resize((7, 6))
    again = cat.from_cframe(ours.to_cframe())
    assert (again.dtype, again.shape) == (ours.dtype, (7, 6))


def dtype_text(frame):
    """The text that names a frame's dtype."""
    layer = cat.from_cframe(frame).meta["b2nd"]
    return msgpack.unpackb(layer)[6]


@pytest.mark.parametrize(
    "dtype",
    [
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


# --- any dtype: it comes back, or is refused when it would be written --------------------------

SCALARS = [
    *["?", "i1", "<i2", ">i4", "<u8", "<f2", ">f4", "<f8", "g", ">c8", "G", "c16"],
    *["<M8", ">M8", ">m8", "<M8[25s]", ">M8[7D]", "<m8[ns]", ">m8[W]"],
    *["S3", "S0", "<U2", ">U1", "U0", "V5", "V1", "V0", "S300"],
    *[ml_dtypes.bfloat16, ml_dtypes.float8_e5m2, ml_dtypes.int4, ml_dtypes.complex32],
]
NAMES = ["", "f0", "f1", "\\", "\\N{BULLET}", "\\x41", "\\'", "'", '"', "]", "\n", "\0", "{", "|V"]
names = st.one_of(st.sampled_from(NAMES), st.text(max_size=3), st.just("\udcff"))


KINDS = ["packed", "aligned", "offsets", "titles", "record", "metadata"]


@st.composite
def structures(draw, fields, kinds=KINDS):
    """Draw a structure: packed, aligned or with any offsets; with titles, or metadata."""
    chosen = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    formats = [draw(fields) for _ in chosen]
    kind = draw(st.sampled_from(kinds))
    if kind == "offsets":
        offsets = [draw(st.integers(0, 9)) for _ in chosen]
        itemsize = max(at + each.itemsize for at, each in zip(offsets, formats, strict=True))
        given = {"names": chosen, "formats": formats, "offsets": offsets}
        return np.dtype({**given, "itemsize": itemsize + draw(st.integers(0, 3))})
    titles = [draw(names) if kind == "titles" else None for _ in chosen]
    assume(not set(titles) & set(chosen) and (titles[0] is None or len({*titles}) == len(titles)))
    packed = np.dtype(
        {"names": chosen, "formats": formats, "titles": titles}, align=kind == "aligned"
    )
    if kind == "record":
        return np.dtype((np.record, packed))
    return np.dtype(packed, metadata={"unit": "m"}) if kind == "metadata" else packed


def subarrays(fields):
    return st.builds(
        lambda base, shape: np.dtype((base, shape)),
        fields.filter(lambda base: base.itemsize),
        st.lists(st.integers(0, 3), min_size=1, max_size=2).map(tuple),
    )


scalars = st.one_of(st.sampled_from([*map(np.dtype, SCALARS)]), hnp.scalar_dtypes())
any_dtype = st.recursive(
    scalars, lambda inner: structures(st.one_of(inner, subarrays(inner))), max_leaves=6
)


def facts(dtype):
    """What a dtype says of items, told without NumPy's comparison."""
    if dtype.subdtype is not None:
        return facts(dtype.base), dtype.shape
    if dtype.names is None:
        return dtype.num, dtype.str
    fields = [(name, *dtype.fields[name]) for name in dtype.names]
    return dtype.itemsize, [(name, facts(inner), *rest) for name, inner, *rest in fields]


def bytes_of_fields(dtype):
    """Return which bytes of an item belong to its fields; those between them are nobody's."""
    if dtype.names is None:
        return np.ones(dtype.itemsize, bool)
    kept = np.zeros(dtype.itemsize, bool)
    for name in dtype.names:
        inner, offset, *_ = dtype.fields[name]
        count = math.prod(inner.shape)
        kept[offset : offset + inner.itemsize] |= np.tile(bytes_of_fields(inner.base), count)
    return kept


class Bytes:
    """A reader of ranges of bytes."""

    def __init__(self, data):
        self.data = data

    def read_ranges(self, ranges):
        return [self.data[start:stop] for start, stop in ranges]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("dtypes")


def ways_back(items, folder):
    """Yield what each kind of storage gives back."""
    array = cat.asarray(items, contiguous=True)
    frame = bytes(array.to_cframe())
    yield array[...]
    yield cat.from_cframe(frame)[...]
    yield cat.open(Bytes(frame))[...]
    yield pickle.loads(pickle.dumps(array))[...]
    for contiguous in (True, False):
        path = folder / str(contiguous)
        cat.asarray(items, urlpath=path, contiguous=contiguous, mode="w").close()
        with cat.open(path) as stored:
            yield stored[...]
            stored.append(items)
            yield stored[: len(items)]
            yield stored[len(items) :]
    yield Caterva().decode(Caterva().encode(items))
    assigned = cat.zeros(items.shape, dtype=items.dtype)
    assigned[...] = items
    yield assigned[...]
    assigned[[2, 0]] = items[[2, 0]]
    yield assigned[...]


def foreign(dtype):
    """Whether NumPy has no text for a dtype, because it is another package's."""
    inner = [dtype.fields[name][0] for name in dtype.names or ()] or [dtype.base]
    return any(each.num >= 256 if each is dtype else foreign(each) for each in inner)


@given(any_dtype, st.integers(0, 2**32))
@settings(deadline=None, max_examples=100)
def test_any_dtype_comes_back_or_is_refused(folder, dtype, seed):
    noise = np.random.default_rng(seed).integers(0, 2, 3 * dtype.itemsize, "u1")
    if dtype.itemsize == 0 or foreign(dtype):
        items = np.ndarray(3, dtype)
        for store in (
            lambda: cat.asarray(items),
            lambda: cat.zeros(3, dtype=dtype),
            lambda: Caterva().encode(items),
        ):
            with pytest.raises(TypeError, match=r"no items of a fixed|cannot be stored"):
                store()
        return
    items = noise.view(dtype)
    for found in ways_back(items, folder):
        assert facts(found.dtype) == facts(dtype)
        assert np.array_equal(raw(found), raw(items))


def test_long_texts():
    dtype = np.dtype([("é" * 1_000_000, "<i4"), *((f"{k}", "u1") for k in range(1000))])
    items = np.ones(3, dtype)
    frame = bytes(cat.asarray(items).to_cframe())
    for array in (cat.from_cframe(frame), cat.open(Bytes(frame))):
        assert_same(array[...], items)


@pytest.mark.parametrize("depth", [50, 120, 1000])
def test_deeply_nested_structures(depth):
    dtype = np.dtype("u1")
    for _ in range(depth):
        dtype = np.dtype([("a", dtype)])
    if depth > 50:  # than Python reads
        with pytest.raises(TypeError, match="cannot be stored"):
            cat.zeros(3, dtype=dtype)
    else:
        assert cat.from_cframe(cat.zeros(3, dtype=dtype).to_cframe()).dtype == dtype


def test_what_numpy_does_not_compare_is_not_kept():
    """Neither in memory nor in frames, so that an array is the same before it is stored."""
    record = np.dtype((np.record, [("a", "<i4"), ("b", np.dtype("u1", metadata={"unit": "m"}))]))
    array = cat.zeros(3, dtype=np.dtype(record, metadata={"unit": "m"}))
    for found in (array, cat.from_cframe(array.to_cframe())):
        assert found.dtype == record
        assert found.dtype.metadata is None
        assert found.dtype.type is np.void


# --- in Zarr, whose metadata names the dtype ---------------------------------------------------

FORMATS = {
    "2": ({"zarr_format": 2}, {"zarr_format": 2, "compressors": Caterva()}),
    "3": (
        {"zarr_format": 3},
        {"zarr_format": 3, "serializer": CatervaCodec(), "compressors": None},
    ),
}
each_format = pytest.mark.parametrize(("usual", "ours"), FORMATS.values(), ids=FORMATS)

# Zarr's own, of structures and of dates without a unit.
zarr_warns = pytest.mark.filterwarnings(
    "ignore::zarr.errors.UnstableSpecificationWarning",
    "ignore:The structured dtype is converted",
    "ignore:The 'generic' unit",
)


def through_zarr(items, dtype, form):
    """Yield whether an array gives items back: as it is, opened anew, with one written again."""
    store = {}
    z = zarr.create_array(store, shape=(3,), chunks=(2,), dtype=dtype, **form)
    z[...] = items
    yield is_same(z[...], items)
    again = zarr.open_array(store)
    yield is_same(again[...], items)
    again[1:2] = items[1:2]
    yield is_same(again[...], items)
    yield is_same(again[1:3], items[1:3])


def is_same(found, items):
    """Whether items are the same in any byte order: metadata of format 3 has none."""
    return facts(found.dtype.newbyteorder("<")) == facts(items.dtype.newbyteorder("<")) and (
        np.array_equal(raw(found), raw(items.astype(found.dtype)))
    )


zarr_dtypes = st.recursive(
    st.sampled_from([each for each in map(np.dtype, SCALARS) if each.num < 256 and each.itemsize]),
    lambda inner: structures(inner, ["packed", "record", "metadata"]),
    max_leaves=6,
)


@zarr_warns
@each_format
@given(zarr_dtypes, st.integers(0, 2**32))
@settings(deadline=None, max_examples=50)
def test_any_dtype_that_zarr_has_comes_back(usual, ours, dtype, seed):
    assume("''" not in str(dtype))  # Zarr renames such fields
    items = np.random.default_rng(seed).integers(0, 2, 3 * dtype.itemsize, "u1").view(dtype)
    try:
        assume(all(through_zarr(items, dtype, usual)))
    except (TypeError, ValueError):  # Zarr has no such dtype, or cannot compare its items
        assume(False)
    assert all(through_zarr(items, dtype, ours))


def raw(items):
    """The bytes of fields."""
    return items.view((np.uint8, items.itemsize))[..., bytes_of_fields(items.dtype)]


FOREIGN = [ml_dtypes.bfloat16, ml_dtypes.float8_e5m2, ml_dtypes.int4, ml_dtypes.complex32]


@pytest.mark.parametrize("scalar", FOREIGN, ids=lambda scalar: scalar.__name__)
def test_dtypes_of_other_packages_come_back_where_zarr_knows_them(scalar):
    dtype = np.dtype(scalar)

    class Named(ZDType, HasItemSize):
        dtype_cls, _zarr_v3_name, item_size = type(dtype), scalar.__name__, dtype.itemsize
        from_native_dtype = classmethod(lambda cls, native: made(cls, native == dtype))
        _from_json_v3 = classmethod(lambda cls, name: made(cls, name == cls._zarr_v3_name))
        _from_json_v2 = classmethod(lambda cls, _: made(cls, False))
        to_native_dtype = staticmethod(lambda: dtype)
        to_json = staticmethod(lambda zarr_format: scalar.__name__)
        _check_scalar = staticmethod(lambda data: True)
        cast_scalar = from_json_scalar = staticmethod(lambda data, **_: scalar(data))
        to_json_scalar = staticmethod(lambda data, **_: int(data.real))
        default_scalar = staticmethod(lambda: scalar(0))

    def made(cls, known):
        if not known:
            raise zarr.errors.DataTypeValidationError(f"no {scalar.__name__}")
        return cls()

    data_type_registry.register(scalar.__name__, Named)
    try:
        items = np.array([1, 3, 2]).astype(dtype)
        assert all(through_zarr(items, dtype, FORMATS["3"][1]))
    finally:
        data_type_registry.unregister(scalar.__name__)


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
