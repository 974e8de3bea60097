"""A conversion by three processes: `python convert_by_dask.py SOURCE DESTINATION`."""

import sys

import dask
from distributed import Client, LocalCluster

import caterva_cffi as cat
from caterva_cffi.conversion import jobs


class StopHere(Exception):
    pass


def took_part():
    return jobs._opened.cache_info().misses > 0


def stop(progress):
    if progress.done > progress.total / 3:
        raise StopHere


def main(source, destination):
    options = {"chunks": (3, 40, 30), "memory": 300_000, "nthreads": 1}
    with (
        dask.config.set({"distributed.worker.daemon": True}),
        LocalCluster(n_workers=3, threads_per_worker=2, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        failures = 0
        try:
            cat.convert(source, destination, scheduler=client, progress=stop, **options)
        except StopHere:
            failures += 1
        done = cat.convert(
            source, destination, scheduler=client, resume=True, verify=True, **options
        )
        assert 0 < done.resumed < done.nbytes
        workers = sum(client.run(took_part).values())
    chunks = done.encoded + done.resumed * 32 // done.nbytes
    print(f"{chunks} chunks by {workers} processes, {failures} after a failure")


if __name__ == "__main__":
    main(*sys.argv[1:])
