"""What it costs to read a super-chunk in memory: nothing is read, but blocks are decoded."""

from __future__ import annotations

from caterva_cffi.binding.library import ffi
from caterva_cffi.costs.tally import Begin, Tally
from caterva_cffi.format.chunk_header import HEADER
from caterva_cffi.geometry.cutting import cut
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.selection import Box
from caterva_cffi.superchunk.schunk import SChunk

__all__ = ["tally_memory"]


def tally_memory(tally: Tally, schunk: SChunk, grid: Grid, begin: Begin) -> None:
    """Count what it costs to read batches; the caller keeps writers away."""
    for batch in begin():
        wanted: dict[int, list[Box]] = {}
        for box, dest in batch.boxes:
            for number, part, _ in cut(grid, box) if dest.size else ():
                wanted.setdefault(number, []).append(part)
        tally.chunks |= wanted.keys()
        for number, parts in wanted.items():
            chunk = schunk.chunk(number)
            tally.decode(grid, parts, bytes(ffi.buffer(chunk.pointer, HEADER)))
