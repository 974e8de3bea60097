"""Chunks as HDF5 and .b2nd files hold them, read in part and in whole; and what is refused."""

from __future__ import annotations

import itertools

import blosc2
import numpy as np
import pytest

import caterva_cffi as cat
from caterva_cffi.engine.objects import ObjectRead, Selected
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.keys import normalize
from caterva_cffi.planning import cache
from caterva_cffi.planning.foreign_chunks import Bare, HDF5Chunk
from caterva_cffi.planning.policy import ReadPolicy
from caterva_cffi.steps import WHOLE, Work, run

SHAPE = (11, 37, 23)
FLOATS = np.cumsum(np.random.default_rng(5).integers(-3, 4, SHAPE), axis=2).astype("<f4")
WIDE = np.frombuffer(FLOATS.tobytes() * 75, "V300").reshape(SHAPE)
POLICIES = [
    ReadPolicy(first=64, gap=0, whole=1.0),
    ReadPolicy(first=16384, gap=4096, whole=0.5),
]
SELECTIONS = [
    np.s_[...],
    np.s_[3],
    np.s_[1:5, 2:30:3],
    np.s_[:, :, 5],
    np.s_[::-1, 3:4, [1, 5, 2]],
    np.s_[2:3, 4:5, 6:7],
    np.s_[0:0],
]


def chunk_of(items, kind=HDF5Chunk, **more):
    grid = Grid(items.shape, items.shape, [min(n, 8) for n in items.shape], items.itemsize)
    return kind(grid, items.dtype, **more)


class Stored:
    """An object that is read by ranges; it may be a part of a file."""

    def __init__(self, data, behind=b""):
        self.data = data + behind
        self.asked = []

    def answer(self, asked):
        if isinstance(asked, Work):
            return asked.action()
        self.asked += asked
        assert all(0 <= start < stop for start, stop in asked)
        return [memoryview(self.data)[start:stop] for start, stop in asked]

    def read(self, chunk, selection=..., policy=POLICIES[0]):
        wanted = normalize(selection, chunk.items.shape)
        read = ObjectRead(Selected(wanted), chunk.items, policy, lambda _: None, chunk.steps)
        cache.shared.drop("here")
        first, again = (run(read.steps("here", None), self.answer) for _ in range(2))
        assert first.tobytes() == again.tobytes()
        return first


def check(data, items, chunk, behind=b""):
    for selection, policy in itertools.product(SELECTIONS, POLICIES):
        found = Stored(data, behind).read(chunk, selection, policy)
        assert found.tobytes() == items[selection].tobytes(), (selection, policy)


def in_a_row(items, blocksize=4000, **parameters):
    """Return the frame of bytes in a row, which names no shape."""
    typesize = items.itemsize if items.itemsize < 256 else 1
    cparams = {"typesize": typesize, "blocksize": blocksize, **parameters}
    return blosc2.SChunk(chunksize=items.nbytes, data=items.tobytes(), cparams=cparams).to_cframe()


@pytest.mark.parametrize("behind", [b"", b"1234", bytes(20000)], ids=len)
@pytest.mark.parametrize("items", [FLOATS, WIDE], ids=["f4", "V300"])
def test_a_frame_that_names_no_shape_is_read(items, behind):
    check(in_a_row(items), items, chunk_of(items), behind)


@pytest.mark.parametrize("codec", [blosc2.Codec.BLOSCLZ, blosc2.Codec.LZ4, blosc2.Codec.ZSTD])
@pytest.mark.parametrize(
    "filters",
    [[blosc2.Filter.BITSHUFFLE], [blosc2.Filter.DELTA, blosc2.Filter.SHUFFLE], []],
    ids=["bitshuffle", "delta", "none"],
)
def test_a_short_last_block_is_decoded(codec, filters):
    filters = filters or [blosc2.Filter.NOFILTER]
    for clevel in (0, 5):
        frame = in_a_row(FLOATS, codec=codec, filters=filters, clevel=clevel)
        found = Stored(frame).read(chunk_of(FLOATS), np.s_[-1, -1])
        assert (found == FLOATS[-1, -1]).all()


@pytest.mark.parametrize("value", [0, 1.5, np.nan])
def test_a_row_of_one_value_is_read(value):
    items = np.full(SHAPE, value, "<f4")
    check(in_a_row(items), items, chunk_of(items))


