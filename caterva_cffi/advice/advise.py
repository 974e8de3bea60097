"""Chunks, blocks and codecs for what a program reads, with what they will cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from inspect import signature
from operator import mul
from typing import Any, Literal

import numpy.typing as npt

from caterva_cffi.advice.accesses import AccessSelections, selections_of
from caterva_cffi.advice.candidates import candidates
from caterva_cffi.advice.codings import codings
from caterva_cffi.advice.model import LOCAL, Costs, mean_seconds
from caterva_cffi.advice.sampling import keywords_of, sampled
from caterva_cffi.advice.table import Advice, Predicted
from caterva_cffi.binding.compression import Compression
from caterva_cffi.codecs.coding import Coding
from caterva_cffi.dtypes import check_dtype
from caterva_cffi.errors import ArgumentError, Cause
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.selection import Basic
from caterva_cffi.keywords import check_keywords, unknown_name
from caterva_cffi.sources.store_costs import REMOTE, StoreCosts

__all__ = ["advise"]

_RATIO = 2.0
_PARTITIONS = 4
"""Of the best ones, that a sample is compressed with."""

_CODINGS = 2
"""The same, beside the default."""

_AS_FAST = 1.1
"""Of codecs that take up to so many times as long, the one that stores least is advised."""

_SHOWN = 6
_STORES = {"memory": None, "local": LOCAL, "remote": REMOTE}


def advise(
    shape: Sequence[int],
    dtype: npt.DTypeLike,
    accesses: Any,
    chunks: Sequence[int] | None = None,
    sample: npt.NDArray[Any] | None = None,
    store: Literal["memory", "local", "remote"] | StoreCosts = "local",
    *,
    max_error: float | None = None,
    max_relative_error: float | None = None,
    **compression: Any,
) -> Advice:
    """Choose chunks and blocks for what a program reads; with a sample, codec and filters, too.

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
        Some data of the array, best as large as a chunk. It is compressed a dozen times, with
        several codecs and the best partitions, which tells ratio and decoding time.
    store : {"memory", "local", "remote"} or StoreCosts
        Where the array will be.
    max_error, max_relative_error : float, optional
        How far an item may be off, as a number or as a share of the item. Then lossy codecs are
        tried, too: those that keep this bound, whatever the items.
    **compression
        As for `asarray`, `codec`, `clevel`, `filters`, ...: then no codec is chosen, and the sample
        is compressed so.

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
    own = [*signature(advise).parameters][:-1]
    check_keywords(compression, [*own, *Compression.__dataclass_fields__], "advise")
    if not isinstance(store, StoreCosts) and store not in _STORES:
        choices = f"{', '.join(map(repr, _STORES))} or StoreCosts"
        raise unknown_name("store", store, _STORES, choices)
    checked = check_dtype(dtype)
    bounds = max_error, max_relative_error
    if bounds != (None, None) and (sample is None or compression or None not in bounds):
        raise ArgumentError(
            f"max_error is {max_error!r} and max_relative_error {max_relative_error!r}; expected "
            "one of them, with a sample and without a codec: lossy codecs are tried on a sample",
            Cause("contradiction", "max_error", max_error, None),
        )
    tried = list(codings(checked, len(shape), *bounds))
    made = selections_of(accesses, shape)
    grids = list(candidates(shape, checked.itemsize, chunks, [_extent(each) for each in made]))
    model = _Model(made, store if isinstance(store, StoreCosts) else _STORES[store])
    guessed = [model.predict(grid, Costs(), _RATIO) for grid in grids]
    ranked = sorted(range(len(grids)), key=lambda k: (guessed[k].total, k))
    if sample is None:
        found = [guessed[k] for k in ranked]
        return _advice(made, found, guessed[0], checked.itemsize)
    trials = _Trials(model, sample, max_error)
    best = [grids[k] for k in dict.fromkeys([*ranked[:_PARTITIONS], 0])]
    if compression:
        found = [trials.predict(grid, compression, None) for grid in best]
        default = found[best.index(grids[0])]
    else:
        found = trials.of_codings(best, tried)
        default = trials.predict(grids[0], {}, tried[0])
    found.sort(key=lambda each: each.total)
    least = [each for each in found if each.total <= _AS_FAST * found[0].total]
    smallest = max(least, key=lambda each: each.ratio) if not compression else found[0]
    others = [each for each in found if each is not smallest]
    return _advice(made, [smallest, *others], default, checked.itemsize)


