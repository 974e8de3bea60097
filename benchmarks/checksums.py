"""What checksums cost: reading, writing and changing a chunk with them, against one without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import FIELDS, equal, in_turns, selections
from benchmarks.kernel import QUICK, SLICES, TINY, Case, Row, Size, compare
from benchmarks.timing import Budget

__all__ = ["QUICK", "TINY", "Size", "run"]

FULL = Size()

MOST = 1.03
"""The most that checksums may cost if they are written by default."""


def costs(case: Case, budget: Budget) -> Iterator[Row]:
    """Do the same work on a chunk with checksums and on one without."""
    arrays = {"checksums": case.array(checksum=True), "none": case.array()}

    def row(work: str, actions: dict[str, Any]) -> Row:
        return compare(actions, budget, MOST, work, case)

    out = np.zeros_like(case.items)
    actions: dict[str, Any] = {}
    for name, array in arrays.items():
        array.read(out=out)
        equal(out, case.items)
        actions[name] = lambda array=array: array.read(out=out)
    yield row("decode a whole chunk", actions)
    for name, keys in selections(case.items.shape[0]).items():
        if name.startswith(SLICES):
            reads = {way: in_turns(a.__getitem__, keys) for way, a in arrays.items()}
            yield row(name, reads)
    whole = (slice(None),) * case.items.ndim
    yield row(
        "encode a chunk",
        {way: lambda a=a: a.__setitem__(whole, case.items) for way, a in arrays.items()},
    )
    one = tuple(slice(0, length) for length in case.block)
    yield row(
        "change a block",
        {way: lambda a=a: a.__setitem__(one, case.items[one]) for way, a in arrays.items()},
    )


def run(directory: Path, budget: Budget, size: Size = FULL) -> Iterator[Row]:
    """Measure all cases, in memory and with one thread."""
    for field, make in FIELDS.items():
        items = make((size.chunk,) * 3)
        for cname in ("lz4", "zstd"):
            for block in size.blocks:
                yield from costs(Case(field, items, (block,) * 3, cname), budget)
