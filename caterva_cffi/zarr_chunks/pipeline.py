"""Whole selections of Zarr arrays in files or memory: many chunks are read or encoded by one call.

Zarr's own pipelines hand a codec one chunk after the other, and copy what it returns. Here the
chunks of a selection are planned together, and decoded straight into Zarr's output.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from zarr.core import codec_pipeline
from zarr.core.buffer import cpu

from caterva_cffi.codecs.parameters import Parameters
from caterva_cffi.dtypes import allocate, with_dtype
from caterva_cffi.engine.many_frames import read_buffers
from caterva_cffi.engine.object_files import read_files
from caterva_cffi.geometry import index_arrays
from caterva_cffi.geometry.keys import normalize
from caterva_cffi.geometry.selection import Basic, Batch
from caterva_cffi.planning.layout import Chunks
from caterva_cffi.storage.replacement import is_possible
from caterva_cffi.zarr_chunks import stores
from caterva_cffi.zarr_chunks.chunk import ZarrChunk
from caterva_cffi.zarr_chunks.edited_files import ChunkFile
from caterva_cffi.zarr_chunks.turns import in_thread
from caterva_cffi.zarr_chunks.written_chunks import WaitingChunk, WrittenItems, store_all

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import NDBuffer

__all__ = ["CatervaPipeline"]

_Base: Any = getattr(codec_pipeline, "FusedCodecPipeline", codec_pipeline.BatchedCodecPipeline)

Item = tuple[Any, "ArraySpec", Any, Any, bool]
"""What Zarr says of a chunk: where it is, what it is like, what is wanted of it, where that goes in
the output, and whether it is all of the chunk."""

_FILES = 64
"""That are open at a time while parts of them are replaced."""


class CatervaPipeline(_Base):  # type: ignore[misc]
    """Zarr's codec pipeline, which reads all chunks of a selection by one call.

    To switch it on::

        zarr.config.set({"codec_pipeline.path": "caterva_cffi.zarr.CatervaPipeline"})

    It does that for arrays whose only codec is `CatervaCodec` in a `LocalStore`, or in memory: a
    `MemoryStore`, a `ManagedMemoryStore`, or that of obstore. Several chunks that are written as a
    whole to a `LocalStore` are encoded together. Where parts of its chunks are replaced, it reads
    only the blocks that change, and lets the system copy the others to the new file. All else it
    leaves to Zarr's fused pipeline, where Zarr has one, or to the batched one: other arrays and
    stores, chunks that are not there, and files that something changes meanwhile. Results are the
    same in any case.
    """

    async def read(
        self, batch_info: Iterable[Item], out: NDBuffer, drop_axes: tuple[int, ...] = ()
    ) -> Any:
        """Read chunks into the output; see Zarr's `CodecPipeline`."""
        batch = list(batch_info)
        rest = list(range(len(batch)))
        codec = self._only_codec()
        items: Any = out.as_ndarray_like()
        if codec is not None and type(items) is np.ndarray:
            wanted = [_Wanted(ZarrChunk(codec, item[1]), item, items, drop_axes) for item in batch]
            if all(map(_is_local, batch)):
                left = await in_thread(items.nbytes, partial(read_files, wanted))
                rest = sorted(left.missing + left.others)
            elif all(map(_is_in_memory, batch)):
                rest = await _read_memory(wanted, items.nbytes)
        if not rest:
            return _results(len(batch))
        found = await super().read([batch[number] for number in rest], out, drop_axes)
        if found is None or len(rest) == len(batch):
            return found
        results = list(_results(len(batch)))
        for number, result in zip(rest, found, strict=True):
            results[number] = result
        return tuple(results)

    async def write(
        self, batch_info: Iterable[Item], value: NDBuffer, drop_axes: tuple[int, ...] = ()
    ) -> None:
        """Write chunks; see Zarr's `CodecPipeline`."""
        batch = list(batch_info)
        is_ours = self._only_codec() is not None and all(map(_is_local, batch))
        if is_ours and len(batch) > 1 and all(map(_is_complete, batch)):
            await self._write_together(batch, value, drop_axes)
            return
        if not is_ours or not is_possible or all(map(_is_complete, batch)):
            await super().write(batch, value, drop_axes)
            return
        for first in range(0, len(batch), _FILES):
            with ExitStack() as stack:
                some = []
                for place, *what in batch[first : first + _FILES]:
                    some.append((stack.enter_context(ChunkFile(place)), *what))
                await super().write(some, value, drop_axes)

    async def _write_together(
        self, batch: list[Item], value: NDBuffer, drop_axes: tuple[int, ...]
    ) -> None:
        """Write whole chunks, many of which are encoded by one call."""
        waiting: deque[Any] = deque()
        if type(value) is cpu.NDBuffer:
            value = WrittenItems(value.as_ndarray_like())
        places = [(WaitingChunk(place, waiting), *what) for place, *what in batch]
        await super().write(places, value, drop_axes)
        await store_all(waiting)

    def _only_codec(self) -> Parameters | None:
        """Return our codec, if there is no other one and frames need not pass through it."""
        codecs = list(self)
        is_ours = len(codecs) == 1 and isinstance(codecs[0], Parameters)
        return codecs[0] if is_ours and not codecs[0].must_see_frames else None


