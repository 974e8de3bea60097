"""The items of an array that Zarr wrote: each chunk is a frame in a file or an object of its own.

A selection is cut at the borders of chunks, and many chunks are read together. Those that are not
stored hold the fill value.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from caterva_cffi.arrays.object_items import ObjectItems
from caterva_cffi.codecs.parameters import grid_of
from caterva_cffi.costs.file_reads import Call, boxes_of_frame, object_in_file
from caterva_cffi.costs.foretold import Foretold
from caterva_cffi.costs.tally import Tally, object_steps
from caterva_cffi.engine.crops import parts_at_once
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
from caterva_cffi.geometry.crops import Crops, most_chunks
from caterva_cffi.geometry.cutting import MANY
from caterva_cffi.geometry.grid import Grid, ObjectGrid
from caterva_cffi.geometry.selection import Box
from caterva_cffi.planning.policy import ReadPolicy, get_read_policy, remote_policy
from caterva_cffi.sources.object_stores import ObjectStore
from caterva_cffi.zarr_format.metadata import ArrayMetadata

__all__ = ["FileItems", "StoreItems", "ZarrItems"]


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

    def _fill_crops(self, out: npt.NDArray[Any], crops: Crops) -> None:
        if most_chunks(self.grid, crops.box_shape) > MANY:
            super()._fill_crops(out, crops)
            return
        for parts in parts_at_once(self.grid, crops, out, most=FILES):
            numbers, which = np.unique(parts.numbers, return_inverse=True)
            chunks = [self._wanted(number) for number in numbers.tolist()]
            left = read_crops(chunks, parts, out)
            for row in np.flatnonzero(np.isin(which, left.missing + left.others)).tolist():
                chunks[which[row]].boxes.append((parts.box(row), parts.within(row, out)))
            self._finish(chunks, left)

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
