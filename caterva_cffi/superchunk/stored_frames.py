"""Checks of frames on disk before C-Blosc2 opens them."""

from __future__ import annotations

import os
from collections.abc import Callable

from caterva_cffi.errors import FormatError, StorageError
from caterva_cffi.format.chunk_header import HEADER, is_plain, sizes_of, special_of
from caterva_cffi.format.frame_header import FrameHeader
from caterva_cffi.format.offsets import chunk_file

__all__ = ["check_stored"]


def check_stored(read: Callable[[int, int], bytes], size: int, path: str) -> None:
    """Refuse a frame on disk that C-Blosc2 must not open.

    When C-Blosc2 opens a frame, it decodes the offsets, and looks at as many blocks of the first
    chunk as the chunk's header claims. It checks neither.

    Parameters
    ----------
    read : callable
        Returns the frame's bytes between two positions; fewer where it ends.
    size : int
        Bytes of the frame.
    path : str
        The directory, if the frame is sparse.

    Raises
    ------
    FormatError, UnsupportedError
    StorageError
        For a directory whose first chunk cannot be read.
    """
    header = FrameHeader.parse(read(0, min(FrameHeader.length_of(read(0, 16)), size)))
    if not header.nbytes:
        return
    if not header.chunksize:
        raise FormatError(f"{header.nbytes} bytes in chunks of 0")
    first = int(header.decode_offsets(read(*header.offsets_range))[0])
    if first < 0:
        return
    if header.sparse:
        name = os.path.join(path, chunk_file(first))
        try:
            with open(name, "rb") as file:
                start, first, size = file.read(HEADER), 0, os.fstat(file.fileno()).st_size
        except (FileNotFoundError, NotADirectoryError):
            raise FormatError(f"{name!r}, the first chunk, is missing", "cut-off") from None
        except OSError as error:
            raise StorageError(f"{name!r} cannot be read: {error.strerror or error}") from error
    else:
        start = read(first, first + HEADER)
    if len(start) < HEADER:
        raise FormatError(f"the first chunk has {len(start)} bytes")
    nbytes, _, cbytes = sizes_of(start)
    if not HEADER <= cbytes <= size - first or (
        is_plain(start) and not special_of(start) and cbytes != HEADER + nbytes
    ):
        raise FormatError(f"the first chunk says that it has {cbytes} bytes for {nbytes}")
    if nbytes != header.chunksize:
        raise FormatError(
            f"the first chunk says that it decodes to {nbytes} bytes; the header says "
            f"{header.chunksize}"
        )
