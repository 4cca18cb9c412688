"""TensorBoard event files: one folder a run; all logged scalars are read, without sampling.

TensorBoard calls the x value a step and leaves its meaning to the program; here it must be environment
steps, or a multiple of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rlscale.scaling.errors import InputError
from rlscale.scaling.files import require_file
from rlscale.sweeps.importers.readers.runs import (
    Parsed,
    ReadOptions,
    Skipped,
    SourceRun,
    files_with,
    folders_with,
    listed,
    plural,
)

#: Tags that hold the return, in the order in which they are tried.
USUAL_TAGS = (
    "rollout/ep_rew_mean",  # stable-baselines3
    "charts/episodic_return",  # CleanRL
    "ray/tune/env_runners/episode_return_mean",  # RLlib
    "ray/tune/env_runners/episode_reward_mean",
    "ray/tune/episode_reward_mean",
    "Environment/Cumulative Reward",  # ML-Agents
    "rewards/step",  # rl_games
    "eval/mean_reward",  # evaluations of stable-baselines3
)
#: Ray Tune's newer logs count iterations as steps and log environment steps as a scalar.
RAY_PREFIX, RAY_STEPS = "ray/tune/", "ray/tune/num_env_steps_sampled_lifetime"


@dataclass(frozen=True)
class EventFile:
    """The scalars of one file: tag to (steps, values), in the order in which they were written.

    ``cut`` says whether the file ends within an event, which is then left out.
    """

    path: Path
    started: float
    scalars: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
    cut: bool = False


def is_event_file(name: str) -> bool:
    """Whether TensorBoard regards a file of this name as an event file."""
    return "tfevents" in name


def read_tensorboard(source: Path, options: ReadOptions) -> Parsed:
    """Read a folder of runs, or one event file.

    Several files of one run are its attempts: a later file replaces the rows from its first step on.

    Raises:
        InputError: if TensorBoard is not installed, a file cannot be read, or no run has the tag.
    """
    if options.columns:
        raise InputError(
            "--columns is for tables; choose the return of event files with --tag.",
            code="conflicting_options",
        )
    root = source if source.is_dir() else source.parent
    runs: dict[str, list[EventFile]] = {}
    for folder in [root] if source.is_file() else folders_with(root, is_event_file):
        name = root.resolve().name if folder == root else folder.relative_to(root).as_posix()
        paths = [source] if source.is_file() else files_with(folder, is_event_file)
        runs[name or "run"] = sorted(map(read_events, paths), key=lambda file: (file.started, file.path.name))
    tag, notes = _choose_tag(options.tag, runs, source)
    found, skipped = [], []
    for name, files in runs.items():
        run = _run(name, files, tag)
        if isinstance(run, SourceRun):
            found.append(run)
        else:
            skipped.append(run)
    return Parsed(tuple(found), tuple(skipped), (*notes, *_notes_on_steps(tag, runs)))


def read_events(path: Path) -> EventFile:
    """Every scalar of one event file, stored as a simple value or as a tensor.

    Raises:
        InputError: if TensorBoard is not installed or the file is not an event file.
    """
    try:
        from tensorboard.backend.event_processing import event_accumulator as events
        from tensorboard.util import tensor_util
    except ModuleNotFoundError as error:
        raise InputError(
            "Event files need TensorBoard; install it with: pip install 'rlscale[tensorboard]'",
            code="missing_package",
        ) from error
    if path.stat().st_size == 0:
        return EventFile(path, np.inf, {})  # the program ended before it logged anything
    try:
        # 0 keeps all events; steps that an attempt repeats are found by file, so nothing is purged here.
        everything = {events.SCALARS: 0, events.TENSORS: 0}
        accumulator = events.EventAccumulator(str(path), everything, purge_orphaned_data=False).Reload()
        points: dict[str, list[tuple[int, float]]] = {}
        for tag in accumulator.Tags()[events.SCALARS]:
            points[tag] = [(event.step, event.value) for event in accumulator.Scalars(tag)]
        for tag in accumulator.Tags()[events.TENSORS]:
            for event in accumulator.Tensors(tag):
                if _is_scalar(event.tensor_proto):
                    value = tensor_util.make_ndarray(event.tensor_proto).item()
                    points.setdefault(tag, []).append((event.step, value))
        scalars = {tag: _arrays(pairs) for tag, pairs in points.items()}
        started = accumulator.FirstEventTimestamp()
    except Exception as error:  # damaged bytes raise all kinds of exceptions in the reader
        problem = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{path} is not a readable event file: {problem}; remove it.", code="unreadable_file"
        ) from error
    return EventFile(path, started, scalars, _ends_amid_a_record(path))


def merged(files: Iterable[EventFile], tag: str) -> tuple[pd.DataFrame, int]:
    """The points of a tag from a run's files in order of time, and how many points were repeated."""
    parts: list[pd.DataFrame] = []
    again = 0
    for file in files:
        if tag not in file.scalars:
            continue
        steps, values = file.scalars[tag]
        before = [part[part["step"] < steps.min()] for part in parts]
        again += sum(map(len, parts)) - sum(map(len, before))
        parts = [*before, pd.DataFrame({"step": steps, "value": values})]
    return pd.concat(parts, ignore_index=True), again


