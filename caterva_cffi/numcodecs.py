"""The numcodecs codec: a buffer or an array becomes the bytes of a Caterva frame, and back.

What is promised to numcodecs, and to Zarr format 2 on top of it:

- `encode` takes arrays of any strides, and flat buffers. The frame holds the array with its shape
  and dtype; a flat buffer is an array of one dimension. The source is not copied.
- `decode` gives the items back in one dimension: in Fortran order if the source was F-contiguous,
  else in C order. A metalayer of one byte remembers which. Frames written by others have no such
  metalayer, and are in C order.
- A destination is filled in place. If it has the shape of the encoded array, each item goes to its
  own index, whatever the strides. Otherwise it must be contiguous, and gets the items in a row.
- A frame describes itself: no configuration is needed to decode it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any, ClassVar, Literal, cast

import numpy as np
import numpy.typing as npt
from numcodecs.abc import Codec as NumcodecsCodec
from numcodecs.compat import ensure_ndarray

from caterva_cffi.arrays.constructors import from_cframe
from caterva_cffi.arrays.ndarray import NDArray
from caterva_cffi.codecs.coding import Coding
from caterva_cffi.codecs.parameters import Parameters, PartitionWarning
from caterva_cffi.dtypes import allocate, check_dtype, check_items
from caterva_cffi.errors import ArgumentError, ArgumentTypeError, Cause

__all__ = ["Caterva", "Coding", "Parameters", "PartitionWarning"]


_ORDER = "memory_order"
"""The metalayer with the order of the encoded items in memory: one letter."""

_Order = Literal["C", "F"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Caterva(Parameters, NumcodecsCodec):  # type: ignore[misc]
    """Codec that encodes an array as a Caterva frame, whose blocks decode on their own.

    Parameters
    ----------
    block_shape, chunk_shape, cname, clevel, shuffle, filters, use_dict, tolerance, precision,
    rate, cell_shape, checksum
        As for `Parameters`. Shapes have no effect if a filter flattens the arrays.

    Examples
    --------
    >>> from caterva_cffi.numcodecs import Caterva
    >>> codec = Caterva(block_shape=(10, 10), cname="zstd")
    >>> frame = codec.encode(np.arange(10000).reshape(100, 100))
    >>> codec.decode_selection(frame, np.s_[3, 4:7])
    array([304, 305, 306])
    """

    codec_id: ClassVar[str] = "caterva"

    def get_config(self) -> dict[str, Any]:
        """Return the configuration as JSON has it."""
        return {
            "id": self.codec_id,
            "block_shape": None if self.block_shape is None else list(self.block_shape),
            "chunk_shape": None if self.chunk_shape is None else list(self.chunk_shape),
            **self.configuration(),
            "checksum": self.checksum,
        }

    def encode(self, buf: Any) -> bytes:
        """Return the frame of an array.

        Parameters
        ----------
        buf : ndarray or object with the buffer protocol
            Any dtype with items of a fixed size, any shape and strides.

        Returns
        -------
        bytes

        Raises
        ------
        TypeError
            For objects, for dtypes that a frame cannot name, and for what is no buffer.
        """
        array = _as_ndarray(buf, "the source")
        check_dtype(array.dtype)
        order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        metalayers = {_ORDER: order.encode()} if order == "F" else {}
        return bytes(self.to_frame(array, **metalayers))

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Decode all items.

        Parameters
        ----------
        buf : object with the buffer protocol
            A frame.
        out : ndarray or writable buffer, optional
            Has the shape and the item size of the encoded array, or is contiguous and has as
            many bytes.

        Returns
        -------
        ndarray or `out`
            1-d, of the dtype of the encoded array, in the order its items had in memory.

        Raises
        ------
        FormatError
            For bytes that are no frame.
        ArgumentError
            For a destination of another size.
        ReadOnlyError
            For a destination that cannot be written.
        """
        frame = from_cframe(buf)
        order = _memory_order(frame)
        if out is None:
            run = allocate((frame.nitems,), frame.dtype)
            frame.read(out=run.reshape(frame.shape, order=order))
            return run
        target = _destination(out)
        if target.shape == frame.shape and target.itemsize == frame.itemsize:
            frame.read(out=target.view(frame.dtype))
        else:
            run = _as_run(target, frame.dtype, frame.nitems)
            frame.read(out=run.reshape(frame.shape, order=order))
        return out

    def decode_partial(self, buf: Any, start: int, nitems: int, out: Any = None) -> Any:
        """Decode a part of what `decode` returns; only the blocks that it needs are decoded.

        Parameters
        ----------
        buf : object with the buffer protocol
            A frame.
        start, nitems : int
            The part, in items of the encoded array.
        out : ndarray or writable buffer, optional
            Contiguous, with as many bytes as the part.

        Returns
        -------
        ndarray or `out`
            1-d, of the dtype of the encoded array.

        Raises
        ------
        FormatError, ArgumentError, ReadOnlyError
            As for `decode`; ArgumentError also for a part outside the array.
        """
        frame = from_cframe(buf)
        start, nitems = index(start), index(nitems)
        if start < 0 or nitems < 0 or start + nitems > frame.nitems:
            raise ArgumentError(
                f"items {start} to {start + nitems}; the frame has {frame.nitems} items",
                Cause("out-of-bounds", "start", start + nitems, frame.nitems),
            )
        order = _memory_order(frame)
        if out is None:
            run = allocate((nitems,), frame.dtype)
        else:
            run = _as_run(_destination(out), frame.dtype, nitems)
        turn = 1 if order == "C" else -1
        done = 0
        for box in _boxes(frame.shape[::turn], start, start + nitems):
            shape = tuple(part.stop - part.start for part in box)
            size = int(np.prod(shape, dtype=np.int64))
            part = run[done : done + size].reshape(shape[::turn], order=order)
            frame.read(box[::turn], out=part)
            done += size
        return run if out is None else out

    def decode_selection(self, buf: Any, selection: Any, out: Any = None) -> npt.NDArray[Any]:
        """Decode a selection of the array; only the blocks that it needs are decoded.

        Parameters
        ----------
        buf : object with the buffer protocol
            A frame.
        selection : object
            A NumPy index of the encoded array: integers, slices, `...`, `newaxis`, masks, arrays.
        out : ndarray, optional
            Of the selection's shape and the dtype of the encoded array; any strides.

        Returns
        -------
        ndarray
            `out`, if it is given.

        Raises
        ------
        FormatError, ArgumentError, ReadOnlyError
            As for `decode`.
        IndexError
            For a selection outside the array.
        """
        return from_cframe(buf).read(selection, out=out)