def _results(count: int) -> Any:
    """Return what Zarr expects of chunks that were there; earlier releases expect nothing."""
    result = getattr(codec_pipeline, "GetResult", None)
    return None if result is None else (result(status="present"),) * count


def _is_complete(item: Item) -> bool:
    return item[4]


def _is_local(item: Item) -> bool:
    return stores.local_path(item[0]) is not None


def _is_in_memory(item: Item) -> bool:
    return stores.gives_whole(item[0])


async def _read_memory(wanted: list[_Wanted], nbytes: int) -> list[int]:
    """Read chunks in memory; return the numbers of those that are left."""
    stored = [await stores.whole_object(each.item[0], each.item[1].prototype) for each in wanted]
    found = [(each, data) for each, data in zip(wanted, stored, strict=True) if data is not None]
    is_read = await in_thread(nbytes, partial(read_buffers, found))
    return [number for number, data in enumerate(stored) if data is None or not is_read]


@dataclass(frozen=True)
class _Wanted:
    """What is wanted of a chunk; see `caterva_cffi.engine.object_files.WantedFile`."""

    chunk: ZarrChunk
    item: Item
    out: npt.NDArray[Any]
    drop_axes: tuple[int, ...]

    @property
    def path(self) -> str:
        return stores.local_path(self.item[0]) or ""

    @property
    def key(self) -> Hashable:
        return stores.identity(self.item[0])

    def check(self, layout: Chunks) -> None:
        """Compare a frame with the array's metadata."""
        self.chunk.check(layout)

    def begin(self, layout: Chunks) -> tuple[None, Iterable[Batch]]:
        """Return boxes that are decoded into the output, or to be put into it then."""
        out, drop_axes, dtype = self.out, self.drop_axes, self.chunk.dtype
        _, spec, selection, where, _ = self.item
        wanted = normalize(selection, spec.shape)
        dest = out[where] if _is_basic(where) and not drop_axes else None
        if (
            isinstance(dest, np.ndarray)
            and dest.shape == wanted.shape
            and dest.dtype == layout.dtype == dtype
        ):
            put = None
        else:
            dest = allocate(wanted.shape, layout.dtype)
            put = partial(_put, dest, dtype, out, where, drop_axes)
        if isinstance(wanted, Basic):
            return None, (wanted.batch(dest, put),)
        found = index_arrays.batches(layout.grid, wanted, layout.dtype, dest)
        return None, found if put is None else chain(found, [Batch([], put)])


def _is_basic(where: Any) -> bool:
    """Whether a part of the output is a view of it."""
    parts = where if isinstance(where, tuple) else (where,)
    return all(isinstance(part, slice) for part in parts)


def _put(
    items: npt.NDArray[Any],
    dtype: np.dtype[Any],
    out: npt.NDArray[Any],
    where: Any,
    drop_axes: tuple[int, ...],
) -> None:
    """Put decoded items into the output, as Zarr's pipelines do."""
    native = with_dtype(items, dtype, dtype)
    out[where] = native.squeeze(axis=drop_axes) if drop_axes else native


CatervaPipeline.__module__ = "caterva_cffi.zarr"  # by which users name it
