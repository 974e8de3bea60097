"""Frames written by python-caterva, python-blosc2 and C-Blosc2 read as they did when written."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
from golden_frames import FRAMES, GOLDEN, INDEXES, Frame, check_array, every_file, sha256

import caterva_cffi as cat

every_frame = pytest.mark.parametrize("frame", FRAMES, ids=str)


@every_frame
def test_open(frame: Frame) -> None:
    check_array(cat.open(str(frame.path), mode="r"), frame)
    assert frame.hashes() == frame.entry["sha256"]


@every_file
def test_from_cframe(frame: Frame) -> None:
    check_array(cat.from_cframe(frame.path.read_bytes()), frame)


@pytest.mark.parametrize("index", INDEXES, ids=lambda index: index.parent.name)
def test_every_file_is_indexed_and_unchanged(index: Path) -> None:
    known = json.loads(index.read_text())
    recorded = {
        file: digest for frame in known["frames"] for file, digest in frame["sha256"].items()
    }
    recorded["expected.npz"] = known["expected_sha256"]
    found = {
        file.relative_to(index.parent).as_posix(): sha256(file)
        for file in index.parent.rglob("*")
        if file.is_file() and file != index
    }
    assert found == recorded


def test_all_writers_are_here() -> None:
    assert [index.parent.name for index in INDEXES] == [
        "c_blosc2",
        "python_blosc2",
        "python_caterva",
    ]


def test_golden_files_are_never_rewritten(tmp_path: Path) -> None:
    output_directory = runpy.run_path(str(GOLDEN / "recording.py"))["output_directory"]
    assert output_directory(tmp_path / "new").is_dir()
    for index in INDEXES:
        with pytest.raises(SystemExit, match="never rewritten"):
            output_directory(index.parent)
