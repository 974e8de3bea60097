"""How a codec's configuration says that blocks are compressed, and what that asks of arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from caterva_cffi.binding.compression import Compression
from caterva_cffi.codecs.compressors import (
    CNAMES,
    check_precision,
    compressor_named,
    parse_member,
    rate_meta,
)
from caterva_cffi.codecs.filters import FilterSpec, parse_filters
from caterva_cffi.codecs.needs import Needs, check_finite
from caterva_cffi.errors import ArgumentError, Cause, wrong_type, wrong_value
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.keywords import CheckedFields, unknown_name

__all__ = ["SHUFFLES", "Coding", "compression_of", "parse_flag"]

SHUFFLES = ("noshuffle", "shuffle", "bitshuffle")

_MEMBERS = ("tolerance", "precision", "rate", "cell_shape")
"""Parameters that only some codecs take."""


def _parse_clevel(cname: str, data: object) -> int | None:
    if not CNAMES[cname].has_levels:
        if data is not None:
            raise ArgumentError(
                f"clevel is {data!r}; cname {cname!r} has no levels, expected None",
                Cause("contradiction", "clevel", data),
            )
        return None
    if data is None:
        return 5
    if not isinstance(data, (int, np.integer)) or isinstance(data, bool):
        raise wrong_type("clevel", data, "an integer from 0 to 9")
    if not 0 <= data <= 9:
        raise wrong_value("clevel", int(data), f"0 to 9, nearest is {min(max(int(data), 0), 9)}")
    return int(data)


def _parse_filters(
    cname: str, shuffle: str | None, filters: object
) -> tuple[str | None, tuple[FilterSpec, ...] | None]:
    """Return shuffle and filters, of which one is None; for codecs without filters, both are."""
    if shuffle is not None and shuffle not in SHUFFLES:
        raise unknown_name("shuffle", shuffle, SHUFFLES)
    if shuffle is not None and filters is not None:
        raise ArgumentError(
            f"shuffle is {shuffle!r} and filters is {filters!r}; expected one of them: "
            "'shuffle' may stand among the filters",
            Cause("contradiction", "filters", filters),
        )
    specs = None if filters is None else parse_filters(filters)
    if not CNAMES[cname].has_filters:
        if specs or shuffle not in (None, "noshuffle"):
            name, given = ("filters", filters) if specs else ("shuffle", shuffle)
            raise wrong_value(
                name,
                given,
                f"none with cname {cname!r}, which must see the values of items",
                "contradiction",
            )
        return None, None
    if specs is None:
        return shuffle or ("noshuffle" if cname == "ndlz" else "shuffle"), None
    if not specs:
        return "noshuffle", None
    if len(specs) == 1 and specs[0].name in SHUFFLES:
        return specs[0].name, None
    return None, specs


def parse_flag(name: str, data: object) -> bool:
    """Return a boolean, and refuse anything else."""
    if not isinstance(data, bool):
        raise wrong_type(name, data, "True or False")
    return data


@dataclass(frozen=True, kw_only=True, repr=False)
class Coding(CheckedFields):
    """How blocks are compressed; a part of the configuration of both codecs.

    Parameters
    ----------
    cname : str
        "lz4", "lz4hc", "blosclz", "zlib", "zstd"; "ndlz"; or the lossy "zfp_accuracy",
        "zfp_precision", "zfp_rate".
    clevel : int, optional
        0 (no compression) to 9, by default 5. NDLZ and zfp have no levels.
    shuffle : {"shuffle", "noshuffle", "bitshuffle"}, optional
        By default "shuffle", with NDLZ "noshuffle". zfp takes no filters.
    filters : sequence of str or mapping, optional
        In place of `shuffle`: up to six filters, in the order in which they are applied. "shuffle",
        "bitshuffle", "bytedelta" and "delta" are names; others have a parameter, such as
        `{"name": "trunc_prec", "bits": 10}`, "int_trunc" too, or
        `{"name": "ndmean", "cell_shape": 4}`, "ndcell" too.
    use_dict : bool
        Whether the blocks of a chunk share a dictionary: "zstd", "lz4" and "lz4hc". Where a block
        changes, its whole chunk is compressed anew.
    tolerance : float, optional
        Of "zfp_accuracy": the largest error, a power of ten.
    precision : int, optional
        Of "zfp_precision": items have errors of at most `2**-precision` times the largest one of
        their cell, which has four items along each axis.
    rate : float, optional
        Of "zfp_rate": bits for each item.
    cell_shape : int, optional
        Of "ndlz": 4 (default) or 8, the side of its cells.

    Raises
    ------
    TypeError
        For a value of another type.
    ArgumentError
        For a value outside its range, or parameters that cannot be combined.
    """

    cname: str = "lz4"
    clevel: int | None = None
    shuffle: str | None = None
    filters: Sequence[str | Mapping[str, Any] | FilterSpec] | None = None
    use_dict: bool = False
    tolerance: float | None = None
    precision: int | None = None
    rate: float | None = None
    cell_shape: int | None = None

    def __post_init__(self) -> None:
        compressor_named(self.cname)
        if self.cname == "ndlz" and self.cell_shape is None:
            object.__setattr__(self, "cell_shape", 4)
        parse_member(self.cname, self._members)
        shuffle, filters = _parse_filters(self.cname, self.shuffle, self.filters)
        object.__setattr__(self, "clevel", _parse_clevel(self.cname, self.clevel))
        object.__setattr__(self, "shuffle", shuffle)
        object.__setattr__(self, "filters", filters)
        object.__setattr__(self, "use_dict", parse_flag("use_dict", self.use_dict))
        self._check_combination()

    def _check_combination(self) -> None:
        """Refuse what has no effect, or cannot work on any array."""
        if self.use_dict and not CNAMES[self.cname].has_dictionary:
            takers = [name for name, each in CNAMES.items() if each.has_dictionary]
            raise ArgumentError(
                f"use_dict is True; cname {self.cname!r} has no dictionaries, expected "
                f"{' or '.join(map(repr, takers))}",
                Cause("contradiction", "cname", self.cname, takers),
            )
        if self.use_dict and len(self._filters) > 2:
            raise ArgumentError(
                f"use_dict is True with {len(self._filters)} filters; expected at most 2: with "
                "more C-Blosc2 cannot decode",
                Cause("contradiction", "filters", len(self._filters), 2),
            )
        if self.use_dict and any(spec.name == "ndmean" for spec in self._filters):
            raise ArgumentError(
                "use_dict is True with filter 'ndmean'; expected one of them: each change of a "
                "block would take the means of its whole chunk again",
                Cause("contradiction", "use_dict", True, False),
            )
        if self.clevel == 0 and (self.use_dict or self.is_lossy):
            what = (
                "use_dict" if self.use_dict else f"filters {[f.to_json() for f in self._filters]}"
            )
            raise ArgumentError(
                f"clevel is 0, which stores items as they are; expected 1 to 9 with {what}",
                Cause("contradiction", "clevel", 0, 1),
            )

    @property
    def _members(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _MEMBERS}

    @cached_property
    def _filters(self) -> tuple[FilterSpec, ...]:
        if self.filters is not None:
            return cast("tuple[FilterSpec, ...]", self.filters)
        return () if self.shuffle in (None, "noshuffle") else (FilterSpec(self.shuffle),)

    @cached_property
    def is_lossy(self) -> bool:
        """Whether items may come back as others."""
        return not CNAMES[self.cname].has_filters or any(
            spec.kind.is_lossy for spec in self._filters
        )

    @cached_property
    def _needs(self) -> list[tuple[str, Needs]]:
        """What the codec and each filter need, if anything, with their names."""
        needs = [(f"cname {self.cname!r}", CNAMES[self.cname].needs)]
        for spec in self._filters:
            needs.append(
                (
                    f"filter {spec.name!r}",
                    spec.kind.needs._replace(cell=spec.cell_shape or 1),
                )
            )
        return [(name, each) for name, each in needs if each != Needs()]

    @property
    def has_needs(self) -> bool:
        """Whether there are arrays that it cannot take."""
        return bool(self._needs)

    def configuration(self) -> dict[str, Any]:
        """Return how it compresses, as JSON has it: only what the codec has, or was given."""
        members: dict[str, Any] = {"cname": self.cname}
        for name in ("clevel", "shuffle"):
            if getattr(self, name) is not None:
                members[name] = getattr(self, name)
        if self.filters is not None:
            members["filters"] = [spec.to_json() for spec in self._filters]
        if self.use_dict:
            members["use_dict"] = True
        given = {name: value for name, value in self._members.items() if value is not None}
        return members | given

    def described(self) -> str:
        """Return the same for people."""
        members = self.configuration()
        shown = [members.pop("cname")]
        if "clevel" in members:
            shown.append(f"level {members.pop('clevel')}")
        if "shuffle" in members:
            shown.append(members.pop("shuffle"))
        if members.pop("filters", None):
            shown.append(" then ".join(map(str, self._filters)))
        if members.pop("use_dict", None):
            shown.append("a dictionary for each chunk")
        return ", ".join([*shown, *(f"{name} {value}" for name, value in members.items())])

    def check_array(self, dtype: np.dtype[Any], ndim: int) -> None:
        """Refuse arrays that the codec or a filter cannot take.

        Raises
        ------
        ArgumentError
        """
        for name, needs in self._needs:
            needs.check_dtype(name, dtype)
            needs.check_ndim(name, ndim)
        for spec in self._filters:
            spec.check_bits(dtype)
        if self.precision is not None:
            check_precision(self.precision, dtype, ndim)
        if self.rate is not None:
            rate_meta(self.rate, dtype.itemsize)

    def check_chunks(self, chunks: Sequence[int], itemsize: int) -> None:
        """Refuse chunks that have no blocks as large as the codec or a filter needs them.

        Raises
        ------
        ArgumentError
        """
        for name, needs in self._needs:
            needs.check_sides(name, "the chunk's shape", tuple(chunks))
            needs.check_bytes(name, f"chunks of {tuple(chunks)}", math.prod(chunks) * itemsize)

    def check_grid(self, grid: Grid) -> None:
        """Refuse arrays whose dimensions or blocks do not fit the codec or a filter.

        Raises
        ------
        ArgumentError
        """
        for name, needs in self._needs:
            needs.check_grid(name, grid)

    def check_shape(self, shape_name: str, shape: Sequence[int]) -> None:
        """Refuse a configured shape of blocks or chunks that fits no array.

        Raises
        ------
        ArgumentError
        """
        for name, needs in self._needs:
            needs.check_ndim(name, len(shape))
            needs.check_sides(name, shape_name, tuple(shape))

    @cached_property
    def cell(self) -> int:
        """The side of the cells in which the codec or a filter works; 1 without."""
        return max((needs.cell for _, needs in self._needs), default=1)

    def check_items(self, items: npt.NDArray[Any], ndim: int, what: str = "") -> None:
        """Refuse values that would spoil others.

        Parameters
        ----------
        items : ndarray
        ndim : int
            Of the array that they are for.
        what : str, optional
            What they are, for the error.

        Raises
        ------
        ArgumentError
        """
        for name, needs in self._needs:
            if needs.finite:
                # zfp's transform and the sums of cells stay finite.
                check_finite(what + name, items, 1 / max(needs.cell**ndim, 4))


@lru_cache(maxsize=256)
def compression_of(coding: Coding, itemsize: int) -> Compression:
    """Return the parameters with which blocks of such items are compressed."""
    rate, filters = coding.rate, coding._filters
    meta = parse_member(coding.cname, coding._members)
    return Compression(
        codec=CNAMES[coding.cname].codec,
        codec_meta=meta if rate is None else rate_meta(rate, itemsize),
        clevel=5 if coding.clevel is None else coding.clevel,
        filters=[spec.kind.filter for spec in filters],
        filtersmeta=[spec.meta for spec in filters],
        usedict=coding.use_dict,
    )
