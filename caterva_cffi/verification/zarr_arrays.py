"""Zarr arrays, verified: Zarr reads them, and their frames are checked on the way."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import accumulate, pairwise, product, starmap
from math import prod
from typing import Any

import zarr
from zarr.abc.store import Store
from zarr.codecs import Crc32cCodec
from zarr.core.buffer import NDBuffer, default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore, MemoryStore, StorePath, ZipStore

from caterva_cffi.errors import ArgumentError, CatervaError, FormatError, UnsupportedError
from caterva_cffi.numcodecs import Caterva
from caterva_cffi.steps import WHOLE, MissingError
from caterva_cffi.verification.frames import check_frame
from caterva_cffi.verification.report import Damage, Unchecked, Verification
from caterva_cffi.zarr import CatervaCodec
from caterva_cffi.zarr_chunks import stores
from caterva_cffi.zarr_chunks.chunk import ZarrChunk

__all__ = ["check_directory", "check_node", "check_zip", "is_zarr"]

_NAME = "caterva"
_METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
_READ_BYTES = 1 << 28
"""Bytes of a shard's inner chunks that are read at once."""


def is_zarr(source: Any) -> bool:
    """Whether something is an array, a group or a store of zarr."""
    return isinstance(
        source,
        (zarr.Array, zarr.Group, zarr.AsyncArray, zarr.AsyncGroup, Store, StorePath),
    )


def _name(place: StorePath) -> str:
    """Return a short name of a place: some stores' names are URLs, or have several lines."""
    if isinstance(place.store, (LocalStore, MemoryStore, ZipStore)):
        return str(place)
    return f"{type(place.store).__name__}:{place.path or '/'}"


def check_directory(found: Verification, path: str) -> None:
    """Check what is in a directory; see `check_node`."""
    check_node(found, StorePath(sync(LocalStore.open(path, read_only=True))))


def check_zip(found: Verification, path: str) -> None:
    """Check what is in a zip file; see `check_node`."""
    try:
        store = sync(ZipStore.open(path, mode="r"))
    except Exception as error:  # of zipfile, or of the library that decompresses
        if isinstance(error, OSError):
            raise
        raise FormatError(f"{path!r} begins as a zip file: {error}") from error
    try:
        check_node(found, StorePath(store))
    finally:
        store.close()


def check_node(found: Verification, node: Any) -> None:
    """Check an array, or the arrays of a group that a codec of this package encoded.

    Raises
    ------
    ArgumentError
        If there is no such array.
    """
    if isinstance(node, Store):
        node = StorePath(node)
    place = node if isinstance(node, StorePath) else node.store_path
    found.source = found.source or _name(place)
    if isinstance(node, zarr.AsyncArray):
        node = zarr.Array(node)
    if isinstance(node, zarr.Array):
        nodes: Iterable[_Node] = [_Node(place, node.metadata.to_dict(), node)]
    else:
        nodes = _nodes(place)
    for each in nodes:
        where = _name(each.place)
        if each.wrong is not None:
            found.unreadable.append(Unchecked(where, each.wrong))
        elif not each.document:
            found.passed_over.append(Unchecked(where, "no metadata of Zarr"))
        elif _NAME in each.codecs:
            _check_array(found, each)
        else:
            reason = f"encoded by {', '.join(each.codecs) or 'no codec'}"
            found.passed_over.append(Unchecked(where, reason))
    if found.checked.arrays:
        missing = f" (missing, and read as the fill value: {found.missing})" * (found.missing > 0)
        found.unprotected.append(f"Zarr's metadata, and which chunks are stored{missing}")
    elif not found.unreadable:
        others = "; ".join(f"{each.where}: {each.reason}" for each in found.passed_over)
        raise ArgumentError(
            f"{_name(place)} has no array that a codec of this package encoded "
            f"({others or 'no array'})"
        )


# --- what is in a store -----------------------------------------------------------------------


@dataclass
class _Node:
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


def _nodes(place: StorePath, is_root: bool = True) -> Iterator[_Node]:
    """Yield the arrays at and below a place.

    Each metadata document is read by itself. If Zarr were asked for the members of a group, one
    damaged document, or one with an unknown codec, would hide all others.
    """
    try:
        document = _read_document(place)
        if document is not None and document["node_type"] == "array":
            node = _Node(place, document)
            _ = node.codecs
            yield node
            return
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        yield _Node(place, wrong=f"its metadata make no sense: {type(error).__name__}: {error}")
        return
    except OSError as error:
        yield _Node(place, wrong=str(error))
        return
    if not place.store.supports_listing:
        raise ArgumentError(
            f"{_name(place)} is in a store that cannot list a group; verify its arrays"
        )
    names = sorted(sync(_listed(place)) - {*_METADATA})
    if document is not None:
        for name in names:
            yield from _nodes(place / name, is_root=False)
    elif is_root:
        raise ArgumentError(f"{_name(place)} is neither a Zarr array nor a group")
    elif names:
        yield _Node(place, wrong=None)


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


