"""The 32 bytes with which a chunk begins. Format: C-Blosc2's README_CHUNK_FORMAT."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from caterva_cffi.errors import FormatError

__all__ = [
    "HEADER",
    "SPECIALS",
    "cbytes_of",
    "check_size",
    "filters_of",
    "is_plain",
    "is_simple",
    "many_cbytes_of",
    "plain_header",
    "sizes_of",
    "special_header",
    "special_of",
    "typesize_of",
]

HEADER = 32
"""Bytes of a chunk's header."""

SPECIALS = (1, 2, 4)
"""Numbers of the special values: zeros, NaN, and "never written"."""

_VERSION, _CODEC_VERSION = 5, 1
_FLAGS, _ITEMSIZE, _SIZES, _FILTERS, _CODEC_NUMBER, _FLAGS2 = 2, 3, 4, slice(16, 22), 30, 31
_CBYTES = slice(12, 16)
_EXTENDED, _PLAIN = 0x05, 0x02
_LAZY, _INSTRUMENTED = 0x08, 0x80


def sizes_of(chunk: Any) -> tuple[int, int, int]:
    """Return how many bytes a chunk decodes to, how many a block has, and how many the chunk has.

    Parameters
    ----------
    chunk : buffer
        At least its header.
    """
    nbytes, blocksize, cbytes = struct.unpack_from("<iii", chunk, _SIZES)
    return nbytes, blocksize, cbytes


def typesize_of(chunk: Any) -> int:
    """Return how many bytes an item has, as a chunk's header says; 1 for more than 255."""
    return int(chunk[_ITEMSIZE])


def cbytes_of(chunk: bytes | memoryview) -> int:
    """Return how many bytes a chunk has, as its header says."""
    return int.from_bytes(chunk[_CBYTES], "little", signed=True)


def many_cbytes_of(source: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64]) -> Any:
    """Return how many bytes chunks have, as their headers say; `starts` is where they begin."""
    fields = source[starts[:, None] + np.arange(_CBYTES.start, _CBYTES.stop)]
    return fields.view("<i4")[:, 0].astype(np.int64)


def special_of(chunk: Any) -> int:
    """Return the number of the value that a chunk repeats; 0 if it has blocks."""
    return int(chunk[_FLAGS2]) >> 4 & 7


def filters_of(chunk: Any) -> bytes:
    """Return the numbers of a chunk's filters."""
    return bytes(chunk[_FILTERS])


def is_plain(chunk: Any) -> bool:
    """Whether the blocks of a chunk are stored as they are."""
    return bool(chunk[_FLAGS] & _PLAIN)


def is_simple(chunk: bytes | memoryview) -> bool:
    """Whether a chunk needs no plugin, and all of it is there."""
    flags = chunk[_FLAGS]
    return (
        flags & _EXTENDED == _EXTENDED
        and flags >> 5 <= 4
        and not chunk[_FLAGS2] & (_LAZY | _INSTRUMENTED)
        and not chunk[_CODEC_NUMBER]
        and max(chunk[_FILTERS]) <= 4
    )


def check_size(chunk: bytes | memoryview, number: int, room: int | None = None) -> int:
    """Return how many bytes a chunk has; all of them must be among the given ones.

    Parameters
    ----------
    chunk : bytes
        At least its header.
    number : int
    room : int, optional
        How many bytes it may have; by default, as many as are given.

    Raises
    ------
    FormatError
        For a chunk that goes beyond the given bytes.
    """
    size = cbytes_of(chunk) if len(chunk) >= HEADER else -1
    room = len(chunk) if room is None else room
    if not HEADER <= size <= room:
        raise FormatError(f"chunk {number} has {size} bytes; there are {room}")
    return size


def special_header(nbytes: int, blocksize: int, itemsize: int, special: int) -> bytes:
    """Return a chunk in which every item is the same; it is only a header.

    Parameters
    ----------
    nbytes, blocksize, itemsize : int
        Bytes that it decodes to, bytes of a block, and bytes of an item.
    special : int
        One of `SPECIALS`.
    """
    header = bytearray(HEADER)
    header[:_SIZES] = bytes([_VERSION, _CODEC_VERSION, _EXTENDED, min(itemsize, 255)])
    struct.pack_into("<iii", header, _SIZES, nbytes, blocksize, HEADER)
    header[_FLAGS2] = special << 4
    return bytes(header)


def plain_header(nbytes: int, blocksize: int, itemsize: int) -> bytes:
    """Return the header of a chunk whose blocks are stored as they are.

    Parameters
    ----------
    nbytes, blocksize, itemsize : int
        Bytes that follow it, bytes of a block, and bytes of an item.
    """
    header = bytearray(HEADER)
    header[:_SIZES] = bytes([_VERSION, _CODEC_VERSION, _EXTENDED | _PLAIN, min(itemsize, 255)])
    struct.pack_into("<iii", header, _SIZES, nbytes, blocksize, HEADER + nbytes)
    return bytes(header)
