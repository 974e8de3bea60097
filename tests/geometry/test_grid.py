"""Shapes, chunks and blocks: arithmetic against brute force, limits, and default partitions."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from caterva_cffi import ArgumentError, CapacityError
from caterva_cffi.geometry.grid import (
    BLOCK_BYTES,
    CHUNK_BYTES,
    MAX_BLOCK_BYTES,
    MAX_CHUNK_BYTES,
    RUN_BYTES,
    RUN_ITEMS,
    Grid,
    default_blocks,
    default_partition,
)

LAW = settings(deadline=None, max_examples=100)


@st.composite
def grids(draw):
    ndim = draw(st.integers(0, 4))
    shape = tuple(draw(st.integers(0, 9)) for _ in range(ndim))
    chunks = tuple(draw(st.integers(0 if length == 0 else 1, length + 3)) for length in shape)
    blocks = tuple(draw(st.integers(min(chunk, 1), chunk)) for chunk in chunks)
    return Grid(shape, chunks, blocks, draw(st.sampled_from([1, 3, 8, 300])))


@LAW
@given(grids())
def test_chunks_tile_the_array(grid):
    items, seen = np.zeros(grid.shape, int), []
    for at in grid.all_chunks():
        seen.append(grid.chunk_number(at))
        extent = grid.chunk_extent(at)
        assert all(extent)
        starts = [k * chunk for k, chunk in zip(at, grid.chunks, strict=True)]
        items[tuple(slice(s, s + n) for s, n in zip(starts, extent, strict=True))] += 1
    assert (items == 1).all()
    assert seen == list(range(grid.nchunks))
    assert math.prod(grid.chunk_grid) == grid.nchunks


@LAW
@given(grids())
def test_sizes(grid):
    assert grid.nbytes == np.zeros(grid.shape, f"V{grid.itemsize}").nbytes
    assert grid.chunksize == np.zeros(grid.chunks, f"V{grid.itemsize}").nbytes
    starts = [range(0, c, b) if b else () for c, b in zip(grid.chunks, grid.blocks, strict=True)]
    assert grid.nblocks == len(list(product(*starts)))
    assert grid.chunk_nbytes == grid.nblocks * grid.blocksize
    assert grid.fits_caterva == (grid.ndim <= 8 and grid.itemsize <= 255)


@pytest.mark.parametrize(
    ("shape", "chunks", "blocks", "itemsize", "error", "message"),
    [
        ((4,), (5,), (6,), 1, ArgumentError, "blocks .* larger than chunks"),
        ((4,), (0,), (0,), 1, ArgumentError, "length of zero"),
        ((4,), (2,), (0,), 1, ArgumentError, "length of zero"),
        ((0,), (2,), (0,), 1, ArgumentError, "length of zero"),
        ((-1,), (1,), (1,), 1, ArgumentError, r"shape is \(-1,\)"),
        ((4,), (-1,), (1,), 1, ArgumentError, r"chunks is \(-1,\)"),
        ((4, 4), (2,), (2,), 1, ArgumentError, "differ in length"),
        ((4,), (2,), (2,), 0, ArgumentError, "itemsize"),
        ((1,) * 17, (1,) * 17, (1,) * 17, 1, ArgumentError, "17 dimensions"),
        ((2**63,), (1,), (1,), 1, CapacityError, "too l"),
        ((2**40, 2**40), (2**10, 2**10), (1, 1), 1, CapacityError, "too large"),
        ((2**32,), (1,), (1,), 1, CapacityError, "too large"),
        ((4,), (2**31,), (1,), 1, CapacityError, "too long"),
        ((4,), (2**30,), (1,), 2, CapacityError, "whole blocks"),
        ((4,), (2**30,), (2**30,), 1, CapacityError, "blocks .* have"),
        ((4.0,), (2,), (2,), 1, TypeError, "shape is"),
        ((4,), ("2",), (2,), 1, TypeError, "chunks is"),
    ],
    ids=str,
)
def test_errors(shape, chunks, blocks, itemsize, error, message):
    with pytest.raises(error, match=message):
        Grid(shape, chunks, blocks, itemsize)


def test_limits_are_possible():
    Grid((4,), (MAX_BLOCK_BYTES,), (MAX_BLOCK_BYTES,), 1)
    Grid((4,), (MAX_CHUNK_BYTES,), (1,), 1)
    Grid((2**61,), (2**31 - 33,), (1,), 1)
    Grid((1,) * 16, (1,) * 16, (1,) * 16, 1)
    Grid((), (), (), 1)


itemsizes = st.one_of(st.integers(1, 16), st.integers(1, 2**22))


@st.composite
def shapes(draw):
    """Shapes of at most 2**40 items."""
    shape, left = [], 2**40
    for _ in range(draw(st.integers(0, 16))):
        most = draw(st.sampled_from([1, 40, 5000, 2**28]))
        shape.append(draw(st.integers(0, min(most, left))))
        left //= max(shape[-1], 1)
    return tuple(draw(st.permutations(shape)))


@LAW
@given(shapes(), itemsizes)
def test_default_partition(shape, itemsize):
    chunks, blocks = default_partition(shape, itemsize)
    grid = Grid(shape, chunks, blocks, itemsize) if itemsize <= 16 else None
    assert grid is None or grid.chunksize <= CHUNK_BYTES
    assert math.prod(blocks) * itemsize <= max(BLOCK_BYTES, itemsize)
    for length, chunk, block in zip(shape, chunks, blocks, strict=True):
        assert 1 <= block <= chunk <= max(length, 1)
        assert -(-chunk // block) * block <= chunk * 9 / 8  # padding is small
    assert default_blocks(np.array(chunks, "i8"), itemsize) == blocks


@pytest.mark.parametrize(
    ("chunks", "itemsize", "parts"),
    [
        ((24, 721, 1440), 4, (8, 10, 10)),
        ((1080, 1080, 12), 1, (6, 6, 3)),  # runs of 4 items
        ((64, 1024, 1024), 2, (11, 10, 10)),
        ((365, 180, 360), 4, (10, 9, 9)),
        ((500000, 40), 4, (62, 10)),  # runs of 16 bytes
        ((500000, 40), 8, (62, 20)),
        ((256,) * 3, 4, (8, 8, 8)),
        ((2**22,), 4, (128,)),
        ((5000, 5000, 3), 1, (24, 24, 1)),
        ((3,) * 16, 1, (3,) * 6 + (1,) * 10),  # halves would be padding for the most part
        ((7, 7), 40000, (7, 7)),
    ],
    ids=str,
)
def test_default_blocks_are_equal_shares(chunks, itemsize, parts):
    blocks = default_blocks(chunks, itemsize)
    assert tuple(-(-n // side) for n, side in zip(chunks, blocks, strict=True)) == parts


@LAW
@given(st.lists(st.integers(500, 2000), min_size=1, max_size=3), st.integers(1, 16))
def test_shares_of_default_blocks_are_alike(chunks, itemsize):
    """But for one item and one part, whatever the proportions; and larger shares would not fit."""
    assume(math.prod(chunks) * itemsize > 8 * BLOCK_BYTES)
    blocks = default_blocks(chunks, itemsize)
    parts = [-(-n // side) for n, side in zip(chunks, blocks, strict=True)]
    largest = max((side - 1) / n for n, side in zip(chunks, blocks, strict=True))
    smallest = min(side / n for n, side in zip(chunks, blocks, strict=True))
    assert largest * (max(parts) - 1) < smallest * max(parts)
    fewer = [-(-n // max(min(parts) - 1, 1)) for n in chunks]
    assert math.prod(fewer) * itemsize > BLOCK_BYTES


@LAW
@given(shapes(), st.integers(1, 2**17))
def test_default_blocks_have_runs(chunks, itemsize):
    blocks = default_blocks(chunks, itemsize)
    if chunks and 8 * itemsize <= BLOCK_BYTES:
        run = min(RUN_ITEMS, -(-RUN_BYTES // itemsize))
        assert blocks[-1] >= min(run, max(chunks[-1], 1))


@LAW
@given(st.data(), shapes(), st.integers(1, 16))
def test_given_chunks_or_blocks_are_kept(data, shape, itemsize):
    left = MAX_BLOCK_BYTES // itemsize
    some = []
    for length in shape:
        some.append(data.draw(st.integers(1, max(1, min(length, left)))))
        left //= some[-1]
    some = tuple(some)
    chunks, blocks = default_partition(shape, itemsize, chunks=some)
    assert chunks == some
    assert all(1 <= block <= chunk for chunk, block in zip(chunks, blocks, strict=True))
    chunks, blocks = default_partition(shape, itemsize, blocks=some)
    assert blocks == some
    assert all(chunk % block == 0 and chunk for chunk, block in zip(chunks, blocks, strict=True))
    assert math.prod(chunks) * itemsize <= max(CHUNK_BYTES, math.prod(blocks) * itemsize)
    Grid(shape, chunks, blocks, itemsize)


@pytest.mark.parametrize("blocks", [(0,), (-1,)])
def test_wrong_blocks_without_chunks(blocks):
    with pytest.raises(ArgumentError):
        Grid((5,), *default_partition((5,), 4, blocks=blocks), 4)
