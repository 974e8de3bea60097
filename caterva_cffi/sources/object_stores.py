"""Stores of many objects, read by ranges: below a URL, or through a user's reader."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable
from urllib.parse import quote

from caterva_cffi.errors import ArgumentError, Cause, FormatError, StorageError
from caterva_cffi.sources.fsspec_files import check_no_secrets, file_system
from caterva_cffi.sources.http import Http
from caterva_cffi.sources.meters import Meter, meter_of_object, meter_of_url
from caterva_cffi.sources.opening import VERSIONED
from caterva_cffi.sources.source import ReplacedError
from caterva_cffi.sources.versioned import Versioned, read_versioned
from caterva_cffi.steps import WHOLE, MissingError, Range
from caterva_cffi.storage.url_secrets import hide, without_secrets

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Given", "ObjectStore", "RangeStore", "Url", "object_store"]

_Requests: TypeAlias = Sequence[tuple[str, Range]]
_Found: TypeAlias = list[Any]


@runtime_checkable
class RangeStore(Protocol):
    """What `open` takes instead of the URL of a Zarr array: an object that reads many others.

    An object that is replaced while a selection is read should give bytes of one version; if it
    cannot, see `docs/reading.md`. Threads that share the array may read at the same time.
    """

    def read_objects(
        self, requests: Sequence[tuple[str, tuple[int, int] | None]]
    ) -> Sequence[Buffer | None]:
        """Read parts of objects, best at the same time.

        Parameters
        ----------
        requests : sequence of (str, (int, int) or None)
            The object's key, such as "zarr.json" or "c/0/1"; and the first byte and the first one
            behind, which may lie beyond the object's end, or None for all of the object.

        Returns
        -------
        sequence of bytes-like or None
            For each request the bytes, fewer only where the object ends; None if there is no such
            object.
        """
        ...


class ObjectStore(ABC):
    """Many objects, by their keys.

    Attributes
    ----------
    name : str
        What it is called, for people: without passwords and signatures.
    identity : hashable
        A name of it for this process; a later store may get the same one.
    meter : Meter
        Measures what requests cost.
    """

    name: str
    identity: Hashable
    meter: Meter

    @abstractmethod
    def begin(self, concurrency: int) -> Callable[[_Requests], _Found]:
        """Begin to read for one selection.

        Parameters
        ----------
        concurrency : int
            The most requests at a time for each object, where that can be told the client.

        Returns
        -------
        callable
            Gives for each request the bytes, or the exception that tells why there are none:
            `MissingError` where there is no such object.
        """

    @abstractmethod
    def children(self, key: str) -> list[str]:
        """Return the names of what is directly below a key; none if the store cannot tell."""

    @abstractmethod
    def to_arguments(self) -> tuple[Any, ...]:
        """Return what `open` needs to open it again."""


class Given(ObjectStore):
    """A user's store."""

    def __init__(self, store: RangeStore) -> None:
        self._store, self.identity, self.meter = store, id(store), meter_of_object(store)
        self.name = f"<{type(store).__name__}>"

    def begin(self, concurrency: int) -> Callable[[_Requests], _Found]:
        """Begin to read; see `ObjectStore`."""
        return self._read

    def _read(self, requests: _Requests) -> _Found:
        asked = [(key, None if range_ == WHOLE else range_) for key, range_ in requests]
        with self.meter.request(len(asked)) as timed:
            found = self._store.read_objects(asked)
            timed.nbytes = sum(memoryview(data).nbytes for data in found if data is not None)
        if len(found) != len(asked):
            raise StorageError(
                f"{self.name}: {len(found)} answers to {len(asked)} requests",
                Cause("wrong-answer", None, len(found), len(asked)),
            )
        return [
            MissingError(key) if data is None else memoryview(data).cast("B")
            for (key, _), data in zip(asked, found, strict=True)
        ]

    def children(self, key: str) -> list[str]:
        """Return nothing: such a store does not list its keys."""
        return []

    def to_arguments(self) -> tuple[Any, ...]:
        """Return what `open` needs to open it again."""
        return (self._store,)


