"""What a user asks of a conversion."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from caterva_cffi.advice.accesses import Access
from caterva_cffi.binding.threads import usable_processors
from caterva_cffi.errors import ArgumentError, Cause
from caterva_cffi.keywords import unknown_name

__all__ = ["FORMATS", "Options", "Shapes", "options_of"]

FORMATS = ("zarr", "plain-zarr", "b2nd")
"""Zarr with this package's codec, Zarr with Zarr's own codecs, and a frame in a file."""

_FRAMES = (".b2nd", ".b2frame", ".caterva")

Shapes = Sequence[int] | Mapping[str, int] | None
"""A length for each dimension, in order or by names of dimensions."""


@dataclass(frozen=True)
class Options:
    """How to convert; see `convert`.

    Attributes
    ----------
    format : str
    zarr_format : int
        2 or 3.
    chunks, shards, blocks : Shapes
    accesses : sequence of Access
        What chunks and blocks are chosen for.
    parameters : mapping
        Of the codec, those that were given: cname, clevel, shuffle, checksum.
    exclude : sequence of str
        Patterns of paths.
    memory, workers : int
    is_remote : bool
        Whether the destination is behind a URL.
    """

    format: str
    zarr_format: int = 3
    chunks: Shapes = None
    shards: Shapes = None
    blocks: Shapes = None
    accesses: Sequence[Access] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    exclude: Sequence[str] = ()
    memory: int = 1 << 30
    workers: int = 1
    is_remote: bool = False

    def excludes(self, path: str) -> bool:
        """Whether an array or a group is left out; a pattern names it, or a group above it."""
        if not path:
            return False
        parts = path.split("/")
        above = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        return any(fnmatchcase(name, pattern) for name in above for pattern in self.exclude)


def format_of(destination: str, asked: str | None) -> str:
    """Return the format of a destination: what is asked for, or what its name says.

    Raises
    ------
    ArgumentError
    """
    if asked is None:
        return "b2nd" if os.path.splitext(destination)[1] in _FRAMES else "zarr"
    if asked not in FORMATS:
        raise unknown_name("format", asked, FORMATS)
    return asked


def options_of(
    destination: str,
    format: str | None,
    parameters: Mapping[str, Any],
    zarr_format: int | None,
    nthreads: int | None,
    **given: Any,
) -> Options:
    """Return what a user asks for; parameters that are None are not given.

    Parameters
    ----------
    destination, format, parameters, zarr_format, nthreads
        As for `convert`.
    **given
        Fields of `Options`.

    Raises
    ------
    ArgumentError
    """
    found = Options(
        format_of(destination, format),
        3 if zarr_format is None else zarr_format,
        parameters={name: value for name, value in parameters.items() if value is not None},
        workers=usable_processors() if nthreads is None else nthreads,
        is_remote="://" in destination,
        **given,
    )
    if found.workers < 1 or found.memory < 1:
        raise ArgumentError(
            f"nthreads is {found.workers}, memory {found.memory}; expected at least 1",
            Cause(
                "wrong-value", "nthreads" if found.workers < 1 else "memory",
                min(found.workers, found.memory), 1,
            ),
        )  # fmt: skip
    if found.zarr_format not in (2, 3):
        raise ArgumentError(
            f"zarr_format is {zarr_format!r}; expected 2 or 3",
            Cause("wrong-value", "zarr_format", zarr_format, [2, 3]),
        )
    ours = {**found.parameters, "blocks": found.blocks, "advise": found.accesses or None}
    _refuse(found, "plain-zarr", "which has Zarr's own codecs", ours)
    _refuse(found, "b2nd", "a frame", {"shards": found.shards, "zarr_format": zarr_format})
    if found.zarr_format == 2 and found.shards is not None:
        raise ArgumentError(
            "shards are given, which Zarr has from format 3 on; expected none",
            Cause("contradiction", "shards", found.shards),
        )
    return found


def _refuse(options: Options, format: str, what: str, others: Mapping[str, Any]) -> None:
    """Refuse options that a format has no use for."""
    given = [name for name, value in others.items() if value is not None]
    if options.format == format and given:
        raise ArgumentError(
            f"format is {format!r}, {what}, and {', '.join(given)} given; expected one of these",
            Cause("contradiction", given[0], given),
        )
