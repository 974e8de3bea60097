"""A frame in a file as a destination.

The chunks go into `NAME.partial` in the order in which they are ready, and `NAME.partial.journal`
says where each is. A partial file begins with zeros, so that nobody takes it for a frame. When it
is complete, it takes the place of the destination.
"""

from __future__ import annotations

import errno
import json
import os
import threading
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, BinaryIO, TextIO

import numpy.typing as npt

from caterva_cffi.arrays.constructors import empty
from caterva_cffi.arrays.opening import open as open_array
from caterva_cffi.binding.kernel import kernel_of
from caterva_cffi.codecs.coding import compression_of
from caterva_cffi.conversion.journal import check_request
from caterva_cffi.conversion.plans import ArrayPlan
from caterva_cffi.conversion.regions import chunks_in
from caterva_cffi.conversion.target import BUSY, EXISTS, INCOMPLETE, Target
from caterva_cffi.datasets.metalayers import Description
from caterva_cffi.datasets.model import Dataset, Region
from caterva_cffi.dtypes import as_dtype, check_dtype
from caterva_cffi.errors import CapacityError, FormatError, StorageError
from caterva_cffi.format.chunk_header import SPECIALS, special_of
from caterva_cffi.format.frame_header import pack_header, set_sizes, write_seal
from caterva_cffi.format.metalayers import encode_geometry
from caterva_cffi.format.offsets import encode_offsets, offset_of_special
from caterva_cffi.format.trailer import empty_trailer
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.storage.atomic import fs_path, move
from caterva_cffi.storage.marks import lock, locked
from caterva_cffi.superchunk.user_metalayers import MOST_LAYERS

__all__ = ["FrameTarget"]


