"""Metalayers as mappings, and the parser of the ones that hold an array's geometry."""

from collections.abc import Mapping, MutableMapping

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import caterva_cffi as cat
from caterva_cffi import ffi, lib
from caterva_cffi.format.metalayers import decode_geometry, encode_geometry
from caterva_cffi.geometry.grid import Grid

STORED = {
    "memory": {},
    "frame in memory": {"contiguous": True},
    "file": {"contiguous": True, "urlpath": "a.b2frame"},
    "directory": {"urlpath": "a"},
}
each_storage = pytest.mark.parametrize("storage", STORED.values(), ids=STORED)


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def make(**kwargs):
    return cat.zeros((4, 6), 2, **{"chunks": (3, 3), "blocks": (2, 2), **kwargs})


def reopened(array):
    """Return the array as the next who opens it finds it."""
    if array.urlpath is not None:
        return cat.open(array.urlpath, mode="r")
    return cat.from_cframe(bytes(array.to_cframe()))


# --- metalayers of fixed length ---------------------------------------------------------------


@each_storage
def test_meta_is_a_mapping(storage):
    array = make(meta={"first": b"12345", "second": b"", "ñandú": bytes(range(256))}, **storage)
    for found in (array.meta, reopened(array).meta):
        assert isinstance(found, Mapping)
        assert not isinstance(found, MutableMapping)
        assert list(found) == ["caterva", "b2nd", "first", "second", "ñandú"]
        assert len(found) == 5
        assert found["first"] == found[b"first"] == b"12345"
        assert found["second"] == b""
        assert found["ñandú"] == bytes(range(256))
        assert "first" in found
        assert b"first" in found
        assert found.get("third", b"none") == b"none"
        assert dict(found.items())["first"] == b"12345"
        assert "'first': b'12345'" in repr(found)
        for missing in ("third", "", "firs", "first\0", "first\0x", b"\xff", "x" * 1000, 5, None):
            assert missing not in found
            with pytest.raises(KeyError):
                found[missing]


@each_storage
def test_meta_keeps_its_length(storage):
    array = make(meta={"note": b"12345", "none": b""}, **storage)
    array.meta["note"] = b"abcde"
    array.meta[b"note"] = np.frombuffer(b"ABCDE", "u1")
    array.meta["none"] = b""
    for wrong in (b"", b"1234", b"123456"):
        with pytest.raises(ValueError, match=f"'note': {len(wrong)} bytes instead of 5"):
            array.meta["note"] = wrong
    for missing in ("other", "note\0", 5):
        with pytest.raises(KeyError):
            array.meta[missing] = b"12345"
    for no_bytes in ("12345", 5, None):
        with pytest.raises(TypeError, match="expected an object with the buffer protocol"):
            array.meta["note"] = no_bytes
    with pytest.raises((TypeError, AttributeError)):
        del array.meta["note"]
    assert array.meta["note"] == reopened(array).meta["note"] == b"ABCDE"


def test_large_metalayers():
    content = np.random.default_rng(0).bytes(1_000_000)
    array = make(contiguous=True, meta={"large": content, "after": b"x"})
    array[...] = b"ab"
    found = reopened(array)
    assert found.meta["large"] == content
    assert found.meta["after"] == b"x"
    assert (found[...] == b"ab").all()


NAMES = {
    "longest": ("n" * 31, None),
    "longest in UTF-8": ("ñ" * 15, None),
    "bytes": (b"n", None),
    "bytes that are no text": (b"\xff\xfe", None),
    "spaces": (" ", None),
    "empty": ("", cat.ArgumentError),
    "too long": ("n" * 32, cat.ArgumentError),
    "too long in UTF-8": ("ñ" * 16, cat.ArgumentError),
    "NUL": ("a\0b", cat.ArgumentError),
    "number": (5, TypeError),
    "None": (None, TypeError),
}
each_name = pytest.mark.parametrize(("name", "error"), NAMES.values(), ids=list(NAMES))


@each_name
def test_names_of_metalayers(name, error):
    if error is None:
        array = make(meta={name: b"value"})
        assert array.meta[name] == reopened(array).meta[name] == b"value"
        text = name if isinstance(name, str) else name.decode(errors="surrogateescape")
        assert list(array.meta)[2] == text
        assert dict(array.copy().meta) == dict(array.meta)
    else:
        with pytest.raises(error, match="metalayer name"):
            make(meta={name: b"value"})


