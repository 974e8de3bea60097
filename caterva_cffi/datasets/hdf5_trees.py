"""HDF5 and netCDF-4 files."""

from __future__ import annotations

from itertools import product
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from caterva_cffi.datasets import netcdf
from caterva_cffi.datasets.hdf5_chunks import BLOSC2, ChunkDecoder
from caterva_cffi.datasets.model import Chunked, NotCopyable, Region, Tree
from caterva_cffi.dtypes import allocate
from caterva_cffi.errors import ArgumentError, Cause, UnsupportedError

__all__ = ["hdf5_tree"]


class _HDF5(Chunked):
    def __init__(self, path: str, dataset: h5py.Dataset, lengths: dict[str, int]) -> None:
        dtype, texts = dataset.dtype, h5py.check_string_dtype(dataset.dtype)
        if dataset.shape is None:
            raise UnsupportedError(
                f"dataset {dataset.name!r} has no items and no shape, and Zarr has no such array; "
                "leave it out (exclude)"
            )
        if texts is not None and texts.length is None:
            dtype = np.dtypes.StringDType()
        elif dtype.hasobject or h5py.check_opaque_dtype(dtype):
            raise UnsupportedError(
                f"dataset {dataset.name!r} has items of {dtype}, which Zarr cannot hold; leave "
                "it out (exclude)"
            )
        elif dtype.names is None:
            dtype = np.dtype(dtype.str)  # without h5py's notes on enumerations
        dimensions = netcdf.dimensions_of(dataset) if dataset.ndim else []
        super().__init__(path, netcdf.shape_of(dataset, dimensions, lengths), dtype)
        self._dataset = dataset
        self._left_out: dict[str, str] = {}
        self.attributes = netcdf.attributes_of(dataset, self._left_out.__setitem__)
        self.dimension_names = netcdf.dimension_names(dimensions)
        self._take_chunks(dataset)
        if dtype.kind != "T":
            self.fill_value = dataset.fillvalue
        if self._left_out:
            self.details = {"attributes left out": self._left_out}

    def _take_chunks(self, dataset: h5py.Dataset) -> None:
        self.chunks = dataset.chunks
        pipeline = dataset.id.get_create_plist()
        filters = [pipeline.get_filter(n) for n in range(pipeline.get_nfilters())]
        self.codecs = [f"{name.decode() or number}" for number, _, _, name in filters] or ["none"]
        numbers = [number for number, *_ in filters]
        self._decoder: ChunkDecoder | None = None
        if self.chunks is None or self.dtype.kind == "T":
            return
        if not ChunkDecoder.knows(numbers, self.dtype):
            return
        self._decoder = ChunkDecoder(numbers, self.chunks, self.dtype)
        self._index: dict[tuple[int, ...], int] = {}
        dataset.id.chunk_iter(lambda info: self._index.__setitem__(info[0], info[1]))
        first = next(iter(self._index), None)
        if numbers[:1] == [BLOSC2] and first is not None:
            mask, stored = dataset.id.read_direct_chunk(first)
            # Beyond the end of what is stored, chunks may hold anything.
            if self.shape == dataset.shape:
                self.stored = self._decoder.stored_as(stored, mask)
            self.blocks = None if self.stored is None else self.stored.grid.blocks

    def read(self, region: Region) -> npt.NDArray[Any]:
        stored = tuple(
            slice(min(part.start, n), min(part.stop, n))
            for part, n in zip(region, self._dataset.shape, strict=True)
        )
        if stored == region:
            return self._read_stored(region)
        shape = [part.stop - part.start for part in region]
        items = allocate(shape, self.dtype)
        items[...] = "" if self.dtype.kind == "T" else self.fill_value
        inside = [slice(0, part.stop - part.start) for part in stored]
        if all(part.stop for part in inside):
            items[(*inside,)] = self._read_stored(stored)
        return items

    def _read_stored(self, region: Region) -> npt.NDArray[Any]:
        if self._decoder is None:
            return self._read_by_hdf5(region)
        assert self.chunks is not None
        out = allocate([part.stop - part.start for part in region], self.dtype)
        spans = [
            range(part.start // chunk, -(-part.stop // chunk))
            for part, chunk in zip(region, self.chunks, strict=True)
        ]
        for at in product(*spans):
            self._read_chunk(at, region, out)
        return out

    def _read_chunk(self, at: tuple[int, ...], region: Region, out: npt.NDArray[Any]) -> None:
        assert self.chunks is not None and self._decoder is not None
        here, there = [], []
        for number, chunk, part in zip(at, self.chunks, region, strict=True):
            start = number * chunk
            first, last = max(start, part.start), min(start + chunk, part.stop)
            here.append(slice(first - start, last - start))
            there.append(slice(first - part.start, last - part.start))
        stored = self._stored(at)
        if stored is None:
            out[tuple(there)] = self.fill_value
        else:
            out[tuple(there)] = self._decoder.decode(*stored)[tuple(here)]

    def _stored(self, at: tuple[int, ...]) -> tuple[bytes, int] | None:
        assert self.chunks is not None
        start = tuple(number * chunk for number, chunk in zip(at, self.chunks, strict=True))
        if start not in self._index:
            return None
        mask, stored = self._dataset.id.read_direct_chunk(start)
        return stored, mask

    def _read_by_hdf5(self, region: Region) -> npt.NDArray[Any]:
        try:
            if self.dtype.kind == "T":
                texts = self._dataset.asstr()[region]
                return np.asarray(texts, self.dtype)
            # Without dimensions, h5py gives a scalar in native byte order unless asked so.
            items: npt.NDArray[Any] = self._dataset[(*region, ...)]
            return items.view(self.dtype)
        except OSError as error:
            raise UnsupportedError(
                f"dataset {self._dataset.name!r} with filters {', '.join(self.codecs)}: {error}; "
                "`pip install hdf5plugin` for more filters",
                "filter-missing",
            ) from None

    def stored_chunk(self, at: tuple[int, ...]) -> Any:
        stored = self._stored(at)
        if stored is None:
            return None
        if self._decoder is None or self.stored is None:
            raise NotCopyable
        return self._decoder.chunk_of(*stored, self.stored)

    def stored_bytes(self) -> int:
        return int(self._dataset.id.get_storage_size())


def hdf5_tree(file: Any, name: str, path: str = "", exclude: Any = lambda path: False) -> Tree:
    """Return a dataset, or a group with all that is in it.

    Parameters
    ----------
    file : str or file object
    name : str
        For people.
    path : str
        Inside the file.
    exclude : callable
        Whether a path is left out.

    Raises
    ------
    ArgumentError
        For a path that is not in the file.
    UnsupportedError
        For items that Zarr cannot hold.
    """
    _register_filters()
    opened = h5py.File(file, "r")
    try:
        node = opened[path] if path else opened
    except KeyError:
        opened.close()
        raise ArgumentError(
            f"{name} has no group or dataset {path!r}", Cause("no-such-array", "path", path)
        ) from None
    tree = Tree(name, "HDF5", consolidated=True, close=opened.close)
    try:
        if isinstance(node, h5py.Dataset):
            tree.arrays[""] = _HDF5("", node, {})
        else:
            _walk(tree, node, "", exclude, (), {})
    except BaseException:
        opened.close()
        raise
    tree.identity = [[each.path, list(each.shape), each.dtype.str] for each in tree.arrays.values()]
    return tree


def _walk(
    tree: Tree,
    group: h5py.Group,
    path: str,
    exclude: Any,
    above: tuple[h5py.Group, ...],
    lengths: dict[str, int],
) -> None:
    tree.groups[path] = netcdf.attributes_of(group)
    for name in group:
        inside = f"{path}/{name}" if path else name
        if exclude(inside):
            continue
        try:
            _add(tree, group, name, path, exclude, above, lengths)
        except UnsupportedError as error:
            tree.refused[inside] = str(error)


def _add(
    tree: Tree,
    group: h5py.Group,
    name: str,
    path: str,
    exclude: Any,
    above: tuple[h5py.Group, ...],
    lengths: dict[str, int],
) -> None:
    """Add what a group has by a name.

    Raises
    ------
    UnsupportedError
    """
    inside = f"{path}/{name}" if path else name
    try:
        node = group[name]
    except (KeyError, OSError):
        raise UnsupportedError(
            f"{inside!r} is a link to something that is not there; leave it out (exclude)"
        ) from None
    if isinstance(node, h5py.Datatype):
        return
    if isinstance(node, h5py.Group):
        if node in (*above, group):
            raise UnsupportedError(
                f"{inside!r} is a link to a group that it is in; leave it out (exclude)"
            )
        _walk(tree, node, inside, exclude, (*above, group), lengths)
    elif not netcdf.is_bare_dimension(node):
        variable = netcdf.plain_name(name)
        if variable in group and not netcdf.is_bare_dimension(group[variable]):
            variable = name  # it is that of another variable
        inside = f"{path}/{variable}" if path else variable
        tree.arrays[inside] = _HDF5(inside, node, lengths)


def _register_filters() -> None:
    """Let HDF5 know more filters, if the package that has them is there."""
    try:
        import hdf5plugin  # noqa: F401
    except ImportError:
        return
