"""What counted reads would leave in the cache is known to later ones, and not kept."""

from __future__ import annotations

import caterva_cffi as cat
from caterva_cffi.costs.foretold import Foretold
from caterva_cffi.planning import cache
from caterva_cffi.planning.cache import Known
from caterva_cffi.planning.frame import Heads
from caterva_cffi.planning.layout import whole_layout


def known_of(n):
    layout = whole_layout(bytes(cat.zeros((n,), dtype="u1").to_cframe()))
    return Known(layout, {(0, 1): b"a"}, Heads(100))


def test_it_begins_with_what_is_shared_and_changes_nothing(monkeypatch):
    monkeypatch.setattr(cache, "shared", cache.Cache(1 << 20))
    cache.shared.put("a", 1, known_of(5))
    foretold = Foretold()
    foretold.get("a", 1).heads.put(0, b"head")
    foretold.put("b", None, known_of(6))
    assert foretold.get("a", 1).heads.get(0) == b"head"
    assert foretold.get("b", None).layout.grid.shape == (6,)
    assert foretold.get("a", 2) is None and foretold.get("c", 1) is None
    assert cache.shared.get("a", 1).heads.nbytes == 0 and cache.shared.get("b", None) is None
