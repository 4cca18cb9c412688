"""Ray Tune's trial folders: progress.csv, one row an iteration, and params.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rlscale.scaling.files import require_file
from rlscale.sweeps.importers.readers.csv_log import chosen_columns, curve_rows, read_log
from rlscale.sweeps.importers.readers.runs import (
    Parsed,
    ReadOptions,
    Skipped,
    SourceRun,
    not_done_again,
    plural,
    read_folders,
)

PROGRESS, PARAMS = "progress.csv", "params.json"
NAMES = {
    "interactions": (
        "num_env_steps_sampled_lifetime",
        "env_runners/num_env_steps_sampled_lifetime",
        "timesteps_total",
        "num_env_steps_sampled",
    ),
    "return_mean": (
        "env_runners/episode_return_mean",
        "env_runners/episode_reward_mean",
        "episode_reward_mean",
        "episode_return_mean",
    ),
    "episode_length_mean": ("env_runners/episode_len_mean", "episode_len_mean"),
    "wall_seconds": ("time_total_s",),
}
_HINTS = {"seed": "seed", "lr": "learning_rate", "env": "task"}


def read_rllib(source: Path, options: ReadOptions) -> Parsed:
    """Read a folder of trials, or one progress.csv.

    A trial that was retried resumes from a checkpoint and logs iterations again; those of the last
    attempt count.

    Raises:
        InputError: if a file cannot be used, naming it, the row and the remedy.
    """

    def read(folder: Path, name: str) -> SourceRun | Skipped:
        table = read_log(source if source.is_file() else folder / PROGRESS)
        chosen = chosen_columns(table, NAMES, options)
        if isinstance(chosen, str):
            return Skipped(name, chosen)
        rows, steps = curve_rows(table, chosen)
        kept = not_done_again(steps, once=True)
        return SourceRun(
            name,
            table.path,
            rows[kept],
            hints=_hints(folder / PARAMS),
            counts={"unfinished": int(table.cut), "again": int((~kept).sum())},
        )

    runs, skipped = read_folders(source, lambda name: name == PROGRESS, read)
    note = (
        f"{plural(len(runs), 'trial')} read from {PROGRESS}, whose returns are means over the last episodes "
        f"(100 unless configured) and lag behind."
    )
    return Parsed(tuple(runs), tuple(skipped), (note,))


def _hints(path: Path) -> dict[str, Any]:
    """Run columns from the trial's parameters, as far as these are plain values."""
    try:
        require_file(path)
        params = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(params, dict):
        return {}
    hints = {column: params.get(name) for name, column in _HINTS.items()}
    numbers = ("seed", "learning_rate")
    return {
        column: value
        for column, value in hints.items()
        if isinstance(value, int | float if column in numbers else str)
        and not isinstance(value, bool)
        and not str(value).startswith("<")  # a class, whose name in memory means nothing
    }
