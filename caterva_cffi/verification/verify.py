"""`verify`: files, buffers and arrays are read whole, to find what is damaged."""

from __future__ import annotations

import os
import re
import stat
import sys
from types import ModuleType
from typing import Any, cast

from caterva_cffi.arrays.ndarray import NDArray
from caterva_cffi.arrays.opening import open as open_array
from caterva_cffi.arrays.readable import ReadableArray
from caterva_cffi.arrays.zarr_array import ZarrArray
from caterva_cffi.binding.buffers import as_bytes
from caterva_cffi.binding.library import ffi
from caterva_cffi.errors import ArgumentError, ArgumentTypeError, CatervaError, Cause, FormatError
from caterva_cffi.format.chunk_header import cbytes_of
from caterva_cffi.format.frame_start import START, length_error
from caterva_cffi.format.offsets import chunk_file
from caterva_cffi.planning.layout import Layout, layout_steps
from caterva_cffi.steps import run
from caterva_cffi.storage.atomic import INDEX_FILE
from caterva_cffi.storage.url_secrets import without_secrets
from caterva_cffi.verification.frames import (
    check_array,
    check_frame,
    header_of,
    note_seal,
    refuse_lists,
    refuse_others,
)
from caterva_cffi.verification.report import Damage, Unchecked, Verification, counted

__all__ = ["verify"]

_ZARR_FILES = ("zarr.json", ".zarray", ".zgroup")
_ZIP_FILE = b"PK\3\4"
_CHUNK_FILE = re.compile(r"[0-9A-F]{8}\.chunk")


def verify(source: Any) -> Verification:
    """Read all of an array, find what is damaged, and say what was checked.

    Every block is decoded. If the array has checksums, that finds every byte that was changed.
    Without them, it finds blocks that do not decode, or not to the right number of bytes.

    Parameters
    ----------
    source : str, path-like, buffer, any array of this package, or an array, group or store of zarr
        A path of a frame, of a sparse directory, or of a Zarr array or group in a directory or a
        zip file; the bytes of a frame; an open array. Of a Zarr group, all arrays with this
        package's codecs are read.

    Returns
    -------
    Verification

    Raises
    ------
    FileNotFoundError, PermissionError, StorageError
    FormatError
        For what is no frame: a text, an empty file, ... But if it begins as a frame, the frame is
        reported as damaged.
    ArgumentError
        For a directory or a frame without an array, and for Zarr arrays of other codecs only.
    UnsupportedError
        For a version of the format that is unknown here.
    ImportError
        For a Zarr array, if zarr is not installed.
    TypeError
        For what is neither a path nor a buffer nor an array.

    Examples
    --------
    >>> _ = cat.asarray(data, urlpath="a.b2nd", contiguous=True, checksum=True)
    >>> print(cat.verify("a.b2nd"))
    a.b2nd: checked 1 array, 1 chunk, 1 block, all with checksums
    a.b2nd: whole
    """
    found = Verification()
    if isinstance(source, (str, os.PathLike)):
        found.source = os.fspath(source)
        _check_path(found, found.source)
    elif isinstance(source, ZarrArray):
        _check_zarr_array(found, source)
    elif isinstance(source, ReadableArray):
        found.source = getattr(source, "urlpath", None) or ""
        found.checked.arrays += 1
        found.checksums.arrays += source.checksum
        check_array(found, source, found.source)
    elif "zarr" in sys.modules and _zarr_arrays().is_zarr(source):
        _zarr_arrays().check_node(found, source)
    else:
        _check_buffer(found, source)
    bare = found.checked.blocks - found.checksums.blocks
    if bare or (found.decodes and found.checked.arrays > found.checksums.arrays):
        blocks = f"{counted(bare, 'block')} and the headers beside them" if bare else "headers"
        found.unprotected.insert(0, f"{blocks}: what was changed and still decodes is not noticed")
    return found


def _zarr_arrays() -> ModuleType:
    try:
        from caterva_cffi.verification import zarr_arrays
    except ImportError as error:
        raise ImportError(
            f"zarr 3.1.6 or later is needed to verify Zarr arrays: {error}"
        ) from error
    return zarr_arrays


def _check_zarr_array(found: Verification, array: ZarrArray) -> None:
    """Let zarr read an array that it wrote, since it knows other codecs too."""
    if not os.path.isdir(array.urlpath):
        raise ArgumentError(
            f"{array!r} is no local directory; open it by zarr, and give zarr's array", "only-local"
        )
    found.source = array.urlpath
    _check_path(found, array.urlpath)


