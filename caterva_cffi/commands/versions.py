"""`versions`: what a bug report needs."""

from __future__ import annotations

import argparse
from typing import Any

from caterva_cffi.binding.versions import versions

__all__ = ["add", "run"]


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    commands.add_parser("versions", help="print versions (also without a command)")


def run(_: argparse.Namespace) -> int:
    """Print the versions."""
    print(versions())
    return 0
