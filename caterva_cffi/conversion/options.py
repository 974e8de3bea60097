"""What a user asks of a conversion."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from caterva_cffi.binding.threads import usable_processors
from caterva_cffi.datasets.model import Dataset
from caterva_cffi.errors import ArgumentError, Cause
from caterva_cffi.keywords import unknown_name

__all__ = ["FORMATS", "Options", "Shapes", "options_of", "shape_for"]

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
    chunks, blocks : Shapes
    parameters : mapping
        Of the codec, those that were given: cname, clevel, shuffle, checksum.
    exclude : sequence of str
        Patterns of paths.
    memory, workers : int
    """

    format: str
    chunks: Shapes = None
    blocks: Shapes = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    exclude: Sequence[str] = ()
    memory: int = 1 << 30
    workers: int = 1

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
    chunks: Shapes,
    blocks: Shapes,
    parameters: Mapping[str, Any],
    exclude: Sequence[str],
    memory: int,
    nthreads: int | None,
) -> Options:
    """Return what a user asks for; parameters that are None are not given.

    Raises
    ------
    ArgumentError
    """
    workers = usable_processors() if nthreads is None else nthreads
    if workers < 1 or memory < 1:
        raise ArgumentError(
            f"nthreads is {workers}, memory {memory}; expected at least 1",
            Cause("wrong-value", "nthreads" if workers < 1 else "memory", min(workers, memory), 1),
        )
    given = {name: value for name, value in parameters.items() if value is not None}
    form = format_of(destination, format)
    ours = [*given, *(["blocks"] if blocks is not None else [])]
    if form == "plain-zarr" and ours:
        raise ArgumentError(
            f"format is 'plain-zarr', which has Zarr's own codecs, and {', '.join(ours)} given; "
            "expected one of these",
            Cause("contradiction", ours[0], ours),
        )
    return Options(form, chunks, blocks, given, tuple(exclude), memory, workers)


def shape_for(name: str, asked: Shapes, array: Dataset) -> tuple[int, ...] | None:
    """Return the lengths that were asked for an array; None if that does not concern it.

    Parameters
    ----------
    name : str
        "chunks" or "blocks".
    asked : Shapes
    array : Dataset

    Raises
    ------
    ArgumentError
        For lengths below 1, or names of dimensions that the array does not have.
    """
    if asked is None or not array.shape:
        return None
    usual = (array.chunks if name == "chunks" else array.blocks) or array.shape
    if isinstance(asked, Mapping):
        names = array.dimension_names or ()
        if not set(asked) & set(names):
            return None
        lengths = [asked.get(each or "", n) for each, n in zip(names, usual, strict=True)]
    elif len(asked) != len(array.shape):
        return None
    else:
        lengths = list(asked)
    if any(not isinstance(n, int) or (n < 1 and n != -1) for n in lengths):
        raise ArgumentError(
            f"{name} are {tuple(lengths)}; expected lengths of at least 1, or -1",
            Cause("wrong-value", name, lengths),
        )
    whole = [n if length == -1 else length for length, n in zip(lengths, array.shape, strict=True)]
    return tuple(max(min(k, n), 1) for k, n in zip(whole, array.shape, strict=True))
