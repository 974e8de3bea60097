"""Unknown keyword arguments: what may be meant, and which of them python-caterva ignored."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from caterva_cffi.callers import warn_caller

__all__ = ["check_keywords", "hints", "without_ignored"]

_IGNORED = {"cname": "codec", "complevel": "clevel", "use_dict": "usedict"}
"""Names that python-caterva's tests and benchmarks use, though they have no effect."""

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
        The function or class that does not know them, for the error.

    Raises
    ------
    TypeError
    """
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise TypeError(
            f"{taker}{': ' * bool(taker)}unknown arguments {unknown}; expected some of "
            f"{', '.join(sorted(known))}{hints(unknown, known)}"
        )


def hints(unknown: Iterable[str], known: Collection[str]) -> str:
    """Return a text for an error: what may be meant by unknown names."""
    return "".join(_hint(name, known) for name in unknown)


def _hint(name: str, known: Collection[str]) -> str:
    lower = name.lower()
    [same, *_] = [group.split() for group in _SAME if lower in group.split()] or [[]]
    meant = [each for each in same if each in known]
    if not meant and name in _HINTS:
        return f". For {name!r}: {_HINTS[name]}"
    meant = meant or get_close_matches(lower, known, n=1, cutoff=0.7)
    return f". Did you mean {' or '.join(map(repr, meant))} by {name!r}?" if meant else ""


def without_ignored(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return keyword arguments without those that python-caterva ignored; warn of these."""
    for name, ours in _IGNORED.items():
        if name in given:
            warn_caller(
                f"{name} has no effect, as in python-caterva; {ours} is the argument that has one",
                DeprecationWarning,
            )
    return {name: value for name, value in given.items() if name not in _IGNORED}
