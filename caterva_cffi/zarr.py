"""The Zarr v3 codec: a Zarr chunk is stored as a Caterva frame.

Standing alone in an array's codecs it reads only the part of a chunk that is asked for. Between
other codecs, which must see every byte of a chunk, Zarr hands it whole chunks; it works, and warns
that partial reads are off.

A stored frame holds one Zarr chunk: its shape, and its dtype in little-endian byte order. Zarr pads
the chunks at the array's edges with the fill value, and leaves out those that hold nothing else.
"""

from __future__ import annotations

import math
import os
import sys
import warnings
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from zarr.abc.codec import (
    ArrayBytesCodec,
    ArrayBytesCodecPartialDecodeMixin,
    ArrayBytesCodecPartialEncodeMixin,
)
from zarr.errors import ZarrUserWarning

from caterva_cffi import cache, stores
from caterva_cffi.editing import FrameEditor
from caterva_cffi.errors import ArgumentError, CatervaError, FormatError
from caterva_cffi.fetching import Fetched, Fetching, kernel_of, whole_layout
from caterva_cffi.grid import MAX_DIM, Grid
from caterva_cffi.layout import Layout
from caterva_cffi.metalayers import check_dtype
from caterva_cffi.numcodecs import Parameters
from caterva_cffi.plan import WHOLE, Range, run, run_async
from caterva_cffi.policy import ReadPolicy, get_read_policy
from caterva_cffi.reading import read_ranges, stamp_of
from caterva_cffi.selection import normalize
from caterva_cffi.turns import in_thread

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer

__all__ = ["CatervaCodec", "PartialReadsOffWarning"]


