"""``rlscale capacity``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlscale.commands.options import (
    AddressOption,
    DeviceOption,
    ImportOption,
    JsonOption,
    MnistOption,
    SweepOption,
    writable,
)
from rlscale.terminal.console import console, write_json

if TYPE_CHECKING:
    from rlscale.analysis.studies.capacity import CapacityRun
    from rlscale.scaling.training.capacity import CapacityLoss
    from rlscale.sweeps.store.records import RunRecord
    from rlscale.sweeps.store.run_store import RunStore


def capacity(
    store: Annotated[str, typer.Argument(metavar="STORE", help="A store with runs that keep checkpoints.")],
    sweep: SweepOption = None,
    targets: Annotated[
        int, typer.Option(metavar="COUNT", help="Random targets to learn; intervals need 2 or more.", min=1)
    ] = 3,
    envs: Annotated[
        int | None,
        typer.Option(metavar="COUNT", help="Environments that the observations are from.", min=1),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(metavar="COUNT", help="Observations from each environment.", min=1)
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(metavar="COUNT", help="Passes over the observations.", min=1)
    ] = None,
    address: AddressOption = None,
    device: DeviceOption = "cpu",
    mnist_dir: MnistOption = None,
    imports: ImportOption = None,
    json_path: JsonOption = None,
    figure: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also draw the losses below the curves, as .png, .pdf or .svg.",
            callback=writable,
        ),
    ] = None,
) -> None:
    """Measure how well the networks of runs still learn something new, along their kept checkpoints.

    Each checkpoint's actor and critic learn the outputs of random networks of their own kind; the loss that
    is left is the capacity loss. Runs keep their checkpoints if their config says keep_checkpoints: true.
    Without --envs, --steps and --epochs these are the paper's: 4 environments, 1,000 steps and 4 epochs for
    vectors, 1, 36,000 and 1 for images.
    """
    from rlscale.analysis.figures.files import check_figure_name, write_figure
    from rlscale.analysis.studies.capacity import capacity_result
    from rlscale.sweeps.store.run_store import RunStore
    from rlscale.terminal.capacity import print_capacity

    if figure is not None:
        check_figure_name(figure)
    opened = RunStore(store)
    from rlscale.scaling.training.device import resolve_device
    from rlscale.sweeps.running.capacity import Wanted, measure_capacity, runs_with_checkpoints
    from rlscale.sweeps.running.where import Where

    records = runs_with_checkpoints(opened, sweep)
    where = Where(address, device if address else resolve_device(device), mnist_dir)
    with console.status(f"0 of {len(records) * targets} done") as status:
        losses = measure_capacity(
            opened,
            records,
            Wanted(targets, envs, steps, epochs),
            where,
            on_done=lambda done: status.update(f"{done} of {len(records) * targets} done"),
        )
    runs = [_run(opened, record, each) for record, each in zip(records, losses, strict=True)]
    result = capacity_result(runs, targets)
    write_json(json_path, result.model_dump(mode="json"))
    if figure is not None:
        from rlscale.analysis.figures.capacity import capacity_figure

        write_figure(capacity_figure(result), figure)
    print_capacity(result, [record.config for record in records], console)


def _run(store: RunStore, record: RunRecord, losses: list[list[CapacityLoss]]) -> CapacityRun:
    """One run's result from its losses by target, and its curve."""
    from rlscale.analysis.studies.capacity import capacity_run

    curve = store.read_curve(record.sweep, record.run_id, ["interactions", "return_mean"])
    measured = curve.filter(curve["return_mean"].is_valid())
    return capacity_run(
        sweep=record.sweep,
        run_id=record.run_id,
        columns=record.columns,
        interactions=[each.interactions for each in losses[0]],
        losses={
            "actor": [[each.actor for each in of_target] for of_target in losses],
            "critic": [[each.critic for each in of_target] for of_target in losses],
        },
        curve=(measured["interactions"].to_numpy(), measured["return_mean"].to_numpy()),
    )
