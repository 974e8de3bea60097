"""Items that are compressed in all ways, and selections of them, drawn by hypothesis."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st


def mixed(shape):
    """Return noise of 24 bits in 32, places with less, and chunks of one value."""
    found = np.random.default_rng(0).integers(0, 2**24, shape, "i4")
    found[: shape[0] // 2, : shape[1] // 3] &= 7
    found[shape[0] // 2 :, shape[1] // 2 :] = 5
    return found


def _slice(length, steps=(None, None, 1, 2, 3, 7, 20, -1, -5)):
    ends = st.one_of(st.none(), st.integers(-length, length))
    return st.builds(slice, ends, ends, st.sampled_from(steps))


def basic(shape, *steps):
    """Draw integers and slices with any steps, or with given ones."""
    whole = st.just(slice(None))
    sides = [st.one_of(st.integers(-n, n - 1), _slice(n, *steps), whole) for n in shape]
    return st.tuples(*sides)


def _positions(length, size):
    return st.lists(st.integers(-length, length - 1), min_size=size, max_size=size).map(np.array)


@st.composite
def fancy(draw, shape):
    """Draw index arrays of one length along some axes, and slices along the others."""
    size = draw(st.integers(1, 8))
    sides = [draw(st.one_of(_positions(n, size), _slice(n))) for n in shape]
    sides[draw(st.integers(0, len(shape) - 1))] = draw(_positions(shape[0], size)) % min(shape)
    return tuple(sides)


def basic_or_fancy(shape):
    """Draw either."""
    return st.one_of(basic(shape), fancy(shape))
