"""A conversion from its beginning to its end."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

from caterva_cffi.conversion.jobs import Job
from caterva_cffi.conversion.options import Options
from caterva_cffi.conversion.plans import ArrayPlan, plan_tree
from caterva_cffi.conversion.progress import Meter, Progress
from caterva_cffi.conversion.regions import Cut, shared_out
from caterva_cffi.conversion.report import Conversion
from caterva_cffi.conversion.running import (
    Counts,
    at_the_same_time,
    convert_region,
    differs,
    some_at_a_time,
)
from caterva_cffi.conversion.scheduling import check_scheduler, run_on
from caterva_cffi.conversion.target import Target
from caterva_cffi.datasets.model import Dataset, Region, Tree
from caterva_cffi.datasets.opening import open_tree, split_path
from caterva_cffi.errors import ArgumentError, Cause, DifferenceError
from caterva_cffi.storage.atomic import disk_errors
from caterva_cffi.storage.url_secrets import without_secrets

__all__ = ["run"]


def run(
    source: Any,
    path: str | None,
    storage_options: Mapping[str, Any] | None,
    place: str,
    destination_options: Mapping[str, Any] | None,
    options: Options,
    *,
    overwrite: bool,
    resume: bool,
    verify: bool,
    dry_run: bool,
    progress: Callable[[Progress], None] | None,
    scheduler: Any,
) -> Conversion:
    """Convert; see `convert`.

    Parameters
    ----------
    source, path, storage_options, destination_options
        As for `convert`.
    place : str
        The destination.
    options : Options
    overwrite, resume, verify, dry_run, progress, scheduler
        As for `convert`.
    """
    with ExitStack() as stack:
        if isinstance(source, (str, os.PathLike)):
            source, path = _located(os.fspath(source), path)
        tree = open_tree(source, path, storage_options, options.excludes)
        if isinstance(source, str):
            stack.callback(tree.close)
        _refuse_itself(tree, place, options)
        plans = plan_tree(tree, options)
        done = Conversion(tree.name, without_secrets(place), list(plans.values()), dry_run=dry_run)
        lossy = [each for each in plans.values() if each.parameters and each.parameters.is_lossy]
        if verify and any(each.copied is None for each in lossy):
            raise ArgumentError(
                "verify compares bit by bit; expected a codec that is not lossy",
                Cause("contradiction", "verify", True, False),
            )
        job = Job(source, path, storage_options, place, destination_options, options, plans)
        if scheduler is not None:
            check_scheduler(job)
        target = job.target(tree)
        if dry_run:
            target.check(overwrite=overwrite, resume=resume)
            return done
        stack.enter_context(disk_errors(done.destination, "written"))
        stack.callback(target.close)
        target.begin(overwrite=overwrite, resume=resume)
        meter = Meter(tree.nbytes, progress)
        try:
            for each in plans.values():
                _convert_array(tree.arrays[each.path], target, each, job, meter, done, scheduler)
            if verify:
                _verify(tree, target, plans, options)
                done.verified = True
        finally:
            target.save()
        target.finish()
        done.resumed, done.seconds = meter.earlier, meter.seconds
    return done


def _located(source: str, path: str | None) -> tuple[str, str]:
    """Return a source as other processes can name it, and the path inside."""
    place, inside = (source, path) if path is not None else split_path(source)
    return place if "://" in place else os.path.abspath(place), inside


def _refuse_itself(tree: Tree, place: str, options: Options) -> None:
    """Refuse a destination that would change the source, or be changed with it.

    Raises
    ------
    ArgumentError
    """
    source, there = (_local(without_secrets(each)) for each in (tree.name, place))
    if "://" in source or "://" in there:
        if source.rstrip("/") == there.rstrip("/"):
            raise ArgumentError(
                f"{there!r} is the source, and cannot be the destination",
                Cause("wrong-place", "destination", there),
            )
        return
    if not os.path.exists(source):
        return
    source, there = os.path.realpath(source), os.path.realpath(there)
    if source == there or (options.format == "b2nd" and source == f"{there}.partial"):
        raise ArgumentError(
            f"{place!r} is the source, and cannot be the destination",
            Cause("wrong-place", "destination", place),
        )
    if _is_inside(source, there):
        raise ArgumentError(
            f"the source {tree.name!r} is inside of the destination {place!r}",
            Cause("wrong-place", "destination", place),
        )
    if _is_inside(there, os.path.join(source, tree.path)):
        raise ArgumentError(
            f"the destination {place!r} is inside of the source {tree.name!r}",
            Cause("wrong-place", "destination", place),
        )


def _is_inside(path: str, directory: str) -> bool:
    return path.startswith(os.path.join(directory, ""))


def _local(name: str) -> str:
    """Return the path that a URL of a local file has."""
    return name.removeprefix("file://")


def _convert_array(
    array: Dataset,
    target: Target,
    plan: ArrayPlan,
    job: Job,
    meter: Meter,
    done: Conversion,
    scheduler: Any,
) -> None:
    left = []
    for number in range(plan.cut.nregions):
        if target.is_done(plan, number):
            meter.add(plan.path, _nbytes(array, plan, number), earlier=True)
        else:
            left.append(number)
    if scheduler is None:
        results = _run_here(array, target, plan, left)
    else:
        results = run_on(scheduler, job, plan.path, left)
    for number, counts in results:
        target.note(plan, number)
        meter.add(plan.path, _nbytes(array, plan, number))
        done.add(counts)


def _nbytes(array: Dataset, plan: ArrayPlan, number: int) -> int:
    lengths = (part.stop - part.start for part in plan.cut[number])
    return int(math.prod(lengths)) * array.dtype.itemsize


def _run_here(
    array: Dataset, target: Target, plan: ArrayPlan, numbers: Sequence[int]
) -> Iterator[tuple[int, Counts]]:
    """Convert regions in threads: as many regions at a time as fit the memory."""
    at_once, threads = plan.share.at_once, plan.share.threads
    work = partial(convert_region, array, target, plan)
    if threads == 1 or array.decodes_into_place:
        yield from at_the_same_time(work, numbers, at_once)
        return
    with ThreadPoolExecutor(at_once * threads, "caterva-chunks") as pool:
        work = partial(work, run=partial(some_at_a_time, pool, threads))
        yield from at_the_same_time(work, numbers, at_once)


def _verify(tree: Tree, target: Target, plans: Mapping[str, ArrayPlan], options: Options) -> None:
    """Compare what was written with the source.

    Raises
    ------
    DifferenceError
    """
    target.readable()
    for path, plan in plans.items():
        array = tree.arrays[path]
        # Both are in memory at the same time.
        half = shared_out(
            array.shape, array.chunks, plan.unit, array.dtype.itemsize, options.memory // 2,
            options.workers,
        )  # fmt: skip
        share = half or replace(plan.share, at_once=1)
        cut = share.cut
        compare = partial(_compare, array, target, plan, cut)
        for number, is_other in at_the_same_time(compare, range(cut.nregions), share.at_once):
            if is_other:
                raise DifferenceError(
                    f"/{path}: items at {_shown(cut[number])} differ from those of the source; the "
                    "destination was left incomplete"
                )


def _compare(array: Dataset, target: Target, plan: ArrayPlan, cut: Cut, number: int) -> bool:
    return differs(array, target, plan, cut[number])


def _shown(region: Region) -> str:
    return "[" + ", ".join(f"{part.start}:{part.stop}" for part in region) + "]"
