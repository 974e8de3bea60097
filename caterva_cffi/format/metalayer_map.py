"""Metalayers in a frame's header, and those of variable length in its trailer: bytes by name.

Format: C-Blosc2's README_CFRAME_FORMAT, msgpack with fixed widths. A map of names to positions
comes first, then an array of the contents.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from caterva_cffi.errors import ArgumentError, Cause, FormatError

__all__ = ["MOST_LAYERS", "find_metalayers", "pack_metalayers"]

MOST_LAYERS = 16
"""The most metalayers of a header."""

_ARRAY_OF_3, _UINT16, _MAP16, _INT32, _ARRAY16, _BIN32 = 0x93, 0xCD, 0xDE, 0xD2, 0xDC, 0xC6
_STR = 0xA0  # plus the length, at most 31
_INDEX = 3 + 1  # bytes from the start to the map


def find_metalayers(data: bytes, begin: int, end: int, most: int) -> dict[str, tuple[int, int]]:
    """Return where in a header or trailer each metalayer's bytes are.

    Parameters
    ----------
    data : bytes
        The header, or the trailer.
    begin : int
        Where the metalayers begin.
    end : int
        Where the header or trailer ends.
    most : int
        The most metalayers that there may be.

    Raises
    ------
    FormatError
    """

    def take(at: int, size: int) -> bytes:
        if not 0 <= at <= at + size <= end:
            raise FormatError(f"metalayers reach byte {at + size} of {end}")
        return data[at : at + size]

    mark = take(begin + _INDEX, 1)[0]
    if mark != _MAP16:
        raise FormatError(f"byte {mark:#x} where the map of metalayers begins")
    count = struct.unpack(">H", take(begin + _INDEX + 1, 2))[0]
    if count > most:
        raise FormatError(f"{count} metalayers; at most {most} are possible")
    ranges: dict[str, tuple[int, int]] = {}
    at = begin + _INDEX + 3
    for _ in range(count):
        size = take(at, 1)[0] & 0x1F
        name = take(at + 1, size)
        mark, offset = struct.unpack(">Bi", take(at + 1 + size, 5))
        content_mark, length = struct.unpack(">BI", take(offset, 5))
        if mark != _INT32 or content_mark != _BIN32:
            raise FormatError(f"metalayer {name!r} has types {mark:#x} and {content_mark:#x}")
        take(offset + 5, length)
        ranges[name.decode(errors="surrogateescape")] = (offset + 5, offset + 5 + length)
        at += 6 + size
    return ranges


def pack_metalayers(layers: Mapping[str, bytes], begin: int, *, in_header: bool) -> bytes:
    """Return metalayers as they stand in a header or trailer.

    Parameters
    ----------
    layers : mapping of str to bytes
        Of names of at most 31 bytes.
    begin : int
        Where they begin in it.
    in_header : bool
        Whether it is a header: its map's size counts one byte more than a trailer's.

    Raises
    ------
    ArgumentError
        For names that are too long.
    """
    names = [name.encode(errors="surrogateescape") for name in layers]
    if any(len(name) > 0x1F for name in names):
        raise ArgumentError(
            f"metalayers {list(layers)}; their names have at most 31 bytes",
            Cause("wrong-value", "meta", max(map(len, names)), 31),
        )
    index = struct.pack(">BH", _MAP16, len(names))
    size = _INDEX + len(index) + sum(6 + len(name) for name in names)
    at = begin + size + 3
    for name, content in zip(names, layers.values(), strict=True):
        index += bytes([_STR + len(name)]) + name + struct.pack(">Bi", _INT32, at)
        at += 5 + len(content)
    # The size counts its own bytes, and in a header the byte before them.
    start = bytes([_ARRAY_OF_3]) + struct.pack(">BH", _UINT16, in_header + 3 + len(index))
    contents = [struct.pack(">BI", _BIN32, len(each)) + each for each in layers.values()]
    return start + index + struct.pack(">BH", _ARRAY16, len(names)) + b"".join(contents)
