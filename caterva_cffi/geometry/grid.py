"""Shapes, chunks and blocks: their arithmetic, their limits, and sensible defaults. Pure."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, product
from operator import index
from typing import TYPE_CHECKING, Any, TypeAlias

from caterva_cffi.errors import ArgumentError, CapacityError, Cause, wrong_type, wrong_value

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "BLOCK_BYTES",
    "CATERVA_MAX_DIM",
    "CATERVA_MAX_ITEMSIZE",
    "CHUNK_BYTES",
    "MAX_DIM",
    "RUN_BYTES",
    "RUN_ITEMS",
    "Grid",
    "ObjectGrid",
    "Partition",
    "chunk_items",
    "default_blocks",
    "default_partition",
    "growing",
]

MAX_DIM = 16
"""The most dimensions of a b2nd array."""

CATERVA_MAX_DIM = 8
CATERVA_MAX_ITEMSIZE = 255

MAX_CHUNK_BYTES = 2**31 - 1 - 32
"""C-Blosc2's limit for the items of one chunk, with its padding to whole blocks, in bytes."""

MAX_BLOCK_BYTES = 536866816

_CHECKSUMS = 8
"""Bytes that checksums add to a chunk that cannot be compressed."""

_CHECKED_BLOCK = 12
"""Bytes that checksums add for each block."""

BLOCK_BYTES = 128 * 1024
"""Bytes of a default block. A block and the two scratches that its filters need fit an L2 cache of
512 KiB. With smaller blocks Zstandard would compress streams of at most 16 KiB, for which it takes
twice as long at the same level, and stores would be asked for more ranges."""

RUN_BYTES, RUN_ITEMS = 16, 4
"""What a default block has along the last axis at least: items are copied in such runs when a whole
chunk is read."""

CHUNK_BYTES = 16 * 1024 * 1024
"""Bytes of a default chunk: enough blocks for all cores, few enough bytes to rewrite."""

Partition: TypeAlias = Callable[[Sequence[int], int], tuple[tuple[int, ...], tuple[int, ...]]]
"""Chooses the chunk and block shapes for a shape and an item size."""

_ANY_LENGTH = 2**40
"""A length that no default chunk reaches along a dimension."""


