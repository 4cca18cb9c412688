"""What it costs that every file of a store is flushed to the disk before it counts.

A run of several checkpoints is written as a worker writes it, with its log, and with flushing and without
in turn; without, ``os.fsync`` does nothing, as in earlier versions. No training takes place. Medians of all
rounds, wall time: flushing waits for the disk.

    python benchmarks/store_flushing.py [--place DIR]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlscale.sweeps.store.run_log import logged
from rlscale.sweeps.store.run_store import RunStore

RESULTS = Path(__file__).parent / "results" / "store_flushing.json"
FEW, MANY = 2, 22  # checkpoints of a run: their difference tells the cost of one
ROUNDS = 15
SIZES = (100_000, 10_000_000)  # bytes of a checkpoint
ROWS = [
    {"interactions": 100 * (row + 1), "episodes": 100, "return_mean": row / 30, "wall_seconds": 1.0}
    for row in range(30)
]


@contextmanager
def without_flushing() -> Iterator[None]:
    flush = os.fsync
    os.fsync = lambda descriptor: None  # type: ignore[assignment]
    try:
        yield
    finally:
        os.fsync = flush


def seconds_of_a_run(place: Path, checkpoints: int, size: int) -> float:
    store = RunStore(place, create=True)
    began = time.perf_counter()
    writer = store.claim(
        "s",
        "r",
        config={"interactions": 1},
        columns={"num_params": 1},
        provenance={},
        host="here",
        pid=os.getpid(),
    )
    with logged(writer) as written:
        for index in range(checkpoints):
            written.write_segment(index, ROWS, bytes(size), interactions=index + 1, wall_seconds=1.0)
        written.finish()
    took = time.perf_counter() - began
    shutil.rmtree(place)
    return took


def measure(place: Path, size: int) -> dict[str, Any]:
    seconds: dict[tuple[bool, int], list[float]] = {}
    for _ in range(ROUNDS):
        for checkpoints in (FEW, MANY):
            seconds.setdefault((True, checkpoints), []).append(seconds_of_a_run(place, checkpoints, size))
            with without_flushing():
                seconds.setdefault((False, checkpoints), []).append(
                    seconds_of_a_run(place, checkpoints, size)
                )
    found: dict[str, Any] = {"checkpoint_bytes": size}
    for name, flushed in (("flushed", True), ("not flushed", False)):
        few, many = (statistics.median(seconds[flushed, each]) for each in (FEW, MANY))
        of_one = (many - few) / (MANY - FEW)
        found[name] = {"ms_per_checkpoint": 1e3 * of_one, "ms_per_run": 1e3 * (few - FEW * of_one)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--place", type=Path, help="folder on the disk to measure; default: the temporary one"
    )
    place = parser.parse_args().place
    with tempfile.TemporaryDirectory(dir=place) as folder:
        found = [measure(Path(folder) / "store", size) for size in SIZES]
    for each in found:
        print(json.dumps(each))
    machine = {"system": platform.platform(), "rounds": ROUNDS}
    RESULTS.write_text(json.dumps({"machine": machine, "sizes": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
