"""Samples of headers and metalayers of frames."""

from __future__ import annotations

import struct
from dataclasses import replace

from coded_chunks import special_chunk
from frames import TRAILER, Parts, geometry, metalayers
from kit import CUT, ITEMS, Kit


def headers(kit: Kit) -> None:
    """Sections 4, 5 and 7."""
    parts = Parts(ITEMS, **CUT)
    good = parts.frame()

    def changed(**header: bytes) -> Parts:
        return replace(parts, header={int(at[1:]): data for at, data in header.items()})

    kit.valid("header", "20 21 22", parts)
    for name, frame in {
        "empty": b"",
        "short": good[:20],
        "magic": b"\x9e\xa8b2fra\0\0\0" + good[10:],
    }.items():
        kit.invalid(f"header-{name}", "20", frame)
    kit.invalid("header-len-86", "21", changed(_11=struct.pack(">i", 86)))
    kit.invalid("header-len-large", "21", changed(_11=struct.pack(">i", len(good) + 1)))
    kit.invalid("header-len-negative", "21", changed(_11=struct.pack(">i", -1)))
    for name, frame in {
        "cut": good[:-1],
        "half": good[: len(good) // 2],
        "appended": good + b"\0",
        "twice": good * 2,
    }.items():
        kit.invalid(f"length-{name}", "22", frame)
    kit.invalid("length-huge", "22", changed(_16=struct.pack(">q", 1 << 62)))
    for version in range(16):
        frame = changed(_25=bytes([0x10 | version]))
        if version in (1, 2, 3):
            kit.valid(f"version-{version}", "23", frame)
        else:
            kit.invalid(f"version-{version}", "23", frame)
    for flag in (0x40, 0x80, 0xC0):
        kit.invalid(f"chunk-kind-{flag:x}", "24", changed(_25=bytes([0x12 | flag])))
    for flags in (0x02, 0x32):
        kit.valid(f"frame-flags-{flags:x}", "24", changed(_25=bytes([flags])))
    for kind in (1, 2, 15):
        kit.invalid(f"frame-kind-{kind}", "25", changed(_26=bytes([kind])))
    for name, at, form, value in [
        ("nbytes-negative", 30, ">q", -480),
        ("cbytes-negative", 39, ">q", -1),
        ("itemsize-0", 48, ">i", 0),
        ("itemsize-negative", 48, ">i", -2),
        ("nbytes-part", 30, ">q", 479),
        ("chunksize-other", 58, ">i", 96),
        ("chunksize-0", 58, ">i", 0),
        ("blocksize-other", 53, ">i", 20),
        ("nbytes-more", 30, ">q", 960 + 80),
    ]:
        kit.invalid(f"size-{name}", "26 36", changed(**{f"_{at}": struct.pack(form, value)}))
    kit.valid("size-blocksize-0", "26", changed(_53=bytes(4)))
    kit.invalid("cbytes-beyond", "28", changed(_39=struct.pack(">q", len(good))))
    lies = changed(_27=b"\x94\0", _71=bytes([2, 2, 2, 2, 2, 35]), _77=bytes([5, 9]), _85=b"\1")
    kit.valid("header-lies-of-codec", "27", lies)
    # metalayers
    at = good.index(b"b2nd", 90) - 1
    for name, place, data in [
        ("count-17", 92, b"\0\x11"),
        ("count-2", 92, b"\0\2"),
        ("no-map", 91, b"\xdf"),
        ("position-large", at + 6, struct.pack(">i", 1 << 30)),
        ("position-negative", at + 6, struct.pack(">i", -9)),
        ("length-large", good.index(b"\xc6", at) + 1, b"\0\1\0\0"),
    ]:
        kit.invalid(f"metalayers-{name}", "30", good[:place] + data + good[place + len(data) :])
    kit.valid(
        "metalayers-16",
        "30 37",
        replace(parts, layers={f"layer {i}": bytes([i]) * i for i in range(15)}),
    )
    kit.valid(
        "metalayers-others",
        "37",
        replace(parts, layers={"": b"", "x" * 31: b"abc", "zarr": b"\xc1"}),
    )
    names = {
        "b2nd": geometry((9, 14), (6, 8), (4, 5), "<i2"),
        "caterva": geometry((9, 14), (6, 8), (4, 5), None),
    }
    kit.invalid("geometry-none", "31", replace(parts, geometry={}))
    kit.valid("geometry-caterva", "31 33", replace(parts, geometry={"caterva": names["caterva"]}))
    kit.valid("geometry-both", "31 34", replace(parts, geometry=dict(reversed(names.items()))))
    smaller = {"b2nd": geometry((6, 8), (6, 8), (4, 5), "<i2"), "caterva": names["caterva"]}
    kit.valid("geometry-b2nd-is-stale", "34", replace(parts, geometry=smaller))
    smaller = {"b2nd": names["b2nd"], "caterva": geometry((6, 8), (6, 8), (4, 5), None)}
    kit.valid("geometry-caterva-is-stale", "34", replace(parts, geometry=smaller))
    both = {
        "b2nd": geometry((9, 14), (6, 8), (4, 5), "<i2"),
        "caterva": geometry((14, 9), (6, 8), (4, 5), None),
    }
    kit.valid("geometry-both-fit", "34", replace(parts, geometry=both))
    wrong = {"b2nd": geometry((6, 8), (6, 8), (4, 5), "<i2")}
    kit.invalid("chunks-too-many", "36", replace(parts, geometry=wrong))
    kit.invalid(
        "chunks-too-few",
        "36",
        replace(parts, geometry={"b2nd": geometry((99, 14), (6, 8), (4, 5), "<i2")}),
    )
    wrong["caterva"] = geometry((99, 14), (6, 8), (4, 5), None)
    kit.invalid("chunks-of-neither", "36", replace(parts, geometry=wrong))
    b2nd = names["b2nd"]
    for name, place, data in [
        ("entries-4", 0, b"\x94"),
        ("entries-8", 0, b"\x98"),
        ("version-1", 1, b"\1"),
        ("version-127", 1, b"\x7f"),
        ("ndim-17", 2, b"\x11"),
        ("ndim-3", 2, b"\3"),
        ("array-3", 3, b"\x93"),
        ("int32-shape", 4, b"\xd2"),
        ("int64-chunk", 23, b"\xd3"),
    ]:
        broken = b2nd[:place] + data + b2nd[place + len(data) :]
        kit.invalid(f"geometry-{name}", "32", replace(parts, geometry={"b2nd": broken}))
    kit.invalid("geometry-cut", "32", replace(parts, geometry={"b2nd": b2nd[:20]}))
    kit.invalid("geometry-empty", "32", replace(parts, geometry={"b2nd": b""}))
    kit.valid("geometry-5-entries", "33", replace(parts, geometry={"b2nd": b"\x95" + b2nd[1:-9]}))
    for text in ["", "<i4", "<q9", "[('a', '<i4')]", "[('a'", "O", "__import__('os')", "<i2,<i2"]:
        kit.invalid(f"dtype-wrong-{len(kit.samples)}", "33", replace(parts, text=text))
    text = geometry((9, 14), (6, 8), (4, 5), "<i2")
    kit.invalid(
        "dtype-format-1", "33", replace(parts, geometry={"b2nd": text[:-9] + b"\1" + text[-8:]})
    )
    kit.invalid(
        "dtype-mark", "33", replace(parts, geometry={"b2nd": text[:-8] + b"\xda" + text[-7:]})
    )
    kit.invalid("dtype-cut", "33", replace(parts, geometry={"b2nd": text[:-1]}))
    # trailer
    note = special_chunk(3, 4, 4, 1, b"A")
    variable = b"\x94\1" + metalayers({"note": note}, 2, 0)
    end = TRAILER[12:]
    variable += end[:1] + struct.pack(">I", len(variable) + 23) + end[5:]
    kit.valid(
        "trailer-with-metalayer", "45", replace(parts, trailer=variable, header={68: b"\xc3"})
    )
