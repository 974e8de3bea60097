"""`advise` prints chunks and blocks."""

from __future__ import annotations

import json

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
