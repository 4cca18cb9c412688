"""A power failure at any moment: what was not flushed is gone or empty, and the run goes on."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from attempts import claim_run

from rlscale.scaling.config.run import run_config
from rlscale.scaling.training.train import train
from rlscale.sweeps.store.check import check_sweep
from rlscale.sweeps.store.run_store import RunStore, rows_equal

CONFIG = run_config(
    {"task": "digits-bandit", "interactions": 3000, "checkpoints": 4, "model": {"width": 0.02}}, source="test"
)
Files = dict[str, bytes]  # content by path below the store


@dataclass
class Disk:
    """What a disk holds for good of a folder, from the calls that flush files and folders.

    Attributes:
        names: of each flushed folder, the inodes of its entries by name.
        contents: of each flushed file, by inode.
    """

    root: Path
    names: dict[int, dict[str, int]] = field(default_factory=dict)
    contents: dict[int, bytes] = field(default_factory=dict)

    def flushed(self, descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        inode = os.fstat(descriptor).st_ino
        if path.is_dir():
            self.names[inode] = {each.name: each.stat().st_ino for each in path.iterdir()}
        else:
            self.contents[inode] = path.read_bytes()

    def without_what_was_not_flushed(self) -> Files:
        """Names that were not flushed are as before, so a removed file is there again."""

        def below(inode: int, place: str) -> Iterator[tuple[str, bytes]]:
            for name, entry in self.names.get(inode, {}).items():
                path = f"{place}{name}"
                if entry in self.contents or "." in name:
                    yield path, self.contents.get(entry, b"")
                else:
                    yield from below(entry, f"{path}/")

        return dict(below(self.root.stat().st_ino, ""))

    def with_the_names_that_were_not_flushed(self) -> Files:
        """Files have the names that they had at the moment, but no content that was not flushed."""
        files = (path for path in self.root.rglob("*") if path.is_file())
        return {
            str(path.relative_to(self.root)): self.contents.get(path.stat().st_ino, b"") for path in files
        }


def attempt(store: RunStore):
    """Train the run to its end; returns the writer."""
    writer = claim_run(store, CONFIG, "s")
    assert train(CONFIG, writer) == "done"
    return writer


@pytest.fixture(scope="module")
def failures(tmp_path_factory) -> tuple[dict[frozenset, int], RunStore]:
    """Every state in which a power failure could leave the store, with the interactions stored by then."""
    place = tmp_path_factory.mktemp("power") / "store"
    place.mkdir()
    disk, states = Disk(place), dict[frozenset, int]()
    stored = 0

    def look() -> None:
        nonlocal stored
        record = RunStore(place).read_run("s", CONFIG.run_id)
        stored = record.interactions if record and record.segments else stored
        for files in (disk.without_what_was_not_flushed(), disk.with_the_names_that_were_not_flushed()):
            states.setdefault(frozenset(files.items()), stored)

    with pytest.MonkeyPatch.context() as patch:
        fsync, replace = os.fsync, os.replace

        def watched_fsync(descriptor: int) -> None:
            fsync(descriptor)
            disk.flushed(descriptor)
            look()

        def watched_replace(*paths: str) -> None:
            replace(*paths)
            look()

        patch.setattr(os, "fsync", watched_fsync)
        patch.setattr(os, "replace", watched_replace)
        store = RunStore(place)
        attempt(store)
    return states, store


def test_after_a_power_failure_at_any_moment_the_run_goes_on_and_its_curve_is_the_same(failures, tmp_path):
    states, undisturbed = failures
    assert len(states) > 30
    expected = undisturbed.read_curve("s", CONFIG.run_id)
    interval = CONFIG.interactions / CONFIG.checkpoints
    for number, (state, stored) in enumerate(states.items()):
        for path, content in state:
            file = tmp_path / str(number) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        store = RunStore(tmp_path / str(number), create=True)
        if not store.is_done("s", CONFIG.run_id):
            writer = attempt(store)
            assert writer.damaged == ()
            assert writer.record.attempts[-1].from_interactions >= stored - interval
        store.clean_sweep("s")
        assert rows_equal(store.read_curve("s", CONFIG.run_id), expected)
        assert list(check_sweep(store, "s")) == []


def test_a_file_that_was_written_is_on_the_disk_when_the_call_returns(failures):
    """Otherwise the test above would pass because nothing was lost."""
    states, _ = failures
    assert max(states.values()) >= CONFIG.interactions
    assert all(content for state in states for path, content in state if not path.endswith(".txt"))
