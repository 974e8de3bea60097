"""A thousand random tasks of several processes at one Zarr array: `python dask_tasks.py STORE`."""

import sys

import dask
import numpy as np
import zarr
from distributed import Client, LocalCluster, get_worker

SHAPE, CHUNKS = (240, 200, 12), (24, 40, 12)
WRITES, READS = 700, 300


def random_box(random, lower, upper):
    """Return slices within bounds, with steps."""
    first = [random.integers(a, b) for a, b in zip(lower, upper, strict=True)]
    return tuple(
        slice(int(a), int(random.integers(a + 1, b + 1)), int(random.integers(1, 4)))
        for a, b in zip(first, upper, strict=True)
    )


def items_of(seed, box):
    shape = [len(range(s.start, s.stop, s.step)) for s in box]
    return np.random.default_rng(seed).integers(0, 1000, shape, "i4")


def write(store, box, seed, _before):
    zarr.open_array(store, mode="r+")[box] = items_of(seed, box)
    return get_worker().address


def read(store, box, _before):
    return zarr.open_array(store, mode="r")[box], get_worker().address


def main(store):
    zarr.create_array(
        store,
        shape=SHAPE,
        chunks=CHUNKS,
        dtype="i4",
        serializer={"name": "caterva", "configuration": {"block_shape": [8, 8, 4]}},
        compressors=None,
    )
    random = np.random.default_rng(0)
    expected = np.zeros(SHAPE, "i4")
    with (
        dask.config.set({"distributed.worker.daemon": True}),
        LocalCluster(n_workers=3, threads_per_worker=2, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        last, reads, writers = {}, [], set()
        for number in range(WRITES):
            # Tasks at one chunk come one after another, in whatever process; the others at once.
            chunk = tuple(int(random.integers(n // c)) for n, c in zip(SHAPE, CHUNKS, strict=True))
            lower = [k * c for k, c in zip(chunk, CHUNKS, strict=True)]
            upper = [a + c for a, c in zip(lower, CHUNKS, strict=True)]
            box = random_box(random, lower, upper)
            last[chunk] = client.submit(write, store, box, number, last.get(chunk), pure=False)
            expected[box] = items_of(number, box)
        before = list(last.values())
        for _ in range(READS):
            box = random_box(random, [0] * 3, SHAPE)
            reads.append((box, client.submit(read, store, box, before, pure=False)))
        for box, future in reads:
            found, address = future.result(timeout=100)
            np.testing.assert_array_equal(found, expected[box])
            writers.add(address)
        writers.update(client.gather(before))
    np.testing.assert_array_equal(zarr.open_array(store, mode="r")[...], expected)
    print(f"{WRITES + READS} tasks in {len(writers)} processes")


if __name__ == "__main__":
    main(sys.argv[1])
