"""Zarr arrays in directories, written by Zarr itself, and stores that hold them."""

from __future__ import annotations

import time

import numpy as np
import zarr

from caterva_cffi.numcodecs import Caterva
from caterva_cffi.zarr import CatervaCodec

FORMATS = (2, 3)


def codecs(zarr_format, **parameters):
    """Return what makes ours the only codec of an array."""
    if zarr_format == 2:
        return {"zarr_format": 2, "compressors": Caterva(**parameters)}
    return {"serializer": CatervaCodec(**parameters), "compressors": None}


def write(path, data, chunks, zarr_format=3, *, block_shape=None, chunk_shape=None, **options):
    """Write an array; return it as Zarr opens it."""
    data = np.asarray(data)
    shapes = {"block_shape": block_shape, "chunk_shape": chunk_shape}
    z = zarr.create_array(
        path,
        shape=data.shape,
        dtype=data.dtype,
        chunks=chunks,
        overwrite=True,
        **codecs(zarr_format, **shapes),
        **options,
    )
    z[...] = data
    return zarr.open_array(path, mode="r")


def settle(path):
    """Wait until the times of all files below a path are no longer the present."""
    while any(time.time() - each.stat().st_ctime < 0.1 for each in path.rglob("*")):
        time.sleep(0.02)


def objects(path):
    """Return all files below a path, by their keys."""
    return {
        each.relative_to(path).as_posix(): each.read_bytes()
        for each in path.rglob("*")
        if each.is_file()
    }


class Counting:
    """A `RangeStore` of objects in memory that keeps what was asked for, call by call."""

    def __init__(self, objects):
        self.objects, self.calls = objects, []

    def read_objects(self, requests):
        self.calls.append(list(requests))
        return [
            None if key not in self.objects else self.objects[key][slice(*(part or (0, None)))]
            for key, part in requests
        ]

    def rounds(self):
        """Return the calls since the last time, each as its number of requests."""
        calls, self.calls = self.calls, []
        return list(map(len, calls))
