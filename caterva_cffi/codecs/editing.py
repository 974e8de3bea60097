"""Items of a frame in memory, replaced: untouched blocks keep their compressed bytes."""

from __future__ import annotations

from collections.abc import Sequence
from operator import mul
from typing import Any

import numpy as np
import numpy.typing as npt

from caterva_cffi.binding.buffers import address
from caterva_cffi.binding.compression import Compression
from caterva_cffi.binding.kernel import Kernel
from caterva_cffi.binding.library import lib
from caterva_cffi.dtypes import allocate
from caterva_cffi.engine.groups import pieces
from caterva_cffi.format.frame_header import set_sizes, write_seal
from caterva_cffi.format.offsets import encode_offsets
from caterva_cffi.format.trailer import TRAILER_MIN
from caterva_cffi.geometry import index_arrays
from caterva_cffi.geometry.cutting import cut
from caterva_cffi.geometry.selection import Basic, Box, Fancy, lay
from caterva_cffi.planning.layout import Layout

__all__ = ["FrameEditor", "frame_around"]


class FrameEditor:
    """Makes a new frame from an old one; the old one is not changed.

    Parameters
    ----------
    frame : bytes
        A contiguous frame.
    layout : Layout
        Of this frame.
    kernel : Kernel
        Of the layout's grid.
    compression : Compression
        For blocks that change. A chunk with other parameters is compressed anew as a whole.
    """

    def __init__(
        self, frame: bytes | memoryview, layout: Layout, kernel: Kernel, compression: Compression
    ) -> None:
        self._frame = frame
        self._layout = layout
        self._kernel = kernel
        self._compression = compression.to_kernel()
        self._changed: dict[int, npt.NDArray[np.uint8]] = {}
        # The memory of the new frame, if it has one chunk, which is compressed right there.
        self._memory: Any = None

    def write(self, selection: Basic | Fancy, items: npt.NDArray[Any]) -> None:
        """Replace items.

        Parameters
        ----------
        selection : Basic or Fancy
        items : ndarray
            Of the selection's shape and the frame's dtype.
        """
        if isinstance(selection, Fancy):
            grid = self._layout.grid
            index_arrays.write(grid, self._read_boxes, self._write_box, selection, items)
        else:
            self._write_box(selection.box, lay(items, selection))

    def _read_boxes(self, boxes: Sequence[tuple[Box, npt.NDArray[Any]]]) -> None:
        grid = self._layout.grid
        for box, dest in boxes:
            self._kernel.decode([
                (
                    number, pieces(self._chunk(number)), part,
                    address(dest) + sum(map(mul, position, dest.strides)), dest.strides,
                )
                for number, part, position in cut(grid, box)
            ])  # fmt: skip

    def _chunk(self, number: int) -> list[tuple[int, Any]]:
        changed = self._changed.get(number)
        if changed is not None:
            return [(0, changed)]
        return list(self._layout.whole_chunk(number, self._frame))

    def _write_box(self, box: Box, source: npt.NDArray[Any]) -> None:
        if source.size == 0:
            return
        for number, part, position in cut(self._layout.grid, box):
            within: list[Any] = [slice(k, k + n) for k, n in zip(position, part[1], strict=True)]
            self._changed[number] = self._update(number, part, source[(*within, ...)])

    def _update(self, number: int, box: Box, items: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        kernel, grid = self._kernel, self._layout.grid
        [piece] = pieces(self._chunk(number))
        dest = self._room() if grid.nchunks == 1 and not self._changed else None
        chunk = kernel.update(number, self._compression, piece, box, items, dest)
        if chunk is None:
            whole = allocate(grid.chunks, items.dtype)
            every = ((0,) * grid.ndim, grid.chunks, (1,) * grid.ndim)
            kernel.decode([(number, [piece], every, address(whole), whole.strides)])
            within: list[Any] = [
                slice(first, first + (n - 1) * step + 1, step)
                for first, n, step in zip(*box, strict=True)
            ]
            whole[(*within, ...)] = items
            chunk = kernel.encode(number, self._compression, whole, dest)
        return chunk

    def _room(self) -> npt.NDArray[np.uint8]:
        start, bound = self._layout.header.header_len, self._kernel.bound
        self._memory = np.empty(start + bound + self._most_behind, np.uint8)
        room: npt.NDArray[np.uint8] = self._memory[start : start + bound]
        return room

    @property
    def _most_behind(self) -> int:
        """The most bytes of the offsets chunk and the trailer."""
        tail = self._layout.header.frame_len - self._layout.header.offsets_at
        return int(tail + 8 * self._layout.grid.nchunks + lib.BLOSC2_MAX_OVERHEAD)

    def to_frame(self) -> memoryview:
        """Return the new frame."""
        layout, header = self._layout, self._layout.header
        offsets = layout.offsets.tolist()
        chunks: list[Any] = []
        cbytes = 0
        for number, offset in enumerate(offsets):
            if number not in self._changed and offset < 0:
                continue  # a chunk of one value is not stored
            chunk = self._changed.get(number)
            if chunk is None:
                chunk = np.frombuffer(layout.stored_chunk(number, self._frame), np.uint8)
            offsets[number] = cbytes
            chunks.append(chunk)
            cbytes += len(chunk)
        tail = self._frame[header.offsets_at : header.frame_len]
        start, *end = frame_around(layout, tail, offsets, cbytes)
        at = len(start) + cbytes
        if self._memory is None or not np.may_share_memory(self._memory, self._changed[0]):
            return memoryview(np.concatenate([start, *chunks, *end]))
        size = at + sum(map(len, end))
        self._memory[: len(start)] = start
        self._memory[at:size] = np.concatenate(end)
        return memoryview(self._memory[:size])


def frame_around(
    layout: Layout, tail: bytes | memoryview, offsets: Sequence[int], cbytes: int
) -> list[npt.NDArray[np.uint8]]:
    """Return what is around the chunks of a frame that changes: header, offsets chunk and trailer.

    Parameters
    ----------
    layout : Layout
        Of the old frame.
    tail : bytes
        The old frame's bytes behind its chunks.
    offsets : sequence of int
        Where the new chunks begin.
    cbytes : int
        Bytes of all new chunks.
    """
    header = layout.header
    trailer = tail[len(tail) - header.trailer_length(bytes(tail[-TRAILER_MIN:])) :]
    start = bytearray(layout.beginning[: header.header_len])
    stored_offsets = encode_offsets(offsets)
    size = len(start) + cbytes + len(stored_offsets) + len(trailer)
    set_sizes(start, frame_len=size, cbytes=cbytes)
    write_seal(memoryview(start), stored_offsets, trailer)
    return [np.frombuffer(part, np.uint8) for part in (start, stored_offsets, trailer)]
