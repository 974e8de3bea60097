"""Samples of filters, and of what other programs wrote."""

from __future__ import annotations

import json

import numpy as np
from coded_blocks import BITSHUFFLE, BYTEDELTA, CELL, DELTA, INT_TRUNC, SHUFFLE, TRUNC
from coded_chunks import Coding
from frames import Parts
from kit import HERE, ITEMS, Kit, waves


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
