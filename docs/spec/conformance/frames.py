"""Frames put together from parts, valid or not, for the samples of the conformance kit.

Nothing here checks anything. Each part can be replaced by another one, so that a frame breaks one
rule of caterva.md and no other.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Any

import lz4.block
import numpy as np
import zstandard

NUMBERS = {"blosclz": (0, 0), "lz4": (1, 1), "zlib": (3, 4), "zstd": (4, 5)}
SHUFFLE, BITSHUFFLE, DELTA, TRUNC, CELL, BYTEDELTA, INT_TRUNC = 1, 2, 3, 4, 32, 35, 36
SPECIAL = {1: "zeros", 2: "NaN", 3: "an item", 4: "never written"}
TRAILER = bytes.fromhex("940193cd0006de0000dc0000ce00000023d8") + bytes(17)


def ceil(n: int, by: int) -> int:
    """Return how many parts of `by` cover `n`."""
    return -(-n // by) if n else 0


# --- Streams and codecs ---------------------------------------------------------------------------


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


# --- Filters --------------------------------------------------------------------------------------


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


# --- Chunks ---------------------------------------------------------------------------------------


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


# --- Frames ---------------------------------------------------------------------------------------


def metalayers(layers: Mapping[str, bytes], at: int, more: int) -> bytes:
    """Return metalayers that begin at a position."""
    index = struct.pack(">BH", 0xDE, len(layers))
    place = at + 4 + len(index) + sum(6 + len(name) for name in layers) + 3
    for name, content in layers.items():
        index += bytes([0xA0 + len(name)]) + name.encode() + struct.pack(">Bi", 0xD2, place)
        place += 5 + len(content)
    start = struct.pack(">BBH", 0x93, 0xCD, more + 3 + len(index))
    contents = b"".join(struct.pack(">BI", 0xC6, len(each)) + each for each in layers.values())
    return start + index + struct.pack(">BH", 0xDC, len(layers)) + contents


def geometry(
    shape: Sequence[int], chunk: Sequence[int], block: Sequence[int], text: str | None
) -> bytes:
    """Return metalayer `b2nd`; without a text, `caterva`."""
    n = len(shape)
    data = bytes([0x95 if text is None else 0x97, 0, n])
    for mark, kind, sides in ((0xD3, "q", shape), (0xD2, "i", chunk), (0xD2, "i", block)):
        data += bytes([0x90 + n]) + b"".join(struct.pack(f">B{kind}", mark, s) for s in sides)
    if text is None:
        return data
    return data + struct.pack(">BBI", 0, 0xDB, len(text)) + text.encode()


@dataclass
class Parts:
    """A frame in parts. What is None is made of the rest."""

    items: np.ndarray
    chunk: Sequence[int] | None = None
    block: Sequence[int] | None = None
    coding: Coding = field(default_factory=Coding)
    checksums: bool = False
    text: str | None = None
    layers: dict[str, bytes] = field(default_factory=dict)
    geometry: dict[str, bytes] | None = None
    stored: dict[int, bytes | int] = field(default_factory=dict)
    order: Callable[[int], Sequence[int]] = range
    gap: int = 0
    offsets: Callable[[list[int]], bytes] | None = None
    trailer: bytes = TRAILER
    header: Mapping[int, bytes] = field(default_factory=dict)
    seal: Mapping[int, bytes] = field(default_factory=dict)
    sums: bool | None = None

    def __post_init__(self) -> None:
        self.chunk = self.items.shape if self.chunk is None else self.chunk
        self.block = self.chunk if self.block is None else self.block
        self.text = self.items.dtype.str if self.text is None else self.text

    def chunks(self) -> list[bytes | int]:
        """Return each chunk, or the kind of a chunk that is not stored."""
        items, itemsize = self.items, self.items.dtype.itemsize
        sums = self.checksums if self.sums is None else self.sums
        grid = [ceil(n, c) for n, c in zip(items.shape, self.chunk)]
        found: list[bytes | int] = []
        for i, at in enumerate(product(*map(range, grid))):
            span = tuple(slice(n * c, (n + 1) * c) for n, c in zip(at, self.chunk))
            blocks = self.coding.blocks_of(items[(*span, ...)], self.chunk, self.block)
            made = self.coding.encode(blocks, itemsize, self.block, sums)
            found.append(self.stored.get(i, made))
        return found

    def frame(self) -> bytes:
        """Return the frame."""
        chunks = self.chunks()
        offsets, body = [0] * len(chunks), b""
        for i in self.order(len(chunks)):
            chunk = chunks[i]
            if isinstance(chunk, int):
                offsets[i] = (chunk << 56) - (1 << 63)
            else:
                body += b"\xa5" * self.gap
                offsets[i], body = len(body), body + chunk
        stored = (self.offsets or encode_offsets)(offsets) if chunks else b""
        layers = {"crc32": bytes([1, 1]) + bytes(14)} if self.checksums else {}
        names = {"b2nd": geometry(self.items.shape, self.chunk, self.block, self.text)}
        layers |= (names if self.geometry is None else self.geometry) | self.layers
        header = self.pack_header(layers, len(body), len(stored), len(chunks))
        if self.checksums:
            header = self.close(header, stored)
        return header + body + stored + self.trailer

    def pack_header(self, layers: dict[str, bytes], cbytes: int, stored: int, n: int) -> bytes:
        """Return the header."""
        itemsize = self.items.dtype.itemsize
        blocksize = itemsize * prod(self.block)
        chunksize = blocksize * prod(ceil(c, b) for c, b in zip(self.chunk, self.block))
        head = bytearray(bytes.fromhex("9ea8") + b"b2frame\0" + bytes(77))
        for at, mark in ((10, 0xD2), (15, 0xCF), (24, 0xA4), (29, 0xD3), (38, 0xD3), (47, 0xD2)):
            head[at] = mark
        head[25:29] = bytes([0x12, 0, 0x51, 2])
        head[52] = head[57] = 0xD2
        head[62:71] = bytes.fromhex("d10001d10001c2d806")
        head += metalayers(layers, 87, 1)
        struct.pack_into(">i", head, 11, len(head))
        total = len(head) + cbytes + stored + len(self.trailer)
        struct.pack_into(">q", head, 16, total)
        struct.pack_into(
            ">qxqxixixi", head, 30, n * chunksize, cbytes, itemsize, blocksize, chunksize
        )
        head[77] = NUMBERS[self.coding.codec][1]
        for at, data in self.header.items():
            head[at : at + len(data)] = data
        return bytes(head)

    def close(self, header: bytes, stored: bytes) -> bytes:
        """Return the header with its checksums."""
        at = header.index(b"\xc6\0\0\0\x10\1\1") + 5
        crcs = map(zlib.crc32, (header, stored, self.trailer))
        seal = bytearray(bytes([1, 1, 0, 0]) + struct.pack("<3I", *crcs))
        for place, data in self.seal.items():
            seal[place : place + len(data)] = data
        return header[:at] + bytes(seal) + header[at + 16 :]


def encode_offsets(offsets: list[int]) -> bytes:
    """Return the chunk of offsets: plain, or special for one that is 0."""
    if offsets == [0]:
        return special_chunk(1, 8, 8, 8)
    return offsets_in(Coding("blosclz", plain=True))(offsets)


def offsets_in(coding: Coding, blocksize: int = 1 << 20) -> Callable[[list[int]], bytes]:
    """Return a function that encodes offsets in blocks of a size."""

    def encode(offsets: list[int]) -> bytes:
        data = struct.pack(f"<{len(offsets)}q", *offsets)
        size = min(blocksize, len(data))
        blocks = [data[at : at + size] for at in range(0, len(data), size)]
        return coding.encode(blocks, 8, (1,), sums=False)

    return encode
