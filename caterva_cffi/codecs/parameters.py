"""The configuration that both codecs share: how arrays become frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from operator import index
from typing import Any, ClassVar, Self, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from caterva_cffi.binding.compression import Codec, Compression, Filter
from caterva_cffi.callers import warn_caller
from caterva_cffi.codecs.encoding import encode_frame
from caterva_cffi.errors import ArgumentError, CapacityError
from caterva_cffi.geometry.grid import Grid, default_blocks, default_partition
from caterva_cffi.keywords import check_keywords

__all__ = ["CNAMES", "SHUFFLES", "Parameters", "PartitionWarning", "grid_of"]


CNAMES = {
    "lz4": Codec.LZ4,
    "lz4hc": Codec.LZ4HC,
    "blosclz": Codec.BLOSCLZ,
    "zlib": Codec.ZLIB,
    "zstd": Codec.ZSTD,
}


SHUFFLES = {
    "noshuffle": Filter.NOFILTER,
    "shuffle": Filter.SHUFFLE,
    "bitshuffle": Filter.BITSHUFFLE,
}


_Shapes: TypeAlias = list[tuple[int, ...]]


class PartitionWarning(UserWarning):
    """A codec's `block_shape` or `chunk_shape` does not fit an array: another shape is used."""


def _parse_shape(name: str, data: object) -> tuple[int, ...] | None:
    if data is None:
        return None
    try:
        shape = tuple(map(index, cast("Sequence[int]", data)))
    except TypeError:
        raise TypeError(f"{name} is {data!r}; expected a sequence of integers or None") from None
    if any(length < 1 for length in shape):
        raise ArgumentError(f"{name} is {shape}; expected lengths of at least 1")
    return shape


def _parse_clevel(data: object) -> int:
    if not isinstance(data, (int, np.integer)) or isinstance(data, bool):
        raise TypeError(f"clevel is {data!r}; expected an integer from 0 to 9")
    if not 0 <= data <= 9:
        raise ArgumentError(f"clevel is {data}; expected 0 to 9")
    return int(data)


def _parse_choice(name: str, data: object, choices: dict[str, Any]) -> str:
    if not isinstance(data, str) or data not in choices:
        raise ArgumentError(f"{name} is {data!r}; expected one of {', '.join(map(repr, choices))}")
    return data


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """How an array becomes a frame; the configuration of both codecs.

    Parameters
    ----------
    block_shape : sequence of int, optional
        Shape of the blocks that decode on their own, in items. By default an equal share of the
        chunk along each axis, about 128 KiB.
    chunk_shape : sequence of int, optional
        Shape of Caterva's chunks, in items. By default one chunk, or chunks of a default shape if
        the array is too large for one (2 GiB).
    cname : {"lz4", "lz4hc", "blosclz", "zlib", "zstd"}
    clevel : int
        0 (no compression) to 9.
    shuffle : {"shuffle", "noshuffle", "bitshuffle"}
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
        For a value outside its range, or blocks larger than chunks.
    """

    block_shape: Sequence[int] | None = None
    chunk_shape: Sequence[int] | None = None
    cname: str = "lz4"
    clevel: int = 5
    shuffle: str = "shuffle"
    checksum: bool = False
    _told: ClassVar[dict[tuple[int, ...], object]]

    def __new__(cls, *_: Any, **given: Any) -> Self:
        """Refuse unknown parameters; see `check_keywords`."""
        check_keywords(given, [each.name for each in fields(cls)], cls.__name__)
        return super().__new__(cls)

    def __post_init__(self) -> None:
        blocks = _parse_shape("block_shape", self.block_shape)
        chunks = _parse_shape("chunk_shape", self.chunk_shape)
        if blocks is not None and chunks is not None:
            if len(blocks) != len(chunks):
                raise ArgumentError(
                    f"block_shape {blocks} and chunk_shape {chunks} differ in length"
                )
            if any(block > chunk for block, chunk in zip(blocks, chunks, strict=True)):
                raise ArgumentError(f"block_shape {blocks} is larger than chunk_shape {chunks}")
        object.__setattr__(self, "block_shape", blocks)
        object.__setattr__(self, "chunk_shape", chunks)
        object.__setattr__(self, "cname", _parse_choice("cname", self.cname, CNAMES))
        object.__setattr__(self, "clevel", _parse_clevel(self.clevel))
        object.__setattr__(self, "shuffle", _parse_choice("shuffle", self.shuffle, SHUFFLES))
        if not isinstance(self.checksum, bool):
            raise TypeError(f"checksum is {self.checksum!r}; expected True or False")
        object.__setattr__(self, "_told", {})

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
        blocks = _cut(self.block_shape, chunks) or default_blocks(chunks, itemsize)
        if self.chunk_shape is None:
            try:
                Grid(tuple(shape), chunks, blocks, itemsize, self.checksum)
            except CapacityError:
                return default_partition(shape, itemsize, None, _cut(self.block_shape, whole))
        return chunks, blocks

    @cached_property
    def compression(self) -> Compression:
        """The parameters with which blocks are compressed."""
        return Compression(
            codec=CNAMES[self.cname], clevel=self.clevel, filters=[SHUFFLES[self.shuffle]]
        )

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
        grid = grid_of(self, array.shape, array.itemsize)
        if self._unmet(grid.chunks, grid.blocks) and array.size:
            self._warn_of_partition(array.shape, array.itemsize)
        return encode_frame(array, grid, self.compression, metalayers)

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
