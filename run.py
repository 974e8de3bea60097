#!/usr/bin/env python3
"""Set up all that a command needs, then run it.

    python3 run.py demo [DATASET]    the comparison on real data (--help: its options)
    python3 run.py test [OPTIONS]    the tests, with pytest's options
    python3 run.py test --python 3.14 [--core] [OPTIONS]   on another interpreter
    python3 run.py lowest [OPTIONS]  tests with the lowest versions that are supported
    python3 run.py peers [NAME ...]  tests of zarr and others with our codecs (--fast, --help)
    python3 run.py lint              ruff, mypy and import-linter
    python3 run.py docs              the documentation site, in build/site
    python3 run.py bench [PART]      the benchmarks: docs/benchmarks-all.md (--quick, --help)
    python3 run.py wheel [--aarch64] a wheel for others, checked (docs/wheels.md)
    python3 run.py which 3.13        where that interpreter is
    python3 run.py interpreter 3.14  Debian's newest, in a folder of its own (docs/development.md)

It needs Python 3.11 or later, a C compiler and a network. Environments go to .venv-*, the wheel to
build/wheels: the next run starts at once, and rebuilds only when the sources have changed.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - this is what tells users of an older one
    sys.exit(
        "run.py: Python 3.11 or later is needed, this is {}.{}. Start it with a newer one, such as "
        "`python3.12 run.py`.".format(*sys.version_info)
    )

from pathlib import Path

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))
from tools import commands, processes  # noqa: E402 - it is beside this file

# Programs and tests import the package that is installed, not the sources beside this file.
sys.path.remove(str(ROOT))

COMMANDS = {
    "demo": commands.demo,
    "bench": commands.bench,
    "test": commands.test,
    "lowest": commands.lowest,
    "peers": commands.peers,
    "lint": commands.lint,
    "docs": commands.docs,
    "wheel": commands.wheel,
    "which": commands.which,
    "interpreter": commands.interpreter,
}


def main(arguments: list[str]) -> int:
    """Run the command that the first argument names."""
    if not arguments or arguments[0] not in COMMANDS:
        print(__doc__, file=sys.stdout if arguments in (["-h"], ["--help"]) else sys.stderr)
        return 0 if arguments in (["-h"], ["--help"]) else 2
    try:
        return COMMANDS[arguments[0]](arguments[1:])
    except processes.Failure as failure:
        print(f"run.py: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
