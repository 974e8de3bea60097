"""The source of the bytes behind a URL, or of a user's reader."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from caterva_cffi.errors import ArgumentError, Cause
from caterva_cffi.sources.fsspec_files import Unversioned, file_system
from caterva_cffi.sources.http import Http
from caterva_cffi.sources.s3 import S3
from caterva_cffi.sources.source import Given, RangeReader, Source
from caterva_cffi.sources.versioned import Versioned

__all__ = ["VERSIONED", "source_of"]


VERSIONED: list[tuple[str, str, type[Versioned]]] = [
    ("fsspec.implementations.http", "HTTPFileSystem", Http),
    ("s3fs.core", "S3FileSystem", S3),
]


def source_of(where: str | RangeReader, storage_options: Mapping[str, Any] | None = None) -> Source:
    """Return the source for a URL or a reader.

    Parameters
    ----------
    where : str or RangeReader
    storage_options : mapping, optional
        For fsspec's file system.

    Raises
    ------
    ArgumentError
        For a scheme that fsspec does not know, or options beside a reader.
    ImportError
        Where fsspec, or what it needs for the scheme, is not installed.
    FileNotFoundError, PermissionError, StorageError
    """
    if not isinstance(where, str):
        if storage_options:
            raise ArgumentError(
                "storage_options are given beside a reader; expected a URL",
                Cause("contradiction", "storage_options"),
            )
        return Given(where)
    options = dict(storage_options or {})
    fs, _ = file_system(where, options)
    for module, name, source in VERSIONED:
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(fs, kind):
            return source(where, options)
    return Unversioned(where, options)
