"""N-d compressed arrays: slices read and written, frames as buffers, changes of shape."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy.typing as npt

from caterva_cffi.arrays import reshaping
from caterva_cffi.arrays.chunked import ChunkedItems, geometry_of
from caterva_cffi.arrays.creation import encode_items
from caterva_cffi.arrays.info import text_of
from caterva_cffi.arrays.readable import OrthogonalReads, ReadableArray
from caterva_cffi.binding.compression import Codec, Compression, Filter, member_of
from caterva_cffi.callers import warn_caller
from caterva_cffi.costs.recording import recorders
from caterva_cffi.dtypes import as_asked, check_dtype
from caterva_cffi.errors import CatervaError
from caterva_cffi.format.metalayers import OWN
from caterva_cffi.geometry.keys import normalize, normalize_orthogonal
from caterva_cffi.geometry.selection import Basic, Fancy
from caterva_cffi.storage.atomic import write_file
from caterva_cffi.superchunk.schunk import SChunk
from caterva_cffi.superchunk.user_metalayers import Meta, VLMeta

__all__ = ["NDArray", "OIndex"]

_INTEGERS = {int}  # no subclasses: bool is a mask


class OIndex(OrthogonalReads):
    """Orthogonal selection, to read and to write items.

    Parameters
    ----------
    items : ChunkedItems
    """

    _items: ChunkedItems

    def __setitem__(self, key: Any, value: Any) -> None:
        """Write the items; see `NDArray.oindex`."""
        _assign(self._items, normalize_orthogonal, key, value)


def _assign(
    items: ChunkedItems,
    normalized: Callable[[Any, Sequence[int]], Basic | Fancy],
    key: Any,
    value: Any,
) -> None:
    values = _as_items(items, value)
    with items.changing():
        items.assign(normalized(key, items.grid.shape), values)


def _as_items(items: ChunkedItems, value: Any) -> npt.NDArray[Any]:
    return items.as_items(value.read() if isinstance(value, NDArray) else value)


class NDArray(ReadableArray):
    """An N-d array of compressed chunks; each chunk has blocks that decode on their own.

    Made by the constructors (`asarray`, `empty`, `open`, `from_cframe`, ...), not by this class.
    Many threads may read one array. A thread that changes it waits for them; then no other thread
    uses the array.

    Parameters
    ----------
    source : SChunk or ChunkedItems
        The array's chunks, with a `b2nd` or a `caterva` metalayer.
    nthreads : int, optional
        Threads of the array's calls; by default the free ones of those that all calls share.

    Raises
    ------
    FormatError
        For a super-chunk that is no N-d array.
    """

    _items: ChunkedItems

    def __init__(self, source: SChunk | ChunkedItems, nthreads: int | None = None) -> None:
        if isinstance(source, SChunk):
            source = ChunkedItems(source, *geometry_of(source), nthreads)
        self._items = source

    @classmethod
    def _of(cls, items: ChunkedItems) -> NDArray:
        array = cls.__new__(cls)  # subclasses may have other parameters
        array._items = items
        return array

    # --- what it is ---------------------------------------------------------------------------

    @property
    def schunk(self) -> SChunk:
        """The super-chunk, for use with `lib`; another one after some changes of the shape."""
        return self._items.schunk

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
            return member_of(Codec, int(ptr.compcode))

    @property
    def filters(self) -> list[Filter | int]:
        """Filters of new chunks, in all six slots."""
        with self.schunk.reading() as ptr:
            return [member_of(Filter, code) for code in ptr.filters]

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
        """Metalayers: bytes by name, of fixed length.

        >>> b = cat.asarray(data, meta={"units": b"K"})
        >>> b.meta["units"]
        b'K'
        """
        return Meta(self.schunk)

    @property
    def vlmeta(self) -> VLMeta:
        """Variable-length metalayers: bytes by name.

        >>> a.vlmeta["history"] = b"made for an example"
        >>> dict(a.vlmeta)
        {'history': b'made for an example'}
        """
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
        if self._items.closed:
            return "<caterva_cffi.NDArray, closed>"
        try:
            return text_of(self)
        except CatervaError as error:  # something else has changed the array
            return f"<caterva_cffi.NDArray, {error}>"

    def __reduce__(self) -> Any:
        self._items.check_open()
        stored = self.schunk.stored
        if stored is not None:
            with self._items.one_state():
                return NDArray._open, (stored.full_path, self.read_only)
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
        """Return items, as NumPy does; see `ReadableArray`. A single item takes a shorter way.

        >>> a[1:3, ::2]
        array([[ 6,  8, 10],
               [12, 14, 16]], dtype=int32)
        >>> a[[0, 3], [1, 5]]
        array([ 1, 23], dtype=int32)
        """
        if type(key) is tuple and _INTEGERS.issuperset(map(type, key)) and not recorders:
            items = self._items
            with items.schunk.lock.reading():
                if len(key) == items.grid.ndim:
                    return items.item(key)
        return super().__getitem__(key)

    @property
    def oindex(self) -> OIndex:
        """Orthogonal selection, read and write: `a.oindex[[0, 5], :, mask]`.

        >>> a.oindex[[0, 3], 1:3]
        array([[ 1,  2],
               [19, 20]], dtype=int32)
        >>> a.oindex[:, [0, 5]] = 0
        """
        return OIndex(self._items)

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

        Examples
        --------
        >>> a[1] = -1
        >>> a[:2, :3]
        array([[ 0,  1,  2],
               [-1, -1, -1]], dtype=int32)
        """
        _assign(self._items, normalize, key, value)

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

        Examples
        --------
        >>> a.resize((5, 6))[3:, :3]
        array([[18, 19, 20],
               [ 0,  0,  0]], dtype=int32)
        """
        reshaping.resize(self._items, newshape)
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

        Examples
        --------
        >>> a.append(np.ones((2, 6))).shape
        (6, 6)
        """
        reshaping.insert(self._items, None, _as_items(self._items, values), axis)
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

        Examples
        --------
        >>> a.insert(1, np.ones((2, 6)))[:4, 0]
        array([0, 1, 1, 6], dtype=int32)
        """
        reshaping.insert(self._items, index, _as_items(self._items, values), axis)
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

        Examples
        --------
        >>> a.delete(1, count=2)[:, 0]
        array([ 0, 18], dtype=int32)
        """
        reshaping.delete(self._items, start, count, axis)
        return self

    def squeeze(self) -> None:
        """Remove dimensions of length 1, in place.

        >>> b = cat.asarray(data[:1])
        >>> b.squeeze()
        >>> b.shape
        (6,)
        """
        reshaping.squeeze(self._items)

    # --- copies and frames --------------------------------------------------------------------

    def to_buffer(self) -> bytes:
        """Return the items as bytes, in C order.

        >>> a.to_buffer() == data.tobytes()
        True
        """
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

        Examples
        --------
        >>> a.slice(np.s_[1:3, ::2])[:]
        array([[ 6,  8, 10],
               [12, 14, 16]], dtype=int32)
        """
        with self._items.reading():
            selection = self._items.select(normalize, key)
            items = self._items.get(selection)
        if isinstance(selection, Basic) and len(selection.result_dims) < self.ndim:
            for name in ("chunks", "blocks"):
                lengths = kwargs.get(name)
                if lengths is not None and len(lengths) == self.ndim:
                    kwargs[name] = tuple(lengths[d] for d in selection.result_dims if d >= 0)
        items = as_asked(items, kwargs.pop("dtype", None))
        return self._of(encode_items(items, check_dtype(items.dtype), kwargs))

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

        Examples
        --------
        >>> a.copy(urlpath="b.b2nd", contiguous=True, codec="zstd").codec
        <Codec.ZSTD: 5>
        """
        with self._items.one_state():
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
        return self._of(encode_items(items, check_dtype(items.dtype), arguments, vlmeta))

    def to_cframe(self) -> memoryview:
        """Return the contiguous frame: the array's encoded bytes, with its metalayers.

        Returns
        -------
        memoryview
            Read-only. If the array is contiguous in memory, a view that keeps the memory alive; the
            array refuses changes until the view is deleted. Otherwise a copy.

        Examples
        --------
        >>> cat.from_cframe(a.to_cframe())[3, 5]
        np.int32(23)
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

        Examples
        --------
        >>> a.save("b.b2nd")
        >>> cat.open("b.b2nd")[3, 5]
        np.int32(23)
        """
        write_file(urlpath, self.to_cframe(), mode)

    def close(self) -> None:
        """Free the array's memory and close its file; a closed array raises `ClosedError`.

        >>> a.close()
        >>> repr(a)
        '<caterva_cffi.NDArray, closed>'
        """
        self.schunk.close()

    def __enter__(self) -> NDArray:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
