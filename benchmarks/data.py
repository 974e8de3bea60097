"""The arrays, made from a formula and a seed, and the selections that are read from them.

`smooth` is a field as sensors and models give it: waves, white noise of standard deviation 0.1, all
rounded to 1/64 as packed formats do:

    12 + 8 sin(z/40) cos(y/55) + 5 sin((x + y)/30) + 3 cos((x - 2 z)/17) + 0.1 N(0, 1)

`rough` is white noise, N(0, 1), of which only sign and exponent compress. Both are float32; the
seed is 0 and noise is drawn plane by plane along z.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Key = tuple[int | slice, ...]


def smooth(shape: Sequence[int], *, rounded: bool = True) -> Array:
    """Return waves with noise, rounded to 1/64 or not."""
    y, x = np.ogrid[: shape[1], : shape[2]]
    random = np.random.default_rng(0)
    out = np.empty(shape, np.float32)
    for z, plane in enumerate(out):
        plane[...] = (
            12
            + 8 * np.sin(z / 40) * np.cos(y / 55)
            + 5 * np.sin((x + y) / 30)
            + 3 * np.cos((x - 2 * z) / 17)
        )
        plane += np.float32(0.1) * random.standard_normal(plane.shape, np.float32)
        if rounded:
            np.round(plane * 64, out=plane)
            plane /= 64
    return out


def rough(shape: Sequence[int]) -> Array:
    """Return white noise."""
    random = np.random.default_rng(0)
    out = np.empty(shape, np.float32)
    for plane in out:
        plane[...] = random.standard_normal(plane.shape, np.float32)
    return out


FIELDS: dict[str, Callable[[Sequence[int]], Array]] = {"smooth": smooth, "rough": rough}

PLACES = 16
"""A selection is read at this many random places in turn, so that a lucky place decides nothing."""


def selections(side: int) -> dict[str, list[Key]]:
    """Return the selections of a cube of `side` items, each at several places."""
    random = np.random.default_rng(1)
    edge = min(20, side // 2)
    whole = slice(None)

    def places(stop: int) -> Iterator[list[int]]:
        return (random.integers(0, stop, 3).tolist() for _ in range(PLACES))

    return {
        "plane [k]": [(k, whole, whole) for k, _, _ in places(side)],
        "plane [:, k]": [(whole, k, whole) for k, _, _ in places(side)],
        "plane [:, :, k]": [(whole, whole, k) for k, _, _ in places(side)],
        f"cube {edge}³": [cube(corner, edge) for corner in places(side - edge + 1)],
        "pencil [j, k]": [(j, k, whole) for j, k, _ in places(side)],
        "one item": [(i, j, k) for i, j, k in places(side)],
    }


def scattered(side: int, count: int) -> list[Key]:
    """Return so many places of a cube of `side` items, several times."""
    random = np.random.default_rng(3)
    return [tuple(random.integers(0, side, (3, count))) for _ in range(PLACES)]


def cube(corner: Sequence[int], side: int) -> Key:
    """Return a box with equal sides."""
    return tuple(slice(start, start + side) for start in corner)


def in_turns(read: Callable[[Any], object], keys: Sequence[Any]) -> Callable[[], object]:
    """Return an action that reads the next of the selections, over and over."""
    following = itertools.cycle(keys).__next__
    return lambda: read(following())


def in_block_order(array: Array, block: Sequence[int]) -> Array:
    """Return the items block by block, as a chunk stores them; nothing is padded."""
    counts = [n // b for n, b in zip(array.shape, block, strict=True)]
    pairs = [side for pair in zip(counts, block, strict=True) for side in pair]
    order = [*range(0, 2 * array.ndim, 2), *range(1, 2 * array.ndim, 2)]
    return np.ascontiguousarray(array.reshape(pairs).transpose(order)).reshape(-1)


def equal(found: Any, expected: Any, who: str = "an action") -> None:
    """Nothing is measured that gives wrong items; how many dimensions they have does not matter."""
    if not np.array_equal(np.asarray(found).reshape(np.shape(expected)), expected):
        raise AssertionError(f"{who} gives other items than NumPy")
