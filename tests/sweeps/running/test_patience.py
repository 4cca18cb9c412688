"""A run waits for its store and loses nothing."""

import resource
import threading

import pytest

from rlscale.scaling.errors import LeaseLost, StoreUnavailable
from rlscale.sweeps.running.patience import PatientWriter, patient


class FullDisk:
    """No file can grow beyond 100 bytes, as on a full disk, until ``free`` was called n times."""

    def __init__(self, times: int) -> None:
        self.problems = []
        self._times = times

    def __enter__(self):
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, self._before[1]))
        return self

    def free(self, problem: str) -> None:
        self.problems.append(problem)
        if len(self.problems) == self._times:
            self.__exit__()

    def __exit__(self, *_) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._before)


def steps(store):
    return store.read_curve("s", "r1").column("interactions").to_pylist()


def test_what_could_not_be_written_is_written_once_there_is_room(store, claim, rows_of):
    with FullDisk(times=2) as disk:
        patiently = patient(60.0, stop=threading.Event(), on_wait=disk.free)
        with pytest.raises(StoreUnavailable):
            claim(store)
        writer = patiently(lambda: claim(store))
        assert len(disk.problems) == 2
        assert all("File too large" in problem for problem in disk.problems)
    writer.drop_after(-1)
    with FullDisk(times=1) as disk:
        patiently = patient(60.0, stop=threading.Event(), on_wait=disk.free)
        PatientWriter(writer, patiently).write_segment(
            0, rows_of(0, 3), b"state", interactions=300, wall_seconds=1.0
        )
        assert len(disk.problems) == 1
    assert steps(store) == [100, 200, 300]
    assert list(writer.checkpoints()) == [(0, b"state")]
    with FullDisk(times=1) as disk:
        PatientWriter(writer, patient(60.0, stop=threading.Event(), on_wait=disk.free)).finish()
    assert store.read_run("s", "r1").status == "done"
    assert steps(store) == [100, 200, 300]


@pytest.mark.parametrize("ending", ["no patience", "asked to stop"])
def test_patience_ends_with_the_stores_problem(store, claim, rows_of, ending):
    stop = threading.Event()
    patiently = patient(
        0.0 if ending == "no patience" else 1e6, stop=stop, on_wait=lambda problem: stop.set()
    )
    writer = PatientWriter(claim(store), patiently)
    with FullDisk(times=9), pytest.raises(StoreUnavailable, match="File too large"):
        writer.write_segment(0, rows_of(0, 3), b"state", interactions=300, wall_seconds=1.0)
    assert steps(store) == []


def test_only_the_store_is_waited_for(store, claim):
    old = claim(store)
    claim(store)
    patiently = patient(1e6, stop=threading.Event())
    with pytest.raises(LeaseLost):
        PatientWriter(old, patiently).drop_after(-1)
