"""Zarr v3 codecs that read what HDF5 and .b2nd files hold. Nothing is written."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from operator import index
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast

from zarr.abc.codec import BytesBytesCodec

from caterva_cffi.codecs.any_blosc2 import decode_any
from caterva_cffi.dtypes import check_items
from caterva_cffi.errors import ArgumentError, ArgumentTypeError, Cause, ReadOnlyError
from caterva_cffi.keywords import CheckedFields, unknown_name
from caterva_cffi.planning.foreign_chunks import Bare, HDF5Chunk
from caterva_cffi.zarr_chunks.foreign import ForeignChunk
from caterva_cffi.zarr_chunks.part_reads import PartReads, configuration_of
from caterva_cffi.zarr_chunks.stores import as_bytes
from caterva_cffi.zarr_chunks.turns import in_thread

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer

__all__ = ["Blosc2BytesCodec", "Blosc2ChunkCodec", "HDF5ChunkCodec"]

_ORDERS = "little", "big"


@dataclass(frozen=True, kw_only=True)
class _ReadOnlyCodec(CheckedFields, PartReads):
    """A codec of chunks that others stored.

    Parameters
    ----------
    endian : {"little", "big"}
        The byte order of stored items.
    """

    name: ClassVar[str]
    is_fixed_size: ClassVar[bool] = False  # type: ignore[misc]
    endian: Literal["little", "big"] = "little"

    def __post_init__(self) -> None:
        if self.endian not in _ORDERS:
            raise unknown_name("endian", self.endian, _ORDERS)

    @abstractmethod
    def _chunk(self, spec: ArraySpec) -> ForeignChunk: ...

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return the codec that a Zarr array's metadata describes.

        Raises
        ------
        ValueError
            For another codec's name, or fields that are unknown.
        """
        return cls(**configuration_of(cls, cls.name, data))

    def to_dict(self) -> dict[str, Any]:
        """Return the codec as a Zarr array's metadata has it."""
        return {"name": self.name, "configuration": {"endian": self.endian}}

    def evolve_from_array_spec(self, array_spec: ArraySpec) -> Self:
        """Check that such arrays can be stored.

        Raises
        ------
        TypeError
            For a dtype with items of variable length.
        """
        try:
            check_items(array_spec.dtype.to_native_dtype())
        except TypeError as error:
            raise ArgumentTypeError(
                f"codec {self.name!r} cannot read {array_spec.dtype}: {error}",
                Cause("wrong-dtype", "dtype", str(array_spec.dtype)),
            ) from None
        return self

    def compute_encoded_size(self, _input_byte_length: int, _chunk_spec: ArraySpec) -> int:
        """Refuse: the size of a compressed chunk is not known beforehand."""
        raise NotImplementedError

    def _decode_sync(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        return self._chunk(chunk_spec).decode(chunk_data)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        chunk = self._chunk(chunk_spec)
        return await in_thread(chunk.nbytes, partial(chunk.decode, chunk_data))

    def _encode_sync(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        raise _refusal(self.name)

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        return self._encode_sync(chunk_data, chunk_spec)


@dataclass(frozen=True, kw_only=True)
class HDF5ChunkCodec(_ReadOnlyCodec):
    """Codec of chunks that HDF5's filter 32026 (Blosc2) stored; it only reads.

    Such a chunk is a frame. Bytes behind it are ignored: the checksum of HDF5's filter
    `fletcher32`, or whatever follows in the file. Where HDF5 left the filter out, as it does if a
    chunk would grow, a chunk is its items as they are.

    Filters before Blosc2 cannot be seen in the bytes: whoever makes the metadata must refuse them,
    as `HDF5Parser` does.

    Parameters
    ----------
    endian : {"little", "big"}
        The byte order of stored items. Frames of HDF5 do not name it.
    """

    name: ClassVar[str] = "caterva.hdf5_chunk"

    def _chunk(self, spec: ArraySpec) -> ForeignChunk:
        return ForeignChunk(spec, self.endian, HDF5Chunk)


@dataclass(frozen=True, kw_only=True)
class Blosc2ChunkCodec(_ReadOnlyCodec):
    """Codec of single chunks of a Blosc2 array, without the frame that they are in; it only reads.

    Parameters
    ----------
    block_shape : sequence of int
        Of the array's blocks, in items.
    endian : {"little", "big"}
        The byte order of stored items.
    """

    name: ClassVar[str] = "caterva.blosc2_chunk"
    block_shape: Sequence[int]

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "block_shape", tuple(map(index, self.block_shape)))

    def to_dict(self) -> dict[str, Any]:
        """Return the codec as a Zarr array's metadata has it."""
        configuration = {"block_shape": list(self.block_shape), "endian": self.endian}
        return {"name": self.name, "configuration": configuration}

    def _chunk(self, spec: ArraySpec) -> ForeignChunk:
        kind = partial(Bare, blocks=tuple(self.block_shape))
        return ForeignChunk(spec, self.endian, kind)


@dataclass(frozen=True)
class Blosc2BytesCodec(BytesBytesCodec):
    """Codec of bytes that Blosc2 compressed somehow; it only reads, and whole chunks.

    VirtualiZarr's own parser of HDF5 asks for it, by the name of the numcodecs codec `blosc2`; see
    there. Filters before it and the byte order are for other codecs.
    """

    name: ClassVar[str] = "numcodecs.blosc2"
    is_fixed_size: ClassVar[bool] = False  # type: ignore[misc]

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return the codec; what else is configured says how somebody else writes."""
        if data.get("name") != cls.name:
            raise ArgumentError(
                f"the codec's name is {data.get('name')!r}; expected {cls.name!r}",
                Cause("wrong-value", "name", data.get("name"), cls.name),
            )
        return cls()

    def to_dict(self) -> dict[str, Any]:
        """Return the codec as a Zarr array's metadata has it."""
        return {"name": self.name, "configuration": {}}

    def compute_encoded_size(self, _input_byte_length: int, _chunk_spec: ArraySpec) -> int:
        """Refuse: the size of a compressed chunk is not known beforehand."""
        raise NotImplementedError

    def _decode_sync(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> Buffer:
        nbytes = math.prod(chunk_spec.shape) * chunk_spec.dtype.to_native_dtype().itemsize
        decoded = decode_any(as_bytes(chunk_data), nbytes)
        return chunk_spec.prototype.buffer.from_bytes(cast("bytes", memoryview(decoded)))

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> Buffer:
        return await in_thread(len(chunk_data), partial(self._decode_sync, chunk_data, chunk_spec))

    def _encode_sync(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> Buffer | None:
        raise _refusal(self.name)

    async def _encode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> Buffer | None:
        return self._encode_sync(chunk_data, chunk_spec)


def _refusal(name: str) -> ReadOnlyError:
    return ReadOnlyError(
        f"codec {name!r} only reads what is in other files; "
        "to write, make an array with the serializer CatervaCodec"
    )