@pytest.mark.parametrize("behind", [b"", b"1234"], ids=len)
def test_items_without_the_filter_are_read(behind):
    for items in (FLOATS, WIDE):
        check(items.tobytes(), items, chunk_of(items), behind)


def test_items_without_the_filter_are_read_in_part():
    stored = Stored(FLOATS.tobytes())
    stored.read(chunk_of(FLOATS), np.s_[3, 4, 5])
    assert sum(stop - start for start, stop in stored.asked) < FLOATS.nbytes / 3


@pytest.mark.parametrize("shape", [SHAPE, (1, *SHAPE), (11, 1, 37, 23, 1)])
def test_dimensions_of_one_item_may_be_missing(shape):
    array = blosc2.asarray(FLOATS, chunks=SHAPE, blocks=(3, 8, 8))
    items = FLOATS.reshape(shape)
    for data, chunk in (
        (array.to_cframe(), chunk_of(items)),
        (array.schunk.get_chunk(0), chunk_of(items, Bare, blocks=(3, 8, 8))),
    ):
        for selection in (..., 0, np.s_[..., ::2], np.s_[..., 0:0]):
            for behind in (b"", bytes(20000)):
                found = Stored(data, behind).read(chunk, selection, POLICIES[1])
                assert found.tobytes() == items[selection].tobytes()


@pytest.mark.parametrize("bare", [False, True])
def test_a_box_costs_the_blocks_that_it_touches(bare):
    array = cat.asarray(FLOATS, chunks=SHAPE, blocks=(3, 8, 8))
    data = array.to_cframe()
    chunk = chunk_of(FLOATS)
    if bare:
        data = blosc2.schunk_from_cframe(bytes(data)).get_chunk(0)
        chunk = chunk_of(FLOATS, Bare, blocks=(3, 8, 8))
    stored = Stored(bytes(data))
    stored.read(chunk, np.s_[0, 0, 0], ReadPolicy(first=1024, gap=0, whole=0.5))
    assert WHOLE not in stored.asked
    assert sum(stop - start for start, stop in stored.asked) < len(data) / 2


BIG = FLOATS.astype(">f4")
ROW = in_a_row(FLOATS)
SMALL = chunk_of(FLOATS[:4])


@pytest.mark.parametrize(
    ("data", "chunk", "message"),
    [
        (ROW[: len(ROW) // 2], chunk_of(FLOATS), "cut off"),
        (ROW, SMALL, "a frame of 37444 bytes; the array's chunk has 13616"),
        (b"\x9e\xa8b2fram\1" + ROW[9:], chunk_of(FLOATS), "first bytes are damaged"),
        (FLOATS.tobytes()[:-1], chunk_of(FLOATS), "37443 bytes that are no frame"),
        (bytes(cat.asarray(FLOATS[:4]).to_cframe()), chunk_of(FLOATS), "a frame of shape"),
        (bytes(cat.asarray(BIG).to_cframe()), chunk_of(FLOATS), "a frame of '>f4'"),
        (ROW, chunk_of(FLOATS, Bare, blocks=SHAPE), "a frame; expected a chunk of Blosc2"),
        (bytes(40), chunk_of(FLOATS, Bare, blocks=SHAPE), "a chunk of 0 bytes"),
        (blosc2.compress2(b"1" * 99), chunk_of(FLOATS, Bare, blocks=SHAPE), "a chunk of 99 bytes"),
        (ROW, chunk_of(FLOATS, Bare, blocks=(1, 1)), r"blocks of \(1, 1\)"),
    ],
)
def test_what_is_something_else_is_refused(data, chunk, message):
    for selection in (..., (-1, -1, -1)):
        with pytest.raises(cat.FormatError, match=message):
            Stored(data).read(chunk, selection)


def test_more_bytes_than_items_and_a_checksum_are_refused():
    """As far as that is seen: a part is read without knowing how many bytes there are."""
    with pytest.raises(cat.FormatError, match="37449 bytes that are no frame"):
        Stored(FLOATS.tobytes() + b"12345").read(chunk_of(FLOATS), ..., POLICIES[1])


def test_several_chunks_without_a_shape_are_refused():
    frame = blosc2.SChunk(chunksize=20000, data=FLOATS.tobytes()).to_cframe()
    with pytest.raises(cat.UnsupportedError, match="2 chunks in a frame that names no shape"):
        Stored(frame).read(chunk_of(FLOATS))
