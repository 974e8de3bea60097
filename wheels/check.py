"""Check what is released: `python wheels/check.py WHEEL...` prints a line per check, or an error.

Needs requirements/wheel.txt. The budget is meant to be kept, or raised with a reason.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath

from elftools.elf.elffile import ELFFile
from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).resolve().parents[1]

# Bytes of the wheel, which is downloaded, and of its files, which are installed.
BUDGET = 1_600_000, 4_000_000
NEWEST_GLIBC = 2, 28
INIT = "PyInit__libcaterva"
ALLOWED_SUFFIXES = {".py", ".pyi", ".typed"}
SYSTEM_LIBRARIES = re.compile(r"(lib(c|m|dl|rt|pthread|gcc_s)|ld-linux.*)\.so\.\d+|libc\.musl-.*")


class Wrong(Exception):
    """What is wrong with a wheel."""


class Wheel:
    """A wheel's name and files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name, self.version, _, self.tags = parse_wheel_filename(path.name)
        with zipfile.ZipFile(path) as archive:
            self.files = {n: archive.read(n) for n in archive.namelist() if n[-1] != "/"}
        modules = [name for name in self.files if name.endswith((".so", ".pyd"))]
        if len(modules) != 1:
            raise Wrong(f"extension modules: {modules}, expected one")
        self.module = modules[0]
        self.info = f"{self.path.name.split('-')[0]}-{self.version}.dist-info"

    def elf(self) -> ELFFile | None:
        """Return the extension module, where it is one of Linux."""
        content = self.files[self.module]
        return ELFFile(io.BytesIO(content)) if content.startswith(b"\x7fELF") else None


def run_tool(name: str, *arguments: str | Path) -> str:
    """Run a tool of this Python's environment; complain with its output."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = [sys.executable, "-m", name, *map(str, arguments)]
    done = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True)
    if done.returncode:
        raise Wrong(f"{name}: {done.stdout}{done.stderr}")
    return done.stdout


def check_tags(wheel: Wheel) -> str:
    """Expect one for CPython 3.11 and later; of Linux, for an old glibc, as auditwheel sees it."""
    interpreters = {(tag.interpreter, tag.abi) for tag in wheel.tags}
    free_threaded = any(abi.endswith("t") for _, abi in interpreters)
    if not free_threaded and interpreters != {("cp311", "abi3")}:
        raise Wrong(f"{wheel.path.name} is not cp311-abi3")
    platforms = sorted(tag.platform for tag in wheel.tags)
    if any(platform.startswith("linux") for platform in platforms):
        raise Wrong(f"{wheel.path.name} was not repaired by auditwheel")
    if not any(platform.startswith("manylinux") for platform in platforms):
        return ", ".join(platforms)
    report = json.loads(run_tool("auditwheel", "show", "--json", wheel.path))
    tag = report["overall_tag"]
    found = re.fullmatch(r"manylinux_(\d+)_(\d+)_(\w+)", tag)
    if not found or (int(found[1]), int(found[2])) > NEWEST_GLIBC or tag not in platforms:
        raise Wrong(f"auditwheel finds {tag}; the name says {platforms}")
    if report["external_libs"]:
        raise Wrong(f"libraries of others: {report['external_libs']}")
    return f"{tag} (auditwheel)"


def check_size(wheel: Wheel) -> str:
    """Keep the budget."""
    sizes = wheel.path.stat().st_size, sum(map(len, wheel.files.values()))
    if sizes[0] > BUDGET[0] or sizes[1] > BUDGET[1]:
        raise Wrong(f"{sizes[0]} bytes, installed {sizes[1]}: more than {BUDGET[0]}, {BUDGET[1]}")
    return "{:.2f} MB, installed {:.2f} MB; budget {:.1f} and {:.1f}".format(
        *(size / 1e6 for size in (*sizes, *BUDGET))
    )


def check_contents(wheel: Wheel) -> str:
    """Allow Python files, types, a module, metadata: no libraries, headers, C or CMake files."""
    others = [
        name
        for name in wheel.files
        if name != wheel.module
        and not name.startswith(f"{wheel.info}/")
        and PurePosixPath(name).suffix not in ALLOWED_SUFFIXES
    ]
    if others:
        raise Wrong(f"does not belong into a wheel: {others}")
    if "caterva_cffi/py.typed" not in wheel.files:
        raise Wrong("no py.typed")
    run_tool("check_wheel_contents", "--no-config", wheel.path)
    return f"{len(wheel.files)} files (check-wheel-contents)"


def check_module(wheel: Wheel) -> str:
    """Expect that others see the init function alone; stripped; the system's libraries only."""
    elf = wheel.elf()
    if elf is None:
        return check_other_module(wheel)
    sections = {section.name for section in elf.iter_sections()}
    if unstripped := {name for name in sections if name.startswith((".debug", ".symtab"))}:
        raise Wrong(f"not stripped: {sorted(unstripped)}")
    exported = {
        symbol.name
        for symbol in elf.get_section_by_name(".dynsym").iter_symbols()
        if symbol.entry.st_shndx != "SHN_UNDEF" and symbol.entry.st_info.bind != "STB_LOCAL"
    }
    if exported != {INIT}:
        raise Wrong(f"exports {sorted(exported)}, expected {INIT}")
    entries = list(elf.get_section_by_name(".dynamic").iter_tags())
    needed = [entry.needed for entry in entries if entry.entry.d_tag == "DT_NEEDED"]
    if foreign := [name for name in needed if not SYSTEM_LIBRARIES.fullmatch(name)]:
        raise Wrong(f"needs {foreign}")
    if [
        entry for entry in entries if entry.entry.d_tag in ("DT_RPATH", "DT_RUNPATH", "DT_TEXTREL")
    ]:
        raise Wrong("has RPATH, RUNPATH or TEXTREL")
    return f"exports {INIT} alone; stripped; needs {', '.join(sorted(needed))}"


