"""Accesses by example: words, selections, and what was recorded, each made places of an array."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from caterva_cffi.errors import ArgumentError, Cause, wrong_value
from caterva_cffi.geometry.crops import Crops
from caterva_cffi.geometry.keys import normalize
from caterva_cffi.geometry.selection import Axis, Basic, Fancy

__all__ = ["Access", "AccessSelections", "accesses_of", "selections_of"]

_PLACES = 8
"""Places of an access that may be anywhere."""

_SEED = 0


@dataclass(frozen=True)
class Access:
    """What a program reads, and how often.

    Parameters
    ----------
    what : str or selection
        "planes along 0" (one index of axis 0, all of the others), "lines along 0" (all of axis 0,
        one index of each other), "boxes of 20x20x20", "items", "everything"; or a selection such
        as `numpy.s_[5, :100]`.
    weight : float
        How often it is read, in relation to the others.
    """

    what: Any
    weight: float = 1

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise wrong_value("weight", self.weight, "a positive number")


@dataclass(frozen=True)
class AccessSelections:
    """An access, made at some places of an array.

    Attributes
    ----------
    name : str
    weight : float
    selections : list of Basic or Fancy
    """

    name: str
    weight: float
    selections: list[Basic | Fancy]


def accesses_of(given: Any) -> tuple[Any, ...]:
    """Return one access, or several, as a tuple; of None none."""
    if given is None:
        return ()
    return (given,) if isinstance(given, (str, Access)) else tuple(given)


def selections_of(accesses: Any, shape: Sequence[int]) -> list[AccessSelections]:
    """Return accesses as selections of an array.

    Parameters
    ----------
    accesses : str, Access, or iterable of str, Access and selections
    shape : sequence of int

    Raises
    ------
    ArgumentError
        For words that mean nothing, or if no access is left.
    IndexError
        For a selection that is out of bounds.
    """
    found, recorded = [], []
    for each in accesses_of(accesses):
        if isinstance(each, (Basic, Fancy, Crops)):
            recorded += [one for one in _single(each) if _is_of(one, shape)]
            continue
        access = each if isinstance(each, Access) else Access(each)
        selections = [normalize(key, shape) for key in _keys(access.what, shape)]
        found.append(AccessSelections(_name(access.what), access.weight, selections))
    if recorded:
        found.append(AccessSelections(f"{len(recorded)} recorded reads", len(recorded), recorded))
    if not found:
        raise ArgumentError(
            "no access of such an array is given", Cause("missing-argument", "accesses")
        )
    return found


def _single(recorded: Basic | Fancy | Crops) -> list[Basic | Fancy]:
    """Return what was recorded; of crops each box."""
    if not isinstance(recorded, Crops):
        return [recorded]
    return [
        Basic(
            tuple(Axis(start, n) for start, n in zip(starts, recorded.box_shape, strict=True)),
            tuple(range(len(starts))),
        )
        for starts in recorded.starts.tolist()
    ]


def _is_of(selection: Basic | Fancy, shape: Sequence[int]) -> bool:
    basic = selection if isinstance(selection, Basic) else selection.basic
    if len(basic.axes) != len(shape):
        return False
    ends = [axis.first + (axis.count - 1) * abs(axis.step) for axis in basic.axes]
    return all(end < n for end, n in zip(ends, shape, strict=True))


def _name(what: Any) -> str:
    if isinstance(what, str):
        return what
    keys = what if isinstance(what, tuple) else (what,)
    return f"[{', '.join(map(_part, keys))}]"


def _part(key: Any) -> str:
    if isinstance(key, slice):
        ends = ["" if end is None else str(end) for end in (key.start, key.stop)]
        return ":".join(ends if key.step is None else [*ends, str(key.step)])
    return "..." if key is Ellipsis else f"{len(key)} indices" if np.ndim(key) else str(key)


def _keys(what: Any, shape: Sequence[int]) -> Iterable[Any]:
    """Return what would stand between brackets, at some places if it may be anywhere."""
    if not isinstance(what, str):
        return [what]
    words = re.fullmatch(r"(planes|lines) along (\d+)", what)
    if words and int(words[2]) < len(shape):
        axis, is_plane = int(words[2]), words[1] == "planes"
        return _boxes([None if (d == axis) == is_plane else n for d, n in enumerate(shape)], shape)
    box = re.fullmatch(r"boxes of (\d+(?:x\d+)*)", what)
    if box and box[1].count("x") == len(shape) - 1:
        sides = [min(int(side), n) for side, n in zip(box[1].split("x"), shape, strict=True)]
        return _boxes(sides, shape)
    if what == "items":
        return _boxes([None] * len(shape), shape)
    if what == "everything":
        return [...]
    raise ArgumentError(
        f"access {what!r} of an array of shape {tuple(shape)}; expected 'planes along AXIS', "
        "'lines along AXIS', 'boxes of N" + "xN" * (len(shape) - 1) + "', 'items', 'everything', "
        "or a selection",
        Cause("wrong-value", "accesses", what),
    )


def _boxes(sides: Sequence[int | None], shape: Sequence[int]) -> list[tuple[Any, ...]]:
    """Return boxes with these sides anywhere; None is an index."""
    random = np.random.default_rng(_SEED)
    keys = []
    for _ in range(_PLACES):
        starts = [
            int(random.integers(max(n - (side or 1), 0) + 1))
            for n, side in zip(shape, sides, strict=True)
        ]
        keys.append(
            tuple(
                start if side is None else slice(start, start + side)
                for start, side in zip(starts, sides, strict=True)
            )
        )
    return keys
