"""What the nodes of a Ray cluster have, each asked by a task of its own that takes no CPU."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray import exceptions as ray_exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rlscale.sweeps.doctor.machine_facts import Facts, gather
from rlscale.sweeps.doctor.store_probe import (
    Disk,
    Place,
    Probe,
    disk_of,
    remove_probes,
    unseen_probes,
    write_probe,
)
from rlscale.sweeps.running.ray_connection import connect

_NODE_SECONDS = 120.0  # torch is loaded there and Procgen played, maybe from a slow disk
_PROBLEM_LENGTH = 300
_HERE = "here"


@dataclass(frozen=True)
class Node:
    """A node of the cluster: its host's name, told apart where a host has several, and what Ray offers."""

    name: str
    node_id: str
    cpus: float
    gpus: float


@dataclass(frozen=True)
class Clock:
    """Seconds by which a node's clock is ahead of the one here, and how far that may be off."""

    ahead: float
    uncertainty: float


@dataclass(frozen=True)
class Findings:
    """All that was found, by node; ``probes`` and ``unseen`` also hold this machine, as "here".

    ``problems`` says of nodes that did not answer why; the other mappings lack those.
    """

    nodes: tuple[Node, ...]
    problems: dict[str, str]
    facts: dict[str, Facts]
    clocks: dict[str, Clock]
    disks: dict[str, Disk]
    probes: dict[str, Probe]
    unseen: dict[str, list[str]]


def examine(address: str, place: Place | None, mnist_dir: str | None) -> Findings:
    """Connect to the cluster at ``address`` and look at each of its nodes, and at the store from all of them.

    Args:
        place: where in the store to leave probe files, which are removed again; None looks at no store.
        mnist_dir: where to look for MNIST first.

    Raises:
        InputError: if the cluster cannot be reached.
    """
    connect(address)
    try:
        nodes = _nodes()
        facts, problems = _ask(nodes, gather, mnist_dir)
        answering = [node for node in nodes if node.name in facts]
        clocks = {node.name: clock for node in answering if (clock := _clock(node)) is not None}
        disks, probes, unseen = _probe(answering, place) if place else ({}, {}, {})
        return Findings(tuple(nodes), problems, facts, clocks, disks, probes, unseen)
    finally:
        ray.shutdown()


def _probe(
    nodes: Sequence[Node], place: Place
) -> tuple[dict[str, Disk], dict[str, Probe], dict[str, list[str]]]:
    """The store's disk, a file written and the files of others that are not seen: by machine."""
    try:
        disks, _ = _ask(nodes, disk_of, place)
        probes = {_HERE: write_probe(place, _HERE)}
        for node in nodes:
            done, failed = _ask([node], write_probe, place, node.name)
            probes |= done | {name: Probe(problem) for name, problem in failed.items()}
        written = [name for name, probe in probes.items() if probe.problem is None]
        seen_from, _ = _ask([node for node in nodes if node.name in written], unseen_probes, place, written)
        unseen = {_HERE: unseen_probes(place, written), **seen_from}
        return {name: disk for name, disk in disks.items() if disk}, probes, unseen
    finally:
        _ask(nodes, remove_probes, place)
        remove_probes(place)


def _nodes() -> list[Node]:
    alive = [node for node in ray.nodes() if node["Alive"]]
    hosts = Counter(node["NodeManagerHostname"] for node in alive)
    return [
        Node(
            _name(node["NodeManagerHostname"], node["NodeID"], alone=hosts[node["NodeManagerHostname"]] == 1),
            node["NodeID"],
            node["Resources"].get("CPU", 0.0),
            node["Resources"].get("GPU", 0.0),
        )
        for node in alive
    ]


def _name(host: str, node_id: str, *, alone: bool) -> str:
    """A name that can also be a file's."""
    return re.sub(r"[^\w.-]", "_", host) + ("" if alone else f"-{node_id[:6]}")


def _ask(
    nodes: Sequence[Node], function: Callable[..., Any], *arguments: Any
) -> tuple[dict[str, Any], dict[str, str]]:
    """What ``function`` returns on each node, and why those that did not answer in time did not."""
    task = ray.remote(num_cpus=0, max_retries=0)(function)
    names = {
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.node_id, soft=False)).remote(
            *arguments
        ): node.name
        for node in nodes
    }
    answers, problems = dict[str, Any](), dict[str, str]()
    ready, late = ray.wait(list(names), num_returns=len(names), timeout=_NODE_SECONDS) if names else ([], [])
    for reference in ready:
        try:
            answers[names[reference]] = ray.get(reference)
        except ray_exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            problems[names[reference]] = " ".join(f"{type(cause).__name__}: {cause}".split())[
                :_PROBLEM_LENGTH
            ]
    for reference in late:
        ray.cancel(reference, force=True)
        problems[names[reference]] = f"it did not answer within {_NODE_SECONDS:g} s"
    return answers, problems


def _clock(node: Node) -> Clock | None:
    """Asked when a worker is there to answer at once, so that little of the time is the asking's."""
    begun = time.time()
    answers: Mapping[str, float] = _ask([node], _time)[0]
    ended = time.time()
    if node.name not in answers:
        return None
    return Clock(answers[node.name] - (begun + ended) / 2, (ended - begun) / 2)


def _time() -> float:
    return time.time()
