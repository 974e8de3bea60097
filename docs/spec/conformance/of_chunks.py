"""Samples of chunks: their headers, blocks and dictionaries."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import numpy as np
from coded_blocks import BYTEDELTA, DELTA, NUMBERS, SHUFFLE, SPECIAL
from coded_chunks import Coding, special_chunk
from frames import Parts
from kit import CUT, ITEMS, ROW, Kit, waves


def chunks(kit: Kit) -> None:
    """Sections 8 and 9."""
    parts = Parts(ITEMS, **CUT)

    def coded(items: Any = ITEMS, **coding: Any) -> Parts:
        return replace(parts, items=items, text=items.dtype.str, coding=Coding(**coding))

    for value in (0, 31, -1, 1 << 30):
        kit.invalid(f"chunk-cbytes-{value}", "50", coded(head={12: struct.pack("<i", value)}))
    for version in (0, 1, 2, 3, 4, 5, 6, 7, 255):
        frame = coded(head={0: bytes([version])})
        (kit.valid if 3 <= version <= 6 else kit.invalid)(f"chunk-version-{version}", "51", frame)
    for flags in (0x20, 0x21, 0x24):
        kit.invalid(f"chunk-flags-{flags:x}", "52", coded(head={2: bytes([flags])}))
    kit.invalid("chunk-variable-blocks", "53", coded(head={30: b"\1"}))
    for flags in (0x08, 0x80):
        kit.invalid(f"chunk-flags2-{flags:x}", "53", coded(head={31: bytes([flags])}))
    for value in (0, 159, 161, -160, 1 << 30):
        kit.invalid(f"chunk-nbytes-{value}", "54", coded(head={4: struct.pack("<i", value)}))
    kit.either("chunk-width-1", "55", coded(width=1, filters=((SHUFFLE, 2),)))
    kit.valid("chunk-big-endian-machine", "58", coded(head={31: b"\2", 1: b"\7"}))
    floats = {4: waves((6, 5), "<f4"), 8: waves((6, 5), "<f8"), 3: waves((6, 5), "V3")}
    for size, items in floats.items():
        for kind in (1, 2, 3, 4):
            item = items[5, 2].tobytes() if kind == 3 else b""
            chunk = special_chunk(kind, 24 * size, 4 * size, size, item)
            made = Parts(items, (4, 5), (2, 2), stored={0: chunk})
            right = items.copy()
            right[:4, :5] = (
                items[5, 2]
                if kind == 3
                else np.nan
                if kind == 2 and size > 3
                else np.zeros((), items.dtype)
            )
            name = f"special-{SPECIAL[kind].replace(' ', '-')}-{size}"
            if kind == 2 and size == 3:
                kit.invalid(name, "56", made)
            else:
                kit.valid(name, "56", made, right)
    for kind, item in [(1, b"\1" * 4), (3, b""), (3, b"\1" * 3), (5, b""), (7, b"")]:
        chunk = special_chunk(kind, 96, 16, 4, item)
        kit.invalid(
            f"special-{kind}-{len(item)}-bytes",
            "56",
            Parts(floats[4], (4, 5), (2, 2), stored={0: chunk}),
        )
    kit.valid("plain", "57", coded(plain=True))
    kit.valid(
        "plain-with-filters", "57 90", coded(plain=True, filters=((DELTA, 0), (BYTEDELTA, 0)))
    )
    longer = Coding(plain=True, head={12: struct.pack("<i", 191)})
    kit.invalid("plain-cbytes", "57", replace(parts, coding=longer))
    # blocks
    orders = {
        "reversed": lambda n: range(n)[::-1],
        "odd-first": lambda n: [*range(1, n, 2), *range(0, n, 2)],
    }
    for name, order in orders.items():
        for codec in NUMBERS:
            kit.valid(f"blocks-{name}-{codec}", "61", coded(codec=codec, order=order))
    for value in (0, 32, 47, -4, 1 << 30):
        kit.invalid(f"block-offset-{value}", "60", _with_offset(parts, value))
    same = Parts(np.tile(ROW[:20], 2), (40,), (20,))
    chunk = same.chunks()[0]
    assert isinstance(chunk, bytes)
    twice = chunk[:36] + chunk[32:36] + chunk[40:]
    kit.either("blocks-at-the-same-byte", "63", replace(same, stored={0: twice}))
    words = {"lz4": ITEMS.tobytes()[:90], "zstd": ITEMS.tobytes()[:90]}
    for codec, each in words.items():
        for split in (False, True):
            kit.valid(
                f"dictionary-{codec}-{'split' if split else 'whole'}",
                "62",
                coded(codec=codec, words=each, split=split, filters=()),
            )
        kit.valid(
            f"dictionary-{codec}-checksums",
            "62",
            replace(coded(codec=codec, words=each, filters=()), checksums=True),
        )
    for value in (-1, 0, 1 << 20):
        kit.invalid(
            f"dictionary-of-{value}",
            "62",
            _with_dictionary(coded(codec="lz4", words=b"12345678"), value),
        )


def _with_offset(parts: Parts, value: int) -> Parts:
    """Return a frame whose first chunk has a wrong offset of its block 0."""
    chunk = parts.chunks()[0]
    assert isinstance(chunk, bytes)
    return replace(parts, stored={0: chunk[:32] + struct.pack("<i", value) + chunk[36:]})


def _with_dictionary(parts: Parts, size: int) -> Parts:
    """Return a frame whose first chunk has a wrong length of its dictionary."""
    chunk = parts.chunks()[0]
    assert isinstance(chunk, bytes)
    return replace(parts, stored={0: chunk[:48] + struct.pack("<i", size) + chunk[52:]})
