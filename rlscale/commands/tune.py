"""``rlscale sweep tune``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlscale.commands.options import (
    AddressOption,
    ImportOption,
    JsonOption,
    MnistOption,
    SpecArgument,
    StoreOption,
    SweepDeviceOption,
    writable,
)
from rlscale.scaling.errors import InputError
from rlscale.terminal.console import console, warn, write_json, write_yaml

if TYPE_CHECKING:
    from rlscale.analysis.studies.tuning.study import TuningStudy
    from rlscale.sweeps.running.events import OnEvent
    from rlscale.sweeps.running.launch import SweepOutcome
    from rlscale.sweeps.specs.spec import SweepSpec
    from rlscale.sweeps.specs.tuning_sweep import Size


FinalSpecOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FINAL.yaml",
        help="Write the spec of the final sweep to this file.",
        callback=writable,
    ),
]
FigureOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Also draw score against learning rate, as .png, .pdf or .svg.",
        callback=writable,
    ),
]


def sweep_tune(
    spec_name: SpecArgument,
    store: StoreOption,
    address: AddressOption = None,
    device: SweepDeviceOption = "auto",
    mnist_dir: MnistOption = None,
    imports: ImportOption = None,
    out: FinalSpecOption = None,
    json_path: JsonOption = None,
    figure: FigureOption = None,
) -> None:
    """Find the best learning rate for each size and write the spec of the final sweep.

    Runs each learning rate of the spec's block 'tuning' at each size, as a separate
    sweep. If run again, it runs only what the store lacks.

    Without that block it applies the paper's rule: one base rate, and a step size
    that falls with width and depth.
    """
    from rlscale.analysis.figures.files import check_figure_name, write_figure
    from rlscale.analysis.figures.tuning import tuning_figure
    from rlscale.analysis.formatting.tuning import heading
    from rlscale.analysis.studies.tuning.final_spec import final_values
    from rlscale.analysis.studies.tuning.study import read_study, study_json
    from rlscale.sweeps.specs.presets import find_spec
    from rlscale.sweeps.specs.tuning_sweep import sizes_of, tuning_sweep
    from rlscale.sweeps.store.run_store import RunStore
    from rlscale.terminal.live import run_with_view
    from rlscale.terminal.tables import print_line

    if figure is not None:
        check_figure_name(figure)
    spec = find_spec(spec_name)
    if spec.tuning is None or spec.tuning.learning_rate is None:
        if json_path or figure:
            raise InputError(
                f"{spec_name}: --json and --figure need rates to tune; add tuning.learning_rate.",
                code="no_tuning",
            )
        _print_rule(spec, sizes_of(spec, spec_name), spec_name, out)
        return
    sweep = tuning_sweep(spec, spec_name)
    opened = RunStore(store, create=True)
    from rlscale.sweeps.running.launch import run_sweep
    from rlscale.sweeps.running.where import Where

    where = Where(address, device, mnist_dir)

    def go(on_event: OnEvent) -> SweepOutcome:
        return run_sweep(sweep, opened, where, on_event, source=spec_name)

    run_with_view(go, opened, sweep.name)
    study = read_study(spec, opened, spec_name)
    _print_study(study)
    write_json(json_path, study_json(study))
    if figure is not None:
        write_figure(tuning_figure(study), figure)
    if out is not None:
        write_yaml(out, final_values(spec, study, spec_name), heading=heading(study))
        print_line(f"Wrote {out}; run it with: rlscale sweep run {out} --store {store}", console)
        print_line(
            f"The store then holds both sweeps; rlscale fit {store} takes {spec.name} without its tuning.",
            console,
        )
    if study.num_missing:
        raise typer.Exit(1)


def _print_study(study: TuningStudy) -> None:
    from rlscale.terminal.tables import print_line
    from rlscale.terminal.tuning import study_lines, study_table

    console.print(study_table(study))
    for line in study_lines(study):
        print_line(line, console)
    for warning in study.warnings:
        warn(warning)


def _print_rule(spec: SweepSpec, sizes: list[Size], source: str, out: Path | None) -> None:
    """Print that there is nothing to tune, and the rates by the paper's rule."""
    from rlscale.analysis.studies.tuning.final_spec import final_values
    from rlscale.terminal.tables import print_line
    from rlscale.terminal.tuning import rule_table

    console.print(rule_table(sizes))
    print_line(
        f"{source} names no tuning.learning_rate, so the paper's rule holds and no runs are needed. "
        "To tune, add: tuning: {learning_rate: {low: 1.0e-4, high: 1.0e-2, points: 5}}",
        console,
    )
    if out is not None:
        write_yaml(out, final_values(spec, None), heading="Learning rates by the paper's rule, not tuned.")
