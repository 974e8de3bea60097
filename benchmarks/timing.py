"""Ways of doing the same work, measured in turns: what disturbs the machine disturbs them all."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

Action = Callable[[], object]


@dataclass(frozen=True)
class Budget:
    """How long a comparison may take.

    Attributes
    ----------
    seconds : float
        For all rounds together; warm-up comes on top.
    least, most : int
        Rounds, whatever the seconds.
    sample : float
        Seconds that one sample takes at least: quick actions are called several times in a row, and
        the mean counts.
    """

    seconds: float
    least: int = 5
    most: int = 51
    sample: float = 0.002


@dataclass(frozen=True)
class Spread:
    """Median and quartiles."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Return the spread of measured values."""
        low, median, high = np.percentile(list(values), [25, 50, 75])
        return cls(float(low), float(median), float(high))


Samples = dict[str, list[float]]
"""Seconds of one call, round by round, for each way."""


def measure(actions: Mapping[str, Action], budget: Budget, before: Action | None = None) -> Samples:
    """Time all actions in turns, as often as the budget allows.

    Each round has an order of its own (A B C B C A ...): an action may find memory that the one
    before it has just returned, which costs it less than new memory.
    """
    calls = {
        name: _warm_up(action, budget.sample) if before is None else 1
        for name, action in actions.items()
    }
    samples: Samples = {name: [] for name in actions}
    order, shuffle = list(actions), random.Random(0).shuffle
    start = time.perf_counter()
    for done in range(budget.most):
        if done >= budget.least and time.perf_counter() - start > budget.seconds:
            break
        shuffle(order)
        for name in order:
            if before is not None:
                before()
            samples[name].append(_seconds(actions[name], calls[name]))
    return samples


def ratios(samples: Samples, one: str, other: str) -> Spread:
    """Return the spread of the ratios of each round: one / other."""
    return Spread.of(a / b for a, b in zip(samples[one], samples[other], strict=True))


def fastest(samples: Samples, names: Iterable[str]) -> str:
    """Return the way with the smallest median."""
    return min(names, key=lambda name: float(np.median(samples[name])))


def _seconds(action: Action, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        action()
    return (time.perf_counter() - start) / calls


def _warm_up(action: Action, sample: float) -> int:
    """Call an action until it is warm; return how many calls a sample needs."""
    action()
    seconds = _seconds(action, 1)
    if seconds < sample:
        seconds = _seconds(action, max(1, round(sample / seconds / 4)))
    return max(1, round(sample / seconds)) if seconds else 1
