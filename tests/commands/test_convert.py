"""`caterva convert`: what it prints, its exit codes, and what is left after a kill."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import zarr

import caterva_cffi as cat
from caterva_cffi.__main__ import main
from caterva_cffi.advice.accesses import Access

ITEMS = np.random.default_rng(0).normal(size=(40, 30, 20)).astype("f4")


@pytest.fixture
def source(tmp_path):
    np.save(tmp_path / "a.npy", ITEMS)
    return str(tmp_path / "a.npy")


def run(capsys, *arguments):
    code = main(["convert", *map(str, arguments)])
    return code, *capsys.readouterr()


def test_options_are_those_of_the_function(source, tmp_path, capsys):
    out = tmp_path / "a.zarr"
    options = "--chunks 20,10,20 --blocks 5,10,4 --cname zstd --clevel 3 --shuffle bitshuffle"
    options += " --checksum --memory 0.5MiB --threads 1 --verify"
    code, text, errors = run(capsys, source, out, *options.split())
    assert (code, errors) == (0, "")
    assert "/: (40, 30, 20) float32, 0.1 MB, chunks (20, 10, 20), blocks (5, 10, 4)" in text
    assert "6 encoded" in text and text.endswith("compared with the source\n")
    z = zarr.open_array(out, mode="r")
    [codec] = z.metadata.codecs
    assert (codec.cname, codec.clevel, codec.shuffle) == ("zstd", 3, "bitshuffle")
    assert (codec.block_shape, codec.checksum, z.chunks) == ((5, 10, 4), True, (20, 10, 20))
    code, text, _ = run(capsys, out, tmp_path / "b", "--format", "b2nd", "--json")
    assert code == 0 and json.loads(text)["copied"] == 6
    assert cat.open(tmp_path / "b", mode="r").blocks == (5, 10, 4)


def test_to_and_from_s3(source, tmp_path, capsys, s3, bucket, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = json.dumps(s3.storage_options())
    url = f"s3://{bucket}/a.zarr"
    there, back = ("--destination-options", options), ("--source-options", options)
    assert run(capsys, source, url, *there, "--chunks=20,10,20")[::2] == (0, "")
    code, _, errors = run(capsys, source, url, *there)
    assert (
        code == 2
        and errors == f"caterva: {url} exists; overwrite it, or name another destination\n"
    )
    assert run(capsys, url, tmp_path / "b.b2nd", *back, "--verify")[::2] == (0, "")
    np.testing.assert_array_equal(cat.open(tmp_path / "b.b2nd", mode="r")[...], ITEMS)
    assert run(capsys, source, url, *there, "--overwrite", "--chunks=40,30,20")[0] == 0
    assert main(["info", url, *back, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["chunks"] == [40, 30, 20]
    frame = f"s3://{bucket}/a.b2nd"
    assert run(capsys, url, frame, *back, *there)[0] == 0
    assert run(capsys, frame, tmp_path / "c.zarr", *back, "--verify")[0] == 0


def test_a_dry_run(source, tmp_path, capsys):
    code, text, errors = run(capsys, source, tmp_path / "b", "--dry-run")
    assert (code, errors) == (0, "") and text.endswith("nothing was written\n")
    assert not (tmp_path / "b").exists()


def test_errors_are_one_line(source, tmp_path, capsys):
    for arguments in (
        (tmp_path / "none", tmp_path / "b"),
        (f"{source}:inside", tmp_path / "b"),
        (source, source),
        (source, tmp_path / "b", "--memory", "10"),
    ):
        code, text, errors = run(capsys, *arguments)
        assert (code, text) == (2, "")
        assert errors.startswith("caterva: ") and errors.count("\n") == 1
    assert run(capsys, source, tmp_path / "b.b2nd")[0] == 0
    code, _, errors = run(capsys, source, tmp_path / "b.b2nd")
    assert code == 2 and errors.endswith(
        "b.b2nd exists; overwrite it, or name another destination\n"
    )
    assert run(capsys, source, tmp_path / "b.b2nd", "--overwrite")[0] == 0


@pytest.mark.parametrize("option", ["--chunks=a", "--memory=1XB", "--clevel=10", "--cname=lzma"])
def test_options_that_make_no_sense(option, source, tmp_path, capsys):
    with pytest.raises(SystemExit) as raised:
        main(["convert", source, str(tmp_path / "b"), option])
    assert raised.value.code == 2 and "error: argument" in capsys.readouterr().err


def test_differences_exit_with_1(source, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("caterva_cffi.conversion.whole.differs", lambda *_: True)
    code, text, errors = run(capsys, source, tmp_path / "b", "--verify")
    assert (code, text) == (1, "") and "differ from those of the source" in errors
    code, _, errors = run(capsys, source, tmp_path / "b")
    assert code == 2 and "is an incomplete conversion; resume it, or overwrite it" in errors


def test_names_that_a_terminal_cannot_show(source, tmp_path, monkeypatch):
    zarr.create_group(tmp_path / "g").create_array("größe\n", data=ITEMS)
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    stream.isatty = lambda: True
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, stream)
    assert main(["convert", str(tmp_path / "g"), str(tmp_path / "h")]) == 0
    stream.flush()
    assert b"gr\\xf6\\xdfe" in stream.buffer.getvalue()


def test_chunks_for_what_is_read(source, tmp_path, capsys):
    asked = ("--advise", "planes along 1", "--advise", "items@0.01", "--json", "--dry-run")
    code, text, errors = run(capsys, source, tmp_path / "b", *asked)
    assert (code, errors) == (0, "")
    advice = cat.advise(ITEMS.shape, "f4", ["planes along 1", Access("items", 0.01)])
    [array] = json.loads(text)["arrays"]
    assert (array["chunks"], array["blocks"]) == (list(advice.chunks), list(advice.blocks))


def test_progress_is_shown_on_a_terminal_only(source, tmp_path, capsys, monkeypatch):
    assert run(capsys, source, tmp_path / "a")[2] == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    _, _, errors = run(capsys, source, tmp_path / "b")
    assert "100%  0 MB" in errors and "MB/s, 0:00 left" in errors and errors.endswith("\r\033[K")
    assert run(capsys, source, tmp_path / "c", "--quiet")[2] == ""


SLOW = """
import sys, time
from caterva_cffi.__main__ import main
from caterva_cffi.conversion.progress import Progress
import caterva_cffi.conversion.running as running
whole = running.convert_region
def slow(*arguments, **options):
    time.sleep(0.08)  # all regions take longer than three runs
    return whole(*arguments, **options)