# --- files and buffers ------------------------------------------------------------------------


def _check_path(found: Verification, path: str) -> None:
    if "://" in path:
        raise ArgumentError(
            f"{without_secrets(path)!r} is a URL; expected a path, or what was opened: the array "
            "that `open` returns, or an array or group of zarr",
            Cause("wrong-place", "source"),
        )
    if os.path.isdir(path):
        names = os.listdir(path)
        if INDEX_FILE in names:
            _check_stored(found, path, os.path.join(path, INDEX_FILE))
        elif any(map(_CHUNK_FILE.fullmatch, names)):
            found.checked.arrays += 1
            found.damages.append(Damage(path, None, None, f"{INDEX_FILE} is missing"))
        elif any(name in names for name in _ZARR_FILES):
            _zarr_arrays().check_directory(found, path)
        else:
            raise ArgumentError(
                f"{path!r} is a directory without a sparse frame or a Zarr array",
                Cause("wrong-place", "source", path),
            )
        return
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ArgumentError(
            f"{path!r} is neither a file nor a directory", Cause("wrong-place", "source", path)
        )
    with open(path, "rb") as file:
        start = file.read(START)
    if start.startswith(_ZIP_FILE):
        _zarr_arrays().check_zip(found, path)
    else:
        refuse_others(start, repr(path))
        _check_stored(found, path, path)


def _check_stored(found: Verification, path: str, index: str) -> None:
    """Check a frame in a file, or in a sparse directory."""
    with open(index, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(START)
        header = header_of(start, lambda length: start + file.read(max(length - START, 0)))
    refuse_lists(header, repr(path))
    found.checked.arrays += 1
    wrong = length_error(start, size)
    if wrong is not None:
        found.damages.append(Damage(path, None, None, wrong))
        return
    try:
        array = cast("NDArray", open_array(path, mode="r"))
    except FormatError as error:
        # C-Blosc2 does not open a sparse frame whose first chunk is missing.
        gone = _missing_chunks(path) if path != index else []
        found.damages += gone or [Damage(path, None, None, str(error))]
        return
    with array:
        note_seal(found, header, path)
        check_array(found, array, path)
    if path != index:
        _check_chunk_files(found, path)


def _check_buffer(found: Verification, buffer: Any) -> None:
    try:
        view = ffi.buffer(as_bytes(buffer, "source"))
    except TypeError:
        raise ArgumentTypeError(
            f"source is {type(buffer).__name__}; expected a path, a buffer, an array, or a group "
            "or store of zarr",
            Cause("wrong-type", "source", type(buffer).__name__),
        ) from None
    refuse_others(view[:START], "the buffer")
    refuse_lists(header_of(view[:START], lambda length: view[:length]), "the buffer")
    found.checked.arrays += 1
    header = check_frame(found, buffer, "")
    if header is not None:
        note_seal(found, header, "the buffer")


def _layout(path: str) -> Layout:
    """Return the layout of a sparse frame."""
    with open(os.path.join(path, INDEX_FILE), "rb") as file:
        index = file.read()
    steps = layout_steps(len(index), len(index))
    return run(steps, lambda ranges: [index[start:stop] for start, stop in ranges])


def _chunk_files(path: str) -> dict[int, str]:
    """Return the names of a sparse frame's files by the numbers of chunks."""
    offsets = enumerate(_layout(path).offsets.tolist())
    return {number: chunk_file(offset) for number, offset in offsets if offset >= 0}


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
    """Find files that are longer than their chunks, and files that belong to no chunk."""
    files = _chunk_files(path)
    for number, name in files.items():
        place = os.path.join(path, name)
        if any(damage.chunk == number for damage in found.damages) or not os.path.exists(place):
            continue
        with open(place, "rb") as file:
            length = cbytes_of(file.read(START))
            size = os.fstat(file.fileno()).st_size
        if size != length:
            behind = f"chunk {number}: {name} has {size - length} bytes behind the chunk's {length}"
            found.damages.append(Damage(path, number, None, behind))
    for name in sorted(set(filter(_CHUNK_FILE.fullmatch, os.listdir(path))) - {*files.values()}):
        found.passed_over.append(
            Unchecked(os.path.join(path, name), "no chunk of the array is in this file")
        )


# --- frames and arrays ------------------------------------------------------------------------
