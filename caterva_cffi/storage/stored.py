"""An array's file or directory: whether it is still as it was, and who changes it.

Nothing here knows what is in it. Bytes that were read are of one state if the file's time of change
is the same before and after, and there is no mark before or after.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from typing import TypeAlias

from caterva_cffi.errors import CatervaError, StorageError
from caterva_cffi.storage.atomic import INDEX_FILE
from caterva_cffi.storage.marks import (
    ATTRIBUTE,
    has_attribute,
    lock,
    make_mark,
    mark_of,
    remove_attribute,
    remove_mark,
    set_attribute,
)

__all__ = ["Stored", "Version", "settled_version_of", "version_of"]

Version: TypeAlias = tuple[int, ...]
"""Differs once a file was changed or replaced, unless its times stood still meanwhile."""

_RACY = 50_000_000  # nanoseconds for which a file's time of change may stand still


def version_of(status: os.stat_result) -> Version:
    """Return a file's version: what differs once the file was changed."""
    return (
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns,
    )  # fmt: skip


def settled_version_of(status: os.stat_result) -> Version | None:
    """Return a file's version; None while its times may stand still, so that no change shows."""
    modified, changed = status.st_mtime_ns, status.st_ctime_ns
    # `Stored.renew_version` sets the two apart; any other write makes them equal.
    apart = os.name == "posix" and 0 < abs(modified - changed) < _RACY
    if apart or time.time_ns() - max(modified, changed) > _RACY:
        return version_of(status)
    return None


