"""Samples of streams, and of the codecs that decode them."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import numpy as np
from coded_blocks import BITSHUFFLE, NUMBERS, SHUFFLE, literals, match, stream
from coded_chunks import Coding
from frames import Parts
from kit import ROW, Kit, waves


def streams(kit: Kit) -> None:
    """Sections 10 and 11."""
    for codec in NUMBERS:
        for name, filters in {
            "none": (),
            "shuffle": ((SHUFFLE, 0),),
            "bitshuffle": ((BITSHUFFLE, 0),),
        }.items():
            for split in (True, False):
                rule = {"blosclz": "83", "lz4": "80", "zlib": "81", "zstd": "82"}[codec]
                items = waves((16, 40), "<i4", len(name))
                parts = Parts(items, (16, 30), (8, 20), Coding(codec, filters, split))
                more = {"none": "90", "shuffle": "91", "bitshuffle": "92"}[name]
                kit.valid(
                    f"{codec}-{name}-{'split' if split else 'whole'}", f"{rule} 70 {more}", parts
                )
    row, block = Parts(ROW, (40,), (20,)), Parts(ROW, (40,), (20,), Coding(filters=(), split=False))

    def given(made: Any, parts: Parts = block) -> Parts:
        return replace(parts, coding=replace(parts.coding, streams=made))

    kit.valid("stream-stored", "73", given(lambda j, part: struct.pack("<i", len(part)) + part))
    kit.valid(
        "stream-stored-split", "73", given(lambda j, part: struct.pack("<i", len(part)) + part, row)
    )
    for value in (0, 1, 127, 128, 255):
        items = np.full(40, value * 0x01010101, "<u4").view("<i4")
        form = struct.pack("<i", -value) + b"\1" * (value > 0)
        kit.valid(
            f"stream-run-{value}",
            "71" if value == 0 else "72",
            replace(given(lambda j, part, form=form: form), items=items),
        )
    for token in (3, 255):
        items = np.full(40, 0x07070707, "<i4")
        kit.valid(
            f"stream-token-{token}",
            "72",
            replace(given(lambda j, part, t=token: struct.pack("<iB", -7, t)), items=items),
        )
    for size, token in [(-256, b"\1"), (-(1 << 31), b"\1"), (-7, b"\0"), (-7, b"\2"), (-7, b"")]:
        form = struct.pack("<i", size) + token
        name = f"stream-run{size}-token-{token.hex() or 'none'}"
        kit.invalid(name, "72", given(lambda j, part, f=form: f))
    for gap in (1, 2, 8):
        kit.valid(
            f"zeros-behind-streams-{gap}",
            "75",
            replace(row, coding=replace(row.coding, gap=bytes(gap))),
        )
    kit.either(
        "bytes-behind-streams", "75", replace(row, coding=replace(row.coding, gap=b"\1\2\3"))
    )
    kit.invalid("stream-beyond", "74", given(lambda j, part: struct.pack("<i", 1 << 20) + part))
    kit.invalid("stream-without-size", "74", given(lambda j, part: b"\x08\0"))
    for codec in NUMBERS:
        coding = Coding(codec, (), False)
        short = stream(codec, bytes(range(40)) + bytes(30))
        long = stream(codec, bytes(range(40)) + bytes(80))
        for name, form in {"short": short, "long": long}.items():
            kit.invalid(
                f"{codec}-{name}",
                "74 83" if codec == "blosclz" else "74",
                replace(block, coding=replace(coding, streams=lambda j, part, f=form: f)),
            )
        damaged = struct.pack("<i", 9) + b"\xff" * 9
        kit.invalid(
            f"{codec}-damaged",
            "74 83" if codec == "blosclz" else "74",
            replace(block, coding=replace(coding, streams=lambda j, part, f=damaged: f)),
        )
    blosclz(kit)
    for name, head in {
        "2": {2: b"\x55"},
        "5": {2: b"\xb5"},
        "7": {2: b"\xf5"},
        "31": {2: b"\xd5", 22: b"\x1f"},
        "36": {2: b"\xd5", 22: b"\x24"},
        "160": {2: b"\xd5", 22: b"\xa0"},
        "255": {2: b"\xd5", 22: b"\xff"},
    }.items():
        kit.invalid(
            f"codec-{name}",
            "84",
            replace(block, items=ROW * 0 + 5, coding=Coding(split=False, head=head)),
        )


def blosclz(kit: Kit) -> None:
    """Section 11.4: each form of a token."""

    def sample(name: str, data: bytes, *tokens: bytes, first: int = 0) -> None:
        packed = bytearray(b"".join(tokens))
        packed[0] |= first
        form = struct.pack("<i", len(packed)) + bytes(packed)
        items = np.frombuffer(data, "u1")
        coding = Coding("blosclz", (), False, streams=lambda j, part: form)
        kit.valid(f"blosclz-{name}", "83", Parts(items, coding=coding))

    word = bytes(range(1, 41))
    sample("literals", word * 2, literals(word[:32]), literals(word[32:] + word))
    for count in (3, 8, 9, 10, 263, 264, 265, 519, 600):
        sample(
            f"match-of-{count}",
            b"ab" + b"ab" * 400 + b"z",
            literals(b"ab"),
            match(count, 2),
            match(800 - count, 2),
            literals(b"z"),
        )
    for distance in (1, 3, 255, 256, 257, 8191, 8192, 8193, 9000):
        noise = np.random.default_rng(distance).integers(0, 256, distance + 3, "u1").tobytes()
        out = bytearray(noise)
        for _ in range(20):
            out.append(out[-distance])
        sample(
            f"distance-{distance}",
            bytes(out) + b"z",
            literals(noise),
            match(20, distance),
            literals(b"z"),
        )
    sample(
        "first-token-bits",
        b"abcdefg" + b"g" * 20 + b"z",
        literals(b"abcdefg"),
        match(20, 1),
        literals(b"z"),
        first=0xE0,
    )
    wrong = {
        "distance": (literals(b"abc"), match(9, 4), literals(bytes(68))),
        "beyond-end": (literals(b"abc"), match(90, 1), literals(b"z")),
    }
    wrong |= {
        "literals-cut": (literals(b"abc"), b"\x1fabc"),
        "match-cut": (literals(b"abc"), b"\x20"),
        "more-cut": (literals(b"abc"), b"\xe0\xff\xff"),
    }
    wrong |= {"far-cut": (literals(b"abc"), b"\x3f\xff\0")}
    for name, tokens in wrong.items():
        packed = b"".join(tokens)
        coding = Coding(
            "blosclz", (), False, streams=lambda j, part, p=packed: struct.pack("<i", len(p)) + p
        )
        kit.invalid(f"blosclz-{name}", "83 74", Parts(np.zeros(80, "u1"), coding=coding))
