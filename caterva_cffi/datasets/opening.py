"""From what a user names to a tree: a path, a URL, an open array."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from caterva_cffi.arrays.ndarray import NDArray
from caterva_cffi.arrays.opening import open as open_array
from caterva_cffi.arrays.read_only import ReadOnlyArray
from caterva_cffi.arrays.readable import ReadableArray
from caterva_cffi.arrays.remote import RemoteArray
from caterva_cffi.datasets.frames import array_tree, frame_tree
from caterva_cffi.datasets.model import Tree
from caterva_cffi.datasets.npy import memory_tree, npy_tree
from caterva_cffi.errors import ArgumentError, Cause, FormatError, StorageError
from caterva_cffi.format.frame_start import MAGIC
from caterva_cffi.sources.fsspec_files import file_system
from caterva_cffi.sources.opening import source_of
from caterva_cffi.storage.atomic import INDEX_FILE
from caterva_cffi.storage.url_secrets import without_secrets
from caterva_cffi.superchunk.schunk import SChunk

__all__ = ["open_readable", "open_tree", "split_path", "zarr_module"]

_NPY, _HDF5, _ZIP, _NETCDF3 = b"\x93NUMPY", b"\x89HDF\r\n\x1a\n", b"PK\3\4", b"CDF"
_HDF5_AT = (0, 512, 1024, 2048)
"""Where HDF5 may begin, behind a user's block."""

_START = _HDF5_AT[-1] + len(_HDF5)


def zarr_module() -> ModuleType:
    """Return the module that reads Zarr.

    Raises
    ------
    ImportError
        If zarr is not installed.
    """
    try:
        from caterva_cffi.datasets import zarr_trees
    except ImportError as error:
        raise ImportError(
            f"Zarr arrays need zarr 3.1.6 or later: `pip install caterva-cffi[zarr]` ({error})"
        ) from error
    return zarr_trees


def _hdf5_module() -> ModuleType:
    try:
        from caterva_cffi.datasets import hdf5_trees
    except ImportError as error:
        raise ImportError(f"HDF5 files need h5py: `pip install h5py` ({error})") from error
    return hdf5_trees


def split_path(text: str) -> tuple[str, str]:
    """Split `file.h5:group/array` and the like into what is stored, and the path inside."""
    if os.path.lexists(text):
        return text, ""
    # A colon may belong to the scheme, to a user or a port, or to a drive of Windows.
    scheme = re.match(r".*://([^/]*@[^/]*|[^/:]*:\d+(?=/|$))?|[A-Za-z]:(?=[\\/])", text)
    start = scheme.end() if scheme else 0
    place, colon, path = text[start:].rpartition(":")
    while colon and not scheme and not os.path.lexists(text[:start] + place) and ":" in place:
        place, _, before = place.rpartition(":")
        path = f"{before}:{path}"
    return (text[:start] + place, path.strip("/")) if colon else (text, "")


def open_readable(
    source: str, storage_options: Mapping[str, Any] | None = None
) -> NDArray | ReadOnlyArray:
    """Open an array that says what reads of it cost: of this package, of Zarr, of HDF5.

    Parameters
    ----------
    source : str
        A path or URL, which may have a path inside behind a colon.
    storage_options : mapping, optional
        For fsspec.

    Raises
    ------
    FileNotFoundError, StorageError, FormatError, UnsupportedError
    ArgumentError, ImportError
    """
    place, inside = split_path(source)
    if _is_hdf5(_start_of(place, storage_options)):
        _hdf5_module()  # says what to install
        from caterva_cffi.virtual.hdf5_array import open_hdf5

        found: ReadOnlyArray = open_hdf5(place, inside, storage_options)
        return found
    if inside:
        return open_array(place, "r", storage_options, path=inside)
    return open_array(place, "r", storage_options)


def _start_of(place: str, options: Mapping[str, Any] | None) -> bytes:
    """Return the first bytes of an object; none of a directory, or of what is not there."""
    fs, path = file_system(place, dict(options or {})) if "://" in place else (None, place)
    try:
        if fs is not None:
            start: bytes = fs.cat_file(path, start=0, end=_START)
            return start
        with open(place, "rb") as file:
            return file.read(_START)
    except (OSError, ValueError):  # a directory, or an object shorter than what is asked for
        return b""


