"""The command line, `caterva` or `python -m caterva_cffi`: arrays told of, verified, converted."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from caterva_cffi.commands import advise, convert, explain, info, ls, verify, versions
from caterva_cffi.commands.output import FAILED, print_error

__all__ = ["main"]

_COMMANDS = (info, ls, explain, advise, convert, verify, versions)
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="caterva",
        description=__doc__,
        epilog="Exits with 0, with 1 for damage or differences, with 2 for what could not be done, "
        "and with 130 where it was interrupted. `caterva COMMAND --help` tells more.",
    )
    parser.set_defaults(run=versions.run)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for each in _COMMANDS:
        each.add(commands)
    options = parser.parse_args(arguments)
    try:
        code: int = options.run(options)
    except KeyboardInterrupt:
        print_error(InterruptedError("interrupted"))
        return _INTERRUPTED
    except Exception as error:  # of zarr, h5py and stores too: one line tells it
        print_error(error)
        return FAILED
    return code


if __name__ == "__main__":
    sys.exit(main())