def _run(name: str, files: list[EventFile], tag: str) -> SourceRun | Skipped:
    where = str(files[0].path.parent)
    if not any(tag in file.scalars for file in files):
        return Skipped(name, f"no tag {tag}; it has: {listed(_tags(files), 12)}")
    points, again = merged(files, tag)
    if _has_ray_steps(tag, files):
        counted = merged(files, RAY_STEPS)[0].drop_duplicates("step", keep="last").set_index("step")["value"]
        points = points[points["step"].isin(counted.index)]
        points = points.assign(step=counted.loc[points["step"]].to_numpy())
    rows = pd.DataFrame({"interactions": points["step"], "return_mean": points["value"]})
    rows.index = pd.RangeIndex(1, len(rows) + 1)
    return SourceRun(name, where, rows, counts={"again": again, "unfinished": sum(f.cut for f in files)})


def _choose_tag(
    asked: str | None, runs: Mapping[str, list[EventFile]], source: Path
) -> tuple[str, tuple[str, ...]]:
    there = sorted({tag for files in runs.values() for tag in _tags(files)})
    if asked is not None:
        if asked not in there:
            raise InputError(
                f"{source} has no tag {asked!r}; it has: {listed(there, 40)}.", code="missing_column"
            )
        return asked, ()
    usual = [tag for tag in USUAL_TAGS if tag in there]
    if not usual:
        raise InputError(
            f"{source} has none of the usual tags of a return; choose one with --tag; "
            f"it has: {listed(there, 40)}.",
            code="missing_column",
        )
    others = f"; --tag would choose another: {listed(usual[1:])}" if usual[1:] else ""
    return usual[0], (f"The return is the tag {usual[0]}{others}.",)


def _notes_on_steps(tag: str, runs: Mapping[str, list[EventFile]]) -> tuple[str, ...]:
    if not tag.startswith(RAY_PREFIX):
        return ()
    without = [name for name, files in runs.items() if not _has_ray_steps(tag, files)]
    if without:
        return (
            f"{plural(len(without), 'run')} without the tag {RAY_STEPS}: their steps may count iterations, "
            f"not environment steps.",
        )
    return (f"Interactions are the tag {RAY_STEPS}, because Ray's own steps may count iterations.",)


def _has_ray_steps(tag: str, files: list[EventFile]) -> bool:
    return tag.startswith(RAY_PREFIX) and any(RAY_STEPS in file.scalars for file in files)


def _tags(files: Iterable[EventFile]) -> list[str]:
    return sorted({tag for file in files for tag in file.scalars})


def _arrays(points: Iterable[tuple[int, float]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    pairs = np.array([(float(step), float(value)) for step, value in points], dtype=float)
    return pairs[:, 0], pairs[:, 1]


def _ends_amid_a_record(path: Path) -> bool:
    """Whether the last record is incomplete: records are a length (8 bytes), a checksum (4), data, 4 more."""
    size, end = path.stat().st_size, 0
    require_file(path)
    with path.open("rb") as file:
        while end + 8 <= size:
            file.seek(end)
            end += int.from_bytes(file.read(8), "little") + 16
    return end != size


def _is_scalar(tensor: Any) -> bool:
    from tensorboard.compat.proto import types_pb2

    texts = (types_pb2.DT_STRING, types_pb2.DT_INVALID)
    return tensor.dtype not in texts and all(d.size == 1 for d in tensor.tensor_shape.dim)
