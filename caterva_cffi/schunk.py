"""The super-chunk: C-Blosc2's list of compressed chunks, with an owner in Python.

A super-chunk lives in memory or on disk, contiguous (one frame) or sparse (separate chunks). This
module owns the C object, keeps what it points to alive, and turns its errors into exceptions. It
knows nothing of shapes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

from caterva_cffi._ffi import check, ffi, lib
from caterva_cffi.buffers import as_bytes, export
from caterva_cffi.checksums import LAYER, OPEN_SEAL
from caterva_cffi.errors import ArgumentError, ClosedError, FormatError, ReadOnlyError, StorageError
from caterva_cffi.files import (
    INDEX_FILE,
    Mark,
    beside,
    check_free,
    check_unmarked,
    fs_path,
    move,
    remove,
)
from caterva_cffi.frame import check_byte_chunk, check_offsets_chunk
from caterva_cffi.layout import check_stored
from caterva_cffi.locks import ReadWriteLock
from caterva_cffi.params import Compression
from caterva_cffi.sealing import (
    FileFrame,
    MemoryFrame,
    check_seal,
    open_seal,
    read_header,
    seal,
)

__all__ = ["Chunk", "Meta", "SChunk", "VLMeta"]

_CHUNK_HEADER = 32


class Chunk:
    """The bytes of one compressed chunk in C memory, with whatever keeps them valid.

    Attributes
    ----------
    pointer : cdata
    size : int
        Bytes.
    in_place : bool
        Whether this is where the super-chunk has the chunk: what is written here changes it.
    """

    __slots__ = ("_owner", "in_place", "pointer", "size")

    def __init__(self, pointer: Any, size: int, owner: Any, in_place: bool) -> None:
        self.pointer = pointer
        self.size = size
        self.in_place = in_place
        self._owner = owner


class SChunk:
    """Owner of a `blosc2_schunk`.

    Attributes
    ----------
    ptr : cdata
        The `blosc2_schunk *`, for use with `lib`; valid as long as this object is open.
    path : str or None
        Where it is stored; None in memory.
    contiguous : bool
        Whether it is one frame.
    read_only : bool
    changes : int
        How often it was changed through this object.
    """

    def __init__(self, ptr: Any, *, read_only: bool, keep: Any = None) -> None:
        self._owner = ffi.gc(ptr, lib.blosc2_schunk_free)
        self._keep = keep
        self._exports: set[object] = set()  # of views; they die in any thread
        self._mixed = False
        self._writes = 0
        self.changes = 0
        self.lock = ReadWriteLock()
        storage = ptr.storage
        self.read_only = read_only
        self.contiguous = bool(storage.contiguous)
        self.path = os.fsdecode(ffi.string(storage.urlpath)) if storage.urlpath else None
        self._mark = None if self.path is None else Mark(self.path)
        self._sealed = bool(lib.blosc2_meta_exists(ptr, LAYER.encode()) >= 0)
        self._place: tuple[str, str] | None = None
        self._superseded = False

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

        On disk it is beside its place, which it takes when it is complete: see `complete`.

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
        # Before anything is created that an error would leave behind.
        names = {name: _check_name(name) for name in meta}
        contents = {name: as_bytes(meta[name], f"metalayer {name!r}") for name in meta}
        if len(meta) > lib.BLOSC2_MAX_METALAYERS:
            raise ArgumentError(
                f"{len(meta)} metalayers; at most {lib.BLOSC2_MAX_METALAYERS} are possible"
            )
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
        ptr = lib.blosc2_schunk_new(storage)
        if ptr == ffi.NULL:
            if urlpath is None:
                raise ArgumentError(f"C-Blosc2 refuses {compression} for {itemsize}-byte items")
            remove(temporary)
            raise StorageError(f"{path!r} cannot be created")
        schunk = cls(ptr, read_only=False)
        schunk._sealed = LAYER in meta
        if urlpath is not None:
            schunk._mark, schunk._place = None, (path, mode)
        with schunk.discarded_on_error():
            for key, data in contents.items():
                code = lib.blosc2_meta_add(ptr, names[key], data, len(data))
                check(code, f"adding metalayer {key!r}")
        return schunk

    @contextmanager
    def discarded_on_error(self) -> Iterator[None]:
        """Remove a new super-chunk's files where what is done meanwhile fails."""
        try:
            yield
        except BaseException:
            if self._place is not None and self.path is not None:
                self.close()
                remove(self.path)
            raise

    def complete(self) -> SChunk:
        """Return a new super-chunk that has all its chunks, at its place.

        What is at the place before is there until the new one is.

        Raises
        ------
        FileExistsError, StorageError
        """
        if self._place is None or self.path is None:
            return self
        with self.discarded_on_error():
            self.close()
            place, mode = self._place
            if self._sealed:
                seal(self._stored())
            move(self.path, place, mode)
        return SChunk.open(place, read_only=False)

    def superseded_by(self, new: SChunk) -> SChunk:
        """Let a new super-chunk take this one's place, in a change of this one; see `complete`."""
        completed = new.complete()
        self._superseded = True
        return completed

    @classmethod
    def open(cls, urlpath: Any, *, read_only: bool) -> SChunk:
        """Return the super-chunk that is stored in a file or a sparse directory.

        Raises
        ------
        FileNotFoundError, IsADirectoryError, PermissionError
        FormatError
            For a file that is no frame.
        """
        path = fs_path(urlpath)
        index = os.path.join(path, INDEX_FILE) if os.path.isdir(path) else path
        if index != path and not os.path.exists(index):
            raise IsADirectoryError(f"{path!r} is a directory without a sparse frame in it")
        with open(index, "rb" if read_only else "rb+") as file:
            check_unmarked(path)

            def read(start: int, stop: int) -> bytes:
                file.seek(start)
                return file.read(stop - start)

            try:
                check_stored(read, os.fstat(file.fileno()).st_size, path)
            except FormatError as error:
                raise FormatError(f"{path!r} is no Blosc2 frame: {error}") from None
        ptr = lib.blosc2_schunk_open(os.fsencode(path))
        if ptr == ffi.NULL:
            raise FormatError(f"{path!r} is no Blosc2 frame")
        schunk = cls(ptr, read_only=read_only)
        schunk._check_seal(schunk._stored())
        return schunk

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
        if copy:
            pointer = lib.malloc(max(size, 1))
            if pointer == ffi.NULL:
                raise MemoryError(f"no memory for a frame of {size} bytes")
            ffi.memmove(pointer, data, size)
            pointer = ffi.cast("uint8_t *", pointer)
        else:
            pointer = data
        ptr = lib.blosc2_schunk_from_buffer(pointer, size, False)
        if ptr == ffi.NULL:
            if copy:
                lib.free(pointer)
            raise FormatError(f"{size} bytes that are no Blosc2 frame")
        # A frame in memory of our own may grow; one in the user's memory must be left alone.
        lib.blosc2_schunk_avoid_cframe_free(ptr, not copy)
        schunk = cls(ptr, read_only=not copy, keep=None if copy else data)
        schunk._check_seal(MemoryFrame(view))
        return schunk

    def _check_seal(self, frame: FileFrame | MemoryFrame) -> None:
        """Compare what was opened with its checksums, or close it again."""
        if not self._sealed:
            return
        try:
            check_seal(frame)
        except BaseException:
            self.close()
            raise
        # C-Blosc2 writes it with each change, which makes the checksums wrong that it has read.
        for layer in _metalayers(self._owner):
            if _name_of(layer) == LAYER and layer.content_len == len(OPEN_SEAL):
                ffi.memmove(layer.content, OPEN_SEAL, len(OPEN_SEAL))

    def _stored(self) -> FileFrame:
        """Return the file that is the frame, or the sparse frame's index."""
        path = cast("str", self.path)
        return FileFrame(path if self.contiguous else os.path.join(path, INDEX_FILE))

    @property
    def ptr(self) -> Any:
        """The `blosc2_schunk *`.

        Raises
        ------
        ClosedError
        FormatError
            For chunks of several sizes, by which C-Blosc2 divides.
        """
        if self._owner is None:
            raise ClosedError("the array is closed")
        if self._mixed:
            raise FormatError("chunks differ in size: the array was damaged before it was changed")
        return self._owner

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._owner is None

    @property
    def nchunks(self) -> int:
        """Number of chunks."""
        return int(self.ptr.nchunks)

    @property
    def cbytes(self) -> int:
        """Bytes of the compressed chunks."""
        return int(self.ptr.cbytes)

    @property
    def itemsize(self) -> int:
        """Bytes of an item."""
        return int(self.ptr.typesize)

    def close(self) -> None:
        """Free the super-chunk; what it exported stays valid.

        Raises
        ------
        BufferError
            While a view of its frame is alive.
        """
        with self.lock.writing():
            if self._owner is None:
                return
            self._check_exports()
            ffi.release(self._owner)
            self._owner = self._keep = None

    def _check_exports(self) -> None:
        if self._exports:
            raise BufferError(
                f"{len(self._exports)} views of the frame are alive; delete them before changing it"
            )

    @contextmanager
    def changing(self) -> Iterator[Any]:
        """Hold off readers; give the pointer, if the super-chunk may be changed.

        Raises
        ------
        ReadOnlyError, ClosedError
        BufferError
            While a view of the frame is alive.
        StorageError
            Where another handle changes it, or a change was cut off.
        """
        with self.lock.writing():
            ptr = self.ptr
            if self.read_only:
                where = f"{self.path!r}" if self.path else "the frame"
                raise ReadOnlyError(f"{where} was opened for reading")
            self._check_exports()
            with self._marked():
                try:
                    yield ptr
                finally:
                    self.changes += 1
                    self._mixed = ptr.nchunks > 0 and ptr.chunksize == 0
            if self._mixed:
                self.ptr  # noqa: B018, raises

    @contextmanager
    def _marked(self) -> Iterator[None]:
        """Mark a stored array for the time of a change, and seal it afterwards."""
        if self._mark is None:
            yield
            return
        if self._mark.held:
            yield
            return
        with self._mark.set():
            if self._sealed:
                open_seal(self._stored())
            try:
                yield
            finally:
                if not self._mark.broken and not self._superseded:
                    self._finish_change()

    def _finish_change(self) -> None:
        """Compare what is stored with what C-Blosc2 meant to store, and seal it.

        Raises
        ------
        StorageError
            Where it was not written; the file stays marked.
        """
        frame, ptr = self._stored(), self._owner
        try:
            written = read_header(frame)
            meant = {_name_of(each): _content_of(each) for each in _metalayers(ptr)}
            if (written.nbytes, written.cbytes) != (ptr.nbytes, ptr.cbytes) or (
                written.frame_len != frame.size or written.metalayers != meant
            ):
                # It does not look whether its header was written.
                raise StorageError(f"{self.path!r}: what was changed could not be written")
            if self._sealed:
                seal(frame)
        except BaseException:
            cast("Mark", self._mark).broken = True
            raise

    def check_whole(self) -> None:
        """Raise where somebody else changes the file, or a change was cut off.

        Raises
        ------
        StorageError
        """
        if self._mark is not None and not self._mark.held:
            check_unmarked(self._mark.path)

    def check_change(self, code: int, what: str) -> int:
        """Return the result of a C function that writes, or raise and leave the file marked."""
        self._writes += 1
        if code < 0 and self._mark is not None:
            self._mark.broken = True
        return self.check(code, what)

    @contextmanager
    def whole_change(self) -> Iterator[None]:
        """Leave the file marked where several writes that belong together are cut off."""
        before = self._writes
        try:
            yield
        except BaseException:
            if self._mark is not None and self._writes != before:
                self._mark.broken = True
            raise

    def check(self, code: int, what: str) -> int:
        """Return a C function's result, or raise; a file that is gone explains any error."""
        if code < 0 and self.path is not None and not os.path.exists(self.path):
            raise StorageError(f"{what}: {self.path!r} is gone", code)
        return check(code, what)

    def chunk(self, number: int) -> Chunk:
        """Return a chunk's bytes, without a copy where they are in memory.

        The caller holds the lock for as long as it uses them.
        """
        chunk = ffi.new("uint8_t **")
        needs_free = ffi.new("bool *")
        size = lib.blosc2_schunk_get_chunk(self.ptr, number, chunk, needs_free)
        self.check(size, f"reading chunk {number}")
        owner = ffi.gc(chunk[0], lib.free, size=size) if needs_free[0] else self
        return Chunk(chunk[0], size, owner, self.path is None and not needs_free[0])

    def append_chunk(self, chunk: Any) -> None:
        """Append a compressed chunk, which is copied."""
        with self.changing() as ptr:
            data = as_bytes(chunk, "the chunk")
            self.check_change(lib.blosc2_schunk_append_chunk(ptr, data, True), "appending a chunk")

    def insert_chunk(self, number: int, chunk: Any) -> None:
        """Insert a compressed chunk, which is copied, before another."""
        with self.changing() as ptr:
            data = as_bytes(chunk, "the chunk")
            code = lib.blosc2_schunk_insert_chunk(ptr, number, data, True)
            self.check_change(code, f"inserting chunk {number}")

    def update_chunk(self, number: int, chunk: Any) -> None:
        """Replace a compressed chunk by another, which is copied."""
        with self.changing() as ptr:
            data = as_bytes(chunk, "the chunk")
            code = lib.blosc2_schunk_update_chunk(ptr, number, data, True)
            self.check_change(code, f"writing chunk {number}")

    def delete_chunk(self, number: int) -> None:
        """Delete a chunk."""
        with self.changing() as ptr:
            code = lib.blosc2_schunk_delete_chunk(ptr, number)
            self.check_change(code, f"deleting chunk {number}")
            if ptr.nchunks == 0 and ptr.frame != ffi.NULL and ptr.cbytes:
                # Otherwise the next chunk would come behind as many bytes of anything.
                ptr.cbytes = 0
                layer = ptr.metalayers[0]
                same = _content_of(layer)
                code = lib.blosc2_meta_update(ptr, layer.name, same, len(same))
                self.check_change(code, f"deleting chunk {number}")

    def to_buffer(self) -> memoryview:
        """Return the contiguous frame: a view where it is in memory, otherwise a copy.

        While a view is alive the super-chunk cannot be changed.
        """
        if self.path is not None and self.contiguous:
            with self.lock.reading(), open(self.path, "rb") as file:
                return memoryview(file.read())
        with self.lock.writing():
            pointer = ffi.new("uint8_t **")
            needs_free = ffi.new("bool *")
            size = lib.blosc2_schunk_to_buffer(self.ptr, pointer, needs_free)
            self.check(size, "writing the frame")
            if self._sealed and (needs_free[0] or not self.read_only):
                seal(MemoryFrame(ffi.buffer(pointer[0], size)))
            if needs_free[0]:
                address = pointer[0]
                return export(address, size, lambda: lib.free(address))
            view = object()
            self._exports.add(view)
        return export(pointer[0], size, partial(self._unexport, view))

    def _unexport(self, view: object) -> None:
        self._exports.discard(view)


