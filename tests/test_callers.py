"""Warnings point to the line of the user who called, also from threads of Zarr."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import zarr
from zarr.codecs import GzipCodec, TransposeCodec
from zarr.storage import MemoryStore
from zarr_arrays import (
    create,
    pipeline,  # noqa: F401 -- each test runs in both pipelines
)

from caterva_cffi.zarr import PartialReadsOffWarning


@pytest.mark.parametrize("make", [
    lambda data, store: create(data, (6, 8), store=store, compressors=GzipCodec()),
    lambda data, store: create(data, (6, 8), store=store, filters=TransposeCodec(order=(1, 0))),
    lambda data, store: create(data, (6, 8), store=store, shards=(12, 8), compressors=GzipCodec()),
])  # fmt: skip
@pytest.mark.parametrize("workers", [None, 4])
@pytest.mark.parametrize("local", [False, True])
def test_the_warning_points_to_the_users_line(make, workers, local, tmp_path):
    data, store = np.arange(360).reshape(24, 15), tmp_path / "a" if local else MemoryStore()
    with zarr.config.set({"codec_pipeline.max_workers": workers}):
        with pytest.warns(PartialReadsOffWarning) as caught:
            make(data, store)
        assert [(each.filename, each.lineno) for each in caught] == [lines_of(create)[-2]]
        opened = zarr.open_array(store, mode="r")

        def read():
            return opened[2:5]

        with pytest.warns(PartialReadsOffWarning) as caught:
            read()
        assert [(each.filename, each.lineno) for each in caught] == [lines_of(read)[-1]]


def test_the_warning_points_to_the_line_of_many_threads():
    data, store = np.arange(360).reshape(24, 15), MemoryStore()
    with pytest.warns(PartialReadsOffWarning):
        create(data, (6, 8), store=store, compressors=GzipCodec())
    opened = zarr.open_array(store, mode="r")

    def read(row):
        return opened[row]

    with pytest.warns(PartialReadsOffWarning) as caught, ThreadPoolExecutor(4) as executor:
        list(executor.map(read, range(20)))
    assert {(each.filename, each.lineno) for each in caught} == {lines_of(read)[-1]}


def lines_of(function):
    """Return the places of a function's lines."""
    lines = sorted({line for *_, line in function.__code__.co_lines() if line})
    return [(function.__code__.co_filename, line) for line in lines]
