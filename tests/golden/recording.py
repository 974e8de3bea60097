"""What the scripts beside this file share: the output directory, the index and the expected values.

Run as ``python recording.py DIRECTORY`` it finishes the directory that ``make_c_blosc2`` wrote.
"""

import ast
import hashlib
import json
import os
import sys
from pathlib import Path

import numpy as np


def output_directory(argument):
    """Return the directory to write into; refuse one that holds anything, golden files included."""
    directory = Path(argument)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise SystemExit(f"{directory} is not an empty directory: golden files are never rewritten")
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def numbers(shape, dtype):
    """Return deterministic, compressible values: a slow ramp with a small ripple."""
    index = np.arange(int(np.prod(shape, dtype=np.int64)))
    return (index // 3 + index % 7).astype(dtype).reshape(shape)


def items(shape, itemsize):
    """Return items of any size (dtype ``S{itemsize}``) with a deterministic byte pattern."""
    count = int(np.prod(shape, dtype=np.int64))
    pattern = np.arange(count)[:, None] * 3 + np.arange(itemsize) // 5
    return as_items((pattern % 251).astype("u1"), shape, itemsize)


def as_items(array, shape, itemsize):
    """Return the bytes of an array as items of dtype ``S{itemsize}``."""
    return np.frombuffer(array.tobytes(), f"S{itemsize}").reshape(shape)


def noise(shape, dtype, seed=0):
    """Return seeded random bytes, which do not compress, as an array."""
    dtype = np.dtype(dtype)
    raw = np.random.default_rng(seed).bytes(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
    return np.frombuffer(raw, dtype).reshape(shape)


def first_chunk(frame):
    """Return the first stored chunk of a contiguous frame."""
    start = int.from_bytes(frame[11:15], "big")
    size = int.from_bytes(frame[start + 12 : start + 16], "little")
    return frame[start : start + size]


def block_starts(chunk):
    """Return where each block of an ordinary chunk begins."""
    nbytes, blocksize = (int.from_bytes(chunk[i : i + 4], "little") for i in (4, 8))
    return np.frombuffer(chunk, "<i4", -(-nbytes // blocksize), 32)


def uses_dictionary(chunk):
    """Tell whether a chunk was compressed with a dictionary."""
    return bool(chunk[31] & 1)


class Recorder:
    """Collects what was written; ``finish`` writes the index and the expected values."""

    def __init__(self, directory, writer, version):
        self.directory = Path(directory)
        self.writer = writer
        self.version = version
        self.entries = []
        self.expected = {}

    def _expected_key(self, name, array):
        for key, known in self.expected.items():
            same_kind = known.dtype == array.dtype and known.shape == array.shape
            if same_kind and known.tobytes() == array.tobytes():
                return key
        self.expected[name] = array
        return name

    def add(
        self,
        name,
        expected,
        *,
        chunks,
        blocks,
        codec,
        clevel,
        filters,
        metalayers,
        meta=None,
        vlmeta=None,
        note="",
    ):
        """Record one frame: ``{name}.b2frame`` or, for a sparse one, the directory ``{name}``."""
        file = self.directory / f"{name}.b2frame"
        path = file if file.exists() else self.directory / name
        expected = np.asarray(expected)
        entry = {
            "path": path.name,
            "kind": "dir" if path.is_dir() else "file",
            "metalayers": list(metalayers),
            "shape": list(expected.shape),
            "dtype": np.lib.format.dtype_to_descr(expected.dtype),
            "chunks": [int(n) for n in chunks],
            "blocks": [int(n) for n in blocks],
            "codec": codec,
            "clevel": int(clevel),
            "filters": list(filters),
            "meta": {key: value.hex() for key, value in (meta or {}).items()},
            "vlmeta": {key: value.hex() for key, value in (vlmeta or {}).items()},
            "expected": self._expected_key(name, expected),
            "note": note,
        }
        self.entries.append({key: value for key, value in entry.items() if value not in ({}, "")})

    def finish(self):
        """Write ``expected.npz`` and ``index.json``, and make everything read-only."""
        for entry in self.entries:
            path = self.directory / entry["path"]
            files = sorted(path.iterdir()) if path.is_dir() else [path]
            entry["sha256"] = {
                file.relative_to(self.directory).as_posix(): hashlib.sha256(
                    file.read_bytes()
                ).hexdigest()
                for file in files
            }
        values = self.directory / "expected.npz"
        np.savez_compressed(values, **self.expected)
        lines = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in self.entries)
        head = {
            "writer": self.writer,
            "version": self.version,
            "expected_sha256": hashlib.sha256(values.read_bytes()).hexdigest(),
        }
        head = json.dumps(head)[:-1]
        (self.directory / "index.json").write_text(f'{head}, "frames": [\n{lines}\n]}}\n')
        for folder, _, names in os.walk(self.directory):
            for name in names:
                os.chmod(Path(folder, name), 0o444)
        print(f"{len(self.entries)} frames in {self.directory}")


def finish_c_output(directory):
    """Turn the ``entries.jsonl`` and ``*.raw`` files of the C program into index and values."""
    log = directory / "entries.jsonl"
    recorder = None
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        writer, version, dtype, shape = (
            entry.pop(k) for k in ("writer", "version", "dtype", "shape")
        )
        recorder = recorder or Recorder(directory, writer, version)
        raw = directory / f"{entry['name']}.raw"
        dtype = np.dtype(ast.literal_eval(dtype) if dtype.startswith("[") else dtype)
        entry["expected"] = np.frombuffer(raw.read_bytes(), dtype).reshape(shape)
        for kind in ("meta", "vlmeta"):
            entry[kind] = {key: bytes.fromhex(value) for key, value in entry[kind].items()}
        recorder.add(**entry)
        raw.unlink()
    log.unlink()
    recorder.finish()


if __name__ == "__main__":
    finish_c_output(Path(sys.argv[1]))
