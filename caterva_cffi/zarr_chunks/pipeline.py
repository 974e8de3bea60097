"""Whole selections of Zarr arrays in a local store: all their chunks are read by one call.

Zarr's own pipelines hand a codec one chunk after the other, and copy what it returns. Here the
chunks of a selection are planned together, and decoded straight into Zarr's output.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from operator import mul
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from zarr.core import codec_pipeline

from caterva_cffi.binding.buffers import address
from caterva_cffi.binding.kernel import Kernel, Piece, Place, kernel_of
from caterva_cffi.codecs.parameters import Parameters
from caterva_cffi.dtypes import allocate
from caterva_cffi.engine.groups import pieces
from caterva_cffi.engine.objects import layout_of_file
from caterva_cffi.errors import CatervaError
from caterva_cffi.geometry import index_arrays
from caterva_cffi.geometry.cutting import cut
from caterva_cffi.geometry.selection import normalize
from caterva_cffi.planning.frame import Frame
from caterva_cffi.planning.policy import get_read_policy
from caterva_cffi.storage.positioned_reads import READ_FLAGS
from caterva_cffi.storage.stored import Version, stamp_of, version_of
from caterva_cffi.zarr_chunks import stores
from caterva_cffi.zarr_chunks.chunk import ZarrChunk, with_dtype
from caterva_cffi.zarr_chunks.turns import in_thread

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import NDBuffer

__all__ = ["CatervaPipeline"]

_Base: Any = getattr(codec_pipeline, "FusedCodecPipeline", codec_pipeline.BatchedCodecPipeline)

Item = tuple[Any, "ArraySpec", Any, Any, bool]
"""What Zarr says of a chunk: where it is, what it is like, what is wanted of it, where that goes in
the output, and whether it is all of the chunk."""

_FILES = 64
"""That are open at a time."""

_BYTES = 64 << 20
"""Of items that are decoded beside the output, before they are put into it."""


class CatervaPipeline(_Base):  # type: ignore[misc]
    """Zarr's codec pipeline, which reads all chunks of a selection by one call.

    To switch it on::

        zarr.config.set({"codec_pipeline.path": "caterva_cffi.zarr.CatervaPipeline"})

    It does that for arrays in a `LocalStore` whose only codec is `CatervaCodec`. All else it leaves
    to Zarr's fused pipeline, where Zarr has one, or to the batched one: other arrays and stores,
    writes, chunks that are not there, and files that something changes meanwhile. Results are the
    same in any case.
    """

    async def read(
        self, batch_info: Iterable[Item], out: NDBuffer, drop_axes: tuple[int, ...] = ()
    ) -> Any:
        """Read chunks into the output; see Zarr's `CodecPipeline`."""
        batch = list(batch_info)
        rest = list(range(len(batch)))
        codecs = list(self)
        items: Any = out.as_ndarray_like()
        is_ours = len(codecs) == 1 and isinstance(codecs[0], Parameters)
        if is_ours and type(items) is np.ndarray and all(map(_is_local, batch)):
            work = partial(_read_files, codecs[0], batch, items, drop_axes)
            rest = await in_thread(items.nbytes, work)
        if not rest:
            return _results(len(batch))
        found = await super().read([batch[number] for number in rest], out, drop_axes)
        if found is None or len(rest) == len(batch):
            return found
        results = list(_results(len(batch)))
        for number, result in zip(rest, found, strict=True):
            results[number] = result
        return tuple(results)


def _results(count: int) -> Any:
    """Return what Zarr expects of chunks that were there; earlier releases expect nothing."""
    result = getattr(codec_pipeline, "GetResult", None)
    return None if result is None else (result(status="present"),) * count


def _is_local(item: Item) -> bool:
    return stores.local_path(item[0]) is not None


class _Opened(NamedTuple):
    """A chunk whose file is open."""

    number: int
    descriptor: int
    version: Version
    frame: Frame


class _Cells(NamedTuple):
    """Boxes of chunks to be decoded, as `Kernel.decode` takes them, and what is done then."""

    boxes: list[tuple[int, list[Piece] | Place, Any, int, Sequence[int]]]
    after: list[Callable[[], None]]
    kept: list[Any]


