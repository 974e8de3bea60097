"""The parser of the metalayers that hold an array's geometry."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import caterva_cffi as cat
from caterva_cffi import ffi, lib
from caterva_cffi.format.metalayers import decode_geometry, encode_geometry
from caterva_cffi.geometry.grid import Grid

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
