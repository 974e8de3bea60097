"""The documentation site: `python3 run.py docs` builds it in build/site (Sphinx, MyST, Furo)."""

from __future__ import annotations

import inspect
import os
import posixpath
import re
import subprocess
import sys
from dataclasses import is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sphinx.util.inspect import stringify_signature

import caterva_cffi

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]

project = "caterva_cffi"
version = release = caterva_cffi.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc", "sphinx_copybutton"]
nitpicky = True

# Docstrings are numpydoc's; what stands in single backticks in them is code.
default_role = "code"
numpydoc_show_class_members = False
autodoc_mock_imports = ["h5py", "hdf5plugin", "obspec_utils", "obstore", "virtualizarr"]
autodoc_default_options = {"members": True}
autodoc_member_order = "groupwise"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80
python_display_short_literal_types = True
toc_object_entries_show_parents = "hide"

myst_heading_anchors = 4
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "furo"
html_title = "caterva_cffi"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False

OUTSIDE = {"README.md": "index", "CHANGELOG.md": "changelog"}
"""Files that the repository shows at its top, and the pages that show them here."""

HELP = re.compile("<!-- the help of: (.+) -->")
MADE_BY_OTHERS = "NDArray", "RemoteArray", "ZarrArray", "CatervaPipeline"
"""Classes that users do not call."""

LINK = re.compile(r"(?<!!)\[([^\[\]]+)\]\(([^)\s#:]+)(#[^)\s]*)?\)")


def _put_outside_pages(app: Sphinx, name: str, content: list[str]) -> None:
    """Put the README and the changelog into their pages, and let links lead to pages."""
    sources = {page: source for source, page in OUTSIDE.items()}
    text = content[0]
    if name in sources:
        shown = (ROOT / sources[name]).read_text(encoding="utf-8")
        text = _links(shown, sources[name], name) + "\n" + text
    content[0] = HELP.sub(_help, _links(text, f"docs/{name}.md", name))


def _help(commands: re.Match[str]) -> str:
    """Return what the commands say of themselves."""

    def section(command: str) -> str:
        python = [sys.executable, "-m", "caterva_cffi", command, "--help"]
        variables = {**os.environ, "COLUMNS": "88", "NO_COLOR": "1"}
        said = subprocess.check_output(python, env=variables, text=True)
        return f"## caterva {command}\n\n```text\n{said}```\n"

    return "\n".join(map(section, commands[1].split()))


def _links(text: str, source: str, name: str) -> str:
    """Return a text whose links between the repository's folders are links between pages."""

    def on_site(link: re.Match[str]) -> str:
        words, target, anchor = link[1], link[2], link[3] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if path in OUTSIDE:
            path = f"docs/{OUTSIDE[path]}.md"
        if path.startswith("docs/"):  # Sphinx tells whether it is there
            here = posixpath.dirname(f"docs/{name}")
            return f"[{words}]({posixpath.relpath(path, here)}{anchor})"
        if not (ROOT / path).exists():
            raise FileNotFoundError(f"{source} links to {path}, which is not there")
        return words  # the site has no page of it

    return LINK.sub(on_site, text)


def _show_fields(app: Sphinx, what: str, name: str, obj: object, *_: Any) -> tuple[str, str] | None:
    """Show the fields of a dataclass; its `__new__` only refuses unknown keyword arguments."""
    if name.endswith(MADE_BY_OTHERS):
        return "", ""
    if what != "class" or not is_dataclass(obj):
        return None
    return stringify_signature(
        inspect.signature(obj.__init__.__get__(obj)), show_annotation=False
    ), ""


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to Sphinx."""
    app.connect("source-read", _put_outside_pages)
    app.connect("autodoc-process-signature", _show_fields)
    return {"parallel_read_safe": True}
