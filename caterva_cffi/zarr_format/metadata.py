"""What Zarr's metadata say of an array whose only codec is ours.

Zarr has two formats. In format 3 all is in `zarr.json`. In format 2 an array is described by
`.zarray`, a group by `.zgroup`, and attributes are in `.zattrs`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from caterva_cffi.codecs.imagecodecs import IMAGECODECS, configuration_of_imagecodecs
from caterva_cffi.codecs.parameters import Parameters
from caterva_cffi.errors import CatervaError, Cause, FormatError, UnsupportedError, named
from caterva_cffi.geometry.grid import MAX_DIM
from caterva_cffi.zarr_format.items import (
    dtype_of,
    dtype_of_format2,
    fill_value_of,
    fill_value_of_format2,
)

__all__ = ["DOCUMENTS", "ArrayMetadata", "consolidated_arrays", "is_array", "parse_array"]

_NAME = "caterva"

DOCUMENTS = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
"""Names of the objects that hold metadata."""

_KNOWN = {
    *("zarr_format", "node_type", "shape", "data_type", "chunk_grid", "chunk_key_encoding"),
    *("fill_value", "codecs", "attributes", "dimension_names", "storage_transformers"),
}


@dataclass(frozen=True)
class ArrayMetadata:
    """What is known of an array.

    Attributes
    ----------
    zarr_format : int
    shape, chunks : tuple of int
        In items.
    dtype : dtype
    fill : ndarray
        The item of chunks that are not stored, without dimensions.
    parameters : Parameters
        Of the codec.
    prefix, separator : str
        Of the keys of chunks.
    attributes : dict
    dimension_names : tuple of str or None, or None
    """

    zarr_format: int
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    fill: npt.NDArray[Any]
    parameters: Parameters
    prefix: str
    separator: str
    attributes: dict[str, Any]
    dimension_names: tuple[str | None, ...] | None

    def key(self, at: Sequence[int]) -> str:
        """Return the key of the chunk at a position in the chunk grid."""
        names = self.separator.join(map(str, at))
        if not self.prefix:
            return names or "0"
        return f"{self.prefix}{self.separator}{names}" if names else self.prefix


def _loaded(documents: Mapping[str, bytes], name: str) -> dict[str, Any]:
    """Return a document.

    Raises
    ------
    FormatError
    """
    try:
        found = json.loads(documents[name])
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{name} is no JSON: {error}", "wrong-metadata") from None
    if not isinstance(found, dict):
        raise FormatError(
            f"{name} has a {type(found).__name__}; expected an object", "wrong-metadata"
        )
    return found


def is_array(documents: Mapping[str, bytes]) -> bool | None:
    """Whether documents describe an array, or a group; None if there are none of either.

    Raises
    ------
    FormatError
    """
    if "zarr.json" in documents:
        kind = _loaded(documents, "zarr.json").get("node_type")
        if kind not in ("array", "group"):
            raise FormatError(
                f"zarr.json: node_type is {kind!r}; expected 'array' or 'group'", "wrong-metadata"
            )
        return bool(kind == "array")
    if ".zarray" in documents:
        return True
    return False if ".zgroup" in documents else None


def parse_array(documents: Mapping[str, bytes]) -> ArrayMetadata:
    """Return what documents say of an array.

    Raises
    ------
    FormatError
        For documents that are damaged.
    UnsupportedError
        For an array that only Zarr can read.
    """
    name = "zarr.json" if "zarr.json" in documents else ".zarray"
    document = _loaded(documents, name)
    parse = _format3 if name == "zarr.json" else _format2
    attributes = {}
    if name == ".zarray" and ".zattrs" in documents:
        attributes = _loaded(documents, ".zattrs")
    try:
        return parse(document, attributes)
    except (FormatError, UnsupportedError) as error:
        raise named(error, name) from None


def consolidated_arrays(documents: Mapping[str, bytes]) -> Iterator[str]:
    """Yield the paths of the arrays that a group's own document names.

    Raises
    ------
    FormatError
    """
    for name in ("zarr.json", ".zmetadata"):
        if name not in documents:
            continue
        document = _loaded(documents, name)
        if name == "zarr.json":
            document = document.get("consolidated_metadata") or {}
        members = document.get("metadata")
        for path, member in members.items() if isinstance(members, dict) else ():
            if name == "zarr.json" and isinstance(member, dict):
                if member.get("node_type") == "array":
                    yield path
            elif path.endswith("/.zarray"):
                yield path.removesuffix("/.zarray")


# --- parts of documents ---------------------------------------------------------------------------


def _use_zarr(what: str) -> UnsupportedError:
    return UnsupportedError(f"{what}; only Zarr reads such an array: zarr.open_array", "only-zarr")


def _lengths(document: Mapping[str, Any], name: str) -> tuple[int, ...]:
    found = document.get(name)
    if not isinstance(found, list) or not all(
        type(each) is int and 0 <= each < 2**63 for each in found
    ):
        raise FormatError(f"{name} is {found!r}; expected a list of lengths", "wrong-metadata")
    return tuple(found)


def _shapes(
    shape: tuple[int, ...], chunks: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if len(shape) != len(chunks):
        raise FormatError(f"shape {shape} and chunks {chunks} differ in length", "wrong-metadata")
    if any(length and not chunk for length, chunk in zip(shape, chunks, strict=True)):
        raise FormatError(f"chunks {chunks} have a length of zero", "wrong-metadata")
    if len(shape) > MAX_DIM:
        raise FormatError(
            f"{len(shape)} dimensions; codec {_NAME!r} stores at most {MAX_DIM}",
            Cause("wrong-metadata", None, len(shape), MAX_DIM),
        )
    return shape, chunks


def _part(document: Mapping[str, Any], name: str) -> tuple[str, dict[str, Any]]:
    """Return the name and the configuration of an extension point."""
    found = document.get(name)
    kind, configuration = _extension(found)
    if kind is None:
        raise FormatError(f"{name} is {found!r}; expected an object with a name", "wrong-metadata")
    return kind, configuration


def _extension(found: Any) -> tuple[str | None, dict[str, Any]]:
    if isinstance(found, str):
        return found, {}
    if isinstance(found, dict) and isinstance(found.get("name"), str):
        configuration = found.get("configuration", {})
        if isinstance(configuration, dict):
            return found["name"], configuration
    return None, {}


def _parameters(configuration: Mapping[str, Any]) -> Parameters:
    unknown = sorted(configuration.keys() - {each.name for each in fields(Parameters)})
    if unknown:
        raise _use_zarr(f"codec {_NAME!r} has the unknown parameters {', '.join(unknown)}")
    try:
        return Parameters(**configuration)
    except (TypeError, CatervaError) as error:
        raise FormatError(f"codec {_NAME!r}: {error}", "wrong-metadata") from None


def _imagecodecs_parameters(configuration: Mapping[str, Any]) -> Parameters:
    try:
        return Parameters(**configuration_of_imagecodecs(configuration))
    except (TypeError, CatervaError) as error:
        raise FormatError(f"codec {IMAGECODECS!r}: {error}", "wrong-metadata") from None


def _separator(found: Any) -> str:
    if found not in (".", "/"):
        raise FormatError(
            f"the separator of chunk keys is {found!r}; expected '.' or '/'", "wrong-metadata"
        )
    return str(found)


# --- the formats ----------------------------------------------------------------------------------


def _format3(document: dict[str, Any], _: dict[str, Any]) -> ArrayMetadata:
    if document.get("zarr_format") != 3:
        raise FormatError(
            f"zarr_format is {document.get('zarr_format')!r}; expected 3", "unknown-version"
        )
    for name in sorted(document.keys() - _KNOWN):
        value = document[name]
        if not isinstance(value, dict) or value.get("must_understand", True) is not False:
            raise _use_zarr(f"the unknown metadata {name!r}")
    if document.get("storage_transformers"):
        raise _use_zarr(f"storage transformers {document['storage_transformers']!r}")
    parameters = _only_codec(document.get("codecs"))
    grid, configuration = _part(document, "chunk_grid")
    if grid != "regular":
        raise _use_zarr(f"chunk grid {grid!r}")
    shape, chunks = _shapes(_lengths(document, "shape"), _lengths(configuration, "chunk_shape"))
    encoding, configuration = _part(document, "chunk_key_encoding")
    if encoding not in ("default", "v2"):
        raise _use_zarr(f"chunk key encoding {encoding!r}")
    separator = configuration.get("separator", "/" if encoding == "default" else ".")
    if "fill_value" not in document:
        raise FormatError("there is no fill_value", "wrong-metadata")
    dtype = dtype_of(document.get("data_type"))
    attributes = document.get("attributes", {})
    if not isinstance(attributes, dict):
        raise FormatError(f"attributes are {attributes!r}; expected an object", "wrong-metadata")
    return ArrayMetadata(
        3,
        shape,
        chunks,
        dtype,
        fill_value_of(document["fill_value"], dtype),
        parameters,
        "c" if encoding == "default" else "",
        _separator(separator),
        attributes,
        _names(document.get("dimension_names"), len(shape)),
    )


def _only_codec(codecs: Any) -> Parameters:
    if not isinstance(codecs, list):
        raise FormatError(f"codecs are {codecs!r}; expected a list", "wrong-metadata")
    found = [_extension(codec) for codec in codecs]
    if any(name is None for name, _ in found):
        raise FormatError(f"codecs are {codecs!r}; expected objects with names", "wrong-metadata")
    if [name for name, _ in found] == [IMAGECODECS]:
        return _imagecodecs_parameters(found[0][1])
    if [name for name, _ in found] != [_NAME]:
        names = ", ".join(repr(name) for name, _ in found)
        raise _use_zarr(f"the codecs are {names}, and not {_NAME!r} alone")
    return _parameters(found[0][1])


def _names(found: Any, ndim: int) -> tuple[str | None, ...] | None:
    if found is None:
        return None
    if (
        not isinstance(found, list)
        or len(found) != ndim
        or not all(name is None or isinstance(name, str) for name in found)
    ):
        raise FormatError(f"dimension_names are {found!r}; expected {ndim} names", "wrong-metadata")
    return tuple(found)


def _format2(document: dict[str, Any], attributes: dict[str, Any]) -> ArrayMetadata:
    if document.get("zarr_format") != 2:
        raise FormatError(
            f"zarr_format is {document.get('zarr_format')!r}; expected 2", "unknown-version"
        )
    compressor, filters = document.get("compressor"), document.get("filters")
    if compressor is not None and not isinstance(compressor, dict):
        raise FormatError(f"the compressor is {compressor!r}; expected an object", "wrong-metadata")
    if filters:
        raise _use_zarr(f"there are filters, {_ids(filters)}, beside the compressor")
    if compressor is None or compressor.get("id") != _NAME:
        raise _use_zarr(f"the compressor is {_ids([compressor])}, and not {_NAME!r}")
    if document.get("order") != "C":
        raise _use_zarr(f"the order is {document.get('order')!r}, and not 'C'")
    shape, chunks = _shapes(_lengths(document, "shape"), _lengths(document, "chunks"))
    dtype = dtype_of_format2(document.get("dtype"))
    return ArrayMetadata(
        2,
        shape,
        chunks,
        dtype,
        fill_value_of_format2(document.get("fill_value"), dtype),
        _parameters({name: value for name, value in compressor.items() if name != "id"}),
        "",
        _separator(document.get("dimension_separator", ".")),
        attributes,
        None,
    )


def _ids(codecs: Any) -> str:
    found = codecs if isinstance(codecs, list) else [codecs]
    return ", ".join(
        repr(codec.get("id")) if isinstance(codec, dict) else repr(codec) for codec in found
    )
