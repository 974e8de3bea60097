"""The super-chunk: C-Blosc2's list of compressed chunks, with an owner in Python.

A super-chunk lives in memory or on disk, contiguous (one frame) or sparse (separate chunks). This
module makes and opens it, and brings chunks in and out. It knows nothing of shapes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from caterva_cffi.binding.buffers import as_bytes, export
from caterva_cffi.binding.compression import Compression
from caterva_cffi.binding.library import ffi, lib
from caterva_cffi.errors import StorageError
from caterva_cffi.storage.atomic import discard, disk_errors, fs_path
from caterva_cffi.storage.stored import Stored
from caterva_cffi.superchunk.access import Shared
from caterva_cffi.superchunk.assembly import frame_of, write_directory, write_file_frame
from caterva_cffi.superchunk.chunks import CompressedChunk, chunk_of_file, offsets_of
from caterva_cffi.superchunk.creation import Target, checked_metalayers, new_super_chunk
from caterva_cffi.superchunk.opening import index_of, load_frame, open_frame, open_stored
from caterva_cffi.superchunk.sealing import MemoryFrame, seal
from caterva_cffi.superchunk.user_metalayers import (
    VLMeta,
    content_of,
    contents_of,
    variable_contents_of,
)

__all__ = ["SChunk"]

_FEW = 64
"""Chunks that are appended one by one; more make a new frame."""


class SChunk(Shared):
    """The chunks and metalayers of an array, as C-Blosc2 has them; see `Shared` for parameters."""

    _target: Target | None = None
    """Where a new super-chunk is going to be; see `complete`."""

    _known_offsets: tuple[tuple[int, int], Any] | None = None

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

        On disk it is written beside its target, until `complete` moves it there.

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
        contents = checked_metalayers(meta)  # before anything is created
        target = None if urlpath is None else Target(urlpath, mode)
        owner = new_super_chunk(
            compression, itemsize, blocksize, contents, contiguous=contiguous, target=target
        )
        schunk = cls(owner, read_only=False, path=None if target is None else target.temporary)
        schunk._target = target
        return schunk

    @contextmanager
    def discarded_on_error(self) -> Iterator[None]:
        """Remove a new super-chunk's files if what is done meanwhile fails."""
        try:
            yield
        except BaseException:
            if self._target is not None and self.path is not None:
                nchunks = self._owner.nchunks if self._owner is not None else 0
                self.close()
                discard(self.path, nchunks)
            raise

    def complete(self) -> SChunk:
        """Move a new super-chunk that has all its chunks to its target, and return it.

        What is there before stays until the new one takes its place.

        Raises
        ------
        FileExistsError, StorageError
        """
        path = self._take_place(mine=False)
        if path is None:
            return self
        stored = Stored(path)
        stored.renew_version(stored.status())
        return SChunk._opened(stored, read_only=False)

    def supersede(self, old: SChunk) -> None:
        """Let a new super-chunk take the place of one that is being changed.

        Raises
        ------
        StorageError
        """
        if old.stored is None:
            return
        if old.stored.status().st_nlink > 1:
            raise StorageError(
                f"{old.path!r} has several names (hard links), of which only one would be changed: "
                "change a copy",
                "hard-links",
            )
        self._take_place(mine=True)
        old.stored.superseded = True

    def successor(self, old: SChunk) -> SChunk:
        """Return what has superseded a super-chunk, after the change of that."""
        if old.stored is None:
            return self
        return SChunk._opened(old.stored, read_only=False)

    def _take_place(self, *, mine: bool) -> str | None:
        """Close a new super-chunk and move it to its place; return that, or None in memory."""
        target = self._target
        if target is None:
            return None
        with disk_errors(target.path, "written"), self.discarded_on_error():
            self.close()
            target.take(contiguous=self.contiguous, sealed=self._sealed, mine=mine)
        return target.path

    @classmethod
    def open(cls, urlpath: Any, *, read_only: bool) -> SChunk:
        """Return the super-chunk that is stored in a file or a sparse directory.

        Raises
        ------
        FileNotFoundError, IsADirectoryError, PermissionError
        FormatError
            For a file that is no frame.
        StorageError
            Where it is being changed, or a change was cut off.
        """
        path = fs_path(urlpath)
        index = index_of(path)
        with disk_errors(path, "opened"), open(index, "rb" if read_only else "rb+"):
            return cls._opened(Stored(path), read_only=read_only)

    @classmethod
    def _opened(cls, stored: Stored, *, read_only: bool) -> SChunk:
        owner, version = open_stored(stored)
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
        owner = open_frame(data, copy=copy)
        return cls(owner, read_only=not copy, keep=None if copy else data)

    # --- what it has --------------------------------------------------------------------------

    def metalayers(self) -> dict[str, bytes]:
        """Return the metalayers of fixed length as they were when they were read."""
        return contents_of(self.ptr)

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

    # --- chunks; who changes them has the lock, and is in `change` -----------------------------

    def chunk(self, number: int) -> CompressedChunk:
        """Return a chunk's bytes, without a copy where they are in memory.

        The caller then holds the lock for as long as it uses them.
        """
        if self.stored is None or self.stored.held:
            return self._chunk(self.ptr, number)
        with self._alone() as ptr:
            return self._chunk(ptr, number)

    def _chunk(self, ptr: Any, number: int) -> CompressedChunk:
        stored = self.stored
        if stored is not None and stored.sparse and 0 <= number < ptr.nchunks:
            offset = self._offsets(ptr)[number]
            if offset >= 0:
                return chunk_of_file(stored.full_path, ptr, number, offset)
        chunk = ffi.new("uint8_t **")
        needs_free = ffi.new("bool *")
        size = lib.blosc2_schunk_get_chunk(ptr, number, chunk, needs_free)
        self.check(size, f"reading chunk {number}")
        owner = ffi.gc(chunk[0], lib.free, size=size) if needs_free[0] else self
        return CompressedChunk(chunk[0], size, owner, self.path is None and not needs_free[0])

    def _offsets(self, ptr: Any) -> Any:
        """Return the offsets of all chunks of a frame, which are decoded once for each state."""
        state = self.generation, self._writes
        if self._known_offsets is None or self._known_offsets[0] != state:
            self._known_offsets = state, offsets_of(ptr, str(self.path))
        return self._known_offsets[1]

    def append_chunk(self, chunk: Any) -> None:
        """Append a compressed chunk, which is copied."""
        data = as_bytes(chunk, "the chunk")
        self.write("appending a chunk", lib.blosc2_schunk_append_chunk, self.ptr, data, True)

    def fill(self, chunks: Iterable[Any], nchunks: int) -> None:
        """Append all chunks to a new super-chunk; they are copied.

        Parameters
        ----------
        chunks : iterable of buffer
            Compressed chunks, each made when it is asked for.
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
            self._replace(load_frame(ffi.from_buffer("uint8_t[]", frame), len(frame), copy=True))
            return
        write = write_file_frame if self.contiguous else write_directory
        write(self.path, chunks)
        self._replace(lib.blosc2_schunk_open(os.fsencode(self.path)))

    def _replace(self, new: Any) -> None:
        """Take another C object for the same array; tell it the parameters that no frame has."""
        if new == ffi.NULL:
            raise StorageError("the chunks that were written cannot be opened", "unreadable")
        old = self._owner
        new.clevel, new.splitmode, new.use_dict = old.clevel, old.splitmode, old.use_dict
        self._own(ffi.gc(new, lib.blosc2_schunk_free))
        ffi.release(old)

    def insert_chunk(self, number: int, chunk: Any) -> None:
        """Insert a compressed chunk, which is copied, before another."""
        data = as_bytes(chunk, "the chunk")
        insert = lib.blosc2_schunk_insert_chunk
        self.write(f"inserting chunk {number}", insert, self.ptr, number, data, True)

    def update_chunk(self, number: int, chunk: Any) -> None:
        """Replace a compressed chunk by another, which is copied."""
        data = as_bytes(chunk, "the chunk")
        update = lib.blosc2_schunk_update_chunk
        self.write(f"writing chunk {number}", update, self.ptr, number, data, True)

    def delete_chunk(self, number: int) -> None:
        """Delete a chunk."""
        ptr, what = self.ptr, f"deleting chunk {number}"
        self.write(what, lib.blosc2_schunk_delete_chunk, ptr, number)
        if ptr.nchunks == 0 and ptr.frame != ffi.NULL and ptr.cbytes:
            # Otherwise the next chunk would come behind as many bytes of anything.
            ptr.cbytes = 0
            layer = ptr.metalayers[0]
            same = content_of(layer)
            self.write(what, lib.blosc2_meta_update, ptr, layer.name, same, len(same))

    # --- the frame ----------------------------------------------------------------------------

    def to_buffer(self) -> memoryview:
        """Return the contiguous frame: a view where it is in memory, otherwise a copy.

        While a view is alive the super-chunk cannot be changed.

        Raises
        ------
        StorageError
            Where something else has changed what is stored meanwhile.
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
        """Return the frame in memory, as long as the caller holds the lock; None where is none."""
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

        compression, meta = Compression.of(ptr), contents_of(ptr)
        new = SChunk.create(compression, ptr.typesize, ptr.blocksize, meta, contiguous=True)
        VLMeta(new).update(variable_contents_of(ptr))
        new.fill(chunks(), ptr.nchunks)
        return new

    def _unexport(self, view: object) -> None:
        self._exports.discard(view)