def _metalayers(ptr: Any) -> list[Any]:
    return [ptr.metalayers[i] for i in range(ptr.nmetalayers)]


def _name_of(layer: Any) -> str:
    name: bytes = ffi.string(layer.name)
    return name.decode(errors="surrogateescape")


def _content_of(layer: Any) -> bytes:
    return bytes(ffi.buffer(layer.content, layer.content_len)) if layer.content_len else b""


def _encode_name(name: str | bytes) -> bytes:
    return name if isinstance(name, bytes) else name.encode(errors="surrogateescape")


def _check_name(name: str | bytes) -> bytes:
    if not isinstance(name, (str, bytes)):
        raise TypeError(f"metalayer name is {name!r}; expected str or bytes")
    encoded = _encode_name(name)
    if not 0 < len(encoded) <= lib.BLOSC2_METALAYER_NAME_MAXLEN or b"\0" in encoded:
        raise ArgumentError(
            f"metalayer name {name!r}; expected 1 to {lib.BLOSC2_METALAYER_NAME_MAXLEN} bytes "
            "without NUL"
        )
    return encoded


class _Layers(Mapping[str, bytes]):
    """What fixed and variable-length metalayers share; values are bytes, usually msgpack."""

    def __init__(self, schunk: SChunk) -> None:
        self._schunk = schunk

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self)!r})"

    def _check(self, name: str | bytes) -> None:
        """Raise where C-Blosc2 must not be given what is stored under a name."""

    def _get(self, name: str | bytes, get: Any) -> bytes:
        content = ffi.new("uint8_t **")
        size = ffi.new("int32_t *")
        with self._schunk.lock.reading():
            if name not in self:
                raise KeyError(name)
            self._check(name)
            check(get(self._schunk.ptr, _encode_name(name), content, size), f"metalayer {name!r}")
            data = ffi.gc(content[0], lib.free)
            return bytes(ffi.buffer(data, size[0]))


