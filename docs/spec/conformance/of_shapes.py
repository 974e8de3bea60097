"""Samples of frames of many shapes and kinds of items."""

from __future__ import annotations

import struct

import numpy as np
from frames import Parts, geometry
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
