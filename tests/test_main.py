"""The command line: what a bug report needs, and what is damaged."""

from __future__ import annotations

import os
import pkgutil
import re
import subprocess
import sys
import tomllib

import pytest
from checkout import ROOT
from damage import CHECKED, FRAME, flipped

import caterva_cffi as cat
from caterva_cffi.__main__ import main


def test_report_is_a_line_per_field(capsys):
    versions = cat.versions()
    lines = dict(line.split(" : ", 1) for line in str(versions).splitlines())
    fields = {name.strip(): text for name, text in lines.items()}
    assert fields["c_blosc2"] == versions.c_blosc2
    assert f"LZ4 {versions.codecs['LZ4']}, " in fields["codecs"]
    assert list(fields) == list(vars(versions))
    for arguments in ([], ["versions"]):
        assert main(arguments) == 0
        assert capsys.readouterr().out == f"{versions}\n"


def test_the_script_is_the_command_line():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    [(name, where)] = project["scripts"].items()
    assert (name, pkgutil.resolve_name(where)) == ("caterva", main)


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["convert", "a", "b", "--block-shape", "3,3"], "--blocks"),
        (["convert", "a", "b", "--chunk-shape=3,3"], "--chunks"),
        (["advise", "9,9", "f4", "items", "--chunk-shape", "3,3"], "--chunks"),
        (["explain", "a", "5", "--jsn"], "--json"),
    ],
)
def test_other_words_of_options_are_told(arguments, meant, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    told = capsys.readouterr().err
    assert "unrecognized arguments: --" in told
    assert f"; did you mean {meant}?" in told


def test_every_command_has_help(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = re.findall(r"^    (\w+) ", capsys.readouterr().out, re.M)
    assert listed == ["info", "ls", "explain", "advise", "convert", "verify", "versions"]
    for name in listed:
        with pytest.raises(SystemExit) as raised:
            main([name, "--help"])
        assert raised.value.code == 0 and capsys.readouterr().out.startswith(
            f"usage: caterva {name}"
        )


def test_command_line_imports_no_package_that_it_names():
    command = [sys.executable, "-W", "error", "-X", "importtime", "-m", "caterva_cffi"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("caterva_cffi") and "numcodecs" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "numpy" in imported
    assert not imported & {"zarr", "numcodecs", "fsspec", "s3fs", "obstore", "dask", "blosc2"}


def test_the_command(tmp_path, capsys):
    files = {"whole": CHECKED, "plain": FRAME, "damaged": flipped(CHECKED, 400), "other": b"1,2"}
    paths = {name: str(tmp_path / name) for name in files}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)

    def run(*names):
        code = main(["verify", *(paths.get(name, name) for name in names)])
        return code, *capsys.readouterr()

    code, out, err = run("whole")
    assert (code, err) == (0, "")
    assert out == (
        f"{paths['whole']}: checked 1 array, 10 chunks, 50 blocks, all with checksums\n"
        f"{paths['whole']}: whole\n"
    )
    code, out, err = run("plain")
    assert (code, err) == (0, "") and out.endswith(f"{paths['plain']}: decodes\n")
    assert "none with checksums" in out and "no checksum protects 50 blocks" in out
    code, out, err = run("damaged", "whole")
    assert (code, err) == (1, "") and "damaged in 1 place\n" in out and ": whole\n" in out
    assert out.startswith(f"{paths['damaged']}: chunk 0")
    for wrong in ("other", str(tmp_path / "nothing"), str(tmp_path)):
        code, out, err = run("damaged", wrong, "whole")
        assert code == 2 and wrong in err and "damaged in 1 place" in out and "whole" in out


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_command_in_a_process_of_its_own(encoding, tmp_path):
    names = [os.fsencode(tmp_path) + name for name in (b"/a", b"/\xff", "/\u20ac".encode())]
    contents = (b"text", CHECKED, flipped(CHECKED, 400))
    for name, content in zip(names, contents, strict=True):
        with open(name, "wb") as file:
            file.write(content)
    command = [sys.executable, "-m", "caterva_cffi", "verify", *names]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 2 and "is no Blosc2 frame" in done.stderr
    assert ": whole\n" in done.stdout and "damaged in 1 place\n" in done.stdout
