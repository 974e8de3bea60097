"""What `verify` says was checked, and what nothing would have noticed."""

from __future__ import annotations

import pytest
from damage import CHECKED, FRAME, ITEMS, PARTITION, Ranges, flipped, frame_of

import caterva_cffi as cat
from caterva_cffi.format.seal import OPEN_SEAL

WHOLE = cat.Counts(1, 10, 50)
NONE = cat.Counts()


@pytest.mark.parametrize("stored", ["buffer", "file", "directory", "array", "memory", "ranges"])
@pytest.mark.parametrize("checksum", [False, True])
def test_what_was_checked_is_said(stored, checksum, tmp_path):
    frame = CHECKED if checksum else FRAME
    path = tmp_path / "a"
    source: object = frame
    if stored in ("file", "directory"):
        cat.asarray(
            ITEMS, urlpath=path, contiguous=stored == "file", checksum=checksum, **PARTITION
        )
        source = path
    elif stored == "array":
        source = cat.from_cframe(frame)
    elif stored == "memory":
        source = cat.asarray(ITEMS, checksum=checksum, **PARTITION)
    elif stored == "ranges":
        source = cat.open(Ranges(frame))
    found = cat.verify(source)
    assert not found and list(found) == [] == found.unreadable == found.passed_over
    assert found.checked == WHOLE and found.checksums == (WHOLE if checksum else NONE)
    assert found.decodes and found.whole is checksum
    assert bool(found.unprotected) is not checksum
    assert found.verdict == ("whole" if checksum else "decodes")
    assert "whole" not in str(found) or checksum


def test_nothing_is_called_whole_that_could_have_been_changed():
    stored = frame_of(clevel=0)
    for at in range(len(stored)):
        found = cat.verify(flipped(stored, at))
        assert not found.whole
        changed = not found and (cat.from_cframe(flipped(stored, at))[...] != ITEMS).any()
        assert not changed or "50 blocks" in found.unprotected[0]


def test_checksums_that_a_change_has_opened_protect_nothing(tmp_path):
    path = tmp_path / "a.b2nd"
    seal = CHECKED.index(b"\x01\x01\0\0", CHECKED.index(b"crc32"))
    path.write_bytes(CHECKED[:seal] + OPEN_SEAL + CHECKED[seal + len(OPEN_SEAL) :])
    for source in (path, path.read_bytes()):
        found = cat.verify(source)
        assert found.decodes and not found.whole
        assert found.checksums == cat.Counts(0, 10, 50)
        assert "being changed" in found.unprotected[-1]
