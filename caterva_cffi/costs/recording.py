"""The accesses of a program, written down while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

from caterva_cffi.geometry.crops import Crops
from caterva_cffi.geometry.selection import Basic, Fancy

__all__ = ["Recorded", "recorded_accesses", "recorders"]

Recorded: TypeAlias = list[Basic | Fancy | Crops]

recorders: list[Recorded] = []
"""The lists to which reads are added now."""


@contextmanager
def recorded_accesses() -> Iterator[Recorded]:
    """Write down what is read of arrays of this package meanwhile, in any thread.

    Give the list to `advise` as `accesses`. Reads of arrays with other shapes are passed over
    there. Reads through zarr are not seen: open its arrays by `caterva_cffi.open`.

    Yields
    ------
    list
        What is read, in this order.

    Examples
    --------
    >>> with cat.recorded_accesses() as accesses:
    ...     items = a[2], a[:, 4]
    >>> cat.advise(a.shape, a.dtype, accesses).accesses
    ('2 recorded reads',)
    """
    found: Recorded = []
    recorders.append(found)
    try:
        yield found
    finally:
        recorders[:] = [each for each in recorders if each is not found]
