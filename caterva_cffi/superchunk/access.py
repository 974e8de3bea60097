"""A super-chunk that threads share, and whose file others may change: who may use it when."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from functools import partial
from typing import Any

from caterva_cffi.binding.library import check, ffi, lib
from caterva_cffi.errors import (
    BusyError,
    CatervaError,
    ClosedError,
    FormatError,
    ReadOnlyError,
    StorageError,
    named,
)
from caterva_cffi.format.seal import LAYER
from caterva_cffi.storage.stored import Stored, Version, version_of
from caterva_cffi.superchunk.changes import finish_change, write_errors
from caterva_cffi.superchunk.locks import ReadWriteLock
from caterva_cffi.superchunk.opening import open_stored
from caterva_cffi.superchunk.sealing import FileFrame, open_seal
from caterva_cffi.superchunk.user_metalayers import layers_of

__all__ = ["Shared"]


class Shared:
    """Owns a `blosc2_schunk`, and the lock that threads take to use it.

    If the super-chunk is stored, C-Blosc2 keeps its header, metalayers and offsets in memory. They
    are read anew before they are used, if something else has changed the file.

    Parameters
    ----------
    owner : cdata
        The `blosc2_schunk *`, which is freed with it.
    read_only : bool
    path : str, optional
        Where it is stored, or going to be.
    stored : Stored, optional
        Its file or directory.
    version : Version, optional
        The version of the file that was read; None if the file may have changed since.
    keep : object, optional
        What keeps its memory alive.

    Attributes
    ----------
    path : str or None
        Where it is stored; None in memory.
    stored : Stored or None
        Its file or directory.
    contiguous : bool
        Whether it is one frame.
    read_only : bool
    generation : int
        How often it was read anew.
    lock : ReadWriteLock
    """

    def __init__(
        self,
        owner: Any,
        *,
        read_only: bool,
        path: str | None = None,
        stored: Stored | None = None,
        version: Version | None = None,
        keep: Any = None,
    ) -> None:
        self._own(owner)
        self._keep = keep
        self._exports: set[object] = set()  # of views; they die in any thread
        self._spoilt: CatervaError | None = None  # what says why it cannot be used
        self._writes = 0
        self.lock = ReadWriteLock()
        self.read_only = read_only
        self.contiguous = bool(owner.storage.contiguous)
        self.path = path
        self.stored = stored
        self.generation = 0
        self._version = version
        self._sealed = LAYER in layers_of(owner)

    # --- the C object -------------------------------------------------------------------------

    @property
    def ptr(self) -> Any:
        """The `blosc2_schunk *`, for use with `lib`; of a stored one as it was when it was read.

        Raises
        ------
        ClosedError
        FormatError
            For chunks of several sizes, by which C-Blosc2 divides.
        StorageError
            Where a change was cut off.
        """
        if self._owner is None or self._ended:
            raise ClosedError("the array is closed")
        if self._spoilt is not None:
            raise copy(self._spoilt)
        return self._owner

    @property
    def closed(self) -> bool:
        """Whether `close` was called, or the interpreter ended it."""
        return self._owner is None or bool(self._ended)

    def _own(self, owner: Any) -> None:
        """Take a C object, and learn when it is freed.

        When Python collects a cycle of objects, it ends them in any order. So somebody may ask for
        the C object after it was freed.
        """
        ended: list[bool] = []
        ffi.gc(owner, None)
        self._owner, self._ended = ffi.gc(owner, partial(_free, ended)), ended

    def close(self) -> None:
        """Free the super-chunk; what it exported stays valid.

        Raises
        ------
        BufferError
            While a view of its frame is alive.
        BusyError
            While this thread reads or changes it.
        """
        if self.lock.is_used_here():
            raise BusyError("a thread that uses an array cannot close it meanwhile")
        with self.lock.writing():
            if self.closed:
                return
            self._check_exports()
            ffi.release(self._owner)
            self._owner = self._keep = None

    def _check_exports(self) -> None:
        if self._exports:
            raise BufferError(
                f"{len(self._exports)} views of the frame are alive; delete them before changing it"
            )

    # --- reading ------------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[Any]:
        """Hold off writers; give the pointer to what is stored now.

        Raises
        ------
        ClosedError
        StorageError
            Where something else changes it, or a change was cut off.
        FormatError
        """
        with self.lock.reading():
            ptr = self.ptr
            if self._is_current():
                yield ptr
                return
        if self.lock.is_read_here():
            raise StorageError(
                f"{self.path!r} was changed while it was read; read it again", "changed-meanwhile"
            )
        with self._alone() as ptr, self.lock.open_to_itself(write=False):
            yield ptr

    def _is_current(self) -> bool:
        """Whether nothing else has changed what is stored; the caller holds the lock."""
        stored = self.stored
        if stored is None or self.lock.is_changed_here():
            return True
        status = stored.status()
        stored.check_unmarked(status)
        return version_of(status) == self._version

    @contextmanager
    def _alone(self) -> Iterator[Any]:
        """Hold off everybody while C-Blosc2 reads what is stored now; give the pointer.

        Raises
        ------
        StorageError
            Where something else has changed it meanwhile.
        """
        with self.lock.writing():
            ptr, stored = self.ptr, self.stored
            if stored is None or stored.held:
                yield ptr
                return
            try:
                with stored.unchanged() as status:
                    if version_of(status) != self._version:
                        self._load(stored)
                    yield self.ptr
            except BaseException:
                self._version = None  # C-Blosc2 may have seen some of it
                raise

    def _load(self, stored: Stored) -> None:
        """Read header, metalayers and offsets anew; the caller has the lock alone."""
        self._version = None
        owner, self._version = open_stored(stored)
        self._own(owner)
        self._sealed = LAYER in layers_of(self._owner)
        self.generation += 1

    # --- changing it --------------------------------------------------------------------------

    @contextmanager
    def changing(self) -> Iterator[Any]:
        """Hold off readers; give the pointer, if the super-chunk may be changed.

        Its thread may go on to use the array.

        Raises
        ------
        ReadOnlyError, ClosedError
        BufferError
            While a view of the frame is alive.
        StorageError
            Where another handle changes it, or a change was cut off.
        """
        with self.lock.writing(), self.change() as ptr, self.lock.open_to_itself(write=True):
            yield ptr

    @contextmanager
    def change(self) -> Iterator[Any]:
        """Do the same as `changing`, for a caller who has the lock and does not ask for it again.

        Raises
        ------
        ReadOnlyError, ClosedError, BufferError, StorageError
        """
        self.ptr  # noqa: B018, raises
        self._check_writable()
        self._check_exports()
        with self._marked():
            ptr = self.ptr
            try:
                yield ptr
            finally:
                if ptr.nchunks > 0 and ptr.chunksize == 0:
                    self._spoilt = FormatError(
                        "chunks differ in size: the array was damaged before it was changed"
                    )
        self.ptr  # noqa: B018, raises where that happened

    def _check_writable(self) -> None:
        if self.read_only:
            where = f"{self.path!r}" if self.path else "the frame"
            raise ReadOnlyError(f"{where} was opened for reading")

    @contextmanager
    def _marked(self) -> Iterator[None]:
        """Mark a stored array for the time of a change, and seal it afterwards."""
        stored = self.stored
        if stored is None or stored.held:
            yield
            return
        with stored.changing() as file:
            status = os.fstat(file.fileno())
            with write_errors(stored):
                if version_of(status) != self._version:
                    self._load(stored)
                if self._sealed:
                    open_seal(FileFrame(file))
            try:
                yield
            finally:
                self._version = None
                if not (stored.broken or stored.superseded):
                    ptr, sealed = self._owner, self._sealed
                    self._version = finish_change(stored, file, status, ptr, sealed=sealed)

    def write(self, what: str, function: Any, *arguments: Any) -> None:
        """Call a C function that writes. If it fails, raise, and refuse the array from then on."""
        self._check_writable()  # memory that others own must not be moved
        self._writes += 1  # first: an interrupt may come behind the call
        code = function(*arguments)
        if code < 0 and self.stored is not None:
            self.stored.broken = True
        elif code < 0:
            self._spoilt = StorageError(f"a change of the array failed on its way ({what})")
        self.check(code, what)

    @contextmanager
    def whole_change(self) -> Iterator[None]:
        """Refuse the array from then on, if several writes that belong together are cut off."""
        before = self._writes
        try:
            yield
        except BaseException:
            if self._writes != before and self.stored is not None:
                self.stored.broken = True
            elif self._writes != before:
                self._spoilt = StorageError(
                    "a change of the array was cut off: its items are not where they were"
                )
            raise

    @contextmanager
    def change_without_errors(self) -> Iterator[None]:
        """Leave the file marked if an error comes between two writes.

        An interrupt may come: each write by itself is whole.
        """
        before = self._writes
        try:
            yield
        except Exception:
            if self._writes != before and self.stored is not None:
                self.stored.broken = True
            raise

    def check(self, code: int, what: str) -> int:
        """Return a C function's result, or raise. If the file is gone, that is what is told."""
        if code < 0 and self.stored is not None:
            self.stored.status()
            try:
                check(code, what)
            except CatervaError as error:
                # What C-Blosc2 tells of files is seldom more than that it failed.
                known = type(error) is not CatervaError
                shown = error if known else StorageError(str(error), code=code)
                raise named(shown, repr(self.path)) from None
        return check(code, what)


def _free(ended: list[bool], owner: Any) -> None:
    ended.append(True)
    lib.blosc2_schunk_free(owner)
