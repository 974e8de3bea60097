"""The super-chunk: C-Blosc2's list of compressed chunks, with an owner in Python.

A super-chunk is in memory or on disk. It is contiguous (one frame) or sparse (separate chunks).
This module owns the C object, keeps alive the memory that it points to, and turns its errors into
exceptions. It does not know shapes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from io import FileIO
from typing import Any, cast

from caterva_cffi.binding.buffers import as_bytes, export
from caterva_cffi.binding.compression import Compression
from caterva_cffi.binding.library import check, ffi, lib
from caterva_cffi.errors import (
    ArgumentError,
    BusyError,
    CatervaError,
    ClosedError,
    FormatError,
    ReadOnlyError,
    StorageError,
)
from caterva_cffi.format.chunk_header import HEADER, sizes_of
from caterva_cffi.format.frame_header import HEADER_MIN, check_header_room, check_offsets_chunk
from caterva_cffi.format.offsets import chunk_file
from caterva_cffi.format.seal import LAYER, OPEN_SEAL
from caterva_cffi.storage.atomic import (
    INDEX_FILE,
    beside,
    check_descriptors,
    check_free,
    discard,
    disk_errors,
    fs_path,
    move,
)
from caterva_cffi.storage.stored import Stored, Version, stamp_of, version_of
from caterva_cffi.superchunk.assembly import frame_of, write_directory, write_file_frame
from caterva_cffi.superchunk.locks import ReadWriteLock
from caterva_cffi.superchunk.sealing import (
    FileFrame,
    MemoryFrame,
    check_seal,
    open_seal,
    read_header,
    seal,
)
from caterva_cffi.superchunk.stored_frames import check_stored
from caterva_cffi.superchunk.user_metalayers import MOST, VLMeta, check_name, content_of, layers_of

__all__ = ["Chunk", "SChunk"]

_NBYTES, _CBYTES = slice(30, 38), 39  # in a frame's header

_FEW = 64
"""At most this many chunks are appended one by one; for more, a new frame is made."""


class Chunk:
    """The bytes of one compressed chunk in C memory, and the object that keeps them valid.

    Attributes
    ----------
    pointer : cdata
    size : int
        Bytes.
    in_place : bool
        Whether this memory is the super-chunk's own, so that a write here changes the chunk.
    """

    __slots__ = ("_owner", "in_place", "pointer", "size")

    def __init__(self, pointer: Any, size: int, owner: Any, in_place: bool) -> None:
        self.pointer = pointer
        self.size = size
        self.in_place = in_place
        self._owner = owner


class SChunk:
    """Owner of a `blosc2_schunk`.

    If it is stored, C-Blosc2 keeps header, metalayers and offsets in memory. They are read anew
    before they are used, if something else has changed the file.

    Parameters
    ----------
    owner : cdata
        The `blosc2_schunk *`; it is freed together with this object.
    read_only : bool
    path : str, optional
        Where it is stored, or will be.
    stored : Stored, optional
        The file or directory at its place.
    version : Version, optional
        Of the file that was read; None if it may have changed since.
    keep : object, optional
        An object that keeps its memory alive.

    Attributes
    ----------
    path : str or None
        Where it is stored; None in memory.
    stored : Stored or None
        The file or directory at that place.
    contiguous : bool
        Whether it is one frame.
    read_only : bool
    generation : int
        How often it was read anew.
    """

    def __init__(
        self,
        owner: Any,
        *,
        read_only: bool,
        path: str | None = None,
        stored: Stored | None = None,
        version: Version | None = None,
        keep: Any = None,
    ) -> None:
        self._own(owner)
        self._keep = keep
        self._exports: set[object] = set()  # one for each view; views may die in any thread
        self._spoilt: CatervaError | None = None  # says why it cannot be used any more
        self._writes = 0
        self._known_offsets: tuple[tuple[int, int], Any] | None = None
        self.lock = ReadWriteLock()
        self.read_only = read_only
        self.contiguous = bool(owner.storage.contiguous)
        self.path = path
        self.stored = stored
        self.generation = 0
        self._version = version
        self._sealed = LAYER in layers_of(owner)
        self._place: tuple[str, str] | None = None

    @classmethod
    def create(
        cls,
        compression: Compression,
        itemsize: int,
        blocksize: int,
        meta: Mapping[str, bytes],
        *,
        contiguous: bool = False,
        urlpath: Any = None,
        mode: str = "x",
    ) -> SChunk:
        """Return a new super-chunk without chunks.

        On disk it is written beside its place, and moved there by `complete`.

        Parameters
        ----------
        compression : Compression
        itemsize, blocksize : int
            Bytes.
        meta : mapping of str to bytes
        contiguous : bool
        urlpath : path, optional
            None keeps it in memory.
        mode : {"x", "w"}
            Whether something that exists at `urlpath` is an error or is removed first.

        Raises
        ------
        FileExistsError, FileNotFoundError, StorageError
        ArgumentError
            For metalayers that do not fit.
        """
        # Check names before anything is created: an error would leave it behind.
        names = {name: check_name(name) for name in meta}
        contents = {name: as_bytes(meta[name], f"metalayer {name!r}") for name in meta}
        if len(meta) > lib.BLOSC2_MAX_METALAYERS:
            raise ArgumentError(
                f"{len(meta)} metalayers; at most {lib.BLOSC2_MAX_METALAYERS} are possible"
            )
        size = sum(map(len, contents.values()))
        if size > MOST:
            raise ArgumentError(f"metalayers of {size} bytes; at most {MOST} are possible")
        cparams = compression.to_cparams(itemsize, blocksize)
        dparams = ffi.new("blosc2_dparams *", {"nthreads": 1})
        storage = ffi.new("blosc2_storage *", lib.blosc2_get_blosc2_storage_defaults())
        storage.cparams, storage.dparams, storage.contiguous = cparams, dparams, contiguous
        if urlpath is not None:
            path = fs_path(urlpath)
            check_free(path, mode)
            temporary = beside(path)
            name = ffi.new("char[]", os.fsencode(temporary))
            storage.urlpath = name
            check_descriptors(path, "created")
        ptr = lib.blosc2_schunk_new(storage)
        if ptr == ffi.NULL:
            if urlpath is None:
                raise ArgumentError(f"C-Blosc2 refuses {compression} for {itemsize}-byte items")
            discard(temporary, 0)
            raise StorageError(f"{path!r} cannot be created")
        owner = ffi.gc(ptr, lib.blosc2_schunk_free)
        schunk = cls(owner, read_only=False, path=None if urlpath is None else temporary)
        schunk._sealed = LAYER in meta
        if urlpath is not None:
            schunk._place = (path, mode)
        with schunk.discarded_on_error():
            for key, data in contents.items():
                code = lib.blosc2_meta_add(ptr, names[key], data, len(data))
                check(code, f"adding metalayer {key!r}")
        return schunk

    @contextmanager
    def discarded_on_error(self) -> Iterator[None]:
        """Remove a new super-chunk's files if what is done meanwhile fails."""
        try:
            yield
        except BaseException:
            if self._place is not None and self.path is not None:
                nchunks = self._owner.nchunks if self._owner is not None else 0
                self.close()
                discard(self.path, nchunks)
            raise

    def complete(self) -> SChunk:
        """Move a new super-chunk with all its chunks to its place; return it opened there.

        What was at the place stays there until then.

        Raises
        ------
        FileExistsError, StorageError
        """
        if self._place is None:
            return self
        self._take_place(mine=False)
        place, _ = self._place
        stored = Stored(place)
        stored.stamp(stored.status())
        return SChunk._opened(stored, read_only=False)

    def supersede(self, old: SChunk) -> None:
        """Let a new super-chunk take the place of an old one that is being changed.

        Raises
        ------
        StorageError
        """
        if old.stored is None:
            return
        if old.stored.status().st_nlink > 1:
            raise StorageError(
                f"{old.path!r} has several names (hard links), of which only one would be changed: "
                "change a copy"
            )
        self._take_place(mine=True)
        old.stored.superseded = True

    def successor(self, old: SChunk) -> SChunk:
        """Return the super-chunk that has superseded an old one, once the change is over."""
        if old.stored is None:
            return self
        return SChunk._opened(old.stored, read_only=False)

    def _take_place(self, mine: bool) -> None:
        place, mode = cast("tuple[str, str]", self._place)
        temporary = cast("str", self.path)
        with disk_errors(place, "written"), self.discarded_on_error():
            self.close()
            if self._sealed:
                index = temporary if self.contiguous else os.path.join(temporary, INDEX_FILE)
                with open(index, "rb+", buffering=0) as file:
                    seal(FileFrame(file))
            move(temporary, place, mode, mine=mine)

    @classmethod
    def open(cls, urlpath: Any, *, read_only: bool) -> SChunk:
        """Return the super-chunk that is stored in a file or a sparse directory.

        Raises
        ------
        FileNotFoundError, IsADirectoryError, PermissionError
        FormatError
            For a file that is no frame.
        StorageError
            If it is being changed, or a change was cut off.
        """
        path = fs_path(urlpath)
        index = os.path.join(path, INDEX_FILE) if os.path.isdir(path) else path
        if index != path and not os.path.exists(index):
            raise IsADirectoryError(f"{path!r} is a directory without a sparse frame in it")
        if not stat.S_ISREG(os.stat(index).st_mode):  # to open something else may take for ever
            raise FormatError(f"{path!r} is no Blosc2 frame: it is no regular file")
        with disk_errors(path, "opened"), open(index, "rb" if read_only else "rb+"):
            return cls._opened(Stored(path), read_only=read_only)

    @classmethod
    def _opened(cls, stored: Stored, *, read_only: bool) -> SChunk:
        owner, version = _open_stored(stored)
        return cls(owner, read_only=read_only, path=stored.path, stored=stored, version=version)

    @classmethod
    def from_buffer(cls, buffer: Any, *, copy: bool) -> SChunk:
        """Return the super-chunk in a contiguous frame.

        Parameters
        ----------
        buffer : object with the buffer protocol
        copy : bool
            Without a copy the super-chunk is read-only and keeps the buffer alive.

        Raises
        ------
        FormatError
            For bytes that are no frame.
        """
        data = as_bytes(buffer, "the frame")
        size = len(data)
        view = ffi.buffer(data)
        try:
            check_offsets_chunk(lambda start, stop: view[start:stop], size)
        except FormatError as error:
            raise FormatError(f"{size} bytes that are no Blosc2 frame: {error}") from None
        ptr = _from_frame(data, size, copy=copy)
        if ptr == ffi.NULL:
            raise FormatError(f"{size} bytes that are no Blosc2 frame")
        owner = ffi.gc(ptr, lib.blosc2_schunk_free)
        _unseal(owner, MemoryFrame(view))
        return cls(owner, read_only=not copy, keep=None if copy else data)

    # --- using it -----------------------------------------------------------------------------

    @property
    def ptr(self) -> Any:
        """The `blosc2_schunk *`, for use with `lib`; if it is stored, as it was when it was read.

        Raises
        ------
        ClosedError
        FormatError
            For chunks of several sizes: C-Blosc2 divides by the size.
        StorageError
            If a change was cut off.
        """
        if self._owner is None or self._ended:
            raise ClosedError("the array is closed")
        if self._spoilt is not None:
            raise type(self._spoilt)(*self._spoilt.args)
        return self._owner

    @contextmanager
    def reading(self) -> Iterator[Any]:
        """Hold off writers; yield the pointer to what is stored now.

        Raises
        ------
        ClosedError
        StorageError
            If something else changes it, or a change was cut off.
        FormatError
        """
        with self.lock.reading():
            ptr = self.ptr
            if self._is_current():
                yield ptr
                return
        if self.lock.is_read_here():
            raise StorageError(f"{self.path!r} was changed while it was read; read it again")
        with self._alone() as ptr:
            yield ptr

    def _is_current(self) -> bool:
        """Whether nothing else has changed what is stored; the caller holds the lock."""
        stored = self.stored
        if stored is None or stored.held:
            return True
        status = stored.status()
        stored.check_unmarked(status)
        return version_of(status) == self._version

    @contextmanager
    def _alone(self) -> Iterator[Any]:
        """Hold off everybody while C-Blosc2 reads what is stored now; yield the pointer.

        Raises
        ------
        StorageError
            If something else has changed it meanwhile.
        """
        with self.lock.writing():
            ptr, stored = self.ptr, self.stored
            if stored is None or stored.held:
                yield ptr
                return
            try:
                with stored.unchanged() as status:
                    if version_of(status) != self._version:
                        self._load(stored)
                    yield self.ptr
            except BaseException:
                self._version = None  # C-Blosc2 may have read a part of a new state
                raise

    def _load(self, stored: Stored) -> None:
        """Read header, metalayers and offsets anew; the caller holds the lock for writing."""
        self._version = None
        owner, self._version = _open_stored(stored)
        self._own(owner)
        self._sealed = LAYER in layers_of(self._owner)
        self.generation += 1

    def metalayers(self) -> dict[str, bytes]:
        """Return the metalayers of fixed length as they were when they were read."""
        return _contents(self.ptr)

    @property
    def closed(self) -> bool:
        """Whether `close` was called, or the garbage collection freed the C object."""
        return self._owner is None or bool(self._ended)

    def _own(self, owner: Any) -> None:
        """Take a C object, and notice when it is freed.

        When Python collects a cycle, it ends the objects in any order. Some of them might use the C
        object after it was freed.
        """
        ended: list[bool] = []
        ffi.gc(owner, None)
        self._owner, self._ended = ffi.gc(owner, partial(_free, ended)), ended

    @property
    def nchunks(self) -> int:
        """Number of chunks."""
        with self.reading() as ptr:
            return int(ptr.nchunks)

    @property
    def cbytes(self) -> int:
        """Bytes of the compressed chunks."""
        with self.reading() as ptr:
            return int(ptr.cbytes)

    @property
    def itemsize(self) -> int:
        """Bytes of an item."""
        return int(self.ptr.typesize)

    def close(self) -> None:
        """Free the super-chunk; memory that it exported stays valid.

        Raises
        ------
        BufferError
            While a view of its frame is alive.
        BusyError
            While this thread reads or changes it.
        """
        if self.lock.is_used_here():
            raise BusyError("a thread that uses an array cannot close it meanwhile")
        with self.lock.writing():
            if self.closed:
                return
            self._check_exports()
            ffi.release(self._owner)
            self._owner = self._keep = None

    def _check_exports(self) -> None:
        if self._exports:
            raise BufferError(
                f"{len(self._exports)} views of the frame are alive; delete them before changing it"
            )

    # --- changing it --------------------------------------------------------------------------

    @contextmanager
    def changing(self) -> Iterator[Any]:
        """Hold off readers; yield the pointer, if the super-chunk may be changed.

        Raises
        ------
        ReadOnlyError, ClosedError
        BufferError
            While a view of the frame is alive.
        StorageError
            If another handle changes it, or a change was cut off.
        """
        with self.lock.writing():
            self.ptr  # noqa: B018, raises
            if self.read_only:
                where = f"{self.path!r}" if self.path else "the frame"
                raise ReadOnlyError(f"{where} was opened for reading")
            self._check_exports()
            with self._marked():
                ptr = self.ptr
                try:
                    yield ptr
                finally:
                    if ptr.nchunks > 0 and ptr.chunksize == 0:
                        self._spoilt = FormatError(
                            "chunks differ in size: the array was damaged before it was changed"
                        )
            self.ptr  # noqa: B018, raises if a change was cut off

    @contextmanager
    def _marked(self) -> Iterator[None]:
        """Mark a stored array during a change, and seal it afterwards."""
        stored = self.stored
        if stored is None or stored.held:
            yield
            return
        with stored.changing() as file:
            status = os.fstat(file.fileno())
            with _writing(stored):
                if version_of(status) != self._version:
                    self._load(stored)
                if self._sealed:
                    open_seal(FileFrame(file))
            try:
                yield
            finally:
                if stored.broken or stored.superseded:
                    self._version = None
                else:
                    self._finish_change(stored, file, status)

    def _finish_change(self, stored: Stored, file: FileIO, before: os.stat_result) -> None:
        """Compare what is stored with what C-Blosc2 meant to store, and seal it.

        Raises
        ------
        StorageError
            If that was not written; the file stays marked.
        """
        self._version = None
        ptr, frame = self._owner, FileFrame(file)
        try:
            with _writing(stored):
                if not stored.is_of(file):
                    raise StorageError(f"{self.path!r} was replaced while it was changed")
                written = read_header(frame)
                if (written.frame_len, written.nbytes, written.cbytes, written.metalayers) != (
                    frame.size, ptr.nbytes, ptr.cbytes, _contents(ptr)
                ):  # fmt: skip
                    # C-Blosc2 does not notice if its header could not be written.
                    raise StorageError(f"{self.path!r}: what was changed could not be written")
                if self._sealed:
                    seal(frame)
                self._version = stored.stamp(before)
        except BaseException:
            stored.broken = True
            raise

    def write(self, what: str, function: Any, *arguments: Any) -> None:
        """Call a C function that writes; if it fails, raise and leave the file marked."""
        self._writes += 1  # before the call: an interrupt may come right after it
        code = function(*arguments)
        if code < 0 and self.stored is not None:
            self.stored.broken = True
        self.check(code, what)

    @contextmanager
    def whole_change(self) -> Iterator[None]:
        """Make the array unusable if several writes that belong together are cut off."""
        before = self._writes
        try:
            yield
        except BaseException:
            if self._writes != before and self.stored is not None:
                self.stored.broken = True
            elif self._writes != before:
                self._spoilt = StorageError(
                    "a change of the array was cut off: its items are not where they were"
                )
            raise

    @contextmanager
    def change_without_errors(self) -> Iterator[None]:
        """Leave the file marked if an error comes between writes; an interrupt does no harm."""
        before = self._writes
        try:
            yield
        except Exception:
            if self._writes != before and self.stored is not None:
                self.stored.broken = True
            raise

    def check(self, code: int, what: str) -> int:
        """Return a C function's result, or raise; if the file is gone, the error says so."""
        if code < 0 and self.stored is not None:
            self.stored.status()
            try:
                check(code, what)
            except CatervaError as error:
                # For files, C-Blosc2 seldom tells more than that it failed.
                known = type(error) is not CatervaError
                kind = type(error) if known else StorageError
                raise kind(f"{self.path!r}: {error}", code) from None
        return check(code, what)

    # --- chunks -------------------------------------------------------------------------------

    def chunk(self, number: int) -> Chunk:
        """Return a chunk's bytes; if they are in memory, without a copy.

        The caller holds the lock for as long as it uses them.
        """
        if self.stored is None or self.stored.held:
            return self._chunk(self.ptr, number)
        with self._alone() as ptr:
            return self._chunk(ptr, number)

    def _chunk(self, ptr: Any, number: int) -> Chunk:
        stored = self.stored
        if stored is not None and stored.sparse and 0 <= number < ptr.nchunks:
            offset = self._offsets(ptr)[number]
            if offset >= 0:
                return self._chunk_of_file(stored, ptr, number, offset)
        chunk = ffi.new("uint8_t **")
        needs_free = ffi.new("bool *")
        size = lib.blosc2_schunk_get_chunk(ptr, number, chunk, needs_free)
        self.check(size, f"reading chunk {number}")
        owner = ffi.gc(chunk[0], lib.free, size=size) if needs_free[0] else self
        return Chunk(chunk[0], size, owner, self.path is None and not needs_free[0])

    def _offsets(self, ptr: Any) -> Any:
        """Return the offsets of all chunks of a frame; they are decoded once for each state."""
        state = self.generation, self._writes
        if self._known_offsets is None or self._known_offsets[0] != state:
            pointer = lib.blosc2_frame_get_offsets(ptr)
            if pointer == ffi.NULL:
                check_descriptors(str(self.path), "read")  # which would explain it
                raise FormatError(f"{self.path!r}: the offsets of the chunks cannot be read")
            size = 8 * ptr.nchunks
            self._known_offsets = state, ffi.gc(pointer, lib.free, size=size)
        return self._known_offsets[1]

    def _chunk_of_file(self, stored: Stored, ptr: Any, number: int, offset: int) -> Chunk:
        """Read a chunk's file. C-Blosc2 would believe the length in the chunk's header.

        Raises
        ------
        StorageError, FormatError
        """
        path = os.path.join(stored.place, chunk_file(offset))
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError as error:
            raise StorageError(f"{path!r} cannot be read: {error.strerror or error}") from error
        if len(data) < HEADER:
            raise FormatError(f"{path!r} has {len(data)} bytes, too few for chunk {number}")
        nbytes, _, cbytes = sizes_of(data)
        if nbytes != ptr.chunksize or not HEADER <= cbytes <= len(data):
            raise FormatError(
                f"{path!r} has {len(data)} bytes; chunk {number} says that it has {cbytes} for "
                f"{nbytes}, expected to decode to {ptr.chunksize}"
            )
        return Chunk(ffi.from_buffer("uint8_t[]", data), cbytes, data, False)

    def append_chunk(self, chunk: Any) -> None:
        """Append a copy of a compressed chunk."""
        with self.changing() as ptr:
            data = as_bytes(chunk, "the chunk")
            self.write("appending a chunk", lib.blosc2_schunk_append_chunk, ptr, data, True)

    def fill(self, chunks: Iterable[Any], nchunks: int) -> None:
        """Append all chunks to a new super-chunk; they are copied.

        Parameters
        ----------
        chunks : iterable of buffer
            Compressed chunks; each may be made when it is asked for.
        nchunks : int
        """
        if nchunks <= _FEW or (self.path is None and not self.contiguous):
            for chunk in chunks:
                self.append_chunk(chunk)
            return
        if self.path is None:
            pointer, needs_free = ffi.new("uint8_t **"), ffi.new("bool *")
            size = lib.blosc2_schunk_to_buffer(self.ptr, pointer, needs_free)
            self.check(size, "writing the frame")
            frame = frame_of(ffi.buffer(pointer[0], size)[:], chunks)
            self._replace(_from_frame(ffi.from_buffer("uint8_t[]", frame), len(frame), copy=True))
            return
        write = write_file_frame if self.contiguous else write_directory
        write(self.path, chunks)
        self._replace(lib.blosc2_schunk_open(os.fsencode(self.path)))

    def _replace(self, new: Any) -> None:
        """Take another C object for the same array, and pass on parameters that no frame holds."""
        if new == ffi.NULL:
            raise StorageError("the chunks that were written cannot be opened")
        old = self._owner
        new.clevel, new.splitmode, new.use_dict = old.clevel, old.splitmode, old.use_dict
        self._own(ffi.gc(new, lib.blosc2_schunk_free))
        ffi.release(old)

    def insert_chunk(self, number: int, chunk: Any) -> None:
        """Insert a copy of a compressed chunk before another chunk."""
        with self.changing() as ptr:
            data = as_bytes(chunk, "the chunk")
            insert = lib.blosc2_schunk_insert_chunk
            self.write(f"inserting chunk {number}", insert, ptr, number, data, True)

    def update_chunk(self, number: int, chunk: Any) -> None:
        """Replace a compressed chunk by a copy of another."""
        with self.changing() as ptr:
            data = as_bytes(chunk, "the chunk")
            update = lib.blosc2_schunk_update_chunk
            self.write(f"writing chunk {number}", update, ptr, number, data, True)

    def delete_chunk(self, number: int) -> None:
        """Delete a chunk."""
        with self.changing() as ptr:
            what = f"deleting chunk {number}"
            self.write(what, lib.blosc2_schunk_delete_chunk, ptr, number)
            if ptr.nchunks == 0 and ptr.frame != ffi.NULL and ptr.cbytes:
                # Otherwise the next chunk would be placed behind that many meaningless bytes.
                ptr.cbytes = 0
                layer = ptr.metalayers[0]
                same = content_of(layer)
                self.write(what, lib.blosc2_meta_update, ptr, layer.name, same, len(same))

    # --- the frame ----------------------------------------------------------------------------

    def to_buffer(self) -> memoryview:
        """Return the contiguous frame: a view if it is in memory, else a copy.

        While a view is alive the super-chunk cannot be changed.

        Raises
        ------
        StorageError
            If something else has changed what is stored meanwhile.
        """
        if self.stored is not None and self.contiguous:
            with self.lock.reading():
                self.ptr  # noqa: B018, raises
                with self.stored.unchanged(), open(self.stored.index, "rb") as file:
                    return memoryview(file.read())
        with self._alone() as ptr:
            if not self.contiguous and (self.stored is not None or ptr.nchunks > _FEW):
                return self._in_one_frame(ptr).to_buffer()
            pointer = ffi.new("uint8_t **")
            needs_free = ffi.new("bool *")
            size = lib.blosc2_schunk_to_buffer(ptr, pointer, needs_free)
            self.check(size, "writing the frame")
            if self._sealed and (needs_free[0] or not self.read_only):
                seal(MemoryFrame(ffi.buffer(pointer[0], size)))
            if needs_free[0]:
                address = pointer[0]
                return export(address, size, lambda: lib.free(address))
            view = object()
            self._exports.add(view)
        return export(pointer[0], size, partial(self._unexport, view))

    def frame(self) -> memoryview | None:
        """Return the frame in memory, valid while the caller holds the lock; None without one."""
        if self.path is not None or not self.contiguous:
            return None
        pointer, needs_free = ffi.new("uint8_t **"), ffi.new("bool *")
        size = lib.blosc2_schunk_to_buffer(self.ptr, pointer, needs_free)
        self.check(size, "reading the frame")
        return memoryview(ffi.buffer(pointer[0], size)).cast("B")

    def _in_one_frame(self, ptr: Any) -> SChunk:
        """Return a contiguous super-chunk in memory with the same chunks and metalayers."""

        def chunks() -> Iterator[memoryview]:
            for number in range(ptr.nchunks):
                chunk = self._chunk(ptr, number)
                yield memoryview(ffi.buffer(chunk.pointer, chunk.size)).cast("B")

        compression, meta = Compression.of(ptr), _contents(ptr)
        new = SChunk.create(compression, ptr.typesize, ptr.blocksize, meta, contiguous=True)
        VLMeta(new).update(VLMeta(self).to_dict())
        new.fill(chunks(), ptr.nchunks)
        return new

    def _unexport(self, view: object) -> None:
        self._exports.discard(view)


