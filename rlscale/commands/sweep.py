"""``rlscale sweep presets|show|plan|run|retry|status``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlscale.commands.options import (
    AddressOption,
    ImportOption,
    JsonOption,
    MnistOption,
    OutOption,
    SpecArgument,
    StoreOption,
    SweepDeviceOption,
    SweepOption,
)
from rlscale.scaling.errors import RlscaleError
from rlscale.terminal.console import console, warn, write_json, write_yaml

if TYPE_CHECKING:
    from rlscale.sweeps.running.events import OnEvent
    from rlscale.sweeps.running.launch import SweepOutcome
    from rlscale.sweeps.running.status import SizeFacts
    from rlscale.sweeps.specs.spec import SweepSpec


def sweep_presets() -> None:
    """List the presets: the experiments of the paper, by the names that plan, run and show accept."""
    from rich.table import Table

    from rlscale.sweeps.specs.presets import SUMMARIES

    table = Table.grid(padding=(0, 2))
    for name, summary in SUMMARIES.items():
        table.add_row(name, summary)
    console.print(table)


def sweep_show(
    name: Annotated[
        str, typer.Argument(metavar="PRESET", help="Name of a preset, see rlscale sweep presets.")
    ],
    out: OutOption = None,
) -> None:
    """Write the spec of a preset as YAML, to edit and run."""
    from rlscale.sweeps.specs.presets import SUMMARIES, preset_values

    values = preset_values(name)
    write_yaml(out, values, heading=SUMMARIES[name])


def sweep_plan(
    spec_name: SpecArgument,
    estimate: Annotated[
        bool, typer.Option(help="Estimate the time: train each size on this machine for a few seconds.")
    ] = True,
    imports: ImportOption = None,
    json_path: JsonOption = None,
) -> None:
    """Show what a sweep would cost: runs, FLOPs, memory and time. Starts nothing."""
    from dataclasses import asdict
    from functools import partial

    from rlscale.analysis.formatting.numbers import compact_count, duration
    from rlscale.sweeps.specs.plan import plan_sizes
    from rlscale.sweeps.specs.presets import find_spec
    from rlscale.sweeps.specs.spec import expand
    from rlscale.sweeps.specs.tuning_sweep import tuning_cost
    from rlscale.terminal.plan import memory_note, plan_table
    from rlscale.terminal.tuning import cost_line

    spec = find_spec(spec_name)
    configs = expand(spec, source=spec_name)
    from rlscale.scaling.costs.measure import measure
    from rlscale.scaling.machine import usable_memory

    sizes = plan_sizes(configs, partial(measure, timed=estimate))
    total_runs = sum(size.num_runs for size in sizes)
    interactions = sum(size.num_runs * size.config.interactions for size in sizes)
    flops = sum(size.num_runs * size.flops for size in sizes)
    seconds = sum(size.num_runs * size.seconds for size in sizes if size.seconds) if estimate else None
    console.print(plan_table(sizes))
    console.print(
        f"{spec.name}: {total_runs} runs, {compact_count(interactions)} interactions, {flops:.1e} FLOP"
        + (f", {duration(seconds)} on this machine if one ran after the other." if estimate else "."),
        highlight=False,
        soft_wrap=True,
    )
    console.print(memory_note(sizes, usable_memory()), highlight=False, soft_wrap=True)
    tuning = tuning_cost(spec, sizes)
    if tuning is not None:
        console.print(cost_line(tuning), highlight=False, soft_wrap=True)
    write_json(
        json_path,
        {
            "sweep": spec.name,
            "runs": total_runs,
            "interactions": interactions,
            "flops": flops,
            "slot_seconds": seconds,
            "tuning": asdict(tuning) if tuning else None,
            "sizes": [
                {
                    **size.columns,
                    "interactions": size.config.interactions,
                    "runs": size.num_runs,
                    "flops": size.flops,
                    "seconds": size.seconds,
                    "memory": asdict(size.memory) | {"total": size.memory.total},
                }
                for size in sizes
            ],
        },
    )


def sweep_run(
    spec_name: SpecArgument,
    store: StoreOption,
    address: AddressOption = None,
    device: SweepDeviceOption = "auto",
    mnist_dir: MnistOption = None,
    imports: ImportOption = None,
) -> None:
    """Run a sweep. If run again, it runs only what the store lacks."""
    from rlscale.sweeps.specs.presets import find_spec
    from rlscale.sweeps.specs.spec import expand
    from rlscale.sweeps.store.run_store import RunStore
    from rlscale.terminal.live import run_with_view

    spec = find_spec(spec_name)
    # Errors of the spec are reported before torch and ray are loaded.
    busiest = max(expand(spec, source=spec_name), key=lambda config: config.threads)
    warn_of_tuning(spec, spec_name)
    opened = RunStore(store, create=True)
    from rlscale.scaling.training.device import warning_of_threads
    from rlscale.sweeps.running.launch import run_sweep
    from rlscale.sweeps.running.where import Where

    if address is None:  # a cluster may have more cores
        warn(warning_of_threads([busiest]))

    where = Where(address, device, mnist_dir)

    def go(on_event: OnEvent) -> SweepOutcome:
        return run_sweep(spec, opened, where, on_event, source=spec_name)

    if not run_with_view(go, opened, spec.name):
        raise typer.Exit(1)


def sweep_retry(
    store: Annotated[str, typer.Argument(metavar="STORE", help="The run store.")],
    sweep: SweepOption = None,
    address: AddressOption = None,
    device: SweepDeviceOption = "auto",
    mnist_dir: MnistOption = None,
    imports: ImportOption = None,
) -> None:
    """Run only the failed runs again, and those whose files are damaged."""
    from rlscale.sweeps.running.launch import has_failed, retry_failed
    from rlscale.sweeps.running.where import Where
    from rlscale.sweeps.store.run_store import RunStore
    from rlscale.terminal.live import run_with_view

    opened, where = RunStore(store), Where(address, device, mnist_dir)
    complete = True
    for name in opened.select(sweep):
        if not has_failed(opened, name):
            console.print(f"{name}: no run has failed.", highlight=False)
            continue

        def go(on_event: OnEvent, name: str = name) -> SweepOutcome:
            return retry_failed(opened, name, where, on_event)

        complete = run_with_view(go, opened, name) and complete
    if not complete:
        raise typer.Exit(1)


def sweep_status(
    store: Annotated[str, typer.Argument(metavar="STORE", help="The run store.")],
    sweep: SweepOption = None,
    show_all: Annotated[
        bool, typer.Option("--all", help="List every run, not only the running, failed and stopped ones.")
    ] = False,
    watch_on: Annotated[
        bool, typer.Option("--watch", help="Refresh until all runs have ended, or until Ctrl-C.")
    ] = False,
    imports: ImportOption = None,
    json_path: JsonOption = None,
) -> None:
    """Show the runs of each sweep by status, their progress, and why runs failed."""
    from rlscale.sweeps.running.status import SweepReader
    from rlscale.sweeps.store.run_store import RunStore
    from rlscale.terminal.live import watch_sweeps
    from rlscale.terminal.sweep import print_status, status_json

    opened = RunStore(store)
    readers = [SweepReader(opened, name, _facts_of) for name in opened.select(sweep)]
    if not readers:
        console.print(f"{store} holds no sweeps yet.", markup=False, highlight=False, soft_wrap=True)
    if watch_on:
        states = watch_sweeps(console, readers, show_all=show_all)
    else:
        states = [reader.read_state() for reader in readers]
    for state in states:
        print_status(console, state, show_all=show_all)
    write_json(json_path, {"sweeps": [status_json(state) for state in states]})


def _facts_of(config: Mapping[str, Any]) -> SizeFacts | None:
    """N and FLOPs of a run that has not begun, from its networks; None if these cannot be built here."""
    from rlscale.scaling.config.run import run_config
    from rlscale.sweeps.running.status import SizeFacts

    try:
        from rlscale.scaling.costs.measure import measure

        columns = measure(run_config(dict(config), source="a run's config")).columns
    except (ImportError, RlscaleError):
        return None
    return SizeFacts(columns.get("num_params"), columns.get("flops_per_interaction"))


def warn_of_tuning(spec: SweepSpec, spec_name: str) -> None:
    """Warn that running a sweep does not tune its learning rates."""
    if spec.tuning and spec.tuning.learning_rate:
        warn(f"Only rlscale sweep tune {spec_name} uses 'tuning'; here all sizes take one base rate.")
