"""What all destinations have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from caterva_cffi.conversion.plans import ArrayPlan
from caterva_cffi.datasets.model import Region

__all__ = ["BUSY", "EXISTS", "INCOMPLETE", "Target"]

EXISTS = "{} exists; overwrite it, or name another destination"
BUSY = "another conversion to {} goes on"
INCOMPLETE = "{} is an incomplete conversion; resume it, or overwrite it"


class Target(ABC):
    """Where arrays are written; several threads may do so at once."""

    @abstractmethod
    def check(self, *, overwrite: bool, resume: bool) -> None:
        """Find what is there, and change nothing.

        Raises
        ------
        FileExistsError
            For a destination that exists, or is incomplete, unless told to go on.
        ArgumentError, FormatError
            For one that was begun otherwise.
        """

    @abstractmethod
    def begin(self, *, overwrite: bool, resume: bool) -> None:
        """Take over what an earlier run has written, or begin anew; see `check`.

        Raises
        ------
        StorageError
            If another process writes to it.
        """

    @abstractmethod
    def write_items(self, plan: ArrayPlan, at: Sequence[int], items: npt.NDArray[Any]) -> int:
        """Encode and write a chunk; it is cut at the array's edges. Return the bytes stored."""

    @abstractmethod
    def write_chunk(self, plan: ArrayPlan, at: Sequence[int], chunk: Any) -> int:
        """Write a Blosc2 chunk as it is; return the bytes stored."""

    @abstractmethod
    def read(self, plan: ArrayPlan, region: Region) -> npt.NDArray[Any]:
        """Return what was written."""

    @abstractmethod
    def is_done(self, plan: ArrayPlan, number: int) -> bool:
        """Whether an earlier run has written a region."""

    @abstractmethod
    def note(self, plan: ArrayPlan, number: int) -> None:
        """Remember that a region was written."""

    @abstractmethod
    def save(self) -> None:
        """Let a later run know what was noted."""

    def close(self) -> None:  # noqa: B027
        """Close what is open."""

    def readable(self) -> None:  # noqa: B027, most need nothing
        """Make what was written readable by `read`."""

    @abstractmethod
    def finish(self) -> None:
        """Make the destination complete."""
