"""What frames and Zarr arrays keep for each other.

A user's metalayers become an attribute of a Zarr array, and come back from it. Attributes,
dimension names and the fill value of a Zarr array become a metalayer, and come back from it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from caterva_cffi.datasets.model import Dataset, Metalayers
from caterva_cffi.errors import UnsupportedError

__all__ = ["ATTRIBUTE", "DESCRIPTION", "Description", "attributes_with", "split_attributes"]

ATTRIBUTE = "caterva_metalayers"
"""The attribute of a Zarr array in which the metalayers of a frame are kept."""

DESCRIPTION = "zarr"
"""The metalayer of a frame in which what belongs to a Zarr array is kept as JSON."""

_KINDS = ("fixed", "variable")


def attributes_with(attributes: Mapping[str, Any], layers: Metalayers) -> dict[str, Any]:
    """Return attributes, with one more for metalayers if there are any: base64 by name."""
    if not layers:
        return dict(attributes)
    kept = {
        kind: {name: base64.b64encode(data).decode() for name, data in each.items()}
        for kind, each in zip(_KINDS, (layers.fixed, layers.variable), strict=True)
    }
    return {**attributes, ATTRIBUTE: kept}


def split_attributes(attributes: Mapping[str, Any]) -> tuple[dict[str, Any], Metalayers]:
    """Return attributes without the one for metalayers, and these.

    An attribute of that name which is something else stays where it is.
    """
    left = dict(attributes)
    try:
        kept = left[ATTRIBUTE]
        found = [
            {name: base64.b64decode(text, validate=True) for name, text in kept[kind].items()}
            for kind in _KINDS
        ]
    except (KeyError, TypeError, ValueError, AttributeError):
        return left, Metalayers()
    del left[ATTRIBUTE]
    return left, Metalayers(*found)


@dataclass(frozen=True)
class Description:
    """What a frame has no other place for.

    Attributes
    ----------
    attributes : dict
    dimension_names : tuple of str or None
    fill_value : bytes, optional
        The item, little-endian.
    """

    attributes: Mapping[str, Any] = field(default_factory=dict)
    dimension_names: tuple[str | None, ...] | None = None
    fill_value: bytes | None = None

    @classmethod
    def of(cls, array: Dataset) -> Description:
        """Return the description of an array."""
        fill = None
        if array.fill_value is not None and not array.dtype.hasobject:
            item = np.zeros((), array.dtype.newbyteorder("<"))
            item[...] = array.fill_value
            # What Zarr takes if none is named: NaT for dates, else zero.
            is_usual = np.isnat(item) if item.dtype.kind in "mM" else not any(item.tobytes())
            fill = None if is_usual else item.tobytes()
        return cls(array.attributes, array.dimension_names, fill)

    def item(self, dtype: np.dtype[Any]) -> Any:
        """Return the fill value; None if it is not known."""
        if self.fill_value is None or len(self.fill_value) != dtype.itemsize:
            return None
        return np.frombuffer(self.fill_value, dtype.newbyteorder("<"))[0]

    def variable(self, layers: Metalayers) -> dict[str, bytes]:
        """Return a frame's metalayers of variable length: this one, and the user's.

        Raises
        ------
        UnsupportedError
            Where both have the same name.
        """
        if self == Description():
            return dict(layers.variable)
        if DESCRIPTION in layers.variable:
            raise UnsupportedError(
                f"there is a metalayer {DESCRIPTION!r} already, in which attributes and dimension "
                "names would be kept"
            )
        document: dict[str, Any] = {
            "attributes": dict(self.attributes),
            "dimension_names": self.dimension_names,
        }
        if self.fill_value is not None:
            document["fill_value"] = base64.b64encode(self.fill_value).decode()
        return {**layers.variable, DESCRIPTION: json.dumps(document).encode()}

    @classmethod
    def split(cls, layers: Metalayers) -> tuple[Description, Metalayers]:
        """Return the description in metalayers, and the user's metalayers.

        A metalayer of that name which is something else is the user's.
        """
        variable = dict(layers.variable)
        try:
            document = json.loads(variable[DESCRIPTION])
            names = document["dimension_names"]
            fill = document.get("fill_value")
            found = cls(
                dict(document["attributes"]),
                None if names is None else tuple(names),
                None if fill is None else base64.b64decode(fill, validate=True),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            return cls(), layers
        del variable[DESCRIPTION]
        return found, Metalayers(layers.fixed, variable)
