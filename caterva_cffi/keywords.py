"""Unknown names: what may be meant by them, and which arguments python-caterva ignored."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from functools import wraps
from inspect import signature
from typing import Any, ClassVar, ParamSpec, Self, TypeVar

from caterva_cffi.callers import warn_caller
from caterva_cffi.errors import ArgumentError, ArgumentTypeError, Cause, wrong_value

__all__ = [
    "CheckedFields",
    "check_keywords",
    "checked_keywords",
    "hints",
    "meant",
    "unknown_name",
    "without_ignored",
]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_IGNORED = {"complevel": "clevel", "use_dict": "usedict"}
"""Names that python-caterva's tests use, though they have no effect."""

_SAME = [
    "codec codecs cname compressor compressors complib compcode compression serializer",
    "clevel level complevel compression_level compresslevel compression_opts",
    "chunks chunk chunk_shape chunkshape chunk_size chunksize",
    "blocks block block_shape blockshape block_size blocksize inner_chunks",
    "filters filter shuffle bitshuffle",
    "filtersmeta filters_meta filter_meta meta_filters",
    "nthreads threads n_threads num_threads numthreads nworkers max_workers cnthreads dnthreads",
    "usedict use_dict dictionary",
    "splitmode split_mode split",
    "codec_meta codecmeta compcode_meta rate tolerance precision",
    "checksum checksums crc crc32 crc32c fletcher32",
    "urlpath path filename file name fname store url uri location",
    "contiguous sparse memframe",
    "meta metadata metalayers",
    "mode overwrite exist_ok",
    "itemsize typesize dtype",
]
"""Other libraries' names and ours: python-blosc2, zarr, h5py, numcodecs, bcolz, PyTables."""

_KEPT = "an array that exists keeps its chunks, its blocks and its codec; convert() changes them"

_HINTS = {
    "cparams": "its entries are keyword arguments here, such as codec, clevel and filters",
    "dparams": "of its entries, nthreads is a keyword argument here",
    "storage": "its entries are keyword arguments here, such as urlpath, contiguous and mode",
    "fill_value": "full() fills an array with a value",
    "vlmeta": "the array's vlmeta takes entries when the array is made",
    "attrs": "the array's vlmeta takes entries when the array is made",
    "order": "items are stored in C order",
    "maxshape": "every array can be resized",
    "shards": "chunks are what is stored as one, blocks are what is decoded alone",
    **dict.fromkeys(("chunks", "chunk_shape", "blocks", "block_shape"), _KEPT),
    **dict.fromkeys(("codec", "cname"), _KEPT),
}


def check_keywords(given: Iterable[str], known: Collection[str], taker: str = "") -> None:
    """Refuse keyword arguments that are not known, and say what may have been meant.

    Parameters
    ----------
    given, known : collection of str
    taker : str
        The function or class that does not know them, for the error.

    Raises
    ------
    ArgumentTypeError
    """
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ArgumentTypeError(
            f"{taker}{': ' * bool(taker)}unknown arguments {unknown}; expected some of "
            f"{', '.join(sorted(known))}{hints(unknown, known)}",
            Cause(
                "unknown-argument", unknown[0], unknown, meant(unknown[0], known) or sorted(known)
            ),
        )


def checked_keywords(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Let a function say what may be meant by keyword arguments that it does not have."""
    known = signature(function).parameters

    @wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        check_keywords(kwargs, known, function.__name__)
        return function(*args, **kwargs)

    return call


class CheckedFields:
    """A base of dataclasses that say the same of arguments that are none of their fields."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def __new__(cls, *_: Any, **given: Any) -> Self:
        """Refuse unknown arguments; see `check_keywords`."""
        if given:
            check_keywords(given, [each.name for each in fields(cls)], cls.__name__)
        return super().__new__(cls)


def unknown_name(
    parameter: str, name: object, known: Collection[str], expected: str = ""
) -> ArgumentError:
    """Return the error for a name that is none of those that are known.

    Parameters
    ----------
    parameter : str
    name : object
        What was given.
    known : collection of str
    expected : str
        By default "one of", and all of them.
    """
    choices = expected or f"one of {', '.join(map(repr, known))}"
    hint = hints([name], known) if isinstance(name, str) else ""
    return wrong_value(parameter, name, choices, "unknown-name", hint)


def hints(unknown: Iterable[str], known: Collection[str]) -> str:
    """Return a text for an error: what may be meant by unknown names."""
    return "".join(_hint(name, known) for name in unknown)


def _hint(name: str, known: Collection[str]) -> str:
    if name in _HINTS and not _same(name, known):
        return f". For {name!r}: {_HINTS[name]}"
    found = meant(name, known)
    return f". Did you mean {' or '.join(map(repr, found))} by {name!r}?" if found else ""


def _same(name: str, known: Collection[str]) -> list[str]:
    """Return the names that are known of what others call so."""
    [same, *_] = [group.split() for group in _SAME if name.lower() in group.split()] or [[]]
    return [each for each in same if each in known]


def meant(name: str, known: Collection[str]) -> list[str]:
    """Return what may be meant: another word for the same, or else what is written alike."""
    alike = {each.lower(): each for each in known}
    close = get_close_matches(name.lower(), alike, n=1, cutoff=0.6)
    return _same(name, known) or [alike[each] for each in close]


def without_ignored(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return keyword arguments without those that python-caterva ignored; warn of these."""
    for name, ours in _IGNORED.items():
        if name in given:
            warn_caller(
                f"{name} has no effect, as in python-caterva; {ours} is the argument that has one",
                DeprecationWarning,
            )
    return {name: value for name, value in given.items() if name not in _IGNORED}
