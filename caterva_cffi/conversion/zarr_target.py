"""A Zarr array or group as a destination, in a directory or behind a URL."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.abc.store import Store
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import FsspecStore, LocalStore, MemoryStore, StorePath

from caterva_cffi.codecs.encoding import wrap_chunk
from caterva_cffi.conversion.journal import Journal
from caterva_cffi.conversion.plans import ArrayPlan
from caterva_cffi.conversion.target import BUSY, EXISTS, INCOMPLETE, Target
from caterva_cffi.datasets.model import JOURNAL, Region
from caterva_cffi.dtypes import as_dtype, frame_dtype
from caterva_cffi.errors import ArgumentError, Cause, StorageError
from caterva_cffi.format.chunk_header import special_of
from caterva_cffi.storage.marks import lock
from caterva_cffi.storage.url_secrets import without_secrets

__all__ = ["ZarrTarget", "refuse"]

_METADATA = ("zarr.json", ".zarray", ".zgroup")
_ZEROS = (1, 4)  # special values that decode to zeros
_PROTOTYPE = default_buffer_prototype()


def _store_of(destination: str, options: Mapping[str, Any] | None) -> Store:
    """Return the store of a path or a URL; nothing is made there yet."""
    if "://" in destination:
        return FsspecStore.from_url(destination, storage_options=dict(options or {}))
    return LocalStore(destination)


def _get(store: Store, key: str) -> bytes | None:
    found = sync(store.get(key, _PROTOTYPE))
    return None if found is None else found.to_bytes()


def _set(store: Store, key: str, data: Any) -> None:
    sync(store.set(key, _PROTOTYPE.buffer.from_bytes(data)))


class _Array:
    """An array whose chunks are written before its metadata."""

    def __init__(self, store: Store, documents: Store, plan: ArrayPlan) -> None:
        opened: Any = zarr.open_array(documents, path=plan.path, mode="r")
        metadata = opened.metadata
        self.prefix, self.metadata = f"{plan.path}/" if plan.path else "", metadata
        self.dtype = np.dtype(opened.dtype)
        # Chunks of one value are left out bit by bit, which Zarr does not always do.
        config: Any = {"write_empty_chunks": _differs_from_itself(metadata.fill_value)}
        where = StorePath(store, plan.path)
        self.zarr: Any = zarr.Array(zarr.AsyncArray(metadata, where, config))
        self.fill, self.has_fill = None, metadata.fill_value is not None
        if self.dtype.kind not in "TO":
            self.fill = np.zeros((), self.dtype)
            if self.has_fill:
                self.fill[...] = metadata.fill_value
        # Whether chunks are put into the store as they are here.
        self.is_ours = plan.parameters is not None and plan.shards is None

    def key(self, at: Sequence[int]) -> str:
        return self.prefix + str(self.metadata.encode_chunk_key(tuple(at)))

    def is_zero(self) -> bool:
        """Whether all bytes of the fill value are zero."""
        return self.has_fill and self.fill is not None and not any(self.fill.tobytes())

    def is_fill(self, items: npt.NDArray[Any]) -> bool:
        """Whether all items are the fill value, bit by bit."""
        if self.fill is None or not self.has_fill or not items.size:
            return False
        if self.dtype.itemsize not in (1, 2, 4, 8):
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
        self._store, self._documents = _store_of(destination, options), dict(documents)
        contents = {key: _PROTOTYPE.buffer.from_bytes(data) for key, data in documents.items()}
        metadata = MemoryStore(contents)
        self._arrays = {path: _Array(self._store, metadata, plan) for path, plan in plans.items()}
        self._journal = Journal(request, lambda data: _set(self._store, JOURNAL, data))
        self._goes_on = self._is_there = False
        self._locked: int | None = None

    def check(self, *, overwrite: bool, resume: bool) -> None:
        """Find what is there.

        Raises
        ------
        FileExistsError
            For a destination that exists, and is not to be overwritten or resumed.
        ArgumentError, FormatError
        """
        if "://" not in self._destination and not os.path.isdir(self._destination):
            return
        noted = _get(self._store, JOURNAL)
        self._goes_on = noted is not None and resume
        if noted is not None and resume:
            self._journal.load(noted, self.name)
            return
        exists = any(_get(self._store, name) is not None for name in _METADATA)
        self._is_there = exists or noted is not None
        if self._is_there and not overwrite:
            text = EXISTS if noted is None else INCOMPLETE
            raise FileExistsError(text.format(self.name))
        if not self._is_there and not sync(self._store.is_empty("")):
            raise FileExistsError(f"{self.name} is a directory with something else in it")

    def begin(self, *, overwrite: bool, resume: bool) -> None:
        """Take over what an earlier run has written, or begin anew; see `check`.

        Raises
        ------
        FileExistsError, StorageError
        """
        self._lock()
        self.check(overwrite=overwrite, resume=resume)
        if self._goes_on:
            return
        if self._is_there:
            self._clear()
        self._journal.save()

    def _lock(self) -> None:
        """Keep other conversions away from a directory; behind a URL nobody can."""
        if "://" in self._destination:
            return
        os.makedirs(self._destination, exist_ok=True)
        if hasattr(os, "O_DIRECTORY"):
            self._locked = os.open(self._destination, os.O_RDONLY | os.O_DIRECTORY)
            if not lock(self._locked):
                raise StorageError(BUSY.format(self.name), "in-use")

    def close(self) -> None:
        """Let others write to the directory."""
        if self._locked is not None:
            os.close(self._locked)
            self._locked = None

    def _clear(self) -> None:
        if "://" in self._destination:
            sync(self._store.delete_dir(""))
            return
        for entry in os.scandir(self._destination):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)

    def write_items(self, plan: ArrayPlan, at: Sequence[int], items: npt.NDArray[Any]) -> int:
        """Encode and write a chunk or a shard, unless it is all fill value."""
        array = self._arrays[plan.path]
        items = items if array.fill is None else as_dtype(items, array.dtype)
        if array.is_fill(items):
            return 0
        if not array.is_ours:
            array.zarr[_box(plan, at, items)] = items
            return 0
        assert plan.parameters is not None
        whole = items
        if items.shape != plan.chunks:
            whole = np.full(plan.chunks, array.fill, array.dtype)
            whole[tuple(map(slice, items.shape))] = items
        little = array.dtype.newbyteorder("<")
        frame = plan.parameters.to_frame(as_dtype(whole, little).view(frame_dtype(little)))
        _set(self._store, array.key(at), frame)
        return len(frame)

    def write_chunk(self, plan: ArrayPlan, at: Sequence[int], chunk: Any) -> int:
        """Write a chunk as it is."""
        array = self._arrays[plan.path]
        assert plan.copied is not None
        if special_of(chunk) in _ZEROS and array.is_zero():
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
        for key in sorted(self._documents, key=_turn):
            _set(self._store, key, self._documents[key])
        sync(self._store.delete(JOURNAL))


def _box(plan: ArrayPlan, at: Sequence[int], items: npt.NDArray[Any]) -> Region:
    """Return the box of an array that a chunk or a shard holds."""
    return tuple(
        slice(k * n, k * n + m) for k, n, m in zip(at, plan.unit, items.shape, strict=True)
    )


def _turn(key: str) -> Any:
    """Return what documents are sorted by: of each node, the one that makes it a node last."""
    return -key.count("/"), not key.endswith(".zattrs"), key.endswith(".zmetadata"), key


def _differs_from_itself(fill: Any) -> bool:
    """Whether an item may be equal to the fill value and have other bits, or there is none."""
    return fill is None or bool(np.asarray(fill != fill).any())


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
