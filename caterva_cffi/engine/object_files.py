"""Frames in local files that anybody may replace, such as Zarr chunks: many are read together.

Some files are opened at a time, boxes of all of them are planned, and one call decodes them. What
that cannot do, such as a file that changes meanwhile, is left to the caller, who reads the file by
steps.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Hashable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

from caterva_cffi.engine.batches import groups
from caterva_cffi.engine.many_frames import Plan, WantedFrame, read_layout
from caterva_cffi.engine.reading import read
from caterva_cffi.errors import CatervaError, StorageError
from caterva_cffi.geometry.cutting import MANY
from caterva_cffi.planning import cache
from caterva_cffi.planning.frame import Frame
from caterva_cffi.planning.layout import Chunks
from caterva_cffi.planning.policy import get_read_policy
from caterva_cffi.steps import Asked
from caterva_cffi.storage.atomic import disk_errors
from caterva_cffi.storage.positioned_reads import READ_FLAGS, read_ranges, read_twice
from caterva_cffi.storage.stored import Version, settled_version_of, version_of

__all__ = [
    "FILES",
    "Left",
    "Opened",
    "WantedFile",
    "changed_of",
    "close_all",
    "open_some",
    "read_file",
    "read_files",
    "read_open",
]

_T = TypeVar("_T")

FILES = 64
"""That are open at a time."""


class WantedFile(WantedFrame[Any], Protocol):
    """The same, and where the file is."""

    @property
    def path(self) -> str:
        """The file's path."""


class Left(NamedTuple):
    """What is still to be done: numbers of files that are not there, and of others."""

    missing: list[int]
    others: list[int]


class Opened(NamedTuple):
    """A file that is open, of which it is known where its blocks are."""

    number: int
    descriptor: int
    version: Version
    layout: Chunks


def read_files(wanted: Sequence[WantedFile]) -> Left:
    """Read boxes of frames in files; one call decodes those of all files that are open.

    Returns
    -------
    Left
        The files that were not read, or whose bytes may be of two versions.
    """
    left = Left([], [])
    for first in range(0, len(wanted), FILES):
        some = range(first, min(first + FILES, len(wanted)))
        opened: list[Opened] = []
        try:
            open_some(wanted, some, left, opened)
            left.others.extend(_decode(wanted, opened))
        finally:
            close_all(opened)
    return left


def open_some(
    wanted: Sequence[WantedFile], numbers: Iterable[int], left: Left, opened: list[Opened]
) -> None:
    """Open files, which the caller closes; those that cannot be read together are left."""
    for number in numbers:
        try:
            each = _open(number, wanted[number])
        except (FileNotFoundError, NotADirectoryError):
            left.missing.append(number)
            continue
        except (CatervaError, OSError):
            each = None  # the other way says what is wrong
        if each is None:
            left.others.append(number)
        else:
            opened.append(each)


def close_all(opened: list[Opened]) -> None:
    """Close files."""
    for each in opened:
        os.close(each.descriptor)


def _open(number: int, wanted: WantedFile) -> Opened | None:
    """Open a file and know its layout; None where that may not last."""
    descriptor = os.open(wanted.path, READ_FLAGS)
    try:
        status = os.fstat(descriptor)
        version = settled_version_of(status)
        if version is not None:
            layout = _layout_of(wanted.key, version, descriptor, status.st_size)
            wanted.check(layout)
            opened = Opened(number, descriptor, version, layout)
            descriptor = -1
            return opened
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return None


def _layout_of(key: Hashable, version: Hashable, descriptor: int, size: int) -> Chunks:
    """Return where the chunks in a local file are: that is known, or it is read."""
    known = cache.shared.get(key, version)
    if known is None:
        return read_layout(key, version, size, partial(read_ranges, descriptor))
    return known.layout


def _decode(wanted: Sequence[WantedFile], opened: list[Opened]) -> list[int]:
    """Decode what is wanted of open files; return the numbers of those to be read again."""
    plan = Plan()
    try:
        for each in opened:
            for batch in wanted[each.number].begin(each.layout)[1]:
                plan.add(each.layout, each.descriptor, batch)
        plan.run()
    except (CatervaError, OSError):
        return [each.number for each in opened]
    return changed_of(opened)


def changed_of(opened: list[Opened]) -> list[int]:
    """Return the numbers of the files that were changed since they were opened."""
    return [each.number for each in opened if version_of(os.fstat(each.descriptor)) != each.version]


def read_open(wanted: WantedFrame[_T], version: Hashable, descriptor: int, size: int) -> _T:
    """Read what is wanted of an open file whose times tell changes; the kernel reads the blocks.

    Parameters
    ----------
    wanted : WantedFrame
    version : hashable
        Of the file; see `Cache.get`.
    descriptor : int
    size : int
        Bytes of the file.

    Returns
    -------
    object
        The result; see `WantedFrame.begin`.

    Raises
    ------
    FormatError, UnsupportedError, OSError
    """
    layout = _layout_of(wanted.key, version, descriptor, size)
    wanted.check(layout)
    result, batches = wanted.begin(layout)
    if layout.grid.nchunks > MANY:
        frame = Frame(layout, layout.kernel, get_read_policy("local"), files=descriptor)
        read(groups(frame, batches), partial(read_ranges, descriptor))
        return result
    plan = Plan()
    for batch in batches:
        plan.add(layout, descriptor, batch)
    plan.run()
    return result


def read_file(
    path: str,
    read: Callable[[Version, int, int], _T],
    steps: Callable[[int], Generator[Asked, Any, _T]],
) -> _T:
    """Read an object in a file; if it is replaced meanwhile, the old one is read to the end.

    Parameters
    ----------
    path : str
    read : callable
        Reads a file whose times tell changes: gets its version, its descriptor and its size.
    steps : callable
        Gives steps that read another file, of a size.

    Raises
    ------
    FileNotFoundError, NotADirectoryError, IsADirectoryError
    StorageError
        If the file cannot be read, or something writes to it in place meanwhile.
    """
    descriptor = -1
    try:
        descriptor = os.open(path, READ_FLAGS)
        return _read_unchanged(descriptor, path, read, steps)
    except OSError:
        with disk_errors(path, "read"):
            raise
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _read_unchanged(
    descriptor: int,
    path: str,
    read: Callable[[Version, int, int], _T],
    steps: Callable[[int], Generator[Asked, Any, _T]],
) -> _T:
    """Read from an open file.

    Raises
    ------
    StorageError
        If something writes to it in place meanwhile.
    """
    status = os.fstat(descriptor)
    version, size = settled_version_of(status), status.st_size
    if version is None:
        result, changed = read_twice(descriptor, steps(size))
    else:
        result, changed = read(version, descriptor, size), False
    now = os.fstat(descriptor)
    if changed or (now.st_size, now.st_mtime_ns) != (size, status.st_mtime_ns):
        raise StorageError(
            f"{path!r} was changed in place while it was read; read it again", "changed-meanwhile"
        )
    return result
