"""Short runs of the fuzz targets, and what their long runs found before."""

from __future__ import annotations

import importlib.util
import math
import os
import re
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest
from checkout import TESTS

import caterva_cffi as cat
from caterva_cffi import ffi
from caterva_cffi.binding.buffers import address
from caterva_cffi.binding.kernel import Kernel
from caterva_cffi.geometry.grid import Grid

FUZZ = TESTS / "fuzz"
REGRESSIONS = TESTS / "regressions"
OPTIONS = ["-seed=1", "-max_len=4096", "-timeout=60", "-print_final_stats=1"]
LIMITS = ["-rss_limit_mb=2048", "-malloc_limit_mb=300"]

needs_clang = pytest.mark.skipif(not shutil.which("clang"), reason="needs clang")


def regressions(kind):
    found = sorted((REGRESSIONS / kind).glob("*"))
    return pytest.mark.parametrize("path", found, ids=lambda path: path.name)


def load(name):
    """Import a script of tests/fuzz."""
    spec = importlib.util.spec_from_file_location(name, FUZZ / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def python_target():
    return load("fuzz_python")


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    directory = tmp_path_factory.mktemp("seeds")
    load("seeds").write(directory)
    return directory


def run(directory, *command):
    """Run a target; return how many inputs it tried."""
    environment = {k: v for k, v in os.environ.items() if not k.endswith("SAN_OPTIONS")}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        list(map(str, command)),
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-8000:]
    return int(re.findall(r"stat::number_of_executed_units: (\d+)", done.stderr)[-1])


@needs_clang
@pytest.mark.build
@pytest.mark.parametrize(("kind", "runs"), [("frame", 20000), ("chunk", 20000)])
def test_c(build_native, seeds, tmp_path, kind, runs):
    program = build_native(f"fuzz_{kind}") / f"fuzz_{kind}"
    for old in sorted((REGRESSIONS / kind).glob("*")):
        subprocess.run([program, *LIMITS, old], check=True, capture_output=True, timeout=60)
    count = run(tmp_path, program, *OPTIONS, *LIMITS, f"-runs={runs}", tmp_path, seeds / kind)
    assert count >= runs


@pytest.mark.build
@pytest.mark.skipif(not importlib.util.find_spec("atheris"), reason="needs atheris")
def test_python(seeds, tmp_path):
    command = [sys.executable, FUZZ / "fuzz_python.py", *OPTIONS, LIMITS[0], "-runs=10000"]
    corpora = [seeds / "frame", seeds / "sparse", seeds / "configuration"]
    assert run(tmp_path, *command, tmp_path, *corpora) >= 10000


def test_seeds_are_read(seeds, python_target):
    """Or else nothing but errors would be fuzzed."""
    read = 0
    for path in (seeds / "frame").iterdir():
        python_target.every_door(path.read_bytes())
        python_target.in_memory(path.read_bytes())
        read += 1
    for path in (seeds / "sparse").iterdir():
        python_target.in_directory(path.read_bytes())
    assert read > 200
    assert len(list((seeds / "chunk").iterdir())) > 400


@regressions("python")
def test_found_in_python(path, python_target):
    python_target.every_door(path.read_bytes())


@regressions("frame")
def test_found_in_c(path, python_target):
    python_target.every_door(path.read_bytes())


@regressions("chunk")
def test_items_depend_on_the_chunk_alone(path):
    """Not on what was in memory, as they did for some of these."""
    data = path.read_bytes()
    ndim, itemsize = data[0] % 17, int.from_bytes(data[1:3], "little")
    sides = struct.unpack_from(f"<{2 * ndim}H", data, 3)
    chunk = data[3 + 4 * ndim :]
    grid = Grid(sides[::2], sides[::2], sides[1::2], itemsize)
    for count in (grid.shape, grid.blocks, *([(1,) * ndim, (3,) * ndim] if ndim else [])):
        found = {read_above(chunk, grid, count, fill) for fill in (b"\xaa", b"\x55")}
        assert len(found) == 1, count


def read_above(chunk, grid, count, fill):
    """Decode the first items of a chunk, with a byte in all memory that is used."""
    noise = np.frombuffer(fill * grid.blocksize, "u1")
    cat.asarray(noise, chunks=noise.shape, filters=[cat.Filter.DELTA, cat.Filter.SHUFFLE])[...]
    cat.asarray(np.append(noise, noise[0] + 1))[: len(noise) // 2]
    dest = np.frombuffer(fill * math.prod(count) * grid.itemsize, f"V{grid.itemsize}")
    dest = dest.reshape(count).copy()
    box = ((0,) * grid.ndim, count, (1,) * grid.ndim)
    piece = (0, len(chunk), ffi.from_buffer("uint8_t[]", chunk))
    try:
        Kernel(grid).decode([(0, [piece], box, address(dest), dest.strides)])
    except cat.CatervaError as error:
        return str(error)
    return dest.tobytes()
