"""The command line, `python -m caterva_cffi`: what a bug report needs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from caterva_cffi.about import versions

__all__ = ["main"]


def _print_versions(options: argparse.Namespace) -> int:
    print(versions())
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m caterva_cffi", description=__doc__)
    parser.set_defaults(run=_print_versions)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    commands.add_parser("versions", help="print versions (also without a command)")
    options = parser.parse_args(arguments)
    run: int = options.run(options)
    return run


if __name__ == "__main__":
    sys.exit(main())
