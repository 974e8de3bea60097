"""Progress: rate and time left are of this run."""

from __future__ import annotations

from caterva_cffi.conversion.progress import Meter, Progress


def test_rate_and_time_left_are_of_this_run():
    progress = Progress("a", done=600, total=1000, earlier=400, seconds=2.0)
    assert (progress.rate, progress.seconds_left) == (100.0, 4.0)
    assert str(progress).startswith(" 60%") and str(progress).endswith("0:04 left")
    assert str(Progress("a", 10**9, 4 * 10**12, 0, 10.0)).endswith("MB/s, 11:06:30 left")
    start = Progress("a", 0, 0, 0, 0.0)
    assert (start.rate, start.seconds_left, str(start)[:4]) == (0.0, None, "100%")


def test_meter_tells_what_was_done():
    told = []
    meter = Meter(10, told.append)
    meter.add("a", 4, earlier=True)
    meter.add("b", 5)
    assert [(each.array, each.done, each.earlier, each.total) for each in told] == [("b", 9, 4, 10)]
