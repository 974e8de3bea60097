"""What the commands share: how they print, what they exit with, and how errors are told."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, TextIO

from caterva_cffi.errors import CatervaError

__all__ = [
    "DIFFERENT",
    "FAILED",
    "add_source",
    "json_object",
    "print_error",
    "print_json",
    "print_text",
    "size_text",
]

DIFFERENT = 1
"""Something is damaged, or differs from what it should be."""

FAILED = 2
"""Something could not be done: it is not there, cannot be read, makes no sense, ..."""


def print_text(text: str, stream: TextIO | None = None, end: str = "\n") -> None:
    """Print a text, even if the stream cannot encode some letters of a file's name."""
    out = sys.stdout if stream is None else stream
    encoding = out.encoding or "utf-8"
    print(
        text.encode(encoding, "backslashreplace").decode(encoding), end=end, file=out, flush=not end
    )


def print_json(document: Any) -> None:
    """Print what programs read."""
    print(json.dumps(document, indent=1))


def print_error(error: BaseException, where: str = "caterva") -> None:
    """Print an error as one line."""
    known = isinstance(error, (CatervaError, ImportError, OSError))
    said = str(error) if known else f"{type(error).__name__}: {error}"
    print_text(f"{where}: {' '.join(said.split())}", sys.stderr)


def json_object(text: str) -> dict[str, Any]:
    """Return what an option of the command line says in JSON.

    Raises
    ------
    ArgumentTypeError
    """
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is no object of JSON; expected such as {{}}")
    return found


def add_source(parser: argparse.ArgumentParser) -> None:
    """Add a source, and what reads it."""
    parser.add_argument("source", metavar="SRC[:PATH]", help="a path or URL, and what inside it")
    parser.add_argument(
        "--source-options", type=json_object, metavar="JSON", help="for fsspec: credentials, ..."
    )


def size_text(nbytes: int) -> str:
    """Return a number of bytes as people read it."""
    size, unit = float(nbytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
