"""NumPy's dtypes: which of them items can have, their texts in frames, and casts."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from caterva_cffi.errors import ArgumentTypeError, Cause

__all__ = [
    "allocate",
    "as_asked",
    "as_dtype",
    "as_items",
    "check_dtype",
    "check_items",
    "dtype_of_text",
    "frame_dtype",
    "is_little",
    "text_of_dtype",
    "void_dtype",
    "with_dtype",
]


def void_dtype(itemsize: int) -> np.dtype[Any]:
    """Return the dtype of items of which only the size is known."""
    return np.dtype(f"S{itemsize}")


def check_items(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """Return a dtype whose items are plain bytes.

    Raises
    ------
    TypeError
        For object, variable-length and zero-size dtypes, and for those that are arrays of items.
    """
    checked: np.dtype[Any] = np.dtype(dtype)
    if checked.hasobject or checked.itemsize == 0 or checked.kind in "OT":
        raise ArgumentTypeError(
            f"dtype {checked} has no items of a fixed number of bytes; expected numbers, booleans, "
            "dates, or strings, structures and bytes of a fixed length",
            Cause("wrong-dtype", "dtype", str(checked)),
        )
    if checked.subdtype is not None:
        raise ArgumentTypeError(
            f"dtype {checked} is an array of items; give its base and a longer shape",
            Cause("wrong-dtype", "dtype", str(checked)),
        )
    return checked


def check_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """Return a dtype as it comes back from a frame.

    It is equal to the given one. Details that NumPy does not compare are lost: metadata, whether a
    structure was aligned, and the class of its items (`numpy.record`).

    Raises
    ------
    TypeError
        As for `check_items`, and for dtypes that NumPy cannot make from a text, so that a frame
        cannot name them: those of other packages, such as bfloat16 of ml_dtypes, and structures
        with such fields.
    """
    return _named(check_items(dtype))[1]


def is_little(dtype: np.dtype[Any]) -> bool:
    """Whether no number in an item is big-endian."""
    return dtype.newbyteorder("<") == dtype


def frame_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype to name in a frame whose reader knows the true dtype anyway.

    Raises
    ------
    TypeError
        As for `check_items`.
    """
    try:
        return check_dtype(dtype)
    except TypeError:
        return np.dtype(f"V{check_items(dtype).itemsize}")


def text_of_dtype(dtype: np.dtype[Any]) -> str:
    """Return a dtype's text as python-blosc2 writes it: `<f4`, or the descr of a structure.

    Raises
    ------
    TypeError
        As for `check_dtype`.
    """
    return _named(dtype)[0]


@lru_cache(maxsize=256)
def _named(dtype: np.dtype[Any]) -> tuple[str, np.dtype[Any]]:
    """Return a dtype's text, and the dtype that NumPy makes from it."""
    for describe in (_descr, _fields):
        try:
            literal = describe(dtype)
            text = literal if isinstance(literal, str) else repr(literal)
            found = dtype_of_text(text)
        except (TypeError, ValueError, RecursionError, MemoryError):
            continue
        if found == dtype:
            return text, found
    raise ArgumentTypeError(
        f"dtype {_shown(dtype)} cannot be stored: NumPy has no text that gives it back; view the "
        "items as numbers or bytes of the same size",
        Cause("wrong-dtype", "dtype", _shown(dtype)),
    )


def _shown(dtype: np.dtype[Any]) -> str:
    """Return a dtype as text for an error, cut short if it has a thousand fields."""
    try:
        text = str(dtype)
    except RecursionError:
        text = f"of {dtype.itemsize} bytes in deeply nested structures"
    return text if len(text) <= 500 else f"{text[:500]}..."


def _descr(dtype: np.dtype[Any]) -> Any:
    """Return a description of a dtype; fields without names are padding."""
    return dtype.str if dtype.names is None else dtype.descr


def _fields(dtype: np.dtype[Any]) -> Any:
    """Return a description of a dtype with the offsets of its fields."""
    if dtype.subdtype is not None:
        return _fields(dtype.base), dtype.shape
    if dtype.names is None:
        return dtype.str
    assert dtype.fields is not None
    fields = [dtype.fields[name] for name in dtype.names]
    titles = [field[2] if len(field) > 2 else None for field in fields]
    return {
        "names": list(dtype.names),
        "formats": [_fields(field[0]) for field in fields],
        "offsets": [field[1] for field in fields],
        **({"titles": titles} if any(title is not None for title in titles) else {}),
        "itemsize": dtype.itemsize,
    }


# --- reading texts --------------------------------------------------------------------------------

