"""Where the chunks of a frame begin: the offsets chunk behind them.

Format: C-Blosc2's README_CFRAME_FORMAT. An offset is a little-endian int64. In a contiguous frame
it counts bytes from the end of the frame's header; in a sparse one it is the number of a file. A
negative one stands for a chunk in which every item is the same; bits 56 to 62 say which.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from caterva_cffi.binding.compression import Codec, Compression
from caterva_cffi.binding.encoding import special_chunk
from caterva_cffi.binding.library import check, ffi, lib
from caterva_cffi.errors import FormatError
from caterva_cffi.format.byte_chunks import UNQUESTIONED
from caterva_cffi.format.chunk_header import HEADER, SPECIALS
from caterva_cffi.geometry.grid import Grid

__all__ = [
    "chunk_file",
    "encode_offsets",
    "most_bytes_of_offsets",
    "offset_of_special",
    "special_of_offset",
    "specials_of_offsets",
]

_COMPRESSION = Compression(codec=Codec.BLOSCLZ)


def chunk_file(offset: int) -> str:
    """Return the name of a file that holds a chunk of a sparse frame."""
    return f"{offset:08X}.chunk"


def special_of_offset(offset: int) -> int:
    """Return the special value (`SPECIALS`) for which a negative offset stands.

    Raises
    ------
    FormatError
        For a number that stands for none.
    """
    special = offset >> 56 & 0x7F
    if special not in SPECIALS:
        raise FormatError(f"offset {offset & (1 << 64) - 1:#x} stands for no chunk")
    return special


def specials_of_offsets(offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the special values for which offsets stand; 0 for chunks that are stored.

    Raises
    ------
    FormatError
        See `special_of_offset`.
    """
    specials = np.where(offsets < 0, offsets >> 56 & 0x7F, 0)
    unknown = np.flatnonzero((offsets < 0) & ~np.isin(specials, SPECIALS))
    if unknown.size:
        special_of_offset(int(offsets[unknown[0]]))  # raises
    return specials


def offset_of_special(special: int) -> int:
    """Return the negative offset that stands for a special value; see `special_of_offset`."""
    return (special << 56) - (1 << 63)


def most_bytes_of_offsets(nchunks: int) -> int:
    """Return the most bytes of the chunk of `nchunks` offsets."""
    return HEADER + 8 * nchunks + int(lib.BLOSC2_MAX_OVERHEAD)


def encode_offsets(offsets: Sequence[int]) -> npt.NDArray[np.uint8]:
    """Return the offsets chunk."""
    if not any(offsets):
        # C-Blosc2 would store the 0. If it is not stored, the frame's length proves that it is 0.
        return _only_offset()
    source = np.array(offsets, "<i8")
    chunk = np.empty(source.nbytes + lib.BLOSC2_MAX_OVERHEAD, np.uint8)
    # With larger blocks, many chunks of zeros would be compressed more than readers accept.
    cparams = _COMPRESSION.to_cparams(8, 16 * 1024 if source.nbytes > UNQUESTIONED else 0)
    context = ffi.gc(lib.blosc2_create_cctx(cparams[0]), lib.blosc2_free_ctx)
    size = lib.blosc2_compress_ctx(
        context, ffi.from_buffer(source), source.nbytes, ffi.from_buffer(chunk), chunk.nbytes
    )
    return chunk[: check(size, "compressing the offsets of the chunks")]


@lru_cache(maxsize=1)
def _only_offset() -> npt.NDArray[np.uint8]:
    chunk = special_chunk(_COMPRESSION, Grid((1,), (1,), (1,), 8), None)
    chunk.flags.writeable = False
    return chunk
