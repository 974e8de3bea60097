"""How long a read takes, as a model says: what is touched, times what that costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from caterva_cffi.binding.threads import get_nthreads
from caterva_cffi.geometry import index_arrays
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.selection import Axis, Basic, Fancy
from caterva_cffi.planning.policy import chosen, get_read_policy
from caterva_cffi.sources.store_costs import StoreCosts

__all__ = [
    "LOCAL",
    "Costs",
    "Work",
    "mean_seconds",
    "seconds_of",
    "work_of",
]

_TASK_BYTES = 512 << 10
"""That a thread decodes at a time."""

_CLUSTERED = 0.4
"""Runs of neighbouring blocks for each block that is touched: blocks lie along a Hilbert curve."""


LOCAL = StoreCosts(latency=4e-6, bandwidth=10e9)
"""Files in the page cache."""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Seconds of a processor. The benchmark `default_blocks` compares what follows with times.

    Attributes
    ----------
    call, chunk, block : float
        Of each read, each chunk and each block that are touched.
    byte : float
        To decode a byte.
    row : float
        To copy a run of neighbouring items to where they go.
    copied : float
        To copy a byte.
    """

    call: float = 5e-6
    chunk: float = 2e-6
    block: float = 2e-6
    byte: float = 1e-9
    row: float = 4e-9
    copied: float = 0.1e-9


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a read touches.

    Attributes
    ----------
    nchunks, nblocks : int
    all_blocks : int
        Of these chunks.
    ndecoded, nitems : int
        Items that are decoded, and those that are wanted.
    nrows : int
        Runs of neighbouring items that are copied.
    """

    nchunks: int
    nblocks: int
    all_blocks: int
    ndecoded: int
    nitems: int
    nrows: int


def work_of(grid: Grid, selection: Basic | Fancy) -> Work:
    """Return what a read touches; of index arrays about that."""
    nitems = math.prod(selection.shape)
    if isinstance(selection, Fancy):
        nblocks = index_arrays.count_blocks(grid, selection)
        whole = replace(grid, blocks=grid.chunks)
        nchunks, nrows = index_arrays.count_blocks(whole, selection), nitems
    else:
        sides = zip(selection.axes, grid.chunks, grid.blocks, strict=True)
        counts = [_touched(axis, chunk, block) for axis, chunk, block in sides]
        nchunks = math.prod(chunks for chunks, _ in counts)
        nblocks = math.prod(blocks for _, blocks in counts)
        along = selection.axes[-1].count if counts else 1
        runs = counts[-1][1] if counts and abs(selection.axes[-1].step) == 1 else along
        nrows = nitems // max(along, 1) * runs
    return Work(
        nchunks=nchunks,
        nblocks=nblocks,
        all_blocks=nchunks * grid.nblocks,
        ndecoded=nblocks * (grid.blocksize // grid.itemsize),
        nitems=nitems,
        nrows=nrows,
    )


def _touched(axis: Axis, chunk: int, block: int) -> tuple[int, int]:
    """Return how many chunks and blocks an axis touches."""
    if not axis.count:
        return 0, 0
    step, parts = abs(axis.step), -(-chunk // block)
    last = axis.first + (axis.count - 1) * step
    if step > 1:
        positions = axis.first + np.arange(axis.count) * step
        numbers = positions // chunk * parts + positions % chunk // block
        return len(np.unique(positions // chunk)), len(np.unique(numbers))
    ends = [at // chunk * parts + at % chunk // block for at in (axis.first, last)]
    return last // chunk - axis.first // chunk + 1, ends[1] - ends[0] + 1


def seconds_of(
    work: Work, grid: Grid, store: StoreCosts | None, costs: Costs, ratio: float
) -> float:
    """Return how long a read takes.

    Parameters
    ----------
    work : Work
    grid : Grid
    store : StoreCosts or None
        None for memory.
    costs : Costs
    ratio : float
        Bytes of items by bytes that are stored.
    """
    decoded = work.ndecoded * grid.itemsize
    threads = min(get_nthreads(), max(decoded // _TASK_BYTES, 1))
    shared = (
        work.nblocks * costs.block
        + decoded * costs.byte
        + work.nrows * costs.row
        + work.nitems * grid.itemsize * costs.copied
    )
    time = costs.call + work.nchunks * costs.chunk + shared / threads
    return time if store is None else time + _reading(work, grid, store, ratio)


def _reading(work: Work, grid: Grid, store: StoreCosts, ratio: float) -> float:
    """Return how long it takes until the stored bytes are there."""
    if not work.nchunks:
        return 0.0
    policy = get_read_policy("local" if store is LOCAL else "remote")
    if policy.learn:
        policy = chosen(store)
    stored = grid.blocksize / ratio
    touched, every = work.nblocks / work.nchunks, grid.nblocks
    left_out = every - touched
    runs = 1 + _CLUSTERED * (touched - 1) * left_out / every
    nbytes = touched * stored
    if 0 <= left_out * stored * work.nchunks <= policy.round != 0:
        whole = work.nchunks * every * stored / store.bandwidth
        return store.latency + work.nchunks * store.request + whole
    if touched > policy.whole * every or left_out * stored / runs <= policy.gap:
        runs, nbytes = 1.0, min(every * stored, nbytes + policy.gap * runs)
    requests = work.nchunks * (1 + runs)
    at_once = policy.concurrency * work.nchunks if store is not LOCAL else 1
    rounds = 1 + math.ceil(work.nchunks * runs / at_once) if store is not LOCAL else requests
    head = work.nchunks * max(policy.first, 512 + 4 * every)
    return (
        rounds * store.latency
        + requests * store.request
        + (work.nchunks * nbytes + head) / store.bandwidth
    )


def mean_seconds(
    grid: Grid,
    selections: Sequence[Basic | Fancy],
    store: StoreCosts | None,
    costs: Costs,
    ratio: float,
) -> float:
    """Return how long reads take on average."""
    times = [seconds_of(work_of(grid, each), grid, store, costs, ratio) for each in selections]
    return sum(times) / len(times)
