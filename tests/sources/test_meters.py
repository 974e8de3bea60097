"""Meters: which requests are one burst, what is not learned from, and which stores share one."""

from __future__ import annotations

import gc
import os
import signal
import threading

import pytest
from simulated_store import Clock

from caterva_cffi.sources import meters
from caterva_cffi.sources.meters import Meter, Timed, meter_of, meter_of_object, meter_of_url
from caterva_cffi.sources.store_costs import Burst


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(meters, "clock", clock)
    return clock


def bursts(meter):
    return list(meter._bursts)


def play(meter, clock, *events):
    """Begin and end requests: `(time, name)` begins one, or ends it."""
    under_way = {}
    for clock.now, name in events:
        if name in under_way:
            timed = under_way.pop(name)
            timed.nbytes = 100
            timed.__exit__(None, None, None)
        else:
            under_way[name] = meter.request().__enter__()
    assert not under_way


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([(1, "a"), (3, "a")], [Burst(1, 1, 100, 2)]),
        ([(1, "a"), (2, "b"), (3, "a"), (5, "b")], [Burst(1, 2, 200, 4)]),
        ([(1, "a"), (2, "b"), (3, "a"), (3, "c"), (4, "b"), (6, "c")], [Burst(2, 3, 300, 5)]),
        ([(1, "a"), (2, "a"), (5, "b"), (6, "b")], [Burst(1, 1, 100, 1)] * 2),
    ],
    ids=["alone", "together", "a chain", "one after the other"],
)
def test_bursts(events, expected, clock):
    meter = Meter()
    play(meter, clock, *events)
    assert bursts(meter) == expected


def test_a_call_with_many_requests(clock):
    meter = Meter()
    with meter.request(40, waves=2) as timed:
        clock.now, timed.nbytes = 3, 7
    assert bursts(meter) == [Burst(2, 40, 7, 3)]


def test_a_burst_without_end_is_cut_off(clock):
    meter = Meter()
    events = [(k / 2, k // 2 if k % 2 == 0 else k // 2 - 1) for k in range(1200)]
    play(meter, clock, *events[:1], *events[2:], (600, 599))
    assert [burst.requests for burst in bursts(meter)] == [256, 256, 88]


def test_what_fails_is_passed_over(clock):
    meter = Meter()
    for error in (OSError, KeyboardInterrupt, FileNotFoundError):
        with pytest.raises(error), meter.request():
            clock.now += 1
            raise error
    assert bursts(meter) == [Burst(1, 1, 0, 1)]  # that there is no such object is an answer


def test_pauses(clock):
    meter = Meter()
    with meter.request():
        clock.now += 1
        with meter.paused(), meter.request():
            clock.now += 1
    with meter.paused(), meter.request():
        clock.now += 1
    assert bursts(meter) == []
    with meter.request():
        clock.now += 1
    assert len(bursts(meter)) == 1


def test_nothing_is_learned_of_few_reads_and_little_is_kept(clock):
    meter = Meter()
    for number in range(1000):
        assert (meter.costs is None) == (number < 4)
        with meter.request() as timed:
            timed.nbytes = 1000
            clock.now += 0.01
    assert len(bursts(meter)) == 64
    assert meter.costs.latency + meter.costs.request == pytest.approx(0.01, rel=0.05)


def test_threads():
    meter = Meter()

    def work():
        for _ in range(200):
            with meter.request() as timed:
                timed.nbytes = 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert meter._under_way == 0
    assert all(burst.requests == burst.nbytes for burst in bursts(meter))


def test_reads_beside_each_other():
    meter = Meter()
    with meter.reading(), meter.reading():
        assert meter.beside == 2
    assert meter.beside == 1


def test_without_a_meter():
    with Timed(None) as timed:
        timed.nbytes = 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_keeps_what_was_learned(clock):
    meter = Meter()
    for _ in range(5):
        with meter.request():
            clock.now += 1
    meter.request().__enter__()  # of a thread that the child does not have
    with meter._lock, meters._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            with meter_of_url("http://a/").request(), meter.request():
                clock.now += 1
            os._exit(0 if len(bursts(meter)) == 6 and meter.costs else 1)
    assert os.waitpid(child, 0)[1] == 0


# --- which stores share one -----------------------------------------------------------------------
def test_a_host_or_bucket_has_one_meter():
    host = meter_of_url("https://user:secret@example.org/a?b#c")
    assert meter_of("https://example.org/other") is host
    assert meter_of_url("simplecache::https://example.org/") is host
    assert meter_of_url("http://example.org/") is not host
    bucket = meter_of_url("s3://maps/a")
    here = meter_of_url("s3://maps/a", {"endpoint_url": "http://here"})
    assert here is not bucket
    assert meter_of_url("s3://maps/b", {"client_kwargs": {"endpoint_url": "http://here"}}) is here
    assert "secret" not in repr(meters._known.keys())


def test_stores_of_zarr():
    fsspec = pytest.importorskip("fsspec")
    storage = pytest.importorskip("zarr.storage")
    store = storage.FsspecStore(fsspec.filesystem("http", asynchronous=True), path="http://a.b/c")
    assert meter_of(store) is meter_of_url("http://a.b/")
    assert meter_of(storage.WrapperStore(store)) is meter_of(store)
    memory = storage.MemoryStore()
    assert meter_of(storage.StorePath(memory, "x")) is meter_of(memory)


def test_a_reader_may_have_a_file_system_of_its_own_kind():
    class Reader:
        fs = object()
        path = "a"

    reader = Reader()
    assert meter_of(reader) is meter_of_object(reader)


def test_objects_are_forgotten_with_their_meters():
    class Reader:
        store = "not looked into"

    gc.collect()
    before, reader = len(meters._known), Reader()
    meter = meter_of_object(reader)
    assert meter_of(reader) is meter and len(meters._known) == before + 1
    del reader
    gc.collect()
    assert len(meters._known) == before


def test_not_more_meters_than_that_are_kept():
    for number in range(300):
        meter_of_url(f"http://host-{number}/")
    assert len(meters._known) == 256
