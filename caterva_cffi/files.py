"""Files and directories of arrays: new ones appear complete, cut-off changes are noticed.

What is written as a whole is written beside its place and then renamed, so that a crash leaves
the old or the new. What is changed in place has a mark beside it meanwhile; one that is left
behind says that the data cannot be trusted.

Modules that take long to import, and that few calls need, are imported by those.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from caterva_cffi.errors import ArgumentError, StorageError

__all__ = [
    "INDEX_FILE",
    "Mark",
    "beside",
    "check_free",
    "check_unmarked",
    "fs_path",
    "move",
    "remove",
    "write_file",
]

INDEX_FILE = "chunks.b2frame"  # what a sparse directory must have

_AT_ONCE = 16  # files that are waited for


def fs_path(urlpath: Any) -> str:
    """Return a path as a string that C can open.

    Raises
    ------
    ArgumentError
        For a path with an embedded NUL.
    TypeError
        For something that is no path.
    """
    path = os.fsdecode(urlpath)
    if "\0" in path:
        raise ArgumentError(f"path {path!r} has an embedded NUL")
    return path


def remove(urlpath: str | os.PathLike[str]) -> None:
    """Remove an array's file or directory, if there is one.

    Parameters
    ----------
    urlpath : str or path-like

    Raises
    ------
    IsADirectoryError
        For a directory that holds other things than an array.
    """
    path = fs_path(urlpath)
    _check_removable(path)
    if os.path.isdir(path) and not os.path.islink(path):
        import shutil

        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.remove(path)
        _forget_mark(path)


def _check_removable(path: str) -> None:
    if not os.path.isdir(path) or os.path.islink(path) or not os.listdir(path):
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
        raise ArgumentError(f"mode is {mode!r}; expected 'x' (create) or 'w' (overwrite)")
    if mode == "x" and os.path.lexists(path):
        raise FileExistsError(f"{path!r} exists; remove it, or overwrite it with mode='w'")
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{path!r} cannot be created: no directory {folder!r}")
    _check_removable(path)


# --- written as a whole -----------------------------------------------------------------------


def beside(path: str) -> str:
    """Return a path for something that is written before it takes the given one."""
    folder, name = os.path.split(os.path.abspath(path))
    return os.path.join(folder, f".{name[:32]}.{os.urandom(8).hex()}")


def move(temporary: str, path: str, mode: str) -> None:
    """Let what was written beside a path take it, once it is on the disk.

    Parameters
    ----------
    temporary : str
        File or directory, closed; gone afterwards, but for an error.
    path : str
    mode : {"x", "w"}
        Whether something that exists is an error or is replaced.
    """
    _synchronize(temporary)
    check_free(path, mode)
    path = os.path.abspath(path)  # of a directory, without the slash behind it
    if os.path.isdir(temporary) or (os.path.isdir(path) and not os.path.islink(path)):
        _move_directory(temporary, path)
    elif mode == "x":
        _move_exclusively(temporary, path)
    else:
        os.replace(temporary, path)
        _forget_mark(path)
    with suppress(OSError):  # directories that cannot be opened; the rename is complete without it
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
    _forget_mark(path)


def _move_directory(temporary: str, path: str) -> None:
    if not os.path.lexists(path):
        os.rename(temporary, path)
    elif _exchange(temporary, path):
        remove(temporary)
    else:
        old = beside(path)
        os.rename(path, old)
        os.rename(temporary, path)
        remove(old)
    _forget_mark(path)


def _exchange(first: str, second: str) -> bool:
    """Let two paths change places in one step, where the system can."""
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

        # File systems write what is waited for at the same time in one go.
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(_synchronize_one, (entry.path for entry in os.scandir(path))))
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
    file = open(temporary, "xb")  # noqa: SIM115, closed below
    try:
        with file:
            file.write(frame)
        move(temporary, path, mode)
    except BaseException:
        with suppress(FileNotFoundError):
            remove(temporary)
        raise


# --- changed in place -------------------------------------------------------------------------


def _mark_of(path: str) -> str:
    """Return the path of the mark, which a directory takes with it where it is moved."""
    return os.path.join(path, "changing") if os.path.isdir(path) else f"{path}.changing"


def _forget_mark(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(_mark_of(path))


def check_unmarked(path: str) -> None:
    """Raise where an array is being changed, or a change of it was cut off.

    Raises
    ------
    StorageError
    """
    mark = _mark_of(path)
    if os.path.lexists(mark):
        raise StorageError(
            f"{path!r} is being changed, or a change was cut off and its data may be damaged: "
            f"then write it anew, or remove {mark!r} to read what there is"
        )


class Mark:
    """What stands beside an array while it is changed in place.

    Parameters
    ----------
    path : str
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._depth = 0
        self.broken = False
        """Whether a change failed on its way; the mark then stays."""

    @property
    def held(self) -> bool:
        """Whether a change is going on, in this process."""
        return self._depth > 0

    @contextmanager
    def set(self) -> Iterator[None]:
        """Stand beside the array for the time of a change.

        Raises
        ------
        StorageError
            For a mark of another change, or an array that is gone.
        """
        if self._depth == 0:
            self._create()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0 and not self.broken:
                _forget_mark(self.path)

    def _create(self) -> None:
        if not os.path.exists(self.path):
            raise StorageError(f"{self.path!r} is gone")
        try:
            os.close(os.open(_mark_of(self.path), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except FileExistsError:
            check_unmarked(self.path)
            raise
        except OSError as error:
            raise StorageError(f"{self.path!r} cannot be changed: {error}") from error
