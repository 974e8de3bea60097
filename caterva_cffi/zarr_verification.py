"""Zarr arrays, verified: the frames of which they consist, or what Zarr makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from caterva_cffi.errors import ArgumentError, CatervaError
from caterva_cffi.numcodecs import Caterva
from caterva_cffi.stores import as_bytes
from caterva_cffi.verification import Damage, verify_frame
from caterva_cffi.zarr import CatervaCodec

__all__ = ["verify_zarr"]


def verify_zarr(node: zarr.Array[Any] | zarr.Group) -> Iterator[Damage]:
    """Yield what is damaged of a Zarr array, or of a group's arrays of this package's codecs.

    Raises
    ------
    ArgumentError
        Where there is none of them.
    """
    if isinstance(node, zarr.Array):
        arrays = [node]
    else:
        arrays = [item for _, item in node.members(max_depth=None) if isinstance(item, zarr.Array)]
    ours = [array for array in arrays if any(map(_is_ours, _codecs(array)))]
    if not ours:
        raise ArgumentError(f"{node.store_path} has no array that a codec of this package encoded")
    for array in ours:
        yield from _frames(array) if _stores_frames(array) else _regions(array)


def _codecs(array: zarr.Array[Any]) -> list[Any]:
    """Return an array's codecs, those inside shards last."""
    metadata = array.metadata
    if metadata.zarr_format == 2:
        return [*(metadata.filters or ()), metadata.compressor]
    codecs = list(metadata.codecs)
    for codec in codecs:
        codecs += getattr(codec, "codecs", ())
    return codecs


def _stores_frames(array: zarr.Array[Any]) -> bool:
    """Whether what is stored are the bytes that one of our codecs returned."""
    metadata = array.metadata
    if metadata.zarr_format == 2:
        return _is_ours(metadata.compressor)
    return _is_ours(metadata.codecs[-1])


def _is_ours(codec: Any) -> bool:
    return isinstance(codec, (Caterva, CatervaCodec))


def _frames(array: zarr.Array[Any]) -> Iterator[Damage]:
    """Verify the stored objects, each of which is a frame."""
    for at in product(*map(range, array.cdata_shape)):
        place = array.store_path / array.metadata.encode_chunk_key(at)
        stored = sync(place.get(prototype=default_buffer_prototype()))
        if stored is not None:
            yield from verify_frame(as_bytes(stored), str(place))


def _regions(array: zarr.Array[Any]) -> Iterator[Damage]:
    """Read the chunks through Zarr, whose other codecs stand before the frames."""
    shape, chunks = array.shape, array.chunks
    for start in product(*(range(0, n, size) for n, size in zip(shape, chunks, strict=True))):
        stop = [min(k + size, n) for k, size, n in zip(start, chunks, shape, strict=True)]
        place = ", ".join(f"{k}:{end}" for k, end in zip(start, stop, strict=True))
        try:
            array[tuple(map(slice, start, stop))]
        except Exception as error:
            # What gzip raises for damage is an OSError that the system knows nothing of.
            is_systems = isinstance(error, OSError) and error.errno is not None
            if is_systems and not isinstance(error, CatervaError):
                raise
            # Codecs of others raise what they like.
            message = f"{type(error).__name__}: {error}"
            yield Damage(f"{array.store_path}[{place}]", None, None, message)
