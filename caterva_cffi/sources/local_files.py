"""Ranges of bytes of a local file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from caterva_cffi.sources.meters import meter_of_url
from caterva_cffi.sources.source import Source
from caterva_cffi.steps import Range
from caterva_cffi.storage.atomic import disk_errors
from caterva_cffi.storage.positioned_reads import READ_FLAGS, read_ranges
from caterva_cffi.storage.stored import version_of

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["LocalFile"]


class LocalFile(Source):
    """A local file, which must not change; it is opened for each read.

    Parameters
    ----------
    path : str

    Raises
    ------
    StorageError, FileNotFoundError, PermissionError
    """

    identified = True

    def __init__(self, path: str) -> None:
        self.name = self._path = os.path.abspath(path)
        with disk_errors(self.name, "read"):
            status = os.stat(self.name)
        self.size, self._version = status.st_size, version_of(status)
        self.meter = meter_of_url("file://")

    def _read(self, ranges: Sequence[Range], concurrency: int) -> Sequence[Buffer]:
        with disk_errors(self.name, "read"):
            descriptor = os.open(self.name, READ_FLAGS)
            try:
                with self.meter.request(len(ranges)) as timed:
                    found = read_ranges(descriptor, list(ranges))
                    timed.nbytes = sum(map(len, found))
                version = version_of(os.fstat(descriptor))
            finally:
                os.close(descriptor)
        if version != self._version:
            raise self._changed()
        return found

    def verify(self) -> None:
        """Do nothing: each read compared the file's times."""

    def to_arguments(self) -> tuple[Any, ...]:
        """Return what `open` needs to open it again."""
        return (self._path,)
