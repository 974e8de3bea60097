"""The Zarr v3 codec: a Zarr chunk is stored as a Caterva frame.

If it is the only codec of an array, it reads only the part of a chunk that is asked for. Beside
other codecs, which must see every byte of a chunk, Zarr hands it whole chunks. That works, with a
warning that partial reads are off.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, permutations
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from zarr.core import codec_pipeline
from zarr.errors import ZarrUserWarning
from zarr.registry import register_pipeline

from caterva_cffi.callers import warn_caller
from caterva_cffi.codecs.parameters import Parameters, PartitionWarning
from caterva_cffi.dtypes import check_items
from caterva_cffi.engine.object_files import read_file
from caterva_cffi.errors import ArgumentError, ArgumentTypeError, Cause
from caterva_cffi.geometry.grid import MAX_DIM
from caterva_cffi.zarr_chunks import stores
from caterva_cffi.zarr_chunks.chunk import ChunkSelection, ZarrChunk
from caterva_cffi.zarr_chunks.dry_reads import explain
from caterva_cffi.zarr_chunks.part_reads import PartReads, configuration_of
from caterva_cffi.zarr_chunks.pipeline import CatervaPipeline
from caterva_cffi.zarr_chunks.turns import in_thread

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer

__all__ = [
    "CatervaCodec",
    "CatervaPipeline",
    "PartialReadsOffWarning",
    "PartitionWarning",
    "explain",
]

_MOST_TURNS = 1000

_TELLS_SHAPES = hasattr(codec_pipeline, "FusedCodecPipeline")
"""Earlier releases of Zarr do not say which shape chunks have behind codecs that permute axes."""
_MOST_SHOWN = 2

register_pipeline(CatervaPipeline)


class PartialReadsOffWarning(ZarrUserWarning):
    """Other codecs stand beside `CatervaCodec`, so that Zarr reads and decodes whole chunks."""


@dataclass(frozen=True, kw_only=True, repr=False)
class CatervaCodec(Parameters, PartReads):
    """Codec that stores each chunk of a Zarr array as a Caterva frame.

    Give it to `zarr.create_array` as `serializer`, with `compressors=None`.

    Parameters
    ----------
    block_shape : sequence of int, optional
        Shape of the blocks that decode on their own, in items: a wish, cut to Zarr's chunks.
    chunk_shape : sequence of int, optional
        Shape of Caterva's chunks inside a Zarr chunk, a wish too. By default the Zarr chunk.
    cname, clevel, shuffle, filters, use_dict, tolerance, precision, rate, cell_shape, checksum
        As for `caterva_cffi.numcodecs.Parameters`.

    Examples
    --------
    >>> import zarr
    >>> from caterva_cffi.zarr import CatervaCodec
    >>> z = zarr.create_array(
    ...     "a.zarr", shape=(512, 512, 512), chunks=(256, 256, 256), dtype="float32",
    ...     serializer=CatervaCodec(block_shape=(32, 32, 32), cname="zstd"), compressors=None,
    ... )
    """

    is_fixed_size: ClassVar[bool] = False  # type: ignore[misc]
    _beside: ClassVar[bool] = False  # whether other codecs were seen beside this one
    _largest: ClassVar[dict[tuple[int, ...], None]]
    _partitions: ClassVar[dict[tuple[tuple[int, ...], tuple[int, ...]], None]]  # of arrays it saw

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "_largest", {})
        object.__setattr__(self, "_partitions", {})

    # --- configuration ------------------------------------------------------------------------

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return the codec that a Zarr array's metadata describes.

        Raises
        ------
        ValueError
            For another codec's name, or fields that are unknown.
        """
        return cls(**configuration_of(cls, "caterva", data))

    def to_dict(self) -> dict[str, Any]:
        """Return the codec as a Zarr array's metadata has it; shapes only if they were given."""
        shapes = {"block_shape": self.block_shape, "chunk_shape": self.chunk_shape}
        return {
            "name": "caterva",
            "configuration": {
                **{name: list(shape) for name, shape in shapes.items() if shape is not None},
                **self.configuration(),
                **({"checksum": True} if self.checksum else {}),
            },
        }

    def evolve_from_array_spec(self, array_spec: ArraySpec) -> Self:
        """Check that such arrays can be stored.

        Raises
        ------
        TypeError
            For a dtype with items of variable length.
        ArgumentError
            For too many dimensions, and what the codec or a filter cannot take: dtype, dimensions,
            fill value.
        """
        try:
            check_items(array_spec.dtype.to_native_dtype())
        except TypeError as error:
            raise ArgumentTypeError(
                f"codec 'caterva' cannot store {array_spec.dtype}: {error}",
                Cause("wrong-dtype", "dtype", str(array_spec.dtype)),
            ) from None
        if array_spec.ndim > MAX_DIM:
            raise ArgumentError(
                f"codec 'caterva' stores at most {MAX_DIM} dimensions, the array has "
                f"{array_spec.ndim}",
                Cause("wrong-ndim", "shape", array_spec.ndim, MAX_DIM),
            )
        native = array_spec.dtype.to_native_dtype().newbyteorder("<")
        self.check_array(native, array_spec.ndim)
        if self.is_lossy:
            fill = np.array(array_spec.fill_value, native)
            found = f"fill_value is {fill}, expected one such as 0 (xarray's default is NaN): "
            self.check_items(fill, array_spec.ndim, found)
        if self._partitions:  # the first shape that Zarr tells is that of the array
            self._see_chunk(array_spec.shape, native.itemsize)
        return self

    def _see_chunk(self, shape: tuple[int, ...], itemsize: int) -> None:
        """Remember the partition of a chunk, for people."""
        if len(self._partitions) < _MOST_SHOWN:
            self._partitions[self.partition(shape, itemsize)] = None

    def __repr__(self) -> str:
        # A comment, so that Python still reads it. Of a codec that several arrays have, there is
        # nothing to tell.
        found = list(self._partitions)
        return super().__repr__() + (f"  # blocks {found[0][1]}" if len(found) == 1 else "")

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Check that chunks have room for cells, and remember the largest one, if they differ.

        Block and chunk shapes are not checked here: they are wishes, and Zarr does not say whether
        a codec before this one permuted the axes.

        Raises
        ------
        ArgumentError
            For chunks that are too short for the codec or a filter.
        """
        lengths = getattr(chunk_grid, "chunk_shapes", None)
        itemsize = dtype.to_native_dtype().itemsize
        if lengths is None:
            self.check_chunks(chunk_grid.chunk_shape, itemsize)
            if _TELLS_SHAPES:
                self._see_chunk(chunk_grid.chunk_shape, itemsize)
        else:
            least = [each if isinstance(each, int) else min(each) for each in lengths]
            self.check_chunks(least, itemsize)
            largest = tuple(each if isinstance(each, int) else max(each) for each in lengths)
            self._largest[largest] = None

    def _usual_shapes(
        self, shape: tuple[int, ...]
    ) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
        """Return the largest chunk, if chunks have several shapes, and it with its axes permuted.

        Blocks must be cut for the smaller chunks, which is nothing to warn of.
        """
        for largest in list(self._largest):
            turns = dict.fromkeys(islice(permutations(largest), _MOST_TURNS))
            usual = [each for each in turns if _is_within(shape, each)]
            if usual:
                return largest, usual
        return super()._usual_shapes(shape)

    def compute_encoded_size(self, _input_byte_length: int, _chunk_spec: ArraySpec) -> int:
        """Refuse: the size of a compressed chunk is not known beforehand."""
        raise NotImplementedError

    # --- whole chunks: what is written, and what is read beside other codecs or in a shard -----

    def _encode_sync(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        self._look_for_neighbours(inspect.currentframe())
        return ZarrChunk(self, chunk_spec).encode(chunk_data)

    def _decode_sync(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        self._look_for_neighbours(inspect.currentframe())
        chunk = ZarrChunk(self, chunk_spec)
        return chunk.decode(chunk_data) if self._beside else chunk.decode_lazily(chunk_data)

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        chunk = ZarrChunk(self, chunk_spec)
        return await in_thread(chunk.nbytes, partial(chunk.encode, chunk_data))

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        chunk = ZarrChunk(self, chunk_spec)
        if not self._beside:
            return chunk.decode_lazily(chunk_data)
        return await in_thread(chunk.nbytes, partial(chunk.decode, chunk_data))

    async def encode(
        self, chunks_and_specs: Iterable[tuple[NDBuffer | None, ArraySpec]]
    ) -> Iterable[Buffer | None]:
        """Encode whole chunks."""
        self._look_for_neighbours(inspect.currentframe())
        return await super().encode(chunks_and_specs)

    async def decode(
        self, chunks_and_specs: Iterable[tuple[Buffer | None, ArraySpec]]
    ) -> Iterable[NDBuffer | None]:
        """Decode whole chunks: Zarr merges new items into them, or other codecs need them."""
        self._look_for_neighbours(inspect.currentframe())
        return await super().decode(chunks_and_specs)

    def _look_for_neighbours(self, frame: FrameType | None) -> None:
        """Find out whether other codecs stand beside this one, and warn if so.

        Other codecs need all items of a chunk. Zarr tells a codec nothing of the others: neither
        where it is made and checked, nor with a chunk. Nor does it show by what is asked for: all
        of a chunk is also decoded where new items are put into it. Only the object knows that calls
        the codec, a `ChunkTransform` or a pipeline.

        Parameters
        ----------
        frame : frame
            Of the method that it calls.
        """
        if self._beside or frame is None or frame.f_back is None:
            return
        chain = frame.f_back.f_locals.get("self")
        codecs = getattr(chain, "codecs", chain)
        if isinstance(codecs, Iterable) and len(list(codecs)) > 1:
            object.__setattr__(self, "_beside", True)
            self._warn()

    def _warn(self) -> None:
        warn_caller(
            "partial reads are off: other codecs stand beside CatervaCodec, so Zarr reads and "
            "decodes whole chunks. Create the array with compressors=None and without filters; "
            "CatervaCodec compresses.",
            PartialReadsOffWarning,
        )

    # --- parts of chunks ----------------------------------------------------------------------

    def _chunk(self, spec: ArraySpec) -> ZarrChunk:
        return ZarrChunk(self, spec)

    def _decode_partial_sync(
        self, byte_getter: Any, selection: Any, chunk_spec: ArraySpec
    ) -> NDBuffer | None:
        path = stores.local_path(byte_getter)
        if path is None:
            return super()._decode_partial_sync(byte_getter, selection, chunk_spec)
        return _read_file(path, self._chunk(chunk_spec).selected(byte_getter, selection))

    async def _decode_partial_single(
        self, byte_getter: Any, selection: Any, chunk_spec: ArraySpec
    ) -> NDBuffer | None:
        path = stores.local_path(byte_getter)
        if path is None:
            return await super()._decode_partial_single(byte_getter, selection, chunk_spec)
        wanted = self._chunk(chunk_spec).selected(byte_getter, selection)
        return await in_thread(wanted.nbytes, partial(_read_file, path, wanted), waits=True)


def _is_within(shape: Sequence[int], other: Sequence[int]) -> bool:
    return len(shape) == len(other) and all(map(int.__le__, shape, other))


def _read_file(path: str, wanted: ChunkSelection) -> NDBuffer | None:
    """Read from a file; None if there is none."""
    try:
        return read_file(path, wanted.read, wanted.steps)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
