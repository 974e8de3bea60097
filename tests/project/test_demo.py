"""The demo: every kind of input on small arrays, what it says about bad ones, what it leaves."""

from __future__ import annotations

import json
import math

import h5py
import matplotlib
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.demo import axes, command, copies, reads, sources, text

matplotlib.use("Agg")

DATA = np.random.default_rng(1).integers(0, 50, (20, 30, 40)).astype("i2")
SHAPES = st.lists(st.integers(1, 40), min_size=1, max_size=4)
WAYS = ("Caterva", "Caterva advised", "Zarr's own", "sharding", "Blosc")


def save(path, data, name=""):
    """Write an array as the kind of file that the path's suffix names; return its argument."""
    if path.suffix == ".npy":
        np.save(path, data)
    elif path.suffix == ".h5":
        with h5py.File(path, "a") as file:
            file[name or "data"] = data
    elif name:
        zarr.open_group(path, mode="a").create_array(name, data=data)
    else:
        zarr.create_array(path, data=data)
    return f"{path}:{name}" if name else str(path)


def netcdf(path, group="/"):
    """Write what the netCDF library makes of a variable with coordinates, and one without."""
    with h5py.File(path, "w") as file:
        inside = file.require_group(group)
        days = inside.create_dataset("time", data=np.arange(20.0))
        days.attrs["units"] = "days since 2020-01-01 00:00:00"
        inside["lat"] = np.linspace(40, 54.5, 30)
        inside["lon"] = np.arange(40, dtype="f4")
        t2m = inside.create_dataset("t2m", data=DATA)
        t2m.attrs.update({"scale_factor": 0.5, "add_offset": 10.0, "units": "K"})
        for number, name in enumerate(("time", "lat", "lon")):
            inside[name].make_scale(name)
            t2m.dims[number].attach_scale(inside[name])
    return path


def run(capsys, *arguments):
    """Run the demo; return its exit code, its output, and what it complained about."""
    code = command.main(list(map(str, arguments)))
    output = capsys.readouterr()
    return code, output.out, output.err


@pytest.mark.parametrize(
    ("file", "name"),
    [
        *[("a.npy", ""), ("a.h5", ""), ("a.h5", "group/b"), ("a.zarr", ""), ("a.zarr", "group/b")],
        ("a.h5", "odd name: 5 %/β"),
    ],
)
def test_inputs(file, name, tmp_path, capsys):
    argument = save(tmp_path / file, DATA, name)
    options = ["--results", tmp_path / "out", "--repeat", 1, "--chunks", "11,16,40"]
    code, output, errors = run(capsys, argument, *options)
    assert (code, errors) == (0, "")
    for said in ("along axes 1 x 2 (the longest)", "everything", "stored", "(11, 16, 40)"):
        assert said in output
    picture = next((tmp_path / "out").glob("*/comparison.png"))
    assert str(picture) in output and f"rm -r {picture.parent}" in output
    assert picture.read_bytes().startswith(b"\x89PNG")
    for copy in ("caterva.zarr", "caterva-zstd.zarr", "blosc.zarr", "shards.zarr", "own.zarr"):
        np.testing.assert_array_equal(zarr.open_array(picture.with_name(copy), mode="r"), DATA)
    metadata = json.loads((picture.parent / "caterva.zarr" / "zarr.json").read_text())
    assert [codec["name"] for codec in metadata["codecs"]] == ["caterva"]
    figures = json.loads((picture.parent / "figures.json").read_text())
    assert all(seconds > 0 for codec in figures.values() for seconds in codec["median"].values())


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((7,), "S3"),
        ((5000,), ">f8"),
        ((1, 1), "?"),
        ((90, 30), "c8"),
        ((3, 4, 5, 6), "M8[s]"),
        ((2,) * 8, "f2"),
    ],
)
def test_shapes_and_dtypes(shape, dtype, tmp_path, capsys):
    data = np.arange(math.prod(shape)).reshape(shape).astype("i8").astype(dtype)
    argument = save(tmp_path / "a.npy", data)
    code, output, errors = run(capsys, argument, "--results", tmp_path, "--repeat", 1, "--remove")
    assert (code, errors) == (0, "")
    assert "equal the source's" in output and "copies are removed" in output
    assert not list(tmp_path.rglob("*.zarr"))


def test_blocks_are_suggested_and_measured(tmp_path, capsys):
    argument = save(tmp_path / "a.npy", np.zeros((64, 64, 64), "f8"))
    _, output, _ = run(
        capsys, argument, "--read", "0=5", "--results", tmp_path, "--repeat", 1, "--remove"
    )
    assert "Caterva advised: blocks (1, 64, 64)" in output
    assert "CatervaCodec(block_shape=(1, 64, 64))" in output


