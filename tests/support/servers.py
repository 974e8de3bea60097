"""HTTP and S3 servers on free ports of this machine, which tell what was asked of them.

    with nginx(directory) as web, delayed(web.url, 0.02) as far:
        with far.counted() as requests:
            ...  # read far.url
        assert sum(request.sent for request in requests) < 10_000

`nginx` serves a directory, `moto` is an S3 endpoint, `delayed` stands before one of them and adds
latency. Each is a process of its own, so that it takes no part in what is measured, and ends with
the `with` block, or with this process, however that ends. `misbehaving` serves bytes from a thread,
and does to its answers what the network may do.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import http.server
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TextIO
from urllib.parse import unquote, urlsplit

HOST = "127.0.0.1"
START_SECONDS = 60.0
"""A server that says nothing for so long has failed to start."""
SILENT_SECONDS = 60.0
"""A connection is given up after so long without a byte."""
NGINX_VARIABLE = "CATERVA_CFFI_NGINX"
ROOT = Path(__file__).resolve().parents[2]


class NotInstalled(Exception):
    """The server is not on this machine."""


@dataclass(frozen=True)
class Request:
    """A request and how it was answered.

    Attributes
    ----------
    method, path : str
    range : str
        The header `Range`, or "-".
    status : int
    sent : int
        Bytes of the answer without its head.
    """

    method: str
    path: str
    range: str
    status: int
    sent: int


class Server:
    """A running server.

    Attributes
    ----------
    url : str
        Where it listens, without a slash at the end.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def requests(self) -> list[Request]:
        """Return all requests that have been answered so far."""
        raise NotImplementedError

    @contextlib.contextmanager
    def counted(self) -> Iterator[list[Request]]:
        """Give a list that holds, after the block, the requests of the block."""
        before, found = len(self.requests()), []
        yield found
        found += self.requests()[before:]


class _Logged(Server):
    """A server in another process, which writes a line for each request."""

    def __init__(self, url: str, log: Path) -> None:
        super().__init__(url)
        self.log = log

    def requests(self) -> list[Request]:
        lines = (line.split("\t") for line in self.log.read_text("utf-8").splitlines())
        return [Request(m, path, r, int(status), int(sent)) for m, path, r, status, sent in lines]


class Nginx(_Logged):
    """nginx; `directory` is what it serves."""

    MARK = "/requests-before-this-are-logged"

    def __init__(self, url: str, log: Path, directory: Path) -> None:
        super().__init__(url, log)
        self.directory = directory

    def requests(self) -> list[Request]:
        # One loop serves all connections and logs an answer when it is through with it: what was
        # answered before this request came is in the log when this one is answered.
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=SILENT_SECONDS)
        with contextlib.closing(connection):
            connection.request("HEAD", self.MARK)
            connection.getresponse().read()
        return [request for request in super().requests() if request.path != self.MARK]


