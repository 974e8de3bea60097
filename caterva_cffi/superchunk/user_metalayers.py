"""The metalayers of a super-chunk, as mappings of their names to bytes.

They are read from C-Blosc2's memory. Its own functions for variable-length metalayers are not used:
they look into the file first, and read all metalayers anew if it seems to be another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from caterva_cffi.binding.buffers import as_bytes
from caterva_cffi.binding.compression import Compression
from caterva_cffi.binding.library import ffi, lib
from caterva_cffi.errors import ArgumentError, ArgumentTypeError, Cause, MissingMetalayerError
from caterva_cffi.format.byte_chunks import UNQUESTIONED, decode_byte_chunk
from caterva_cffi.keywords import hints

if TYPE_CHECKING:
    from caterva_cffi.superchunk.schunk import SChunk

__all__ = [
    "MOST",
    "MOST_LAYERS",
    "Meta",
    "VLMeta",
    "check_name",
    "content_of",
    "contents_of",
    "layers_of",
    "replace_metalayer",
    "variable_contents_of",
]

MOST = 2**31 - 1 - (1 << 16)
"""The most bytes of metalayers: C-Blosc2 counts those of a header, with names, in 32 bits."""

MOST_LAYERS: int = lib.BLOSC2_MAX_METALAYERS
"""The most metalayers of each kind in a frame."""


def layers_of(ptr: Any) -> dict[str, Any]:
    """Return the metalayers of a `blosc2_schunk *`, by name."""
    return {_name_of(layer): layer for layer in ffi.unpack(ptr.metalayers, ptr.nmetalayers)}


def _variable_layers_of(ptr: Any) -> dict[str, Any]:
    return {_name_of(layer): layer for layer in ffi.unpack(ptr.vlmetalayers, ptr.nvlmetalayers)}


def _name_of(layer: Any) -> str:
    name: bytes = ffi.string(layer.name)
    return name.decode(errors="surrogateescape")


def content_of(layer: Any) -> bytes:
    """Return the bytes of a metalayer."""
    return bytes(ffi.buffer(layer.content, layer.content_len)) if layer.content_len else b""


def contents_of(ptr: Any) -> dict[str, bytes]:
    """Return the bytes of the metalayers of a `blosc2_schunk *`, by name."""
    return {name: content_of(layer) for name, layer in layers_of(ptr).items()}


def variable_contents_of(ptr: Any) -> dict[str, bytes]:
    """Return the same of the metalayers of variable length."""
    layers = _variable_layers_of(ptr)
    return {name: _decoded(layer, f"metalayer {name!r}") for name, layer in layers.items()}


def _decoded(layer: Any, what: str) -> bytes:
    return decode_byte_chunk(content_of(layer), None, what).tobytes()


def replace_metalayer(schunk: SChunk, ptr: Any, name: str | bytes, data: Any) -> None:
    """Replace a metalayer of fixed length, in a change that the caller makes.

    Raises
    ------
    KeyError, ArgumentError
    """
    layers = layers_of(ptr)
    layer = layers.get(_key_of(name))
    if layer is None:
        raise _missing(name, layers)
    if len(data) != layer.content_len:
        raise ArgumentError(
            f"metalayer {name!r}: {len(data)} bytes instead of {layer.content_len}; "
            "the length of a metalayer cannot change",
            Cause("wrong-shape", f"metalayer {name!r}", len(data), layer.content_len),
        )
    what, key = f"writing metalayer {name!r}", check_name(name)
    schunk.write(what, lib.blosc2_meta_update, ptr, key, data, len(data))


def _missing(name: object, layers: Mapping[str, Any]) -> MissingMetalayerError:
    known = ", ".join(map(repr, layers)) or "none"
    hint = hints([name], layers) if isinstance(name, str) else ""
    return MissingMetalayerError(
        f"there is no metalayer {name!r}; there are: {known}{hint}",
        Cause("no-metalayer", "name", name, list(layers)),
    )


def _key_of(name: object) -> str:
    """Return a name as the mappings have it; an empty one if it cannot be a name."""
    try:
        encoded = name.encode(errors="surrogateescape") if isinstance(name, str) else name
    except UnicodeEncodeError:
        return ""
    return encoded.decode(errors="surrogateescape") if isinstance(encoded, bytes) else ""


def check_name(name: str | bytes) -> bytes:
    """Return the bytes of a metalayer's name.

    Raises
    ------
    TypeError
    ArgumentError
    """
    if not isinstance(name, (str, bytes)):
        raise ArgumentTypeError(
            f"metalayer name is {name!r}; expected str or bytes", Cause("wrong-type", "name", name)
        )
    try:
        encoded = name if isinstance(name, bytes) else name.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        raise ArgumentError(
            f"metalayer name {name!r} is no text that has bytes", Cause("wrong-value", "name", name)
        ) from None
    if not 0 < len(encoded) <= lib.BLOSC2_METALAYER_NAME_MAXLEN or b"\0" in encoded:
        raise ArgumentError(
            f"metalayer name {name!r}; expected 1 to {lib.BLOSC2_METALAYER_NAME_MAXLEN} bytes "
            "without NUL",
            Cause("wrong-value", "name", name, lib.BLOSC2_METALAYER_NAME_MAXLEN),
        )
    return encoded


class _Layers(Mapping[str, bytes]):
    """What fixed and variable-length metalayers share; values are bytes, usually msgpack."""

    def __init__(self, schunk: SChunk) -> None:
        self._schunk = schunk

    def __len__(self) -> int:
        with self._schunk.reading() as ptr:
            return len(self._all(ptr))

    def __iter__(self) -> Iterator[str]:
        with self._schunk.reading() as ptr:
            return iter(self._all(ptr))

    def __contains__(self, name: object) -> bool:
        with self._schunk.reading() as ptr:
            return _key_of(name) in self._all(ptr)

    def __getitem__(self, name: str | bytes) -> bytes:
        with self._schunk.reading() as ptr:
            layers = self._all(ptr)
            layer = layers.get(_key_of(name))
            if layer is None:
                raise _missing(name, layers)
            return self._content(layer, f"metalayer {name!r}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.to_dict()!r})"

    def to_dict(self) -> dict[str, bytes]:
        """Return all metalayers as they are at one moment."""
        with self._schunk.reading() as ptr:
            return {
                name: self._content(layer, f"metalayer {name!r}")
                for name, layer in self._all(ptr).items()
            }

    def _all(self, ptr: Any) -> dict[str, Any]:
        """Return the metalayers as C-Blosc2 has them."""
        raise NotImplementedError

    def _content(self, layer: Any, what: str) -> bytes:
        raise NotImplementedError


class Meta(_Layers):
    """The metalayers of an array: bytes by name, of a length that is fixed at creation."""

    def _all(self, ptr: Any) -> dict[str, Any]:
        return layers_of(ptr)

    def _content(self, layer: Any, what: str) -> bytes:
        return content_of(layer)

    def __setitem__(self, name: str | bytes, content: Any) -> None:
        """Replace a metalayer by one of the same length.

        Raises
        ------
        KeyError
            For a name that was not given at creation.
        ValueError
            For another length.
        """
        data = as_bytes(content, f"metalayer {name!r}")
        with self._schunk.lock.writing(), self._schunk.change() as ptr:
            replace_metalayer(self._schunk, ptr, name, data)


class VLMeta(_Layers, MutableMapping[str, bytes]):
    """The variable-length metalayers of an array: bytes by name, added and changed at any time."""

    def _all(self, ptr: Any) -> dict[str, Any]:
        return _variable_layers_of(ptr)

    def _content(self, layer: Any, what: str) -> bytes:
        return _decoded(layer, what)

    def __setitem__(self, name: str | bytes, content: Any) -> None:
        data = as_bytes(content, f"metalayer {name!r}")
        key = check_name(name)
        if len(data) > MOST:
            raise ArgumentError(
                f"metalayer {name!r}: {len(data)} bytes; at most {MOST} fit",
                Cause("wrong-value", f"metalayer {name!r}", len(data), MOST),
            )
        # Readers refuse many bytes that are stored in few.
        large = len(data) > UNQUESTIONED
        compression = Compression(clevel=0) if large else Compression()
        cparams = compression.to_cparams(1, 0)
        with self._schunk.lock.writing(), self._schunk.change() as ptr:
            is_there = _key_of(name) in self._all(ptr)
            write = lib.blosc2_vlmeta_update if is_there else lib.blosc2_vlmeta_add
            # C-Blosc2 accepts thousands, but writes at most this many to a frame.
            if not is_there and ptr.nvlmetalayers >= MOST_LAYERS:
                raise ArgumentError(
                    f"{MOST_LAYERS} variable-length metalayers are all a frame can hold",
                    Cause("wrong-value", "vlmeta", MOST_LAYERS + 1, MOST_LAYERS),
                )
            what = f"writing metalayer {name!r}"
            self._schunk.write(what, write, ptr, key, data, len(data), cparams)

    def __delitem__(self, name: str | bytes) -> None:
        with self._schunk.lock.writing(), self._schunk.change() as ptr:
            layers = self._all(ptr)
            if _key_of(name) not in layers:
                raise _missing(name, layers)
            what, key = f"deleting metalayer {name!r}", check_name(name)
            self._schunk.write(what, lib.blosc2_vlmeta_delete, ptr, key)
