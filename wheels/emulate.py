"""Run tests of a wheel for aarch64 in an emulator: `python wheels/emulate.py WHEEL [PYTEST...]`.

Debian's Python 3.11 for that processor is unpacked to build/aarch64, and packages from the index
are put beside it: nothing is installed. CATERVA_CFFI_QEMU names qemu-x86_64-static, beside which
qemu-aarch64-static is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "aarch64"
PACKAGES = [
    *("python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "libc6"),
    *("libbz2-1.0", "libcrypt1", "libexpat1", "libffi8", "libgcc-s1", "liblzma5", "libsqlite3-0"),
    *("libssl3", "libstdc++6", "libuuid1", "zlib1g"),
]
APT = """\
Dir::State "{work}/apt";
Dir::State::status "{work}/apt/status";
Dir::Cache "{work}/apt/cache";
APT::Architecture "arm64";
APT::Architectures {{"arm64";}};
APT::Sandbox::User "";
"""
# Tests that start another Python, which the kernel of this machine could not run.
NO_PYTHON = "not new_process and not environment_variables_do_no_harm"
# What the wheels of NumPy and others for Debian 12 are called.
PLATFORMS = [f"manylinux_2_{minor}_aarch64" for minor in (35, 34, 31, 28, 27, 24, 17)]


def unpack_python(root: Path) -> None:
    """Unpack Debian's packages, with lists and settings apart from the system's."""
    (WORK / "apt").mkdir(parents=True)
    (WORK / "apt" / "status").touch()
    config = WORK / "apt.conf"
    config.write_text(APT.format(work=WORK), encoding="utf-8")
    for name in "apt/lists/partial", "apt/cache/archives/partial", "packages":
        (WORK / name).mkdir(parents=True)
    environment = {**os.environ, "APT_CONFIG": str(config)}
    subprocess.run(["apt-get", "-q", "update"], env=environment, check=True)
    download = ["apt-get", "-q", "download", *PACKAGES]
    subprocess.run(download, env=environment, cwd=WORK / "packages", check=True)
    for package in (WORK / "packages").glob("*.deb"):
        subprocess.run(["dpkg-deb", "--extract", package, f"{root}.unfinished"], check=True)
    Path(f"{root}.unfinished").rename(root)


def install(wheel: Path, site: Path, more: Sequence[str]) -> None:
    """Put the wheel, and what the tests need, into a directory."""
    shutil.rmtree(site, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--target", site, "--only-binary", ":all:"]
    pip += ["--python-version", "3.11", "--implementation", "cp", "--abi", "cp311", "--abi", "abi3"]
    pip += ["--abi", "none", *(f"--platform={platform}" for platform in PLATFORMS)]
    pip += [wheel, "-r", ROOT / "requirements" / "wheel-test.txt", *more]
    subprocess.run(pip, check=True)


def main() -> int:
    """Run the tests that the arguments name, or wheels/tests.txt does; options are pytest's."""
    if len(sys.argv) < 2:
        print(__doc__)
        return 2
    wheel, arguments = Path(sys.argv[1]).resolve(), sys.argv[2:]
    root, site = WORK / "root", WORK / "site"
    if not root.exists():
        shutil.rmtree(WORK, ignore_errors=True)
        unpack_python(root)
    install(wheel, site, ["zarr", "numcodecs"])
    qemu = Path(os.environ["CATERVA_CFFI_QEMU"]).with_name("qemu-aarch64-static")
    command = [qemu, "-L", root, root / "usr/bin/python3.11", "-P", "-m", "pytest"]
    environment = {**os.environ, "PYTHONPATH": str(site), "QEMU_LD_PREFIX": str(root)}
    named = any(not argument.startswith("-") for argument in arguments)
    arguments += [] if named else ["@wheels/tests.txt"]
    pytest = [*command, "-p", "no:cacheprovider", "-k", NO_PYTHON, *arguments]
    return subprocess.run(pytest, env=environment, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