def check_other_module(wheel: Wheel) -> str:
    """Check symbols of Windows. Those of macOS are looked at by the tests that run there."""
    if not wheel.module.endswith(".pyd"):
        return "of macOS: wheels/tests.txt has the test of its symbols"
    import pefile

    library = pefile.PE(data=wheel.files[wheel.module])
    exported = {symbol.name.decode() for symbol in library.DIRECTORY_ENTRY_EXPORT.symbols}
    if exported != {INIT}:
        raise Wrong(f"exports {sorted(exported)}, expected {INIT}")
    return f"exports {INIT} alone"


def check_stable_abi(wheel: Wheel) -> str:
    """Expect that the symbols the module wants of Python are in the stable ABI of 3.11."""
    if not any(tag.abi == "abi3" for tag in wheel.tags):
        return "no wheel of the stable ABI"
    report = json.loads(run_tool("abi3audit", "--strict", "--report", wheel.path))
    ((spec,),) = (each["wheel"] for each in report["specs"].values())
    result = spec["result"]
    if not (result["is_abi3"] and result["is_abi3_baseline_compatible"]):
        raise Wrong(f"abi3audit: {result}")
    return f"stable ABI of {result['baseline']} (abi3audit)"


def check_licences(wheel: Wheel) -> str:
    """Expect ours, and those of all that is compiled in, as the metadata lists them."""
    manifest = tomllib.loads((ROOT / "vendor/manifest.toml").read_text(encoding="utf-8"))
    expected = {"LICENSE", *(f"vendor/licenses/{part}.txt" for part in manifest["parts"])}
    prefix = f"{wheel.info}/licenses/"
    found = {name.removeprefix(prefix) for name in wheel.files if name.startswith(prefix)}
    listed = set(metadata_of(wheel).get_all("License-File", []))
    if not found == listed == expected:
        raise Wrong(f"licences: files {found}, listed {listed}, expected {expected}")
    for name in expected:
        if wheel.files[prefix + name] != (ROOT / name).read_bytes():
            raise Wrong(f"{name} is another text")
    return f"{len(expected)} texts"


def metadata_of(wheel: Wheel) -> Message:
    """Parse the wheel's METADATA."""
    return HeaderParser().parsestr(wheel.files[f"{wheel.info}/METADATA"].decode())


def check_metadata(wheel: Wheel) -> str:
    """Expect what an index accepts, and this version."""
    run_tool("twine", "check", "--strict", wheel.path)
    headers = metadata_of(wheel)
    ours = re.search(
        r'__version__ = "(.+)"', (ROOT / "caterva_cffi/_version.py").read_text(encoding="utf-8")
    )
    if not ours or headers["Version"] != ours[1]:
        raise Wrong(f"version {headers['Version']} is not that of _version.py")
    return f"{headers['Name']} {headers['Version']} (twine)"


CHECKS: dict[str, Callable[[Wheel], str]] = {
    "tag": check_tags,
    "size": check_size,
    "contents": check_contents,
    "module": check_module,
    "stable ABI": check_stable_abi,
    "licences": check_licences,
    "metadata": check_metadata,
}


def check(path: Path) -> Iterator[tuple[str, str]]:
    """Yield each check's name and what it found; raise Wrong at the first that fails."""
    wheel = Wheel(path)
    for name, function in CHECKS.items():
        yield name, function(wheel)


def main() -> int:
    """Check the wheels that the arguments name."""
    if len(sys.argv) < 2:
        print(__doc__)
        return 2
    for path in map(Path, sys.argv[1:]):
        print(path.name)
        try:
            for name, found in check(path):
                print(f"  {name:10}  {found}")
        except Wrong as wrong:
            print(f"error: {path.name}: {wrong}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
