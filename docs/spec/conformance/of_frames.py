"""Samples of frames: items, header, metalayers, offsets, trailer, checksums."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import numpy as np
from frames import (
    BITSHUFFLE,
    NUMBERS,
    SPECIAL,
    TRAILER,
    Coding,
    Parts,
    geometry,
    metalayers,
    offsets_in,
    special_chunk,
)
from kit import CUT, ITEMS, Kit, waves


def shapes_and_items(kit: Kit) -> None:
    """Section 3, and what the geometry says."""
    shapes = [(), (1,), (7,), (9, 14), (5, 6, 7), (3, 4, 5, 3), (3, 3, 2, 2, 3)]
    shapes += [(2,) * 6, (2,) * 7, (2,) * 8, (1, 2) * 8]
    for shape in shapes:
        chunk, block = tuple(max(n - 1, 1) for n in shape), tuple(max(n // 2, 1) for n in shape)
        more = " 14" if not shape else " 32" if len(shape) == 16 else ""
        kit.valid(
            f"ndim-{len(shape)}-{len(kit.samples)}",
            f"11{more}",
            Parts(waves(shape, "<i2"), chunk, block),
        )
    for chunk, block in [
        ((9, 14), (9, 14)),
        ((9, 14), (2, 3)),
        ((12, 20), (5, 5)),
        ((1, 1), (1, 1)),
    ]:
        name = f"cut-{chunk[0]}-{chunk[1]}-{block[0]}-{block[1]}"
        kit.valid(name, "11", Parts(ITEMS, chunk, block))
    for name, shape, sides in [
        ("none", (0,), (0,)),
        ("some", (3, 0), (2, 2)),
        ("blocks-0", (0, 3), (0, 3)),
    ]:
        kit.valid(f"no-items-{name}", "14", Parts(np.empty(shape, "<f4"), sides, sides))
    junk = np.full((12, 20), 0x5A5A, "<i2")
    junk[:9, :14] = ITEMS
    around = Parts(
        junk, (12, 20), (4, 10), geometry={"b2nd": geometry((9, 14), (12, 20), (4, 10), "<i2")}
    )
    kit.valid("padding-is-ignored", "12", around, ITEMS, dtype="<i2")
    texts = [
        "|b1",
        "|i1",
        "|u1",
        "<i2",
        "<u4",
        "<i8",
        "<f2",
        "<f4",
        "<f8",
        "<c8",
        "<c16",
        "<M8[ns]",
        "<m8[10us]",
    ]
    texts += ["<M8", "|S5", "<U3", "|V7"]
    for text in texts:
        items = (waves((6, 9), f"V{np.dtype(text).itemsize}")).view(text)
        items = items.view("u1") % 2 if text == "|b1" else items
        kit.valid(
            f"dtype-{text.strip('<|').replace('[', '-').rstrip(']')}",
            "10 33",
            Parts(items, (4, 9), (2, 5), text=text),
        )
    structures = [
        "[('a', '<f8'), ('', '|V2'), ('b', '<i4', (3,))]",
        "[('x', [('y', '<i2'), ('z', 'S3')])]",
    ]
    structures += [
        "{'names': ['b', 'a'], 'formats': ['<i4', '<i2'], 'offsets': [4, 0], 'itemsize': 10}"
    ]
    for i, text in enumerate(structures):
        items = waves((5, 4), f"V{(22, 5, 10)[i]}")
        kit.valid(f"dtype-structure-{i}", "33", Parts(items, (3, 4), (2, 2), text=text))
    large = waves((3, 4), "V300")
    kit.valid("itemsize-300", "33", Parts(large, (3, 3), (2, 2)))
    kit.valid(
        "itemsize-300-says-1", "33", Parts(large, (3, 3), (2, 2), header={48: struct.pack(">i", 1)})
    )
    for text in (">i2", ">f4"):
        items = waves((6, 9), f"V{text[2]}").view(text)
        kit.either(
            f"big-endian-{text[1:]}", "10", Parts(items, (6, 6), (3, 3), text=text), dtype=text
        )
    for name, sides in {
        "block-over-chunk": ((9, 14), (6, 8), (7, 5)),
        "negative-shape": ((-9, 14), (6, 8), (4, 5)),
        "chunk-0": ((9, 14), (0, 8), (0, 5)),
        "block-0": ((9, 14), (6, 8), (0, 5)),
        "block-large": ((9, 14), (40000, 40000), (20000, 20000)),
    }.items():
        kit.invalid(
            f"geometry-{name}",
            "13",
            Parts(ITEMS, **CUT, geometry={"b2nd": geometry(*sides, "<i2")}),
        )


def headers(kit: Kit) -> None:
    """Sections 4, 5 and 7."""
    parts = Parts(ITEMS, **CUT)
    good = parts.frame()

    def changed(**header: bytes) -> Parts:
        return replace(parts, header={int(at[1:]): data for at, data in header.items()})

    kit.valid("header", "20 21 22", parts)
    for name, frame in {
        "empty": b"",
        "short": good[:20],
        "magic": b"\x9e\xa8b2fra\0\0\0" + good[10:],
    }.items():
        kit.invalid(f"header-{name}", "20", frame)
    kit.invalid("header-len-86", "21", changed(_11=struct.pack(">i", 86)))
    kit.invalid("header-len-large", "21", changed(_11=struct.pack(">i", len(good) + 1)))
    kit.invalid("header-len-negative", "21", changed(_11=struct.pack(">i", -1)))
    for name, frame in {
        "cut": good[:-1],
        "half": good[: len(good) // 2],
        "appended": good + b"\0",
        "twice": good * 2,
    }.items():
        kit.invalid(f"length-{name}", "22", frame)
    kit.invalid("length-huge", "22", changed(_16=struct.pack(">q", 1 << 62)))
    for version in range(16):
        frame = changed(_25=bytes([0x10 | version]))
        if version in (1, 2, 3):
            kit.valid(f"version-{version}", "23", frame)
        else:
            kit.invalid(f"version-{version}", "23", frame)
    for flag in (0x40, 0x80, 0xC0):
        kit.invalid(f"chunk-kind-{flag:x}", "24", changed(_25=bytes([0x12 | flag])))
    for flags in (0x02, 0x32):
        kit.valid(f"frame-flags-{flags:x}", "24", changed(_25=bytes([flags])))
    for kind in (1, 2, 15):
        kit.invalid(f"frame-kind-{kind}", "25", changed(_26=bytes([kind])))
    for name, at, form, value in [
        ("nbytes-negative", 30, ">q", -480),
        ("cbytes-negative", 39, ">q", -1),
        ("itemsize-0", 48, ">i", 0),
        ("itemsize-negative", 48, ">i", -2),
        ("nbytes-part", 30, ">q", 479),
        ("chunksize-other", 58, ">i", 96),
        ("chunksize-0", 58, ">i", 0),
        ("blocksize-other", 53, ">i", 20),
        ("nbytes-more", 30, ">q", 960 + 80),
    ]:
        kit.invalid(f"size-{name}", "26 36", changed(**{f"_{at}": struct.pack(form, value)}))
    kit.valid("size-blocksize-0", "26", changed(_53=bytes(4)))
    kit.invalid("cbytes-beyond", "28", changed(_39=struct.pack(">q", len(good))))
    lies = changed(_27=b"\x94\0", _71=bytes([2, 2, 2, 2, 2, 35]), _77=bytes([5, 9]), _85=b"\1")
    kit.valid("header-lies-of-codec", "27", lies)
    # metalayers
    at = good.index(b"b2nd", 90) - 1
    for name, place, data in [
        ("count-17", 92, b"\0\x11"),
        ("count-2", 92, b"\0\2"),
        ("no-map", 91, b"\xdf"),
        ("position-large", at + 6, struct.pack(">i", 1 << 30)),
        ("position-negative", at + 6, struct.pack(">i", -9)),
        ("length-large", good.index(b"\xc6", at) + 1, b"\0\1\0\0"),
    ]:
        kit.invalid(f"metalayers-{name}", "30", good[:place] + data + good[place + len(data) :])
    kit.valid(
        "metalayers-16",
        "30 37",
        replace(parts, layers={f"layer {i}": bytes([i]) * i for i in range(15)}),
    )
    kit.valid(
        "metalayers-others",
        "37",
        replace(parts, layers={"": b"", "x" * 31: b"abc", "zarr": b"\xc1"}),
    )
    names = {
        "b2nd": geometry((9, 14), (6, 8), (4, 5), "<i2"),
        "caterva": geometry((9, 14), (6, 8), (4, 5), None),
    }
    kit.invalid("geometry-none", "31", replace(parts, geometry={}))
    kit.valid("geometry-caterva", "31 33", replace(parts, geometry={"caterva": names["caterva"]}))
    kit.valid("geometry-both", "31 34", replace(parts, geometry=dict(reversed(names.items()))))
    smaller = {"b2nd": geometry((6, 8), (6, 8), (4, 5), "<i2"), "caterva": names["caterva"]}
    kit.valid("geometry-b2nd-is-stale", "34", replace(parts, geometry=smaller))
    smaller = {"b2nd": names["b2nd"], "caterva": geometry((6, 8), (6, 8), (4, 5), None)}
    kit.valid("geometry-caterva-is-stale", "34", replace(parts, geometry=smaller))
    both = {
        "b2nd": geometry((9, 14), (6, 8), (4, 5), "<i2"),
        "caterva": geometry((14, 9), (6, 8), (4, 5), None),
    }
    kit.valid("geometry-both-fit", "34", replace(parts, geometry=both))
    wrong = {"b2nd": geometry((6, 8), (6, 8), (4, 5), "<i2")}
    kit.invalid("chunks-too-many", "36", replace(parts, geometry=wrong))
    kit.invalid(
        "chunks-too-few",
        "36",
        replace(parts, geometry={"b2nd": geometry((99, 14), (6, 8), (4, 5), "<i2")}),
    )
    wrong["caterva"] = geometry((99, 14), (6, 8), (4, 5), None)
    kit.invalid("chunks-of-neither", "36", replace(parts, geometry=wrong))
    b2nd = names["b2nd"]
    for name, place, data in [
        ("entries-4", 0, b"\x94"),
        ("entries-8", 0, b"\x98"),
        ("version-1", 1, b"\1"),
        ("version-127", 1, b"\x7f"),
        ("ndim-17", 2, b"\x11"),
        ("ndim-3", 2, b"\3"),
        ("array-3", 3, b"\x93"),
        ("int32-shape", 4, b"\xd2"),
        ("int64-chunk", 23, b"\xd3"),
    ]:
        broken = b2nd[:place] + data + b2nd[place + len(data) :]
        kit.invalid(f"geometry-{name}", "32", replace(parts, geometry={"b2nd": broken}))
    kit.invalid("geometry-cut", "32", replace(parts, geometry={"b2nd": b2nd[:20]}))
    kit.invalid("geometry-empty", "32", replace(parts, geometry={"b2nd": b""}))
    kit.valid("geometry-5-entries", "33", replace(parts, geometry={"b2nd": b"\x95" + b2nd[1:-9]}))
    for text in ["", "<i4", "<q9", "[('a', '<i4')]", "[('a'", "O", "__import__('os')", "<i2,<i2"]:
        kit.invalid(f"dtype-wrong-{len(kit.samples)}", "33", replace(parts, text=text))
    text = geometry((9, 14), (6, 8), (4, 5), "<i2")
    kit.invalid(
        "dtype-format-1", "33", replace(parts, geometry={"b2nd": text[:-9] + b"\1" + text[-8:]})
    )
    kit.invalid(
        "dtype-mark", "33", replace(parts, geometry={"b2nd": text[:-8] + b"\xda" + text[-7:]})
    )
    kit.invalid("dtype-cut", "33", replace(parts, geometry={"b2nd": text[:-1]}))
    # trailer
    note = special_chunk(3, 4, 4, 1, b"A")
    variable = b"\x94\1" + metalayers({"note": note}, 2, 0)
    end = TRAILER[12:]
    variable += end[:1] + struct.pack(">I", len(variable) + 23) + end[5:]
    kit.valid(
        "trailer-with-metalayer", "45", replace(parts, trailer=variable, header={68: b"\xc3"})
    )


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
