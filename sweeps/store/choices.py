"""The choices that users have in reading a table. Imports nothing heavy: the command line starts with it."""

from __future__ import annotations

from typing import Literal

from rlscale.scaling.wording import either

#: What to do with rows of one run at one E: refuse them, average them, or keep the last.
Duplicates = Literal["error", "mean", "last"]
#: What ``--run-columns`` says where no column tells runs apart because each row is a run.
EACH_ROW = "each-row"


def how_to_merge() -> str:
    """How to choose what becomes of duplicates, for messages."""
    mean, last = (either(f"--duplicates {name}", f"duplicates={name!r}") for name in ("mean", "last"))
    return f"keep one of them, average them with {mean}, or take the last with {last}"
