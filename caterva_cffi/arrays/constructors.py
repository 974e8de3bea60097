"""The ways to make arrays; names and defaults are python-caterva's."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from operator import index
from typing import Any

import numpy as np
import numpy.typing as npt

from caterva_cffi.arrays.chunked import ChunkedItems
from caterva_cffi.arrays.creation import encode_items, filled, new_items
from caterva_cffi.arrays.ndarray import NDArray
from caterva_cffi.binding.buffers import as_bytes
from caterva_cffi.binding.compression import Compression
from caterva_cffi.binding.encoding import special_chunk
from caterva_cffi.binding.library import ffi
from caterva_cffi.dtypes import as_asked, as_items, check_dtype, void_dtype
from caterva_cffi.errors import (
    ArgumentError,
    ArgumentTypeError,
    Cause,
    FormatError,
    wrong_type,
    wrong_value,
)
from caterva_cffi.format.frame_start import (
    START,
    begins_as_frame,
    find_frame,
    frame_length,
    length_error,
)
from caterva_cffi.superchunk.schunk import SChunk

__all__ = [
    "asarray",
    "copy",
    "empty",
    "from_buffer",
    "from_cframe",
    "full",
    "schunk_to_buffer",
    "zeros",
]

_LOOKED_THROUGH = 1 << 20
"""If a buffer is no frame, one is looked for in this many bytes, to help with the error."""


def _item_dtype(itemsize: int | None, dtype: npt.DTypeLike | None) -> np.dtype[Any]:
    if dtype is None:
        if itemsize is None:
            raise ArgumentTypeError(
                "neither itemsize nor dtype is given", Cause("missing-argument", "itemsize")
            )
        if isinstance(itemsize, bool) or not isinstance(itemsize, (int, np.integer)):
            raise wrong_type("itemsize", itemsize, "an integer")
        if not 1 <= itemsize < 2**31:
            raise wrong_value("itemsize", int(itemsize), f"1 to {2**31 - 1} bytes")
        return void_dtype(int(itemsize))
    checked = check_dtype(dtype)
    if itemsize is not None and itemsize != checked.itemsize:
        raise ArgumentError(
            f"itemsize {itemsize} contradicts dtype {checked}",
            Cause("contradiction", "itemsize", itemsize, checked.itemsize),
        )
    return checked


def _repeat(items: ChunkedItems, compression: Compression, value: bytes | None) -> NDArray:
    """Return an array that is filled with one item; None is zeros."""
    nchunks = items.grid.nchunks
    chunk = special_chunk(compression, items.grid, value) if nchunks else b""
    return NDArray(filled(items, repeat(chunk, nchunks)))


def empty(
    shape: Sequence[int] | int,
    itemsize: int | None = None,
    *,
    dtype: npt.DTypeLike | None = None,
    **kwargs: Any,
) -> NDArray:
    """Return an array whose items are zeros until something is written.

    Parameters
    ----------
    shape : sequence of int
        In items.
    itemsize : int, optional
        Bytes of an item; may be left out if a dtype is given.
    dtype : dtype, optional
        Without one items are `S{itemsize}`, as in python-caterva.
    chunks, blocks : sequence of int, optional
        Chunk and block shapes, in items; for the defaults see `grid.default_partition`.
    checksum : bool, default False
        Store a CRC-32 with each block, which is compared when the block is read.
    urlpath : str or path-like, optional
        Where to store it; by default it is in memory.
    contiguous : bool, default False
        Store one frame (a file) instead of separate chunks (a directory).
    memframe : bool, default False
        In memory, the same as `contiguous`.
    meta : mapping of str to bytes, optional
        Your own metalayers; their lengths cannot change later.
    mode : {"x", "w"}, default "x"
        Whether something at `urlpath` is an error or is overwritten.
    codec, clevel, filters, filtersmeta, usedict, splitmode, codec_meta, nthreads
        See `Compression`; LZ4, 5 and SHUFFLE unless given.

    Returns
    -------
    NDArray

    Raises
    ------
    ArgumentError, CapacityError
        For shapes and parameters that contradict each other or do not fit the format.
    FileExistsError, FileNotFoundError, StorageError
    TypeError
        For dtypes whose items are not plain bytes.

    Examples
    --------
    >>> b = cat.empty((100, 50), dtype="f4", chunks=(50, 50), blocks=(10, 10))
    >>> b[:10] = 1.5
    >>> b[9:11, 0]
    array([1.5, 0. ], dtype=float32)
    """
    return zeros(shape, itemsize, dtype=dtype, **kwargs)


def zeros(
    shape: Sequence[int] | int,
    itemsize: int | None = None,
    *,
    dtype: npt.DTypeLike | None = None,
    **kwargs: Any,
) -> NDArray:
    """Return an array of zeros; it takes a few bytes for each chunk.

    Parameters
    ----------
    shape, itemsize, dtype, **kwargs
        As for `empty`.

    Returns
    -------
    NDArray

    Examples
    --------
    >>> cat.zeros((100, 50), dtype="f4").nbytes
    20000
    >>> cat.zeros(3, itemsize=2)[:]
    array([b'', b'', b''], dtype='|S2')
    """
    items, compression = new_items(shape, _item_dtype(itemsize, dtype), kwargs)
    return _repeat(items, compression, None)


def full(
    shape: Sequence[int] | int,
    fill_value: Any,
    *,
    dtype: npt.DTypeLike | None = None,
    **kwargs: Any,
) -> NDArray:
    """Return an array in which every item is the same.

    Parameters
    ----------
    shape : sequence of int
    fill_value : bytes or scalar
        Bytes of one item; with a dtype, or for a NumPy scalar, anything that casts to it.
    dtype, **kwargs
        As for `empty`.

    Returns
    -------
    NDArray

    Examples
    --------
    >>> cat.full((100, 50), 7, dtype="i2")[0, :4]
    array([7, 7, 7, 7], dtype=int16)
    """
    if dtype is None and isinstance(fill_value, (bytes, bytearray, memoryview)):
        value = bytes(fill_value)
        item_dtype = _item_dtype(len(value), None)
    else:
        item = np.asarray(fill_value)
        item_dtype = check_dtype(item.dtype if dtype is None else dtype)
        if isinstance(fill_value, (bytes, bytearray)) and len(fill_value) == item_dtype.itemsize:
            value = bytes(fill_value)
        else:
            value = as_items(fill_value, item_dtype).tobytes()
            if item.ndim:
                raise ArgumentError(
                    f"fill_value has shape {item.shape}; expected one item",
                    Cause("wrong-shape", "fill_value", item.shape, ()),
                )
    if any(value) and (item_dtype.itemsize > 255 or kwargs.get("checksum")):
        # A chunk of one value cannot hold an item of this size, or a checksum of the value.
        lengths = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
        one = np.frombuffer(value, item_dtype).reshape(())
        return NDArray(encode_items(np.broadcast_to(one, lengths), item_dtype, kwargs))
    items, compression = new_items(shape, item_dtype, kwargs)
    return _repeat(items, compression, value)


def from_buffer(
    buffer: Any,
    shape: Sequence[int] | int,
    itemsize: int | None = None,
    *,
    dtype: npt.DTypeLike | None = None,
    **kwargs: Any,
) -> NDArray:
    """Return an array of the items in a buffer.

    Parameters
    ----------
    buffer : object with the buffer protocol
        The items in C order.
    shape, itemsize, dtype, **kwargs
        As for `empty`.

    Returns
    -------
    NDArray

    Raises
    ------
    ArgumentError
        For a buffer of another size than the shape needs.

    Examples
    --------
    >>> b = cat.from_buffer(data.tobytes(), shape=(4, 6), itemsize=4, dtype="i4")
    >>> b[1, :3]
    array([6, 7, 8], dtype=int32)
    """
    item_dtype = _item_dtype(itemsize, dtype)
    data = as_bytes(buffer, "the buffer")
    lengths = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    needed = int(np.prod(lengths, dtype=object)) * item_dtype.itemsize
    if len(data) != needed:
        raise ArgumentError(
            f"the buffer has {len(data)} bytes; shape {lengths} of {item_dtype.itemsize}-byte "
            f"items needs {needed}",
            Cause("wrong-shape", "buffer", len(data), needed),
        )
    items = np.frombuffer(ffi.buffer(data), np.uint8)
    return NDArray(encode_items(items.view(item_dtype).reshape(lengths), item_dtype, kwargs))


def asarray(ndarray: Any, *, dtype: npt.DTypeLike | None = None, **kwargs: Any) -> NDArray:
    """Return a compressed array of an array's items, with its dtype.

    Parameters
    ----------
    ndarray : array_like
        With any strides; its items are compressed without a copy of all of them.
    dtype : dtype, optional
        Cast to it.
    **kwargs
        As for `empty`.

    Returns
    -------
    NDArray

    Examples
    --------
    >>> b = cat.asarray(data, chunks=(4, 3), blocks=(2, 3), codec="zstd", clevel=9)
    >>> b[1:3, ::2]
    array([[ 6,  8, 10],
           [12, 14, 16]], dtype=int32)
    >>> cat.asarray(data, urlpath="a.b2nd", contiguous=True).urlpath.endswith("a.b2nd")
    True
    """
    if isinstance(ndarray, NDArray):
        ndarray = ndarray.read()
    items = as_asked(ndarray, dtype)
    return NDArray(encode_items(items, check_dtype(items.dtype), kwargs))


def copy(array: NDArray, **kwargs: Any) -> NDArray:
    """Return a copy of an array.

    Parameters
    ----------
    array : NDArray
    **kwargs
        As for `empty`. Partition, checksums and metalayers are inherited if they are not
        given; compression and storage are the defaults, as in python-caterva.

    Returns
    -------
    NDArray

    Examples
    --------
    >>> cat.copy(a, chunks=(2, 6), blocks=(1, 6)).blocks
    (1, 6)
    """
    return array.copy(**kwargs)


def from_cframe(buffer: Any, copy: bool = False, *, offset: int | None = None) -> NDArray:
    """Open the array in a contiguous frame.

    Parameters
    ----------
    buffer : object with the buffer protocol
        bytes, a memoryview, an mmap, a NumPy array ...
    copy : bool, default False
        Without a copy the array is read-only, and keeps the buffer alive.
    offset : int, optional
        The byte at which the frame begins. It ends where its header says, and more bytes may
        follow. By default the frame must be the whole buffer.

    Returns
    -------
    NDArray

    Raises
    ------
    FormatError
        For bytes that are no frame, or a frame that is no N-d array.
    ArgumentError
        For an offset outside the buffer.

    Examples
    --------
    >>> frame = bytes(a.to_cframe())
    >>> cat.from_cframe(frame)[1, :3]
    array([6, 7, 8], dtype=int32)
    >>> cat.from_cframe(b"a header" + frame, offset=8)[1, :3]
    array([6, 7, 8], dtype=int32)
    """
    whole = buffer
    if offset is not None:
        buffer = _frame_at(buffer, offset)
    try:
        schunk = SChunk.from_buffer(buffer, copy=copy)
    except FormatError as error:
        raise FormatError(_no_frame(whole, offset, str(error)), error.kind) from None
    return NDArray(schunk)


def _frame_at(buffer: Any, offset: int) -> npt.NDArray[np.uint8]:
    """Return the bytes of the frame that begins at an offset; fewer if the buffer ends before."""
    at, data = index(offset), np.frombuffer(ffi.buffer(as_bytes(buffer, "the buffer")), np.uint8)
    if not 0 <= at <= data.size:
        raise ArgumentError(
            f"offset is {at}; the buffer has {data.size} bytes",
            Cause("wrong-value", "offset", at, data.size),
        )
    length = frame_length(data[at : at + START].tobytes())
    return data[at:] if length is None else data[at : at + length]


def _no_frame(buffer: Any, offset: int | None, error: str) -> str:
    """Return a text that says why there is no frame here, and where there may be one."""
    view, at = ffi.buffer(as_bytes(buffer, "the frame")), offset or 0
    start, size = view[at : at + START], len(view) - at
    place = "" if offset is None else f"byte {at}: "
    wrong = length_error(start, size if offset is None else min(size, frame_length(start) or size))
    if wrong is None:
        if begins_as_frame(start):
            return place + error
        wrong = f"they begin with {start[:11]!r}" if start else "nothing is there"
        other = find_frame(view[at : at + _LOOKED_THROUGH])
        if other is not None:
            wrong += f"; one may begin at byte {at + other}, which offset={at + other} opens"
    elif offset is None and size > (frame_length(start) or size):
        wrong += "; offset=0 opens it"
    return f"{place}{size} bytes that are no Blosc2 frame: {wrong}"


def schunk_to_buffer(array: NDArray) -> memoryview:
    """Return the encoded bytes of an array; see `NDArray.to_cframe`.

    >>> frame = cat.schunk_to_buffer(a)
    >>> type(frame), cat.from_cframe(frame)[3, 5]
    (<class 'memoryview'>, np.int32(23))
    """
    return array.to_cframe()
