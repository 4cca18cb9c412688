"""Folders with the files that tasks read, each named by an environment variable."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DataFolder:
    """The folders that may hold the files of a data set.

    variable: environment variable that lists folders as PATH does, searched from first to last
    default: the folder that is searched last
    """

    variable: str
    default: Path

    def places(self, first: Path | None = None) -> list[Path]:
        """The folders in search order: ``first``, those of the variable, the default."""
        named = [Path(text) for text in os.environ.get(self.variable, "").split(os.pathsep) if text]
        return list(dict.fromkeys([*([first] if first else []), *named, self.default]))

    def put_first(self, folder: Path | None) -> None:
        """Make this process and its children search ``folder`` first; None changes nothing."""
        named = os.environ.get(self.variable, "")
        if folder is not None and named.split(os.pathsep)[0] != str(folder):
            os.environ[self.variable] = os.pathsep.join(filter(None, [str(folder), named]))


MNIST = DataFolder("RLSCALE_MNIST_DIR", Path("data/mnist"))
