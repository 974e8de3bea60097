"""The Zarr v3 codec: a Zarr chunk is stored as a Caterva frame.

Standing alone in an array's codecs it reads only the part of a chunk that is asked for. Between
other codecs, which must see every byte of a chunk, Zarr hands it whole chunks; it works, and warns
that partial reads are off.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

from zarr.abc.codec import (
    ArrayBytesCodec,
    ArrayBytesCodecPartialDecodeMixin,
    ArrayBytesCodecPartialEncodeMixin,
)
from zarr.errors import ZarrUserWarning

from caterva_cffi import stores
from caterva_cffi.dtypes import check_items
from caterva_cffi.errors import ArgumentError
from caterva_cffi.grid import MAX_DIM
from caterva_cffi.numcodecs import Parameters
from caterva_cffi.plan import run, run_async
from caterva_cffi.reading import read_ranges
from caterva_cffi.turns import in_thread
from caterva_cffi.zarr_chunk import Asked, Chunk, Work

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer

__all__ = ["CatervaCodec", "PartialReadsOffWarning"]


class PartialReadsOffWarning(ZarrUserWarning):
    """Other codecs stand beside `CatervaCodec`, so that Zarr reads and decodes whole chunks."""


@dataclass(frozen=True, kw_only=True)
class CatervaCodec(
    Parameters,
    ArrayBytesCodec,
    ArrayBytesCodecPartialDecodeMixin,
    ArrayBytesCodecPartialEncodeMixin,
):
    """Codec that stores each chunk of a Zarr array as a Caterva frame.

    Give it to `zarr.create_array` as `serializer`, with `compressors=None`.

    Parameters
    ----------
    block_shape : sequence of int, optional
        The blocks that decode on their own, in items; not larger than the Zarr chunk.
    chunk_shape : sequence of int, optional
        Caterva's chunks inside the Zarr chunk. By default the whole Zarr chunk.
    cname, clevel, shuffle, checksum
        As for `caterva_cffi.numcodecs.Parameters`.

    Examples
    --------
    >>> codec = CatervaCodec(block_shape=(32, 32, 32), cname="zstd")
    >>> z = zarr.create_array(
    ...     "data.zarr", shape=(512, 512, 512), chunks=(256, 256, 256), dtype="float32",
    ...     serializer=codec, compressors=None,
    ... )
    """

    is_fixed_size: ClassVar[bool] = False  # type: ignore[misc]

    # --- configuration ------------------------------------------------------------------------

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return the codec that a Zarr array's metadata describes.

        Raises
        ------
        ValueError
            For another codec's name, or fields that are unknown.
        """
        if data.get("name") != "caterva":
            raise ValueError(f"the codec's name is {data.get('name')!r}; expected 'caterva'")
        configuration = data.get("configuration", {})
        unknown = configuration.keys() - cls.__dataclass_fields__.keys()
        if unknown:
            raise ValueError(
                f"codec 'caterva' is configured with {', '.join(map(repr, sorted(unknown)))}; "
                f"expected some of {', '.join(map(repr, cls.__dataclass_fields__))}"
            )
        return cls(**configuration)

    def to_dict(self) -> dict[str, Any]:
        """Return the codec as a Zarr array's metadata has it; shapes only where they were given."""
        shapes = {"block_shape": self.block_shape, "chunk_shape": self.chunk_shape}
        return {
            "name": "caterva",
            "configuration": {
                **{name: list(shape) for name, shape in shapes.items() if shape is not None},
                "cname": self.cname,
                "clevel": self.clevel,
                "shuffle": self.shuffle,
                **({"checksum": True} if self.checksum else {}),
            },
        }

    def evolve_from_array_spec(self, array_spec: ArraySpec) -> Self:
        """Check that arrays like this can be stored.

        Raises
        ------
        TypeError
            For a dtype with items of variable length.
        ArgumentError
            For too many dimensions, or shapes with another number of them.
        """
        try:
            check_items(array_spec.dtype.to_native_dtype())
        except TypeError as error:
            raise TypeError(f"codec 'caterva' cannot store {array_spec.dtype}: {error}") from None
        if array_spec.ndim > MAX_DIM:
            raise ArgumentError(
                f"codec 'caterva' stores at most {MAX_DIM} dimensions, the array has "
                f"{array_spec.ndim}"
            )
        self.check_ndim(array_spec.ndim)
        return self

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Check that the configured shapes fit the array's chunks.

        Raises
        ------
        ArgumentError
        """
        self.check_ndim(len(shape))
        chunk = getattr(chunk_grid, "chunk_shape", None)
        if chunk is None:
            return  # chunks of several shapes: blocks are cut to each
        for name in ("block_shape", "chunk_shape"):
            given = getattr(self, name)
            # Zarr does not say whether a codec before this one turned the axes.
            if given is not None and any(map(int.__gt__, sorted(given), sorted(chunk))):
                raise ArgumentError(f"{name} {given} is larger than the Zarr chunk {tuple(chunk)}")

    def compute_encoded_size(self, _input_byte_length: int, _chunk_spec: ArraySpec) -> int:
        """Refuse: the size of a compressed chunk is not known beforehand."""
        raise NotImplementedError

    # --- whole chunks: other codecs stand beside this one, or Zarr's sharding around it -------

    def _encode_sync(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        self._warn_of_neighbours()
        return Chunk(self, chunk_spec).encode(chunk_data)

    def _decode_sync(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        self._warn_of_neighbours()
        return Chunk(self, chunk_spec).decode(chunk_data)

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        chunk = Chunk(self, chunk_spec)
        return await in_thread(chunk.nbytes, partial(chunk.encode, chunk_data))

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        chunk = Chunk(self, chunk_spec)
        return await in_thread(chunk.nbytes, partial(chunk.decode, chunk_data))

    async def encode(
        self, chunks_and_specs: Iterable[tuple[NDBuffer | None, ArraySpec]]
    ) -> Iterable[Buffer | None]:
        """Encode a batch of whole chunks; Zarr's default pipeline does so beside other codecs."""
        self._warn()
        return await super().encode(chunks_and_specs)

    async def decode(
        self, chunks_and_specs: Iterable[tuple[Buffer | None, ArraySpec]]
    ) -> Iterable[NDBuffer | None]:
        """Decode a batch of whole chunks; Zarr's default pipeline does so beside other codecs."""
        self._warn()
        return await super().decode(chunks_and_specs)

    def _warn_of_neighbours(self) -> None:
        """Warn if the caller is a chain of several codecs.

        Zarr tells a codec nothing of the others. Its fused pipeline hands whole chunks also to a
        codec that stands alone, inside a shard; only the caller, a `ChunkTransform`, knows.
        """
        chain = sys._getframe(2).f_locals.get("self")
        if len(getattr(chain, "codecs", ())) > 1:
            self._warn()

    def _warn(self) -> None:
        if getattr(self, "_warned", False):
            return
        object.__setattr__(self, "_warned", True)
        warnings.warn(
            "partial reads are off: other codecs stand beside CatervaCodec, so Zarr reads and "
            "decodes whole chunks. Create the array with compressors=None and without filters; "
            "CatervaCodec compresses.",
            PartialReadsOffWarning,
            stacklevel=3,
        )

    # --- parts of chunks ----------------------------------------------------------------------

    def _decode_partial_sync(
        self, byte_getter: Any, selection: Any, chunk_spec: ArraySpec
    ) -> NDBuffer | None:
        chunk = Chunk(self, chunk_spec)
        path = stores.local_path(byte_getter)
        if path is not None:
            return _read_file(path, chunk, byte_getter, selection)
        return run(chunk.read_steps(byte_getter, selection), _answers(byte_getter, chunk_spec))

    async def _decode_partial_single(
        self, byte_getter: Any, selection: Any, chunk_spec: ArraySpec
    ) -> NDBuffer | None:
        chunk = Chunk(self, chunk_spec)
        path = stores.local_path(byte_getter)
        if path is not None:
            return await in_thread(
                chunk.nbytes_of(selection),
                partial(_read_file, path, chunk, byte_getter, selection),
                waits=True,
            )
        steps = chunk.read_steps(byte_getter, selection)
        return await run_async(steps, _answers_async(byte_getter, chunk_spec))

    def _encode_partial_sync(
        self, byte_setter: Any, chunk_array: NDBuffer, selection: Any, chunk_spec: ArraySpec
    ) -> None:
        steps = Chunk(self, chunk_spec).write_steps(byte_setter, chunk_array, selection)
        stores.write(byte_setter, run(steps, _answers(byte_setter, chunk_spec)))

    async def _encode_partial_single(
        self, byte_setter: Any, chunk_array: NDBuffer, selection: Any, chunk_spec: ArraySpec
    ) -> None:
        steps = Chunk(self, chunk_spec).write_steps(byte_setter, chunk_array, selection)
        encoded = await run_async(steps, _answers_async(byte_setter, chunk_spec))
        await stores.write_async(byte_setter, encoded)


