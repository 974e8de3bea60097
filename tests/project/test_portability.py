"""Our C is C11, for the compilers and systems that cannot run here."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from checkout import ROOT

NATIVE = sorted((ROOT / "caterva_cffi/_native").glob("*.c"))
VENDOR = ROOT / "vendor"
INCLUDES = [
    *("-I", ROOT / "caterva_cffi/_native", "-isystem", VENDOR / "include"),
    *("-isystem", VENDOR / "src/caterva/caterva", "-isystem", VENDOR / "src/c-blosc2/include"),
    *("-isystem", VENDOR / "src/lz4/lib", "-isystem", VENDOR / "src/zstd/lib"),
]
STRICT = ["-std=c11", "-pedantic", "-Wall", "-Wextra", "-Wvla", "-Werror", "-fsyntax-only"]

# Zig's name of a system, which tells its headers, and clang's.
SYSTEMS = {
    "x86_64-windows-gnu": "x86_64-w64-mingw32",
    "aarch64-windows-gnu": "aarch64-w64-mingw32",
    "x86_64-macos": "x86_64-apple-macos11",
    "aarch64-macos": "arm64-apple-macos11",
    "x86_64-linux-musl": "x86_64-linux-musl",
    "aarch64-linux-gnu": "aarch64-linux-gnu",
}


@pytest.mark.build
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_c11_of_this_system(compiler, run_tool):
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler}")
    run_tool(compiler, *STRICT, *INCLUDES, *NATIVE)


@pytest.fixture(scope="session")
def zig(wheel_tools, run_tool):
    """Zig's program, of which the C compilers are parts."""
    code = "import ziglang; print(ziglang.__file__)"
    return run_tool(wheel_tools, "-c", code).strip().replace("__init__.py", "zig")


def zig_headers(zig, system, run_tool):
    # `zig cc` would build the whole C library, for -fsyntax-only too: only its paths are asked for.
    output = run_tool(zig, "cc", "-target", system, "-E", "-v", "-x", "c", os.devnull)
    listed = output.partition("#include <...> search starts here:\n")[2]
    lines = listed.partition("End of search list")[0].splitlines()
    assert len(lines) > 1, output
    return [part for line in lines for part in ("-isystem", Path(line.strip()).resolve())]


@pytest.mark.build
@pytest.mark.parametrize("system", SYSTEMS)
def test_c11_of_other_systems(system, zig, run_tool):
    command = [zig, "clang", "-target", SYSTEMS[system], "-nostdinc"]
    command += [*zig_headers(zig, system, run_tool), *STRICT, *INCLUDES]
    run_tool(*command, *NATIVE)


@pytest.mark.build
@pytest.mark.parametrize("system", ["x86_64-windows-gnu", "aarch64-macos"])
def test_compilers_of_other_systems_refuse(system, zig, tmp_path, run_tool):
    (tmp_path / "wrong.c").write_text("int f(int n) { int a[n]; return sizeof a + near(n); }\n")
    command = [zig, "clang", "-target", SYSTEMS[system], "-nostdinc"]
    command += [*zig_headers(zig, system, run_tool), *STRICT, tmp_path / "wrong.c"]
    with pytest.raises(AssertionError, match=r"(?s)variable length array.*undeclared function"):
        run_tool(*command)
