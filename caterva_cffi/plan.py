"""Which bytes of a chunk a box needs: a pure function of the chunk's beginning and the box.

Format: C-Blosc2's README_CHUNK_FORMAT. A chunk is a header, an offset for each block, perhaps a
dictionary, and the blocks in any order: a block ends where the next one begins.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from caterva_cffi.errors import FormatError
from caterva_cffi.grid import Grid

__all__ = ["HEADER", "MERGE_GAP", "ChunkHeader", "block_ranges", "merge", "touched_blocks"]

HEADER = 32
"""Bytes of a chunk's header."""

MERGE_GAP = 16 * 1024
"""Bytes that are rather read than left out between two reads of a local file. A positioned read
costs about as much as copying this many bytes from the page cache."""

_FEW = 4  # sorting all offsets costs more than searching them for so many blocks

_DELTA = 3


@dataclass(frozen=True)
class ChunkHeader:
    """What a chunk's header says of where its bytes are.

    Attributes
    ----------
    nbytes, cbytes, blocksize : int
        Bytes of the chunk, decoded and compressed, and of a block.
    plain : bool
        Whether blocks are stored as they are.
    special : bool
        Whether every item is the same.
    in_blocks : bool
        Whether each block decodes on its own.
    has_dictionary : bool
    """

    nbytes: int
    cbytes: int
    blocksize: int
    plain: bool
    special: bool
    in_blocks: bool
    has_dictionary: bool

    @classmethod
    def parse(cls, data: bytes) -> ChunkHeader:
        """Return the header in a chunk's first 32 bytes."""
        if len(data) < HEADER:
            raise FormatError(f"{len(data)} bytes of a chunk header of {HEADER}")
        nbytes, blocksize, cbytes = struct.unpack_from("<iii", data, 4)
        if cbytes < HEADER or nbytes < 0 or blocksize < 0:
            raise FormatError(f"a chunk of {cbytes} bytes for {nbytes} in blocks of {blocksize}")
        return cls(
            nbytes,
            cbytes,
            blocksize,
            plain=bool(data[2] & 0x02),
            special=bool(data[31] & 0x70),
            in_blocks=_DELTA not in data[16:22],
            has_dictionary=bool(data[31] & 0x01),
        )


def touched_blocks(
    grid: Grid, start: Sequence[int], count: Sequence[int], step: Sequence[int]
) -> npt.NDArray[np.int64]:
    """Return the numbers of the blocks in which a box of a chunk has items, in order."""
    numbers = np.zeros(1, np.int64)
    for d, (chunk, block) in enumerate(zip(grid.chunks, grid.blocks, strict=True)):
        if step[d] < block:
            last = start[d] + (count[d] - 1) * step[d]
            along = np.arange(start[d] // block, last // block + 1)
        else:
            along = (start[d] + np.arange(count[d], dtype=np.int64) * step[d]) // block
        numbers = (numbers[:, None] * -(-chunk // block) + along).ravel()
    return numbers


def block_ranges(
    header: ChunkHeader,
    offsets: npt.NDArray[np.int32],
    body: int,
    blocks: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Return where blocks are in their chunk.

    Parameters
    ----------
    header : ChunkHeader
    offsets : ndarray of int32
        One for each block of the chunk.
    body : int
        Where the first block may begin.
    blocks : ndarray of int64
        Numbers of the wanted blocks.

    Returns
    -------
    ndarray of int64, shape (n, 2)
        Start and stop of each, in bytes of the chunk.

    Raises
    ------
    FormatError
        For a block that lies outside its chunk.
    """
    starts = offsets[blocks].astype(np.int64)
    if blocks.size <= _FEW:
        later = (offsets[offsets > start] for start in starts)
        stops = np.array([rest.min() if rest.size else header.cbytes for rest in later], np.int64)
    else:
        edges = np.sort(offsets)
        nexts = np.searchsorted(edges, starts, side="right")
        stops = np.append(edges, header.cbytes).astype(np.int64)[nexts]
    wrong = np.flatnonzero((starts < body) | (starts >= stops) | (stops > header.cbytes))
    if wrong.size:
        first = wrong[0]
        raise FormatError(
            f"block {blocks[first]} from byte {starts[first]} to {stops[first]} of a chunk "
            f"of {header.cbytes} bytes; blocks begin at byte {body}"
        )
    return np.stack([starts, stops], axis=1)


def merge(ranges: npt.NDArray[np.int64], gap: int) -> list[tuple[int, int]]:
    """Return sorted ranges, those that lie at most `gap` bytes apart as one."""
    if len(ranges) == 1:
        return [(int(ranges[0, 0]), int(ranges[0, 1]))]
    ranges = ranges[np.argsort(ranges[:, 0], kind="stable")]
    cuts = np.flatnonzero(ranges[1:, 0] - np.maximum.accumulate(ranges[:, 1])[:-1] > gap) + 1
    return [
        (int(part[0, 0]), int(part[:, 1].max())) for part in np.split(ranges, cuts) if part.size
    ]
