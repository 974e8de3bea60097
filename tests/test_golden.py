"""Frames written by python-caterva, python-blosc2 and C-Blosc2 read as they did when written."""

import hashlib
import json
import runpy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caterva_cffi as cat

GOLDEN = Path(__file__).parent / "golden"
INDEXES = sorted(GOLDEN.glob("*/index.json"))


@dataclass(frozen=True)
class Frame:
    """One entry of an index: a frame (file or directory) and what it holds."""

    directory: Path
    entry: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.directory.name}/{Path(self.entry['path']).stem}"

    @property
    def path(self) -> Path:
        return self.directory / str(self.entry["path"])

    @property
    def expected(self) -> np.ndarray:
        return expected_values(self.directory)[self.entry["expected"]]

    def hashes(self) -> dict[str, str]:
        files = self.path.iterdir() if self.path.is_dir() else [self.path]
        return {file.relative_to(self.directory).as_posix(): sha256(file) for file in files}


@cache
def expected_values(directory: Path) -> dict[str, np.ndarray]:
    with np.load(directory / "expected.npz") as values:
        return dict(values)


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


FRAMES = [
    Frame(index.parent, entry)
    for index in INDEXES
    for entry in json.loads(index.read_text())["frames"]
]
every_frame = pytest.mark.parametrize("frame", FRAMES, ids=str)
every_file = pytest.mark.parametrize(
    "frame", [f for f in FRAMES if f.entry["kind"] == "file"], ids=str
)


def check_array(array: Any, frame: Frame) -> None:
    expected = frame.expected
    assert array.shape == expected.shape == tuple(frame.entry["shape"])
    assert array.chunks == tuple(frame.entry["chunks"])
    assert array.blocks == tuple(frame.entry["blocks"])
    assert array.dtype == expected.dtype
    # Bytes, not values: NaN equals NaN, -0.0 is not 0.0, and S items keep their trailing zeros.
    values = np.asarray(array[...])
    assert (values.dtype, values.shape) == (expected.dtype, expected.shape)
    assert values.tobytes() == expected.tobytes()
    inner = tuple(slice(n // 3, n) for n in expected.shape)
    assert np.asarray(array[inner]).tobytes() == expected[inner].tobytes()
    for mapping, known in ((array.meta, "meta"), (array.vlmeta, "vlmeta")):
        for name, content in frame.entry.get(known, {}).items():
            assert bytes(mapping[name]) == bytes.fromhex(content)


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
