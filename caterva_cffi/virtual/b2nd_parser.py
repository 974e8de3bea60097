"""A parser of .b2nd files for VirtualiZarr: their chunks are virtual chunks of a Zarr array."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from obspec_utils.registry import ObjectStoreRegistry
from virtualizarr.manifests import ChunkManifest, ManifestArray, ManifestGroup, ManifestStore
from virtualizarr.manifests.manifest import INLINED_CHUNK_PATH
from virtualizarr.manifests.utils import create_v3_array_metadata

from caterva_cffi.errors import ArgumentError, Cause
from caterva_cffi.format.offsets import chunk_file, special_of_offset
from caterva_cffi.planning.layout import Layout, layout_steps
from caterva_cffi.planning.policy import get_read_policy
from caterva_cffi.steps import Range, run
from caterva_cffi.virtual.codecs import Blosc2ChunkCodec
from caterva_cffi.virtual.endian import endian_of

__all__ = ["B2ndParser"]

_INDEX = "chunks.b2frame"
_ZEROS, _NANS, _NEVER_WRITTEN = 1, 2, 4  # `chunk_header.SPECIALS`


@dataclass(frozen=True, kw_only=True)
class B2ndParser:
    """Parser of `.b2nd` files and sparse directories of Blosc2 for VirtualiZarr.

    The file's array becomes an array of Zarr whose chunks are where they are.

    Parameters
    ----------
    name : str, optional
        Of the array; by default the name of the file without its ending.
    dimension_names : sequence of str, optional
        By default `dim_0`, `dim_1`, and so on.
    fill_value : object, optional
        Of the array of Zarr; by default NaN where most chunks of one value hold that, else zero.

    Examples
    --------
    >>> from pathlib import Path
    >>> import zarr
    >>> from obspec_utils.registry import ObjectStoreRegistry
    >>> from obstore.store import LocalStore
    >>> from caterva_cffi.virtual import B2ndParser
    >>> _ = cat.asarray(data, urlpath="air.b2nd", contiguous=True)
    >>> parser = B2ndParser(name="t", dimension_names=["y", "x"])
    >>> registry = ObjectStoreRegistry({"file://": LocalStore()})
    >>> store = parser(Path("air.b2nd").absolute().as_uri(), registry)
    >>> zarr.open_group(store, mode="r")["t"][1, :3]
    array([6, 7, 8], dtype=int32)
    """

    name: str | None = None
    dimension_names: Sequence[str] | None = None
    fill_value: Any = None

    def __call__(self, url: str, registry: ObjectStoreRegistry) -> ManifestStore:
        """Return a store with the array of a file; its header and offsets are read, no chunk.

        Parameters
        ----------
        url : str
        registry : ObjectStoreRegistry

        Raises
        ------
        FormatError, UnsupportedError
        ArgumentError
            For another number of dimension names.
        """
        stored = _Stored.open(url, *registry.resolve(url))
        array = ManifestArray(*self._parts(stored))
        name = self.name or PurePosixPath(url).stem
        return ManifestStore(ManifestGroup(arrays={name: array}), registry=registry)

    def _parts(self, stored: _Stored) -> tuple[Any, ChunkManifest]:
        layout, dtype = stored.layout, stored.layout.dtype
        grid = layout.grid
        names = self.dimension_names
        if names is None:
            names = [f"dim_{d}" for d in range(grid.ndim)]
        if len(names) != grid.ndim:
            raise ArgumentError(
                f"{len(names)} dimension names; the array has {grid.ndim}",
                Cause("wrong-ndim", "dimension_names", len(names), grid.ndim),
            )
        endian = endian_of(dtype)
        specials = {
            number: special_of_offset(int(layout.offsets[number]))
            for number in np.flatnonzero(layout.offsets < 0).tolist()
        }
        fill, missing = _fill_value(self.fill_value, specials, dtype)
        codec = Blosc2ChunkCodec(block_shape=[max(n, 1) for n in grid.blocks], endian=endian)
        metadata = create_v3_array_metadata(
            shape=grid.shape,
            data_type=dtype.newbyteorder("="),
            chunk_shape=tuple(max(n, 1) for n in grid.chunks),
            fill_value=fill,
            codecs=[codec.to_dict()],
            dimension_names=names,
        )
        return metadata, stored.manifest(specials, missing)


def _fill_value(given: Any, specials: dict[int, int], dtype: np.dtype[Any]) -> tuple[Any, set[int]]:
    """Return the fill value, and the kinds of chunks that hold nothing else."""
    # What C-Blosc2 writes for NaN is one only in this machine's byte order.
    can_be_nan = dtype.kind in "fc" and dtype.isnative
    counts = Counter(specials.values())
    zeros = counts[_ZEROS] + counts[_NEVER_WRITTEN]
    zero = np.zeros((), dtype.newbyteorder("="))
    fill = given
    if given is None:
        fill = math.nan if can_be_nan and counts[_NANS] > zeros else zero[()]
    item = np.asarray(fill, zero.dtype)
    if can_be_nan and np.isnan(item):
        return fill, {_NANS}
    return fill, {_ZEROS, _NEVER_WRITTEN} if item.tobytes() == zero.tobytes() else set()


@dataclass(frozen=True)
class _Stored:
    """A frame in an object store.

    Attributes
    ----------
    url : str
    layout : Layout
    sizes : dict of str to int
        Of a sparse frame, bytes of each file.
    """

    url: str
    layout: Layout
    sizes: dict[str, int]

    @classmethod
    def open(cls, url: str, store: Any, path: str) -> _Stored:
        """Read header and offsets."""
        index = path
        try:
            size = store.head(path)["size"]
        except FileNotFoundError:
            index = f"{path}/{_INDEX}"
            size = store.head(index)["size"]

        def read(ranges: list[Range]) -> list[memoryview]:
            return [
                memoryview(store.get_range(index, start=start, end=min(stop, size))).cast("B")
                for start, stop in ranges
            ]

        layout = run(layout_steps(get_read_policy("remote").first, size), read)
        sizes = dict(_sizes(store, path)) if layout.sparse else {}
        return cls(url, layout, sizes)

    def manifest(self, specials: dict[int, int], missing: set[int]) -> ChunkManifest:
        """Say where each chunk is; those of `missing` kinds are nowhere."""
        layout = self.layout
        grid = layout.grid.chunk_grid
        paths = np.empty(grid, np.dtypes.StringDType())
        offsets, lengths = np.zeros(grid, np.uint64), np.zeros(grid, np.uint64)
        inlined = {}
        for number, at in enumerate(layout.grid.all_chunks()):
            special = specials.get(number)
            if special is None:
                paths[at], offsets[at], lengths[at] = self._place(number)
            elif special not in missing:
                inlined[at] = layout.special_chunk(special)
                paths[at], lengths[at] = INLINED_CHUNK_PATH, len(inlined[at])
        return ChunkManifest.from_arrays(
            paths=paths, offsets=offsets, lengths=lengths, inlined=inlined
        )

    def _place(self, number: int) -> tuple[str, int, int]:
        if not self.layout.sparse:
            start, stop = self.layout.range_of(number)
            return self.url, start, stop - start
        name = chunk_file(int(self.layout.offsets[number]))
        return f"{self.url}/{name}", 0, self.sizes[name]


def _sizes(store: Any, path: str) -> Iterator[tuple[str, int]]:
    for batch in store.list(path):
        for each in batch:
            yield PurePosixPath(each["path"]).name, each["size"]
