"""An array's file or directory: whether it is still as it was, and who changes it.

Nothing here knows what is in it. What was read of it is of one state if neither its time of change
nor its mark says otherwise before and after.
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

__all__ = ["Stored", "Version", "stamp_of", "version_of"]

Version: TypeAlias = tuple[int, ...]
"""What differs once a file was changed or replaced, unless both happened in the same moment."""

_RACY = 50_000_000  # nanoseconds in which a file's time of change may stand still


def version_of(status: os.stat_result) -> Version:
    """Return what differs once a file was changed."""
    return (
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns,
    )  # fmt: skip


def stamp_of(status: os.stat_result) -> Version | None:
    """Return what differs once a file was changed; None while its times may stand still."""
    if _is_racy(status):
        return None
    return version_of(status)


def _is_racy(status: os.stat_result) -> bool:
    apart = abs(status.st_mtime_ns - status.st_ctime_ns)
    if os.name == "posix" and 0 < apart < _RACY:
        return False  # `Stored.stamp` did this; whoever writes makes them equal
    return time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) <= _RACY


class Stored:
    """The file of a contiguous array, or the directory of a sparse one.

    Parameters
    ----------
    path : str

    Attributes
    ----------
    path : str
        As it was given, for errors.
    sparse : bool
    place : str
        The path, wherever the process goes meanwhile.
    index : str
        The file that every change writes.
    held : bool
        Whether a change by this object is going on.
    broken : bool
        Whether such a change failed on its way; the mark then stays.
    superseded : bool
        Whether something else took its place in such a change.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.place = path if os.path.isabs(path) else os.path.join(os.getcwd(), path)
        self.sparse = os.path.isdir(self.place)
        self.index = os.path.join(self.place, INDEX_FILE) if self.sparse else self.place
        self.held = False
        self.broken = False
        self.superseded = False
        self._mark: tuple[tuple[int, int], str] | None = None

    @property
    def real(self) -> str:
        """The path without symbolic links."""
        return os.path.realpath(self.place)

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
            raise StorageError(f"{self.path!r} is gone") from None
        except OSError as error:
            raise self.unreadable(error) from error
        if not stat.S_ISREG(status.st_mode):
            raise self.no_file()
        return status

    def no_file(self) -> StorageError:
        """Return the error for what is no regular file any more."""
        return StorageError(f"{self.path!r} is no file now: something else changed it")

    def unreadable(self, error: OSError) -> StorageError:
        """Return an error of the system as one that names the array."""
        path = error.filename or self.path
        return StorageError(f"{path!r} cannot be read: {error.strerror or error}")

    def _mark_of(self, status: os.stat_result) -> str:
        """Return the mark's path, which is looked for once as long as the file is the same."""
        file = (status.st_dev, status.st_ino)
        if self._mark is None or self._mark[0] != file:
            self._mark = file, mark_of(self.place)
        return self._mark[1]

    def check_unmarked(self, status: os.stat_result) -> None:
        """Raise where somebody else changes the array, or a change of it was cut off.

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
            f"then write it anew, or remove {mark} to read what there is"
        )

    def check_unchanged(self, status: os.stat_result, *, is_stamped: bool = False) -> None:
        """Raise where somebody has changed the array since it had a status, or does now.

        Parameters
        ----------
        status : os.stat_result
        is_stamped : bool
            Whether every change of the file changes its times, so that no mark is looked for.

        Raises
        ------
        StorageError
        """
        now = self.status()
        if version_of(now) != version_of(status):
            raise StorageError(f"{self.path!r} was changed while it was read; read it again")
        if not is_stamped:
            self.check_unmarked(now)

    @contextmanager
    def unchanged(self) -> Iterator[os.stat_result]:
        """Give the status; raise where what was read meanwhile may be of several states.

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
        """Mark the array for the time of a change; give its file.

        Raises
        ------
        StorageError
            For a mark of another change, or an array that is gone.
        """
        with self._locked() as file, ExitStack() as stack:
            status = os.fstat(file.fileno())
            mark = self._mark_of(status)
            try:
                make_mark(mark)
            except FileExistsError:
                raise self._being_changed(repr(mark)) from None
            except OSError as error:
                raise StorageError(f"{self.path!r} cannot be changed: {error}") from error
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
        """Give the file, locked so that nothing else changes it or takes its place."""
        try:
            file = open(self.index, "rb+", buffering=0)  # noqa: SIM115, closed below
        except OSError as error:
            raise StorageError(f"{self.path!r} cannot be changed: {error}") from error
        with file:
            if not lock(file.fileno()) or not self.is_of(file):
                raise StorageError(f"{self.path!r} is being changed or replaced by another handle")
            yield file

    def is_of(self, file: FileIO) -> bool:
        """Whether a file is still at its place."""
        with suppress(OSError):
            return os.path.samestat(os.fstat(file.fileno()), os.stat(self.index))
        return False

    def _leave(self, mark: str) -> None:
        """Remove the mark behind a change, or leave it if that was cut off."""
        if self.broken:
            with suppress(OSError):  # it is there, unless something else took the array's place
                make_mark(mark_of(self.place))
        elif not (self.superseded and self.sparse):  # with an old directory its mark is gone
            remove_mark(mark)

    @contextmanager
    def _marked_for_all_names(self) -> Iterator[None]:
        if self.sparse:
            raise StorageError(
                f"{self.path!r} shares files with another directory (hard links): change a copy"
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

    def stamp(self, before: os.stat_result) -> Version | None:
        """Give the file a time of change that it never had; return its version.

        Parameters
        ----------
        before : os.stat_result
            Its status before the change.

        Returns
        -------
        Version or None
            None where the time cannot be set, so that it may stand still.
        """
        now = max(time.time_ns(), before.st_mtime_ns + 1)
        with suppress(OSError):  # of files that are somebody else's
            os.utime(self.index, ns=(before.st_atime_ns, now))
        status = self.status()
        return version_of(status) if status.st_mtime_ns == now else stamp_of(status)
