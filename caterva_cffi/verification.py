"""Files, buffers and arrays, read whole: what of them is damaged, and what nothing would notice."""

from __future__ import annotations

import os
import re
import stat
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from types import ModuleType
from typing import Any, TypeAlias, cast, overload

import numpy as np
import numpy.typing as npt

from caterva_cffi._ffi import ffi, lib
from caterva_cffi.array import NDArray
from caterva_cffi.buffers import as_bytes
from caterva_cffi.constructors import from_cframe
from caterva_cffi.constructors import open as open_array
from caterva_cffi.errors import (
    ArgumentError,
    CapacityError,
    CatervaError,
    FormatError,
    StorageError,
    UnsupportedError,
)
from caterva_cffi.files import INDEX_FILE
from caterva_cffi.frame import START, FrameHeader, begins_as_frame, length_error
from caterva_cffi.layout import Layout, layout_steps
from caterva_cffi.metalayers import B2ND, CATERVA
from caterva_cffi.params import Filter
from caterva_cffi.plan import run
from caterva_cffi.readable import ReadableArray
from caterva_cffi.remote import RemoteArray
from caterva_cffi.url_secrets import without_secrets

__all__ = [
    "Counts",
    "Damage",
    "Unchecked",
    "Verification",
    "check_frame",
    "verify",
]

_ZARR_FILES = ("zarr.json", ".zarray", ".zgroup")
_ZIP_FILE = b"PK\3\4"
_CHUNK_FILE = re.compile(r"[0-9A-F]{8}\.chunk")
_SHOWN = 11

_Decode: TypeAlias = Callable[[int, npt.NDArray[Any], Sequence[int]], None]
"""Decodes items of a chunk from a position on, as many as the destination holds."""


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


@dataclass(frozen=True)
class Unchecked:
    """Something that was not checked.

    Attributes
    ----------
    where : str
        The file, the object of a Zarr store, or the array.
    reason : str
    """

    where: str
    reason: str


@dataclass
class Counts:
    """How much there is of something.

    Attributes
    ----------
    arrays, chunks, blocks : int
    """

    arrays: int = 0
    chunks: int = 0
    blocks: int = 0

    def __iadd__(self, other: Counts) -> Counts:
        self.arrays += other.arrays
        self.chunks += other.chunks
        self.blocks += other.blocks
        return self

    def __str__(self) -> str:
        return ", ".join(
            _counted(getattr(self, f"{name}s"), name) for name in ("array", "chunk", "block")
        )


