"""Arrays that Zarr wrote, read without Zarr."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import Any

from caterva_cffi.arrays.read_only import ReadOnlyArray
from caterva_cffi.arrays.zarr_items import FileItems, StoreItems, ZarrItems
from caterva_cffi.arrays.zarr_nodes import DirectoryNodes, StoreNodes, find_array
from caterva_cffi.errors import ArgumentError, Cause
from caterva_cffi.sources.object_stores import ObjectStore, RangeStore, object_store
from caterva_cffi.storage.atomic import fs_path

__all__ = ["ZarrArray"]


class ZarrArray(ReadOnlyArray):
    """A read-only array that Zarr wrote, in format 2 or 3, and whose only codec is `caterva`.

    Made by `open`; zarr-python takes no part. Metadata are read when the array is opened: if Zarr
    changes them later, for example by a resize, open the array again. Items that Zarr writes are
    seen by the next read. Chunks that are not stored hold the fill value.

    The chunks of a selection are planned together. Local files are read and decoded by one call for
    each 64 of them. Behind a network, the beginnings of all chunks are asked for at once, and then
    all their blocks, for up to 256 chunks at a time. What the beginnings say is kept in the cache
    of `set_cache_size`, as with Zarr's codec. Many threads may read one array. It works after a
    fork, and opens the array again where it is unpickled.

    Parameters
    ----------
    items : ZarrItems
    arguments : callable
        Gives what `open` needs to open it again.
    """

    _items: ZarrItems

    def __init__(self, items: ZarrItems, arguments: Callable[[], tuple[Any, ...]]) -> None:
        self._items, self._arguments = items, arguments

    @classmethod
    def open(
        cls,
        where: str | os.PathLike[str] | RangeStore,
        path: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> ZarrArray:
        """Open an array.

        Parameters
        ----------
        where : str, path-like or RangeStore
            A directory, a URL with `://` in it, or a user's store.
        path : str, optional
            Of the array in the group that is there.
        options : mapping, optional
            For fsspec's file system.
        """
        inside = "" if path is None else _normal(path)
        prefix = f"{inside}/" if inside else ""
        if isinstance(where, RangeStore) or (isinstance(where, str) and "://" in where):
            store = object_store(where, options)
            metadata = find_array(StoreNodes(store), prefix)
            return cls(StoreItems(metadata, store, prefix), partial(_arguments, store, path))
        root = os.path.abspath(fs_path(where))
        if not os.path.isdir(root):
            raise FileNotFoundError(errno.ENOENT, "no such directory", root)
        metadata = find_array(DirectoryNodes(root), prefix)
        directory = os.path.join(root, *inside.split("/")) if inside else root
        return cls(FileItems(metadata, directory), lambda: (directory,))

    # --- what it is ---------------------------------------------------------------------------

    @property
    def urlpath(self) -> str:
        """Where the array is stored, without passwords and signatures."""
        return self._items.name

    @property
    def cbytes(self) -> int:
        """Bytes of the chunks' files.

        Raises
        ------
        UnsupportedError
            For an array behind a network: nobody asks for the lengths of all objects.
        """
        return self._items.cbytes

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes that Zarr's users gave the array: a copy."""
        return deepcopy(self._items.metadata.attributes)

    @property
    def dimension_names(self) -> tuple[str | None, ...] | None:
        """The names of the dimensions, if any are given; format 2 has none."""
        return self._items.metadata.dimension_names

    @property
    def fill_value(self) -> Any:
        """The item of chunks that are not stored; zero where format 2 names none."""
        return self._items.metadata.fill.copy()[()]

    @property
    def zarr_format(self) -> int:
        """The format of Zarr: 2 or 3."""
        return self._items.metadata.zarr_format

    @property
    def info_items(self) -> list[tuple[str, Any]]:
        """The report's lines: name and value."""
        return [
            ("Type", f"{type(self).__name__} (Zarr format {self.zarr_format})"),
            ("Data type", self.dtype),
            ("Itemsize", self.itemsize),
            ("Shape", self.shape),
            ("Dimensions", self.dimension_names),
            ("Chunks", self.chunks),
            ("Blocks", self.blocks),
            ("Codec", self._items.metadata.parameters.described()),
            ("Checksums", "CRC-32 of each block" if self.checksum else "none"),
            ("Fill value", self.fill_value),
            ("Where", self.urlpath),
        ]

    def __repr__(self) -> str:
        if self._items.closed:
            return "<caterva_cffi.ZarrArray, closed>"
        return (
            f"<caterva_cffi.ZarrArray {self.shape} {self.dtype}, chunks {self.chunks}, "
            f"blocks {self.blocks}, {self.urlpath}>"
        )

    def __reduce__(self) -> Any:
        self._items.check_open()
        return ZarrArray.open, self._arguments()


def _arguments(store: ObjectStore, path: str | None) -> tuple[Any, ...]:
    where, *options = store.to_arguments()
    return where, path, *options


def _normal(path: str) -> str:
    """Return the path of an array in a group, as keys begin with it."""
    parts = [part for part in str(path).split("/") if part]
    if any(part in (".", "..") for part in parts):
        raise ArgumentError(
            f"path is {path!r}; expected names of groups and an array",
            Cause("wrong-value", "path", path),
        )
    return "/".join(parts)
