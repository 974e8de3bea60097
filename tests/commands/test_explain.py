"""`explain` prints what a read costs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from checkout import TESTS

import caterva_cffi as cat
from caterva_cffi.__main__ import main
from caterva_cffi.commands.explain import parse_selection

ITEMS = np.arange(40 * 50).reshape(40, 50)


@pytest.mark.parametrize(
    ("text", "selection"),
    [
        ("5", np.s_[5,]),
        ("5,:,-3", np.s_[5, :, -3]),
        ("[1:, :2, ::3]", np.s_[1:, :2, ::3]),
        ("...,-1:-5:-2", np.s_[..., -1:-5:-2]),
    ],
)
def test_selections(text, selection):
    assert parse_selection(text) == selection


@pytest.mark.parametrize("text", ["", "a", "1,,2", "1:2:3:4", "1.5"])
def test_what_is_no_selection(text):
    with pytest.raises(cat.ArgumentError, match="is no selection"):
        parse_selection(text)


def test_the_command(tmp_path, capsys):
    path = str(tmp_path / "a.b2nd")
    array = cat.asarray(ITEMS, chunks=(20, 20), blocks=(5, 5), urlpath=path)
    assert main(["explain", path, "5,:"]) == 0
    assert capsys.readouterr().out == f"{array.explain(np.s_[5])}\n"
    assert main(["explain", "--json", path, "5,:"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["nblocks"], told["nitems"], told["shape"]) == (10, 50, [40, 50])
    assert main(["explain", path, "99"]) == 2
    assert "out of bounds" in capsys.readouterr().err


def test_datasets_of_hdf5(capsys):
    path = f"{TESTS}/golden/hdf5/hdf5plugin-7.1.0.h5"
    for place in (path, f"file://{path}"):
        assert main(["explain", f"{place}:grid", "5,:,3", "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["nitems"], told["nchunks"], told["shape"]) == (15, 1, [10, 15, 12])
    assert main(["explain", f"{path}:none", "5"]) == 2
    assert "there is no dataset 'none'" in capsys.readouterr().err