class Url(ObjectStore):
    """Objects below a URL, in one of fsspec's file systems.

    Over HTTP and from S3 all that is read of an object for one selection is of one version.
    """

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self._url, self._options = url, dict(options)
        self.name = self.identity = without_secrets(url)
        self.meter = meter_of_url(url, options)
        fs, _ = file_system(url, self._options)
        self._kind = next(
            (kind for module, name, kind in VERSIONED if _is_a(fs, module, name)), None
        )

    def _url_of(self, key: str) -> str:
        if self._kind is not Http:
            return f"{self._url.rstrip('/')}/{key}"
        before, mark, query = self._url.partition("?")
        return f"{before.rstrip('/')}/{quote(key)}{mark}{query}"

    def begin(self, concurrency: int) -> Callable[[_Requests], _Found]:
        """Begin to read; see `ObjectStore`."""
        if self._kind is None:
            return self._read
        return partial(self._read_versions, {}, concurrency)

    def _read_versions(
        self, sources: dict[str, Versioned], concurrency: int, requests: _Requests
    ) -> _Found:
        """Read ranges; all of one version, since `sources` know which one came first."""
        assert self._kind is not None
        for key, range_ in requests:
            if key not in sources or range_ == WHOLE:
                sources[key] = self._kind(self._url_of(key), self._options)
        together = concurrency * len({key for key, _ in requests})
        found = read_versioned([(sources[key], range_) for key, range_ in requests], together)
        return [_told(each, key) for (key, _), each in zip(requests, found, strict=True)]

    def _read(self, requests: _Requests) -> _Found:
        """Read ranges through the file system's own function, which may ask for all at once."""
        fs, root = file_system(self._url, self._options)
        paths = [f"{root.rstrip('/')}/{key}" for key, _ in requests]
        ends = [None if range_ == WHOLE else range_[1] for _, range_ in requests]
        starts = [range_[0] for _, range_ in requests]
        try:
            with self.meter.request(len(paths)) as timed:
                found = fs.cat_ranges(paths, starts, ends, on_error="return")
                timed.nbytes = sum(len(each) for each in found if not isinstance(each, Exception))
        except Exception as error:  # each file system has exceptions of its own
            raise self._failed(error) from None
        return [
            self._told(each, key) if isinstance(each, Exception) else memoryview(each).cast("B")
            for (key, _), each in zip(requests, found, strict=True)
        ]

    def _told(self, error: Exception, key: str) -> Exception:
        if isinstance(error, (FileNotFoundError, IsADirectoryError, NotADirectoryError, KeyError)):
            return MissingError(key)
        return self._failed(error)

    def _failed(self, error: Exception) -> Exception:
        reason = hide(str(error) or "no reason given", self._url)
        if isinstance(error, PermissionError):
            return PermissionError(f"{self.name}: not allowed: {reason}")
        return StorageError(f"{self.name} cannot be read: {type(error).__name__}: {reason}")

    def children(self, key: str) -> list[str]:
        """Return the names of what is directly below a key; none if the store cannot tell."""
        try:
            fs, root = file_system(self._url, self._options)
            found = fs.ls(f"{root.rstrip('/')}/{key}".rstrip("/"), detail=False)
        except Exception:  # each file system has exceptions of its own
            return []
        return sorted(str(name).rstrip("/").rpartition("/")[2] for name in found)

    def to_arguments(self) -> tuple[Any, ...]:
        """Return what `open` needs to open it again.

        Raises
        ------
        UnsupportedError
            For a URL with a user, a query or a fragment: a pickle would show them.
        """
        check_no_secrets(self._url)
        return self._url, self._options


def _is_a(fs: Any, module: str, name: str) -> bool:
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(fs, kind)


def _told(found: Any, key: str) -> Any:
    """Return an answer as `ObjectStore.begin` promises it."""
    if isinstance(found, FileNotFoundError):
        return MissingError(key)
    if isinstance(found, ReplacedError):
        return FormatError("the object was replaced meanwhile", "changed-meanwhile")
    return found


def object_store(
    where: str | RangeStore, storage_options: Mapping[str, Any] | None = None
) -> ObjectStore:
    """Return the store below a URL, or a user's one.

    Raises
    ------
    ArgumentError
        For a scheme that fsspec does not know, or options beside a user's store.
    ImportError
        Where fsspec, or what it needs for the scheme, is not installed.
    """
    if isinstance(where, str):
        return Url(where, storage_options or {})
    if storage_options:
        raise ArgumentError(
            "storage_options are given beside a store; expected a URL",
            Cause("contradiction", "storage_options"),
        )
    return Given(where)
