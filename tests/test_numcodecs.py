"""The numcodecs codec: its contract as numcodecs states it, destinations, parts and selections."""

from __future__ import annotations

import array
import copy
import json
import math
import pickle
import re
import subprocess
import sys

import numcodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numcodecs.compat import ensure_bytes

import caterva_cffi as cat
from caterva_cffi.binding.kernel import Kernel
from caterva_cffi.codecs.parameters import PartitionWarning
from caterva_cffi.numcodecs import Caterva

RANDOM = np.random.default_rng(7)

CODECS = [
    Caterva(),
    *(Caterva(cname=cname) for cname in ("lz4hc", "blosclz", "zlib", "zstd")),
    Caterva(clevel=0, shuffle="noshuffle"),
    Caterva(clevel=9, shuffle="bitshuffle", cname="zstd"),
]

DTYPES = [
    *("?", "i1", "<i2", ">i4", "<u8", "<f2", ">f8", "<c8", ">c16"),
    *("<M8[ns]", ">M8[D]", "<m8[s]", "S5", "<U3", ">U2", "V7", "V300"),
    [("a", "<i4"), ("b", ">f8"), ("c", "S3", (2,))],
]


def fill(shape, dtype):
    """Random items; strings without the trailing NULs that NumPy does not tell from padding."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if dtype.kind == "U":
        return RANDOM.integers(97, 122, math.prod(shape)).astype(dtype).reshape(shape)
    if dtype.kind == "?":
        return RANDOM.integers(0, 2, shape).astype(dtype)
    return RANDOM.integers(1, 120, size, dtype=np.uint8).view(dtype).reshape(shape)


ARRAYS = [
    np.arange(1000, dtype="i4"),
    np.linspace(1000, 1001, 1000, dtype="f8"),
    RANDOM.normal(size=(100, 10)),
    np.asfortranarray(RANDOM.integers(0, 99, (20, 50))),
    RANDOM.integers(0, 2, (10, 10, 10)).astype(bool).copy(order="F"),
    RANDOM.choice(np.array([b"a", b"bb", b"ccc"]), (10, 100)),
    RANDOM.integers(0, 2**60, 1000).astype("u8").view("M8[ns]"),
    RANDOM.integers(0, 2**60, (50, 20)).astype("u8").view("m8[m]").copy(order="F"),
    np.zeros((), "f4"),
    np.zeros((0, 3), "i8"),
    np.ones((1, 1, 1), "u1"),
]


def same_bytes(decoded, array):
    """Whether what was decoded has an array's bytes in the order they have in memory."""
    return ensure_bytes(decoded) == array.tobytes(order="A")


@pytest.mark.parametrize("codec", CODECS, ids=repr)
@pytest.mark.parametrize("source", ARRAYS, ids=lambda a: f"{a.dtype}{a.shape}")
def test_round_trip(codec, source):
    raw = source.tobytes(order="A")
    for buffer in (source, raw, bytearray(raw), memoryview(raw), array.array("b", raw)):
        encoded = codec.encode(buffer)
        for view in (
            encoded,
            bytearray(encoded),
            array.array("b", encoded),
            np.frombuffer(encoded, "u1"),
        ):
            assert same_bytes(codec.decode(view), source)
        for out in (np.empty_like(source), bytearray(len(raw)), np.empty(len(raw), "u1")):
            assert codec.decode(encoded, out=out) is out
            assert same_bytes(out, source)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (31,), (7, 0), (5, 4, 3)], ids=str)
def test_every_dtype_keeps_shape_and_dtype(shape, dtype):
    source = fill(shape, dtype)
    frame = cat.from_cframe(Caterva().encode(source))
    assert (frame.shape, frame.dtype) == (source.shape, source.dtype)
    decoded = Caterva().decode(Caterva().encode(source))
    assert decoded.dtype == source.dtype
    assert decoded.shape == (source.size,)
    assert decoded.tobytes() == source.tobytes()


@pytest.mark.parametrize(
    "view",
    [
        np.s_[::2, 1::3],
        np.s_[::-1],
        np.s_[:, ::-2, 3],
        np.s_[..., None, 2],
    ],
)
def test_strides_are_encoded_as_indexed(view):
    source = fill((9, 8, 7), "f4")[view]
    encoded = Caterva().encode(source)
    assert np.array_equal(Caterva().decode(encoded), source.reshape(-1))
    out = np.zeros((9, 8, 7), "f4")
    Caterva().decode(encoded, out=out[view])
    assert np.array_equal(out[view], source)
    out[view] = 0
    assert not out.any()


