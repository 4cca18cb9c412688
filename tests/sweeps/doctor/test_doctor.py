"""``rlscale doctor``: what is wrong is found and told with what to do, and nothing is left behind."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cluster import NUM_NODES, Cluster

from rlscale.scaling.errors import InputError
from rlscale.sweeps.doctor import checks as doctor
from rlscale.sweeps.doctor.machine_facts import Facts, Gpu, Gpus, gather
from rlscale.sweeps.doctor.store_probe import (
    Place,
    Probe,
    choose_place,
    remove_probes,
    unseen_probes,
    write_probe,
)

GB = 10**9


@pytest.fixture(scope="module")
def here() -> Facts:
    return gather()


def outcomes(done, tmp_path) -> dict[str, list[dict[str, str]]]:
    """The lines of the command's JSON by what they are about."""
    lines: dict[str, list[dict[str, str]]] = {}
    for check in json.loads((tmp_path / "doctor.json").read_text())["checks"]:
        lines.setdefault(check["name"], []).append(check)
    assert "Traceback" not in done.stdout + done.stderr
    return lines


def only(lines: dict[str, list[dict[str, str]]], name: str) -> dict[str, str]:
    (line,) = lines[name]
    return line


# -- this machine ----------------------------------------------------------------


def test_a_machine_that_runs_these_tests_is_fit_and_its_store_is_left_as_it_was(rlscale, tmp_path):
    (tmp_path / "store").mkdir()
    done = rlscale("doctor", "--store", tmp_path / "store", "--json", tmp_path / "doctor.json")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    lines = outcomes(done, tmp_path)
    assert {line["outcome"] for group in lines.values() for line in group} <= {"pass", "warn"}
    assert "torch" in only(lines, "versions")["found"]
    for name in ("numpy and pyarrow", "Procgen", "store", "CPUs"):
        assert only(lines, name)["outcome"] == "pass", lines[name]
    for group in lines.values():
        for line in group:
            assert bool(line["remedy"]) == (line["outcome"] != "pass"), line
            assert line["name"] in done.stdout
    assert list((tmp_path / "store").iterdir()) == []
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_store_that_is_not_there_yet_is_not_made(rlscale, tmp_path):
    done = rlscale("doctor", "--store", tmp_path / "a" / "b", "--json", tmp_path / "doctor.json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert only(outcomes(done, tmp_path), "store")["outcome"] == "pass"
    assert [path.name for path in tmp_path.iterdir()] == ["doctor.json"]


def unwritable_folder(tmp_path: Path) -> Path:
    """A folder in which this user can make no file; root may write any but those of the system."""
    if os.geteuid() == 0:
        return Path("/sys")
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o555)
    return folder


def test_a_store_that_cannot_be_written_fails_in_its_line_and_with_status_1(rlscale, tmp_path):
    place = unwritable_folder(tmp_path) / "store"
    done = rlscale("doctor", "--store", place, "--json", tmp_path / "doctor.json")
    assert done.returncode == 1, done.stdout + done.stderr
    line = only(outcomes(done, tmp_path), "store")
    assert line["outcome"] == "fail"
    assert str(place.parent) in line["found"]
    assert line["remedy"]


@pytest.mark.parametrize("location", ["{}/file", "{}/file/store", "nosuch://bucket/store"])
def test_what_can_be_no_store_is_refused_in_a_sentence(tmp_path, location):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"is a file|cannot be opened"):
        choose_place(location.format(tmp_path))


