"""What a sweep would do, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from rlscale.analysis.formatting.numbers import byte_size, compact_count, duration
from rlscale.scaling.config.run import RunConfig
from rlscale.sweeps.specs.plan import PlannedSize
from rlscale.terminal.tables import differing_fields, differing_values, runs_table


def plan_table(sizes: Sequence[PlannedSize]) -> Table:
    """One line for each size: what distinguishes it, runs, parameters, length, FLOPs, memory and time."""
    configs = [size.config.model_dump(mode="json") for size in sizes]
    table = runs_table(
        "N", "runs", "interactions", "FLOP", "memory", "time", differing=differing_fields(configs)
    )
    for size, values in zip(sizes, differing_values(configs), strict=True):
        table.add_row(
            *values,
            f"{size.columns['num_params']:,}",
            str(size.num_runs),
            compact_count(size.config.interactions),
            f"{size.flops:.1e}",
            byte_size(size.memory.total) if size.memory else "?",
            duration(size.seconds),
        )
    return table


def memory_note(sizes: Sequence[PlannedSize], machine: int) -> str:
    """The memory of the largest run, and whether ``machine`` bytes suffice; empty if it was not counted."""
    needs = [size.memory for size in sizes if size.memory]
    if not needs:
        return ""
    most = max(needs, key=lambda each: each.total)
    need = f"Memory: up to {byte_size(most.total)} a run"
    if most.observations:
        need += f", {byte_size(most.observations)} of it observations"
    if most.total <= machine:
        return f"{need}; this machine has {byte_size(machine)}."
    largest = next(size.config for size in sizes if size.memory is most)
    return (
        f"{need}: more than the {byte_size(machine)} of this machine. Run it on a larger one, or choose "
        f"{_smaller(largest)}."
    )


def _smaller(config: RunConfig) -> str:
    if config.solvable_task is not None:
        return f"smaller numbers in {config.solvable_task.section}"
    phases = " or agent.phasic.policy_iterations" if config.agent.auxiliary else ""
    return f"a smaller agent.num_envs (now {config.agent.num_envs}){phases}"
