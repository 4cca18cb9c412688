"""``rlscale theory learned``: what transformers have learned in context, beside TD."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rlscale.commands.options import JsonOption, SweepOption, writable
from rlscale.scaling.errors import InputError
from rlscale.terminal.console import console, write_json

if TYPE_CHECKING:
    from rlscale.analysis.studies.solvable.in_context_td import LearnedSetting
    from rlscale.sweeps.store.records import RunRecord
    from rlscale.sweeps.store.run_store import RunStore

_TASK = "in-context-td"
_LONGEST = 1000


class Lengths(list[int]):
    """Lengths of contexts."""


def parse_lengths(text: str) -> Lengths:
    """Whole numbers with commas between.

    Raises:
        InputError: if the text is something else, or a context is shorter than 1.
    """
    try:
        lengths = sorted({int(part) for part in text.split(",")})
    except ValueError:
        lengths = []
    if not lengths or not 1 <= lengths[0] <= lengths[-1] <= _LONGEST:
        raise InputError(
            f"--lengths {text!r}: give whole numbers from 1 to {_LONGEST} with commas between, e.g. 1,10,30.",
            code="context_too_short" if lengths and lengths[0] < 1 else "invalid_option",
        )
    return Lengths(lengths)


def learned(
    store: Annotated[
        str, typer.Argument(metavar="STORE", help="A store with runs of in-context-td that keep checkpoints.")
    ],
    sweep: SweepOption = None,
    lengths: Annotated[
        Lengths,
        typer.Option(parser=parse_lengths, metavar="N,...", help="Contexts to measure the errors with."),
    ] = "1,2,3,5,7,10,15,20,30,50,100",  # type: ignore[assignment]
    json_path: JsonOption = None,
    figure: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also draw weights, similarities and errors; with several settings the errors of all.",
            callback=writable,
        ),
    ] = None,
) -> None:
    """Show how near the transformers of a store have come to TD, with intervals over seeds.

    Beside each stands the reference, whose layers are batch TD by construction, with a trained step size.
    Runs keep their last weights if their config says keep_checkpoints: true.
    """
    from rlscale.analysis.figures.files import check_figure_name, write_figure
    from rlscale.analysis.studies.solvable.in_context_td import learned_result
    from rlscale.sweeps.store.run_store import RunStore
    from rlscale.terminal.in_context import print_learned
    from rlscale.terminal.tables import differing_fields, differing_values

    if figure is not None:
        check_figure_name(figure)
    opened = RunStore(store)
    groups = _settings_of(opened, sweep)
    configs = [records[0].config for records in groups]
    names = differing_fields(configs)
    settings: list[LearnedSetting] = []
    for records, values in zip(groups, differing_values(configs), strict=True):
        differing = dict(zip(names, map(str, values), strict=True))
        with console.status(f"{len(settings)} of {len(groups)} settings done"):
            settings.append(_learned(opened, records, differing, lengths))
    result = learned_result(settings)
    write_json(json_path, result.model_dump(mode="json"))
    if figure is not None:
        from rlscale.analysis.figures.solvable.in_context_td import learned_figure

        write_figure(learned_figure(result), figure)
    print_learned(result, console)


def _settings_of(store: RunStore, sweep: str | None) -> list[list[RunRecord]]:
    """Runs that are done and keep checkpoints, those that differ in the seed alone together.

    Raises:
        InputError: if there is none (code ``no_checkpoints``).
    """
    records = [
        record
        for record in store.runs(sweep)
        if record.config.get("task") == _TASK and record.status == "done" and record.checkpoints
    ]
    if not records:
        raise InputError(
            f"{store.location} has no run of {_TASK} that is done and keeps checkpoints: train some whose "
            "config says keep_checkpoints: true.",
            code="no_checkpoints",
        )
    records.sort(key=lambda record: (_without_seed(record), record.config["seed"]))
    return sorted((list(runs) for _, runs in groupby(records, _without_seed)), key=_order)


def _without_seed(record: RunRecord) -> str:
    return json.dumps(
        {name: value for name, value in record.config.items() if name != "seed"}, sort_keys=True
    )


def _order(records: list[RunRecord]) -> tuple[Any, ...]:
    """Settings by what they are, then by size."""
    section = records[0].config["in_context"]
    words = (section["process"], section["attention"], section["weights"])
    return *words, section["layers"], section["length"], section["features"]


def _learned(
    store: RunStore, records: list[RunRecord], differing: dict[str, str], lengths: list[int]
) -> LearnedSetting:
    from rlscale.analysis.studies.solvable.in_context_td import COLUMNS, learned_setting
    from rlscale.scaling.config.run import run_config
    from rlscale.scaling.solvable.in_context_trained import held_out_by_length, read_trained

    configs = [run_config(record.config, source=f"run {record.run_id}") for record in records]
    held_out = held_out_by_length(configs[0].settings, lengths)
    trained, curves = [], []
    for record, config in zip(records, configs, strict=True):
        *_, last = store.read_checkpoints(record.sweep, record.run_id)
        trained.append(read_trained(config, last, held_out))
        table = store.read_curve(record.sweep, record.run_id, ["interactions", *COLUMNS])
        curves.append({name: table[name].to_numpy() for name in table.column_names})
    return learned_setting(
        differing=differing,
        num_params=int(records[0].columns["num_params"]),
        curves=curves,
        P=[each.P for each in trained],
        Q=[each.Q for each in trained],
        trained_on=configs[0].settings.length,
        length=lengths,
        error=[each.error for each in trained],
        reference_error=[each.reference_error for each in trained],
    )
