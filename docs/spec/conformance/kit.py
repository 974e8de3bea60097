"""Samples by their names, and the items that most of them hold."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from frames import Parts

HERE = Path(__file__).resolve().parent


class Kit:
    """Samples by their names."""

    def __init__(self) -> None:
        page = (HERE.parent / "caterva.md").read_text("utf-8")
        self.sections: dict[str, str] = {}
        section = ""
        for line in page.splitlines():
            section = (re.findall(r"^#+ (\d[\d.]*?)\.? ", line) or [section])[0]
            for rule in re.findall(r"^(?:- )?\*\*(R-\d+)[.*]", line):
                self.sections[rule] = section
        self.samples: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}

    def add(
        self, name: str, rules: str, frame: bytes, expect: str, items: Any = None, **more: Any
    ) -> None:
        """Add a sample; rules are numbers."""
        numbers = [f"R-{rule}" for rule in rules.split()]
        path = f"frames/{name}.frame"
        assert path not in self.files, name
        self.files[path] = bytes(frame)
        sample = {"name": name, "kind": "frame", "path": path, "expect": expect, "rules": numbers}
        sample["section"] = self.sections[numbers[0]]
        if items is not None:
            data = items.tobytes()
            where = f"items/{hashlib.sha256(data).hexdigest()[:16]}.bin"
            self.files[where] = data
            sample |= {"shape": list(items.shape), "itemsize": items.dtype.itemsize, "items": where}
        self.samples.append(sample | more)

    def valid(self, name: str, rules: str, parts: Parts, items: Any = None, **more: Any) -> None:
        """Add a frame that must be read."""
        items = parts.items if items is None else items
        text = {} if parts.geometry else {"dtype": parts.text}
        self.add(name, rules, parts.frame(), "items", items, **text, **more)

    def either(self, name: str, rules: str, parts: Parts, items: Any = None, **more: Any) -> None:
        """Add a frame that may be refused, or read."""
        items = parts.items if items is None else items
        self.add(name, rules, parts.frame(), "either", items, **more)

    def invalid(self, name: str, rules: str, frame: bytes | Parts, **more: Any) -> None:
        """Add a frame that must be refused."""
        self.add(
            name, rules, frame if isinstance(frame, bytes) else frame.frame(), "refuse", **more
        )

    def write(self, directory: Path) -> None:
        """Write all files."""
        for name, data in self.files.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_bytes(data)
        lines = ",\n".join(json.dumps(sample, sort_keys=True) for sample in self.samples)
        text = f'{{"page": "../caterva.md", "version": "1.0", "samples": [\n{lines}\n]}}\n'
        (directory / "index.json").write_text(text, "utf-8")


def waves(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> np.ndarray:
    """Return items with runs, repetitions and noise."""
    n, dtype = int(np.prod(shape)), np.dtype(dtype)
    random = np.random.default_rng(seed)
    if dtype.kind == "f":
        items = np.round(np.sin(np.arange(n) / 5) * 8) / 4 + (random.random(n) < 0.1)
        return items.astype(dtype).reshape(shape)
    size = dtype.itemsize
    raw = (np.arange(n * size) % size == 0) * (np.arange(n * size) // size % 7)
    raw += random.integers(0, 3, n * size) * (random.random(n * size) < 0.1)
    return raw.astype("u1").view(dtype).reshape(shape)


ITEMS = waves((9, 14), "<i2")


CUT = {"chunk": (6, 8), "block": (4, 5)}


ROW = np.arange(40, dtype="<i4") * 257
