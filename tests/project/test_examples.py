"""Every example, and what the README shows, runs, says something, and complains about nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec

import pytest
from checkout import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def test_there_are_examples():
    assert len(EXAMPLES) >= 5


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path, tmp_path):
    command = [sys.executable, "-W", "error", path]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()
    assert not list(tmp_path.iterdir()), "an example leaves files behind"


README = (ROOT / "README.md").read_text("utf-8")
DATASET = """
import numpy as np
import xarray as xr
coords = {"lat": np.arange(0.0, 90), "lon": np.arange(0.0, 180)}
ds = xr.Dataset({"t2m": (("lat", "lon"), np.ones((90, 180)))}, coords)
"""


def test_readme(tmp_path):
    snippets = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(snippets) == 3
    if find_spec("xarray") is None:  # as beside the lowest versions
        snippets = [snippet for snippet in snippets if "xr." not in snippet]
    else:
        snippets.insert(0, DATASET)
    command = [sys.executable, "-W", "error", "-c", "".join(snippets)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
