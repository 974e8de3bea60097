"""Frames: `.b2nd` files, sparse directories, and python-caterva's arrays."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy.typing as npt

from caterva_cffi.arrays.ndarray import NDArray
from caterva_cffi.arrays.readable import ReadableArray, items_of
from caterva_cffi.arrays.remote import RemoteArray
from caterva_cffi.arrays.remote_items import RemoteItems
from caterva_cffi.binding.compression import Codec, Compression, Filter, member_of
from caterva_cffi.datasets.metalayers import Description
from caterva_cffi.datasets.model import Chunked, Metalayers, Region, StoredAs, Tree
from caterva_cffi.dtypes import is_little
from caterva_cffi.format.chunk_header import check_size
from caterva_cffi.format.frame_header import compression_in
from caterva_cffi.format.metalayers import OWN
from caterva_cffi.format.offsets import special_of_offset
from caterva_cffi.geometry.grid import Grid

__all__ = ["array_tree", "frame_tree"]


class _Frame(Chunked):
    decodes_into_place = True

    def __init__(self, array: ReadableArray) -> None:
        super().__init__("", array.shape, array.dtype)
        self._array = array
        self.chunks, self.blocks = array.chunks, array.blocks
        self.checksums = array.checksum
        compression = _compression(array)
        self.codecs = [_codec_text(compression)]
        self.details = {"metalayers": [*array.meta], "variable metalayers": [*array.vlmeta]}  # type: ignore[attr-defined]
        self._describe()
        if array.nchunks and is_little(array.dtype) and array.ndim:
            grid = Grid(self.chunks, self.chunks, self.blocks, array.itemsize, self.checksums)
            self.stored = StoredAs(grid, compression)

    def _describe(self) -> None:
        """Take the user's metalayers, and what `convert` has noted."""
        array: Any = self._array
        fixed = {name: array.meta[name] for name in array.meta if name not in OWN}
        noted, self.metalayers = Description.split(Metalayers(fixed, dict(array.vlmeta)))
        self.attributes, self.dimension_names = noted.attributes, noted.dimension_names
        self.fill_value = noted.item(self.dtype)

    def read(self, region: Region) -> npt.NDArray[Any]:
        return self._array.read(region)

    def stored_chunk(self, at: tuple[int, ...]) -> Any:
        items = items_of(self._array)
        number = items.grid.chunk_number(at)
        if not isinstance(items, RemoteItems):
            return items.chunk_bytes(number)  # type: ignore[attr-defined]
        layout = items.layout
        offset = int(layout.offsets[number])
        if offset < 0:
            return layout.special_chunk(special_of_offset(offset))
        start, end = layout.range_of(number)
        [stored] = items.source.read([(start, min(end, start + layout.most))], 1)
        return stored[: check_size(stored, number)]

    def stored_bytes(self) -> int:
        return int(self._array.cbytes)


class _Array(Chunked):
    """An open array of which only the items are known."""

    decodes_into_place = True

    def __init__(self, array: ReadableArray) -> None:
        super().__init__("", array.shape, array.dtype)
        self._array = array
        self.chunks, self.blocks = array.chunks, array.blocks
        self.checksums = array.checksum

    def read(self, region: Region) -> npt.NDArray[Any]:
        return self._array.read(region)


def _codec_text(compression: Compression) -> str:
    """Return codec and filters as people read them."""
    codec = member_of(Codec, compression.codec_id)
    filters = [member_of(Filter, number) for number in compression.filter_ids if number]
    names = [
        each.name.lower() if isinstance(each, Enum) else str(each) for each in (codec, *filters)
    ]
    return f"{names[0]} {compression.clevel}" + "".join(f", {name}" for name in names[1:])


def _compression(array: ReadableArray) -> Compression:
    if isinstance(array, NDArray):
        with array.schunk.reading() as ptr:
            return Compression.of(ptr)
    items = items_of(array)
    assert isinstance(items, RemoteItems)
    return compression_in(bytes(items.layout.beginning[: items.layout.header.header_len]))


def frame_tree(array: NDArray | RemoteArray) -> Tree:
    """Return the array in a frame; it is closed with the tree."""
    name = array.urlpath or "memory"
    return Tree(name, "frame", {"": _Frame(array)}, close=array.close)


def array_tree(array: ReadableArray) -> Tree:
    """Return an open array of this package, of any kind."""
    if isinstance(array, (NDArray, RemoteArray)):
        return frame_tree(array)
    name = getattr(array, "urlpath", None) or str(array)
    return Tree(name, type(array).__name__, {"": _Array(array)})
