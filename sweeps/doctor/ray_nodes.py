"""The checks of each node of a Ray cluster, in a task that reserves no CPU."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import ray
from ray import exceptions as ray_exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rlscale.sweeps.doctor.checks import HERE, Check, Machine, Offer, check_agreement, check_machine
from rlscale.sweeps.doctor.store_probe import Probe, check_store
from rlscale.sweeps.running.ray_connection import connect

_NODE_SECONDS = 120.0  # a node imports torch, perhaps from a slow disk
_PROBLEM_LENGTH = 300


def check_cluster(
    address: str, here: Machine, mnist_dir: str | None, probe: Probe | None, expected: str | None
) -> list[Check]:
    """Connect to the cluster at ``address`` and check each of its nodes.

    Args:
        here: this machine, whose versions the nodes must have.
        mnist_dir: where nodes look for MNIST first.
        probe: where nodes write probe files, which are removed again; None checks no store.
        expected: whose probe file each node must see; None for none.

    Raises:
        InputError: if the cluster cannot be reached.
    """
    connect(address)
    try:
        return _check_nodes(here, mnist_dir, probe, expected)
    finally:
        ray.shutdown()


def _check_nodes(
    here: Machine, mnist_dir: str | None, probe: Probe | None, expected: str | None
) -> list[Check]:
    nodes = {_name(node): node for node in ray.nodes() if node["Alive"]}
    task = ray.remote(num_cpus=0, max_retries=0)(_check_node)
    references = {
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
            name,
            mnist_dir,
            Offer(node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0)),
            probe,
            expected,
        ): name
        for name, node in nodes.items()
    }
    ready, late = ray.wait(list(references), num_returns=len(references), timeout=_NODE_SECONDS)
    checks = [Check("cluster", HERE, "pass", f"{len(nodes)} node{'' if len(nodes) == 1 else 's'}")]
    machines = {HERE: here}
    for reference in ready:
        name = references[reference]
        try:
            machines[name] = ray.get(reference)
        except ray_exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            checks.append(_unexamined(name, " ".join(f"{type(cause).__name__}: {cause}".split())))
            continue
        checks += machines[name].checks
    for reference in late:
        ray.cancel(reference, force=True)
        checks.append(_unexamined(references[reference], f"it did not answer within {_NODE_SECONDS:g} s"))
    return [*checks, *check_agreement(machines)]


def _check_node(
    name: str, mnist_dir: str | None, offer: Offer, probe: Probe | None, expected: str | None
) -> Machine:
    """All checks of the node that this task runs on."""
    machine = check_machine(name, mnist_dir, offer)
    store = () if probe is None else (check_store(probe, name, expected),)
    return Machine(machine.versions, (*machine.checks, *store))


def _unexamined(name: str, problem: str) -> Check:
    remedy = "Install rlscale there, in the Python that Ray uses, and look at the node's load and logs."
    return Check("node", name, "fail", problem[:_PROBLEM_LENGTH], remedy)


def _name(node: Mapping[str, Any]) -> str:
    """The node's host and the start of its id, as a host may have several nodes; valid as a file's name."""
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '_', node['NodeManagerHostname'])}-{node['NodeID'][:6]}"
