"""Built with the system's C-Blosc2, LZ4, Zstandard and zlib: python-blosc2's, and Debian's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from checkout import ROOT

pytestmark = pytest.mark.build

OPTION = "CATERVA_CFFI_SYSTEM_BLOSC2=ON"
# What reads what others wrote, what writes, and what our own C-Blosc2 would do differently.
TESTS = (
    *("binding/test_versions.py", "whole/test_golden.py", "test_dtypes.py"),
    *("format/test_seal.py", "superchunk/test_sealing.py"),
    "binding/test_kernel.py::test_environment_variables_do_no_harm",
)


@pytest.fixture(scope="module")
def blosc2():
    """Where python-blosc2 keeps C-Blosc2's library, headers and CMake configuration."""
    (directory,) = find_spec("blosc2").submodule_search_locations
    return Path(directory)


@pytest.fixture(scope="module")
def codecs(run_tool, tmp_path_factory):
    """Where LZ4, Zstandard and zlib are: installed, or unpacked from Debian's packages."""
    if all(Path("/usr/include", name).exists() for name in ("lz4.h", "zstd.h", "zlib.h")):
        return Path("/usr")
    if not shutil.which("apt-get"):
        pytest.skip("no lz4.h, zstd.h and zlib.h in /usr/include, and no apt-get to get them with")
    root = ROOT / "build/codecs"
    if not (root / "usr/include/zstd.h").exists():
        directory = tmp_path_factory.mktemp("codecs")
        download = "apt-get download liblz4-1 liblz4-dev libzstd1 libzstd-dev zlib1g zlib1g-dev"
        run_tool("sh", "-c", f"{download} || (apt-get update && {download})", cwd=directory)
        for package in directory.glob("*.deb"):
            run_tool("dpkg-deb", "--extract", package, root)
    return root / "usr"


@pytest.fixture(scope="module")
def site(blosc2, codecs, tmp_path_factory, run_tool):
    """The package as the documented option builds it, installed for PYTHONPATH."""
    site = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps"]
    settings = {
        "build-dir": ROOT / "build/system-blosc2",
        "cmake.define.CMAKE_PREFIX_PATH": f"{blosc2};{codecs}",
        # A distribution has them where the loader looks.
        "cmake.define.CMAKE_INSTALL_RPATH": blosc2 / "lib",
    }
    options = [f"-Ccmake.define.{OPTION}", *(f"-C{k}={v}" for k, v in settings.items())]
    run_tool(*pip, "--no-build-isolation", "--target", site, *options, ROOT)
    return {"PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}


def test_system_library_is_used_and_passes_tests(site, tmp_path, run_tool):
    code = "import json, caterva_cffi as cat; print(json.dumps(vars(cat.versions())))"
    versions = json.loads(run_tool(sys.executable, "-c", code, env=site, cwd=tmp_path))
    assert (versions["vendored"], versions["simd"]) == (False, "unknown")
    code = "import blosc2; print(blosc2.blosclib_version.split()[0])"
    assert versions["c_blosc2"] == run_tool(sys.executable, "-c", code).strip()
    tests = [ROOT / "tests" / name for name in TESTS]
    run_tool(
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *tests,
        env=site,
        cwd=tmp_path,
    )


@pytest.mark.parametrize(
    ("version", "reason"),
    [("2.17.1", "3.3.2 or a later 3.x; versions found: 2.17.1"), (None, "versions found: none")],
)
def test_unsuitable_library_is_refused(version, reason, tmp_path):
    if version:
        (tmp_path / "Blosc2Config.cmake").touch()
        (tmp_path / "Blosc2ConfigVersion.cmake").write_text(f'set(PACKAGE_VERSION "{version}")\n')
    options = {
        "Blosc2_DIR": tmp_path,
        "CMAKE_FIND_USE_CMAKE_SYSTEM_PATH": "OFF",
        "Python_EXECUTABLE": sys.executable,
    }
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["cmake", "-G", "Ninja", "-S", ROOT, "-B", tmp_path / "build", f"-D{OPTION}"]
        + [f"-D{name}={value}" for name, value in options.items()],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert reason in " ".join(done.stderr.split())
