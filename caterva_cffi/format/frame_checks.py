"""Frames that C-Blosc2 must not be given, because it would misread them, or read too much."""

from __future__ import annotations

import os
from collections.abc import Callable

from caterva_cffi.errors import FormatError
from caterva_cffi.format.byte_chunks import check_byte_chunk, is_possible
from caterva_cffi.format.chunk_header import HEADER as CHUNK_HEADER
from caterva_cffi.format.chunk_header import special_of
from caterva_cffi.format.frame_header import HEADER_MIN, FrameHeader, fields_of
from caterva_cffi.format.frame_start import MAGIC

__all__ = ["check_header_room", "check_offsets_chunk"]


def check_header_room(start: bytes, status: os.stat_result) -> None:
    """Refuse a header that is longer than what a file with holes really stores.

    Parameters
    ----------
    start : bytes
        The frame's first 16 bytes.
    status : os.stat_result
        Of the file. Some systems do not say how much is stored.

    Raises
    ------
    FormatError
    """
    length, blocks = FrameHeader.length_of(start), getattr(status, "st_blocks", None)
    if blocks is not None and not is_possible(length, 512 * blocks):
        raise FormatError(f"a frame header of {length} bytes in {512 * blocks} stored ones")


def check_offsets_chunk(read: Callable[[int, int], bytes], size: int) -> None:
    """Refuse a frame in memory that C-Blosc2 must not be given, or that it would misread.

    See `check_byte_chunk`. The offsets are decoded if there are several.

    Parameters
    ----------
    read : callable
        Returns the frame's bytes between two positions.
    size : int
        Bytes of the frame.

    Raises
    ------
    FormatError, UnsupportedError
    """
    start = read(0, min(HEADER_MIN, size))
    if len(start) < HEADER_MIN or start[2:10] != MAGIC:
        return  # C-Blosc2 does not read further either
    fields = fields_of(start)
    if fields.nbytes <= 0:
        return
    if fields.chunksize < 1:  # C-Blosc2 divides by it
        raise FormatError(f"{fields.nbytes} bytes in chunks of {fields.chunksize}")
    at = fields.header_len if fields.sparse else fields.header_len + fields.cbytes
    if not HEADER_MIN <= at <= size - CHUNK_HEADER:
        raise FormatError(f"the offsets of the chunks begin at byte {at} of {size}")
    chunk = read(at, at + CHUNK_HEADER)
    check_byte_chunk(chunk, "the offsets of the chunks", size - at)
    if fields.nbytes > fields.chunksize or not special_of(chunk):
        header = FrameHeader.parse(read(0, fields.header_len))
        header.decode_offsets(read(*header.offsets_range))