_Asked: TypeAlias = list[Range] | Fetched
"""Ranges of an object, or what is to be decoded."""


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
    cname, clevel, shuffle
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
            check_dtype(array_spec.dtype.to_native_dtype())
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
        return self._encode(chunk_data, chunk_spec)

    def _decode_sync(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        self._warn_of_neighbours()
        return self._decode(chunk_data, (), chunk_spec)

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        size = math.prod(chunk_spec.shape) * chunk_spec.dtype.to_native_dtype().itemsize
        return await in_thread(size, partial(self._encode, chunk_data, chunk_spec))

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        size = math.prod(chunk_spec.shape) * chunk_spec.dtype.to_native_dtype().itemsize
        return await in_thread(size, partial(self._decode, chunk_data, (), chunk_spec))

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
        path = stores.local_path(byte_getter)
        if path is not None:
            return self._decode_file(path, byte_getter, selection, chunk_spec)

        def answer(asked: _Asked) -> Any:
            if isinstance(asked, Fetched):
                return asked.decode()
            return stores.read(byte_getter, chunk_spec.prototype, asked)

        return run(self._read_steps(byte_getter, selection, chunk_spec), answer)

    async def _decode_partial_single(
        self, byte_getter: Any, selection: Any, chunk_spec: ArraySpec
    ) -> NDBuffer | None:
        path = stores.local_path(byte_getter)
        if path is not None:
            size = math.prod(normalize(selection, chunk_spec.shape).shape)
            return await in_thread(
                size * chunk_spec.dtype.to_native_dtype().itemsize,
                partial(self._decode_file, path, byte_getter, selection, chunk_spec),
                waits=True,
            )

        concurrency = stores.policy_of(byte_getter).concurrency

        async def answer(asked: _Asked) -> Any:
            if isinstance(asked, Fetched):
                return await in_thread(asked.nbytes, asked.decode)
            return await stores.read_async(byte_getter, chunk_spec.prototype, asked, concurrency)

        return await run_async(self._read_steps(byte_getter, selection, chunk_spec), answer)

    def _decode_file(
        self, path: str, byte_getter: Any, selection: Any, spec: ArraySpec
    ) -> NDBuffer | None:
        """Read from a file, which stays the same one even if it is replaced meanwhile."""
        try:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

        def answer(asked: _Asked) -> Any:
            if isinstance(asked, Fetched):
                return asked.decode()
            return read_ranges(descriptor, asked)

        try:
            status = os.fstat(descriptor)
            return run(self._read_steps(byte_getter, selection, spec, status), answer)
        finally:
            os.close(descriptor)

    def _read_steps(
        self,
        byte_getter: Any,
        selection: Any,
        spec: ArraySpec,
        status: os.stat_result | None = None,
    ) -> Generator[_Asked, Any, NDBuffer | None]:
        """Read and decode a selection of a chunk.

        Asks for ranges of the stored object, and for decoding, which takes a while.

        Parameters
        ----------
        byte_getter : ByteGetter
            Where the chunk is, which says what reading costs.
        selection : tuple
        spec : ArraySpec
        status : os.stat_result, optional
            Of the file in which the chunk is.
        """
        fetching = self._fetching(selection, spec, stores.policy_of(byte_getter))
        size = None if status is None else status.st_size
        stamp = None if status is None else stamp_of(status)
        begin = partial(fetching.steps, size)
        try:
            with _naming(byte_getter):
                fetched = yield from cache.shared.steps(begin, stores.identity(byte_getter), stamp)
                try:
                    items = yield fetched
                except FormatError:
                    if size is not None or fetched.is_whole:
                        raise
                    # It may have been replaced between two requests.
                    [stored] = yield [WHOLE]
                    items = yield fetching.whole(stored)
        except stores.MissingError:
            return None
        return _as_ndbuffer(items, spec)

    def _fetching(self, selection: Any, spec: ArraySpec, policy: ReadPolicy) -> Fetching:
        usual = _grid(self, spec.shape, spec.dtype.to_native_dtype().itemsize)
        return Fetching(normalize(selection, spec.shape), usual, policy, partial(_check, spec=spec))

    def _encode_partial_sync(
        self, byte_setter: Any, chunk_array: NDBuffer, selection: Any, chunk_spec: ArraySpec
    ) -> None:
        stored = None
        if not _is_whole(selection, chunk_spec.shape):
            stored = byte_setter.get_sync(prototype=chunk_spec.prototype)
        with _naming(byte_setter):
            encoded = self._merge(stored, chunk_array, selection, chunk_spec)
        if encoded is None:
            byte_setter.delete_sync()
        else:
            byte_setter.set_sync(encoded)

    async def _encode_partial_single(
        self, byte_setter: Any, chunk_array: NDBuffer, selection: Any, chunk_spec: ArraySpec
    ) -> None:
        stored = None
        if not _is_whole(selection, chunk_spec.shape):
            stored = await byte_setter.get(prototype=chunk_spec.prototype)
        with _naming(byte_setter):
            size = math.prod(chunk_spec.shape) * chunk_spec.dtype.to_native_dtype().itemsize
            merge = partial(self._merge, stored, chunk_array, selection, chunk_spec)
            encoded = await in_thread(size, merge)
        if encoded is None:
            await byte_setter.delete()
        else:
            await byte_setter.set(encoded)

    # --- what all of them share ---------------------------------------------------------------

    def _encode(self, chunk: NDBuffer, spec: ArraySpec) -> Buffer:
        dtype = spec.dtype.to_native_dtype().newbyteorder("<")
        frame = self.to_frame(chunk.as_numpy_array().astype(dtype, copy=False))
        return _as_buffer(frame, spec)

    def _decode(self, stored: Buffer, selection: Any, spec: ArraySpec) -> NDBuffer:
        return self._decode_bytes(stores.as_bytes(stored), selection, spec)

    def _decode_bytes(
        self, stored: bytes | memoryview, selection: Any, spec: ArraySpec
    ) -> NDBuffer:
        fetching = self._fetching(selection, spec, get_read_policy("local"))
        return _as_ndbuffer(fetching.whole(stored).decode(), spec)

    def _merge(
        self, stored: Buffer | None, value: NDBuffer, selection: Any, spec: ArraySpec
    ) -> Buffer | None:
        """Return the chunk with a selection of it replaced, or None where only fill value is left.

        Parameters
        ----------
        stored : Buffer or None
            The chunk as it is stored, if it is stored and not all of it is replaced.
        value : NDBuffer
            Of the selection's shape, perhaps without dimensions of length 1; or 0-d.
        selection : tuple
        spec : ArraySpec
        """
        items = value.as_numpy_array()
        is_fill = value.all_equal(spec.fill_value)
        if _is_whole(selection, spec.shape):
            if is_fill and not spec.config.write_empty_chunks:
                return None
            whole = np.broadcast_to(items, spec.shape)
            return self._encode(spec.prototype.nd_buffer.from_numpy_array(whole), spec)
        wanted = normalize(selection, spec.shape)
        items = items.reshape(wanted.shape) if items.ndim else np.broadcast_to(items, wanted.shape)
        if stored is None:
            if is_fill and not spec.config.write_empty_chunks:
                return None
            chunk = spec.prototype.nd_buffer.create(
                shape=spec.shape,
                dtype=spec.dtype.to_native_dtype(),
                order=spec.order,
                fill_value=spec.fill_value,
            )
            chunk.as_numpy_array()[selection] = items
            return self._encode(chunk, spec)
        data = stores.as_bytes(stored)
        layout = whole_layout(data)
        _check(layout, spec)
        editor = FrameEditor(data, layout, kernel_of(layout.grid), self.compression)
        editor.write(wanted, _with_dtype(items, layout.dtype))
        encoded = editor.to_frame()
        if is_fill and not spec.config.write_empty_chunks:
            left = self._decode_bytes(encoded, ..., spec)
            if left.all_equal(spec.fill_value):
                return None
        return _as_buffer(encoded, spec)


@lru_cache(maxsize=256)
def _grid(parameters: Parameters, shape: tuple[int, ...], itemsize: int) -> Grid:
    return Grid(shape, *parameters.partition(shape, itemsize), itemsize)


@contextmanager
def _naming(byte_getter: Any) -> Iterator[None]:
    """Say in errors which of the store's objects they are about."""
    try:
        yield
    except CatervaError as error:
        raise type(error)(f"{stores.key_of(byte_getter)!r}: {error}", error.code) from error


def _as_buffer(frame: memoryview, spec: ArraySpec) -> Buffer:
    return spec.prototype.buffer.from_bytes(cast("bytes", frame))


def _check(layout: Layout, spec: ArraySpec) -> None:
    """Compare a stored frame with the array's metadata.

    Raises
    ------
    FormatError
    """
    dtype = spec.dtype.to_native_dtype()
    kinds = {layout.dtype.kind, dtype.kind}
    if (
        layout.grid.shape != spec.shape
        or layout.grid.itemsize != dtype.itemsize
        # Numbers name their type everywhere; of other items writers may know the size alone.
        or (len(kinds) > 1 and kinds <= set("biufc"))
    ):
        raise FormatError(
            f"the stored frame has shape {layout.grid.shape} and dtype {layout.dtype}; "
            f"the array's chunks have shape {spec.shape} and dtype {dtype}"
        )
    if layout.header.sparse:
        raise FormatError("the stored frame is sparse: its chunks are elsewhere")


def _as_ndbuffer(items: npt.NDArray[Any], spec: ArraySpec) -> NDBuffer:
    native = _with_dtype(items, spec.dtype.to_native_dtype())
    return spec.prototype.nd_buffer.from_numpy_array(native)


def _with_dtype(items: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return items in another dtype of the same size: of a frame in the array's, or back."""
    if items.dtype == dtype:
        return items
    if items.dtype.newbyteorder("=") == dtype.newbyteorder("="):
        return items.astype(dtype)
    return items.view(dtype)


def _is_whole(selection: Any, shape: tuple[int, ...]) -> bool:
    """Whether a selection is all of a chunk."""
    keys = selection if isinstance(selection, tuple) else (selection,)
    return len(keys) == len(shape) and all(
        isinstance(key, slice) and key.indices(length) == (0, length, 1)
        for key, length in zip(keys, shape, strict=True)
    )
