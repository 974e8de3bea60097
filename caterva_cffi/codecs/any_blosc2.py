"""Bytes that somebody compressed with Blosc2, somehow, decoded in a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from caterva_cffi.binding.kernel import kernel_of
from caterva_cffi.engine.reading import read_memory
from caterva_cffi.errors import FormatError
from caterva_cffi.format.chunk_header import HEADER, sizes_of
from caterva_cffi.format.frame_header import FrameHeader
from caterva_cffi.format.frame_start import MAGIC, START, begins_as_frame
from caterva_cffi.geometry import index_arrays
from caterva_cffi.geometry.keys import normalize
from caterva_cffi.planning.foreign_chunks import CHECKSUM, FlatChunk, HDF5Chunk, row_of_bytes
from caterva_cffi.planning.layout import Chunks, slices, whole_layout
from caterva_cffi.steps import Steps, run

__all__ = ["decode_any"]


def decode_any(data: bytes | memoryview, nbytes: int | None = None) -> npt.NDArray[np.uint8]:
    """Return what a frame or a chunk of Blosc2 holds, in C order.

    Parameters
    ----------
    data : bytes
        A frame, whose items may have a shape; a chunk without a frame, whose bytes are taken as
        they are in it; or, if `nbytes` is known, that many bytes which nobody compressed. A
        checksum of HDF5's filter fletcher32 may follow.
    nbytes : int, optional
        How many bytes it would hold if nobody had compressed it.

    Raises
    ------
    FormatError
        For anything else.
    UnsupportedError
    """
    if bytes(data[2 : 2 + len(MAGIC)]) == MAGIC:
        return _decode_frame(data)
    if _is_chunk(data):
        return _decode(FlatChunk(), data)
    if nbytes is not None and _is_raw(data, nbytes):
        return np.frombuffer(data, np.uint8, nbytes)
    raise FormatError(
        f"{len(data)} bytes, {bytes(data[:10])!r}..., which are neither a frame nor a chunk of "
        "Blosc2. HDF5 may have left the filter out, or used another one behind it: "
        "caterva_cffi.virtual.HDF5Parser knows",
        "not-a-frame",
    )


def _is_chunk(data: bytes | memoryview) -> bool:
    """Whether bytes are as long as a chunk's header says they are."""
    return len(data) >= HEADER and len(data) - sizes_of(data)[2] in (0, CHECKSUM)


def _is_raw(data: bytes | memoryview, nbytes: int) -> bool:
    """Whether bytes may be what nobody compressed, and not a damaged frame."""
    return len(data) - nbytes in (0, CHECKSUM) and not begins_as_frame(bytes(data[:START]))


def _decode_frame(data: bytes | memoryview) -> npt.NDArray[np.uint8]:
    length = FrameHeader.length_of(bytes(data[:START]))
    header = FrameHeader.parse(bytes(data[:length]))
    if HDF5Chunk.names_shape(header):
        frame = data[: header.frame_len]
        layout = whole_layout(frame)
        return _items(layout, frame).reshape(-1).view(np.uint8)
    return _decode(HDF5Chunk(row_of_bytes(header.nbytes), np.dtype(np.uint8)), data)


def _decode(kind: Any, data: bytes | memoryview) -> npt.NDArray[np.uint8]:
    steps: Steps[Chunks] = kind.steps(len(data), len(data))
    chunks = run(steps, lambda ranges: slices(memoryview(data), ranges))
    return _items(chunks, data).reshape(-1).view(np.uint8)


def _items(chunks: Chunks, data: bytes | memoryview) -> npt.NDArray[Any]:
    """Return all items of an object in memory."""
    seen = chunks.seen
    items = np.empty(seen.shape, f"V{chunks.dtype.itemsize}")
    batches = index_arrays.batches(seen, normalize((), seen.shape), items.dtype, items)
    read_memory(data, chunks, kernel_of(chunks.grid), map(chunks.translated, batches))
    return items
