"""Keyword arguments that are not ours: what is meant by them, and which python-caterva ignored."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from caterva_cffi.callers import warn_caller

__all__ = ["check_keywords", "without_ignored"]

_IGNORED = {"cname": "codec", "complevel": "clevel", "use_dict": "usedict"}
"""What python-caterva's tests and benchmarks give to it, beside the names that have an effect."""

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
"""Names of other libraries beside ours: python-blosc2, zarr, h5py, numcodecs, bcolz, PyTables."""

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
}


def check_keywords(given: Iterable[str], known: Collection[str], taker: str = "") -> None:
    """Refuse keyword arguments that are not known, and say what may have been meant.

    Parameters
    ----------
    given, known : collection of str
    taker : str
        What does not know them, for the error.

    Raises
    ------
    TypeError
    """
    unknown = [name for name in given if name not in known]
    if unknown:
        said = "; ".join(_describe(name, known) for name in unknown)
        raise TypeError(
            f"{taker}{': ' if taker else ''}unknown argument{'s' * (len(unknown) > 1)} {said}; "
            f"expected some of {', '.join(sorted(known))}"
        )


def _describe(name: str, known: Collection[str]) -> str:
    meant = _meant(name, known)
    if meant:
        return f"{name!r} (did you mean {' or '.join(map(repr, meant))}?)"
    hint = _HINTS.get(name)
    return f"{name!r} ({hint})" if hint else repr(name)


def _meant(name: str, known: Collection[str]) -> list[str]:
    """Return the names that are likely to be meant by an unknown one."""
    lower = name.lower()
    for group in map(str.split, _SAME):
        if lower in group:
            return [other for other in group if other in known]
    return get_close_matches(lower, known, n=1)


def without_ignored(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return keyword arguments without those that python-caterva ignored, and warn of them."""
    for name, ours in _IGNORED.items():
        if name in given:
            warn_caller(
                f"{name} has no effect, as in python-caterva; {ours} is the argument that has one",
                DeprecationWarning,
            )
    return {name: value for name, value in given.items() if name not in _IGNORED}
