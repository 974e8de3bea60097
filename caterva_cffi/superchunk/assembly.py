"""Frames made of all their chunks at once, in time that grows with the number of chunks.

C-Blosc2 writes the offsets of all chunks anew with each chunk that it appends.
"""

from __future__ import annotations

import io
import os
import struct
from array import array
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO

from caterva_cffi.format.frame import FrameHeader
from caterva_cffi.planning.layout import encode_offsets
from caterva_cffi.storage.atomic import INDEX_FILE

__all__ = ["frame_of", "write_directory", "write_file_frame"]

_NBYTES, _SPECIAL = 4, 31  # in the header of a chunk
_IN_OFFSETS = (1, 2, 4)  # values that an offset says: zeros, NaN, never written


def frame_of(empty: bytes, chunks: Iterable[Any]) -> memoryview:
    """Return the frame with the given chunks.

    Parameters
    ----------
    empty : bytes
        The frame without chunks: its header and its trailer.
    chunks : iterable of buffer
        Compressed chunks of one size; at least one.
    """
    frame = io.BytesIO()
    _write(frame, empty, chunks)
    return frame.getbuffer()


def write_file_frame(path: str, chunks: Iterable[Any]) -> None:
    """Give a frame without chunks, in a file, the chunks; see `frame_of`."""
    with open(path, "rb+") as file:
        _write(file, _empty(file), chunks)


def write_directory(path: str, chunks: Iterable[Any]) -> None:
    """Give a sparse frame without chunks, in a directory, the chunks; see `frame_of`."""

    def store(number: int, chunk: Any) -> None:
        with open(os.path.join(path, f"{number:08X}.chunk"), "wb") as file:
            file.write(chunk)

    with open(os.path.join(path, INDEX_FILE), "rb+") as file:
        _write(file, _empty(file), chunks, store)


def _empty(file: BinaryIO) -> bytes:
    frame = file.read()
    file.seek(0)
    return frame


def _write(
    file: BinaryIO,
    empty: bytes,
    chunks: Iterable[Any],
    store: Callable[[int, Any], None] | None = None,
) -> None:
    start = FrameHeader.length_of(empty[:16])
    header = bytearray(empty[:start])
    file.write(header)  # its place; what it says is known when all chunks are
    offsets, cbytes, nbytes = array("q"), 0, 0
    for number, chunk in enumerate(chunks):
        special = int(chunk[_SPECIAL]) >> 4 & 7
        if special in _IN_OFFSETS:
            offsets.append((special << 56) - (1 << 63))
        else:
            offsets.append(cbytes if store is None else number)
            if store is None:
                file.write(chunk)
            else:
                store(number, chunk)
            cbytes += len(chunk)
        (nbytes,) = struct.unpack_from("<i", chunk, _NBYTES)
    stored = encode_offsets(offsets)
    file.write(stored)
    file.write(empty[start:])
    struct.pack_into(">q", header, 16, file.tell())
    struct.pack_into(">q", header, 30, nbytes * len(offsets))
    struct.pack_into(">q", header, 39, cbytes)
    struct.pack_into(">i", header, 58, nbytes)
    file.seek(0)
    file.write(header)
