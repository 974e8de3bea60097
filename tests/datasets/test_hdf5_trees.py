"""HDF5 and netCDF-4 files, converted: items, filters, dimensions, attributes."""

from __future__ import annotations

import importlib.util
import json
from base64 import b64decode

import fsspec
import h5py
import hdf5plugin
import numpy as np
import pytest
import zarr
from checkout import TESTS

import caterva_cffi as cat
from caterva_cffi.__main__ import main
from caterva_cffi.datasets.opening import open_tree

ITEMS = np.random.default_rng(0).integers(0, 1000, (50, 40, 9)).astype("f4")
CHUNKS = (20, 16, 9)
FILTERS = {
    "blosc2": hdf5plugin.Blosc2(cname="zstd"),
    "bitshuffle": hdf5plugin.Blosc2(filters=hdf5plugin.Blosc2.BITSHUFFLE),
    "gzip": {"compression": "gzip"},
    "gzip with shuffle": {"compression": "gzip", "shuffle": True},
    "shuffle": {"shuffle": True},
    "lzf": {"compression": "lzf"},
    "checksum": {"compression": "gzip", "fletcher32": True},
    "blosc2 with checksum": {**hdf5plugin.Blosc2(), "fletcher32": True},
    "checksum alone": {"fletcher32": True},
    "none": {},
}


