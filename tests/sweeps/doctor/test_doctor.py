"""``rlscale doctor`` finds what is wrong, says what to do, and leaves nothing behind."""

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
from rlscale.sweeps.doctor.store_probe import check_store, choose_probe, remove_probe


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


def test_a_machine_that_runs_these_tests_passes_and_its_store_stays_the_same(rlscale, tmp_path):
    (tmp_path / "store").mkdir()
    done = rlscale("doctor", "--store", tmp_path / "store", "--json", tmp_path / "doctor.json")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    lines = outcomes(done, tmp_path)
    assert {line["outcome"] for group in lines.values() for line in group} <= {"pass", "warn"}
    assert "torch" in only(lines, "versions")["found"]
    for name in ("device", "store", "CPUs"):
        assert only(lines, name)["outcome"] == "pass", lines[name]
    for group in lines.values():
        for line in group:
            assert bool(line["remedy"]) == (line["outcome"] != "pass"), line
            assert line["name"] in done.stdout
    assert list((tmp_path / "store").iterdir()) == []
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_store_that_does_not_exist_yet_is_not_created(rlscale, tmp_path):
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
def test_what_is_not_a_store_is_refused(tmp_path, location):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError) as refused:
        choose_probe(location.format(tmp_path))
    assert refused.value.code == "not_a_store"


def broken_package(folder: Path, name: str, statement: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(f"{statement}\n")


def test_a_broken_package_fails_in_its_line_and_the_rest_is_checked(rlscale, tmp_path):
    broken_package(tmp_path / "p", "pyarrow", "raise ImportError('pyarrow requires NumPy 2.0 or newer')")
    place = ("--store", tmp_path / "store", "--json", tmp_path / "doctor.json")
    done = rlscale("doctor", *place, env={"PYTHONPATH": str(tmp_path / "p")})
    assert done.returncode == 1, done.stdout + done.stderr
    lines = outcomes(done, tmp_path)
    line = only(lines, "import pyarrow")
    assert line["outcome"] == "fail"
    assert "requires NumPy 2.0" in line["found"]
    assert "pip install" in line["remedy"]
    assert only(lines, "store")["outcome"] == "fail"
    assert only(lines, "CPUs")["outcome"] == "pass"


def test_the_doctor_is_imported_without_the_packages_that_it_checks():
    code = "import sys, rlscale.sweeps.doctor.checks, rlscale.sweeps.doctor.store_probe;"
    code += "import rlscale.commands.doctor;"
    code += "print([m for m in ('torch', 'ray', 'numpy', 'pyarrow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_ray_offers_is_compared_with_the_machine():
    def lines(cpus: float, gpus: float) -> dict[str, doctor.Check]:
        machine = doctor.check_machine("a", offer=doctor.Offer(cpus, gpus))
        return {check.name: check for check in machine.checks}

    has_gpu = lines(1, 0)["device"].outcome == "warn"
    assert lines(1, float(has_gpu))["device"].outcome == "pass"
    assert lines(1, float(not has_gpu))["device"].outcome == "warn"
    assert lines(1, 0)["CPUs"].outcome == "pass"
    assert lines(4096, 0)["CPUs"].outcome == "warn"
    assert "--num-cpus=" in lines(4096, 0)["CPUs"].remedy


# -- authentication --------------------------------------------------------------


CASES = {
    "a token for all": ({"mode": "token", "token": "x"}, "pass", ""),
    "no token": ({"mode": "token"}, "fail", "auth_token"),
    "a token that nobody asks for": ({"token": "x"}, "warn", "RAY_AUTH_MODE=token for every process"),
    "open to all": ({"mode": "disabled"}, "warn", "RAY_AUTH_MODE=token"),
    "a token that others may read": ({"mode": "token", "token": "x", "bits": 0o644}, "warn", "chmod 600"),
}


@pytest.fixture
def authentication(monkeypatch, tmp_path):
    """Set Ray's mode, and write a token with the given permissions into a home of its own."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))

    def put(*, mode=None, token=None, bits=0o600) -> None:
        if mode:
            monkeypatch.setenv("RAY_AUTH_MODE", mode)
        if token:
            (tmp_path / ".ray").mkdir()
            (tmp_path / ".ray" / "auth_token").write_text(token)
            (tmp_path / ".ray" / "auth_token").chmod(bits)

    return put


@pytest.mark.parametrize(("found", "expected", "words"), CASES.values(), ids=CASES)
def test_authentication_of_a_cluster(authentication, found, expected, words):
    authentication(**found)
    check = doctor.check_token(cluster=True)
    assert check.outcome == expected
    assert words in check.remedy


def test_on_one_machine_the_token_that_ray_makes_is_enough(authentication):
    assert doctor.check_token(cluster=False).outcome == "pass"


# -- several machines ------------------------------------------------------------


def test_machines_with_other_versions_are_named():
    versions = dict.fromkeys(("python", "rlscale", "ray", "torch", "numpy", "pyarrow"), "1.0")
    here = doctor.Machine(versions, ())
    other = replace(here, versions={**versions, "torch": "2.5.0", "ray": "2.40.0"})
    assert [check.outcome for check in doctor.check_agreement({"here": here, "a": here})] == ["pass"]
    checks = {check.name: check for check in doctor.check_agreement({"here": here, "a": here, "b": other})}
    assert {name: check.outcome for name, check in checks.items()} == {
        "same ray": "fail", "same torch": "warn",
    }  # fmt: skip
    assert "2.40.0: b" in checks["same ray"].found


def test_a_folder_that_differs_between_machines_is_detected(tmp_path):
    here = choose_probe(str(tmp_path / "store"))
    (tmp_path / "mount").mkdir()  # the folder of that path on a machine that does not share it
    mount = str(tmp_path / "mount")
    there = replace(here, location=mount, base=mount, folder=f"{mount}/.doctor-x")
    try:
        assert check_store(here, "a").outcome == "pass"
        assert check_store(here, "b", "a").outcome == "pass"
        check = check_store(there, "c", "a")
    finally:
        remove_probe(here)
    assert check.outcome == "fail"
    assert "does not see what a wrote" in check.found
    assert "mount one disk" in check.remedy
    assert list((tmp_path / "mount").iterdir()) == []


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
    for name in ("store", "device", "CPUs", "memory"):
        assert {line["where"] for line in lines[name]} == nodes | {"here"}
        assert {line["outcome"] for line in lines[name]} == {"pass"}, lines[name]
    assert only(lines, "Ray's token")["outcome"] != "fail"
    assert only(lines, "same versions")["outcome"] == "pass"
    assert [path.name for path in tmp_path.iterdir()] == ["doctor.json"]


def test_a_cluster_that_cannot_be_reached_fails_in_its_line(rlscale, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    done = rlscale("doctor", "--address", address, "--json", tmp_path / "doctor.json")
    assert done.returncode == 1, done.stdout + done.stderr
    line = only(outcomes(done, tmp_path), "cluster")
    assert line["outcome"] == "fail"
    assert f"The Ray cluster at {address} cannot be reached" in line["found"]
