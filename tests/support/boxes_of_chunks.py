"""Boxes of chunks, for hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from caterva_cffi.geometry.grid import Grid


@st.composite
def boxes(draw):
    chunk = draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))
    block = [draw(st.integers(1, n)) for n in chunk]
    start = [draw(st.integers(0, n - 1)) for n in chunk]
    step = [draw(st.integers(1, 5)) for _ in chunk]
    most = [(n - 1 - a) // s + 1 for n, a, s in zip(chunk, start, step, strict=True)]
    count = [draw(st.integers(1, n)) for n in most]
    return Grid(tuple(chunk), tuple(chunk), tuple(block), 4), (start, count, step)
