"""The items of an array in memory or on disk: boxes of its chunks, read and written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from caterva_cffi.arrays.items import Items, Selection
from caterva_cffi.binding.buffers import address, byte_view
from caterva_cffi.binding.compression import Compression
from caterva_cffi.binding.kernel import Kernel
from caterva_cffi.binding.library import ffi
from caterva_cffi.costs.file_reads import tally_file, tally_layout
from caterva_cffi.costs.memory_reads import tally_memory
from caterva_cffi.costs.tally import Begin, Tally
from caterva_cffi.dtypes import allocate, as_items
from caterva_cffi.engine.readers import DiskReader, check_geometry, reader_of
from caterva_cffi.errors import ArgumentError, Cause, FormatError
from caterva_cffi.format.metalayers import decode_geometry
from caterva_cffi.geometry import index_arrays
from caterva_cffi.geometry.grid import Grid, Partition
from caterva_cffi.geometry.keys import normalize
from caterva_cffi.geometry.selection import Basic, Batch, Box, Fancy, lay, spans
from caterva_cffi.planning.frame import Frame
from caterva_cffi.superchunk.schunk import SChunk

__all__ = ["ChunkedItems", "geometry_of"]


def geometry_of(schunk: SChunk) -> tuple[Grid, np.dtype[Any]]:
    """Return the geometry of a super-chunk, as it was when it was read."""
    ptr = schunk.ptr
    grid, dtype = decode_geometry(schunk.metalayers(), schunk.itemsize, ptr.nchunks)
    # C-Blosc2 divides by the size of a chunk.
    size = ptr.chunksize
    if grid.nchunks and size != grid.chunk_nbytes:
        raise FormatError(
            f"chunks of {size} bytes; their shape needs {grid.chunk_nbytes}",
            Cause("damaged", None, size, grid.chunk_nbytes),
        )
    if grid.nchunks and ptr.blocksize not in (0, grid.blocksize):
        raise FormatError(
            f"blocks of {ptr.blocksize} bytes; their shape needs {grid.blocksize}",
            Cause("damaged", None, ptr.blocksize, grid.blocksize),
        )
    return grid, dtype


class ChunkedItems(Items):
    """The items in a super-chunk.

    Parameters
    ----------
    schunk : SChunk
    grid : Grid
        Of the chunks that it has, or that are going to be appended.
    dtype : dtype
    nthreads : int, optional
        Threads of each call; by default the free ones of those that all calls share.

    Attributes
    ----------
    schunk : SChunk
    kernel : Kernel
    partition : callable or None
        Chooses chunks anew if the array grows.
    """

    def __init__(
        self, schunk: SChunk, grid: Grid, dtype: np.dtype[Any], nthreads: int | None = None
    ) -> None:
        self.schunk = schunk
        self.dtype = dtype
        self.partition: Partition | None = None
        self._nthreads = nthreads or 0
        self._reader = reader_of(schunk, dtype)
        self._generation = schunk.generation
        self.set_grid(grid)

    def set_grid(self, grid: Grid) -> None:
        """Take another geometry, which the super-chunk has now."""
        self.grid = grid
        self.kernel = Kernel(grid, self._nthreads)

    def set_schunk(self, schunk: SChunk) -> None:
        """Take another super-chunk, of any geometry but the same dtype."""
        schunk.lock = self.schunk.lock  # threads that wait for the lock will use the new one
        self.schunk = schunk
        self._reader = reader_of(schunk, self.dtype)
        self._generation = schunk.generation
        self.set_grid(geometry_of(schunk)[0])

    # --- who may use it -----------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether the array was closed."""
        return self.schunk.closed

    def reading(self) -> AbstractContextManager[None]:
        """Hold off writers; what something else changes is noticed where it is read."""
        return self.schunk.lock.reading()

    def check_open(self) -> None:
        """Raise `ClosedError` for an array that was closed."""
        self.schunk.ptr  # noqa: B018, a closed array raises

    def check_current(self) -> None:
        """Raise where what is stored is of another geometry now."""
        stored = self.schunk.stored
        if stored is not None and not stored.held:
            with self.schunk.lock.reading():
                self.check_stored()

    def check_stored(self) -> None:
        """Do the same, for a caller who has the lock."""
        stored = self.schunk.stored
        if stored is not None and not stored.held and not self.closed:
            self._reader.check(self.grid)

    @contextmanager
    def changing(self) -> Iterator[Any]:
        """Hold off readers and other writers, if what is stored has this geometry."""
        with self.schunk.lock.writing(), self.change() as ptr:
            yield ptr

    def change(self) -> AbstractContextManager[Any]:
        """Do the same, for a caller who has the lock; see `Shared.change`."""
        return self.schunk.change() if self.schunk.stored is None else self._change_stored()

    @contextmanager
    def _change_stored(self) -> Iterator[Any]:
        schunk = self.schunk
        with schunk.change() as ptr:
            if self._generation != schunk.generation and schunk.stored is not None:
                found, known = geometry_of(schunk), (self.grid, self.dtype)
                check_geometry(schunk.stored, found, known)
                self._generation = schunk.generation
            with schunk.change_without_errors():
                yield ptr

    @contextmanager
    def one_state(self) -> Iterator[None]:
        """Hold off writers; raise if something else changes what is stored meanwhile."""
        with self.schunk.reading():
            if self.schunk.stored is None:
                yield
            else:
                with self.schunk.stored.unchanged():
                    self.check_current()
                    yield

    # --- reading ------------------------------------------------------------------------------

    def fill(self, out: npt.NDArray[Any], selection: Selection) -> None:
        """Read items into an array that fits; the caller holds the lock."""
        if not out.size:
            self.check_current()
        else:
            batches = index_arrays.batches(self.grid, selection, self.dtype, out)
            self._reader.read(self.kernel, self.grid, batches)

    def tally(self, tally: Tally, begin: Begin) -> None:
        """Count what reading batches costs; the caller holds the lock."""
        reader = self._reader
        if not isinstance(reader, DiskReader):
            tally_memory(tally, self.schunk, self.grid, begin)
            return

        def look(frame: Frame, index: str, is_known: bool) -> None:
            if not is_known:
                tally_layout(tally, index)
            tally_file(tally, frame, begin)

        reader.look(self.kernel, self.grid, look)

    def _read_boxes(self, boxes: Sequence[tuple[Box, npt.NDArray[Any]]]) -> None:
        """Read boxes, each into an array of its shape; the caller holds the lock."""
        self._reader.read(self.kernel, self.grid, [Batch(boxes)])

    def item(self, key: tuple[int, ...]) -> Any:
        """Read one item; the caller holds the lock."""
        grid, schunk = self.grid, self.schunk
        ptr = schunk.ptr  # a closed array raises
        start: Sequence[int] = key
        for k, n in zip(key, grid.shape, strict=True):
            if not 0 <= k < n:
                self.select(normalize, key)  # raises where it is out of bounds
                start = [k % n for k, n in zip(key, grid.shape, strict=True)]
                break
        item = np.ndarray((), self.dtype)  # see `allocate`
        ones = (1,) * grid.ndim
        if schunk.path is None:
            self.kernel.read(ptr, (start, ones, ones), address(item), ones)
        else:
            self._read_boxes([((start, ones, ones), item)])
        return item[()]

    def decode_chunk(
        self, number: int, dest: npt.NDArray[Any], start: Sequence[int] | None = None
    ) -> None:
        """Decode items of a chunk, from `start` or the first one on, as many as `dest` holds."""
        box = (
            (0,) * self.grid.ndim if start is None else start,
            dest.shape,
            (1,) * self.grid.ndim,
        )
        self._reader.read_chunk(self.kernel, self.grid, number, box, dest)

    def chunk_bytes(self, number: int) -> bytes:
        """Return a chunk as it is stored."""
        chunk = self.schunk.chunk(number)
        return bytes(ffi.buffer(chunk.pointer, chunk.size))

    # --- writing ------------------------------------------------------------------------------

    def assign(self, selection: Basic | Fancy, items: npt.NDArray[Any]) -> None:
        """Write items; the caller holds the lock since it looked at the shape."""
        while items.ndim > len(selection.shape) and items.shape[0] == 1:
            items = items.reshape(items.shape[1:])
        try:
            items = np.broadcast_to(items, selection.shape)
        except ValueError:
            raise ArgumentError(
                f"values of shape {items.shape} cannot be broadcast to the selection's shape "
                f"{selection.shape}",
                Cause("wrong-shape", None, items.shape, selection.shape),
            ) from None
        if isinstance(selection, Fancy):
            index_arrays.write(self.grid, self._read_boxes, self._write_box, selection, items)
        else:
            self._write_box(selection.box, lay(items, selection))

    def as_items(self, value: Any) -> npt.NDArray[Any]:
        """Return a value as an array of the array's dtype."""
        if self.dtype.kind == "S":
            many = isinstance(value, bytes) and len(value) > self.grid.itemsize
            if many or isinstance(value, (bytearray, memoryview)):
                return np.frombuffer(value, self.dtype)
            items = np.asarray(value)
            named = isinstance(value, (np.ndarray, np.generic)) and items.dtype != self.dtype
            if named and items.dtype.itemsize == self.grid.itemsize:
                return byte_view(np.ascontiguousarray(items)).view(self.dtype).reshape(items.shape)
        return as_items(value, self.dtype)

    def _write_box(self, box: Box, source: npt.NDArray[Any]) -> None:
        """Write a box; the caller holds the lock."""
        if source.size == 0:
            return
        grid = self.grid
        compression = Compression.of(self.schunk.ptr).to_kernel()
        for parts in product(*map(spans, *box, grid.chunks)):
            at, start, count, position = zip(*parts, strict=True) if parts else ((),) * 4
            wanted: list[Any] = [slice(k, k + n) for k, n in zip(position, count, strict=True)]
            items = source[(*wanted, ...)]
            number = grid.chunk_number(at)
            extent = grid.chunk_extent(at)
            if count == extent:
                self.schunk.update_chunk(number, self.kernel.encode(number, compression, items))
            else:
                self._update_chunk(number, compression, (start, count, box[2]), items, extent)

    def _update_chunk(
        self,
        number: int,
        compression: Any,
        box: Box,
        items: npt.NDArray[Any],
        extent: tuple[int, ...],
    ) -> None:
        """Replace a box of a chunk; the caller holds the lock."""
        before = self.schunk.chunk(number)
        piece = (0, before.size, before.pointer)
        if before.in_place and self.kernel.update_in_place(number, compression, piece, box, items):
            return
        chunk = self.kernel.update(number, compression, piece, box, items)
        if chunk is None:
            whole = allocate(extent, self.dtype)
            self.decode_chunk(number, whole)
            within: list[Any] = [
                slice(first, first + (n - 1) * step + 1, step)
                for first, n, step in zip(*box, strict=True)
            ]
            whole[(*within, ...)] = items
            chunk = self.kernel.encode(number, compression, whole)
        self.schunk.update_chunk(number, chunk)