class Stored:
    """The file of a contiguous array, or the directory of a sparse one.

    Parameters
    ----------
    path : str

    Attributes
    ----------
    path : str
        The path as it was given, for errors.
    sparse : bool
    full_path : str
        The absolute path, in case the process changes its directory.
    index : str
        The file that every change writes.
    held : bool
        Whether a change by this object is going on.
    broken : bool
        Whether such a change failed in the middle; then the mark stays.
    superseded : bool
        Whether another array took its place in such a change.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.full_path = path if os.path.isabs(path) else os.path.join(os.getcwd(), path)
        self.sparse = os.path.isdir(self.full_path)
        self.index = os.path.join(self.full_path, INDEX_FILE) if self.sparse else self.full_path
        self.held = False
        self.broken = False
        self.superseded = False
        self._mark: tuple[tuple[int, int], str] | None = None

    @property
    def real(self) -> str:
        """The path without symbolic links."""
        return os.path.realpath(self.full_path)

    # --- reading ------------------------------------------------------------------------------

    def status(self) -> os.stat_result:
        """Return the status of the file that every change writes.

        Raises
        ------
        StorageError
            For a file that is gone or cannot be read.
        """
        try:
            status = os.stat(self.index)
        except FileNotFoundError:
            raise StorageError(f"{self.path!r} is gone", "gone") from None
        except OSError as error:
            raise self.unreadable(error) from error
        if not stat.S_ISREG(status.st_mode):
            raise self.no_file()
        return status

    def no_file(self) -> StorageError:
        """Return the error for a path that is no regular file any more."""
        return StorageError(
            f"{self.path!r} is no file now: something else changed it", "changed-elsewhere"
        )

    def unreadable(self, error: OSError) -> StorageError:
        """Return a `StorageError` that names the array, for an error of the system."""
        path = error.filename or self.path
        return StorageError(f"{path!r} cannot be read: {error.strerror or error}")

    def _mark_of(self, status: os.stat_result) -> str:
        """Return the mark's path; it is found out once for each file."""
        file = (status.st_dev, status.st_ino)
        if self._mark is None or self._mark[0] != file:
            self._mark = file, mark_of(self.full_path)
        return self._mark[1]

    def check_unmarked(self, status: os.stat_result) -> None:
        """Raise if somebody else changes the array, or if a change of it was cut off.

        Raises
        ------
        StorageError
        """
        if self.held:
            return
        mark = self._mark_of(status)
        if os.path.lexists(mark):
            raise self._being_changed(repr(mark))
        if status.st_nlink > 1 and has_attribute(self.index):
            raise self._being_changed(f"its attribute {ATTRIBUTE}")

    def _being_changed(self, mark: str) -> StorageError:
        return StorageError(
            f"{self.path!r} is being changed, or a change was cut off and its data may be damaged: "
            f"then write it anew, or remove {mark} to read what there is",
            "change-cut-off",
        )

    def check_unchanged(self, status: os.stat_result, *, is_settled: bool = False) -> None:
        """Raise if somebody changed the array after a status was taken, or changes it now.

        Parameters
        ----------
        status : os.stat_result
        is_settled : bool
            Whether any change would show in the file's times; then no mark is looked for.

        Raises
        ------
        StorageError
        """
        now = self.status()
        if version_of(now) != version_of(status):
            raise StorageError(
                f"{self.path!r} was changed while it was read; read it again", "changed-meanwhile"
            )
        if not is_settled:
            self.check_unmarked(now)

    @contextmanager
    def unchanged(self) -> Iterator[os.stat_result]:
        """Yield the status; raise if what was read meanwhile may be of several states.

        Raises
        ------
        StorageError
        """
        status = self.status()
        self.check_unmarked(status)
        try:
            yield status
        except CatervaError:
            self.check_unchanged(status)  # which would explain it
            raise
        except OSError as error:
            raise self.unreadable(error) from error
        self.check_unchanged(status)

    # --- changing -----------------------------------------------------------------------------

    @contextmanager
    def changing(self) -> Iterator[FileIO]:
        """Mark the array while it is changed; yield its file.

        Raises
        ------
        StorageError
            If another change has marked it, or if it is gone.
        """
        with self._locked() as file, ExitStack() as stack:
            status = os.fstat(file.fileno())
            mark = self._mark_of(status)
            try:
                make_mark(mark)
            except FileExistsError:
                raise self._being_changed(repr(mark)) from None
            except OSError as error:
                raise StorageError(
                    f"{self.path!r} cannot be changed: {error}", "unwritable"
                ) from error
            self.held, self.broken, self.superseded = True, False, False
            try:
                if status.st_nlink > 1:
                    stack.enter_context(self._marked_for_all_names())
                yield file
            finally:
                self.held = False
                self._leave(mark)

    @contextmanager
    def _locked(self) -> Iterator[FileIO]:
        """Yield the file; it is locked, so that nobody else changes or replaces it."""
        try:
            file = open(self.index, "rb+", buffering=0)  # noqa: SIM115, closed below
        except OSError as error:
            raise StorageError(f"{self.path!r} cannot be changed: {error}", "unwritable") from error
        with file:
            if not lock(file.fileno()) or not self.is_of(file):
                raise StorageError(
                    f"{self.path!r} is being changed or replaced by another handle", "in-use"
                )
            yield file

    def is_of(self, file: FileIO) -> bool:
        """Whether an open file is still the one at the array's place."""
        with suppress(OSError):
            return os.path.samestat(os.fstat(file.fileno()), os.stat(self.index))
        return False

    def _leave(self, mark: str) -> None:
        """Remove the mark after a change, or leave it if the change was cut off."""
        if self.broken:
            with suppress(OSError):  # it may exist already, unless another array took the place
                make_mark(mark_of(self.full_path))
        elif not (self.superseded and self.sparse):  # a replaced directory took its mark along
            remove_mark(mark)

    @contextmanager
    def _marked_for_all_names(self) -> Iterator[None]:
        if self.sparse:
            raise StorageError(
                f"{self.path!r} shares files with another directory (hard links): change a copy",
                "hard-links",
            )
        try:
            set_attribute(self.index)
        except FileExistsError:
            raise self._being_changed(f"its attribute {ATTRIBUTE}") from None
        try:
            yield
        finally:
            if not self.broken:
                remove_attribute(self.index)

    def renew_version(self, before: os.stat_result) -> Version | None:
        """Set the file's time of change to one that it never had; return its version.

        Parameters
        ----------
        before : os.stat_result
            Its status before the change.

        Returns
        -------
        Version or None
            None if the time cannot be set; then it may stand still.
        """
        now = max(time.time_ns(), before.st_mtime_ns + 1)
        with suppress(OSError):  # the file may belong to somebody else
            os.utime(self.index, ns=(before.st_atime_ns, now))
        status = self.status()
        return version_of(status) if status.st_mtime_ns == now else settled_version_of(status)
