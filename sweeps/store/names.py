"""The names of a run's files, and of a sweep that tunes another one, made and read here.

An attempt has a key, ``000002-1a2b3c4d``: a number above all earlier ones and the head of a random
token. A segment is the part of a curve between two checkpoints, called by its number and the key of
the attempt that wrote it: ``000003.000002-1a2b3c4d``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

RUN, CURVE, CHECKPOINTS = "run.json", "curve.parquet", "checkpoint"
DAMAGED = "damaged-"  # before the name of a file that could not be read and was set aside
_KEY = r"[0-9]{6,}-[0-9a-f]{8}"
#: Earlier versions wrote segments without a key.
SEGMENT_PATTERN = rf"[0-9]{{6}}(?:\.{_KEY})?"
_LEASE = re.compile(rf"lease-({_KEY})\.json")
_LOG = re.compile(r"log-([0-9]{6,})-[0-9a-f]{8}\.txt")
_PART = re.compile(rf"part-({SEGMENT_PATTERN})\.parquet")
_CHECKPOINT = re.compile(rf"({SEGMENT_PATTERN})\.pt")


_TUNING = "-tuning"


def tuning_name(sweep: str) -> str:
    """The sweep that tunes the learning rates of a sweep."""
    return f"{sweep}{_TUNING}"


def tuned_by(sweep: str) -> str | None:
    """The sweep that a sweep of this name tunes; None if it tunes none."""
    tuned = sweep.removesuffix(_TUNING)
    return tuned if tuned and tuned != sweep else None


# -- keys of attempts ---------------------------------------------------------------


def new_key(before: str | None, token: str) -> str:
    """The key of an attempt whose lease counts over that of ``before``."""
    number = int(before.split("-")[0]) + 1 if before else 1
    return f"{number:06d}-{token[:8]}"


def highest_key(names: Iterable[str]) -> str | None:
    """The key of the lease that counts: the one with the highest number, then token; None without a lease."""
    return max(filter(None, map(lease_key, names)), key=_order, default=None)


def is_below(key: str, other: str) -> bool:
    """Whether the lease ``other`` counts over the lease ``key``."""
    return _order(key) < _order(other)


def _order(key: str) -> tuple[int, str]:
    number, token = key.split("-")
    return int(number), token


# -- segments -----------------------------------------------------------------------


def segment_name(index: int, key: str) -> str:
    return f"{index:06d}.{key}"


def is_written_before(segment: str, key: str) -> bool:
    """Whether an attempt before ``key`` wrote the segment."""
    _, _, writer = segment.partition(".")
    return not writer or is_below(writer, key)


# -- files --------------------------------------------------------------------------


def lease_name(key: str) -> str:
    return f"lease-{key}.json"


def part_name(segment: str) -> str:
    return f"part-{segment}.parquet"


def checkpoint_name(segment: str) -> str:
    return f"{segment}.pt"


def log_name(attempt: int, key: str) -> str:
    return f"log-{attempt:06d}-{key.split('-')[1]}.txt"


def lease_key(name: str) -> str | None:
    """The key of a lease by its file's name; None if it is another file."""
    return _first_group(_LEASE, name)


def segment_of_part(name: str) -> str | None:
    """The segment of a part by its file's name; None if it is another file."""
    return _first_group(_PART, name)


def segment_of_checkpoint(name: str) -> str | None:
    """The segment that a checkpoint ends by its file's name; None if it is another file."""
    return _first_group(_CHECKPOINT, name)


def attempt_of_log(name: str) -> int | None:
    """The number of the attempt by its log's name; None if it is another file."""
    number = _first_group(_LOG, name)
    return None if number is None else int(number)


def segments_of_parts(names: Iterable[str]) -> tuple[str, ...]:
    """The segments of a curve as the names of its parts tell them, without a lease that lists them.

    An attempt goes on from a segment of those before it. So its part takes the place of the one with the same
    index that an earlier attempt wrote, and of all after that.
    """

    def written(segment: str) -> tuple[int, str, int]:
        _, _, key = segment.partition(".")
        return (*(_order(key) if key else (0, "")), int(segment[:6]))

    segments: list[str] = []
    for segment in sorted(filter(None, map(segment_of_part, names)), key=written):
        index = int(segment[:6])
        if index <= len(segments):
            segments[index:] = [segment]
    return tuple(segments)


def is_leftover(name: str) -> bool:
    """Whether a file of this name has no place in a finished run's folder."""
    kept = name in (RUN, CURVE) or name.startswith(DAMAGED)
    return not kept and attempt_of_log(name) is None


def _first_group(pattern: re.Pattern[str], name: str) -> str | None:
    match = pattern.fullmatch(name)
    return match[1] if match else None
