"""Selections of one array behind a network: time, requests and bytes, over HTTP and S3.

Real servers on this machine, nginx and moto, and before each a proxy that lets every request wait
20 ms. The copies are those of `zarr_slices`. Arrays are opened once and read at several places, and
nothing that was decoded is kept; python-blosc2 is told so, and keeps block offsets alone. The last
readers open the array anew for each selection. Then planes through Zarr, with each request waiting
100 ms: our codec and sharding with the same clients.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import blosc2
import fsspec
import obstore.store
import zarr
from zarr.storage import FsspecStore, ObjectStore

import caterva_cffi as cat
from benchmarks.data import Array, equal, in_turns, selections, smooth
from benchmarks.timing import Budget, Spread, measure
from benchmarks.zarr_slices import (
    BATCHED,
    FUSED,
    HAS_FUSED,
    OURS,
    Read,
    write_b2nd,
    write_blosc,
    write_caterva,
    write_shards,
)

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "support"))
import servers

CACHED = f"{OURS} in zarr, with its cache"
OPENED = f"{OURS}.open(url)"
CACHE = 64 * 2**20
PLANES = "plane"
WANTED = (PLANES, "cube", "one item")


@dataclass(frozen=True)
class Size:
    """Sides of the arrays behind HTTP and S3, of their chunks and of their blocks, in items.

    `latency` is how many seconds each request waits, `longer` how many in the second turn; `places`
    is at how many requests are counted.
    The S3 server reads all of an object for each range of it: large ones would measure that.
    """

    http: int = 512
    http_chunk: int = 256
    s3: int = 256
    s3_chunk: int = 128
    block: int = 32
    latency: float = 0.02
    longer: float = 0.1
    places: int = 5


QUICK = Size(http=256, http_chunk=128, s3=128, s3_chunk=64)
TINY = Size(http=16, http_chunk=8, s3=16, s3_chunk=8, block=4, latency=0, longer=0.001, places=1)


@dataclass(frozen=True)
class Far:
    """Seconds, requests and bytes of a selection, with one reader over one protocol."""

    protocol: str
    latency: float
    selection: str
    reader: str
    seconds: Spread
    requests: float
    sent: float


# --- readers --------------------------------------------------------------------------------------
def opener(store: Callable[[], Any], pipeline: str = BATCHED) -> Callable[[], Read]:
    """Return what opens a Zarr array for reading."""

    def open_() -> Read:
        with zarr.config.set({"codec_pipeline.path": pipeline}):
            read: Read = zarr.open_array(store(), mode="r").__getitem__
            return read

    return open_


def blosc2_opener(url: str, options: Mapping[str, Any] | None) -> Callable[[], Read]:
    """Return what opens a frame with python-blosc2, which reads blocks and keeps none."""
    return lambda: (
        blosc2.open(
            url,
            mode="r",
            lazy=True,
            cache_policy=blosc2.CachePolicy.NONE,
            storage_options=options,
        ).__getitem__
    )


def openers(root: str, options: Mapping[str, Any] | None, native: Any) -> dict[str, Any]:
    """Return what opens the copies below an address.

    Parameters
    ----------
    root : str
    options : mapping, optional
        What fsspec needs.
    native : callable
        Makes obstore's store of a copy.
    """

    def by_fsspec(copy: str) -> Callable[[], Any]:
        return lambda: FsspecStore.from_url(
            f"{root}/{copy}", storage_options=dict(options or {}), read_only=True
        )

    def by_obstore(copy: str) -> Callable[[], Any]:
        return lambda: ObjectStore(native(copy), read_only=True)

    found: dict[str, Any] = {}
    for label, pipeline in (("default", BATCHED), ("fused", FUSED)):
        if pipeline != FUSED or HAS_FUSED:
            for name, copy in (
                (f"{OURS} in zarr", "caterva.zarr"),
                ("zarr sharding", "shards.zarr"),
                ("zarr Blosc", "blosc.zarr"),
            ):
                found[f"{name}, {label} pipeline"] = opener(by_fsspec(copy), pipeline)
    found[f"{OURS} in zarr, obstore"] = opener(by_obstore("caterva.zarr"))
    found["zarr sharding, obstore"] = opener(by_obstore("shards.zarr"))
    found["python-blosc2"] = blosc2_opener(f"{root}/a.b2nd", options)
    found[OPENED] = lambda: cat.open(f"{root}/a.b2nd", storage_options=options).__getitem__
    found[CACHED] = opener(by_fsspec("caterva.zarr"))
    return found


def anew(open_: Callable[[], Read]) -> Read:
    """Return a reader that opens the array for each selection."""
    return lambda key: open_()(key)


@contextlib.contextmanager
def cached(reader: str) -> Iterator[None]:
    """Keep block offsets for the reader that is called so."""
    before = cat.get_cache_size()
    cat.set_cache_size(CACHE if reader == CACHED else 0)
    try:
        yield
    finally:
        cat.set_cache_size(before)


# --- measuring ------------------------------------------------------------------------------------
def write(directory: Path, data: Array, chunk: int, block: int) -> None:
    """Write all copies."""
    write_caterva(directory / "caterva.zarr", data, chunk, block)
    write_shards(directory / "shards.zarr", data, chunk, block)
    write_blosc(directory / "blosc.zarr", data, chunk)
    write_b2nd(directory / "a.b2nd", data, chunk, block)


def run(directory: Path, budget: Budget, size: Size = Size()) -> Iterator[Far]:
    """Measure over HTTP, then over S3; files go to `directory`."""
    with servers.nginx(directory) as web:
        data = smooth((size.http,) * 3)
        write(directory, data, size.http_chunk, size.block)

        def over_http(url: str) -> dict[str, Any]:
            def native(copy: str) -> Any:
                options: Any = {"client_options": {"allow_http": True}}
                return obstore.store.HTTPStore.from_url(f"{url}/{copy}/", **options)

            return openers(url, None, native)

        yield from _both("HTTP", web.url, over_http, data, budget, size)
    for copy in directory.iterdir():
        (shutil.rmtree if copy.is_dir() else Path.unlink)(copy)

    with servers.moto() as s3:
        data = smooth((size.s3,) * 3)
        write(directory, data, size.s3_chunk, size.block)
        s3.create_bucket("benchmark")
        fsspec.filesystem("s3", **s3.storage_options()).put(
            f"{directory}/", "benchmark/", recursive=True
        )

        def over_s3(url: str) -> dict[str, Any]:
            def native(copy: str) -> Any:
                options: Any = s3.obstore_options(url)
                return obstore.store.S3Store("benchmark", prefix=copy, **options)

            return openers("s3://benchmark", s3.storage_options(url), native)

        yield from _both("S3", s3.url, over_s3, data, budget, size)


def _both(
    protocol: str,
    url: str,
    openers_at: Callable[[str], dict[str, Any]],
    data: Array,
    budget: Budget,
    size: Size,
) -> Iterator[Far]:
    """Measure all readers, then planes with some of them behind a longer way."""
    title, wanted = f"{protocol}, {data.shape[0]}³", selections(data.shape[0])
    with servers.delayed(url, size.latency) as far:
        found = openers_at(far.url)
        readers = {name: open_() for name, open_ in found.items()}
        for name in (f"{OURS} in zarr, default pipeline", OPENED, "python-blosc2"):
            readers[f"{name}, opened anew"] = anew(found[name])
        near = {name: keys for name, keys in wanted.items() if name.startswith(WANTED)}
        near["everything"] = [(slice(None),) * 3]
        for row in measured(far, readers, near, data, budget, size.places):
            yield Far(title, size.latency, *row)
    with servers.delayed(url, size.longer) as far:
        compared = (f"{OURS} in zarr", "zarr sharding")
        found = {k: v for k, v in openers_at(far.url).items() if k.startswith(compared)}
        readers = {name: open_() for name, open_ in found.items() if name != CACHED}
        planes = {name: keys for name, keys in wanted.items() if name.startswith(PLANES)}
        for row in measured(far, readers, planes, data, budget, size.places):
            yield Far(title, size.longer, *row)


def measured(
    far: servers.Server,
    readers: Mapping[str, Read],
    wanted: Mapping[str, list[Any]],
    data: Array,
    budget: Budget,
    places: int,
) -> Iterator[tuple[str, str, Spread, float, float]]:
    """Time each selection with all readers, after counting what they ask for; see `Far`."""
    for selection, keys in wanted.items():
        counts = {}
        for name, read in readers.items():
            with cached(name):
                read(keys[0])
                counts[name] = list(_counted(far, name, read, keys[:places], data))
        samples = {}
        for group in (readers.keys() - {CACHED}, readers.keys() & {CACHED}):
            with cached(min(group, default="")):
                actions = {n: in_turns(readers[n], keys) for n in readers if n in group}
                samples.update(measure(actions, budget) if actions else {})
        for name in readers:
            requests, sent = (median(values) for values in zip(*counts[name], strict=True))
            yield selection, name, Spread.of(samples[name]), requests, sent


def _counted(
    far: servers.Server, name: str, read: Read, keys: list[Any], data: Array
) -> Iterator[tuple[int, int]]:
    """Give requests and bytes of each selection, whose items have to be right."""
    for key in keys:
        with far.counted() as requests:
            items = read(key)
        equal(items, data[key], name)
        yield len(requests), sum(request.sent for request in requests)
