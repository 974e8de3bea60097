"""The servers of other tests: ranges, what they count, what they do wrong, and that they end."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
import servers
from checkout import TESTS
from servers import Request

CONTENT = bytes(range(256)) * 40


def get(url, path, span=None, method="GET"):
    """Return status, body and header fields of one request."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        connection.request(method, path, headers={"Range": f"bytes={span}"} if span else {})
        answer = connection.getresponse()
        return answer.status, answer.read(), {k.lower(): v for k, v in answer.getheaders()}
    finally:
        connection.close()


@pytest.fixture
def published(nginx, web_directory):
    (web_directory / "a.bin").write_bytes(CONTENT)
    return f"/{web_directory.name}/a.bin"


# --- nginx, moto and what stands before them ------------------------------------------------------
def test_nginx_serves_ranges_and_counts_them(nginx, published):
    with nginx.counted() as requests:
        assert get(nginx.url, published)[:2] == (200, CONTENT)
        assert get(nginx.url, published, "10-19")[:2] == (206, CONTENT[10:20])
        assert get(nginx.url, published, "-5")[:2] == (206, CONTENT[-5:])
        assert get(nginx.url, "/no")[0] == 404
    assert [r.status for r in requests] == [200, 206, 206, 404]
    assert requests[1] == Request("GET", published, "bytes=10-19", 206, 10)
    assert requests[0].range == "-" and requests[0].sent == len(CONTENT)
    with nginx.counted() as requests:
        pass
    assert requests == []


def test_delay_and_connections_that_stay(nginx, published, delayed):
    far = delayed(nginx.url, 0.02)
    connection = http.client.HTTPConnection(urlsplit(far.url).netloc, timeout=10)
    start = time.perf_counter()
    with far.counted() as requests, nginx.counted() as behind:
        ends = []
        for first in range(5):
            connection.request("GET", published, headers={"Range": f"bytes={first}-99"})
            answer = connection.getresponse()
            assert answer.status == 206 and answer.read() == CONTENT[first:100]
            ends.append(connection.sock.getsockname())
    connection.close()
    assert time.perf_counter() - start >= 5 * 0.02
    assert len(set(ends)) == 1  # one connection
    assert requests == behind and [r.sent for r in requests] == [100, 99, 98, 97, 96]


def test_requests_wait_beside_each_other(nginx, published, delayed):
    far = delayed(nginx.url, 0.2)
    start = time.perf_counter()
    with ThreadPoolExecutor(8) as pool, far.counted() as requests:
        bodies = list(pool.map(lambda _: get(far.url, published)[1], range(8)))
    assert bodies == [CONTENT] * 8 and len(requests) == 8
    assert time.perf_counter() - start < 8 * 0.2


def test_bytes_take_time_on_a_narrow_link(nginx, published):
    start = time.perf_counter()
    with servers.delayed(nginx.url, 0, bandwidth=50_000) as narrow:
        assert get(narrow.url, published)[1] == CONTENT
    assert time.perf_counter() - start >= len(CONTENT) / 50_000


def test_s3_keeps_objects(s3, bucket):
    s3fs = pytest.importorskip("s3fs")
    with s3.counted() as requests:
        files = s3fs.S3FileSystem(**s3.storage_options(), skip_instance_cache=True)
        files.pipe_file(f"{bucket}/a", CONTENT)
        assert files.cat_file(f"{bucket}/a") == CONTENT
        assert files.cat_file(f"{bucket}/a", start=3, end=9) == CONTENT[3:9]
    gets = [r for r in requests if r.method == "GET"]
    assert [(r.status, r.range, r.sent) for r in gets] == [
        (200, "-", len(CONTENT)),
        (206, "bytes=3-8", 6),
    ]
    assert {r.path.split("?")[0] for r in requests} == {f"/{bucket}/a"}


@pytest.mark.parametrize("end", ["block", "kill"])
def test_servers_end(end, tmp_path):
    """All processes and files are gone after the block, and after a process that was killed."""
    code = (
        "import pathlib, servers, sys\n"
        f"with servers.nginx(pathlib.Path({str(tmp_path)!r})) as web:\n"
        "  with servers.delayed(web.url, 0) as far:\n"
        "    print(web.url, far.url, flush=True); sys.stdin.read()"
    )
    try:
        servers.find_nginx()
    except servers.NotInstalled as missing:
        pytest.skip(str(missing))
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(TESTS / "support")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        urls = process.stdout.readline().split()
        assert [get(url, "/")[0] for url in urls] == [403, 403]  # no listing
        if end == "kill":
            process.send_signal(signal.SIGKILL)
        process.stdin.close()
        assert process.wait(30) == (-signal.SIGKILL if end == "kill" else 0)
    deadline = time.monotonic() + 30
    while any(map(answers, urls)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def answers(url):
    try:
        get(url, "/")
    except OSError:
        return False
    return True


def test_what_does_not_start_says_why(monkeypatch, tmp_path):
    monkeypatch.setenv(servers.NGINX_VARIABLE, "false")
    with pytest.raises(OSError, match="nginx did not start"), servers.nginx(tmp_path):
        pass
    monkeypatch.setattr(servers, "START_SECONDS", 0)
    with pytest.raises(TimeoutError, match="nginx has not started within 0 s"):
        servers.nginx(tmp_path).__enter__()


def test_what_is_not_installed_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv(servers.NGINX_VARIABLE, raising=False)
    monkeypatch.setattr(servers.shutil, "which", lambda *_, **__: None)
    with pytest.raises(servers.NotInstalled, match=r"no nginx: not in \$CATERVA_CFFI_NGINX"):
        servers.nginx(tmp_path).__enter__()
    monkeypatch.setattr(servers, "find_spec", lambda name: None if name == "flask" else name)
    with pytest.raises(servers.NotInstalled, match="no flask: "):
        servers.moto().__enter__()


# --- misbehaving ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("behaviour", "status", "body"),
    [
        (servers.honest, 206, CONTENT[100:200]),
        (servers.ignores_ranges, 200, CONTENT),
        (servers.sends_less, 206, CONTENT[100:150]),
        (servers.sends_other_bytes, 206, CONTENT[99:199]),
        (servers.fails(503), 503, b"no"),
        (servers.serves(CONTENT[::-1]), 206, CONTENT[::-1][100:200]),
        (servers.serves(b"short"), 416, b""),
        (servers.breaks_off, None, None),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,
)
def test_misbehaviour(behaviour, status, body, misbehaving):
    server = misbehaving({"c/0": CONTENT, "zarr.json": b"{}"}, behaviour)
    if status is None:
        with pytest.raises(http.client.IncompleteRead):
            get(server.url, "/c/0", "100-199")
    else:
        assert get(server.url, "/c/0", "100-199")[:2] == (status, body)
    assert get(server.url, "/zarr.json")[:2] == (200, b"{}")
    assert get(server.url, "/c/1")[0] == 404
    assert get(server.url, "/c/0", method="HEAD")[2]["content-length"] == str(len(CONTENT))
    assert [r.method for r in server.requests()] == ["GET"] * 3 + ["HEAD"]


def test_misbehaviour_from_a_request_on(misbehaving):
    server = misbehaving({"c": CONTENT}, servers.from_number(2, servers.fails()))
    assert [get(server.url, "/c")[0] for _ in range(4)] == [200, 200, 500, 500]
    server.restart(servers.from_number(1, servers.serves(CONTENT * 2)))
    tags = [get(server.url, "/c", "0-9")[2] for _ in range(2)]
    assert tags[0]["etag"] != tags[1]["etag"]
    assert [tag["content-range"].split("/")[1] for tag in tags] == ["10240", "20480"]
