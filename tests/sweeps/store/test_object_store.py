"""Runs on an S3 server: what they cost, and failures; ``test_store.py`` has all that stores share."""

import itertools
import json
import os
import signal
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from attempts import claim_run
from object_store import CREDENTIALS, Cable, S3Server

from rlscale.scaling.config.run import run_config
from rlscale.scaling.errors import InputError, StoreUnavailable
from rlscale.scaling.training.train import train
from rlscale.sweeps.store.files import Files, check_location
from rlscale.sweeps.store.run_store import RunStore, rows_equal

CHECKPOINTS = 10
CONFIG = {
    "task": "digits-bandit",
    "interactions": 30_000,
    "checkpoints": CHECKPOINTS,
    "model": {"width": 0.05},
}
SEEDS = [0, 1]

pytestmark = pytest.mark.usefixtures("server")


def segment(writer, index, rows, checkpoint=b"state") -> None:
    writer.write_segment(
        index, rows, checkpoint, interactions=rows[-1]["interactions"], wall_seconds=float(index)
    )


def numbers(store) -> list[int]:
    return store.read_curve("s", "r1").column("interactions").to_pylist()


def names(store) -> list[str]:
    """Paths of the files of run r1; a log is the attempt's own and may stay."""
    return sorted(store.file_names("s").get("r1", ()))


# -- objects -------------------------------------------------------------------------


def test_both_kinds_of_store_hold_the_same_bits(server, claim, rows_of, tmp_path):
    stores = [
        RunStore(place, create=True) for place in (tmp_path / "store", server.uri(f"{server.bucket()}/store"))
    ]
    for store in stores:
        writer = claim(store)
        segment(writer, 0, rows_of(0, 30))
        writer.finish()
    here, there = (store.read_curve("s", "r1") for store in stores)
    assert there.equals(here)
    assert stores[1].read_curve("s", "r1", ["return_mean"]).equals(here.select(["return_mean"]))


class ReplacedMeanwhile:
    """A filesystem where an object is replaced, or removed, right after it was opened."""

    def __init__(self, fs, replace) -> None:
        self._fs, self._replace = fs, replace

    def __getattr__(self, name):
        return getattr(self._fs, name)

    def open_input_file(self, path):
        stream = self._fs.open_input_file(path)
        self._replace()
        return stream


@pytest.mark.parametrize("sizes", [[10, 1000], [1000, 10], [10, 20, 30]])
def test_an_object_that_is_replaced_while_it_is_read_is_read_whole(server, sizes):
    files = Files(server.uri(f"{server.bucket()}/store"))
    path, contents = f"{files.root}/x", [bytes([size % 251]) * size for size in sizes]
    files.write(path, contents.pop(0))

    def replace() -> None:
        if contents:
            writer.write(path, contents.pop(0))

    writer = Files(files.location)
    files.fs = ReplacedMeanwhile(files.fs, replace)
    assert files.read(path) == bytes([sizes[-1] % 251]) * sizes[-1]


def test_an_object_that_is_removed_while_it_is_read_is_not_there(server):
    files = Files(server.uri(f"{server.bucket()}/store"))
    path, writer = f"{files.root}/x", Files(files.location)
    files.write(path, b"x" * 1000)
    files.fs = ReplacedMeanwhile(files.fs, lambda: writer.delete(path))
    assert files.read(path) is None


def test_an_object_that_keeps_changing_is_reported(server):
    files = Files(server.uri(f"{server.bucket()}/store"))
    path, writer, size = f"{files.root}/x", Files(files.location), itertools.count(2)
    files.write(path, b"x")
    files.fs = ReplacedMeanwhile(files.fs, lambda: writer.write(path, bytes(next(size))))
    with pytest.raises(StoreUnavailable, match="keeps changing while it is read"):
        files.read(path)


# -- what it costs -----------------------------------------------------------------


