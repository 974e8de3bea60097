"""The seal: a metalayer with the checksums of a frame's header, offsets and trailer.

Checksums of blocks are in their chunks; see `_native/checksums.h`. The metalayer has 16 bytes: the
version (1), whether the rest is valid (1) or the frame is being changed (0), two zeros, and three
little-endian CRC-32s: of the header (these twelve bytes count as zeros), of the offsets chunk, and
of the trailer. Other programs pass over it. If one changes such a frame, the seal stays as it was,
and the frame is refused.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, NamedTuple

from caterva_cffi.errors import Cause, FormatError, UnsupportedError

__all__ = ["LAYER", "OPEN_SEAL", "Seal"]

LAYER = "crc32"
"""The metalayer's name."""

_FORMAT = struct.Struct("<BBxxIII")
_VERSION = 1
_FIXED = 4  # bytes of the metalayer before the checksums

OPEN_SEAL = _FORMAT.pack(_VERSION, 0, 0, 0, 0)
"""The metalayer while a frame is being made or changed."""


class Seal(NamedTuple):
    """The checksums of a frame; while the seal is not closed, they are not compared.

    Attributes
    ----------
    closed : bool
    header, offsets, trailer : int
    """

    closed: bool
    header: int
    offsets: int
    trailer: int

    @classmethod
    def parse(cls, data: bytes) -> Seal:
        """Return what a metalayer holds.

        Raises
        ------
        FormatError, UnsupportedError
        """
        if len(data) != _FORMAT.size:
            raise FormatError(f"metalayer {LAYER!r} has {len(data)} bytes; expected {_FORMAT.size}")
        version, closed, *values = _FORMAT.unpack(data)
        if version != _VERSION or closed > 1:
            raise UnsupportedError(
                f"metalayer {LAYER!r} begins with {data[:2]!r}: an unknown kind of checksums",
                "unknown-version",
            )
        return cls(bool(closed), *values)

    @classmethod
    def of(cls, header: Any, at: int, offsets: Any, trailer: Any) -> Seal:
        """Return the seal of a frame.

        Parameters
        ----------
        header, offsets, trailer : buffer
            The bytes of each; no bytes if a frame has no offsets chunk.
        at : int
            Position of the metalayer in the header.
        """
        closed = bytearray(header)
        closed[at : at + _FIXED] = _FORMAT.pack(_VERSION, 1, 0, 0, 0)[:_FIXED]
        return cls(True, _crc_of_header(closed, at), zlib.crc32(offsets), zlib.crc32(trailer))

    def pack(self) -> bytes:
        """Return the metalayer."""
        return _FORMAT.pack(_VERSION, *self)

    def check_header(self, header: bytes, at: int) -> None:
        """Compare a frame's header with its checksum.

        Raises
        ------
        FormatError
        """
        if self.closed:
            _compare("the frame's header", self.header, _crc_of_header(header, at))

    def check_offsets(self, chunk: Any) -> None:
        """Compare the offsets chunk with its checksum.

        Raises
        ------
        FormatError
        """
        if self.closed:
            _compare("the offsets of the chunks", self.offsets, zlib.crc32(chunk))

    def check_trailer(self, trailer: Any) -> None:
        """Compare a frame's trailer with its checksum.

        Raises
        ------
        FormatError
        """
        if self.closed:
            _compare("the frame's trailer", self.trailer, zlib.crc32(trailer))


def _crc_of_header(header: Any, at: int) -> int:
    view = memoryview(header)
    crc = zlib.crc32(view[: at + _FIXED])
    crc = zlib.crc32(bytes(_FORMAT.size - _FIXED), crc)
    return zlib.crc32(view[at + _FORMAT.size :], crc)


def _compare(what: str, expected: int, found: int) -> None:
    if found != expected:
        raise FormatError(
            f"{what}: checksum {found:08x}, expected {expected:08x}: bytes were changed, or a "
            "program that keeps no checksums changed the array",
            Cause("checksum-differs", None, found, expected),
        )
