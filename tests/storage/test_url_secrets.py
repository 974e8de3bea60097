"""Secrets in URLs are not shown."""

from __future__ import annotations

import pytest

from caterva_cffi.storage import url_secrets


@pytest.mark.parametrize(
    ("url", "shown"),
    {
        "https://host/a.b2": "https://host/a.b2",
        "https://host:80/dir@v1": "https://...@v1",
        "https://host/dir@v1/a": "https://host/dir@v1/a",
        "https://user:secret@host/a.b2?Signature=secret": "https://...@host/a.b2?...",
        "https://user:s@cr/et@host/a": "https://...@host/a",
        "https://user:1/secret@host/a": "https://...@host/a",
        "https://secret@host/a#secret": "https://...@host/a#...",
        "https://user:sec?ret@host/a": "https://...",
        "https://user:sec#ret@host/a": "https://...",
        "https://u:12?secret@host/a": "https://...",
        "https://u@secret?more@host/a": "https://...",
        "https://host/a?mail=me@secret": "https://host/a?...",
        "zip://a::https://u:secret@host/b?secret::secret": "zip://a::https://...@host/b?...::...",
    }.items(),
)
def test_secrets_of_urls_are_not_shown(url, shown):
    assert url_secrets.without_secrets(url) == shown


def test_secrets_in_the_words_of_others_are_not_shown():
    url = "https://user:pa%20ss@host/a?Signature=abc%2Fdef"
    for text in ("no 'abc/def'", "no abc%252Fdef", "GET /b?pa%20ss", "no user:pa ss", "no pa+ss"):
        shown = url_secrets.hide(text, url)
        assert not any(secret in shown for secret in ("abc", "def", "ss ", "pa+", "pa%"))
    for text in ("https://u:other@x/a?other.", "at /a?other", "'s3://b#other'", "/a#other"):
        assert "other" not in url_secrets.hide(text, url)
    assert url_secrets.hide("Cannot connect to host x:443", url) == "Cannot connect to host x:443"
