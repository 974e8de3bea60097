"""Frames that C-Blosc2 opens, once what it would believe unseen was checked."""

from __future__ import annotations

import os
import stat
from typing import Any

from caterva_cffi.binding.library import ffi, lib
from caterva_cffi.errors import Cause, FormatError, named
from caterva_cffi.format.frame_checks import check_header_room, check_offsets_chunk
from caterva_cffi.format.frame_header import HEADER_MIN
from caterva_cffi.format.frame_start import (
    START,
    begins_as_frame,
    frame_length,
    length_error,
)
from caterva_cffi.format.seal import LAYER, OPEN_SEAL
from caterva_cffi.storage.atomic import INDEX_FILE, check_descriptors
from caterva_cffi.storage.stored import Stored, Version, settled_version_of
from caterva_cffi.superchunk.sealing import FileFrame, MemoryFrame, check_seal
from caterva_cffi.superchunk.stored_frames import check_stored
from caterva_cffi.superchunk.user_metalayers import layers_of

__all__ = ["index_of", "load_frame", "open_frame", "open_stored"]

_NBYTES, _CBYTES = slice(30, 38), 39  # in a frame's header


def index_of(path: str) -> str:
    """Return the file with header and offsets of what is stored at a path.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
    FormatError
        For what is no regular file.
    """
    index = os.path.join(path, INDEX_FILE) if os.path.isdir(path) else path
    if index != path and not os.path.exists(index):
        raise IsADirectoryError(f"{path!r} is a directory without a sparse frame in it")
    if not stat.S_ISREG(os.stat(index).st_mode):  # to open others may take for ever
        raise FormatError(f"{path!r} is no Blosc2 frame: it is no regular file", "not-a-frame")
    return index


def open_stored(stored: Stored) -> tuple[Any, Version | None]:
    """Return a `blosc2_schunk *` for what is stored now, and the file's version.

    Raises
    ------
    FormatError
        For a file that is no frame.
    StorageError
        For one that cannot be read, or was changed meanwhile.
    """
    with stored.unchanged() as status, open(stored.index, "rb", buffering=0) as file:
        frame, path = FileFrame(file), stored.real
        try:
            check_header_room(frame.read(0, 16), status)
            check_stored(frame.read, frame.size, path)
        except FormatError as error:
            raise _refusal(repr(stored.path), frame.read(0, START), frame.size, error) from None
        ptr = lib.blosc2_schunk_open(os.fsencode(path))
        if ptr == ffi.NULL:
            check_descriptors(path, "opened")  # which would explain it
            raise _refusal(repr(stored.path), frame.read(0, START), frame.size)
        owner = ffi.gc(ptr, lib.blosc2_schunk_free)
        _unseal(owner, frame)
    return owner, settled_version_of(status)


def open_frame(data: Any, *, copy: bool) -> Any:
    """Return a `blosc2_schunk *` for a frame in memory, which is freed with it.

    Parameters
    ----------
    data : cdata
        The frame. Without a copy it has to live as long.
    copy : bool

    Raises
    ------
    FormatError
        For bytes that are no frame.
    """
    size = len(data)
    view = ffi.buffer(data)
    try:
        check_offsets_chunk(lambda start, stop: view[start:stop], size)
    except FormatError as error:
        raise _refusal(f"{size} bytes", view[:START], size, error, "that are") from None
    ptr = load_frame(data, size, copy=copy)
    if ptr == ffi.NULL:
        raise _refusal(f"{size} bytes", view[:START], size, verb="that are")
    owner = ffi.gc(ptr, lib.blosc2_schunk_free)
    _unseal(owner, MemoryFrame(view))
    return owner


def _refusal(
    what: str, start: bytes, size: int, error: FormatError | None = None, verb: str = "is"
) -> FormatError:
    """Return the error for what is no whole frame: it is something else, cut off, or damaged."""
    said, length = f"{what} {verb} no Blosc2 frame", frame_length(start)
    if length is not None and size < length:
        return FormatError(
            f"{said}: {length_error(start, size)}", Cause("cut-off", None, size, length)
        )
    if error is not None:
        return named(error, said)
    return FormatError(said, "damaged" if begins_as_frame(start) else "not-a-frame")


def load_frame(data: Any, size: int, *, copy: bool) -> Any:
    """Return the `blosc2_schunk *` in a frame that was checked; NULL where it is none."""
    pointer = data
    if copy:
        memory = lib.malloc(max(size, 1))
        if memory == ffi.NULL:
            raise MemoryError(f"no memory for a frame of {size} bytes")
        ffi.memmove(memory, data, size)
        pointer = ffi.cast("uint8_t *", memory)
        if size >= HEADER_MIN and not any(ffi.buffer(pointer, size)[_NBYTES]):
            # A frame that lost all its chunks may still say that they take bytes. C-Blosc2 would
            # leave as many bytes free before the next chunk.
            ffi.memmove(pointer + _CBYTES, bytes(8), 8)
    ptr = lib.blosc2_schunk_from_buffer(pointer, size, False)
    if ptr != ffi.NULL:
        # A frame in memory of our own may grow; one in the user's memory must be left alone.
        lib.blosc2_schunk_avoid_cframe_free(ptr, not copy)
    elif copy:
        lib.free(pointer)
    return ptr


def _unseal(ptr: Any, frame: FileFrame | MemoryFrame) -> None:
    """Compare a frame with its checksums, and open the seal in C-Blosc2's copy of the header.

    C-Blosc2 writes that copy with each change, after which the checksums in it would be wrong.

    Raises
    ------
    FormatError
    """
    layer = layers_of(ptr).get(LAYER)
    if layer is not None:
        check_seal(frame)
        ffi.memmove(layer.content, OPEN_SEAL, min(layer.content_len, len(OPEN_SEAL)))
