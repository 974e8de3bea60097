"""The command runner: what it says when something is missing, and when it sets up anew."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import re
import subprocess
import sys
import threading
import tomllib
from concurrent.futures import ThreadPoolExecutor

import pytest
from checkout import ROOT
from packaging.requirements import Requirement
from packaging.version import Version

from tools import commands, debian, environments, interpreters, processes, wheel_making

spec = importlib.util.spec_from_file_location("run", ROOT / "run.py")
run = importlib.util.module_from_spec(spec)
spec.loader.exec_module(run)


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Let the runner work in an empty clone, where pip need not be installed."""
    call = environments.call
    monkeypatch.setattr(
        environments, "call", lambda command, log: call([*command, "--without-pip"], log)
    )
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "some.txt").write_text("")
    for module in (environments, debian):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    return tmp_path


def test_old_python_is_told_so(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    with pytest.raises(SystemExit, match=r"Python 3.11 or later is needed, this is 3.10"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_an_old_python_can_read_that():
    ast.parse((ROOT / "run.py").read_text(encoding="utf-8"), feature_version=(3, 6))


@pytest.mark.skipif(sys.platform == "win32", reason="compilers are not on PATH there")
def test_missing_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(processes.Failure, match=r"no C compiler \(looked for cc, gcc, clang"):
        wheel_making.check_build_tools()
    monkeypatch.setenv("CC", "no-such-compiler -m64")
    with pytest.raises(processes.Failure, match=r"looked for no-such-compiler\)"):
        wheel_making.check_build_tools()


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("x\nNewConnectionError: refused", "the package index cannot be reached"),
        ("building\nkernel.c:7: error: expected ';'\nmore", r"kernel.c:7: error: expected ';'"),
        ("TRACE(error, x)\nerror: x.whl: 9 bytes: more than 1", "error: x.whl: 9 bytes"),
        ("only this", "only this"),
        ("", "no output"),
    ],
)
def test_failure_is_explained_in_one_line(output, message, tmp_path):
    code = f"import sys; print({output!r}); sys.exit(3)"
    with pytest.raises(processes.Failure) as caught:
        processes.call([sys.executable, "-c", code], tmp_path / "logs" / "a.log")
    assert re.match(message, str(caught.value)) and "\n" not in str(caught.value)
    assert (tmp_path / "logs" / "a.log").read_text().strip() == output


def test_environment_is_made_once(tree, capsys):
    python = environments.make_environment("x", sys.executable, ())
    assert environments.version(str(python)) == environments.version(sys.executable)
    assert "creating .venv-x" in capsys.readouterr().out
    assert environments.make_environment("x", sys.executable, ()) == python
    assert capsys.readouterr().out == ""
    python.unlink()  # as after an upgrade of the system's Python
    assert environments.version(str(environments.make_environment("x", sys.executable, ())))
    assert "creating .venv-x" in capsys.readouterr().out


def test_a_wheel_is_made_behind_requirements_and_installed_where_it_is_new(tree, monkeypatch):
    """So that one run installs requirements while another one compiles."""
    done, wheel, requirements = [], tree / "1" / "a.whl", tree / "requirements" / "some.txt"
    for name in ("install_requirements", "install_wheel"):
        monkeypatch.setattr(environments, name, lambda *_, name=name: done.append(name))

    def made():
        done.clear()
        make_wheel = lambda: done.append("make_wheel") or wheel  # noqa: E731
        environments.make_environment("x", sys.executable, ("some",), make_wheel)
        return done

    everything = ["install_requirements", "make_wheel", "install_wheel"]
    assert made() == everything
    assert made() == ["make_wheel"]
    wheel = tree / "2" / "a.whl"
    assert made() == everything[1:]
    requirements.write_text("more")
    assert made() == everything


def test_one_thing_is_made_by_one_run_at_a_time(tree, monkeypatch):
    order, waiting = [], threading.Event()
    monkeypatch.setattr(environments, "step", lambda _: waiting.set() or contextlib.nullcontext())

    def make(thing):
        with environments.only_one(thing):
            order.append(thing)

    with ThreadPoolExecutor() as pool:
        with environments.only_one("a"):
            pool.submit(make, "b").result()
            last = pool.submit(make, "a")
            assert waiting.wait(60)
            order.append("first")
        last.result()
    assert order == ["b", "first", "a"]


def test_changed_sources_change_the_digest():
    inputs = wheel_making.wheel_inputs()
    names = {path.relative_to(ROOT).as_posix() for path in inputs}
    assert {"pyproject.toml", "caterva_cffi/_native/decode.c", "vendor/manifest.toml"} <= names
    assert not [name for name in names if "vendor/src" in name or name.endswith(".pyc")]
    digests = {
        environments.digest(inputs),
        environments.digest(inputs[1:]),
        environments.digest(inputs, "abi3"),
    }
    assert len(digests) == 3
    assert environments.digest(inputs) in digests


def test_wheel_is_built_once_and_older_ones_of_its_kind_go(tmp_path, monkeypatch):
    monkeypatch.setattr(wheel_making, "WHEELS", tmp_path)
    monkeypatch.setattr(wheel_making, "check_build_tools", list)
    monkeypatch.setattr(wheel_making, "only_one", contextlib.nullcontext)
    built = []

    def build(directory):
        directory.mkdir(parents=True)
        (directory / f"{len(built)}.whl").touch()
        built.append(directory)

    license_, readme = [ROOT / "LICENSE"], [ROOT / "README.md"]
    wheels = [
        wheel_making.kept_wheel(*each, build) for each in [("a", license_), ("b", license_)] * 2
    ]
    assert wheels[:2] == wheels[2:] and len(built) == len(set(wheels)) == 2
    newer = wheel_making.kept_wheel("a", readme, build)
    assert newer.exists() and wheels[1].exists() and not wheels[0].exists()


