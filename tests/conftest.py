"""Shared by tests of several folders: stores with made-up runs, ``rlscale`` as a user starts it, MNIST.

Hypothesis tests behaviour here, never time: a machine that is busy is no failure.
"""

import fcntl
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import command_line
import pytest
import yaml
from cluster import PATIENCE
from hypothesis import settings
from processes import Started
from small_sweep import ALL_SEEDS, NAME, spec_of

from rlscale.scaling.config.run import run_config
from rlscale.scaling.tasks.digits.images import MNIST_FILES
from rlscale.sweeps.specs.spec import expand, parse_spec
from rlscale.sweeps.store.run_store import RunStore

settings.register_profile("without a deadline", deadline=None)
settings.load_profile("without a deadline")

#: The tests' files are in memory where there is plenty: on a disk, a flush takes longer than what is flushed.
_MEMORY, _PLENTY = Path("/dev/shm"), 4 * 1024**3
if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _PLENTY:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files whose tests wait for clusters: at the end, others would have nothing to do."""
    slow = {item.path for item in items if item.get_closest_marker("ray")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True, scope="session")
def _busy_machine():
    """Ray's workers get their share of time beside other work, and Ray waits until its parts are there."""
    for name, value in {"RAY_worker_niceness": "0", **PATIENCE}.items():
        os.environ.setdefault(name, value)


@pytest.fixture
def start(tmp_path):
    """Start ``rlscale`` with the given arguments; ended with all its processes after the test."""
    started: list[Started] = []

    def begin(*arguments: object, env: Mapping[str, str] | None = None) -> Started:
        started.append(Started(arguments, tmp_path, env))
        return started[-1]

    yield begin
    for command in started:
        command.clean_up()


@pytest.fixture(scope="session")
def rlscale():
    """Run ``rlscale`` with the given arguments to its end."""
    return command_line.run


@pytest.fixture(scope="session")
def spec_file(tmp_path_factory):
    """A file with the spec of ``small_sweep``, some fields of it changed."""

    def write(**changes) -> Path:
        path = tmp_path_factory.mktemp("spec") / "small.yaml"
        path.write_text(yaml.safe_dump(spec_of(**changes)))
        return path

    return write


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, worker_id) -> RunStore:
    """The sweep of ``small_sweep`` with all its seeds, as it is when nothing happens to it.

    It is trained without Ray, once for all processes of pytest: each does the runs that no other is doing.
    ``test_sweep_commands`` shows that the curves are the same.
    """
    from attempts import claim_run

    from rlscale.scaling.training.train import train

    own = tmp_path_factory.getbasetemp()
    place = (own if worker_id == "master" else own.parent) / "undisturbed"
    store = RunStore(place, create=True)
    for whether_to_wait in (fcntl.LOCK_NB, 0):
        for config in expand(parse_spec(spec_of(axes={"seed": list(ALL_SEEDS)}), source="small_sweep")):
            with open(place.parent / f"{config.run_id}.lock", "w") as lock, suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | whether_to_wait)
                if not store.is_done(NAME, config.run_id):
                    writer = claim_run(store, config, NAME)
                    train(config, writer)
    return store


@pytest.fixture
def store(tmp_path) -> RunStore:
    return RunStore(tmp_path / "store", create=True)


@pytest.fixture(scope="session")
def config_of():
    """A small run's config with the given fields."""

    def make(**fields):
        return run_config({"task": "digits-bandit", "interactions": 1000, **fields}, source="test")

    return make


@pytest.fixture(scope="session")
def claim():
    """Claim a run of a store with made-up columns."""

    def begin(store, run_id="r1", *, sweep="s", config=None, columns=None, pid=1):
        return store.claim(
            sweep,
            run_id,
            config=config or {},
            columns={"num_params": 100, **(columns or {})},
            provenance={},
            host="here",
            pid=pid,
        )

    return begin


@pytest.fixture(scope="session")
def rows_of():
    """Made-up rows ``first`` .. ``last - 1``; the same number always gives the same row."""

    def make(first: int, last: int):
        return [
            {
                "interactions": 100 * (i + 1),
                "episodes": 100,
                "return_mean": None if i % 7 == 6 else 0.1 + i / 3,
                "return_std": None if i % 7 == 6 else 1e-300 / (i + 1),
                "episode_length_mean": 1.0,
                "wall_seconds": 0.1 * i,
                "train_flops": 1e18 + i,
                "entropy": 2.0 / (i + 1),
            }
            for i in range(first, last)
        ]

    return make


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """The folder with MNIST's four files; the test is skipped where there is none."""
    for folder in filter(None, (os.environ.get("RLSCALE_MNIST_DIR"), "data/mnist")):
        if all((Path(folder) / name).is_file() for name in MNIST_FILES):
            return Path(folder).resolve()
    pytest.skip("MNIST's files are not on this machine (RLSCALE_MNIST_DIR)")
