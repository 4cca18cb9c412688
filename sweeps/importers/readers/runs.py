"""What all readers of curves from elsewhere share: runs as found, before any check."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rlscale.scaling.errors import InputError
from rlscale.sweeps.store.choices import Duplicates

Format = Literal["csv", "parquet", "jsonl", "tensorboard", "wandb", "sb3", "rllib"]
FORMATS: tuple[Format, ...] = get_args(Format)
Repeats = Literal["refuse", "average", "last"]

#: How rows were changed, by kind: a phrase that follows the number of rows.
COUNTED = {
    "before": "left out: they are at step 0, before training",
    "averaged": "averaged with others of their run at the same step",
    "again": "left out: a later attempt logged the same steps again",
    "unfinished": "left out: they were cut off at the end of a file",
    "last": "left out: a later row of their run has the same step",
    "rounded": "moved to the nearest step: their step is not a whole number",
}


@dataclass(frozen=True)
class ReadOptions:
    """How to read a source.

    Attributes:
        columns: names in the source for names of the schema, e.g. ``{"num_params": "n"}``.
        tag: the metric to use as the return, for sources that log several.
        run_columns: of a tidy file, columns that together tell runs apart.
        duplicates: of a tidy file, what to do with rows of one run at one step.

    Raises:
        InputError: if both name the return.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    tag: str | None = None
    run_columns: tuple[str, ...] = ()
    duplicates: Duplicates = "error"

    def __post_init__(self) -> None:
        if self.tag is not None and "return_mean" in self.columns:
            raise InputError(
                "--tag and --columns return_mean=... both name the return; give one of them.",
                code="conflicting_options",
            )

    @property
    def asked(self) -> dict[str, str]:
        """Names in the source for names of the schema, the tag among them."""
        return dict(self.columns) | ({} if self.tag is None else {"return_mean": self.tag})


@dataclass(frozen=True)
class SourceRun:
    """One run as a reader found it, before any check.

    Attributes:
        name: the run's name in the source.
        where: file or folder, for messages.
        rows: curve columns of the schema, ``interactions`` and ``return_mean`` at least; the index
            is the number of the row in the source, from 1.
        facts: run columns that the source states.
        hints: run columns that the source suggests, used where nothing else states them.
        sweep: the sweep that the source names, if any.
        repeats: whether a step that occurs twice is an error, or its rows are averaged into one, or the last
            values given for it count.
        drops_step_0: whether rows at step 0, from before training, are left out; otherwise they are an error.
        counts: rows that the reader changed, by the keys of ``COUNTED``.
    """

    name: str
    where: str
    rows: pd.DataFrame = field(repr=False)
    facts: Mapping[str, Any] = field(default_factory=dict)
    hints: Mapping[str, Any] = field(default_factory=dict)
    sweep: str | None = None
    repeats: Repeats = "average"
    counts: Mapping[str, int] = field(default_factory=dict)
    drops_step_0: bool = True


@dataclass(frozen=True)
class Skipped:
    """A run of the source that has no curve."""

    name: str
    reason: str


@dataclass(frozen=True)
class Parsed:
    """All that a reader found in a source."""

    runs: tuple[SourceRun, ...]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()


def read_folders(
    source: Path, marker: Callable[[str], bool], read: Callable[[Path, str], SourceRun | Skipped]
) -> tuple[list[SourceRun], list[Skipped]]:
    """Apply ``read(folder, name)`` to every folder in ``source`` with a file whose name ``marker`` accepts.

    A run is named by its folder's path within ``source``, or by the folder itself if that is
    ``source``. If ``source`` is a file, its folder is the only run.
    """
    root = source if source.is_dir() else source.parent
    runs: list[SourceRun] = []
    skipped: list[Skipped] = []
    for folder in [root] if source.is_file() else folders_with(root, marker):
        name = root.resolve().name if folder == root else folder.relative_to(root).as_posix()
        found = read(folder, name or "run")
        if isinstance(found, SourceRun):
            runs.append(found)
        else:
            skipped.append(found)
    return runs, skipped


def folders_with(root: Path, marker: Callable[[str], bool]) -> list[Path]:
    """Folders in and below ``root`` that hold a file whose name ``marker`` accepts, sorted.

    Raises:
        InputError: if a folder cannot be listed.
    """

    def refuse(error: OSError) -> None:
        raise InputError(
            f"{error.filename} cannot be listed: {error.strerror}.", code="unreadable_file"
        ) from error

    return sorted(
        Path(folder)
        for folder, _, files in os.walk(root, onerror=refuse)
        if any(marker(name) and Path(folder, name).is_file() for name in files)
    )


def files_with(folder: Path, marker: Callable[[str], bool]) -> list[Path]:
    """Files in ``folder`` whose name ``marker`` accepts, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.is_file() and marker(path.name))


def not_done_again(steps: NDArray[np.float64], *, once: bool) -> NDArray[np.bool_]:
    """Which rows, in the order in which they were logged, were not logged again by a later attempt.

    Training that resumes from a checkpoint logs some steps again; the later rows count. An attempt begins
    where the steps go back, and replaces all earlier rows from its first step on. With ``once``, an attempt
    logs no step twice, so a repeated step begins an attempt too.
    """
    begins = np.append(False, np.diff(steps) <= 0 if once else np.diff(steps) < 0)[: len(steps)]
    firsts = np.where(begins, steps, np.inf)
    later = np.minimum.accumulate(np.append(firsts[1:], np.inf)[::-1])[::-1][: len(steps)]
    return steps < later


def listed(names: Iterable[object], most: int = 8) -> str:
    """The first names, and how many more there are."""
    everything = [str(name) for name in names]
    more = f" and {len(everything) - most} more" if len(everything) > most else ""
    return ", ".join(everything[:most]) + more if everything else "none"


def one_line(text: str) -> str:
    """The text without line breaks and control characters, which names in a source may contain."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def plural(count: int, noun: str) -> str:
    """``1 row``, ``2 rows``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
