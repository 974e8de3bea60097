"""Make the samples of the conformance kit: `python make.py [DIRECTORY]`, by default this one.

It needs caterva_cffi, NumPy, lz4 and zstandard. index.json says of each sample which rules of
caterva.md it shows, and what a reader makes of it: `items`, `refuse`, or `either` of them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from frames import Parts
from kit import HERE, ITEMS, Kit, waves
from of_checksums import checksums
from of_chunks import chunks
from of_filters import filters
from of_headers import headers
from of_offsets import offsets
from of_shapes import shapes_and_items
from of_streams import streams

from caterva_cffi.numcodecs import Caterva

WRITERS = {
    **{
        f"{cname}-{shuffle}-{level}": {"cname": cname, "shuffle": shuffle, "clevel": level}
        for cname in ("lz4", "lz4hc", "blosclz", "zlib", "zstd")
        for shuffle in ("noshuffle", "shuffle", "bitshuffle")
        for level in (1, 9)
    },
    "level-0": {"clevel": 0},
    "delta": {"filters": ["delta", "shuffle"]},
    "bytedelta": {"cname": "zstd", "filters": ["shuffle", "bytedelta"]},
    "trunc-prec": {"filters": [{"name": "trunc_prec", "bits": 8}, "shuffle"]},
    "trunc-prec-dropped": {"filters": [{"name": "trunc_prec", "bits": -6}, "bitshuffle"]},
    "dictionary": {"cname": "zstd", "use_dict": True},
    "dictionary-lz4": {"use_dict": True},
    "several-chunks": {"chunk_shape": (6, 8), "cname": "blosclz"},
}


OPTIONAL = {
    "ndcell": ({"filters": [{"name": "ndcell", "cell_shape": 3}, "shuffle"]}, "<u4"),
    "ndmean": ({"filters": [{"name": "ndmean", "cell_shape": 2}, "shuffle"]}, "<f4"),
    "ndlz": ({"cname": "ndlz"}, "|u1"),
    "ndlz-8": ({"cname": "ndlz", "cell_shape": 8}, "|u1"),
    "zfp-accuracy": ({"cname": "zfp_accuracy", "tolerance": 0.01}, "<f4"),
    "zfp-precision": ({"cname": "zfp_precision", "precision": 12}, "<f8"),
    "zfp-rate": ({"cname": "zfp_rate", "rate": 16}, "<f4"),
}
"""Configurations with features that a reader may leave out."""


def writers(kit: Kit) -> None:
    """Section 14.1: what the package writes."""
    items = waves((14, 18), "<f4", 3)
    items[:5] = 0
    for checksum in (False, True):
        for name, configuration in WRITERS.items():
            codec = Caterva(block_shape=(5, 6), checksum=checksum, **configuration)
            frame = codec.encode(items)
            right = codec.decode(frame).reshape(items.shape)
            more = "-checksums" if checksum else ""
            kit.add(
                f"written-{name}{more}",
                "110 111 112 113 114 115 116",
                frame,
                "items",
                right,
                dtype="<f4",
                written=True,
            )
    for name, (configuration, dtype) in OPTIONAL.items():
        codec = Caterva(block_shape=(8, 9), **configuration)
        frame = codec.encode(waves((14, 18), dtype))
        right = codec.decode(frame).reshape(14, 18)
        kit.add(f"written-{name}", "85 96", frame, "either", right, needs=[name], dtype=dtype)
    zeros = np.zeros((14, 18), "<f4")
    for checksum in (False, True):
        frame = Caterva(block_shape=(5, 6), checksum=checksum).encode(zeros)
        kit.add(
            f"written-zeros{'-checksums' if checksum else ''}",
            "114",
            frame,
            "items",
            zeros,
            dtype="<f4",
            written=True,
        )
    fortran = np.asfortranarray(items)
    for name, source in {"fortran": fortran, "c": items}.items():
        frame = Caterva().encode(source)
        kit.add(f"numcodecs-{name}", "07", frame, "items", source.ravel("K"), kind="numcodecs")


def zarr_chunks(kit: Kit) -> None:
    """Section 2: a frame as a chunk of a Zarr array."""
    plain, sealed = Parts(ITEMS, block=(4, 5)), Parts(ITEMS, block=(4, 5), checksums=True)

    def codec(**configuration: Any) -> dict[str, Any]:
        return {"name": "caterva", "configuration": configuration}

    def chunk(
        name: str, rule: str, expect: str, given: Any, parts: Parts = plain, **metadata: Any
    ) -> None:
        array = {"shape": [9, 14], "data_type": "int16"} | metadata
        items = ITEMS if expect != "refuse" else None
        more = {"kind": "zarr", "codec": given, "array": array}
        kit.add(f"zarr-{name}", rule, parts.frame(), expect, items, **more)

    chunk("no-configuration", "01", "items", {"name": "caterva"})
    chunk("empty-configuration", "01", "items", codec())
    chunk("other-name", "01", "refuse", {"name": "blosc2"})
    chunk("unknown-member", "02", "refuse", codec(typesize=2))
    chunk("unknown-member-null", "02", "refuse", codec(level=None))
    chunk("checksum-1", "03", "refuse", codec(checksum=1))
    chunk("checksum-text", "03", "refuse", codec(checksum="true"))
    chunk("clevel-10", "03", "either", codec(clevel=10))
    chunk("cname-snappy", "03", "either", codec(cname="snappy"))
    lie = codec(
        cname="zstd", clevel=9, shuffle="bitshuffle", block_shape=[3, 3], chunk_shape=[9, 9]
    )
    chunk("other-configuration", "04", "items", lie)
    chunk("checksum-though-not-asked-for", "04 06", "items", codec(), sealed)
    chunk("checksum", "06", "items", codec(checksum=True), sealed)
    chunk("checksum-missing", "06", "refuse", codec(checksum=True))
    chunk(
        "checksum-only-of-blocks",
        "06",
        "refuse",
        codec(checksum=True),
        Parts(ITEMS, block=(4, 5), sums=True),
    )
    chunk("shape-transposed", "05", "refuse", codec(), shape=[14, 9])
    chunk("shape-flat", "05", "refuse", codec(), shape=[126])
    chunk("itemsize-4", "05", "refuse", codec(), data_type="int32")
    chunk("kind-float", "05", "refuse", codec(), data_type="float16")
    chunk("kind-unsigned", "05", "refuse", codec(), data_type="uint16")
    void = Parts(ITEMS, block=(4, 5), text="|V2")
    chunk("kind-unknown", "05", "items", codec(), void)


def make() -> Kit:
    """Return the kit."""
    kit = Kit()
    of_frames = (shapes_and_items, headers, offsets, checksums)
    for part in (zarr_chunks, *of_frames, chunks, streams, filters, writers):
        part(kit)
    return kit


if __name__ == "__main__":
    make().write(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
