"""The bytes of a frame: header, metalayers and chunk offsets. Pure, and trusts nothing.

Format: C-Blosc2's README_CFRAME_FORMAT and README_SFRAME_FORMAT. Two facts they leave out: offsets
count from the end of the header, and a frame without items has no offsets chunk.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from caterva_cffi.errors import FormatError, UnsupportedError
from caterva_cffi.format.seal import LAYER, Seal

__all__ = [
    "HEADER_MIN",
    "START",
    "TRAILER_MIN",
    "UNQUESTIONED",
    "FrameHeader",
    "begins_as_frame",
    "check_byte_chunk",
    "check_header_room",
    "check_offsets_chunk",
    "find_frame",
    "find_seal",
    "frame_length",
    "length_error",
    "parse_trailer",
    "special_of_offset",
    "write_seal",
]

HEADER_MIN = 87
"""Bytes of a header without metalayers."""

START = 24
"""Bytes of a frame that say that it is one, and how many bytes it has."""

TRAILER_MIN = 35
"""Bytes of a trailer without metalayers."""

_TRAILER_LENGTH = 22
"""Bytes from where a trailer's length stands to the trailer's end."""

_MAGIC = b"b2frame\0"
_BEGINNING = b"\x9e\xa8" + _MAGIC + b"\xd2"  # msgpack: 14 fields, a string of 8, an int32
_VERSIONS = range(1, 4)
_MAX_METALAYERS = 16
_CHUNK_HEADER = 32
_MAX_VARIABLE_METALAYERS = 8 * 1024
_NO_VARIABLE_METALAYERS = 0xC2
UNQUESTIONED = 16 << 20
"""Bytes that offsets or a metalayer may decode to, however few are stored."""
_BEST_RATIO = 1024
"""Of what is larger. C-Blosc2 compresses the offsets of chunks of zeros 183 times."""


@dataclass(frozen=True)
class FrameHeader:
    """What a frame's header says.

    Attributes
    ----------
    header_len, frame_len : int
        Bytes of the header, and of the whole frame.
    nbytes, cbytes : int
        Bytes of all chunks, decoded and compressed.
    itemsize, blocksize, chunksize : int
        Bytes.
    sparse : bool
        Whether chunks are files of their own.
    metalayers : dict of str to bytes
    variable : bool
        Whether the trailer holds metalayers of variable length.
    seal : Seal or None
        The checksums of the frame, where it has them.
    """

    header_len: int
    frame_len: int
    nbytes: int
    cbytes: int
    itemsize: int
    blocksize: int
    chunksize: int
    sparse: bool
    metalayers: dict[str, bytes]
    variable: bool
    seal: Seal | None

    @property
    def is_sealed(self) -> bool:
        """Whether the frame has checksums of its own that are up to date."""
        return self.seal is not None and self.seal.closed

    @property
    def nchunks(self) -> int:
        """Number of chunks."""
        return -(-self.nbytes // self.chunksize) if self.chunksize else 0

    @property
    def offsets_at(self) -> int:
        """Where the chunk of offsets begins, or the trailer of a frame without items."""
        # What is left of chunks that were deleted counts as compressed bytes.
        inside = 0 if self.sparse or not self.nbytes else self.cbytes
        return self.header_len + inside

    def trailer_length(self, end: bytes) -> int:
        """Return how long the trailer is, which ends where the frame does.

        Parameters
        ----------
        end : bytes
            The frame's last bytes, `TRAILER_MIN` at least.

        Raises
        ------
        FormatError
        """
        most = self.frame_len - self.offsets_at
        size = int.from_bytes(end[-_TRAILER_LENGTH:][:4], "big") if len(end) >= TRAILER_MIN else 0
        if not TRAILER_MIN <= size <= most:
            raise FormatError(f"a trailer of {size} bytes; there is room for {most}")
        return size

    @staticmethod
    def length_of(start: bytes) -> int:
        """Return the header's length from the frame's first 16 bytes."""
        if len(start) < 16 or start[2:10] != _MAGIC:
            raise FormatError(f"{bytes(start[:10])!r} where a frame begins; expected 'b2frame'")
        (length,) = struct.unpack_from(">i", start, 11)
        if length < HEADER_MIN:
            raise FormatError(f"a frame header of {length} bytes; expected at least {HEADER_MIN}")
        return int(length)

    @classmethod
    def parse(cls, data: bytes) -> FrameHeader:
        """Return the header in a frame's first bytes.

        Parameters
        ----------
        data : bytes
            At least the whole header.

        Raises
        ------
        FormatError
        UnsupportedError
            For a version of the format that is not known, or chunks of variable length.
        """
        header_len = cls.length_of(data)
        if len(data) < header_len:
            raise FormatError(f"{len(data)} bytes of a frame header of {header_len}")
        flags, kind = data[25], data[26]
        if flags & 0x0F not in _VERSIONS or flags & 0xC0:
            raise UnsupportedError(f"a frame with flags {flags:#x}: unknown version or chunk kind")
        frame_len, nbytes, cbytes = (struct.unpack_from(">q", data, at)[0] for at in (16, 30, 39))
        itemsize, blocksize, chunksize = (
            struct.unpack_from(">i", data, at)[0] for at in (48, 53, 58)
        )
        if not nbytes:
            chunksize = max(chunksize, 0)  # -1 while no chunk was appended
        places = find_metalayers(data, HEADER_MIN, header_len, _MAX_METALAYERS)
        layers = {name: data[start:stop] for name, (start, stop) in places.items()}
        seal = Seal.parse(layers[LAYER]) if LAYER in layers else None
        if seal is not None:
            seal.check_header(data[:header_len], places[LAYER][0])
        header = cls(
            header_len, frame_len, nbytes, cbytes, itemsize, blocksize, chunksize,
            kind & 0x0F == 1, layers, data[68] != _NO_VARIABLE_METALAYERS, seal,
        )  # fmt: skip
        if min(frame_len - header_len, nbytes, cbytes, blocksize, chunksize) < 0 or itemsize < 1:
            raise FormatError(f"a frame header with sizes that make no sense: {header}")
        if header.offsets_at > frame_len:
            raise FormatError(f"{cbytes} bytes of chunks in a frame of {frame_len}")
        return header

    def parse_offsets(self, decoded: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Return where the chunks begin, from the items of the offsets chunk.

        Parameters
        ----------
        decoded : ndarray of uint8

        Returns
        -------
        ndarray of int64
            In a contiguous frame, bytes from the frame's start; in a sparse one the numbers of
            files. Negative ones are chunks of one value; see `special_of_offset`.

        Raises
        ------
        FormatError
            For a chunk that lies outside the frame's chunks, or where another one does.
        """
        offsets = np.asarray(decoded.view("<i8"), np.int64)
        if self.sparse:
            return offsets
        wrong = np.flatnonzero(offsets > self.cbytes - _CHUNK_HEADER)
        if wrong.size:
            raise FormatError(
                f"chunk {wrong[0]} begins at byte {offsets[wrong[0]]} of {self.cbytes}"
            )
        stored = np.sort(offsets[offsets >= 0])
        close = np.flatnonzero(np.diff(stored) < _CHUNK_HEADER)
        if close.size:
            raise FormatError(
                f"chunks overlap: they begin at bytes {stored[close[0]]} and {stored[close[0] + 1]}"
            )
        return np.where(offsets < 0, offsets, offsets + self.header_len)


