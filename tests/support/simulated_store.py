"""A store with a clock of its own: how long requests take is computed, and nobody waits."""

from __future__ import annotations

import heapq
import random

from caterva_cffi.sources.meters import Meter
from caterva_cffi.sources.source import Source


class Clock:
    """A clock that stands still until it is set."""

    now = 0.0

    def __call__(self):
        return self.now


class SimulatedStore(Source):
    """A frame behind a network.

    Each request waits for a free connection, then for the latency, and then for the client, which
    takes the answers one after the other. Latencies vary by a tenth, and a share of all reads is
    held up for five times as long.

    Parameters
    ----------
    frame : bytes
    costs : StoreCosts
    clock : Clock

    Attributes
    ----------
    held_up : float
        The share.
    """

    identified = True
    CONNECTIONS = 100

    def __init__(self, frame, costs, clock):
        self.name, self._frame, self.size = "<simulated>", memoryview(frame), len(frame)
        self.costs, self.clock, self.meter = costs, clock, Meter()
        self._random = random.Random(0)
        self.held_up = 0.03

    def _read(self, ranges, concurrency):
        costs, drawn, now = self.costs, self._random, self.clock.now
        free, client, events = [now] * min(concurrency, self.CONNECTIONS), now, []
        held_up = 5 if drawn.random() < self.held_up else 1
        for number, (start, stop) in enumerate(ranges):
            begin = heapq.heappop(free)
            arrives = begin + costs.latency * (1 + 0.1 * drawn.random()) * held_up
            client = max(client, arrives) + costs.request + (stop - start) / costs.bandwidth
            heapq.heappush(free, client)
            events += [(begin, 0, number), (client, 1, number)]
        under_way = {}
        for self.clock.now, is_end, number in sorted(events):
            if is_end:
                start, stop = ranges[number]
                under_way[number].nbytes = stop - start
                under_way.pop(number).__exit__(None, None, None)
            else:
                under_way[number] = self.meter.request().__enter__()
        return [self._frame[start:stop] for start, stop in ranges]

    def verify(self):
        pass

    def to_arguments(self):
        raise NotImplementedError
