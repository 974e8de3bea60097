"""The command line, `python -m caterva_cffi`: what a bug report needs, and what is damaged."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TextIO

from caterva_cffi.binding.versions import versions
from caterva_cffi.errors import CatervaError
from caterva_cffi.verification.verify import verify

__all__ = ["main"]

_DAMAGED, _UNREADABLE = 1, 2


def _print_versions(options: argparse.Namespace) -> int:
    print(versions())
    return 0


def _print(text: str, stream: TextIO) -> None:
    """Print a text, even if the stream cannot encode some letters of a file's name."""
    encoding = stream.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream)


def _verify(options: argparse.Namespace) -> int:
    worst = 0
    for path in options.paths:
        try:
            found = verify(path)
        except Exception as error:  # of zarr and its stores too: go on with the next path
            known = isinstance(error, (CatervaError, ImportError, OSError))
            said = str(error) if known else f"{type(error).__name__}: {error}"
            _print(f"{path}: {said}", sys.stderr)
            worst = _UNREADABLE
            continue
        _print(str(found), sys.stdout)
        code = _UNREADABLE if found.unreadable else _DAMAGED if found.damages else 0
        worst = max(worst, code)
    return worst


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m caterva_cffi", description=__doc__)
    parser.set_defaults(run=_print_versions)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    commands.add_parser("versions", help="print versions (also without a command)")
    verifying = commands.add_parser(
        "verify",
        help="read arrays, say what was checked, and list what is damaged",
        description="Read frames, sparse directories, and Zarr arrays, groups and zip files whole. "
        "Say what was checked and what was passed over, which of it has checksums, and what is "
        "damaged. 'whole' means that all of it has checksums, which agree; 'decodes', that nothing "
        "is known to be damaged. Exits with 0 for these, with 1 for damage, and with 2 where "
        "something cannot be read: it is no array, a file is not there, ...",
    )
    verifying.add_argument("paths", nargs="+", metavar="PATH")
    verifying.set_defaults(run=_verify)
    options = parser.parse_args(arguments)
    run: int = options.run(options)
    return run


if __name__ == "__main__":
    sys.exit(main())