def _free(ended: list[bool], owner: Any) -> None:
    ended.append(True)
    lib.blosc2_schunk_free(owner)


def _from_frame(data: Any, size: int, *, copy: bool) -> Any:
    """Return the `blosc2_schunk *` for a frame; NULL if it is none."""
    pointer = data
    if copy:
        memory = lib.malloc(max(size, 1))
        if memory == ffi.NULL:
            raise MemoryError(f"no memory for a frame of {size} bytes")
        ffi.memmove(memory, data, size)
        pointer = ffi.cast("uint8_t *", memory)
        if size >= HEADER_MIN and not any(ffi.buffer(pointer, size)[_NBYTES]):
            # Without items, `cbytes` only counts deleted chunks: a new one would leave them free.
            ffi.memmove(pointer + _CBYTES, bytes(8), 8)
    ptr = lib.blosc2_schunk_from_buffer(pointer, size, False)
    if ptr != ffi.NULL:
        # A frame in our own memory may grow; the user's memory must not be freed or moved.
        lib.blosc2_schunk_avoid_cframe_free(ptr, not copy)
    elif copy:
        lib.free(pointer)
    return ptr


def _contents(ptr: Any) -> dict[str, bytes]:
    return {name: content_of(layer) for name, layer in layers_of(ptr).items()}


