"""A reader of codec `caterva` that follows caterva.md, section by section.

It shows that the page suffices, and is meant to be read: nothing here is made to be fast. It needs
NumPy, `lz4` and `zstandard`. What is not valid raises `Refused`, with the rule that is broken.

    frame = Frame(data)                     # bytes, or Frame(read, size) with read(start, stop)
    frame.shape, frame.dtype
    frame.read((0, 5), (10, 6))             # a box, from its first corner to behind its last
"""

import ast
import struct
import zlib
from itertools import pairwise, product
from math import prod

import lz4.block
import numpy as np
import zstandard


class Refused(ValueError):
    """The bytes, or the configuration, break a rule of caterva.md."""

    def __init__(self, rule, why):
        super().__init__(f"{rule}: {why}")
        self.rule = rule


def need(condition, rule, why):
    if not condition:
        raise Refused(rule, why)


def unpack(kind, data, at, rule):
    need(0 <= at <= len(data) - struct.calcsize(kind), rule, f"cut off before byte {at}")
    return struct.unpack_from(kind, data, at)


def ceil(n, by):
    return -(-n // by) if n else 0


# --- 2. The codec, its configuration, and chunks of Zarr's ----------------------------------------

MEMBERS = {"block_shape", "chunk_shape", "cname", "clevel", "shuffle", "filters", "use_dict"}
MEMBERS |= {"tolerance", "precision", "rate", "cell_shape", "checksum"}


def open_chunk(source, size, codec, shape, dtype):
    """Return the frame of a chunk of an array whose only codec is the JSON object `codec`."""
    need(codec.get("name") == "caterva", "R-01", "another codec")
    configuration = codec.get("configuration", {})
    unknown = configuration.keys() - MEMBERS
    need(not unknown, "R-02", f"unknown members {sorted(unknown)}")
    checksum = configuration.get("checksum", False)
    need(isinstance(checksum, bool), "R-03", f"checksum is {checksum!r}")
    frame = Frame(source, size)
    kinds = {frame.dtype.kind, dtype.kind}
    same = frame.shape == tuple(shape) and frame.geometry.itemsize == dtype.itemsize
    need(same and (len(kinds) == 1 or not kinds <= set("biufc")), "R-05", "another array's chunk")
    need(not checksum or "crc32" in frame.layers, "R-06", "no checksums")
    return frame


def numcodecs_items(data):
    """Return the items as numcodecs' codec gives them: in one dimension (2.5)."""
    frame = Frame(data, len(data))
    _, order = frame.layers.get("memory_order", (0, b"C"))
    return np.asarray(frame.read()).reshape(-1, order="F" if order == b"F" else "C")


# --- 5. Metalayers --------------------------------------------------------------------------------


def metalayers_of(header):
    """Return where each metalayer's content begins, and the content (5.1)."""
    mark, count = unpack(">BH", header, 91, "R-30")
    need(mark == 0xDE and count <= 16, "R-30", f"type {mark}, {count} metalayers")
    layers, at = {}, 94
    for _ in range(count):
        length = unpack("B", header, at, "R-30")[0] & 0x1F
        name = header[at + 1 : at + 1 + length].decode("utf-8", "surrogateescape")
        mark, content = unpack(">Bi", header, at + 1 + length, "R-30")
        content_mark, size = unpack(">BI", header, content, "R-30")
        need((mark, content_mark) == (0xD2, 0xC6), "R-30", f"types of metalayer {name!r}")
        need(content + 5 + size <= len(header), "R-30", f"metalayer {name!r} is too long")
        layers[name] = content + 5, header[content + 5 : content + 5 + size]
        at += length + 6
    return layers


def dtype_of(literal):
    """Return the dtype that a text, or a part of it, names (5.3)."""
    if isinstance(literal, dict):
        return np.dtype({**literal, "formats": [dtype_of(each) for each in literal["formats"]]})
    return np.lib.format.descr_to_dtype(literal)


class Geometry:
    """What metalayer `b2nd` or `caterva` says (5.2)."""

    def __init__(self, name, data, itemsize):
        entries, version, ndim = unpack("3B", data, 0, "R-32")
        need(0x95 <= entries <= 0x97 and version == 0, "R-32", f"{name!r} of another version")
        need(ndim <= 16, "R-32", f"{ndim} dimensions")
        at, shapes = 3, []
        for mark, kind, size in (0xD3, "xq", 9), (0xD2, "xi", 5), (0xD2, "xi", 5):
            need(data[at : at + 1] == bytes([0x90 + ndim]), "R-32", f"no array at byte {at}")
            shapes.append(unpack(">" + kind * ndim, data, at + 1, "R-32"))
            marks = data[at + 1 : at + 1 + size * ndim : size]
            need(marks == bytes([mark]) * ndim, "R-32", f"other numbers at byte {at}")
            at += 1 + size * ndim
        self.shape, self.chunk, self.block = shapes
        self.dtype = np.dtype(f"S{itemsize}")
        if name == "b2nd" and entries == 0x97:
            kind, mark, length = unpack(">BBI", data, at, "R-33")
            need((kind, mark) == (0, 0xDB), "R-33", "no dtype of NumPy's")
            try:
                text = data[at + 6 : at + 6 + length].decode()
                self.dtype = dtype_of(ast.literal_eval(text) if text[0] in "[({'" else text)
            except (ValueError, TypeError, SyntaxError, LookupError) as error:
                raise Refused("R-33", f"no dtype: {error}") from error
            large = itemsize == 1 and self.dtype.itemsize > 255
            need(itemsize == self.dtype.itemsize or large, "R-33", f"dtype {self.dtype}")
        for n, c, b in zip(*shapes, strict=True):
            need(n >= 0 and 0 <= b <= c and (b or n == c == 0), "R-13", f"lengths {n}, {c}, {b}")
        self.itemsize = self.dtype.itemsize
        self.grid = [ceil(n, c) for n, c in zip(self.shape, self.chunk, strict=True)]
        self.blocks = [ceil(c, b) for c, b in zip(self.chunk, self.block, strict=True)]
        self.nchunks, self.nblocks = prod(self.grid), prod(self.blocks)
        self.blocksize = prod(self.block) * self.itemsize
        self.chunksize = self.nblocks * self.blocksize
        fits = self.blocksize <= 536866816 and self.chunksize <= 2**31 - 33
        need(fits, "R-13", f"blocks of {self.blocksize} bytes, chunks of {self.chunksize}")


class Frame:
    """A frame; `source` is its bytes, or a function that reads them from `start` to `stop`."""

    # --- 4. The header ----------------------------------------------------------------------------

    def __init__(self, source, size=None):
        self.fetch = source if callable(source) else lambda start, stop: source[start:stop]
        self.size = len(source) if size is None else size
        start = bytes(self.fetch(0, 24))
        need(len(start) == 24 and start[2:10] == b"b2frame\0", "R-20", "no frame")
        self.header_len, length = struct.unpack_from(">ixq", start, 11)
        need(length == self.size, "R-22", f"{self.size} bytes; the header says {length}")
        need(self.header_len >= 87, "R-21", f"a header of {self.header_len} bytes")
        self.header = header = self.read_bytes(0, self.header_len, "R-21")
        need(header[25] & 0x0F in (1, 2, 3), "R-23", f"version {header[25] & 0x0F}")
        need(header[26] & 0x0F == 0, "R-25", "not contiguous")
        nbytes, self.cbytes = struct.unpack_from(">qxq", header, 30)
        need(header[25] & 0xC0 == 0 or nbytes == 0, "R-24", "chunks of another kind")
        itemsize, blocksize, chunksize = struct.unpack_from(">ixixi", header, 48)
        need(min(nbytes, self.cbytes) >= 0 and itemsize > 0, "R-26", "sizes that make no sense")
        need(self.header_len + self.cbytes <= self.size, "R-28", "chunks beyond the frame")
        self.layers = metalayers_of(header)
        self.seal = self.find_seal()
        nchunks = ceil(nbytes, max(chunksize, 1))
        self.geometry = g = self.find_geometry(itemsize, nchunks)
        fits = nbytes == nchunks * chunksize and chunksize == g.chunksize
        fits = fits and blocksize in (0, g.blocksize)
        need(fits or not nchunks, "R-26", "sizes that do not fit the shapes")
        self.shape, self.dtype = g.shape, g.dtype
        self.offsets = self.read_offsets() if nchunks else []

    def read_bytes(self, start, stop, rule):
        data = bytes(self.fetch(start, stop))
        need(len(data) == stop - start, rule, f"cut off at byte {start + len(data)}")
        return data

    def find_geometry(self, itemsize, nchunks):
        """Choose between the two metalayers (5.4)."""
        names = [name for name in ("b2nd", "caterva") if name in self.layers]
        need(names, "R-31", "no geometry")
        found = Geometry(names[0], self.layers[names[0]][1], itemsize)
        if found.nchunks != nchunks and len(names) == 2:
            dtype = found.dtype
            found = Geometry("caterva", self.layers["caterva"][1], found.itemsize)
            found.dtype = dtype
        need(found.nchunks == nchunks, "R-36", f"{nchunks} chunks; expected {found.nchunks}")
        return found

    def find_seal(self):
        """Return the checksums of header, offsets and trailer; None if none are compared (13.1)."""
        at, data = self.layers.get("crc32", (0, bytes([1, 0]) + bytes(14)))
        need(len(data) == 16 and data[0] == 1 and data[1] <= 1, "R-100", "unknown checksums")
        if not data[1]:
            return None
        seal = struct.unpack_from("<3I", data, 4)
        zeroed = self.header[: at + 4] + bytes(12) + self.header[at + 16 :]
        need(zlib.crc32(zeroed) == seal[0], "R-101", "the header is damaged")
        return seal

    # --- 6. The offsets of the chunks -------------------------------------------------------------

    def read_offsets(self):
        at, nbytes = self.header_len + self.cbytes, 8 * self.geometry.nchunks
        chunk = Chunk(self, at, self.size, 8, nbytes, None)
        if self.seal:
            stored = self.read_bytes(at, at + chunk.cbytes, "R-40")
            need(zlib.crc32(stored) == self.seal[1], "R-102", "the offsets are damaged")
        need(chunk.codec <= 4 and max(chunk.filters) <= 4, "R-41", "offsets of another codec")
        data = b"".join(chunk.block(i) for i in range(chunk.nblocks))
        offsets = np.frombuffer(data, "<i8").tolist()
        stored = sorted(offset for offset in offsets if offset >= 0)
        apart = all(b - a >= 32 for a, b in pairwise([*stored, self.cbytes]))
        need(apart, "R-42", "chunks that overlap, or lie outside")
        return offsets

    def chunk(self, number):
        g, offset = self.geometry, self.offsets[number]
        if offset < 0:
            return Special(offset >> 56 & 0x7F, g.itemsize, "R-43")
        end = min((o for o in self.offsets if o > offset), default=self.cbytes)
        start, end = self.header_len + offset, self.header_len + end
        return Chunk(self, start, end, g.itemsize, g.chunksize, g)

    # --- 3. Items; 14. Reading whole and in part --------------------------------------------------

    def read(self, start=None, stop=None):
        """Return the items of a box; by default all."""
        g = self.geometry
        start = [0] * len(self.shape) if start is None else start
        stop = self.shape if stop is None else stop
        result = np.empty([b - a for a, b in zip(start, stop, strict=True)], f"V{g.itemsize}")
        for at, low, high in pieces(start, stop, g.chunk) if result.size else ():
            chunk = self.chunk(index_of(at, g.grid))
            there = result[(*(slice(a - s, b - s) for a, b, s in zip(low, high, start)), ...)]
            origin = [n * c for n, c in zip(at, g.chunk)]
            low, high = ([a - o for a, o in zip(x, origin)] for x in (low, high))
            for of, first, last in pieces(low, high, g.block):
                block = np.frombuffer(chunk.block(index_of(of, g.blocks)), f"V{g.itemsize}")
                corner = [n * b for n, b in zip(of, g.block)]
                here = tuple(slice(a - c, b - c) for a, b, c in zip(first, last, corner))
                to = tuple(slice(a - k, b - k) for a, b, k in zip(first, last, low))
                there[to] = np.resize(block, g.block)[here]
        return result.view(self.dtype)


def pieces(start, stop, side):
    """Cut a box at multiples of `side`: chunks or blocks; return where each is, and its part."""
    for at in product(*(range(a // s, ceil(b, s)) for a, b, s in zip(start, stop, side))):
        low = [max(a, n * s) for a, n, s in zip(start, at, side)]
        yield at, low, [min(b, (n + 1) * s) for b, n, s in zip(stop, at, side)]


def index_of(at, grid):
    number = 0
    for n, length in zip(at, grid):
        number = number * length + n
    return number


class Special:
    """A chunk in which every item is the same (8.2)."""

    def __init__(self, kind, itemsize, rule):
        need(kind in (1, 2, 4), rule, f"{kind} stands for no value")
        need(kind != 2 or itemsize in (4, 8), "R-56", f"NaN of {itemsize} bytes")
        self.item = np.full(1, np.nan, f"<f{itemsize}").tobytes() if kind == 2 else bytes(itemsize)

    def block(self, i):
        return self.item


# --- 8. Chunks ------------------------------------------------------------------------------------


class Chunk:
    """A chunk between two positions of a frame; `g` is None for the chunk of the offsets."""

    def __init__(self, frame, at, end, itemsize, nbytes, g):
        self.frame, self.at, self.itemsize, self.g = frame, at, itemsize, g
        rule = "R-50" if g else "R-40"
        self.head = head = frame.read_bytes(at, at + 32, rule)
        self.nbytes, self.blocksize, self.cbytes = struct.unpack_from("<iii", head, 4)
        need(32 <= self.cbytes <= end - at, rule, f"a chunk of {self.cbytes} bytes")
        need(self.nbytes == nbytes, "R-54" if g else rule, f"{self.nbytes} bytes, not {nbytes}")
        need(3 <= head[0] <= 6, "R-51", f"a chunk of version {head[0]}")
        need(head[2] & 0x05 == 0x05, "R-52", "a short header")
        need(not head[31] & 0x88 and not head[30] & 0x01, "R-53", "a kind that is not stored")
        self.width, self.codec, kind = head[3], head[2] >> 5, head[31] >> 4
        self.filters, self.metas, self.sums, self.item = head[16:22], head[24:30], None, None
        self.nblocks = ceil(nbytes, self.blocksize) if self.blocksize > 0 else 1
        if kind:
            right = self.cbytes == 32 + (itemsize if kind == 3 else 0)
            need(right, "R-56", f"a special chunk of {self.cbytes} bytes")
            stored = self.read_bytes(32, self.cbytes, "R-56")
            self.item = stored or Special(kind, itemsize, "R-56").item
        elif head[2] & 0x02:
            need(self.cbytes == 32 + nbytes, "R-57", f"a plain chunk of {self.cbytes} bytes")
        else:
            self.read_head()
        checked = self.sums or kind in (1, 2, 4) or not g or "crc32" not in frame.layers
        need(checked, "R-107", "a chunk without checksums")

    def read_bytes(self, start, stop, rule):
        need(start <= stop <= self.cbytes, rule, f"byte {stop} of a chunk of {self.cbytes}")
        return self.frame.read_bytes(self.at + start, self.at + stop, rule)

    # --- 9. Blocks of a chunk; 13. Checksums ------------------------------------------------------

    def read_head(self):
        """Read block offsets, dictionary and checksums."""
        need(self.width > 0 < self.blocksize, "R-55", "no width, or no blocks")
        need(not self.g or self.blocksize == self.g.blocksize, "R-55", "blocks of another size")
        n, body = self.nblocks, 32 + 4 * self.nblocks
        self.starts = np.frombuffer(self.read_bytes(32, body, "R-60"), "<i4").tolist()
        self.dictionary = None
        if self.head[31] & 0x01:
            (size,) = unpack("<i", self.read_bytes(body, body + 4, "R-62"), 0, "R-62")
            need(size > 0, "R-62", f"a dictionary of {size} bytes")
            self.dictionary = self.read_bytes(body + 4, body + 4 + size, "R-62")
            body += 4 + size
        self.body = body
        if self.g and self.starts[0] == body + 8 + 4 * n:
            table = self.read_bytes(body, body + 8 + 4 * n, "R-60")
            if table[:4] == b"\0CRC":
                before = self.read_bytes(0, body + 4, "R-60")
                crc, *self.sums = struct.unpack_from(f"<{1 + n}I", table, 4)
                right = crc == zlib.crc32(table[8:], zlib.crc32(before))
                need(right, "R-105", "the head of a chunk is damaged")

    def block(self, i):
        """Return the decoded bytes of a block, or an item that is repeated."""
        start = i * self.blocksize
        length = min(self.blocksize, self.nbytes - start)
        if self.item:
            return self.item if self.g else self.item * (self.nbytes // 8)
        if self.head[2] & 0x02:
            return self.read_bytes(32 + start, 32 + start + length, "R-57")
        start = self.starts[i]
        end = min((s for s in self.starts if s > start), default=self.cbytes)
        need(self.body <= start < end, "R-60", f"block {i} begins at byte {start}")
        data = self.read_bytes(start, end, "R-60")
        right = not self.sums or zlib.crc32(data) == self.sums[i]
        need(right, "R-106", f"block {i} is damaged")
        return self.undo_filters(i, self.decode_streams(data, length))

    # --- 10. Streams ------------------------------------------------------------------------------

    def decode_streams(self, data, length):
        split = not self.head[2] & 0x10 and length == self.blocksize
        nstreams = self.width if split else 1
        each, at, decoded = length // nstreams, 0, b""
        need(each, "R-70", f"{nstreams} streams of a block of {length} bytes")
        for _ in range(nstreams):
            (size,) = unpack("<i", data, at, "R-74")
            at += 4
            if size < 0:
                is_run = size >= -255 and data[at : at + 1] and data[at] & 1
                need(is_run, "R-72", f"a run of size {size}")
                decoded, at = decoded + bytes([-size]) * each, at + 1
                continue
            need(at + size <= len(data), "R-74", f"a stream of {size} bytes")
            stream, at = data[at : at + size], at + size
            if size == 0:
                stream = bytes(each)
            elif size != each:
                stream = self.decompress(stream, each)
            need(len(stream) == each, "R-74", f"{len(stream)} bytes; expected {each}")
            decoded += stream
        need(not any(data[at:]), "R-75", "bytes behind the last stream")
        return decoded + bytes(length - len(decoded))

    # --- 11. Codecs -------------------------------------------------------------------------------

    def decompress(self, stream, length):
        words = self.dictionary
        need(self.codec in (0, 1, 3, 4), "R-84", f"codec {self.codec}, {self.head[22]}")
        try:
            if self.codec == 0:
                return blosclz(stream, length)
            if self.codec == 1:
                return lz4.block.decompress(stream, uncompressed_size=length, dict=words)
            if self.codec == 3:
                return zlib.decompressobj().decompress(stream, length + 1)
            words = None if words is None else zstandard.ZstdCompressionDict(words)
            zstd = zstandard.ZstdDecompressor(dict_data=words)
            return zstd.decompress(stream, max_output_size=length)
        except (lz4.block.LZ4BlockError, zlib.error, zstandard.ZstdError, IndexError) as error:
            raise Refused("R-74", f"a stream does not decode: {error}") from error

    # --- 12. Filters ------------------------------------------------------------------------------

    def undo_filters(self, i, data):
        for slot in reversed(range(6)):
            kind, meta = self.filters[slot], self.metas[slot]
            if kind == 1:
                data = unshuffle(data, meta or self.width)
            elif kind == 2:
                data = unbitshuffle(data, self.width)
            elif kind == 3:
                need(not set(self.filters[:slot]) - {0, 4, 36}, "R-93", "DELTA is not the first")
                data = undelta(data, self.width, self.block(0) if i else None)
            elif kind == 35:
                data = unbytedelta(data, meta or self.itemsize)
            elif kind in (32, 33):
                need(self.g and meta, "R-96", "cells of no items")
                data = uncell(data, meta, self.g.block)
            else:
                need(kind in (0, 4, 36), "R-90", f"filter {kind}")
        return data


def blosclz(data, length):
    """Decode a stream of BloscLZ (11.4)."""
    out, at, token = bytearray(), 1, data[0] & 0x1F
    while True:
        if token < 32:
            out, at = out + data[at : at + token + 1], at + token + 1
            need(at <= len(data), "R-83", "literals beyond the stream")
        else:
            count, distance = (token >> 5) + 2, (token & 0x1F) << 8
            more = count == 9
            while more:
                count, more, at = count + data[at], data[at] == 255, at + 1
            distance, at = distance + data[at] + 1, at + 1
            if distance == 8192:
                distance, at = 8192 + (data[at] << 8 | data[at + 1]), at + 2
            inside = distance <= len(out) and len(out) + count <= length
            need(inside, "R-83", f"a match {distance} bytes back")
            for _ in range(count):
                out.append(out[-distance])
        if at == len(data):
            return bytes(out)
        token, at = data[at], at + 1


def unshuffle(data, width):
    n = len(data) // width
    return np.frombuffer(data, "u1", n * width).reshape(width, n).T.tobytes() + data[n * width :]


def unbitshuffle(data, width):
    n = len(data) // width // 8 * 8
    rows = np.frombuffer(data, "u1", n * width).reshape(8 * width, n // 8)
    bits = np.unpackbits(rows, axis=1, bitorder="little")
    return np.packbits(bits.T, axis=1, bitorder="little").tobytes() + data[n * width :]


def undelta(data, width, first):
    words = np.frombuffer(data, f"u{width if width in (2, 4) else 1 if width % 8 else 8}")
    if first is None:
        return np.bitwise_xor.accumulate(words).tobytes()
    return (words ^ np.frombuffer(first, words.dtype)[: len(words)]).tobytes()


def unbytedelta(data, width):
    n = len(data) // width
    rows = np.frombuffer(data, "u1", n * width).reshape(width, n)
    return np.cumsum(rows, axis=1, dtype="u1").tobytes() + data[n * width :]


def uncell(data, side, block):
    out, at = np.empty(block, f"V{len(data) // prod(block)}"), 0
    items = np.frombuffer(data, out.dtype)
    for corner in product(*(range(0, n, side) for n in block)):
        cell = out[tuple(slice(a, a + side) for a in corner)]
        cell[...] = items[at : at + cell.size].reshape(cell.shape)
        at += cell.size
    return out.tobytes()
