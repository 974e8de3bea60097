"""The fetch step of the vendored C sources: nothing hostile, half-done or unverified gets in."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from checkout import ROOT

VENDOR = ROOT / "vendor"
SCRIPT = VENDOR / "fetch.py"

spec = importlib.util.spec_from_file_location("vendor_fetch", SCRIPT)
assert spec is not None and spec.loader is not None
fetch = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = fetch
spec.loader.exec_module(fetch)

SOURCES = {
    "demo-1.0/LICENSE": b"Do as you like.\n",
    "demo-1.0/lib/a/a.c": b"/* MIT, A. Author */ int a;\n",
    "demo-1.0/lib/a/tests/t.c": b"int t;\n",
    "demo-1.0/lib/b/b.c": b"int b;\n",
    "demo-1.0/other/x.c": b"int x;\n",
}


def special(name, type_, linkname=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = type_, linkname
    return member


class Project:
    """A manifest, the archive that it names, and the destination."""

    def __init__(self, root, sources=SOURCES, extra=()):
        self.root, self.sdists = root, root / "sdists"
        self.dest = root / "tree" / "src"
        self.manifest = root / "manifest.toml"
        self.archive = self.sdists / "demo-1.0.tar.gz"
        self.sdists.mkdir(exist_ok=True)
        self.pack(sources, extra)

    def pack(self, sources, extra=()):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for name, content in sources.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            for member in extra:
                tar.addfile(member, io.BytesIO(bytes(member.size)))
        self.publish(buffer.getvalue())

    def publish(self, content):
        self.archive.write_bytes(content)
        self.declare(hashlib.sha256(content).hexdigest())

    def declare(self, sha256, subtree="lib/a", leave_out="tests"):
        self.manifest.write_text(
            f"""
            [archives.demo]
            version = "1.0"
            file = "demo-1.0.tar.gz"
            sha256 = "{sha256}"
            [parts.a]
            version = "1"
            archive = "demo"
            subtree = "{subtree}"
            leave_out = ["{leave_out}"]
            license = "MIT"
            license_files = ["/LICENSE"]
            license_comments = ["a.c"]
            [parts.b]
            version = "2"
            archive = "demo"
            subtree = "lib/b"
            license = "MIT"
            license_files = ["/LICENSE"]
            """
        )

    def arguments(self, *options, sdists=True):
        where = ["--manifest", str(self.manifest), "--dest", str(self.dest)]
        return [*where, *(["--sdists", str(self.sdists)] if sdists else []), *options]

    def run(self, *options):
        return fetch.main(self.arguments(*options))

    def start(self, *options, code=None, sdists=True, **environment):
        command = [sys.executable, *(["-c", code] if code else [str(SCRIPT)])]
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "CATERVA_"))}
        return subprocess.Popen(
            [*command, *self.arguments(*options, sdists=sdists)],
            env=clean | {"PIP_CONFIG_FILE": os.devnull} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def parts(self):
        return sorted(os.listdir(self.dest)) if self.dest.exists() else []

    def assert_each_part_whole_or_absent(self):
        parts = {part.name: part for part in fetch.read_manifest(self.manifest)}
        assert set(self.parts()) <= set(parts)
        for name in self.parts():
            assert fetch.find_faults(parts[name], self.dest) == []

    def assert_complete(self):
        assert self.run("--check") == 0
        assert self.parts() == ["a", "b"]
        assert not [n for n in os.listdir(self.dest.parent) if n not in ("src", ".src-lock")]


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def files(directory):
    return sorted(p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file())


def test_unpacks_what_the_manifest_names(project):
    assert project.run("--check") == 1
    assert project.run() == 0
    project.assert_complete()
    assert files(project.dest / "a") == [".vendor-stamp.json", "VENDORED_LICENSES.txt", "a.c"]
    licenses = (project.dest / "a" / "VENDORED_LICENSES.txt").read_text()
    assert "Do as you like.\n" in licenses
    assert "/* MIT, A. Author */\n" in licenses
    assert "int a" not in licenses


def test_a_part_may_be_the_whole_archive(project):
    text = project.manifest.read_text().replace('subtree = "lib/b"', 'subtree = ""')
    project.manifest.write_text(text)
    assert project.run("b") == 0
    expected = {name.removeprefix("demo-1.0/") for name in SOURCES}
    assert expected <= set(files(project.dest / "b"))


def test_unpacks_only_the_parts_that_were_named(project, capsys):
    assert project.run("b") == 0
    assert project.parts() == ["b"]
    assert project.run("b", "c") == 1
    assert "has no parts ['c']\nIts parts are a, b." in capsys.readouterr().err
    assert project.run() == 0
    project.assert_complete()


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (special("/etc/x", tarfile.REGTYPE), "absolute"),
        (special("C:/x", tarfile.REGTYPE), "absolute"),
        (special("demo-1.0/lib/a/../../../../x", tarfile.REGTYPE), r"`\.\.`"),
        (special("..\\x", tarfile.REGTYPE), r"`\.\.`"),
        (special("demo-1.0/lib/a\\x", tarfile.REGTYPE), "another system"),
        (special("demo-1.0/lib/a/l", tarfile.SYMTYPE, "../../../../x"), "link to '../../../../x'"),
        (special("demo-1.0/lib/a/l", tarfile.SYMTYPE, "/etc"), "link to '/etc'"),
        (special("demo-1.0/lib/a/l", tarfile.LNKTYPE, "../../x"), r"link to '\.\./\.\./x'"),
        (special("demo-1.0/lib/a/l", tarfile.SYMTYPE, "a.c"), "link to 'a.c'"),
        (special("demo-1.0/lib/a/f", tarfile.FIFOTYPE), "device"),
        (special("demo-1.0/lib/a/c", tarfile.CHRTYPE), "device"),
        (special("demo-1.0/other/b", tarfile.BLKTYPE), "device"),
    ],
    ids=lambda value: f"{value.name}-{value.type.decode()}" if hasattr(value, "name") else "",
)
def test_refuses_hostile_members(tmp_path, capsys, member, reason):
    project = Project(tmp_path, extra=[member])
    before = files(tmp_path)
    assert project.run() == 1
    error = capsys.readouterr().err
    assert repr(member.name) in error
    assert re.search(reason, error)
    assert project.parts() == []
    assert files(tmp_path) == [*before, "tree/.src-lock"]


def test_link_then_file_below_it_does_not_escape(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    inside = special("demo-1.0/lib/a/l/x", tarfile.REGTYPE)
    project = Project(
        tmp_path, extra=[special("demo-1.0/lib/a/l", tarfile.SYMTYPE, str(outside)), inside]
    )
    assert project.run() == 1
    assert files(outside) == []


def test_wrong_hash(project, capsys, monkeypatch):
    wrong = "0" * 64
    right = hashlib.sha256(project.archive.read_bytes()).hexdigest()
    project.declare(wrong)
    monkeypatch.setattr(tarfile, "open", lambda *_: pytest.fail("opened before it was verified"))
    assert project.run() == 1
    error = capsys.readouterr().err
    for fact in (wrong, right, "demo-1.0.tar.gz", "PIP_INDEX_URL", "CATERVA_CFFI_SDISTS"):
        assert fact in error
    assert project.parts() == []


@pytest.mark.parametrize("length", [0, 5, 30, -1, -20])
def test_truncated_archive(project, capsys, length):
    content = project.archive.read_bytes()[:length]
    project.archive.write_bytes(content)
    assert project.run() == 1
    assert "SHA-256" in capsys.readouterr().err
    project.publish(content)  # even a manifest that was written for it
    assert project.run() == 1
    error = capsys.readouterr().err
    assert "cannot be unpacked" in error
    assert "manifest" in error
    assert project.parts() == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"subtree": "lib/gone"}, "has no files of the subtree 'lib/gone'"),
        ({"leave_out": "gone"}, r"matches \['gone'\]"),
    ],
)
def test_manifest_that_does_not_fit_its_archive(project, capsys, change, message):
    project.declare(hashlib.sha256(project.archive.read_bytes()).hexdigest(), **change)
    assert project.run() == 1
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert "Correct `parts.a`" in error
    assert project.parts() == []


@pytest.mark.parametrize("content", ["parts = 3", "[parts.a]\nlicence = 1", "[[", None])
def test_broken_manifest(project, capsys, content):
    project.manifest.unlink() if content is None else project.manifest.write_text(content)
    assert project.run() == 1
    assert str(project.manifest) in capsys.readouterr().err


def test_archive_missing_from_sdists(project, capsys):
    project.archive.unlink()
    assert project.run() == 1
    error = capsys.readouterr().err
    assert f"demo-1.0.tar.gz is not in {project.sdists}" in error
    assert "Put it there" in error


def test_destination_that_cannot_be_written(project, capsys):
    project.dest.parent.write_text("a file")
    assert project.run() == 1
    assert "can be written" in capsys.readouterr().err


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_failure_while_unpacking(project, capsys, monkeypatch, failure):
    with monkeypatch.context() as patch:
        write = Path.write_bytes

        def fail_later(path, content):
            if path.name == "b.c":
                raise failure
            return write(path, content)

        patch.setattr(Path, "write_bytes", fail_later)
        assert project.run() == (130 if failure is KeyboardInterrupt else 1)
    assert re.search("run (it|this) again", capsys.readouterr().err)
    assert project.parts() == []
    assert project.run() == 0
    project.assert_complete()


KILL_AT_CALL = """
import os, runpy, signal, sys
from pathlib import Path
call, script = {call}, {script!r}
def counted(function):
    def wrapper(*arguments, **options):
        global call
        call -= 1
        if call == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return wrapper
