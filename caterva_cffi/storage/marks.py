"""Marks: what stands by an array while it is changed in place.

A mark that is left behind says that a change was cut off. It belongs to the file, not to a name:
it stands beside the name to which symbolic links lead, and a file of several names (hard links) has
it among its extended attributes too.

Whoever changes a file has it locked, and so has whoever lets another one take its place, that one
too: of two, one is refused. Locks end with the process, so that whoever has one knows that a mark
was left behind.
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
    """Return the path of an array's mark, which a directory takes with it where it is moved."""
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
    """Lock a file until the descriptor is closed; return whether nobody else has."""
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
    """Lock a file at a path; give whether nobody else has, and whether it is still there.

    Raises
    ------
    OSError
    """
    if fcntl is None:  # a file that is open is not renamed there
        yield True
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        is_mine = lock(descriptor)
        yield is_mine and os.path.samestat(os.fstat(descriptor), os.stat(path))
    finally:
        os.close(descriptor)


def has_attribute(path: str) -> bool:
    """Whether a file of several names is marked, by whatever name it is changed."""
    with suppress(OSError, AttributeError):
        os.getxattr(path, ATTRIBUTE)
        return True
    return False


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
