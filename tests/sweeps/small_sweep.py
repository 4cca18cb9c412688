"""A sweep of small runs, watched during faults and checked at its end."""

import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

from rlscale.sweeps.store.records import RunRecord
from rlscale.sweeps.store.run_store import RunStore, rows_equal

NAME = "small"
INTERACTIONS, CHECKPOINTS = 60_000, 10
SEEDS, ALL_SEEDS = range(3), range(5)


def spec_of(**changes) -> dict:
    """One run for each of ``SEEDS``; ``changes`` replace fields of the spec."""
    base = {
        "task": "digits-bandit",
        "interactions": INTERACTIONS,
        "checkpoints": CHECKPOINTS,
        "model": {"width": 0.05},
    }
    return {"name": NAME, "base": base, "axes": {"seed": list(SEEDS)}, **changes}


def records(place: Path) -> list[RunRecord]:
    """The store's records of the sweep's runs; empty if the store does not have the sweep yet."""
    return list(RunStore(place).runs(NAME)) if (place / f"sweep={NAME}").is_dir() else []


def under_way(place: Path, runs: int = len(SEEDS)) -> list[RunRecord] | None:
    """The records of the running ones, once so many have stored a first segment in their last attempt."""
    found = [each for each in records(place) if each.status == "running"]
    found = [each for each in found if each.interactions > each.attempts[-1].from_interactions]
    return found if len(found) >= runs else None


class AllAtOnce:
    """The records of the running runs, once so many fulfil a condition at the same time.

    Each one is frozen as soon as it does and goes on once all do; otherwise, the first might be done on a
    fast machine before the last has begun.
    """

    def __init__(
        self,
        place: Path,
        runs: int = len(SEEDS),
        condition: Callable[[RunRecord], bool] = lambda record: True,
    ) -> None:
        self._place, self._runs, self._condition = place, runs, condition
        self._frozen: set[int] = set()

    def __call__(self) -> list[RunRecord] | None:
        ready = [record for record in under_way(self._place, 1) or [] if self._condition(record)]
        for worker in {worker_of(record) for record in ready} - self._frozen:
            os.kill(worker, signal.SIGSTOP)
            self._frozen.add(worker)
        if len(ready) < self._runs:
            return None
        found = under_way(self._place, self._runs)  # as they are now that all are frozen
        for worker in self._frozen:
            os.kill(worker, signal.SIGCONT)
        return found


def worker_of(record: RunRecord) -> int:
    """The process of a run's last attempt."""
    return record.attempts[-1].pid


def assert_as_if_nothing_had_happened(
    place: Path, undisturbed: RunStore, seen: Iterable[RunRecord] = (), *, seeds: Iterable[int] = SEEDS
) -> None:
    """Every run is done, bit for bit as undisturbed, and nothing but its curve and record is left.

    ``seen`` are records as they were right before a fault: an attempt that followed must have gone on
    from there or later, so at most one interval between checkpoints was done again.
    """
    store = RunStore(place)
    done = {record.run_id: record for record in store.runs(NAME)}
    wanted = [record for record in undisturbed.runs(NAME) if record.config["seed"] in seeds]
    assert set(done) == {record.run_id for record in wanted}
    for record in done.values():
        assert (record.status, record.reason) == ("done", None)
        assert record.attempts[-1].outcome == "done"
        assert_curve_is_undisturbed(store, undisturbed, record.run_id)
    assert_no_leftovers(place)
    for before in seen:
        for attempt in done[before.run_id].attempts[len(before.attempts) :]:
            assert attempt.from_interactions >= before.interactions


def assert_curve_is_undisturbed(store: RunStore, undisturbed: RunStore, run_id: str) -> None:
    curve = store.read_curve(NAME, run_id)
    steps = curve.column("interactions").to_pylist()
    assert steps == sorted(set(steps))
    assert rows_equal(curve, undisturbed.read_curve(NAME, run_id))


def assert_no_leftovers(place: Path) -> None:
    """No temporary file anywhere, and of done runs nothing but their curves, records and logs."""
    assert [path for path in place.rglob(".*") if path.is_file()] == []
    for curve in place.rglob("curve.parquet"):
        names = {path.name for path in curve.parent.iterdir() if not path.name.startswith("log-")}
        assert names == {"curve.parquet", "run.json"}
