"""Zarr's metadata for what arrays and groups become."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import Store
from zarr.storage import MemoryStore

from caterva_cffi.codecs.parameters import Parameters
from caterva_cffi.conversion.options import Options
from caterva_cffi.conversion.plans import ArrayPlan
from caterva_cffi.datasets import fill_values
from caterva_cffi.datasets.metalayers import attributes_with
from caterva_cffi.datasets.model import JOURNAL, Dataset, Tree
from caterva_cffi.datasets.zarr_trees import DIMENSIONS
from caterva_cffi.dtypes import as_dtype
from caterva_cffi.errors import UnsupportedError
from caterva_cffi.numcodecs import Caterva
from caterva_cffi.zarr import CatervaCodec

__all__ = ["documents_of"]

_RESERVED = {"zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata", JOURNAL, "", ".", ".."}

_FILL_VALUE = "_FillValue"
"""The attribute of netCDF for missing items."""


def documents_of(tree: Tree, plans: Mapping[str, ArrayPlan], options: Options) -> dict[str, bytes]:
    """Return Zarr's metadata documents for all arrays and groups.

    Raises
    ------
    UnsupportedError
        For an array or a name that Zarr cannot hold.
    """
    for path in (*tree.groups, *plans):
        _check_path(path)
    contents: dict[str, Any] = {}
    store: Store = MemoryStore(contents)
    form: Any = options.zarr_format
    with warnings.catch_warnings():
        # Consolidated metadata and some data types are no part of Zarr's specification yet.
        warnings.simplefilter("ignore")
        for path in sorted(tree.groups):
            zarr.create_group(
                store, path=path, attributes=dict(tree.groups[path]), zarr_format=form
            )
        for path, plan in plans.items():
            create = _create_2 if form == 2 else _create_3
            try:
                held = create(store, path, plan, tree.arrays[path])
                _check_fields(held.dtype, tree.arrays[path].dtype)
            except (TypeError, ValueError, NotImplementedError) as error:
                raise UnsupportedError(
                    f"/{path}, of {plan.dtype}: {error}; leave it out (exclude)"
                ) from error
        if tree.consolidated and not tree.is_array:
            zarr.consolidate_metadata(store, zarr_format=form)
    return {key: value.to_bytes() for key, value in contents.items()}


def _check_path(path: str) -> None:
    """Refuse names that Zarr takes for others: metadata or chunks would be lost.

    Raises
    ------
    UnsupportedError
    """
    if path and ("\\" in path or _RESERVED.intersection(path.split("/"))):
        raise UnsupportedError(
            f"/{path}: Zarr cannot have such a name, with a backslash or as its own documents have "
            "it; leave it out (exclude)"
        )


def _check_fields(held: np.dtype[Any], dtype: np.dtype[Any]) -> None:
    """Refuse arrays in fields where zarr would make bytes of them, as some versions do.

    Raises
    ------
    TypeError
    """
    if _has_arrays(dtype) and not _has_arrays(held):
        raise TypeError(f"zarr would hold arrays in fields as bytes, {held}")


def _has_arrays(dtype: np.dtype[Any]) -> bool:
    """Whether any of the fields is an array."""
    fields_of = [dtype[name] for name in dtype.names or ()]
    return any(field.subdtype is not None or _has_arrays(field) for field in fields_of)


def _create_3(store: Store, path: str, plan: ArrayPlan, array: Dataset) -> zarr.Array[Any]:
    codecs: dict[str, Any] = {}
    if plan.parameters is not None:
        codec = CatervaCodec(**_given(plan.parameters))
        codecs = {"serializer": codec, "compressors": None, "filters": None}
    if array.fill_value is not None:
        codecs["fill_value"] = _fill_value(array.fill_value, array)
    return zarr.create_array(
        store,
        name=path or None,
        shape=plan.shape,
        chunks=plan.chunks,
        shards=plan.shards,
        dtype=_data_type(array),
        attributes=attributes_with(array.attributes, array.metalayers),
        dimension_names=array.dimension_names,
        zarr_format=3,
        **codecs,
    )


def _create_2(store: Store, path: str, plan: ArrayPlan, array: Dataset) -> zarr.Array[Any]:
    codecs: dict[str, Any] = {}
    if plan.parameters is not None:
        codecs = {"compressors": Caterva(**_given(plan.parameters)), "filters": None}
    attributes = attributes_with(array.attributes, array.metalayers)
    fill_value = array.fill_value
    # xarray masks the fill value of format 2, and expects names even of no dimensions.
    if array.dimension_names is not None or not plan.shape:
        names = array.dimension_names or ()
        attributes[DIMENSIONS] = [name or f"dim_{axis}" for axis, name in enumerate(names)]
        fill_value = fill_values.decoded(attributes.get(_FILL_VALUE), array.dtype)
        if fill_value is not None:
            del attributes[_FILL_VALUE]
    return zarr.create_array(
        store,
        name=path or None,
        shape=plan.shape,
        chunks=plan.chunks,
        dtype=_data_type(array),
        fill_value=None if fill_value is None else _fill_value(fill_value, array),
        order="C",
        attributes=attributes,
        zarr_format=2,
        **codecs,
    )


def _given(parameters: Parameters) -> dict[str, Any]:
    return {each.name: getattr(parameters, each.name) for each in fields(Parameters)}


def _data_type(array: Dataset) -> Any:
    return array.data_type if array.dtype.hasobject else array.dtype.newbyteorder("=")


def _fill_value(value: Any, array: Dataset) -> Any:
    if array.dtype.kind in "TO":
        return value
    return as_dtype(np.asarray(value, array.dtype), _data_type(array))[()]
