"""The metalayers that hold an array's geometry.

Formats: C-Blosc2's README_B2ND_METALAYER; Caterva's is its first five entries. Both are msgpack
with fixed widths. One thing is not msgpack: 16 dimensions do not fit its short arrays, and C-Blosc2
writes the next byte after their range. A msgpack library cannot read that.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from caterva_cffi.dtypes import dtype_of_text, text_of_dtype, void_dtype
from caterva_cffi.errors import FormatError
from caterva_cffi.format.seal import LAYER, OPEN_SEAL
from caterva_cffi.geometry.grid import CATERVA_MAX_ITEMSIZE, MAX_DIM, Grid

__all__ = [
    "B2ND",
    "CATERVA",
    "OWN",
    "decode_geometry",
    "encode_geometry",
    "with_shape",
]

CATERVA = "caterva"
B2ND = "b2nd"
OWN = frozenset({B2ND, CATERVA, LAYER})
"""The metalayers that are not the user's."""

_FIXARRAY, _INT32, _INT64, _STR32 = 0x90, 0xD2, 0xD3, 0xDB
_NUMPY_FORMAT = 0


def encode_geometry(
    grid: Grid, dtype: np.dtype[Any], *, for_caterva: bool = True
) -> dict[str, bytes]:
    """Return the metalayers of an array: `b2nd`, `caterva` if Caterva can read it, `crc32`.

    Parameters
    ----------
    grid : Grid
    dtype : dtype
    for_caterva : bool
        Whether to write `caterva`, because Caterva does not know `b2nd`.

    Raises
    ------
    TypeError
        For a dtype that NumPy cannot make from a text.
    """
    body = bytes([0, grid.ndim]) + _array(_INT64, "q", grid.shape)
    body += _array(_INT32, "i", grid.chunks) + _array(_INT32, "i", grid.blocks)
    layers = {}
    if for_caterva and grid.fits_caterva:
        layers[CATERVA] = bytes([_FIXARRAY + 5]) + body
    text = text_of_dtype(dtype).encode()
    tail = bytes([_NUMPY_FORMAT]) + struct.pack(">BI", _STR32, len(text)) + text
    if grid.checksums:
        layers[LAYER] = OPEN_SEAL
    return {**layers, B2ND: bytes([_FIXARRAY + 7]) + body + tail}


def with_shape(layer: bytes, shape: Sequence[int]) -> bytes:
    """Return `b2nd` or `caterva` with another shape of as many dimensions, and all else as it is.

    The metalayer cannot change its length, so the text of its dtype is kept: other writers have
    longer or shorter texts for the same dtype.
    """
    encoded = _array(_INT64, "q", shape)
    return layer[:3] + encoded + layer[3 + len(encoded) :]


def _array(code: int, letter: str, values: Sequence[int]) -> bytes:
    items = b"".join(struct.pack(f">B{letter}", code, value) for value in values)
    return bytes([_FIXARRAY + len(values)]) + items


class _Reader:
    """Reads the fields of a metalayer, and checks each."""

    def __init__(self, name: str, data: bytes) -> None:
        self.name, self.data, self.at = name, data, 0

    def fail(self, found: str) -> FormatError:
        return FormatError(f"metalayer {self.name!r}, byte {self.at}: {found}")

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise self.fail(f"ends after {len(self.data)} bytes; expected {size} more here")
        taken = self.data[self.at : self.at + size]
        self.at += size
        return taken

    def byte(self, what: str, least: int, most: int) -> int:
        value = self.take(1)[0]
        if not least <= value <= most:
            raise self.fail(f"{what} is {value}; expected {least} to {most}")
        return value

    def array(self, what: str, ndim: int, code: int, letter: str) -> tuple[int, ...]:
        self.byte(f"the array of {what}", _FIXARRAY + ndim, _FIXARRAY + ndim)
        values = []
        for _ in range(ndim):
            self.byte(f"the type of {what}", code, code)
            (value,) = struct.unpack(f">{letter}", self.take(struct.calcsize(f">{letter}")))
            values.append(value)
        return tuple(values)

    def dtype(self, itemsize: int) -> np.dtype[Any]:
        self.byte("the dtype's format", _NUMPY_FORMAT, _NUMPY_FORMAT)
        self.byte("the dtype's type", _STR32, _STR32)
        (length,) = struct.unpack(">I", self.take(4))
        text = self.take(length)
        try:
            dtype = dtype_of_text(text.decode())
        except UnicodeDecodeError:
            raise self.fail(f"the dtype {text[:80]!r} is no text") from None
        except (TypeError, ValueError) as error:
            raise self.fail(f"names the dtype {text[:80]!r}: {error}") from None
        large = itemsize == 1 and dtype.itemsize > CATERVA_MAX_ITEMSIZE
        if dtype.itemsize != itemsize and not large:
            raise self.fail(
                f"names the dtype {text[:80]!r} of {dtype.itemsize} bytes for items of {itemsize}"
            )
        return dtype


def decode_geometry(
    layers: Mapping[str, bytes], itemsize: int, nchunks: int | None = None
) -> tuple[Grid, np.dtype[Any]]:
    """Return the geometry that a frame's metalayers describe.

    Parameters
    ----------
    layers : mapping of str to bytes
    itemsize : int
        Bytes, as the frame says. For items of more than 255 bytes some writers say 1.
    nchunks : int, optional
        How many chunks the frame has.

    Returns
    -------
    grid : Grid
        If both metalayers are there, that of `b2nd`, since C-Blosc2's resize updates only `b2nd`.
        But if only `caterva` fits the number of chunks, Caterva did the last resize, and its grid
        is returned.
    dtype : dtype
        `S{itemsize}`, as in python-caterva, if no metalayer names one.

    Raises
    ------
    FormatError
        For a frame without these metalayers, or with a damaged one.
    """
    names = [name for name in (B2ND, CATERVA) if name in layers]
    if not names:
        found = ", ".join(map(repr, layers)) or "none"
        raise FormatError(
            f"no metalayer 'b2nd' or 'caterva' (found: {found}): not an N-d array", "not-a-frame"
        )
    checksums = LAYER in layers
    grid, dtype = _decode(names[0], layers[names[0]], itemsize, checksums)
    if nchunks is None or grid.nchunks == nchunks:
        return grid, dtype
    if len(names) == 2:
        other, _ = _decode(CATERVA, layers[CATERVA], dtype.itemsize, checksums)
        if other.nchunks == nchunks:
            return other, dtype
    raise FormatError(
        f"{nchunks} chunks; shape {grid.shape} in chunks {grid.chunks} needs {grid.nchunks}"
    )


@lru_cache(maxsize=256)  # the many frames of a Zarr array say the same
def _decode(name: str, data: bytes, itemsize: int, checksums: bool) -> tuple[Grid, np.dtype[Any]]:
    reader = _Reader(name, data)
    entries = reader.byte("the number of entries", _FIXARRAY + 5, _FIXARRAY + 7) - _FIXARRAY
    reader.byte("the version", 0, 0)
    ndim = reader.byte("the number of dimensions", 0, MAX_DIM)
    shape = reader.array("the shape", ndim, _INT64, "q")
    chunks = reader.array("the chunk shape", ndim, _INT32, "i")
    blocks = reader.array("the block shape", ndim, _INT32, "i")
    # The first versions of b2nd named no dtype either.
    dtype = reader.dtype(itemsize) if name == B2ND and entries == 7 else void_dtype(itemsize)
    try:
        return Grid(shape, chunks, blocks, dtype.itemsize, checksums), dtype
    except (ValueError, MemoryError) as error:
        raise FormatError(f"metalayer {name!r}: {error}") from None
