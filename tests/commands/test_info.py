"""`caterva info` and `caterva ls`: for people, and for programs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr
from checkout import TESTS

import caterva_cffi as cat
from caterva_cffi.__main__ import main


def run(capsys, *arguments):
    code = main([*map(str, arguments)])
    return code, *capsys.readouterr()


def test_info_of_an_array(tmp_path, capsys):
    path = tmp_path / "a.b2nd"
    cat.asarray(np.arange(6000.0).reshape(60, 100), chunks=(30, 100), urlpath=path, contiguous=True)
    code, text, errors = run(capsys, "info", path)
    assert (code, errors) == (0, "") and text.startswith(f"{path}\n  format           frame\n")
    assert "\n  bytes            48000 (48.0 kB)\n" in text
    assert "one index of axis 0    800 B: decodes" in text and "of 1 chunks" in text
    code, text, _ = run(capsys, "info", path, "--json")
    assert code == 0 and json.loads(text)["shape"] == [60, 100]


def test_groups(tmp_path, capsys):
    root = zarr.create_group(tmp_path / "a")
    root.create_array("g/x", shape=(4, 6), chunks=(2, 6), dtype="i4")
    code, text, _ = run(capsys, "info", tmp_path / "a")
    assert code == 0 and "  arrays           g/x\n" in text
    code, text, _ = run(capsys, "ls", tmp_path / "a")
    assert code == 0 and text.splitlines() == [
        "/", "/g", f"{'/g/x':24} int32 (4, 6), chunks (2, 6), 96 B"
    ]  # fmt: skip
    code, text, _ = run(capsys, "ls", f"{tmp_path / 'a'}:g", "--json")
    assert code == 0
    assert json.loads(text) == [
        {"path": "/", "kind": "group"},
        {"path": "/x", "kind": "array", "shape": [4, 6], "dtype": "int32", "chunks": [2, 6],
         "bytes": 96},
    ]  # fmt: skip


GOLDEN = TESTS / "golden"


@pytest.mark.parametrize(
    ("place", "format", "codec", "blocks"),
    [
        (f"{GOLDEN}/hdf5/hdf5plugin-7.1.0.h5:grid", "HDF5", "blosc2", [4, 15, 5]),
        (f"{GOLDEN}/hdf5/h5netcdf-1.8.2.nc:grid", "HDF5", "blosc2", [4, 15, 5]),
        (f"{GOLDEN}/hdf5/pytables-3.8.0.h5:table", "HDF5", "blosc2", [20000]),
        (f"{GOLDEN}/imagecodecs/zstd.zarr", "Zarr", "caterva(", None),
        (f"{GOLDEN}/python_blosc2/codec-zstd.b2frame", "frame", "zstd", None),
        (f"{GOLDEN}/python_caterva/codec-lz4.b2frame", "frame", "lz4", None),
        (f"{GOLDEN}/python_blosc2/sparse", "frame", "", None),
    ],
)
def test_info_and_ls_of_what_others_wrote(place, format, codec, blocks, capsys):
    code, text, errors = run(capsys, "info", place, "--json")
    told = json.loads(text)
    assert (code, errors, told["format"]) == (0, "", format)
    assert codec in told["codecs"][0] and len(told["chunks"]) == len(told["shape"])
    assert blocks in (None, told["blocks"]) and len(told["blocks"]) == len(told["shape"])
    assert told["ratio"] > 0 and told["checksums"] is False
    item, *others = told["slices"]
    assert (item["slice"], item["chunks"]) == ("one item", 1)
    assert all(each["decoded"] >= each["bytes"] > 0 for each in (item, *others))
    assert run(capsys, "info", place)[0] == 0
    code, text, errors = run(capsys, "ls", place, "--json")
    [row] = json.loads(text)
    assert (code, errors, row["path"], row["shape"]) == (0, "", "/", told["shape"])


def test_errors_are_one_line(tmp_path, capsys):
    (tmp_path / "text").write_text("text")
    for name in ("text", "none"):
        for command in ("info", "ls"):
            code, text, errors = run(capsys, command, tmp_path / name)
            assert (code, text) == (2, "")
            assert errors.startswith("caterva: ") and errors.count("\n") == 1
