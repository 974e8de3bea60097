"""How much to read at a time: one policy for files, one for stores behind a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from caterva_cffi.errors import ArgumentError, ArgumentTypeError, Cause
from caterva_cffi.keywords import unknown_name

__all__ = ["ReadPolicy", "get_read_policy", "set_read_policy"]


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

    Raises
    ------
    ArgumentError
    """

    first: int
    gap: int
    whole: float
    concurrency: int = 1

    def __post_init__(self) -> None:
        if self.first < 0 or self.gap < 0 or not 0 <= self.whole <= 1 or self.concurrency < 1:
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
    "remote": ReadPolicy(first=16 * 1024, gap=256 * 1024, whole=0.5, concurrency=32),
}


def get_read_policy(kind: Kind) -> ReadPolicy:
    """Return how much is read at a time.

    Parameters
    ----------
    kind : {"local", "remote"}
        For files and memory, or for stores behind a network.
    """
    policy = _policies.get(kind)
    if policy is None:
        raise unknown_name("kind", kind, _policies)
    return policy


def set_read_policy(kind: Kind, policy: ReadPolicy) -> ReadPolicy:
    """Set how much all later reads of this process read at a time.

    Parameters
    ----------
    kind : {"local", "remote"}
    policy : ReadPolicy

    Returns
    -------
    ReadPolicy
        The one before.
    """
    before = get_read_policy(kind)
    if not isinstance(policy, ReadPolicy):
        raise ArgumentTypeError(
            f"the policy is {type(policy).__name__}; expected a ReadPolicy",
            Cause("wrong-type", "policy", type(policy).__name__),
        )
    _policies[kind] = policy
    return before
