"""Files of NumPy, and arrays in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from caterva_cffi.datasets.model import Chunked, Region, Tree
from caterva_cffi.errors import FormatError

__all__ = ["memory_tree", "npy_tree"]


class _Npy(Chunked):
    def __init__(self, file: str) -> None:
        self._file = file
        items = self._map()
        super().__init__("", items.shape, items.dtype)
        self.codecs = ["none"]

    def _map(self) -> npt.NDArray[Any]:
        try:
            return np.load(self._file, mmap_mode="r")  # type: ignore[no-any-return]
        except ValueError as error:  # items are objects, or the header is damaged
            raise FormatError(f"{self._file!r}: {error}") from None

    def read(self, region: Region) -> npt.NDArray[Any]:
        # Each read maps the file anew: what was read before counts as memory of the process.
        return np.array(self._map()[region])

    def stored_bytes(self) -> int:
        return self.nbytes


class _Memory(Chunked):
    def __init__(self, items: npt.NDArray[Any]) -> None:
        super().__init__("", items.shape, items.dtype)
        self._items, self.codecs = items, ["none"]

    def read(self, region: Region) -> npt.NDArray[Any]:
        return self._items[region]


def npy_tree(file: str) -> Tree:
    """Return the array in a `.npy` file.

    Raises
    ------
    FormatError
    """
    return Tree(file, "NumPy", {"": _Npy(file)})


def memory_tree(items: npt.NDArray[Any]) -> Tree:
    """Return an array in memory."""
    return Tree("memory", "NumPy", {"": _Memory(items)})
