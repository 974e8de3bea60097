"""A change of what is stored, from its mark to its seal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from typing import Any

from caterva_cffi.errors import CatervaError, StorageError
from caterva_cffi.storage.stored import Stored, Version
from caterva_cffi.superchunk.sealing import FileFrame, read_header, seal
from caterva_cffi.superchunk.user_metalayers import contents_of

__all__ = ["finish_change", "write_errors"]


@contextmanager
def write_errors(stored: Stored) -> Iterator[None]:
    """Raise errors of the system while a change begins or ends as errors of this package.

    Raises
    ------
    StorageError
    """
    try:
        yield
    except CatervaError:
        raise
    except OSError as error:
        raise StorageError(f"{stored.path!r} cannot be changed: {error}", "unwritable") from error


def finish_change(
    stored: Stored, file: FileIO, before: os.stat_result, ptr: Any, *, sealed: bool
) -> Version | None:
    """Compare what is stored with what C-Blosc2 meant to store, and seal it.

    Parameters
    ----------
    stored : Stored
    file : file object
        The one that was changed.
    before : os.stat_result
        Of the file, before the change.
    ptr : cdata
        The `blosc2_schunk *`.
    sealed : bool
        Whether it has a seal; the change has opened it.

    Returns
    -------
    Version or None
        Of the file now; see `settled_version_of`.

    Raises
    ------
    StorageError
        Where it was not written; the file stays marked.
    """
    frame = FileFrame(file)
    try:
        with write_errors(stored):
            if not stored.is_of(file):
                raise StorageError(
                    f"{stored.path!r} was replaced while it was changed", "changed-elsewhere"
                )
            written = read_header(frame)
            if (written.frame_len, written.nbytes, written.cbytes, written.metalayers) != (
                frame.size, ptr.nbytes, ptr.cbytes, contents_of(ptr)
            ):  # fmt: skip
                # C-Blosc2 does not look whether its header was written.
                raise StorageError(
                    f"{stored.path!r}: what was changed could not be written", "unwritable"
                )
            if sealed:
                seal(frame)
            return stored.renew_version(before)
    except BaseException:
        stored.broken = True
        raise
