"""The configuration that both codecs share: how arrays become frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import index
from typing import Any, ClassVar, TypeAlias, cast

import numpy.typing as npt

from caterva_cffi.binding.compression import Compression
from caterva_cffi.callers import warn_caller
from caterva_cffi.codecs.coding import Coding, compression_of, parse_flag
from caterva_cffi.codecs.encoding import encode_frame
from caterva_cffi.errors import ArgumentError, CapacityError, Cause, wrong_type, wrong_value
from caterva_cffi.geometry.grid import Grid, default_blocks, default_partition

__all__ = ["Parameters", "PartitionWarning", "grid_of"]

_Shapes: TypeAlias = list[tuple[int, ...]]


class PartitionWarning(UserWarning):
    """A codec's `block_shape` or `chunk_shape` does not fit an array: another shape is used."""


def _parse_shape(name: str, data: object) -> tuple[int, ...] | None:
    if data is None:
        return None
    try:
        shape = tuple(map(index, cast("Sequence[int]", data)))
    except TypeError:
        raise wrong_type(name, data, "a sequence of integers or None") from None
    if any(length < 1 for length in shape):
        raise wrong_value(name, shape, "lengths of at least 1")
    return shape


@dataclass(frozen=True, kw_only=True, repr=False)
class Parameters(Coding):
    """How an array becomes a frame; the configuration of both codecs.

    Parameters
    ----------
    cname, clevel, shuffle, filters, use_dict, tolerance, precision, rate, cell_shape
        As for `Coding`.
    block_shape : sequence of int, optional
        Shape of the blocks that decode on their own, in items. By default an equal share of the
        chunk along each axis, about 128 KiB.
    chunk_shape : sequence of int, optional
        Shape of Caterva's chunks, in items. By default one chunk, or chunks of a default shape if
        the array is too large for one (2 GiB).
    checksum : bool
        Whether each block has a CRC-32, which is compared when the block is read.

    Notes
    -----
    Shapes are wishes, because one codec may be used for several arrays. They are kept as they were
    given. For an array with a shorter side they are cut; for one with another number of dimensions
    the defaults are used. A `PartitionWarning` says so, once for each shape of arrays.

    Raises
    ------
    TypeError
        For a shape or level of another type.
    ArgumentError
        For a value outside its range, blocks larger than chunks, or parameters that cannot be
        combined. What depends on dtype and shape is refused when an array is encoded.
    """

    block_shape: Sequence[int] | None = None
    chunk_shape: Sequence[int] | None = None
    checksum: bool = False
    _told: ClassVar[dict[tuple[int, ...], object]]

    def __post_init__(self) -> None:
        blocks = _parse_shape("block_shape", self.block_shape)
        chunks = _parse_shape("chunk_shape", self.chunk_shape)
        if blocks is not None and chunks is not None:
            if len(blocks) != len(chunks):
                raise ArgumentError(
                    f"block_shape {blocks} and chunk_shape {chunks} differ in length",
                    Cause("wrong-ndim", "block_shape", len(blocks), len(chunks)),
                )
            if any(block > chunk for block, chunk in zip(blocks, chunks, strict=True)):
                nearest = tuple(map(min, blocks, chunks))
                raise ArgumentError(
                    f"block_shape {blocks} is larger than chunk_shape {chunks}; nearest is "
                    f"{nearest}",
                    Cause("block-shape-too-large", "block_shape", blocks, nearest),
                )
        super().__post_init__()
        for name, parsed in (("block_shape", blocks), ("chunk_shape", chunks)):
            object.__setattr__(self, name, parsed)
            if parsed is not None:
                self.check_shape(name, parsed)
        object.__setattr__(self, "checksum", parse_flag("checksum", self.checksum))
        object.__setattr__(self, "_told", {})

    def __repr__(self) -> str:
        shapes = {"block_shape": self.block_shape, "chunk_shape": self.chunk_shape}
        shown: dict[str, Any] = {name: each for name, each in shapes.items() if each is not None}
        shown |= self.configuration()
        if self.checksum:
            shown["checksum"] = self.checksum
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in shown.items())})"

    def partition(
        self, shape: Sequence[int], itemsize: int
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the chunk and block shapes for an array.

        Parameters
        ----------
        shape : sequence of int
            In items.
        itemsize : int
            Bytes.
        """
        whole = tuple(max(length, 1) for length in shape)
        chunks = _cut(self.chunk_shape, whole) or whole
        blocks = _cut(self.block_shape, chunks) or self._default_blocks(chunks, itemsize)
        if self.chunk_shape is None:
            try:
                Grid(tuple(shape), chunks, blocks, itemsize, self.checksum)
            except CapacityError:
                cells = self._default_blocks(whole, itemsize) if self.cell > 1 else None
                wished = _cut(self.block_shape, whole) or cells
                return default_partition(shape, itemsize, None, wished)
        return chunks, blocks

    def _default_blocks(self, chunks: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
        """Return the default blocks: whole cells, if the codec or a filter has some."""
        cell = self.cell
        if cell == 1:
            return default_blocks(chunks, itemsize)
        cells = default_blocks([-(-n // cell) for n in chunks], itemsize * cell ** len(chunks))
        return tuple(min(cell * n, chunk) for n, chunk in zip(cells, chunks, strict=True))

    def to_frame(self, array: npt.NDArray[Any], **metalayers: bytes) -> memoryview:
        """Return the frame of an array of any strides.

        Parameters
        ----------
        array : ndarray
        **metalayers : bytes
            Further metalayers by name.

        Returns
        -------
        memoryview
            Keeps the frame's memory alive.
        """
        return encode_frame(array, *self.prepare(array), metalayers)

    def prepare(self, array: npt.NDArray[Any]) -> tuple[Grid, Compression]:
        """Check an array, and return how it is encoded."""
        grid = grid_of(self, array.shape, array.itemsize)
        if self.has_needs:
            self.check_array(array.dtype, array.ndim)
            if array.size:
                self.check_grid(grid)
                self.check_items(array, array.ndim)
        if self._unmet(grid.chunks, grid.blocks) and array.size:
            self._warn_of_partition(array.shape, array.itemsize)
        return grid, compression_of(self, array.itemsize)

    def _usual_shapes(self, shape: tuple[int, ...]) -> tuple[tuple[int, ...], _Shapes]:
        """Return a key for arrays that share one warning, and the shapes to compare with."""
        return shape, [shape]

    def _unmet(self, chunks: tuple[int, ...], blocks: tuple[int, ...]) -> list[str]:
        """Return the names of the configured shapes that a partition does not have."""
        used = {"block_shape": blocks, "chunk_shape": chunks}
        return [name for name in used if getattr(self, name) not in (None, used[name])]

    def _warn_of_partition(self, shape: tuple[int, ...], itemsize: int) -> None:
        """Warn once if wishes do not fit arrays of this shape."""
        among, usual = self._usual_shapes(shape)
        if not all(self._unmet(*self.partition(each, itemsize)) for each in usual):
            return
        token = object()
        if self._told.setdefault(among, token) is not token:  # atomic: several threads may encode
            return
        chunks, blocks = self.partition(usual[0], itemsize)
        asked = " and ".join(
            f"{name} {getattr(self, name)}" for name in self._unmet(chunks, blocks)
        )
        inside = "" if chunks == usual[0] else f" in chunks of {chunks}"
        warn_caller(
            f"{asked} does not fit shape {usual[0]}: codec 'caterva' stores blocks of {blocks}"
            f"{inside}",
            PartitionWarning,
        )


@lru_cache(maxsize=256)
def grid_of(parameters: Parameters, shape: tuple[int, ...], itemsize: int) -> Grid:
    """Return the grid that an array gets."""
    return Grid(shape, *parameters.partition(shape, itemsize), itemsize, parameters.checksum)


def _cut(shape: Sequence[int] | None, most: Sequence[int]) -> tuple[int, ...] | None:
    if shape is None or len(shape) != len(most):
        return None
    return tuple(map(min, shape, most))
