"""One chunk of a Zarr array, and the frame in which it is stored.

The frame has the chunk's shape, and its dtype in little-endian byte order. Zarr pads the chunks at
the array's edges with the fill value, and does not store chunks that hold nothing else.

Nothing here does input or output. Reading is a generator of steps (see `caterva_cffi.steps`), which
asks for ranges of the stored object, and for work that takes a while.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
from zarr.core.buffer import cpu

from caterva_cffi import memory_pool
from caterva_cffi.binding.kernel import kernel_of
from caterva_cffi.codecs.coding import compression_of
from caterva_cffi.codecs.editing import FrameEditor
from caterva_cffi.codecs.parameters import Parameters, grid_of
from caterva_cffi.dtypes import as_dtype, frame_dtype, with_dtype
from caterva_cffi.engine.object_files import read_open
from caterva_cffi.engine.objects import ObjectRead, Selected
from caterva_cffi.errors import ArgumentError, CatervaError, Cause
from caterva_cffi.geometry import index_arrays
from caterva_cffi.geometry.keys import normalize
from caterva_cffi.geometry.selection import Basic, Batch, Fancy
from caterva_cffi.planning.layout import Chunks, Layout, whole_layout
from caterva_cffi.planning.policy import ReadPolicy, get_read_policy
from caterva_cffi.steps import Asked, MissingError
from caterva_cffi.storage.stored import Version
from caterva_cffi.zarr_chunks import stores
from caterva_cffi.zarr_chunks.edited_files import StoredFile
from caterva_cffi.zarr_chunks.items import Assignment, LazyBuffer, LazyItems
from caterva_cffi.zarr_chunks.written_chunks import UnencodedFrame, WrittenItems

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer

__all__ = ["ChunkSelection", "ZarrChunk"]


@dataclass(frozen=True)
class ZarrChunk:
    """A chunk of a Zarr array.

    Parameters
    ----------
    parameters : Parameters
        How its items become a frame.
    spec : ArraySpec
        What Zarr says about it.
    """

    parameters: Parameters
    spec: ArraySpec

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of its items in memory."""
        return self.spec.dtype.to_native_dtype()

    @property
    def nbytes(self) -> int:
        """Bytes of its items."""
        return math.prod(self.spec.shape) * self.dtype.itemsize

    def nbytes_of(self, selection: Any) -> int:
        """Return how many bytes the items of a selection take."""
        return math.prod(normalize(selection, self.spec.shape).shape) * self.dtype.itemsize

    # --- all of it ----------------------------------------------------------------------------

    def encode(self, items: NDBuffer) -> Buffer:
        """Return the frame of all items.

        Parameters
        ----------
        items : NDBuffer
            The output of codecs before this one: items of the chunk's shape and dtype, or as many
            bytes of anything else, which are stored as they are.

        Raises
        ------
        ArgumentError
            For more or fewer bytes.
        """
        lazy = items.lazy_items if isinstance(items, LazyBuffer) else None
        if lazy is not None:
            with _pointing_to_verify():
                return cast("Buffer", lazy.edited())
        stored = self._stored_items(items)
        if isinstance(items, WrittenItems) and self.spec.prototype.buffer is cpu.Buffer:
            grid, compression = self.parameters.prepare(stored)
            if grid.nchunks == 1:
                return UnencodedFrame(stored, grid, compression)
        return self._as_buffer(self.parameters.to_frame(stored))

    def _stored_items(self, items: NDBuffer) -> npt.NDArray[Any]:
        """Return items in the dtype in which they are stored."""
        array = items.as_numpy_array()
        dtype = self.dtype.newbyteorder("<")
        if array.dtype.newbyteorder("<") == dtype and array.shape == self.spec.shape:
            return as_dtype(array, dtype).view(frame_dtype(dtype))
        if self.parameters.is_lossy:
            raise ArgumentError(
                f"codec 'caterva' got items of dtype {array.dtype} and shape {array.shape} from a "
                f"codec in front of it; expected {self.dtype} and {self.spec.shape}, since it is "
                "configured to lose precision of such items",
                Cause(
                    "wrong-dtype",
                    None,
                    (*array.shape, str(array.dtype)),
                    (*self.spec.shape, str(self.dtype)),
                ),
            )
        if array.nbytes != self.nbytes:
            raise ArgumentError(
                f"codec 'caterva' got {array.nbytes} bytes, of shape {array.shape} and dtype "
                f"{array.dtype}; expected {self.nbytes}, a chunk of shape {self.spec.shape} and "
                f"dtype {self.dtype}",
                Cause("wrong-shape", None, array.nbytes, self.nbytes),
            )
        little = np.ascontiguousarray(as_dtype(array, array.dtype.newbyteorder("<")))
        return little.reshape(-1).view(frame_dtype(dtype)).reshape(self.spec.shape)

    def decode(self, stored: Buffer) -> NDBuffer:
        """Return all items of a frame.

        Raises
        ------
        FormatError, UnsupportedError
        """
        read = self.read((), get_read_policy("local"))
        return self.as_ndbuffer(read.decode(stores.as_bytes(stored)))

    def decode_lazily(self, stored: Buffer) -> NDBuffer:
        """Return all items of a frame; they are decoded when somebody looks at them.

        Raises
        ------
        FormatError, UnsupportedError
        """
        with _pointing_to_verify():
            layout = _layout_of(stored)
            self.check(layout)
        if self.spec.prototype.nd_buffer is not cpu.NDBuffer:
            return self.decode(stored)

        def read(key: Any) -> npt.NDArray[Any]:
            with _pointing_to_verify():
                reading = self.read(key, get_read_policy("local"))
                items = reading.decode(stores.as_bytes(stored), layout)
            return with_dtype(items, self.dtype, self.dtype)

        edit = partial(self._edited, stored, layout)
        items = LazyItems(self.spec.shape, self.dtype, read, edit)
        return LazyBuffer(cast("npt.NDArray[Any]", items))

    def _edited(self, stored: Buffer, layout: Layout, assignments: Sequence[Assignment]) -> Buffer:
        """Return a frame after assignments."""
        compression = compression_of(self.parameters, layout.grid.itemsize)
        for _, value in assignments:
            self.parameters.check_items(value, self.spec.ndim)
        written = [
            (selection, with_dtype(value, layout.dtype, self.dtype))
            for selection, value in assignments
        ]
        if isinstance(stored, StoredFile):
            again = partial(self._edited_again, assignments)
            edited = stored.edited(compression, written, again)
            if edited is not None:
                return edited
        editor = FrameEditor(stores.as_bytes(stored), layout, kernel_of(layout.grid), compression)
        for selection, value in written:
            editor.write(selection, value)
        return self._as_buffer(editor.to_frame())

    def _edited_again(self, assignments: Sequence[Assignment], stored: Buffer) -> Buffer:
        layout = _layout_of(stored)
        self.check(layout)
        return self._edited(stored, layout, assignments)

    # --- a part of it -------------------------------------------------------------------------

    def selected(self, byte_getter: Any, selection: Any) -> ChunkSelection:
        """Return a selection of a local file; see `read_steps`."""
        return ChunkSelection(self, byte_getter, selection, normalize(selection, self.spec.shape))

    def read_steps(
        self, byte_getter: Any, selection: Any, size: int | None = None
    ) -> Generator[Asked, Any, NDBuffer | None]:
        """Read and decode a selection; None for a chunk that is not stored.

        Parameters
        ----------
        byte_getter : ByteGetter
            Zarr's access to the chunk; its store decides the read policy.
        selection : tuple
        size : int, optional
            Bytes of the chunk, if that cannot be replaced by another one meanwhile.

        Raises
        ------
        FormatError, UnsupportedError
        """
        policy, beside = stores.policy_of(byte_getter), stores.beside(byte_getter)
        read = self.read(selection, policy, beside)
        try:
            with stores.naming(byte_getter):
                items = yield from read.steps(stores.identity(byte_getter), None, size)
        except MissingError:
            return None
        return self.as_ndbuffer(items)

    # --- what all of them share ---------------------------------------------------------------

    def read(
        self, selection: Any, policy: ReadPolicy, beside: int = 1
    ) -> ObjectRead[npt.NDArray[Any]]:
        """Return what reads a selection of the frame; see `ObjectRead`."""
        shape = self.spec.shape
        usual = grid_of(self.parameters, shape, self.dtype.itemsize)
        wanted = Selected(normalize(selection, shape))
        return ObjectRead(wanted, usual, policy, self.check, beside=beside)

    def check(self, layout: Chunks) -> None:
        """Compare a stored frame with the array's metadata.

        Raises
        ------
        FormatError
        """
        layout.check(self.spec.shape, self.dtype, self.parameters.checksum)

    def _as_buffer(self, frame: memoryview) -> Buffer:
        return self.spec.prototype.buffer.from_bytes(cast("bytes", frame))

    def as_ndbuffer(self, items: npt.NDArray[Any]) -> NDBuffer:
        """Return items as Zarr wants them."""
        dtype = self.dtype
        native = items if items.dtype == dtype else with_dtype(items, dtype, dtype)
        return self.spec.prototype.nd_buffer.from_numpy_array(native)


