"""Regions handed to the workers of dask.distributed, in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import zarr
from checkout import TESTS

import caterva_cffi as cat


@pytest.mark.build
def test_three_worker_processes(tmp_path):
    items = np.random.default_rng(0).normal(size=(96, 40, 30)).astype("f4")
    z = zarr.create_array(tmp_path / "a", shape=items.shape, chunks=(4, 40, 30), dtype="f4")
    z[...] = items
    done = subprocess.run(
        [sys.executable, TESTS / "scripts/convert_by_dask.py", tmp_path / "a", tmp_path / "b"],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout) == (0, "32 chunks by 3 processes, 1 after a failure\n"), (
        done.stderr
    )
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "b", mode="r")[...], items)


def test_what_one_process_must_do_is_refused(tmp_path):
    client, items = SimpleNamespace(), np.zeros((3, 4))
    with pytest.raises(cat.ArgumentError, match="a frame is one file, written by one process"):
        cat.convert(items, tmp_path / "a.b2nd", scheduler=client)
    with pytest.raises(cat.ArgumentError, match="source is an open ndarray, which other processes"):
        cat.convert(items, tmp_path / "a.zarr", scheduler=client)
    assert not list(tmp_path.iterdir())
