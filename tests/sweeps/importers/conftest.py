"""Sources in the layout of the tools that write them, and what becomes of them in a store."""

from pathlib import Path

import pandas as pd
import pytest

from rlscale.sweeps.importers.importing import ImportOptions, import_curves
from rlscale.sweeps.importers.readers.runs import ReadOptions
from rlscale.sweeps.store.run_store import RunStore


@pytest.fixture
def imported(tmp_path):
    """Import a source into a store of the test; ``columns`` and ``tag`` are options of the reader."""

    def run(source, *, columns=None, tag=None, store=None, **options):
        read = ReadOptions(columns or {}, tag)
        return import_curves(source, store or tmp_path / "store", ImportOptions(read=read, **options))

    return run


@pytest.fixture
def curve(tmp_path):
    """(interactions, returns) of a stored run, None where there is no return."""

    def read(run_id: str, sweep: str = "imported"):
        table = RunStore(tmp_path / "store").read_curve(sweep, run_id)
        return table["interactions"].to_pylist(), table["return_mean"].to_pylist()

    return read


@pytest.fixture
def tidy(tmp_path):
    """Write a tidy table of three runs, its columns changed or left out (None), as CSV or Parquet."""

    def write(name: str = "curves.csv", **columns) -> Path:
        frame = pd.DataFrame(
            {
                "run_id": ["a", "a", "a", "b", "b", "c"],
                "num_params": [100, 100, 100, 200, 200, 400],
                "interactions": [10, 20, 30, 10, 20, 10],
                "return_mean": [0.1, 0.2, 0.3, 0.2, 0.3, 0.4],
            }
        )
        for column, values in columns.items():
            frame = frame.drop(columns=column) if values is None else frame.assign(**{column: values})
        path = tmp_path / name
        if name.endswith(".parquet"):
            frame.to_parquet(path, index=False)
        else:
            frame.to_csv(path, index=False)
        return path

    return write


@pytest.fixture
def sizes(tmp_path):
    """Write a mapping file."""

    def write(text: str, name: str = "sizes.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write
