"""The reader in docs/spec, which stands on no path."""

from __future__ import annotations

import importlib.util
from types import ModuleType

from checkout import ROOT

SPEC = ROOT / "docs/spec"


def load() -> ModuleType:
    """Return the module."""
    spec = importlib.util.spec_from_file_location("reference_reader", SPEC / "reader.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reader = load()
