"""Ranges of bytes of an object in one of fsspec's file systems.

Some file systems tell with each answer of which version of the object it is. For others, the
object's size, time and checksums are compared with those from before the first read.
"""

from __future__ import annotations

import errno
import importlib
import os
import re
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from caterva_cffi.binding.interrupts import ask_often
from caterva_cffi.errors import ArgumentError, CatervaError, StorageError, UnsupportedError
from caterva_cffi.sources.source import Source
from caterva_cffi.steps import Range
from caterva_cffi.storage.url_secrets import hide, without_secrets

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future

    from typing_extensions import Buffer

_T = TypeVar("_T")

__all__ = [
    "MOST_WHOLE",
    "Answer",
    "FsspecSource",
    "Unversioned",
    "Versioned",
    "check_no_secrets",
    "file_system",
    "read_versioned",
]

MOST_WHOLE = 64 << 20
"""If a server ignores ranges, an object of at most this many bytes is read whole."""

_CONNECTIONS = 100
"""Connections that aiohttp opens. More requests would wait for one, and run out of time."""


class FsspecSource(Source):
    """An object in one of fsspec's file systems."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self._url, self._options = url, dict(options)
        self.name = without_secrets(url)
        self._opened = False
        self._connect()

    def _connect(self) -> None:
        self._fs, self._path = file_system(self._url, self._options)
        self._pid = os.getpid()

    @property
    def fs(self) -> Any:
        """The file system; a new one after a fork, since processes cannot share connections."""
        if self._pid != os.getpid():
            self._connect()  # perhaps in two threads; a lock might be held at another fork
        return self._fs

    def to_arguments(self) -> tuple[Any, ...]:
        """Return what `open` needs to open it again.

        Raises
        ------
        UnsupportedError
            For a URL with a user, a query or a fragment: a pickle would show them.
        """
        check_no_secrets(self._url)
        return self._url, self._options

    def _told(self, action: Callable[[], Any]) -> Any:
        """Do something with the file system; turn its errors into those of this package."""
        try:
            return action()
        except Exception as error:  # each file system has exceptions of its own
            told = self._ours(error)
        raise told

    def _ours(self, error: Exception) -> Exception:
        """Return an error of this package for one of the file system."""
        told = error if isinstance(error, CatervaError) else self._tell(error)
        # The original error may hold the URL; tracebacks and logs would show it.
        told.__cause__ = told.__context__ = None
        return told

    def _tell(self, error: Exception) -> Exception:
        if isinstance(error, FileNotFoundError):
            if self._opened:
                return self._changed("it is gone")
            if self._is_directory():
                return self._directory()
            return FileNotFoundError(errno.ENOENT, "no such object", self.name)
        reason = self._shown(str(error) or "no reason given")
        if isinstance(error, PermissionError):
            return PermissionError(errno.EACCES, f"not allowed: {reason}", self.name)
        return StorageError(f"{self.name} cannot be read: {type(error).__name__}: {reason}")

    def _shown(self, text: str) -> str:
        """Return a text of another library or the server, without secrets."""
        return hide(text, self._url)

    def _is_directory(self) -> bool:
        try:
            return bool(self.fs.isdir(self._path))
        except Exception:  # then it is not there either
            return False

    def _directory(self) -> UnsupportedError:
        return UnsupportedError(
            f"{self.name} is a directory; sparse arrays are only read from a local path. "
            "Store the array with contiguous=True"
        )


class Unversioned(FsspecSource):
    """An object whose file system is asked for its properties, apart from its bytes."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        super().__init__(url, options)
        info = self._told(lambda: self.fs.info(self._path))
        if info.get("type") == "directory":
            raise self._directory()
        self.size = info.get("size")
        self._identity = _identity(info)
        self.identified = self._identity.keys() > {"size"}

    def _read(self, ranges: Sequence[Range], concurrency: int) -> Sequence[Buffer]:
        got: Sequence[Buffer] = self._told(lambda: self._fetch(ranges))
        self._opened = True
        return got

    def _fetch(self, ranges: Sequence[Range]) -> Sequence[Buffer]:
        starts, stops = map(list, zip(*ranges, strict=True))
        got = self.fs.cat_ranges([self._path] * len(ranges), starts, stops, on_error="return")
        for data in got:
            if isinstance(data, BaseException):
                raise data
        return got  # type: ignore[no-any-return]

    def verify(self) -> None:
        """Compare the object's properties with those at its opening."""
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
    """Return the properties of an object that change with its bytes."""
    known = {key: value for key, value in info.items() if key not in _VOLATILE | {"type"}}
    return {key: value for key, value in known.items() if value is not None}


@dataclass(frozen=True)
class Answer:
    """The beginning of an answer to a request for a range; its bytes come later.

    Attributes
    ----------
    content_range : str
        As in HTTP; empty if the range was ignored.
    version : tuple
        Differs for another version of the object.
    read : callable
        Gives the bytes; there may be more than `limit`.
    """

    content_range: str
    version: tuple[str, ...]
    read: Callable[[int], Awaitable[bytes]]


