"""Metalayers through Zarr and back; and what a Zarr array has through a frame and back."""

from __future__ import annotations

import base64

import fsspec
import numpy as np
import pytest
import zarr

import caterva_cffi as cat
from caterva_cffi.datasets.metalayers import ATTRIBUTE

ITEMS = np.arange(24.0).reshape(4, 6)
FIXED = {"mine": b"\0\xff text", "empty": b"", "ä\udcff": b"name of any bytes"}
VARIABLE = {"note": b"\x81\xa1a\x01", "long": bytes(70_000), "zarr": b"a user's"}


def write(path, items=ITEMS, fixed=FIXED, variable=VARIABLE, **options):
    with cat.asarray(items, chunks=(2, 6), urlpath=path, meta=fixed, **options) as array:
        for name, content in variable.items():
            array.vlmeta[name] = content
    return path


def layers(path):
    with cat.open(path, mode="r") as array:
        fixed = {name: array.meta[name] for name in array.meta}
        for name in ("caterva", "b2nd", "crc32"):
            fixed.pop(name, None)
        return fixed, dict(array.vlmeta)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("kind", ["file", "directory", "checked", "URL", "empty"])
def test_metalayers_come_back_from_zarr_and_go_from_frame_to_frame(kind, zarr_format, tmp_path):
    options = {"contiguous": kind != "directory", "checksum": kind == "checked"}
    items = ITEMS[:0] if kind == "empty" else ITEMS
    source = write(tmp_path / "a.b2nd", items, **options)
    if kind == "URL":
        source = f"memory://{tmp_path.name}.b2nd"
        with fsspec.open(source, "wb") as there:
            there.write((tmp_path / "a.b2nd").read_bytes())
    cat.convert(source, tmp_path / "a.zarr", zarr_format=zarr_format, verify=True)
    attributes = dict(zarr.open_array(tmp_path / "a.zarr", mode="r").attrs)
    assert attributes.keys() == {ATTRIBUTE}
    assert base64.b64decode(attributes[ATTRIBUTE]["fixed"]["mine"]) == FIXED["mine"]
    cat.convert(tmp_path / "a.zarr", tmp_path / "b.b2nd", verify=True)
    cat.convert(source, tmp_path / "c.b2nd", clevel=1, verify=True)
    for name in "bc":
        assert layers(tmp_path / f"{name}.b2nd") == (FIXED, VARIABLE)
        assert cat.verify(tmp_path / f"{name}.b2nd").decodes


def test_what_zarr_has_comes_back_from_a_frame(tmp_path):
    given = {"attributes": {"u": "K", "nan": float("nan")}, "dimension_names": ["y", None]}
    z = zarr.create_array(
        tmp_path / "a", shape=(4, 6), chunks=(2, 6), dtype="f8", fill_value=np.nan, **given
    )
    z[:2] = 1
    cat.convert(tmp_path / "a", tmp_path / "a.b2nd")
    assert layers(tmp_path / "a.b2nd")[1].keys() == {"zarr"}
    cat.convert(tmp_path / "a.b2nd", tmp_path / "again.b2nd")
    cat.convert(tmp_path / "again.b2nd", tmp_path / "b")
    b = zarr.open_array(tmp_path / "b", mode="r")
    assert b.metadata.dimension_names == ("y", None) and np.isnan(b.fill_value)
    assert str(dict(b.attrs)) == str(given["attributes"])
    np.testing.assert_array_equal(b[...], z[...])


def test_as_many_metalayers_as_a_frame_holds(tmp_path):
    fixed = {f"f{n}": b"x" for n in range(14)}
    variable = {f"v{n}": b"y" for n in range(16)}
    write(tmp_path / "a.b2nd", fixed=fixed, variable=variable, contiguous=True)
    cat.convert(tmp_path / "a.b2nd", tmp_path / "b.b2nd", checksum=True)  # its own metalayer
    cat.convert(tmp_path / "b.b2nd", tmp_path / "b.zarr")
    zarr.open_array(tmp_path / "b.zarr").attrs["more"] = 1
    assert layers(tmp_path / "b.b2nd") == (fixed, variable)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(cat.CapacityError, match="17 metalayers of variable length; a frame holds"):
        cat.convert(tmp_path / "b.zarr", tmp_path / "c.b2nd")
    assert sorted(tmp_path.iterdir()) == before


def test_a_metalayer_of_the_same_name_is_not_lost(tmp_path):
    cat.convert(write(tmp_path / "a.b2nd"), tmp_path / "a.zarr")
    zarr.open_array(tmp_path / "a.zarr").attrs["more"] = 1
    with pytest.raises(cat.UnsupportedError, match="there is a metalayer 'zarr' already"):
        cat.convert(tmp_path / "a.zarr", tmp_path / "b.b2nd")


@pytest.mark.parametrize(
    "other", [7, {"fixed": {}}, {"fixed": {}, "variable": 3}, {"fixed": {"a": "ä"}, "variable": {}}]
)
def test_an_attribute_that_is_something_else_stays(other, tmp_path):
    zarr.create_array(tmp_path / "a", data=ITEMS, attributes={ATTRIBUTE: other})
    cat.convert(tmp_path / "a", tmp_path / "b.b2nd")
    cat.convert(tmp_path / "b.b2nd", tmp_path / "c")
    assert dict(zarr.open_array(tmp_path / "c").attrs) == {ATTRIBUTE: other}
