"""What requests to a store cost, and how that is found from how long some took.

Requests that are made together take ``waves * latency + requests * request + nbytes / bandwidth``
seconds. The three numbers are those with the smallest relative errors, of which the sizes count and
not the squares: so some reads that were held up, or came from a cache, change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from caterva_cffi.errors import ArgumentError, Cause

__all__ = ["REMOTE", "Burst", "StoreCosts", "fitted"]

_FADES = 0.96
"""What a burst counts, by what the next one counts."""

_ERROR = 0.02
"""Relative errors below this one count by their squares: clocks and networks are no better."""

_LEAST_SHARE = 0.02
"""Of the time of a burst: latency and requests are believed to take at least so much."""

_FASTER = 10
"""The bandwidth is not believed to grow beyond so many times the bytes in a second of a burst."""

_ROUNDS = 12

_BELIEF = 0.05
"""What the costs from before count; a burst that fits well counts 50, by its share of a cost."""


@dataclass(frozen=True, kw_only=True)
class StoreCosts:
    """What a store costs.

    Parameters
    ----------
    latency : float
        Seconds from a request to its answer.
    bandwidth : float
        Bytes in a second, of all requests together.
    request : float
        Seconds of the processor for each request.
    """

    latency: float
    bandwidth: float
    request: float = 0.0

    def __post_init__(self) -> None:
        if self.latency < 0 or self.request < 0 or not self.bandwidth > 0:
            raise ArgumentError(
                f"{self}: expected times of at least 0, and a bandwidth above 0",
                Cause("wrong-value", "store"),
            )


REMOTE = StoreCosts(latency=0.02, bandwidth=100e6, request=0.0005)
"""An object store in the same region."""


class Burst(NamedTuple):
    """Requests that were under way together, and how long it took until there was none.

    Attributes
    ----------
    waves : int
        The longest chain of requests of which each began after another one had ended.
    requests, nbytes : int
    seconds : float
    """

    waves: int
    requests: int
    nbytes: int
    seconds: float


def fitted(bursts: Sequence[Burst], before: StoreCosts) -> StoreCosts:
    """Return what a store costs.

    Parameters
    ----------
    bursts : sequence of Burst
        The latest ones, the last one last.
    before : StoreCosts
        What it is believed to cost: of what the bursts do not tell, this stays.
    """
    rows = np.array([burst[:3] for burst in bursts], np.float64)
    seconds = np.array([burst.seconds for burst in bursts])
    believed = np.array([before.latency, before.request, 1 / before.bandwidth])
    # What is believed to take no time would stay so for ever.
    possible = np.median(seconds[:, np.newaxis] / rows[:, :2], axis=0)
    believed[:2] = np.maximum(believed[:2], _LEAST_SHARE * possible)
    ages = np.arange(len(bursts))[::-1]
    times = _least_errors(rows * believed, seconds, _FADES**ages) * believed
    # Where bytes seem to take no time, something else took so long that they do not show.
    shown = max(burst.nbytes / burst.seconds for burst in bursts)
    most = max(before.bandwidth, _FASTER * shown)
    return StoreCosts(
        latency=float(times[0]),
        request=float(times[1]),
        bandwidth=1 / max(float(times[2]), 1 / most),
    )


def _least_errors(
    rows: npt.NDArray[Any], seconds: npt.NDArray[Any], counts: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    """Return numbers of at least 0, best near 1, with which the sums of `rows` are about `seconds`.

    An error is a share of the larger one, so that it is at most 1 for what is much faster or slower
    than the rest.
    """
    found, errors = np.ones(3), np.ones(len(rows))
    usual = np.median(seconds)
    for number in range(_ROUNDS):
        # A number that became many times as large is believed in its turn.
        prior = _BELIEF / np.maximum(found, 1) ** 2
        scales = np.maximum(rows @ found, seconds)
        if number < _ROUNDS // 2:
            scales = np.maximum(scales, usual)  # what is usual decides where to look
        weighted = rows.T * (counts / np.maximum(errors, _ERROR) / scales**2)
        matrix = weighted @ rows + np.diag(prior)
        found = _solved(matrix, weighted @ seconds + prior)
        sums = rows @ found
        errors = np.abs(sums - seconds) / np.maximum(sums, seconds)
    return found


def _solved(matrix: npt.NDArray[Any], right: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the numbers of at least 0 with small squared errors."""
    found, kept = np.zeros(3), np.arange(3)
    while kept.size:
        some = np.linalg.solve(matrix[np.ix_(kept, kept)], right[kept])
        if some.min() >= 0:
            found[kept] = some
            break
        kept = np.delete(kept, some.argmin())
    return found
