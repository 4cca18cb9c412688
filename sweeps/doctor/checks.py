"""Is this machine, or this cluster, fit for sweeps? Facts in, lines that pass, warn or fail out."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rlscale.sweeps.doctor.machine_facts import PACKAGES, Facts
from rlscale.sweeps.doctor.store_probe import Disk, Place, Probe

Outcome = Literal["pass", "warn", "fail"]

_GB = 1e9
_LITTLE_MEMORY = 1 * _GB  # torch and the task of the smallest run take half of it
_LITTLE_DISK = 1 * _GB
_FULL_DISK = 0.95  # Ray refuses to spill objects above that
_SLOW_STORE_SECONDS = 2.0
_CLOCK_SECONDS = 5.0
_INSTALL = "pip install 'rlscale[all]'"
#: Ray itself refuses other versions of these; and what rlscale writes, another version may not read.
_MUST_AGREE = ("python", "rlscale", "ray")
_TOKEN_FILE = Path(".ray/auth_token")


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, where, what was found and, unless it passed, what to do."""

    name: str
    where: str
    outcome: Outcome
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Authentication:
    """How Ray would prove itself from here: RAY_AUTH_MODE, where the token is, who else can read it."""

    mode: str | None
    token: str | None
    readable_by_others: bool


def check_machine(
    facts: Facts, where: str, *, ray_cpus: float | None = None, ray_gpus: float | None = None
) -> list[Check]:
    """All that can be said about one machine by itself.

    Args:
        ray_cpus, ray_gpus: what Ray offers to tasks there; None if it is no node of a cluster.
    """
    return [
        *check_packages(facts, where),
        check_cores(facts, where, ray_cpus=ray_cpus),
        check_memory(facts, where),
        check_temporary_disk(facts, where),
        check_gpus(facts, where, ray_gpus=ray_gpus),
        check_mnist(facts, where),
        check_procgen(facts, where),
    ]


def check_packages(facts: Facts, where: str) -> list[Check]:
    """Versions, what is missing, and what is there but cannot be imported."""
    versions = facts.versions
    there = ", ".join(f"{name} {versions[name]}" for name in ("python", *PACKAGES) if versions[name])
    missing = [name for name in PACKAGES if versions[name] is None]
    checks = [
        Check(
            "versions",
            where,
            "warn" if missing else "pass",
            there + (f"; without {', '.join(missing)}" if missing else ""),
            f"To train and to run sweeps: {_INSTALL}." if missing else "",
        )
    ]
    for name, problem in facts.broken.items():
        checks.append(Check(f"import {name}", where, "fail", problem, _remedy_of_import(name, versions)))
    if versions["pyarrow"] and versions["numpy"] and not {"numpy", "pyarrow"} & set(facts.broken):
        found = f"pyarrow {versions['pyarrow']} works with numpy {versions['numpy']}"
        checks.append(Check("numpy and pyarrow", where, "pass", found))
    return checks


def _remedy_of_import(name: str, versions: Mapping[str, str | None]) -> str:
    numpy, pyarrow = _major(versions["numpy"]), _major(versions["pyarrow"])
    if name == "pyarrow" and numpy is not None and pyarrow is not None and numpy < 2 and pyarrow >= 26:
        return f"pyarrow {pyarrow} needs numpy 2, and Procgen numpy 1: pip install 'pyarrow>=17,<26'."
    return f"Install it again: pip install --force-reinstall {name}=={versions[name]}."


def check_agreement(nodes: Mapping[str, Facts], here: Facts) -> list[Check]:
    """Whether all nodes can work together, and give the same bits."""
    everyone = {"here": here, **nodes}
    checks = []
    for name in _MUST_AGREE:
        differ = _values({where: facts.versions[name] for where, facts in everyone.items()})
        checks.append(_agreement(name, differ, "fail", f"Install the same {name} everywhere."))
    for name in ("torch", "numpy", "pyarrow"):
        differ = _values({where: facts.versions[name] for where, facts in nodes.items()})
        remedy = (
            f"Install the same {name} on all nodes, or a run that goes on elsewhere differs in its last bits."
        )
        checks.append(_agreement(name, differ, "warn", remedy))
    differ = _values({where: facts.cpu_capability for where, facts in nodes.items()})
    remedy = (
        "Export ATEN_CPU_CAPABILITY=default on all nodes, or a run that goes on elsewhere differs in "
        "its last bits; nothing else does."
    )
    checks.append(_agreement("CPU instructions", differ, "warn", remedy))
    return checks


def _agreement(name: str, differ: Mapping[str, Sequence[str]], worst: Outcome, remedy: str) -> Check:
    if len(differ) <= 1:
        return Check(f"same {name}", "cluster", "pass", next(iter(differ), "unknown"))
    found = "; ".join(f"{value}: {', '.join(who)}" for value, who in differ.items())
    return Check(f"same {name}", "cluster", worst, found, remedy)


def _values(by_machine: Mapping[str, str | None]) -> dict[str, list[str]]:
    """Who has each value."""
    values: dict[str, list[str]] = {}
    for where, value in by_machine.items():
        values.setdefault(value or "none", []).append(where)
    return values


