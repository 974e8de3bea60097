"""The block kernel, called from Python: boxes of arrays and chunks, decoded and encoded."""

from __future__ import annotations

from functools import lru_cache

from caterva_cffi.binding.decoding import Decoder
from caterva_cffi.binding.encoding import Encoder
from caterva_cffi.binding.library import ffi, lib
from caterva_cffi.geometry.grid import Grid

__all__ = ["Kernel", "kernel_of"]

_CHUNK_HEADER = lib.BLOSC_EXTENDED_HEADER_LENGTH
_OFFSET = 4  # bytes of a block's offset, and of a checksum


class Kernel(Decoder, Encoder):
    """Decodes and encodes the chunks of one array.

    Parameters
    ----------
    grid : Grid
    nthreads : int, default 0
        Threads of a call; 0 takes the free ones of those that all calls share.
    """

    __slots__ = ("_grid", "bound", "head", "nthreads")

    def __init__(self, grid: Grid, nthreads: int = 0) -> None:
        self.nthreads = nthreads
        self._grid = ffi.new(
            "cat_grid *",
            {
                "ndim": grid.ndim,
                "itemsize": grid.itemsize,
                "shape": grid.shape,
                "chunk": grid.chunks,
                "block": grid.blocks,
                "checksums": grid.checksums,
                "cut": grid.cut,
            },
        )
        self.head = _CHUNK_HEADER + _OFFSET * grid.nblocks
        """Bytes of a chunk before its first block, if it has no dictionary."""
        if grid.checksums:
            self.head += _OFFSET * (2 + grid.nblocks)
        self.bound: int = lib.cat_encode_bound(self._grid) if grid.chunk_nbytes else 0
        """The most bytes of a compressed chunk."""


@lru_cache(maxsize=256)
def kernel_of(grid: Grid) -> Kernel:
    """Return a kernel for a grid; all users of the grid share it."""
    return Kernel(grid)
