"""The bytes of blocks: numbers of codecs and filters, streams, and what filters do."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from itertools import product
from math import prod

import lz4.block
import numpy as np
import zstandard

NUMBERS = {"blosclz": (0, 0), "lz4": (1, 1), "zlib": (3, 4), "zstd": (4, 5)}
SHUFFLE, BITSHUFFLE, DELTA, TRUNC, CELL, BYTEDELTA, INT_TRUNC = 1, 2, 3, 4, 32, 35, 36
SPECIAL = {1: "zeros", 2: "NaN", 3: "an item", 4: "never written"}


def ceil(n: int, by: int) -> int:
    """Return how many parts of `by` cover `n`."""
    return -(-n // by) if n else 0


def literals(data: bytes) -> bytes:
    """Return a BloscLZ stream without matches."""
    parts = [data[at : at + 32] for at in range(0, len(data), 32)]
    return b"".join(bytes([len(part) - 1]) + part for part in parts)


def match(count: int, distance: int) -> bytes:
    """Return a match of BloscLZ."""
    far, distance = distance - 8192, min(distance, 8192) - 1
    first = min(count - 2, 7) << 5 | distance >> 8
    rest = count - 9
    more = bytes([255] * (rest // 255) + [rest % 255]) if count >= 9 else b""
    end = bytes([far >> 8, far & 255]) if far >= 0 else b""
    return bytes([first]) + more + bytes([distance & 255]) + end


def blosclz(data: bytes) -> bytes:
    """Compress with BloscLZ, by the longest of few matches."""
    out, pending, at, seen = b"", b"", 0, {}
    while at < len(data):
        key, count = data[at : at + 4], 0
        before = seen.get(key, -1) if len(key) == 4 else -1
        seen[key] = at
        if before >= 0 and (pending or out) and at - before < 73728:
            while at + count < len(data) - 1 and data[before + count] == data[at + count]:
                count += 1
        if count >= 5:
            out, pending, at = out + literals(pending) + match(count, at - before), b"", at + count
        else:
            pending, at = pending + data[at : at + 1], at + 1
    return out + literals(pending)


def compress(codec: str, data: bytes, words: bytes | None = None) -> bytes:
    """Compress a stream."""
    if codec == "lz4":
        return lz4.block.compress(data, store_size=False, dict=words)
    if codec == "zlib":
        return zlib.compress(data)
    if codec == "zstd":
        given = None if words is None else zstandard.ZstdCompressionDict(words)
        return zstandard.ZstdCompressor(dict_data=given).compress(data)
    return blosclz(data)


def stream(codec: str, data: bytes, words: bytes | None = None) -> bytes:
    """Return a stream in its shortest form, with its size."""
    if data == data[:1] * len(data):
        return struct.pack("<i", -data[0]) + (b"\1" if data[0] else b"")
    packed = compress(codec, data, words)
    packed = packed if len(packed) < len(data) else data
    return struct.pack("<i", len(packed)) + packed


def shuffle(data: bytes, width: int) -> bytes:
    """Apply SHUFFLE."""
    n = len(data) // width
    return np.frombuffer(data, "u1", n * width).reshape(n, width).T.tobytes() + data[n * width :]


def bitshuffle(data: bytes, width: int) -> bytes:
    """Apply BITSHUFFLE."""
    n = len(data) // width // 8 * 8
    rows = np.frombuffer(data, "u1", n * width).reshape(n, width)
    bits = np.unpackbits(rows, axis=1, bitorder="little").T
    return np.packbits(bits, axis=1, bitorder="little").tobytes() + data[n * width :]


def delta(data: bytes, width: int, first: bytes, number: int) -> bytes:
    """Apply DELTA."""
    words = np.frombuffer(data, f"u{width if width in (2, 4) else 1 if width % 8 else 8}")
    if number:
        return (words ^ np.frombuffer(first, words.dtype)).tobytes()
    return (words ^ np.append(words[:1] ^ words[:1], words[:-1])).tobytes()


def bytedelta(data: bytes, width: int) -> bytes:
    """Apply BYTEDELTA."""
    n = len(data) // width
    rows = np.frombuffer(data, "u1", n * width).reshape(width, n)
    return np.diff(rows, axis=1, prepend=np.uint8(0)).tobytes() + data[n * width :]


def cells(data: bytes, side: int, block: Sequence[int]) -> bytes:
    """Apply NDCELL."""
    items = np.frombuffer(data, f"V{len(data) // prod(block)}").reshape(block)
    corners = product(*(range(0, n, side or 1) for n in block))
    return b"".join(items[tuple(slice(a, a + (side or 1)) for a in at)].tobytes() for at in corners)
