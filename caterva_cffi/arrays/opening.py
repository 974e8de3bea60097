"""Arrays opened where they are stored: frames, and arrays that Zarr wrote."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal, overload

from caterva_cffi.arrays.ndarray import NDArray
from caterva_cffi.arrays.remote import RemoteArray
from caterva_cffi.arrays.zarr_array import ZarrArray
from caterva_cffi.arrays.zarr_nodes import is_zarr_directory
from caterva_cffi.errors import ArgumentError, Cause, FormatError, StorageError, UnsupportedError
from caterva_cffi.keywords import checked_keywords, unknown_name
from caterva_cffi.sources.object_stores import RangeStore
from caterva_cffi.sources.opening import source_of
from caterva_cffi.sources.source import RangeReader
from caterva_cffi.storage.atomic import fs_path
from caterva_cffi.superchunk.schunk import SChunk

__all__ = ["open"]


@overload
def open(urlpath: str | os.PathLike[str], mode: Literal["a"]) -> NDArray: ...
@overload
def open(
    urlpath: os.PathLike[str], mode: Literal["r"] | None = None, *, path: None = None
) -> NDArray | ZarrArray: ...
@overload
def open(
    urlpath: str,
    mode: Literal["r"] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    *,
    path: None = None,
) -> NDArray | RemoteArray | ZarrArray: ...
@overload
def open(urlpath: RangeReader, mode: Literal["r"] | None = None) -> RemoteArray: ...
@overload
def open(
    urlpath: RangeStore, mode: Literal["r"] | None = None, *, path: str | None = None
) -> ZarrArray: ...
@overload
def open(
    urlpath: str | os.PathLike[str] | RangeStore,
    mode: Literal["r"] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    *,
    path: str,
) -> ZarrArray: ...


@checked_keywords
def open(
    urlpath: str | os.PathLike[str] | RangeReader | RangeStore,
    mode: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    *,
    path: str | None = None,
) -> NDArray | RemoteArray | ZarrArray:
    """Open an array that is stored in a file, in a directory, or behind a network.

    It may be a frame, in a file or in a sparse directory, or an array that Zarr wrote, in format 2
    or 3, if its only codec is `caterva`. Zarr need not be installed.

    Parameters
    ----------
    urlpath : str, path-like, RangeReader or RangeStore
        A path; a URL with `://` in it, which fsspec opens ("s3://...", "https://..."); or an
        object of yours: for a frame one with a method `read_ranges`, see `RangeReader`, for an
        array of Zarr's one with a method `read_objects`, see `RangeStore`.
    mode : {"a", "r"}, optional
        Whether it may be changed ("a") or only read ("r"). The default is "a" for the path of a
        frame. All else can only be read.
    storage_options : mapping, optional
        For fsspec's file system: credentials, endpoints, ...
    path : str, optional
        Of an array in a group of Zarr's, such as "group/array".

    Returns
    -------
    NDArray, RemoteArray or ZarrArray
        A `RemoteArray` for a frame behind a URL or a reader, a `ZarrArray` for an array that Zarr
        wrote: they read what each selection needs.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
    FormatError
        For a file that is no frame, a frame that is no N-d array, or damaged metadata of Zarr's.
    ArgumentError
        For a group of Zarr's without `path`; the error names the arrays in it.
    StorageError
        For a request that fails.
    UnsupportedError
        For a sparse directory behind a URL, and for an array of Zarr's with other codecs: Zarr
        itself reads it.
    ImportError
        For a URL, if fsspec or what it needs for the scheme is not installed.

    Examples
    --------
    >>> _ = cat.asarray(data, urlpath="a.b2nd", contiguous=True)
    >>> with cat.open("a.b2nd", mode="r") as b:
    ...     print(b[1, :3])
    [6 7 8]
    """
    if mode not in ("r", "a", None):
        raise unknown_name("mode", mode, "ra", "'r' (read) or 'a' (read and change)")
    is_url = isinstance(urlpath, str) and "://" in urlpath
    if isinstance(urlpath, RangeReader) or (is_url and path is None):
        if mode == "a":
            raise ArgumentError(
                "mode is 'a'; remote arrays are only read: expected 'r'",
                Cause("contradiction", "mode", mode, "r"),
            )
        if path is not None:
            raise ArgumentError(
                f"path is {path!r} beside a reader of one object",
                Cause("contradiction", "path", path),
            )
        return _open_remote(urlpath, storage_options)
    if path is not None or isinstance(urlpath, RangeStore) or is_zarr_directory(fs_path(urlpath)):
        if mode == "a":
            raise ArgumentError(
                f"mode is 'a' for {urlpath!r}, an array of Zarr's: it is only read here, and Zarr "
                "writes it; expected 'r'",
                Cause("contradiction", "mode", mode, "r"),
            )
        return ZarrArray.open(urlpath, path, storage_options)
    if storage_options:
        raise ArgumentError(
            f"storage_options are given beside the path {urlpath!r}",
            Cause("contradiction", "storage_options"),
        )
    return NDArray(SChunk.open(urlpath, read_only=mode == "r"))


def _open_remote(where: Any, options: Mapping[str, Any] | None) -> RemoteArray | ZarrArray:
    """Open what is behind a URL or a reader: a frame, or else an array of Zarr's."""
    if isinstance(where, str) and where.partition("?")[0].endswith((".zarr", "/")):
        try:
            return ZarrArray.open(where, None, options)
        except FileNotFoundError:
            return RemoteArray(source_of(where, options))
    try:
        return RemoteArray(source_of(where, options))
    except (FileNotFoundError, PermissionError, FormatError, UnsupportedError) as error:
        # Servers say in many ways that something is a directory; those of HTTP may forbid to list
        # it, or show a page.
        is_final = isinstance(error, PermissionError) and not str(where).startswith("http")
        if isinstance(where, str) and not is_final:
            with suppress(FileNotFoundError, PermissionError, StorageError):
                return ZarrArray.open(where, None, options)
        raise
