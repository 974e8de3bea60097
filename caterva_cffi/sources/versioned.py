"""Ranges of bytes of objects whose answers say of which version they are, as HTTP and S3 do."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from caterva_cffi.binding.interrupts import ask_often
from caterva_cffi.errors import Cause, StorageError
from caterva_cffi.sources.fsspec_files import FsspecSource
from caterva_cffi.steps import Range

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future

    from typing_extensions import Buffer

__all__ = ["MOST_WHOLE", "Answer", "Versioned", "read_versioned"]

_T = TypeVar("_T")

MOST_WHOLE = 64 << 20
"""If a server ignores ranges, an object of at most this many bytes is read whole."""

_CONNECTIONS = 100
"""Connections that aiohttp opens. More requests would wait for one, and run out of time."""


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

    def _answer(self, range_: Range, answer: bytes | Exception) -> memoryview | Exception:
        """Return the bytes of a range, or the error of this package for what was answered."""
        if self._whole is not None:
            return memoryview(self._whole)[range_[0] : range_[1]]
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

        async def fetch(range_: Range) -> bytes:
            async with limit:
                return await self._fetch_one(fs, range_)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(fetch(range_)) for range_ in ranges]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _measured(self, fs: Any, range_: Range) -> bytes:
        """Ask once, and measure how long it takes."""
        with self.meter.request() as timed:
            data = await self._ask(fs, range_)
            timed.nbytes = len(data)
        return data

    @abstractmethod
    async def _ask(self, fs: Any, range_: Range) -> bytes:
        """Ask for a range once."""

    @abstractmethod
    async def _fetch_one(self, fs: Any, range_: Range) -> bytes:
        """Ask for a range, and have the answer checked by `_accept`."""

    async def _accept(self, range_: Range, answer: Answer) -> bytes:
        """Return a range from the answer to a request for it."""
        if not answer.content_range:
            return await self._accept_whole(answer)
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", answer.content_range)
        if not found:
            raise StorageError(
                f"{self.name}: the answer's range is {self._shown(answer.content_range)!r}",
                "wrong-answer",
            )
        start, stop = int(found[1]), int(found[2]) + 1
        size = self.size if found[3] == "*" else int(found[3])
        self._check_version(answer.version, size)
        end = range_[1] if self.size is None else min(range_[1], self.size)
        if start != range_[0] or stop > end or (stop < end and self.size is not None):
            raise StorageError(
                f"{self.name}: bytes {range_[0]} to {end} were asked for; {start} to {stop} came",
                Cause("wrong-answer", None, (start, stop), (range_[0], end)),
            )
        data = await answer.read(stop - start)
        if len(data) != stop - start:
            raise StorageError(
                f"{self.name}: {len(data)} of {stop - start} bytes came, from byte {start} on",
                Cause("wrong-answer", None, len(data), stop - start),
            )
        return data

    async def _accept_whole(self, answer: Answer) -> bytes:
        """Keep all of a short object whose server ignores ranges."""
        if self._opened:
            raise StorageError(
                f"{self.name}: the server ignored the range that was asked for", "ranges-ignored"
            )
        data = await answer.read(MOST_WHOLE)
        if len(data) > MOST_WHOLE:
            raise StorageError(
                f"{self.name}: the server ignores ranges, and the object has more than "
                f"{MOST_WHOLE} bytes. Download it, and open the file",
                Cause("ranges-ignored", None, len(data), MOST_WHOLE),
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


def read_versioned(
    requests: Sequence[tuple[Versioned, Range]], concurrency: int
) -> list[memoryview | Exception]:
    """Read ranges of several objects of one file system.

    Parameters
    ----------
    requests : sequence of (Versioned, Range)
    concurrency : int
        The most requests at a time; connections may allow fewer.

    Returns
    -------
    list of memoryview or Exception
        For each request the bytes, or the error of this package that tells why there are none.
    """
    fs = requests[0][0].fs
    answers = _run(fs.loop, _fetch_each(fs, requests, concurrency)).result()
    return [
        source._answer(range_, answer)
        for (source, range_), answer in zip(requests, answers, strict=True)
    ]


async def _fetch_each(
    fs: Any, requests: Sequence[tuple[Versioned, Range]], concurrency: int
) -> list[bytes | Exception]:
    import asyncio  # see `_fetch_together`

    limit = asyncio.Semaphore(min(concurrency, _CONNECTIONS))

    async def fetch(source: Versioned, range_: Range) -> bytes | Exception:
        async with limit:
            try:
                data = await source._fetch_one(fs, range_)
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
