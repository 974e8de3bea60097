"""Ranges of bytes of one object: from fsspec's file systems, or from any object that reads ranges.

Everything that is read of an object must come from one version of it. HTTP servers and S3 say with
each answer which version it is of; of other file systems the object's size, time and checksums are
compared with those from before the first read.
"""

from __future__ import annotations

import errno
import importlib
import os
import re
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from caterva_cffi.errors import ArgumentError, CatervaError, StorageError, UnsupportedError
from caterva_cffi.plan import Range
from caterva_cffi.policy import get_read_policy

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["MOST_WHOLE", "RangeReader", "Source", "source_of"]

MOST_WHOLE = 64 << 20
"""Bytes of the longest object that is read whole from a server that ignores ranges."""


@runtime_checkable
class RangeReader(Protocol):
    """What `open` takes instead of a URL: an object that reads ranges of the bytes of a frame.

    The bytes must not change while the array is in use. An attribute `size`, the number of all
    bytes, is used where there is one: a frame of another length is refused, and so are reads after
    it changed. Several threads read at once if they share the array.
    """

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> Sequence[Buffer]:
        """Read ranges, best at the same time.

        Parameters
        ----------
        ranges : sequence of (int, int)
            First byte, and the first one behind. The first range of all may reach behind the end.

        Returns
        -------
        sequence of bytes-like
            What each range holds; less than it only where the bytes end.
        """
        ...


class Source(ABC):
    """One object, of which ranges are read.

    Attributes
    ----------
    name : str
        What it is called, for people: without passwords and signatures.
    size : int or None
        Its bytes, where they are known.
    identified : bool
        Whether another version of the object would be noticed even if it has the same size.
    """

    name: str
    size: int | None = None
    identified = False

    def read(self, ranges: Sequence[Range]) -> list[memoryview]:
        """Read ranges; one that reaches behind the object's end lacks bytes.

        Raises
        ------
        StorageError
            For a request that fails, an answer of another length, or an object that has changed.
        FileNotFoundError, PermissionError
            For an object that was never there, or is not for the user.
        """
        asked = [self._clip(part) for part in ranges]
        full = [part for part in asked if part[1] > part[0]]
        answers = iter(self._read(full) if full else ())
        got = [_view(next(answers)) if stop > start else memoryview(b"") for start, stop in asked]
        for part, data in zip(asked, got, strict=True):
            start, stop = self._clip(part)  # its size may be known only now
            if len(data) > stop - start or (self.size is not None and len(data) < stop - start):
                self.verify()
                raise StorageError(
                    f"{self.name}: {len(data)} bytes came where {stop - start} were asked for, "
                    f"from byte {start} to {stop}: "
                    + ("ranges are ignored" if len(data) > stop - start else "it was cut short")
                )
        return got

    def _clip(self, part: Range) -> Range:
        """Return what of a range can be there."""
        return part if self.size is None else (min(part[0], self.size), min(part[1], self.size))

    @abstractmethod
    def _read(self, ranges: Sequence[Range]) -> Sequence[Buffer]:
        """Read ranges that hold something."""

    @abstractmethod
    def verify(self) -> None:
        """Look whether all that was read so far is of one version of the object.

        Raises
        ------
        StorageError
        """

    def _changed(self, what: str = "") -> StorageError:
        return StorageError(
            f"{self.name} has changed since it was opened{what and ': '}{what}; open it again"
        )

    @abstractmethod
    def to_arguments(self) -> tuple[Any, ...]:
        """Return what `open` needs to open it again."""


def _view(data: Buffer) -> memoryview:
    return memoryview(data).cast("B")


