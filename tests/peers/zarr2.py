"""Arrays of Zarr format 2, written and read by zarr 2 or by zarr 3, whichever is installed.

    zarr2.py write DIRECTORY     write an array for each case
    zarr2.py check DIRECTORY     compare those that the other zarr wrote with the cases

The only codec is `caterva`; numcodecs finds it by its entry point.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import zarr

ZARR_2 = zarr.__version__.startswith("2.")


@dataclass(frozen=True)
class Case:
    """An array and how it is stored."""

    name: str
    dtype: Any = "<i4"
    shape: tuple[int, ...] = (11, 7)
    chunks: tuple[int, ...] = (4, 3)
    order: str = "C"
    filters: tuple[dict[str, Any], ...] = ()
    codec: dict[str, Any] = field(default_factory=dict)

    @property
    def data(self) -> np.ndarray:
        """Items that tell most positions apart."""
        dtype = np.dtype(object if self.dtype is str else self.dtype)
        numbers = np.arange(prod(self.shape)).reshape(self.shape)
        if dtype.kind == "b":
            return numbers % 3 == 0
        if dtype.kind in "SUO":
            return np.char.mod("%d", numbers % 97).astype(dtype)
        if dtype.kind == "V":
            raw = (np.arange(numbers.size * dtype.itemsize) % 101).astype("u1")
            return raw.view(dtype).reshape(self.shape)
        return (numbers % 120).astype(dtype)

    @property
    def kwargs(self) -> dict[str, Any]:
        """What both versions of `zarr` take."""
        return {
            "shape": self.shape,
            "chunks": self.chunks,
            "dtype": str if self.dtype is str else self.data.dtype,
            "order": self.order,
            "fill_value": None,  # zarr 2 cannot make structures of the default, 0
            # Without filters each adds the one that strings need.
            **(
                {"filters": [numcodecs.get_codec(dict(f)) for f in self.filters]}
                if self.filters
                else {}
            ),
        }


FILTERS = {
    "delta": {"id": "delta", "dtype": "<i4"},
    "narrow-delta": {"id": "delta", "dtype": "<i4", "astype": "<i2"},
    "scale": {"id": "fixedscaleoffset", "offset": 5, "scale": 2, "dtype": "<i4", "astype": "<i8"},
    "shuffle": {"id": "shuffle", "elementsize": 4},
    "astype": {"id": "astype", "encode_dtype": "<i8", "decode_dtype": "<i4"},
    "zlib": {"id": "zlib", "level": 1},
}

DTYPES = [
    *("|b1", "|i1", "|u1", ">i2", "<i4", "<u8", "<f2", ">f4", "<f8", "<c8", ">c16"),
    *("<M8[ns]", ">M8[D]", "<m8[s]", "|S5", "<U3", ">U2", "|V7"),
    [("a", "<i4"), ("b", ">f8"), ("c", "|S3")],
]

CASES = [
    *(
        Case(f"dtype-{np.dtype(dtype).str.strip('|')}-{order}".replace("<", "l").replace(">", "b"),
             dtype=dtype, order=order)
        for dtype in DTYPES
        for order in "CF"
    ),
    *(
        Case(f"filter-{name}-{order}", filters=(config,), order=order)
        for name, config in FILTERS.items()
        for order in "CF"
    ),
    *(Case(f"strings-{order}", dtype=str, order=order) for order in "CF"),
    Case("two-filters", filters=(FILTERS["delta"], FILTERS["shuffle"]), order="F"),
    Case("scalar", shape=(), chunks=()),
    Case("empty", shape=(0, 5), chunks=(1, 5)),
    *(
        Case(f"{'x'.join(map(str, shape))}-{order}", shape=shape, chunks=chunks, order=order)
        for shape, chunks in [((9,), (4,)), ((5, 6, 7), (3, 6, 2)), ((4, 1, 6), (4, 1, 6))]
        for order in "CF"
    ),
    Case("codec-zstd", codec={"cname": "zstd", "clevel": 9, "shuffle": "bitshuffle"}),
    Case("codec-shapes", codec={"block_shape": [2, 3], "chunk_shape": [4, 3]}),
    Case("codec-shapes-F", codec={"block_shape": [2, 3]}, order="F"),
]  # fmt: skip


def write(directory: Path) -> None:
    """Write every case as an array of its name."""
    for case in CASES:
        path = str(directory / case.name)
        codec = numcodecs.get_codec({"id": "caterva", **case.codec})
        if ZARR_2:
            z = zarr.open_array(path, mode="w", compressor=codec, **case.kwargs)
        else:
            z = zarr.create_array(path, zarr_format=2, compressors=codec, **case.kwargs)
        z[...] = case.data


def check(directory: Path, case: Case) -> None:
    """Compare an array that was written with its case, as a whole and in part."""
    data = case.data
    z = zarr.open_array(str(directory / case.name), mode="r")
    metadata = json.loads((directory / case.name / ".zarray").read_text())
    if data.ndim or metadata["compressor"] is not None:  # zarr 2 never compresses 0-d arrays
        assert metadata["compressor"]["id"] == "caterva", metadata
    assert metadata["order"] == case.order, metadata
    if data.dtype != object:  # zarr 3 has a dtype of its own for strings
        assert z.dtype == data.dtype, (z.dtype, data.dtype)
    selections = [..., (slice(1, 9, 3),) * data.ndim, (slice(None), *(0,) * (data.ndim - 1))]
    for selection in selections if data.ndim else [...]:
        if data.size == 0 and selection is selections[-1]:
            selection = slice(None)
        found, expected = np.asarray(z[selection], data.dtype), np.asarray(data[selection])
        assert found.shape == expected.shape, (case.name, selection, found.shape, expected.shape)
        same = np.array_equal if data.dtype == object else _same_bytes
        assert same(found, expected), (case.name, selection, found, expected)


def _same_bytes(found: np.ndarray, expected: np.ndarray) -> bool:
    return found.tobytes() == expected.tobytes()


if __name__ == "__main__":
    command, folder = sys.argv[1], Path(sys.argv[2])
    if command == "write":
        write(folder)
    else:
        for each in CASES:
            check(folder, each)
    print(zarr.__version__)
