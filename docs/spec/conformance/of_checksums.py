"""Samples of checksums of blocks and of frames."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
from coded_blocks import NUMBERS
from coded_chunks import Coding, special_chunk
from frames import Parts
from kit import CUT, ITEMS, Kit, waves


def checksums(kit: Kit) -> None:
    """Section 13."""
    parts = Parts(ITEMS, **CUT, checksums=True)
    good = parts.frame()
    kit.valid("checksums", "101 102 103 105 106", parts)
    kit.valid("checksums-one-chunk", "101 102", Parts(ITEMS, block=(4, 5), checksums=True))
    kit.valid(
        "checksums-no-items", "101", Parts(np.empty((0, 3), "<i2"), (1, 3), (1, 3), checksums=True)
    )
    for codec in NUMBERS:
        kit.valid(
            f"checksums-{codec}",
            "106",
            Parts(waves((16, 40), "<i4"), (16, 30), (8, 20), Coding(codec), checksums=True),
        )
    late = Coding(order=lambda n: [0, *range(1, n)[::-1]], gap=bytes(3))
    kit.valid("checksums-in-another-order", "106", replace(parts, coding=late))
    at = good.index(b"\xc6\0\0\0\x10\1\1") + 5
    for name, place, data in [
        ("version-0", 0, b"\0"),
        ("version-2", 0, b"\2"),
        ("valid-2", 1, b"\2"),
    ]:
        kit.invalid(f"checksums-{name}", "100", good[: at + place] + data + good[at + place + 1 :])
    kit.invalid(
        "checksums-15-bytes", "100", Parts(ITEMS, layers={"crc32": bytes([1, 0]) + bytes(13)})
    )

    def flipped(place: int) -> bytes:
        return good[:place] + bytes([good[place] ^ 0x10]) + good[place + 1 :]

    header_len = struct.unpack_from(">i", good, 11)[0]
    cbytes = struct.unpack_from(">q", good, 39)[0]
    for place in (27, 70, 84, 2 + at):
        kit.invalid(f"checksums-header-{place}", "101", flipped(place))
    kit.invalid("checksums-offsets", "102", flipped(header_len + cbytes + 3))
    kit.either("checksums-trailer", "103", replace(parts, seal={12: b"\0\0\0\0"}))
    opened = good[: at + 1] + b"\0" + bytes(14) + good[at + 16 :]
    kit.add("checksums-open", "104", opened, "items", ITEMS, dtype="<i2")
    chunk = header_len
    body = chunk + 32 + 16
    kit.invalid(
        "checksums-open-block", "104 106", opened[: body + 24] + b"\x55" + opened[body + 25 :]
    )
    for place in (chunk + 24, body + 5, body + 9):
        kit.invalid(f"checksums-head-{place - chunk}", "105", flipped(place))
    kit.invalid("checksums-block", "106", flipped(body + 8 + 16 + 5))
    kit.invalid("checksums-missing-in-chunks", "107", replace(parts, sums=False))
    kit.invalid("checksums-plain-chunks", "107", replace(parts, coding=Coding(plain=True)))
    kit.invalid(
        "checksums-special-item",
        "107",
        replace(parts, stored={0: special_chunk(3, 160, 40, 2, b"\1\2")}),
    )
    items = ITEMS.copy()
    items[:6, :8] = 0
    kit.valid(
        "checksums-special-zeros",
        "107",
        replace(parts, stored={0: special_chunk(1, 160, 40, 2)}),
        items,
    )
    kit.valid("checksums-offset-of-zeros", "107", replace(parts, stored={0: 1}), items)
    kit.valid("checksums-only-of-blocks", "108", Parts(ITEMS, **CUT, sums=True))
    lone = Parts(ITEMS, **CUT, sums=True).frame()
    place = struct.unpack_from(">i", lone, 11)[0] + 32 + 16 + 8 + 16 + 5
    kit.invalid(
        "checksums-only-of-blocks-damaged",
        "108 106",
        lone[:place] + bytes([lone[place] ^ 1]) + lone[place + 1 :],
    )
