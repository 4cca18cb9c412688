"""The runs of a sweep that a store lacks."""

from __future__ import annotations

from collections.abc import Sequence

from rlscale.scaling.config.run import RunConfig
from rlscale.sweeps.store.names import CURVE
from rlscale.sweeps.store.records import RunRecord
from rlscale.sweeps.store.run_store import RunStore


def to_do(
    configs: Sequence[RunConfig], store: RunStore, sweep: str
) -> tuple[list[RunConfig], list[RunRecord]]:
    """(runs that are missing, runs that failed earlier): done ones are in neither.

    A run that is marked running is also missing: its worker is gone or, if it still lives, loses
    its lease to the new attempt. One listing shows which runs are done, so only the records of the
    others are read.
    """
    files = store.file_names(sweep)
    unfinished = {c.run_id: c for c in configs if CURVE not in files.get(c.run_id, ())}
    begun = [run_id for run_id in unfinished if run_id in files]
    ended = {r.run_id: r for r in store.read_runs(sweep, begun) if r.status in ("done", "failed")}
    missing = [config for run_id, config in unfinished.items() if run_id not in ended]
    return missing, [record for record in ended.values() if record.status == "failed"]