# --- reading ----------------------------------------------------------------------------------


class _Looked:
    """What our codecs find while an array is read.

    Parameters
    ----------
    found : Verification
    """

    def __init__(self, found: Verification) -> None:
        self.found = found
        self.place = ""
        self.seen = 0
        self.all_sealed = True
        self._lock = threading.Lock()  # Zarr decodes in several threads

    @property
    def noted(self) -> int:
        """The number of problems that were found."""
        return len(self.found.damages) + len(self.found.unreadable)

    def look(self, frame: Any, where: str, error: CatervaError | None) -> None:
        """Check a frame, and note what is found.

        Parameters
        ----------
        frame : buffer
        where : str
        error : CatervaError, optional
            The codec's error, if it could not decode the frame.
        """
        with self._lock:
            self.seen += 1
            before, header = self.noted, None
            try:
                header = check_frame(self.found, frame, where, decoded=error is None)
            except UnsupportedError as unsupported:
                self.found.unreadable.append(Unchecked(where, str(unsupported)))
            if header is None:
                self.found.checked.chunks += 1
            self.all_sealed &= header is not None and header.is_sealed
            if error is not None and self.noted == before:
                self.found.damages.append(Damage(where, None, None, str(error)))


@dataclass(frozen=True, kw_only=True)
class _Looking(CatervaCodec):
    """The codec of Zarr format 3; it checks what it decodes, and goes on after damage."""

    looked: _Looked = field(compare=False, repr=False)

    def _look(self, stored: Any, spec: Any, coordinates: Any = None) -> NDBuffer:
        inside = "" if coordinates is None else f", chunk {tuple(coordinates)} of the shard"
        chunk, error = ZarrChunk(self, spec), None
        try:
            items = chunk.decode(spec.prototype.buffer.from_bytes(stored))
        except CatervaError as wrong:
            error = wrong
            items = spec.prototype.nd_buffer.create(
                shape=spec.shape, dtype=chunk.dtype, order="C", fill_value=spec.fill_value
            )
        self.looked.look(stored, f"{self.looked.place}{inside}", error)
        return items

    def _look_for_neighbours(self, frame: Any) -> None:
        """Warn of nothing."""

    def _decode_sync(self, chunk_data: Any, chunk_spec: Any) -> NDBuffer:
        return self._look(stores.as_bytes(chunk_data), chunk_spec)

    async def _decode_single(self, chunk_data: Any, chunk_spec: Any) -> NDBuffer:
        return self._look(stores.as_bytes(chunk_data), chunk_spec)

    def _decode_partial_sync(
        self, byte_getter: Any, selection: Any, chunk_spec: Any
    ) -> NDBuffer | None:
        try:
            [stored] = stores.read(byte_getter, chunk_spec.prototype, [WHOLE])
        except MissingError:
            return None
        return self._look_at_part(byte_getter, stored, selection, chunk_spec)

    async def _decode_partial_single(
        self, byte_getter: Any, selection: Any, chunk_spec: Any
    ) -> NDBuffer | None:
        try:
            [stored] = await stores.read_async(byte_getter, chunk_spec.prototype, [WHOLE], 1)
        except MissingError:
            return None
        return self._look_at_part(byte_getter, stored, selection, chunk_spec)

    def _look_at_part(self, byte_getter: Any, stored: Any, selection: Any, spec: Any) -> NDBuffer:
        return self._look(stored, spec, getattr(byte_getter, "chunk_coords", None))[selection]


