"""Which bytes of a chunk a box needs, and what a frame's header says, against brute force and C."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import caterva_cffi as cat
from caterva_cffi.frame import FrameHeader, special_of_offset
from caterva_cffi.grid import Grid
from caterva_cffi.plan import ChunkHeader, block_ranges, merge, touched_blocks
from caterva_cffi.reading import chunk_pieces

GOLDEN = Path(__file__).parent / "golden"


@st.composite
def boxes(draw):
    chunk = draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))
    block = [draw(st.integers(1, n)) for n in chunk]
    start = [draw(st.integers(0, n - 1)) for n in chunk]
    step = [draw(st.integers(1, 5)) for _ in chunk]
    most = [(n - 1 - a) // s + 1 for n, a, s in zip(chunk, start, step, strict=True)]
    count = [draw(st.integers(1, n)) for n in most]
    return Grid(tuple(chunk), tuple(chunk), tuple(block), 4), (start, count, step)


def items_of(box):
    return itertools.product(*(range(a, a + n * s, s) for a, n, s in zip(*box, strict=True)))


@given(boxes())
def test_touched_blocks_are_those_of_all_items(drawn):
    grid, box = drawn
    along = [-(-n // b) for n, b in zip(grid.chunks, grid.blocks, strict=True)]
    expected = {
        int(np.ravel_multi_index([k // b for k, b in zip(at, grid.blocks, strict=True)], along))
        for at in items_of(box)
    }
    assert touched_blocks(grid, *box).tolist() == sorted(expected)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.data())
def test_a_block_ends_where_the_next_one_begins(sizes, data):
    order = data.draw(st.permutations(range(len(sizes))))
    body = 32 + 4 * len(sizes)
    offsets, at = np.empty(len(sizes), "<i4"), body
    for block in order:
        offsets[block] = at
        at += sizes[block]
    header = ChunkHeader(0, at, 0, False, False, True, False)
    for blocks in (np.array([data.draw(st.sampled_from(order))]), np.arange(len(sizes))):
        ranges = block_ranges(header, offsets, body, blocks)
        assert (ranges[:, 0] == offsets[blocks]).all()
        assert (ranges[:, 1] - ranges[:, 0] == np.array(sizes)[blocks]).all()


@pytest.mark.parametrize("offset", [0, 39, 200, -5])
def test_blocks_outside_their_chunk_are_refused(offset):
    header = ChunkHeader(0, 100, 0, False, False, True, False)
    offsets = np.array([40, offset], "<i4")
    with pytest.raises(cat.FormatError, match=f"block 1 from byte {offset} .* of 100 bytes"):
        block_ranges(header, offsets, 40, np.array([1]))


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 30)), min_size=1), st.integers(0, 20))
def test_merged_ranges_cover_the_same_bytes_and_no_wider_gaps(drawn, gap):
    ranges = np.array([(start, start + size) for start, size in drawn])
    merged = merge(ranges, gap)
    assert all(a < b for a, b in merged)
    assert all(after[0] - before[1] > gap for before, after in itertools.pairwise(merged))
    covered = {byte for start, stop in merged for byte in range(start, stop)}
    wanted = {byte for start, stop in ranges.tolist() for byte in range(start, stop)}
    assert wanted <= covered
    for start, stop in merged:
        inside = sorted(wanted & set(range(start, stop)))
        assert (inside[0], inside[-1]) == (start, stop - 1)
        assert all(b - a <= gap + 1 for a, b in itertools.pairwise(inside))


@given(boxes(), st.sampled_from([{}, {"clevel": 0}, {"codec": "zstd", "usedict": True}]))
def test_pieces_are_all_that_decoding_needs(drawn, compression):
    """Bytes that were not fetched are not there: the pieces are separate objects."""
    grid, box = drawn
    items = np.random.default_rng(1).integers(0, 4, grid.shape, "i4")
    array = cat.asarray(items, chunks=grid.chunks, blocks=grid.blocks, **compression)
    chunk = array._chunk_bytes(0)
    pieces = chunk_pieces(lambda start, stop: chunk[start:stop], grid, box)
    kept = [(at, len(data), cat.ffi.from_buffer("uint8_t[]", data)) for at, data in pieces]
    found = np.empty(box[1], "i4")
    array._kernel.decode(0, kept, box, found.ctypes.data, found.strides)
    key = tuple(slice(a, a + n * s, s) for a, n, s in zip(*box, strict=True))
    assert (found == items[key]).all()


FRAMES = [
    GOLDEN / writer / entry["path"]
    for writer in ("python_caterva", "python_blosc2", "c_blosc2")
    for entry in json.loads((GOLDEN / writer / "index.json").read_text())["frames"]
    if entry["kind"] == "file"
]


@pytest.mark.parametrize("path", FRAMES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_headers_say_what_c_blosc2_reads(path):
    data = path.read_bytes()
    header = FrameHeader.parse(data)
    with cat.open(path, mode="r") as array:
        schunk = array.schunk.ptr
        assert (header.frame_len, header.sparse) == (len(data), False)
        assert (header.nbytes, header.cbytes) == (schunk.nbytes, schunk.cbytes)
        assert (header.itemsize, header.chunksize) == (schunk.typesize, schunk.chunksize)
        assert header.nchunks == schunk.nchunks
        assert header.metalayers == dict(array.meta)
    for size in {*range(0, min(len(data), header.header_len), 7), header.header_len - 1}:
        with pytest.raises(cat.FormatError):
            FrameHeader.parse(data[:size])


@pytest.mark.parametrize("special", range(128))
def test_offsets_of_special_chunks(special):
    offset = (special << 56) - (1 << 63)
    if special in (1, 2, 4):
        assert special_of_offset(offset) == special
    else:
        with pytest.raises(cat.FormatError, match="stands for no chunk"):
            special_of_offset(offset)
