"""``rlscale sweep auto``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from rlscale.commands.options import (
    AddressOption,
    ImportOption,
    JsonOption,
    MnistOption,
    SpecArgument,
    StoreOption,
    SweepDeviceOption,
)
from rlscale.terminal.console import console, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rlscale.loop.decisions import Decision
    from rlscale.scaling.config.run import RunConfig
    from rlscale.sweeps.running.events import OnEvent
    from rlscale.sweeps.running.launch import SweepOutcome


def sweep_auto(
    spec_name: SpecArgument,
    store: StoreOption,
    address: AddressOption = None,
    device: SweepDeviceOption = "auto",
    mnist_dir: MnistOption = None,
    imports: ImportOption = None,
    json_path: JsonOption = None,
) -> None:
    """Choose runs and train them in rounds, until N_opt or nu is known or a budget is spent.

    The spec gives bounds (auto) instead of axes. Each round fits the law so far and
    trains the runs that tell most for their cost: new sizes, more seeds, longer runs.
    If run again, it goes on with what the store holds.
    """
    from rlscale.loop.auto import prepare, run_auto
    from rlscale.sweeps.specs.presets import find_spec
    from rlscale.sweeps.store.run_store import RunStore
    from rlscale.terminal.auto import decision_lines
    from rlscale.terminal.live import run_with_view
    from rlscale.terminal.tables import print_line

    spec = find_spec(spec_name)
    sweep = prepare(spec, spec_name)
    opened = RunStore(store, create=True)
    from rlscale.sweeps.running.launch import run_lengths
    from rlscale.sweeps.running.ray_connection import disconnect
    from rlscale.sweeps.running.where import Where

    where = Where(address, device, mnist_dir, stays_connected=True)

    def train(runs: Sequence[tuple[RunConfig, int]]) -> None:
        def go(on_event: OnEvent) -> SweepOutcome:
            return run_lengths(runs, spec, opened, where, on_event)

        run_with_view(go, opened, spec.name)

    def show(decision: Decision) -> None:
        for line in decision_lines(decision):
            print_line(line, console)

    try:
        last = run_auto(sweep, opened, train, show)
    finally:
        disconnect()
    write_json(json_path, last.model_dump(mode="json"))
    print_line(f"Fit it with: rlscale fit {store} --sweep {spec.name}", console)
    if last.law is None or not last.law.identified:
        raise typer.Exit(1)
