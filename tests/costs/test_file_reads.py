"""Reads of local files, counted by the system, are those that `explain` tells."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mixed_items import basic, basic_or_fancy, mixed
from system_reads import counted_by_the_system, system_reads
from zarr_directories import settle, write
from zarr_stores import empty_cache

import caterva_cffi as cat

pytestmark = counted_by_the_system
SHAPE, CHUNKS, BLOCKS = (70, 60, 90), (40, 32, 64), (8, 12, 16)
TINY = (400, 300), (10, 10), (4, 10)


KINDS = {
    "file": (SHAPE, {"chunks": CHUNKS, "blocks": BLOCKS}),
    "directory": (SHAPE, {"chunks": CHUNKS, "blocks": BLOCKS, "contiguous": False}),
    "checksums": (SHAPE, {"chunks": CHUNKS, "blocks": BLOCKS, "checksum": True}),
    "narrow": (SHAPE, {"chunks": CHUNKS, "blocks": (40, 32, 3)}),
    "dictionary": (
        SHAPE,
        {"chunks": CHUNKS, "blocks": BLOCKS, "codec": cat.Codec.ZSTD, "usedict": True},
    ),
    "stored as it is": (SHAPE, {"chunks": CHUNKS, "blocks": BLOCKS, "clevel": 0}),
    "large blocks": ((96, 96, 64), {"chunks": (96, 96, 64), "blocks": (24, 24, 64)}),
    "many chunks": (TINY[0], {"chunks": TINY[1], "blocks": TINY[2]}),
}


@pytest.fixture(scope="module", params=list(KINDS))
def stored(request, tmp_path_factory):
    shape, options = KINDS[request.param]
    directory = tmp_path_factory.mktemp(request.param)
    cat.asarray(mixed(shape), urlpath=str(directory / "a.b2nd"), **options).close()
    settle(directory)
    return str(directory / "a.b2nd")


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = cat.set_nthreads(1)
    yield
    cat.set_nthreads(before)


@settings(deadline=None, max_examples=20)
@given(data=st.data(), is_first=st.booleans())
def test_reads_of_a_file_are_those_that_are_told(stored, data, is_first):
    array = cat.open(stored)
    # Where chunks are compressed at once, blocks lie in another order than index arrays are read.
    kind = basic if "dictionary" in stored or "stored" in stored else basic_or_fancy
    selection = data.draw(kind(array.shape))
    if not is_first:
        array[tuple(0 for _ in array.shape)]  # reads the layout
    told = array.explain(selection)
    with system_reads() as counted:
        array[selection]
    [reads] = counted
    assert (told.requests, told.nbytes) == reads
    assert told.rounds == 0


@pytest.fixture(scope="module")
def zarr_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("zarr") / "z.zarr"
    write(path, mixed(SHAPE), CHUNKS, block_shape=BLOCKS)
    write(path.with_name("inner.zarr"), mixed(SHAPE), SHAPE, block_shape=BLOCKS, chunk_shape=CHUNKS)
    settle(path.parent)
    return path


@pytest.mark.parametrize("name", ["z.zarr", "inner.zarr"])
@settings(deadline=None, max_examples=20)
@given(data=st.data(), is_first=st.booleans())
@example(data=None, is_first=True)
def test_reads_of_files_of_zarr_chunks_are_those_that_are_told(zarr_path, name, data, is_first):
    empty_cache()
    array = cat.open(zarr_path.with_name(name))
    selection = ... if data is None else data.draw(basic_or_fancy(SHAPE))
    if not is_first:
        array[:, 1]
    told = array.explain(selection)
    with system_reads() as counted:
        array[selection]
    [reads] = counted
    assert (told.requests, told.nbytes) == reads
