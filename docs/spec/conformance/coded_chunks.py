"""Chunks put together from blocks, and chunks in which every item is the same."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from coded_blocks import (
    BITSHUFFLE,
    BYTEDELTA,
    CELL,
    DELTA,
    NUMBERS,
    SHUFFLE,
    bitshuffle,
    bytedelta,
    ceil,
    cells,
    delta,
    shuffle,
    stream,
)


@dataclass
class Coding:
    """How the chunks of a frame are stored."""

    codec: str = "lz4"
    filters: Sequence[tuple[int, int]] = ((SHUFFLE, 0),)
    split: bool = True
    plain: bool = False
    order: Callable[[int], Sequence[int]] = range
    words: bytes | None = None
    gap: bytes = b""
    width: int | None = None
    head: Mapping[int, bytes] = field(default_factory=dict)
    streams: Callable[[int, bytes], bytes] | None = None

    def blocks_of(self, items: np.ndarray, chunk: Sequence[int], block: Sequence[int]) -> list:
        """Return the bytes of the blocks of a chunk; what it lacks is zeros."""
        grid = [ceil(c, b) for c, b in zip(chunk, block)]
        padded = np.zeros([n * b for n, b in zip(grid, block)], f"V{items.dtype.itemsize}")
        padded[tuple(map(slice, items.shape))] = items.view(padded.dtype)
        spans = (
            tuple(slice(n * b, (n + 1) * b) for n, b in zip(at, block))
            for at in product(*map(range, grid))
        )
        return [padded[(*span, ...)].tobytes() for span in spans]

    def encode(self, blocks: list[bytes], itemsize: int, block: Sequence[int], sums: bool) -> bytes:
        """Return the chunk of blocks."""
        width = self.width or (itemsize if itemsize <= 255 else 1)
        if self.plain:
            return self.finish(blocks, width, b"".join(blocks), 32)
        packed = [self.pack(i, blocks, width, itemsize, block) for i in range(len(blocks))]
        n, words = len(blocks), b""
        if self.words is not None:
            words = struct.pack("<i", len(self.words)) + self.words
        at = 32 + 4 * n + len(words) + (8 + 4 * n if sums else 0)
        starts, body = [0] * n, b""
        for i in self.order(n):
            starts[i], body = at + len(body), body + packed[i]
        head = struct.pack(f"<{n}i", *starts) + words
        table = b""
        if sums:
            table = b"\0CRC" + struct.pack(f"<{n + 1}I", 0, *map(zlib.crc32, packed))
        chunk = self.finish(blocks, width, head + table + body, 32)
        if sums:
            at = 32 + len(head)
            crc = zlib.crc32(chunk[at + 8 : at + 8 + 4 * n], zlib.crc32(chunk[: at + 4]))
            chunk = chunk[: at + 4] + struct.pack("<I", crc) + chunk[at + 8 :]
        return chunk

    def pack(self, i: int, blocks: list[bytes], width: int, itemsize: int, block: Any) -> bytes:
        """Return a block as it is stored."""
        data = blocks[i]
        for kind, meta in self.filters:
            if kind == SHUFFLE:
                data = shuffle(data, meta or width)
            elif kind == BITSHUFFLE:
                data = bitshuffle(data, width)
            elif kind == DELTA:
                data = delta(data, width, blocks[0], i)
            elif kind in (BYTEDELTA - 1, BYTEDELTA):
                data = bytedelta(data, meta or itemsize)
            elif kind in (CELL, CELL + 1):
                data = cells(data, meta, block)
        n = width if self.split and len(data) == len(blocks[0]) else 1
        each = len(data) // n
        parts = [data[at : at + each] for at in range(0, n * each, each)]
        if self.streams:
            return b"".join(self.streams(j, part) for j, part in enumerate(parts)) + self.gap
        return b"".join(stream(self.codec, part, self.words) for part in parts) + self.gap

    def finish(self, blocks: list[bytes], width: int, rest: bytes, size: int) -> bytes:
        """Return a chunk with its header."""
        kind, number = NUMBERS[self.codec]
        filters = [(0, 0)] * (6 - len(self.filters)) + list(self.filters)
        head = bytearray(size)
        flags = 0x05 | kind << 5 | 0x02 * self.plain | 0x10 * (not self.split)
        head[:4] = bytes([5, 1, flags, width])
        struct.pack_into("<3i", head, 4, sum(map(len, blocks)), len(blocks[0]), size + len(rest))
        head[16:22] = bytes(kind for kind, _ in filters)
        head[22] = number
        head[24:30] = bytes(meta & 0xFF for _, meta in filters)
        head[31] = int(self.words is not None)
        for at, data in self.head.items():
            head[at : at + len(data)] = data
        return bytes(head) + rest


def special_chunk(kind: int, nbytes: int, blocksize: int, width: int, item: bytes = b"") -> bytes:
    """Return a chunk in which every item is the same."""
    sizes = struct.pack("<3i", nbytes, blocksize, 32 + len(item))
    return bytes([5, 1, 5, width]) + sizes + bytes(15) + bytes([kind << 4]) + item