def _read_files(
    codec: Parameters, batch: list[Item], out: npt.NDArray[Any], drop_axes: tuple[int, ...]
) -> list[int]:
    """Read chunks in files; return the numbers of those that are to be read in another way."""
    rest: list[int] = []
    for first in range(0, len(batch), _FILES):
        some = range(first, min(first + _FILES, len(batch)))
        opened: list[_Opened] = []
        try:
            for number in some:
                each = _open(codec, number, batch[number])
                if each is None:
                    rest.append(number)
                else:
                    opened.append(each)
            rest += _decode(codec, batch, opened, out, drop_axes)
        finally:
            for each in opened:
                os.close(each.descriptor)
    return sorted(rest)


def _open(codec: Parameters, number: int, item: Item) -> _Opened | None:
    """Open a chunk's file and know its layout; None where that cannot be, or may not last."""
    byte_getter, spec, *_ = item
    try:
        descriptor = os.open(stores.local_path(byte_getter) or "", READ_FLAGS)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        stamp = stamp_of(status)
        if stamp is not None:
            key = stores.identity(byte_getter)
            layout = layout_of_file(key, stamp, descriptor, status.st_size)
            ZarrChunk(codec, spec).check(layout)
            kernel, policy = kernel_of(layout.grid), get_read_policy("local")
            frame = Frame(layout, kernel, policy, files=descriptor)
            return _Opened(number, descriptor, version_of(status), frame)
    except (CatervaError, OSError):
        pass  # the other way says what is wrong
    os.close(descriptor)
    return None


def _decode(
    codec: Parameters,
    batch: list[Item],
    opened: list[_Opened],
    out: npt.NDArray[Any],
    drop_axes: tuple[int, ...],
) -> list[int]:
    """Decode chunks into the output; return the numbers of those that are to be read again."""
    planned: dict[Kernel, _Cells] = {}
    nbytes = 0
    try:
        for each in opened:
            _, spec, selection, where, _ = batch[each.number]
            kernel = each.frame.kernel
            cells = planned.setdefault(kernel, _Cells([], [], []))
            for extra in _plan(
                each, ZarrChunk(codec, spec), selection, where, out, drop_axes, cells
            ):
                nbytes += extra
                if nbytes > _BYTES:
                    _run(kernel, cells)
                    nbytes = 0
        for kernel, cells in planned.items():
            _run(kernel, cells)
    except (CatervaError, OSError):
        return [each.number for each in opened]
    return [each.number for each in opened if version_of(os.fstat(each.descriptor)) != each.version]


def _run(kernel: Kernel, cells: _Cells) -> None:
    """Decode boxes, and forget them: the plan of a chunk may go on."""
    if cells.boxes:
        kernel.decode(cells.boxes)
    for action in cells.after:
        action()
    for each in cells:
        each.clear()


def _plan(
    opened: _Opened,
    chunk: ZarrChunk,
    selection: Any,
    where: Any,
    out: npt.NDArray[Any],
    drop_axes: tuple[int, ...],
    cells: _Cells,
) -> Iterable[int]:
    """Plan what is wanted of a chunk; yield how many bytes are decoded beside the output."""
    frame, dtype = opened.frame, chunk.dtype
    layout = frame.layout
    wanted = normalize(selection, chunk.spec.shape)
    dest = out[where] if _is_basic(where) and not drop_axes else None
    is_direct = (
        isinstance(dest, np.ndarray)
        and dest.shape == wanted.shape
        and dest.dtype == layout.dtype == dtype
    )
    if dest is None or not is_direct:
        dest = allocate(wanted.shape, layout.dtype)
        yield dest.nbytes
    sources: dict[int, list[Piece] | Place] = {}
    for boxes, place in index_arrays.batches(layout.grid, wanted, layout.dtype, dest):
        for box, part_of_dest in boxes:
            if not part_of_dest.size:
                continue
            if part_of_dest is not dest:
                yield part_of_dest.nbytes
            first, strides = address(part_of_dest), part_of_dest.strides
            cells.kept.append(part_of_dest)
            for number, part, position in cut(layout.grid, box):
                if number not in sources:
                    source = frame.in_file(number)
                    sources[number] = pieces(source) if isinstance(source, list) else source
                at = first + sum(map(mul, position, strides))
                cells.boxes.append((number, sources[number], part, at, strides))
        if place is not None:
            cells.after.append(place)
    if not is_direct:
        cells.after.append(partial(_put, dest, dtype, out, where, drop_axes))


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