class FrameTarget(Target):
    """A frame in a file.

    Parameters
    ----------
    destination : str
    array : Dataset
    plan : ArrayPlan
    request : mapping
        What must be the same in a later run.
    """

    def __init__(
        self, destination: str, array: Dataset, plan: ArrayPlan, request: Mapping[str, Any]
    ) -> None:
        assert plan.parameters is not None and plan.blocks is not None
        self._path = fs_path(destination)
        self._partial, self._log = f"{self._path}.partial", f"{self._path}.partial.journal"
        self._request, self._plan, self._array = request, plan, array
        self._dtype = check_dtype(array.dtype.newbyteorder("<"))
        checksum = plan.parameters.checksum
        self._grid = Grid(plan.shape, plan.chunks, plan.blocks, self._dtype.itemsize, checksum)
        self._compression = (
            compression_of(plan.parameters, self._dtype.itemsize)
            if plan.copied is None
            else plan.copied.compression
        )
        self._variable = Description.of(array).variable(array.metalayers)
        layers = self._layers()
        for what, count in (("variable", len(self._variable)), ("fixed", len(layers))):
            if count > MOST_LAYERS:
                raise CapacityError(
                    f"{count} metalayers of {what} length; a frame holds {MOST_LAYERS}"
                )
        self._header = pack_header(
            self._compression, self._grid.itemsize, self._grid.blocksize, layers
        )
        self._places: dict[int, tuple[int, int]] = {}  # by chunk: offset, and bytes
        self._end, self._mode, self._goes_on = 0, "x", False
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._notes: TextIO | None = None

    def _layers(self) -> dict[str, bytes]:
        """Return all metalayers of fixed length; Caterva's own only if there is room for it."""
        fixed = self._array.metalayers.fixed
        layers = encode_geometry(self._grid, self._dtype)
        if len(layers) + len(fixed) > MOST_LAYERS:
            layers = encode_geometry(self._grid, self._dtype, for_caterva=False)
        return {**layers, **fixed}

    def check(self, *, overwrite: bool, resume: bool) -> None:
        """Find what is there.

        Raises
        ------
        FileExistsError
        ArgumentError, FormatError
        """
        self._mode = "w" if overwrite else "x"
        is_begun = os.path.lexists(self._log)
        if is_begun and not (resume or overwrite):
            raise FileExistsError(INCOMPLETE.format(self._path))
        if os.path.lexists(self._partial) and not (is_begun or overwrite):
            raise FileExistsError(f"{self._partial!r} exists, and is no incomplete conversion")
        self._check_place(overwrite)
        self._goes_on = is_begun and resume and os.path.exists(self._partial)
        if self._goes_on:
            with open(self._log, encoding="utf-8") as log:
                self._read_request(log)

    def begin(self, *, overwrite: bool, resume: bool) -> None:
        """Take over what an earlier run has written, or begin anew; see `check`.

        Raises
        ------
        FileExistsError, FileNotFoundError, StorageError
        ArgumentError, FormatError
        """
        self.check(overwrite=overwrite, resume=resume)
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        descriptor = os.open(self._partial, flags, 0o666)
        self._file = os.fdopen(descriptor, "rb+", buffering=0)
        if not self._is_alone(descriptor):
            self._close_file()
            raise StorageError(BUSY.format(self._path), "in-use")
        if self._goes_on:
            lines = self._take_over()
        else:
            self._file.truncate(0)
            self._write(0, bytes(len(self._header)))
            lines = [json.dumps(self._request)]
        with open(f"{self._log}.new", "w", encoding="utf-8") as log:
            log.write("\n".join(lines) + "\n")
        os.replace(f"{self._log}.new", self._log)
        self._notes = open(self._log, "a", encoding="utf-8")  # noqa: SIM115, closed by `close`
        lock(self._notes.fileno())

    def _is_alone(self, descriptor: int) -> bool:
        """Lock the partial file; return False if another conversion writes, or just ended.

        Whoever writes locks the partial file until it is a frame, and the journal until the end.
        """
        if not lock(descriptor):
            return False
        with suppress(FileNotFoundError), locked(self._log) as is_free:
            if not is_free:
                return False
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self._partial))
        except FileNotFoundError:
            return False

    def _check_place(self, overwrite: bool) -> None:
        """Refuse to replace what exists."""
        if os.path.lexists(self._path) and not overwrite:
            raise FileExistsError(EXISTS.format(self._path))
        directory = os.path.dirname(self._path)
        if not os.path.isdir(directory):
            raise FileNotFoundError(errno.ENOENT, "no such directory", directory)
        if os.path.isdir(self._path):
            raise FileExistsError(f"{self._path!r} is a directory; expected a file for a frame")

    def _read_request(self, log: TextIO) -> str:
        try:
            request = json.loads(log.readline())
        except ValueError as error:
            raise FormatError(f"{self._log!r} makes no sense: {error}", "wrong-journal") from None
        check_request(request, self._request, self._path)
        return json.dumps(request)

    def _take_over(self) -> list[str]:
        """Find the chunks that are there, as they were written; return the lines that say so."""
        with open(self._log, encoding="utf-8") as log, open(self._partial, "rb") as file:
            good = [self._read_request(log)]
            for line in log:
                if not line.endswith("\n"):
                    break  # it was cut off
                number, offset, size, checksum = map(int, line.split())
                file.seek(len(self._header) + max(offset, 0))
                if zlib.crc32(file.read(size)) != checksum:
                    continue
                good.append(line.strip())
                self._places[number] = (offset, size)
                self._end = max(self._end, offset + size)
        return good

    # --- writing ------------------------------------------------------------------------------

    def write_items(self, plan: ArrayPlan, at: Sequence[int], items: npt.NDArray[Any]) -> int:
        """Encode and write a chunk."""
        number = self._grid.chunk_number(at)
        little = as_dtype(items, self._dtype)
        assert plan.parameters is not None
        plan.parameters.check_items(little, little.ndim)
        kernel = kernel_of(self._grid)
        return self._append(number, kernel.encode(number, self._compression.to_kernel(), little))

    def write_chunk(self, plan: ArrayPlan, at: Sequence[int], chunk: Any) -> int:
        """Write a chunk as it is."""
        return self._append(self._grid.chunk_number(at), chunk)

    def _append(self, number: int, chunk: Any) -> int:
        special = special_of(chunk)
        with self._lock:
            if special in SPECIALS:
                offset, size, checksum = offset_of_special(special), 0, 0
            else:
                offset, size, checksum = self._end, len(chunk), zlib.crc32(chunk)
                self._write(len(self._header) + offset, chunk)
                self._end += size
            self._places[number] = (offset, size)
            assert self._notes is not None
            self._notes.write(f"{number} {offset} {size} {checksum}\n")
        return size

    def _write(self, at: int, data: Any) -> None:
        assert self._file is not None
        self._file.seek(at)
        view = memoryview(data).cast("B")
        while len(view):
            view = view[self._file.write(view) :]

    def is_done(self, plan: ArrayPlan, number: int) -> bool:
        """Whether an earlier run has written a region."""
        if not self._places:
            return False
        inside = chunks_in(plan.cut[number], plan.chunks)
        return all(self._grid.chunk_number(at) in self._places for at, _ in inside)

    def note(self, plan: ArrayPlan, number: int) -> None:
        """Hand what was noted to the system: it is kept if this process is killed."""
        self.save()

    def save(self) -> None:
        """Hand what was noted to the system."""
        with self._lock:
            if self._notes is not None:
                self._notes.flush()

    def close(self) -> None:
        """Close the files."""
        notes, self._notes = self._notes, None
        try:
            if notes is not None:
                notes.close()
        finally:
            self._close_file()

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    # --- completing ---------------------------------------------------------------------------

    def readable(self) -> None:
        """Write all that makes the file a frame."""
        if self._file is None:
            return
        if not self._grid.nchunks:
            self._close_file()
            os.remove(self._partial)
            empty(
                self._grid.shape,
                dtype=self._dtype,
                chunks=self._grid.chunks,
                blocks=self._grid.blocks,
                urlpath=self._partial,
                contiguous=True,
                meta=dict(self._array.metalayers.fixed),
            )
        else:
            self._complete_frame()
        self._describe()

    def _complete_frame(self) -> None:
        grid = self._grid
        places = [self._places[number][0] for number in range(grid.nchunks)]
        offsets, trailer = encode_offsets(places), empty_trailer()
        header, size = self._header, len(self._header) + self._end
        set_sizes(
            header, frame_len=size + len(offsets) + len(trailer), cbytes=self._end,
            chunksize=grid.chunk_nbytes, nchunks=grid.nchunks,
        )  # fmt: skip
        if grid.checksums:
            write_seal(memoryview(header), offsets, trailer)
        assert self._file is not None
        self._write(size, offsets.tobytes() + trailer)
        self._file.truncate(size + len(offsets) + len(trailer))
        self._write(0, header)
        self._close_file()

    def _describe(self) -> None:
        """Add metalayers of variable length."""
        if not self._variable:
            return
        with open_array(self._partial, mode="a") as frame:
            for name, content in self._variable.items():
                frame.vlmeta[name] = content

    def read(self, plan: ArrayPlan, region: Region) -> npt.NDArray[Any]:
        """Return what was written."""
        with open_array(self._partial, mode="r") as frame:
            return frame.read(region)

    def finish(self) -> None:
        """Let the frame take the place of the destination."""
        self.readable()
        move(self._partial, self._path, self._mode)
        self._forget(self._log)

    def _forget(self, *paths: str) -> None:
        """Remove files while they are locked; but Windows removes none that is open."""
        if os.name == "nt":
            self.close()
        for path in paths:
            with suppress(FileNotFoundError):
                os.remove(path)
        self.close()