@each_name
def test_names_of_variable_length_metalayers(name, error):
    array = make()
    if error is None:
        array.vlmeta[name] = b"value"
        assert array.vlmeta[name] == reopened(array).vlmeta[name] == b"value"
        assert dict(array.copy().vlmeta) == dict(array.vlmeta)
        del array.vlmeta[name]
    else:
        with pytest.raises(error, match="metalayer name"):
            array.vlmeta[name] = b"value"
    assert len(array.vlmeta) == 0


def test_number_of_metalayers():
    most = lib.BLOSC2_MAX_METALAYERS - 2
    array = make(meta={f"n{k}": b"%d" % k for k in range(most)})
    assert len(reopened(array).meta) == most + 2
    assert array.meta["n13"] == b"13"
    with pytest.raises(cat.ArgumentError, match="17 metalayers; at most 16"):
        make(meta={f"n{k}": b"" for k in range(most + 1)})


@pytest.mark.parametrize("name", ["caterva", "b2nd", b"b2nd"])
def test_the_arrays_own_metalayers_are_not_the_users(name):
    with pytest.raises(cat.ArgumentError, match="belong to the array itself"):
        make(meta={name: b""})


@pytest.mark.parametrize("meta", [5, "text", [("a", b"b")]], ids=str)
def test_meta_is_made_of_a_mapping(meta):
    with pytest.raises(TypeError, match="expected a mapping"):
        make(meta=meta)


# --- metalayers of variable length ------------------------------------------------------------


@each_storage
def test_vlmeta_is_a_mutable_mapping(storage):
    array = make(**storage)
    found = array.vlmeta
    assert isinstance(found, MutableMapping)
    assert len(found) == 0
    found["first"] = b"1"
    found[b"second"] = bytearray(b"22")
    found["third"] = np.arange(3)
    found["empty"] = b""
    assert list(found) == ["first", "second", "third", "empty"]
    found["first"] = b"longer than before"
    found["second"] = b""
    assert found.pop("empty") == b""
    assert found.setdefault("second", b"other") == b""
    assert found.setdefault("fourth", b"4") == b"4"
    found.update({"fifth": b"5"})
    expected = {
        "first": b"longer than before",
        "second": b"",
        "third": np.arange(3).tobytes(),
        "fourth": b"4",
        "fifth": b"5",
    }
    assert dict(found) == expected
    assert dict(reopened(array).vlmeta) == expected
    del found["third"]
    del found[b"fifth"]
    for missing in ("third", "firs", "first\0", b"\xff", "x" * 1000, 5, None):
        assert missing not in found
        with pytest.raises(KeyError):
            found[missing]
        with pytest.raises(KeyError):
            del found[missing]
    assert list(reopened(array).vlmeta) == ["first", "second", "fourth"]
    found.clear()
    assert dict(reopened(array).vlmeta) == {}
    assert not array[...].any()


@each_storage
def test_large_vlmeta(storage):
    array = make(**storage)
    noise = np.random.default_rng(0).bytes(1_000_000)
    zeros = bytes(1_000_000)
    array.vlmeta["noise"] = noise
    array.vlmeta["zeros"] = zeros
    array[...] = b"ab"
    for found in (array, reopened(array)):
        assert found.vlmeta["noise"] == noise
        assert found.vlmeta["zeros"] == zeros
        assert (found[...] == b"ab").all()
    array.vlmeta["noise"] = b"small"
    del array.vlmeta["zeros"]
    assert dict(reopened(array).vlmeta) == {"noise": b"small"}
    assert len(array.to_cframe()) < 2000


@pytest.mark.parametrize("value", ["text", 5, None, np.zeros((4, 4))[:, ::2]], ids=type)
def test_vlmeta_is_bytes(value):
    array = make()
    with pytest.raises((TypeError, cat.ArgumentError), match="metalayer 'name'"):
        array.vlmeta["name"] = value
    assert "name" not in array.vlmeta


@given(st.dictionaries(st.text(min_size=1, max_size=10), st.binary(max_size=300), max_size=8))
@settings(deadline=None, max_examples=25)
def test_any_vlmeta(content):
    content = {name: value for name, value in content.items() if "\0" not in name}
    content = {name: v for name, v in content.items() if len(name.encode()) <= 31}
    array = make(contiguous=True)
    array.vlmeta.update(content)
    assert dict(array.vlmeta) == dict(reopened(array).vlmeta) == content


@each_storage
def test_metalayers_survive_changes_of_shape(storage):
    array = cat.zeros((1, 6), 2, chunks=(1, 3), blocks=(1, 2), meta={"note": b"fixed"}, **storage)
    array.vlmeta["title"] = b"variable"
    array.resize((1, 9))
    array.append(np.zeros((1, 1), "S2"), axis=1)
    array.squeeze()
    for found in (array, reopened(array), array.copy()):
        assert found.shape == (10,)
        assert found.meta["note"] == b"fixed"
        assert dict(found.vlmeta) == {"title": b"variable"}


