"""What is found of a store's costs from how long requests took, some of them held up."""

from __future__ import annotations

import random
from dataclasses import astuple

import pytest

from caterva_cffi.sources.store_costs import REMOTE, Burst, StoreCosts, fitted

STORES = [
    StoreCosts(latency=latency, bandwidth=bandwidth, request=request)
    for latency in (0.0001, 0.005, 0.1)
    for bandwidth in (5e6, 200e6, 5e9)
    for request in (0.0001, 0.005)
]


def taken(costs, waves, requests, nbytes):
    seconds = waves * costs.latency + requests * costs.request + nbytes / costs.bandwidth
    return Burst(waves, requests, nbytes, seconds)


def reads(costs, count, seed=0, held_up=0.0, jitter=0.0):
    """Return bursts as reads make them, of which some take five times as long."""
    drawn = random.Random(seed)
    for _ in range(count):
        requests = drawn.choice([1, 1, 2, 7, 30, 64])
        nbytes = int(requests * 10 ** drawn.uniform(4, 6.5))
        burst = taken(costs, -(-requests // 32), requests, nbytes)
        slower = 5 if drawn.random() < held_up else 1 + jitter * drawn.random()
        yield burst._replace(seconds=burst.seconds * slower)


@pytest.mark.parametrize("costs", STORES, ids=str)
def test_costs_are_found(costs):
    """Each of them as exactly as it can be told from the others."""
    bursts = list(reads(costs, 64, held_up=0.15, jitter=0.05))
    found = fitted(bursts, REMOTE)
    for burst in reads(costs, 20, seed=1):
        assert taken(found, *burst[:3]).seconds == pytest.approx(burst.seconds, rel=0.15)
    shares = [
        sum(getattr(costs, name) * burst[k] / burst.seconds for burst in bursts) / len(bursts)
        for k, name in enumerate(["latency", "request"])
    ]
    for share, name in zip(shares, ["latency", "request"], strict=True):
        if share > 0.1:
            assert getattr(found, name) == pytest.approx(getattr(costs, name), rel=0.25)


def test_another_network_is_learned():
    before, after = STORES[0], STORES[-1]
    found = fitted([*reads(before, 20), *reads(after, 44)], before)
    times = found.latency, found.request
    assert times == pytest.approx((after.latency, after.request), rel=0.1)
    assert found.bandwidth > 100 * before.bandwidth


@pytest.mark.parametrize(("nbytes", "most"), [(100, 100e6), (10_000_000, 10_000e6)])
def test_bytes_that_seem_to_take_no_time_have_a_bandwidth(nbytes, most):
    """What is believed stays, unless reads were nearly as fast as another one."""
    found = fitted([Burst(1, k, nbytes, 0.005 + k * 0.001) for k in range(5, 45)], REMOTE)
    assert REMOTE.bandwidth * 0.9 < found.bandwidth <= most


def test_some_answers_from_a_cache_change_nothing():
    costs = STORES[-1]
    quick = [burst._replace(seconds=1e-4) for burst in reads(costs, 8, seed=1)]
    bursts = [*reads(costs, 50), *quick]
    random.Random(0).shuffle(bursts)
    assert astuple(fitted(bursts, REMOTE)) == pytest.approx(astuple(costs), rel=0.1)


def test_what_reads_do_not_tell_stays_believed():
    believed = StoreCosts(latency=0.01, bandwidth=50e6, request=0.002)
    found = fitted([taken(STORES[-1], 1, 1, 10)] * 10, believed)
    assert found.bandwidth == pytest.approx(believed.bandwidth, rel=0.01)
    assert found.latency + found.request == pytest.approx(0.105, rel=0.05)
