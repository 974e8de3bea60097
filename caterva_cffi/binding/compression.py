"""Codecs, filters and compression parameters, as C-Blosc2 numbers them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

from caterva_cffi.binding.library import ffi, lib
from caterva_cffi.errors import (
    ArgumentError,
    ArgumentTypeError,
    Cause,
    UnsupportedError,
    wrong_value,
)
from caterva_cffi.keywords import CheckedFields, unknown_name

__all__ = ["Codec", "Compression", "Filter", "SplitMode", "member_of"]


class Codec(Enum):
    """Available codecs. NDLZ and ZFP work on the N-d block; ZFP is lossy."""

    BLOSCLZ = lib.BLOSC_BLOSCLZ
    LZ4 = lib.BLOSC_LZ4
    LZ4HC = lib.BLOSC_LZ4HC
    ZLIB = lib.BLOSC_ZLIB
    ZSTD = lib.BLOSC_ZSTD
    NDLZ = lib.BLOSC_CODEC_NDLZ
    ZFP_ACC = lib.BLOSC_CODEC_ZFP_FIXED_ACCURACY
    ZFP_PREC = lib.BLOSC_CODEC_ZFP_FIXED_PRECISION
    ZFP_RATE = lib.BLOSC_CODEC_ZFP_FIXED_RATE


class Filter(Enum):
    """Available filters. TRUNC_PREC, NDMEAN and INT_TRUNC lose information."""

    NOFILTER = lib.BLOSC_NOFILTER
    SHUFFLE = lib.BLOSC_SHUFFLE
    BITSHUFFLE = lib.BLOSC_BITSHUFFLE
    DELTA = lib.BLOSC_DELTA
    TRUNC_PREC = lib.BLOSC_TRUNC_PREC
    NDCELL = lib.BLOSC_FILTER_NDCELL
    NDMEAN = lib.BLOSC_FILTER_NDMEAN
    BYTEDELTA = lib.BLOSC_FILTER_BYTEDELTA
    INT_TRUNC = lib.BLOSC_FILTER_INT_TRUNC


class SplitMode(Enum):
    """Whether a shuffled block is compressed as one stream for each byte of an item."""

    ALWAYS = lib.BLOSC_ALWAYS_SPLIT
    NEVER = lib.BLOSC_NEVER_SPLIT
    AUTO = lib.BLOSC_AUTO_SPLIT
    FORWARD_COMPAT = lib.BLOSC_FORWARD_COMPAT_SPLIT


_FIRST_USER_ID = 160  # first number of users' codecs and filters

_Kind = TypeVar("_Kind", bound=Enum)


def member_of(kind: type[_Kind], number: int) -> _Kind | int:
    """Return the member of an enum that has a number; the number where none has it."""
    try:
        return kind(number)
    except ValueError:
        return number


def _member(kind: type[Enum], value: Any, name: str) -> int:
    """Return the number of an enum member; the member, its name or its number is given."""
    if isinstance(value, kind):
        return int(value.value)
    if isinstance(value, str) and value.upper() in kind.__members__:
        return int(kind[value.upper()].value)
    if kind is not SplitMode and type(value) is int and 0 <= value <= 255:
        if value < _FIRST_USER_ID and not isinstance(member_of(kind, value), kind):
            raise UnsupportedError(
                f"{name} {value} is not available here",
                Cause("codec-missing" if kind is Codec else "filter-missing", name, value),
            )
        return value
    names = list(kind.__members__)
    raise unknown_name(name, value, names, f"a {kind.__name__} ({', '.join(names)})")


def _as_tuple(name: str, value: Any, one: type | tuple[type, ...]) -> tuple[Any, ...]:
    """Return a sequence as a tuple; a single value as a tuple of one."""
    if type(value) is tuple:
        return value
    if isinstance(value, one):
        return (value,)
    if isinstance(value, bytes) or not isinstance(value, Iterable):
        raise ArgumentTypeError(
            f"{name} is {value!r}, of type {type(value).__name__}; expected one or a sequence",
            Cause("wrong-type", name, value),
        )
    return tuple(value)


@dataclass(frozen=True)
class Compression(CheckedFields):
    """How chunks are compressed.

    DELTA and dictionaries refer to uncompressed data. With more than two filters, or with one
    before DELTA, C-Blosc2 overwrites that data. So DELTA is then stored without compression, and no
    dictionary is used.

    Parameters
    ----------
    codec : Codec or int, default Codec.LZ4
        Or its name, or the number of a codec that was registered through `lib`.
    clevel : int, default 5
        From 0 (store) to 9.
    filters : Filter or sequence of Filter, default (Filter.SHUFFLE,)
        At most six, applied in this order; or their names; or, in a sequence, their numbers.
    filtersmeta : int or sequence of int, default (0,)
        A parameter for each filter, from -128 to 255. A shorter list is for the last filters.
    usedict : bool, default False
        Train a dictionary for each chunk (ZSTD, LZ4 and LZ4HC).
    splitmode : SplitMode, default SplitMode.AUTO
    codec_meta : int, default 0
        A parameter for the codec, from -128 to 255, such as ZFP's rate.
    nthreads : int, optional
        Threads that the array's calls use; by default the free ones of those that all calls share,
        see `set_nthreads`. It is not stored.

    Raises
    ------
    ArgumentError
        For a value out of range.
    UnsupportedError
        For the number of a codec or filter that is not compiled in.
    """

    codec: Codec | int = Codec.LZ4
    clevel: int = 5
    filters: Sequence[Filter | int] = (Filter.SHUFFLE,)
    filtersmeta: Sequence[int] = (0,)
    usedict: bool = False
    splitmode: SplitMode = SplitMode.AUTO
    codec_meta: int = 0
    nthreads: int | None = None

    def __post_init__(self) -> None:
        _member(Codec, self.codec, "codec")
        _member(SplitMode, self.splitmode, "splitmode")
        for name, one in (("filters", (str, Filter)), ("filtersmeta", int)):
            object.__setattr__(self, name, _as_tuple(name, getattr(self, name), one))
        for item in self.filters:
            _member(Filter, item, "filter")
        if isinstance(self.clevel, bool) or self.clevel not in range(10):
            raise wrong_value("clevel", self.clevel, "an integer from 0 to 9")
        if self.nthreads is not None and self.nthreads not in range(1, 2**15):
            raise wrong_value("nthreads", self.nthreads, "a positive integer")
        slots = lib.BLOSC2_MAX_FILTERS
        if len(self.filters) > slots or len(self.filtersmeta) > slots:
            raise ArgumentError(
                f"{len(self.filters)} filters and {len(self.filtersmeta)} filtersmeta; "
                f"at most {slots} fit",
                Cause(
                    "wrong-value",
                    "filters" if len(self.filters) > slots else "filtersmeta",
                    max(len(self.filters), len(self.filtersmeta)),
                    slots,
                ),
            )
        for name, metas in (("filtersmeta", self.filtersmeta), ("codec_meta", (self.codec_meta,))):
            for meta in metas:
                if meta not in range(-128, 256):
                    raise wrong_value(name, meta, "an integer from -128 to 255")

    @classmethod
    def of(cls, schunk: Any) -> Compression:
        """Return the parameters of a `blosc2_schunk *`."""
        return cls(
            codec=schunk.compcode,
            clevel=schunk.clevel,
            filters=tuple(schunk.filters),
            filtersmeta=tuple(schunk.filters_meta),
            usedict=bool(schunk.use_dict),
            splitmode=SplitMode(schunk.splitmode),
            codec_meta=schunk.compcode_meta,
        )

    @property
    def codec_id(self) -> int:
        """The codec's number."""
        return _member(Codec, self.codec, "codec")

    @property
    def filter_ids(self) -> list[int]:
        """The filters' numbers in all six slots; filters are in the last ones."""
        ids = [_member(Filter, item, "filter") for item in self.filters]
        return [0] * (lib.BLOSC2_MAX_FILTERS - len(ids)) + ids

    @property
    def filter_metas(self) -> list[int]:
        """The filters' parameters in all six slots, as bytes; in the last slots, like filters."""
        metas = [meta & 0xFF for meta in self.filtersmeta]
        return [0] * (lib.BLOSC2_MAX_FILTERS - len(metas)) + metas

    def to_kernel(self) -> Any:
        """Return the parameters as the kernel's `cat_compression *`."""
        return ffi.new(
            "cat_compression *",
            {
                "codec": self.codec_id,
                "codec_meta": self.codec_meta & 0xFF,
                "clevel": self.clevel,
                "use_dict": self.usedict,
                "splitmode": self.splitmode.value,
                "filters": self.filter_ids,
                "filters_meta": self.filter_metas,
            },
        )

    def to_cparams(self, itemsize: int, blocksize: int) -> Any:
        """Return the parameters as C-Blosc2's `blosc2_cparams *`.

        Parameters
        ----------
        itemsize, blocksize : int
            Bytes.
        """
        cparams = ffi.new("blosc2_cparams *", lib.blosc2_get_blosc2_cparams_defaults())
        cparams.compcode = self.codec_id
        cparams.compcode_meta = self.codec_meta & 0xFF
        cparams.clevel = self.clevel
        cparams.use_dict = self.usedict
        cparams.typesize = itemsize
        cparams.blocksize = blocksize
        # C-Blosc2's own thread pools do not survive a fork; the threads here are ours.
        cparams.nthreads = 1
        cparams.splitmode = self.splitmode.value
        cparams.filters[0 : lib.BLOSC2_MAX_FILTERS] = self.filter_ids
        cparams.filters_meta[0 : lib.BLOSC2_MAX_FILTERS] = self.filter_metas
        return cparams
