"""What codecs have in common that read parts of chunks by ranges of bytes."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Generator, Iterable
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from zarr.abc.codec import ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin
from zarr.core.common import concurrent_map
from zarr.core.config import config as zarr_config

from caterva_cffi.errors import ArgumentError, Cause
from caterva_cffi.keywords import hints
from caterva_cffi.steps import Asked, Work, run, run_async
from caterva_cffi.zarr_chunks import stores
from caterva_cffi.zarr_chunks.turns import in_thread

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import NDBuffer

__all__ = ["PartReads", "ReadableChunk", "answers", "configuration_of"]

_CHUNKS_AT_ONCE = 256
_BYTES_AT_ONCE = 64 << 20
"""Of items of chunks behind a network that are read at the same time."""


class ReadableChunk(Protocol):
    """A chunk that is read by steps."""

    def nbytes_of(self, selection: Any) -> int:
        """Return how many bytes the items of a selection take."""

    def read_steps(
        self, byte_getter: Any, selection: Any
    ) -> Generator[Asked, Any, NDBuffer | None]:
        """Read and decode a selection; None for a chunk that is not stored."""


def configuration_of(codec: type, name: str, data: dict[str, Any]) -> dict[str, Any]:
    """Return a codec's arguments from a Zarr array's metadata.

    Parameters
    ----------
    codec : type
        A dataclass, whose fields are the members that are known.
    name : str
    data : dict

    Raises
    ------
    ValueError
        For another codec's name, or members that are unknown.
    """
    if data.get("name") != name:
        raise ArgumentError(
            f"the codec's name is {data.get('name')!r}; expected {name!r}",
            Cause("wrong-value", "name", data.get("name"), name),
        )
    configuration: dict[str, Any] = data.get("configuration", {})
    known = [each.name for each in fields(codec)]
    unknown = sorted(configuration.keys() - known)
    if unknown:
        raise ArgumentError(
            f"codec {name!r} is configured with {', '.join(map(repr, unknown))}; expected "
            f"some of {', '.join(map(repr, known))}{hints(unknown, known)}",
            Cause("unknown-argument", unknown[0], unknown, known),
        )
    return configuration


class PartReads(ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin):
    """A codec that reads parts of chunks.

    Attributes
    ----------
    must_see_frames : bool
        Whether the codec itself must decode all frames, because it does more with them.
    """

    must_see_frames: ClassVar[bool] = False

    @abstractmethod
    def _chunk(self, spec: ArraySpec) -> ReadableChunk:
        """Return a chunk of an array."""

    async def decode_partial(
        self, batch_info: Iterable[tuple[Any, Any, ArraySpec]]
    ) -> Iterable[NDBuffer | None]:
        """Read parts of a batch of chunks.

        Behind a network a small part takes as long as a round of requests. So more chunks are read
        at a time than Zarr's `async.concurrency` says, as far as they are not too much together.
        """
        batch = list(batch_info)
        if not batch or not stores.is_remote(batch[0][0]):
            return await super().decode_partial(batch)
        largest = max(self._chunk(spec).nbytes_of(wanted) for _, wanted, spec in batch)
        fitting = min(_BYTES_AT_ONCE // max(largest, 1), _CHUNKS_AT_ONCE)
        limit = max(fitting, zarr_config.get("async.concurrency"))
        return await concurrent_map(batch, self._decode_partial_single, limit)

    def _decode_partial_sync(
        self, byte_getter: Any, selection: Any, chunk_spec: ArraySpec
    ) -> NDBuffer | None:
        steps = self._chunk(chunk_spec).read_steps(byte_getter, selection)
        return run(steps, answers(byte_getter, chunk_spec))

    async def _decode_partial_single(
        self, byte_getter: Any, selection: Any, chunk_spec: ArraySpec
    ) -> NDBuffer | None:
        steps = self._chunk(chunk_spec).read_steps(byte_getter, selection)
        answer = _answers_async(byte_getter, chunk_spec)
        meter = stores.meter_of_store(byte_getter)
        if meter is None:
            return await run_async(steps, answer)
        with meter.reading():
            await asyncio.sleep(0)  # others begin, too: how much to read depends on how many
            return await run_async(steps, answer)


def answers(byte_getter: Any, spec: ArraySpec) -> Callable[[Asked], Any]:
    """Return the answer to steps that are run synchronously: it reads from a store, or works."""
    read = stores.reader(byte_getter, spec.prototype)

    def answer(asked: Asked) -> Any:
        return asked.action() if isinstance(asked, Work) else read(asked)

    return answer


def _answers_async(byte_getter: Any, spec: ArraySpec) -> Callable[[Asked], Awaitable[Any]]:
    """Return the same for steps that are run in an event loop."""
    concurrency = stores.policy_of(byte_getter).concurrency
    read = stores.reader_async(byte_getter, spec.prototype, concurrency)

    async def answer(asked: Asked) -> Any:
        if isinstance(asked, Work):
            return await in_thread(asked.nbytes, asked.action)
        return await read(asked)

    return answer
