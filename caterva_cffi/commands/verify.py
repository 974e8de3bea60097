"""`verify`: arrays read whole, and what of them is damaged."""

from __future__ import annotations

import argparse
from typing import Any

from caterva_cffi.commands.output import DIFFERENT, FAILED, print_error, print_text
from caterva_cffi.verification.verify import verify

__all__ = ["add", "run"]


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    parser = commands.add_parser(
        "verify",
        help="read arrays, say what was checked, and list what is damaged",
        description="Read frames, sparse directories, and Zarr arrays, groups and zip files whole. "
        "Say what was checked and what was passed over, which of it has checksums, and what is "
        "damaged. 'whole' means that all of it has checksums, which agree; 'decodes', that nothing "
        "is known to be damaged. Exits with 0 for these, with 1 for damage, and with 2 where "
        "something cannot be read: it is no array, a file is not there, ...",
    )
    parser.add_argument("paths", nargs="+", metavar="PATH")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Verify all paths; return the worst code."""
    worst = 0
    for path in options.paths:
        try:
            found = verify(path)
        except Exception as error:  # of zarr and its stores too: go on with the next path
            print_error(error, path)
            worst = FAILED
            continue
        print_text(str(found))
        code = FAILED if found.unreadable else DIFFERENT if found.damages else 0
        worst = max(worst, code)
    return worst