def _as_ndarray(buffer: Any, what: str) -> npt.NDArray[Any]:
    """Return a buffer as an array, without a copy."""
    try:
        return cast("npt.NDArray[Any]", ensure_ndarray(buffer))
    except TypeError as error:
        raise ArgumentTypeError(
            f"{what} is {type(buffer).__name__}; expected a buffer: {error}",
            Cause("wrong-type", what, type(buffer).__name__),
        ) from None


def _destination(out: Any) -> npt.NDArray[Any]:
    array = _as_ndarray(out, "the destination")
    check_items(array.dtype)
    return array


def _as_run(target: npt.NDArray[Any], dtype: np.dtype[Any], nitems: int) -> npt.NDArray[Any]:
    """Return contiguous memory as a 1-d array of `nitems` items, without a copy."""
    if target.nbytes != nitems * dtype.itemsize:
        raise ArgumentError(
            f"the destination has {target.nbytes} bytes; "
            f"expected {nitems * dtype.itemsize} for {nitems} items of {dtype}",
            Cause("wrong-shape", "out", target.nbytes, nitems * dtype.itemsize),
        )
    if not (target.flags.c_contiguous or target.flags.f_contiguous):
        raise ArgumentError(
            f"the destination of shape {target.shape} and strides {target.strides} "
            "is neither contiguous nor of the encoded array's shape",
            Cause("not-contiguous", "out", target.strides),
        )
    return target.reshape(-1, order="A").view(np.uint8).view(dtype)


def _memory_order(frame: NDArray) -> _Order:
    return "F" if frame.meta.get(_ORDER) == b"F" else "C"


def _boxes(shape: Sequence[int], start: int, stop: int) -> Iterator[tuple[slice, ...]]:
    """Yield boxes that together hold the items `start` to `stop`, counted in C order."""
    if start >= stop:
        return
    if not shape:
        yield ()
        return
    row = int(np.prod(shape[1:], dtype=np.int64))
    first, last = -(-start // row), stop // row  # whole rows
    if first > last:  # all within one row
        for box in _boxes(shape[1:], start - last * row, stop - last * row):
            yield (slice(last, last + 1), *box)
        return
    for box in _boxes(shape[1:], start - (first - 1) * row, row if start % row else 0):
        yield (slice(first - 1, first), *box)
    if first < last:
        yield (slice(first, last), *(slice(0, length) for length in shape[1:]))
    for box in _boxes(shape[1:], 0, stop - last * row):
        yield (slice(last, last + 1), *box)