class S3(_Logged):
    """An S3 endpoint that takes any key."""

    KEY = "testing"
    REGION = "us-east-1"

    def storage_options(self, url: str | None = None) -> dict[str, object]:
        """Return what fsspec needs for `s3://...` here, or through a proxy at `url`."""
        client = {"endpoint_url": url or self.url, "region_name": self.REGION}
        return {"key": self.KEY, "secret": self.KEY, "client_kwargs": client}

    def obstore_options(self, url: str | None = None) -> dict[str, object]:
        """Return the arguments that `obstore.store.S3Store` needs besides the bucket."""
        return {
            "endpoint": url or self.url,
            "region": self.REGION,
            "access_key_id": self.KEY,
            "secret_access_key": self.KEY,
            "virtual_hosted_style_request": False,
            "client_options": {"allow_http": True},
        }

    def create_bucket(self, name: str) -> None:
        """Create a bucket, which its requests call `/name/...`."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=SILENT_SECONDS)
        with contextlib.closing(connection):
            # The endpoint looks at a signature's form alone.
            scope = f"{self.KEY}/20200101/{self.REGION}/s3/aws4_request"
            credential = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"
            connection.request("PUT", f"/{name}", headers={"Authorization": credential})
            answer = connection.getresponse()
            text = answer.read()
        if answer.status != 200:
            raise OSError(f"the S3 server answered {answer.status} to a new bucket: {text!r}")


# --- starting and stopping ------------------------------------------------------------------------
def find_nginx() -> str:
    """Return where nginx is.

    Raises
    ------
    NotInstalled
    """
    unpacked = ROOT / "build" / "nginx" / "usr" / "sbin"
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", str(unpacked)])
    found = os.environ.get(NGINX_VARIABLE) or shutil.which("nginx", path=path)
    if not found:
        raise NotInstalled(
            f"no nginx: not in ${NGINX_VARIABLE}, on PATH or in {unpacked} (run.py puts it there)"
        )
    return found


@contextlib.contextmanager
def nginx(directory: Path) -> Iterator[Nginx]:
    """Serve the files of a directory.

    Raises
    ------
    NotInstalled
    TimeoutError, OSError
        It did not start.
    """
    program = find_nginx()
    with _child("nginx", program, directory) as (url, log):
        yield Nginx(url, log, directory)


@contextlib.contextmanager
def moto() -> Iterator[S3]:
    """Run an S3 endpoint, behind a proxy that counts its requests.

    Raises
    ------
    NotInstalled
    TimeoutError, OSError
        It did not start.
    """
    missing = [name for name in ("moto", "flask", "flask_cors") if not find_spec(name)]
    if missing:
        raise NotInstalled(f"no {', '.join(missing)}: `pip install 'moto[server]'` is needed")
    with _child("moto") as (behind, _), _child("proxy", behind, 0, 0) as (url, log):
        yield S3(url, log)


@contextlib.contextmanager
def delayed(url: str, seconds: float, bandwidth: float = 0) -> Iterator[Server]:
    """Stand before the server at `url`: each request waits so long, many wait at the same time.

    Parameters
    ----------
    url : str
    seconds : float
    bandwidth : float
        Bytes of all answers in a second; 0 for as many as this machine can.

    Raises
    ------
    TimeoutError, OSError
        It did not start.
    """
    with _child("proxy", url, seconds, bandwidth) as (own, log):
        yield _Logged(own, log)


@contextlib.contextmanager
def _child(role: str, *arguments: object) -> Iterator[tuple[str, Path]]:
    """Run one of `ROLES` in a process that ends with the block, or with this process."""
    with tempfile.TemporaryDirectory(prefix="servers-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        log, errors = directory / "requests.log", directory / "errors.txt"
        log.touch()
        with errors.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, __file__, role, directory, *map(str, arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,
                text=True,
            )
        try:
            ready, _, _ = select.select([process.stdout], [], [], START_SECONDS)
            if not ready:
                raise TimeoutError(f"{role} has not started within {START_SECONDS:g} s")
            port = process.stdout.readline().strip()
            if not port:
                raise OSError(f"{role} did not start: {errors.read_text('utf-8', 'replace')}")
            yield f"http://{HOST}:{port}", log
        finally:
            process.stdin.close()  # tells it to end
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            process.stdout.close()


# --- what the processes do ------------------------------------------------------------------------
NGINX = """
daemon off; worker_processes 1; {user}
pid {directory}/nginx.pid; error_log {directory}/nginx.txt;
events {{ worker_connections 512; }}
http {{
  log_format requests '$request_method\\t$uri\\t$range\\t$status\\t$body_bytes_sent';
  map $http_range $range {{ "" "-"; default $http_range; }}
  access_log {directory}/requests.log requests;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  sendfile on; tcp_nopush on; keepalive_requests 100000;
  server {{ listen {host}:{port}; root "{root}"; }}
}}
"""


def _run_nginx(directory: str, program: str, root: str) -> None:
    # nginx takes a socket that listens already, as it does from the one that it replaces: so its
    # port is free, and is known.
    with socket.create_server((HOST, 0), backlog=128) as listening:
        os.set_inheritable(listening.fileno(), True)
        port = listening.getsockname()[1]
        config = Path(directory, "nginx.conf")
        config.write_text(
            NGINX.format(
                # Started by root, its worker would be somebody who may not read the directory.
                user="user root;" if os.geteuid() == 0 else "",
                directory=directory,
                host=HOST,
                port=port,
                root=Path(root).resolve(),
            )
        )
        process = subprocess.Popen(
            [program, "-p", directory, "-e", "stderr", "-c", config],
            env={**os.environ, "NGINX": f"{listening.fileno()};"},
            pass_fds=[listening.fileno()],
        )
    try:
        with contextlib.closing(http.client.HTTPConnection(HOST, port, timeout=10)) as connection:
            connection.request("HEAD", Nginx.MARK)
            connection.getresponse().read()
        _serve_until_told(port)
    finally:
        process.terminate()
        process.wait()


def _run_moto(directory: str) -> None:
    os.environ["TMPDIR"] = tempfile.tempdir = directory
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(HOST, 0, verbose=False)
    server.start()
    _serve_until_told(server.get_host_and_port()[1])
    os._exit(0)  # stopping it in order takes half a second


def _run_proxy(directory: str, url: str, seconds: str, bandwidth: str) -> None:
    where = urlsplit(url)
    with Path(directory, "requests.log").open("a", buffering=1, encoding="utf-8") as log:
        link = _Link(float(bandwidth)) if float(bandwidth) else None
        proxy = _Proxy((where.hostname, where.port), float(seconds), log, link)
        threading.Thread(target=asyncio.run, args=(proxy.serve(),), daemon=True).start()
        _serve_until_told(proxy.port)
        os._exit(0)  # clients may still hold connections


def _serve_until_told(port: int) -> None:
    print(port, flush=True)
    sys.stdin.read()


ROLES: dict[str, Callable[..., None]] = {
    "nginx": _run_nginx,
    "moto": _run_moto,
    "proxy": _run_proxy,
}


class _Proxy:
    """Hands HTTP/1.1 requests on, unchanged, over one connection for each that comes in.

    All in one thread: threads for each connection spend more time on each other than on the work,
    on the processors that are to measure something else.
    """

    def __init__(
        self, upstream: tuple[str, int], seconds: float, log: TextIO, link: _Link | None
    ) -> None:
        self._listening = socket.create_server((HOST, 0), backlog=128)
        self._listening.setblocking(False)
        self.port = self._listening.getsockname()[1]
        self._upstream, self._seconds, self._log, self._link = upstream, seconds, log, link

    async def serve(self) -> None:
        loop, connections = asyncio.get_running_loop(), set()
        while True:
            client, _ = await loop.sock_accept(self._listening)
            task = loop.create_task(self._relay(client))
            connections.add(task)
            task.add_done_callback(connections.discard)

    async def _relay(self, client: socket.socket) -> None:
        """Serve a connection, with one of its own to the server behind."""
        with client, socket.socket() as behind, contextlib.suppress(OSError):
            for end in (client, behind):
                end.setblocking(False)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(behind, self._upstream)
            near, far = _Stream(client, self._link), _Stream(behind)
            more = True
            while more:
                async with asyncio.timeout(SILENT_SECONDS):
                    more = await self._exchange(near, far)

    async def _exchange(self, client: _Stream, upstream: _Stream) -> bool:
        """Hand on a request and its answer; return whether another may follow."""
        head = await client.read_head()
        if not head:
            return False
        asked = _Head(head)
        method, path, _ = asked.first.split(" ", 2)
        await asyncio.sleep(self._seconds)
        if asked.get("expect").lower() == "100-continue":
            await upstream.send(head)
            head = b""
            await client.send(await upstream.read_head())
        await _relay(head, _pieces(asked.chunked, asked.length or 0, client), upstream)

        head = await upstream.read_head()
        if not head:
            return False
        answer = _Head(head)
        status = int(answer.first.split(" ", 2)[1])
        empty = method == "HEAD" or status in (204, 304)

        def record(sent: int) -> None:
            fields = method, path, asked.get("range") or "-", status, sent
            self._log.write("\t".join(map(str, fields)) + "\n")

        length = 0 if empty else answer.length
        await _relay(head, _pieces(answer.chunked and not empty, length, upstream), client, record)
        closes = {asked.get("connection").lower(), answer.get("connection").lower()}
        ends_with_connection = not empty and answer.length is None and not answer.chunked
        return "close" not in closes and not ends_with_connection


class _Head:
    """The lines before a body."""

    def __init__(self, raw: bytes) -> None:
        self.first, *lines = raw.decode("latin-1").strip().split("\r\n")
        pairs = (line.partition(":") for line in lines)
        self._fields = {name.strip().lower(): value.strip() for name, _, value in pairs}

    def get(self, name: str) -> str:
        return self._fields.get(name, "")

    @property
    def length(self) -> int | None:
        return int(self.get("content-length")) if self.get("content-length") else None

    @property
    def chunked(self) -> bool:
        return "chunked" in self.get("transfer-encoding").lower()


_PIECE = 1 << 18
"""Bytes that are handed on at a time."""


_SLACK = 0.003
"""Seconds."""


class _Link:
    """A line on which so many bytes pass in a second, one piece after the other."""

    def __init__(self, bandwidth: float) -> None:
        self._bandwidth, self._free = bandwidth, 0.0

    async def pass_(self, nbytes: int) -> None:
        """Wait until the last byte has passed."""
        now = asyncio.get_running_loop().time()
        # Short sleeps last too long; what they would lose is made good by the next ones.
        self._free = max(self._free, now - _SLACK) + nbytes / self._bandwidth
        if self._free - now > _SLACK:
            await asyncio.sleep(self._free - now)


class _Stream:
    """A socket, and what was read of it too early; what is sent may have to pass a link."""

    def __init__(self, end: socket.socket, link: _Link | None = None) -> None:
        self._socket, self._early, self._link = end, b"", link

    async def send(self, data: bytes) -> None:
        if self._link is not None:
            await self._link.pass_(len(data))
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def read_head(self) -> bytes:
        """Return the next head with the empty line, or nothing where the other side has closed."""
        return await self._read_to(b"\r\n\r\n")

    async def read_line(self) -> bytes:
        return await self._read_to(b"\r\n")

    async def read_some(self, most: int) -> bytes:
        if self._early:
            some, self._early = self._early[:most], self._early[most:]
            return some
        return await self._receive(most)

    async def _receive(self, most: int) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self._socket, most)

    async def _read_to(self, mark: bytes) -> bytes:
        while mark not in self._early:
            more = await self._receive(1 << 16)
            if not more:
                return b""
            self._early += more
        found, _, self._early = self._early.partition(mark)
        return found + mark


async def _relay(
    head: bytes,
    body: AsyncIterator[bytes],
    target: _Stream,
    record: Callable[[int], None] = lambda sent: None,
) -> None:
    """Hand on head and body; record the length before the last bytes: who has them finds it."""
    sent, last = 0, head
    try:
        async for piece in body:
            sent += len(piece)
            if len(last) + len(piece) <= _PIECE:
                last += piece
            else:
                await target.send(last)
                last = piece
    finally:
        record(sent)
    if last:
        await target.send(last)


async def _pieces(chunked: bool, length: int | None, source: _Stream) -> AsyncIterator[bytes]:
    """Read a body: in chunks with their lengths, or so long, or (None) to the connection's end."""
    if chunked:
        size = -1
        while size != 0:
            line = await source.read_line()
            size = int(line.split(b";")[0], 16)
            yield line
            async for piece in _exactly(source, size):
                yield piece
            yield await source.read_line()
    elif length is not None:
        async for piece in _exactly(source, length):
            yield piece
    else:
        while piece := await source.read_some(_PIECE):
            yield piece


