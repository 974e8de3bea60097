"""What netCDF-4 keeps in attributes of HDF5: names of dimensions, and attributes of variables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import h5py
import numpy as np

from caterva_cffi.datasets.fill_values import encoded

__all__ = [
    "attributes_of",
    "dimension_names",
    "dimensions_of",
    "is_bare_dimension",
    "plain_name",
    "shape_of",
]

_HIDDEN = {
    "CLASS",
    "DIMENSION_LABELS",
    "DIMENSION_LIST",
    "NAME",
    "REFERENCE_LIST",
    "_NCProperties",
    "_Netcdf4Coordinates",
    "_Netcdf4Dimid",
    "_nc3_strict",
}
_NO_VARIABLE = "This is a netCDF dimension but not a netCDF variable"
_RENAMED = "_nc4_non_coord_"  # a variable whose name is that of a dimension of another shape


def is_bare_dimension(dataset: h5py.Dataset) -> bool:
    """Whether a dataset only says that there is a dimension."""
    name = dataset.attrs.get("NAME", b"")
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
    return text.startswith(_NO_VARIABLE)


def plain_name(name: str) -> str:
    """Return the name that a variable has in netCDF, for the one in HDF5."""
    return name.removeprefix(_RENAMED)


def _name_of(dataset: h5py.Dataset) -> str:
    return plain_name(str(dataset.name).rpartition("/")[2])


def dimensions_of(dataset: h5py.Dataset) -> list[h5py.Dataset | None]:
    """Return the scale of each dimension of a dataset; None where there is none."""
    is_scale = dataset.attrs.get("CLASS") == b"DIMENSION_SCALE"
    if is_scale and "_Netcdf4Coordinates" in dataset.attrs:
        by_number = {int(each.attrs["_Netcdf4Dimid"]): each for each in _scales(dataset)}
        numbers = list(map(int, np.atleast_1d(dataset.attrs["_Netcdf4Coordinates"])))
        if len(numbers) == dataset.ndim and all(number in by_number for number in numbers):
            return [by_number[number] for number in numbers]
    if is_scale and dataset.ndim == 1:
        return [dataset]
    # If a dimension has several scales, netCDF takes the last one.
    return [dim[len(dim) - 1] if len(dim) else None for dim in dataset.dims]


def dimension_names(dimensions: Sequence[h5py.Dataset | None]) -> tuple[str | None, ...] | None:
    """Return the names of dimensions; None if none has a name."""
    names = [None if each is None else _name_of(each) for each in dimensions]
    return tuple(names) if any(names) else None


def shape_of(
    dataset: h5py.Dataset, dimensions: Sequence[h5py.Dataset | None], known: dict[str, int]
) -> tuple[int, ...]:
    """Return the shape that a variable has in netCDF, which may be more than what is stored.

    A dimension without a limit is as long as the longest variable along it.

    Parameters
    ----------
    dataset : Dataset
    dimensions : sequence of Dataset or None
        See `dimensions_of`.
    known : dict of str to int
        Lengths of the dimensions of the file; more are added.
    """
    shape = list(dataset.shape)
    for axis, scale in enumerate(dimensions):
        if scale is None or scale.maxshape[:1] != (None,) or dataset.maxshape[axis] is not None:
            continue
        if scale.name not in known:
            known[scale.name] = max(_lengths(scale))
        shape[axis] = max(shape[axis], known[scale.name])
    return tuple(shape)


def _lengths(scale: h5py.Dataset) -> Iterator[int]:
    yield scale.shape[0]
    for reference, axis in scale.attrs.get("REFERENCE_LIST", ()):
        with suppress(ValueError, KeyError, IndexError):  # it refers to what was deleted
            yield scale.file[reference].shape[axis]


def _scales(dataset: h5py.Dataset) -> list[h5py.Dataset]:
    """Return the dimensions that a dataset's group and the groups above it define."""
    group, found = dataset.parent, []
    while True:
        members: list[Any] = [group[name] for name in group if group.get(name) is not None]
        found += [
            each
            for each in members
            if isinstance(each, h5py.Dataset)
            and "_Netcdf4Dimid" in each.attrs
            and each.attrs.get("CLASS") == b"DIMENSION_SCALE"
        ]
        if group.name == "/":
            return found[::-1]  # those of inner groups come last, and count
        group = group.parent


def attributes_of(
    node: h5py.Dataset | h5py.Group, leave_out: Callable[[str, str], None] = lambda *_: None
) -> dict[str, Any]:
    """Return attributes as JSON can hold them; those of netCDF itself are left out.

    Parameters
    ----------
    node : Dataset or Group
    leave_out : callable
        Called with the names of attributes that JSON cannot hold, and why.
    """
    found = {}
    for name in node.attrs:
        if name in _HIDDEN:
            continue
        try:
            value = node.attrs[name]
            if name == "_FillValue" and isinstance(node, h5py.Dataset):
                found[name] = encoded(np.asarray(value).reshape(-1)[0], node.dtype)
            else:
                found[name] = _plain(value)
        except (TypeError, ValueError, OSError) as error:
            leave_out(name, str(error))
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, h5py.Empty):
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, str):
        return value
    items = np.asarray(value)
    if items.dtype.kind not in "biufSUO":
        raise TypeError(f"its type is {items.dtype}")
    plain = [_scalar(each) for each in items.reshape(-1)]
    # netCDF does not distinguish one value from a list of one.
    if items.size == 1:
        return plain[0]
    return plain if items.ndim <= 1 else np.array(plain, object).reshape(items.shape).tolist()


def _scalar(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, str):
        return str(value)
    if not isinstance(value, np.generic):
        raise TypeError(f"it holds {type(value).__name__}")
    return value.item()
