"""The frames in tests/golden, with the items that their writers recorded."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkout import TESTS

GOLDEN = TESTS / "golden"
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
