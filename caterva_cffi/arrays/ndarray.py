"""N-d compressed arrays: slices read and written, frames as buffers, changes of shape."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from caterva_cffi.arrays import reshaping
from caterva_cffi.arrays.creation import encode_array
from caterva_cffi.arrays.info import text_of
from caterva_cffi.arrays.readable import OrthogonalReads, ReadableArray
from caterva_cffi.binding.buffers import address, byte_view
from caterva_cffi.binding.compression import Codec, Compression, Filter
from caterva_cffi.binding.kernel import Kernel
from caterva_cffi.binding.library import ffi
from caterva_cffi.callers import warn_caller
from caterva_cffi.dtypes import allocate, as_asked, as_items, check_dtype
from caterva_cffi.engine.readers import check_geometry, reader_of
from caterva_cffi.errors import ArgumentError, CatervaError, FormatError
from caterva_cffi.format.metalayers import OWN, decode_geometry
from caterva_cffi.geometry import index_arrays
from caterva_cffi.geometry.grid import Grid, Partition
from caterva_cffi.geometry.selection import (
    Basic,
    Box,
    Fancy,
    lay,
    normalize,
    normalize_orthogonal,
    spans,
)
from caterva_cffi.storage.atomic import write_file
from caterva_cffi.superchunk.schunk import SChunk
from caterva_cffi.superchunk.user_metalayers import Meta, VLMeta

__all__ = ["NDArray", "OIndex"]

_INTEGERS = {int}  # no subclasses: bool is a mask


class OIndex(OrthogonalReads):
    """Orthogonal selection, to read and to write items.

    Parameters
    ----------
    array : NDArray
    """

    _array: NDArray

    def __setitem__(self, key: Any, value: Any) -> None:
        """Write the items; see `NDArray.oindex`."""
        items = self._array._as_items(value)
        with self._array._changing():
            self._array._set(normalize_orthogonal(key, self._array._grid.shape), items)


def _geometry_of(schunk: SChunk) -> tuple[Grid, np.dtype[Any]]:
    """Return the geometry of a super-chunk, as it was when it was read."""
    ptr = schunk.ptr
    grid, dtype = decode_geometry(schunk.metalayers(), schunk.itemsize, ptr.nchunks)
    # C-Blosc2 divides by the size of a chunk.
    size = ptr.chunksize
    if grid.nchunks and size != grid.chunk_nbytes:
        raise FormatError(f"chunks of {size} bytes; their shape needs {grid.chunk_nbytes}")
    return grid, dtype


class NDArray(ReadableArray):
    """An N-d array of compressed chunks; each chunk has blocks that decode on their own.

    Made by the constructors (`asarray`, `empty`, `open`, `from_cframe`, ...), not by this class.
    Many threads may read one array. A thread that changes it waits for them; then no other thread
    uses the array.

    Parameters
    ----------
    schunk : SChunk
        The array's chunks, with a `b2nd` or a `caterva` metalayer.
    nthreads : int, optional
        Threads of the array's calls; by default the free ones of those that all calls share.

    Raises
    ------
    FormatError
        For a super-chunk that is no N-d array.
    """

    def __init__(self, schunk: SChunk, nthreads: int | None = None) -> None:
        self._init(schunk, *_geometry_of(schunk), nthreads)

    def _init(self, schunk: SChunk, grid: Grid, dtype: np.dtype[Any], nthreads: int | None) -> None:
        self.schunk = schunk
        self._dtype = dtype
        self._nthreads = nthreads or 0
        self._reader = reader_of(schunk, self._dtype)
        self._generation = schunk.generation
        self._partition: Partition | None = None  # chooses chunks anew if the array grows
        self._set_grid(grid)

    @classmethod
    def _new(
        cls, schunk: SChunk, grid: Grid, dtype: np.dtype[Any], nthreads: int | None
    ) -> NDArray:
        """Return an array without chunks; the caller appends them."""
        array = cls.__new__(cls)
        array._init(schunk, grid, dtype, nthreads)
        return array

    def _set_grid(self, grid: Grid) -> None:
        self._grid = grid
        self._kernel = Kernel(grid, self._nthreads)

    def _set_schunk(self, schunk: SChunk) -> None:
        """Take another super-chunk, of any geometry but the same dtype."""
        schunk.lock = self.schunk.lock  # threads that wait for the lock will use the new one
        self.schunk = schunk
        self._reader = reader_of(schunk, self._dtype)
        self._generation = schunk.generation
        self._set_grid(_geometry_of(schunk)[0])

    def _chunk_bytes(self, number: int) -> bytes:
        chunk = self.schunk.chunk(number)
        return bytes(ffi.buffer(chunk.pointer, chunk.size))

    # --- what it is ---------------------------------------------------------------------------

    def _reading(self) -> AbstractContextManager[None]:
        return self.schunk.lock.reading()

    def _check_current(self) -> None:
        stored = self.schunk.stored
        if stored is not None and not stored.held:
            with self.schunk.lock.reading():
                if not self._closed:
                    self._reader.check(self._grid)

    def _changing(self) -> AbstractContextManager[Any]:
        """Hold off readers and other writers, if what is stored has this geometry."""
        return self.schunk.changing() if self.schunk.stored is None else self._changing_stored()

    @contextmanager
    def _changing_stored(self) -> Iterator[Any]:
        schunk = self.schunk
        with schunk.changing() as ptr:
            if self._generation != schunk.generation and schunk.stored is not None:
                found, known = _geometry_of(schunk), (self._grid, self._dtype)
                check_geometry(schunk.stored, found, known)
                self._generation = schunk.generation
            with schunk.change_without_errors():
                yield ptr

    @contextmanager
    def _one_state(self) -> Iterator[None]:
        """Hold off writers; raise if something else changes what is stored meanwhile."""
        with self.schunk.reading():
            if self.schunk.stored is None:
                yield
            else:
                with self.schunk.stored.unchanged():
                    self._check_current()
                    yield

    @property
    def _closed(self) -> bool:
        return self.schunk.closed

    @property
    def cbytes(self) -> int:
        """Bytes of the compressed chunks."""
        return self.schunk.cbytes

    @property
    def clevel(self) -> int:
        """Compression level."""
        with self.schunk.reading() as ptr:
            return int(ptr.clevel)

    @property
    def codec(self) -> Codec | int:
        """Codec of new chunks; a number if the user registered it."""
        with self.schunk.reading() as ptr:
            code = int(ptr.compcode)
        return Codec(code) if code in Codec._value2member_map_ else code

    @property
    def filters(self) -> list[Filter | int]:
        """Filters of new chunks, in all six slots."""
        with self.schunk.reading() as ptr:
            codes = list(ptr.filters)
        return [Filter(code) if code in Filter._value2member_map_ else code for code in codes]

    @property
    def filtersmeta(self) -> list[int]:
        """Parameters of the filters, in all six slots, from 0 to 255."""
        with self.schunk.reading() as ptr:
            return list(ptr.filters_meta)

    @property
    def urlpath(self) -> str | None:
        """Where the array is stored; None in memory."""
        return self.schunk.path

    @property
    def contiguous(self) -> bool:
        """Whether the array is one frame, in memory or in a file."""
        return self.schunk.contiguous

    @property
    def read_only(self) -> bool:
        """Whether the array refuses changes."""
        return self.schunk.read_only

    @property
    def meta(self) -> Meta:
        """Metalayers: bytes by name, of fixed length."""
        return Meta(self.schunk)

    @property
    def vlmeta(self) -> VLMeta:
        """Variable-length metalayers: bytes by name."""
        return VLMeta(self.schunk)

    @property
    def info_items(self) -> list[tuple[str, Any]]:
        """The report's lines: name and value."""
        codec = self.codec
        names = [f.name if isinstance(f, Filter) else str(f) for f in self.filters]
        return [
            ("Type", type(self).__name__),
            ("Itemsize", self.itemsize),
            ("Dtype", self.dtype),
            ("Shape", self.shape),
            ("Chunks", self.chunks),
            ("Blocks", self.blocks),
            ("Comp. codec", codec.name if isinstance(codec, Codec) else codec),
            ("Comp. level", self.clevel),
            ("Comp. filters", f"[{', '.join(n for n in names if n != 'NOFILTER')}]"),
            ("Comp. ratio", f"{self.cratio:.2f}"),
            ("Stored", f"{self.cbytes} of {self.size} bytes in {self.nchunks} chunks"),
            ("Checksums", "CRC-32 of each block" if self.checksum else "none"),
            ("Where", self.urlpath or "memory"),
        ]

    def __repr__(self) -> str:
        if self._closed:
            return "<caterva_cffi.NDArray, closed>"
        try:
            return text_of(self)
        except CatervaError as error:  # something else has changed the array
            return f"<caterva_cffi.NDArray, {error}>"

    def __reduce__(self) -> Any:
        self._check_open()
        stored = self.schunk.stored
        if stored is not None:
            with self._one_state():
                return NDArray._open, (stored.place, self.read_only)
        return NDArray._from_frame, (bytes(self.to_cframe()), self.contiguous, self.read_only)

    @classmethod
    def _open(cls, path: str, read_only: bool) -> NDArray:
        return cls(SChunk.open(path, read_only=read_only))

    @classmethod
    def _from_frame(cls, frame: bytes, contiguous: bool, read_only: bool) -> NDArray:
        array = cls(SChunk.from_buffer(frame, copy=contiguous and not read_only))
        if contiguous or read_only:
            return array
        return array.copy(**dataclasses.asdict(Compression.of(array.schunk.ptr)))

    # --- reading ------------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        """Return items, as NumPy does; see `ReadableArray`. A single item takes a shorter way."""
        if type(key) is tuple and _INTEGERS.issuperset(map(type, key)):
            with self.schunk.lock.reading():
                if len(key) == self._grid.ndim:
                    return self._item(key)
        return super().__getitem__(key)

    @property
    def oindex(self) -> OIndex:
        """Orthogonal selection, read and write: `a.oindex[[0, 5], :, mask]`."""
        return OIndex(self)

    def _check_open(self) -> None:
        self.schunk.ptr  # noqa: B018, a closed array raises

    def _fill(self, out: npt.NDArray[Any], selection: Basic | Fancy) -> None:
        if not out.size:
            self._check_current()
        else:
            batches = index_arrays.batches(self._grid, selection, self._dtype, out)
            self._reader.read(self._kernel, self._grid, batches)

    def _read_boxes(self, boxes: Sequence[tuple[Box, npt.NDArray[Any]]]) -> None:
        """Read boxes, each into an array of its shape; the caller holds the lock."""
        self._reader.read(self._kernel, self._grid, [index_arrays.Batch(boxes)])

    def _item(self, key: tuple[int, ...]) -> Any:
        """Read one item; the caller holds the lock."""
        grid, schunk = self._grid, self.schunk
        ptr = schunk.ptr  # a closed array raises
        start: Sequence[int] = key
        for k, n in zip(key, grid.shape, strict=True):
            if not 0 <= k < n:
                self._select(normalize, key)  # raises where it is out of bounds
                start = [k % n for k, n in zip(key, grid.shape, strict=True)]
                break
        item = np.ndarray((), self._dtype)  # see `allocate`
        ones = (1,) * grid.ndim
        if schunk.path is None:
            self._kernel.read(ptr, (start, ones, ones), address(item), ones)
        else:
            self._read_boxes([((start, ones, ones), item)])
        return item[()]

    # --- writing ------------------------------------------------------------------------------

    def __setitem__(self, key: Any, value: Any) -> None:
        """Write items, as NumPy does.

        Parameters
        ----------
        key : integers, slices, `...`, None, integer arrays or masks
        value : array_like
            Cast to the array's dtype and broadcast to the selection's shape. If the array has no
            named dtype, items of the same size are taken as bytes.

        Raises
        ------
        ReadOnlyError
        BufferError
            While a view of the frame is alive.
        ValueError
            For a value that cannot be broadcast.
        """
        items = self._as_items(value)
        with self._changing():
            self._set(normalize(key, self._grid.shape), items)

    def _set(self, selection: Basic | Fancy, items: npt.NDArray[Any]) -> None:
        """Write items; the caller holds the lock since it looked at the shape."""
        while items.ndim > len(selection.shape) and items.shape[0] == 1:
            items = items.reshape(items.shape[1:])
        try:
            items = np.broadcast_to(items, selection.shape)
        except ValueError:
            raise ArgumentError(
                f"values of shape {items.shape} cannot be broadcast to the selection's shape "
                f"{selection.shape}"
            ) from None
        if isinstance(selection, Fancy):
            index_arrays.write(self._grid, self._read_boxes, self._write_box, selection, items)
        else:
            self._write_box(selection.box, lay(items, selection))

    def _as_items(self, value: Any) -> npt.NDArray[Any]:
        """Return a value as an array of the array's dtype."""
        if isinstance(value, NDArray):
            value = value.read()
        if self._dtype.kind == "S":
            many = isinstance(value, bytes) and len(value) > self._grid.itemsize
            if many or isinstance(value, (bytearray, memoryview)):
                return np.frombuffer(value, self._dtype)
            items = np.asarray(value)
            named = isinstance(value, (np.ndarray, np.generic)) and items.dtype != self._dtype
            if named and items.dtype.itemsize == self._grid.itemsize:
                return byte_view(np.ascontiguousarray(items)).view(self._dtype).reshape(items.shape)
        return as_items(value, self._dtype)

    def _write_box(self, box: Box, source: npt.NDArray[Any]) -> None:
        """Write a box; the caller holds the lock."""
        if source.size == 0:
            return
        grid = self._grid
        compression = Compression.of(self.schunk.ptr).to_kernel()
        for parts in product(*map(spans, *box, grid.chunks)):
            at, start, count, position = zip(*parts, strict=True) if parts else ((),) * 4
            wanted: list[Any] = [slice(k, k + n) for k, n in zip(position, count, strict=True)]
            items = source[(*wanted, ...)]
            number = grid.chunk_number(at)
            extent = grid.chunk_extent(at)
            if count == extent:
                self.schunk.update_chunk(number, self._kernel.encode(number, compression, items))
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
        if before.in_place and self._kernel.update_in_place(number, compression, piece, box, items):
            return
        chunk = self._kernel.update(number, compression, piece, box, items)
        if chunk is None:
            whole = allocate(extent, self._dtype)
            self._decode_chunk(number, whole)
            within: list[Any] = [
                slice(first, first + (n - 1) * step + 1, step)
                for first, n, step in zip(*box, strict=True)
            ]
            whole[(*within, ...)] = items
            chunk = self._kernel.encode(number, compression, whole)
        self.schunk.update_chunk(number, chunk)

    def _decode_chunk(
        self, number: int, dest: npt.NDArray[Any], start: Sequence[int] | None = None
    ) -> None:
        """Decode items of a chunk, from `start` or the first one on, as many as `dest` holds."""
        box = (
            (0,) * self._grid.ndim if start is None else start,
            dest.shape,
            (1,) * self._grid.ndim,
        )
        self._reader.read_chunk(self._kernel, self._grid, number, box, dest)

    # --- changing the shape -------------------------------------------------------------------

    def resize(self, newshape: Sequence[int]) -> NDArray:
        """Change the array's shape in place; items keep their positions, new ones are zeros.

        Parameters
        ----------
        newshape : sequence of int
            Of as many dimensions as the array has.

        Returns
        -------
        NDArray
            The array itself.
        """
        reshaping.resize(self, newshape)
        return self

    def append(self, values: Any, axis: int = 0) -> NDArray:
        """Append items at the end of a dimension.

        Parameters
        ----------
        values : array_like
            Of the array's shape but for the length along `axis`.
        axis : int, default 0

        Returns
        -------
        NDArray
            The array itself.
        """
        reshaping.insert(self, None, self._as_items(values), axis)
        return self

    def insert(self, index: int, values: Any, axis: int = 0) -> NDArray:
        """Insert items before a position of a dimension.

        Parameters
        ----------
        index : int
            From 0 to the dimension's length; a negative one counts from the end.
        values : array_like
            Of the array's shape but for the length along `axis`.
        axis : int, default 0

        Returns
        -------
        NDArray
            The array itself.
        """
        reshaping.insert(self, index, self._as_items(values), axis)
        return self

    def delete(self, start: int, count: int = 1, axis: int = 0) -> NDArray:
        """Delete items along a dimension.

        Parameters
        ----------
        start : int
            The first position; a negative one counts from the end.
        count : int, default 1
        axis : int, default 0

        Returns
        -------
        NDArray
            The array itself.
        """
        reshaping.delete(self, start, count, axis)
        return self

    def squeeze(self) -> None:
        """Remove dimensions of length 1, in place."""
        reshaping.squeeze(self)

    # --- copies and frames --------------------------------------------------------------------

    def to_buffer(self) -> bytes:
        """Return the items as bytes, in C order."""
        return self.read().tobytes()

    def slice(self, key: Any, **kwargs: Any) -> NDArray:
        """Return items as a new compressed array.

        Parameters
        ----------
        key : integers, slices, `...`, None, integer arrays or masks
        **kwargs
            As for `empty`. As in python-caterva, chunks and blocks may have an entry for each
            dimension of the source; those of integer indices are dropped.

        Returns
        -------
        NDArray
        """
        with self._reading():
            selection = self._select(normalize, key)
            items = self._get(selection)
        if isinstance(selection, Basic) and len(selection.layout) < self.ndim:
            for name in ("chunks", "blocks"):
                lengths = kwargs.get(name)
                if lengths is not None and len(lengths) == self.ndim:
                    kwargs[name] = tuple(lengths[d] for d in selection.layout if d >= 0)
        items = as_asked(items, kwargs.pop("dtype", None))
        return encode_array(type(self), items, check_dtype(items.dtype), kwargs)

    def copy(self, **kwargs: Any) -> NDArray:
        """Return a copy.

        Parameters
        ----------
        **kwargs
            As for `empty`. Partition, checksums and metalayers are inherited if they are not
            given; compression and storage are the defaults, as in python-caterva.

        Returns
        -------
        NDArray
        """
        with self._one_state():
            meta = {n: content for n, content in self.meta.to_dict().items() if n not in OWN}
            vlmeta, items = self.vlmeta.to_dict(), self.read()
        inherited = {
            "chunks": self.chunks, "blocks": self.blocks, "checksum": self.checksum, "meta": meta
        }  # fmt: skip
        if kwargs.get("chunks") is not None and kwargs.get("blocks") is None:
            del inherited["blocks"]
        given = {name: value for name, value in kwargs.items() if value is not None}
        if given.pop("itemsize", None) is not None:
            warn_caller(
                "itemsize has no effect on a copy, as in python-caterva; dtype casts its items",
                DeprecationWarning,
            )
        items = as_asked(items, given.pop("dtype", None))
        arguments = {**inherited, **given}
        return encode_array(type(self), items, check_dtype(items.dtype), arguments, vlmeta)

    def to_cframe(self) -> memoryview:
        """Return the contiguous frame: the array's encoded bytes, with its metalayers.

        Returns
        -------
        memoryview
            Read-only. If the array is contiguous in memory, a view that keeps the memory alive; the
            array refuses changes until the view is deleted. Otherwise a copy.
        """
        return self.schunk.to_buffer()

    def save(self, urlpath: str | os.PathLike[str], mode: str = "x") -> None:
        """Write the array to a contiguous file; a crash leaves the old file or the new one.

        Parameters
        ----------
        urlpath : str or path-like
        mode : {"x", "w"}
            Whether a file that exists is an error or is replaced.

        Raises
        ------
        FileExistsError
        ArgumentError
        """
        write_file(urlpath, self.to_cframe(), mode)

    def close(self) -> None:
        """Free the array's memory and close its file; a closed array raises `ClosedError`."""
        self.schunk.close()

    def __enter__(self) -> NDArray:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