# --- geometry ---------------------------------------------------------------------------------

DTYPES = ["u1", "<f8", ">i2", "M8[ns]", "S7", "U3", "V5", [("x", "<f4"), ("y", "S3", (2, 2))]]
each_dtype = pytest.mark.parametrize("dtype", [np.dtype(name) for name in DTYPES], ids=str)


def geometry(ndim, itemsize):
    shape = tuple(3 + k % 4 for k in range(ndim))
    return Grid(shape, (2,) * ndim, (1,) * ndim, itemsize)


@each_dtype
@pytest.mark.parametrize("ndim", [0, 1, 2, 8, 9, 15, 16])
def test_what_is_written_is_read(dtype, ndim):
    grid = geometry(ndim, dtype.itemsize)
    layers = encode_geometry(grid, dtype)
    assert set(layers) == ({"caterva", "b2nd"} if ndim <= 8 else {"b2nd"})
    assert decode_geometry(layers, dtype.itemsize) == (grid, dtype)
    if "caterva" in layers:
        plain = decode_geometry({"caterva": layers["caterva"]}, dtype.itemsize)
        assert plain == (grid, np.dtype(f"S{dtype.itemsize}"))


@each_dtype
def test_msgpack_reads_what_is_written(dtype):
    grid = geometry(3, dtype.itemsize)
    layers = encode_geometry(grid, dtype)
    plain = [0, 3, list(grid.shape), list(grid.chunks), list(grid.blocks)]
    assert msgpack.unpackb(layers["caterva"]) == plain
    assert msgpack.unpackb(layers["b2nd"])[:6] == [*plain, 0]


@pytest.mark.parametrize("ndim", [1, 2, 8, 15, 16])
def test_c_reads_what_is_written(ndim):
    dtype = np.dtype("<i4")
    grid = geometry(ndim, 4)
    layers = encode_geometry(grid, dtype)
    dims, shape = ffi.new("int8_t *"), ffi.new("int64_t[]", 16)
    chunks, blocks = ffi.new("int32_t[]", 16), ffi.new("int32_t[]", 16)
    text, text_format = ffi.new("char **"), ffi.new("int8_t *")
    layer = ffi.from_buffer("uint8_t[]", layers["b2nd"])
    size = lib.b2nd_deserialize_meta(
        layer, len(layer), dims, shape, chunks, blocks, text, text_format
    )
    assert size == len(layer)
    found = tuple(tuple(values[0 : dims[0]]) for values in (shape, chunks, blocks))
    assert found == (grid.shape, grid.chunks, grid.blocks)
    assert ffi.string(text[0]) == b"<i4"
    lib.free(text[0])


@each_dtype
@pytest.mark.parametrize("ndim", [0, 2, 16])
def test_every_truncation_is_refused(dtype, ndim):
    layers = encode_geometry(geometry(ndim, dtype.itemsize), dtype)
    for name, layer in layers.items():
        for size in range(len(layer)):
            with pytest.raises(cat.FormatError, match=f"metalayer '{name}'"):
                decode_geometry({name: layer[:size]}, dtype.itemsize)


@each_dtype
@pytest.mark.parametrize("name", ["caterva", "b2nd"])
def test_every_changed_byte_is_refused_or_makes_sense(dtype, name):
    layer = encode_geometry(geometry(2, dtype.itemsize), dtype)[name]
    refused = 0
    for at in range(len(layer)):
        for value in range(256):
            damaged = layer[:at] + bytes([value]) + layer[at + 1 :]
            try:
                grid, found = decode_geometry({name: damaged}, dtype.itemsize)
            except cat.FormatError as error:
                assert f"metalayer '{name}'" in str(error)
                refused += 1
                continue
            assert isinstance(grid, Grid)
            assert found.itemsize == grid.itemsize == dtype.itemsize
            assert not found.hasobject
            assert len(grid.shape) == len(grid.chunks) == len(grid.blocks)
    assert refused > 256 * 8


@given(st.binary(max_size=200), st.sampled_from(["caterva", "b2nd"]), st.integers(1, 300))
@settings(deadline=None, max_examples=200)
def test_noise_is_refused(noise, name, itemsize):
    with pytest.raises(cat.FormatError):
        decode_geometry({name: b"\x95\0\x10" + noise[:50]}, itemsize)
    with pytest.raises(cat.FormatError):
        decode_geometry({name: noise}, itemsize)


