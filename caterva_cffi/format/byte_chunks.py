"""Chunks that hold bytes instead of items: offsets of chunks, and variable-length metalayers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from caterva_cffi.binding.library import check, ffi, lib
from caterva_cffi.errors import FormatError
from caterva_cffi.format.chunk_header import HEADER, is_simple, sizes_of

__all__ = ["UNQUESTIONED", "check_byte_chunk", "decode_byte_chunk", "is_possible"]

UNQUESTIONED = 16 << 20
"""Offsets or a metalayer may always decode to this many bytes, however few are stored."""

_BEST_RATIO = 1024
"""The most that anything larger may be compressed. C-Blosc2 compresses offsets of chunks of zeros
183 times."""


def is_possible(nbytes: int, stored: int) -> bool:
    """Whether `stored` bytes may decode to `nbytes`."""
    return nbytes <= UNQUESTIONED + _BEST_RATIO * stored


def check_byte_chunk(chunk: bytes | memoryview, what: str, size: int | None = None) -> None:
    """Refuse a chunk of bytes that C-Blosc2 must not be given.

    For an unknown codec or filter, C-Blosc2 would load a library or start a process. It would
    believe that all of a lazy chunk is there, and would take any amount of memory.

    Parameters
    ----------
    chunk : bytes
        Offsets, or a variable-length metalayer; at least the chunk's header.
    what : str
        For the error.
    size : int, optional
        The most bytes that the chunk may have; by default the number of given ones.

    Raises
    ------
    FormatError
    """
    if len(chunk) < HEADER:
        raise FormatError(f"{what}: {len(chunk)} bytes; expected at least {HEADER}")
    if not is_simple(chunk):
        raise FormatError(f"{what}: a codec, filter or flag that such a chunk cannot have")
    nbytes, _, cbytes = sizes_of(chunk)
    stored = min(cbytes, len(chunk) if size is None else size)
    if not is_possible(nbytes, stored):
        raise FormatError(f"{what}: {stored} bytes that would decode to {nbytes}")


def decode_byte_chunk(chunk: bytes, nbytes: int | None, what: str) -> npt.NDArray[np.uint8]:
    """Decode a chunk of bytes; more bytes may follow behind it.

    Parameters
    ----------
    chunk : bytes
    nbytes : int or None
        How many bytes it must decode to; None for as many as it says.
    what : str
        What it holds, for errors.

    Raises
    ------
    FormatError
    """
    check_byte_chunk(chunk, what)
    stored, _, cbytes = sizes_of(chunk)
    nbytes = stored if nbytes is None else nbytes
    if stored != nbytes or nbytes < 0 or not HEADER <= cbytes <= len(chunk):
        raise FormatError(
            f"{what}: a chunk of {cbytes} bytes for {stored}; "
            f"expected at most {len(chunk)} for {nbytes}"
        )
    decoded = np.empty(nbytes, np.uint8)
    context = ffi.gc(
        lib.blosc2_create_dctx(ffi.new("blosc2_dparams *", {"nthreads": 1})[0]),
        lib.blosc2_free_ctx,
    )
    size = lib.blosc2_decompress_ctx(
        context, chunk, cbytes, ffi.from_buffer(decoded), decoded.nbytes
    )
    if check(size, f"reading {what}") != nbytes:
        raise FormatError(f"{what}: {size} bytes came; expected {nbytes}")
    return decoded
