"""`ls`: the groups and arrays of a file or store."""

from __future__ import annotations

import argparse
from typing import Any

from caterva_cffi.commands.output import add_source, print_json, print_text, size_text
from caterva_cffi.datasets.opening import open_tree

__all__ = ["add", "run"]


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    parser = commands.add_parser(
        "ls",
        help="list the groups and arrays of a Zarr group, an HDF5 or a NetCDF 4 file",
        description="List the groups and arrays of a Zarr group, an HDF5 or a NetCDF 4 file, with "
        "shapes, dtypes and chunks.",
    )
    add_source(parser)
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """List a source."""
    tree = open_tree(options.source, storage_options=options.source_options)
    try:
        rows: list[dict[str, Any]] = [{"path": f"/{path}", "kind": "group"} for path in tree.groups]
        rows += [
            {
                "path": f"/{path}",
                "kind": "array",
                "shape": list(array.shape),
                "dtype": str(array.dtype),
                "chunks": None if array.chunks is None else list(array.chunks),
                "bytes": array.nbytes,
            }
            for path, array in tree.arrays.items()
        ]
        rows += [
            {"path": f"/{path}", "kind": "not readable", "reason": reason}
            for path, reason in tree.refused.items()
        ]
    finally:
        tree.close()
    rows.sort(key=lambda row: str(row["path"]))
    if options.json:
        print_json(rows)
        return 0
    for row in rows:
        text = f"{row['path']:24}"
        if row["kind"] == "array":
            chunks = "one run" if row["chunks"] is None else f"chunks {tuple(row['chunks'])}"
            text += f" {row['dtype']} {tuple(row['shape'])}, {chunks}, {size_text(row['bytes'])}"
        elif row["kind"] != "group":
            text += f" not readable: {row['reason']}"
        print_text(text.rstrip())
    return 0
