"""Filters as a codec's configuration names them, and what may stand behind what.

What each filter does to the items is C-Blosc2's; docs/facts.md says which orders do not work there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from caterva_cffi.binding.compression import Filter
from caterva_cffi.binding.library import lib
from caterva_cffi.codecs.needs import CELLS, FLOATS, INTEGERS, Needs
from caterva_cffi.errors import ArgumentError, Cause, wrong_type, wrong_value
from caterva_cffi.keywords import unknown_name

__all__ = ["FILTERS", "FilterSpec", "parse_filters"]

_IN_PLACE, _ITEMS, _BYTES = range(3)
"""What a filter leaves, or takes at most: items where they were; whole items, moved or as bits that
differ from others; bytes of items."""


class _Kind(NamedTuple):
    """A filter that can be named.

    Attributes
    ----------
    filter : Filter
    member : str, optional
        The parameter that it takes.
    values : str
        Which values this may have, in words.
    takes, leaves : int
    is_lossy : bool
    needs : Needs
    """

    filter: Filter
    member: str | None = None
    values: str = ""
    takes: int = _BYTES
    leaves: int = _BYTES
    is_lossy: bool = False
    needs: Needs = Needs()


_FLOAT_BITS = "1 to 52 bits to keep, or -1 to -51 to drop"
_INT_BITS = "1 to 64 bits to keep, or -1 to -63 to drop"
_CELLS = "the side of cells, 2 to {}"

FILTERS = {
    "shuffle": _Kind(Filter.SHUFFLE),
    "bitshuffle": _Kind(Filter.BITSHUFFLE),
    "bytedelta": _Kind(Filter.BYTEDELTA),
    "delta": _Kind(Filter.DELTA, leaves=_ITEMS),
    "trunc_prec": _Kind(
        Filter.TRUNC_PREC, "bits", _FLOAT_BITS, _ITEMS, _IN_PLACE, True, Needs(dtypes=FLOATS)
    ),
    "int_trunc": _Kind(
        Filter.INT_TRUNC, "bits", _INT_BITS, _ITEMS, _IN_PLACE, True, Needs(dtypes=INTEGERS)
    ),
    "ndcell": _Kind(
        Filter.NDCELL, "cell_shape", _CELLS.format(255), _BYTES, _ITEMS, False, CELLS
    ),
    "ndmean": _Kind(
        Filter.NDMEAN, "cell_shape", _CELLS.format(127), _IN_PLACE, _ITEMS, True,
        CELLS._replace(dtypes=FLOATS, finite=True),
    ),
}  # fmt: skip
"""By the names in a configuration, which are C-Blosc2's."""

_RANGES = {
    "trunc_prec": (*range(-51, 0), *range(1, 53)),
    "int_trunc": (*range(-63, 0), *range(1, 65)),
    "ndcell": range(2, 256),
    "ndmean": range(2, 128),
}


