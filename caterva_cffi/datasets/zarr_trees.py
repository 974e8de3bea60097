"""Zarr arrays and groups of formats 2 and 3, with any codecs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import zarr
from zarr.abc.store import Store
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import FsspecStore, ZipStore

from caterva_cffi.codecs.coding import compression_of
from caterva_cffi.codecs.parameters import Parameters
from caterva_cffi.datasets.fill_values import encoded
from caterva_cffi.datasets.metalayers import split_attributes
from caterva_cffi.datasets.model import JOURNAL, Chunked, NotCopyable, Region, StoredAs, Tree
from caterva_cffi.dtypes import is_little
from caterva_cffi.engine.wanted_chunks import ORDER
from caterva_cffi.errors import ArgumentError, ArgumentTypeError, Cause, FormatError
from caterva_cffi.format.offsets import special_of_offset
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.numcodecs import Caterva
from caterva_cffi.planning.layout import whole_layout
from caterva_cffi.zarr import CatervaCodec

__all__ = ["DIMENSIONS", "node_tree", "zarr_tree", "zip_tree"]

DIMENSIONS = "_ARRAY_DIMENSIONS"
"""The attribute in which xarray keeps dimension names in format 2."""


class _ZarrArray(Chunked):
    def __init__(self, path: str, array: zarr.Array[Any]) -> None:
        metadata: Any = array.metadata
        format_2 = metadata.zarr_format == 2
        data_type = metadata.dtype if format_2 else metadata.data_type
        super().__init__(path, array.shape, np.dtype(data_type.to_native_dtype()))
        self.data_type = data_type
        self._array = array
        self.attributes, self.metalayers = split_attributes(dict(array.attrs))
        self.fill_value = metadata.fill_value
        self.details = {"zarr format": metadata.zarr_format}
        with suppress(NotImplementedError):  # chunks of several shapes: Zarr reads any box of them
            self.chunks = tuple(max(n, 1) for n in array.shards or array.chunks)
        if format_2:
            self._take_format_2(metadata)
        else:
            self.dimension_names = metadata.dimension_names
            self.codecs = [_text(codec.to_dict()) for codec in metadata.codecs]
            if self.chunks is not None and array.shards:
                self.inner_chunks = array.chunks
                self.details = {**self.details, "chunks in shards": array.chunks}
        self._take_ours(metadata, format_2)

    def _take_format_2(self, metadata: Any) -> None:
        attributes = dict(self.attributes)
        names = attributes.pop(DIMENSIONS, None)
        if names is not None:
            # xarray masks the fill value of format 2 only.
            if self.fill_value is not None:
                attributes.setdefault("_FillValue", encoded(self.fill_value, self.dtype))
            self.attributes, self.dimension_names = attributes, tuple(names)
        codecs = [*(metadata.filters or ()), metadata.compressor]
        self.codecs = [_text(codec.get_config()) for codec in codecs if codec is not None]

    def _take_ours(self, metadata: Any, format_2: bool) -> None:
        """Find out whether chunks are frames that can be taken as they are."""
        codecs = [metadata.compressor] if format_2 else list(metadata.codecs)
        ours = [each for each in codecs if isinstance(each, (CatervaCodec, Caterva))]
        if not ours or not self.chunks:
            return
        parameters: Parameters = ours[0]
        itemsize = self.dtype.itemsize
        inner, self.blocks = parameters.partition(self.chunks, itemsize)
        self.checksums = parameters.checksum
        # Of format 2, chunks may have any byte order, and items in Fortran order.
        other = format_2 and (
            metadata.filters or metadata.order != "C" or not is_little(self.dtype)
        )
        if other or len(codecs) > 1 or inner != self.chunks:
            return
        grid = Grid(self.chunks, self.chunks, self.blocks, itemsize, self.checksums)
        self.stored = StoredAs(grid, compression_of(parameters, itemsize))

    def read(self, region: Region) -> npt.NDArray[Any]:
        # Zarr gives a scalar of an array without dimensions.
        return np.asarray(self._array[region], self.dtype)

    def stored_chunk(self, at: tuple[int, ...]) -> Any:
        metadata: Any = self._array.metadata
        place = self._array.store_path / metadata.encode_chunk_key(at)
        found = sync(place.get(prototype=default_buffer_prototype()))
        if found is None:
            return None
        assert self.stored is not None
        frame = memoryview(found.as_numpy_array()).cast("B")
        layout = whole_layout(frame)
        wanted = self.stored.grid
        if (
            layout.grid != wanted
            or not is_little(layout.dtype)
            or ORDER in layout.header.metalayers
        ):
            raise NotCopyable
        offset = int(layout.offsets[0])
        if offset < 0:
            return layout.special_chunk(special_of_offset(offset))
        return layout.stored_chunk(0, frame)

    def stored_bytes(self) -> int:
        return int(self._array.nbytes_stored())


def _text(config: Mapping[str, Any]) -> str:
    """Return a codec's configuration as people read it."""
    name = config.get("name", config.get("id"))
    given = config.get("configuration", {k: v for k, v in config.items() if k != "id"})
    shown = ", ".join(f"{key}={value}" for key, value in given.items())
    return f"{name}({shown})" if shown else str(name)


