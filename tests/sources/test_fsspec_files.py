"""Objects in file systems of fsspec, which change, and processes that fork."""

from __future__ import annotations

import os
import pickle

import fsspec
import numpy as np
import pytest
from remote_arrays import FRAME, ITEMS, OTHER

import caterva_cffi as cat


def test_a_local_file_that_changes_is_noticed(tmp_path):
    path = tmp_path / "a.b2frame"
    path.write_bytes(FRAME)
    array = cat.open(path.as_uri())
    os.utime(path, ns=(0, 0))
    with pytest.raises(cat.StorageError, match="has changed"):
        array[0]


@pytest.fixture(params=["http", "s3"])
def served(request):
    """Return where FRAME is, what to open it with, the server, how to replace and remove it."""
    if request.param == "http":
        nginx, directory = map(request.getfixturevalue, ("nginx", "web_directory"))
        path = directory / "a.b2frame"
        where = f"{nginx.url}/{directory.name}/a.b2frame"

        def replace(frame):
            path.write_bytes(frame)
            os.utime(path, (replace.time, replace.time))
            replace.time += 1

        replace.time = 1e9
        options, server = {}, nginx
        remove = path.unlink
    else:
        server, bucket = map(request.getfixturevalue, ("s3", "bucket"))
        where, options = f"s3://{bucket}/a.b2frame", server.storage_options()
        fs = fsspec.filesystem("s3", **options)

        def replace(frame):
            fs.pipe_file(f"{bucket}/a.b2frame", frame)

        def remove():
            fs.rm(f"{bucket}/a.b2frame")

    replace(FRAME)
    return where, options, server, replace, remove


def test_servers(served):
    where, options, server, replace, remove = served
    with server.counted() as requests:
        array = cat.open(where, storage_options=options)
    assert [r.status for r in requests] == [206, 206]
    assert sum(r.sent for r in requests) < 20_000
    with server.counted() as requests:
        assert array[63, 5, 5] == ITEMS[63, 5, 5]
    assert all(r.status == 206 for r in requests) and len(requests) <= 2
    np.testing.assert_array_equal(array[...], ITEMS)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(array))[::9], ITEMS[::9])
    replace(OTHER)
    for key in (np.s_[40], np.s_[...]):
        with pytest.raises(cat.StorageError, match="has changed since it was opened"):
            array[key]
    np.testing.assert_array_equal(cat.open(where, "r", options)[...], ITEMS[::-1])
    remove()
    with pytest.raises(cat.StorageError, match="gone"):
        array[40]
    with pytest.raises(FileNotFoundError):
        cat.open(where, storage_options=options)
    replace(b"")
    with pytest.raises(cat.FormatError):
        cat.open(where, storage_options=options)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_connects_anew(served):
    where, options, *_ = served
    array = cat.open(where, storage_options=options)
    array[0]
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, b"1" if np.array_equal(array[:, 40], ITEMS[:, 40]) else b"0")
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as answer:
        assert answer.read() == b"1"
    os.waitpid(child, 0)
    np.testing.assert_array_equal(array[:, 41], ITEMS[:, 41])