def check_cores(facts: Facts, where: str, *, ray_cpus: float | None = None) -> Check:
    """Cores that may be used, and whether threads or Ray count on more; ``ray_cpus`` is what Ray offers."""
    found = f"{facts.cores} cores"
    usable: float = facts.cores
    if facts.quota is not None and facts.quota < usable:
        usable = facts.quota
        found += f", {facts.quota:g} of them by the container's limit"
    if ray_cpus is not None:
        found += f", Ray offers {ray_cpus:g}"
    if ray_cpus is not None and ray_cpus > max(1.0, usable):
        remedy = (
            f"Start the node with --num-cpus={max(1, int(usable))}: more runs than cores slow each other."
        )
        return Check("CPUs", where, "warn", found, remedy)
    omp = facts.omp_num_threads
    if omp and omp.isdigit() and int(omp) > max(1.0, usable):
        remedy = (
            "Unset OMP_NUM_THREADS: 'threads' of a run's config decides, and more threads than cores slow it."
        )
        return Check("CPUs", where, "warn", f"{found}, OMP_NUM_THREADS is {omp}", remedy)
    return Check("CPUs", where, "pass", found)


def check_memory(facts: Facts, where: str) -> Check:
    """Memory for processes here, and how much of it is free."""
    found = _size(facts.memory)
    if facts.available is None:
        return Check("memory", where, "pass", found)
    found += f", {_size(facts.available)} available"
    if facts.available < _LITTLE_MEMORY:
        remedy = "Free some: the smallest run takes about 0.5 GB; rlscale sweep plan says what yours take."
        return Check("memory", where, "warn", found, remedy)
    return Check("memory", where, "pass", found)


def check_temporary_disk(facts: Facts, where: str) -> Check:
    """The disk where Ray keeps its session."""
    full = 1 - facts.disk_free / facts.disk if facts.disk else 0.0
    found = f"{_size(facts.disk_free)} free, {full:.0%} used"
    if full > _FULL_DISK:
        remedy = "Free some, or have Ray use another disk (ray start --temp-dir): it stops working above 95%."
        return Check("temporary files", where, "warn", found, remedy)
    return Check("temporary files", where, "pass", found)


def check_gpus(facts: Facts, where: str, *, ray_gpus: float | None = None) -> Check:
    """GPUs, their memory, and whether torch can use what the driver has."""
    gpus = facts.gpus
    if not gpus.installed and not gpus.seen_by_torch:
        return Check("GPUs", where, "pass", "none: runs train on the CPU")
    found = ", ".join(f"{gpu.name} ({_size(gpu.free)} of {_size(gpu.memory)} free)" for gpu in gpus.installed)
    found = found or f"{gpus.seen_by_torch} seen by torch"
    found += f"; driver {gpus.driver or 'unknown'}, torch for CUDA {gpus.torch_cuda or 'none'}"
    if facts.versions["torch"] and not gpus.seen_by_torch:
        remedy = (
            "This torch is built for CPUs alone: install a build for CUDA, see https://pytorch.org."
            if gpus.torch_cuda is None
            else f"torch sees none: update the driver to one for CUDA {gpus.torch_cuda}, and look at "
            f"CUDA_VISIBLE_DEVICES."
        )
        return Check("GPUs", where, "warn", found, remedy)
    if ray_gpus is not None and ray_gpus != gpus.seen_by_torch:
        remedy = f"Start the node with --num-gpus={gpus.seen_by_torch}."
        return Check("GPUs", where, "warn", f"{found}; Ray offers {ray_gpus:g}", remedy)
    busy = [gpu for gpu in gpus.installed if gpu.free < gpu.memory / 2]
    if busy:
        remedy = "Somebody else uses them: wait, or give runs a fraction that fits (resources.num_gpus)."
        return Check("GPUs", where, "warn", found, remedy)
    return Check("GPUs", where, "pass", found)


def check_mnist(facts: Facts, where: str) -> Check:
    if facts.mnist:
        return Check("MNIST", where, "pass", facts.mnist)
    remedy = (
        "The task mnist-bandit downloads it at its start; or put its four files into a folder and name that "
        "with --mnist-dir or RLSCALE_MNIST_DIR. No other task needs it."
    )
    return Check("MNIST", where, "warn", "not here", remedy)


def check_procgen(facts: Facts, where: str) -> Check:
    if facts.procgen is None:
        return Check("Procgen", where, "pass", "played a step")
    if not facts.procgen:
        remedy = f"The Procgen tasks need it: {_INSTALL}. No other task does."
        return Check("Procgen", where, "warn", "not installed", remedy)
    return Check("Procgen", where, "fail", facts.procgen, f"Install it again: {_INSTALL}.")


def check_clock(where: str, ahead: float, uncertainty: float) -> Check:
    """A node's clock against the one here.

    Args:
        ahead: seconds by which the node's clock is ahead, known to ``uncertainty`` seconds.
    """
    found = f"{ahead:+.1f} s ± {uncertainty:.1f} s"
    if abs(ahead) - uncertainty > _CLOCK_SECONDS:
        remedy = "Set the clocks by NTP: times in status and logs are wrong; results do not depend on them."
        return Check("clock", where, "warn", found, remedy)
    return Check("clock", where, "pass", found)


