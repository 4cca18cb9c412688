"""The runs of a sweep that a store lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rlscale.scaling.config.run import RunConfig, run_config
from rlscale.scaling.errors import DamagedRun
from rlscale.sweeps.store.names import CURVE
from rlscale.sweeps.store.records import RunRecord
from rlscale.sweeps.store.run_store import RunStore


def to_do(
    configs: Sequence[RunConfig], store: RunStore, sweep: str
) -> tuple[list[RunConfig], list[RunRecord]]:
    """(runs that are missing, runs that failed earlier): done ones are in neither.

    A run that is marked running is also missing: its worker is gone or, if it still lives, loses
    its lease to the new attempt. So is one whose files are damaged. One listing shows which runs are done,
    so only the records of the others are read.

    Raises:
        DamagedRun: if a file in the place of a run is of another run or a later version.
    """
    files = store.file_names(sweep)
    done = {
        config.run_id
        for config in configs
        if CURVE in files.get(config.run_id, ()) and _has_whole_curve(store, sweep, config.run_id)
    }
    begun = [c.run_id for c in configs if c.run_id in files and CURVE not in files[c.run_id]]
    records = list(store.read_runs(sweep, begun, pass_over, files))
    done |= {record.run_id for record in records if record.status == "done"}
    failed = {record.run_id: record for record in records if record.status == "failed"}
    missing = [config for config in configs if config.run_id not in done and config.run_id not in failed]
    return missing, list(failed.values())


def lengths_to_do(
    wanted: Sequence[tuple[RunConfig, int]], store: RunStore, sweep: str
) -> tuple[list[tuple[RunConfig, int]], list[RunRecord], int]:
    """(runs that are not as long as wanted, records of those that failed, how many are).

    Args:
        wanted: configs, each with the interactions to train for.

    Raises:
        DamagedRun: as ``to_do``.
    """
    missing, failed = to_do([config for config, _ in wanted], store, sweep)
    begun = {
        record.run_id: record for record in store.read_runs(sweep, [c.run_id for c in missing], pass_over)
    }

    def is_there(config: RunConfig, until: int) -> bool:
        record = begun.get(config.run_id)
        return record is not None and record.status == "paused" and record.interactions >= until

    lacking = {config.run_id for config in missing}
    to_train = [(c, until) for c, until in wanted if c.run_id in lacking and not is_there(c, until)]
    return to_train, failed, len(wanted) - len(to_train) - len(failed)


def to_retry(
    store: RunStore, sweep: str, wanted: Mapping[str, RunConfig]
) -> tuple[list[RunConfig], list[DamagedRun]]:
    """Runs that failed or whose files are damaged, and those of the latter of which no config is left.

    Args:
        wanted: the runs of the sweep's spec by id; of a damaged run nothing else may tell the config.

    Raises:
        DamagedRun: as ``to_do``.
    """
    found: list[DamagedRun] = []

    def on_damage(error: DamagedRun) -> None:
        pass_over(error)
        found.append(error)

    configs = [
        run_config(record.config, source=f"run {record.run_id}")
        for record in store.read_runs(sweep, store.run_ids(sweep), on_damage, store.file_names(sweep))
        if record.status == "failed"
        or (record.status == "done" and not _has_whole_curve(store, sweep, record.run_id))
    ]
    configs += [wanted[error.run_id] for error in found if error.run_id in wanted]
    return configs, [error for error in found if error.run_id not in wanted]


def _has_whole_curve(store: RunStore, sweep: str, run_id: str) -> bool:
    try:
        store.check_curve_ends(sweep, run_id)
    except DamagedRun:
        return False
    return True


def pass_over(error: DamagedRun) -> None:
    """Accept a damaged run, which a new attempt repairs or does again.

    Raises:
        DamagedRun: if it may not be done again.
    """
    if not error.may_be_redone:
        raise error
