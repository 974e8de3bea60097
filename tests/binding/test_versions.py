"""What a process runs with: the versions of all parts, and SIMD."""

from __future__ import annotations

import platform
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from checkout import ROOT

import caterva_cffi as cat

PARTS = tomllib.loads((ROOT / "vendor/manifest.toml").read_text(encoding="utf-8"))["parts"]


VENDORED = pytest.mark.skipif(not cat.versions().vendored, reason="C-Blosc2 is the system's")


def test_version_is_that_of_the_distribution():
    versions = cat.versions()
    assert versions.caterva_cffi == cat.__version__ == metadata.version("caterva-cffi")
    assert versions.caterva.removesuffix(".dev0") == PARTS["caterva"]["version"]
    assert versions.codecs.keys() >= {"BloscLZ", "LZ4", "Zstandard"}


@VENDORED
def test_versions_are_those_that_were_compiled_in():
    versions = cat.versions()
    assert versions.c_blosc2 == PARTS["c-blosc2"]["version"]
    names = {"LZ4": "lz4", "Zstandard": "zstd", "zlib-ng": "zlib-ng", "zfp": "zfp"}
    for name, part in names.items():
        assert versions.codecs[name] == PARTS[part]["version"]
    assert versions.codecs.keys() - names.keys() == {"BloscLZ"}


def test_packages_have_the_versions_that_they_say_themselves():
    packages = cat.versions().packages
    assert packages.keys() >= {"numpy", "cffi"}
    code = "import sys; print(*[__import__(name).__version__ for name in sys.argv[1:]])"
    said = subprocess.run(
        [sys.executable, "-c", code, *packages], capture_output=True, text=True, check=True
    ).stdout
    assert said.split() == list(packages.values())


@VENDORED
@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="Linux says what a processor has")
def test_simd_is_the_best_that_the_processor_has():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    flags = {f for line in lines if line.startswith(("flags", "Features")) for f in line.split()}
    best = [("avx512", {"avx512f", "avx512bw"}), ("avx2", {"avx2"}), ("sse2", {"sse2"})]
    if platform.machine() in ("aarch64", "arm64"):
        best = [("neon", set())]
    expected = next((name for name, needs in best if needs <= flags), "generic")
    assert cat.versions().simd == expected
