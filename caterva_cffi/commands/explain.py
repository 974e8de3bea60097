"""`explain`: what a read of an array costs."""

from __future__ import annotations

import argparse
from contextlib import closing
from dataclasses import fields
from typing import Any

from caterva_cffi.commands.output import add_source, print_json, print_text
from caterva_cffi.datasets.opening import open_readable
from caterva_cffi.errors import ArgumentError, Cause

__all__ = ["add", "parse_selection", "run"]


def parse_selection(text: str) -> tuple[Any, ...]:
    """Return the selection that a text such as `5,:100,::2,...` means.

    Raises
    ------
    ArgumentError
    """
    try:
        return tuple(map(_parse_key, text.strip("[] ").split(",")))
    except ValueError:
        raise ArgumentError(
            f"{text!r} is no selection; expected such as '5,:,10:20' or '...,::2'",
            Cause("wrong-value", "selection", text),
        ) from None


def _parse_key(text: str) -> Any:
    text = text.strip()
    if text == "...":
        return ...
    ends = [int(end) if end.strip() else None for end in text.split(":")]
    if len(ends) > 3 or (len(ends) == 1 and ends[0] is None):
        raise ValueError
    return ends[0] if len(ends) == 1 else slice(*ends)


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    parser = commands.add_parser(
        "explain",
        help="tell which blocks a read decodes, and what it reads",
        description="Tell what it costs to read a selection of an array of this package, of Zarr "
        "with its codec, or of HDF5 with the Blosc2 filter: the blocks that are decoded, and how "
        "many bytes are read by how many requests. Only the heads of chunks are read.",
    )
    add_source(parser)
    parser.add_argument("selection", help="as between brackets: '5,:,10:20'")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Explain a read."""
    with closing(open_readable(options.source, options.source_options)) as array:
        told = array.explain(parse_selection(options.selection))
    if options.json:
        names = [each.name for each in fields(told) if not each.name.startswith("_")]
        print_json({name: getattr(told, name) for name in names})
    else:
        print_text(str(told))
    return 0