def test_portable_wheels_need_glibc(monkeypatch, capsys):
    for module in (wheel_making, commands):
        monkeypatch.setattr(module, "PORTABLE", False)
    monkeypatch.setattr(wheel_making, "make_wheel", lambda: "plain")
    assert wheel_making.make_portable_wheel() == "plain"
    assert run.main(["wheel"]) == 1
    assert "made on Linux with glibc" in capsys.readouterr().err


def test_interpreters_are_found(monkeypatch, capfd):
    mine = environments.version(sys.executable)
    monkeypatch.setenv("PYTHON" + mine.replace(".", ""), sys.executable)
    assert environments.find_python(mine) == sys.executable
    assert run.main(["which", mine]) == 0
    assert run.main(["which", "3.99"]) == 1
    output = capfd.readouterr()
    assert output.out == f"{sys.executable}\n"
    assert output.err.startswith("run.py: no Python 3.99: not in $PYTHON399")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["3.99"], "no Python 3.99: not in $PYTHON399"), ([], "--python needs a version or a path")],
)
def test_tests_on_another_interpreter(arguments, message, monkeypatch, capsys):
    started = []
    for name in ("make_portable_wheel", "make_wheel_tools"):
        monkeypatch.setattr(commands, name, list)
    monkeypatch.setattr(commands, "run", lambda command, _: started.append(command) or 0)
    assert run.main(["test", "--python", *arguments]) == 1
    assert message in capsys.readouterr().err
    for given in (sys.executable, environments.version(sys.executable)):
        assert run.main(["test", "--python", given, "-x"]) == 0
    last = [ROOT / "run.py", "test", "-x"]
    assert [command[1:] for command in started] == [last, last]
    assert environments.version(started[1][0]) == environments.version(sys.executable)


def test_interpreters_need_debian_and_root(monkeypatch, capsys):
    monkeypatch.setattr(interpreters.shutil, "which", lambda name: None)
    assert run.main(["interpreter", "3.99"]) == 1
    assert "by root, on Debian" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="no shell starts it")
def test_the_starter_of_an_interpreter(tmp_path, monkeypatch):
    """It is run by a loader of the folder, here a script that shows its arguments."""
    folder = tmp_path / "a folder"
    files = ("usr/lib64/ld-linux-x", "usr/lib/x/libc.so.6", "usr/lib/python3.99/_sysconfigdata.py")
    for name in files:
        (folder / name).parent.mkdir(parents=True)
        (folder / name).touch()
    (folder / files[0]).write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    (folder / files[0]).chmod(0o755)
    (folder / files[2]).write_text("{'WHEEL_PKG_DIR': '/usr/share/python-wheels/'}")
    monkeypatch.setattr(interpreters, "UNSTABLE", folder)
    starter, python = tmp_path / "python3.99", folder / "usr/bin/python3.99"
    interpreters.write_starter(starter, python)
    shown = subprocess.check_output([starter, "-c", "a b"], text=True).splitlines()
    libraries = str(folder / "usr/lib/x")
    expected = ["--argv0", str(starter), "--library-path", libraries, str(python), "-c", "a b"]
    assert shown == expected
    assert f"'{folder}/usr/share/python-wheels/'" in (folder / files[2]).read_text()


@pytest.mark.parametrize(("arguments", "code"), [([], 2), (["nonsense"], 2), (["--help"], 0)])
def test_usage(arguments, code, capsys):
    assert run.main(arguments) == code
    output = capsys.readouterr()
    assert "python3 run.py demo" in (output.err if code else output.out)


@pytest.mark.parametrize("found", [True, False])
def test_nginx(found, tree, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tree))
    monkeypatch.setattr(
        debian.shutil, "which", lambda name, path="": tree / name if found else None
    )
    expected = {"CATERVA_CFFI_NGINX": tree / "nginx"} if found else {}
    assert debian.make_program(debian.NGINX) == expected
    assert ("no nginx, and none could be unpacked" in capsys.readouterr().out) is not found


def pins(*names):
    """The versions that files of requirements name exactly."""
    lines = "".join((ROOT / f"requirements/{name}.txt").read_text() for name in names).splitlines()
    found = re.findall(r"^([\w.-]+)(?:\[\w+\])?==([\w.]+)$", "\n".join(lines), flags=re.M)
    return {name: Version(version) for name, version in found}


def test_lowest_versions_are_those_that_users_are_told():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    virtual = extras.pop("virtual")  # needs a later Python: `run.py peers virtual`

    def bounds_of(requirements):
        return {
            requirement.name: Version(str(requirement.specifier).removeprefix(">="))
            for requirement in map(Requirement, requirements)
            if requirement.name != project["name"]  # in extras of extras
        }

    peers, bounds = pins("peer-virtual"), bounds_of(virtual)
    assert bounds == {name: peers[name] for name in bounds}
    bounds = bounds_of(sum(extras.values(), project["dependencies"]))
    lowest = pins("lowest")
    assert bounds == {name: lowest.pop(name) for name in bounds}
    names = {path.stem for path in (ROOT / "requirements").glob("*.txt")}
    others = pins(*(name for name in names - {"lowest"} if not name.startswith("peer-")))
    assert lowest == {name: others[name] for name in lowest}
