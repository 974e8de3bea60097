"""Codecs of C-Blosc2 as a configuration names them, each with the parameter that it takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from caterva_cffi.binding.compression import Codec
from caterva_cffi.codecs.needs import BYTES, FLOATS, Needs
from caterva_cffi.errors import ArgumentError, Cause, wrong_value
from caterva_cffi.keywords import unknown_name

__all__ = [
    "CNAMES",
    "Compressor",
    "check_precision",
    "compressor_named",
    "parse_member",
    "rate_meta",
]


class Compressor(NamedTuple):
    """A codec that can be named.

    Attributes
    ----------
    codec : Codec
    member : str, optional
        The parameter that it takes beside the level.
    has_levels, has_dictionary, has_filters : bool
    needs : Needs
    """

    codec: Codec
    member: str | None = None
    has_levels: bool = True
    has_dictionary: bool = False
    has_filters: bool = True
    needs: Needs = Needs()


_ZFP_CELL = 4
_BLOCK_BYTES = 32
"""C-Blosc2's plugins fail where blocks are smaller."""

_ZFP = Needs(FLOATS, range(1, 5), _ZFP_CELL, least_bytes=_BLOCK_BYTES, finite=True)
_NDLZ = Needs(BYTES, range(2, 3), least_bytes=_BLOCK_BYTES)


def _zfp(codec: Codec, member: str) -> Compressor:
    return Compressor(codec, member, has_levels=False, has_filters=False, needs=_ZFP)


CNAMES = {
    "lz4": Compressor(Codec.LZ4, has_dictionary=True),
    "lz4hc": Compressor(Codec.LZ4HC, has_dictionary=True),
    "blosclz": Compressor(Codec.BLOSCLZ),
    "zlib": Compressor(Codec.ZLIB),
    "zstd": Compressor(Codec.ZSTD, has_dictionary=True),
    "ndlz": Compressor(Codec.NDLZ, "cell_shape", has_levels=False, needs=_NDLZ),
    "zfp_accuracy": _zfp(Codec.ZFP_ACC, "tolerance"),
    "zfp_precision": _zfp(Codec.ZFP_PREC, "precision"),
    "zfp_rate": _zfp(Codec.ZFP_RATE, "rate"),
}


def compressor_named(cname: object) -> Compressor:
    """Return a codec by its name.

    Raises
    ------
    ArgumentError
    """
    if not isinstance(cname, str) or cname not in CNAMES:
        raise unknown_name("cname", cname, CNAMES)
    return CNAMES[cname]


def _tolerance(value: Any) -> int:
    """Return the power of ten that a tolerance is."""
    if not _is_number(value) or not 0 < value < math.inf:
        raise wrong_value("tolerance", value, "a power of ten, such as 0.001")
    power = math.floor(math.log10(value) + 1e-9)
    nearest = min(max(power, -128), 127)
    if power != nearest or float(value) != float(f"1e{power}"):
        raise wrong_value(
            "tolerance",
            value,
            "a power of ten from 1e-128 to 1e127, which is what a chunk can say; the nearest that "
            f"keeps this bound is {float(f'1e{nearest}')!r}",
        )
    return power


def _whole(name: str, values: range, value: Any) -> int:
    if type(value) is not int or value not in values:
        nearest = min(values, key=lambda each: abs(each - (value if _is_number(value) else 16)))
        raise wrong_value(
            name, value, f"an integer from {values[0]} to {values[-1]}, such as {nearest}"
        )
    return value


def _precision(value: Any) -> int:
    return _whole("precision", range(1, 60), value)


def _cells(value: Any) -> int:
    if type(value) is not int or value not in (4, 8):
        raise wrong_value("cell_shape", value, "4 or 8")
    return value


def _rate(value: Any) -> int:
    if not _is_number(value) or not 0 < value <= 64:
        raise wrong_value("rate", value, "bits for each item, such as 8, and at most 64")
    return 0  # depends on the item size


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_PARSERS: dict[str, Callable[[Any], int]] = {
    "tolerance": _tolerance,
    "precision": _precision,
    "rate": _rate,
    "cell_shape": _cells,
}


def parse_member(cname: str, given: dict[str, Any]) -> int:
    """Check the parameter that only some codecs take, and return it as C-Blosc2 takes it.

    Parameters
    ----------
    cname : str
    given : dict
        All such parameters by name; None for those that are not given.

    Raises
    ------
    ArgumentError
        If another codec's parameter is given, or this one's is missing or out of range.
    """
    member = CNAMES[cname].member
    for name, value in given.items():
        if name != member and value is not None:
            takers = [other for other, each in CNAMES.items() if each.member == name]
            raise ArgumentError(
                f"{name} is {value!r}, which cname {cname!r} does not take; expected cname "
                f"{' or '.join(map(repr, takers))}",
                Cause("contradiction", name, value, takers),
            )
    if member is None:
        return 0
    if given[member] is None:
        raise wrong_value("cname", cname, f"{member} with it", "contradiction")
    return _PARSERS[member](given[member])


def check_precision(precision: int, dtype: np.dtype[Any], ndim: int) -> None:
    """Refuse more precision than zfp has bit planes for: it takes some more for its transform.

    Raises
    ------
    ArgumentError
    """
    most = 8 * dtype.itemsize - 2 * ndim - 3
    if precision > most:
        raise wrong_value(
            "precision",
            precision,
            f"1 to {most} for {dtype} in {ndim} dimensions, nearest is {most}",
        )


def rate_meta(rate: float, itemsize: int) -> int:
    """Return a rate as C-Blosc2 takes it: in whole percents of the item size, rounded down.

    Raises
    ------
    ArgumentError
        For less than one percent, or more than all.
    """
    bits = 8 * itemsize
    if not bits <= 100 * rate <= 100 * bits:
        nearest = min(max(rate, bits / 100), bits)
        raise ArgumentError(
            f"rate is {rate!r} bits for each item; expected {bits / 100} to {bits} for items of "
            f"{itemsize} bytes, nearest is {nearest}",
            Cause("wrong-value", "rate", rate, nearest),
        )
    return math.floor(100 * rate / bits + 1e-9)
