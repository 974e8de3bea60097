"""The compressed chunks of a super-chunk, each where it is: in memory, or in a file of its own."""

from __future__ import annotations

import os
from typing import Any

from caterva_cffi.binding.library import ffi, lib
from caterva_cffi.errors import Cause, FormatError, StorageError
from caterva_cffi.format.chunk_header import HEADER, sizes_of
from caterva_cffi.format.offsets import chunk_file
from caterva_cffi.storage.atomic import check_descriptors

__all__ = ["CompressedChunk", "chunk_of_file", "offsets_of"]


class CompressedChunk:
    """The bytes of one compressed chunk in C memory, with whatever keeps them valid.

    Attributes
    ----------
    pointer : cdata
    size : int
        Bytes.
    in_place : bool
        Whether this is where the super-chunk has the chunk: what is written here changes it.
    """

    __slots__ = ("_owner", "in_place", "pointer", "size")

    def __init__(self, pointer: Any, size: int, owner: Any, in_place: bool) -> None:
        self.pointer = pointer
        self.size = size
        self.in_place = in_place
        self._owner = owner


def offsets_of(ptr: Any, path: str) -> Any:
    """Return the offsets of all chunks of a frame.

    Raises
    ------
    StorageError, FormatError
    """
    pointer = lib.blosc2_frame_get_offsets(ptr)
    if pointer == ffi.NULL:
        check_descriptors(path, "read")  # which would explain it
        raise FormatError(f"{path!r}: the offsets of the chunks cannot be read")
    return ffi.gc(pointer, lib.free, size=8 * ptr.nchunks)


def chunk_of_file(directory: str, ptr: Any, number: int, offset: int) -> CompressedChunk:
    """Read a chunk's file; C-Blosc2 would believe the length that the chunk says.

    Raises
    ------
    StorageError, FormatError
    """
    path = os.path.join(directory, chunk_file(offset))
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise StorageError(f"{path!r} cannot be read: {error.strerror or error}") from error
    if len(data) < HEADER:
        raise FormatError(
            f"{path!r} has {len(data)} bytes, too few for chunk {number}",
            Cause("cut-off", None, len(data), HEADER),
        )
    nbytes, _, cbytes = sizes_of(data)
    if nbytes != ptr.chunksize or not HEADER <= cbytes <= len(data):
        raise FormatError(
            f"{path!r} has {len(data)} bytes; chunk {number} says that it has {cbytes} for "
            f"{nbytes}, expected to decode to {ptr.chunksize}"
        )
    return CompressedChunk(ffi.from_buffer("uint8_t[]", data), cbytes, data, False)
