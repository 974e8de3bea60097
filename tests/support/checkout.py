"""Where the files of this checkout are, and its packages `benchmarks` and `tools`."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"

# Last: the package that is tested is the one that is installed.
sys.path.append(str(ROOT))