def _balanced(length: int, most: int) -> int:
    """Return the side that cuts `length` into equal parts of at most `most`, as few as can be."""
    return -(-length // -(-length // most)) if length > most else max(length, 1)


def _near_isotropic(shape: Sequence[int], items: int) -> tuple[int, ...]:
    """Return a shape of about `items` items that is as near to a cube as `shape` allows."""
    sides = [max(length, 1) for length in shape]
    # Short dimensions are taken whole; the longer ones share the rest equally.
    left, result = float(max(items, 1)), [1] * len(sides)
    for position, axis in enumerate(sorted(range(len(sides)), key=lambda axis: sides[axis])):
        side = left ** (1 / (len(sides) - position))
        result[axis] = _balanced(sides[axis], max(1, int(side + 1e-9)))
        left = max(left / result[axis], 1.0)
    return tuple(result)


def _share(length: int, parts: int, least: int) -> int:
    """Return the longest side that makes so many parts, with padding of an eighth at most.

    A side of less than `least` items is never returned, rather a longer one.
    """
    sides = chain(range(-(-length // parts), least - 1, -1), range(least, length))
    return next((n for n in sides if -(-length // n) * n * 8 <= length * 9), length)


def default_blocks(chunks: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """Return the block shape for a chunk shape: an equal share of the chunk along each axis.

    Parameters
    ----------
    chunks : sequence of int
        The chunk shape, in items.
    itemsize : int
        Bytes.

    Returns
    -------
    tuple of int
        At most `BLOCK_BYTES`, unless one item is larger. Each axis is cut into as many parts, short
        ones into as many as they have items; parts of the last axis are `RUN_BYTES` or `RUN_ITEMS`
        long. Sides divide the chunk's sides so evenly that padding is short.

    Notes
    -----
    The shape of a chunk says how much of each axis is read together. Of all partitions into so many
    blocks, equal shares have the smallest worst share of the chunk for planes, and for lines, along
    any axis.
    """
    sides = [max(length, 1) for length in chunks]
    most = max(BLOCK_BYTES // itemsize, 1)
    run = min(RUN_ITEMS, -(-RUN_BYTES // itemsize), max(most // 2, 1))
    least = [*(1 for _ in sides[1:]), *(min(side, run) for side in sides[-1:])]

    def cut(parts: int) -> list[int]:
        return [_share(side, parts, n) for side, n in zip(sides, least, strict=True)]

    parts = range(1, max(sides, default=1))
    enough = 1 + bisect_left(parts, -most, key=lambda n: -math.prod(cut(n)))
    # Axes are cut once more, those of the largest share first, until the block is small enough.
    blocks, smaller = cut(max(enough - 1, 1)), cut(enough)
    for axis in sorted(range(len(sides)), key=lambda axis: -blocks[axis] / sides[axis]):
        if math.prod(blocks) <= most:
            break
        blocks[axis] = smaller[axis]
    return tuple(blocks)


def default_partition(
    shape: Sequence[int],
    itemsize: int,
    chunks: Sequence[int] | None = None,
    blocks: Sequence[int] | None = None,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the chunk and block shapes, with defaults for those that are left out.

    Parameters
    ----------
    shape : sequence of int
        The array's shape, in items.
    itemsize : int
        Bytes.
    chunks, blocks : sequence of int, optional

    Returns
    -------
    chunks, blocks : tuple of int
        A default chunk holds about `CHUNK_BYTES`, and is as near to a cube as the array's shape
        allows. Nothing is known about the slices to come, and there is no slice for which a cube is
        the worst partition. A default block is an equal share of its chunk (`default_blocks`).
    """
    shape = _lengths("shape", shape, 0)
    chunks = None if chunks is None else _lengths("chunks", chunks, 0)
    blocks = None if blocks is None else _lengths("blocks", blocks, 0)
    if chunks is None:
        # If blocks are given, count in blocks: a chunk then has their proportions.
        units = (1,) * len(shape) if blocks is None else blocks
        sides = [-(-length // max(unit, 1)) for length, unit in zip(shape, units, strict=False)]
        wanted = _near_isotropic(sides, CHUNK_BYTES // max(math.prod(units) * itemsize, 1))
        chunks = tuple(side * unit for side, unit in zip(wanted, units, strict=False))
    if blocks is None:
        blocks = default_blocks(chunks, itemsize)
    return tuple(chunks), tuple(blocks)


def growing(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape to choose chunks for: a dimension of length 0 counts as a very long one."""
    return tuple(length or _ANY_LENGTH for length in shape)


def _lengths(name: str, values: Sequence[int], least: int) -> tuple[int, ...]:
    try:
        lengths = tuple(index(value) for value in values)
    except TypeError:
        raise wrong_type(name, values, "a sequence of integers") from None
    if any(length < least for length in lengths):
        raise wrong_value(name, lengths, f"lengths of at least {least}")
    return lengths


@dataclass(frozen=True)
class Grid:
    """An array's shape and its two levels of partition.

    Parameters
    ----------
    shape, chunks, blocks : tuple of int
        In items. A dimension of length zero may have chunks and blocks of length zero.
    itemsize : int
        Bytes.
    checksums : bool, default False
        Whether each chunk holds checksums of its blocks.
    cut : bool, default False
        Whether chunks are not padded to whole blocks, so that the last block may be shorter. Only
        in one dimension, and only read.

    Raises
    ------
    ArgumentError
        For shapes that contradict each other.
    CapacityError
        For sizes beyond the limits of the format.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    blocks: tuple[int, ...]
    itemsize: int
    checksums: bool = False
    cut: bool = False

    def __post_init__(self) -> None:
        shape = _lengths("shape", self.shape, 0)
        chunks = _lengths("chunks", self.chunks, 0)
        blocks = _lengths("blocks", self.blocks, 0)
        for name, value in (("shape", shape), ("chunks", chunks), ("blocks", blocks)):
            object.__setattr__(self, name, value)
        if len(shape) > MAX_DIM:
            raise ArgumentError(
                f"{len(shape)} dimensions; at most {MAX_DIM} are possible",
                Cause("wrong-ndim", "shape", len(shape), MAX_DIM),
            )
        if not len(shape) == len(chunks) == len(blocks):
            raise ArgumentError(
                f"shape {shape}, chunks {chunks} and blocks {blocks} differ in length",
                Cause(
                    "wrong-ndim",
                    "chunks" if len(chunks) != len(shape) else "blocks",
                    len(chunks) if len(chunks) != len(shape) else len(blocks),
                    len(shape),
                ),
            )
        if self.cut and (len(shape) != 1 or self.checksums):
            raise ArgumentError(f"shape {shape}, cut; expected one dimension, and no checksums")
        if self.itemsize < 1:
            raise wrong_value("itemsize", self.itemsize, "at least 1 byte")
        for length, chunk, block in zip(shape, chunks, blocks, strict=True):
            if (chunk == 0 or block == 0) and (length > 0 or chunk > 0):
                raise ArgumentError(
                    f"chunks {chunks} or blocks {blocks} have a length of zero",
                    Cause(
                        "wrong-value", "blocks" if chunk else "chunks", blocks if chunk else chunks
                    ),
                )
            if block > chunk:
                nearest = tuple(map(min, blocks, chunks))
                raise ArgumentError(
                    f"blocks {blocks} are larger than chunks {chunks}; nearest is {nearest}",
                    Cause("block-shape-too-large", "blocks", blocks, nearest),
                )
            if max(length, chunk) >= 2**63 or chunk >= 2**31:
                raise CapacityError(
                    f"shape {shape} or chunks {chunks} are too long",
                    Cause(
                        "too-large",
                        "chunks" if chunk >= 2**31 else "shape",
                        chunk if chunk >= 2**31 else length,
                        2**31 - 1 if chunk >= 2**31 else 2**63 - 1,
                    ),
                )
        self._check_sizes()

    def _check_sizes(self) -> None:
        # NumPy refuses an array whose other lengths are too long, even if one length is zero.
        nbytes = math.prod(max(n, 1) for n in self.shape) * self.itemsize
        if nbytes >= 2**63 or self.nchunks >= 2**31:
            raise CapacityError(
                f"shape {self.shape} in chunks {self.chunks} is too large",
                Cause(
                    "too-large",
                    "shape" if nbytes >= 2**63 else "chunks",
                    nbytes if nbytes >= 2**63 else self.nchunks,
                    2**63 - 1 if nbytes >= 2**63 else 2**31 - 1,
                ),
            )
        items = f"{self.itemsize}-byte items"
        if self.blocksize > MAX_BLOCK_BYTES:
            raise CapacityError(
                f"blocks {self.blocks} of {items} have {self.blocksize} bytes; at most "
                f"{MAX_BLOCK_BYTES} are possible",
                Cause("block-too-large", "blocks", self.blocksize, MAX_BLOCK_BYTES),
            )
        most = MAX_CHUNK_BYTES - self.checksums * (_CHECKSUMS + _CHECKED_BLOCK * self.nblocks)
        if self.chunk_nbytes > most:
            raise CapacityError(
                f"chunks {self.chunks} of {items} have {self.chunk_nbytes} bytes in whole blocks "
                f"of {self.blocks}; at most {most} are possible",
                Cause("chunk-too-large", "chunks", self.chunk_nbytes, most),
            )

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @cached_property
    def nbytes(self) -> int:
        """Bytes of the array's items."""
        return math.prod(self.shape) * self.itemsize

    @cached_property
    def chunksize(self) -> int:
        """Bytes of a chunk's items, without the padding to whole blocks."""
        return math.prod(self.chunks) * self.itemsize

    @cached_property
    def blocksize(self) -> int:
        """Bytes of a block."""
        return math.prod(self.blocks) * self.itemsize

    @cached_property
    def chunk_nbytes(self) -> int:
        """Bytes of a chunk's items as they are compressed: padded to whole blocks, if not cut."""
        if self.cut:
            return self.chunksize
        return self.itemsize * math.prod(
            -(-chunk // block) * block if block else 0
            for chunk, block in zip(self.chunks, self.blocks, strict=True)
        )

    @cached_property
    def nblocks(self) -> int:
        """Number of blocks in a chunk."""
        return -(-self.chunk_nbytes // self.blocksize) if self.blocksize else 0

    @cached_property
    def chunk_grid(self) -> tuple[int, ...]:
        """Number of chunks along each dimension."""
        return tuple(
            -(-length // chunk) if chunk else 0
            for length, chunk in zip(self.shape, self.chunks, strict=True)
        )

    @cached_property
    def nchunks(self) -> int:
        """Number of chunks."""
        return math.prod(self.chunk_grid)

    @property
    def fits_caterva(self) -> bool:
        """Whether Caterva, with its tighter limits, can read such an array."""
        return self.ndim <= CATERVA_MAX_DIM and self.itemsize <= CATERVA_MAX_ITEMSIZE

    def chunk_number(self, at: Sequence[int]) -> int:
        """Return the number of the chunk at a position in the chunk grid."""
        number = 0
        for position, length in zip(at, self.chunk_grid, strict=True):
            number = number * length + position
        return number

    def chunk_extent(self, at: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of the part of a chunk that lies inside the array."""
        return tuple(
            min(chunk, length - position * chunk)
            for position, chunk, length in zip(at, self.chunks, self.shape, strict=True)
        )

    def all_chunks(self) -> Iterator[tuple[int, ...]]:
        """Yield the positions of all chunks in the chunk grid, in their order in the frame."""
        return product(*map(range, self.chunk_grid))


@dataclass(frozen=True)
class ObjectGrid(Grid):
    """The grid of an array whose chunks are objects of any size, which nothing here compresses."""

    def __post_init__(self) -> None:
        """Check nothing: whoever makes it knows that the shapes fit together."""

    def chunk_at(self, number: int) -> list[int]:
        """Return the position of a chunk in the chunk grid."""
        at = [0] * len(self.shape)
        for d in range(len(at) - 1, -1, -1):
            number, at[d] = divmod(number, self.chunk_grid[d])
        return at


def chunk_items(items: npt.NDArray[Any], grid: Grid) -> Iterator[npt.NDArray[Any]]:
    """Yield the items of each chunk, in the order of the chunks."""
    for at in grid.all_chunks():
        part: list[Any] = [
            slice(position * chunk, (position + 1) * chunk)
            for position, chunk in zip(at, grid.chunks, strict=True)
        ]
        yield items[(*part, ...)]
