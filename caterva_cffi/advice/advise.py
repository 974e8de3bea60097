"""Chunks and blocks for what a program reads, with what they will cost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from operator import mul
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from caterva_cffi.advice.accesses import AccessSelections, selections_of
from caterva_cffi.advice.candidates import candidates
from caterva_cffi.advice.model import LOCAL, Costs, mean_seconds
from caterva_cffi.arrays.constructors import asarray
from caterva_cffi.binding.compression import Compression
from caterva_cffi.dtypes import check_dtype
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.selection import Basic
from caterva_cffi.keywords import check_keywords, unknown_name
from caterva_cffi.sources.store_costs import REMOTE, StoreCosts

__all__ = ["Advice", "Predicted", "advise"]

_RATIO = 2.0
_MEASURED = 4
"""Of the best partitions, that a sample is compressed with."""

_SHOWN = 6
_STORES = {"memory": None, "local": LOCAL, "remote": REMOTE}


@dataclass(frozen=True)
class Predicted:
    """A partition, and what it costs.

    Attributes
    ----------
    chunks, blocks : tuple of int
    ratio : float
        Bytes of items by bytes that are stored: measured with a sample, else a guess.
    seconds : tuple of float
        Of each access, as the model says.
    total : float
        Their weighted mean.
    """

    chunks: tuple[int, ...]
    blocks: tuple[int, ...]
    ratio: float
    seconds: tuple[float, ...]
    total: float


@dataclass(frozen=True)
class Advice:
    """Which chunks and blocks to choose.

    `str` gives the table; in notebooks it is one, too.

    Attributes
    ----------
    chunks, blocks : tuple of int
        Those with the least predicted time.
    accesses : tuple of str
    table : tuple of Predicted
        This partition first, then the default one and alternatives, the faster ones first.
    """

    chunks: tuple[int, ...]
    blocks: tuple[int, ...]
    accesses: tuple[str, ...]
    table: tuple[Predicted, ...]

    def _rows(self) -> list[list[str]]:
        head = ["", "chunks", "blocks", "ratio", *self.accesses, "weighted"]
        names = ["advised", "default"] + [""] * len(self.table)
        return [head] + [
            [
                name,
                " x ".join(map(str, each.chunks)),
                " x ".join(map(str, each.blocks)),
                f"{each.ratio:.2f}",
                *map(_time, [*each.seconds, each.total]),
            ]
            for name, each in zip(names, self.table, strict=False)
        ]

    def __str__(self) -> str:
        rows = self._rows()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(map(str.rjust, row, widths)).rstrip() for row in rows)
        return "\n".join([f"chunks {self.chunks}, blocks {self.blocks}", *lines])

    def _repr_html_(self) -> str:
        rows = ("".join(f"<td>{escape(text)}</td>" for text in row) for row in self._rows())
        return f"<table><tbody>{''.join(f'<tr>{row}</tr>' for row in rows)}</tbody></table>"


def advise(
    shape: Sequence[int],
    dtype: npt.DTypeLike,
    accesses: Any,
    chunks: Sequence[int] | None = None,
    sample: npt.NDArray[Any] | None = None,
    store: Literal["memory", "local", "remote"] | StoreCosts = "local",
    **compression: Any,
) -> Advice:
    """Choose chunks and blocks for what a program reads.

    A model predicts how long each access takes with many partitions. Trust its order more than its
    times: these are of one machine.

    Parameters
    ----------
    shape : sequence of int
        Of the array.
    dtype : dtype
    accesses : str, Access, or iterable of str, Access and selections
        What is read, by example: see `Access`. Also what `recorded_accesses` wrote down.
    chunks : sequence of int, optional
        Chunks that are given: only blocks are chosen.
    sample : ndarray, optional
        Some data of the array, best as large as a chunk. It is compressed with the best partitions
        and with the default one, which tells ratio and decoding time.
    store : {"memory", "local", "remote"} or StoreCosts
        Where the array will be.
    **compression
        Of the sample, as for `asarray`: `codec`, `clevel`, `filters`, ...

    Returns
    -------
    Advice

    Raises
    ------
    ArgumentError, IndexError

    Examples
    --------
    >>> accesses = ["planes along 0", cat.Access("lines along 0", weight=100)]
    >>> advice = cat.advise((3650, 721, 1440), "f4", accesses, chunks=(365, 181, 180))
    >>> advice.chunks, advice.blocks[0] > 30  # long in time, for the lines
    ((365, 181, 180), True)
    """
    own = ("shape", "dtype", "accesses", "chunks", "sample", "store")
    check_keywords(compression, [*own, *Compression.__dataclass_fields__], "advise")
    if not isinstance(store, StoreCosts) and store not in _STORES:
        choices = f"{', '.join(map(repr, _STORES))} or StoreCosts"
        raise unknown_name("store", store, _STORES, choices)
    where = store if isinstance(store, StoreCosts) else _STORES[store]
    itemsize = check_dtype(dtype).itemsize
    made = selections_of(accesses, shape)
    grids = list(candidates(shape, itemsize, chunks, [_extent(each) for each in made]))
    costs = Costs()
    found = [_predict(grid, made, where, costs, _RATIO) for grid in grids]
    default = found[0]
    ranked = sorted(range(len(grids)), key=lambda k: (found[k].total, k))
    if sample is not None:
        for k in dict.fromkeys([*ranked[:_MEASURED], 0]):
            ratio, byte = _measured(grids[k], sample, compression)
            found[k] = _predict(grids[k], made, where, replace(costs, byte=byte), ratio)
        default = found[0]
        ranked = sorted(dict.fromkeys([*ranked[:_MEASURED], 0]), key=lambda k: (found[k].total, k))
    best = found[ranked[0]]
    others = [found[k] for k in ranked[1:] if k != 0]
    return Advice(
        chunks=best.chunks,
        blocks=best.blocks,
        accesses=tuple(each.name for each in made),
        table=(best, default, *others[: _SHOWN - 2]),
    )


def _extent(made: AccessSelections) -> list[int]:
    """Return how long along each axis what is read is."""
    first = made.selections[0]
    basic = first if isinstance(first, Basic) else first.basic
    counts = [(axis.count - 1) * abs(axis.step) + 1 for axis in basic.axes]
    if not isinstance(first, Basic):
        for d in first.dims:
            counts[d] = 1
    return counts


def _predict(
    grid: Grid,
    made: Sequence[AccessSelections],
    store: StoreCosts | None,
    costs: Costs,
    ratio: float,
) -> Predicted:
    seconds = [mean_seconds(grid, each.selections, store, costs, ratio) for each in made]
    weights = [each.weight for each in made]
    total = sum(map(mul, seconds, weights)) / sum(weights)
    return Predicted(grid.chunks, grid.blocks, ratio, tuple(seconds), total)


def _measured(
    grid: Grid, sample: npt.NDArray[Any], compression: dict[str, Any]
) -> tuple[float, float]:
    """Return the ratio of a sample, and in how many seconds of one thread a byte is decoded."""
    chunks = tuple(map(min, sample.shape, grid.chunks))
    blocks = tuple(map(min, chunks, grid.blocks))
    array = asarray(sample, chunks=chunks, blocks=blocks, nthreads=1, **compression)
    out = np.empty(sample.shape, sample.dtype)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        array.read(out=out)
        times.append(time.perf_counter() - start)
    return max(sample.nbytes / max(array.cbytes, 1), 1e-3), min(times) / max(sample.nbytes, 1)


def _time(seconds: float) -> str:
    for unit, least in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= least:
            return f"{seconds / least:.3g} {unit}"
    return f"{seconds:.1g} s"
