"""The command line, `caterva` or `python -m caterva_cffi`: arrays told of, verified, converted."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Sequence

from caterva_cffi.commands import advise, convert, explain, info, ls, verify, versions
from caterva_cffi.commands.output import FAILED, print_error
from caterva_cffi.keywords import meant

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
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{_hints(unknown, vars(options))}")
    try:
        code: int = options.run(options)
    except KeyboardInterrupt:
        print_error(InterruptedError("interrupted"))
        return _INTERRUPTED
    except Exception as error:  # of zarr, h5py and stores too: one line tells it
        print_error(error)
        return FAILED
    return code


def _hints(unknown: Sequence[str], known: Collection[str]) -> str:
    """Return which options may be meant by those that are not known."""
    names = [each[2:].partition("=")[0] for each in unknown if each.startswith("--")]
    found = [meant(name.replace("-", "_"), known) for name in names]
    options = [f"--{name.replace('_', '-')}" for [name, *_] in filter(None, found)]
    return f"; did you mean {', '.join(options)}?" if options else ""


if __name__ == "__main__":
    sys.exit(main())
