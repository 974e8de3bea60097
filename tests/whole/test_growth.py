"""Costs grow with the chunks that are touched, not with those of the array: they are counted."""

import sys

import numpy as np
import pytest
import zarr
from system_reads import counted_by_the_system, system_reads
from zarr_arrays import PIPELINES
from zarr_directories import settle

import caterva_cffi as cat
from caterva_cffi.zarr import CatervaCodec

SIDE, BLOCK = 8, 4
FEW, MANY = 5_000, 50_000
DATA = np.random.default_rng(0).integers(0, 1 << 30, (2 * SIDE,) * 3, "i4")
SCATTERED = tuple(np.random.default_rng(1).integers(0, 2 * SIDE, (3, 50)))
SELECTIONS = {
    "item": np.s_[3, 9, 10],
    "cube": np.s_[5:11, 5:11, 5:11],
    "chunks": np.s_[: 2 * SIDE],
    "scattered": SCATTERED,
}

pytestmark = counted_by_the_system


def counted(action):
    """Return how many functions a call calls in its thread, and what it reads.

    Of three calls the least counts: during one, the interpreter may tidy up.
    """
    return min(_counted(action) for _ in range(3))


def are_alike(few, many):
    """Whether two numbers of calls are equal, but for what the interpreter does meanwhile."""
    return abs(few - many) <= 0.05 * few


def _counted(action):
    calls = 0

    def count(_frame, event, _argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    with system_reads() as found:
        sys.setprofile(count)
        try:
            action()
        finally:
            sys.setprofile(None)
    return calls, *found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Write arrays of few chunks and of many, of which eight have items."""
    path = tmp_path_factory.mktemp("growth")
    codec = CatervaCodec(block_shape=(BLOCK,) * 3)
    for nchunks in (FEW, MANY):
        shape = (nchunks // 4 * SIDE, 2 * SIDE, 2 * SIDE)
        options = {"chunks": (SIDE,) * 3, "blocks": (BLOCK,) * 3, "dtype": "i4"}
        for name, contiguous in (("frame", True), ("sparse", False)):
            url = str(path / f"{name}{nchunks}")
            with cat.zeros(shape, urlpath=url, contiguous=contiguous, **options) as array:
                array[: 2 * SIDE] = DATA
        z = zarr.create_array(
            path / f"zarr{nchunks}", shape=shape, chunks=(SIDE,) * 3, dtype="i4",
            serializer=codec, compressors=None,
        )  # fmt: skip
        z[: 2 * SIDE] = DATA
    settle(path)
    return path


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("kind", ["frame", "sparse", "zarr"])
def test_a_selection(folder, kind, selection):
    key, costs = SELECTIONS[selection], []
    for nchunks in (FEW, MANY):
        array = cat.open(folder / f"{kind}{nchunks}")
        for _ in range(2):  # once more, when all is known that is kept
            np.testing.assert_array_equal(array[key], DATA[key])
        costs.append(counted(lambda array=array: array[key]))
    assert costs[0][1] == costs[1][1]
    assert are_alike(costs[0][0], costs[1][0])


@pytest.mark.parametrize("selection", ["item", "cube", "chunks"])
def test_a_selection_through_zarr(folder, selection):
    key, reads = SELECTIONS[selection], []
    for nchunks in (FEW, MANY):
        with zarr.config.set({"codec_pipeline.path": PIPELINES["CatervaPipeline"]}):
            array = zarr.open_array(folder / f"zarr{nchunks}", mode="r")
        for _ in range(2):
            np.testing.assert_array_equal(array[key], DATA[key])
        reads.append(counted(lambda array=array: array[key])[1])
    assert reads[0] == reads[1]


@pytest.mark.parametrize("kind", ["frame", "sparse", "zarr"])
def test_opening(folder, kind):
    few, many = (
        counted(lambda path=folder / f"{kind}{nchunks}": cat.open(path)[3, 9, 10])
        for nchunks in (FEW, MANY)
    )
    assert many[1].calls == few[1].calls
    assert are_alike(many[0], few[0])
