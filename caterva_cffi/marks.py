"""Marks: what stands by an array while it is changed in place.

A mark that is left behind says that a change was cut off. It belongs to the file, not to a name:
it stands beside the name to which symbolic links lead, and a file of several names (hard links) has
it among its extended attributes too. Whoever is at work holds a lock on the mark, which ends with
the process at the latest.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from caterva_cffi.errors import StorageError

try:
    import fcntl
except ImportError:  # of systems where a file that is open is not removed
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "ATTRIBUTE",
    "check_idle",
    "forget_mark",
    "has_attribute",
    "mark_of",
    "marked",
    "remove_attribute",
    "set_attribute",
]

ATTRIBUTE = "user.caterva_cffi.changing"


def mark_of(path: str) -> str:
    """Return the path of an array's mark, which a directory takes with it where it is moved."""
    real = os.path.realpath(path)
    return os.path.join(real, "changing") if os.path.isdir(real) else f"{real}.changing"


def forget_mark(mark: str) -> None:
    """Remove the mark of a change that was cut off, where something new is in the array's place."""
    if not _is_held(mark):
        with suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(mark)


def _is_held(mark: str) -> bool:
    """Whether somebody who made a mark is still at work."""
    if fcntl is None:
        return False
    try:
        descriptor = os.open(mark, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(descriptor)
    return False


def check_idle(path: str) -> None:
    """Raise where somebody is at work on an array; a change that was cut off is no error.

    Raises
    ------
    StorageError
    """
    # Of a link only the name is replaced.
    if not os.path.islink(path) and _is_held(mark_of(path)):
        raise StorageError(f"{path!r} is being changed by another handle")


def has_attribute(path: str) -> bool:
    """Whether a file of several names is marked, by whatever name it is changed."""
    with suppress(OSError, AttributeError):
        os.getxattr(path, ATTRIBUTE)
        return True
    return False


@contextmanager
def marked(mark: str) -> Iterator[None]:
    """Make a mark and hold its lock; leave the mark.

    Raises
    ------
    FileExistsError
    OSError
    """
    descriptor = os.open(mark, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        if fcntl is not None:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def set_attribute(path: str) -> None:
    """Mark a file for all its names.

    Raises
    ------
    FileExistsError
        For a file that is marked.
    StorageError
        Where a file has no extended attributes.
    """
    try:
        os.setxattr(path, ATTRIBUTE, b"", os.XATTR_CREATE)
    except FileExistsError:
        raise
    except (OSError, AttributeError) as error:
        raise StorageError(
            f"{path!r} has several names (hard links), and a change cannot be marked for all of "
            f"them here ({error}): change a copy"
        ) from error


def remove_attribute(path: str) -> None:
    """Remove what `set_attribute` set."""
    try:
        os.removexattr(path, ATTRIBUTE)
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.ENOENT):
            raise
