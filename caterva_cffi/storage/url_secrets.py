"""URLs as people may see them: without users, passwords, queries and fragments.

Queries may hold signatures. Errors of other libraries hold URLs too: that of the object, and those
to which a server redirected.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

__all__ = ["hide", "without_secrets"]

_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s\"]*", re.IGNORECASE)
_BEHIND_PATH = re.compile(r"(?<=[\w/])([?#])[^\s\"]+")
_LEAST = 4  # letters of a secret; shorter parts of a query occur in any text


def without_secrets(url: str) -> str:
    """Return a URL with `...` for its user and password, its query, and its fragment.

    Parameters
    ----------
    url : str
        May be a chain of fsspec's: `zip://a::https://...`.
    """
    return _split(url)[0]


def hide(text: str, url: str) -> str:
    """Return a text of another library or a server, without the secrets of any URL.

    Parameters
    ----------
    text : str
    url : str
        If the text holds secret parts of this URL, however quoted, nothing of it is shown.
    """
    shown = _BEHIND_PATH.sub(r"\1...", _URL.sub(lambda found: without_secrets(found[0]), text))
    plain = _plain(shown)
    for secret in _split(url)[1]:
        parts = [part.rpartition("=")[2] for part in re.split("[&;:@/?#]", secret)]
        if any(_plain(part) in plain for part in (secret, *parts) if len(part) >= _LEAST):
            return "not shown, since it holds parts of the URL"
    return shown


def _plain(text: str) -> str:
    return unquote(unquote(text.replace("+", " "))).lower()


def _split(url: str) -> tuple[str, list[str]]:
    """Return the part of a URL that is shown, and the parts that are not."""
    links: list[str] = []
    secrets: list[str] = []
    for link in url.split("::"):
        if "://" not in link and any(map(_ends_hidden, links)):
            shown, more = "...", [link]  # a query goes on
        else:
            shown, more = _split_link(link)
        links.append(shown)
        secrets += more
    return "::".join(links), secrets


def _ends_hidden(shown: str) -> bool:
    return shown.endswith("...")


def _split_link(url: str) -> tuple[str, list[str]]:
    scheme, mark, rest = url.partition("://")
    if not mark:
        scheme, rest = "", url
    base = re.split("[?#]", rest, maxsplit=1)[0]
    behind = rest[len(base) :]
    authority = base.partition("/")[0]
    port = authority.rpartition(":")[2] if ":" in authority else ""
    secrets = [behind[1:]] if behind else []
    # A password may hold a letter that ends a user, a host or a path. Then hide too much.
    if "@" in behind and (
        "@" in authority or (port and not port.isdigit()) or (port and base == authority)
    ):
        return f"{scheme}{mark}...", [rest]
    if mark and "@" in (base if "@" in authority or ":" in authority else authority):
        user, _, base = base.rpartition("@")
        secrets.append(user)
        base = f"...@{base}"
    return f"{scheme}{mark}{base}{behind[:1]}{'...' if behind else ''}", secrets
