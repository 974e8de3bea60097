"""A Zarr array or group as a destination, in a directory or behind a URL."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.abc.store import Store
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import FsspecStore, LocalStore, MemoryStore, StorePath

from caterva_cffi.codecs.encoding import wrap_chunk
from caterva_cffi.codecs.parameters import Parameters
from caterva_cffi.conversion.journal import NAME, Journal
from caterva_cffi.conversion.plans import ArrayPlan
from caterva_cffi.conversion.target import EXISTS, INCOMPLETE, Target
from caterva_cffi.datasets.model import Dataset, Region, Tree
from caterva_cffi.dtypes import as_dtype, frame_dtype
from caterva_cffi.errors import ArgumentError, Cause
from caterva_cffi.format.chunk_header import special_of
from caterva_cffi.storage.url_secrets import without_secrets
from caterva_cffi.zarr import CatervaCodec

__all__ = ["ZarrTarget", "documents_of", "open_store", "refuse"]

_METADATA = ("zarr.json", ".zarray", ".zgroup")
_ZEROS = (1, 4)  # special values that decode to zeros
_PROTOTYPE = default_buffer_prototype()


def open_store(destination: str, options: Mapping[str, Any] | None) -> Store:
    """Return the store of a path or a URL."""
    if "://" in destination:
        return FsspecStore.from_url(destination, storage_options=dict(options or {}))
    return sync(LocalStore.open(destination, read_only=False))


def _get(store: Store, key: str) -> bytes | None:
    found = sync(store.get(key, _PROTOTYPE))
    return None if found is None else found.to_bytes()


def _set(store: Store, key: str, data: Any) -> None:
    sync(store.set(key, _PROTOTYPE.buffer.from_bytes(data)))


# --- metadata ---------------------------------------------------------------------------------


def documents_of(tree: Tree, plans: Mapping[str, ArrayPlan]) -> dict[str, bytes]:
    """Return Zarr's metadata documents for all arrays and groups."""
    contents: dict[str, Any] = {}
    store = MemoryStore(contents)
    with warnings.catch_warnings():
        # Consolidated metadata and some data types are no part of Zarr's specification yet.
        warnings.simplefilter("ignore")
        for path in sorted(tree.groups):
            zarr.create_group(store, path=path, attributes=dict(tree.groups[path]))
        for path, plan in plans.items():
            _create(store, path, plan, tree.arrays[path])
        if tree.consolidated and not tree.is_array:
            zarr.consolidate_metadata(store, zarr_format=3)
    return {key: value.to_bytes() for key, value in contents.items()}


def _create(store: Store, path: str, plan: ArrayPlan, array: Dataset) -> None:
    codecs: dict[str, Any] = {}
    if plan.parameters is not None:
        given = {each.name: getattr(plan.parameters, each.name) for each in fields(Parameters)}
        codecs = {"serializer": CatervaCodec(**given), "compressors": None, "filters": None}
    dtype = array.data_type if array.dtype.hasobject else array.dtype.newbyteorder("=")
    if array.fill_value is not None:
        fill = np.asarray(array.fill_value, array.dtype)
        codecs["fill_value"] = (
            array.fill_value if array.dtype.kind in "TO" else as_dtype(fill, dtype)[()]
        )
    zarr.create_array(
        store,
        name=path or None,
        shape=plan.shape,
        chunks=plan.chunks,
        dtype=dtype,
        attributes=dict(array.attributes),
        dimension_names=array.dimension_names,
        zarr_format=3,
        **codecs,
    )


# --- the destination --------------------------------------------------------------------------


class _Array:
    """An array whose chunks are written before its metadata."""

    def __init__(self, store: Store, documents: Store, plan: ArrayPlan) -> None:
        metadata: Any = zarr.open_array(documents, path=plan.path, mode="r").metadata
        self.prefix, self.metadata = f"{plan.path}/" if plan.path else "", metadata
        self.dtype = np.dtype(metadata.data_type.to_native_dtype())
        self.zarr: Any = zarr.Array(zarr.AsyncArray(metadata, StorePath(store, plan.path)))
        self.fill = None
        if self.dtype.kind not in "TO":
            self.fill = np.full((), metadata.fill_value, self.dtype)

    def key(self, at: Sequence[int]) -> str:
        return self.prefix + str(self.metadata.encode_chunk_key(tuple(at)))

    def is_fill(self, items: npt.NDArray[Any]) -> bool:
        """Whether all items are the fill value, bit by bit."""
        if self.fill is None or self.dtype.itemsize not in (1, 2, 4, 8) or not items.size:
            return False
        kind = f"u{self.dtype.itemsize}"
        bits, value = items.view(kind), self.fill.view(kind)
        first, last = bits[(0,) * bits.ndim], bits[(-1,) * bits.ndim]
        return bool(first == value and last == value and (bits == value).all())


