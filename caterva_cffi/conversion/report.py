"""What a conversion did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caterva_cffi.conversion.plans import ArrayPlan
    from caterva_cffi.conversion.running import Counts

__all__ = ["Conversion"]


@dataclass
class Conversion:
    """What a conversion did, or what it would do.

    Attributes
    ----------
    source, destination : str
    plans : list of ArrayPlan
    copied, encoded : int
        Chunks that were taken as they are, and those that were encoded anew.
    resumed : int
        Bytes of items that an earlier run had written.
    stored : int
        Bytes that were written, where this package wrote them.
    seconds : float
    verified : bool
        Whether what was written was compared with the source.
    dry_run : bool
        Whether nothing was written.
    """

    source: str
    destination: str
    plans: list[ArrayPlan] = field(default_factory=list)
    copied: int = 0
    encoded: int = 0
    resumed: int = 0
    stored: int = 0
    seconds: float = 0.0
    verified: bool = False
    dry_run: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes of all items."""
        return sum(plan.nbytes for plan in self.plans)

    def add(self, counts: Counts) -> None:
        """Count chunks."""
        self.copied += counts.copied
        self.encoded += counts.encoded
        self.stored += counts.stored

    def to_dict(self) -> dict[str, Any]:
        """Return all that for programs."""
        simple = {name: value for name, value in vars(self).items() if name != "plans"}
        return {
            **simple,
            "nbytes": self.nbytes,
            "arrays": [plan.to_dict() for plan in self.plans],
        }

    def __str__(self) -> str:
        lines = [str(plan) for plan in self.plans]
        if self.dry_run:
            return "\n".join([*lines, f"{self.destination}: nothing was written"])
        done = f"{self.copied} chunks copied, {self.encoded} encoded"
        checked = ", compared with the source" if self.verified else ""
        lines.append(f"{self.destination}: {done}, {self.seconds:.1f} s{checked}")
        return "\n".join(lines)