def zarr_tree(
    where: Any, name: str, path: str = "", storage_options: Mapping[str, Any] | None = None
) -> Tree:
    """Return an array or a group with all that is in it.

    Parameters
    ----------
    where : Path, str, store, Array or Group
        A text is a URL.
    name : str
        For people.
    path : str
        Inside the store.
    storage_options : mapping, optional
        For fsspec.

    Raises
    ------
    FileNotFoundError
        Where there is neither.
    """
    node: Any = where
    if not isinstance(node, (zarr.Array, zarr.Group)):
        options = dict(storage_options or {})
        try:
            node = zarr.open(where, path=path, mode="r", storage_options=options or None)
        except FileNotFoundError:
            if _is_incomplete(where, options):
                raise FileNotFoundError(f"{name} is an incomplete conversion; resume it") from None
            raise
    elif path:
        if isinstance(node, zarr.Array):
            raise ArgumentError(
                f"{name} is one array; there is nothing at {path!r} in it",
                Cause("no-such-array", "path", path),
            )
        node = node[path]
    tree = Tree(name, "Zarr", path=path)
    if isinstance(node, zarr.Array):
        tree.arrays[""] = _ZarrArray("", node)
    else:
        tree.groups[""] = dict(node.attrs)
        tree.consolidated = node.metadata.consolidated_metadata is not None
        for member, value in sorted(node.members(max_depth=None)):
            if isinstance(value, zarr.Array):
                tree.arrays[member] = _ZarrArray(member, value)
            else:
                tree.groups[member] = dict(value.attrs)
    tree.identity = [
        [list(a.shape), str(a.dtype), list(a.chunks or ())] for a in tree.arrays.values()
    ]
    return tree


def _is_incomplete(where: Any, options: Mapping[str, Any]) -> bool:
    """Whether there is a conversion that was not completed."""
    if isinstance(where, Path):
        return (where / JOURNAL).exists()
    store: Any = where
    if isinstance(where, str):
        store = FsspecStore.from_url(where, storage_options=dict(options), read_only=True)
    return bool(sync(store.exists(JOURNAL)))


def node_tree(node: Any, path: str) -> Tree:
    """Return an array, a group or a store of zarr; see `zarr_tree`.

    Raises
    ------
    TypeError
        For anything else.
    """
    if not isinstance(node, (zarr.Array, zarr.Group, Store)):
        raise ArgumentTypeError(
            f"the source is {type(node).__name__}; expected a path, a URL, an array, or a group or "
            "store of zarr",
            Cause("wrong-type", "source", type(node).__name__),
        )
    name = str(node if isinstance(node, Store) else node.store_path)
    return zarr_tree(node, name, path)


def zip_tree(place: str, path: str) -> Tree:
    """Return what is in a zip file; see `zarr_tree`.

    Raises
    ------
    FormatError
        For a damaged file.
    """
    try:
        store = sync(ZipStore.open(place, mode="r"))
    except (ValueError, NotImplementedError, BadZipFile) as error:
        raise FormatError(f"{place!r} begins as a zip file: {error}", "not-a-frame") from error
    tree = zarr_tree(store, place, path)
    tree.close = store.close
    return tree