class Versioned(FsspecSource):
    """An object whose answers say of which version they are."""

    _version: tuple[str, ...] = ()
    _whole: bytes | None = None

    def _read(self, ranges: Sequence[Range], concurrency: int) -> Sequence[Buffer]:
        if self._whole is None:
            fs = self.fs
            # An exception of a signal's handler is no error of the file system.
            answer = _run(fs.loop, self._fetch_together(fs, ranges, concurrency))
            got: Sequence[Buffer] = self._told(answer.result)
            self._opened = True
            if self._whole is None:
                return got
        whole = memoryview(self._whole)
        return [whole[start:stop] for start, stop in ranges]

    def _answer(self, part: Range, answer: bytes | Exception) -> memoryview | Exception:
        """Return the bytes of a range, or the error of this package for what was answered."""
        if self._whole is not None:
            return memoryview(self._whole)[part[0] : part[1]]
        if not isinstance(answer, Exception):
            return memoryview(answer)
        is_missing = isinstance(answer, FileNotFoundError) and not self._opened
        return answer if is_missing else self._ours(answer)

    def verify(self) -> None:
        """Do nothing: the version of each answer was compared."""

    async def _fetch_together(
        self, fs: Any, ranges: Sequence[Range], concurrency: int
    ) -> list[bytes]:
        import asyncio  # it takes a tenth of the time of importing NumPy and this package

        limit = asyncio.Semaphore(min(concurrency, _CONNECTIONS))

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

    async def _accept(self, part: Range, answer: Answer) -> bytes:
        """Return a range from the answer to a request for it."""
        if not answer.content_range:
            return await self._accept_whole(answer)
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", answer.content_range)
        if not found:
            raise StorageError(
                f"{self.name}: the answer's range is {self._shown(answer.content_range)!r}"
            )
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

    async def _accept_whole(self, answer: Answer) -> bytes:
        """Keep all of a short object whose server ignores ranges."""
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
            raise self._changed(self._shown(f"it is version {version} instead of {self._version}"))
        elif size != self.size:
            raise self._changed(f"it has {size} bytes instead of {self.size}")


def check_no_secrets(url: str) -> None:
    """Refuse a URL that a pickle must not show.

    Raises
    ------
    UnsupportedError
    """
    name = without_secrets(url)
    if name != url:
        raise UnsupportedError(
            f"{name} cannot be pickled: the pickle would show what its URL hides. Either give "
            "others the URL, to call caterva_cffi.open where they use it, or give users and "
            "passwords as storage_options, which are pickled"
        )


def read_versioned(
    requests: Sequence[tuple[Versioned, Range]],
) -> list[memoryview | Exception]:
    """Read ranges of several objects of one file system, as many at a time as connections allow.

    Returns
    -------
    list of memoryview or Exception
        For each request the bytes, or the error of this package that tells why there are none.
    """
    fs = requests[0][0].fs
    answers = _run(fs.loop, _fetch_each(fs, requests)).result()
    return [
        source._answer(part, answer)
        for (source, part), answer in zip(requests, answers, strict=True)
    ]


async def _fetch_each(
    fs: Any, requests: Sequence[tuple[Versioned, Range]]
) -> list[bytes | Exception]:
    import asyncio  # see `_fetch_together`

    limit = asyncio.Semaphore(_CONNECTIONS)

    async def fetch(source: Versioned, part: Range) -> bytes | Exception:
        async with limit:
            try:
                data = await source._fetch_one(fs, part)
            except Exception as error:  # each file system has exceptions of its own
                return error
            source._opened = True  # the next answer must be of the same version
            return data

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(fetch(*each)) for each in requests]
    return [task.result() for task in tasks]


def _run(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, _T]) -> Future[_T]:
    """Let fsspec's loop do something, and wait; give up if a signal's handler raises."""
    import asyncio
    from concurrent.futures import wait

    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        running = None
    if running is loop:  # this would wait for ever
        work.close()
        raise RuntimeError("arrays cannot be read in the event loop of fsspec")
    future = asyncio.run_coroutine_threadsafe(work, loop)
    try:
        ask_often(lambda seconds: not wait([future], seconds).not_done)
    finally:
        future.cancel()
    return future


def file_system(url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    """Return fsspec's file system for a URL, and the object's path in it."""
    name = without_secrets(url)
    try:
        fsspec = importlib.import_module("fsspec.core")
    except ImportError as error:
        raise ImportError(
            f"to open {name!r}, install fsspec: pip install 'caterva-cffi[remote]'"
        ) from error
    told: Exception
    try:
        fs, path = fsspec.url_to_fs(url, **options)
    except ImportError as error:
        told = ImportError(f"to open {name!r}: {hide(str(error), url)}")
    except ValueError as error:
        told = ArgumentError(f"{name!r} cannot be opened: {hide(str(error), url)}")
    except TypeError:  # the file system does not have such options
        raise
    except Exception as error:  # some file systems connect here
        told = StorageError(
            f"{name!r} cannot be opened: {type(error).__name__}: {hide(str(error), url)}"
        )
    else:
        return fs, path
    raise told  # not "from" the other error, which may hold the URL
