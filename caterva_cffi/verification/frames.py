"""Frames and arrays, verified chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from caterva_cffi.arrays.chunked import ChunkedItems
from caterva_cffi.arrays.constructors import from_cframe
from caterva_cffi.arrays.ndarray import NDArray
from caterva_cffi.arrays.readable import ReadableArray, items_of
from caterva_cffi.arrays.remote import RemoteArray
from caterva_cffi.binding.buffers import as_bytes
from caterva_cffi.binding.compression import Filter
from caterva_cffi.binding.library import ffi, lib
from caterva_cffi.errors import (
    ArgumentError,
    CapacityError,
    CatervaError,
    FormatError,
    StorageError,
    UnsupportedError,
)
from caterva_cffi.format.frame_header import FrameHeader
from caterva_cffi.format.frame_start import START, begins_as_frame, length_error
from caterva_cffi.format.metalayers import B2ND, CATERVA
from caterva_cffi.verification.report import SHOWN, Counts, Damage, Unchecked, Verification

__all__ = ["check_array", "check_frame", "header_of", "note_seal", "refuse_lists", "refuse_others"]


_Decode: TypeAlias = Callable[[int, npt.NDArray[Any], Sequence[int]], None]
"""Decodes items of a chunk, from a position on, as many as the destination holds."""


def check_frame(
    found: Verification, frame: Any, where: str, *, decoded: bool = False
) -> FrameHeader | None:
    """Check a frame in memory.

    Parameters
    ----------
    found : Verification
        Gets damages and counts of chunks and blocks, but not of arrays.
    frame : object with the buffer protocol
    where : str
        For the damage.
    decoded : bool
        Whether all items are known to decode. Then only the bytes without items are checked.

    Returns
    -------
    FrameHeader or None
        None if it cannot be opened.

    Raises
    ------
    UnsupportedError
    """
    view = ffi.buffer(as_bytes(frame, "the frame"))
    wrong = length_error(view[:START], len(view))
    try:
        if wrong is not None:
            raise FormatError(wrong)
        array = from_cframe(frame)
    except FormatError as error:
        found.damages.append(Damage(where, None, None, str(error)))
        return None
    check_array(found, array, where, decoded=decoded and array.nchunks <= 1)
    return header_of(view[:START], lambda length: view[:length])


def check_array(
    found: Verification, array: ReadableArray, where: str, *, decoded: bool = False
) -> None:
    """Check an array that could be opened."""
    size = Counts(0, array.nchunks, array.nchunks * items_of(array).grid.nblocks)
    found.checked += size
    if array.checksum:
        found.checksums += size
    if not decoded:
        _check_chunks(found, array, where)
    try:
        if isinstance(array, NDArray):
            array.vlmeta.to_dict()
        else:
            dict(cast("RemoteArray", array).vlmeta)
    except CatervaError as error:
        note(found, error, array, Damage(where, None, None, str(error)))


def _check_chunks(found: Verification, array: ReadableArray, where: str) -> None:
    decode = _decoder(array)
    chunk = np.empty(array.chunks, array.dtype)
    first = len(found.damages)
    for number in range(array.nchunks):
        try:
            with items_of(array).reading():
                decode(number, chunk, (0,) * array.ndim)
        except (CatervaError, OSError, MemoryError) as error:
            whole = Damage(where, number, None, str(error))
            if _is_damage(error, array) and not isinstance(error, StorageError):
                found.damages += _damaged_blocks(array, decode, whole, chunk)
            else:
                note(found, error, array, whole)
    damages = found.damages[first:]
    if len(damages) == array.nchunks > 1 and len({damage.message for damage in damages}) == 1:
        found.damages[first:] = [replace(damages[0], chunk=None, block=None)]


def note(found: Verification, error: BaseException, array: ReadableArray, place: Damage) -> None:
    """Note an error as damage, or as what could not be read."""
    if _is_damage(error, array):
        found.damages.append(place)
    else:
        found.unreadable.append(Unchecked(place.where, place.message or type(error).__name__))


def _is_damage(error: BaseException, array: ReadableArray) -> bool:
    """Whether an error says that bytes are not what was written."""
    if isinstance(error, StorageError):
        return isinstance(error.__cause__, FileNotFoundError)  # a chunk's file
    # If all codecs and filters that the array names are here, the bytes are wrong.
    if isinstance(error, UnsupportedError):
        return isinstance(array, NDArray) and _can_decode(array)
    if isinstance(error, FormatError) and error.code == lib.CAT_ERROR_BLOCK:
        return not isinstance(array, NDArray) or _can_decode(array)
    return isinstance(error, CatervaError) and not isinstance(error, CapacityError)


def _can_decode(array: NDArray) -> bool:
    """Whether the codec and the filters of an array are available; users may register some."""
    codec = array.codec
    if isinstance(codec, int) and lib.blosc2_compcode_to_compname(codec, ffi.new("char **")) < 0:
        return False
    return all(isinstance(each, Filter) for each in array.filters)


def _decoder(array: ReadableArray) -> _Decode:
    items = items_of(array)
    if isinstance(items, ChunkedItems):
        return items.decode_chunk

    def decode(number: int, dest: npt.NDArray[Any], start: Sequence[int]) -> None:
        """Read the items that lie inside the array."""
        at = np.unravel_index(number, items.grid.chunk_grid)
        firsts = [int(n) * chunk + k for n, chunk, k in zip(at, array.chunks, start, strict=True)]
        spans = [
            slice(first, max(min(first + count, length), first))
            for first, count, length in zip(firsts, dest.shape, array.shape, strict=True)
        ]
        inside: list[Any] = [slice(span.stop - span.start) for span in spans]
        array.read(tuple(spans), out=dest[(*inside, ...)])

    return decode


def _damaged_blocks(
    array: ReadableArray, decode: _Decode, whole: Damage, chunk: npt.NDArray[Any]
) -> list[Damage]:
    """Return the blocks of a chunk that cannot be decoded, or the chunk if no block can."""
    found: list[Damage] = []
    number, nblocks = cast("int", whole.chunk), 0
    for nblocks, start in enumerate(_block_starts(array), 1):
        part: list[Any] = [slice(k, k + n) for k, n in zip(start, array.blocks, strict=True)]
        try:
            with items_of(array).reading():
                decode(number, chunk[(*part, ...)], start)
        except (CatervaError, OSError) as error:
            found.append(Damage(whole.where, number, nblocks - 1, str(error)))
    alike = len(found) == nblocks and len({each.message for each in found}) == 1 < nblocks
    return [whole] if alike or not found else found


def _block_starts(array: ReadableArray) -> Iterator[tuple[int, ...]]:
    return product(*(range(0, n, size) for n, size in zip(array.chunks, array.blocks, strict=True)))


def refuse_others(start: bytes, what: str) -> None:
    """Raise for bytes that do not even begin as a frame does."""
    if not begins_as_frame(start):
        seen = f"it begins with {start[:SHOWN]!r}" if start else "it is empty"
        raise FormatError(f"{what} is no Blosc2 frame: {seen}", "not-a-frame")


def header_of(start: bytes, read: Callable[[int], bytes]) -> FrameHeader | None:
    """Return a frame's header; None if it is damaged.

    Raises
    ------
    UnsupportedError
    """
    try:
        return FrameHeader.parse(read(FrameHeader.length_of(start)))
    except FormatError:
        return None


def refuse_lists(header: FrameHeader | None, what: str) -> None:
    """Raise for a frame that is only a list of chunks, and no N-d array."""
    if header is not None and not {B2ND, CATERVA} & header.metalayers.keys():
        raise ArgumentError(
            f"{what} is a Blosc2 frame without a metalayer {B2ND!r}: no N-d array", "wrong-place"
        )


def note_seal(found: Verification, header: FrameHeader | None, what: str) -> None:
    """Count an array as one with checksums, if its seal is closed."""
    if header is not None and header.is_sealed:
        found.checksums.arrays += 1
    elif header is not None and header.seal is not None:
        found.unprotected.append(f"header and metalayers of {what}, which are being changed")