@pytest.mark.parametrize("view", [np.s_[:], np.s_[::2, 1::3], np.s_[::-1, ..., 2]], ids=str)
@pytest.mark.parametrize("order", "CF")
def test_source_is_not_copied(order, view, monkeypatch):
    sources, encode = [], Kernel.encode

    def spy(self, number, compression, source, dest):
        sources.append(source)
        return encode(self, number, compression, source, dest)

    monkeypatch.setattr(Kernel, "encode", spy)
    source = fill((9, 8, 7), "f4").copy(order=order)[view]
    Caterva().encode(source)
    Caterva().encode(memoryview(source))
    where = source.__array_interface__["data"], source.strides
    assert [(s.__array_interface__["data"], s.strides) for s in sources] == [where] * 2


@given(
    npst.arrays("i2", npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=7)),
    st.sampled_from("CF"),
    st.data(),
)
@settings(deadline=None)
@pytest.mark.filterwarnings("ignore::caterva_cffi.numcodecs.PartitionWarning")
def test_partial_is_a_part_of_the_run(source, order, data):
    source = source.copy(order=order)
    codec = Caterva(block_shape=tuple([2] * source.ndim))
    encoded = codec.encode(source)
    run = source.reshape(-1, order="A")
    start = data.draw(st.integers(0, run.size))
    nitems = data.draw(st.integers(0, run.size - start))
    expected = run[start : start + nitems]
    assert np.array_equal(codec.decode(encoded), run)
    assert np.array_equal(codec.decode_partial(encoded, start, nitems), expected)
    out = bytearray(expected.nbytes)
    assert codec.decode_partial(encoded, start, nitems, out=out) is out
    assert out == expected.tobytes()


@pytest.mark.parametrize("kind", [bytes, bytearray, lambda raw: array.array("b", raw)])
def test_partial_of_a_flat_buffer_counts_bytes(kind):
    source = np.arange(1000, dtype="f8")
    encoded = Caterva().encode(kind(source.tobytes()))
    out = np.empty(10)
    Caterva().decode_partial(encoded, 5 * 8, 10 * 8, out=out)
    assert np.array_equal(out, source[5:15])


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize(
    "selection",
    [
        (),
        ...,
        3,
        np.s_[1:7:2, ::-1],
        np.s_[None, ..., 2],
        np.s_[[5, 1, 1], 2],
        np.s_[:, np.arange(8) % 3 == 0],
        np.s_[np.ix_([0, 3], [2, 1], [4])],
    ],
    ids=str,
)
def test_selection(order, selection):
    source = fill((9, 8, 7), "u4").copy(order=order)
    codec = Caterva(block_shape=(4, 4, 4), chunk_shape=(8, 8, 7))
    encoded = codec.encode(source)
    expected = source[selection]
    assert np.array_equal(codec.decode_selection(encoded, selection), expected)
    out = np.zeros((*expected.shape, 2), "u4")[..., 0]
    assert codec.decode_selection(encoded, selection, out=out) is out
    assert np.array_equal(out, expected)


def test_shapes_reach_the_frame():
    frame = cat.from_cframe(
        Caterva(block_shape=(4, 4), chunk_shape=[8, 16]).encode(np.ones((20, 20)))
    )
    assert (frame.shape, frame.chunks, frame.blocks) == ((20, 20), (8, 16), (4, 4))
    frame = cat.from_cframe(Caterva().encode(np.zeros((100, 100))))
    assert frame.chunks == frame.shape


