"""Pictures show the blocks that hold wanted items, found one by one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from mixed_items import basic_or_fancy

from caterva_cffi.costs.touched import picture_of
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.keys import normalize, normalize_orthogonal

GRID = Grid((21, 30, 17), (10, 12, 17), (4, 5, 3), 4)


def blocks_along(grid, d):
    """Return the number of the block along an axis, of each item."""
    positions = np.arange(grid.shape[d])
    chunk, block = grid.chunks[d], grid.blocks[d]
    keys = positions // chunk * chunk + positions % chunk // block
    return np.unique(keys, return_inverse=True)[1]


def projected(grid, wanted, axes):
    """Return which blocks along two axes have a wanted item."""
    places = [blocks_along(grid, d)[at] for d, at in enumerate(np.nonzero(wanted))]
    found = np.zeros([blocks_along(grid, d).max() + 1 for d in axes], bool)
    found[tuple(places[d] for d in axes)] = True
    return found


@settings(deadline=None)
@given(selection=basic_or_fancy(GRID.shape))
def test_touched_blocks_are_those_with_wanted_items(selection):
    wanted = np.zeros(GRID.shape, bool)
    wanted[selection] = True
    picture = picture_of(GRID, normalize(selection, GRID.shape))
    if not wanted.any():
        assert picture is None
        return
    assert (picture.touched == projected(GRID, wanted, picture.axes)).all()
    for axis, edges in zip(picture.axes, picture.edges, strict=True):
        starts = np.flatnonzero(np.diff(blocks_along(GRID, axis), prepend=-1))
        assert edges == [*starts, GRID.shape[axis]]


def test_the_axes_along_which_most_is_decoded_in_vain():
    for axis, other in itertools.permutations(range(3), 2):
        blocks = [30 if d == axis else 6 if d == other else 1 for d in range(3)]
        grid = Grid((60, 60, 60), (60, 60, 60), tuple(blocks), 4)
        key = tuple(0 if d in (axis, other) else slice(None) for d in range(3))
        assert picture_of(grid, normalize(key, grid.shape)).axes == tuple(sorted((axis, other)))


def test_orthogonal_selections():
    selection = normalize_orthogonal(([0, 20], slice(None), [0, 16]), GRID.shape)
    assert picture_of(GRID, selection).touched.sum() in (4, 2 * 8)


@pytest.mark.parametrize(
    ("shape", "squares"),
    [((10**6,), (1, 64)), ((500, 10**6), (50, 64)), ((), None), ((0, 3), None)],
)
def test_large_arrays_have_small_pictures(shape, squares):
    grid = Grid(shape, shape, tuple(min(n, 10) for n in shape), 1)
    picture = picture_of(grid, normalize((), shape))
    assert squares == (None if picture is None else picture.touched.shape)
    assert picture is None or picture.touched.all()
