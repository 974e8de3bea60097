"""What is decoded from the bytes that were planned, against brute force."""

from __future__ import annotations

import numpy as np
from boxes_of_chunks import boxes
from hypothesis import given
from hypothesis import strategies as st

import caterva_cffi as cat
from caterva_cffi.engine.groups import pieces
from caterva_cffi.planning.frame import Frame
from caterva_cffi.planning.layout import layout_steps
from caterva_cffi.planning.policy import ReadPolicy
from caterva_cffi.steps import run

POLICIES = [
    ReadPolicy(first=first, gap=gap, whole=whole)
    for first, gap, whole in ((64, 0, 1.0), (64, 100, 0.5), (1 << 20, 0, 0.0))
]


@given(
    boxes(),
    st.sampled_from([{}, {"clevel": 0}, {"codec": "zstd", "usedict": True}]),
    st.sampled_from(POLICIES),
)
def test_planned_ranges_are_all_that_decoding_needs(drawn, compression, policy):
    """All other bytes are poison."""
    grid, box = drawn
    items = np.random.default_rng(1).integers(0, 4, grid.shape, "i4")
    array = cat.asarray(items, chunks=grid.chunks, blocks=grid.blocks, **compression)
    frame = bytes(array.to_cframe())
    known = np.full(len(frame), 0xA5, np.uint8)
    rounds = []

    def read(ranges):
        rounds.append(ranges)
        for start, stop in ranges:
            known[start:stop] = np.frombuffer(frame[start:stop], np.uint8)
        return [frame[start:stop] for start, stop in ranges]

    layout = run(layout_steps(policy.first), read)
    assert layout.grid == grid
    got = run(Frame(layout, array._items.kernel, policy).piece_steps({0: [box]}), read)
    assert len(rounds) <= 5
    offset = int(layout.offsets[0])
    chunk = known[max(offset, 0) :].tobytes() if offset >= 0 else got[0][0][1]
    expected = items[tuple(slice(a, a + n * s, s) for a, n, s in zip(*box, strict=True))]
    for kept in ([(0, chunk)], got[0]):
        found = np.empty(box[1], "i4")
        array._items.kernel.decode([(0, pieces(kept), box, found.ctypes.data, found.strides)])
        assert (found == expected).all()
