"""Seals of frames that C-Blosc2 wrote: opened before a change, and closed after it."""

from __future__ import annotations

import errno
import os
from io import FileIO
from typing import Any, Protocol

from caterva_cffi.format.byte_chunks import check_byte_chunk
from caterva_cffi.format.chunk_header import cbytes_of
from caterva_cffi.format.frame_header import FrameHeader, find_seal
from caterva_cffi.format.seal import OPEN_SEAL, Seal
from caterva_cffi.format.trailer import TRAILER_MIN

__all__ = ["FileFrame", "MemoryFrame", "check_seal", "open_seal", "read_header", "seal"]


class _Frame(Protocol):
    """A frame's bytes, read and written by position."""

    @property
    def size(self) -> int: ...

    def read(self, start: int, stop: int) -> bytes: ...

    def write(self, at: int, data: bytes) -> None: ...


class MemoryFrame:
    """A frame in memory, which may be written to.

    Parameters
    ----------
    buffer : buffer
    """

    def __init__(self, buffer: Any) -> None:
        self._view = memoryview(buffer)
        self.size = len(self._view)

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes between two positions."""
        return bytes(self._view[start:stop])

    def write(self, at: int, data: bytes) -> None:
        """Replace bytes."""
        self._view[at : at + len(data)] = data


class FileFrame:
    """A frame in a file, or the index file of a sparse one.

    Parameters
    ----------
    file : file object
        Open, without a buffer.
    """

    def __init__(self, file: FileIO) -> None:
        self._file = file

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return os.fstat(self._file.fileno()).st_size

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes between two positions; fewer where the file ends."""
        self._file.seek(start)
        data = b""
        while len(data) < stop - start:
            more = self._file.read(stop - start - len(data))
            if not more:
                break
            data += more
        return data

    def write(self, at: int, data: bytes) -> None:
        """Replace bytes."""
        self._file.seek(at)
        if self._file.write(data) != len(data):
            raise OSError(errno.EIO, "only a part could be written")


def _header_bytes(frame: _Frame) -> bytes:
    return frame.read(0, FrameHeader.length_of(frame.read(0, 16)))


def read_header(frame: _Frame) -> FrameHeader:
    """Return a frame's header.

    Raises
    ------
    FormatError
    """
    return FrameHeader.parse(_header_bytes(frame))


def _header(frame: _Frame) -> tuple[bytearray, int | None]:
    """Return a frame's header with the seal open, and the position of the seal."""
    header = bytearray(_header_bytes(frame))
    at = find_seal(bytes(header))
    if at is not None:
        header[at : at + len(OPEN_SEAL)] = OPEN_SEAL
    return header, at


def open_seal(frame: _Frame) -> None:
    """Open a frame's seal: readers do not compare checksums that a change makes wrong.

    Raises
    ------
    FormatError
    """
    _, at = _header(frame)
    if at is not None:
        frame.write(at, OPEN_SEAL)


def seal(frame: _Frame) -> None:
    """Write the checksums of a frame as it is now: close its seal.

    Raises
    ------
    FormatError
        For a damaged frame.
    """
    start, at = _header(frame)
    if at is not None:
        offsets, trailer = _tail(frame, FrameHeader.parse(bytes(start)))
        frame.write(at, Seal.of(start, at, offsets, trailer).pack())


def check_seal(frame: _Frame) -> None:
    """Compare a frame with its checksums, except those of blocks.

    Raises
    ------
    FormatError
    """
    header = read_header(frame)
    if header.seal is not None and header.seal.closed:
        offsets, trailer = _tail(frame, header)
        header.seal.check_offsets(offsets)
        header.seal.check_trailer(trailer)


def _tail(frame: _Frame, header: FrameHeader) -> tuple[bytes, bytes]:
    """Return a frame's offsets chunk, and its trailer."""
    offsets, end = b"", header.frame_len
    if header.nchunks:
        chunk = frame.read(*header.offsets_range)
        check_byte_chunk(chunk, "the offsets of the chunks")
        offsets = chunk[: max(cbytes_of(chunk), 0)]
    size = header.trailer_length(frame.read(max(end - TRAILER_MIN, 0), end))
    return offsets, frame.read(end - size, end)
