"""What is shipped: the source distribution, the wheel built from it offline, its symbols."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import textwrap
import tomllib
import zipfile
from configparser import ConfigParser
from email.parser import HeaderParser
from pathlib import Path

import pytest
from checkout import ROOT

import caterva_cffi as cat
from caterva_cffi import _libcaterva

PARTS = list(tomllib.loads((ROOT / "vendor/manifest.toml").read_text(encoding="utf-8"))["parts"])
LICENSES = {"LICENSE", *(f"vendor/licenses/{part}.txt" for part in PARTS)}

# Python runs this at its start, in every process of the build.
NO_NETWORK = """
import socket, sys

def refuse(*args, **kwargs):
    raise OSError("this build must not use the network")

socket.socket.__init__ = socket.getaddrinfo = refuse
sys.modules["unearth"] = None
"""


@pytest.fixture(scope="session")
def offline(tmp_path_factory):
    """Environment variables with which no Python process can connect or import unearth."""
    directory = tmp_path_factory.mktemp("no-network")
    (directory / "sitecustomize.py").write_text(NO_NETWORK, encoding="utf-8")
    return {"PYTHONPATH": str(directory), "CATERVA_CFFI_SDISTS": ""}


@pytest.fixture(scope="session")
def isolate():
    """The command that also keeps CMake and the compiler off the network, where Linux allows it."""
    command = ["unshare", "--net", "--map-root-user"]
    try:
        allowed = subprocess.run([*command, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        allowed = False
    return command if allowed else []


@pytest.fixture(scope="session")
def tracked(run_tool):
    """The names of the files that Git tracks and that are there."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no Git checkout: what belongs into a source distribution is not known")
    names = run_tool("git", "ls-files", "-z", cwd=ROOT).rstrip("\0").split("\0")
    return {name for name in names if (ROOT / name).exists()}


@pytest.fixture(scope="session")
def make_sdist(tracked, run_tool, isolate, offline):
    """Build the source distribution of what Git tracks and of the fetched sources."""

    def make(directory, change=lambda path: None):
        tree = directory / "tree"
        sources = (p.relative_to(ROOT) for p in (ROOT / "vendor/src").rglob("*") if p.is_file())
        for name in (*tracked, *sources):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            change(shutil.copy2(ROOT / name, tree / name))
        build = "import sys, scikit_build_core.build as b; b.build_sdist(sys.argv[1])"
        run_tool(*isolate, sys.executable, "-c", build, directory, cwd=tree, env=offline)
        (archive,) = directory.glob("*.tar.gz")
        return archive

    return make


@pytest.fixture(scope="session")
def sdist(make_sdist, tmp_path_factory):
    """The source distribution."""
    return make_sdist(tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="session")
def unpacked(sdist, tmp_path_factory):
    directory = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as tar:
        tar.extractall(directory, filter="data")
    (tree,) = directory.iterdir()
    return tree


@pytest.fixture(scope="session")
def wheel(unpacked, tmp_path_factory, run_tool, isolate, offline):
    """The wheel that pip builds from the unpacked source distribution without a network."""
    directory = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--no-index", "--no-deps", "--no-build-isolation"]
    # Other tests compile as users do; what is looked at here is the same without optimization.
    fast = "-Ccmake.define.CMAKE_C_FLAGS_RELEASE=-O0"
    run_tool(*isolate, *pip, fast, "--wheel-dir", directory, unpacked, env=offline)
    (file,) = directory.glob("*.whl")
    return file