def test_a_run_asks_at_most_the_documented_number_of_requests(server, claim, rows_of):
    store = RunStore(server.uri(f"{server.bucket()}/store"), create=True)
    for checkpoints in (2, 8):
        before = server.requests()
        writer = claim(store, f"r{checkpoints}")
        for index in range(checkpoints):
            segment(writer, index, rows_of(3 * index, 3 * index + 3), bytes(100_000))
        writer.finish()
        asked = server.requests() - before
        assert asked["PUT"] <= 4 + 5 * checkpoints
        assert asked["LIST"] <= 11 + 3 * checkpoints
        assert asked["GET"] + asked["HEAD"] <= 7 + 5 * checkpoints
        assert asked["DELETE"] + asked["POST"] <= 1 + 2 * checkpoints


# -- what goes wrong ---------------------------------------------------------------


def test_a_server_that_goes_away_is_reported_and_once_it_is_back_the_same_call_works(server, claim, rows_of):
    cable = Cable(server.port)
    bucket = server.bucket()
    store = RunStore(server.uri(f"{bucket}/store", port=cable.port), create=True)
    writer = claim(store)
    segment(writer, 0, rows_of(0, 3), b"zero")
    cable.pull()
    with pytest.raises(StoreUnavailable, match=r"cannot be (read|written).*; check the network"):
        segment(writer, 1, rows_of(3, 5), bytes(20 * 10**6))
    reader = RunStore(server.uri(f"{bucket}/store"))  # by another way
    assert numbers(reader) == [100, 200, 300]
    cable.plug()
    segment(writer, 1, rows_of(3, 5), bytes(20 * 10**6))
    writer.finish()
    assert numbers(reader) == [100, 200, 300, 400, 500]
    assert names(reader) == ["curve.parquet", "run.json"]


def test_an_upload_that_breaks_off_is_never_half_a_file(server, claim, rows_of):
    cable = Cable(server.port)
    bucket = server.bucket()
    store = RunStore(server.uri(f"{bucket}/store", port=cable.port), create=True)
    writer = claim(store)
    segment(writer, 0, rows_of(0, 3), b"zero")
    cable.break_after(30 * 10**6)
    with pytest.raises(StoreUnavailable):
        segment(writer, 1, rows_of(3, 5), os.urandom(60 * 10**6))
    reader = RunStore(server.uri(f"{bucket}/store"))
    assert [name for name in names(reader) if name.startswith("checkpoint/000001")] == []
    assert numbers(reader) == [100, 200, 300]


def refused(done, *words: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("rlscale: ")
    for word in words:
        assert word in line
    assert "Traceback" not in done.stdout


@pytest.fixture
def spec(tmp_path) -> Path:
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump({"name": "long", "base": CONFIG, "axes": {"seed": SEEDS}}))
    return path


def test_a_missing_bucket_is_refused_in_one_sentence(server, rlscale, spec):
    done = rlscale("sweep", "run", spec, "--store", server.uri("no-such-bucket/store"))
    refused(done, "no-such-bucket", "bucket does not exist", "create the bucket")
    refused(rlscale("sweep", "status", server.uri("no-such-bucket/store")), "There is no store at")


def test_wrong_credentials_are_refused_in_one_sentence(tmp_path, rlscale):
    strict = S3Server(tmp_path, INITIAL_NO_AUTH_ACTION_COUNT="1")  # the bucket is made without any
    try:
        done = rlscale("curves", "show", strict.uri(f"{strict.bucket()}/store"))
    finally:
        strict.stop()
    refused(done, "access denied", "check the credentials")
    assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"] not in done.stderr


SECRETS = (
    "s3://AKIAKEY:hush@bucket/store",
    "s3://AKIAKEY@bucket/store",
    "s3://bucket/store?secret_key=hush",
    "abfss://:hush@account/container",
    "gs://bucket/store?access_token=hush",
)


@pytest.mark.parametrize("location", SECRETS)
def test_an_address_with_a_secret_is_refused_without_showing_it(location, capfd):
    with pytest.raises(InputError, match=r"environment|role") as caught:
        RunStore(location)
    assert not [
        word for word in ("hush", "AKIAKEY") if word in str(caught.value) + "".join(capfd.readouterr())
    ]