async def _exactly(source: _Stream, size: int) -> AsyncIterator[bytes]:
    while size:
        piece = await source.read_some(min(size, _PIECE))
        if not piece:
            raise ConnectionError("a body broke off")
        size -= len(piece)
        yield piece


# --- a server that does what it should not --------------------------------------------------------
@dataclass(frozen=True)
class Asked:
    """A GET of one of the objects.

    Attributes
    ----------
    content : bytes
        The object.
    range : tuple of int or None
        First byte, and the end behind the last, as far as there are any.
    number : int
        How many were asked before: 0 for the first.
    """

    content: bytes
    range: tuple[int, int] | None
    number: int


@dataclass(frozen=True)
class Answer:
    """What is sent; `promised` is the length that the head tells, by default the true one.

    Nothing is sent with status 0.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    promised: int | None = None


Behaviour = Callable[[Asked], Answer]


def honest(asked: Asked) -> Answer:
    """Answer as a good server."""
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": f'"{hashlib.sha1(asked.content, usedforsecurity=False).hexdigest()}"',
    }
    if asked.range is None:
        return Answer(200, asked.content, headers)
    start, stop = asked.range
    if start >= stop:
        return Answer(416, b"", {**headers, "Content-Range": f"bytes */{len(asked.content)}"})
    span = f"bytes {start}-{stop - 1}/{len(asked.content)}"
    return Answer(206, asked.content[start:stop], {**headers, "Content-Range": span})


def ignores_ranges(asked: Asked) -> Answer:
    """Answer 200 with everything, and say nothing of ranges."""
    answer = honest(replace(asked, range=None))
    return replace(answer, headers={"ETag": answer.headers["ETag"]})


def sends_less(asked: Asked) -> Answer:
    """Answer with half of the bytes, and say so."""
    answer = honest(asked)
    body = answer.body[: len(answer.body) // 2]
    if asked.range is None or not body:
        return replace(answer, body=body)
    start = asked.range[0]
    span = f"bytes {start}-{start + len(body) - 1}/{len(asked.content)}"
    return replace(answer, body=body, headers={**answer.headers, "Content-Range": span})


def sends_other_bytes(asked: Asked) -> Answer:
    """Answer with as many bytes from another place, and say so."""
    if asked.range is None or asked.range[0] == 0:
        return honest(asked)
    start, stop = asked.range
    return honest(replace(asked, range=(start - 1, stop - 1)))


def breaks_off(asked: Asked) -> Answer:
    """Promise all and close the connection in the middle."""
    answer = honest(asked)
    return replace(answer, body=answer.body[: len(answer.body) // 2], promised=len(answer.body))


def hangs_up(asked: Asked) -> Answer:
    """Close the connection without a word."""
    return Answer(0)


def from_number(number: int, worse: Behaviour, times: int = sys.maxsize) -> Behaviour:
    """Be honest to those before that number (0 is the first), then worse to so many."""
    return lambda asked: (worse if 0 <= asked.number - number < times else honest)(asked)


def fails(status: int = 500) -> Behaviour:
    """Answer with an error."""
    return lambda asked: Answer(status, b"no")


def serves(content: bytes) -> Behaviour:
    """Serve other bytes than were put there, as after somebody else's write."""

    def answer(asked: Asked) -> Answer:
        if asked.range is None:
            return honest(replace(asked, content=content))
        start, stop = asked.range
        return honest(replace(asked, content=content, range=(start, min(stop, len(content)))))

    return answer


