"""The report of `verify`: what is damaged, what was checked, and what has no checksum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import overload

__all__ = ["SHOWN", "Counts", "Damage", "Unchecked", "Verification", "counted"]


@dataclass(frozen=True)
class Damage:
    """A place that cannot be read as it was written.

    Attributes
    ----------
    where : str
        The file, or the object of a Zarr store; empty for a buffer.
    chunk, block : int or None
        Numbers in the frame, in C order; None if the damage concerns all chunks or blocks.
    message : str
        What was found.
    """

    where: str
    chunk: int | None
    block: int | None
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


@dataclass(frozen=True)
class Unchecked:
    """Something that was not checked.

    Attributes
    ----------
    where : str
        The file, the object of a Zarr store, or the array.
    reason : str
    """

    where: str
    reason: str


@dataclass
class Counts:
    """Numbers of arrays, chunks and blocks.

    Attributes
    ----------
    arrays, chunks, blocks : int
    """

    arrays: int = 0
    chunks: int = 0
    blocks: int = 0

    def __iadd__(self, other: Counts) -> Counts:
        self.arrays += other.arrays
        self.chunks += other.chunks
        self.blocks += other.blocks
        return self

    def __str__(self) -> str:
        return ", ".join(
            counted(getattr(self, f"{name}s"), name) for name in ("array", "chunk", "block")
        )


def counted(number: int, name: str) -> str:
    """Return a number of things as text, such as "2 arrays"."""
    return f"{number} {name}{'' if number == 1 else 's'}"


SHOWN = 11


@dataclass
class Verification(Sequence[Damage]):
    """What `verify` found: a sequence of the damages, and what was checked.

    Without damages it is false, like an empty list. That alone does not mean that every item is as
    it was written: see `whole`.

    Attributes
    ----------
    source : str
        What was verified: a path, or a description.
    damages : list of Damage
    unreadable : list of Unchecked
        What should have been checked but could not be read: without permission, with codecs or
        metadata that are unknown here, ...
    passed_over : list of Unchecked
        What this package does not read: Zarr arrays of other codecs, files that belong to no array.
    checked : Counts
        What was read, damaged or not.
    checksums : Counts
        The part of it that has checksums, which were compared.
    missing : int
        Chunks of Zarr arrays that are not stored, and are read as the fill value.
    unprotected : list of str
        What was read and has no checksum, so that a change might not be noticed.
    """

    source: str = ""
    damages: list[Damage] = field(default_factory=list)
    unreadable: list[Unchecked] = field(default_factory=list)
    passed_over: list[Unchecked] = field(default_factory=list)
    checked: Counts = field(default_factory=Counts)
    checksums: Counts = field(default_factory=Counts)
    missing: int = 0
    unprotected: list[str] = field(default_factory=list)

    @overload
    def __getitem__(self, key: int) -> Damage: ...
    @overload
    def __getitem__(self, key: slice) -> Sequence[Damage]: ...
    def __getitem__(self, key: int | slice) -> Damage | Sequence[Damage]:
        return self.damages[key]

    def __len__(self) -> int:
        return len(self.damages)

    @property
    def decodes(self) -> bool:
        """Whether everything could be read, and nothing is known to be damaged."""
        return not self.damages and not self.unreadable

    @property
    def whole(self) -> bool:
        """Whether everything was read, and all blocks have checksums, which agree."""
        return self.decodes and self.checked.arrays > 0 and self.checked == self.checksums

    @property
    def verdict(self) -> str:
        """The result in a few words."""
        if self.damages:
            return f"damaged in {counted(len(self.damages), 'place')}"
        if self.unreadable:
            return "not all of it can be read"
        return "whole" if self.whole else "decodes"

    @property
    def lines(self) -> list[str]:
        """The result in detail; the last line is the verdict."""
        if not self.checked.arrays:
            checked = "nothing was checked"
        elif self.checked == self.checksums:
            checked = f"checked {self.checked}, all with checksums"
        elif self.checksums == Counts():
            checked = f"checked {self.checked}, none with checksums"
        else:
            checked = f"checked {self.checked}, with checksums {self.checksums}"
        here = f"{self.source}: " if self.source else ""
        return [
            *map(str, self.damages),
            *(f"{place.where}: cannot be read: {place.reason}" for place in self.unreadable),
            *(f"{place.where}: passed over: {place.reason}" for place in self.passed_over),
            f"{here}{checked}",
            *(f"{here}no checksum protects {what}" for what in self.unprotected),
            f"{here}{self.verdict}",
        ]

    def __str__(self) -> str:
        return "\n".join(self.lines)
