"""Make the samples of the conformance kit: `python make.py [DIRECTORY]`, by default this one.

It needs caterva_cffi, NumPy, lz4 and zstandard. index.json says of each sample which rules of
caterva.md it shows, and what a reader makes of it: `items`, `refuse`, or `either` of them.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import sys
from dataclasses import replace
from pathlib import Path
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
    TRAILER,
    TRUNC,
    Coding,
    Parts,
    geometry,
    literals,
    match,
    metalayers,
    offsets_in,
    special_chunk,
    stream,
)

from caterva_cffi.numcodecs import Caterva

HERE = Path(__file__).resolve().parent
CODEC = {"name": "caterva", "configuration": {}}


class Kit:
    """Samples by their names."""

    def __init__(self) -> None:
        page = (HERE.parent / "caterva.md").read_text("utf-8")
        self.sections: dict[str, str] = {}
        section = ""
        for line in page.splitlines():
            section = (re.findall(r"^#+ (\d[\d.]*?)\.? ", line) or [section])[0]
            for rule in re.findall(r"^(?:- )?\*\*(R-\d+)[.*]", line):
                self.sections[rule] = section
        self.samples: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}

    def add(
        self, name: str, rules: str, frame: bytes, expect: str, items: Any = None, **more: Any
    ) -> None:
        """Add a sample; rules are numbers."""
        numbers = [f"R-{rule}" for rule in rules.split()]
        path = f"frames/{name}.frame"
        assert path not in self.files, name
        self.files[path] = bytes(frame)
        sample = {"name": name, "kind": "frame", "path": path, "expect": expect, "rules": numbers}
        sample["section"] = self.sections[numbers[0]]
        if items is not None:
            data = items.tobytes()
            where = f"items/{hashlib.sha256(data).hexdigest()[:16]}.bin"
            self.files[where] = data
            sample |= {"shape": list(items.shape), "itemsize": items.dtype.itemsize, "items": where}
        self.samples.append(sample | more)

    def valid(self, name: str, rules: str, parts: Parts, items: Any = None, **more: Any) -> None:
        """Add a frame that must be read."""
        items = parts.items if items is None else items
        text = {} if parts.geometry else {"dtype": parts.text}
        self.add(name, rules, parts.frame(), "items", items, **text, **more)

    def either(self, name: str, rules: str, parts: Parts, items: Any = None, **more: Any) -> None:
        """Add a frame that may be refused, or read."""
        items = parts.items if items is None else items
        self.add(name, rules, parts.frame(), "either", items, **more)

    def invalid(self, name: str, rules: str, frame: bytes | Parts, **more: Any) -> None:
        """Add a frame that must be refused."""
        self.add(
            name, rules, frame if isinstance(frame, bytes) else frame.frame(), "refuse", **more
        )

    def write(self, directory: Path) -> None:
        """Write all files."""
        for name, data in self.files.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_bytes(data)
        lines = ",\n".join(json.dumps(sample, sort_keys=True) for sample in self.samples)
        text = f'{{"page": "../caterva.md", "version": "1.0", "samples": [\n{lines}\n]}}\n'
        (directory / "index.json").write_text(text, "utf-8")


def waves(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> np.ndarray:
    """Return items with runs, repetitions and noise."""
    n, dtype = int(np.prod(shape)), np.dtype(dtype)
    random = np.random.default_rng(seed)
    if dtype.kind == "f":
        items = np.round(np.sin(np.arange(n) / 5) * 8) / 4 + (random.random(n) < 0.1)
        return items.astype(dtype).reshape(shape)
    size = dtype.itemsize
    raw = (np.arange(n * size) % size == 0) * (np.arange(n * size) // size % 7)
    raw += random.integers(0, 3, n * size) * (random.random(n * size) < 0.1)
    return raw.astype("u1").view(dtype).reshape(shape)


ITEMS = waves((9, 14), "<i2")
CUT = {"chunk": (6, 8), "block": (4, 5)}
ROW = np.arange(40, dtype="<i4") * 257


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


WRITERS = {
    **{
        f"{cname}-{shuffle}-{level}": {"cname": cname, "shuffle": shuffle, "clevel": level}
        for cname in ("lz4", "lz4hc", "blosclz", "zlib", "zstd")
        for shuffle in ("noshuffle", "shuffle", "bitshuffle")
        for level in (1, 9)
    },
    "level-0": {"clevel": 0},
    "delta": {"filters": ["delta", "shuffle"]},
    "bytedelta": {"cname": "zstd", "filters": ["shuffle", "bytedelta"]},
    "trunc-prec": {"filters": [{"name": "trunc_prec", "bits": 8}, "shuffle"]},
    "trunc-prec-dropped": {"filters": [{"name": "trunc_prec", "bits": -6}, "bitshuffle"]},
    "dictionary": {"cname": "zstd", "use_dict": True},
    "dictionary-lz4": {"use_dict": True},
    "several-chunks": {"chunk_shape": (6, 8), "cname": "blosclz"},
}


OPTIONAL = {
    "ndcell": ({"filters": [{"name": "ndcell", "cell_shape": 3}, "shuffle"]}, "<u4"),
    "ndmean": ({"filters": [{"name": "ndmean", "cell_shape": 2}, "shuffle"]}, "<f4"),
    "ndlz": ({"cname": "ndlz"}, "|u1"),
    "ndlz-8": ({"cname": "ndlz", "cell_shape": 8}, "|u1"),
    "zfp-accuracy": ({"cname": "zfp_accuracy", "tolerance": 0.01}, "<f4"),
    "zfp-precision": ({"cname": "zfp_precision", "precision": 12}, "<f8"),
    "zfp-rate": ({"cname": "zfp_rate", "rate": 16}, "<f4"),
}
"""Configurations with features that a reader may leave out."""


def writers(kit: Kit) -> None:
    """Section 14.1: what the package writes."""
    items = waves((14, 18), "<f4", 3)
    items[:5] = 0
    for checksum in (False, True):
        for name, configuration in WRITERS.items():
            codec = Caterva(block_shape=(5, 6), checksum=checksum, **configuration)
            frame = codec.encode(items)
            right = codec.decode(frame).reshape(items.shape)
            more = "-checksums" if checksum else ""
            kit.add(
                f"written-{name}{more}",
                "110 111 112 113 114 115 116",
                frame,
                "items",
                right,
                dtype="<f4",
                written=True,
            )
    for name, (configuration, dtype) in OPTIONAL.items():
        codec = Caterva(block_shape=(8, 9), **configuration)
        frame = codec.encode(waves((14, 18), dtype))
        right = codec.decode(frame).reshape(14, 18)
        kit.add(f"written-{name}", "85 96", frame, "either", right, needs=[name], dtype=dtype)
    zeros = np.zeros((14, 18), "<f4")
    for checksum in (False, True):
        frame = Caterva(block_shape=(5, 6), checksum=checksum).encode(zeros)
        kit.add(
            f"written-zeros{'-checksums' if checksum else ''}",
            "114",
            frame,
            "items",
            zeros,
            dtype="<f4",
            written=True,
        )
    fortran = np.asfortranarray(items)
    for name, source in {"fortran": fortran, "c": items}.items():
        frame = Caterva().encode(source)
        kit.add(f"numcodecs-{name}", "07", frame, "items", source.ravel("K"), kind="numcodecs")


def zarr_chunks(kit: Kit) -> None:
    """Section 2: a frame as a chunk of a Zarr array."""
    plain, sealed = Parts(ITEMS, block=(4, 5)), Parts(ITEMS, block=(4, 5), checksums=True)

    def codec(**configuration: Any) -> dict[str, Any]:
        return {"name": "caterva", "configuration": configuration}

    def chunk(
        name: str, rule: str, expect: str, given: Any, parts: Parts = plain, **metadata: Any
    ) -> None:
        array = {"shape": [9, 14], "data_type": "int16"} | metadata
        items = ITEMS if expect != "refuse" else None
        more = {"kind": "zarr", "codec": given, "array": array}
        kit.add(f"zarr-{name}", rule, parts.frame(), expect, items, **more)

    chunk("no-configuration", "01", "items", {"name": "caterva"})
    chunk("empty-configuration", "01", "items", codec())
    chunk("other-name", "01", "refuse", {"name": "blosc2"})
    chunk("unknown-member", "02", "refuse", codec(typesize=2))
    chunk("unknown-member-null", "02", "refuse", codec(level=None))
    chunk("checksum-1", "03", "refuse", codec(checksum=1))
    chunk("checksum-text", "03", "refuse", codec(checksum="true"))
    chunk("clevel-10", "03", "either", codec(clevel=10))
    chunk("cname-snappy", "03", "either", codec(cname="snappy"))
    lie = codec(
        cname="zstd", clevel=9, shuffle="bitshuffle", block_shape=[3, 3], chunk_shape=[9, 9]
    )
    chunk("other-configuration", "04", "items", lie)
    chunk("checksum-though-not-asked-for", "04 06", "items", codec(), sealed)
    chunk("checksum", "06", "items", codec(checksum=True), sealed)
    chunk("checksum-missing", "06", "refuse", codec(checksum=True))
    chunk(
        "checksum-only-of-blocks",
        "06",
        "refuse",
        codec(checksum=True),
        Parts(ITEMS, block=(4, 5), sums=True),
    )
    chunk("shape-transposed", "05", "refuse", codec(), shape=[14, 9])
    chunk("shape-flat", "05", "refuse", codec(), shape=[126])
    chunk("itemsize-4", "05", "refuse", codec(), data_type="int32")
    chunk("kind-float", "05", "refuse", codec(), data_type="float16")
    chunk("kind-unsigned", "05", "refuse", codec(), data_type="uint16")
    void = Parts(ITEMS, block=(4, 5), text="|V2")
    chunk("kind-unknown", "05", "items", codec(), void)


def make() -> Kit:
    """Return the kit."""
    kit = Kit()
    for part in (
        zarr_chunks,
        shapes_and_items,
        headers,
        offsets,
        chunks,
        streams,
        filters,
        checksums,
        writers,
    ):
        part(kit)
    return kit


if __name__ == "__main__":
    make().write(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
