"""The benchmarks, on tiny arrays: each part runs, agrees with NumPy, and writes its page."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest
from checkout import ROOT

RUN_MODULE = ROOT / "tools" / "run_module.py"

pytestmark = pytest.mark.build


def run(*arguments):
    """Run the command as run.py does."""
    done = subprocess.run(
        [sys.executable, str(RUN_MODULE), "benchmarks", *map(str, arguments)],
        env={**os.environ, "PYTHONSAFEPATH": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=600,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def page(tmp_path):
    return shutil.copy(ROOT / "docs" / "benchmarks-all.md", tmp_path / "page.md")


def split(page, part):
    """Return what a part has written into a page, and the rest of the page."""
    before, begin, rest = page.read_text("utf-8").partition(f"<!-- {part} -->")
    written, end, after = rest.partition(f"<!-- end of {part} -->")
    assert begin and end
    return written, (before, after)


@pytest.mark.parametrize(
    ("part", "shown", "plots"),
    [
        ("defaults", ("zarr's defaults", "writing it", "stored"), ()),
        ("kernel", ("a[i, j, k] before decoding", "change one block", "numcodecs decode"), ()),
        ("checksums", ("decode a whole chunk", "change a block"), ()),
        ("codings", ("zfp_accuracy, tolerance 0.01", "trunc_prec (bits 8) then shuffle"), ()),
        ("zarr_slices", ("zarrs pipeline", "h5py with b2h5py", "10 items"), ("zarr_slices",)),
        ("crops", ("read_many", "tensorstore", "4 crops of 5³, 2 processes"), ()),
        ("formula", ("zarr Blosc", "zarrs pipeline", "write everything", "2 at a time"), ()),
        ("writes", ("plane of axis 2", "zarr sharding", "tensorstore"), ()),
        ("cold", ("from the disk", "tensorstore", "10 items"), ()),
        ("growth", ("one item, frame", "64 chunks", "open a frame"), ()),
        ("convert", ("zarr.from_array", "xarray's to_zarr", "HDF5 with Blosc2 to Zarr"), ()),
        ("small_chunks", ("an object each", "in a shard"), ()),
        ("partitions", ("two levels", "zarr, one level"), ("axes", "selection", "chunk")),
        ("default_blocks", ("4 x 30 x 40 f4", "plane of axis 2", "Rank correlation"), ()),
        ("learning", ("caterva_cffi in zarr", "0 ns, 200 MB/s"), ()),
        ("remote", ("HTTP", "S3", "zarr sharding, obstore", "python-blosc2"), ("remote",)),
    ],
)
def test_part(part, shown, plots, page, tmp_path):
    _, before = split(page, part)
    code, output, errors = run(part, "--tiny", "--page", page, "--directory", tmp_path)
    assert (code, errors) == (0, "")
    written, after = split(page, part)
    for words in (*shown, "Versions: caterva-cffi"):
        assert words in written and (words in output or words.startswith(("zarr", "Rank")))
    for plot in plots:
        assert (tmp_path / "page" / f"{plot}.png").read_bytes().startswith(b"\x89PNG")
        assert f"](page/{plot}.png)" in written
    assert after == before
    assert {path.name for path in tmp_path.iterdir()} <= {"page.md", "page"}  # nothing is left


def test_the_installed_package_is_measured(tmp_path):
    """Not the sources beside the benchmarks, from wherever the command is given."""
    (tmp_path / "caterva_cffi.py").write_text("print('the installed one')")
    output = subprocess.check_output(
        [sys.executable, RUN_MODULE, "caterva_cffi"],
        env={**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": str(tmp_path)},
        cwd=ROOT,
        text=True,
    )
    assert output == "the installed one\n"


def test_unknown_part(page):
    code, _, errors = run("kernels", "--page", page)
    assert (
        code == 2 and "no part 'kernels'; there are defaults, kernel, checksums, codings" in errors
    )


def test_ways_are_measured_in_turns():
    from benchmarks.timing import Budget, Spread, fastest, measure, ratios

    calls = []
    actions = {name: lambda name=name: calls.append(name) for name in "ab"}
    samples = measure(actions, Budget(0, least=9, sample=0))
    rounds = ["".join(calls[k : k + 2]) for k in range(4, 22, 2)]
    assert "".join(calls[:4]) == "aabb" and set(rounds) == {"ab", "ba"}
    assert [len(samples[name]) for name in "ab"] == [9, 9]
    known = {"a": [1.0, 2.0, 8.0], "b": [2.0, 2.0, 2.0]}
    assert ratios(known, "a", "b") == Spread(0.75, 1.0, 2.5)
    assert fastest({**known, "c": [0.0, 3.0, 3.0]}, "abc") == "a"


def test_a_missed_bound_is_marked():
    from benchmarks.kernel import Row
    from benchmarks.report import kernel, line
    from benchmarks.timing import Spread

    spread = Spread(1.0, 1.5, 2.0)
    rows = [Row("work", f"case {b}", "peer", spread, spread, spread, b) for b in (1.5, 1.2)]
    assert [row.met for row in rows] == [True, False]
    assert "MISSED" not in line(rows[0]) and line(rows[1]).endswith("MISSED")
    text = kernel(rows, ROOT)
    assert "**missed in 1 of 1**" in text and "**missed**, 1.25 x the bound" in text


def test_wrong_items_are_noticed():
    from benchmarks.data import equal

    equal([[1.0]], 1.0)
    with pytest.raises(AssertionError, match="peer gives other items"):
        equal([1, 2], [1, 3], "peer")


def test_peers_are_installed_as_pinned():
    from benchmarks.machine import versions

    pinned = (ROOT / "requirements" / "bench.txt").read_text("utf-8")
    for name, version in re.findall(r"^(\w+)(?:\[\w+\])?==(.+)$", pinned, re.M):
        assert f"{name} {version}" in versions()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells the peak")
def test_peak_memory():
    from benchmarks.peak import peak

    assert 2**24 <= peak(bytearray_of, 2**24) < 2**24 + 2**20


def bytearray_of(size):
    return lambda: bytearray(b"x") * size


def test_page_without_marks_is_refused(tmp_path):
    from benchmarks.report import insert

    page = tmp_path / "page.md"
    page.write_text("no marks")
    with pytest.raises(ValueError, match="has no lines <!-- kernel -->"):
        insert(page, "kernel", "text")
    assert page.read_text() == "no marks"
