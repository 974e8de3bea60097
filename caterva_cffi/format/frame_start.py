"""The first bytes of a frame: whether it is one, and how many bytes it has."""

from __future__ import annotations

import struct

__all__ = ["MAGIC", "START", "begins_as_frame", "find_frame", "frame_length", "length_error"]

MAGIC = b"b2frame\0"
"""Every frame has these bytes from its third byte on."""

START = 24
"""The number of first bytes that show that it is a frame, and how long it is."""

_BEGINNING = b"\x9e\xa8" + MAGIC + b"\xd2"  # msgpack: 14 fields, a string of 8, an int32
_LEAST = 87  # bytes of a frame


def begins_as_frame(start: bytes) -> bool:
    """Whether bytes are the beginning of a frame, though some may be damaged.

    Parameters
    ----------
    start : bytes
        The first `START` bytes, or all if there are fewer.
    """
    expected = _BEGINNING[: len(start)]
    wrong = sum(found != right for found, right in zip(start, expected, strict=False))
    return bool(start) and wrong <= len(expected) // 4


def frame_length(start: bytes) -> int | None:
    """Return the length that a frame's header names; None for what is no frame.

    Parameters
    ----------
    start : bytes
        See `begins_as_frame`.
    """
    if len(start) < START or not begins_as_frame(start):
        return None
    (length,) = struct.unpack_from(">q", start, START - 8)
    return int(length) if length >= _LEAST else None


def length_error(start: bytes, size: int) -> str | None:
    """Return what is wrong with a frame's length; None if nothing is, or if it is no frame.

    Parameters
    ----------
    start : bytes
        See `begins_as_frame`.
    size : int
        How many bytes there are.
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
    """Return where in some bytes a frame may begin, the first such position."""
    at = data.find(_BEGINNING)
    return None if at < 0 else at