def test_addresses_without_a_secret_are_taken(tmp_path):
    for location in (
        str(tmp_path),
        "s3://bucket/a",
        "abfss://container@account.example/a",
        "gs://anonymous@b/a",
    ):
        assert check_location(location) == location


def test_an_address_with_a_secret_gets_into_no_message_of_a_command(rlscale, spec, tmp_path):
    for command in (["sweep", "status"], ["fit"], ["sweep", "run", spec, "--store"], ["doctor", "--store"]):
        done = rlscale(*command, SECRETS[0])
        assert done.returncode in (1, 2), done.stdout + done.stderr
        assert "AWS_ACCESS_KEY_ID" in done.stderr + " ".join(done.stdout.split())
        assert "hush" not in done.stdout + done.stderr


def test_curves_are_imported_into_s3_and_fitted_from_it_as_from_their_file(server, rlscale, tmp_path):
    measured = Path(__file__).parents[3] / "data" / "mnist_width" / "curves.parquet"
    location = server.uri(f"{server.bucket()}/store")
    imported = rlscale("curves", "import", measured, "--store", location)
    assert imported.returncode == 0, imported.stderr
    fits = []
    for source in (measured, location):
        done = rlscale("fit", source, "--bootstrap", 0, "--json", tmp_path / "fit.json")
        assert done.returncode == 0, done.stdout + done.stderr
        fits.append(json.loads((tmp_path / "fit.json").read_text()))
    for name in ("alpha_N", "alpha_E", "beta", "N_c", "E_c", "nu", "num_points", "num_runs", "monotone_map"):
        assert fits[0][name] == fits[1][name]


# -- a sweep -----------------------------------------------------------------------


@pytest.mark.ray
def test_a_sweep_on_s3_survives_a_kill_and_an_outage_and_is_the_local_one_bit_for_bit(
    server, start, rlscale, spec, tmp_path
):
    cable = Cable(server.port)
    location = server.uri(f"{server.bucket()}/store", port=cable.port)
    command = start("sweep", "run", spec, "--store", location)

    def under_way():
        try:
            found = [record for record in RunStore(location).runs("long") if record.interactions]
        except InputError:  # nothing of the sweep is there yet
            return None
        return found if len(found) == len(SEEDS) else None

    victim, _ = command.until(under_way, "both runs under way")
    assert victim.interactions < CONFIG["interactions"]
    os.kill(victim.attempts[-1].pid, signal.SIGKILL)
    cable.pull()
    command.until(lambda: cable.broken > 30, "driver and workers meeting with refusal")
    cable.plug()
    assert command.wait() == 0, command.output
    assert "Traceback" not in command.output

    store, local = RunStore(location), RunStore(tmp_path / "local", create=True)
    for record in store.runs("long"):
        config = run_config(record.config, source="record")
        writer = claim_run(local, config, "long")
        assert train(config, writer) == "done"
        assert rows_equal(store.read_curve("long", config.run_id), local.read_curve("long", config.run_id))
        left = [name for name in store.file_names("long")[config.run_id] if not name.startswith("log-")]
        assert sorted(left) == ["curve.parquet", "run.json"]
    attempts = store.read_run("long", victim.run_id).attempts
    assert len(attempts) >= 2
    assert attempts[1].from_interactions >= victim.interactions > 0

    _look_at(rlscale, location, tmp_path)


def _look_at(rlscale, location: str, tmp_path: Path) -> None:
    """The commands that read a store take its URI."""
    status = rlscale("sweep", "status", location, "--json", tmp_path / "status.json")
    assert status.returncode == 0, status.stderr
    (sweep,) = json.loads((tmp_path / "status.json").read_text())["sweeps"]
    assert sweep["counts"]["done"] == len(SEEDS)
    out = tmp_path / "curves.parquet"
    exported = rlscale("curves", "export", location, "--out", out)
    assert exported.returncode == 0, exported.stderr
    assert pq.read_table(out).num_rows == RunStore(location).read_curves().num_rows
