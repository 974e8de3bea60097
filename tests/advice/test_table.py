"""Advice as text: a table with columns for what was chosen."""

from __future__ import annotations

from caterva_cffi.advice.table import Advice, Predicted


def test_columns():
    plain = Predicted((10, 20), (5, 5), 2.0, (0.5, 2e-5), 0.25)
    shapes, names = (plain.chunks, plain.blocks), ("rows", "a<b")
    text = str(Advice(*shapes, names, (plain, plain)))
    assert "500 ms  20 µs    250 ms" in text and "codec" not in text
    lossy = {"cname": "zfp_accuracy", "tolerance": 0.1}
    chosen = Predicted(*shapes, 9.0, (1.5, 1e-10), 1.5, lossy, 0.04)
    default = Predicted(*shapes, 2.0, (1.5, 1e-10), 1.5, {"cname": "lz4"})
    advice = Advice(*shapes, names, (chosen, default), lossy, {})
    first, head, advised, usual = str(advice).splitlines()
    assert first == "chunks (10, 20), blocks (5, 5), zfp_accuracy, tolerance 0.1"
    assert head.split()[-2:] == ["error", "codec"]
    assert "0.04" in advised and "1.5 s" in advised
    assert "none" in usual and usual.endswith("lz4, level 5, shuffle")
    assert "<td>a&lt;b</td>" in advice._repr_html_()