def convert(file, out, **options):
    cat.convert(file, out, verify=True, **options)
    return zarr.open(out, mode="r")


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<i2"])
@pytest.mark.parametrize("name", FILTERS)
def test_items_with_any_filters(name, dtype, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        array = file.create_dataset(
            "a", ITEMS.shape, dtype, chunks=CHUNKS, fillvalue=3, **FILTERS[name]
        )
        array[:35] = ITEMS[:35]  # the other chunks are not there
    expected = np.where(np.arange(50)[:, None, None] < 35, ITEMS, 3)
    tree = open_tree(tmp_path / "a.h5", "a")
    read = tree.arrays[""].read((slice(3, 50), slice(16, 17), slice(0, 9)))
    np.testing.assert_array_equal(read, expected[3:50, 16:17])
    tree.close()
    for chunks in (None, (13, 40, 5)):
        z = convert(f"{tmp_path / 'a.h5'}:a", tmp_path / f"{chunks}.zarr", chunks=chunks)
        np.testing.assert_array_equal(z[...], expected)
        assert z.fill_value == 3 and z.dtype == np.dtype(dtype).newbyteorder("=")
    assert z.chunks == (13, 40, 5)


@pytest.mark.parametrize("shape", [(3,), (70_001,), (300_000,)])
def test_checksums_of_hdf5(shape, tmp_path):
    """Of an odd number of bytes, of many, and of one sum that is 0."""
    items = np.random.default_rng(0).integers(0, 256, shape, "u1")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, content in (("noise", items), ("ones", items * 0 + 255), ("zeros", items * 0)):
            file.create_dataset(name, data=content, chunks=shape, fletcher32=True)
        file.flush()
        place = file["noise"].id.get_chunk_info(0).byte_offset
    root = convert(tmp_path / "a.h5", tmp_path / "a.zarr")
    np.testing.assert_array_equal(root["noise"][...], items)
    data = bytearray((tmp_path / "a.h5").read_bytes())
    data[place + shape[0] // 2] ^= 4
    (tmp_path / "a.h5").write_bytes(data)
    with pytest.raises(cat.FormatError, match="not what its checksum"):
        cat.convert(tmp_path / "a.h5", tmp_path / "b.zarr")


FILES = TESTS / "golden/hdf5"
NAMES = [
    *("grid", "row", "grid-big", "row-big", "grid-structure", "grid-noise", "row-noise"),
    *("grid-bitshuffle", "grid-delta", "row-delta", "grid-fletcher32", "row-fletcher32"),
    *("grid-trunc-prec", "refused-shuffle"),
]
WRITERS = {
    "hdf5plugin-4.2.0.h5": NAMES,
    "hdf5plugin-7.1.0.h5": [*NAMES, "grid-wide", "grid-direct", "grid-several"],
    "pytables-3.8.0.h5": ["grid", "row", "row-noise", "grid-noise", "table", "grid-fletcher32"],
    "pytables-3.11.1.h5": ["grid", "row", "row-noise", "grid-noise", "table", "grid-fletcher32"],
    "h5netcdf-1.8.2.nc": ["grid"],
}


@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
@pytest.mark.parametrize("file", WRITERS)
def test_what_every_writer_wrote(file, tmp_path):
    spec = importlib.util.spec_from_file_location("make_hdf5", TESTS / "golden/make_hdf5.py")
    written = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(written)
    for name in WRITERS[file]:
        expected = written.items(name)
        found = convert(FILES / file, tmp_path / name, path=name)[...]
        assert found.astype(expected.dtype).tobytes() == expected.tobytes()
    with h5py.File(FILES / file) as opened:
        assert {name for name, each in opened.items() if each.chunks} - {"refused-cut"} == {
            *WRITERS[file]
        }


def test_a_chunk_that_was_cut_is_refused(tmp_path):
    with pytest.raises(cat.FormatError, match=r"a frame of shape \(4, 15, 2\) .*expected \(4, 15"):
        cat.convert(FILES / "hdf5plugin-7.1.0.h5", tmp_path / "a.zarr", path="refused-cut")


def test_frames_are_copied(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, dtype, items, chunks in (
            ("3d", "<f4", ITEMS, CHUNKS),
            ("1d", "<f4", ITEMS.reshape(-1)[:16384], 4096),
            ("big endian", ">f4", ITEMS, CHUNKS),
            ("with checksum", "<f4", ITEMS, CHUNKS),
        ):
            options = {"chunks": chunks, "dtype": dtype, **FILTERS["blosc2"]}
            options["fletcher32"] = "checksum" in name
            file.create_dataset(name, data=items, **options)
    for name, copied in (("3d", 9), ("1d", 4), ("big endian", 0), ("with checksum", 9)):
        out = tmp_path / f"{name}.zarr"
        assert cat.convert(tmp_path / "a.h5", out, path=name, verify=True).copied == copied
        [codec] = zarr.open_array(out).metadata.codecs
        assert codec.cname == ("zstd" if copied else "lz4")
        assert cat.verify(out).decodes
    done = cat.convert(f"{tmp_path / 'a.h5'}:3d", tmp_path / "a.b2nd", verify=True)
    assert done.copied == 9
    np.testing.assert_array_equal(cat.open(tmp_path / "a.b2nd", mode="r")[...], ITEMS)


@pytest.mark.parametrize("how", ["another shape", "the items as they are"])
def test_a_chunk_that_is_unlike_the_others(how, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        array = file.create_dataset("a", data=ITEMS, chunks=CHUNKS, **FILTERS["blosc2"])
        if how == "another shape":
            frame = cat.asarray(ITEMS[:20, :16], chunks=CHUNKS, blocks=(1, 16, 9), contiguous=True)
            array.id.write_direct_chunk((20, 0, 0), frame.to_cframe())
        else:
            array.id.write_direct_chunk((20, 0, 0), ITEMS[:20, :16].tobytes(), filter_mask=1)
    done = cat.convert(tmp_path / "a.h5", tmp_path / "a.zarr", verify=True)
    assert (done.copied, done.encoded) == (8, 1)
    expected = ITEMS.copy()
    expected[20:40, :16] = ITEMS[:20, :16]
    np.testing.assert_array_equal(zarr.open(tmp_path / "a.zarr")["a"][...], expected)


def test_dimensions_as_netcdf_has_them(tmp_path):
    """As netCDF-C writes them, also a coordinate of two dimensions, and one that is no variable."""
    with h5py.File(tmp_path / "a.nc", "w", track_order=True) as file:
        for number, (name, shape) in enumerate({"x": (3, 4), "y": (4,), "t": (2,)}.items()):
            scale = file.create_dataset(name, shape, "f8")
            scale.make_scale(name)
            scale.attrs["_Netcdf4Dimid"] = np.int32(number)
        file["x"].attrs["_Netcdf4Coordinates"] = np.array([0, 1], "i4")
        file["t"].attrs["NAME"] = b"This is a netCDF dimension but not a netCDF variable         2"
        field = file.create_dataset("_nc4_non_coord_field", (2, 4), "f4", fillvalue=1e20)
        field.attrs["_FillValue"] = np.array([1e20], "f4")
        for axis, name in enumerate("ty"):
            field.dims[axis].attach_scale(file[name])
        plain = file.create_dataset("group/plain", (4, 5), "i2")
        plain.dims[0].attach_scale(file["y"])
        file.create_dataset("group/scalar", data=np.int8(3))
    root = convert(tmp_path / "a.nc", tmp_path / "a.zarr")
    names = {name: z.metadata.dimension_names for name, z in root.arrays()}
    assert names == {"x": ("x", "y"), "y": ("y",), "field": ("t", "y")}
    assert root["group/plain"].metadata.dimension_names == ("y", None)
    [(name, bits)] = root["field"].attrs.items()
    assert name == "_FillValue" and np.frombuffer(b64decode(bits), "<f8") == np.float32(1e20)
    assert root["field"].fill_value == np.float32(1e20)
    assert root["group/scalar"][()] == 3
    assert root.metadata.consolidated_metadata is not None


def test_attributes_become_json(tmp_path):
    given = {
        "text": "ä",
        "bytes": np.bytes_(b"abc"),
        "texts": ["a", "b"],
        "one": np.array([2], "i2"),
        "many": np.array([[1.5, np.nan]]),
        "flag": np.bool_(True),
        "nothing": h5py.Empty("S1"),
    }
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs.update(given)
        array = file.create_dataset("a", (1,), "i4")
        array.attrs["complex"] = 1j
        array.attrs["reference"] = array.ref
        array.attrs["kept"] = 1
    root = convert(tmp_path / "a.h5", tmp_path / "a.zarr")
    assert str(dict(sorted(root.attrs.items()))) == str(
        {
            "bytes": "abc", "flag": True, "many": [[1.5, np.nan]], "nothing": "", "one": 2,
            "text": "ä", "texts": ["a", "b"],
        }
    )  # fmt: skip
    assert dict(root["a"].attrs) == {"kept": 1}
    tree = open_tree(tmp_path / "a.h5")
    assert sorted(tree.arrays["a"].details["attributes left out"]) == ["complex", "reference"]
    tree.close()


@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
def test_dtypes_of_hdf5(tmp_path):
    texts = np.array(["a", "ü" * 30, ""], object)
    pairs = np.array([(1, 2.5)] * 3, [("a", "i4"), ("b", "f8")])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("text", data=texts, dtype=h5py.string_dtype(), chunks=(2,))
        file.create_dataset("fixed", data=np.array([b"ab", b"c"], "S2"))
        file.create_dataset("enum", data=[0, 1], dtype=h5py.enum_dtype({"A": 0, "B": 1}, "i1"))
        file.create_dataset("flags", data=np.array([True, False]))
        file.create_dataset("pairs", data=pairs, chunks=(2,), compression="gzip")
        file["type"] = np.dtype("f8")
        file.create_dataset("lists", (2,), h5py.vlen_dtype("i4"))
    with pytest.raises(cat.UnsupportedError, match="dataset '/lists' has items of object, which"):
        cat.convert(tmp_path / "a.h5", tmp_path / "a.zarr")
    root = convert(tmp_path / "a.h5", tmp_path / "a.zarr", exclude=["lists"])
    assert root["text"][...].tolist() == texts.tolist()
    assert root["fixed"][...].tolist() == [b"ab", b"c"]
    assert (root["enum"].dtype, root["enum"][1]) == (np.int8, 1)
    assert root["flags"][...].tolist() == [True, False]
    np.testing.assert_array_equal(root["pairs"][...], pairs)


@pytest.mark.parametrize("dtype", [">f4", ">i8", [("a", ">i4"), ("b", "<f8")]])
def test_big_endian_items_without_dimensions(dtype, tmp_path):
    item = np.array((3, 2.5) if isinstance(dtype, list) else 3, dtype)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", data=item)
    if isinstance(dtype, list):
        cat.convert(f"{tmp_path / 'a.h5'}:a", tmp_path / "a.b2nd", verify=True)
        assert cat.open(tmp_path / "a.b2nd", mode="r")[()] == item
    else:
        assert convert(tmp_path / "a.h5", tmp_path / "a.zarr")["a"][()] == 3


def test_what_cannot_be_read_is_listed_and_refused(tmp_path, capsys):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", data=ITEMS)
        file.create_dataset("g/lists", (2,), h5py.vlen_dtype("i4"))
        file.create_dataset("g/nothing", data=h5py.Empty("f4"))
        file.create_dataset("g/references", (2,), h5py.ref_dtype)
        file["link"] = h5py.ExternalLink("none.h5", "/a")
    path = str(tmp_path / "a.h5")
    assert main(["ls", path, "--json"]) == 0
    kinds = {row["path"]: row["kind"] for row in json.loads(capsys.readouterr().out)}
    bad = ["/g/lists", "/g/nothing", "/g/references", "/link"]
    assert kinds == {
        "/": "group",
        "/a": "array",
        "/g": "group",
        **dict.fromkeys(bad, "not readable"),
    }
    assert main(["ls", path]) == 0
    assert f"{'/g/nothing':24} not readable: dataset '/g/nothing' has no items" in (
        capsys.readouterr().out
    )
    assert main(["info", path, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["arrays"], sorted(told["not readable"])) == (["a"], [name[1:] for name in bad])
    for left in range(len(bad)):
        command = ["convert", path, str(tmp_path / "out")]
        assert main([*command, *(f"--exclude={name[1:]}" for name in bad[:left])]) == 2
        assert "leave it out (exclude)\n" in capsys.readouterr().err
    root = convert(path, tmp_path / "out", exclude=["g", "link"])
    assert list(root) == ["a"]


def test_items_that_zarr_cannot_hold_are_named(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("g/a", (3,), [("m", "f4", (2, 2)), ("k", "u1")])
    with pytest.raises(cat.UnsupportedError, match=r"^/g/a, of .*; leave it out \(exclude\)$"):
        cat.convert(tmp_path / "a.h5", tmp_path / "a.zarr")
    assert not (tmp_path / "a.zarr").exists()
    cat.convert(f"{tmp_path / 'a.h5'}:g/a", tmp_path / "a.b2nd", verify=True)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("/none", "'g/link' is a link to something that is not there"),
        ("/", "a group that it is in"),
    ],
)
def test_links_that_lead_nowhere_or_back(target, message, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("g/a", data=ITEMS[0, 0])
        file["g/same"] = file["g/a"]
        file["g/link"] = h5py.SoftLink(target)
    with pytest.raises(cat.UnsupportedError, match=message):
        cat.convert(tmp_path / "a.h5", tmp_path / "a.zarr")
    root = convert(tmp_path / "a.h5", tmp_path / "a.zarr", exclude=["*/link"])
    np.testing.assert_array_equal(root["g/same"][...], ITEMS[0, 0])


def test_a_name_that_netcdf_would_give_another_variable(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["_nc4_non_coord_x"], file["_nc4_non_coord_y"] = 1, 2, 3
    root = convert(tmp_path / "a.h5", tmp_path / "a.zarr")
    assert {name: int(z[()]) for name, z in root.arrays()} == {
        "x": 1, "_nc4_non_coord_x": 2, "y": 3
    }  # fmt: skip


def test_a_path_that_is_not_there(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", data=1)
    with pytest.raises(cat.ArgumentError, match=r"a\.h5 has no group or dataset 'b/c'"):
        cat.convert(f"{tmp_path / 'a.h5'}:b/c", tmp_path / "a.zarr")


def test_over_a_network(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("g/a", data=ITEMS, chunks=CHUNKS, **FILTERS["blosc2"])
    url = f"memory://{tmp_path.name}.h5"
    with fsspec.open(url, "wb") as there:
        there.write((tmp_path / "a.h5").read_bytes())
    assert cat.convert(f"{url}:g/a", tmp_path / "a.zarr", verify=True).copied == 9
