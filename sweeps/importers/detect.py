"""Detection of the program that wrote a file or folder of curves."""

from __future__ import annotations

import csv
from pathlib import Path

from rlscale.scaling.errors import InputError
from rlscale.scaling.files import require_file
from rlscale.sweeps.importers.readers import sb3, wandb
from rlscale.sweeps.importers.readers.runs import FORMATS, Format, folders_with, listed
from rlscale.sweeps.importers.readers.tensorboard import is_event_file
from rlscale.sweeps.store.table_files import kind_of

_FILES_ONLY = ("csv", "parquet", "jsonl", "wandb")
_HEADER_BYTES = 1 << 20


def find_format(source: Path, asked: str | None) -> tuple[Format, str]:
    """The format of a source, and a sentence that states it.

    Raises:
        InputError: if the source does not exist, has no known format, or cannot have the format ``asked``.
    """
    if asked is not None and asked not in FORMATS:
        raise InputError(f"--format {asked}: choose one of {', '.join(FORMATS)}.", code="unknown_choice")
    if not source.exists():
        raise InputError(
            f"{source} does not exist; give a file of curves or a folder of runs.", code="missing_file"
        )
    if source.is_dir() and any(source.glob("sweep=*/run=*/")):
        raise InputError(
            f"{source} is a store already; give it to fit, report or curves export as it is.",
            code="already_a_store",
        )
    if asked is not None:
        if source.is_dir() and asked in _FILES_ONLY:
            raise InputError(f"{source} is a folder; --format {asked} needs one file.", code="not_a_file")
        return asked, f"{source} is read as {asked}."
    if source.is_file():
        found = _of_file(source)
        return found, f"{source} is read as {found}, as its content suggests."
    kinds = _of_folder(source)
    if not kinds:
        raise InputError(
            f"{source} holds no event files, monitor.csv or progress.csv; "
            f"give a folder with a folder for each run, or one CSV, Parquet or JSON lines file.",
            code="no_curves",
        )
    also = f"; --format would choose what is also there: {listed(kinds[1:])}" if kinds[1:] else ""
    return kinds[0], f"{source} is read as {kinds[0]}, as its content suggests{also}."


def _of_file(path: Path) -> Format:
    if is_event_file(path.name):
        return "tensorboard"
    head = _head(path)
    if sb3.is_monitor(path.name) or head.startswith(b"#{"):
        return "sb3"
    kind = kind_of(path)
    if kind != "csv":
        return kind
    header = _header(head)
    if wandb.is_wide(header):
        return "wandb"
    return _of_progress(header) or ("wandb" if wandb.is_long(header) else "csv")


def _of_folder(folder: Path) -> list[Format]:
    """The formats in a folder, the one that holds most about its runs first."""
    found: set[Format] = set()
    for place in folders_with(folder, lambda name: name == sb3.PROGRESS):
        kind = _of_progress(_header(_head(place / sb3.PROGRESS)))
        if kind:
            found.add(kind)
    if folders_with(folder, sb3.is_monitor):
        found.add("sb3")
    if folders_with(folder, is_event_file):
        found.add("tensorboard")
    order: tuple[Format, ...] = ("rllib", "sb3", "tensorboard")
    return [kind for kind in order if kind in found]


def _of_progress(header: list[str]) -> Format | None:
    if any(name in header for name in sb3.NAMES["interactions"]):
        return "sb3"
    return "rllib" if "training_iteration" in header else None


def _head(path: Path) -> bytes:
    try:
        require_file(path)
        with path.open("rb") as file:
            return file.read(_HEADER_BYTES)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", code="unreadable_file") from error


def _header(head: bytes) -> list[str]:
    """The cells of the first line, if it can be parsed; the reader checks the rest."""
    lines = head.decode("utf-8-sig", errors="replace").splitlines()
    try:
        return next(csv.reader(lines[:1]), [])
    except csv.Error:
        return []
