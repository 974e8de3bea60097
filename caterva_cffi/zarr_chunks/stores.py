"""Objects in Zarr's stores, read by ranges of bytes and written, at once or asynchronously."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from zarr import storage
from zarr.abc.store import RangeByteRequest
from zarr.storage import LocalStore, MemoryStore, ObjectStore, StorePath, ZipStore

from caterva_cffi.errors import CatervaError, FormatError, named
from caterva_cffi.planning.policy import ReadPolicy, get_read_policy, remote_policy
from caterva_cffi.sources.meters import Meter, Timed, meter_of
from caterva_cffi.sources.source import merged
from caterva_cffi.steps import WHOLE, MissingError, Range

if TYPE_CHECKING:
    from zarr.core.buffer import Buffer, BufferPrototype

__all__ = [
    "as_bytes",
    "beside",
    "gives_whole",
    "identity",
    "is_in_memory",
    "is_remote",
    "key_of",
    "local_path",
    "meter_of_store",
    "naming",
    "policy_of",
    "read",
    "read_async",
    "reader",
    "reader_async",
    "requests_of",
    "whole_object",
]


_IN_MEMORY = (MemoryStore, getattr(storage, "ManagedMemoryStore", MemoryStore))

_MERGED_BYTES = 16 << 20
"""Of neighbouring ranges that `Store.get_ranges` reads at once, by default."""


def as_bytes(buffer: Buffer) -> memoryview:
    """Return the bytes of one of Zarr's buffers; if they are in memory, without a copy."""
    return memoryview(buffer.as_numpy_array()).cast("B")


def key_of(byte_getter: Any) -> str:
    """Return the name of an object, for people."""
    return str(getattr(byte_getter, "path", "a chunk of a shard"))


@contextmanager
def naming(byte_getter: Any) -> Iterator[None]:
    """Name the object in our errors; add a note with the name to errors of others."""
    try:
        yield
    except CatervaError as error:
        raise named(error, repr(key_of(byte_getter))) from error
    except MissingError:
        raise
    except Exception as error:
        error.add_note(f"This was about {key_of(byte_getter)!r}.")
        raise


def identity(byte_getter: Any) -> Hashable:
    """Return a name of an object for this process; a later store may get the same one."""
    return id(getattr(byte_getter, "store", byte_getter)), key_of(byte_getter)


def _innermost(store: Any) -> Any:
    """Return the store behind Zarr's wrappers."""
    while hasattr(store, "_store"):
        store = store._store
    return store


def is_remote(byte_getter: Any) -> bool:
    """Whether an object is stored behind a network, as far as is known."""
    if not isinstance(byte_getter, StorePath):
        return False
    return not isinstance(_innermost(byte_getter.store), (LocalStore, MemoryStore, ZipStore))


def policy_of(byte_getter: Any) -> ReadPolicy:
    """Return how much to read at a time of an object: the policy of its store."""
    meter = meter_of_store(byte_getter)
    return get_read_policy("local") if meter is None else remote_policy(meter)


def beside(byte_getter: Any) -> int:
    """Return how many objects of a store are read at a time, as far as is known."""
    meter = meter_of_store(byte_getter)
    return 1 if meter is None else meter.beside


def meter_of_store(byte_getter: Any) -> Meter | None:
    """Return what measures requests to an object's store; None if it is not behind a network."""
    return meter_of(byte_getter.store) if is_remote(byte_getter) else None


def local_path(byte_getter: Any) -> str | None:
    """Return the path of an object's file; None if its store is not just a `LocalStore`."""
    if isinstance(byte_getter, StorePath) and type(byte_getter.store) is LocalStore:
        return os.path.join(byte_getter.store.root, byte_getter.path)
    return None


def _requests(ranges: Sequence[Range]) -> list[RangeByteRequest | None]:
    return [None if range_ == WHOLE else RangeByteRequest(*range_) for range_ in ranges]


def _found(buffer: Buffer | None, byte_getter: Any) -> memoryview:
    if buffer is None:
        raise MissingError(key_of(byte_getter))
    return as_bytes(buffer)


def reader(
    byte_getter: Any, prototype: BufferPrototype
) -> Callable[[Sequence[Range]], list[memoryview]]:
    """Return a function that reads ranges of an object; all of one version if the store can."""
    if not is_in_memory(byte_getter):
        return lambda ranges: read(byte_getter, prototype, ranges)
    version: list[memoryview] = []

    def read_slices(ranges: Sequence[Range]) -> list[memoryview]:
        if not version or WHOLE in ranges:
            version[:] = read(byte_getter, prototype, [WHOLE])
        return _slices(version[0], ranges)

    return read_slices


def reader_async(
    byte_getter: Any, prototype: BufferPrototype, concurrency: int
) -> Callable[[Sequence[Range]], Awaitable[list[memoryview]]]:
    """Return a coroutine function that reads `concurrency` ranges at a time; see `reader`."""
    if type(getattr(byte_getter, "store", None)) is ObjectStore:
        return _Tagged(byte_getter, concurrency).read
    if not is_in_memory(byte_getter):
        return lambda ranges: read_async(byte_getter, prototype, ranges, concurrency)
    version: list[memoryview] = []

    async def read_slices(ranges: Sequence[Range]) -> list[memoryview]:
        if not version or WHOLE in ranges:
            version[:] = await read_async(byte_getter, prototype, [WHOLE], 1)
        return _slices(version[0], ranges)

    return read_slices


def is_in_memory(byte_getter: Any) -> bool:
    """Whether the store can give a whole object without a copy."""
    return isinstance(byte_getter, StorePath) and type(byte_getter.store) in _IN_MEMORY