# --- running steps ----------------------------------------------------------------------------


def _answers(byte_getter: Any, spec: ArraySpec) -> Callable[[Asked], Any]:
    """Return what reads from a store, and does the work, of steps that are run at once."""

    def answer(asked: Asked) -> Any:
        if isinstance(asked, Work):
            return asked.action()
        return stores.read(byte_getter, spec.prototype, asked)

    return answer


def _answers_async(byte_getter: Any, spec: ArraySpec) -> Callable[[Asked], Awaitable[Any]]:
    """Return what reads from a store, and does the work, beside an event loop."""
    concurrency = stores.policy_of(byte_getter).concurrency

    async def answer(asked: Asked) -> Any:
        if isinstance(asked, Work):
            return await in_thread(asked.nbytes, asked.action)
        return await stores.read_async(byte_getter, spec.prototype, asked, concurrency)

    return answer


def _read_file(path: str, chunk: Chunk, byte_getter: Any, selection: Any) -> NDBuffer | None:
    """Read from a file, which stays the same one even if it is replaced meanwhile."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None

    def answer(asked: Asked) -> Any:
        if isinstance(asked, Work):
            return asked.action()
        return read_ranges(descriptor, asked)

    try:
        return run(chunk.read_steps(byte_getter, selection, os.fstat(descriptor)), answer)
    finally:
        os.close(descriptor)
