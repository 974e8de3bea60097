"""Datasets of HDF5 files, as h5py shows them: what Blosc2 compressed, and where its chunks are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import h5py
import numpy as np
import numpy.typing as npt

from caterva_cffi.dtypes import check_items
from caterva_cffi.errors import ArgumentError, Cause, UnsupportedError
from caterva_cffi.planning.foreign_chunks import CHECKSUM

__all__ = ["BLOSC2", "Dataset", "check_filters", "checksum_sizes", "filters_of", "read_dataset"]

BLOSC2 = 32026
"""The number of HDF5's filter that compresses with Blosc2."""

_FLETCHER32 = h5py.h5z.FILTER_FLETCHER32


_Int: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Dataset:
    """What is known of a dataset without its items.

    Attributes
    ----------
    name : str
        Its path in the file.
    shape, chunks : tuple of int
    dtype : dtype
    fill : ndarray
        The item, without dimensions, of chunks that are not stored.
    starts, sizes : ndarray of int64
        Where each chunk begins in the file, or -1, and how many bytes it has without checksums; in
        the shape of the chunk grid.
    """

    name: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    fill: npt.NDArray[Any]
    starts: _Int
    sizes: _Int


def filters_of(dataset: h5py.Dataset) -> dict[int, str]:
    """Return the names of the filters of a dataset by number, in the order in which they encode."""
    properties = dataset.id.get_create_plist()
    found = [properties.get_filter(each) for each in range(properties.get_nfilters())]
    return {code: name.decode("utf-8", "replace") or str(code) for code, _, _, name in found}


def check_filters(dataset: h5py.Dataset) -> None:
    """Refuse filters beside Blosc2 whose work a frame does not show.

    Raises
    ------
    UnsupportedError
    """
    filters = filters_of(dataset)
    if list(filters) not in ([BLOSC2], [BLOSC2, _FLETCHER32]):
        named = ", ".join(f"{name.split(':')[0]} ({code})" for code, name in filters.items())
        raise UnsupportedError(
            f"dataset {dataset.name!r} has the filters {named or 'none'}; expected Blosc2 "
            f"({BLOSC2}), with nothing before it and at most fletcher32 ({_FLETCHER32}) behind it",
            "other-codecs",
        )


def checksum_sizes(dataset: h5py.Dataset) -> npt.NDArray[np.int64]:
    """Return how many bytes of a checksum are behind each chunk, in the shape of the chunk grid."""
    _, _, checksums = _places(dataset)
    return checksums


def read_dataset(file: h5py.File, path: str) -> Dataset:
    """Return what is known of a dataset that Blosc2 compressed.

    Raises
    ------
    ArgumentError
        For a path that names none.
    UnsupportedError
        For other filters, and items of variable length.
    """
    dataset = file.get(path)
    if not isinstance(dataset, h5py.Dataset):
        known = ", ".join(map(repr, _compressed(file))) or "none"
        raise ArgumentError(
            f"there is no dataset {path!r}; Blosc2 compressed: {known}",
            Cause("no-such-array", "path", path),
        )
    check_filters(dataset)
    try:
        dtype = check_items(dataset.dtype)
    except TypeError as error:
        raise UnsupportedError(f"dataset {dataset.name!r}: {error}", "wrong-dtype") from None
    fill = np.zeros((), dtype)
    fill[...] = dataset.fillvalue
    starts, sizes, checksums = _places(dataset)
    return Dataset(
        dataset.name, dataset.shape, dataset.chunks, dtype, fill, starts, sizes - checksums
    )


def _compressed(file: h5py.File) -> list[str]:
    """Return the paths of datasets that Blosc2 compressed."""
    found: list[str] = []

    def visit(name: str, each: Any) -> None:
        if isinstance(each, h5py.Dataset) and BLOSC2 in filters_of(each):
            found.append(name)

    file.visititems(visit)
    return found


def _places(dataset: h5py.Dataset) -> tuple[_Int, _Int, _Int]:
    """Return where chunks begin, how many bytes they have, and how many of these are a checksum."""
    grid = [-(-n // chunk) for n, chunk in zip(dataset.shape, dataset.chunks, strict=True)]
    starts = np.full(grid, -1, np.int64)
    sizes, checksums = np.zeros(grid, np.int64), np.zeros(grid, np.int64)
    codes = list(filters_of(dataset))
    checked = _FLETCHER32 in codes
    skipped = 1 << codes.index(_FLETCHER32) if checked else 0

    def note(info: Any) -> None:
        at = tuple(n // c for n, c in zip(info.chunk_offset, dataset.chunks, strict=True))
        starts[at], sizes[at] = info.byte_offset, info.size
        checksums[at] = CHECKSUM if checked and not info.filter_mask & skipped else 0

    dataset.id.chunk_iter(note)
    return starts, sizes, checksums
