"""Generators that ask for ranges, run side by side."""

from __future__ import annotations

from caterva_cffi.steps import run, together


def test_steps_side_by_side_ask_together():
    def steps(n):
        total = 0
        for k in range(n):
            [data] = yield [(k, k + n)]
            total += len(data)
        return total

    rounds = []

    def read(ranges):
        rounds.append(len(ranges))
        return [bytes(stop - start) for start, stop in ranges]

    assert run(together({n: steps(n) for n in range(4)}), read) == {0: 0, 1: 1, 2: 4, 3: 9}
    assert rounds == [3, 2, 1]
