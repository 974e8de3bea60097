"""Files of chunks in a `LocalStore` that Zarr changes in part, without reading and writing all.

Zarr gets a chunk's bytes, decodes them, assigns, encodes, and sets the chunk's bytes. Here it gets
a `StoredFile`, of which nobody reads all, and sets an `EditedFile`, which says which of its bytes
are those of the old file. Everything in between is Zarr's own code, and so are its rules. Whoever
wants the bytes of either gets them.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from zarr.core.buffer import Buffer, cpu

from caterva_cffi.binding.compression import Compression
from caterva_cffi.binding.encoding import Span
from caterva_cffi.codecs.file_editing import plan_edit
from caterva_cffi.errors import CatervaError
from caterva_cffi.geometry.selection import Basic
from caterva_cffi.planning.layout import Layout, layout_steps
from caterva_cffi.planning.policy import get_read_policy
from caterva_cffi.steps import exactly, run
from caterva_cffi.storage.positioned_reads import READ_FLAGS, read_ranges
from caterva_cffi.storage.replacement import replace_file
from caterva_cffi.storage.stored import Version, version_of
from caterva_cffi.zarr_chunks import stores
from caterva_cffi.zarr_chunks.items import Assignment
from caterva_cffi.zarr_chunks.late_buffers import LateBuffer

if TYPE_CHECKING:
    from zarr.core.buffer import BufferPrototype
    from zarr.storage import StorePath

__all__ = ["ChunkFile", "EditedFile", "StoredFile"]

_LEAST = 1 << 20
"""Bytes of a file; to read and write all of a smaller one takes no longer."""


class StoredFile(LateBuffer):
    """A frame in an open file.

    Parameters
    ----------
    descriptor : int
    version : Version
        Of the file.
    layout : Layout
        Of the frame.
    """

    def __init__(self, descriptor: int, version: Version, layout: Layout) -> None:
        super().__init__(self._read)
        self.descriptor = descriptor
        self.version = version
        self.layout = layout

    def _read(self) -> npt.NDArray[np.uint8]:
        range_ = (0, self.layout.header.frame_len)
        [data] = read_ranges(self.descriptor, [range_])
        return np.frombuffer(exactly(data, range_, "the frame"), np.uint8)

    def edited(
        self,
        compression: Compression,
        assignments: Sequence[Assignment],
        again: Callable[[Buffer], Buffer],
    ) -> EditedFile | None:
        """Return the frame after a change.

        Parameters
        ----------
        compression : Compression
            For blocks that change.
        assignments : sequence of Assignment
            Items in the frame's dtype.
        again : callable
            Makes the same change to other bytes of the chunk.

        Returns
        -------
        EditedFile or None
            None if all of the file must be read to make the change, or to say what is wrong.
        """
        if len(assignments) != 1:
            return None
        [(selection, items)] = assignments
        if not isinstance(selection, Basic) or not items.size:
            return None
        try:
            spans = plan_edit(self.descriptor, self.layout, compression, selection, items)
        except (CatervaError, OSError):
            return None
        return None if spans is None else EditedFile(self, spans, again)


class EditedFile(LateBuffer):
    """A frame that has parts of another one, which is in a file; see `StoredFile.edited`."""

    def __init__(
        self, stored: StoredFile, spans: Sequence[Span], again: Callable[[Buffer], Buffer]
    ) -> None:
        super().__init__(self._assemble)
        self.stored = stored
        self.spans = spans
        self.again = again

    def _assemble(self) -> npt.NDArray[np.uint8]:
        old = self.stored.as_numpy_array()
        return np.concatenate([
            old[span[0] : sum(span)] if isinstance(span, tuple) else span for span in self.spans
        ])  # fmt: skip


class ChunkFile(AbstractContextManager["ChunkFile"]):
    """Gets and sets the bytes of a chunk in a file, for Zarr.

    Parameters
    ----------
    place : StorePath
        In a `LocalStore`: Zarr's own access to the chunk.
    """

    def __init__(self, place: StorePath) -> None:
        self._place = place
        self._path = stores.local_path(place) or ""
        self._stored: StoredFile | None = None

    def __exit__(self, *error: object) -> None:
        self._close()

    def _close(self) -> None:
        stored, self._stored = self._stored, None
        if stored is not None:
            os.close(stored.descriptor)

    # --- what Zarr calls, in threads or in its event loop -------------------------------------

    def get_sync(self, prototype: BufferPrototype, byte_range: Any = None) -> Buffer | None:
        """Return the chunk's bytes; None if there is no chunk."""
        if prototype.buffer is cpu.Buffer and self._open():
            return self._stored
        return self._place.get_sync(prototype=prototype, byte_range=byte_range)

    async def get(self, prototype: BufferPrototype, byte_range: Any = None) -> Buffer | None:
        """Do the same asynchronously."""
        if prototype.buffer is cpu.Buffer and await asyncio.to_thread(self._open):
            return self._stored
        return await self._place.get(prototype, byte_range)

    def set_sync(self, value: Buffer) -> None:
        """Store the chunk's bytes."""
        rest = self._write(value)
        if rest is not None:
            self._place.set_sync(rest)
        self._close()

    async def set(self, value: Buffer) -> None:
        """Do the same asynchronously."""
        rest = await asyncio.to_thread(self._write, value)
        if rest is not None:
            await self._place.set(rest)
        self._close()

    def delete_sync(self) -> None:
        """Delete the chunk."""
        self._place.delete_sync()

    async def delete(self) -> None:
        """Do the same asynchronously."""
        await self._place.delete()

    async def set_if_not_exists(self, default: Buffer) -> None:
        """Store the chunk's bytes, if there is no chunk."""
        await self._place.set_if_not_exists(default)

    # --- files --------------------------------------------------------------------------------

    def _open(self) -> bool:
        """Open the file, if it is one of which it pays to keep parts."""
        try:
            descriptor = os.open(self._path, READ_FLAGS)
        except OSError:
            return False
        try:
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode) and status.st_size >= _LEAST:
                steps = layout_steps(get_read_policy("local").first, status.st_size)
                layout = run(steps, partial(read_ranges, descriptor))
                self._stored = StoredFile(descriptor, version_of(status), layout)
                return True
        except (CatervaError, OSError):
            pass  # Zarr's way says what is wrong
        finally:
            if self._stored is None:
                os.close(descriptor)
        return False

    def _write(self, value: Buffer) -> Buffer | None:
        """Write what was made of parts of the file; return what is to be stored in Zarr's way."""
        if not isinstance(value, EditedFile) or self._place.store.read_only:
            return value
        stored = value.stored
        try:
            if replace_file(self._path, stored.descriptor, stored.version, value.spans):
                return None
        except OSError:
            if version_of(os.fstat(stored.descriptor)) == stored.version:
                return value  # Zarr's way says what is wrong
        try:
            with open(self._path, "rb") as file:
                now = file.read()
        except OSError:
            return value
        return value.again(cpu.Buffer.from_bytes(now))