@contextmanager
def _writing(stored: Stored) -> Iterator[None]:
    """Turn errors of the system into ours."""
    try:
        yield
    except CatervaError:
        raise
    except OSError as error:
        raise StorageError(f"{stored.path!r} cannot be changed: {error}") from error


def _open_stored(stored: Stored) -> tuple[Any, Version | None]:
    """Return a `blosc2_schunk *` for what is stored now, and the file's version.

    Raises
    ------
    FormatError
        For a file that is no frame.
    StorageError
        For a file that cannot be read, or was changed meanwhile.
    """
    with stored.unchanged() as status, open(stored.index, "rb", buffering=0) as file:
        frame, path = FileFrame(file), stored.real
        try:
            check_header_room(frame.read(0, 16), status)
            check_stored(frame.read, frame.size, path)
        except FormatError as error:
            raise FormatError(f"{stored.path!r} is no Blosc2 frame: {error}") from None
        ptr = lib.blosc2_schunk_open(os.fsencode(path))
        if ptr == ffi.NULL:
            check_descriptors(path, "opened")  # which would explain it
            raise FormatError(f"{stored.path!r} is no Blosc2 frame")
        owner = ffi.gc(ptr, lib.blosc2_schunk_free)
        _unseal(owner, frame)
    return owner, stamp_of(status)


def _unseal(ptr: Any, frame: FileFrame | MemoryFrame) -> None:
    """Compare a frame that was opened with its checksums, and open the seal in C-Blosc2's memory.

    With each change, C-Blosc2 writes the metalayers that it read: an old seal would be wrong then.

    Raises
    ------
    FormatError
    """
    layer = layers_of(ptr).get(LAYER)
    if layer is not None:
        check_seal(frame)
        ffi.memmove(layer.content, OPEN_SEAL, min(layer.content_len, len(OPEN_SEAL)))
