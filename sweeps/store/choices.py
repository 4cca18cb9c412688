"""The choices that users have in reading a table. Imports nothing heavy: the command line starts with it."""

from __future__ import annotations

from typing import Literal

#: What to do with rows of one run at one E: refuse them, average them, or keep the last.
Duplicates = Literal["error", "mean", "last"]
#: How to choose, for messages.
HOW_TO_MERGE = (
    "keep one of them, average them with --duplicates mean, or take the last with --duplicates last"
)
#: What ``--run-columns`` says where no column tells runs apart because each row is a run.
EACH_ROW = "each-row"
