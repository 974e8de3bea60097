"""Reads of Zarr arrays that are only counted: Zarr asks for parts of chunks as ever."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import zarr
from zarr.storage import StorePath

from caterva_cffi.codecs.parameters import Parameters, grid_of
from caterva_cffi.costs.explanation import Explanation, explanation_of
from caterva_cffi.costs.file_reads import object_in_file, tally_file
from caterva_cffi.costs.foretold import Foretold
from caterva_cffi.costs.tally import Tally, object_steps
from caterva_cffi.errors import ArgumentError, UnsupportedError
from caterva_cffi.geometry.grid import ObjectGrid
from caterva_cffi.geometry.keys import normalize
from caterva_cffi.keywords import checked_keywords
from caterva_cffi.steps import WHOLE, Asked, MissingError, Work, run
from caterva_cffi.zarr_chunks import stores
from caterva_cffi.zarr_chunks.chunk import ZarrChunk
from caterva_cffi.zarr_chunks.part_reads import PartReads, answers

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec

__all__ = ["explain"]


@checked_keywords
def explain(array: zarr.Array[Any], selection: Any = ...) -> Explanation:
    """Tell what it would cost now to read items of a Zarr array, without reading them.

    Of chunks that are stored, only the beginnings are read, and they are not kept.

    Parameters
    ----------
    array : zarr.Array
        Its only codec is `CatervaCodec`.
    selection : integers, slices, `...`, integer arrays or masks
        What would stand in `array[...]`.

    Returns
    -------
    Explanation
        Which blocks are decoded, and how many bytes are read for them, by how many requests. Files
        that were written less than 50 ms ago are explained as if they were older.

    Raises
    ------
    ArgumentError
        For another codec, or others beside it.
    UnsupportedError
        For an array in shards, and for format 2, where Zarr always reads whole chunks.
    IndexError

    Examples
    --------
    >>> import zarr
    >>> from caterva_cffi.zarr import CatervaCodec, explain
    >>> codec = CatervaCodec(block_shape=(2, 3))
    >>> z = zarr.create_array(
    ...     "a.zarr", data=data, chunks=(4, 6), serializer=codec, compressors=None
    ... )
    >>> print(explain(z, np.s_[:, 4]))
    Selected : (4,) of (4, 6), in 4 items
    Chunks   : 1 of 1, of (4, 6)
    Blocks   : 2 of (2, 3) are decoded
    Wanted   : 16 bytes
    Decoded  : 48 bytes, 3 times as many
    Read     : 3 requests for 488 bytes
    Memory   : about ... bytes at most
    """
    metadata: Any = array.metadata
    if metadata.zarr_format != 3:
        raise UnsupportedError(
            "of format 2, Zarr reads whole chunks; open the array by `open`", "cost-unknown"
        )
    codecs = list(metadata.codecs)
    if [type(each).__name__ for each in codecs] == ["ShardingCodec"]:
        raise UnsupportedError("an array in shards; expected one without", "cost-unknown")
    if len(codecs) != 1 or not isinstance(codecs[0], Parameters):
        names = ", ".join(type(each).__name__ for each in codecs)
        raise ArgumentError(
            f"the array's codecs are {names}; expected CatervaCodec alone", "other-codecs"
        )
    dry = DryCodec(codecs[0])
    stored = zarr.AsyncArray(replace(metadata, codecs=(dry,)), array.store_path)
    meter = stores.meter_of_store(array.store_path)
    with nullcontext() if meter is None else meter.paused():
        zarr.Array(stored)[selection]
    shape, chunks, itemsize = array.shape, array.chunks, array.dtype.itemsize
    usual = grid_of(codecs[0], chunks, itemsize)
    grid = ObjectGrid(shape, chunks, usual.blocks, itemsize, usual.checksums)
    tally = Tally()
    tally.add(dry.tallies)
    return explanation_of(grid, normalize(selection, shape), tally)


class DryCodec(PartReads):
    """A codec that counts what reading parts of chunks would cost.

    Parameters
    ----------
    parameters : Parameters
        Of the codec that it stands for.

    Attributes
    ----------
    tallies : list of Tally
        One for each part that was asked for.
    """

    is_fixed_size = False

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self.tallies: list[Tally] = []
        self._cache = Foretold()

    def to_dict(self) -> dict[str, Any]:
        """Return what Zarr shows of it; it is not stored."""
        return {"name": "caterva", "configuration": {}}

    def compute_encoded_size(self, _input_byte_length: int, _chunk_spec: ArraySpec) -> NoReturn:
        """Refuse: nothing is encoded."""
        raise NotImplementedError

    # Zarr's fused pipeline reads in its own threads if a codec has these.
    def _encode_sync(self, _items: Any, _spec: ArraySpec) -> NoReturn:
        raise NotImplementedError

    _decode_sync = _encode_sync

    def _chunk(self, spec: ArraySpec) -> _DryChunk:
        return _DryChunk(ZarrChunk(self._parameters, spec), self.tallies, self._cache)

    def _decode_partial_sync(self, byte_getter: Any, selection: Any, chunk_spec: ArraySpec) -> None:
        chunk = replace(self._chunk(chunk_spec), in_loop=False)
        run(chunk.read_steps(byte_getter, selection), answers(byte_getter, chunk_spec))


@dataclass(frozen=True)
class _DryChunk:
    """A chunk of which reads are counted."""

    chunk: ZarrChunk
    tallies: list[Tally]
    cache: Foretold
    in_loop: bool = True  # whether it is read in Zarr's event loop

    def nbytes_of(self, selection: Any) -> int:
        """Return how many bytes the items of a selection take."""
        return self.chunk.nbytes_of(selection)

    def read_steps(self, byte_getter: Any, selection: Any) -> Generator[Asked, Any, None]:
        """Count what reading a selection costs; Zarr is told that the chunk is not stored."""
        if not isinstance(byte_getter, StorePath):
            raise UnsupportedError(
                "a chunk in a shard; expected an object of its own", "cost-unknown"
            )
        path, key = stores.local_path(byte_getter), stores.identity(byte_getter)
        if path is not None:
            tally = yield Work(
                self.chunk.nbytes, partial(self._tally_file, path, key, byte_getter, selection)
            )
        else:
            policy, beside = stores.policy_of(byte_getter), stores.beside(byte_getter)
            read = replace(self.chunk.read(selection, policy, beside), cache=self.cache)
            with stores.naming(byte_getter):
                merge = partial(stores.requests_of, byte_getter) if self.in_loop else list
                tally = yield from object_steps(read, key, merge)
            if stores.is_in_memory(byte_getter):
                yield from _tally_whole(tally)
        self.tallies.append(tally)

    def _tally_file(self, path: str, key: Any, byte_getter: Any, selection: Any) -> Tally:
        tally = Tally({key})
        read = self.chunk.read(selection, stores.policy_of(byte_getter))
        try:
            file = object_in_file(tally, path, key, self.cache)
            with stores.naming(byte_getter), file as frame:
                layout = frame.layout
                self.chunk.check(layout)
                tally_file(tally, frame, lambda: read.wanted.begin(layout)[1], key)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            pass
        return replace(tally, chunks={key})


def _tally_whole(tally: Tally) -> Generator[Asked, Any, None]:
    """Count that all of an object in memory is asked for, once and without a copy."""
    try:
        [stored] = yield [WHOLE]
    except MissingError:
        return
    tally.requests, tally.rounds, tally.nbytes, tally.held = 1, 1, len(stored), 0
