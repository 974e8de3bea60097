"""Chunks of files that are read while they change."""

from __future__ import annotations

import os

import numpy as np
import pytest
from stored_arrays import each_kind

import caterva_cffi as cat
from caterva_cffi.binding.kernel import Kernel
from caterva_cffi.engine import readers

pytestmark = pytest.mark.usefixtures("in_empty_folder")


@each_kind
@pytest.mark.parametrize("what", ["complete", "going on"])
def test_change_during_a_read_is_an_error(tmp_path, monkeypatch, contiguous, what):
    path = tmp_path / "a"
    items = np.random.default_rng(0).integers(1 << 62, size=2000)  # more than is read at first
    cat.asarray(items, chunks=(1000,), blocks=(100,), urlpath=path, contiguous=contiguous)
    reader, writer = cat.open(path, mode="r"), cat.open(path)
    assert reader[1999] == items[1999]
    decode = Kernel.decode

    def change(*arguments, **options):
        monkeypatch.setattr(Kernel, "decode", decode)
        decode(*arguments, **options)
        if what == "complete":
            writer[...] = 7
        else:
            (path / "changing" if path.is_dir() else tmp_path / "a.changing").touch()
            os.utime(path / "chunks.b2frame" if path.is_dir() else path)

    monkeypatch.setattr(Kernel, "decode", change)
    with pytest.raises(cat.StorageError, match="chang"):
        reader[...]
    if what == "complete":
        assert (reader[...] == 7).all()


def test_a_file_that_cannot_be_read_is_an_error_of_ours(tmp_path, monkeypatch):
    array = cat.asarray(np.arange(100), urlpath=tmp_path / "a", contiguous=True)
    assert array[5] == 5
    monkeypatch.setattr(readers, "READ_FLAGS", os.O_WRONLY)
    with pytest.raises(cat.StorageError, match=r"a' cannot be read: Bad file descriptor"):
        array[...]


@pytest.mark.parametrize("what", ["nothing", "a folder", "a pipe"])
def test_a_chunk_that_is_no_file_is_an_error_of_ours(tmp_path, what):
    array = cat.asarray(np.arange(100), urlpath=tmp_path / "a")
    path = tmp_path / "a/00000000.chunk"
    path.unlink()
    if what == "a folder":
        path.mkdir()
    elif what == "a pipe":
        os.mkfifo(path)
    with pytest.raises(cat.StorageError, match=r"00000000.chunk' cannot be read"):
        array[...]
