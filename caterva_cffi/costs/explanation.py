"""What a read costs, told to programs by fields, and to people as text and in notebooks."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from html import escape

from caterva_cffi.binding.threads import get_nthreads
from caterva_cffi.costs.drawing import svg_of
from caterva_cffi.costs.tally import Tally
from caterva_cffi.costs.touched import Picture, picture_of
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.selection import Basic, Fancy

__all__ = ["Explanation", "explanation_of"]

_SCRATCHES = 3
"""Blocks for which a thread has memory: one that is decoded, and two for its filters."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What it costs to read a selection of an array now.

    `str` tells it to people; notebooks draw which blocks are touched, too.

    Attributes
    ----------
    shape, chunks, blocks : tuple of int
        Of the array. One number instead of a block shape counts items in a row, in C order: some
        chunks in HDF5 files are cut so.
    itemsize : int
    selected : tuple of int
        Shape of what is read.
    nchunks : int
        Chunks in which items are wanted, ...
    all_chunks : int
        ... of so many.
    nblocks : int
        Blocks that are decoded. Chunks of one value, and chunks that are not stored, have none.
    nitems, ndecoded : int
        Items that are wanted, and items of the blocks that are decoded for them.
    requests : int
        Requests for ranges of bytes, or reads of local files; 0 for an array in memory. Files are
        read so by one thread; each further one that takes part reads the head of a chunk again.
    rounds : int
        Requests of one round do not wait for each other. 0 for local frames, which are read block
        by block while they are decoded.
    nbytes : int
        Bytes that these requests give.
    memory : int
        Bytes of memory that the read takes at most, about; the result is among them.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    blocks: tuple[int, ...]
    itemsize: int
    selected: tuple[int, ...]
    nchunks: int
    all_chunks: int
    nblocks: int
    nitems: int
    ndecoded: int
    requests: int
    rounds: int
    nbytes: int
    memory: int
    _grid: Grid = field(repr=False, compare=False)
    _picture: Picture | None = field(repr=False, compare=False)

    @property
    def rows(self) -> list[tuple[str, str]]:
        """The report's lines: name and value."""
        wanted, decoded = self.nitems * self.itemsize, self.ndecoded * self.itemsize
        times = f", {self.ndecoded / self.nitems:.3g} times as many" if self.nitems else ""
        reads = "none: the array is in memory"
        if self.requests:
            reads = f"{_many(self.requests, 'request')} for {_size(self.nbytes)}"
            reads += f", in {_many(self.rounds, 'round')}" if self.rounds else ""
        return [
            ("Selected", f"{self.selected} of {self.shape}, in {self.nitems:,} items"),
            ("Chunks", f"{self.nchunks:,} of {self.all_chunks:,}, of {self.chunks}"),
            ("Blocks", f"{self.nblocks:,} of {self.blocks} are decoded"),
            ("Wanted", _size(wanted)),
            ("Decoded", f"{_size(decoded)}{times}"),
            ("Read", reads),
            ("Memory", f"about {_size(self.memory)} at most"),
        ]

    def __str__(self) -> str:
        width = max(len(name) for name, _ in self.rows)
        return "\n".join(f"{name:{width}} : {value}" for name, value in self.rows)

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th style="text-align: left">{escape(name)}</th>'
            f'<td style="text-align: left">{escape(value)}</td></tr>'
            for name, value in self.rows
        )
        drawing = "" if self._picture is None else svg_of(self._picture, self._grid)
        return (
            '<div style="display: flex; gap: 2em; align-items: center">'
            f"<table><tbody>{rows}</tbody></table>{drawing}</div>"
        )


def explanation_of(grid: Grid, selection: Basic | Fancy, tally: Tally) -> Explanation:
    """Return what was counted, for people.

    Parameters
    ----------
    grid : Grid
        Of the array.
    selection : Basic or Fancy
    tally : Tally
    """
    nitems = math.prod(selection.shape)
    if tally.blocks is not None and len(tally.blocks) == grid.ndim:
        grid = replace(grid, blocks=tally.blocks)
    in_rows = tally.blocks is not None and len(tally.blocks) != grid.ndim
    blocks = tally.blocks or grid.blocks
    copies = 2 if isinstance(selection, Fancy) else 1
    blocksize = math.prod(blocks) * grid.itemsize
    scratch = min(get_nthreads(), tally.nblocks) * _SCRATCHES * blocksize
    return Explanation(
        shape=grid.shape,
        chunks=grid.chunks,
        blocks=blocks,
        itemsize=grid.itemsize,
        selected=selection.shape,
        nchunks=len(tally.chunks),
        all_chunks=grid.nchunks,
        nblocks=tally.nblocks,
        nitems=nitems,
        ndecoded=tally.ndecoded,
        requests=tally.requests,
        rounds=tally.rounds,
        nbytes=tally.nbytes,
        memory=copies * nitems * grid.itemsize + tally.boxes + tally.held + scratch,
        _grid=grid,
        _picture=None if in_rows else picture_of(grid, selection),
    )


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _size(nbytes: int) -> str:
    """Return a number of bytes as people read it."""
    size = float(nbytes)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} bytes" if unit == "bytes" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
