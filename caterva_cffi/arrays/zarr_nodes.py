"""Arrays and groups of Zarr, found by their metadata: in a local directory, or in a store."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Protocol

from caterva_cffi.errors import ArgumentError, Cause, FormatError, UnsupportedError, named
from caterva_cffi.sources.object_stores import ObjectStore
from caterva_cffi.steps import WHOLE, MissingError
from caterva_cffi.storage.atomic import INDEX_FILE, disk_errors
from caterva_cffi.zarr_format.metadata import (
    DOCUMENTS,
    ArrayMetadata,
    consolidated_arrays,
    is_array,
    parse_array,
)

__all__ = ["DirectoryNodes", "Nodes", "StoreNodes", "find_array", "is_zarr_directory"]

_SHOWN = 20
"""Arrays of a group that an error names."""


_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class Nodes(Protocol):
    """Where metadata are.

    Attributes
    ----------
    name : str
        What it is called, for people.
    """

    name: str

    def read(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return those objects that are there, whole."""

    def children(self, key: str) -> list[str]:
        """Return the names of what is directly below a key; none if nobody can tell."""


class DirectoryNodes:
    """A local directory.

    Parameters
    ----------
    path : str
    """

    def __init__(self, path: str) -> None:
        self.path, self.name = path, repr(path)

    def read(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return those files that are there."""
        found: dict[str, bytes] = {}
        for key in keys:
            path = os.path.join(self.path, *key.split("/"))
            with suppress(*_ABSENT), disk_errors(path, "read"), open(path, "rb") as file:
                found[key] = file.read()
        return found

    def children(self, key: str) -> list[str]:
        """Return the names of the directories in one."""
        try:
            with os.scandir(os.path.join(self.path, *key.split("/"))) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir())
        except OSError:
            return []


class StoreNodes:
    """A store behind a network, or a user's one.

    Parameters
    ----------
    store : ObjectStore
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store, self.name = store, store.name

    def read(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return those objects that are there; all are asked for at once."""
        found: dict[str, bytes] = {}
        forbidden: Exception | None = None
        answers = self._store.begin(len(keys))([(key, WHOLE) for key in keys])
        for key, answer in zip(keys, answers, strict=True):
            if not isinstance(answer, Exception):
                found[key] = bytes(answer)
            elif isinstance(answer, PermissionError):
                forbidden = answer  # which S3 also says of what is not there
            elif not isinstance(answer, MissingError):
                raise answer
        if forbidden is not None and not found:
            raise forbidden
        return found

    def children(self, key: str) -> list[str]:
        """Return the names of what is directly below a key; none if nobody can tell."""
        return self._store.children(key)


def is_zarr_directory(path: str) -> bool:
    """Whether a local directory has Zarr's metadata, and no sparse frame."""
    if not os.path.isdir(path) or os.path.exists(os.path.join(path, INDEX_FILE)):
        return False
    return any(os.path.exists(os.path.join(path, name)) for name in DOCUMENTS)


def find_array(nodes: Nodes, prefix: str) -> ArrayMetadata:
    """Return what is known of an array.

    Parameters
    ----------
    nodes : Nodes
    prefix : str
        Of the keys of the array's objects.

    Raises
    ------
    FileNotFoundError
        If there is no such array.
    ArgumentError
        For a group; the error names arrays in it.
    FormatError, UnsupportedError
    """
    where = f"{nodes.name}, {prefix[:-1]!r}" if prefix else nodes.name
    try:
        documents = _documents(nodes, prefix)
        kind = is_array(documents)
        if kind:
            return parse_array(documents)
    except (FormatError, UnsupportedError) as error:
        raise named(error, where) from None
    if kind is None:
        raise FileNotFoundError(
            f"{where}: no array of Zarr; there is neither {', '.join(DOCUMENTS[:2])}"
        )
    arrays = list(islice(_arrays(nodes, prefix, documents), _SHOWN + 1))
    shown = ", ".join(map(repr, arrays[:_SHOWN])) + (", ..." if len(arrays) > _SHOWN else "")
    raise ArgumentError(
        f"{where} is a group of Zarr; open one of its arrays by path=: "
        + (shown or "none was found in it"),
        Cause("is-a-group", "path", None, arrays[:_SHOWN]),
    )


def _documents(nodes: Nodes, prefix: str) -> dict[str, bytes]:
    found = nodes.read([f"{prefix}{name}" for name in DOCUMENTS])
    return {key.removeprefix(prefix): data for key, data in found.items()}


def _arrays(nodes: Nodes, prefix: str, documents: dict[str, bytes]) -> Iterator[str]:
    """Yield the paths of a group's arrays, from where the user opened."""
    consolidated = [prefix + path for path in consolidated_arrays(documents)]
    if consolidated:
        yield from consolidated
        return
    for name in nodes.children(prefix.rstrip("/")):
        below = _documents(nodes, f"{prefix}{name}/")
        with suppress(FormatError):
            kind = is_array(below)
            if kind:
                yield f"{prefix}{name}"
            elif kind is False:
                yield from _arrays(nodes, f"{prefix}{name}/", below)
