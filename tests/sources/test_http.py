"""HTTP servers that misbehave, fail, redirect, or say little."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import servers
from remote_arrays import FRAME, ITEMS, OTHER
from servers import from_number, honest

import caterva_cffi as cat
from caterva_cffi.sources import http, versioned


def redirects(where):
    return lambda asked: servers.Answer(302, b"", {"Location": where})


def lasting(answer):
    return lambda asked: answer


@pytest.mark.parametrize(
    "behaviour",
    [
        servers.fails(500),
        servers.fails(404),
        servers.fails(403),
        servers.fails(1000),
        servers.hangs_up,
        redirects("/a?again=hushhush"),
        redirects("http://x:hushhush@127.0.0.1:1/a?b#hushhush"),
        redirects("http://[hushhush"),
        redirects("gopher://hushhush"),
        lasting(servers.Answer(206, b"1", {"Content-Range": "/a?hushhush"})),
        lasting(servers.Answer(206, b"1", {"Content-Encoding": "hushhush"})),
        from_number(1, servers.serves(OTHER)),
    ],
)
def test_secrets_are_in_no_error(misbehaving, impatient, behaviour, caplog):
    caplog.set_level("DEBUG")
    server = misbehaving({"a": FRAME}, behaviour)
    host = server.url.removeprefix("http://")
    with pytest.raises((cat.StorageError, OSError)) as caught:
        cat.open(f"http://hushhush:hushhush@{host}/a?b=hushhush#hushhush")[40:]
    error = caught.value
    assert error.__cause__ is error.__context__ is None
    shown = [str(error), repr(error), repr(vars(error)), pickle.dumps(error).decode("latin1")]
    assert "hushhush" not in "".join((*shown, caplog.text))
    assert "/a?..." in str(error)


@pytest.mark.parametrize("back", [False, True], ids=["another host", "the first host"])
def test_headers_are_for_the_first_host(misbehaving, back):
    def answer(asked):
        return redirects(f"{(first if back else second).url}/b")(asked)

    first, second = misbehaving({"a": FRAME, "b": FRAME}), misbehaving({"b": FRAME})
    first.restart(lambda asked: honest(asked) if asked.number % 2 and back else answer(asked))
    array = cat.open(
        first.url.replace("://", "://me:hushhush@") + "/a",
        storage_options={
            "headers": {"X-Token": "hushhush", "Cookie": "c=hushhush"},
            "client_kwargs": {"headers": {"X-More": "hushhush"}, "cookies": {"d": "hushhush"}},
        },
    )
    np.testing.assert_array_equal(array[40:], ITEMS[40:])
    mine = {"X-Token", "X-More", "Authorization", "Cookie"}
    assert all(mine <= headers.keys() for headers in first.headers)
    assert bool(second.headers) != back
    assert "hushhush" not in repr(second.headers)


def without_tags(asked):
    answer = honest(asked)
    return servers.replace(answer, headers={k: v for k, v in answer.headers.items() if k != "ETag"})


def encodes(asked):
    answer = honest(asked)
    return servers.replace(answer, headers={**answer.headers, "Content-Encoding": "x-odd"})


def says_nothing_of_the_size(asked):
    answer = honest(asked)
    span = answer.headers.get("Content-Range", "").partition("/")[0] + "/*"
    return servers.replace(answer, headers={**answer.headers, "Content-Range": span})


@pytest.fixture
def impatient(monkeypatch):
    """Repeat requests without waiting."""
    monkeypatch.setattr(http, "WAITS", (0,) * len(http.WAITS))


MISBEHAVIOUR = {
    # What it does, and what comes of it: from the first request on, and from a later one on.
    "sends less": (servers.sends_less, cat.StorageError, cat.StorageError),
    "sends other bytes": (servers.sends_other_bytes, cat.StorageError, cat.StorageError),
    "breaks off": (servers.breaks_off, cat.StorageError, cat.StorageError),
    "fails": (servers.fails(500), cat.StorageError, cat.StorageError),
    "refuses": (servers.fails(403), PermissionError, PermissionError),
    "another version": (servers.serves(OTHER), ITEMS[::-1], cat.StorageError),
    "shorter": (servers.serves(FRAME[:-1]), cat.FormatError, cat.StorageError),
    "empty": (servers.serves(b""), cat.FormatError, cat.StorageError),
    "encodes": (encodes, cat.StorageError, cat.StorageError),
    "ignores ranges": (servers.ignores_ranges, ITEMS, cat.StorageError),
}


@pytest.mark.parametrize("first", [0, 1, 2], ids=["beginning", "offsets", "chunks"])
@pytest.mark.parametrize(
    ("behaviour", "at_first", "later"), MISBEHAVIOUR.values(), ids=list(MISBEHAVIOUR)
)
def test_misbehaving_servers(misbehaving, impatient, behaviour, at_first, later, first):
    server = misbehaving({"a": FRAME}, from_number(first, behaviour))
    expected = later if first else at_first
    if isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(cat.open(f"{server.url}/a")[40:], expected[40:])
    else:
        with pytest.raises(expected):
            cat.open(f"{server.url}/a")[40:]
    server.restart(honest)
    np.testing.assert_array_equal(cat.open(f"{server.url}/a")[40:], ITEMS[40:])


@pytest.mark.parametrize("first", [0, 2])
@pytest.mark.parametrize("behaviour", [servers.fails(503), servers.breaks_off, servers.hangs_up])
def test_requests_that_fail_are_repeated(misbehaving, impatient, behaviour, first):
    repeated = len(http.WAITS)
    server = misbehaving({"a": FRAME}, from_number(first, behaviour, repeated))
    np.testing.assert_array_equal(cat.open(f"{server.url}/a")[40:], ITEMS[40:])
    assert len(server.requests()) == 3 + repeated
    server.restart(from_number(first, behaviour))
    with pytest.raises(cat.StorageError, match="cannot be read"):
        cat.open(f"{server.url}/a")[40:]


@pytest.mark.parametrize("behaviour", [servers.fails(403), servers.fails(501), servers.sends_less])
def test_what_will_not_pass_is_not_asked_again(misbehaving, behaviour):
    server = misbehaving({"a": FRAME}, from_number(2, behaviour))
    with pytest.raises((cat.StorageError, PermissionError)):
        cat.open(f"{server.url}/a")[40:]
    assert len(server.requests()) == 3


def test_a_short_object_is_read_whole_where_ranges_are_ignored(misbehaving, monkeypatch):
    server = misbehaving({"a": FRAME}, servers.ignores_ranges)
    array = cat.open(f"{server.url}/a")
    np.testing.assert_array_equal(array[...], ITEMS)
    assert array[1, 2, 3] == ITEMS[1, 2, 3]
    assert len(server.requests()) == 1
    monkeypatch.setattr(versioned, "MOST_WHOLE", len(FRAME) - 1)
    with pytest.raises(cat.StorageError, match="ignores ranges"):
        cat.open(f"{server.url}/a")


@pytest.mark.parametrize("behaviour", [without_tags, says_nothing_of_the_size])
def test_servers_that_say_little(misbehaving, behaviour):
    server = misbehaving({"a": FRAME}, behaviour)
    array = cat.open(f"{server.url}/a")
    np.testing.assert_array_equal(array[...], ITEMS)
    server.objects["a"] = OTHER[:-1]
    with pytest.raises((cat.StorageError, cat.FormatError)):
        array[40]
