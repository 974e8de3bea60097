"""The reference reader reads what the package writes, and what others wrote."""

from __future__ import annotations

import ast

import numpy as np
import pytest
from codings import CODINGS, items_of
from golden_frames import Frame, every_file
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_reader import SPEC, reader

import caterva_cffi as cat
from caterva_cffi.numcodecs import Caterva

OPTIONAL = "R-84"  # NDLZ and zfp
DTYPES = [
    *("?", "i1", "<u2", ">i2", "<i4", "<f4", "<f8", "<c16", "<M8[ns]", "<U3", "S5", "V7", "V300"),
    np.dtype([("a", "<f8"), ("b", "<i2", (3,))]),
    np.dtype({"names": ["b", "a"], "formats": ["<i4", "<i2"], "offsets": [6, 0], "itemsize": 12}),
]
LEVELS = st.fixed_dictionaries(
    {
        "cname": st.sampled_from(["lz4", "lz4hc", "blosclz", "zlib", "zstd"]),
        "clevel": st.integers(0, 9),
        "shuffle": st.sampled_from(["noshuffle", "shuffle", "bitshuffle"]),
    }
)


@st.composite
def cases(draw):
    """Draw a codec and an array."""
    if draw(st.booleans()):
        coding, dtype = draw(st.sampled_from(list(CODINGS.values())))
        ndim = 2 if coding.get("cname") == "ndlz" else draw(st.integers(1, 4))
        least = 6 if ndim > 1 else 32
    else:
        coding, dtype = draw(LEVELS), draw(st.sampled_from(DTYPES))
        ndim, least = draw(st.integers(0, 4)), 0
    most = (99, 40, 14, 10)[max(ndim - 1, 0)]
    shape = tuple(draw(st.integers(least, most)) for _ in range(ndim))
    chunks = tuple(draw(st.integers(max(least, 1), max(n, 1))) for n in shape)
    blocks = tuple(draw(st.integers(max(least, 1), n)) for n in chunks)
    checksum = draw(st.booleans())
    codec = Caterva(block_shape=blocks, chunk_shape=chunks, checksum=checksum, **coding)
    dtype, seed = np.dtype(dtype), draw(st.integers(0, 99))
    if dtype.kind in "iuf":
        return codec, items_of(shape, dtype, seed)
    raw = np.random.default_rng(seed).integers(0, 2, (*shape, dtype.itemsize), "u1")
    return codec, raw.view(dtype).reshape(shape)


@st.composite
def boxes(draw, shape):
    corners = [sorted((draw(st.integers(0, n)), draw(st.integers(0, n)))) for n in shape]
    return [low for low, _ in corners], [high for _, high in corners]


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_random_arrays(data):
    codec, items = data.draw(cases())
    encoded = codec.encode(items)
    start, stop = data.draw(boxes(items.shape))
    try:
        frame = reader.Frame(encoded)
        found, part = frame.read(), frame.read(start, stop)
    except reader.Refused as refused:
        assert refused.rule == OPTIONAL
        assert codec.cname.startswith(("ndlz", "zfp"))
        return
    expected = np.asarray(cat.from_cframe(encoded))
    assert frame.shape == items.shape
    assert (frame.dtype, found.dtype) == (expected.dtype, expected.dtype)
    assert found.tobytes() == expected.tobytes()
    box = tuple(slice(low, high) for low, high in zip(start, stop, strict=True))
    assert part.tobytes() == expected[(*box, ...)].tobytes()
    assert reader.numcodecs_items(encoded).tobytes() == codec.decode(encoded).tobytes()


@pytest.mark.parametrize("order", "CF")
def test_order_of_numcodecs(order):
    items = np.arange(12.0).reshape(3, 4, order=order)
    assert (reader.numcodecs_items(Caterva().encode(items)) == np.arange(12)).all()


@every_file
def test_golden_frames(frame: Frame):
    try:
        found = reader.Frame(frame.path.read_bytes()).read()
    except reader.Refused as refused:
        assert refused.rule == OPTIONAL
        assert "zfp" in str(frame) or "ndlz" in str(frame)
    else:
        assert found.tobytes() == frame.expected.tobytes()
        assert found.shape == frame.expected.shape


@pytest.mark.parametrize("checksum", [False, True])
def test_a_part_is_read_by_ranges(checksum):
    items = np.random.default_rng(0).integers(0, 99, (64, 64, 64), "i4")
    codec = Caterva(block_shape=(8, 8, 8), chunk_shape=(32, 64, 64), checksum=checksum)
    data, asked = codec.encode(items), []

    def read(start, stop):
        asked.append(stop - start)
        return data[start:stop]

    frame = reader.Frame(read, len(data))
    found = frame.read((3, 40, 5), (5, 42, 20))
    assert (found == items[3:5, 40:42, 5:20]).all()
    assert sum(asked) < len(data) / 50


def test_it_is_small_and_on_its_own():
    text = (SPEC / "reader.py").read_text("utf-8")
    imported = [
        name.split(".")[0]
        for node in ast.walk(ast.parse(text))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    ]
    allowed = {"ast", "itertools", "lz4", "math", "numpy", "struct", "zlib", "zstandard"}
    assert set(imported) <= allowed
    assert sum(bool(line.strip()) for line in text.splitlines()) < 400
