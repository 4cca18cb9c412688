"""The names of a run's files."""

from __future__ import annotations

import re

RUN, CURVE, CHECKPOINTS = "run.json", "curve.parquet", "checkpoint"
_LEASE = re.compile(r"lease-(\d{6,}-[0-9a-f]{8})\.json")
_LOG = re.compile(r"log-(\d{6,})-[0-9a-f]{8}\.txt")
_PART = re.compile(r"part-(\d{6}(?:\.\d{6,}-[0-9a-f]{8})?)\.parquet")
_CHECKPOINT = re.compile(r"(\d{6}(?:\.\d{6,}-[0-9a-f]{8})?)\.pt")


def is_leftover(name: str) -> bool:
    """Whether a file of this name has no place in a finished run's folder."""
    return not (name in (RUN, CURVE) or _LOG.fullmatch(name))


def _highest_lease(names: set[str]) -> str | None:
    """Key of the lease that counts: the one with the highest number, then token."""
    keys = [match[1] for name in names if (match := _LEASE.fullmatch(name))]
    return max(keys, key=_order, default=None)


def _order(key: str) -> tuple[int, str]:
    number, token = key.split("-")
    return int(number), token


def _written_before(segment: str, key: str) -> bool:
    """Whether an attempt before ``key`` wrote the segment; those of earlier versions bear no key."""
    _, _, writer = segment.partition(".")
    return not writer or _order(writer) < _order(key)
