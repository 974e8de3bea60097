"""A read policy that learns, beside fixed ones, over HTTP with several latencies and bandwidths.

nginx on this machine, and before it proxies that let each request wait and hold back bytes. Each
policy reads the same selections of the same array, in turns. The one that learns has a proxy of its
own, so that it knows nothing of the others' reads; it has read the selections once before.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import zarr
from zarr.storage import FsspecStore

import caterva_cffi as cat
from benchmarks.data import Array, equal, selections, smooth
from benchmarks.remote import servers
from benchmarks.timing import Budget, Spread
from benchmarks.zarr_slices import Read, write_b2nd, write_caterva

DEFAULT = cat.get_read_policy("remote")
LEARNED = "learned"
FIXED = "fixed default"
_ROUNDS = 3
"""Of each policy: a round of a distant and slow server takes many seconds."""

WANTED = ("plane", "cube", "one item")


@dataclass(frozen=True)
class Size:
    """Sides of the array, of its chunks and blocks, in items; what servers do; what is tried.

    `bandwidths` are bytes in a second, `gaps` and `shares` those of fixed policies, and `places` is
    how often each kind of selection is read.
    """

    side: int = 512
    chunk: int = 256
    block: int = 32
    latencies: tuple[float, ...] = (0.005, 0.02, 0.1)
    bandwidths: tuple[float, ...] = (20e6, 200e6, 2000e6)
    gaps: tuple[int, ...] = (1 << 16, 1 << 18, 1 << 20, 1 << 22)
    shares: tuple[float, ...] = (0.0, 0.9)
    concurrencies: tuple[int, ...] = (96,)
    places: int = 1


QUICK = Size(
    side=256,
    chunk=128,
    latencies=(0.02,),
    bandwidths=(20e6, 200e6),
    gaps=(1 << 16, 1 << 20),
    places=1,
)
TINY = Size(
    side=16,
    chunk=8,
    block=4,
    latencies=(0.0,),
    bandwidths=(200e6,),
    gaps=(1 << 16,),
    shares=(0.9,),
    places=1,
)


@dataclass(frozen=True)
class Learned:
    """Seconds of all selections, by policy, from one server with one reader.

    Attributes
    ----------
    latency, bandwidth : float
        What the server's proxy adds, and lets through.
    reader : str
    seconds : dict of str to Spread
        Of a round of all selections.
    policy : ReadPolicy
        What was learned.
    """

    latency: float
    bandwidth: float
    reader: str
    seconds: dict[str, Spread]
    policy: cat.ReadPolicy

    @property
    def best(self) -> str:
        """The fixed policy with the smallest median."""
        fixed = self.seconds.keys() - {LEARNED}
        return min(fixed, key=lambda name: self.seconds[name].median)

    def against_best(self, name: str) -> float:
        """Return how many times as long as with the best fixed policy it takes."""
        return self.seconds[name].median / self.seconds[self.best].median


def fixed_policies(size: Size) -> dict[str, cat.ReadPolicy]:
    """Return the fixed policies that are tried, by their names."""
    default = replace(DEFAULT, learn=False)
    found = {FIXED: default}
    for concurrency in size.concurrencies:
        for share in size.shares:
            for gap in size.gaps if share else size.gaps[:1]:
                name = f"gap {gap >> 10} KiB, whole {share:g}, {concurrency} at a time"
                found[name] = replace(default, gap=gap, whole=share, concurrency=concurrency)
    return found


def openers(url: str) -> dict[str, Callable[[], Read]]:
    """Return what opens the array below an address, with each reader."""

    def in_zarr() -> Read:
        store = FsspecStore.from_url(f"{url}/caterva.zarr", read_only=True)
        read: Read = zarr.open_array(store, mode="r").__getitem__
        return read

    return {
        "caterva_cffi.open(url)": lambda: cat.open(f"{url}/a.b2nd").__getitem__,
        "caterva_cffi in zarr": in_zarr,
    }


def run(directory: Path, budget: Budget, size: Size = Size()) -> Iterator[Learned]:
    """Measure with each server; files go to `directory`."""
    data = smooth((size.side,) * 3)
    write_caterva(directory / "caterva.zarr", data, size.chunk, size.block)
    write_b2nd(directory / "a.b2nd", data, size.chunk, size.block)
    with servers.nginx(directory) as web, _no_cache():
        for latency in size.latencies:
            for bandwidth in size.bandwidths:
                with (
                    servers.delayed(web.url, latency, bandwidth) as near,
                    servers.delayed(web.url, latency, bandwidth) as other,
                ):
                    for reader, open_ in openers(near.url).items():
                        learns = openers(other.url)[reader]
                        seconds = measured(open_, learns, data, budget, size)
                        cat.set_read_policy("remote", DEFAULT)
                        policy = cat.get_read_policy("remote", other.url)
                        yield Learned(latency, bandwidth, reader, seconds, policy)


@contextlib.contextmanager
def _no_cache() -> Iterator[None]:
    before = cat.set_cache_size(0)
    try:
        yield
    finally:
        cat.set_cache_size(before)
        cat.set_read_policy("remote", DEFAULT)


def measured(
    open_: Callable[[], Read], learns: Callable[[], Read], data: Array, budget: Budget, size: Size
) -> dict[str, Spread]:
    """Time all selections with each policy, in turns, after one round that is not counted."""
    policies: Mapping[str, cat.ReadPolicy] = {LEARNED: DEFAULT, **fixed_policies(size)}
    keys = [
        key
        for name, some in selections(size.side).items()
        if name.startswith(WANTED)
        for key in some[: size.places]
    ]
    samples: dict[str, list[float]] = {name: [] for name in policies}
    for number in range(1 + min(budget.least, _ROUNDS)):
        for name, policy in policies.items():
            cat.set_read_policy("remote", policy)
            took = _seconds(learns if name == LEARNED else open_, keys, data, check=not number)
            if number:
                samples[name].append(took)
    return {name: Spread.of(some) for name, some in samples.items()}


def _seconds(open_: Callable[[], Read], keys: list[Any], data: Array, *, check: bool) -> float:
    """Return how long it takes to read all selections of an array that was opened anew."""
    read, total = open_(), 0.0
    for key in keys:
        start = time.perf_counter()
        items = read(key)
        total += time.perf_counter() - start
        if check:
            equal(items, data[key], "caterva_cffi")
    return total
