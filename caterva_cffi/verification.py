"""Whole files and Zarr arrays, read to find what of them is damaged."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from caterva_cffi.array import NDArray
from caterva_cffi.constructors import from_cframe
from caterva_cffi.constructors import open as open_array
from caterva_cffi.errors import ArgumentError, CatervaError
from caterva_cffi.files import INDEX_FILE

if TYPE_CHECKING:
    import zarr

__all__ = ["Damage", "verify", "verify_frame"]

_ZARR_FILES = ("zarr.json", ".zarray", ".zgroup")


@dataclass(frozen=True)
class Damage:
    """A place that cannot be read as it was written.

    Attributes
    ----------
    where : str
        The file, or the object of a Zarr store; empty for a buffer.
    chunk, block : int or None
        Numbers in the frame, in C order; None where the damage concerns all of them.
    message : str
        What was found.
    """

    where: str
    chunk: int | None
    block: int | None
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


def verify(source: Any) -> list[Damage]:
    """Read all of an array, and find what is damaged.

    Every block is decoded. Where the array has checksums, that finds every byte that was changed;
    without them it finds what does not decode, or not to as many bytes as it should.

    Parameters
    ----------
    source : str, path-like, buffer, NDArray, zarr.Array or zarr.Group
        A path of a frame, of a sparse directory, or of a Zarr array or group; the bytes of a frame;
        an open array. Of a Zarr group all arrays are read that this package's codecs have encoded.

    Returns
    -------
    list of Damage
        Empty for an array that is whole.

    Raises
    ------
    FileNotFoundError, PermissionError
    ArgumentError
        For Zarr arrays that no codec of this package has encoded.
    ImportError
        For a Zarr array where zarr is not installed.
    TypeError
        For what is neither a path nor a buffer nor an array.
    """
    return list(_damages(source))


def _damages(source: Any) -> Iterator[Damage]:
    if isinstance(source, NDArray):
        yield from verify_array(source, source.urlpath or "")
    elif isinstance(source, (str, os.PathLike)):
        yield from _damages_of_path(os.fspath(source))
    elif type(source).__module__.partition(".")[0] == "zarr":
        yield from _damages_of_zarr(source)
    else:
        yield from verify_frame(source, "")


def _damages_of_path(path: str) -> Iterator[Damage]:
    if "://" in path:
        raise ArgumentError(f"{path!r} is a URL; expected a path, or an array that zarr has opened")
    if os.path.isdir(path) and not os.path.exists(os.path.join(path, INDEX_FILE)):
        if not any(os.path.exists(os.path.join(path, name)) for name in _ZARR_FILES):
            raise ArgumentError(f"{path!r} is a directory without a sparse frame or a Zarr array")
        from zarr import open as open_zarr

        yield from _damages_of_zarr(open_zarr(path, mode="r"))
        return
    try:
        array = cast("NDArray", open_array(path, mode="r"))
    except CatervaError as error:
        yield Damage(path, None, None, str(error))
        return
    with array:
        yield from verify_array(array, path)


def _damages_of_zarr(node: zarr.Array[Any] | zarr.Group) -> Iterator[Damage]:
    from caterva_cffi.zarr_verification import verify_zarr

    yield from verify_zarr(node)


def verify_frame(frame: Any, where: str) -> Iterator[Damage]:
    """Yield what is damaged of a frame in memory."""
    try:
        array = from_cframe(frame)
    except CatervaError as error:
        yield Damage(where, None, None, str(error))
        return
    yield from verify_array(array, where)


def verify_array(array: NDArray, where: str) -> Iterator[Damage]:
    """Yield what is damaged of an array.

    Parameters
    ----------
    array : NDArray
    where : str
        For the damage.
    """
    for number in range(array.nchunks):
        chunk = np.empty(array.chunks, array.dtype)
        try:
            array._decode_chunk(number, chunk)
        except CatervaError:
            yield from _damaged_blocks(array, number, chunk, where)
    try:
        array.vlmeta.to_dict()
    except CatervaError as error:
        yield Damage(where, None, None, str(error))


def _damaged_blocks(
    array: NDArray, number: int, chunk: npt.NDArray[Any], where: str
) -> Iterator[Damage]:
    """Yield the blocks of a chunk that cannot be decoded, or the chunk if none of them can."""
    found: list[Damage] = []
    starts = [range(0, n, size) for n, size in zip(chunk.shape, array.blocks, strict=True)]
    nblocks = 0
    for start in product(*starts):
        part: list[Any] = [slice(k, k + n) for k, n in zip(start, array.blocks, strict=True)]
        try:
            array._decode_chunk(number, chunk[(*part, ...)], start)
        except CatervaError as error:
            found.append(Damage(where, number, nblocks, str(error)))
        nblocks += 1
    if len(found) == nblocks and len({damage.message for damage in found}) == 1 < nblocks:
        found = [replace(found[0], block=None)]
    yield from found
