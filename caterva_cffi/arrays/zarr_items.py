"""The items of an array that Zarr wrote: each chunk is a frame in a file or an object of its own.

A selection is cut at the borders of chunks, and many chunks are read together. Those that are not
stored hold the fill value.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt

from caterva_cffi.arrays.object_items import ObjectItems
from caterva_cffi.codecs.parameters import grid_of
from caterva_cffi.costs.file_reads import Call, boxes_of_frame, object_in_file
from caterva_cffi.costs.foretold import Foretold
from caterva_cffi.costs.tally import Tally, object_steps
from caterva_cffi.engine.crops import can_be_cut, parts_at_once
from caterva_cffi.engine.object_crops import read_crops
from caterva_cffi.engine.object_files import (  # fmt: skip
    FILES,
    Left,
    read_file,
    read_files,
    read_open,
)
from caterva_cffi.engine.object_stores import Answer, read_objects, run_objects
from caterva_cffi.engine.objects import ObjectRead
from caterva_cffi.engine.wanted_chunks import Objects, WantedChunk
from caterva_cffi.errors import FormatError, UnsupportedError, named
from caterva_cffi.geometry.crops import CropBoxes, CropParts
from caterva_cffi.geometry.grid import Grid, ObjectGrid
from caterva_cffi.geometry.selection import Batch, Box
from caterva_cffi.planning.policy import ReadPolicy, get_read_policy, remote_policy
from caterva_cffi.sources.object_stores import ObjectStore
from caterva_cffi.zarr_format.metadata import ArrayMetadata

__all__ = ["FileItems", "StoreItems", "ZarrItems"]

_Int: TypeAlias = npt.NDArray[np.intp]


class ZarrItems(ObjectItems):
    """The items of an array that Zarr wrote.

    Parameters
    ----------
    metadata : ArrayMetadata

    Attributes
    ----------
    metadata : ArrayMetadata
    """

    def __init__(self, metadata: ArrayMetadata) -> None:
        self.metadata, self.dtype = metadata, metadata.dtype
        shape, chunks, itemsize = metadata.shape, metadata.chunks, metadata.dtype.itemsize
        self.usual = grid_of(metadata.parameters, chunks, itemsize)
        grid = ObjectGrid(shape, chunks, self.usual.blocks, itemsize, self.usual.checksums)
        self.grid: Grid = grid
        self._at = grid.chunk_at
        self._objects = Objects(grid, metadata.dtype, as_bytes=metadata.zarr_format == 2)

    def _wanted(self, number: int) -> WantedChunk:
        """Return a chunk, of which nothing is wanted yet."""
        return self._wanted_at(self.metadata.key(self._at(number)))

    @abstractmethod
    def _wanted_at(self, key: str) -> WantedChunk:
        """Return the same by the chunk's key below the array."""


