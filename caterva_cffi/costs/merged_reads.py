"""What it costs to read chunks of one file together: close ranges of several are one request."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from caterva_cffi.costs.tally import Tally, dry_steps, hollow_steps
from caterva_cffi.engine.object_stores import Answer, Request, run_objects
from caterva_cffi.engine.objects import ObjectRead

__all__ = ["Stored", "tally_together"]


@dataclass(frozen=True)
class Stored:
    """A chunk that is stored.

    Attributes
    ----------
    read : ObjectRead
        What is wanted of it.
    key : hashable
        Its name in the cache of layouts.
    size : int
        Bytes.
    """

    read: ObjectRead[Any]
    key: Hashable
    size: int


def tally_together(
    tally: Tally,
    chunks: Mapping[str, Stored],
    fetch: Answer,
    merge: Callable[[Sequence[Request]], Sequence[int]],
) -> None:
    """Count what it costs to read chunks side by side.

    Parameters
    ----------
    tally : Tally
    chunks : mapping of str to Stored
        By the keys of requests.
    fetch : Answer
        Reads heads.
    merge : callable
        Gives the bytes of the requests that are made for those of several chunks.
    """
    found = run_objects(
        fetch, {k: hollow_steps(each.read, each.key, each.size) for k, each in chunks.items()}
    )
    # Each chunk is a frame of one chunk; the caller has counted them.
    tally.add(replace(known, chunks=set()) for known, _ in found.values())
    before = tally.nbytes

    def answer(requests: Sequence[Request]) -> list[memoryview]:
        tally.ask(merge(requests))
        return [found[key][1].read(part) for key, part in requests]

    run_objects(answer, {k: dry_steps(each.read, each.key) for k, each in chunks.items()})
    tally.held = max(tally.held, tally.nbytes - before)