class _Given(Source):
    """A reader of the user's, whose bytes do not change."""

    identified = True

    def __init__(self, reader: RangeReader) -> None:
        self._reader = reader
        self.name = f"<{type(reader).__name__}>"
        self.size = self._present_size()

    def _present_size(self) -> int | None:
        size = getattr(self._reader, "size", None)
        if size is not None and (not isinstance(size, int) or size < 0):
            raise ArgumentError(f"{self.name}: its size is {size!r}; expected bytes, or None")
        return size

    def _read(self, ranges: Sequence[Range]) -> Sequence[Buffer]:
        got = self._reader.read_ranges(list(ranges))
        if len(got) != len(ranges):
            raise StorageError(f"{self.name}: {len(got)} answers to {len(ranges)} ranges")
        return got

    def verify(self) -> None:
        size = self._present_size()
        if size != self.size:
            raise self._changed(f"it has {size} bytes instead of {self.size}")

    def to_arguments(self) -> tuple[Any, ...]:
        return self._reader, "r"


class _Stored(Source):
    """An object in one of fsspec's file systems."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self._url, self._options = url, dict(options)
        self.name = _without_secrets(url)
        self._lock = threading.Lock()
        self._opened = False
        self._connect()

    def _connect(self) -> None:
        self._fs, self._path = _file_system(self._url, self._options)
        self._pid = os.getpid()

    @property
    def fs(self) -> Any:
        """The file system; after a fork a new one, since connections cannot be shared."""
        if self._pid != os.getpid():
            with self._lock:
                if self._pid != os.getpid():
                    self._connect()
        return self._fs

    def to_arguments(self) -> tuple[Any, ...]:
        return self._url, "r", self._options

    def _read(self, ranges: Sequence[Range]) -> Sequence[Buffer]:
        got: Sequence[Buffer] = self._told(lambda: self._fetch(ranges))
        self._opened = True
        return got

    @abstractmethod
    def _fetch(self, ranges: Sequence[Range]) -> Sequence[Buffer]:
        """Read ranges; errors may be of any kind."""

    def _told(self, action: Callable[[], Any]) -> Any:
        """Do something with the file system, and tell what went wrong as errors of this package."""
        try:
            return action()
        except CatervaError:
            raise
        except FileNotFoundError as error:
            if self._opened:
                raise self._changed("it is gone") from error
            if self._is_directory():
                raise self._directory() from error
            raise FileNotFoundError(errno.ENOENT, "no such object", self.name) from error
        except PermissionError as error:
            raise PermissionError(errno.EACCES, f"not allowed: {error}", self.name) from error
        except Exception as error:  # each file system has exceptions of its own
            told = str(error) or "no reason given"
            raise StorageError(
                f"{self.name} cannot be read: {type(error).__name__}: {told}"
            ) from error

    def _is_directory(self) -> bool:
        try:
            return bool(self.fs.isdir(self._path))
        except Exception:  # it is not there anyhow
            return False

    def _directory(self) -> UnsupportedError:
        return UnsupportedError(
            f"{self.name} is a directory; sparse arrays are only read from a local path. "
            "Store the array with contiguous=True"
        )


class _Files(_Stored):
    """An object in a file system that tells its properties apart from its bytes."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        super().__init__(url, options)
        info = self._told(lambda: self.fs.info(self._path))
        if info.get("type") == "directory":
            raise self._directory()
        self.size = info.get("size")
        self._identity = _identity(info)
        self.identified = self._identity.keys() > {"size"}

    def _fetch(self, ranges: Sequence[Range]) -> Sequence[Buffer]:
        starts, stops = map(list, zip(*ranges, strict=True))
        got = self.fs.cat_ranges([self._path] * len(ranges), starts, stops, on_error="return")
        for data in got:
            if isinstance(data, BaseException):
                raise data
        return got  # type: ignore[no-any-return]

    def verify(self) -> None:
        self.fs.invalidate_cache(self._path)
        now = _identity(self._told(lambda: self.fs.info(self._path)))
        if now != self._identity:
            differ = sorted(
                key
                for key in now.keys() | self._identity.keys()
                if now.get(key) != self._identity.get(key)
            )
            raise self._changed(f"another {', '.join(differ)}")


_VOLATILE = {"name", "url", "mode", "uid", "gid", "nlink", "islink", "atime", "accessTime"}


