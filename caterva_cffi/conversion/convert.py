"""`convert`: arrays and groups of many formats, written with this package's codec, or back."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from types import NoneType
from typing import TYPE_CHECKING, Any

from caterva_cffi.conversion.progress import Progress
from caterva_cffi.conversion.report import Conversion
from caterva_cffi.errors import wrong_type
from caterva_cffi.keywords import checked_keywords

if TYPE_CHECKING:
    from caterva_cffi.conversion.options import Shapes

__all__ = ["convert"]

_MEMORY = 1 << 30


@checked_keywords
def convert(
    source: Any,
    destination: str | os.PathLike[str],
    *,
    path: str | None = None,
    format: str | None = None,
    zarr_format: int | None = None,
    chunks: Shapes = None,
    shards: Shapes = None,
    blocks: Shapes = None,
    cname: str | None = None,
    clevel: int | None = None,
    shuffle: str | None = None,
    checksum: bool | None = None,
    codec: Mapping[str, Any] | None = None,
    advise: Any = None,
    exclude: Sequence[str] = (),
    memory: int = _MEMORY,
    nthreads: int | None = None,
    overwrite: bool = False,
    resume: bool = False,
    verify: bool = False,
    dry_run: bool = False,
    progress: Callable[[Progress], None] | None = None,
    scheduler: Any = None,
    storage_options: Mapping[str, Any] | None = None,
    destination_options: Mapping[str, Any] | None = None,
) -> Conversion:
    """Convert an array, or a group with all that is in it.

    Where chunk shape, block shape, byte order and codec allow, compressed chunks are copied as they
    are. Otherwise each chunk of the source is decoded once, if the memory allows.

    Parameters
    ----------
    source : str, path-like, NDArray, ndarray, or array or group of zarr
        A Zarr array or group of format 2 or 3, an HDF5 or netCDF-4 file, a frame, a `.npy` file;
        local or, but for the last, behind a URL. `file.h5:group/array` names what is inside.
    destination : str or path-like
        A directory or URL for Zarr, a file or URL for a frame.
    path : str, optional
        Inside the source, instead of a colon.
    format : {"zarr", "plain-zarr", "b2nd"}, optional
        Zarr with the codec `caterva`, Zarr with its own codecs, or a frame. By default a frame if
        the destination's name ends with `.b2nd`, `.b2frame` or `.caterva`, else `zarr`. Arrays
        whose items have no fixed size always get Zarr's own codecs.
    zarr_format : {3, 2}, optional
        Of Zarr. In format 2 the codec is that of numcodecs, and dimension names are the attribute
        that xarray keeps them in.
    chunks, shards, blocks : sequence of int, or mapping of str to int, optional
        For arrays of as many dimensions, or by names of dimensions; -1 is the whole length. By
        default the source's chunks, its shards if the format is `plain-zarr`, and its blocks where
        chunks are copied. Shards hold whole chunks.
    cname, clevel, shuffle, checksum
        As for `caterva_cffi.zarr.CatervaCodec`. What is not given is the source's where chunks are
        copied.
    codec : mapping, optional
        Its other parameters: filters, use_dict, precision, ...
    advise : str, Access, or iterable of these and of selections, optional
        What will be read, as for `caterva_cffi.advise`: chunks and blocks that are not given are
        chosen for it, of each array that can be read so.
    exclude : sequence of str
        Patterns of paths, such as `quality/*`, of arrays and groups to leave out.
    memory : int
        Bytes of items and chunks to hold at the same time, beside what the process takes anyway.
    nthreads : int, optional
        By default all processors that this process may use.
    overwrite : bool
        Replace an array or a group that exists.
    resume : bool
        Go on with a conversion that did not end.
    verify : bool
        Compare all that was written, bit by bit, with the source before the destination is made
        complete. Not with a lossy codec.
    dry_run : bool
        Write nothing; return what would be done, or raise what would be raised at once.
    progress : callable, optional
        Called with a `Progress` after each region, by the thread that called `convert`.
    scheduler : distributed.Client, optional
        Whose workers convert the regions; each needs access to source and destination. Only to
        Zarr.
    storage_options, destination_options : mapping, optional
        For fsspec, if source or destination are URLs.

    Returns
    -------
    Conversion

    Raises
    ------
    FileExistsError
        For a destination that exists or is incomplete, unless told to overwrite or resume.
    FileNotFoundError, StorageError, FormatError, UnsupportedError, CapacityError
    DifferenceError
        If what was written is not what the source has.
    ArgumentError
        For options that contradict each other, the source or an earlier run.
    ImportError
        For a format whose package is not installed.

    Examples
    --------
    >>> np.save("a.npy", data)
    >>> done = cat.convert("a.npy", "a.zarr", chunks=(4, 3), blocks=(2, 3), cname="zstd")
    >>> cat.open("a.zarr").blocks
    (2, 3)
    """
    # Imported by this call alone: together they take as long as the rest of the package.
    from caterva_cffi.advice.accesses import accesses_of
    from caterva_cffi.conversion.options import options_of
    from caterva_cffi.conversion.whole import run

    place = os.fspath(destination)
    place = place if "://" in place else os.path.abspath(place)
    asked: dict[str, Any] = {
        "cname": cname,
        "clevel": clevel,
        "shuffle": shuffle,
        "checksum": checksum,
    }
    if not isinstance(codec, (Mapping, NoneType)):
        raise wrong_type("codec", codec, "a mapping; the name of the codec is `cname`")
    asked |= codec or {}
    options = options_of(
        place, format, asked, zarr_format, nthreads, chunks=chunks, shards=shards, blocks=blocks,
        accesses=accesses_of(advise), exclude=tuple(exclude), memory=memory,
    )  # fmt: skip
    return run(
        source, path, storage_options, place, destination_options, options,
        overwrite=overwrite, resume=resume, verify=verify, dry_run=dry_run, progress=progress,
        scheduler=scheduler,
    )  # fmt: skip
