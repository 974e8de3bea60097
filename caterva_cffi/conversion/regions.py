"""The boxes in which an array is converted, so that they fit memory and little is decoded twice."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from caterva_cffi.datasets.model import Region

__all__ = ["Cut", "Share", "chunks_in", "cut", "shared_out"]

_DOUBLINGS = 24
_CHUNKS = 3


@dataclass(frozen=True)
class Cut:
    """How an array is cut into regions.

    Attributes
    ----------
    shape : tuple of int
        Of the array.
    region : tuple of int
        Shape of a region: along each axis a multiple of the target's chunk, or the whole axis.
    decoded : float
        How often each chunk of the source is decoded on the mean: 1 if regions are multiples of
        its chunks, too.
    """

    shape: tuple[int, ...]
    region: tuple[int, ...]
    decoded: float

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of regions along each axis."""
        return tuple(-(-n // step) for n, step in zip(self.shape, self.region, strict=True))

    @property
    def nregions(self) -> int:
        """Number of regions."""
        return math.prod(self.counts)

    def __getitem__(self, number: int) -> Region:
        """Return a region by its number, in C order."""
        at = []
        for count in reversed(self.counts):
            number, position = divmod(number, count)
            at.append(position)
        return tuple(
            slice(k * step, min((k + 1) * step, n))
            for k, step, n in zip(reversed(at), self.region, self.shape, strict=True)
        )


def _touched(length: int, chunk: int, step: int) -> int:
    """Return how many chunks all steps touch along an axis, one counted for each step."""
    whole = math.lcm(chunk, step)
    if whole >= length:
        return sum(
            -(-min(start + step, length) // chunk) - start // chunk
            for start in range(0, length, step)
        )
    return (length // whole) * _touched(whole, chunk, step) + (
        _touched(length % whole, chunk, step) if length % whole else 0
    )


def _repeated(length: int, chunk: int, step: int) -> float:
    """Return how often a chunk is touched on the mean along an axis."""
    if step % chunk == 0 or step >= length:
        return 1.0
    return _touched(length, chunk, step) / -(-length // chunk)


def _steps(length: int, source: int, target: int) -> list[int]:
    """Return the lengths that regions may have along an axis, ascending."""
    common = math.lcm(source, target)
    steps = {min(common, length)}
    step = target
    for _ in range(_DOUBLINGS):
        if step >= min(common, length):
            break
        steps.add(step)
        step *= 2
    return sorted(steps)


def cut(
    shape: Sequence[int],
    source: Sequence[int] | None,
    target: Sequence[int],
    itemsize: int,
    most: int,
) -> Cut | None:
    """Return regions of at most `most` bytes; None if not even one chunk of the target fits.

    Parameters
    ----------
    shape : sequence of int
    source, target : sequence of int
        Chunk shapes. None for a source that is no chunks.
    itemsize, most : int
        Bytes.
    """
    lengths = [max(n, 1) for n in shape]
    units = [min(n, length) for n, length in zip(target, lengths, strict=True)]
    chunks = units if source is None else list(source)
    choices = [_steps(*each) for each in zip(lengths, chunks, units, strict=True)]
    region = list(units)
    if math.prod(region) * itemsize > most:
        return None

    def fits(axis: int, step: int) -> bool:
        return math.prod(region) // region[axis] * step * itemsize <= most

    # The axes on which most is decoded again come first, and get the longest step that fits.
    def gain(axis: int) -> float:
        return _repeated(lengths[axis], chunks[axis], units[axis])

    for axis in sorted(range(len(lengths)), key=gain, reverse=True):
        fitting = [step for step in choices[axis] if fits(axis, step)]
        region[axis] = min(
            fitting or [region[axis]],
            key=lambda step: (_repeated(lengths[axis], chunks[axis], step), step),
        )
    repeated = [_repeated(*each) for each in zip(lengths, chunks, region, strict=True)]
    return Cut(tuple(shape), tuple(region), math.prod(repeated))


@dataclass(frozen=True)
class Share:
    """How threads share out the regions of an array.

    Attributes
    ----------
    cut : Cut
    at_once : int
        Regions at the same time.
    threads : int
        Chunks of each region at the same time.
    """

    cut: Cut
    at_once: int
    threads: int


def shared_out(
    shape: Sequence[int],
    source: Sequence[int] | None,
    target: Sequence[int],
    itemsize: int,
    memory: int,
    workers: int,
) -> Share | None:
    """Return regions, and how many of them fit the memory at the same time; None for too little.

    Fewer at a time are larger, which is better only where it saves decoding.

    Parameters
    ----------
    shape, source, target, itemsize
        As for `cut`.
    memory : int
        Bytes.
    workers : int
        The most threads.
    """
    chunk = itemsize * max(math.prod(target), math.prod(source) if source else 0)
    ways = [(at_once, -(-workers // at_once)) for at_once in range(workers, 0, -1)]
    ways += [(1, threads) for threads in range(workers - 1, 0, -1)]
    best: Share | None = None
    for at_once, threads in ways:
        # Beside the items of its region, a thread has a chunk as it is stored, decoded, and once
        # more where another library hands it over.
        most = memory // at_once - _CHUNKS * threads * chunk
        found = cut(shape, source, target, itemsize, most)
        if found is not None and (best is None or found.decoded < best.cut.decoded):
            best = Share(found, at_once, threads)
            if found.decoded == 1:
                break
    return best


def chunks_in(region: Region, chunks: Sequence[int]) -> Iterator[tuple[tuple[int, ...], Region]]:
    """Yield the chunks that touch a region: the place in the grid, and the box inside the region.

    Boxes are those of the array, not counted from the region's start.
    """
    spans = [
        range(part.start // n, -(-part.stop // n)) for part, n in zip(region, chunks, strict=True)
    ]
    for at in product(*spans):
        yield (
            at,
            tuple(
                slice(max(k * n, part.start), min((k + 1) * n, part.stop))
                for k, n, part in zip(at, chunks, region, strict=True)
            ),
        )
