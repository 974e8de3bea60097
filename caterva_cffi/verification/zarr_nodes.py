"""The arrays in one of Zarr's stores, by their metadata documents."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore, MemoryStore, StorePath, ZipStore

from caterva_cffi.errors import ArgumentError

__all__ = ["Node", "name_of", "nodes_at"]

_METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")


def name_of(place: StorePath) -> str:
    """Return a short name of a place: some stores' names are URLs, or have several lines."""
    if isinstance(place.store, (LocalStore, MemoryStore, ZipStore)):
        return str(place)
    return f"{type(place.store).__name__}:{place.path or '/'}"


@dataclass
class Node:
    """An array in a store, or something else with metadata that cannot be read.

    Attributes
    ----------
    place : StorePath
    document : dict
        The array's metadata.
    array : zarr.Array or None
        The array, if it could be opened.
    wrong : str or None
        Why the metadata cannot be read.
    """

    place: StorePath
    document: dict[str, Any] = field(default_factory=dict)
    array: Any = None
    wrong: str | None = None

    @property
    def codecs(self) -> list[str]:
        """The names of the array's codecs, those inside shards last."""
        if self.document.get("zarr_format") == 2:
            filters = self.document.get("filters") or ()
            codecs = [*filters, self.document.get("compressor")]
            return [str(each["id"]) for each in codecs if each is not None]
        return list(_names(self.document.get("codecs", ())))


def _names(codecs: Sequence[Any]) -> Iterator[str]:
    for codec in codecs:
        if isinstance(codec, str):
            yield codec
        else:
            yield str(codec["name"])
            yield from _names(codec.get("configuration", {}).get("codecs", ()))


def nodes_at(place: StorePath, is_root: bool = True) -> Iterator[Node]:
    """Yield the arrays at and below a place.

    Each metadata document is read by itself. If Zarr were asked for the members of a group, one
    damaged document, or one with an unknown codec, would hide all others.
    """
    try:
        document = _read_document(place)
        if document is not None and document["node_type"] == "array":
            node = Node(place, document)
            _ = node.codecs
            yield node
            return
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        yield Node(place, wrong=f"its metadata make no sense: {type(error).__name__}: {error}")
        return
    except OSError as error:
        yield Node(place, wrong=str(error))
        return
    if not place.store.supports_listing:
        raise ArgumentError(
            f"{name_of(place)} is in a store that cannot list a group; verify its arrays",
            "only-local",
        )
    names = sorted(sync(_listed(place)) - {*_METADATA})
    if document is not None:
        for name in names:
            yield from nodes_at(place / name, is_root=False)
    elif is_root:
        raise ArgumentError(
            f"{name_of(place)} is neither a Zarr array nor a group", "no-such-array"
        )
    elif names:
        yield Node(place, wrong=None)


async def _listed(place: StorePath) -> set[str]:
    return {name async for name in place.store.list_dir(place.path)}


def _read_document(place: StorePath) -> dict[str, Any] | None:
    """Return the metadata of an array or group; None if there is neither."""
    for name, format_, kind in (
        ("zarr.json", 3, None), (".zarray", 2, "array"), (".zgroup", 2, "group"),
    ):  # fmt: skip
        stored = sync((place / name).get(prototype=default_buffer_prototype()))
        if stored is not None:
            document: dict[str, Any] = json.loads(stored.to_bytes())
            return {"zarr_format": format_, "node_type": kind, **document}
    return None