def broken_package(folder: Path, name: str, statement: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(f"{statement}\n")


def test_packages_that_break_are_told_and_the_rest_is_looked_at_all_the_same(rlscale, tmp_path):
    broken_package(tmp_path / "p", "pyarrow", "raise ImportError('pyarrow requires NumPy 2.0 or newer')")
    broken_package(tmp_path / "p", "procgen", "import os; os.abort()")
    place = ("--store", tmp_path / "store", "--json", tmp_path / "doctor.json")
    done = rlscale("doctor", *place, env={"PYTHONPATH": str(tmp_path / "p")})
    assert done.returncode == 1, done.stdout + done.stderr
    lines = outcomes(done, tmp_path)
    line = only(lines, "import pyarrow")
    assert line["outcome"] == "fail"
    assert "requires NumPy 2.0" in line["found"]
    assert "pip install" in line["remedy"]
    assert only(lines, "store")["outcome"] == "fail"
    assert only(lines, "Procgen")["outcome"] == "fail"
    assert only(lines, "CPUs")["outcome"] == "pass"


def test_the_doctor_is_imported_without_what_it_examines():
    code = "import sys, rlscale.sweeps.doctor.checks, rlscale.sweeps.doctor.machine_facts,"
    code += "rlscale.commands.doctor, rlscale.sweeps.doctor.store_probe;"
    code += "print([m for m in ('torch', 'ray', 'numpy', 'pyarrow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_pin_is_told_where_pyarrow_wants_a_numpy_that_procgen_does_not(here):
    facts = replace(
        here,
        versions={**here.versions, "numpy": "1.26.4", "pyarrow": "26.1.0"},
        broken={"pyarrow": "ImportError: pyarrow requires NumPy 2.0 or newer"},
    )
    (check,) = [check for check in doctor.check_packages(facts, "here") if check.outcome == "fail"]
    assert "'pyarrow>=17,<26'" in check.remedy


def test_little_memory_a_full_disk_and_too_many_threads_are_warned_of(here):
    facts = replace(here, cores=8, quota=2.0, available=10**8, disk=100 * GB, disk_free=GB)
    for check in (
        doctor.check_memory(facts, "here"),
        doctor.check_temporary_disk(facts, "here"),
        doctor.check_cores(replace(facts, omp_num_threads="8"), "here"),
        doctor.check_cores(facts, "here", ray_cpus=8.0),
    ):
        assert check.outcome == "warn", check
    assert "--num-cpus=2" in doctor.check_cores(facts, "here", ray_cpus=8.0).remedy
    assert doctor.check_cores(facts, "here", ray_cpus=2.0).outcome == "pass"


def test_gpus_that_torch_cannot_use_or_ray_does_not_offer_are_warned_of(here):
    card = Gpu("H200", 140 * GB, 139 * GB)
    found = Gpus((card,), "550.54", 1, "12.4")

    def check(gpus: Gpus, ray_gpus: float | None = None) -> doctor.Check:
        return doctor.check_gpus(replace(here, gpus=gpus), "here", ray_gpus=ray_gpus)

    assert check(found).outcome == "pass"
    assert "H200 (139 GB of 140 GB free)" in check(found).found
    assert check(found, 1.0).outcome == "pass"
    assert "--num-gpus=1" in check(found, 0.0).remedy
    assert "built for CPUs alone" in check(replace(found, seen_by_torch=0, torch_cuda=None)).remedy
    assert "update the driver" in check(replace(found, seen_by_torch=0)).remedy
    assert check(replace(found, installed=(replace(card, free=GB),))).outcome == "warn"
    assert check(Gpus((), None, 0, None)).outcome == "pass"


# -- authentication --------------------------------------------------------------


def authentication(monkeypatch, tmp_path, *, mode=None, token=None, bits=0o600) -> doctor.Authentication:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    if mode:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
    if token:
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text(token)
        (tmp_path / ".ray" / "auth_token").chmod(bits)
    return doctor.find_authentication()


CASES = {
    "a token for all": ({"mode": "token", "token": "x"}, ["pass"], ""),
    "no token": ({"mode": "token"}, ["fail"], "auth_token"),
    "the silent trap": ({"token": "x"}, ["warn"], "RAY_AUTH_MODE=token for every process"),
    "open to all": ({"mode": "disabled"}, ["warn"], "RAY_AUTH_MODE=token"),
    "a token that all may read": (
        {"mode": "token", "token": "x", "bits": 0o644},
        ["pass", "warn"],
        "chmod 600",
    ),
}


@pytest.mark.parametrize(("found", "expected", "words"), CASES.values(), ids=CASES)
def test_authentication_of_a_cluster(monkeypatch, tmp_path, found, expected, words):
    checks = doctor.check_authentication(authentication(monkeypatch, tmp_path, **found), cluster=True)
    assert [check.outcome for check in checks] == expected
    assert words in checks[-1].remedy


def test_on_one_machine_the_token_that_ray_makes_is_enough(monkeypatch, tmp_path):
    found = authentication(monkeypatch, tmp_path)
    assert [check.outcome for check in doctor.check_authentication(found, cluster=False)] == ["pass"]


# -- several machines ------------------------------------------------------------


def test_nodes_that_differ_are_named(here):
    other = replace(
        here, versions={**here.versions, "torch": "2.5.0", "ray": "2.40.0"}, cpu_capability="AVX2"
    )
    checks = {check.name: check for check in doctor.check_agreement({"a": here, "b": other}, here)}
    assert checks["same ray"].outcome == "fail"
    assert "2.40.0: b" in checks["same ray"].found
    assert checks["same torch"].outcome == "warn"
    assert checks["same CPU instructions"].outcome == "warn"
    assert "ATEN_CPU_CAPABILITY" in checks["same CPU instructions"].remedy
    assert {checks[f"same {name}"].outcome for name in ("python", "rlscale", "numpy", "pyarrow")} == {"pass"}


def test_modes_of_authentication_that_differ_are_warned_of(here):
    assert doctor.check_modes({"a": replace(here, auth_mode="token")}, "token").outcome == "pass"
    assert doctor.check_modes({"a": replace(here, auth_mode=None)}, "token").outcome == "warn"


def test_a_clock_is_warned_of_only_if_the_difference_is_certain():
    assert doctor.check_clock("a", 0.2, 0.1).outcome == "pass"
    assert doctor.check_clock("a", -3600.0, 0.1).outcome == "warn"
    assert doctor.check_clock("a", 7.0, 3.0).outcome == "pass"


def test_a_folder_that_is_another_one_on_another_machine_is_found_out(tmp_path):
    place = choose_place(str(tmp_path / "store"))
    elsewhere = Place(place.location, str(tmp_path / "mount"), str(tmp_path / "mount" / ".doctor-x"), True)
    (tmp_path / "mount").mkdir()  # what the same path would be on a machine that does not share it
    try:
        probes = {"a": write_probe(place, "a"), "b": write_probe(elsewhere, "b")}
        assert {probe.problem for probe in probes.values()} == {None}
        unseen = {"a": unseen_probes(place, ["a", "b"]), "b": unseen_probes(elsewhere, ["a", "b"])}
        assert unseen == {"a": ["b"], "b": ["a"]}
    finally:
        remove_probes(place)
        remove_probes(elsewhere)
    checks = doctor.check_store(place, probes, unseen)
    assert [check.outcome for check in checks] == ["fail", "fail"]
    assert "does not see what b wrote" in checks[0].found
    assert "mount one disk" in checks[0].remedy
    assert list((tmp_path / "mount").iterdir()) == []


def test_a_slow_store_is_warned_of(tmp_path):
    place = choose_place(str(tmp_path))
    assert doctor.check_store(place, {"a": Probe(None, 30.0)}, {})[0].outcome == "warn"


@pytest.fixture(scope="module")
def cluster():
    nodes = Cluster("cluster-utils")
    yield nodes
    nodes.close()


@pytest.mark.ray
def test_every_node_of_a_cluster_is_asked_and_writes_to_the_store(rlscale, tmp_path, cluster):
    done = rlscale(
        *("doctor", "--address", cluster.address, "--store", tmp_path / "store"),
        *("--json", tmp_path / "doctor.json"),
        env=cluster.env,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = outcomes(done, tmp_path)
    assert only(lines, "cluster")["found"] == f"{NUM_NODES} nodes"
    nodes = {line["where"] for line in lines["versions"]} - {"here"}
    assert len(nodes) == NUM_NODES
    for name in ("store", "Procgen", "CPUs", "memory"):
        assert {line["where"] for line in lines[name]} == nodes | {"here"}
        assert {line["outcome"] for line in lines[name]} == {"pass"}, lines[name]
    assert {line["outcome"] for line in lines["clock"]} == {"pass"}
    assert only(lines, "same authentication")["found"] == "token"
    assert only(lines, "same torch")["outcome"] == "pass"
    assert [path.name for path in tmp_path.iterdir()] == ["doctor.json"]


def test_a_cluster_that_cannot_be_reached_fails_in_its_line(rlscale, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    done = rlscale("doctor", "--address", address, "--json", tmp_path / "doctor.json")
    assert done.returncode == 1, done.stdout + done.stderr
    line = only(outcomes(done, tmp_path), "cluster")
    assert line["outcome"] == "fail"
    assert f"The Ray cluster at {address} cannot be reached" in line["found"]