@dataclass(frozen=True)
class FilterSpec:
    """A filter with its parameter.

    Parameters
    ----------
    name : str
        One of `FILTERS`.
    bits : int, optional
        Of "trunc_prec" and "int_trunc": how many to keep, or, negative, how many to drop.
    cell_shape : int, optional
        Of "ndcell" and "ndmean": the side of their cells.
    """

    name: str
    bits: int | None = None
    cell_shape: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name not in FILTERS:
            raise unknown_name("filter", self.name, FILTERS)
        kind = FILTERS[self.name]
        for member in ("bits", "cell_shape"):
            value = getattr(self, member)
            if member != kind.member:
                if value is not None:
                    raise ArgumentError(
                        f"filter {self.name!r} has {member} {value!r}; "
                        f"expected {_example(self.name)}",
                        Cause("contradiction", member, value),
                    )
            elif type(value) is not int or value not in _RANGES[self.name]:
                nearest = _nearest(value, _RANGES[self.name])
                raise ArgumentError(
                    f"filter {self.name!r} has {member} {value!r}; expected {kind.values}, "
                    f"such as {nearest}",
                    Cause("wrong-value", member, value, nearest),
                )

    @property
    def meta(self) -> int:
        """The parameter as C-Blosc2 takes it."""
        return self.bits or self.cell_shape or 0

    @property
    def kind(self) -> _Kind:
        """What the filter does and needs."""
        return FILTERS[self.name]

    def check_bits(self, dtype: np.dtype[Any]) -> None:
        """Refuse to keep or drop more bits than the items of an array have.

        Raises
        ------
        ArgumentError
        """
        if self.bits is None:
            return
        most = np.finfo(dtype).nmant if self.name == "trunc_prec" else 8 * dtype.itemsize
        if not 1 - most <= self.bits <= most:
            nearest = min(max(self.bits, 1 - most), most)
            raise ArgumentError(
                f"filter {self.name!r} has bits {self.bits}; expected 1 to {most}, or -1 to "
                f"{1 - most}, for {dtype}, nearest is {nearest}",
                Cause("wrong-value", "bits", self.bits, nearest),
            )

    def __str__(self) -> str:
        member = self.kind.member
        return self.name if member is None else f"{self.name} ({member} {getattr(self, member)})"

    def to_json(self) -> str | dict[str, Any]:
        """Return the filter as a configuration has it."""
        member = self.kind.member
        return self.name if member is None else {"name": self.name, member: getattr(self, member)}


def _nearest(value: object, values: Sequence[int]) -> int:
    return min(values, key=lambda each: abs(each - (value if isinstance(value, int) else 8)))


def _example(name: str) -> str:
    member = FILTERS[name].member
    return repr(name) if member is None else repr({"name": name, member: 8})


def _parse_filter(data: object) -> FilterSpec:
    if isinstance(data, FilterSpec):
        return data
    if isinstance(data, str):
        return FilterSpec(data)
    if not isinstance(data, Mapping) or "name" not in data:
        raise wrong_type("filter", data, f"a name, such as 'shuffle', or {_example('trunc_prec')}")
    name = data["name"]
    if name not in FILTERS:
        raise unknown_name("filter", name, FILTERS)
    member = FILTERS[name].member
    unknown = sorted(map(str, data.keys() - {"name", member}))
    if unknown:
        raise ArgumentError(
            f"filter {name!r} has {unknown}; expected {_example(name)}",
            Cause("unknown-name", "filter", unknown, member),
        )
    return FilterSpec(**data)


def parse_filters(data: object) -> tuple[FilterSpec, ...]:
    """Return the filters that a configuration names, in the order in which they are applied.

    Raises
    ------
    TypeError
        For another type.
    ArgumentError
        For unknown filters, parameters out of range, and orders that do not decode.
    """
    if isinstance(data, (str, Mapping)) or not isinstance(data, Sequence):
        raise wrong_type("filters", data, "a list, such as ['shuffle', 'bytedelta']")
    specs = tuple(map(_parse_filter, data))
    if len(specs) > lib.BLOSC2_MAX_FILTERS:
        raise ArgumentError(
            f"filters has {len(specs)} of them; expected at most {lib.BLOSC2_MAX_FILTERS}",
            Cause("wrong-value", "filters", len(specs), lib.BLOSC2_MAX_FILTERS),
        )
    names = [spec.name for spec in specs]
    if "delta" in names[1:] or ("delta" in names and len(names) > 2):
        raise wrong_value(
            "filters",
            names,
            "'delta' first, and at most one filter behind it, such as ['delta', 'shuffle']: "
            "C-Blosc2 cannot decode others",
            "contradiction",
        )
    if {"trunc_prec", "int_trunc"} <= set(names):
        raise wrong_value(
            "filters", names, "'trunc_prec' or 'int_trunc', not both", "contradiction"
        )
    state = _IN_PLACE
    for spec in specs:
        if state > spec.kind.takes:
            raise wrong_value(
                "filters",
                names,
                f"{spec.name!r} in front of the others, since it looks at the values of items, "
                "which they move or change",
                "contradiction",
            )
        state = max(state, spec.kind.leaves)
    return specs
