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
    >>> from pathlib import Path
    >>> from obspec_utils.registry import ObjectStoreRegistry
    >>> from obstore.store import LocalStore
    >>> from caterva_cffi.virtual import B2ndParser, to_references
    >>> _ = cat.asarray(data, urlpath="air.b2nd", contiguous=True)
    >>> registry = ObjectStoreRegistry({"file://": LocalStore()})
    >>> store = B2ndParser(name="t")(Path("air.b2nd").absolute().as_uri(), registry)
    >>> sorted(to_references(store)["refs"])
    ['t/c/0/0', 't/zarr.json', 'zarr.json']
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