# Python and NumPy would show a warning about these to whoever opens the frame.
_UNKNOWN_ESCAPE = re.compile(r"""(?<!\\)(?:\\\\)*\\(?![\\'"nrtxuUN])""")
_OLD_NAMES = re.compile(r"(?:^|,)\s*(?:[<>|=]?a\d*\s*(?:,|$)|\d)")  # "a3", "1i4"


def dtype_of_text(text: str) -> np.dtype[Any]:
    """Return the dtype that a text names: `<f4`, or the description of a structure.

    Parameters
    ----------
    text : str
        As this package or python-blosc2 writes it. It is not trusted.

    Raises
    ------
    TypeError, ValueError
        For a text that names no dtype, or one whose items are not plain bytes.
    """
    try:
        if not text.startswith(("[", "(", "{", "'")):
            return check_items(_parse(text))
        if _UNKNOWN_ESCAPE.search(text):
            raise ValueError("a backslash before something else than what it escapes")
        dtype = check_items(_parse(ast.literal_eval(text)))
    except (SyntaxError, LookupError, ArithmeticError, RecursionError, MemoryError) as error:
        raise ValueError(str(error)) from None
    if "|" not in text and dtype == np.dtype([("f0", f"V{dtype.itemsize}")]):
        return np.dtype(f"V{dtype.itemsize}")  # python-blosc2 wraps plain void
    return dtype


def _parse(literal: Any) -> np.dtype[Any]:
    given: Any
    if isinstance(literal, str):
        if _OLD_NAMES.search(literal):
            raise TypeError("no type has such a name any more")
        return np.dtype(literal)
    if isinstance(literal, tuple):
        base, shape = literal
        return _subarray(_parse(base), shape)
    if isinstance(literal, dict):
        given = {**literal, "formats": [_parse(each) for each in literal["formats"]]}
        return np.dtype(given)  # type: ignore[no-any-return]
    if not isinstance(literal, list):
        raise TypeError(f"{literal!r} names no type")
    names, titles, formats, offsets, itemsize = [], [], [], [], 0
    for name, what, *shape in literal:
        dtype = _subarray(_parse(what), *shape) if shape else _parse(what)
        # Padding has no name; a field without a name is `V` where python-blosc2 writes it.
        if name != "" or not isinstance(what, str) or not what.startswith("|V"):
            title, name = name if isinstance(name, tuple) else (None, name)
            names.append(name)
            titles.append(title)
            formats.append(dtype)
            offsets.append(itemsize)
        itemsize += dtype.itemsize
    given = {"names": names, "titles": titles, "formats": formats, "offsets": offsets}
    given["itemsize"] = itemsize
    return np.dtype(given)  # type: ignore[no-any-return]


def _subarray(base: np.dtype[Any], shape: Any) -> np.dtype[Any]:
    lengths = (shape,) if isinstance(shape, int) else tuple(shape)
    return np.dtype((base, lengths))


# --- casts ----------------------------------------------------------------------------------------


def allocate(shape: Sequence[int], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return an array of exactly a dtype; its items are undefined.

    `numpy.empty` would lose the byte order of dates without a unit.
    """
    return np.ndarray(shape, dtype)


def as_dtype(items: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return items in exactly a dtype; the same array if it has the dtype.

    `astype` alone is not enough: if it is asked for dates without a unit, it leaves unit and byte
    order as they are.
    """
    if items.dtype == dtype:
        return items
    result = items.astype(dtype)
    if result.dtype == dtype:
        return result
    exact = np.empty_like(items, f"V{dtype.itemsize}", subok=False).view(dtype)
    exact[...] = result
    return exact


def as_items(value: Any, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return a value as an array of exactly a dtype, without a copy if it has the dtype."""
    return as_dtype(np.asarray(value, dtype), dtype)


def as_asked(value: Any, dtype: npt.DTypeLike | None) -> npt.NDArray[Any]:
    """Return a value as `numpy.asarray` does; it finds units and lengths that are left out.

    The byte order is the one asked for, even of dates without a unit.
    """
    items = np.asarray(value, dtype)
    asked = items.dtype if dtype is None else np.dtype(dtype)
    differ_in_order = items.dtype.newbyteorder("=") == asked.newbyteorder("=")
    return as_dtype(items, asked) if differ_in_order else items


def with_dtype(
    items: npt.NDArray[Any], dtype: np.dtype[Any], of_array: np.dtype[Any]
) -> npt.NDArray[Any]:
    """Return items in another dtype of the same size: from the frame's to the array's, or back."""
    if items.dtype == dtype:
        return items
    if of_array.kind in "SV" and of_array.names is None:
        return items.view(dtype)  # plain bytes are taken as they are
    # A frame that does not name its dtype has its items in little-endian byte order.
    little = as_dtype(items, items.dtype.newbyteorder("<")).view(dtype.newbyteorder("<"))
    return as_dtype(little, dtype)