def _advice(
    made: Sequence[AccessSelections], found: Sequence[Predicted], default: Predicted, itemsize: int
) -> Advice:
    """Return the first of what was found, with a table of that, the default and some others."""
    best = found[0]
    same = (default.chunks, default.blocks, default.configuration)
    others = [e for e in found[1:] if (e.chunks, e.blocks, e.configuration) != same]
    chosen = best.configuration
    return Advice(
        chunks=best.chunks,
        blocks=best.blocks,
        accesses=tuple(each.name for each in made),
        table=(best, default, *others[: _SHOWN - 2]),
        configuration=chosen,
        compression=None if chosen is None else keywords_of(Coding(**chosen), itemsize),
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


def _in_cells(grid: Grid, cell: int) -> Grid:
    """Return a partition whose blocks are made of whole cells."""
    if cell == 1:
        return grid
    sides = (-(-side // cell) * cell for side in grid.blocks)
    return replace(grid, blocks=tuple(map(min, sides, grid.chunks)))


@dataclass(frozen=True)
class _Model:
    """What is read, and from where."""

    made: Sequence[AccessSelections]
    store: StoreCosts | None

    def predict(self, grid: Grid, costs: Costs, ratio: float) -> Predicted:
        """Return what a partition costs."""
        seconds = [
            mean_seconds(grid, each.selections, self.store, costs, ratio) for each in self.made
        ]
        weights = [each.weight for each in self.made]
        total = sum(map(mul, seconds, weights)) / sum(weights)
        return Predicted(grid.chunks, grid.blocks, ratio, tuple(seconds), total)


@dataclass(frozen=True)
class _Trials:
    """The model with what a sample tells."""

    model: _Model
    sample: npt.NDArray[Any]
    max_error: float | None

    def predict(self, grid: Grid, compression: dict[str, Any], coding: Coding | None) -> Predicted:
        """Return what a partition costs with a sample's ratio and decoding time."""
        ratio, byte, error = sampled(self.sample, grid, compression)
        found = self.model.predict(grid, replace(Costs(), byte=byte), ratio)
        configuration = None if coding is None else coding.configuration()
        return replace(found, configuration=configuration, error=error)

    def of_codings(self, grids: Sequence[Grid], tried: Sequence[Coding]) -> list[Predicted]:
        """Return what codings cost: all of them with the best partition, the best with others."""
        first = list(self._of(grids[0], tried))
        ranked = sorted(first, key=lambda each: each[1].total)
        best = [coding for coding, _ in ranked[:_CODINGS]]
        rest = [found for grid in grids[1:] for _, found in self._of(grid, best)]
        return [*(found for _, found in first), *rest]

    def _of(self, grid: Grid, tried: Sequence[Coding]) -> Iterator[tuple[Coding, Predicted]]:
        itemsize = self.sample.dtype.itemsize
        for coding in tried:
            try:
                coding.check_array(self.sample.dtype, self.sample.ndim)
                whole = _in_cells(grid, coding.cell)
                coding.check_grid(whole)
                coding.check_items(self.sample, self.sample.ndim)
                found = self.predict(whole, keywords_of(coding, itemsize), coding)
            except ArgumentError:  # not for such items, or such blocks
                continue
            if self._keeps(found):
                yield coding, found

    def _keeps(self, found: Predicted) -> bool:
        return self.max_error is None or not found.error > self.max_error
