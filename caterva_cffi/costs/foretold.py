"""What the cache of layouts would hold after reads that are only counted."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

from caterva_cffi.planning import cache
from caterva_cffi.planning.cache import Cache, Known

__all__ = ["Foretold"]


class Foretold(Cache):
    """A cache as large as the shared one, which begins with what that one knows.

    It is made for one selection: what is counted of a chunk first is known when more is counted of
    the same chunk. The shared cache stays as it is.
    """

    def __init__(self) -> None:
        super().__init__(cache.shared.nbytes)

    def get(self, key: Hashable, version: Hashable) -> Known | None:
        """Return what would be known of an object; see `Cache.get`."""
        known = super().get(key, version)
        if known is None:
            known = cache.shared.get(key, version)
            if known is not None:
                known = replace(known, heads=known.heads.copy())
                self.put(key, version, known)
        return known
