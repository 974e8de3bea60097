"""The header of a frame, parsed and written. Format: C-Blosc2's README_CFRAME_FORMAT.

The fields are msgpack with fixed widths. So each has a fixed position.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from caterva_cffi.binding.compression import Compression, SplitMode
from caterva_cffi.errors import Cause, FormatError, UnsupportedError
from caterva_cffi.format.byte_chunks import decode_byte_chunk
from caterva_cffi.format.chunk_header import HEADER as CHUNK_HEADER
from caterva_cffi.format.chunk_header import cbytes_of
from caterva_cffi.format.frame_start import MAGIC
from caterva_cffi.format.metalayer_map import MOST_LAYERS, find_metalayers, pack_metalayers
from caterva_cffi.format.offsets import most_bytes_of_offsets, specials_of_offsets
from caterva_cffi.format.seal import LAYER, Seal
from caterva_cffi.format.trailer import TRAILER_MIN, trailer_length

__all__ = [
    "HEADER_MIN",
    "Fields",
    "FrameHeader",
    "compression_in",
    "fields_of",
    "find_seal",
    "pack_header",
    "set_sizes",
    "write_seal",
]

HEADER_MIN = 87
"""Bytes of a header without metalayers."""

# Positions of the fields, each behind the byte that names its type.
_HEADER_LEN, _FRAME_LEN, _FLAGS, _KIND, _CODEC, _SPLIT = 11, 16, 25, 26, 27, 28
_NBYTES, _CBYTES, _ITEMSIZE, _BLOCKSIZE, _CHUNKSIZE = 30, 39, 48, 53, 58
_HAS_VARIABLE, _FILTERS, _CODEC_NUMBER, _CODEC_META, _FILTER_METAS = 68, 71, 77, 78, 79
_USES_DICTIONARY = 85

# The bytes that name types, and between them the values of a new frame.
_EMPTY = bytes.fromhex(
    "9e a8 6232 6672 616d 6500 d2 00000000 cf 0000000000000000 a4 12000000"
    "d3 0000000000000000 d3 0000000000000000 d2 00000000 d2 00000000 d2 ffffffff"
    "d1 0001 d1 0001 c2 d8 06 00000000000000000000000000000000"
)
_VERSIONS = range(1, 4)
_SPARSE = 1
_NO_VARIABLE_METALAYERS = 0xC2
_USER_CODEC = 6


class Fields(NamedTuple):
    """The fields of fixed size that say where things are; see `FrameHeader`."""

    header_len: int
    frame_len: int
    nbytes: int
    cbytes: int
    itemsize: int
    blocksize: int
    chunksize: int
    sparse: bool


def fields_of(data: bytes) -> Fields:
    """Return the fields in a frame's first bytes, at least `HEADER_MIN`, as they are.

    Raises
    ------
    UnsupportedError
        For a version of the format that is not known, or chunks of variable length.
    """
    header_len, itemsize, blocksize, chunksize = (
        struct.unpack_from(">i", data, at)[0]
        for at in (_HEADER_LEN, _ITEMSIZE, _BLOCKSIZE, _CHUNKSIZE)
    )
    frame_len, nbytes, cbytes = (
        struct.unpack_from(">q", data, at)[0] for at in (_FRAME_LEN, _NBYTES, _CBYTES)
    )
    kind = data[_KIND]
    _check_kind(data[_FLAGS], kind, nbytes)
    return Fields(
        header_len, frame_len, nbytes, cbytes, itemsize, blocksize, chunksize,
        kind & 0x0F == _SPARSE,
    )  # fmt: skip


def _check_kind(flags: int, kind: int, nbytes: int) -> None:
    """Refuse frames of a later version, and those whose chunks are of another kind.

    python-blosc2 names the other kind in frames without chunks, too.

    Raises
    ------
    UnsupportedError
    """
    other_chunks = flags & 0xC0 and nbytes
    if flags & 0x0F not in _VERSIONS or other_chunks or kind & 0x0F > _SPARSE:
        raise UnsupportedError(
            f"a frame with flags {flags:#x} and {kind:#x}: unknown version, or kind of frame or "
            "chunks",
            "unknown-version",
        )


@dataclass(frozen=True)
class FrameHeader:
    """What a frame's header says.

    Attributes
    ----------
    header_len, frame_len : int
        Bytes of the header, and of the whole frame.
    nbytes, cbytes : int
        Bytes of all chunks, decoded and compressed.
    itemsize, blocksize, chunksize : int
        Bytes.
    sparse : bool
        Whether each chunk is a file.
    metalayers : dict of str to bytes
    variable : bool
        Whether the trailer holds metalayers of variable length.
    seal : Seal or None
        The checksums of the frame, if it has them.
    """

    header_len: int
    frame_len: int
    nbytes: int
    cbytes: int
    itemsize: int
    blocksize: int
    chunksize: int
    sparse: bool
    metalayers: dict[str, bytes]
    variable: bool
    seal: Seal | None

    @property
    def is_sealed(self) -> bool:
        """Whether the frame has a seal, and that is closed."""
        return self.seal is not None and self.seal.closed

    @property
    def nchunks(self) -> int:
        """Number of chunks."""
        return -(-self.nbytes // self.chunksize) if self.chunksize else 0

    @property
    def offsets_at(self) -> int:
        """Where the offsets chunk begins; in a frame without items, where the trailer begins."""
        # `cbytes` counts what is left of deleted chunks, too.
        inside = 0 if self.sparse or not self.nbytes else self.cbytes
        return self.header_len + inside

    def trailer_length(self, end: bytes) -> int:
        """Return the length of the trailer, which is the end of the frame.

        Parameters
        ----------
        end : bytes
            The frame's last bytes, at least `TRAILER_MIN`.

        Raises
        ------
        FormatError
        """
        most = self.frame_len - self.offsets_at
        size = trailer_length(end)
        if not TRAILER_MIN <= size <= most:
            raise FormatError(f"a trailer of {size} bytes; there is room for {most}")
        return size

    @staticmethod
    def length_of(start: bytes) -> int:
        """Return the header's length from the frame's first 16 bytes."""
        if len(start) < 16 or start[2:10] != MAGIC:
            raise FormatError(
                f"{bytes(start[:10])!r} where a frame begins; expected 'b2frame'",
                Cause("not-a-frame", None, bytes(start[:10])),
            )
        (length,) = struct.unpack_from(">i", start, _HEADER_LEN)
        if length < HEADER_MIN:
            raise FormatError(f"a frame header of {length} bytes; expected at least {HEADER_MIN}")
        return int(length)

    @classmethod
    def parse(cls, data: bytes) -> FrameHeader:
        """Return the header in a frame's first bytes.

        Parameters
        ----------
        data : bytes
            At least the whole header.

        Raises
        ------
        FormatError
        UnsupportedError
            For a version of the format that is not known, or chunks of variable length.
        """
        header_len = cls.length_of(data)
        if len(data) < header_len:
            raise FormatError(
                f"{len(data)} bytes of a frame header of {header_len}",
                Cause("cut-off", None, len(data), header_len),
            )
        fields = fields_of(data)
        frame_len, nbytes, cbytes = fields.frame_len, fields.nbytes, fields.cbytes
        ranges = find_metalayers(data, HEADER_MIN, header_len, MOST_LAYERS)
        layers = {name: data[start:stop] for name, (start, stop) in ranges.items()}
        seal = Seal.parse(layers[LAYER]) if LAYER in layers else None
        if seal is not None:
            seal.check_header(data[:header_len], ranges[LAYER][0])
        # The size of chunks is -1 before one was appended.
        chunksize = fields.chunksize if nbytes else max(fields.chunksize, 0)
        header = cls(
            header_len, frame_len, nbytes, cbytes, fields.itemsize, fields.blocksize, chunksize,
            fields.sparse, layers, data[_HAS_VARIABLE] != _NO_VARIABLE_METALAYERS, seal,
        )  # fmt: skip
        sizes = (frame_len - header_len, nbytes, cbytes, fields.blocksize, chunksize)
        if min(sizes) < 0 or fields.itemsize < 1:
            raise FormatError(f"a frame header with sizes that make no sense: {header}")
        if header.offsets_at > frame_len:
            raise FormatError(f"{cbytes} bytes of chunks in a frame of {frame_len}")
        return header

    @property
    def offsets_range(self) -> tuple[int, int]:
        """Where the offsets chunk begins, and a byte that it does not go beyond."""
        at = self.offsets_at
        return at, min(at + most_bytes_of_offsets(self.nchunks), self.frame_len)

    def decode_offsets(self, chunk: bytes) -> npt.NDArray[np.int64]:
        """Return where the chunks begin.

        Parameters
        ----------
        chunk : bytes
            The offsets chunk, and perhaps bytes behind it.

        Returns
        -------
        ndarray of int64
            In a contiguous frame, bytes from the frame's start; in a sparse one, numbers of files.
            A negative one stands for a chunk of one value; see `special_of_offset`.

        Raises
        ------
        FormatError
            If a chunk begins outside the chunks' part of the frame, or where another one begins, or
            if an offset stands for none.
        """
        if self.seal is not None and len(chunk) >= CHUNK_HEADER:
            self.seal.check_offsets(chunk[: cbytes_of(chunk)])
        decoded = decode_byte_chunk(chunk, 8 * self.nchunks, "the offsets of the chunks")
        offsets = np.asarray(decoded.view("<i8"), np.int64)
        if offsets.min() < 0:
            specials_of_offsets(offsets)
        if self.sparse:
            return offsets
        wrong = np.flatnonzero(offsets > self.cbytes - CHUNK_HEADER)
        if wrong.size:
            raise FormatError(
                f"chunk {wrong[0]} begins at byte {offsets[wrong[0]]} of {self.cbytes}"
            )
        stored = np.sort(offsets[offsets >= 0])
        close = np.flatnonzero(np.diff(stored) < CHUNK_HEADER)
        if close.size:
            raise FormatError(
                f"chunks overlap: they begin at bytes {stored[close[0]]} and {stored[close[0] + 1]}"
            )
        return np.where(offsets < 0, offsets, offsets + self.header_len)


def pack_header(
    compression: Compression,
    itemsize: int,
    blocksize: int,
    metalayers: Mapping[str, bytes],
) -> bytearray:
    """Return the header of a contiguous frame without chunks; see `set_sizes`.

    Parameters
    ----------
    compression : Compression
    itemsize, blocksize : int
        Bytes.
    metalayers : mapping of str to bytes

    Raises
    ------
    ArgumentError
        For metalayers that do not fit.
    """
    header = bytearray(_EMPTY)
    codec = compression.codec_id
    header[_CODEC] = min(codec, _USER_CODEC) | compression.clevel << 4
    header[_SPLIT] = compression.splitmode.value - 1
    struct.pack_into(">i", header, _ITEMSIZE, itemsize)
    struct.pack_into(">i", header, _BLOCKSIZE, blocksize)
    for at, ids in ((_FILTERS, compression.filter_ids), (_FILTER_METAS, compression.filter_metas)):
        header[at : at + len(ids)] = bytes(ids)
    header[_CODEC_NUMBER] = codec
    header[_CODEC_META] = compression.codec_meta & 0xFF
    header[_USES_DICTIONARY] = compression.usedict
    header += pack_metalayers(metalayers, HEADER_MIN, in_header=True)
    struct.pack_into(">i", header, _HEADER_LEN, len(header))
    return header


def compression_in(header: bytes) -> Compression:
    """Return how a frame's header says that chunks are compressed; see `pack_header`.

    Parameters
    ----------
    header : bytes
        A whole header, which was parsed.

    Raises
    ------
    ArgumentError, UnsupportedError
        For a codec or filters that are not available here.
    """
    codec = header[_CODEC] & 0x0F
    return Compression(
        codec=header[_CODEC_NUMBER] if codec == _USER_CODEC else codec,
        clevel=header[_CODEC] >> 4,
        filters=tuple(header[_FILTERS : _FILTERS + 6]),
        filtersmeta=tuple(header[_FILTER_METAS : _FILTER_METAS + 6]),
        usedict=bool(header[_USES_DICTIONARY]),
        splitmode=SplitMode(min(header[_SPLIT] & 3, 3) + 1),
        codec_meta=header[_CODEC_META],
    )


def set_sizes(
    header: Any,
    *,
    frame_len: int,
    cbytes: int,
    chunksize: int | None = None,
    nchunks: int | None = None,
) -> None:
    """Write the sizes of a frame into its header.

    Parameters
    ----------
    header : buffer
        The header's bytes, which are changed.
    frame_len : int
        Of the whole frame.
    cbytes : int
        Of all chunks.
    chunksize, nchunks : int, optional
        Bytes to which each chunk decodes, and the number of chunks; by default as before.
    """
    struct.pack_into(">q", header, _FRAME_LEN, frame_len)
    struct.pack_into(">q", header, _CBYTES, cbytes)
    if chunksize is not None and nchunks is not None:
        struct.pack_into(">i", header, _CHUNKSIZE, chunksize)
        struct.pack_into(">q", header, _NBYTES, chunksize * nchunks)


def find_seal(header: bytes) -> int | None:
    """Return the position of the seal in a frame's header; None without a seal.

    Raises
    ------
    FormatError
    """
    ranges = find_metalayers(header, HEADER_MIN, len(header), MOST_LAYERS)
    return ranges[LAYER][0] if LAYER in ranges else None


def write_seal(header: memoryview, offsets: Any, trailer: Any) -> None:
    """Write a frame's checksums into its header, if it has a seal.

    Parameters
    ----------
    header : memoryview
        The header's bytes, which are changed.
    offsets, trailer : buffer
        The bytes of the offsets chunk (none without one), and of the trailer.
    """
    at = find_seal(bytes(header))
    if at is not None:
        seal = Seal.of(header, at, offsets, trailer).pack()
        header[at : at + len(seal)] = seal
