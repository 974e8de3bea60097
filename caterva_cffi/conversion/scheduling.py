"""Regions converted by the workers of dask.distributed."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from caterva_cffi.conversion.jobs import Job, run_region
from caterva_cffi.conversion.running import Counts
from caterva_cffi.errors import ArgumentError, Cause

__all__ = ["check_scheduler", "run_on"]

_AHEAD = 2
"""Tasks for each thread of the workers: one that runs, and one that waits."""


def check_scheduler(job: Job) -> None:
    """Refuse a conversion that one process must do.

    Raises
    ------
    ArgumentError
    """
    if job.options.format == "b2nd":
        raise ArgumentError(
            "a frame is one file, written by one process; expected Zarr",
            Cause("contradiction", "scheduler"),
        )
    if not isinstance(job.source, (str, os.PathLike)):
        raise ArgumentError(
            f"the source is an open {type(job.source).__name__}, which other processes do not "
            "have; expected a path or a URL",
            Cause("wrong-place", "source"),
        )


def run_on(
    scheduler: Any, job: Job, path: str, numbers: Sequence[int]
) -> Iterator[tuple[int, Counts]]:
    """Yield regions and what became of them, as workers end them.

    Parameters
    ----------
    scheduler : distributed.Client
    job : Job
    path : str
        Of the array.
    numbers : sequence of int
        Of the regions.
    """
    told, left = pickle.dumps(job), iter(numbers)
    most = _AHEAD * max(sum(scheduler.nthreads().values()), 1)
    [data] = scheduler.scatter([told], broadcast=True, hash=False)

    def some(count: int) -> list[Any]:
        return [
            scheduler.submit(run_region, data, path, number, pure=False)
            for number in islice(left, count)
        ]

    waiting: dict[Any, None] = dict.fromkeys(some(most))
    results = _as_completed(scheduler, waiting)
    try:
        for future in results:
            yield future.result()
            del waiting[future]
            more = some(1)
            waiting.update(dict.fromkeys(more))
            results.update(more)
    finally:
        scheduler.cancel(list(waiting))


def _as_completed(scheduler: Any, futures: Any) -> Any:
    from distributed import as_completed

    completed: Any = as_completed
    return completed(list(futures))
