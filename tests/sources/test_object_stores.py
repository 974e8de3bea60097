"""Stores of many objects: missing ones, failing ones, and ones that are replaced meanwhile."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import servers
from zarr_directories import Counting, objects, write

import caterva_cffi as cat
from caterva_cffi.sources.object_stores import object_store
from caterva_cffi.steps import WHOLE, MissingError

DATA = np.random.default_rng(0).integers(0, 99, (64, 64), "<i4")


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """The objects of an array in four chunks, and of one with other items and other blocks."""
    path = tmp_path_factory.mktemp("zarr")
    write(path / "a", DATA, (32, 32), block_shape=(2, 2), fill_value=5)
    write(path / "b", DATA * 1000, (32, 32), block_shape=(3, 3), fill_value=5)
    return objects(path / "a"), objects(path / "b")


def test_requests_of_one_round(misbehaving):
    server = misbehaving({"a b": b"0123456789", "c": b"", "zarr.json": b"{}"})
    for where in (server.url, f"{server.url}/", f"{server.url}?x=1"):
        read = object_store(where).begin(1)
        found = read(
            [("a b", (2, 5)), ("a b", (8, 99)), ("c", (0, 4)), ("d", (0, 4)), ("a b", WHOLE)]
        )
        assert [bytes(data) for data in (*found[:3], found[4])] == [
            b"234",
            b"89",
            b"",
            b"0123456789",
        ]
        assert isinstance(found[3], MissingError)


def test_requests_at_a_time(misbehaving):
    lock, active, most = threading.Lock(), 0, 0

    def slow(asked):
        nonlocal active, most
        with lock:
            active += 1
            most = max(most, active)
        time.sleep(0.02)
        with lock:
            active -= 1
        return servers.honest(asked)

    server = misbehaving({"a": b"0123456789"}, slow)
    found = object_store(server.url).begin(2)([("a", (k, k + 1)) for k in range(10)])
    assert b"".join(found) == b"0123456789" and most == 2


@pytest.mark.parametrize("worse", [servers.fails(503), servers.breaks_off, servers.hangs_up])
def test_requests_are_repeated(misbehaving, stored, worse):
    server = misbehaving(stored[0], servers.from_number(1, worse, 3))
    np.testing.assert_array_equal(cat.open(f"{server.url}/", path="")[:, 30:34], DATA[:, 30:34])


def test_failures_name_the_object(misbehaving, monkeypatch, stored):
    monkeypatch.setattr("caterva_cffi.sources.http.WAITS", ())
    server = misbehaving(stored[0], servers.from_number(1, servers.fails(500)))
    a = cat.open(server.url, path="")
    with pytest.raises(cat.StorageError, match="c/"):
        a[:, 30:34]


def test_whoever_may_not_read(misbehaving, stored):
    server = misbehaving(stored[0], servers.fails(403))
    with pytest.raises(PermissionError, match="403"):
        cat.open(server.url, path="")[0]


def test_a_server_that_forbids_what_is_not_there(misbehaving, stored):
    server = misbehaving({"a/zarr.json": stored[0]["zarr.json"], "a/c/0/0": stored[0]["c/0/0"]})
    answer = server.answer

    def forbidding(*asked):
        found = answer(*asked)
        return replace(found, status=403) if found.status == 404 else found

    server.answer = forbidding
    assert cat.open(f"{server.url}/a", path="")[3, 3] == DATA[3, 3]
    with pytest.raises(PermissionError):
        cat.open(f"{server.url}/b", path="")


def test_a_server_that_ignores_ranges(misbehaving, stored):
    server = misbehaving(stored[0], servers.ignores_ranges)
    a = cat.open(server.url, path="")
    np.testing.assert_array_equal(a[:, 30:34], DATA[:, 30:34])
    assert len(server.requests()) < 12


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("then", ["replaced", "removed"])
def test_objects_that_are_replaced_between_two_rounds(misbehaving, stored, known, then):
    """Each chunk is of one version."""
    old, new = stored
    server = misbehaving(old)
    a = cat.open(server.url, path="")
    if known:
        assert a[31, 31] == DATA[31, 31]

    def changes(asked):
        if asked.number == 0:
            answer = servers.honest(asked)
            for key in (key for key in old if key != "zarr.json"):
                server.objects[key] = new[key]
            if then == "removed":
                del server.objects["c/0/0"]
            return answer
        return servers.honest(asked)

    server.restart(changes)
    found = a[30:34, 31]
    for part, mine in ((found[:2], DATA[30:32, 31]), (found[2:], DATA[32:34, 31])):
        versions = [mine, mine * 1000, np.full(2, 5)]
        assert any((part == version).all() for version in versions)
    np.testing.assert_array_equal(a[40:, 31], DATA[40:, 31] * 1000)


def test_secrets_are_not_shown(misbehaving, stored):
    server = misbehaving(stored[0], servers.fails(401))
    address = server.url.replace("http://", "http://user:word@")
    a = cat.open(f"{address}?signature=sig", path="")
    with pytest.raises(PermissionError) as error:
        a[0]
    for text in (repr(a), a.urlpath, str(a.info), str(error.value)):
        assert not {"user", "word", "sig"} & set(text.replace("=", " ").replace("@", " ").split())
    with pytest.raises(cat.UnsupportedError, match="cannot be pickled"):
        a.__reduce__()


def test_answers_of_a_users_store(stored):
    store = Counting(stored[0])
    a = cat.open(store)
    store.read_objects = lambda requests: []
    with pytest.raises(cat.StorageError, match="0 answers to 2 requests"):
        a[0]


def test_wrong_arguments(stored):
    store = Counting(stored[0])
    with pytest.raises(cat.ArgumentError, match="beside a store"):
        cat.open(store, storage_options={"a": 1})
    with pytest.raises(cat.ArgumentError, match="nonsense"):
        cat.open("nonsense://a", path="b")
    with pytest.raises(cat.ArgumentError, match="path is"):
        cat.open(store, path="../b")
