"""Several processes of dask.distributed at one Zarr array."""

import subprocess
import sys

import pytest
from checkout import TESTS


@pytest.mark.build
def test_a_thousand_tasks(tmp_path):
    script = TESTS / "scripts/dask_tasks.py"
    done = subprocess.run(
        [sys.executable, script, tmp_path / "a.zarr"],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout) == (0, "1000 tasks in 3 processes\n"), done.stderr
