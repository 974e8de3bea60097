"""Zarr arrays, verified: Zarr reads them, and their frames are checked on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate, pairwise, product, starmap
from math import prod
from typing import Any

import zarr
from zarr.abc.store import Store
from zarr.codecs import Crc32cCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore, StorePath, ZipStore

from caterva_cffi.errors import ArgumentError, FormatError
from caterva_cffi.numcodecs import Caterva
from caterva_cffi.verification.checking_codecs import FramesSeen, checking_array
from caterva_cffi.verification.report import Damage, Unchecked, Verification
from caterva_cffi.verification.zarr_nodes import Node, name_of, nodes_at
from caterva_cffi.zarr import CatervaCodec

__all__ = ["check_directory", "check_node", "check_zip", "is_zarr"]

_NAME = "caterva"
_READ_BYTES = 1 << 28
"""Bytes of a shard's inner chunks that are read at once."""


def is_zarr(source: Any) -> bool:
    """Whether something is an array, a group or a store of zarr."""
    return isinstance(
        source,
        (zarr.Array, zarr.Group, zarr.AsyncArray, zarr.AsyncGroup, Store, StorePath),
    )


def check_directory(found: Verification, path: str) -> None:
    """Check what is in a directory; see `check_node`."""
    check_node(found, StorePath(sync(LocalStore.open(path, read_only=True))))


def check_zip(found: Verification, path: str) -> None:
    """Check what is in a zip file; see `check_node`."""
    try:
        store = sync(ZipStore.open(path, mode="r"))
    except Exception as error:  # of zipfile, or of the library that decompresses
        if isinstance(error, OSError):
            raise
        raise FormatError(f"{path!r} begins as a zip file: {error}", "not-a-frame") from error
    try:
        check_node(found, StorePath(store))
    finally:
        store.close()


def check_node(found: Verification, node: Any) -> None:
    """Check an array, or the arrays of a group that a codec of this package encoded.

    Raises
    ------
    ArgumentError
        If there is no such array.
    """
    if isinstance(node, Store):
        node = StorePath(node)
    place = node if isinstance(node, StorePath) else node.store_path
    found.source = found.source or name_of(place)
    if isinstance(node, zarr.AsyncArray):
        node = zarr.Array(node)
    if isinstance(node, zarr.Array):
        nodes: Iterable[Node] = [Node(place, node.metadata.to_dict(), node)]
    else:
        nodes = nodes_at(place)
    for each in nodes:
        where = name_of(each.place)
        if each.wrong is not None:
            found.unreadable.append(Unchecked(where, each.wrong))
        elif not each.document:
            found.passed_over.append(Unchecked(where, "no metadata of Zarr"))
        elif _NAME in each.codecs:
            _check_array(found, each)
        else:
            reason = f"encoded by {', '.join(each.codecs) or 'no codec'}"
            found.passed_over.append(Unchecked(where, reason))
    if found.checked.arrays:
        missing = f" (missing, and read as the fill value: {found.missing})" * (found.missing > 0)
        found.unprotected.append(f"Zarr's metadata, and which chunks are stored{missing}")
    elif not found.unreadable:
        others = "; ".join(f"{each.where}: {each.reason}" for each in found.passed_over)
        raise ArgumentError(
            f"{name_of(place)} has no array that a codec of this package encoded "
            f"({others or 'no array'})",
            "other-codecs",
        )


def _check_array(found: Verification, node: Node) -> None:
    try:
        array = zarr.open_array(node.place, mode="r") if node.array is None else node.array
        frames = FramesSeen(found)
        checking = checking_array(array, frames)
    except Exception as error:  # Zarr and other codecs raise many errors for metadata
        message = f"{type(error).__name__}: {error}"
        found.unreadable.append(Unchecked(name_of(node.place), message))
        return
    found.checked.arrays += 1
    codecs = list(_codecs(array.metadata))
    sealed = all(codec.checksum for codec in codecs if isinstance(codec, (CatervaCodec, Caterva)))
    for place, region, nchunks in _regions(array):
        frames.place, frames.seen = name_of(place), 0
        before = frames.noted
        try:
            checking[region]
        except Exception as error:  # stores and codecs of others raise many errors
            if frames.noted == before:
                _note(found, place, error)
        if frames.noted == before:
            found.missing += max(nchunks - frames.seen, 0)
    found.checksums.arrays += sealed and frames.all_sealed
    for codec in codecs:
        index = getattr(codec, "index_codecs", None)
        if index is not None and not any(isinstance(each, Crc32cCodec) for each in index):
            found.unprotected.append(
                f"where chunks are in the shards of {name_of(array.store_path)}"
            )


def _codecs(metadata: Any) -> Iterator[Any]:
    """Yield an array's codecs, those inside shards too."""
    if metadata.zarr_format == 2:
        yield from metadata.filters or ()
        yield metadata.compressor
        return
    left = list(metadata.codecs)
    while left:
        codec = left.pop(0)
        yield codec
        left += getattr(codec, "codecs", ())


def _note(found: Verification, place: StorePath, error: Exception) -> None:
    """Note why an object could not be read: its bytes are damaged, or the store failed."""
    message = f"{type(error).__name__}: {error}"
    try:
        sync(place.get(prototype=default_buffer_prototype()))
    except Exception:
        found.unreadable.append(Unchecked(name_of(place), message))
    else:
        found.damages.append(Damage(name_of(place), None, None, message))


def _regions(array: zarr.Array[Any]) -> Iterator[tuple[StorePath, tuple[slice, ...], int]]:
    """Yield what to read at once: the object, the region in the array, its number of chunks."""
    inner = _inner_shape(array)
    spans = _spans(array)
    for at in product(*(range(len(each)) for each in spans)):
        place = array.store_path / array.metadata.encode_chunk_key(at)
        region = [each[k] for each, k in zip(spans, at, strict=True)]
        if not inner:
            yield place, tuple(starmap(slice, region)), 1
            continue
        # Read a large shard by some rows of chunks, which takes little memory.
        (first, end), *others = region
        rows = min(inner[:1])
        row_bytes = rows * prod(stop - start for start, stop in others) * array.dtype.itemsize
        step = rows * max(_READ_BYTES // max(row_bytes, 1), 1)
        for start in range(first, end, step):
            part = [(start, min(start + step, end)), *others]
            nchunks = prod(-(-(b - a) // side) for (a, b), side in zip(part, inner, strict=True))
            yield place, tuple(starmap(slice, part)), nchunks


def _inner_shape(array: zarr.Array[Any]) -> tuple[int, ...] | None:
    """Return the shape of the chunks inside shards; None if the array has no shards."""
    codecs: Any = getattr(array.metadata, "codecs", ())
    shape = None
    while len(codecs) == 1 and hasattr(codecs[0], "codecs"):
        shape, codecs = codecs[0].chunk_shape, codecs[0].codecs
    return shape


def _spans(array: zarr.Array[Any]) -> list[list[tuple[int, int]]]:
    """Return where the stored objects begin and end along each dimension."""
    sizes = getattr(array, "write_chunk_sizes", None)  # not in older versions of zarr
    if sizes is None:
        sizes = [
            [min(size, n - start) for start in range(0, n, size)]
            for n, size in zip(array.shape, array.shards or array.chunks, strict=True)
        ]
    return [list(pairwise(accumulate(each, initial=0))) for each in sizes]
