"""Arrays of Zarr format 2 whose compressor is `caterva`, between zarr 2 and zarr 3, both ways.

Zarr 2 cannot be installed beside zarr 3, so it has an environment of its own: the one that
$CATERVA_CFFI_ZARR2 names the Python of, or one that is made here.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
import zarr.core.codec_pipeline as pipelines
from checkout import ROOT

import caterva_cffi
from caterva_cffi import _libcaterva

spec = importlib.util.spec_from_file_location("zarr2", ROOT / "tests/peers/zarr2.py")
zarr2 = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = zarr2  # for its dataclasses
spec.loader.exec_module(zarr2)


PIPELINES = ["BatchedCodecPipeline", "FusedCodecPipeline"]

pytestmark = pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning")


@pytest.fixture(scope="session")
def this_package(tmp_path_factory):
    """Return a directory with the package under test, as an installation would lay it out."""
    directory = tmp_path_factory.mktemp("package")
    package = directory / "caterva_cffi"
    ignore = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__", "_native")
    shutil.copytree(Path(caterva_cffi.__file__).parent, package, ignore=ignore)
    shutil.copy(_libcaterva.__file__, package)  # elsewhere in an editable installation
    metadata = directory / "caterva_cffi-0.dist-info"
    metadata.mkdir()
    for name in ("METADATA", "entry_points.txt"):
        (metadata / name).write_text(distribution("caterva-cffi").read_text(name))
    return directory


@pytest.fixture(scope="session")
def zarr_2(run_tool, this_package):
    """Run the peers' script under zarr 2, with the package under test."""
    environment = ROOT / "build" / "venv-zarr2-{}.{}".format(*sys.version_info)
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    python = Path(os.environ.get("CATERVA_CFFI_ZARR2", python))
    check = [python, "-c", "import cffi, zarr; assert zarr.__version__[:2] == '2.'"]
    if not (python.exists() and subprocess.run(check, capture_output=True).returncode == 0):
        assert python.is_relative_to(environment), f"{python} has no zarr 2"
        run_tool(sys.executable, "-m", "venv", "--clear", environment)
        requirements = ROOT / "requirements/peer-zarr2.txt"
        run_tool(python, "-m", "pip", "install", "-q", "-r", requirements, "cffi")

    def run(command, directory):
        script = ROOT / "tests/peers/zarr2.py"
        output = run_tool(python, script, command, directory, env={"PYTHONPATH": str(this_package)})
        assert output.startswith("2."), output

    return run


@pytest.fixture(scope="module")
def written_by_zarr_2(zarr_2, tmp_path_factory):
    directory = tmp_path_factory.mktemp("zarr2")
    zarr_2("write", directory)
    return directory


@pytest.fixture(params=[name for name in PIPELINES if hasattr(pipelines, name)])
def pipeline(request):
    with zarr2.zarr.config.set({"codec_pipeline.path": f"{pipelines.__name__}.{request.param}"}):
        yield


@pytest.mark.parametrize("case", zarr2.CASES, ids=lambda case: case.name)
def test_zarr_3_reads_what_zarr_2_wrote(written_by_zarr_2, case, pipeline):
    zarr2.check(written_by_zarr_2, case)


def test_each_reads_what_zarr_3_wrote(zarr_2, tmp_path, pipeline):
    zarr2.write(tmp_path)
    for case in zarr2.CASES:
        zarr2.check(tmp_path, case)
    zarr_2("check", tmp_path)