class FileItems(ZarrItems):
    """The items of an array whose chunks are local files.

    Parameters
    ----------
    metadata : ArrayMetadata
    directory : str
        Of the array; absolute.
    """

    def __init__(self, metadata: ArrayMetadata, directory: str) -> None:
        super().__init__(metadata)
        self.name = self._directory = directory

    def _wanted_at(self, key: str) -> WantedChunk:
        path = f"{self._directory}/{key}"
        return WantedChunk(path, path, self._objects)

    def _cost(self, _: Box) -> int:
        """Return 0: files are read while they are decoded."""
        return 0

    def _begin(self) -> Callable[[list[WantedChunk]], None]:
        return self._read

    def _read_batch(self, batch: Batch, read: Callable[[list[WantedChunk]], None]) -> None:
        if not self._are_cut(batch.boxes):
            super()._read_batch(batch, read)
            return
        for parts, chunks, which in self._cut(batch.boxes):
            left = read_crops(chunks, parts, batch.boxes.dest)
            rows = np.flatnonzero(np.isin(which, left.missing + left.others))
            _want_parts(chunks, which, parts, rows, batch.boxes.dest)
            self._finish(chunks, left)

    def _groups(self, batch: Batch) -> Iterator[list[WantedChunk]]:
        if not self._are_cut(batch.boxes):
            yield from super()._groups(batch)
            return
        for parts, chunks, which in self._cut(batch.boxes):
            _want_parts(chunks, which, parts, np.arange(len(which)), batch.boxes.dest)
            yield chunks

    def _are_cut(self, boxes: Sequence[Any]) -> TypeGuard[CropBoxes]:
        """Whether boxes are crops whose parts in several chunks one call decodes."""
        is_whole = self.usual.nchunks == 1
        return is_whole and isinstance(boxes, CropBoxes) and can_be_cut(boxes, self.grid)

    def _cut(self, boxes: CropBoxes) -> Iterator[tuple[CropParts, list[WantedChunk], _Int]]:
        """Yield parts of crops, their chunks, and of which of these each part is."""
        for parts in parts_at_once(self.grid, boxes, most=FILES):
            numbers, which = np.unique(parts.numbers, return_inverse=True)
            yield parts, [self._wanted(number) for number in numbers.tolist()], which

    def _read(self, chunks: list[WantedChunk]) -> None:
        self._finish(chunks, read_files(chunks))

    def _begin_tally(self, tally: Tally) -> Callable[[list[WantedChunk]], None]:
        return partial(self._tally, tally, Foretold())

    def _tally(self, tally: Tally, cache: Foretold, chunks: list[WantedChunk]) -> None:
        for first in range(0, len(chunks), FILES):
            together = chunks[first : first + FILES]
            with ExitStack() as opened:
                call = Call(tally, by_block=any(chunk.by_block for chunk in together))
                for chunk in together:
                    tally.chunks.add(chunk.key)
                    try:
                        file = object_in_file(tally, chunk.path, chunk.key, cache)
                        frame = opened.enter_context(file)
                    except (FileNotFoundError, NotADirectoryError):
                        continue
                    chunk.check(frame.layout)
                    call.add(frame, boxes_of_frame(frame, chunk.batches(frame.layout)))
                call.end()

    def _finish(self, chunks: list[WantedChunk], left: Left) -> None:
        """Do what is left, one by one."""
        for number in left.missing:
            chunks[number].fill(self.metadata.fill)
        for number in left.others:
            self._read_one(chunks[number])

    def _read_one(self, chunk: WantedChunk) -> None:
        """Read a chunk by steps; its errors tell what is wrong."""
        read = ObjectRead(chunk, self.usual, get_read_policy("local"), chunk.check)

        try:
            read_file(
                chunk.path,
                partial(read_open, chunk),
                partial(read.steps, chunk.key, None),
            )
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            chunk.fill(self.metadata.fill)
        except (FormatError, UnsupportedError) as error:
            raise named(error, repr(chunk.path)) from error

    @property
    def cbytes(self) -> int:
        """Bytes of the files of all chunks."""
        total = 0
        for at in self.grid.all_chunks():
            with suppress(FileNotFoundError, NotADirectoryError):
                total += os.stat(f"{self._directory}/{self.metadata.key(at)}").st_size
        return total


def _want_parts(
    chunks: list[WantedChunk], which: _Int, parts: CropParts, rows: _Int, dest: npt.NDArray[Any]
) -> None:
    """Say of chunks which parts of crops are wanted."""
    for row in rows.tolist():
        chunk = chunks[which[row]]
        chunk.boxes.append((parts.box(row), parts.within(row, dest)))
        chunk.by_block = True


class StoreItems(ZarrItems):
    """The items of an array whose chunks are objects of a store.

    Parameters
    ----------
    metadata : ArrayMetadata
    store : ObjectStore
    prefix : str
        Of the keys of the array's objects.
    """

    def __init__(self, metadata: ArrayMetadata, store: ObjectStore, prefix: str) -> None:
        super().__init__(metadata)
        self._store, self._prefix = store, prefix
        self.name = f"{store.name}, {prefix[:-1]}" if prefix else store.name

    def _wanted_at(self, key: str) -> WantedChunk:
        path = self._prefix + key
        return WantedChunk(path, (self._store.identity, path), self._objects)

    def _begin(self) -> Callable[[list[WantedChunk]], None]:
        policy = remote_policy(self._store.meter)
        return partial(self._read, self._store.begin(policy.concurrency), policy)

    def _begin_tally(self, tally: Tally) -> Callable[[list[WantedChunk]], None]:
        policy = remote_policy(self._store.meter)
        answer = self._store.begin(policy.concurrency)
        return partial(self._tally, tally, Foretold(), answer, policy)

    def _tally(
        self,
        tally: Tally,
        cache: Foretold,
        answer: Answer,
        policy: ReadPolicy,
        chunks: list[WantedChunk],
    ) -> None:
        read = partial(ObjectRead, usual=self.usual, policy=policy, cache=cache, beside=len(chunks))
        reads = {
            chunk.path: object_steps(read(chunk, check=chunk.check), chunk.key) for chunk in chunks
        }
        with self._store.meter.paused():
            found = run_objects(answer, reads)
        tally.add(found.values())

    def _read(self, answer: Answer, policy: ReadPolicy, chunks: list[WantedChunk]) -> None:
        for chunk in read_objects(answer, chunks, self.usual, policy):
            chunk.fill(self.metadata.fill)

    @property
    def cbytes(self) -> int:
        """Refuse: a store is only asked for ranges.

        Raises
        ------
        UnsupportedError
        """
        raise UnsupportedError(
            f"{self._store.name}: how many bytes the chunks take is only known of local files",
            "only-local",
        )