def open_tree(
    source: Any,
    path: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    exclude: Callable[[str], bool] = lambda path: False,
) -> Tree:
    """Open what a user names.

    Parameters
    ----------
    source : str, path-like, array, or array or group of zarr
        A path or URL may have a path inside behind a colon.
    path : str, optional
        Inside the file or the group.
    storage_options : mapping, optional
        For fsspec.
    exclude : callable
        Which paths inside are left out.

    Raises
    ------
    FileNotFoundError, StorageError, FormatError, UnsupportedError
    ArgumentError
        For a path inside of something that has none.
    TypeError
        For what is none of these.
    ImportError
    """
    if isinstance(source, ReadableArray):
        return array_tree(source)
    if isinstance(source, np.ndarray):
        return memory_tree(source)
    if not isinstance(source, (str, os.PathLike)):
        tree: Tree = zarr_module().node_tree(source, path or "")
        return tree
    place, inside = os.fspath(source), path
    if inside is None:
        place, inside = split_path(place)
    if "://" in place:
        tree = _open_url(place, inside, storage_options, exclude)
    else:
        tree = _open_path(place, inside, exclude)
    tree.arrays = {each: array for each, array in tree.arrays.items() if not exclude(each)}
    tree.groups = {each: found for each, found in tree.groups.items() if not exclude(each)}
    tree.refused = {each: why for each, why in tree.refused.items() if not exclude(each)}
    return tree


def _open_path(place: str, inside: str, exclude: Callable[[str], bool]) -> Tree:
    if os.path.isdir(place):
        if os.path.exists(os.path.join(place, INDEX_FILE)):
            _refuse_inside(place, inside)
            return _identified(frame_tree(NDArray(SChunk.open(place, read_only=True))), place)
        # Of a text with a colon in it, zarr might think that it is a URL.
        tree: Tree = zarr_module().zarr_tree(Path(place), place, inside)
        return tree
    with open(place, "rb") as file:
        start = file.read(_START)
    if start.startswith(_ZIP):
        tree = zarr_module().zip_tree(place, inside)
    elif _is_hdf5(start):
        tree = _hdf5_module().hdf5_tree(place, place, inside, exclude)
    else:
        _refuse_inside(place, inside)
        if start.startswith(_NPY):
            tree = npy_tree(place)
        else:
            _check_frame(start, repr(place))
            tree = frame_tree(NDArray(SChunk.open(place, read_only=True)))
    return _identified(tree, place)


def _identified(tree: Tree, place: str) -> Tree:
    status = os.stat(place)
    tree.identity = [*tree.identity, status.st_size, status.st_mtime_ns]
    return tree


def _open_url(
    url: str,
    inside: str,
    options: Mapping[str, Any] | None,
    exclude: Callable[[str], bool],
) -> Tree:
    name = without_secrets(url)
    start = _start_of(url, options)
    if not start:
        tree: Tree = zarr_module().zarr_tree(url, name, inside, options)
    elif _is_hdf5(start):
        fs, path = file_system(url, dict(options or {}))
        tree = _hdf5_module().hdf5_tree(fs.open(path, "rb"), name, inside, exclude)
    elif start.startswith((_NPY, _ZIP)):
        raise StorageError(f"{name} is read from a local path only; fetch it first", "only-local")
    else:
        _refuse_inside(name, inside)
        _check_frame(start, name)
        tree = frame_tree(RemoteArray(source_of(url, options)))
    return tree


def _is_hdf5(start: bytes) -> bool:
    return any(start[at:].startswith(_HDF5) for at in _HDF5_AT)


def _refuse_inside(place: str, inside: str) -> None:
    if inside:
        raise ArgumentError(
            f"{place!r} is one array; there is nothing at {inside!r} in it",
            Cause("no-such-array", "path", inside),
        )


def _check_frame(start: bytes, name: str) -> None:
    if start.startswith(_NETCDF3):
        raise FormatError(
            f"{name} is a file of NetCDF 3; expected NetCDF 4, which `nccopy -k nc4` makes of it",
            "not-a-frame",
        )
    if start[2 : 2 + len(MAGIC)] != MAGIC:
        raise FormatError(
            f"{name} begins with {start[:8]!r}; expected a frame, HDF5, NetCDF 4, Zarr or .npy",
            "not-a-frame",
        )
