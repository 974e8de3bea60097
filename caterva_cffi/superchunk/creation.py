"""New super-chunks. On disk they are written beside their target, and moved when complete."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from caterva_cffi.binding.buffers import as_bytes
from caterva_cffi.binding.compression import Compression
from caterva_cffi.binding.library import check, ffi, lib
from caterva_cffi.errors import ArgumentError, Cause, StorageError
from caterva_cffi.storage.atomic import (
    INDEX_FILE,
    beside,
    check_descriptors,
    check_free,
    discard,
    fs_path,
    move,
)
from caterva_cffi.superchunk.sealing import FileFrame, seal
from caterva_cffi.superchunk.user_metalayers import MOST, MOST_LAYERS, check_name

__all__ = ["Target", "checked_metalayers", "new_super_chunk"]


class Target:
    """Where a new super-chunk will be, and where it is meanwhile.

    Parameters
    ----------
    urlpath : path
    mode : {"x", "w"}
        Whether something that exists there is an error or is replaced.

    Attributes
    ----------
    path : str
        Where it will be.
    temporary : str
        Where it is.

    Raises
    ------
    FileExistsError, FileNotFoundError, StorageError
    """

    def __init__(self, urlpath: Any, mode: str) -> None:
        self.path = fs_path(urlpath)
        self._mode = mode
        check_free(self.path, mode)
        self.temporary = beside(self.path)
        check_descriptors(self.path, "created")

    def take(self, *, contiguous: bool, sealed: bool, mine: bool) -> None:
        """Move the super-chunk, which is complete and closed, to its target.

        Parameters
        ----------
        contiguous : bool
        sealed : bool
            Whether its seal is to be filled in.
        mine : bool
            Whether the caller itself is changing the array that is there.

        Raises
        ------
        FileExistsError, StorageError
        """
        if sealed:
            index = self.temporary if contiguous else os.path.join(self.temporary, INDEX_FILE)
            with open(index, "rb+", buffering=0) as file:
                seal(FileFrame(file))
        move(self.temporary, self.path, self._mode, mine=mine)


def checked_metalayers(meta: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the bytes of metalayers that a super-chunk can have, by name.

    Raises
    ------
    ArgumentError
        For metalayers that do not fit.
    TypeError
    """
    for name in meta:
        check_name(name)
    contents = {name: as_bytes(meta[name], f"metalayer {name!r}") for name in meta}
    if len(meta) > MOST_LAYERS:
        raise ArgumentError(
            f"{len(meta)} metalayers; at most {MOST_LAYERS} are possible",
            Cause("wrong-value", "meta", len(meta), MOST_LAYERS),
        )
    size = sum(map(len, contents.values()))
    if size > MOST:
        raise ArgumentError(
            f"metalayers of {size} bytes; at most {MOST} are possible",
            Cause("wrong-value", "meta", size, MOST),
        )
    return contents


def new_super_chunk(
    compression: Compression,
    itemsize: int,
    blocksize: int,
    contents: Mapping[str, bytes],
    *,
    contiguous: bool,
    target: Target | None,
) -> Any:
    """Return a new `blosc2_schunk *` without chunks, which is freed with it.

    Parameters
    ----------
    compression : Compression
    itemsize, blocksize : int
        Bytes.
    contents : mapping of str to bytes
        Checked metalayers.
    contiguous : bool
    target : Target or None
        None keeps it in memory.

    Raises
    ------
    ArgumentError, StorageError
    """
    cparams = compression.to_cparams(itemsize, blocksize)
    dparams = ffi.new("blosc2_dparams *", {"nthreads": 1})
    storage = ffi.new("blosc2_storage *", lib.blosc2_get_blosc2_storage_defaults())
    storage.cparams, storage.dparams, storage.contiguous = cparams, dparams, contiguous
    if target is not None:
        urlpath = ffi.new("char[]", os.fsencode(target.temporary))
        storage.urlpath = urlpath
    ptr = lib.blosc2_schunk_new(storage)
    if ptr == ffi.NULL:
        if target is None:
            raise ArgumentError(f"C-Blosc2 refuses {compression} for {itemsize}-byte items")
        discard(target.temporary, 0)
        raise StorageError(f"{target.path!r} cannot be created", "unwritable")
    owner = ffi.gc(ptr, lib.blosc2_schunk_free)
    try:
        for name, data in contents.items():
            code = lib.blosc2_meta_add(ptr, check_name(name), data, len(data))
            check(code, f"adding metalayer {name!r}")
    except BaseException:
        ffi.release(owner)
        if target is not None:
            discard(target.temporary, 0)
        raise
    return owner
