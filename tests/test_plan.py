"""Which bytes of a frame are read, and what its header says, against brute force and C."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import caterva_cffi as cat
from caterva_cffi.binding.kernel import Kernel
from caterva_cffi.engine.groups import pieces
from caterva_cffi.format.frame import FrameHeader, special_of_offset
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.planning.frame import Frame
from caterva_cffi.planning.layout import layout_steps
from caterva_cffi.planning.policy import ReadPolicy
from caterva_cffi.steps import run, together

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


def chunk_head(grid, offsets, cbytes, *, filters=b"", flags=0, flags2=0, dictionary=b""):
    """Return a chunk's first bytes, as C-Blosc2's README_CHUNK_FORMAT has them."""
    header = bytearray(32)
    header[2] = 0x05 | flags
    header[4:16] = np.array([grid.chunk_nbytes, grid.blocksize, cbytes], "<i4").tobytes()
    header[16 : 16 + len(filters)] = filters
    header[31] = flags2
    return bytes(header) + np.asarray(offsets, "<i4").tobytes() + dictionary


def blocks_of(grid, boxes):
    along = [-(-n // b) for n, b in zip(grid.chunks, grid.blocks, strict=True)]
    return {
        int(np.ravel_multi_index([k // b for k, b in zip(at, grid.blocks, strict=True)], along))
        for box in boxes
        for at in items_of(box)
    }


def merged(ranges, gap):
    result = []
    for start, stop in sorted(ranges):
        if result and start - result[-1][1] <= gap:
            result[-1] = (result[-1][0], max(stop, result[-1][1]))
        else:
            result.append((start, stop))
    return result


@given(boxes(), st.data(), st.integers(0, 40))
def test_ranges_are_those_of_the_blocks_that_boxes_touch(drawn, data, gap):
    """Blocks lie in any order, each up to where the next one begins."""
    grid, box = drawn
    others = [((0,) * grid.ndim, (1,) * grid.ndim, (1,) * grid.ndim)]
    boxes = [box, *data.draw(st.sampled_from([[], others]))]
    sizes = data.draw(st.lists(st.integers(1, 50), min_size=grid.nblocks, max_size=grid.nblocks))
    order = data.draw(st.permutations(range(grid.nblocks)))
    at = {}
    stop = 32 + 4 * grid.nblocks
    for block in order:
        at[block] = (stop, stop := stop + sizes[block])
    head = chunk_head(grid, [at[block][0] for block in range(grid.nblocks)], stop)
    need, ranges = Kernel(grid).plan(0, head, boxes, gap)
    assert need == len(head)
    assert ranges == merged([at[block] for block in blocks_of(grid, boxes)], gap)


PLAIN = Grid((8,), (8,), (2,), 4)  # 4 blocks, 48 bytes of header and offsets


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"", (32, [])),
        (chunk_head(PLAIN, [48, 50], 60), (48, [])),
        (chunk_head(PLAIN, [60, 62, 64, 66], 70, flags2=1), (52, [])),
        (chunk_head(PLAIN, [60, 62, 64, 66], 70, flags2=1, dictionary=b"\3\0\0\0"), (55, [])),
        (
            chunk_head(PLAIN, [60, 62, 64, 66], 70, flags2=1, dictionary=b"\3\0\0\0abc"),
            (55, [(62, 66)]),
        ),
        (chunk_head(PLAIN, [], 32 + 32, flags=2), (32, [(40, 56)])),
        (chunk_head(PLAIN, [], 32, flags2=1 << 4), (32, [])),
        (chunk_head(PLAIN, [], 36, flags2=3 << 4), (36, [])),
        (chunk_head(PLAIN, [], 2**30, flags2=3 << 4), (36, [])),
        (chunk_head(PLAIN, [], 77, filters=b"\3"), (77, [])),
        (chunk_head(Grid((8,), (8,), (4,), 4), [], 77), (77, [])),
    ],
    ids=[
        "nothing", "few offsets", "no dictionary", "its size", "dictionary", "plain blocks",
        "zeros", "one value", "one value of any size", "delta", "other blocks",
    ],
)  # fmt: skip
def test_a_head_says_how_much_of_it_is_needed(head, expected):
    assert Kernel(PLAIN).plan(0, head, [((2,), (3,), (1,))], 0) == expected


@pytest.mark.parametrize(
    ("offsets", "cbytes", "message"),
    [
        ([48, 0, 50, 60], 100, "block 1: a block lies outside"),
        ([48, 47, 50, 60], 100, "block 1: a block lies outside"),
        ([48, 100, 50, 60], 100, "block 1: a block lies outside"),
        ([48, -5, 50, 60], 100, "block 1: a block lies outside"),
        ([48, 48, 50, 60], 100, "block 1: a block lies outside its chunk, or where another"),
        ([48, 49, 50, 60], 47, "longer than its bytes"),
        ([48, 49, 50, 60], 31, "contradict"),
    ],
)
def test_contradictions_are_refused(offsets, cbytes, message):
    head = chunk_head(PLAIN, offsets, cbytes)
    with pytest.raises(cat.FormatError, match=f"chunk 7.*{message}"):
        Kernel(PLAIN).plan(7, head, [((2,), (1,), (1,))], 0)
    if cbytes > 48:  # also where so many are wanted that the offsets are sorted
        grid = Grid((40,), (40,), (2,), 4)
        many = [128, *offsets[1:], *range(112, 128)]
        with pytest.raises(cat.FormatError, match=message):
            Kernel(grid).plan(0, chunk_head(grid, many, 150), [((0,), (40,), (1,))], 0)


POLICIES = [
    ReadPolicy(first=first, gap=gap, whole=whole)
    for first, gap, whole in ((64, 0, 1.0), (64, 100, 0.5), (1 << 20, 0, 0.0))
]


@given(
    boxes(),
    st.sampled_from([{}, {"clevel": 0}, {"codec": "zstd", "usedict": True}]),
    st.sampled_from(POLICIES),
)
def test_planned_ranges_are_all_that_decoding_needs(drawn, compression, policy):
    """All other bytes are poison."""
    grid, box = drawn
    items = np.random.default_rng(1).integers(0, 4, grid.shape, "i4")
    array = cat.asarray(items, chunks=grid.chunks, blocks=grid.blocks, **compression)
    frame = bytes(array.to_cframe())
    known = np.full(len(frame), 0xA5, np.uint8)
    rounds = []

    def read(ranges):
        rounds.append(ranges)
        for start, stop in ranges:
            known[start:stop] = np.frombuffer(frame[start:stop], np.uint8)
        return [frame[start:stop] for start, stop in ranges]

    layout = run(layout_steps(policy.first), read)
    assert layout.grid == grid
    parts = run(Frame(layout, array._kernel, policy).part_steps({0: [box]}), read)
    assert len(rounds) <= 5
    offset = int(layout.offsets[0])
    chunk = known[max(offset, 0) :].tobytes() if offset >= 0 else parts[0][0][1]
    expected = items[tuple(slice(a, a + n * s, s) for a, n, s in zip(*box, strict=True))]
    for kept in ([(0, chunk)], parts[0]):
        found = np.empty(box[1], "i4")
        array._kernel.decode([(0, pieces(kept), box, found.ctypes.data, found.strides)])
        assert (found == expected).all()


def test_steps_side_by_side_ask_together():
    def steps(n):
        total = 0
        for k in range(n):
            [data] = yield [(k, k + n)]
            total += len(data)
        return total

    rounds = []

    def read(ranges):
        rounds.append(len(ranges))
        return [bytes(stop - start) for start, stop in ranges]

    assert run(together({n: steps(n) for n in range(4)}), read) == {0: 0, 1: 1, 2: 4, 3: 9}
    assert rounds == [3, 2, 1]


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
