"""Chunks that Zarr writes as a whole, encoded many at a time and stored.

Zarr hands a codec one chunk after the other, and sets the bytes that it gets. Here it gets an
`UnencodedFrame`, which remembers the items, and sets it in a `WaitingChunk`, which remembers both.
When Zarr is done, all of them are encoded, several by one call, in memory that is used again.
Everything in between is Zarr's own code, and so are its rules. Whoever wants the bytes of a frame
gets them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from zarr.core.buffer import Buffer, cpu

from caterva_cffi.binding.compression import Compression
from caterva_cffi.binding.threads import get_nthreads
from caterva_cffi.codecs.encoding import encode_frame, encode_frames, frame_bound
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.zarr_chunks.late_buffers import LateBuffer

if TYPE_CHECKING:
    from zarr.core.buffer import BufferPrototype
    from zarr.storage import StorePath

__all__ = ["UnencodedFrame", "WaitingChunk", "WrittenItems", "store_all"]

_BYTES = 16 << 20
"""Room for frames that are encoded by one call. One frame may take more."""

_FRAMES = 64
"""That are encoded by one call at most: files are written by one thread for each call."""

_THREADS = 8
"""That encode and write files at most; each call encodes with all processors that are free."""

Waiting: TypeAlias = "tuple[StorePath, UnencodedFrame]"


class WrittenItems(cpu.NDBuffer):
    """Items that somebody encodes later. What Zarr cuts out of them is of this class, too."""


class UnencodedFrame(LateBuffer):
    """The frame of an array of one chunk, encoded when somebody wants its bytes.

    Parameters
    ----------
    items : ndarray
    grid : Grid
    compression : Compression
    """

    def __init__(self, items: npt.NDArray[Any], grid: Grid, compression: Compression) -> None:
        super().__init__(self._encode)
        self.items = items
        self.grid = grid
        self.compression = compression

    def _encode(self) -> npt.NDArray[np.uint8]:
        return np.frombuffer(encode_frame(self.items, self.grid, self.compression), np.uint8)

    @property
    def most(self) -> int:
        """The most bytes that it takes."""
        return frame_bound(self.grid, self.items.dtype, self.compression)

    def goes_with(self, other: UnencodedFrame) -> bool:
        """Whether one call can encode both."""
        return (
            self.grid == other.grid
            and self.items.dtype == other.items.dtype
            and self.compression == other.compression
        )


class WaitingChunk:
    """Sets the bytes of a chunk for Zarr, or lets it wait until it is encoded.

    Parameters
    ----------
    place : StorePath
        Zarr's own access to the chunk.
    waiting : deque
        Gets the place and the frame of a chunk that is not encoded.
    """

    def __init__(self, place: StorePath, waiting: deque[Waiting]) -> None:
        self._place = place
        self._waiting = waiting

    def get_sync(self, prototype: BufferPrototype, byte_range: Any = None) -> Buffer | None:
        """Return the chunk's bytes; None if there is no chunk."""
        return self._place.get_sync(prototype=prototype, byte_range=byte_range)

    async def get(self, prototype: BufferPrototype, byte_range: Any = None) -> Buffer | None:
        """Do the same asynchronously."""
        return await self._place.get(prototype, byte_range)

    def set_sync(self, value: Buffer) -> None:
        """Store the chunk's bytes, or remember them."""
        if isinstance(value, UnencodedFrame):
            self._waiting.append((self._place, value))
        else:
            self._place.set_sync(value)

    async def set(self, value: Buffer) -> None:
        """Do the same asynchronously."""
        if isinstance(value, UnencodedFrame):
            self._waiting.append((self._place, value))
        else:
            await self._place.set(value)

    def delete_sync(self) -> None:
        """Delete the chunk."""
        self._place.delete_sync()

    async def delete(self) -> None:
        """Do the same asynchronously."""
        await self._place.delete()

    async def set_if_not_exists(self, default: Buffer) -> None:
        """Store the chunk's bytes, if there is no chunk."""
        await self._place.set_if_not_exists(default)


async def store_all(waiting: deque[Waiting]) -> None:
    """Encode and store what waits, in threads: one encodes while another one writes files."""
    calls = deque(_calls(waiting))
    count = min(len(calls), max(get_nthreads(), 2), _THREADS)
    work = [asyncio.to_thread(_store_calls, calls) for _ in range(count)]
    for error in await asyncio.gather(*work, return_exceptions=True):
        if error is not None:
            raise error


def _calls(waiting: deque[Waiting]) -> list[list[Waiting]]:
    """Return what each call encodes: neighbours that go together."""
    calls: list[list[Waiting]] = []
    room = 0
    for place, frame in waiting:
        room -= frame.most
        if room < 0 or len(calls[-1]) == _FRAMES or not calls[-1][0][1].goes_with(frame):
            calls.append([])
            room = _BYTES - frame.most
        calls[-1].append((place, frame))
    return calls


def _store_calls(calls: deque[list[Waiting]]) -> None:
    """Encode what each call has, and store it, until nothing is left."""
    try:
        while True:
            try:
                call = calls.popleft()
            except IndexError:
                return
            _store(call)
    except BaseException:
        calls.clear()
        raise


def _store(call: Sequence[Waiting]) -> None:
    first = call[0][1]
    frames = encode_frames([frame.items for _, frame in call], first.grid, first.compression)
    for (place, _), frame in zip(call, frames, strict=True):
        place.set_sync(cpu.Buffer(np.frombuffer(frame, np.uint8)))