import caterva_cffi.conversion.whole as module
module.convert_region = slow
sys.exit(main(sys.argv[1:]))
"""


KINDS = [
    ("b.zarr", "", signal.SIGKILL),
    ("b.zarr", "", signal.SIGINT),
    ("b.b2nd", "", signal.SIGKILL),
    ("b.b2nd", "", signal.SIGINT),
    ("b.zarr", "--format plain-zarr --shards 1,30,40", signal.SIGKILL),
    ("b.zarr", "--zarr-format 2", signal.SIGKILL),
]


@pytest.mark.parametrize(("name", "more", "kind"), KINDS, ids=str)
def test_killed_at_a_random_moment_and_resumed(name, more, kind, source, tmp_path):
    out = str(tmp_path / name)
    # A few of 40 regions are written in each run.
    arguments = ["convert", source, out, "--chunks=1,30,20", "--memory=16kB", "--threads=1"]
    arguments += more.split()
    command = [sys.executable, "-c", SLOW, *arguments, "--resume", "--json"]
    random, runs, codes = np.random.default_rng(os.getpid()), 0, []
    while True:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        while runs < 3 and process.poll() is None and not list(tmp_path.glob("b*")):
            time.sleep(0.01)
        if runs < 3:
            time.sleep(random.uniform(0.05, 0.3) + 0.8 * (runs > 0))
            process.send_signal(kind)
        text, _ = process.communicate(timeout=100)
        if process.returncode == 0:
            break
        runs += 1
        codes.append(process.returncode)
        assert not list(tmp_path.glob("b.zarr/zarr.json")) + list(tmp_path.glob("b.zarr/.zarray"))
        assert not (tmp_path / "b.b2nd").exists()
    assert set(codes) <= ({-signal.SIGKILL} if kind == signal.SIGKILL else {130, -signal.SIGINT})
    assert codes and json.loads(text)["nbytes"] == ITEMS.nbytes
    opened = zarr.open_array(out, mode="r") if name.endswith("zarr") else cat.open(out, mode="r")
    np.testing.assert_array_equal(opened[...], ITEMS)
    assert {path.name for path in tmp_path.iterdir()} == {"a.npy", name}
