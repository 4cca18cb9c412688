"""``rlscale distill``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rlscale.commands.options import DeviceOption, ImportOption, JsonOption, SweepOption
from rlscale.scaling.errors import InputError
from rlscale.terminal.console import console, write_json

if TYPE_CHECKING:
    import numpy as np

    from rlscale.scaling.training.distill import Measures
    from rlscale.sweeps.store.records import RunRecord
    from rlscale.sweeps.store.run_store import RunStore


def distill(
    store: Annotated[str, typer.Argument(metavar="STORE", help="The run store.")],
    run: Annotated[
        str, typer.Option("--run", metavar="RUN", help="Id of the run, or its first letters: the teacher.")
    ],
    sweep: SweepOption = None,
    students: Annotated[
        int, typer.Option(metavar="COUNT", help="Fresh networks to teach; intervals need 2.", min=1)
    ] = 3,
    observations: Annotated[
        int, typer.Option(metavar="COUNT", help="Observations of the teacher to learn from.", min=1)
    ] = 20_000,
    epochs: Annotated[int, typer.Option(metavar="COUNT", help="Passes over them.", min=1)] = 10,
    value_coef: Annotated[
        float, typer.Option(metavar="WEIGHT", help="Weight of the error of the teacher's values.", min=0)
    ] = 0.0,
    episodes: Annotated[
        int, typer.Option(metavar="COUNT", help="Episodes of each measurement of the return.", min=2)
    ] = 100,
    device: DeviceOption = "cpu",
    imports: ImportOption = None,
    json_path: JsonOption = None,
) -> None:
    """Distil the policy of a run into fresh networks, and compare teacher and students.

    The students learn what the teacher does on the observations that it visits. Measured are the return (in
    Procgen on levels of training and on unseen ones, else from new seeds), and how far policies change
    between two observations (mixed) and under noise. The teacher is the run's last checkpoint, which stays
    when the run is done if its config says keep_checkpoints: true.
    """
    from rlscale.analysis.studies.distillation import distillation_result
    from rlscale.sweeps.store.run_store import RunStore
    from rlscale.terminal.distillation import print_distillation

    opened = RunStore(store)
    record = _find(opened, run, sweep)
    checkpoint = None
    for each in opened.read_checkpoints(record.sweep, record.run_id):  # one after the other: they are large
        checkpoint = each
    if checkpoint is None:
        raise InputError(
            f"Run {record.run_id} has no checkpoint: train runs whose config says keep_checkpoints: true.",
            code="no_checkpoints",
        )
    from rlscale.scaling.config.run import run_config
    from rlscale.scaling.tasks.registry import prepare_task
    from rlscale.scaling.training.device import resolve_device
    from rlscale.scaling.training.distill import Lesson, check_distillation, distil

    config = run_config(record.config, source=f"run {record.run_id}")
    lesson = Lesson(observations=observations, epochs=epochs, value_coef=value_coef, episodes=episodes)
    check_distillation(config, lesson)
    prepare_task(config.task)
    with console.status("distilling"):
        teacher, *taught = distil(
            config, checkpoint, lesson, students=students, device=resolve_device(device)
        )
    result = distillation_result(
        _values(teacher),
        [_values(each) for each in taught],
        losses=[each.loss for each in taught if each.loss is not None],
        sweep=record.sweep,
        run_id=record.run_id,
        task=config.task,
        interactions=record.interactions,
    )
    write_json(json_path, result.model_dump(mode="json"))
    print_distillation(result, console)


def _find(store: RunStore, text: str, sweep: str | None) -> RunRecord:
    """The one run whose id begins like this."""
    found = [record for record in store.runs(sweep) if record.run_id.startswith(text)]
    if len(found) != 1:
        what = "no run" if not found else f"{len(found)} runs"
        raise InputError(
            f"{store.location} has {what} whose id begins with {text!r}: give more of the id, as in "
            f"rlscale curves show {store.location}.",
            code="unknown_run",
        )
    return found[0]


def _values(measures: Measures) -> dict[str, np.ndarray]:
    """By name, the values over episodes or observations."""
    found = {"return_seen" if measures.unseen is not None else "return_new": measures.seen}
    if measures.unseen is not None:
        found["return_unseen"] = measures.unseen
    for kind, shifts in (("mixed", measures.mixed), ("noise", measures.noise)):
        for amount, shift in shifts.items():
            found[f"divergence_{kind}_{amount:g}"] = shift.divergence
            if shift.same_action is not None:
                found[f"same_action_{kind}_{amount:g}"] = shift.same_action
    return found
