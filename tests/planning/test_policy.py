"""Read policies: what is set is used, what is learned is good, and no choice changes a result."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mixed_items import basic_or_fancy, mixed
from simulated_store import Clock, SimulatedStore
from zarr_directories import Counting, objects, write
from zarr_stores import empty_cache, reading

import caterva_cffi as cat
from caterva_cffi.arrays.remote import RemoteArray
from caterva_cffi.planning.policy import chosen, remote_policy
from caterva_cffi.sources import meters

MB = 1e6


def test_begins_with_fixed_numbers(fixed_policy):
    assert fixed_policy.learn and fixed_policy.costs is None
    assert cat.get_read_policy("remote", "https://nobody.asked/") == cat.get_read_policy("remote")
    assert not cat.get_read_policy("local", "https://nobody.asked/").learn


def learned_reader():
    """Return an array of which some reads were measured, and its reader."""
    items = np.random.default_rng(0).random((400, 300))
    content = bytes(cat.asarray(items, chunks=(200, 150), blocks=(20, 30)).to_cframe())

    class Reader:
        def read_ranges(self, ranges):
            return [content[start:stop] for start, stop in ranges]

    reader = Reader()
    array = cat.open(reader)
    for k in range(10):
        array[k * 40]
    return array, reader


def test_what_is_learned_is_shown_and_used_until_a_fixed_policy_is_set(fixed_policy):
    cat.set_read_policy("remote", fixed_policy)
    array, reader = learned_reader()
    learned = cat.get_read_policy("remote", reader)
    assert learned.learn and 0 < learned.costs.latency + learned.costs.request < 1
    assert learned == chosen(learned.costs) == remote_policy(array._items.source.meter)

    fixed = cat.ReadPolicy(first=100, gap=0, whole=1, concurrency=3)
    assert cat.set_read_policy("remote", fixed) is fixed_policy
    assert cat.get_read_policy("remote", reader) is fixed
    cat.set_read_policy("remote", fixed_policy)
    assert cat.get_read_policy("remote", reader) == learned


def test_explaining_teaches_nothing_and_tells_what_is_asked(fixed_policy):
    cat.set_read_policy("remote", fixed_policy)
    array, reader = learned_reader()
    before, asked = cat.get_read_policy("remote", reader), []
    for _ in range(40):
        told = array.explain(np.s_[:, 5])
    assert cat.get_read_policy("remote", reader) == before
    reader.read_ranges, read = (
        lambda ranges: asked.extend(ranges) or read(ranges),
        reader.read_ranges,
    )
    array[:, 5]
    assert told.requests == len(asked)


def test_local_policies_do_not_learn():
    with pytest.raises(cat.ArgumentError, match="only the remote one"):
        cat.set_read_policy("local", cat.ReadPolicy(first=0, gap=0, whole=1, learn=True))


@pytest.mark.parametrize("wrong", [{"first": -1}, {"gap": -1}, {"round": -1}, {"whole": 2}])
def test_impossible_policies_are_refused(wrong):
    with pytest.raises(cat.ArgumentError, match="a share from 0 to 1"):
        cat.ReadPolicy(**{"first": 1, "gap": 1, "whole": 0.5, **wrong})


@given(latency=st.floats(0, 100), request=st.floats(0, 100), bandwidth=st.floats(1e-3, 1e15))
def test_choices_stay_within_limits(latency, request, bandwidth):
    costs = cat.StoreCosts(latency=latency, bandwidth=bandwidth, request=request)
    policy = chosen(costs)
    assert policy.costs == costs and 32 <= policy.concurrency <= 96
    assert 4096 <= policy.first <= 65536 and policy.gap <= 8 << 20 and policy.round <= 64 << 20


# --- no choice changes a result -------------------------------------------------------------------
SHAPE, CHUNKS, BLOCKS = (70, 60, 90), (40, 32, 64), (8, 12, 16)
ITEMS = mixed(SHAPE)
FRAME = bytes(cat.asarray(ITEMS, chunks=CHUNKS, blocks=BLOCKS).to_cframe())
SIZES = st.sampled_from([0, 1, 500, 5_000, 50_000, 1 << 30])
POLICIES = st.builds(
    cat.ReadPolicy,
    first=SIZES,
    gap=SIZES,
    whole=st.floats(0, 1),
    concurrency=st.integers(1, 100),
    round=SIZES,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("zarr")
    write(path, ITEMS, CHUNKS, block_shape=BLOCKS, fill_value=5)
    return Counting(objects(path))


@settings(deadline=None, max_examples=25)
@given(policies=st.lists(POLICIES, min_size=1, max_size=3), selection=basic_or_fancy(SHAPE))
def test_policies_change_no_result(store, policies, selection):
    empty_cache()
    arrays = [cat.open(store), RemoteArray(_in_memory())]
    for policy in policies:
        with reading(policy, "remote"):
            for array in arrays:
                told = array.explain(selection)
                before = array._items
                np.testing.assert_array_equal(array[selection], ITEMS[selection])
                assert told.nitems == np.size(ITEMS[selection]) and array._items is before


def _in_memory():
    return SimulatedStore(FRAME, cat.StoreCosts(latency=0, bandwidth=1e9), Clock())


# --- what is learned is good ----------------------------------------------------------------------
SIDE = 256
WARM, COUNTED = 12, 15
GRID = [
    cat.ReadPolicy(first=16 << 10, gap=gap, whole=whole, concurrency=concurrency)
    for gap, whole in ((0, 0.9), (1 << 16, 0.9), (1 << 18, 0.5), (1 << 20, 0.9), (0, 0))
    for concurrency in (32, 96)
]


@pytest.fixture(scope="module")
def big_frame():
    items = np.random.default_rng(0).integers(0, 256, (2 * SIDE, SIDE, SIDE), "u1")
    stored = cat.asarray(items, chunks=(SIDE,) * 3, blocks=(32,) * 3, contiguous=True)
    return bytes(stored.to_cframe())


def planes_cubes_and_items(count):
    drawn = random.Random(1)
    for number in range(count):
        i, j, k = (drawn.randrange(SIDE - 20) for _ in range(3))
        yield (
            np.s_[i],
            np.s_[:, j],
            np.s_[:, :, k],
            np.s_[i : i + 20, j : j + 20, k : k + 20],
            np.s_[i, j, k],
        )[number % 5]


def seconds_of(frame, costs, policy, monkeypatch):
    """Return how long the later selections take, and the policy at the end."""
    clock = Clock()
    monkeypatch.setattr(meters, "clock", clock)
    source = SimulatedStore(frame, costs, clock)
    cat.set_read_policy("remote", policy)
    array, total = RemoteArray(source), 0.0
    for number, selection in enumerate(planes_cubes_and_items(WARM + COUNTED)):
        if number == WARM:
            source.held_up = 0  # it would be by chance, which policy is
        if number % 2 == 0:
            array = RemoteArray(source)  # of which no heads are known
        start = clock.now
        array[selection]
        total += clock.now - start if number >= WARM else 0
    return total, remote_policy(source.meter)


@pytest.mark.parametrize("bandwidth", [20 * MB, 200 * MB, 2000 * MB])
@pytest.mark.parametrize("latency", [0.005, 0.02, 0.1])
def test_as_good_as_the_best_fixed_policy(latency, bandwidth, fixed_policy, big_frame, monkeypatch):
    costs = cat.StoreCosts(latency=latency, bandwidth=bandwidth, request=0.0005)
    best = min(seconds_of(big_frame, costs, policy, monkeypatch)[0] for policy in GRID)
    learned, policy = seconds_of(big_frame, costs, fixed_policy, monkeypatch)
    default, _ = seconds_of(big_frame, costs, replace(fixed_policy, learn=False), monkeypatch)
    print(f"{learned / best:.2f}, fixed {default / best:.2f}: {policy}")
    assert learned <= 1.15 * best
    assert policy.costs.latency == pytest.approx(latency, rel=0.3)