@dataclass(slots=True)
class ChunkSelection:
    """A selection of a chunk in a local file; see `engine.many_frames.WantedFrame`.

    Parameters
    ----------
    chunk : ZarrChunk
    byte_getter : ByteGetter
    given : tuple
        The selection, as Zarr has it.
    selection : Basic or Fancy
        The same.
    """

    chunk: ZarrChunk
    byte_getter: Any
    given: Any
    selection: Basic | Fancy

    @property
    def key(self) -> Hashable:
        """The chunk's name in the cache of layouts."""
        return stores.identity(self.byte_getter)

    @property
    def nbytes(self) -> int:
        """Bytes of the items."""
        return math.prod(self.selection.shape) * self.chunk.dtype.itemsize

    def check(self, layout: Chunks) -> None:
        """Compare a frame with the array's metadata."""
        self.chunk.check(layout)

    def begin(self, layout: Chunks) -> tuple[npt.NDArray[Any], Iterable[Batch]]:
        """Return an array for the items, and the boxes that fill it."""
        wanted = self.selection
        items = memory_pool.empty(wanted.shape, layout.dtype)
        if isinstance(wanted, Basic):
            return items, (wanted.batch(items),)
        return items, index_arrays.batches(layout.grid, wanted, layout.dtype, items)

    def read(self, version: Version, descriptor: int, size: int) -> NDBuffer:
        """Read and decode the items; see `engine.object_files.read_open`."""
        with stores.naming(self.byte_getter):
            items = read_open(self, version, descriptor, size)
        return self.chunk.as_ndbuffer(items)

    def steps(self, size: int) -> Generator[Asked, Any, NDBuffer | None]:
        """Do the same by steps; see `ZarrChunk.read_steps`."""
        return self.chunk.read_steps(self.byte_getter, self.given, size)


def _layout_of(stored: Buffer) -> Layout:
    """Return the layout of all bytes of a frame."""
    if isinstance(stored, StoredFile):
        return stored.layout
    return whole_layout(stores.as_bytes(stored))


@contextmanager
def _pointing_to_verify() -> Iterator[None]:
    """Add a note on how to find the chunk: Zarr does not tell the codec which one it is."""
    try:
        yield
    except CatervaError as error:
        error.add_note("`python -m caterva_cffi verify` names the chunks that are damaged.")
        raise