def begins_as_frame(start: bytes) -> bool:
    """Whether bytes are those with which a frame begins, or would be but for some that are damaged.

    Parameters
    ----------
    start : bytes
        The first `START` bytes; fewer where there are no more.
    """
    expected = _BEGINNING[: len(start)]
    wrong = sum(found != right for found, right in zip(start, expected, strict=False))
    return bool(start) and wrong <= len(expected) // 4


def frame_length(start: bytes) -> int | None:
    """Return how many bytes a frame says that it has; None for what is no frame.

    Parameters
    ----------
    start : bytes
        See `begins_as_frame`.
    """
    if len(start) < START or not begins_as_frame(start):
        return None
    (length,) = struct.unpack_from(">q", start, START - 8)
    return int(length) if length >= HEADER_MIN else None


def length_error(start: bytes, size: int) -> str | None:
    """Return what is wrong with a frame's length; None where nothing is, or it is no frame.

    Parameters
    ----------
    start : bytes
        See `begins_as_frame`.
    size : int
        Bytes that there are.
    """
    if begins_as_frame(start) and len(start) < START:
        return f"{size} bytes of a frame, which is cut off"
    length = frame_length(start)
    if length is None or length == size:
        return None
    if size < length:
        return f"{size} bytes of a frame that has {length}: it is cut off"
    return f"a frame of {length} bytes, and {size - length} bytes behind it"


def find_frame(data: bytes) -> int | None:
    """Return where the first frame may begin that there is in bytes."""
    at = data.find(_BEGINNING)
    return None if at < 0 else at


def check_header_room(start: bytes, status: os.stat_result) -> None:
    """Refuse a header that is longer than what is stored of a file with holes.

    Parameters
    ----------
    start : bytes
        The frame's first 16 bytes.
    status : os.stat_result
        Of the file. Some systems do not say what is stored.

    Raises
    ------
    FormatError
    """
    length, blocks = FrameHeader.length_of(start), getattr(status, "st_blocks", None)
    if blocks is not None and length > UNQUESTIONED + _BEST_RATIO * 512 * blocks:
        raise FormatError(f"a frame header of {length} bytes in {512 * blocks} stored ones")


def find_seal(header: bytes) -> int | None:
    """Return where in a frame's header its seal is, if it has one.

    Raises
    ------
    FormatError
    """
    places = find_metalayers(header, HEADER_MIN, len(header), _MAX_METALAYERS)
    return places[LAYER][0] if LAYER in places else None


