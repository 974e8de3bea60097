"""The block kernel against C-Blosc2: what it decodes out, any valid chunk in, nothing believed."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import random
import signal
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import caterva_cffi as cat
from caterva_cffi import Codec, Filter, SplitMode, ffi, lib
from caterva_cffi.binding.buffers import address
from caterva_cffi.binding.compression import Compression
from caterva_cffi.binding.kernel import Kernel
from caterva_cffi.geometry.grid import Grid

HEADER = lib.BLOSC_EXTENDED_HEADER_LENGTH
FLAGS, TYPESIZE, FILTERS, UDCODEC, SPECIAL = 2, 3, 16, 22, 31  # bytes of the chunk header
CODECS = [Codec.BLOSCLZ, Codec.LZ4, Codec.LZ4HC, Codec.ZLIB, Codec.ZSTD]
S, B, D = Filter.SHUFFLE, Filter.BITSHUFFLE, Filter.DELTA
RNG = np.random.default_rng(8)


class Chunk:
    """The geometry of one chunk, and a kernel for it."""

    def __init__(self, shape, block, itemsize, **more):
        self.grid = Grid(shape, shape, block, itemsize, **more)
        self.kernel = Kernel(self.grid)

    def encode(self, items, **compression):
        parameters = Compression(**compression).to_kernel()
        return bytes(self.kernel.encode(0, parameters, items))

    def decode(self, pieces, start=None, count=None, step=None):
        """Decode a box between guards, which must stay as they are."""
        if isinstance(pieces, bytes):
            pieces = [(0, pieces)]
        ndim, guard = self.grid.ndim, 64
        start, step = start or (0,) * ndim, step or (1,) * ndim
        count = self.grid.chunks if count is None else count
        size = math.prod(count) * self.grid.itemsize
        memory = np.full(size + 2 * guard, 0xA5, "u1")
        out = memory[guard : guard + size].view(f"V{self.grid.itemsize}").reshape(count)
        buffers = [ffi.from_buffer("uint8_t[]", bytes(data)) for _, data in pieces]
        located = [(at, len(d), d) for (at, _), d in zip(pieces, buffers, strict=True)]
        try:
            self.kernel.decode([(0, located, (start, count, step), address(out), out.strides)])
        finally:
            assert (memory[:guard] == 0xA5).all()
            assert (memory[guard + size :] == 0xA5).all()
        return out

    def in_block_order(self, items):
        """Return a chunk's items, padded to whole blocks, in the order in which they are stored."""
        grid = self.grid
        if grid.cut:
            return items.tobytes()
        counts = [-(-c // b) for c, b in zip(grid.chunks, grid.blocks, strict=True)]
        whole = np.zeros([n * b for n, b in zip(counts, grid.blocks, strict=True)], items.dtype)
        whole[tuple(map(slice, items.shape))] = items
        pairs = [side for pair in zip(counts, grid.blocks, strict=True) for side in pair]
        order = [*range(0, 2 * grid.ndim, 2), *range(1, 2 * grid.ndim, 2)]
        return whole.reshape(pairs).transpose(order).tobytes()

    def c_compress(self, items, *, nthreads=1, schunk=ffi.NULL, **compression):
        """Compress with C-Blosc2, the whole chunk at once."""
        grid = self.grid
        cparams = Compression(**compression).to_cparams(grid.itemsize, grid.blocksize)
        cparams.nthreads, cparams.schunk = nthreads, schunk
        context = ffi.gc(lib.blosc2_create_cctx(cparams[0]), lib.blosc2_free_ctx)
        # With several filters C-Blosc2 works in its source.
        source = bytearray(self.in_block_order(items))
        data = ffi.from_buffer("uint8_t[]", source)
        chunk = ffi.new("uint8_t[]", len(source) + HEADER)
        size = lib.blosc2_compress_ctx(context, data, len(data), chunk, len(chunk))
        assert size > 0
        return bytes(ffi.buffer(chunk, size))

    def c_decompress(self, chunk, schunk=ffi.NULL):
        """Decompress with C-Blosc2; the result is in block order."""
        dparams = ffi.new("blosc2_dparams *", {"nthreads": 1, "schunk": schunk})
        context = ffi.gc(lib.blosc2_create_dctx(dparams[0]), lib.blosc2_free_ctx)
        out = ffi.new("uint8_t[]", self.grid.chunk_nbytes)
        data = ffi.from_buffer("uint8_t[]", chunk)
        assert lib.blosc2_decompress_ctx(context, data, len(data), out, len(out)) == len(out)
        return bytes(ffi.buffer(out))

    def schunk(self, **compression):
        """A super-chunk whose metalayers tell plugins the geometry; keep it alive."""
        grid = self.grid
        return cat.empty(
            grid.shape, grid.itemsize, chunks=grid.chunks, blocks=grid.blocks, **compression
        ).schunk


def offsets_of(chunk, n):
    return list(struct.unpack_from(f"<{n}i", chunk, HEADER))


def blocks_of(chunk, n):
    """Return each block's start and end in a chunk."""
    offsets = offsets_of(chunk, n)
    ends = [*sorted(offsets)[1:], len(chunk)]
    end_of = dict(zip(sorted(offsets), ends, strict=True))
    return [(start, end_of[start]) for start in offsets]


def order_of(chunk, n):
    """Return the numbers of a chunk's blocks as they are stored."""
    return sorted(range(n), key=offsets_of(chunk, n).__getitem__)


def with_blocks_reordered(chunk, n, order=None):
    """Return the same chunk, its blocks stored in another order, as several threads do."""
    blocks = blocks_of(chunk, n)
    body = min(start for start, _ in blocks)
    order = order or random.Random(n).sample(range(n), n)
    offsets, stored = [0] * n, b""
    for number in order:
        offsets[number] = body + len(stored)
        stored += chunk[slice(*blocks[number])]
    return chunk[:HEADER] + struct.pack(f"<{n}i", *offsets) + chunk[HEADER + 4 * n : body] + stored


def in_order_of(other, chunk, grid):
    """Return the same chunk, its blocks stored in the order of another one."""
    if min(len(chunk), len(other)) <= HEADER + grid.itemsize:
        return chunk
    return with_blocks_reordered(chunk, grid.nblocks, order_of(other, grid.nblocks))


def with_bytes(chunk, **values):
    changed = bytearray(chunk)
    for at, value in values.items():
        changed[int(at[1:])] = value
    return bytes(changed)


def data_kinds(shape, dtype):
    """Items that compress in every way that C-Blosc2 has."""
    dtype = np.dtype(dtype)
    n = math.prod(shape)

    def from_bytes(data):
        return np.frombuffer(data, dtype).reshape(shape)

    half = bytearray(RNG.bytes(n * dtype.itemsize))
    half[: len(half) // 2] = bytes(len(half) // 2)
    return {
        "zeros": from_bytes(bytes(n * dtype.itemsize)),
        "random": from_bytes(RNG.bytes(n * dtype.itemsize)),
        "half zeros": from_bytes(bytes(half)),
        "ones": from_bytes(b"\1" * (n * dtype.itemsize)),
        "ramp": from_bytes(
            (np.arange(n * dtype.itemsize) // dtype.itemsize).astype("u1").tobytes()
        ),
        "few values": from_bytes(RNG.integers(0, 4, n * dtype.itemsize).astype("u1").tobytes()),
    }


# --- encoding ---------------------------------------------------------------------------------

FILTERS_LISTS = [[], [S], [B], [D], [D, S], [S, B], [S, B, S], [B, S, S, B], [S] * 6, [D, S, B]]


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
@pytest.mark.parametrize("filters", FILTERS_LISTS, ids=lambda f: "-".join(x.name for x in f) or "-")
def test_chunks_are_what_c_blosc2_makes(codec, filters):
    for (shape, block, dtype), clevel, splitmode in itertools.product(
        [((40, 24), (16, 8), "i4"), ((90,), (32,), "u1"), ((5, 7), (3, 4), "V12")],
        [0, 1, 5, 9],
        SplitMode,
    ):
        if clevel == 9 and splitmode not in (SplitMode.ALWAYS, SplitMode.NEVER):
            continue
        chunk = Chunk(shape, block, np.dtype(dtype).itemsize)
        given = {"codec": codec, "filters": filters, "filtersmeta": [0] * len(filters)}
        given |= {"clevel": clevel, "splitmode": splitmode}
        for kind, items in data_kinds(shape, dtype).items():
            ours = chunk.encode(items, **given)
            assert chunk.c_decompress(ours) == chunk.in_block_order(items), (kind, given)
            assert chunk.decode(ours).tobytes() == items.tobytes(), (kind, given)
            theirs = chunk.c_compress(items, **given)
            if theirs[FLAGS] & lib.BLOSC_MEMCPYED:
                # C-Blosc2 stores what its filters left of the source, and gives up a little sooner.
                assert len(ours) <= len(theirs)
                assert ours == theirs or len(filters) > 2 or not ours[FLAGS] & lib.BLOSC_MEMCPYED
            elif filters != [D, S, B]:
                assert ours == in_order_of(ours, theirs, chunk.grid), (kind, given)


@pytest.mark.parametrize("length", [8188, 8192, 32768, 65536, 65540, 131072])
@pytest.mark.parametrize("filters", [[S], []], ids=["shuffle", "none"])
def test_long_streams_of_lz4(length, filters):
    """They are not compressed as C-Blosc2 does, but to what it decodes."""
    random = np.random.default_rng(length)
    items = random.normal(size=3 * length).cumsum().astype("f4")
    items[: length // 2] = random.integers(0, 5, length // 2)
    chunk = Chunk(items.shape, (length,), 4)
    encoded = chunk.encode(items, filters=filters)
    assert chunk.c_decompress(encoded) == chunk.in_block_order(items)
    assert chunk.decode(encoded).tobytes() == items.tobytes()
    assert len(encoded) <= 1.01 * len(chunk.c_compress(items, filters=filters))
    for nthreads in (1, 3):
        chunk.kernel.nthreads = nthreads
        assert chunk.encode(items, filters=filters) == encoded
    # Whichever block a thread begins with, it has the same bytes.
    turned = chunk.encode(items.reshape(3, length)[::-1].ravel(), filters=filters)
    blocks, others = ([e[slice(*at)] for at in blocks_of(e, 3)] for e in (encoded, turned))
    assert blocks == others[::-1]


lossless = st.lists(st.sampled_from([S, B, D, Filter.NOFILTER]), max_size=6)


@st.composite
def strided(draw, shape, dtype):
    """Items of any strides, and the memory that they are in."""
    items = np.frombuffer(draw(st.randoms()).randbytes(math.prod(shape) * dtype.itemsize), dtype)
    items = items.reshape(shape)
    if draw(st.booleans()):
        items = items & items.dtype.type(3) if dtype.kind == "u" else items
    kind = draw(st.sampled_from(["C", "F", "reversed", "strided", "broadcast", "unaligned"]))
    if kind == "F":
        return np.asfortranarray(items)
    if kind == "reversed":
        return np.ascontiguousarray(items[(slice(None, None, -1),) * items.ndim])[
            (slice(None, None, -1),) * items.ndim
        ]
    if kind == "strided":
        memory = np.full([2 * n for n in shape], items.ravel()[0], dtype)
        memory[(slice(1, None, 2),) * items.ndim] = items
        return memory[(slice(1, None, 2),) * items.ndim]
    if kind == "broadcast":
        return np.broadcast_to(items[:1], shape)
    if kind == "unaligned":
        memory = np.zeros(shape, np.dtype([("a", "u1"), ("b", dtype)]))
        memory["b"] = items
        return memory["b"]
    return items


def memory_of(items):
    while isinstance(items.base, np.ndarray):
        items = items.base
    return items


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.data(),
    hnp.array_shapes(max_dims=3, max_side=12),
    st.sampled_from(["u1", "u2", "u4", "V7", "u8", "V16"]).map(np.dtype),
    st.sampled_from(CODECS),
    lossless,
    st.booleans(),
)
def test_any_source_and_any_box(data, shape, dtype, codec, filters, usedict):
    block = tuple(data.draw(st.integers(1, side)) for side in shape)
    extent = tuple(data.draw(st.integers(1, side)) for side in shape)
    chunk = Chunk(shape, block, dtype.itemsize)
    items = data.draw(strided(extent, dtype))
    before = memory_of(items).tobytes()
    usedict = usedict and codec in (Codec.ZSTD, Codec.LZ4, Codec.LZ4HC)
    given = {"codec": codec, "filters": filters, "filtersmeta": [0] * len(filters)}
    given |= {"clevel": data.draw(st.integers(0, 9)), "usedict": usedict}
    encoded = chunk.encode(items, **given)
    assert memory_of(items).tobytes() == before
    whole = np.zeros(shape, dtype)
    whole[tuple(map(slice, extent))] = items
    ordered = chunk.in_block_order(whole)
    # C-Blosc2 does not decode what it makes of a few zeros.
    if len(ordered) >= lib.BLOSC_MIN_BUFFERSIZE or any(ordered):
        assert chunk.c_decompress(encoded) == ordered
    start, count, step, key = [], [], [], []
    for side in shape:
        start.append(data.draw(st.integers(0, side - 1)))
        step.append(data.draw(st.integers(1, side)))
        count.append(data.draw(st.integers(0, (side - 1 - start[-1]) // step[-1] + 1)))
        key.append(slice(start[-1], start[-1] + count[-1] * step[-1], step[-1]))
    found = chunk.decode(encoded, start, tuple(count), step)
    assert found.tobytes() == whole[tuple(key)].tobytes()


@pytest.mark.parametrize("filters", FILTERS_LISTS, ids=lambda f: "-".join(x.name for x in f) or "-")
@pytest.mark.parametrize("kind", ["random", "ramp"])
def test_read_only_sources_stay_as_they_are(filters, kind):
    chunk = Chunk((40, 24), (16, 8), 4)
    items = data_kinds((40, 24), "i4")[kind]
    assert not items.flags.writeable
    before = items.tobytes()
    for codec in CODECS:
        chunk.encode(items, codec=codec, filters=filters, filtersmeta=[0] * len(filters))
        assert items.tobytes() == before


# --- decoding what C-Blosc2 makes -------------------------------------------------------------

SMOOTH = (np.add.outer(np.arange(40), np.arange(24)) * 7).astype("i4")
GEOMETRY = (40, 24), (16, 8), 4
NBLOCKS = 9
BOXES = [
    ((0, 0), (40, 24), (1, 1)),
    ((17, 5), (1, 1), (1, 1)),
    ((3, 0), (1, 24), (1, 1)),
    ((0, 23), (40, 1), (1, 1)),
    ((1, 2), (4, 5), (11, 4)),
    ((16, 8), (16, 8), (1, 1)),
]


def assert_decodes(chunk, encoded, expected):
    for start, count, step in BOXES:
        ranges = zip(start, count, step, strict=True)
        key = tuple(slice(s, s + (n - 1) * k + 1, k) for s, n, k in ranges)
        assert chunk.decode(encoded, start, count, step).tobytes() == expected[key].tobytes()


@pytest.mark.parametrize("nthreads", [1, 2, 4])
@pytest.mark.parametrize(
    "compression",
    [
        {},
        {"codec": Codec.ZSTD, "usedict": True},
        {"codec": Codec.LZ4, "usedict": True},
        {"filters": [D], "filtersmeta": [0]},
        {"filters": [D, S], "filtersmeta": [0, 0]},
        {"filters": [S, B, S, B], "filtersmeta": [0] * 4},
        {"clevel": 0},
        {"filters": [Filter.BYTEDELTA], "filtersmeta": [4]},
        {"filters": [S, Filter.BYTEDELTA], "filtersmeta": [0, 4], "codec": Codec.ZSTD},
    ],
    ids=str,
)
def test_chunks_of_c_blosc2(compression, nthreads):
    chunk = Chunk(*GEOMETRY)
    schunk = chunk.schunk()
    encoded = chunk.c_compress(SMOOTH, nthreads=nthreads, schunk=schunk.ptr, **compression)
    assert_decodes(chunk, encoded, SMOOTH)
    if not encoded[FLAGS] & lib.BLOSC_MEMCPYED:
        assert_decodes(chunk, with_blocks_reordered(encoded, NBLOCKS), SMOOTH)


@pytest.mark.parametrize(
    ("dtype", "compression"),
    [
        ("u1", {"codec": Codec.NDLZ, "codec_meta": 4}),
        ("u1", {"codec": Codec.NDLZ, "codec_meta": 8}),
        ("f4", {"codec": Codec.ZFP_ACC, "codec_meta": -2}),
        ("f8", {"codec": Codec.ZFP_PREC, "codec_meta": 20}),
        ("f4", {"codec": Codec.ZFP_RATE, "codec_meta": 37}),
        ("f8", {"codec": Codec.ZFP_RATE, "codec_meta": 10}),
        ("i4", {"filters": [Filter.NDCELL, S], "filtersmeta": [4, 0]}),
        ("f4", {"filters": [Filter.NDMEAN, S], "filtersmeta": [4, 0]}),
        ("i4", {"filters": [Filter.INT_TRUNC], "filtersmeta": [8]}),
        ("f8", {"filters": [Filter.TRUNC_PREC, S], "filtersmeta": [20, 0]}),
    ],
    ids=str,
)
@pytest.mark.parametrize("nthreads", [1, 2])
def test_plugins(dtype, compression, nthreads):
    if compression.get("codec", Codec.LZ4) != Codec.LZ4:
        compression = compression | {"filters": [], "filtersmeta": []}
    chunk = Chunk((40, 24), (16, 8), np.dtype(dtype).itemsize)
    smooth = np.add.outer(np.arange(40) // 8, np.arange(24) // 8)
    items = np.sin(smooth / 20).astype(dtype) if dtype[0] == "f" else smooth.astype(dtype)
    schunk = chunk.schunk(**compression)
    theirs = chunk.c_compress(items, nthreads=nthreads, schunk=schunk.ptr, **compression)
    assert not theirs[FLAGS] & lib.BLOSC_MEMCPYED
    ordered = chunk.c_decompress(theirs, schunk.ptr)
    expected = chunk.decode(theirs).view(dtype)
    assert chunk.in_block_order(expected)[: 16 * 8] == ordered[: 16 * 8]
    assert_decodes(chunk, theirs, expected)
    if Filter.INT_TRUNC not in compression["filters"]:
        assert np.allclose(expected.astype(float), items.astype(float), atol=0.4)
    ours = chunk.encode(items, **compression)
    if nthreads == 1:
        assert ours == in_order_of(ours, theirs, chunk.grid)
    assert chunk.c_decompress(ours, schunk.ptr) == ordered


def special(maker, chunk, *value):
    cparams = Compression().to_cparams(chunk.grid.itemsize, chunk.grid.blocksize)
    data = ffi.new("uint8_t[]", HEADER + chunk.grid.itemsize)
    size = maker(cparams[0], chunk.grid.chunk_nbytes, data, len(data), *value)
    assert size > 0
    return bytes(ffi.buffer(data, size))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_special_chunks(dtype):
    chunk = Chunk((40, 24), (16, 8), np.dtype(dtype).itemsize)
    for maker, value in [
        (lib.blosc2_chunk_zeros, 0),
        (lib.blosc2_chunk_nans, np.nan),
        (lib.blosc2_chunk_repeatval, 1.25),
        (lib.blosc2_chunk_uninit, 0),
    ]:
        expected = np.full((40, 24), value, dtype)
        given = [expected.ravel()[:1].tobytes()] if maker is lib.blosc2_chunk_repeatval else []
        assert_decodes(chunk, special(maker, chunk, *given), expected)


@pytest.mark.parametrize("nthreads", [1, 3])
@pytest.mark.parametrize("itemsize", [1, 2, 3, 4, 8, 16])
def test_runs_of_any_length_between_narrow_blocks(itemsize, nthreads):
    """Items of narrow blocks are copied in short runs, in ways that depend on the runs' length."""
    for filters, width in itertools.product([[S], []], [*range(1, 18), 31, 32, 33, 64, 65, 70]):
        shape = (45, 2 * width + 1)
        items = np.frombuffer(RNG.integers(0, 9, math.prod(shape) * itemsize, "u1"), f"V{itemsize}")
        items = items.reshape(shape)
        chunk = Chunk(shape, (41, width), itemsize)
        encoded = chunk.encode(items, filters=filters, nthreads=nthreads)
        decoded = chunk.c_decompress(encoded)
        assert decoded == chunk.in_block_order(items)
        assert (chunk.decode(encoded) == items).all()
        far = np.zeros((45, 1000), items.dtype)  # rows that the processor does not expect
        far[:, 1 : 1 + shape[1]] = items
        assert chunk.encode(far[:, 1 : 1 + shape[1]], filters=filters) == encoded
        part = chunk.decode(encoded, start=(2, 1), count=(40, shape[1] - 2))
        assert (part == items[2:42, 1:-1]).all()


@pytest.mark.parametrize("itemsize", [1, 2, 3, 4, 8, 16])
def test_items_are_picked_from_narrow_blocks(itemsize):
    """Items that become neighbours are copied in ways that depend on how far apart they lie."""
    for filters, width in itertools.product([[S], []], [2, 3, 4, 7, 8, 9, 20]):
        shape = (11, 37, 2 * width)
        items = np.frombuffer(RNG.integers(0, 9, math.prod(shape) * itemsize, "u1"), f"V{itemsize}")
        items = items.reshape(shape)
        chunk = Chunk(shape, (5, 37, width), itemsize)
        encoded = chunk.encode(items, filters=filters)
        for k in (0, width + 1):
            part = chunk.decode(encoded, start=(1, 1, k), count=(9, 35, 1))
            assert (part == items[1:10, 1:36, k : k + 1]).all()


@pytest.mark.parametrize("itemsize", [255, 256, 300, 5000])
def test_large_items(itemsize):
    chunk = Chunk((5, 3), (2, 2), itemsize)
    for items in data_kinds((5, 3), f"V{itemsize}").values():
        for encoded in (chunk.encode(items), chunk.c_compress(items)):
            assert chunk.decode(encoded).tobytes() == items.tobytes()
            assert chunk.decode(encoded, (3, 1), (1, 2)).tobytes() == items[3:4, 1:].tobytes()


# --- pieces -----------------------------------------------------------------------------------


@pytest.mark.parametrize("reordered", [False, True])
@pytest.mark.parametrize(
    "compression", [{}, {"codec": Codec.ZSTD, "usedict": True}], ids=["plain", "dictionary"]
)
def test_pieces(compression, reordered):
    chunk = Chunk(*GEOMETRY)
    encoded = chunk.c_compress(SMOOTH, **compression)
    if reordered:
        encoded = with_blocks_reordered(encoded, NBLOCKS)
    blocks = blocks_of(encoded, NBLOCKS)
    body = min(start for start, _ in blocks)
    for number, (start, end) in enumerate(blocks):
        at = (number // 3 * 16, number % 3 * 8)
        count = tuple(min(n, s - a) for n, s, a in zip((16, 8), (40, 24), at, strict=True))
        wanted = SMOOTH[at[0] : at[0] + 16, at[1] : at[1] + 8].tobytes()
        pieces = [(0, encoded[:body]), (start, encoded[start:end])]
        assert chunk.decode(pieces, at, count).tobytes() == wanted
        pieces = [(0, encoded[:start]), (end, encoded[end:])]
        with pytest.raises(cat.FormatError, match=f"block {number}: .* missing") as caught:
            chunk.decode(pieces, at, count)
        assert caught.value.code == lib.CAT_ERROR_MISSING
        for short in ([], [(0, encoded[:start]), (start, encoded[start : end - 1])]):
            with pytest.raises(cat.FormatError):
                chunk.decode(short, at, count)


def test_boxes_of_one_call_go_to_memory_of_their_own():
    chunk = Chunk(*GEOMETRY)
    encoded = chunk.c_compress(SMOOTH)
    piece = (0, len(encoded), ffi.from_buffer("uint8_t[]", encoded))
    outs = [np.zeros((40, 5), SMOOTH.dtype, order) for order in "CF"]
    outs.append(np.zeros((80, 10), SMOOTH.dtype)[::2, ::-2])
    boxes = [
        (0, [piece], ((0, first), (40, 5), (1, 2)), address(out), out.strides)
        for first, out in zip((0, 3, 10), outs, strict=True)
    ]
    chunk.kernel.decode(boxes)
    for first, out in zip((0, 3, 10), outs, strict=True):
        assert (out == SMOOTH[:, first : first + 10 : 2]).all()


def test_an_error_names_the_chunk_whose_box_it_is():
    chunk = Chunk(*GEOMETRY)
    encoded = ffi.from_buffer("uint8_t[]", chunk.encode(SMOOTH))
    out = np.zeros((40, 24), SMOOTH.dtype)
    box = ((0, 0), out.shape, (1, 1))
    boxes = [
        (number, [(0, size, encoded)], box, address(out), out.strides)
        for number, size in ((7, len(encoded)), (3, len(encoded) - 1), (5, len(encoded)))
    ]
    last = order_of(bytes(encoded), chunk.grid.nblocks)[-1]
    with pytest.raises(cat.FormatError, match=f"chunk 3, block {last}:"):
        chunk.kernel.decode(boxes)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs an alarm")
def test_a_handler_ends_a_call_of_many_boxes():
    """Each of one block, by one thread: in between it asks whether a signal has come."""
    items, n = np.arange(1 << 14, dtype="f4"), 50_000
    chunk = Chunk(items.shape, items.shape, 4)
    encoded = np.frombuffer(chunk.encode(items, codec=Codec.ZSTD), "u1")
    outs = np.zeros((2, items.size), "f4")
    dests = np.full(n, address(outs), np.int64)
    dests[-1] = address(outs[1])
    columns = [np.full(n, value) for value in (0, address(encoded), encoded.size)]
    starts, counts = np.zeros((n, 1), np.int64), np.full((n, 1), items.size)
    kernel = Kernel(chunk.grid, nthreads=1)

    def end(*_):
        raise InterruptedError

    before = signal.signal(signal.SIGALRM, end)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(InterruptedError):
            kernel.decode_many(*columns, starts, counts, (1,), dests, (4,))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not outs[1].any()


# --- hostile bytes ----------------------------------------------------------------------------


def small_chunks():
    chunk = Chunk((8, 6), (4, 4), 4)
    items = np.arange(48, dtype="i4").reshape(8, 6)
    noise = data_kinds((8, 6), "i4")["random"]
    plugin = chunk.schunk()
    yield "LZ4", chunk, chunk.encode(items)
    yield "Zstandard", chunk, chunk.encode(items, codec=Codec.ZSTD, splitmode=SplitMode.NEVER)
    yield "BloscLZ", chunk, chunk.encode(items, codec=Codec.BLOSCLZ, filters=[B])
    yield "zlib", chunk, chunk.encode(items, codec=Codec.ZLIB)
    yield "delta", chunk, chunk.encode(items, filters=[D, S], filtersmeta=[0, 0])
    yield "dictionary", chunk, chunk.encode(items, codec=Codec.ZSTD, usedict=True)
    yield "plain", chunk, chunk.encode(noise)
    yield "zeros", chunk, special(lib.blosc2_chunk_zeros, chunk)
    yield "one value", chunk, special(lib.blosc2_chunk_repeatval, chunk, b"abcd")
    bytedelta = {"filters": [S, Filter.BYTEDELTA], "filtersmeta": [0, 4]}
    yield "bytedelta", chunk, chunk.c_compress(items, schunk=plugin.ptr, **bytedelta)
    yield "reordered", chunk, with_blocks_reordered(chunk.encode(items), 4)


hostile = pytest.mark.parametrize(
    ("chunk", "encoded"), [pytest.param(*rest, id=name) for name, *rest in small_chunks()]
)


@hostile
def test_truncated_chunks(chunk, encoded):
    expected = chunk.decode(encoded).tobytes()
    for size in range(len(encoded)):
        with pytest.raises(cat.FormatError):
            chunk.decode(encoded[:size])
        # Nor does it help if the header says so.
        if size >= HEADER:
            shorter = encoded[:12] + struct.pack("<i", size) + encoded[16:size]
            with contextlib.suppress(cat.CatervaError):
                assert chunk.decode(shorter).tobytes() == expected


@hostile
def test_no_byte_is_believed(chunk, encoded, capfd):
    """Any byte of any value: an exception, or items in the destination and nowhere else."""
    behind = min(len(encoded), HEADER + 4 * 4 + 24)
    refused = 0
    for at, value in itertools.product(range(behind), range(256)):
        changed = with_bytes(encoded, **{f"b{at}": value})
        try:
            chunk.decode(changed)
        except (cat.FormatError, cat.UnsupportedError):
            refused += 1
    assert refused > 256
    assert capfd.readouterr() == ("", "")


@hostile
@pytest.mark.parametrize("field", [4, 8, 12, *range(32, 48, 4)])
def test_sizes_and_offsets_at_their_limits(chunk, encoded, field):
    for value in [0, 1, 31, 32, 33, len(encoded) - 1, len(encoded) + 1, 2**31 - 1, -1, -(2**31)]:
        changed = encoded[:field] + struct.pack("<i", value) + encoded[field + 4 :]
        try:
            chunk.decode(changed)
        except cat.FormatError:
            continue
        assert field != 4 or struct.pack("<i", value) == encoded[4:8]


@pytest.fixture
def no_process(tmp_path, monkeypatch):
    """Fail where a program is started: C-Blosc2 looks for plugins with Python."""
    mark = tmp_path / "started"
    for name in ("python", "python3"):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho $0 >> '{mark}'\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    subprocess.run(["python"], check=True)
    assert mark.exists()
    mark.unlink()
    yield
    assert not mark.exists()


# Users register theirs from 160 on; other tests do, from 200 to 209.
REFUSED_CODECS = [code for code in range(256) if code not in (32, 33, 34, 35, *range(200, 210))]
REFUSED_FILTERS = [*range(5, 32), *range(37, 200), *range(210, 256)]


def test_unknown_codecs_are_refused_before_they_are_looked_for(no_process):
    chunk = Chunk((8, 6), (4, 4), 4)
    encoded = chunk.encode(np.arange(48, dtype="i4").reshape(8, 6))
    flags = encoded[FLAGS] & 0x1F | 6 << 5
    for code in REFUSED_CODECS:
        with pytest.raises((cat.UnsupportedError, cat.FormatError)) as caught:
            chunk.decode(with_bytes(encoded, **{f"b{FLAGS}": flags, f"b{UDCODEC}": code}))
        assert code >= 160 or caught.type is cat.UnsupportedError
    with pytest.raises(cat.UnsupportedError):
        chunk.decode(with_bytes(encoded, **{f"b{FLAGS}": encoded[FLAGS] & 0x1F | 7 << 5}))


def test_unknown_filters_are_refused(no_process):
    chunk = Chunk((8, 6), (4, 4), 4)
    encoded = chunk.encode(np.arange(48, dtype="i4").reshape(8, 6))
    for code in REFUSED_FILTERS:
        with pytest.raises((cat.UnsupportedError, cat.FormatError)) as caught:
            chunk.decode(with_bytes(encoded, **{f"b{FILTERS}": code}))
        assert code >= 160 or caught.type is cat.UnsupportedError


@pytest.mark.parametrize("codec", [6, 31, 36, 37, 38, 39, 40, 159, 160, 255])
def test_unknown_codecs_are_not_encoded_with(no_process, codec):
    chunk = Chunk((8, 6), (4, 4), 4)
    with pytest.raises(cat.CatervaError):
        chunk.encode(np.arange(48, dtype="i4").reshape(8, 6), codec=codec)


@pytest.mark.parametrize(
    ("at", "bit"),
    [(SPECIAL, 0x08), (SPECIAL, 0x80), (30, 0x01), (FLAGS, 0x01), (SPECIAL, 0x70)],
    ids=["lazy", "instrumented", "variable-length blocks", "Blosc1", "unknown special"],
)
def test_other_kinds_of_chunks_are_refused(at, bit):
    chunk = Chunk((8, 6), (4, 4), 4)
    encoded = chunk.encode(np.arange(48, dtype="i4").reshape(8, 6))
    with pytest.raises(cat.UnsupportedError):
        chunk.decode(with_bytes(encoded, **{f"b{at}": encoded[at] ^ bit}))


# --- surroundings -----------------------------------------------------------------------------

ENVIRONMENT = {
    "BLOSC_BLOCKSIZE": "64",
    "BLOSC_TYPESIZE": "2",
    "BLOSC_CLEVEL": "9",
    "BLOSC_DELTA": "1",
    "BLOSC_SHUFFLE": "NOSHUFFLE",
    "BLOSC_COMPRESSOR": "zstd",
    "BLOSC_SPLITMODE": "ALWAYS",
    "BLOSC_NTHREADS": "4",
}


SPOILING = ["BLOSC_BLOCKSIZE", "BLOSC_TYPESIZE", "BLOSC_DELTA"]


@pytest.mark.parametrize("allowed", [{}, {"CATERVA_CFFI_BLOSC_VARIABLES": "1"}], ids=bool)
@pytest.mark.parametrize("name", ENVIRONMENT)
def test_environment_variables_do_no_harm(name, allowed):
    """C-Blosc2 would let them override what it is given."""
    program = (
        "import numpy as np, caterva_cffi as cat\n"
        "x = np.add.outer(np.arange(64), np.arange(64)).astype('i4')\n"
        "for f in ([], [cat.Filter.SHUFFLE], [cat.Filter.DELTA]):\n"
        "    a = cat.asarray(x, blocks=(16, 16), filters=f)\n"
        "    assert (cat.from_cframe(bytes(a.to_cframe()))[...] == x).all(), f\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, name: ENVIRONMENT[name]} | allowed,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if name in SPOILING and (allowed or not cat.versions().vendored):
        assert done.stderr.splitlines()[-1].startswith("caterva_cffi.errors.ArgumentError: ")
    else:
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("filter_", [Filter.NDCELL, Filter.NDMEAN])
def test_blocks_shorter_than_cells_are_refused(filter_):
    chunk = Chunk((8, 8), (8, 3), 4)
    items = np.arange(64, dtype="f4").reshape(8, 8)
    with pytest.raises(cat.UnsupportedError):
        chunk.encode(items, filters=[filter_], filtersmeta=[4])
    assert chunk.decode(chunk.encode(items, filters=[filter_], filtersmeta=[3])).shape == (8, 8)


@pytest.mark.parametrize(("size", "refused"), [(4, False), (5, True), (0, False)])
def test_filter_that_forgets_the_end_of_a_block_is_refused(size, refused):
    """Or memory as it was would be returned as items."""
    chunk = Chunk((8, 8), (8, 3), 4)
    items = np.arange(64, dtype="i4").reshape(8, 8) // 9
    forged = bytearray(chunk.encode(items, filters=[Filter.BYTEDELTA], filtersmeta=[size]))
    forged[forged.index(Filter.BYTEDELTA.value, FILTERS)] = lib.BLOSC_FILTER_BYTEDELTA_BUGGY
    with pytest.raises(cat.UnsupportedError) if refused else contextlib.nullcontext():
        chunk.decode(bytes(forged))


def test_match_at_offset_0_returns_nothing_from_memory():
    """LZ4 leaves what was there, where it decodes only the beginning."""
    chunk = Chunk((4096,), (4096,), 1)
    usual = {"filters": [], "splitmode": SplitMode.NEVER}
    stream = bytes(
        [0x4F, *b"abcd", 0, 0, *[255] * 20, *bytes(9)]
    )  # 4 literals, 5119 bytes from before
    forged = bytearray(chunk.encode(np.arange(4096, dtype="u1") // 64, **usual)[: HEADER + 4])
    forged += struct.pack("<i", len(stream)) + stream
    struct.pack_into("<i", forged, 12, len(forged))
    found = set()
    for fill in (1, 2):
        before = np.append(np.full(4000, fill, "u1"), np.arange(96, dtype="u1"))
        chunk.decode(chunk.encode(before, **usual), count=(2048,))
        found.add(chunk.decode(bytes(forged), count=(2048,)).tobytes())
    assert len(found) == 1


@pytest.mark.parametrize("codec", [Codec.LZ4, Codec.LZ4HC, Codec.ZSTD])
def test_few_bytes_need_no_dictionary(codec):
    """C-Blosc2 writes 59 bytes as the size of 28 stored plain."""
    for size in range(1, 70):
        chunk = Chunk((size,), (size,), 4)
        items = np.arange(size, dtype="i4")
        encoded = chunk.encode(items, codec=codec, usedict=True)
        assert chunk.decode(encoded).tobytes() == items.tobytes()
        assert chunk.c_decompress(encoded) == items.tobytes()


def test_zfp_takes_floats_alone():
    chunk = Chunk((8, 8), (4, 4), 2)
    with pytest.raises(cat.UnsupportedError):
        chunk.encode(np.zeros((8, 8), "i2"), codec=Codec.ZFP_PREC, codec_meta=10, filters=[])


# --- the order of blocks ------------------------------------------------------------------------


def blocks_in_order(lengths):
    """Return the positions of a chunk's blocks in the grid of blocks, as they are stored."""
    chunk = Chunk(tuple(8 * n for n in lengths), (8,) * len(lengths), 1)
    items = RNG.integers(0, 9, chunk.grid.chunks, "u1")
    items[np.arange(len(items)) % 8 > 1] = 0
    encoded = chunk.encode(items)
    assert not encoded[FLAGS] & lib.BLOSC_MEMCPYED
    assert chunk.encode(np.asfortranarray(items), nthreads=3) == encoded
    assert chunk.c_decompress(encoded) == chunk.in_block_order(items)
    assert (chunk.decode(encoded).view("u1") == items).all()
    order = order_of(encoded, chunk.grid.nblocks)
    return np.array([np.unravel_index(number, lengths) for number in order])


@pytest.mark.parametrize("lengths", [(8, 8), (16, 16), (4, 4, 4), (2, 2, 2, 2)], ids=str)
def test_each_block_is_stored_beside_a_neighbour(lengths):
    order = blocks_in_order(lengths)
    assert (order[0] == 0).all()
    assert (abs(np.diff(order, axis=0)).sum(1) == 1).all()


@pytest.mark.parametrize(
    "lengths", [(6, 6, 3), (8, 10, 10), (62, 10), (3, 16, 16), (5, 7, 9), (1, 30, 1, 30)], ids=str
)
def test_planes_of_any_axis_are_in_few_runs(lengths):
    """Each step leaves a plane of one axis at least; so these are the fewest that all can have."""
    order = blocks_in_order(lengths)
    assert (order[0] == 0).all()
    fewest = (len(order) - 1) / sum(n for n in lengths if n > 1)
    for axis, n in enumerate(lengths):
        if n > 1:
            assert (np.diff(order[:, axis]) != 0).sum() / n < 1.5 * fewest


def test_blocks_are_stored_in_c_order_where_all_are_compressed_at_once():
    for how in ({"usedict": True, "codec": Codec.ZSTD}, {"filters": [D]}, {"clevel": 0}):
        chunk = Chunk((32, 32), (8, 8), 4)
        items = np.arange(1024, dtype="i4").reshape(32, 32)
        encoded = chunk.encode(items, **how)
        if not encoded[FLAGS] & lib.BLOSC_MEMCPYED:
            assert order_of(encoded, 16) == list(range(16))
        assert (chunk.decode(encoded).view("i4") == items).all()


# --- changing a chunk -------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(
    data=st.data(),
    shape=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    dtype=st.sampled_from(["u1", "i2", "f4", "f8", "c16", "V3", "V300"]),
    codec=st.sampled_from([Codec.LZ4, Codec.ZSTD, Codec.BLOSCLZ]),
    filters=st.sampled_from([[], [S], [B], [D], [S, B]]),
    nthreads=st.integers(1, 3),
)
def test_changed_chunks_are_those_that_encoding_all_would_make(
    data, shape, dtype, codec, filters, nthreads
):
    block = [data.draw(st.integers(1, n)) for n in shape]
    chunk = Chunk(tuple(shape), tuple(block), np.dtype(dtype).itemsize)
    chunk.kernel.nthreads = nthreads
    start = [data.draw(st.integers(0, n - 1)) for n in shape]
    step = [data.draw(st.integers(1, 4)) for n in shape]
    ends = [(n - 1 - a) // s + 1 for n, a, s in zip(shape, start, step, strict=True)]
    count = [data.draw(st.integers(1, n)) for n in ends]
    kind = data.draw(st.sampled_from(["ramp", "zeros", "noise"]))
    raw = {"ramp": np.arange, "zeros": np.zeros, "noise": lambda n: RNG.integers(0, 256, n)}[kind]
    size = math.prod(shape) * chunk.grid.itemsize
    items = raw(size).astype("u1").view(f"V{chunk.grid.itemsize}").reshape(shape)
    new = RNG.integers(0, 3, math.prod(count) * chunk.grid.itemsize).astype("u1")
    new = new.view(f"V{chunk.grid.itemsize}").reshape(count)
    compression = {"codec": codec, "filters": filters, "filtersmeta": [0] * len(filters)}
    before = np.frombuffer(chunk.encode(items, **compression), "u1")
    piece = (0, before.size, ffi.from_buffer("uint8_t[]", before))
    parameters = Compression(**compression).to_kernel()
    after = chunk.kernel.update(0, parameters, piece, (start, count, step), new)
    box = zip(start, count, step, strict=True)
    items[tuple(slice(a, a + (n - 1) * s + 1, s) for a, n, s in box)] = new
    whole = chunk.encode(items, **compression)
    plain = (int(before[FLAGS]) | whole[FLAGS]) & lib.BLOSC_MEMCPYED
    if after is not None:
        assert bytes(after) == whole
    else:
        assert plain or chunk.grid.blocksize < 32 or D in filters


@pytest.mark.parametrize("itemsize", [1, 2, 3, 4, 8, 16])
@pytest.mark.parametrize("between", [1, 3, 5, 8])
def test_new_items_lie_apart_by_parts_of_an_item(itemsize, between):
    """As fields of records do."""
    dtype = np.dtype([("a", f"V{itemsize}"), ("b", f"V{between}")])
    parameters = Compression().to_kernel()
    for shape, block in [((900,), (400,)), ((60, 70), (31, 31)), ((5, 30, 40), (3, 14, 19))]:
        data = RNG.integers(0, 3, math.prod(shape) * dtype.itemsize, "u1").tobytes()
        memory = np.frombuffer(data, dtype).reshape(shape)
        new, chunk = memory["a"], Chunk(shape, block, itemsize)
        assert chunk.decode(chunk.encode(new)).tobytes() == new.tobytes()
        before = np.frombuffer(chunk.encode(np.zeros(shape, new.dtype)), "u1")
        piece = (0, before.size, ffi.from_buffer("uint8_t[]", before))
        box = (0,) * len(shape), shape, (1,) * len(shape)
        after = chunk.kernel.update(0, parameters, piece, box, new)
        assert chunk.decode(bytes(after)).tobytes() == new.tobytes()


def test_other_blocks_of_a_changed_chunk_are_not_decoded():
    chunk = Chunk((64, 64), (16, 16), 4)
    items = np.arange(64 * 64, dtype="i4").reshape(64, 64)
    damaged = bytearray(chunk.encode(items))
    last = int.from_bytes(damaged[32 + 4 * 15 : 36 + 4 * 15], "little")
    damaged[last : last + 4] = b"\xff\xff\xff\x7f"  # the size of a stream of the last block
    piece = (0, len(damaged), ffi.from_buffer("uint8_t[]", damaged))
    parameters = Compression().to_kernel()
    new = np.full((3, 3), -1, "i4")
    after = chunk.kernel.update(0, parameters, piece, ((2, 2), (3, 3), (1, 1)), new)
    items[2:5, 2:5] = -1
    assert (chunk.decode(bytes(after), (0, 0), (16, 64)).view("i4") == items[:16]).all()
    with pytest.raises(cat.FormatError):
        chunk.kernel.update(0, parameters, piece, ((60, 60), (1, 1), (1, 1)), new)


def test_a_chunk_of_another_codec_is_encoded_anew():
    chunk = Chunk((64, 64), (16, 16), 4)
    before = np.frombuffer(chunk.encode(np.arange(4096, dtype="i4").reshape(64, 64)), "u1")
    piece = (0, before.size, ffi.from_buffer("uint8_t[]", before))
    box, new = ((0, 0), (1, 1), (1, 1)), np.zeros((1, 1), "i4")
    for other in ({"codec": Codec.ZSTD}, {"filters": []}, {"usedict": True, "codec": Codec.ZSTD}):
        assert chunk.kernel.update(0, Compression(**other).to_kernel(), piece, box, new) is None
    assert chunk.kernel.update(0, Compression().to_kernel(), piece, box, new) is not None


@pytest.mark.parametrize(("new", "fits"), [("similar", True), ("zeros", False), ("noise", False)])
def test_a_block_is_changed_where_it_lies_if_it_fits(new, fits):
    chunk = Chunk((64, 64), (16, 16), 4)
    items = RNG.integers(0, 256, (64, 64)).astype("i4")
    encoded = bytearray(chunk.encode(items))
    before = bytes(encoded)
    values = {
        "similar": np.where(np.arange(16) < 2, 0, items[16:32, 16:32]).astype("i4"),
        "zeros": np.zeros((16, 16), "i4"),
        "noise": RNG.integers(0, 2**31, (16, 16)).astype("i4"),
    }[new]
    piece = (0, len(encoded), ffi.from_buffer("uint8_t[]", encoded))
    box = ((16, 16), (16, 16), (1, 1))
    done = chunk.kernel.update_in_place(0, Compression().to_kernel(), piece, box, values)
    assert done is fits
    if fits:
        items[16:32, 16:32] = values
        assert chunk.decode(bytes(encoded)).tobytes() == items.tobytes()
        assert chunk.c_decompress(bytes(encoded)) == chunk.c_decompress(chunk.encode(items))
    else:
        assert encoded == before


@pytest.mark.parametrize("splitmode", list(SplitMode))
@pytest.mark.parametrize("codec", [*CODECS, "plain"])
def test_a_shorter_last_block_is_decoded(codec, splitmode):
    """C-Blosc2 does not split the streams of a block that is shorter than the others."""
    items = np.arange(1000, dtype="i4")
    chunk = Chunk((1000,), (300,), 4, cut=True)
    plain = {"codec": Codec.LZ4, "clevel": 0} if codec == "plain" else {"codec": codec}
    data = chunk.c_compress(items, filters=[S], splitmode=splitmode, **plain)
    for start, count in ((0, 1000), (899, 3), (999, 1)):
        found = chunk.decode(data, (start,), (count,)).view("i4")
        assert found.tolist() == items[start : start + count].tolist()


def test_a_shorter_last_block_is_only_read():
    kernel = Kernel(Grid((1000,), (1000,), (300,), 4, cut=True))
    with pytest.raises(cat.FormatError):
        kernel.encode(0, Compression().to_kernel(), np.arange(1000, dtype="i4"))
    for wrong in ({"cut": True, "checksums": True}, {"cut": True, "shape": (4, 4)}):
        shape = wrong.pop("shape", (4,))
        with pytest.raises(cat.ArgumentError, match="cut"):
            Grid(shape, shape, shape, 4, **wrong)
