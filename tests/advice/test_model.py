"""The model counts what a read really touches, and more of anything costs more time."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from mixed_items import basic, basic_or_fancy

import caterva_cffi as cat
from caterva_cffi.advice.model import LOCAL, Costs, seconds_of, work_of
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.keys import normalize
from caterva_cffi.sources.store_costs import REMOTE, StoreCosts

GRID = Grid((21, 30, 17), (10, 12, 17), (4, 5, 3), 4)
ARRAY = cat.asarray(
    np.random.default_rng(0).integers(0, 2**31, GRID.shape, "i4"),
    chunks=GRID.chunks,
    blocks=GRID.blocks,
)


@settings(deadline=None)
@given(selection=basic(GRID.shape))
def test_counts_are_those_of_the_planner(selection):
    work, told = work_of(GRID, normalize(selection, GRID.shape)), ARRAY.explain(selection)
    names = ("nchunks", "nblocks", "ndecoded", "nitems")
    if told.nitems:
        assert [getattr(work, name) for name in names] == [getattr(told, name) for name in names]


@settings(deadline=None)
@given(selection=basic_or_fancy(GRID.shape))
def test_more_of_anything_takes_longer(selection):
    work = work_of(GRID, normalize(selection, GRID.shape))
    for store in (None, LOCAL, REMOTE):
        time = seconds_of(work, GRID, store, Costs(), 2)
        assert time > 0
        for each in fields(Costs):
            dear = replace(Costs(), **{each.name: 10 * getattr(Costs(), each.name)})
            assert seconds_of(work, GRID, store, dear, 2) >= time
        more = replace(work, ndecoded=work.ndecoded * 3, nrows=work.nrows * 3)
        assert seconds_of(more, GRID, store, Costs(), 2) >= time


def test_stores():
    work = work_of(GRID, normalize(np.s_[:, 3], GRID.shape))
    near = StoreCosts(latency=0.005, bandwidth=1e9)
    times = [seconds_of(work, GRID, store, Costs(), 2) for store in (None, LOCAL, near, REMOTE)]
    assert times == sorted(times) and times[0] < times[-1]
    slow = replace(REMOTE, bandwidth=1e6)
    assert seconds_of(work, GRID, slow, Costs(), 1) > seconds_of(work, GRID, slow, Costs(), 4)


@pytest.mark.parametrize("wrong", [{"latency": -1}, {"bandwidth": 0}, {"request": -1}])
def test_impossible_stores_are_refused(wrong):
    with pytest.raises(cat.ArgumentError, match="bandwidth above 0"):
        StoreCosts(**{"latency": 1, "bandwidth": 1, **wrong})


def test_a_scattered_plane_costs_more_than_one_in_runs():
    """As many blocks and items; the last axis is cut into runs of one item."""
    shape = (64, 64, 64)
    times = []
    for blocks, key in (((1, 16, 64), np.s_[5]), ((64, 16, 1), np.s_[..., 5])):
        grid = Grid(shape, shape, blocks, 4)
        times.append(seconds_of(work_of(grid, normalize(key, shape)), grid, None, Costs(), 2))
    assert times[0] < times[1]
