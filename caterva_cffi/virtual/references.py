"""References as kerchunk writes them, with the metadata of Zarr v3."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from zarr.core.buffer import default_buffer_prototype

if TYPE_CHECKING:
    from virtualizarr.manifests import ManifestArray, ManifestGroup, ManifestStore

__all__ = ["to_references"]


def to_references(store: ManifestStore) -> dict[str, Any]:
    """Return what a store has as references, which fsspec's file system "reference" reads.

    Parameters
    ----------
    store : ManifestStore
        What a parser returned.

    Returns
    -------
    dict
        For `json.dump`. All codecs are in it; kerchunk's references of Zarr v2 have no place for
        codecs that decode arrays.

    Examples
    --------
    >>> references = to_references(HDF5Parser()(url, registry))
    >>> fs = fsspec.filesystem("reference", fo=references, asynchronous=True)
    >>> zarr.open_group(zarr.storage.FsspecStore(fs, read_only=True), mode="r")
    """
    return {"version": 1, "refs": _of_group(store._group, "")}


def _of_group(group: ManifestGroup, prefix: str) -> dict[str, Any]:
    refs: dict[str, Any] = {f"{prefix}zarr.json": _json(group.metadata)}
    for name, array in group.arrays.items():
        refs |= _of_array(array, f"{prefix}{name}/")
    for name, inner in group.groups.items():
        refs |= _of_group(inner, f"{prefix}{name}/")
    return refs


def _of_array(array: ManifestArray, prefix: str) -> dict[str, Any]:
    refs: dict[str, Any] = {f"{prefix}zarr.json": _json(array.metadata)}
    for key, entry in array.manifest.dict().items():
        at = tuple(map(int, key.split("."))) if array.ndim else ()
        refs[prefix + array.metadata.encode_chunk_key(at)] = (
            f"base64:{base64.b64encode(entry['data']).decode()}"
            if "data" in entry
            else [entry["path"], int(entry["offset"]), int(entry["length"])]
        )
    return refs


def _json(metadata: Any) -> str:
    buffer = metadata.to_buffer_dict(default_buffer_prototype())["zarr.json"]
    return json.dumps(json.loads(buffer.to_bytes()), separators=(",", ":"))
