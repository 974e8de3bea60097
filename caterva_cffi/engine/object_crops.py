"""Crops of an array whose chunks are frames in files: all in open files are decoded together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from caterva_cffi.binding.decoding import Piece, Place
from caterva_cffi.binding.kernel import Kernel
from caterva_cffi.engine.crops import SomeParts, decode_parts
from caterva_cffi.engine.many_frames import located
from caterva_cffi.engine.object_files import (
    Left,
    Opened,
    WantedFile,
    changed_of,
    close_all,
    open_some,
)
from caterva_cffi.errors import CatervaError
from caterva_cffi.geometry.crops import CropParts
from caterva_cffi.planning.layout import Chunks
from caterva_cffi.planning.policy import get_read_policy

__all__ = ["WantedCrops", "read_crops"]


class WantedCrops(WantedFile, Protocol):
    """The same, if parts of crops are wanted."""

    def takes_crops(self, layout: Chunks) -> bool:
        """Whether the frame's items are the array's, in one chunk of the same shape."""


def read_crops(wanted: Sequence[WantedCrops], parts: CropParts, dest: npt.NDArray[Any]) -> Left:
    """Read parts of crops from frames in files; each block is decoded once.

    Parameters
    ----------
    wanted : sequence of WantedFile
        The files of the parts' chunks, in their order: at most 64.
    parts : CropParts
    dest : ndarray
        The result of all crops.

    Returns
    -------
    Left
        As from `read_files`.
    """
    left, (_, which) = Left([], []), np.unique(parts.numbers, return_inverse=True)
    opened: list[Opened] = []
    try:
        open_some(wanted, range(len(wanted)), left, opened)
        for kernel in dict.fromkeys(each.layout.kernel for each in opened):
            mine = [each for each in opened if each.layout.kernel is kernel]
            left.others.extend(_decode_crops(kernel, mine, wanted, which, parts, dest))
    finally:
        close_all(opened)
    return left


def _decode_crops(
    kernel: Kernel,
    opened: list[Opened],
    wanted: Sequence[WantedCrops],
    which: npt.NDArray[np.intp],
    parts: CropParts,
    dest: npt.NDArray[Any],
) -> list[int]:
    """Decode the parts in open files; return the numbers of the files to be read again."""
    if not all(wanted[each.number].takes_crops(each.layout) for each in opened):
        return [each.number for each in opened]
    rank = np.full(len(wanted), -1)
    rank[[each.number for each in opened]] = range(len(opened))
    rows, gap = np.flatnonzero(rank[which] >= 0), get_read_policy("local").gap
    mine = parts.some(rows)._replace(numbers=rank[which[rows]])

    def source(k: int) -> list[Piece] | Place:
        return located(opened[k].layout.in_file(0, opened[k].descriptor, gap))

    try:
        decode_parts(kernel, [SomeParts(mine, source, dest)])
    except (CatervaError, OSError):
        return [each.number for each in opened]
    return changed_of(opened)
