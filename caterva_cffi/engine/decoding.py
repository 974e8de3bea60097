"""Boxes of an array, decoded from the bytes of its chunks straight into their destinations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import mul
from typing import TypeAlias

from caterva_cffi.binding.buffers import pointer
from caterva_cffi.binding.kernel import Kernel, Piece
from caterva_cffi.geometry.cutting import cut
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.selection import Box
from caterva_cffi.steps import Part

__all__ = ["Target", "decode", "pieces"]

Target: TypeAlias = tuple[Box, int, Sequence[int]]
"""A box of an array, the address to which its first item goes, and the strides of all, in bytes."""


def pieces(parts: Iterable[Part]) -> list[Piece]:
    """Return parts of a chunk as the kernel takes them, alive as long as they are."""
    return [(at, len(data), pointer(data)) for at, data in parts]


def decode(
    kernel: Kernel, parts: Mapping[int, Iterable[Part]], grid: Grid, targets: Sequence[Target]
) -> None:
    """Decode boxes of an array, by one call.

    Parameters
    ----------
    kernel : Kernel
    parts : mapping of int to list of Part
        What the boxes need of each chunk, by its number; the first part of a chunk holds header,
        block offsets and dictionary.
    grid : Grid
    targets : sequence of Target

    Raises
    ------
    FormatError, UnsupportedError
    """
    kept = {number: pieces(given) for number, given in parts.items()}
    boxes = [
        (number, kept[number], part, dest + sum(map(mul, position, strides)), strides)
        for box, dest, strides in targets
        for number, part, position in cut(grid, box)
    ]
    kernel.decode(boxes)
