"""Frames made of all their chunks at once, in linear time.

C-Blosc2 takes longer for many chunks: with each one that it appends, it writes all offsets anew.
"""

from __future__ import annotations

import io
import os
from array import array
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO

from caterva_cffi.format.chunk_header import SPECIALS, sizes_of, special_of
from caterva_cffi.format.frame_header import FrameHeader, set_sizes
from caterva_cffi.format.offsets import chunk_file, encode_offsets, offset_of_special
from caterva_cffi.storage.atomic import INDEX_FILE

__all__ = ["frame_of", "write_directory", "write_file_frame"]


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
    """Put chunks into a frame in a file that has none yet; see `frame_of`."""
    with open(path, "rb+") as file:
        _write(file, _empty(file), chunks)


def write_directory(path: str, chunks: Iterable[Any]) -> None:
    """Put chunks into a sparse frame in a directory that has none yet; see `frame_of`."""

    def store(number: int, chunk: Any) -> None:
        with open(os.path.join(path, chunk_file(number)), "wb") as file:
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
    file.write(header)  # it is written again once all sizes are known
    offsets, cbytes, nbytes = array("q"), 0, 0
    for number, chunk in enumerate(chunks):
        special = special_of(chunk)
        if special in SPECIALS:
            offsets.append(offset_of_special(special))
        else:
            offsets.append(cbytes if store is None else number)
            if store is None:
                file.write(chunk)
            else:
                store(number, chunk)
            cbytes += len(chunk)
        nbytes, _, _ = sizes_of(chunk)
    stored = encode_offsets(offsets)
    file.write(stored)
    file.write(empty[start:])
    set_sizes(header, frame_len=file.tell(), cbytes=cbytes, chunksize=nbytes, nchunks=len(offsets))
    file.seek(0)
    file.write(header)
