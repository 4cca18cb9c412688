"""Kills at random moments: of workers mostly, sometimes of a whole node or of the driver."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from cluster import Cluster
from processes import Started, command_of, parent_of
from small_sweep import records, under_way, worker_of

from rlscale.sweeps.store.records import RunRecord

KINDS = {"worker": 0.7, "node": 0.15, "driver": 0.15}
_LONGEST_WAIT = 1.5  # seconds from the moment at which a kill has something to hit


@dataclass
class Kills:
    """What was killed, and the running runs' records right before each kill."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    seen: list[RunRecord] = field(default_factory=list)


def sweep_with_kills(
    begin: Callable[[], Started], place: Path, cluster: Cluster, rng: np.random.Generator, number: int
) -> tuple[Started, Kills]:
    """Start a sweep by ``begin`` and kill ``number`` times; returns the driver that is left, not waited for.

    Each kill waits until some run has stored a segment in its current attempt, so that the sweep advances.
    """
    kills = Kills()
    command = begin()
    while sum(kills.counts.values()) < number:
        command.until(lambda: under_way(place, 1), "a run under way")
        moment = time.monotonic() + rng.uniform(0, _LONGEST_WAIT)
        command.until(lambda at=moment: time.monotonic() >= at, "a random moment")
        running = [each for each in records(place) if each.status == "running" and _is_at_work(each)]
        if not running:
            continue
        kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
        victim = worker_of(running[rng.integers(len(running))])
        if kind == "node" and parent_of(victim) not in cluster.raylets()[1:]:
            continue  # the head holds the cluster together
        kills.seen.extend(running)
        kills.counts[kind] += 1
        if kind == "worker":
            os.kill(victim, signal.SIGKILL)
        elif kind == "node":
            os.kill(parent_of(victim), signal.SIGKILL)
            cluster.add_node()
        else:
            command.kill()
            command = begin()
    return command, kills


def _is_at_work(record: RunRecord) -> bool:
    return command_of(worker_of(record)).startswith("ray::_train")
