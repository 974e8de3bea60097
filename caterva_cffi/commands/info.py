"""`info`: what an array is, and what its slices cost."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from caterva_cffi.commands.output import add_source, print_json, print_text, size_text
from caterva_cffi.datasets.description import describe, describe_tree
from caterva_cffi.datasets.opening import open_tree

__all__ = ["add", "run"]


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    parser = commands.add_parser(
        "info",
        help="tell what an array is: shape, chunks, codecs, ratio, what a slice costs",
        description="Tell what an array or a group is: a Zarr array with any codecs, a dataset of "
        "an HDF5 or NetCDF 4 file, a frame (.b2nd), a .npy file, local or behind a URL. Metadata "
        "are read, and no items. 'decoded' says how many bytes a slice decodes.",
    )
    add_source(parser)
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print what a source is."""
    tree = open_tree(options.source, storage_options=options.source_options)
    try:
        facts = describe(tree.arrays[""], tree.format) if tree.is_array else describe_tree(tree)
    finally:
        tree.close()
    if options.json:
        print_json({"source": tree.name, **facts})
    else:
        print_text("\n".join([tree.name, *_lines(facts)]))
    return 0


def _lines(facts: Mapping[str, Any]) -> list[str]:
    slices = facts.get("slices", [])
    plain = {name: value for name, value in facts.items() if name != "slices"}
    lines = [f"  {name:16} {_shown(name, value)}" for name, value in plain.items()]
    for each in slices:
        chunks = "" if each["chunks"] is None else f" of {each['chunks']} chunks"
        lines.append(
            f"  {each['slice']:22} {size_text(each['bytes'])}: decodes "
            f"{size_text(each['decoded'])}{chunks}"
        )
    return lines


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name.endswith("bytes"):
        return f"{value} ({size_text(value)})"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)