def write_seal(header: memoryview, offsets: Any, trailer: Any) -> None:
    """Write a frame's checksums into its header, if it is one that has them.

    Parameters
    ----------
    header : memoryview
        The header's bytes, to be written.
    offsets, trailer : buffer
        The bytes of the offsets chunk, if there is one, and of the trailer.
    """
    at = find_seal(bytes(header))
    if at is not None:
        seal = Seal.of(header, at, offsets, trailer).pack()
        header[at : at + len(seal)] = seal


def special_of_offset(offset: int) -> int:
    """Return which value a chunk with a negative offset repeats, as a chunk header has it.

    Raises
    ------
    FormatError
        For a value that no offset stands for.
    """
    special = offset >> 56 & 0x7F
    if special not in (1, 2, 4):
        raise FormatError(f"offset {offset & (1 << 64) - 1:#x} stands for no chunk")
    return special


def parse_trailer(data: bytes) -> dict[str, bytes]:
    """Return the variable-length metalayers in a frame's trailer, each of them a chunk.

    Raises
    ------
    FormatError
    """
    places = find_metalayers(data, 2, len(data), _MAX_VARIABLE_METALAYERS)
    return {name: data[start:stop] for name, (start, stop) in places.items()}


def check_byte_chunk(chunk: bytes | memoryview, what: str, size: int | None = None) -> None:
    """Refuse a chunk that is no array's, and that C-Blosc2 must not be given.

    It would look for a plugin by the number of a codec or filter, in a library or with a process,
    would believe that a lazy chunk is all there, and would take any amount of memory.

    Parameters
    ----------
    chunk : bytes
        Of offsets, or of a variable-length metalayer; its header at least.
    what : str
        For the error.
    size : int, optional
        Bytes that the chunk may have; by default those that are given.

    Raises
    ------
    FormatError
    """
    if len(chunk) < _CHUNK_HEADER:
        raise FormatError(f"{what}: {len(chunk)} bytes; expected at least {_CHUNK_HEADER}")
    codec, flags = chunk[2] >> 5, chunk[31]
    extended = chunk[2] & 0x05 == 0x05
    if not extended or codec > 4 or flags & 0x88 or chunk[30] or max(chunk[16:22]) > 4:
        raise FormatError(f"{what}: a codec, filter or flag that such a chunk cannot have")
    nbytes, _, cbytes = struct.unpack_from("<iii", chunk, 4)
    stored = min(cbytes, len(chunk) if size is None else size)
    if nbytes > UNQUESTIONED + _BEST_RATIO * stored:
        raise FormatError(f"{what}: {stored} bytes that would decode to {nbytes}")


def check_offsets_chunk(read: Callable[[int, int], bytes], size: int) -> None:
    """Refuse a frame whose offsets chunk C-Blosc2 must not be given; see `check_byte_chunk`.

    Parameters
    ----------
    read : callable
        Returns the frame's bytes from a position to another.
    size : int
        Bytes of the frame.

    Raises
    ------
    FormatError
    """
    start = read(0, min(HEADER_MIN, size))
    if len(start) < HEADER_MIN or start[2:10] != _MAGIC:
        return  # C-Blosc2 gets no further either
    header_len, chunksize = (struct.unpack_from(">i", start, at)[0] for at in (11, 58))
    nbytes, cbytes = (struct.unpack_from(">q", start, at)[0] for at in (30, 39))
    if nbytes <= 0:
        return
    if chunksize < 1:  # by which C-Blosc2 divides
        raise FormatError(f"{nbytes} bytes in chunks of {chunksize}")
    at = header_len if start[26] & 0x0F == 1 else header_len + cbytes
    if not HEADER_MIN <= at <= size - _CHUNK_HEADER:
        raise FormatError(f"the offsets of the chunks begin at byte {at} of {size}")
    check_byte_chunk(read(at, at + _CHUNK_HEADER), "the offsets of the chunks", size - at)


def find_metalayers(data: bytes, begin: int, end: int, most: int) -> dict[str, tuple[int, int]]:
    """Return where the metalayers behind the fixed part of a header or trailer are.

    Raises
    ------
    FormatError
    """

    def take(at: int, size: int) -> bytes:
        if not 0 <= at <= at + size <= end:
            raise FormatError(f"metalayers reach byte {at + size} of {end}")
        return data[at : at + size]

    mark, count_mark, count = take(begin + 4, 1)[0], 0xDE, 0
    if mark != count_mark:
        raise FormatError(f"byte {mark:#x} where the map of metalayers begins")
    count = struct.unpack(">H", take(begin + 5, 2))[0]
    if count > most:
        raise FormatError(f"{count} metalayers; at most {most} are possible")
    places: dict[str, tuple[int, int]] = {}
    at = begin + 7
    for _ in range(count):
        size = take(at, 1)[0] & 0x1F
        name = take(at + 1, size)
        mark, offset = struct.unpack(">Bi", take(at + 1 + size, 5))
        content_mark, length = struct.unpack(">BI", take(offset, 5))
        if mark != 0xD2 or content_mark != 0xC6:
            raise FormatError(f"metalayer {name!r} has types {mark:#x} and {content_mark:#x}")
        take(offset + 5, length)
        places[name.decode(errors="surrogateescape")] = (offset + 5, offset + 5 + length)
        at += 6 + size
    return places
