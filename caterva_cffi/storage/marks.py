"""Marks: what stands beside an array while it is changed in place.

A mark that is left over says that a change was cut off. It belongs to the file, not to a name. It
stands beside the name to which symbolic links lead. A file of several names (hard links) is also
marked by an extended attribute.

Whoever changes a file locks it. Whoever puts another file in its place locks both. So of two who do
this at the same time, one is refused. Locks end with the process: whoever has the lock and finds a
mark knows that the mark is left over.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from caterva_cffi.errors import StorageError

try:
    import fcntl
except ImportError:  # Windows, which does not remove a file that is open
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "ATTRIBUTE",
    "has_attribute",
    "lock",
    "locked",
    "make_mark",
    "mark_of",
    "remove_attribute",
    "remove_mark",
    "set_attribute",
]

ATTRIBUTE = "user.caterva_cffi.changing"


def mark_of(path: str) -> str:
    """Return the path of an array's mark; that of a directory is inside, and moves with it."""
    real = os.path.realpath(path)
    return os.path.join(real, "changing") if os.path.isdir(real) else f"{real}.changing"


def make_mark(mark: str) -> None:
    """Make a mark.

    Raises
    ------
    FileExistsError
    OSError
    """
    os.close(os.open(mark, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


def remove_mark(mark: str) -> None:
    """Remove a mark, if it is there."""
    with suppress(FileNotFoundError, NotADirectoryError):
        os.unlink(mark)


def lock(descriptor: int) -> bool:
    """Lock a file until the descriptor is closed; return False if somebody else has locked it."""
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            pass
    return True


@contextmanager
def locked(path: str) -> Iterator[bool]:
    """Lock the file at a path; yield whether it is locked here, and still at the path.

    Raises
    ------
    OSError
    """
    if fcntl is None:  # on Windows a file that is open is not renamed
        yield True
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        is_mine = lock(descriptor)
        yield is_mine and os.path.samestat(os.fstat(descriptor), os.stat(path))
    finally:
        os.close(descriptor)


def has_attribute(path: str) -> bool:
    """Whether a file is marked for all its names."""
    with suppress(OSError, AttributeError):
        os.getxattr(path, ATTRIBUTE)
        return True
    return False


def set_attribute(path: str) -> None:
    """Mark a file for all its names.

    Raises
    ------
    FileExistsError
        For a file that is marked already.
    StorageError
        If files have no extended attributes there.
    """
    try:
        os.setxattr(path, ATTRIBUTE, b"", os.XATTR_CREATE)
    except FileExistsError:
        raise
    except (OSError, AttributeError) as error:
        raise StorageError(
            f"{path!r} has several names (hard links), and a change cannot be marked for all of "
            f"them here ({error}): change a copy",
            "hard-links",
        ) from error


def remove_attribute(path: str) -> None:
    """Remove the mark that `set_attribute` made."""
    try:
        os.removexattr(path, ATTRIBUTE)
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.ENOENT):
            raise
