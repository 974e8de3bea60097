"""Decode a stream of NDLZ, as section 11.6 of caterva.md says."""

import struct

# The rows that are found elsewhere in the stream, by token: one list for each distance.
PAIRS = {0x80: [2, 3], 0x88: [0, 1], 0x90: [0, 2], 0x98: [0, 3], 0xB0: [1, 2], 0xB8: [1, 3]}
TRIPLES = {0xE0: [1, 2, 3], 0xE8: [0, 1, 2], 0xF0: [0, 1, 3], 0xF8: [0, 2, 3]}
OF_4 = {token: [rows] for token, rows in (PAIRS | TRIPLES).items()}
OF_4 |= {0x28: [[0, 1], [2, 3]], 0x30: [[0, 2], [1, 3]], 0x38: [[0, 3], [1, 2]]}
OF_8 = {0x88 + r: [[r, r + 1]] for r in range(7)} | {
    0xA8 + r: [[r, r + 1, r + 2]] for r in range(6)
}
FOUND = {4: OF_4, 8: OF_8}


def decode(stream: bytes, side: int, nbytes: int) -> bytes:
    """Return the items of a block; ValueError for what is no stream of them."""
    try:
        ndim, nrows, ncolumns = struct.unpack_from("<BII", stream)
    except struct.error:
        raise ValueError(f"a stream of {len(stream)} bytes") from None
    if ndim != 2 or nrows * ncolumns != nbytes:
        raise ValueError(f"{nrows} x {ncolumns} items in {ndim} dimensions; expected {nbytes}")
    block, at = bytearray(nbytes), 9
    for top in range(0, nrows, side):
        for left in range(0, ncolumns, side):
            height, width = min(side, nrows - top), min(side, ncolumns - left)
            cell, at = decode_cell(stream, at, side, height, width)
            for row in range(height):
                start = (top + row) * ncolumns + left
                block[start : start + width] = cell[row * width : (row + 1) * width]
    return bytes(block)


def decode_cell(
    stream: bytes, token_at: int, side: int, height: int, width: int
) -> tuple[bytes, int]:
    """Return the items of a cell, and where the next one begins."""
    token, at, size = take(stream, token_at, 1)[0], token_at + 1, height * width
    if token == 0x00:
        return take(stream, at, size), at + size
    if token == 0x40:
        return take(stream, at, 1) * size, at + 1
    if token == 0xC0:
        return take(stream, token_at - distance(stream, at), size), at + 2
    if token not in FOUND[side] or size != side * side:
        raise ValueError(f"token {token:#04x} of a cell of {height} x {width} items")
    rows: dict[int, bytes] = {}
    for numbers in FOUND[side][token]:
        start, at = token_at - distance(stream, at), at + 2
        for i, number in enumerate(numbers):
            rows[number] = take(stream, start + i * side, side)
    for number in range(side):
        if number not in rows:
            rows[number], at = take(stream, at, side), at + side
    return b"".join(rows[number] for number in range(side)), at


def distance(stream: bytes, at: int) -> int:
    """Return the number at a place."""
    return int.from_bytes(take(stream, at, 2), "little")


def take(stream: bytes, at: int, size: int) -> bytes:
    """Return bytes of the stream."""
    if at < 0 or at + size > len(stream):
        raise ValueError(f"bytes {at} to {at + size} of {len(stream)}")
    return stream[at : at + size]