os.rename, Path.write_bytes, Path.write_text = map(
    counted, (os.rename, Path.write_bytes, Path.write_text))
sys.argv[0] = script
runpy.run_path(script, run_name="__main__")
"""

needs_sigkill = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX only")


@needs_sigkill
def test_killed_at_each_step_of_a_replacement(project):
    """Replace outdated parts, killed before each write and each rename; then recover."""
    assert project.run() == 0
    for call in range(1, 100):
        project.pack(SOURCES | {"demo-1.0/lib/b/b.c": f"int b{call};\n".encode()})
        process = project.start(code=KILL_AT_CALL.format(call=call, script=str(SCRIPT)))
        process.communicate(timeout=60)
        for name in project.parts():  # the old part or the new one, whole
            assert files(project.dest / name)[:2] == [".vendor-stamp.json", "VENDORED_LICENSES.txt"]
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
        assert project.run() == 0
        project.assert_complete()
        assert (project.dest / "b" / "b.c").read_text() == f"int b{call};\n"
    assert call == 11  # 2 sources, 2 licence texts, 2 stamps, 2 times 2 renames


@needs_sigkill
def test_killed_at_random_moments(tmp_path):
    rng = random.Random(0)
    sources = {f"demo-1.0/lib/b/{i}.c": rng.randbytes(2000) for i in range(400)}
    project = Project(tmp_path, sources | SOURCES)
    start = time.perf_counter()
    project.start().communicate(timeout=60)
    duration = time.perf_counter() - start
    unfinished = 0
    for _ in range(10):
        shutil.rmtree(project.dest)
        process = project.start()
        time.sleep(rng.uniform(0.2, 1) * duration)
        process.kill()
        process.communicate(timeout=60)
        project.assert_each_part_whole_or_absent()
        unfinished += project.parts() != ["a", "b"]
        project.dest.mkdir(parents=True, exist_ok=True)
    assert unfinished
    assert project.run() == 0
    project.assert_complete()


def test_concurrent_runs(tmp_path):
    sources = {f"demo-1.0/lib/b/{i}.c": bytes(100) for i in range(200)}
    project = Project(tmp_path, sources | SOURCES)
    processes = [project.start() for _ in range(4)]
    output = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, output
    assert "".join(out for out, _ in output).count("unpacked") == 2
    project.assert_complete()


def test_waits_for_a_lock_only_so_long(project, capsys, monkeypatch):
    monkeypatch.setattr(fetch, "LOCK_TIMEOUT", 0.2)
    project.dest.parent.mkdir()
    with fetch.locked(project.dest.with_name(".src-lock")):
        assert project.run() == 1
    assert "another run" in capsys.readouterr().err


def test_changed_manifest_refetches_only_what_it_changes(project, capsys):
    assert project.run() == 0
    manifest = project.manifest.read_text()
    project.manifest.write_text(manifest.replace('version = "2"', 'version = "3"'))
    assert project.run("--check") == 1
    assert "b 3 is outdated" in capsys.readouterr().err
    assert project.run() == 0
    assert capsys.readouterr().out == "unpacked b 3\n"
    project.assert_complete()


def test_deleted_file_is_fetched_and_changed_file_reported(project, capsys):
    assert project.run() == 0
    (project.dest / "b" / "b.c").unlink()
    assert project.run("--check") == 1
    assert "b lacks a file" in capsys.readouterr().err
    assert project.run() == 0
    (project.dest / "b" / "b.c").write_text("int changed;")
    assert project.run("--check") == 1
    assert "b has a file that was changed" in capsys.readouterr().err
    assert project.run() == 0  # an edit is the user's: it stays until the manifest changes
    assert (project.dest / "b" / "b.c").read_text() == "int changed;"


def test_nothing_to_do_loads_little_and_writes_nothing(project):
    assert project.run() == 0
    (project.dest.parent / ".src-lock").unlink()
    code = (
        f"import sys; sys.path.insert(0, {str(VENDOR)!r}); import fetch\n"
        "code = fetch.main()\n"
        "assert not {'unearth', 'tarfile', 'subprocess'} & set(sys.modules)\n"
        "sys.exit(code)"
    )
    process = project.start(code=code, sdists=False)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0
    assert os.listdir(project.dest.parent) == ["src"]


def test_nothing_to_do_reads_no_source_anew(monkeypatch):
    opened = []

    def counted(path, *args, **kwargs):
        opened.append(Path(path).suffix)
        return real(path, *args, **kwargs)

    real = io.open
    monkeypatch.setattr(io, "open", counted)
    assert fetch.main([]) == 0
    assert set(opened) == {".toml", ".json"} and len(opened) < 10


def test_unreachable_index(project):
    process = project.start(sdists=False, PIP_INDEX_URL="http://user:secret@127.0.0.1:9/simple")
    out, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "http://127.0.0.1:9/simple: Connect" in error
    assert "Traceback" not in error
    assert "secret" not in out + error
    for remedy in ("PIP_INDEX_URL", "HTTPS_PROXY", "--sdists", "CATERVA_CFFI_SDISTS"):
        assert remedy in error
    assert project.parts() == []


def test_download_from_find_links(project):
    process = project.start(sdists=False, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(project.sdists))
    out, error = process.communicate(timeout=60)
    assert process.returncode == 0, error
    assert out.startswith("downloading file:")
    assert project.archive.exists()
    project.assert_complete()


def test_download_without_unearth(project):
    code = (
        "import runpy, sys; sys.modules['unearth'] = None\n"
        f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    )
    process = project.start(code=code, sdists=False)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "pip install unearth" in error
    assert "--sdists" in error


def test_sdists_from_the_environment(project):
    process = project.start(sdists=False, CATERVA_CFFI_SDISTS=str(project.sdists))
    assert process.communicate(timeout=60)[1] == ""
    project.assert_complete()


REAL = fetch.read_manifest(VENDOR / "manifest.toml")


@pytest.mark.parametrize("part", REAL, ids=lambda part: part.name)
class TestVendoredSources:
    """What is unpacked in this tree."""

    def test_complete_and_unchanged(self, part):
        assert fetch.find_faults(part, VENDOR / "src") == []

    def test_committed_license_is_that_of_the_sources(self, part):
        source = VENDOR / "src" / part.name
        committed = (VENDOR / "licenses" / f"{part.name}.txt").read_bytes()
        assert committed == (source / fetch.LICENSES).read_bytes()
        for name in part.license_files:
            if not name.startswith("/"):
                text = (source / name).read_text("utf-8").replace("\r\n", "\n").strip()
                assert text in committed.decode()

    def test_version_is_what_the_sources_say(self, part):
        header, pattern = {
            "c-blosc2": ("include/blosc2.h", r'BLOSC2_VERSION_STRING\s+"([\d.]+)"'),
            "lz4": ("lib/lz4.h", r"LZ4_VERSION_(?:MAJOR|MINOR|RELEASE)\s+(\d+)"),
            "zstd": ("lib/zstd.h", r"ZSTD_VERSION_(?:MAJOR|MINOR|RELEASE)\s+(\d+)"),
            "zfp": ("include/zfp/version.h", r"ZFP_VERSION_(?:MAJOR|MINOR|PATCH)\s+(\d+)"),
            "zlib-ng": ("zlib-ng.h.in", r'ZLIBNG_VERSION "([\d.]+)"'),
            "caterva": ("caterva/caterva.h", r"CATERVA_VERSION_(?:MAJOR|MINOR|RELEASE)\s+(\d+)"),
        }[part.name]
        text = (VENDOR / "src" / part.name / header).read_text("utf-8")
        assert ".".join(re.findall(pattern, text)) == part.version
