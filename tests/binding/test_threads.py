"""How many threads decode and encode."""

from __future__ import annotations

import caterva_cffi as cat


def test_threads_follow_what_is_set():
    before = cat.set_nthreads(3)
    try:
        assert cat.versions().nthreads == 3
    finally:
        cat.set_nthreads(before)
    assert cat.versions().processors >= 1
