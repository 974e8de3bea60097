"""Programs that are started: what is shown meanwhile, and what is said when they fail.

Nothing here, or in the modules beside it, needs a package.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NO_NETWORK = re.compile(
    "NewConnectionError|NameResolutionError|ConnectTimeout|ProxyError|name resolution|getaddrinfo|"
    "Name or service not known|nodename nor servname|[Nn]etwork is unreachable|Connection refused"
)


class Failure(Exception):
    """Ends the script with one line that says what to do."""


@contextlib.contextmanager
def step(text: str) -> Iterator[None]:
    """Show what is being done, and how long it took."""
    print(f"{text} ... ", end="", flush=True)
    start = time.monotonic()
    try:
        yield
    except BaseException:
        print("failed", flush=True)
        raise
    print(f"{time.monotonic() - start:.0f} s", flush=True)


def show_progress(log: Path) -> None:
    """Repeat on the terminal how far Ninja says it is, as `[7/120]`."""
    if sys.stdout.isatty():
        steps = re.findall(r"\[\d+/\d+\]", log.read_text(encoding="utf-8", errors="replace"))
        if steps:
            print(steps[-1] + "\b" * len(steps[-1]), end="", flush=True)


def call(
    command: Sequence[str | Path],
    log: Path,
    directory: Path | None = None,
    variables: dict[str, str] | None = None,
) -> None:
    """Run a command with its output in a file; where it fails, say why from that output."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {"PIP_RETRIES": "2", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **os.environ}
    environment |= variables or {}
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=output,
            stderr=output,
            env=environment,
            cwd=directory,
        )
        try:
            while process.poll() is None:
                show_progress(log)
                time.sleep(0.2)
        finally:
            process.kill()
            process.wait()
            if sys.stdout.isatty():
                print(" " * 12 + "\b" * 12, end="")
    if process.returncode == 0:
        return
    text = log.read_text(encoding="utf-8", errors="replace")
    if NO_NETWORK.search(text):
        raise Failure(
            "the package index cannot be reached. Connect to a network, or name a reachable index "
            f"with PIP_INDEX_URL. Details: {log}"
        )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"\berror:|CMake Error", line, re.IGNORECASE)]
    raise Failure(f"{(errors or lines or ['no output'])[0]}  Details: {log}")


def run(command: Sequence[str | Path], environment: dict[str, str]) -> int:
    """Run what the user asked for, with an environment's programs first on PATH."""
    python = Path(command[0])
    path = os.pathsep.join([str(python.parent), os.environ.get("PATH", os.defpath)])
    # Without PYTHONSAFEPATH, this directory's `caterva_cffi` would hide the installed one.
    return subprocess.run(
        [str(part) for part in command],
        env={**os.environ, "PATH": path, "PYTHONSAFEPATH": "1", **environment},
    ).returncode
