"""`advise`: chunks and blocks for what a program reads."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from caterva_cffi.advice.accesses import Access
from caterva_cffi.advice.advise import advise
from caterva_cffi.commands.explain import parse_selection
from caterva_cffi.commands.output import print_json, print_text
from caterva_cffi.errors import ArgumentError, Cause

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


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    parser = commands.add_parser(
        "advise",
        help="choose chunks and blocks for what is read",
        description="Choose chunks and blocks, and predict what reads cost with these, with the "
        "default ones, and with others.",
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
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Advise."""
    accesses = list(map(parse_access, options.accesses))
    found = advise(options.shape, options.dtype, accesses, options.chunks, store=options.store)
    if options.json:
        print_json(asdict(found))
    else:
        print_text(str(found))
    return 0
