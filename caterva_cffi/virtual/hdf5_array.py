"""A dataset of an HDF5 file that Blosc2 compressed, read lazily as an array."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import h5py

from caterva_cffi.arrays.object_items import ObjectItems
from caterva_cffi.arrays.read_only import ReadOnlyArray
from caterva_cffi.costs.foretold import Foretold
from caterva_cffi.costs.merged_reads import Stored, tally_together
from caterva_cffi.costs.tally import Tally
from caterva_cffi.engine.object_stores import Request, read_objects
from caterva_cffi.engine.objects import ObjectRead
from caterva_cffi.engine.wanted_chunks import Objects, WantedChunk
from caterva_cffi.geometry.grid import Grid, ObjectGrid, default_blocks
from caterva_cffi.planning.foreign_chunks import HDF5Chunk
from caterva_cffi.planning.layout import Chunks
from caterva_cffi.planning.policy import ReadPolicy, remote_policy
from caterva_cffi.sources.fsspec_files import file_system
from caterva_cffi.sources.local_files import LocalFile
from caterva_cffi.sources.opening import source_of
from caterva_cffi.sources.source import Source, merged
from caterva_cffi.steps import Range
from caterva_cffi.storage.atomic import fs_path
from caterva_cffi.virtual.hdf5_datasets import Dataset, read_dataset

__all__ = ["HDF5Array", "open_hdf5"]

_MERGED_BYTES = 8 << 20  # longer requests are split, so that the parts arrive at the same time


def open_hdf5(
    url: str | os.PathLike[str],
    dataset: str,
    storage_options: Mapping[str, Any] | None = None,
) -> HDF5Array:
    """Open a dataset of an HDF5 or NetCDF4 file that HDF5's filter 32026 (Blosc2) compressed.

    h5py reads, once, where the dataset's chunks are. It takes no part in later reads, which ask for
    the blocks that a selection touches.

    Parameters
    ----------
    url : str or path-like
        A path, or a URL with `://` in it, which fsspec opens.
    dataset : str
        The dataset's path in the file.
    storage_options : mapping, optional
        For fsspec's file system: credentials, endpoints, ...

    Raises
    ------
    FileNotFoundError, PermissionError, StorageError
    OSError
        From h5py, for a file that is not HDF5.
    ArgumentError
        For a path that names no dataset; the error names those that can be opened.
    UnsupportedError
        For a dataset with other filters, or none.

    Examples
    --------
    >>> import h5py, hdf5plugin
    >>> from caterva_cffi.virtual import open_hdf5
    >>> with h5py.File("era5.nc", "w") as file:
    ...     _ = file.create_dataset("t2m", data=data, chunks=(4, 3), **hdf5plugin.Blosc2())
    >>> t = open_hdf5("era5.nc", "t2m")
    >>> t[1, :3]
    array([6, 7, 8], dtype=int32)
    """
    if "://" in (name := os.fspath(url)):
        source = source_of(name, storage_options)
        fs, path = file_system(name, dict(storage_options or {}))
        with fs.open(path, "rb") as stream, h5py.File(stream, "r") as file:
            found = read_dataset(file, dataset)
    else:
        source = LocalFile(fs_path(url))
        with h5py.File(source.name, "r") as file:
            found = read_dataset(file, dataset)
    return HDF5Array(_HDF5Items(found, source))


class HDF5Array(ReadOnlyArray):
    """A read-only array: a dataset of an HDF5 file that Blosc2 compressed. Made by `open_hdf5`.

    Where its chunks are was read when it was opened, and the file may not change. Chunks that are
    not stored hold the dataset's fill value. The checksums of HDF5's filter `fletcher32` are not
    compared. Many threads may read one array. It works after a fork, and can be pickled with the
    places of its chunks, unless its URL holds secrets.

    Parameters
    ----------
    items : _HDF5Items
    """

    _items: _HDF5Items

    def __init__(self, items: _HDF5Items) -> None:
        self._items = items

    @property
    def urlpath(self) -> str:
        """Where the file is, without passwords and signatures."""
        return self._items.source.name

    @property
    def name(self) -> str:
        """The dataset's path in the file."""
        return self._items.dataset.name

    @property
    def cbytes(self) -> int:
        """Bytes of the stored chunks."""
        return int(self._items.dataset.sizes.sum())

    @property
    def fill_value(self) -> Any:
        """The item of chunks that are not stored."""
        return self._items.dataset.fill.copy()[()]

    @property
    def info_items(self) -> list[tuple[str, Any]]:
        """The report's lines: name and value."""
        return [
            ("Type", type(self).__name__),
            ("Data type", self.dtype),
            ("Itemsize", self.itemsize),
            ("Shape", self.shape),
            ("Chunks", self.chunks),
            ("Stored", f"{self.cbytes} of {self.size} bytes in {self.nchunks} chunks"),
            ("Fill value", self.fill_value),
            ("Where", f"{self.urlpath}, {self.name}"),
        ]

    def __repr__(self) -> str:
        if self._items.closed:
            return "<caterva_cffi.virtual.HDF5Array, closed>"
        return (
            f"<caterva_cffi.virtual.HDF5Array {self.shape} {self.dtype}, chunks {self.chunks}, "
            f"{self.urlpath}, {self.name}>"
        )

    def __reduce__(self) -> Any:
        self._items.check_open()
        source = self._items.source
        is_local = isinstance(source, LocalFile)
        return _restored, (self._items.dataset, is_local, *source.to_arguments())


