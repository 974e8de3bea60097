"""What is read of an array, and what that means to people."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.demo.axes import Axis, InputError, by_length, ordinal

Selection = tuple[int | slice, ...]
WHOLE = slice(None)


@dataclass(frozen=True)
class Read:
    """A selection of the array.

    Parameters
    ----------
    name : str
        One or two words.
    selection : tuple of int and slice
    where : str
        Which axes it lies along, and where: by their names and coordinates, if there are any.
    """

    name: str
    selection: Selection
    where: str = ""

    def __str__(self) -> str:
        """Return the selection as it is written between brackets."""
        return ", ".join(
            str(s) if isinstance(s, int) else f"{s.start or ''}:{s.stop or ''}"
            for s in self.selection
        )


def where(axes: Sequence[Axis], selection: Selection) -> str:
    """Return where a selection is, such as "time=2020-01-05, lat=40 to 50"."""
    said = []
    for axis, part in zip(axes, selection, strict=True):
        if isinstance(part, int):
            said.append(axis.at(part))
        elif part != WHOLE:
            said.append(axis.within(slice(*part.indices(axis.length)[:2])))
    return ", ".join(said)


def whole_axes(axes: Sequence[Axis], selection: Selection) -> str:
    """Return the axes that are read from end to end: by name, else by number and length."""
    taken = [a for a, part in zip(axes, selection, strict=True) if part == WHOLE]
    if all(axis.name for axis in axes):
        return " x ".join(axis.name for axis in taken)
    order = by_length([axis.length for axis in axes])
    if len(taken) == 1:
        rank = order.index(taken[0].number)
        return f"{taken[0]}, {ordinal(rank, len(axes))}".removesuffix(", ")
    longest = " (the longest)" if {a.number for a in taken} == set(order[: len(taken)]) else ""
    return f"axes {' x '.join(str(axis.number) for axis in taken)}{longest}"


def named(name: str, axes: Sequence[Axis], selection: Selection) -> Read:
    """Return a read that says along which axes it lies, and where."""
    along = f"along {whole_axes(axes, selection)}" if WHOLE in selection else ""
    at = where(axes, selection)
    return Read(name, selection, ", ".join(filter(None, (along, at and f"at {at}"))))


def middle(shape: Sequence[int], size: int) -> Selection:
    """Return a box in the middle, of at most `size` items along each axis."""
    starts = [(n - min(n, size)) // 2 for n in shape]
    return tuple(slice(start, start + min(n, size)) for start, n in zip(starts, shape, strict=True))


def usual_reads(axes: Sequence[Axis]) -> list[Read]:
    """Choose what to read from any array: a plane, a line and a box, or what is most like them.

    The plane lies along the two longest axes; the line crosses it.
    """
    return list(_usual(axes))


def _usual(axes: Sequence[Axis]) -> Iterator[Read]:
    shape = [axis.length for axis in axes]
    order = by_length(shape)

    def along(*taken: int) -> Selection:
        return tuple(WHOLE if d in taken else n // 2 for d, n in enumerate(shape))

    if len(shape) == 1:
        yield named("a tenth", axes, middle(shape, math.ceil(shape[0] / 10)))
        yield named("1000 items", axes, middle(shape, 1000))
        yield named("one item", axes, middle(shape, 1))
    elif len(shape) == 2:
        yield named("row", axes, along(1))
        yield named("column", axes, along(0))
        yield named("square", axes, middle(shape, 64))
    else:
        yield named("plane", axes, along(*order[:2]))
        yield named("line", axes, along(order[2]))
        yield named("box", axes, middle(shape, 32))


def asked_read(text: str, axes: Sequence[Axis]) -> Read:
    """Return what a user asks for, such as "time=2020-01-05,lat=40:50"; other axes are whole.

    Raises
    ------
    InputError
    """
    by_name = {str(axis.number): axis for axis in axes}
    by_name |= {axis.name: axis for axis in axes if axis.name}
    selection: list[int | slice] = [WHOLE] * len(axes)
    for part in text.split(","):
        name, equals, value = part.strip().partition("=")
        if not equals or name not in by_name:
            names = ", ".join(axis.name or str(axis.number) for axis in axes)
            raise InputError(f"--read {text}: expected AXIS=VALUE or AXIS=FIRST:LAST of {names}")
        axis = by_name[name]
        ends = _ends(value, axis)
        if len(ends) == 1:
            selection[axis.number] = ends[0]
        else:
            first, last = sorted(ends)
            selection[axis.number] = slice(first, last + 1)
    return named(text, axes, tuple(selection))


def _ends(value: str, axis: Axis) -> list[int]:
    """Return the index of a value, or of both ends of a run; times have colons, too."""
    try:
        return [axis.find(value)]
    except InputError as error:
        parts = value.split(":")
        for k in range(1, len(parts)):
            first, last = ":".join(parts[:k]), ":".join(parts[k:])
            try:
                start = axis.find(first) if first else 0
                return [start, axis.find(last) if last else axis.length - 1]
            except InputError:
                continue
        raise error
