"""What arrays have in common that are only read, and that nobody here changes meanwhile."""

from __future__ import annotations

from abc import ABC
from contextlib import AbstractContextManager, nullcontext
from typing import Self

from caterva_cffi.arrays.items import Items
from caterva_cffi.arrays.readable import OrthogonalReads, ReadableArray
from caterva_cffi.errors import ClosedError

__all__ = ["ReadOnlyArray", "ReadOnlyItems"]

_NOBODY = nullcontext()


class ReadOnlyItems(Items, ABC):
    """The items of an array that is only read."""

    closed = False

    def reading(self) -> AbstractContextManager[None]:
        """Hold off nobody."""
        return _NOBODY

    def check_current(self) -> None:
        """Do nothing: each read compares what it finds with what was known at the opening."""

    def check_open(self) -> None:
        """Raise `ClosedError` for an array that was closed."""
        if self.closed:
            raise ClosedError("the array is closed")

    def close(self) -> None:
        """Refuse to read from now on."""
        self.closed = True


class ReadOnlyArray(ReadableArray):
    """An array that is only read."""

    _items: ReadOnlyItems

    @property
    def read_only(self) -> bool:
        """Whether the array refuses changes: always."""
        return True

    @property
    def oindex(self) -> OrthogonalReads:
        """Orthogonal selection: `a.oindex[[0, 5], :, mask]`."""
        return OrthogonalReads(self._items)

    def close(self) -> None:
        """Forget what was read; a closed array raises `ClosedError`."""
        self._items.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
