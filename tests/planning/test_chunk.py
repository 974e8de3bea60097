"""Which bytes of a chunk are read, against brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from boxes_of_chunks import boxes
from hypothesis import given
from hypothesis import strategies as st

import caterva_cffi as cat
from caterva_cffi.binding.kernel import Kernel
from caterva_cffi.geometry.grid import Grid


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


def test_ranges_are_sorted_whichever_boxes_are_empty():
    head = chunk_head(PLAIN, [48, 50, 52, 54], 56)
    boxes = [((start,), (count,), (1,)) for start, count in ((6, 1), (0, 1), (3, 0))]
    assert Kernel(PLAIN).plan(0, head, boxes, 0) == (48, [(48, 50), (54, 56)])


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
