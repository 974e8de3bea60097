"""Regions: each item is in one, they fit memory, and multiples of both chunk shapes if they can."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caterva_cffi.conversion.regions import chunks_in, cut, shared_out

CASES = st.integers(1, 3).flatmap(
    lambda ndim: st.tuples(
        *(st.tuples(*[st.integers(low, 30)] * ndim) for low in (0, 1, 1)), st.integers(1, 20_000)
    )
)


def decoded(shape, source, regions):
    """Count how often each chunk of the source is touched, on the mean."""
    touched = np.zeros([-(-n // c) for n, c in zip(shape, source, strict=True)])
    for number in range(regions.nregions):
        for at, _ in chunks_in(regions[number], source):
            touched[at] += 1
    return touched.mean() if touched.size else 1.0


@given(CASES)
def test_regions_cover_the_array_once_within_the_memory(case):
    shape, source, target, most = case
    regions = cut(shape, source, target, 1, most)
    unit = math.prod(min(c, max(n, 1)) for c, n in zip(target, shape, strict=True))
    if regions is None:
        assert unit > most
        return
    seen = np.zeros(shape, int)
    for number in range(regions.nregions):
        region = regions[number]
        seen[region] += 1
        assert seen[region].size <= most
        for part, chunk, n in zip(region, target, shape, strict=True):
            assert part.start % chunk == 0 and (part.stop % chunk == 0 or part.stop == n)
    assert (seen == 1).all()
    if all(shape):
        assert math.isclose(regions.decoded, decoded(shape, source, regions))


@given(CASES)
def test_each_chunk_is_decoded_once_if_the_memory_allows(case):
    shape, source, target, _ = case
    regions = cut(shape, source, target, 1, 1 << 30)
    assert regions.decoded == 1
    assert all(
        step == n or (step % a == 0 and step % b == 0)
        for step, n, a, b in zip(
            regions.region, [max(n, 1) for n in shape], source, target, strict=True
        )
    )


def test_a_long_axis_is_counted_without_walking_along_it():
    regions = cut((10**15,), (1000,), (1500,), 1, 2000)
    assert regions.region == (1500,) and math.isclose(regions.decoded, 4 / 3)
    regions = cut((10**15,), (7,), (1_000_003,), 1, 2_000_000)
    assert math.isclose(regions.decoded, 1 + 6 / 1_000_003)


@pytest.mark.parametrize(
    ("memory", "at_once", "threads"),
    [(100_000, 4, 1), (50_000, 2, 2), (45_000, 1, 4), (30_000, 1, 2)],
)
def test_fewer_regions_at_a_time_where_that_saves_decoding(memory, at_once, threads):
    # A region of multiples of both takes 6,000 bytes, and beside it each thread 9,000.
    share = shared_out((60_000,), (2000,), (3000,), 1, memory, 4)
    assert (share.cut.region, share.cut.decoded) == ((6000,), 1)
    assert (share.at_once, share.threads) == (at_once, threads)


def test_memory_for_less_than_that():
    share = shared_out((60_000,), (2000,), (3000,), 1, 14_000, 4)
    assert (share.cut.region, share.cut.decoded) == ((3000,), 4 / 3)
    assert (share.at_once, share.threads) == (1, 1)
    assert shared_out((60_000,), None, (3000,), 1, 11_000, 4) is None
