"""What is released: the wheel that was checked is under test, and runs on old processors."""

from __future__ import annotations

import os
import re
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from checkout import ROOT

import caterva_cffi as cat

CHECK = ROOT / "wheels/check.py"
CONFIG = ROOT / "wheels/cibuildwheel.toml"


@pytest.fixture(scope="session")
def wheel():
    """The wheel that run.py built, repaired, checked and installed here."""
    path = os.environ.get("CATERVA_CFFI_WHEEL")
    if not path:
        pytest.skip("no CATERVA_CFFI_WHEEL: run.py sets it")
    return Path(path)


def test_installed_from_the_wheel(wheel):
    package = Path(cat.__file__).parent
    assert not package.is_relative_to(ROOT) or package.is_relative_to(Path(sys.prefix))
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.startswith(f"{package.name}/")]
        assert cat._libcaterva.__file__ in {str(package.parent / name) for name in names}
        for name in names:
            if not name.endswith("/"):
                assert (package.parent / name).read_bytes() == archive.read(name), name


def manylinux(wheel):
    if "manylinux" not in wheel.name:
        pytest.skip("a wheel for this machine alone")
    return wheel


@pytest.mark.build
def test_check_passes(wheel, wheel_tools, run_tool):
    output = run_tool(wheel_tools, CHECK, manylinux(wheel))
    assert re.search(r"tag +manylinux_2_17_.*\n  size .*; budget", output)


@pytest.mark.build
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda files, info: {"caterva_cffi/libblosc2.a": b""}, "does not belong into a wheel"),
        (lambda files, info: {"caterva_cffi/other.so": b""}, "modules: .*, expected one"),
        (lambda files, info: {"caterva_cffi/x.py": os.urandom(1 << 21)}, "more than"),
        (lambda files, info: {f"{info}/licenses/LICENSE": b"No!"}, "LICENSE is another text"),
        (
            lambda files, info: {
                f"{info}/METADATA": files[f"{info}/METADATA"].replace(
                    b"\nVersion: ", b"\nVersion: 9"
                )
            },
            "is not that of _version.py",
        ),
    ],
    ids=["library", "module", "size", "licence", "version"],
)
def test_check_refuses(change, message, wheel, wheel_tools, tmp_path, run_tool):
    changed = tmp_path / manylinux(wheel).name
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    (info,) = {name.split("/")[0] for name in files if ".dist-info/" in name}
    files |= change(files, info)
    with zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    with pytest.raises(AssertionError, match=message):
        run_tool(wheel_tools, CHECK, changed)


SIMD = """
import sys, numpy as np, caterva_cffi as cat
data = np.arange(60_000, dtype="f4").reshape(300, 200)
for codec in cat.Codec.BLOSCLZ, cat.Codec.LZ4, cat.Codec.LZ4HC, cat.Codec.ZLIB, cat.Codec.ZSTD:
    for filters in [cat.Filter.SHUFFLE], [cat.Filter.BITSHUFFLE]:
        array = cat.asarray(
            data, codec=codec, filters=filters, chunks=(100, 100), blocks=(20, 20), nthreads=2
        )
        np.testing.assert_array_equal(array[10:250:3, 5:], data[10:250:3, 5:])
print(cat.versions().simd)
"""


@pytest.mark.build
@pytest.mark.parametrize(("processor", "simd"), [("Nehalem", "sse2"), ("max", "avx2")])
def test_instructions_are_chosen_at_run_time(processor, simd, run_tool):
    # NumPy's wheels need a Nehalem at least; the emulator's newest has AVX2, not AVX-512.
    qemu = os.environ.get("CATERVA_CFFI_QEMU")
    if not qemu:
        pytest.skip("no CATERVA_CFFI_QEMU: run.py sets it on x86-64 Linux")
    options = {"env": {"QEMU_CPU": processor, "PYTHONPATH": os.pathsep.join(sys.path[1:])}}
    assert run_tool(qemu, sys.executable, "-P", "-c", SIMD, **options).strip() == simd


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="tells what the processor has")
def test_avx2_is_used_where_there_is_one():
    flags = set(Path("/proc/cpuinfo").read_text().split())
    wanted = {"avx512", "avx2"} if "avx2" in flags else {"sse2", "neon", "altivec", "generic"}
    assert cat.versions().simd in wanted


# --- cibuildwheel ---------------------------------------------------------------------------------
PLATFORMS = {
    ("linux", "x86_64"): ["manylinux_x86_64", "musllinux_x86_64"],
    ("linux", "aarch64"): ["manylinux_aarch64", "musllinux_aarch64"],
    ("macos", "x86_64"): ["macosx_x86_64"],
    ("macos", "arm64"): ["macosx_arm64"],
    ("windows", "AMD64"): ["win_amd64"],
    ("windows", "ARM64"): ["win_arm64"],
}
PYTHONS = ["cp311", "cp314t"]


@pytest.mark.build
@pytest.mark.parametrize(("platform", "machine"), PLATFORMS)
def test_cibuildwheel_builds(platform, machine, wheel_tools, run_tool):
    options = ["--print-build-identifiers", "--platform", platform, "--archs", machine]
    names = run_tool(wheel_tools, "-m", "cibuildwheel", *options, "--config-file", CONFIG, ROOT)
    expected = {f"{python}-{name}" for name in PLATFORMS[platform, machine] for python in PYTHONS}
    assert set(names.split()) == expected


@pytest.mark.build
def test_workflow_builds_every_platform():
    text = (ROOT / ".github/workflows/wheels.yml").read_text(encoding="utf-8")
    rows = re.findall(r"- \{os: [\w.-]+, platform: (\w+), archs: (\w+)\}", text)
    assert sorted(rows) == sorted(PLATFORMS)
    assert "--config-file wheels/cibuildwheel.toml" in text
    requirements = (ROOT / "requirements/wheel.txt").read_text(encoding="utf-8")
    assert "cibuildwheel==" in requirements and "-r requirements/wheel.txt" in text


def test_images_are_those_that_are_promised():
    linux = tomllib.loads(CONFIG.read_text(encoding="utf-8"))["tool"]["cibuildwheel"]["linux"]
    for machine in "x86_64", "aarch64":
        assert linux[f"manylinux-{machine}-image"] == "manylinux_2_28"
        assert linux[f"musllinux-{machine}-image"] == "musllinux_1_2"
