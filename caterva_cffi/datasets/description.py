"""What an array is, as people and programs want to know it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from caterva_cffi.datasets.model import Dataset, Tree

__all__ = ["describe", "describe_tree"]


def describe(array: Dataset, format: str) -> dict[str, Any]:
    """Return facts about an array, by name; all of them can be JSON.

    Parameters
    ----------
    array : Dataset
    format : str
        Of the tree.
    """
    stored = array.stored_bytes()
    return {
        "format": format,
        "shape": list(array.shape),
        "dtype": array.dtype.str if array.dtype.names is None else str(array.dtype),
        "dimension names": _listed(array.dimension_names),
        "chunks": _listed(array.chunks),
        "blocks": _listed(array.blocks),
        "codecs": list(array.codecs),
        "checksums": array.checksums,
        "fill value": None if array.fill_value is None else str(array.fill_value),
        "bytes": array.nbytes,
        "stored bytes": stored,
        "ratio": round(array.nbytes / stored, 3) if stored else None,
        **{name: _plain(value) for name, value in array.details.items()},
        "attributes": sorted(array.attributes),
        "slices": list(_slices(array)),
    }


def describe_tree(tree: Tree) -> dict[str, Any]:
    """Return facts about a group."""
    stored = [array.stored_bytes() for array in tree.arrays.values()]
    known = None if None in stored else sum(each or 0 for each in stored)
    return {
        "format": tree.format,
        "groups": len(tree.groups),
        "arrays": sorted(tree.arrays),
        "bytes": tree.nbytes,
        "stored bytes": known,
        "ratio": round(tree.nbytes / known, 3) if known else None,
        "attributes": sorted(tree.groups.get("", {})),
        **({"not readable": tree.refused} if tree.refused else {}),
    }


def _listed(values: Any) -> list[Any] | None:
    return None if values is None else list(values)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    return list(value) if isinstance(value, (list, tuple)) else value


def _slices(array: Dataset) -> Iterator[dict[str, Any]]:
    """Yield what slices cost: one item, and a plane or item across each axis.

    What is decoded is whole blocks, or whole chunks where there are no blocks; of items in a row,
    what is read.
    """
    if not array.shape or not all(array.shape):
        return
    names = array.dimension_names or (None,) * len(array.shape)
    yield _cost(array, "one item", dict.fromkeys(range(len(array.shape)), 1))
    for axis, name in enumerate(names):
        if len(array.shape) > 1:
            yield _cost(array, f"one index of {name or f'axis {axis}'}", {axis: 1})


def _cost(array: Dataset, name: str, lengths: Mapping[int, int]) -> dict[str, Any]:
    extent = [lengths.get(axis, n) for axis, n in enumerate(array.shape)]
    chunks = array.chunks or (1,) * len(extent)
    touched = math.prod(-(-n // chunk) for n, chunk in zip(extent, chunks, strict=True))
    units = array.blocks or chunks
    inside = [
        # Whole chunks along the axis, or the part of one.
        (n // chunk) * -(-chunk // unit) + -(-(n % chunk) // unit)
        for n, chunk, unit in zip(extent, chunks, units, strict=True)
    ]
    decoded = math.prod(inside) * math.prod(units) * array.dtype.itemsize
    return {
        "slice": name,
        "bytes": math.prod(extent) * array.dtype.itemsize,
        "chunks": touched if array.chunks else None,
        "decoded": decoded,
    }
