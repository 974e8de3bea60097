"""What arrays tell people: repr, reports and drawings."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

import caterva_cffi as cat
from caterva_cffi import Codec, Filter

ARRAYS = {
    "0-d": {"shape": (), "chunks": (), "blocks": ()},
    "1-d": {"shape": (100,), "chunks": (30,), "blocks": (10,)},
    "2-d": {"shape": (20, 30), "chunks": (7, 8), "blocks": (3, 4)},
    "3-d": {"shape": (5, 20, 30), "chunks": (2, 20, 10), "blocks": (1, 5, 10)},
    "16-d": {"shape": (2,) * 16, "chunks": (2,) * 16, "blocks": (1,) * 16},
    "zero-length": {"shape": (0, 5), "chunks": (2, 5), "blocks": (1, 1)},
    "no chunks": {"shape": (0, 0), "chunks": (0, 0), "blocks": (0, 0)},
    "one item": {"shape": (1, 1), "chunks": (1, 1), "blocks": (1, 1)},
    "flat": {"shape": (2, 10**9), "chunks": (2, 10**7), "blocks": (1, 10**6)},
    "many blocks": {"shape": (1000, 1000), "chunks": (500, 500), "blocks": (2, 2)},
    "many chunks": {"shape": (5, 5000), "chunks": (1, 10), "blocks": (1, 1)},
}
each_array = pytest.mark.parametrize("geometry", ARRAYS.values(), ids=ARRAYS)


def texts(root, tag):
    return ["".join(element.itertext()) for element in root.iter(tag)]


def lines(root, colour):
    return [line for line in root.iter("line") if line.get("stroke") == colour]


@each_array
def test_repr_is_one_line(geometry):
    text = repr(cat.zeros(dtype="<f4", **geometry))
    assert text == (
        f"<caterva_cffi.NDArray {geometry['shape']} float32, chunks {geometry['chunks']}, "
        f"blocks {geometry['blocks']}, LZ4 {text.split('LZ4 ')[1].split('x')[0]}x, memory>"
    )


def test_repr_tells_where(tmp_path):
    assert repr(cat.zeros(5, 3, memframe=True)).endswith(", frame in memory>")
    path = tmp_path / "a<b>"
    array = cat.zeros(5, 3, urlpath=path, codec=Codec.ZSTD)
    assert str(path) in repr(array)
    assert "ZSTD" in repr(array)
    assert "|S3" in repr(array)
    array.close()
    assert repr(array) == "<caterva_cffi.NDArray, closed>"


def test_info_has_the_lines_of_python_caterva():
    array = cat.asarray(
        np.arange(600, dtype="<i4").reshape(20, 30),
        chunks=(7, 8),
        blocks=(3, 4),
        codec=Codec.ZLIB,
        clevel=8,
        filters=[Filter.DELTA, Filter.BITSHUFFLE],
        filtersmeta=[0, 0],
    )
    report = repr(array.info)
    found = dict(re.split(r"\s+: ", line, maxsplit=1) for line in report.splitlines())
    expected = {
        "Type": "NDArray",
        "Itemsize": "4",
        "Shape": "(20, 30)",
        "Chunks": "(7, 8)",
        "Blocks": "(3, 4)",
        "Comp. codec": "ZLIB",
        "Comp. level": "8",
        "Comp. filters": "[DELTA, BITSHUFFLE]",
        "Comp. ratio": f"{array.cratio:.2f}",
    }
    assert expected.items() <= found.items()
    assert [name for name in found if name in expected] == list(expected)
    assert [name for name, _ in array.info_items] == list(found)
    assert found["Dtype"] == "int32"
    assert found["Where"] == "memory"
    assert found["Stored"] == f"{array.cbytes} of 2400 bytes in 12 chunks"
    # Colons stand below each other.
    assert len({line.index(" : ") for line in report.splitlines()}) == 1


def test_long_lines_are_wrapped():
    report = repr(cat.zeros(**ARRAYS["16-d"], dtype="i1").info)
    assert max(map(len, report.splitlines())) <= 80


def test_codecs_and_filters_without_a_name():
    array = cat.zeros(5, 1, codec=201, filters=[202])
    items = dict(array.info_items)
    assert items["Comp. codec"] == 201
    assert items["Comp. filters"] == "[202]"
    assert "201" in repr(array)


@each_array
def test_html_is_well_formed(geometry):
    array = cat.zeros(dtype="<f4", **geometry)
    root = ElementTree.fromstring(array._repr_html_())
    assert texts(root, "th") == [name for name, _ in array.info_items]
    assert texts(root, "td") == [str(value) for _, value in array.info_items]
    table = ElementTree.fromstring(array.info._repr_html_())
    assert texts(table, "td") == texts(root, "td")
    drawings = list(root.iter("svg"))
    assert len(drawings) == (bool(geometry["shape"]) and 0 not in geometry["shape"])
    for drawing in drawings:
        _, _, width, height = map(float, drawing.get("viewBox").split())
        assert 10 < width < 400
        assert 10 < height < 400
        ends = [float(line.get(name)) for line in drawing.iter("line") for name in ("x1", "x2")]
        assert all(0 <= end <= width for end in ends)
        assert len(ends) < 4000


def test_names_are_escaped(tmp_path):
    path = tmp_path / '<b>&"x"'
    array = cat.zeros(5, dtype=[("<a>", "i4"), ("&", "f8")], urlpath=path)
    root = ElementTree.fromstring(array._repr_html_())
    assert texts(root, "td")[-1] == str(path)
    assert "<a>" in texts(root, "td")[2]


@pytest.mark.parametrize(
    ("geometry", "chunk_lines", "block_lines"),
    [
        # Lines across: chunks end at 7 and 14; blocks at 3, 6, 10, 13, 17. Down: chunks at 8, 16
        # and 24; blocks at 4, 12, 20 and 28.
        (ARRAYS["2-d"], 2 + 3, 5 + 4),
        (ARRAYS["1-d"], 3, 6),
        (ARRAYS["3-d"], 2, 3),
        (ARRAYS["one item"], 0, 0),
    ],
    ids=["2-d", "1-d", "3-d", "one item"],
)
def test_the_drawing_shows_chunks_and_blocks(geometry, chunk_lines, block_lines):
    root = ElementTree.fromstring(cat.zeros(dtype="u1", **geometry)._repr_html_())
    assert len(lines(root, "#333")) == chunk_lines
    assert len(lines(root, "#bbb")) == block_lines
    (title,) = texts(root, "title")
    assert title.startswith("chunks (strong) and blocks (fine)")
    assert ("last two dimensions" in title) is (len(geometry["shape"]) > 2)


def test_chunks_stand_where_they_are():
    root = ElementTree.fromstring(cat.zeros(dtype="u1", **ARRAYS["2-d"])._repr_html_())
    (frame,) = root.iter("rect")
    width, height = float(frame.get("width")), float(frame.get("height"))
    down = [line for line in lines(root, "#333") if line.get("x1") == line.get("x2")]
    across = [line for line in lines(root, "#333") if line.get("y1") == line.get("y2")]
    assert [float(line.get("x1")) for line in down] == pytest.approx(
        [width * k / 30 for k in (8, 16, 24)], abs=0.1
    )
    assert [float(line.get("y1")) for line in across] == pytest.approx(
        [height * k / 20 for k in (7, 14)], abs=0.1
    )


def test_closed_arrays():
    array = cat.zeros(5, 3)
    report = array.info
    array.close()
    assert array._repr_html_() == "&lt;caterva_cffi.NDArray, closed&gt;"
    for tell in (lambda: repr(report), report._repr_html_):
        with pytest.raises(cat.ClosedError):
            tell()