@pytest.mark.parametrize("group", ["/", "/in/side"])
def test_coordinates_say_what_is_read(group, tmp_path):
    source = sources.load(str(netcdf(tmp_path / "a.nc", group)))
    assert (source.scale, source.offset, source.unit) == (0.5, 10, "K")
    plane, line, box = source.reads
    assert plane.where == "along lat x lon, at time=2020-01-11"
    assert line.where == "along time, at lat=47.5, lon=20"
    assert box.where.endswith("lon=4 to 35")
    for key, said, selection in (
        ("time=2020-01-05", "at time=2020-01-05", np.s_[4, :, :]),
        ("lat=41.1,lon=3:5", "at lat=41.0, lon=3 to 5", np.s_[:, 2, 3:6]),
        ("time=2020-01-03T00:00:2020-01-04T10:00,lon=5", "lon=5", np.s_[2:4, :, 5]),
        ("time=2020-01-03T10:00,lon=38:", "at time=2020-01-03, lon=38 to 39", np.s_[2, :, 38:40]),
    ):
        read = reads.asked_read(key, source.axes)
        assert read.selection == tuple(
            slice(p.start, p.stop) if isinstance(p, slice) else p for p in selection
        )
        assert said in read.where
        np.testing.assert_array_equal(source.read(read.selection), DATA[selection])


