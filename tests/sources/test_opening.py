"""What URLs need, and what is said where it is missing."""

from __future__ import annotations

import sys

import pytest

import caterva_cffi as cat


@pytest.mark.parametrize("url", ["no-such://u:hushhush@x", "https://h/a?b=1::hushhush"])
def test_secrets_are_in_no_error_of_opening(url):
    with pytest.raises(cat.ArgumentError) as caught:
        cat.open(url)
    assert "hushhush" not in f"{caught.value!r} {caught.value.__context__!r}"


@pytest.mark.parametrize(
    ("module", "url", "needed"),
    [("fsspec.core", "memory://a", "install fsspec"), ("s3fs", "s3://a/b", "s3fs")],
)
def test_what_is_not_installed(monkeypatch, module, url, needed):
    monkeypatch.setitem(sys.modules, module, None)
    loaded = sys.modules["fsspec.registry"]._registry
    for scheme in ("s3", "s3a"):
        monkeypatch.delitem(loaded, scheme, raising=False)
    with pytest.raises(ImportError, match=needed):
        cat.open(url)


def test_the_package_needs_no_fsspec(run_tool):
    code = "import sys, caterva_cffi; print(*{'fsspec', 'asyncio', 'aiohttp'} & {*sys.modules})"
    assert run_tool(sys.executable, "-c", code).strip() == ""