@pytest.mark.parametrize(
    ("shape", "chunks", "blocks", "told"),
    [
        ((5, 3), (5, 3), (4, 3), "block_shape (4, 4) and chunk_shape (8, 16) does not fit"),
        ((8, 9), (8, 9), (4, 4), "chunk_shape (8, 16) does not fit shape (8, 9)"),
        ((12,), (12,), (12,), "codec 'caterva' stores blocks of (12,)"),
        ((), (), (), "stores blocks of ()"),
        ((7, 8, 16), (7, 8, 16), (7, 8, 16), "stores blocks of (7, 8, 16)"),
        ((7, 99), (7, 16), (4, 4), "stores blocks of (4, 4) in chunks of (7, 16)"),
    ],
)
def test_shapes_are_wishes(shape, chunks, blocks, told):
    codec = Caterva(block_shape=(4, 4), chunk_shape=(8, 16))
    source = np.arange(math.prod(shape), dtype="f4").reshape(shape)
    with pytest.warns(PartitionWarning, match=re.escape(told)) as caught:
        first = codec.encode(source)
    assert caught[0].filename == __file__
    for encoded in (first, codec.encode(source)):  # the second time it is silent
        frame = cat.from_cframe(encoded)
        assert (frame.shape, frame.chunks, frame.blocks) == (shape, chunks, blocks)
        assert np.array_equal(codec.decode(encoded), source.reshape(-1))
    assert codec.block_shape == (4, 4)


def test_empty_arrays_are_not_told_of():
    assert Caterva(block_shape=(4, 4)).encode(np.zeros((0, 2)))


@pytest.mark.parametrize(
    ("codec", "name", "filters"),
    [
        (Caterva(), "LZ4", ["SHUFFLE"]),
        (Caterva(cname="zstd", shuffle="noshuffle", clevel=1), "ZSTD", []),
        (Caterva(cname="blosclz", shuffle="bitshuffle", clevel=9), "BLOSCLZ", ["BITSHUFFLE"]),
    ],
)
def test_compression_reaches_the_frame(codec, name, filters):
    frame = cat.from_cframe(codec.encode(np.arange(1000)))
    assert frame.codec.name == name
    assert [f.name for f in frame.filters if f.name != "NOFILTER"] == filters
    assert frame.clevel == codec.clevel


def test_larger_than_one_chunk():
    shape = (2200, 1000, 1000)
    frame = cat.from_cframe(Caterva().encode(np.broadcast_to(np.uint8(3), shape)))
    assert frame.shape == shape
    assert frame.nchunks > 1
    assert frame[-1, -1, -1] == 3


def test_frames_by_others():
    source = fill((6, 5), "i4")
    frame = bytes(cat.asarray(source).to_cframe())
    assert np.array_equal(Caterva().decode(frame), source.reshape(-1))
    untyped = bytes(cat.from_buffer(source, source.shape, source.itemsize).to_cframe())
    out = np.empty_like(source)
    Caterva().decode(untyped, out=out)
    assert np.array_equal(out, source)


# --- configuration ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "codec", [*CODECS, Caterva(block_shape=(3, 2), chunk_shape=np.array([6, 4]))], ids=repr
)
def test_configuration(codec):
    config = json.loads(json.dumps(codec.get_config()))
    again = numcodecs.get_codec(dict(config))
    copies = copy.copy(codec), copy.deepcopy(codec), pickle.loads(pickle.dumps(codec))
    for other in (again, eval(repr(codec)), *copies):
        assert other == codec
        assert hash(other) == hash(codec)
        assert repr(other) == repr(codec)
    assert config == {
        "id": "caterva",
        "block_shape": codec.block_shape and list(codec.block_shape),
        "chunk_shape": codec.chunk_shape and list(codec.chunk_shape),
        "cname": codec.cname,
        "clevel": codec.clevel,
        "shuffle": codec.shuffle,
        "checksum": codec.checksum,
    }
    assert codec != Caterva(clevel=3)
    assert codec != numcodecs.Zlib()


def test_numcodecs_finds_it_with_nothing_imported():
    code = "import numcodecs; print(numcodecs.get_codec({'id': 'caterva', 'clevel': 2}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert found.stdout.strip() == repr(Caterva(clevel=2))
    code = "import sys, caterva_cffi; print({'numcodecs', 'zarr'} & sys.modules.keys())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert found.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("config", "error", "match"),
    [
        ({"cname": "snappy"}, ValueError, "cname is 'snappy'; expected one of 'lz4'"),
        ({"cname": cat.Codec.LZ4}, ValueError, "cname"),
        ({"clevel": 10}, ValueError, "clevel is 10; expected 0 to 9"),
        ({"clevel": "5"}, TypeError, "clevel is '5'"),
        ({"clevel": True}, TypeError, "clevel"),
        ({"shuffle": 1}, ValueError, "shuffle is 1; expected one of 'noshuffle'"),
        ({"block_shape": (0, 3)}, ValueError, "block_shape is .0, 3.; expected"),
        ({"block_shape": 3}, TypeError, "block_shape is 3; expected a sequence"),
        ({"chunk_shape": (2.5,)}, TypeError, "chunk_shape"),
        ({"block_shape": (3,), "chunk_shape": (2,)}, ValueError, "larger than chunk_shape"),
        ({"block_shape": (3,), "chunk_shape": (2, 2)}, ValueError, "differ in length"),
    ],
)
def test_wrong_configuration(config, error, match):
    with pytest.raises(error, match=match):
        Caterva(**config)


