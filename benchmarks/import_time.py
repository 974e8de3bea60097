"""How much longer it takes to import this package than NumPy; both are imported in turns.

python benchmarks/import_time.py [ROUNDS]
"""

from __future__ import annotations

import subprocess
import sys
from statistics import median

# Not the time that Python itself takes to start.
CODE = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


def seconds(module: str) -> float:
    """Import a module in a new process."""
    command = [sys.executable, "-P", "-c", CODE.format(module)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def main(rounds: int) -> None:
    """Print medians."""
    pairs = [(seconds("numpy"), seconds("caterva_cffi")) for _ in range(rounds + 1)]
    pairs = pairs[1:]  # the first read from the disk, and compiled to bytecode
    numpy, ours = (1e3 * median(values) for values in zip(*pairs, strict=True))
    more = 1e3 * median(second - first for first, second in pairs)
    print(f"numpy {numpy:.0f} ms, caterva_cffi {ours:.0f} ms, which is {more:.0f} ms more")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 21)
