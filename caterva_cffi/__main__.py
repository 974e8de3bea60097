"""The command line, `python -m caterva_cffi`: what a bug report needs, and what is damaged."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from caterva_cffi.about import versions
from caterva_cffi.errors import CatervaError
from caterva_cffi.verification import verify

__all__ = ["main"]


def _print_versions(options: argparse.Namespace) -> int:
    print(versions())
    return 0


def _verify(options: argparse.Namespace) -> int:
    worst = 0
    for path in options.paths:
        try:
            damages = verify(path)
        except (CatervaError, ImportError, OSError) as error:
            print(f"{path}: {error}", file=sys.stderr)
            worst = 2
            continue
        for damage in damages:
            print(damage)
        print(f"{path}: {f'damaged in {len(damages)} places' if damages else 'whole'}")
        worst = max(worst, int(bool(damages)))
    return worst


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m caterva_cffi", description=__doc__)
    parser.set_defaults(run=_print_versions)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    commands.add_parser("versions", help="print versions (also without a command)")
    verifying = commands.add_parser(
        "verify",
        help="read arrays, and list what is damaged",
        description="Read frames, sparse directories, Zarr arrays and groups, and list what is "
        "damaged. Exits with 0 where all are whole, 1 for damage, 2 for what cannot be read.",
    )
    verifying.add_argument("paths", nargs="+", metavar="PATH")
    verifying.set_defaults(run=_verify)
    options = parser.parse_args(arguments)
    run: int = options.run(options)
    return run


if __name__ == "__main__":
    sys.exit(main())
