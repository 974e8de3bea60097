"""Files and directories of arrays that are written as a whole.

They are written beside their place and then renamed: a crash leaves the old array or the new one.

Modules that take long to import are imported by the few calls that need them.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from typing import Any

from caterva_cffi.errors import ArgumentError, Cause, StorageError
from caterva_cffi.format.offsets import chunk_file
from caterva_cffi.keywords import unknown_name
from caterva_cffi.storage.marks import locked, mark_of, remove_mark
from caterva_cffi.storage.url_secrets import without_secrets

__all__ = [
    "INDEX_FILE",
    "beside",
    "check_descriptors",
    "check_free",
    "discard",
    "disk_errors",
    "fs_path",
    "move",
    "remove",
    "write_file",
]

INDEX_FILE = "chunks.b2frame"  # what a sparse directory must have

_AT_ONCE = 16  # files that are synchronized at the same time
_FOR_A_FILE = 3  # descriptors that C-Blosc2 takes
_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)


def fs_path(urlpath: Any) -> str:
    """Return a path as a string that C can open.

    Raises
    ------
    ArgumentError
        For a path with an embedded NUL, or a URL.
    TypeError
        For something that is no path.
    """
    path = os.fsdecode(urlpath)
    if "\0" in path:
        raise ArgumentError(
            f"path {path!r} has an embedded NUL", Cause("wrong-place", "path", path)
        )
    if "://" in path:
        raise ArgumentError(
            f"{without_secrets(path)!r} is a URL; expected a local path",
            Cause("wrong-place", "path", without_secrets(path)),
        )
    return path


@contextmanager
def disk_errors(path: str, what: str) -> Iterator[None]:
    """Turn errors of the system into `StorageError`, if Python has no class for them.

    Raises
    ------
    StorageError
        For EIO, ENOSPC, EMFILE, ...
    """
    try:
        yield
    except OSError as error:
        if type(error) is not OSError or error.errno is None:
            raise
        raise StorageError(f"{path!r} cannot be {what}: {error}", "unwritable") from error


def remove(urlpath: str | os.PathLike[str]) -> None:
    """Remove an array's file or directory, if there is one.

    Parameters
    ----------
    urlpath : str or path-like

    Raises
    ------
    IsADirectoryError
        For a directory that holds something that is not an array's.
    StorageError
        For an array that is being changed.

    Examples
    --------
    >>> _ = cat.asarray(data, urlpath="a.b2nd", contiguous=True)
    >>> cat.remove("a.b2nd")
    >>> cat.asarray(data, urlpath="a.b2nd", contiguous=True).shape
    (4, 6)
    """
    path = fs_path(urlpath)
    _check_removable(path)
    with disk_errors(path, "removed"), _alone(path):
        _discard(path)


@contextmanager
def _alone(path: str) -> Iterator[None]:
    """Keep others from changing an array while another one takes its place.

    Raises
    ------
    StorageError
        For an array that is being changed. If a change was cut off, that is no error.
    """
    index = _index_of(path)
    # Only the name of a link is replaced. Other things may be no files, or not readable.
    if os.path.islink(path) or not os.path.isfile(index) or not os.access(index, os.R_OK):
        yield
        return
    with locked(index) as is_idle:
        if not is_idle:
            raise StorageError(f"{path!r} is being changed or replaced by another handle", "in-use")
        yield


def _index_of(path: str) -> str:
    return os.path.join(path, INDEX_FILE) if os.path.isdir(path) else path


def discard(path: str, nchunks: int) -> None:
    """Remove an array that was not completed, even if no descriptor is left to list its directory.

    Parameters
    ----------
    path : str
    nchunks : int
        How many chunks were added.
    """
    try:
        _discard(path)
    except OSError as error:
        if error.errno not in _NO_DESCRIPTOR:
            raise
        for name in (INDEX_FILE, *(chunk_file(number) for number in range(nchunks + 1))):
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(path, name))
        os.rmdir(path)


def check_descriptors(path: str, what: str) -> None:
    """Raise if there are fewer descriptors than C-Blosc2 takes for a file.

    If it ran out of them in the middle of a new file, it would leave the others open.

    Raises
    ------
    StorageError
    """
    with ExitStack() as stack, disk_errors(path, what):
        for _ in range(_FOR_A_FILE):
            stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))


def _discard(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        import shutil

        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.remove(path)
        remove_mark(mark_of(path))


def _check_removable(path: str) -> None:
    if not os.path.isdir(path) or os.path.islink(path):
        return
    with disk_errors(path, "read"):
        if not os.listdir(path):
            return
    if not os.path.exists(os.path.join(path, INDEX_FILE)):
        raise IsADirectoryError(f"{path!r} is a directory without a sparse frame in it; kept")


def check_free(path: str, mode: str) -> None:
    """Raise unless an array may be created at a path.

    Parameters
    ----------
    path : str
    mode : {"x", "w"}
        Whether something that exists is an error or is replaced.
    """
    if mode not in ("x", "w"):
        raise unknown_name("mode", mode, "xw", "'x' (create) or 'w' (overwrite)")
    if mode == "x" and os.path.lexists(path):
        raise FileExistsError(f"{path!r} exists; remove it, or overwrite it with mode='w'")
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{path!r} cannot be created: no directory {folder!r}")
    _check_removable(path)


def beside(path: str) -> str:
    """Return a path beside the given one, for an array that takes the given one when complete."""
    folder, name = os.path.split(os.path.abspath(path))
    return os.path.join(folder, f".{name[:32]}.{os.urandom(8).hex()}")


def move(temporary: str, path: str, mode: str, *, mine: bool = False) -> None:
    """Wait until a file or directory is on the disk; then move it to a path.

    Parameters
    ----------
    temporary : str
        File or directory, closed. Afterwards it is gone, unless there was an error.
    path : str
    mode : {"x", "w"}
        Whether something that exists is an error or is replaced.
    mine : bool
        Whether the caller itself is changing the old array.

    Raises
    ------
    FileExistsError, FileNotFoundError
    StorageError
        If another handle is changing the old array.
    """
    _synchronize(temporary)
    check_free(path, mode)
    path = os.path.abspath(path)  # without a slash at the end
    marks = [] if os.path.islink(path) else [mark_of(path)]
    with nullcontext() if mine else _alone(path), locked(_index_of(temporary)):
        if os.path.isdir(temporary) or (os.path.isdir(path) and not os.path.islink(path)):
            _move_directory(temporary, path)
        elif mode == "x":
            _move_exclusively(temporary, path)
        else:
            os.replace(temporary, path)
        if not mine:
            for mark in (*marks, mark_of(path)):
                remove_mark(mark)
    with suppress(OSError):  # some directories cannot be opened; the rename is complete anyhow
        _synchronize_one(os.path.dirname(path))


def _move_exclusively(temporary: str, path: str) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise FileExistsError(
            f"{path!r} exists; remove it, or overwrite it with mode='w'"
        ) from None
    except OSError:  # a file system without links
        os.replace(temporary, path)
    else:
        os.unlink(temporary)


def _move_directory(temporary: str, path: str) -> None:
    if not os.path.lexists(path):
        os.rename(temporary, path)
    elif _exchange(temporary, path):
        _discard(temporary)
    else:
        old = beside(path)
        os.rename(path, old)
        os.rename(temporary, path)
        _discard(old)


def _exchange(first: str, second: str) -> bool:
    """Exchange two paths in one step, if the system can; return whether it did."""
    import ctypes

    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    try:
        rename = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    done: int = rename(here, os.fsencode(first), here, os.fsencode(second), exchange)
    return done == 0


def _synchronize(path: str) -> None:
    """Wait until a file, or a directory with its files, is on the disk."""
    if os.path.isdir(path):
        from concurrent.futures import ThreadPoolExecutor

        # File systems write files together that are synchronized at the same time.
        names = [os.path.join(path, name) for name in os.listdir(path)]
        try:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                list(pool.map(_synchronize_one, names))
        except OSError as error:
            if error.errno not in _NO_DESCRIPTOR:
                raise
            for name in names:
                _synchronize_one(name)
    if os.name == "posix" or not os.path.isdir(path):
        _synchronize_one(path)


def _synchronize_one(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(urlpath: str | os.PathLike[str], frame: Any, mode: str) -> None:
    """Write a frame to a file, so that a crash leaves the old file or the new one.

    Parameters
    ----------
    urlpath : str or path-like
    frame : object with the buffer protocol
    mode : {"x", "w"}
        Whether a file that exists is an error or is replaced.
    """
    path = fs_path(urlpath)
    check_free(path, mode)
    temporary = beside(path)
    with disk_errors(path, "written"):
        file = open(temporary, "xb")  # noqa: SIM115, closed below
        try:
            with file:
                file.write(frame)
            move(temporary, path, mode)
        except BaseException:
            with suppress(FileNotFoundError):
                remove(temporary)
            raise