HOSTILE = [
    "O",
    "|O",
    "x" * 10**6,
    "[('a', 'O')]",
    "[('a', '<i4'), ('a', '<i4')]",
    "__import__('os').system('echo')",
    "(" * 5000,
    "[" * 100_000,
    "9" * 10_000,
    "<i4" + "\0",
    "",
    "<U1000000000",
    "(2,)<i2",
    "[('x', '<i4', (10**9, 10**9))]",
    "[('x', '<i4', (99999999999, 99999999999))]",
    "[('x', '<i4', (-1,))]",
    "{'names': ['a'], 'formats': ['O']}",
    "float",
    "i4,i4",
    *["a4", "1i4", "a2,i2", "[('a', 'a4')]", "{'names': ['a'], 'formats': ['a4']}"],  # NumPy warns
    *["[('\\q', '<i4')]", "[('a\\\\\\q', '<i4')]", "[('\\"],  # Python warns
    *["{}", "{1}", "[1]", "[('a',)]", "('<i4',)", "'<i4' 'x'", "[('a', 'bfloat16')]"],
    *["{'names': ['a']}", "{'formats': ['<i4']}", "{'names': 'a', 'formats': 4}"],
    "{'names': ['a', 'b'], 'formats': ['<i2', '<i2'], 'offsets': [0, -2], 'itemsize': 4}",
    "{'names': ['a'], 'formats': ['<i4'], 'offsets': [99999999999999999999], 'itemsize': 4}",
    "{'names': ['a'], 'formats': ['<i4'], 'itemsize': 3}",
    "{'names': ['a'], 'formats': [" + "[" * 5000,
    "[('x', '<i4', (10**99,))]",
    f"[('x', '<i4', ({10**99},))]",
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:20])
def test_hostile_dtypes(text):
    grid = Grid((3,), (2,), (1,), 4)
    layer = encode_geometry(grid, np.dtype("<i4"))["b2nd"]
    body, encoded = layer[:-8], text.encode()
    hostile = body + b"\xdb" + len(encoded).to_bytes(4, "big") + encoded
    with pytest.raises(cat.FormatError, match="metalayer 'b2nd'"):
        decode_geometry({"b2nd": hostile}, 4)


WRONG_SHAPES = {
    "negative shape": ((-1, 3), (2, 2), (1, 1)),
    "negative chunks": ((3, 3), (-2, 2), (1, 1)),
    "negative blocks": ((3, 3), (2, 2), (-1, 1)),
    "blocks of zero": ((3, 3), (2, 2), (0, 1)),
    "chunks of zero": ((3, 3), (0, 2), (0, 1)),
    "blocks larger than chunks": ((3, 3), (2, 2), (3, 1)),
    "overflow": ((2**62, 2**62), (2, 2), (1, 1)),
    "many chunks": ((2**40, 3), (2, 2), (1, 1)),
    "large chunk": ((3, 3), (2**30, 2**30), (1, 1)),
    "large block": ((3, 3), (2**15, 2**15), (2**15, 2**15)),
}


@pytest.mark.parametrize("lengths", WRONG_SHAPES.values(), ids=WRONG_SHAPES)
@pytest.mark.parametrize("name", ["caterva", "b2nd"])
def test_wrong_shapes(lengths, name):
    codes = [0xD3, 0xD2, 0xD2]
    layer = bytes([0x95, 0, 2])
    for code, values, size in zip(codes, lengths, (8, 4, 4), strict=True):
        items = b"".join(bytes([code]) + v.to_bytes(size, "big", signed=True) for v in values)
        layer += b"\x92" + items
    with pytest.raises(cat.FormatError, match=f"metalayer '{name}'"):
        decode_geometry({name: layer}, 4)


def test_frames_without_a_geometry():
    with pytest.raises(cat.FormatError, match=r"found: none\): not an N-d array"):
        decode_geometry({}, 4)
    with pytest.raises(cat.FormatError, match=r"found: 'other'\): not an N-d array"):
        decode_geometry({"other": b""}, 4)


def test_a_bad_b2nd_is_not_replaced_by_caterva():
    layers = encode_geometry(Grid((3,), (2,), (1,), 4), np.dtype("<i4"))
    with pytest.raises(cat.FormatError, match="metalayer 'b2nd'"):
        decode_geometry({**layers, "b2nd": b"\x97"}, 4)


@pytest.mark.parametrize("dtype", ["O", [("a", "O")], "V0", "S0"])
def test_dtypes_that_cannot_be_stored(dtype):
    with pytest.raises(TypeError, match="no items of a fixed number of bytes"):
        cat.zeros(3, dtype=np.dtype(dtype))