# --- bad input -------------------------------------------------------------------------------

FRAME = Caterva().encode(np.arange(24, dtype="i4").reshape(4, 6))


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (np.array(["a", None], object), TypeError),
        (np.zeros(3, [("a", object)]), TypeError),
        ("text", TypeError),
        (None, TypeError),
    ],
    ids=repr,
)
def test_sources_that_are_no_plain_bytes(source, error):
    with pytest.raises(error):
        Caterva().encode(source)


@pytest.mark.parametrize(
    ("out", "error", "match"),
    [
        (np.empty(24, object), TypeError, "object"),
        (bytearray(95), ValueError, "95 bytes; expected 96"),
        (np.empty(25, "i4"), ValueError, "100 bytes; expected 96"),
        (np.empty((8, 6), "i4")[::2].T, ValueError, "neither contiguous"),
        (bytes(96), ValueError, "read-only"),
        ("no", TypeError, "destination is str"),
    ],
    ids=repr,
)
def test_destinations_that_do_not_fit(out, error, match):
    with pytest.raises(error, match=match):
        Caterva().decode(FRAME, out=out)


def test_read_only_destination_is_left_alone():
    out = np.zeros((4, 6), "i4")
    out.flags.writeable = False
    for decode in (
        lambda: Caterva().decode(FRAME, out=out),
        lambda: Caterva().decode_partial(FRAME, 0, 24, out=out),
        lambda: Caterva().decode_selection(FRAME, ..., out=out),
    ):
        with pytest.raises(cat.ReadOnlyError):
            decode()
    assert not out.any()


@pytest.mark.parametrize("part", [(-1, 3), (0, 25), (24, 1), (3, -1)])
def test_parts_outside(part):
    with pytest.raises(ValueError, match="the frame has 24 items"):
        Caterva().decode_partial(FRAME, *part)
    with pytest.raises(IndexError):
        Caterva().decode_selection(FRAME, np.s_[4, 0])


@pytest.mark.parametrize("bad", [b"", b"no frame", FRAME[:-1], FRAME[: len(FRAME) // 2]])
def test_bytes_that_are_no_frame(bad):
    with pytest.raises(cat.FormatError):
        Caterva().decode(bad)


@given(st.integers(0, len(FRAME) - 1), st.integers(0, 255))
@settings(deadline=None)
def test_damaged_frames_raise_or_decode(at, value):
    damaged = bytearray(FRAME)
    damaged[at] = value
    try:
        decoded = Caterva().decode(damaged)
    except (cat.CatervaError, MemoryError):
        return
    assert isinstance(decoded, np.ndarray)


# --- in place of numcodecs' own codecs -------------------------------------------------------


@pytest.mark.parametrize(
    "codec_filter",
    [
        numcodecs.Delta("i4"),
        numcodecs.FixedScaleOffset(offset=0, scale=10, dtype="i4", astype="i8"),
        numcodecs.Shuffle(4),
        numcodecs.AsType("i8", "i4"),
        numcodecs.Zlib(),
    ],
    ids=lambda codec: codec.codec_id,
)
@pytest.mark.parametrize("order", "CF")
def test_after_a_filter(codec_filter, order):
    source = np.arange(120, dtype="i4").reshape((10, 12), order=order)
    encoded = Caterva().encode(codec_filter.encode(source))
    decoded = codec_filter.decode(Caterva().decode(encoded))
    decoded = np.frombuffer(ensure_bytes(decoded), "i4").reshape(source.shape, order=order)
    assert np.array_equal(decoded, source)
