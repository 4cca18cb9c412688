"""Logs of stable-baselines3: monitor.csv, one row an episode, and progress.csv, one row a dump.

Monitor files are preferred because they hold every episode, while ``rollout/ep_rew_mean`` is a mean over
the last 100 episodes and so lags behind the agent.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from rlscale.scaling.errors import InputError
from rlscale.scaling.files import require_file
from rlscale.sweeps.importers.readers.csv_log import (
    chosen_columns,
    curve_rows,
    finite_numbers,
    read_log,
    read_text,
)
from rlscale.sweeps.importers.readers.runs import (
    Parsed,
    ReadOptions,
    Skipped,
    SourceRun,
    files_with,
    plural,
    read_folders,
)
from rlscale.sweeps.store.values import Floats, Ints

INTERVALS = 256  # rows of a curve of episodes
PROGRESS = "progress.csv"
NAMES = {
    "interactions": ("time/total_timesteps", "total_timesteps"),
    "return_mean": ("rollout/ep_rew_mean", "ep_rew_mean", "eval/mean_reward"),
    "episode_length_mean": ("rollout/ep_len_mean", "ep_len_mean"),
    "wall_seconds": ("time/time_elapsed", "time_elapsed"),
}


def is_monitor(name: str) -> bool:
    """Whether a file of this name is a monitor file: ``monitor.csv``, ``0.monitor.csv``, ..."""
    return name.endswith("monitor.csv")


def is_log(name: str) -> bool:
    """Whether a file of this name is a log that this module reads."""
    return is_monitor(name) or name == PROGRESS


def read_sb3(source: Path, options: ReadOptions) -> Parsed:
    """Read a folder of runs, or one file.

    Raises:
        InputError: if a file cannot be used, naming it, the row and the remedy.
    """
    kinds: dict[str, int] = {"monitor": 0, "progress": 0}
    ratios: dict[str, float] = {}
    asked = options.tag is not None or bool(options.columns)  # only progress.csv has columns to choose

    def read(folder: Path, name: str) -> SourceRun | Skipped:
        files = [source] if source.is_file() else files_with(folder, is_log)
        monitors = [path for path in files if is_monitor(path.name) or _begins_as_monitor(path)]
        others = [path for path in files if path not in monitors]
        if monitors and not (asked and others):
            if asked:
                raise InputError(
                    f"{monitors[0]} has one return; leave out --tag and --columns.",
                    code="conflicting_options",
                )
            kinds["monitor"] += 1
            run = _read_monitors(folder, name, monitors)
            if others and isinstance(run, SourceRun):
                ratios[name] = _steps_ratio(run, others[0])
            return run
        kinds["progress"] += 1
        return _read_progress(others[0], name, options)

    runs, skipped = read_folders(source, is_log, read)
    notes = []
    if kinds["monitor"]:
        notes.append(
            f"{plural(kinds['monitor'], 'run')} read from monitor files: episodes are averaged over "
            f"{INTERVALS} equal intervals of environment steps; steps of unfinished episodes do not count."
        )
    odd = {name: ratio for name, ratio in ratios.items() if not 0.6 < ratio < 1.6}
    if odd:
        name, ratio = next(iter(odd.items()))
        notes.append(
            f"The monitor files of {plural(len(odd), 'run')} count other steps than {PROGRESS}, "
            f"{ratio:.2g} times as many in {name}: frames that a wrapper skips (--steps-scale makes steps "
            f"of them), or environments whose file is missing (--tag {NAMES['return_mean'][0]} reads "
            f"{PROGRESS})."
        )
    if kinds["progress"]:
        notes.append(
            f"{plural(kinds['progress'], 'run')} read from {PROGRESS}, whose returns are means over the last "
            f"100 episodes and lag behind; monitor.csv holds every episode."
        )
    return Parsed(tuple(runs), tuple(skipped), tuple(notes))


def curve_of_episodes(returns: Floats, lengths: Ints, seconds: Floats) -> pd.DataFrame:
    """Average episodes over equal intervals of environment steps.

    Interval k of ``INTERVALS`` holds the episodes that end at steps in (k, k + 1] / INTERVALS of the
    total; an interval without episodes has no row. A row's step is the end of its last episode.

    Args:
        returns, lengths, seconds: of each episode, in the order in which they ended, shape (episodes,).
    """
    steps = np.cumsum(lengths)
    interval = (steps * INTERVALS - 1) // steps[-1]
    groups = pd.DataFrame({"steps": steps, "r": returns, "l": lengths, "t": seconds}).groupby(interval)
    return pd.DataFrame(
        {
            "interactions": groups["steps"].last(),
            "episodes": groups["r"].size(),
            "return_mean": groups["r"].mean(),
            "return_std": groups["r"].std(ddof=0),
            "episode_length_mean": groups["l"].mean(),
            "wall_seconds": groups["t"].last(),
        }
    ).set_axis(range(1, groups.ngroups + 1))


def _steps_ratio(run: SourceRun, progress: Path) -> float:
    """Steps in the monitor files for one step in progress.csv; 1 if that is unknown."""
    try:
        table = read_log(progress)
        step = table.first_filled(NAMES["interactions"])
        steps = pd.to_numeric(table.column(step), errors="coerce") if step else pd.Series(dtype=float)
    except InputError:  # the curve is not read from this file
        return 1.0
    most = steps.max()
    return float(run.rows["interactions"].iloc[-1] / most) if most > 0 else 1.0


def _begins_as_monitor(path: Path) -> bool:
    require_file(path)
    with path.open("rb") as file:
        return file.read(2) == b"#{"


def _read_monitors(folder: Path, name: str, paths: list[Path]) -> SourceRun | Skipped:
    """Parallel environments of one run, their episodes in the order of the wall clock."""
    frames, counts = [], {"unfinished": 0}
    for path in paths:
        frame, cut = _read_monitor(path)
        counts["unfinished"] += cut
        back = np.flatnonzero(np.diff(frame["t"]) < 0)
        if len(back) and len(paths) > 1:
            raise InputError(
                f"{path}, row {back[0] + 2}: the time goes back: the run was resumed, and the episodes "
                f"of its environments cannot be put in order; import a folder for each attempt.",
                code="unordered_rows",
            )
        frames.append(frame)
    episodes = pd.concat(frames, ignore_index=True)
    if len(episodes) == 0:
        return Skipped(name, "no episode was finished")
    if len(paths) > 1:
        episodes = episodes.sort_values("t", kind="stable")
    if episodes["l"].sum() * INTERVALS >= 2**62:
        raise InputError(
            f"{folder}: the episodes' lengths add up to more than 2^54; correct column l.",
            code="invalid_value",
        )
    started = min(frame.attrs["started"] for frame in frames)
    passed = np.diff(episodes["t"], prepend=started)  # negative where a single file was resumed
    seconds = np.cumsum(np.maximum(passed, 0.0))
    curve = curve_of_episodes(episodes["r"].to_numpy(float), episodes["l"].to_numpy(np.int64), seconds)
    hints = {"task": next((f.attrs["env_id"] for f in frames if f.attrs["env_id"]), None)}
    return SourceRun(name, str(folder), curve, hints=hints, counts=counts)


def _read_monitor(path: Path) -> tuple[pd.DataFrame, bool]:
    """Columns r, l and t (Unix time) of one file, and whether its end was cut off."""
    first = read_text(path).split("\n", 1)[0]
    try:
        header = json.loads(first[1:]) if first.startswith("#") else None
        started = float(header["t_start"]) if isinstance(header, dict) else np.nan
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        started = np.nan
    if not np.isfinite(started):
        raise InputError(
            f"{path} is not a monitor file: its first line must be #{{...}} with t_start, as the Monitor "
            f"wrapper writes it.",
            code="unreadable_file",
        )
    table = read_log(path, skip_lines=1)
    columns = {name: finite_numbers(table.column(name), name, table.path) for name in ("r", "l", "t")}
    lengths = columns["l"]
    bad = np.flatnonzero((lengths < 1) | (lengths >= 2**53) | (lengths != np.rint(lengths)))
    if len(bad):
        row, length = table.numbers[bad[0]], lengths[bad[0]]
        raise InputError(
            f"{path}, column l, row {row}: no episode has {length:g} steps; remove the row.",
            code="invalid_value",
        )
    frame = pd.DataFrame(columns)
    frame["t"] += started
    frame.attrs["started"] = started
    env = header.get("env_id") if header else None
    frame.attrs["env_id"] = env if isinstance(env, str) and env not in ("", "None") else None
    return frame, table.cut


def _read_progress(path: Path, name: str, options: ReadOptions) -> SourceRun | Skipped:
    table = read_log(path)
    chosen = chosen_columns(table, NAMES, options)
    if isinstance(chosen, str):
        return Skipped(name, chosen)
    rows, steps = curve_rows(table, chosen)
    back = np.flatnonzero(np.diff(steps) < 0)
    if len(back):
        # The file does not say whether the same agent continued, so that steps add up, or a new one began.
        raise InputError(
            f"{path}, row {rows.index[back[0] + 1]}: {chosen['interactions']} starts again at "
            f"{steps[back[0] + 1]:g}; split the file there, and train on with reset_num_timesteps=False.",
            code="unordered_rows",
        )
    return SourceRun(name, str(path), rows, counts={"unfinished": int(table.cut)})