@dataclass(frozen=True, kw_only=True)
class _LookingInFormat2(Caterva):
    """The codec of Zarr format 2; it checks what it decodes."""

    looked: _Looked = field(compare=False, repr=False)

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Decode all items, and check the frame."""
        try:
            items = super().decode(buf, out)
        except CatervaError as error:
            self.looked.look(buf, self.looked.place, error)
            raise
        self.looked.look(buf, self.looked.place, None)
        return items


def _looking(codec: Any, looked: _Looked) -> Any:
    """Return a codec that checks what it decodes, if it is ours or has ours inside."""
    for ours, kind in ((CatervaCodec, _Looking), (Caterva, _LookingInFormat2)):
        if isinstance(codec, ours):
            same: dict[str, Any] = {each.name: getattr(codec, each.name) for each in fields(ours)}
            return kind(**same, looked=looked)
    inner = getattr(codec, "codecs", None)
    if inner is None:
        return codec
    return replace(codec, codecs=tuple(_looking(each, looked) for each in inner))


def _looking_array(array: zarr.Array[Any], looked: _Looked) -> zarr.Array[Any]:
    """Return an array whose codecs check what they decode."""
    metadata: Any = array.metadata
    if metadata.zarr_format == 2:
        filters = metadata.filters and tuple(_looking(each, looked) for each in metadata.filters)
        metadata = replace(
            metadata, filters=filters, compressor=_looking(metadata.compressor, looked)
        )
    else:
        codecs = tuple(_looking(each, looked) for each in metadata.codecs)
        metadata = replace(metadata, codecs=codecs)
    return zarr.Array(zarr.AsyncArray(metadata, array.store_path))


def _check_array(found: Verification, node: _Node) -> None:
    try:
        array = zarr.open_array(node.place, mode="r") if node.array is None else node.array
        looked = _Looked(found)
        looking = _looking_array(array, looked)
    except Exception as error:  # Zarr and other codecs raise many errors for metadata
        message = f"{type(error).__name__}: {error}"
        found.unreadable.append(Unchecked(_name(node.place), message))
        return
    found.checked.arrays += 1
    codecs = list(_codecs(array.metadata))
    sealed = all(codec.checksum for codec in codecs if isinstance(codec, (CatervaCodec, Caterva)))
    for place, region, nchunks in _regions(array):
        looked.place, looked.seen = _name(place), 0
        before = looked.noted
        try:
            looking[region]
        except Exception as error:  # stores and codecs of others raise many errors
            if looked.noted == before:
                _note(found, place, error)
        if looked.noted == before:
            found.missing += max(nchunks - looked.seen, 0)
    found.checksums.arrays += sealed and looked.all_sealed
    for codec in codecs:
        index = getattr(codec, "index_codecs", None)
        if index is not None and not any(isinstance(each, Crc32cCodec) for each in index):
            found.unprotected.append(f"where chunks are in the shards of {_name(array.store_path)}")


def _codecs(metadata: Any) -> Iterator[Any]:
    """Yield an array's codecs, those inside shards too."""
    if metadata.zarr_format == 2:
        yield from metadata.filters or ()
        yield metadata.compressor
        return
    left = list(metadata.codecs)
    while left:
        codec = left.pop(0)
        yield codec
        left += getattr(codec, "codecs", ())


def _note(found: Verification, place: StorePath, error: Exception) -> None:
    """Note why an object could not be read: its bytes are damaged, or the store failed."""
    message = f"{type(error).__name__}: {error}"
    try:
        sync(place.get(prototype=default_buffer_prototype()))
    except Exception:
        found.unreadable.append(Unchecked(_name(place), message))
    else:
        found.damages.append(Damage(_name(place), None, None, message))


def _regions(array: zarr.Array[Any]) -> Iterator[tuple[StorePath, tuple[slice, ...], int]]:
    """Yield what to read at once: the object, the region in the array, its number of chunks."""
    inner = _inner_shape(array)
    spans = _spans(array)
    for at in product(*(range(len(each)) for each in spans)):
        place = array.store_path / array.metadata.encode_chunk_key(at)
        region = [each[k] for each, k in zip(spans, at, strict=True)]
        if not inner:
            yield place, tuple(starmap(slice, region)), 1
            continue
        # Read a large shard by some rows of chunks, which takes little memory.
        (first, end), *others = region
        rows = min(inner[:1])
        row_bytes = rows * prod(stop - start for start, stop in others) * array.dtype.itemsize
        step = rows * max(_READ_BYTES // max(row_bytes, 1), 1)
        for start in range(first, end, step):
            part = [(start, min(start + step, end)), *others]
            nchunks = prod(-(-(b - a) // side) for (a, b), side in zip(part, inner, strict=True))
            yield place, tuple(starmap(slice, part)), nchunks


def _inner_shape(array: zarr.Array[Any]) -> tuple[int, ...] | None:
    """Return the shape of the chunks inside shards; None if the array has no shards."""
    codecs: Any = getattr(array.metadata, "codecs", ())
    shape = None
    while len(codecs) == 1 and hasattr(codecs[0], "codecs"):
        shape, codecs = codecs[0].chunk_shape, codecs[0].codecs
    return shape


def _spans(array: zarr.Array[Any]) -> list[list[tuple[int, int]]]:
    """Return where the stored objects begin and end along each dimension."""
    sizes = getattr(array, "write_chunk_sizes", None)  # not in older versions of zarr
    if sizes is None:
        sizes = [
            [min(size, n - start) for start in range(0, n, size)]
            for n, size in zip(array.shape, array.shards or array.chunks, strict=True)
        ]
    return [list(pairwise(accumulate(each, initial=0))) for each in sizes]