def _counted(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"


@dataclass
class Verification(Sequence[Damage]):
    """What `verify` found: a sequence of the damages, and what was checked.

    Without damages it is false, like an empty list. That alone does not mean that what was written
    is there: see `whole`.

    Attributes
    ----------
    source : str
        What was verified: a path, or a description.
    damages : list of Damage
    unreadable : list of Unchecked
        What should have been checked but could not be read: without permission, with codecs or
        metadata that are unknown here, ...
    passed_over : list of Unchecked
        What other programs read: Zarr arrays of other codecs, files that belong to no array.
    checked : Counts
        What was read, damaged or not.
    checksums : Counts
        What of it has checksums, which were compared.
    missing : int
        Chunks of Zarr arrays that are not stored, and are read as the fill value.
    unprotected : list of str
        What was read and could be changed without any checksum telling.
    """

    source: str = ""
    damages: list[Damage] = field(default_factory=list)
    unreadable: list[Unchecked] = field(default_factory=list)
    passed_over: list[Unchecked] = field(default_factory=list)
    checked: Counts = field(default_factory=Counts)
    checksums: Counts = field(default_factory=Counts)
    missing: int = 0
    unprotected: list[str] = field(default_factory=list)

    @overload
    def __getitem__(self, key: int) -> Damage: ...
    @overload
    def __getitem__(self, key: slice) -> Sequence[Damage]: ...
    def __getitem__(self, key: int | slice) -> Damage | Sequence[Damage]:
        return self.damages[key]

    def __len__(self) -> int:
        return len(self.damages)

    @property
    def decodes(self) -> bool:
        """Whether all that was to be checked could be read, and nothing is known to be damaged."""
        return not self.damages and not self.unreadable

    @property
    def whole(self) -> bool:
        """Whether all was read, and all blocks have checksums, which agree."""
        return self.decodes and self.checked.arrays > 0 and self.checked == self.checksums

    @property
    def verdict(self) -> str:
        """The result in some words."""
        if self.damages:
            return f"damaged in {_counted(len(self.damages), 'place')}"
        if self.unreadable:
            return "not all of it can be read"
        return "whole" if self.whole else "decodes"

    @property
    def lines(self) -> list[str]:
        """The result in detail; the last line is the verdict."""
        if not self.checked.arrays:
            checked = "nothing was checked"
        elif self.checked == self.checksums:
            checked = f"checked {self.checked}, all with checksums"
        elif self.checksums == Counts():
            checked = f"checked {self.checked}, none with checksums"
        else:
            checked = f"checked {self.checked}, with checksums {self.checksums}"
        here = f"{self.source}: " if self.source else ""
        return [
            *map(str, self.damages),
            *(f"{place.where}: cannot be read: {place.reason}" for place in self.unreadable),
            *(f"{place.where}: passed over: {place.reason}" for place in self.passed_over),
            f"{here}{checked}",
            *(f"{here}no checksum protects {what}" for what in self.unprotected),
            f"{here}{self.verdict}",
        ]

    def __str__(self) -> str:
        return "\n".join(self.lines)


def verify(source: Any) -> Verification:
    """Read all of an array, find what is damaged, and say what was checked.

    Every block is decoded. Where the array has checksums, that finds every byte that was changed;
    without them it finds what does not decode, or not to as many bytes as it should.

    Parameters
    ----------
    source : str, path-like, buffer, NDArray, RemoteArray or one of zarr's arrays, groups and stores
        A path of a frame, of a sparse directory, or of a Zarr array or group in a directory or a
        zip file; the bytes of a frame; an open array. Of a Zarr group all arrays are read that
        this package's codecs have encoded.

    Returns
    -------
    Verification

    Raises
    ------
    FileNotFoundError, PermissionError, StorageError
    FormatError
        For what is no frame: a text, an empty file, ... What begins as a frame is damaged.
    ArgumentError
        For a directory without an array, a frame without one, and Zarr arrays that no codec of
        this package has encoded.
    UnsupportedError
        For a version of the format that is unknown here.
    ImportError
        For a Zarr array where zarr is not installed.
    TypeError
        For what is neither a path nor a buffer nor an array.
    """
    found = Verification()
    if isinstance(source, (str, os.PathLike)):
        found.source = os.fspath(source)
        _check_path(found, found.source)
    elif isinstance(source, ReadableArray):
        found.source = getattr(source, "urlpath", None) or ""
        found.checked.arrays += 1
        found.checksums.arrays += source.checksum
        _check_array(found, source, found.source)
    elif "zarr" in sys.modules and _zarr_verification().is_zarr(source):
        _zarr_verification().check_node(found, source)
    else:
        _check_buffer(found, source)
    bare = found.checked.blocks - found.checksums.blocks
    if bare or (found.decodes and found.checked.arrays > found.checksums.arrays):
        blocks = f"{_counted(bare, 'block')} and the headers beside them" if bare else "headers"
        found.unprotected.insert(0, f"{blocks}: what was changed and still decodes is not noticed")
    return found


def _zarr_verification() -> ModuleType:
    try:
        from caterva_cffi import zarr_verification
    except ImportError as error:
        raise ImportError(
            f"zarr 3.1.6 or later is needed to verify Zarr arrays: {error}"
        ) from error
    return zarr_verification


# --- files and buffers ------------------------------------------------------------------------


def _check_path(found: Verification, path: str) -> None:
    if "://" in path:
        raise ArgumentError(
            f"{without_secrets(path)!r} is a URL; expected a path, or what was opened: the array "
            "that `open` returns, or an array or group of zarr"
        )
    if os.path.isdir(path):
        names = os.listdir(path)
        if INDEX_FILE in names:
            _check_stored(found, path, os.path.join(path, INDEX_FILE))
        elif any(map(_CHUNK_FILE.fullmatch, names)):
            found.checked.arrays += 1
            found.damages.append(Damage(path, None, None, f"{INDEX_FILE} is missing"))
        elif any(name in names for name in _ZARR_FILES):
            _zarr_verification().check_directory(found, path)
        else:
            raise ArgumentError(f"{path!r} is a directory without a sparse frame or a Zarr array")
        return
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ArgumentError(f"{path!r} is neither a file nor a directory")
    with open(path, "rb") as file:
        start = file.read(START)
    if start.startswith(_ZIP_FILE):
        _zarr_verification().check_zip(found, path)
    else:
        _refuse_others(start, repr(path))
        _check_stored(found, path, path)


def _check_stored(found: Verification, path: str, index: str) -> None:
    """Check a frame in a file, or in a sparse directory."""
    with open(index, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(START)
        header = _header(start, lambda length: start + file.read(max(length - START, 0)))
    _refuse_lists(header, repr(path))
    found.checked.arrays += 1
    wrong = length_error(start, size)
    if wrong is not None:
        found.damages.append(Damage(path, None, None, wrong))
        return
    try:
        array = cast("NDArray", open_array(path, mode="r"))
    except FormatError as error:
        # C-Blosc2 does not open a sparse frame whose first chunk is gone.
        gone = _missing_chunks(path) if path != index else []
        found.damages += gone or [Damage(path, None, None, str(error))]
        return
    with array:
        _note_seal(found, header, path)
        _check_array(found, array, path)
    if path != index:
        _check_chunk_files(found, path)


def _check_buffer(found: Verification, buffer: Any) -> None:
    try:
        view = ffi.buffer(as_bytes(buffer, "source"))
    except TypeError:
        raise TypeError(
            f"source is {type(buffer).__name__}; expected a path, a buffer, an array, or a group "
            "or store of zarr"
        ) from None
    _refuse_others(view[:START], "the buffer")
    _refuse_lists(_header(view[:START], lambda length: view[:length]), "the buffer")
    found.checked.arrays += 1
    header = check_frame(found, buffer, "")
    if header is not None:
        _note_seal(found, header, "the buffer")


def _refuse_others(start: bytes, what: str) -> None:
    """Raise for what does not even begin as a frame does."""
    if not begins_as_frame(start):
        seen = f"it begins with {start[:_SHOWN]!r}" if start else "it is empty"
        raise FormatError(f"{what} is no Blosc2 frame: {seen}")


def _header(start: bytes, read: Callable[[int], bytes]) -> FrameHeader | None:
    """Return a frame's header; None where it is damaged.

    Raises
    ------
    UnsupportedError
    """
    try:
        return FrameHeader.parse(read(FrameHeader.length_of(start)))
    except FormatError:
        return None


def _refuse_lists(header: FrameHeader | None, what: str) -> None:
    """Raise for a frame that is a list of chunks, and no N-d array."""
    if header is not None and not {B2ND, CATERVA} & header.metalayers.keys():
        raise ArgumentError(f"{what} is a Blosc2 frame without a metalayer {B2ND!r}: no N-d array")


def _note_seal(found: Verification, header: FrameHeader | None, what: str) -> None:
    """Count an array as one with checksums, if those of its header are up to date."""
    if header is not None and header.is_sealed:
        found.checksums.arrays += 1
    elif header is not None and header.seal is not None:
        found.unprotected.append(f"header and metalayers of {what}, which are being changed")


def _layout(path: str) -> Layout:
    """Return the layout of a sparse frame."""
    with open(os.path.join(path, INDEX_FILE), "rb") as file:
        index = file.read()
    steps = layout_steps(len(index), len(index))
    return run(steps, lambda ranges: [index[start:stop] for start, stop in ranges])


def _chunk_files(path: str) -> dict[int, str]:
    """Return the names of a sparse frame's files by the numbers of chunks."""
    offsets = enumerate(_layout(path).offsets.tolist())
    return {number: f"{offset:08X}.chunk" for number, offset in offsets if offset >= 0}


def _missing_chunks(path: str) -> list[Damage]:
    try:
        files = _chunk_files(path)
    except CatervaError:
        return []
    return [
        Damage(path, number, None, f"chunk {number}: {name} is missing")
        for number, name in files.items()
        if not os.path.exists(os.path.join(path, name))
    ]


def _check_chunk_files(found: Verification, path: str) -> None:
    """Find files that are longer than their chunks, and those that no chunk is in."""
    files = _chunk_files(path)
    for number, name in files.items():
        place = os.path.join(path, name)
        if any(damage.chunk == number for damage in found.damages) or not os.path.exists(place):
            continue
        with open(place, "rb") as file:
            (length,) = struct.unpack_from("<i", file.read(START), 12)
            size = os.fstat(file.fileno()).st_size
        if size != length:
            behind = f"chunk {number}: {name} has {size - length} bytes behind the chunk's {length}"
            found.damages.append(Damage(path, number, None, behind))
    for name in sorted(set(filter(_CHUNK_FILE.fullmatch, os.listdir(path))) - {*files.values()}):
        found.passed_over.append(
            Unchecked(os.path.join(path, name), "no chunk of the array is in this file")
        )


# --- frames and arrays ------------------------------------------------------------------------


def check_frame(
    found: Verification, frame: Any, where: str, *, decoded: bool = False
) -> FrameHeader | None:
    """Check a frame in memory.

    Parameters
    ----------
    found : Verification
        Gets what is found, but no arrays.
    frame : object with the buffer protocol
    where : str
        For the damage.
    decoded : bool
        Whether all items are known to decode. Then only what holds none is looked at.

    Returns
    -------
    FrameHeader or None
        None where it cannot be opened.

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
    _check_array(found, array, where, decoded=decoded and array.nchunks <= 1)
    return _header(view[:START], lambda length: view[:length])


def _check_array(
    found: Verification, array: ReadableArray, where: str, *, decoded: bool = False
) -> None:
    """Check an array that could be opened."""
    size = Counts(0, array.nchunks, array.nchunks * array._grid.nblocks)
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
        _note(found, error, array, Damage(where, None, None, str(error)))


def _check_chunks(found: Verification, array: ReadableArray, where: str) -> None:
    decode = _decoder(array)
    chunk = np.empty(array.chunks, array.dtype)
    first = len(found.damages)
    for number in range(array.nchunks):
        try:
            with array._reading():
                decode(number, chunk, (0,) * array.ndim)
        except (CatervaError, OSError, MemoryError) as error:
            whole = Damage(where, number, None, str(error))
            if _is_damage(error, array) and not isinstance(error, StorageError):
                found.damages += _damaged_blocks(array, decode, whole, chunk)
            else:
                _note(found, error, array, whole)
    damages = found.damages[first:]
    if len(damages) == array.nchunks > 1 and len({damage.message for damage in damages}) == 1:
        found.damages[first:] = [replace(damages[0], chunk=None, block=None)]


def _note(found: Verification, error: BaseException, array: ReadableArray, place: Damage) -> None:
    """Note an error as damage, or as what could not be read."""
    if _is_damage(error, array):
        found.damages.append(place)
    else:
        found.unreadable.append(Unchecked(place.where, place.message or type(error).__name__))


def _is_damage(error: BaseException, array: ReadableArray) -> bool:
    """Whether an error says that bytes are not what was written."""
    if isinstance(error, StorageError):
        return isinstance(error.__cause__, FileNotFoundError)  # a chunk's file
    # Where all that an array names is here, it is the bytes that are wrong.
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
    if isinstance(array, NDArray):
        return array._decode_chunk

    def decode(number: int, dest: npt.NDArray[Any], start: Sequence[int]) -> None:
        """Read what lies inside the array."""
        at = np.unravel_index(number, array._grid.chunk_grid)
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
    """Return the blocks of a chunk that cannot be decoded, or the chunk if none of them can."""
    found: list[Damage] = []
    number, nblocks = cast("int", whole.chunk), 0
    for nblocks, start in enumerate(_block_starts(array), 1):
        part: list[Any] = [slice(k, k + n) for k, n in zip(start, array.blocks, strict=True)]
        try:
            with array._reading():
                decode(number, chunk[(*part, ...)], start)
        except (CatervaError, OSError) as error:
            found.append(Damage(whole.where, number, nblocks - 1, str(error)))
    alike = len(found) == nblocks and len({each.message for each in found}) == 1 < nblocks
    return [whole] if alike or not found else found


def _block_starts(array: ReadableArray) -> Iterator[tuple[int, ...]]:
    return product(*(range(0, n, size) for n, size in zip(array.chunks, array.blocks, strict=True)))