class ZarrTarget(Target):
    """A Zarr array or group.

    Parameters
    ----------
    destination : str
    options : mapping, optional
        For fsspec.
    documents : mapping of str to bytes
        All metadata.
    plans : mapping of str to ArrayPlan
    request : mapping
        See `Journal`.
    """

    def __init__(
        self,
        destination: str,
        options: Mapping[str, Any] | None,
        documents: Mapping[str, bytes],
        plans: Mapping[str, ArrayPlan],
        request: Mapping[str, Any],
    ) -> None:
        self._destination, self.name = destination, without_secrets(destination)
        self._store, self._documents = open_store(destination, options), dict(documents)
        contents = {key: _PROTOTYPE.buffer.from_bytes(data) for key, data in documents.items()}
        metadata = MemoryStore(contents)
        self._arrays = {path: _Array(self._store, metadata, plan) for path, plan in plans.items()}
        self._journal = Journal(request, lambda data: _set(self._store, NAME, data))

    def begin(self, *, overwrite: bool, resume: bool) -> None:
        """Take over what an earlier run has written, or begin anew.

        Raises
        ------
        FileExistsError
            For a destination that exists, and is not to be overwritten or resumed.
        ArgumentError
        """
        noted = _get(self._store, NAME)
        if noted is not None and resume:
            self._journal.load(noted, self.name)
            return
        exists = any(_get(self._store, name) is not None for name in _METADATA)
        if (exists or noted is not None) and not overwrite:
            text = EXISTS if noted is None else INCOMPLETE
            raise FileExistsError(text.format(self.name))
        if exists or noted is not None:
            self._clear()
        elif os.path.isdir(self._destination) and os.listdir(self._destination):
            raise FileExistsError(f"{self.name} is a directory with something else in it")
        self._journal.save()

    def _clear(self) -> None:
        if os.path.isdir(self._destination):
            shutil.rmtree(self._destination)
        else:
            sync(self._store.delete_dir(""))

    def write_items(self, plan: ArrayPlan, at: Sequence[int], items: npt.NDArray[Any]) -> int:
        """Encode and write a chunk, unless it is all fill value."""
        array = self._arrays[plan.path]
        if plan.parameters is None:
            spans = [
                slice(k * n, k * n + m)
                for k, n, m in zip(at, plan.chunks, items.shape, strict=True)
            ]
            array.zarr[tuple(spans)] = items
            return 0
        whole = as_dtype(items, array.dtype)
        if items.shape != plan.chunks:
            whole = np.full(plan.chunks, array.fill, array.dtype)
            whole[tuple(map(slice, items.shape))] = items
        if array.is_fill(whole):
            return 0
        little = array.dtype.newbyteorder("<")
        frame = plan.parameters.to_frame(as_dtype(whole, little).view(frame_dtype(little)))
        _set(self._store, array.key(at), frame)
        return len(frame)

    def write_chunk(self, plan: ArrayPlan, at: Sequence[int], chunk: Any) -> int:
        """Write a chunk as it is."""
        array = self._arrays[plan.path]
        assert plan.copied is not None
        if special_of(chunk) in _ZEROS and array.fill is not None and not any(array.fill.tobytes()):
            return 0
        dtype = frame_dtype(array.dtype.newbyteorder("<"))
        frame = wrap_chunk(chunk, plan.copied.grid, dtype, plan.copied.compression)
        _set(self._store, array.key(at), frame)
        return len(frame)

    def read(self, plan: ArrayPlan, region: Region) -> npt.NDArray[Any]:
        """Return what was written."""
        array = self._arrays[plan.path]
        return np.asarray(array.zarr[region], array.dtype)

    def is_done(self, plan: ArrayPlan, number: int) -> bool:
        """Whether an earlier run has written a region."""
        return (plan.path, number) in self._journal

    def note(self, plan: ArrayPlan, number: int) -> None:
        """Remember that a region was written."""
        self._journal.add(plan.path, number)

    def save(self) -> None:
        """Let a later run know what was noted."""
        self._journal.save()

    def finish(self) -> None:
        """Write all metadata, those of the root last."""
        for key in sorted(self._documents, key=lambda key: (-key.count("/"), key)):
            _set(self._store, key, self._documents[key])
        sync(self._store.delete(NAME))


def refuse(destination: str) -> None:
    """Refuse what is no place for a Zarr array.

    Raises
    ------
    ArgumentError
    FileExistsError
    """
    if destination.endswith(".zip"):
        raise ArgumentError(
            f"{destination!r}: a zip file cannot be changed; expected a directory",
            Cause("wrong-place", "destination", destination),
        )
    if "://" not in destination and os.path.isfile(destination):
        raise FileExistsError(f"{destination!r} is a file; expected a directory for Zarr")
