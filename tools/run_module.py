"""Run a module of this checkout: `run_module.py NAME [ARGUMENTS]`.

The checkout comes last on the path, so that `caterva_cffi` is the package that is installed.
"""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
