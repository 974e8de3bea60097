"""What all formats have in common: a tree of groups and arrays that are read by boxes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from caterva_cffi.binding.compression import Compression
from caterva_cffi.geometry.grid import Grid

__all__ = [
    "JOURNAL",
    "Chunked",
    "Dataset",
    "Metalayers",
    "NotCopyable",
    "Region",
    "StoredAs",
    "Tree",
]

JOURNAL = "caterva-conversion.json"
"""The document in a Zarr store that says that a conversion to it was not completed."""

Region = tuple[slice, ...]
"""A box of an array: a slice without a step for each dimension."""


class NotCopyable(Exception):
    """One chunk is not stored as the others, so that its items must be encoded anew."""


@dataclass(frozen=True)
class StoredAs:
    """How the Blosc2 chunks of a dataset are stored, if they can be taken as they are.

    Attributes
    ----------
    grid : Grid
        Of one chunk: its shape is the chunk shape.
    compression : Compression
        Of most chunks.
    """

    grid: Grid
    compression: Compression


@dataclass(frozen=True)
class Metalayers:
    """The metalayers of a frame that are the user's.

    Attributes
    ----------
    fixed, variable : mapping of str to bytes
        Of fixed length, and of variable length.
    """

    fixed: Mapping[str, bytes] = field(default_factory=dict)
    variable: Mapping[str, bytes] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.fixed or self.variable)


class Dataset(ABC):
    """An array in some format.

    Attributes
    ----------
    path : str
        Inside the tree, without slashes at its ends.
    shape : tuple of int
    dtype : dtype
        Of the items that `read` returns.
    data_type : object
        What Zarr is told; the dtype, or a data type of zarr.
    chunks : tuple of int or None
        None for items in a row.
    inner_chunks : tuple of int or None
        The chunks inside, where `chunks` are shards of Zarr.
    fill_value : object
        Of items that were never written; None if there is none.
    attributes : dict
    dimension_names : tuple of str or None
    metalayers : Metalayers
    codecs : list of str
        What chunks are encoded with, for people.
    details : dict
        What else `info` shows.
    stored : StoredAs or None
        If chunks can be taken as they are.
    decodes_into_place : bool
        Whether `read` of many chunks takes little more memory than their items, and all threads.
    """

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    data_type: Any
    chunks: tuple[int, ...] | None = None
    inner_chunks: tuple[int, ...] | None = None
    blocks: tuple[int, ...] | None = None
    fill_value: Any = None
    attributes: Mapping[str, Any]
    dimension_names: tuple[str | None, ...] | None = None
    metalayers: Metalayers = Metalayers()
    codecs: list[str]
    details: Mapping[str, Any]
    stored: StoredAs | None = None
    checksums: bool = False
    decodes_into_place: bool = False

    @abstractmethod
    def read(self, region: Region) -> npt.NDArray[Any]:
        """Return the items of a box; several threads may do so at once."""

    def stored_chunk(self, at: tuple[int, ...]) -> Any:
        """Return a Blosc2 chunk as it is stored; None for one that was never written.

        Raises
        ------
        NotCopyable
        """
        raise NotCopyable

    @property
    def nbytes(self) -> int:
        """Bytes of all items."""
        return math.prod(self.shape) * self.dtype.itemsize

    def stored_bytes(self) -> int | None:
        """Return how many bytes its chunks take; None if that is not known."""
        return None


class Chunked(Dataset):
    """A dataset whose attributes are given at once."""

    def __init__(self, path: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.path, self.shape, self.dtype = path, tuple(map(int, shape)), dtype
        self.data_type: Any = dtype
        self.attributes, self.details, self.codecs = {}, {}, []


@dataclass
class Tree:
    """Groups and arrays.

    Attributes
    ----------
    name : str
        Where it is, without secrets.
    path : str
        What of it this is: the path of a group or an array inside.
    format : str
        For people.
    arrays : dict of str to Dataset
        By path. A tree that is one array has only the path "".
    groups : dict of str to dict
        Attributes by path; "" is the root.
    refused : dict of str to str
        What cannot be read, and why, by path.
    consolidated : bool
        Whether readers expect all metadata in one document.
    identity : list
        What differs once the source was changed or replaced.
    close : callable
    """

    name: str
    format: str
    arrays: dict[str, Dataset] = field(default_factory=dict)
    groups: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    consolidated: bool = False
    identity: list[Any] = field(default_factory=list)
    close: Callable[[], None] = lambda: None
    path: str = ""

    @property
    def is_array(self) -> bool:
        """Whether the root is an array."""
        return "" in self.arrays

    @property
    def nbytes(self) -> int:
        """Bytes of the items of all arrays."""
        return sum(array.nbytes for array in self.arrays.values())
