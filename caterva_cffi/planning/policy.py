"""How much to read at a time: one policy for files, one for stores behind a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from caterva_cffi.errors import ArgumentError, ArgumentTypeError, Cause
from caterva_cffi.keywords import unknown_name
from caterva_cffi.sources.meters import Meter, meter_of, meter_of_url
from caterva_cffi.sources.store_costs import StoreCosts

__all__ = ["ReadPolicy", "chosen", "get_read_policy", "remote_policy", "set_read_policy"]


@dataclass(frozen=True, kw_only=True)
class ReadPolicy:
    """How much to read at a time.

    Parameters
    ----------
    first : int
        Bytes to read of a frame of which nothing is known. More are read if the number of blocks
        can be guessed, so that their offsets arrive too.
    gap : int
        Two ranges that are at most this many bytes apart are read as one. Good is the number of
        bytes that arrive in the time of one more request.
    whole : float
        If more than this share of a chunk is wanted, from 0 to 1, all of it is read at once.
    concurrency : int
        Requests at a time for each chunk that is read.
    round : int
        A chunk of which nothing is known is read at once, too, if that brings at most this many
        bytes that nobody wants. Good is the number of bytes that arrive while one waits for the
        answer to another request.
    learn : bool
        Begin with these numbers, and choose others for each store, once its reads have shown what
        it costs.
    costs : StoreCosts, optional
        What was learned of the store for which the numbers were chosen.

    Raises
    ------
    ArgumentError
    """

    first: int
    gap: int
    whole: float
    concurrency: int = 1
    round: int = 0
    learn: bool = False
    costs: StoreCosts | None = None

    def __post_init__(self) -> None:
        sizes = self.first, self.gap, self.round
        if min(sizes) < 0 or not 0 <= self.whole <= 1 or self.concurrency < 1:
            raise ArgumentError(
                f"{self}: expected bytes of at least 0, a share from 0 to 1, and a concurrency of "
                "at least 1",
                Cause("wrong-value", "policy"),
            )


Kind = Literal["local", "remote"]

_policies: dict[Kind, ReadPolicy] = {
    # A positioned read costs about as much as copying 16 KiB from the page cache.
    "local": ReadPolicy(first=4096, gap=16 * 1024, whole=0.5),
    # With 20 ms of latency, 32 requests at a time and some ms of processor time for each, one more
    # request costs as much as 256 KiB at 100 MB/s. With 10 at a time, Zarr's own number, the 64
    # blocks of a plane across the last axis took half as long again.
    "remote": ReadPolicy(first=16 * 1024, gap=256 * 1024, whole=0.5, concurrency=32, learn=True),
}


def get_read_policy(
    kind: Kind, store: Any = None, storage_options: Mapping[str, Any] | None = None
) -> ReadPolicy:
    """Return how much is read at a time.

    Parameters
    ----------
    kind : {"local", "remote"}
        For files and memory, or for stores behind a network.
    store : str or object, optional
        What is read behind a network: a URL, of which the host or bucket counts, a reader or store
        that was given to `open`, or a store or array of Zarr's. If the policy learns, what was
        learned of this store is returned.
    storage_options : mapping, optional
        Those of the URL, if they name an endpoint.

    Returns
    -------
    ReadPolicy

    Examples
    --------
    >>> cat.get_read_policy("remote", "https://example.org/").concurrency
    32
    """
    policy = _policies.get(kind)
    if policy is None:
        raise unknown_name("kind", kind, _policies)
    if kind == "local" or store is None:
        return policy
    is_url = isinstance(store, str)
    return remote_policy(meter_of_url(store, storage_options) if is_url else meter_of(store))


def set_read_policy(kind: Kind, policy: ReadPolicy) -> ReadPolicy:
    """Set how much all later reads of this process read at a time.

    Parameters
    ----------
    kind : {"local", "remote"}
    policy : ReadPolicy
        To be used as it is, unless it learns.

    Returns
    -------
    ReadPolicy
        The one before. To return to it, set it.

    Raises
    ------
    ArgumentError
        For a local policy that learns.
    """
    before = get_read_policy(kind)
    if not isinstance(policy, ReadPolicy):
        raise ArgumentTypeError(
            f"the policy is {type(policy).__name__}; expected a ReadPolicy",
            Cause("wrong-type", "policy", type(policy).__name__),
        )
    if kind == "local" and policy.learn:
        raise ArgumentError(
            "the local policy learns; only the remote one can", Cause("wrong-value", "policy")
        )
    _policies[kind] = policy
    return before


def remote_policy(meter: Meter) -> ReadPolicy:
    """Return how much to read at a time of a store behind a network, now."""
    policy = _policies["remote"]
    costs = meter.costs if policy.learn else None
    return policy if costs is None else chosen(costs)


_FEWEST, _MOST = 32, 96
"""Requests at a time for a chunk. aiohttp opens 100 connections."""

_LONGEST_GAP = 8 << 20
_LONGEST_ROUND = 64 << 20
_FIRST = 4 << 10, 64 << 10
_WHOLE = 0.9


@lru_cache(256)
def chosen(costs: StoreCosts) -> ReadPolicy:
    """Return how much to read at a time of a store with such costs."""
    latency, request, bandwidth = costs.latency, costs.request, costs.bandwidth
    # So many that waiting for answers takes half as long as the work for the requests.
    concurrency = round(min(max(2 * latency / max(request, 1e-6), _FEWEST), _MOST))
    another = bandwidth * (latency + request)
    return ReadPolicy(
        first=_rounded(another / 128, *_FIRST),
        gap=_rounded(bandwidth * (latency / concurrency / 2 + request), 0, _LONGEST_GAP),
        whole=_WHOLE,
        concurrency=concurrency,
        round=_rounded(another, 0, _LONGEST_ROUND),
        learn=True,
        costs=costs,
    )


def _rounded(nbytes: float, least: int, most: int) -> int:
    """Return a number of bytes within limits, in whole KiB."""
    return round(min(max(nbytes, least), most) / 1024) * 1024
