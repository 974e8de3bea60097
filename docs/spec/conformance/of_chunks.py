"""Samples of chunks: their headers, blocks, streams, codecs and filters."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from typing import Any

import numpy as np
from frames import (
    BITSHUFFLE,
    BYTEDELTA,
    CELL,
    DELTA,
    INT_TRUNC,
    NUMBERS,
    SHUFFLE,
    SPECIAL,
    TRUNC,
    Coding,
    Parts,
    literals,
    match,
    special_chunk,
    stream,
)
from kit import CUT, HERE, ITEMS, ROW, Kit, waves


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


def filters(kit: Kit) -> None:
    """Section 12."""
    for width in (1, 2, 3, 4, 7, 8, 16, 24):
        items = waves((5, 21), f"V{width}", width)
        for name, code, rule in [
            ("shuffle", SHUFFLE, "91"),
            ("bitshuffle", BITSHUFFLE, "92"),
            ("delta", DELTA, "93"),
            ("bytedelta", BYTEDELTA, "94"),
        ]:
            kit.valid(
                f"{name}-of-{width}",
                rule,
                Parts(items, (5, 14), (3, 7), Coding("zstd", ((code, 0),))),
            )
    items = waves((5, 21), "<i4")
    for meta in (1, 2, 3, 8, 16, 200):
        kit.valid(
            f"shuffle-parameter-{meta}",
            "91",
            Parts(items, (5, 14), (3, 7), Coding("lz4", ((SHUFFLE, meta),))),
        )
        kit.valid(
            f"bytedelta-parameter-{meta}",
            "94",
            Parts(items, (5, 14), (3, 7), Coding("lz4", ((BYTEDELTA, meta),))),
        )
    kit.valid(
        "bytedelta-of-300",
        "94",
        Parts(waves((3, 4), "V300"), (3, 3), (2, 2), Coding("zstd", ((BYTEDELTA, 0),))),
    )
    several = {
        "delta-shuffle": (DELTA, SHUFFLE),
        "shuffle-bytedelta": (SHUFFLE, BYTEDELTA),
        "shuffle-twice": (SHUFFLE, SHUFFLE),
    }
    several |= {
        "bitshuffle-shuffle-bytedelta": (BITSHUFFLE, SHUFFLE, BYTEDELTA),
        "none-shuffle-none": (0, SHUFFLE, 0),
    }
    for name, codes in several.items():
        kit.valid(
            f"filters-{name}",
            "90",
            Parts(items, (5, 14), (3, 7), Coding("lz4", [(code, 0) for code in codes])),
        )
    for name, code, meta, dtype in [
        ("trunc-prec", TRUNC, 10, "<f4"),
        ("trunc-prec-dropped", TRUNC, -20, "<f8"),
        ("int-trunc", INT_TRUNC, -3, "<i4"),
    ]:
        made = Parts(
            waves((5, 21), dtype), (5, 14), (3, 7), Coding("lz4", ((code, meta), (SHUFFLE, 0)))
        )
        kit.valid(name, "95", made)
    kit.valid(
        "trunc-prec-delta",
        "93 95",
        Parts(waves((5, 21), "<f4"), (5, 14), (3, 7), Coding("lz4", ((TRUNC, 10), (DELTA, 0)))),
    )
    for side, shape, block in [
        (2, (9,), (5,)),
        (3, (7, 8), (4, 7)),
        (4, (5, 6, 7), (4, 5, 6)),
        (2, (2, 3, 2, 3), (2, 2, 2, 2)),
    ]:
        made = Parts(
            waves(shape, "<i2", side), shape, block, Coding("lz4", ((CELL, side), (SHUFFLE, 0)))
        )
        kit.either(f"ndcell-{len(shape)}", "96", made, needs=["ndcell"])
    made = Parts(waves((7, 8), "<f4"), (7, 8), (4, 7), Coding("lz4", ((CELL + 1, 3), (SHUFFLE, 0))))
    kit.either("ndmean", "96", made, needs=["ndmean"])
    for code in (CELL, 5, 31, 37, 160, 255):
        rule = "96" if code == CELL else "90"
        kit.invalid(
            f"filter-{code}", rule, Parts(items, (5, 14), (3, 7), Coding("lz4", ((code, 0),)))
        )
    first = Parts(ITEMS[:2, :6], (2, 6), (2, 3), Coding("lz4", ((SHUFFLE, 0), (BYTEDELTA - 1, 0))))
    kit.either("bytedelta-of-old", "97", first, needs=["bytedelta 34"])
    golden = HERE.parents[2] / "tests/golden"
    for folder, names in GOLDEN.items():
        known = {
            frame["path"]: frame
            for frame in json.loads((golden / folder / "index.json").read_text())["frames"]
        }
        with np.load(golden / folder / "expected.npz") as values:
            for name, (rule, feature) in names.items():
                right = values[known[f"{name}.b2frame"]["expected"]]
                frame = (golden / folder / f"{name}.b2frame").read_bytes()
                kit.add(
                    f"other-{folder.replace('_', '-')}-{name}",
                    rule,
                    frame,
                    "either",
                    right,
                    needs=[feature],
                )


GOLDEN = {
    "python_blosc2": {
        "codec-ndlz-4": ("85", "ndlz"),
        "codec-zfp-acc-f4": ("85", "zfp"),
        "codec-zfp-prec-f4": ("85", "zfp"),
        "codec-zfp-rate-f4": ("85", "zfp"),
        "codec-zfp-acc-1d": ("85", "zfp"),
    },
}
"""Frames of other programs, for what is not made here."""