class Meta(_Layers):
    """The metalayers of an array: bytes by name, of a length that is fixed at creation."""

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, (str, bytes)) or b"\0" in _encode_name(name):
            return False
        return bool(lib.blosc2_meta_exists(self._schunk.ptr, _encode_name(name)) >= 0)

    def __iter__(self) -> Iterator[str]:
        ptr = self._schunk.ptr
        for i in range(ptr.nmetalayers):
            yield ffi.string(ptr.metalayers[i].name).decode(errors="surrogateescape")

    def __getitem__(self, name: str | bytes) -> bytes:
        return self._get(name, lib.blosc2_meta_get)

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
        with self._schunk.changing() as ptr:
            old = len(self[name])
            if len(data) != old:
                raise ArgumentError(
                    f"metalayer {name!r}: {len(data)} bytes instead of {old}; "
                    "the length of a metalayer cannot change"
                )
            code = lib.blosc2_meta_update(ptr, _encode_name(name), data, len(data))
            self._schunk.check_change(code, f"writing metalayer {name!r}")


class VLMeta(_Layers, MutableMapping[str, bytes]):
    """The variable-length metalayers of an array: bytes by name, added and changed at any time."""

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, (str, bytes)) or b"\0" in _encode_name(name):
            return False
        return bool(lib.blosc2_vlmeta_exists(self._schunk.ptr, _encode_name(name)) >= 0)

    def __iter__(self) -> Iterator[str]:
        ptr = self._schunk.ptr
        # Getting one reads them anew where the file was changed meanwhile.
        layers = [ptr.vlmetalayers[i] for i in range(ptr.nvlmetalayers)]
        names = [ffi.string(layer.name) for layer in layers]
        return iter([name.decode(errors="surrogateescape") for name in names])

    def __getitem__(self, name: str | bytes) -> bytes:
        return self._get(name, lib.blosc2_vlmeta_get)

    def _check(self, name: str | bytes) -> None:
        ptr = self._schunk.ptr
        number = lib.blosc2_vlmeta_exists(ptr, _encode_name(name))
        layer = ptr.vlmetalayers[check(number, f"metalayer {name!r}")]
        content = ffi.buffer(layer.content, min(layer.content_len, _CHUNK_HEADER))[:]
        check_byte_chunk(content, f"metalayer {name!r}", layer.content_len)

    def __setitem__(self, name: str | bytes, content: Any) -> None:
        data = as_bytes(content, f"metalayer {name!r}")
        key = _check_name(name)
        cparams = Compression().to_cparams(1, 0)
        with self._schunk.changing() as ptr:
            write = lib.blosc2_vlmeta_update if name in self else lib.blosc2_vlmeta_add
            # C-Blosc2 takes thousands, but writes at most these to a frame.
            most = lib.BLOSC2_MAX_METALAYERS
            if name not in self and ptr.nvlmetalayers >= most:
                raise ArgumentError(f"{most} variable-length metalayers are all a frame can hold")
            code = write(ptr, key, data, len(data), cparams)
            self._schunk.check_change(code, f"writing metalayer {name!r}")

    def __delitem__(self, name: str | bytes) -> None:
        with self._schunk.changing() as ptr:
            if name not in self:
                raise KeyError(name)
            code = lib.blosc2_vlmeta_delete(ptr, _encode_name(name))
            self._schunk.check_change(code, f"deleting metalayer {name!r}")