def find_authentication() -> Authentication:
    """What Ray would find here."""
    mode = os.environ.get("RAY_AUTH_MODE")
    if os.environ.get("RAY_AUTH_TOKEN"):
        return Authentication(mode, "RAY_AUTH_TOKEN", False)
    given = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(given) if given else Path.home() / _TOKEN_FILE
    try:
        bits = path.stat().st_mode
    except OSError:
        return Authentication(mode, None, False)
    return Authentication(mode, str(path), bool(bits & (stat.S_IRWXG | stat.S_IRWXO)))


def check_authentication(found: Authentication, *, cluster: bool) -> list[Check]:
    """Who may run code on the cluster, and whether all its processes agree on it."""
    checks = []
    if found.mode is not None and found.mode.lower() == "token":
        if found.token is None and cluster:
            remedy = (
                "Copy the cluster's token to ~/.ray/auth_token, or set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH."
            )
            checks.append(
                Check("Ray's token", "here", "fail", "RAY_AUTH_MODE is token, but there is none", remedy)
            )
        else:
            told = f"token, in {found.token}" if found.token else "token, which Ray makes at its first start"
            checks.append(Check("Ray's token", "here", "pass", told))
    elif found.mode is None and not cluster:
        checks.append(Check("Ray's token", "here", "pass", "token, Ray's default on one machine"))
    elif found.mode is None and found.token is not None:
        remedy = (
            "Export RAY_AUTH_MODE=token for every process of the cluster and here: without it, ray start "
            "--head asks for the token and ray start --address does not send it."
        )
        told = f"RAY_AUTH_MODE is not set, but there is a token in {found.token}"
        checks.append(Check("Ray's token", "here", "warn", told, remedy))
    else:
        remedy = (
            "Whoever reaches the cluster's ports can run code on it: export RAY_AUTH_MODE=token for every "
            "process of it, with one token for all (ray get-auth-token --generate)."
        )
        checks.append(Check("Ray's token", "here", "warn", f"none, mode {found.mode or 'not set'}", remedy))
    if found.token is not None and found.readable_by_others:
        remedy = f"chmod 600 {found.token}"
        checks.append(Check("Ray's token", "here", "warn", f"others may read {found.token}", remedy))
    return checks


def check_modes(nodes: Mapping[str, Facts], here: str | None) -> Check:
    """Whether all nodes have the authentication mode that is set here."""
    everyone = {"here": here, **{where: facts.auth_mode for where, facts in nodes.items()}}
    differ = _values({where: (mode or "not set").lower() for where, mode in everyone.items()})
    remedy = "Export the same RAY_AUTH_MODE for every process of the cluster and here."
    return _agreement("authentication", differ, "warn", remedy)


def check_store(
    place: Place, probes: Mapping[str, Probe], unseen: Mapping[str, Sequence[str]]
) -> list[Check]:
    """The store, from each machine.

    Args:
        place: where the probe files were.
        probes: by machine, how writing its own went.
        unseen: by machine, whose files it cannot read, of those that were written.
    """
    checks = []
    for where, probe in probes.items():
        if probe.problem is not None:
            remedy = (
                "Make it writable there, or choose another --store."
                if place.is_local
                else "Look at the bucket's name, and at the credentials and the network there."
            )
            checks.append(Check("store", where, "fail", probe.problem, remedy))
        elif hidden := unseen.get(where):
            told = f"does not see what {', '.join(hidden)} wrote to {place.base}"
            remedy = (
                "The folder is not the same everywhere: mount one disk on all nodes, or use s3://BUCKET/PATH."
            )
            checks.append(Check("store", where, "fail", told, remedy))
        elif probe.seconds > _SLOW_STORE_SECONDS:
            told = f"written and read in {probe.seconds:.1f} s"
            remedy = "Slow: have runs write less often (checkpoints, rows_per_decade), or use a nearer store."
            checks.append(Check("store", where, "warn", told, remedy))
        else:
            told = f"written and read in {1000 * probe.seconds:.0f} ms"
            checks.append(Check("store", where, "pass", told))
    return checks


def check_store_disk(disk: Disk | None, where: str) -> list[Check]:
    """Room on a local store's disk."""
    if disk is None:
        return []
    found = f"{_size(disk.free)} of {_size(disk.total)} free"
    if disk.free < _LITTLE_DISK:
        remedy = "Free some: runs wait while the store cannot be written."
        return [Check("store's disk", where, "warn", found, remedy)]
    return [Check("store's disk", where, "pass", found)]


def summary(checks: Sequence[Check]) -> str:
    """How many lines passed, warn and fail, in a sentence."""
    count = {
        outcome: sum(check.outcome == outcome for check in checks) for outcome in ("pass", "warn", "fail")
    }
    return f"{count['pass']} pass, {count['warn']} warn, {count['fail']} fail."


def _major(version: str | None) -> int | None:
    found = re.match(r"\d+", version or "")
    return int(found[0]) if found else None


def _size(number: float) -> str:
    return f"{number / _GB:.3g} GB"
