"""What a conversion will do to each array, decided before anything is written."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from caterva_cffi.codecs.parameters import Parameters
from caterva_cffi.conversion.codings import coding_of
from caterva_cffi.conversion.options import Options
from caterva_cffi.conversion.regions import Cut, Share, shared_out
from caterva_cffi.conversion.shapes import Partition, check_shapes, fits
from caterva_cffi.datasets.model import Dataset, StoredAs, Tree
from caterva_cffi.errors import ArgumentError, CapacityError, Cause, UnsupportedError, named
from caterva_cffi.geometry.grid import Grid

__all__ = ["ArrayPlan", "plan_array", "plan_tree"]


@dataclass(frozen=True)
class ArrayPlan:
    """What becomes of an array.

    Attributes
    ----------
    path : str
    shape, chunks, blocks : tuple of int
        Of the target; no blocks with codecs of Zarr.
    shards : tuple of int or None
        Of Zarr.
    dtype : str
    nbytes : int
        Of the items.
    parameters : Parameters or None
        Of this package's codec.
    copied : StoredAs or None
        How chunks are stored, if they are taken as they are.
    share : Share
    """

    path: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    blocks: tuple[int, ...] | None
    dtype: str
    nbytes: int
    parameters: Parameters | None
    copied: StoredAs | None
    share: Share

    @property
    def unit(self) -> tuple[int, ...]:
        """The shape of what is written at once: a chunk, or a shard."""
        return self.chunks if self.shards is None else self.shards

    @property
    def cut(self) -> Cut:
        """The regions."""
        return self.share.cut

    def to_dict(self) -> dict[str, Any]:
        """Return the plan for programs."""
        return {
            "path": self.path,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "chunks": list(self.chunks),
            "shards": None if self.shards is None else list(self.shards),
            "blocks": None if self.blocks is None else list(self.blocks),
            "nbytes": self.nbytes,
            "how": "copied" if self.copied else "encoded",
            "regions": self.cut.nregions,
            "region": list(self.cut.region),
            "decoded": round(self.cut.decoded, 3),
        }

    def __str__(self) -> str:
        inside = "" if self.shards is None else f" in shards {self.shards}"
        inside += "" if self.blocks is None else f", blocks {self.blocks}"
        how = "chunks are copied" if self.copied else "encoded anew"
        if not self.copied and self.cut.decoded > 1:
            how += f", chunks are decoded {self.cut.decoded:.1f} times: more memory would save it"
        return (
            f"/{self.path}: {self.shape} {self.dtype}, {self.nbytes / 1e6:,.1f} MB, "
            f"chunks {self.chunks}{inside}, {how}"
        )


def _parameters(
    array: Dataset, options: Options, blocks: tuple[int, ...] | None, copied: StoredAs | None
) -> Parameters:
    """Return the codec's parameters: those given, and for copied chunks what they have."""
    given = dict(options.parameters)
    if copied is not None:
        coding = coding_of(copied.compression, array.dtype, len(array.shape))
        given = {**coding.configuration(), "checksum": copied.grid.checksums}
        blocks = copied.grid.blocks
    try:
        parameters = Parameters(block_shape=blocks, **given)
        if copied is None:
            parameters.check_array(array.dtype.newbyteorder("="), len(array.shape))
    except ArgumentError as error:
        raise named(error, f"/{array.path}") from None
    return parameters


def _copied(array: Dataset, options: Options, shapes: Partition) -> StoredAs | None:
    """Return how chunks are stored if they can be taken as they are: nothing else is asked for."""
    stored = array.stored
    if stored is None or shapes.shards is not None or shapes.chunks != array.chunks:
        return None
    if shapes.blocks not in (None, stored.grid.blocks):
        return None
    there, asked = _parameters(array, options, None, stored), Parameters(**options.parameters)
    if any(getattr(there, name) != getattr(asked, name) for name in options.parameters):
        return None
    return stored


def plan_array(array: Dataset, options: Options) -> ArrayPlan:
    """Return what becomes of an array.

    Raises
    ------
    ArgumentError, CapacityError, UnsupportedError
    """
    ours = fits(array, options)
    itemsize = array.dtype.itemsize
    shapes = Partition.of(array, options)
    chunks, blocks = shapes.chunks, shapes.blocks
    copied = _copied(array, options, shapes) if ours else None
    parameters = _parameters(array, options, blocks, copied) if ours else None
    if parameters is not None:
        inner, blocks = parameters.partition(chunks, itemsize)
        if copied is None and array.nbytes:
            parameters.check_grid(Grid(chunks, inner, blocks, itemsize))
        if options.format == "b2nd" and inner != chunks:
            raise CapacityError(
                f"/{array.path}: chunks {chunks} are too large for a frame",
                Cause("chunk-too-large", "chunks", chunks),
            )
    return ArrayPlan(
        array.path, array.shape, chunks, shapes.shards, blocks, str(array.dtype), array.nbytes,
        parameters, copied, _share(array, shapes.shards or chunks, options),
    )  # fmt: skip


def _share(array: Dataset, unit: tuple[int, ...], options: Options) -> Share:
    """Return the regions.

    Raises
    ------
    ArgumentError
        If not even one chunk or shard of the target fits the memory.
    """
    itemsize, memory = array.dtype.itemsize, options.memory
    # Zarr reads parts of shards, too.
    for source in (array.chunks, array.inner_chunks):
        share = shared_out(array.shape, source, unit, itemsize, memory, options.workers)
        if share is not None:
            return share
        if array.inner_chunks is None:
            break
    needed = math.prod(unit) * itemsize
    raise ArgumentError(
        f"/{array.path}: memory is {memory} bytes; a chunk {unit} of the target has "
        f"{needed}, and converting it takes four times that",
        Cause("memory-too-small", "memory", memory, 4 * needed),
    )


def plan_tree(tree: Tree, options: Options) -> dict[str, ArrayPlan]:
    """Return what becomes of each array.

    Raises
    ------
    ArgumentError
        Where there is no array, or several for a target that holds one.
    CapacityError, UnsupportedError
    """
    if options.format == "b2nd" and not tree.is_array:
        inside = ", ".join(sorted(tree.arrays)) or "none"
        raise ArgumentError(
            f"{tree.name} is a group, and a frame holds one array; name it behind a colon "
            f"(there are: {inside})",
            Cause("is-a-group", "source", None, list(tree.arrays)),
        )
    for reason in tree.refused.values():
        raise UnsupportedError(reason)
    check_shapes(tree, options)
    return {path: plan_array(array, options) for path, array in tree.arrays.items()}
