"""Samples of where chunks are in frames, and of trailers."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import numpy as np
from coded_blocks import BITSHUFFLE, SPECIAL
from coded_chunks import Coding
from frames import Parts, offsets_in
from kit import ITEMS, Kit, waves


def offsets(kit: Kit) -> None:
    """Section 6."""
    parts = Parts(ITEMS, (2, 3), (2, 3))
    forms = {
        "plain": Coding("blosclz", plain=True),
        "blosclz": Coding("blosclz"),
        "noshuffle": Coding("blosclz", ()),
    }
    forms |= {
        "not-split": Coding("blosclz", split=False),
        "bitshuffle": Coding("lz4", ((BITSHUFFLE, 0),)),
    }
    forms |= {codec: Coding(codec) for codec in ("lz4", "zlib", "zstd")}
    for name, coding in forms.items():
        kit.valid(f"offsets-{name}", "40 41", replace(parts, offsets=offsets_in(coding)))
    kit.either(
        "offsets-in-blocks-of-8", "40", replace(parts, offsets=offsets_in(Coding("blosclz"), 8))
    )
    for blocksize in (64, 72):
        kit.valid(
            f"offsets-in-blocks-of-{blocksize}",
            "40 70",
            replace(parts, offsets=offsets_in(Coding("blosclz"), blocksize)),
        )
    one = Parts(ITEMS)
    kit.valid("offsets-special", "41", one)
    kit.valid(
        "offsets-one-plain", "41", replace(one, offsets=offsets_in(Coding("blosclz", plain=True)))
    )
    plain = offsets_in(Coding("blosclz", plain=True))
    kit.valid("offsets-one-behind-a-gap", "42 44", replace(one, gap=40, offsets=plain))
    for name, offset in {
        "filter-32": {16: b"\x20"},
        "filter-5": {16: b"\5"},
        "codec-6": {2: b"\xc5", 22: b"\x23"},
    }.items():
        kit.invalid(
            f"offsets-{name}",
            "41",
            replace(parts, offsets=offsets_in(Coding("blosclz", head=offset))),
        )
    for name, head in {
        "nbytes": {4: struct.pack("<i", 8)},
        "cbytes-31": {12: struct.pack("<i", 31)},
        "cbytes-beyond": {12: struct.pack("<i", 1 << 30)},
    }.items():
        kit.invalid(
            f"offsets-{name}",
            "40",
            replace(parts, offsets=offsets_in(Coding("blosclz", plain=True, head=head))),
        )
    kit.invalid("offsets-missing", "40", replace(parts, offsets=lambda _: b""))

    def moved(at: int, by: int) -> Any:
        return lambda found: plain([o + by * (i == at) for i, o in enumerate(found)])

    kit.invalid("offsets-beyond", "42", replace(parts, offsets=moved(24, 1 << 20)))
    kit.invalid("offsets-at-the-end", "42", replace(parts, offsets=moved(24, 40)))
    kit.invalid("offsets-overlap", "42", replace(parts, offsets=moved(3, -20)))
    kit.invalid(
        "offsets-same", "42", replace(parts, offsets=lambda found: plain([found[0], *found[:-1]]))
    )
    floats = Parts(waves((9, 14), "<f4"), (4, 5), (4, 5))
    for kind in (1, 2, 4):
        items = floats.items.copy()
        items[:4, :5] = np.nan if kind == 2 else 0
        kit.valid(
            f"offsets-{SPECIAL[kind].replace(' ', '-')}",
            "43",
            replace(floats, stored={0: kind}),
            items,
        )
        items = np.full((9, 14), np.nan if kind == 2 else 0, "<f4")
        kit.valid(
            f"offsets-all-{SPECIAL[kind].replace(' ', '-')}",
            "43",
            replace(floats, stored=dict.fromkeys(range(9), kind)),
            items,
        )
    for kind in (0, 3, 5, 127):
        kit.invalid(f"offsets-kind-{kind}", "43", replace(floats, stored={4: kind}))
    kit.valid("chunks-reversed", "44", replace(parts, order=lambda n: range(n)[::-1]))
    kit.valid(
        "chunks-with-gaps",
        "44",
        replace(parts, gap=7, order=lambda n: [*range(1, n, 2), *range(0, n, 2)]),
    )