def _identity(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return those properties of an object that change with its bytes."""
    known = {key: value for key, value in info.items() if key not in _VOLATILE | {"type"}}
    return {key: value for key, value in known.items() if value is not None}


@dataclass(frozen=True)
class _Answer:
    """What an answer to a request for a range says before its bytes come.

    Attributes
    ----------
    content_range : str
        As in HTTP; empty where the range was ignored.
    version : tuple
        What differs in another version of the object.
    read : callable
        Gives the bytes, of which there may be more than `limit`.
    """

    content_range: str
    version: tuple[str, ...]
    read: Callable[[int], Awaitable[bytes]]


class _Versioned(_Stored):
    """An object of which each answer says what version it is of."""

    _version: tuple[str, ...] = ()
    _whole: bytes | None = None

    def _fetch(self, ranges: Sequence[Range]) -> Sequence[Buffer]:
        if self._whole is None:
            sync = importlib.import_module("fsspec.asyn").sync
            got: Sequence[Buffer] = sync(self.fs.loop, self._fetch_together, self.fs, ranges)
            if self._whole is None:
                return got
        whole = memoryview(self._whole)
        return [whole[start:stop] for start, stop in ranges]

    def verify(self) -> None:
        """Do nothing: each answer was looked at."""

    async def _fetch_together(self, fs: Any, ranges: Sequence[Range]) -> list[bytes]:
        import asyncio  # takes a tenth of the time in which NumPy and all of this are imported

        limit = asyncio.Semaphore(get_read_policy("remote").concurrency)

        async def fetch(part: Range) -> bytes:
            async with limit:
                return await self._fetch_one(fs, part)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(fetch(part)) for part in ranges]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [task.result() for task in tasks]

    @abstractmethod
    async def _fetch_one(self, fs: Any, part: Range) -> bytes:
        """Ask for a range, and have the answer checked by `_accept`."""

    async def _accept(self, part: Range, answer: _Answer) -> bytes:
        """Return a range from the answer to a request for it."""
        if not answer.content_range:
            return await self._accept_whole(answer)
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", answer.content_range)
        if not found:
            raise StorageError(f"{self.name}: the answer's range is {answer.content_range!r}")
        start, stop = int(found[1]), int(found[2]) + 1
        size = self.size if found[3] == "*" else int(found[3])
        self._check_version(answer.version, size)
        end = part[1] if self.size is None else min(part[1], self.size)
        if start != part[0] or stop > end or (stop < end and self.size is not None):
            raise StorageError(
                f"{self.name}: bytes {part[0]} to {end} were asked for; {start} to {stop} came"
            )
        data = await answer.read(stop - start)
        if len(data) != stop - start:
            raise StorageError(
                f"{self.name}: {len(data)} of {stop - start} bytes came, from byte {start} on"
            )
        return data

    async def _accept_whole(self, answer: _Answer) -> bytes:
        """Keep a short object whole if its server ignores ranges."""
        if self._opened:
            raise StorageError(f"{self.name}: the server ignored the range that was asked for")
        data = await answer.read(MOST_WHOLE)
        if len(data) > MOST_WHOLE:
            raise StorageError(
                f"{self.name}: the server ignores ranges, and the object has more than "
                f"{MOST_WHOLE} bytes. Download it, and open the file"
            )
        self._whole, self.size, self.identified = data, len(data), True
        return b""

    def _check_version(self, version: tuple[str, ...], size: int | None) -> None:
        if not self._opened:
            self._version, self.size, self.identified = version, size, any(version)
        elif version != self._version:
            raise self._changed(f"it is version {version} instead of {self._version}")
        elif size != self.size:
            raise self._changed(f"it has {size} bytes instead of {self.size}")


class _Http(_Versioned):
    """An object of an HTTP server."""

    async def _fetch_one(self, fs: Any, part: Range) -> bytes:
        session = await fs.set_session()
        headers = {
            **fs.kwargs.get("headers", {}),
            "Range": f"bytes={part[0]}-{part[1] - 1}",
            "Accept-Encoding": "identity",
        }
        arguments = {**fs.kwargs, "headers": headers}
        async with session.get(fs.encode_url(self._path), **arguments) as response:
            if response.status in (404, 410):
                raise FileNotFoundError(self.name)
            if response.status in (401, 403):
                raise PermissionError(f"HTTP status {response.status} {response.reason}")
            if response.status == 416 and not self._opened:
                return b""  # nothing is there
            if response.status not in (200, 206):
                raise StorageError(
                    f"{self.name} cannot be read: HTTP status {response.status} {response.reason}"
                )
            encoding = response.headers.get("Content-Encoding", "identity")
            if encoding != "identity":
                raise StorageError(f"{self.name}: the server encodes it as {encoding!r}")

            async def read(limit: int) -> bytes:
                if response.content_length is not None and response.content_length <= limit:
                    return bytes(await response.read())
                data = bytearray()
                while len(data) <= limit and (piece := await response.content.readany()):
                    data += piece
                return bytes(data)

            tag = response.headers.get("ETag", "")
            # A weak tag is the same for versions that mean the same.
            strong = tag and not tag.startswith("W/")
            version = (tag, "" if strong else response.headers.get("Last-Modified", ""))
            content_range = response.headers.get("Content-Range", "")
            return await self._accept(
                part, _Answer(content_range if response.status == 206 else "", version, read)
            )


class _S3(_Versioned):
    """An object of S3, through s3fs."""

    async def _fetch_one(self, fs: Any, part: Range) -> bytes:
        bucket, key, version_id = fs.split_path(self._path)
        condition = {"IfMatch": self._version[0]} if self._opened and self._version[0] else {}
        if fs.version_aware and self._opened:
            version_id = version_id or self._version[1]
        if version_id:
            condition["VersionId"] = version_id

        async def fetch() -> bytes:
            response = await fs._call_s3(
                "get_object",
                Bucket=bucket,
                Key=key,
                Range=f"bytes={part[0]}-{part[1] - 1}",
                **condition,
            )
            async with response["Body"] as body:

                async def read(limit: int) -> bytes:
                    if response["ContentLength"] > limit:
                        return bytes(limit + 1)
                    return bytes(await body.read())

                version = (response.get("ETag", ""), response.get("VersionId", ""))
                content_range = response.get("ContentRange", "")
                return await self._accept(part, _Answer(content_range, version, read))

        try:
            # Its own reads are repeated in this way as well.
            return await sys.modules["s3fs.core"]._error_wrapper(  # type: ignore[no-any-return]
                fetch, retries=fs.retries
            )
        except OSError as error:
            status = _status(error)
            if status == 412:
                raise self._changed() from error
            if status == 416 and not self._opened:
                return b""  # nothing is there
            raise


def _status(error: BaseException) -> int | None:
    """Return the HTTP status of an error of S3."""
    response = getattr(error.__cause__, "response", None) or {}
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status if isinstance(status, int) else None


def _file_system(url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    """Return fsspec's file system for a URL, and the object's path in it."""
    try:
        fsspec = importlib.import_module("fsspec.core")
    except ImportError as error:
        raise ImportError(
            f"to open {_without_secrets(url)!r}, install fsspec: pip install 'caterva-cffi[remote]'"
        ) from error
    try:
        fs, path = fsspec.url_to_fs(url, **options)
    except ImportError as error:
        raise ImportError(f"to open {_without_secrets(url)!r}: {error}") from error
    except ValueError as error:
        raise ArgumentError(f"{_without_secrets(url)!r} cannot be opened: {error}") from error
    return fs, path


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
            raise ArgumentError("storage_options are given beside a reader; expected a URL")
        return _Given(where)
    options = dict(storage_options or {})
    fs, _ = _file_system(where, options)
    for module, name, source in _SPECIAL:
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(fs, kind):
            return source(where, options)
    return _Files(where, options)


_SPECIAL: list[tuple[str, str, type[_Versioned]]] = [
    ("fsspec.implementations.http", "HTTPFileSystem", _Http),
    ("s3fs.core", "S3FileSystem", _S3),
]


def _without_secrets(url: str) -> str:
    """Return a URL without user, password, and query, in which signatures are."""
    shown = re.sub(r"://[^/@]*@", "://", url)
    base, mark, _ = shown.partition("?")
    return f"{base}?..." if mark else base
