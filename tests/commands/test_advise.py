"""`advise` prints chunks and blocks."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest

import caterva_cffi as cat
from caterva_cffi.__main__ import main


def test_the_command(capsys):
    assert main(["advise", "100,200", "f4", "lines along 0@10", "3,:50"]) == 0
    accesses = [cat.Access("lines along 0", 10), np.s_[3, :50]]
    assert capsys.readouterr().out == f"{cat.advise((100, 200), 'f4', accesses)}\n"
    options = ["--json", "--chunks", "50,100", "--store", "remote"]
    assert main(["advise", "100,200", "f4", "items", *options]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["chunks"] == [50, 100] and found["accesses"] == ["items"]


@pytest.mark.parametrize("access", ["items@often", "rows", "a@1"])
def test_wrong_accesses(access, capsys):
    assert main(["advise", "100,200", "f4", access]) == 2
    assert access.partition("@")[0] in capsys.readouterr().err


def test_a_sample(tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((100, 90), "f4"))
    sample = ["--sample", str(tmp_path / "a.npy"), "--json"]
    command = ["advise", "1000,90", "f4", "items", *sample]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["configuration"]["cname"] in ("lz4", "zstd") and "compression" not in found
    slow = ["--store", "remote"]  # latency outweighs decoding: the smallest is the best
    assert main([*command, *slow, "--max-relative-error", "0.01"]) == 0
    errors = [each["error"] for each in json.loads(capsys.readouterr().out)["table"]]
    assert 0 < errors[0] < 0.01
    assert main(["advise", "10,10,10", "f4", "items", *sample]) == 2
    assert "expected 3 dimensions" in capsys.readouterr().err
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["one"] = file["two"] = np.ones((3, 3))
    assert main(["advise", "9,9", "f4", "items", "--sample", str(tmp_path / "b.h5")]) == 2
    assert "b.h5:one" in capsys.readouterr().err
