"""Blocks of a chunk are replaced; the others keep their bytes."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from zarr_arrays import (
    create,
    pipeline,  # noqa: F401 -- each test runs in both pipelines
)
from zarr_stores import (
    Asynchronous,
    RecordedLocal,
    RecordedMemory,
    _empty_cache,  # noqa: F401 -- each test begins with an empty one
    calls_of,
    stored_blocks,
    touched_blocks,
)

from caterva_cffi.zarr import CatervaCodec


@pytest.mark.parametrize("store_class", [RecordedMemory, Asynchronous, RecordedLocal])
def test_partial_writes_keep_the_other_blocks_as_they_are(store_class, tmp_path):
    store = store_class() if store_class is not RecordedLocal else store_class(tmp_path)
    data = np.random.default_rng(2).integers(0, 50, (80, 60), "u2")
    z = create(data, (40, 60), CatervaCodec(block_shape=(10, 12)), store)
    prototype = zarr.core.buffer.default_buffer_prototype()

    def stored(number):
        return zarr.core.sync.sync(store.get(f"c/{number}/0", prototype)).to_bytes()

    def blocks(frame):
        return [frame[start:stop] for start, stop in stored_blocks(frame, 4 * 5)]

    for selection in [(7, 8), (slice(5, 30), slice(11, 13)), (slice(0, 30, 15), 20)]:
        before, other = stored(0), stored(1)
        store.forget()
        with calls_of("encode", "update", "decode") as calls:
            z[selection] = data[selection] = data[selection] + 1
        size = sum(request.size for request in store.requests)
        assert {request.key for request in store.requests} == {"c/0/0"}
        assert size <= len(before)
        after = stored(0)
        assert store.writes == [("c/0/0", len(after))]
        assert stored(1) == other
        assert not calls["encode"]
        touched = touched_blocks(selection, (40, 60), (10, 12))
        changed = [
            number
            for number, (a, b) in enumerate(zip(blocks(before), blocks(after), strict=True))
            if a != b
        ]
        assert changed == touched
        assert np.array_equal(z[...], data)
