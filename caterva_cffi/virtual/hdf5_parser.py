"""VirtualiZarr's parser of HDF5 files, with our codec for what Blosc2 compressed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import h5py
from obspec_utils.readers import BlockStoreReader
from obspec_utils.registry import ObjectStoreRegistry
from virtualizarr.manifests import ChunkManifest, ManifestArray, ManifestGroup, ManifestStore
from virtualizarr.parsers import HDFParser

from caterva_cffi.virtual.codecs import HDF5ChunkCodec
from caterva_cffi.virtual.endian import endian_of
from caterva_cffi.virtual.hdf5_datasets import (
    BLOSC2,
    check_filters,
    checksum_sizes,
    filters_of,
)

__all__ = ["HDF5Parser"]


class HDF5Parser:
    """Parser of HDF5 and NetCDF4 files for VirtualiZarr, which reads parts of Blosc2's chunks.

    It is VirtualiZarr's `HDFParser`. But datasets that HDF5's filter 32026 (Blosc2) compressed get
    a codec that reads only the blocks which a slice touches, and knows their byte order. The
    checksums of the filter `fletcher32` behind it are left out, and not compared.

    Parameters
    ----------
    group, drop_variables, reader_factory, **options
        As for VirtualiZarr's `HDFParser`.

    Examples
    --------
    >>> from pathlib import Path
    >>> import h5py, hdf5plugin, zarr
    >>> from obspec_utils.registry import ObjectStoreRegistry
    >>> from obstore.store import LocalStore
    >>> from caterva_cffi.virtual import HDF5Parser
    >>> with h5py.File("air.h5", "w") as file:
    ...     _ = file.create_dataset("t", data=data, chunks=(4, 3), **hdf5plugin.Blosc2())
    >>> registry = ObjectStoreRegistry({"file://": LocalStore()})
    >>> store = HDF5Parser()(Path("air.h5").absolute().as_uri(), registry)
    >>> zarr.open_group(store, mode="r")["t"][1, :3]
    array([6, 7, 8], dtype=int32)
    """

    def __init__(
        self,
        group: str | None = None,
        drop_variables: Iterable[str] | None = None,
        reader_factory: Callable[[Any, str], Any] = BlockStoreReader,
        **options: Any,
    ) -> None:
        self._group = group
        self._reader_factory = reader_factory
        self._options = {"drop_variables": drop_variables, **options}

    def __call__(self, url: str, registry: ObjectStoreRegistry) -> ManifestStore:
        """Return a store with what is in a file.

        Parameters
        ----------
        url : str
        registry : ObjectStoreRegistry

        Raises
        ------
        UnsupportedError
            For other filters before Blosc2, and structures of both byte orders.
        """
        reader = self._reader_factory(*registry.resolve(url))
        theirs = HDFParser(group=self._group, reader_factory=lambda *_: reader, **self._options)
        store = theirs(url, registry)
        with h5py.File(reader, "r") as file:
            group = _with_codecs(store._group, file[self._group or "/"])
        return ManifestStore(group, registry=registry)


def _with_codecs(group: ManifestGroup, stored: h5py.Group) -> ManifestGroup:
    """Return a group in which what Blosc2 compressed has our codec."""
    return ManifestGroup(
        arrays={name: _with_codec(each, stored[name]) for name, each in group.arrays.items()},
        groups={name: _with_codecs(each, stored[name]) for name, each in group.groups.items()},
        attributes=group.metadata.attributes,
    )


def _with_codec(array: ManifestArray, dataset: h5py.Dataset) -> ManifestArray:
    # VirtualiZarr stores the items of Python objects themselves.
    if BLOSC2 not in filters_of(dataset) or dataset.dtype.hasobject:
        return array
    check_filters(dataset)
    codec = HDF5ChunkCodec(endian=endian_of(dataset.dtype))
    metadata = dataclasses.replace(array.metadata, codecs=(codec,))
    return ManifestArray(
        metadata=metadata, chunkmanifest=_without(array.manifest, checksum_sizes(dataset))
    )


def _without(manifest: ChunkManifest, ends: Any) -> ChunkManifest:
    """Return a manifest whose chunks end some bytes earlier."""
    if not ends.any():
        return manifest
    entries = dict(manifest.dict())
    for key, entry in entries.items():
        end = int(ends[tuple(map(int, key.split(".")))])
        entries[key] = {**entry, "length": entry["length"] - end}
    return ChunkManifest(entries=entries, shape=manifest.shape_chunk_grid)
