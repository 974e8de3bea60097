"""Partitions to try: the default one, others of equal size, and blocks like the accesses. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product

from caterva_cffi.errors import ArgumentError, CapacityError
from caterva_cffi.geometry.grid import BLOCK_BYTES, Grid, default_partition

__all__ = ["candidates"]

_SIZES = (BLOCK_BYTES // 4, BLOCK_BYTES)
_MOST = 400
"""Proportions of parts that are tried."""


def candidates(
    shape: Sequence[int],
    itemsize: int,
    chunks: Sequence[int] | None,
    blocks_like: Sequence[Sequence[int]],
) -> Iterator[Grid]:
    """Yield partitions: the default one first, none twice.

    Parameters
    ----------
    shape : sequence of int
    itemsize : int
    chunks : sequence of int, optional
        Chunks that all of them have. If it is left out, chunks of default shape are tried with each
        block shape, and chunks with the block's proportions.
    blocks_like : sequence of sequence of int
        Shapes of what is read: blocks like these are tried, too.
    """
    seen = set()
    usual, default = default_partition(shape, itemsize, chunks)
    tried = [(usual, default)]
    for blocks in _blocks(usual, itemsize, blocks_like):
        tried.append((usual, blocks))
        if chunks is None:
            tried.append((default_partition(shape, itemsize, None, blocks)[0], blocks))
    for pair in tried:
        if pair in seen:
            continue
        seen.add(pair)
        try:
            yield Grid(tuple(shape), *pair, itemsize)
        except (ArgumentError, CapacityError):
            continue


def _blocks(
    chunk: Sequence[int], itemsize: int, blocks_like: Sequence[Sequence[int]]
) -> Iterator[tuple[int, ...]]:
    """Yield blocks of some sizes, whose numbers of parts along the axes have many proportions."""
    steps = 4 if len(chunk) < 4 else 2
    for nbytes in _SIZES:
        for shape in blocks_like:
            yield _fitted(shape, chunk, max(nbytes // itemsize, 1))
        parts = math.prod(chunk) * itemsize / nbytes
        if parts <= 1 or (steps + 1) ** len(chunk) > _MOST * 100:
            continue
        for weights in product(range(steps + 1), repeat=len(chunk)):
            if sum(weights) == steps:
                counts = [max(1, round(parts ** (weight / steps))) for weight in weights]
                blocks = tuple(-(-n // min(n, k)) for n, k in zip(chunk, counts, strict=True))
                # An axis may be too short to be cut so often.
                if math.prod(blocks) * itemsize <= 2 * nbytes:
                    yield blocks


def _fitted(like: Sequence[int], chunk: Sequence[int], items: int) -> tuple[int, ...]:
    """Return a block with about the proportions of a shape, and about so many items."""
    sides = [min(max(n, 1), most) for n, most in zip(like, chunk, strict=True)]
    while math.prod(sides) > items:
        longest = max(range(len(sides)), key=sides.__getitem__)
        sides[longest] = -(-sides[longest] // 2)
    while math.prod(sides) * 2 <= items and any(map(int.__lt__, sides, chunk)):
        room = [axis for axis, n in enumerate(chunk) if sides[axis] < n]
        shortest = min(room, key=sides.__getitem__)
        sides[shortest] = min(2 * sides[shortest], chunk[shortest])
    return tuple(sides)
