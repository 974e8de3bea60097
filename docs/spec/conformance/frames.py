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

import numpy as np
from coded_blocks import NUMBERS, ceil
from coded_chunks import Coding, special_chunk

TRAILER = bytes.fromhex("940193cd0006de0000dc0000ce00000023d8") + bytes(17)


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