class Misbehaving(Server):
    """Objects in memory, served from a thread.

    Attributes
    ----------
    objects : dict
        Contents by path, such as "c/0/0".
    behaviour : callable
        Makes each answer to a GET of an object whose path `concerns`; others get honest ones.
    headers : list of dict
        Those of each request.
    """

    def __init__(self, url: str, objects: dict[str, bytes], behaviour: Behaviour) -> None:
        super().__init__(url)
        self.objects, self.behaviour = objects, behaviour
        self.headers: list[dict[str, str]] = []
        self._found: list[Request] = []
        self._lock = threading.Lock()
        self._number = 0

    def requests(self) -> list[Request]:
        with self._lock:
            return list(self._found)

    def restart(self, behaviour: Behaviour) -> None:
        """Behave otherwise from now on, and count from 0 again."""
        with self._lock:
            self.behaviour, self._number = behaviour, 0

    @staticmethod
    def concerns(path: str) -> bool:
        """Whether an object is data: a Zarr array's metadata come as they should."""
        return not path.endswith("zarr.json")

    def answer(self, method: str, path: str, asked_range: str | None) -> Answer:
        content = self.objects.get(unquote(path).lstrip("/"))
        if content is None:
            return Answer(404)
        span = _parse_range(asked_range, len(content))
        if method == "HEAD" or not self.concerns(path):
            return honest(Asked(content, None if method == "HEAD" else span, 0))
        with self._lock:
            asked = Asked(content, span, self._number)
            self._number += 1
        return self.behaviour(asked)

    def record(self, request: Request) -> None:
        with self._lock:
            self._found.append(request)


