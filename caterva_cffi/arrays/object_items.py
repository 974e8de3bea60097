"""Items whose chunks are objects of their own: a selection is cut at their borders.

Many chunks are read together. Those that are not stored hold one value.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import numpy.typing as npt

from caterva_cffi.arrays.items import Selection
from caterva_cffi.arrays.read_only import ReadOnlyItems
from caterva_cffi.costs.tally import Begin, Tally
from caterva_cffi.engine.wanted_chunks import WantedChunk
from caterva_cffi.errors import UnsupportedError
from caterva_cffi.geometry import index_arrays
from caterva_cffi.geometry.cutting import blocks_in, cut
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.selection import Batch, Box

__all__ = ["ObjectItems"]

_CHUNKS = 256
"""That are planned together."""

_BLOCK_BYTES = 64 << 20
"""Of decoded blocks that are asked for together, unless one chunk has more."""


class ObjectItems(ReadOnlyItems):
    """The items of an array whose chunks are objects.

    Attributes
    ----------
    name : str
        Where it is, for people.
    usual : Grid
        The partition that the objects probably have.
    """

    name: str
    usual: Grid

    @property
    @abstractmethod
    def cbytes(self) -> int:
        """Bytes of all chunks that are stored."""

    def fill(self, out: npt.NDArray[Any], selection: Selection) -> None:
        """Read items into an array that fits."""
        read = self._begin()
        for batch in index_arrays.batches(self.grid, selection, self.dtype, out):
            self._read_batch(batch, read)
            if batch.then is not None:
                batch.then()

    def tally(self, tally: Tally, begin: Begin) -> None:
        """Count what reading batches costs."""
        count = self._begin_tally(tally)
        for batch in begin():
            for chunks in self._groups(batch):
                count(chunks)

    def _begin_tally(self, tally: Tally) -> Callable[[list[WantedChunk]], None]:
        """Return what counts the cost of reading chunks for one selection.

        Raises
        ------
        UnsupportedError
        """
        raise UnsupportedError(
            f"{self.name}: of such an array nobody can tell what a read costs", "cost-unknown"
        )

    def _read_batch(self, batch: Batch, read: Callable[[list[WantedChunk]], None]) -> None:
        for chunks in self._groups(batch):
            read(chunks)

    def _groups(self, batch: Batch) -> Iterator[list[WantedChunk]]:
        """Cut boxes at the borders of chunks, and yield the chunks that are read together."""
        found: dict[int, WantedChunk] = {}
        cost = 0
        for box, dest in batch.boxes:
            if not dest.size:
                continue
            for number, part, position in cut(self.grid, box):
                chunk, more = found.get(number), self._cost(part)
                if chunk is None:
                    if len(found) == _CHUNKS or (found and cost + more > _BLOCK_BYTES):
                        yield list(found.values())
                        found, cost = {}, 0
                    chunk = found[number] = self._wanted(number)
                    chunk.by_block = batch.by_block
                cost += more
                if dest.shape == (*part[1],):
                    chunk.boxes.append((part, dest))
                else:
                    within = tuple(slice(k, k + n) for k, n in zip(position, part[1], strict=True))
                    chunk.boxes.append((part, dest[within]))
        if found:
            yield list(found.values())

    def _cost(self, box: Box) -> int:
        """Return how many bytes may be kept while a box of a chunk is read: those of its blocks."""
        return blocks_in(box, self.usual.blocks) * self.usual.blocksize

    @abstractmethod
    def _wanted(self, number: int) -> WantedChunk:
        """Return a chunk, by its number, of which nothing is wanted yet."""

    @abstractmethod
    def _begin(self) -> Callable[[list[WantedChunk]], None]:
        """Return what reads chunks for one selection."""
