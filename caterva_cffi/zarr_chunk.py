"""One chunk of a Zarr array, and the frame in which it is stored.

The frame has the chunk's shape, and its dtype in little-endian byte order. Zarr pads the chunks at
the array's edges with the fill value, and leaves out those that hold nothing else.

Nothing here does input or output: reading and writing are generators of steps (`plan.run`), which
ask for ranges of the stored object, and for work that takes a while.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from caterva_cffi import cache, stores
from caterva_cffi.dtypes import as_dtype, frame_dtype
from caterva_cffi.editing import FrameEditor
from caterva_cffi.errors import FormatError
from caterva_cffi.fetching import Fetching, kernel_of, whole_layout
from caterva_cffi.grid import Grid
from caterva_cffi.layout import Layout
from caterva_cffi.numcodecs import Parameters
from caterva_cffi.plan import WHOLE, Range
from caterva_cffi.policy import ReadPolicy, get_read_policy
from caterva_cffi.reading import stamp_of
from caterva_cffi.selection import normalize

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer

__all__ = ["Asked", "Chunk", "Work"]


@dataclass(frozen=True)
class Work:
    """What steps let others do, best in a thread of its own.

    Attributes
    ----------
    nbytes : int
        Bytes that it reads and writes.
    action : callable
        Gives the result.
    """

    nbytes: int
    action: Callable[[], Any]


Asked: TypeAlias = list[Range] | Work
"""What steps ask for: ranges of an object, or the result of work."""


@dataclass(frozen=True)
class Chunk:
    """A chunk of a Zarr array.

    Parameters
    ----------
    parameters : Parameters
        How its items become a frame.
    spec : ArraySpec
        What Zarr says of it.
    """

    parameters: Parameters
    spec: ArraySpec

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of its items in memory."""
        return self.spec.dtype.to_native_dtype()

    @property
    def nbytes(self) -> int:
        """Bytes of its items."""
        return math.prod(self.spec.shape) * self.dtype.itemsize

    def nbytes_of(self, selection: Any) -> int:
        """Return how many bytes the items of a selection have."""
        return math.prod(normalize(selection, self.spec.shape).shape) * self.dtype.itemsize

    # --- all of it ----------------------------------------------------------------------------

    def encode(self, items: NDBuffer) -> Buffer:
        """Return the frame of all items."""
        dtype = self.dtype.newbyteorder("<")
        little = as_dtype(items.as_numpy_array(), dtype)
        return self._as_buffer(self.parameters.to_frame(little.view(frame_dtype(dtype))))

    def decode(self, stored: Buffer) -> NDBuffer:
        """Return all items of a frame.

        Raises
        ------
        FormatError, UnsupportedError
        """
        return self._decode(stores.as_bytes(stored))

    def _decode(self, stored: bytes | memoryview) -> NDBuffer:
        fetching = self._fetching((), get_read_policy("local"))
        return self._as_ndbuffer(fetching.whole(stored).decode())

    # --- a part of it -------------------------------------------------------------------------

    def read_steps(
        self, byte_getter: Any, selection: Any, status: os.stat_result | None = None
    ) -> Generator[Asked, Any, NDBuffer | None]:
        """Read and decode a selection; None for a chunk that is not stored.

        Parameters
        ----------
        byte_getter : ByteGetter
            Where the chunk is, which says what reading costs.
        selection : tuple
        status : os.stat_result, optional
            Of the file in which the chunk is.

        Raises
        ------
        FormatError, UnsupportedError
        """
        fetching = self._fetching(selection, stores.policy_of(byte_getter))
        size = None if status is None else status.st_size
        stamp = None if status is None else stamp_of(status)
        begin = partial(fetching.steps, size)
        try:
            with stores.naming(byte_getter):
                fetched = yield from cache.shared.steps(begin, stores.identity(byte_getter), stamp)
                try:
                    items = yield Work(fetched.nbytes, fetched.decode)
                except FormatError:
                    if size is not None or fetched.is_whole:
                        raise
                    # It may have been replaced between two requests.
                    [stored] = yield [WHOLE]
                    whole = fetching.whole(stored)
                    items = yield Work(whole.nbytes, whole.decode)
        except stores.MissingError:
            return None
        return self._as_ndbuffer(items)

    def write_steps(
        self, byte_getter: Any, value: NDBuffer, selection: Any
    ) -> Generator[Asked, Any, Buffer | None]:
        """Return the chunk as it is to be stored with other items in a selection.

        Parameters
        ----------
        byte_getter : ByteGetter
            Where the chunk is.
        value : NDBuffer
            Of the selection's shape, perhaps without dimensions of length 1; or 0-d.
        selection : tuple

        Returns
        -------
        Buffer or None
            None where only fill value is left, which is not to be stored.

        Raises
        ------
        FormatError, UnsupportedError
        """
        stored = None
        with stores.naming(byte_getter):
            if not _is_whole(selection, self.spec.shape):
                with suppress(stores.MissingError):
                    [stored] = yield [WHOLE]
            merge = partial(self._merge, stored, value, selection)
            return (yield Work(self.nbytes, merge))  # type: ignore[no-any-return]

    def _merge(self, stored: memoryview | None, value: NDBuffer, selection: Any) -> Buffer | None:
        """Replace a selection of a frame, or of a chunk that is not stored or replaced wholly."""
        spec = self.spec
        items = value.as_numpy_array()
        is_fill = value.all_equal(spec.fill_value)
        if _is_whole(selection, spec.shape):
            if is_fill and not spec.config.write_empty_chunks:
                return None
            whole = np.broadcast_to(items, spec.shape)
            return self.encode(spec.prototype.nd_buffer.from_numpy_array(whole))
        wanted = normalize(selection, spec.shape)
        items = items.reshape(wanted.shape) if items.ndim else np.broadcast_to(items, wanted.shape)
        if stored is None:
            if is_fill and not spec.config.write_empty_chunks:
                return None
            chunk = spec.prototype.nd_buffer.create(
                shape=spec.shape, dtype=self.dtype, order=spec.order, fill_value=spec.fill_value
            )
            chunk.as_numpy_array()[selection] = items
            return self.encode(chunk)
        layout = whole_layout(stored)
        self._check(layout)
        editor = FrameEditor(stored, layout, kernel_of(layout.grid), self.parameters.compression)
        editor.write(wanted, _with_dtype(items, layout.dtype, self.dtype))
        encoded = editor.to_frame()
        if is_fill and not spec.config.write_empty_chunks:
            left = self._decode(encoded)
            if left.all_equal(spec.fill_value):
                return None
        return self._as_buffer(encoded)

    # --- what all of them share ---------------------------------------------------------------

    def _fetching(self, selection: Any, policy: ReadPolicy) -> Fetching:
        shape = self.spec.shape
        usual = _grid(self.parameters, shape, self.dtype.itemsize)
        return Fetching(normalize(selection, shape), usual, policy, self._check)

    def _check(self, layout: Layout) -> None:
        """Compare a stored frame with the array's metadata.

        Raises
        ------
        FormatError
        """
        dtype = self.dtype
        kinds = {layout.dtype.kind, dtype.kind}
        if (
            layout.grid.shape != self.spec.shape
            or layout.grid.itemsize != dtype.itemsize
            # Numbers name their type everywhere; of other items writers may know the size alone.
            or (len(kinds) > 1 and kinds <= set("biufc"))
        ):
            raise FormatError(
                f"the stored frame has shape {layout.grid.shape} and dtype {layout.dtype}; "
                f"the array's chunks have shape {self.spec.shape} and dtype {dtype}"
            )
        if layout.header.sparse:
            raise FormatError("the stored frame is sparse: its chunks are elsewhere")
        if self.parameters.checksum and not layout.grid.checksums:
            raise FormatError("the stored frame has no checksums, which the array's codec writes")

    def _as_buffer(self, frame: memoryview) -> Buffer:
        return self.spec.prototype.buffer.from_bytes(cast("bytes", frame))

    def _as_ndbuffer(self, items: npt.NDArray[Any]) -> NDBuffer:
        native = _with_dtype(items, self.dtype, self.dtype)
        return self.spec.prototype.nd_buffer.from_numpy_array(native)


@lru_cache(maxsize=256)
def _grid(parameters: Parameters, shape: tuple[int, ...], itemsize: int) -> Grid:
    return Grid(shape, *parameters.partition(shape, itemsize), itemsize, parameters.checksum)


def _with_dtype(
    items: npt.NDArray[Any], dtype: np.dtype[Any], of_array: np.dtype[Any]
) -> npt.NDArray[Any]:
    """Return items in another dtype of the same size: of a frame in the array's, or back."""
    if items.dtype == dtype:
        return items
    if of_array.kind in "SV" and of_array.names is None:
        return items.view(dtype)  # an array of bytes has those of the frame
    # Frames that do not name their items' dtype hold them in little-endian byte order.
    little = as_dtype(items, items.dtype.newbyteorder("<")).view(dtype.newbyteorder("<"))
    return as_dtype(little, dtype)


def _is_whole(selection: Any, shape: tuple[int, ...]) -> bool:
    """Whether a selection is all of a chunk."""
    keys = selection if isinstance(selection, tuple) else (selection,)
    return len(keys) == len(shape) and all(
        isinstance(key, slice) and key.indices(length) == (0, length, 1)
        for key, length in zip(keys, shape, strict=True)
    )