@pytest.fixture(scope="session")
def contents(wheel):
    """The wheel's files, by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_offline_means_offline(offline, isolate):
    code = "import socket; socket.create_connection(('127.0.0.1', 9))"
    for command, env, reason in [
        ([sys.executable, "-c", code], offline, "must not use the network"),
        ([sys.executable, "-c", "import unearth"], offline, "unearth"),
        *([([*isolate, sys.executable, "-c", code], {}, "unreachable")] if isolate else []),
    ]:
        done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True)
        assert done.returncode == 1 and reason in done.stderr, command


@pytest.mark.build
def test_sdist_has_the_sources_and_all_that_git_tracks(tracked, sdist, unpacked, run_tool, offline):
    run_tool(sys.executable, unpacked / "vendor/fetch.py", "--check", env=offline)
    sources = sorted(path.name for path in (unpacked / "vendor/src").iterdir())
    assert sources == sorted(PARTS)
    with tarfile.open(sdist) as tar:
        names = {member.name.partition("/")[2] for member in tar if member.isfile()}
    left_out = {name for name in tracked if name.startswith(".ci/")}
    assert tracked - names == left_out
    assert {name for name in names - tracked if not name.startswith("vendor/src/")} == {"PKG-INFO"}
    assert names >= LICENSES


@pytest.mark.build
def test_sdist_is_the_same_bytes_elsewhere_and_later(sdist, make_sdist, tmp_path):
    def change(path):
        path.chmod(0o600)
        os.utime(path, (10**9, 10**9))

    assert make_sdist(tmp_path, change).read_bytes() == sdist.read_bytes()


@pytest.mark.build
def test_wheel_holds_the_package_its_module_and_licences_alone(wheel, contents):
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        assert "-cp311-abi3-" in wheel.name
    modules = [name for name in contents if name.endswith((".so", ".pyd"))]
    assert len(modules) == 1 and modules[0].startswith("caterva_cffi/_libcaterva.")
    (info,) = {name.split("/")[0] for name in contents} - {"caterva_cffi"}
    assert info.endswith(".dist-info")
    assert {name for name in contents if name.startswith(f"{info}/licenses/")} == {
        f"{info}/licenses/{name}" for name in LICENSES
    }
    others = {name for name in contents if not name.startswith(f"{info}/")} - {modules[0]}
    assert {Path(name).suffix for name in others} <= {".py", ".pyi", ".typed"}
    assert "caterva_cffi/py.typed" in others


@pytest.mark.build
def test_metadata_names_licences_and_entry_points(contents):
    (metadata,) = (text for name, text in contents.items() if name.endswith("/METADATA"))
    headers = HeaderParser().parsestr(metadata.decode())
    assert headers["License-Expression"] == "BSD-3-Clause"
    assert set(headers.get_all("License-File")) == LICENSES
    (points,) = (text for name, text in contents.items() if name.endswith("/entry_points.txt"))
    found = ConfigParser(delimiters=["="])
    found.read_string(points.decode())
    assert dict(found["console_scripts"]) == {"caterva": "caterva_cffi.__main__:main"}
    assert found["numcodecs.codecs"]["caterva"] == "caterva_cffi.numcodecs:Caterva"
    assert found["zarr.codecs"]["caterva"] == "caterva_cffi.zarr:CatervaCodec"
    assert found["zarr.codec_pipeline"]["caterva"] == "caterva_cffi.zarr:CatervaPipeline"


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory, run_tool):
    """A directory with the installed wheel."""
    directory = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--no-compile"]
    run_tool(*pip, "--target", directory, wheel)
    return directory


@pytest.mark.build
def test_wheel_works(site, run_tool):
    code = """
        import sys, numpy as np, caterva_cffi as cat
        assert cat.__file__.startswith(sys.argv[1]), cat.__file__
        assert cat._libcaterva.__file__.startswith(sys.argv[1]), cat._libcaterva.__file__
        data = np.arange(1000.0).reshape(10, 100)
        np.testing.assert_array_equal(cat.asarray(data)[3:5], data[3:5])
    """
    packages = sysconfig.get_path("purelib")
    # -S: without site, an editable installation of the package is not found.
    run_tool(
        *[sys.executable, "-P", "-S", "-c", textwrap.dedent(code), site],
        env={"PYTHONPATH": os.pathsep.join([str(site), packages])},
    )


@pytest.mark.build
def test_sdist_has_what_its_tests_need(site, unpacked, run_tool):
    """These read files of all kinds: frames, C sources and headers, requirements, run.py."""
    names = ("binding/test_versions", "binding/test_library", "whole/test_golden")
    pytest_ = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    output = run_tool(
        *[
            *pytest_,
            "-m",
            "not build",
            *(f"tests/{name}.py" for name in (*names, "project/test_run")),
        ],
        env={"PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"},
        cwd=unpacked,
    )
    assert " passed" in output and " skipped" not in output, output


@pytest.mark.build
@pytest.mark.parametrize("name", ["decode.c", "kernel.h", "blosc2.cdef.txt"])
def test_change_of_one_c_file_rebuilds_few(name, wheel, unpacked, run_tool):
    (build,) = (unpacked / "build").glob("cp3*")
    steps = ["ninja", "-C", build, "-n", "_libcaterva"]
    # pip ran CMake and Ninja in an environment that is the same here: nothing is left to do.
    assert "no work to do" in run_tool(*steps)
    source = unpacked / "caterva_cffi/_native" / name
    before = source.stat()
    source.touch()
    try:
        planned = run_tool(*steps)
    finally:
        os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    compiled = [line for line in planned.splitlines() if " Building C object " in line]
    ours = ("_libcaterva.c.o", *(f"_native/{file.name}.o" for file in source.parent.glob("*.c")))
    assert compiled and all(line.endswith(ours) for line in compiled), planned
    assert len(compiled) == 1 or name.endswith(".h"), planned
    assert "Linking C shared module" in planned


def symbols(module, kind):
    """Names in the dynamic symbol table of the extension module."""
    command = ["nm", "-gU" if kind == "defined" else "-gu"]
    if sys.platform != "darwin":
        command = ["nm", "--dynamic", f"--{kind}-only"]
    lines = subprocess.run([*command, module], check=True, capture_output=True, text=True).stdout
    return {line.split()[-1].lstrip("_").partition("@")[0] for line in lines.splitlines()}


@pytest.mark.skipif(sys.platform == "win32", reason="symbols of a DLL are hidden by default")
def test_module_exports_its_init_function_alone():
    assert symbols(_libcaterva.__file__, "defined") == {"PyInit__libcaterva".lstrip("_")}
    if not cat.versions().vendored:
        return
    compiled_in = ("blosc", "b2nd", "caterva", "cat_", "LZ4", "ZSTD", "zng_", "zfp_", "ndlz")
    wanted = symbols(_libcaterva.__file__, "undefined")
    assert wanted and not [name for name in wanted if name.startswith(compiled_in)]


def run_python(code, *arguments):
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


@pytest.mark.parametrize("order", [("blosc2", "caterva_cffi"), ("caterva_cffi", "blosc2")])
@pytest.mark.parametrize("nthreads", [1, 4])
def test_lives_in_one_process_with_python_blosc2(order, nthreads):
    output = run_python(
        """
        import importlib, sys
        import numpy as np

        for name in sys.argv[2:]:
            importlib.import_module(name)
        import blosc2, caterva_cffi as cat

        nthreads = int(sys.argv[1])
        data = np.arange(300 * 200, dtype=">i4").reshape(300, 200)
        partition = {"chunks": (90, 70), "blocks": (16, 17)}
        for _ in range(3):
            ours = cat.asarray(data, nthreads=nthreads, codec=cat.Codec.ZSTD, **partition)
            theirs = blosc2.asarray(data, cparams={"nthreads": nthreads}, **partition)
            at_ours = blosc2.ndarray_from_cframe(bytes(ours.to_cframe()))
            at_theirs = cat.from_cframe(theirs.to_cframe())
            for array in (ours, theirs, at_ours, at_theirs):
                np.testing.assert_array_equal(array[:], data)
                np.testing.assert_array_equal(array[85:95, 3:80], data[85:95, 3:80])
        print("done")
        """,
        nthreads,
        *order,
    )
    assert output == "done\n"


def test_import_needs_little_more_than_numpy_and_cffi():
    output = run_python("""
        import dataclasses, sys, numpy  # how much these import differs from version to version
        before = set(sys.modules)
        import caterva_cffi
        print(*{name.partition(".")[0] for name in set(sys.modules) - before})
    """)
    imported = set(output.split())
    assert {"caterva_cffi", "_cffi_backend"} <= imported
    assert not imported & {"zarr", "numcodecs", "fsspec", "obstore", "blosc2", "msgpack", "tqdm"}
    # What imports many modules in turn, such as asyncio, importlib.metadata or logging, would show.
    assert len(imported) <= 25, sorted(imported)
