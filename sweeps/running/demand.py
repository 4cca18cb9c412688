"""What a run needs of a node, and how many such runs fit on a cluster. Arithmetic without Ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rlscale.scaling.config.run import RunConfig
from rlscale.scaling.errors import InputError
from rlscale.sweeps.specs.spec import Resources

#: Resident bytes of a worker before its run: the interpreter, torch, Ray and the task's data.
PROGRAM_BYTES = 700_000_000
#: The largest measured ratio of memory to the count of ``rlscale.scaling.costs.memory.memory_need``.
COUNT_FACTOR = 1.4


@dataclass(frozen=True)
class Node:
    """CPUs, GPUs and bytes of memory that a node offers to runs."""

    cpus: float
    gpus: float
    memory: float


@dataclass(frozen=True)
class Demand:
    """CPUs, GPUs (or a share of one) and bytes of memory of one run."""

    cpus: float
    gpus: float
    memory: float

    def fits(self, node: Node) -> int:
        """Number of runs of this kind that fit on a node at once."""
        pairs = ((node.cpus, self.cpus), (node.gpus, self.gpus), (node.memory, self.memory))
        return min(int(offered / asked + 1e-9) for offered, asked in pairs if asked > 0)


def estimated_memory(counted: int) -> float:
    """Bytes to reserve for a run whose arrays were counted as ``counted`` bytes."""
    return PROGRAM_BYTES + COUNT_FACTOR * counted


def demand_of(config: RunConfig, estimate: float, resources: Resources, nodes: Sequence[Node]) -> Demand:
    """What a run needs: what its spec says, else its threads and its estimated memory.

    An estimate above the memory of the largest node becomes that memory, because estimates may be wrong.

    Raises:
        InputError: if no node can ever hold the run.
    """
    largest = max((node.memory for node in nodes), default=0.0)
    demand = Demand(
        cpus=resources.num_cpus or float(config.threads),
        gpus=resources.num_gpus,
        memory=resources.memory or min(estimate, largest),
    )
    if slots(demand, nodes) == 0:
        there = ", ".join(
            sorted({f"{n.cpus:g} CPUs, {n.gpus:g} GPUs and {n.memory / 1e9:.3g} GB" for n in nodes})
        )
        raise InputError(
            f"A run asks for {demand.cpus:g} CPUs, {demand.gpus:g} GPUs and {demand.memory / 1e9:.3g} GB, "
            f"but no node has that (there: {there or 'no node'}); change 'resources' or 'threads'.",
            code="run_too_large",
        )
    return demand


def slots(demand: Demand, nodes: Sequence[Node]) -> int:
    """Number of runs of this kind that fit on the cluster at once."""
    return sum(demand.fits(node) for node in nodes)


def with_half_the_concurrency(demand: Demand, nodes: Sequence[Node]) -> Demand | None:
    """A demand for enough memory that half as many such runs fit on a node; None if only one fits now."""
    node = max(nodes, key=demand.fits, default=None)
    at_once = demand.fits(node) if node else 0
    if node is None or at_once <= 1:
        return None
    return replace(demand, memory=node.memory // (at_once // 2))