def gives_whole(byte_getter: Any) -> bool:
    """Whether `whole_object` can be asked for an object: it is in memory, obstore's too."""
    if not isinstance(byte_getter, StorePath):
        return False
    store: Any = byte_getter.store
    is_obstore = type(store) is ObjectStore and type(store.store).__name__ == "MemoryStore"
    return is_obstore or is_in_memory(byte_getter)


async def whole_object(byte_getter: Any, prototype: BufferPrototype) -> memoryview | None:
    """Return an object in memory without a copy; None if it is not there, or not plain bytes."""
    store = byte_getter.store
    try:
        if type(store) is ObjectStore:  # an asynchronous answer would come from another thread
            return memoryview(sys.modules["obstore"].get(store.store, byte_getter.path).bytes())
        buffer = await byte_getter.get(prototype)
        return None if buffer is None else as_bytes(buffer)
    except (FileNotFoundError, TypeError):
        return None


def _slices(data: memoryview, ranges: Sequence[Range]) -> list[memoryview]:
    return [data if range_ == WHOLE else data[slice(*range_)] for range_ in ranges]


class _Tagged:
    """Reads ranges of an object in obstore; its answers name the object's version.

    Parameters
    ----------
    byte_getter : StorePath
    concurrency : int
    """

    def __init__(self, byte_getter: StorePath, concurrency: int) -> None:
        self._objects = cast("ObjectStore[Any]", byte_getter.store).store
        self._path = byte_getter.path
        self._meter = meter_of(byte_getter.store)
        self._limit = asyncio.Semaphore(concurrency)
        self._tag: Any = None

    async def read(self, ranges: Sequence[Range]) -> list[memoryview]:
        """Read ranges, one request for each.

        Raises
        ------
        MissingError
        FormatError
            For ranges of several versions.
        """
        return list(await asyncio.gather(*map(self._get, ranges)))

    async def _get(self, range_: Range) -> memoryview:
        options = {} if range_ == WHOLE else {"options": {"range": range_}}
        async with self._limit:
            with self._meter.request() as timed:
                try:
                    answer = await sys.modules["obstore"].get_async(
                        self._objects, self._path, **options
                    )
                except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                    raise MissingError(self._path) from None
                if range_ != WHOLE:
                    tag = answer.meta.get("e_tag"), answer.meta.get("version")
                    self._tag = self._tag or tag
                    if tag != self._tag:
                        raise FormatError("the object was replaced meanwhile", "changed-meanwhile")
                data = memoryview(await answer.bytes_async()).cast("B")
                timed.nbytes = len(data)
            return data


def read(byte_getter: Any, prototype: BufferPrototype, ranges: Sequence[Range]) -> list[memoryview]:
    """Read ranges of an object, one request for each.

    Raises
    ------
    MissingError
    """
    meter = meter_of_store(byte_getter)

    def get(request: RangeByteRequest | None) -> memoryview:
        with Timed(meter) as timed:
            found = byte_getter.get_sync(prototype=prototype, byte_range=request)
            data = _found(found, byte_getter)
            timed.nbytes = len(data)
        return data

    return list(map(get, _requests(ranges)))


async def read_async(
    byte_getter: Any, prototype: BufferPrototype, ranges: Sequence[Range], concurrency: int
) -> list[memoryview]:
    """Read ranges of an object, one request for each, `concurrency` at a time.

    Raises
    ------
    MissingError
    """
    requests = _requests(ranges)
    if len(requests) > 1 and hasattr(getattr(byte_getter, "store", None), "get_ranges"):
        count = len(requests_of(byte_getter, ranges))
        return await _read_by_store(byte_getter, prototype, requests, count, concurrency)
    limit, meter = asyncio.Semaphore(concurrency), meter_of_store(byte_getter)

    async def get(request: RangeByteRequest | None) -> memoryview:
        async with limit:
            with Timed(meter) as timed:
                data = _found(await byte_getter.get(prototype, request), byte_getter)
                timed.nbytes = len(data)
            return data

    return list(await asyncio.gather(*map(get, requests)))


def requests_of(byte_getter: Any, ranges: Sequence[Range]) -> Sequence[Range]:
    """Return the requests that `reader_async` makes for ranges: stores join neighbours."""
    store = getattr(byte_getter, "store", None)
    if len(ranges) < 2 or type(store) is ObjectStore or not hasattr(store, "get_ranges"):
        return ranges
    return merged(ranges, 0, _MERGED_BYTES)[0]


async def _read_by_store(
    byte_getter: StorePath,
    prototype: BufferPrototype,
    requests: list[RangeByteRequest | None],
    count: int,
    concurrency: int,
) -> list[memoryview]:
    """Read ranges by the store's own function, which may be better than one by one."""
    found: list[memoryview | None] = [None] * len(requests)
    groups = byte_getter.store.get_ranges(
        byte_getter.path,
        requests,
        prototype=prototype,
        max_concurrency=concurrency,
        max_gap_bytes=0,  # the plan has already merged ranges
    )
    try:
        with Timed(meter_of_store(byte_getter), count, -(-count // concurrency)) as timed:
            async for group in groups:
                for number, buffer in group:
                    found[number] = data = _found(buffer, byte_getter)
                    timed.nbytes += len(data)
    except BaseExceptionGroup as group:
        missing, rest = group.split(FileNotFoundError)
        error = (rest or group).exceptions[0]
        raise MissingError(key_of(byte_getter)) if missing and rest is None else error from group
    return [_found(data, byte_getter) if data is None else data for data in found]
