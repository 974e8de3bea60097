"""The Zarr codec `imagecodecs_b2nd` of imagecodecs, whose chunks are frames like ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from caterva_cffi.errors import ArgumentError, Cause

__all__ = ["IMAGECODECS", "configuration_of_imagecodecs"]

IMAGECODECS = "imagecodecs_b2nd"
"""The codec's name."""

_MEMBERS = {"level", "compressor", "shuffle", "chunkshape", "blockshape", "numthreads"}
_FILTERS: dict[str, dict[str, Any]] = {
    "NOFILTER": {"shuffle": "noshuffle"},
    "SHUFFLE": {"shuffle": "shuffle"},
    "BITSHUFFLE": {"shuffle": "bitshuffle"},
    "DELTA": {"filters": ["delta"]},
    "TRUNC_PREC": {"shuffle": "noshuffle"},
}


def configuration_of_imagecodecs(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of our codec that writes such chunks.

    To read, none of it is needed. Precision is never cut off, as the bits to keep are not named.

    Raises
    ------
    ArgumentError
        For members, compressors or filters that are unknown.
    """
    unknown = sorted(configuration.keys() - _MEMBERS)
    compressor = str(configuration.get("compressor", "ZSTD")).upper()
    shuffle = str(configuration.get("shuffle", "SHUFFLE")).upper()
    if unknown or shuffle not in _FILTERS:
        raise ArgumentError(
            f"codec {IMAGECODECS!r} is configured with {dict(configuration)}; expected some of "
            f"{', '.join(sorted(_MEMBERS))}, and shuffle one of {', '.join(_FILTERS)}",
            Cause("unknown-argument", "configuration", sorted(configuration), sorted(_MEMBERS)),
        )
    shapes = {"block_shape": "blockshape", "chunk_shape": "chunkshape"}
    return {
        "cname": compressor.lower(),
        "clevel": min(max(configuration.get("level", 1), 0), 9),
        **_FILTERS[shuffle],
        **{ours: configuration[name] for ours, name in shapes.items() if name in configuration},
    }
