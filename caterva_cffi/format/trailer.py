"""What a frame ends with: metalayers of variable length, each of them a chunk.

Format: C-Blosc2's README_CFRAME_FORMAT.
"""

from __future__ import annotations

import struct

from caterva_cffi.format.metalayer_map import find_metalayers, pack_metalayers

__all__ = ["TRAILER_MIN", "empty_trailer", "parse_trailer", "trailer_length"]

TRAILER_MIN = 35
"""Bytes of a trailer without metalayers."""

_BEGINNING = b"\x94\x01"  # msgpack: 4 fields, the version
_LAYERS_AT = len(_BEGINNING)
_MOST_LAYERS = 8 * 1024
_UINT32, _FINGERPRINT = 0xCE, b"\xd8" + bytes(17)  # of the kind that there is none
_LENGTH_AT = 22  # bytes before the trailer's end


def trailer_length(end: bytes) -> int:
    """Return how long the trailer is, which ends where the frame does; 0 where nothing says it.

    Parameters
    ----------
    end : bytes
        The frame's last bytes, `TRAILER_MIN` at least.
    """
    if len(end) < TRAILER_MIN:
        return 0
    return int.from_bytes(end[-_LENGTH_AT:][:4], "big")


def parse_trailer(data: bytes) -> dict[str, bytes]:
    """Return the variable-length metalayers in a frame's trailer, each of them a chunk.

    Raises
    ------
    FormatError
    """
    places = find_metalayers(data, _LAYERS_AT, len(data), _MOST_LAYERS)
    return {name: data[start:stop] for name, (start, stop) in places.items()}


def empty_trailer() -> bytes:
    """Return a trailer without metalayers."""
    start = _BEGINNING + pack_metalayers({}, _LAYERS_AT, in_header=False)
    length = len(start) + 1 + _LENGTH_AT
    return start + struct.pack(">BI", _UINT32, length) + _FINGERPRINT