def _parse_range(header: str | None, length: int) -> tuple[int, int] | None:
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
    if not match or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        return max(0, length - int(last)), length
    return int(first), min(int(last) + 1, length) if last else length


@contextlib.contextmanager
def misbehaving(
    objects: Mapping[str, bytes], behaviour: Behaviour = honest
) -> Iterator[Misbehaving]:
    """Serve objects in memory over HTTP, with answers as `behaviour` makes them."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = SILENT_SECONDS

        def do_GET(self) -> None:
            path, asked_range = urlsplit(self.path).path, self.headers.get("Range")
            answer = server.answer(self.command, path, asked_range)
            length = len(answer.body) if answer.promised is None else answer.promised
            body = b"" if self.command == "HEAD" else answer.body
            server.headers.append(dict(self.headers))
            server.record(Request(self.command, path, asked_range or "-", answer.status, len(body)))
            if not answer.status:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)
            if answer.promised is not None and self.command != "HEAD":
                self.close_connection = True

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            if not isinstance(sys.exception(), OSError):  # clients may close when they like
                super().handle_error(*_)

    with Quiet((HOST, 0), Handler) as listening:
        listening.daemon_threads = True
        listening.block_on_close = False
        server = Misbehaving(f"http://{HOST}:{listening.server_port}", dict(objects), behaviour)
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listening.shutdown()
            thread.join()


def main(arguments: Sequence[str]) -> None:
    """Be one of the processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started this one ends it
    role, *rest = arguments
    ROLES[role](*rest)


if __name__ == "__main__":
    main(sys.argv[1:])