def test_zarr_has_coordinates_too(tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group.create_array("x", data=np.array([5.0, 6.5]), dimension_names=["x"])
    group.create_array("hot", data=np.ones((2, 3)), dimension_names=["x", None])
    row, column, _ = sources.load(str(tmp_path / "a.zarr")).reads
    assert row.where == "along axis 1, the longest, at x=6.5"
    assert column.where == "along axis 0, the shortest, at axis 1=1" or "x" in column.where


def test_coordinates():
    hours = axes.coordinates_of(np.array([0, 6]), {"units": "hours since 1900-1-1"})
    assert [axes.Axis(0, 2, "t", hours).value(k) for k in (0, 1)] == [
        "1900-01-01T00:00",
        "1900-01-01T06:00",
    ]
    odd = {"units": "days since 2000-01-01", "calendar": "360_day"}
    assert axes.coordinates_of(np.array([3]), odd).tolist() == [3]
    texts = axes.Axis(0, 2, "band", axes.coordinates_of(np.array([b"red", b"blue"]), {}))
    assert texts.find("blue") == 1
    for axis, value in (
        (texts, "green"),
        (axes.Axis(0, 5), "5"),
        (axes.Axis(0, 2, "t", hours), "x"),
    ):
        with pytest.raises(axes.InputError, match="expected something like"):
            axis.find(value)


def test_climatology():
    source = sources.climatology()
    assert (source.shape, source.dtype) == ((2160, 4320, 12), np.uint8)
    # Coasts and mountains are where they should be only if the cells are.
    july, munich, alps = (source.read(read.selection) * source.scale for read in source.reads)
    assert july.shape == (2160, 4320)
    assert munich.shape == (12,)
    assert alps.shape == (60, 144, 12)
    np.testing.assert_array_equal(alps[:, :, 6], july[497:557, 2219:2363])
    assert 2 < munich[0] < munich[6] < 6
    assert source.reads[0].where == "along latitude x longitude, at month=July"


ROWS = [
    text.Row(name, dict(zip(WAYS, amounts, strict=True)), text.TIMES)
    for name, amounts in (
        ("plane", (0.02, 0.01, 0.0163, 1.0, 12345.6)),
        ("time=2020-01-05,lat=40:50", (1e-3, 1e-3, 1.0201e-3, 2e-3, 3e-3)),
    )
]


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_columns_stay_apart(width):
    lines = text.table(ROWS, width).splitlines()
    assert max(map(len, lines)) <= width
    shown = [part.strip() for line in lines for part in line.split("  ")]
    for amount in ("10.0 ms", "16.3 ms", "12345600 ms", "1.02 ms"):
        assert any(f"{cell} ".startswith(f"{amount} ") for cell in shown)


def test_where_ours_is_slower_is_said():
    assert text.verdict(ROWS).endswith("in: plane (1.23 x Zarr's own).")
    assert "nowhere behind" in text.verdict(ROWS[1:])


def bad_inputs(tmp_path):
    """Yield arguments that cannot be used, each with what the demo should say about it."""
    yield [tmp_path / "none.npy"], "none.npy does not exist"
    yield [f"{tmp_path / 'none.h5'}:data"], "none.h5 does not exist"
    (tmp_path / "text.h5").write_text("no")
    yield [tmp_path / "text.h5"], "expected a frame, HDF5, NetCDF 4, Zarr or .npy"
    (tmp_path / "empty").mkdir()
    yield [tmp_path / "empty"], "empty is a directory without a Zarr array or group"
    (tmp_path / "short.npy").write_bytes(b"\x93NUMPY\x01")
    yield [tmp_path / "short.npy"], "short.npy cannot be read"
    (tmp_path / "broken.zarr").mkdir()
    (tmp_path / "broken.zarr" / "zarr.json").write_text("{")
    yield [tmp_path / "broken.zarr"], "broken.zarr cannot be read"
    for kind in ("several.h5", "several.zarr"):
        for name in ("one", "in/two"):
            save(tmp_path / kind, DATA, name)
        yield [f"{tmp_path / kind}:three"], "no dataset 'three'. There are: in/two, one"
        yield [tmp_path / kind], "several datasets"
    h5py.File(tmp_path / "none.hdf", "w").close()
    yield [tmp_path / "none.hdf"], "There are: none"
    np.save(tmp_path / "objects.npy", np.array([None, 1]), allow_pickle=True)
    yield [tmp_path / "objects.npy"], "objects.npy cannot be read"
    with h5py.File(tmp_path / "text.hdf", "w") as file:
        file["text"] = ["a", "bcd"]
    yield [tmp_path / "text.hdf"], "items of a fixed size are needed"
    for shape in ((), (0, 3)):
        yield [save(tmp_path / f"{len(shape)}.npy", np.zeros(shape))], f"has shape {shape}"
    good = save(tmp_path / "good.npy", DATA)
    yield [f"{good}:x"], "there is nothing at 'x' in it"
    yield [good, "--chunks", "1,2"], "--chunks (1, 2) does not suit the shape (20, 30, 40)"
    yield [good, "--blocks", "0,1,1"], "--blocks (0, 1, 1) does not suit"
    yield [good, "--repeat", "0"], "--repeat must be 1 or more"
    yield [good, "--cname", "gzip"], "a codec refuses this"
    yield [good, "--clevel", "11"], "a codec refuses this"
    yield [good, "--read", "time=3"], "expected AXIS=VALUE or AXIS=FIRST:LAST of 0, 1, 2"
    yield [good, "--read", "0=20"], "axis 0 has no '20'; expected something like 0 to 19"
    yield [good, "--results", good], "cannot be made"


def test_bad_input_gets_one_line_and_code_2(tmp_path, capsys):
    for arguments, message in bad_inputs(tmp_path):
        code, _, errors = run(capsys, "--results", tmp_path / "out", *arguments)
        assert code == 2, arguments
        assert errors.startswith("demo: ") and errors.count("\n") == 1, errors
        assert message in errors


def test_does_not_overwrite_its_input(tmp_path, capsys):
    path = tmp_path / "caterva" / "caterva.zarr"
    argument = save(path, DATA)
    code, _, errors = run(capsys, argument, "--results", tmp_path)
    assert code == 2 and "name another directory" in errors
    np.testing.assert_array_equal(zarr.open_array(path, mode="r"), DATA)


def test_a_wrong_value_is_noticed():
    with pytest.raises(SystemExit, match="Caterva, plane: the values differ"):
        copies.check_equal(DATA, DATA + 1, "Caterva, plane")
    with pytest.raises(SystemExit, match="shape and dtype are"):
        copies.check_equal(DATA, DATA.astype("u2"), "Caterva, plane")
    copies.check_equal(np.array([np.nan]), np.array([np.nan], ">f8"), "NaN, and byte order")


@given(SHAPES)
def test_selections_fit_every_shape(shape):
    data = np.empty(shape)
    for read in reads.usual_reads([axes.Axis(d, n) for d, n in enumerate(shape)]):
        assert data[read.selection].size > 0
        assert str(read).count(",") == len(shape) - 1


@given(SHAPES, st.lists(st.integers(1, 40), min_size=5, max_size=5))
def test_boxes_cover_every_item_once(shape, chunks):
    seen = np.zeros(shape, int)
    chunks = [max(c, n // 3) for c, n in zip(chunks, shape, strict=False)]
    for box in copies.boxes(shape, chunks):
        seen[box] += 1
    assert (seen == 1).all()


@given(SHAPES, st.integers(1, 10**9))
def test_default_chunks_are_not_too_large(shape, itemsize):
    chunks = copies.default_chunks(shape, itemsize)
    assert all(1 <= c <= n for c, n in zip(chunks, shape, strict=True))
    assert math.prod(chunks) * itemsize <= max(copies.CHUNK_BYTES, itemsize)
