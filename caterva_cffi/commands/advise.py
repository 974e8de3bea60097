"""`advise`: chunks, blocks and codecs for what a program reads."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

import numpy.typing as npt

from caterva_cffi.advice.accesses import Access
from caterva_cffi.advice.advise import advise
from caterva_cffi.commands.explain import parse_selection
from caterva_cffi.commands.output import print_json, print_text
from caterva_cffi.datasets.opening import open_tree
from caterva_cffi.errors import ArgumentError, Cause
from caterva_cffi.geometry.grid import default_partition

__all__ = ["add", "parse_access", "run"]


def _lengths(text: str) -> tuple[int, ...]:
    try:
        return tuple(map(int, text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no shape; expected such as 1,512") from None


def parse_access(text: str) -> Access:
    """Return the access that a text means: words or a selection, and a weight behind an `@`."""
    what, at, weight = text.rpartition("@")
    what = what.strip() if at else text
    try:
        factor = float(weight) if at else 1.0
    except ValueError:
        raise ArgumentError(
            f"{text!r} has no weight; expected such as 'items@100'",
            Cause("wrong-value", "access", text),
        ) from None
    return Access(what if what[:1].isalpha() else parse_selection(what), factor)


def _sample(options: argparse.Namespace) -> npt.NDArray[Any] | None:
    """Return as much as a chunk from the middle of an array."""
    if options.sample is None:
        return None
    tree = open_tree(options.sample)
    try:
        array = tree.arrays.get("")
        if array is None:
            raise ArgumentError(
                f"{options.sample} has several arrays; expected one of them, such as "
                f"{options.sample}:{min(tree.arrays, default='NAME')}",
                Cause("is-a-group", "sample", options.sample),
            )
        if len(array.shape) != len(options.shape):
            raise ArgumentError(
                f"{options.sample} has shape {array.shape}; expected {len(options.shape)} "
                f"dimensions, as {options.shape} has",
                Cause("wrong-ndim", "sample", array.shape, len(options.shape)),
            )
        chunks, _ = default_partition(options.shape, array.dtype.itemsize, options.chunks)
        sides = map(min, array.shape, chunks)
        starts = [((n - side) // 2, side) for n, side in zip(array.shape, sides, strict=True)]
        return array.read(tuple(slice(start, start + side) for start, side in starts))
    finally:
        tree.close()


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    parser = commands.add_parser(
        "advise",
        help="choose chunks, blocks and a codec for what is read",
        description="Choose chunks and blocks, and predict what reads cost with these, with the "
        "default ones, and with others. With a sample of the data, choose a codec, too.",
    )
    parser.add_argument("shape", type=_lengths, metavar="N,N,...")
    parser.add_argument("dtype", help="such as f4")
    parser.add_argument(
        "accesses", nargs="+", metavar="ACCESS",
        help="'planes along 0', 'lines along 2', 'boxes of 20x20x20', 'items', 'everything', or a "
        "selection such as '5,:100'; with '@10' behind it ten times as often",
    )  # fmt: skip
    parser.add_argument("--chunks", type=_lengths, metavar="N,N,...", help="chunks that are given")
    parser.add_argument("--store", choices=("memory", "local", "remote"), default="local")
    parser.add_argument(
        "--sample", metavar="SOURCE", help="data of the array or like it, such as FILE.h5:DATASET"
    )
    parser.add_argument(
        "--max-error", type=float, metavar="X",
        help="with a sample: how far an item may be off; lossy codecs are tried, too",
    )  # fmt: skip
    parser.add_argument(
        "--max-relative-error", type=float, metavar="X", help="the same, as a share of the item"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Advise."""
    accesses = list(map(parse_access, options.accesses))
    found = advise(
        options.shape,
        options.dtype,
        accesses,
        options.chunks,
        _sample(options),
        options.store,
        max_error=options.max_error,
        max_relative_error=options.max_relative_error,
    )
    if options.json:
        document = asdict(found)
        del document["compression"]
        print_json(document)
    else:
        print_text(str(found))
    return 0