def _restored(dataset: Dataset, is_local: bool, *arguments: Any) -> HDF5Array:
    source = LocalFile(*arguments) if is_local else source_of(*arguments)
    return HDF5Array(_HDF5Items(dataset, source))


class _Objects(Objects):
    """Chunks that were compared with the dataset when they were found."""

    def check(self, layout: Chunks) -> None:
        """Do nothing."""


class _HDF5Items(ObjectItems):
    """The items of a dataset.

    Parameters
    ----------
    dataset : Dataset
    source : Source
        The file.
    """

    def __init__(self, dataset: Dataset, source: Source) -> None:
        self.dataset, self.source, self.dtype = dataset, source, dataset.dtype
        self.name = f"{source.name}, {dataset.name}"
        chunks, itemsize = dataset.chunks, dataset.dtype.itemsize
        blocks = default_blocks(chunks, itemsize)
        self.usual = Grid(chunks, chunks, blocks, itemsize)
        self.grid: Grid = ObjectGrid(dataset.shape, chunks, blocks, itemsize)
        self._objects = _Objects(self.grid, dataset.dtype, as_bytes=False)
        self._chunk = HDF5Chunk(self.usual, dataset.dtype)

    @property
    def cbytes(self) -> int:
        """Bytes of all chunks that are stored."""
        return int(self.dataset.sizes.sum())

    def _wanted(self, number: int) -> WantedChunk:
        start = int(self.dataset.starts.flat[number])
        # Another file, or dataset, may be at the same place later.
        key = self.source.name, start, self._chunk
        return WantedChunk(str(number), key, self._objects)

    def _begin(self) -> Callable[[list[WantedChunk]], None]:
        return partial(self._read, remote_policy(self.source.meter))

    def _read(self, policy: ReadPolicy, chunks: list[WantedChunk]) -> None:
        stored = []
        for chunk in chunks:
            if self.dataset.starts.flat[int(chunk.path)] < 0:
                chunk.fill(self.dataset.fill)
            else:
                stored.append(chunk)
        if stored:
            answer = partial(self._answer, policy)
            read_objects(answer, stored, self.usual, policy, self._chunk.steps)
            self.source.verify()

    def _begin_tally(self, tally: Tally) -> Callable[[list[WantedChunk]], None]:
        return partial(self._tally, tally, Foretold(), remote_policy(self.source.meter))

    def _tally(
        self, tally: Tally, cache: Foretold, policy: ReadPolicy, chunks: list[WantedChunk]
    ) -> None:
        sizes = self.dataset.sizes
        tally.chunks.update(chunk.path for chunk in chunks)
        reads = {
            chunk.path: Stored(
                ObjectRead(chunk, self.usual, policy, chunk.check, self._chunk.steps, cache),
                chunk.key,
                int(sizes.flat[int(chunk.path)]),
            )
            for chunk in chunks
            if self.dataset.starts.flat[int(chunk.path)] >= 0
        }

        def merge(requests: Sequence[Request]) -> list[int]:
            ranges = [self._range(int(key), part) for key, part in requests]
            together, _ = merged(ranges, policy.gap, _MERGED_BYTES)
            return [stop - start for start, stop in together if stop > start]

        tally_together(tally, reads, partial(self._answer, policy), merge)
        self.source.verify()

    def _answer(self, policy: ReadPolicy, requests: Sequence[Request]) -> list[memoryview]:
        ranges = [self._range(int(key), part) for key, part in requests]
        concurrency = policy.concurrency * len({key for key, _ in requests})
        return self.source.read_merged(ranges, policy.gap, _MERGED_BYTES, concurrency)

    def _range(self, number: int, part: Range) -> Range:
        """Return a range of the file for one of a chunk."""
        start, size = (int(each.flat[number]) for each in (self.dataset.starts, self.dataset.sizes))
        return start + min(part[0], size), start + min(part[1], size)
