"""The shapes of what an array becomes: chunks, shards and blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from caterva_cffi.advice.accesses import selections_of
from caterva_cffi.advice.advise import advise
from caterva_cffi.conversion.options import Options, Shapes
from caterva_cffi.datasets.model import Dataset, Tree
from caterva_cffi.dtypes import check_dtype, check_items
from caterva_cffi.errors import ArgumentError, Cause, UnsupportedError
from caterva_cffi.geometry.grid import MAX_DIM, default_partition

__all__ = ["Partition", "check_shapes", "fits"]


def fits(array: Dataset, options: Options) -> bool:
    """Whether this package's codec can store an array."""
    try:
        check_items(array.dtype)
        if options.format == "b2nd":
            check_dtype(array.dtype)
    except TypeError as error:
        if options.format == "b2nd":
            raise UnsupportedError(f"/{array.path}: {error}", "wrong-dtype") from None
        return False
    return options.format != "plain-zarr" and len(array.shape) <= MAX_DIM


@dataclass(frozen=True)
class Partition:
    """Chunks, the shards that they are in, and the blocks that they are cut into.

    Attributes
    ----------
    chunks : tuple of int
    shards, blocks : tuple of int or None
    """

    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    blocks: tuple[int, ...] | None

    @classmethod
    def of(cls, array: Dataset, options: Options) -> Partition:
        """Return what was asked for, and of the rest what the source has.

        Raises
        ------
        ArgumentError
        """
        blocks = _shape_for("blocks", options.blocks, array.blocks, array)
        chunks = _shape_for("chunks", options.chunks, array.chunks, array)
        advised = _advised(array, options, chunks) if blocks is None else None
        if advised is not None:
            chunks, blocks = advised
        shards = None
        in_shards = array.inner_chunks is not None and chunks is None
        if in_shards and (options.shards is not None or _keeps_shards(options)):
            chunks, shards = array.inner_chunks, array.chunks
        if chunks is None:
            chunks = array.chunks
        if chunks is None:
            chunks = default_partition(array.shape, array.dtype.itemsize, None, blocks)[0]
        chunks = tuple(max(n, 1) for n in chunks)
        shards = _shape_for("shards", options.shards, chunks, array) or shards
        if shards is not None:
            shards = _multiple(array, shards, chunks)
        if blocks is not None:
            blocks = tuple(map(min, blocks, chunks))
        return cls(chunks, shards, blocks)


def _keeps_shards(options: Options) -> bool:
    """Whether a source's shards are kept if nothing is said of them."""
    return options.format == "plain-zarr" and options.zarr_format == 3


def _multiple(array: Dataset, shards: tuple[int, ...], chunks: tuple[int, ...]) -> tuple[int, ...]:
    """Return shards of whole chunks; those of the array's length may go beyond its end."""
    whole = tuple(
        -(-shard // chunk) * chunk if shard >= n else shard
        for shard, chunk, n in zip(shards, chunks, array.shape, strict=True)
    )
    if any(shard % chunk for shard, chunk in zip(whole, chunks, strict=True)):
        raise ArgumentError(
            f"/{array.path}: shards are {shards}, chunks {chunks}; expected shards of whole chunks",
            Cause("wrong-value", "shards", shards, chunks),
        )
    return whole


def _advised(
    array: Dataset, options: Options, chunks: tuple[int, ...] | None
) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Return chunks and blocks for what is read; None where such an array is not read so."""
    if not options.accesses or not array.nbytes or not fits(array, options):
        return None
    try:
        found = advise(
            array.shape, array.dtype, options.accesses, chunks,
            store="remote" if options.is_remote else "local",
        )  # fmt: skip
    except (ArgumentError, IndexError):
        return None
    return found.chunks, found.blocks


def _shape_for(
    name: str, asked: Shapes, usual: Sequence[int] | None, array: Dataset
) -> tuple[int, ...] | None:
    """Return the lengths that were asked for an array; None if that does not concern it.

    Parameters
    ----------
    name : str
        "chunks", "shards" or "blocks".
    asked : Shapes
    usual : sequence of int, optional
        Lengths along dimensions that are not named; by default the array's.
    array : Dataset

    Raises
    ------
    ArgumentError
        For lengths below 1, or names of dimensions that the array does not have.
    """
    if asked is None or not array.shape or not _concerns(asked, array):
        return None
    if isinstance(asked, Mapping):
        names = array.dimension_names or ()
        default = usual or array.shape
        lengths = [asked.get(each or "", n) for each, n in zip(names, default, strict=True)]
    else:
        lengths = list(asked)
    if any(not isinstance(n, int) or (n < 1 and n != -1) for n in lengths):
        raise ArgumentError(
            f"{name} are {tuple(lengths)}; expected lengths of at least 1, or -1",
            Cause("wrong-value", name, lengths),
        )
    whole = [n if length == -1 else length for length, n in zip(lengths, array.shape, strict=True)]
    return tuple(max(min(k, n), 1) for k, n in zip(whole, array.shape, strict=True))


def check_shapes(tree: Tree, options: Options) -> None:
    """Refuse shapes and accesses that concern no array.

    Raises
    ------
    ArgumentError, IndexError
    """
    arrays = list(tree.arrays.values())
    for name in ("chunks", "shards", "blocks"):
        asked: Shapes = getattr(options, name)
        if asked is not None and arrays and not any(_concerns(asked, each) for each in arrays):
            found = {(len(each.shape), each.dimension_names) for each in arrays}
            known = "; ".join(
                f"{ndim} dimensions, named {names}" for ndim, names in sorted(found, key=str)
            )
            raise ArgumentError(
                f"{name} are {asked}; expected some for {known}",
                Cause("wrong-value", name, asked),
            )
    for number, array in enumerate(arrays if options.accesses else []):
        try:
            selections_of(options.accesses, array.shape)
            return
        except (ArgumentError, IndexError):
            if number + 1 == len(arrays):
                raise


def _concerns(asked: Sequence[int] | Mapping[str, int], array: Dataset) -> bool:
    if isinstance(asked, Mapping):
        return bool(set(asked) & set(array.dimension_names or ()))
    return len(asked) == len(array.shape)
