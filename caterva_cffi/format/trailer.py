"""The end of a frame: metalayers of variable length, each of them stored as a chunk.

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
_UINT32, _FINGERPRINT = 0xCE, b"\xd8" + bytes(17)  # of the kind "none"
_LENGTH_AT = 22  # bytes before the trailer's end


def trailer_length(end: bytes) -> int:
    """Return the length of the trailer, which is the end of the frame; 0 if it is damaged.

    Parameters
    ----------
    end : bytes
        The frame's last bytes, at least `TRAILER_MIN`.
    """
    if len(end) < TRAILER_MIN:
        return 0
    return int.from_bytes(end[-_LENGTH_AT:][:4], "big")


def parse_trailer(data: bytes) -> dict[str, bytes]:
    """Return the variable-length metalayers in a frame's trailer, each as its chunk.

    Raises
    ------
    FormatError
    """
    ranges = find_metalayers(data, _LAYERS_AT, len(data), _MOST_LAYERS)
    return {name: data[start:stop] for name, (start, stop) in ranges.items()}


def empty_trailer() -> bytes:
    """Return a trailer without metalayers."""
    start = _BEGINNING + pack_metalayers({}, _LAYERS_AT, in_header=False)
    length = len(start) + 1 + _LENGTH_AT
    return start + struct.pack(">BI", _UINT32, length) + _FINGERPRINT
