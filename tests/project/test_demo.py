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

from benchmarks import demo

matplotlib.use("Agg")

DATA = np.random.default_rng(1).integers(0, 50, (20, 30, 40)).astype("i2")
SHAPES = st.lists(st.integers(1, 40), min_size=1, max_size=4)


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


def run(capsys, *arguments):
    """Run the demo; return its exit code, its output, and what it complained about."""
    code = demo.main(list(map(str, arguments)))
    output = capsys.readouterr()
    return code, output.out, output.err


@pytest.mark.parametrize(
    ("file", "name"),
    [("a.npy", ""), ("a.h5", ""), ("a.h5", "group/b"), ("a.zarr", ""), ("a.zarr", "group/b")],
)
def test_inputs(file, name, tmp_path, capsys):
    argument = save(tmp_path / file, DATA, name)
    options = ["--results", tmp_path / "out", "--repeat", 1, "--chunks", "11,16,40"]
    code, output, errors = run(capsys, argument, *options)
    assert (code, errors) == (0, "")
    for said in ("plane", "everything", "sharding", "stored", "equal the source's", "(11, 16, 40)"):
        assert said in output
    picture = next((tmp_path / "out").glob("*/comparison.png"))
    assert str(picture) in output
    assert picture.read_bytes().startswith(b"\x89PNG")
    for copy in ("caterva.zarr", "blosc.zarr", "shards.zarr", "own.zarr"):
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
    code, output, errors = run(capsys, argument, "--results", tmp_path, "--repeat", 1)
    assert (code, errors) == (0, "")
    assert "equal the source's" in output


def test_climatology():
    source = demo.climatology()
    assert (source.array.shape, source.array.dtype) == ((2160, 4320, 12), np.uint8)
    # Coasts and mountains are where they should be only if the cells are.
    july, munich, alps = (source.array[read.selection] * source.scale for read in source.reads)
    assert july.shape == (2160, 4320)
    assert munich.shape == (12,)
    assert alps.shape == (60, 144, 12)
    np.testing.assert_array_equal(alps[:, :, 6], july[498:558, 2220:2364])
    assert 2 < munich[0] < munich[6] < 6


def bad_inputs(tmp_path):
    """Yield arguments that cannot be used, each with what the demo should say about it."""
    yield [tmp_path / "none.npy"], "none.npy does not exist"
    yield [f"{tmp_path / 'none.h5'}:data"], "none.h5 does not exist"
    (tmp_path / "text.h5").write_text("no")
    yield [tmp_path / "text.h5"], "neither a .npy file, nor HDF5, nor a Zarr directory"
    (tmp_path / "empty").mkdir()
    yield [tmp_path / "empty"], "without zarr.json"
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
    yield [tmp_path / "text.hdf"], "dtype object; items of a fixed size are needed"
    for shape in ((), (0, 3)):
        yield [save(tmp_path / f"{len(shape)}.npy", np.zeros(shape))], f"has shape {shape}"
    good = save(tmp_path / "good.npy", DATA)
    yield [good, "--chunks", "1,2"], "--chunks (1, 2) does not suit the shape (20, 30, 40)"
    yield [good, "--blocks", "0,1,1"], "--blocks (0, 1, 1) does not suit"
    yield [good, "--repeat", "0"], "--repeat must be 1 or more"
    yield [good, "--cname", "gzip"], "Caterva refuses this"
    yield [good, "--clevel", "11"], "Caterva refuses this"


def test_bad_input_gets_one_line_and_code_2(tmp_path, capsys):
    for arguments, message in bad_inputs(tmp_path):
        code, _, errors = run(capsys, *arguments, "--results", tmp_path / "out")
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
        demo.check_equal(DATA, DATA + 1, "Caterva, plane")
    with pytest.raises(SystemExit, match="shape and dtype are"):
        demo.check_equal(DATA, DATA.astype("u2"), "Caterva, plane")
    demo.check_equal(np.array([np.nan]), np.array([np.nan], ">f8"), "NaN, and byte order")


@given(SHAPES)
def test_selections_fit_every_shape(shape):
    data = np.empty(shape)
    for read in demo.selections(shape):
        assert data[read.selection].size > 0
        assert str(read).count(",") == len(shape) - 1


@given(SHAPES, st.lists(st.integers(1, 40), min_size=5, max_size=5))
def test_boxes_cover_every_item_once(shape, chunks):
    seen = np.zeros(shape, int)
    chunks = [max(c, n // 3) for c, n in zip(chunks, shape, strict=False)]
    for box in demo.boxes(shape, chunks):
        seen[box] += 1
    assert (seen == 1).all()


@given(SHAPES, st.integers(1, 10**9))
def test_default_chunks_are_not_too_large(shape, itemsize):
    chunks = demo.default_chunks(shape, itemsize)
    assert all(1 <= c <= n for c, n in zip(chunks, shape, strict=True))
    assert math.prod(chunks) * itemsize <= max(demo.CHUNK_BYTES, itemsize)
