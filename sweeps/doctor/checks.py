"""Can this machine run sweeps? Each check is a line that passes, warns or fails and says what to do.

Only the standard library is imported at the top, so that a machine whose numpy, pyarrow or torch is
broken can still be checked. The same function checks this machine and, in a Ray task, each node.
"""

from __future__ import annotations

import importlib
import os
import platform
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from rlscale.scaling.machine import available_memory, cpu_quota, usable_cores, usable_memory

Outcome = Literal["pass", "warn", "fail"]

HERE = "here"
_PACKAGES = ("rlscale", "torch", "ray", "numpy", "pyarrow", "procgen")
_IMPORTED = ("numpy", "pyarrow", "torch")
_OTHER_NAMES = {"procgen": "procgen-mirror"}  # of distributions with the same import name
_INSTALL = "pip install 'rlscale[all]'"
_LITTLE_MEMORY = 1e9  # bytes; torch and the smallest task use half of it
#: Ray refuses to connect other versions of these, and another rlscale may not read what this one writes.
_MUST_AGREE = ("python", "rlscale", "ray")
_SHOULD_AGREE = ("torch", "numpy", "pyarrow")
_TOKEN_FILE = Path(".ray/auth_token")


@dataclass(frozen=True)
class Check:
    """One line: what was checked, where, what was found and, unless it passed, what to do."""

    name: str
    where: str
    outcome: Outcome
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Offer:
    """CPUs and GPUs that Ray offers to tasks on a node."""

    cpus: float
    gpus: float


@dataclass(frozen=True)
class Machine:
    """A machine's checks, and the versions of python and of each package; None if one is not installed."""

    versions: Mapping[str, str | None]
    checks: tuple[Check, ...]


def check_machine(where: str, mnist_dir: str | None = None, offer: Offer | None = None) -> Machine:
    """Check the machine that this process runs on; takes some seconds, because it imports torch.

    Args:
        where: what the lines call the machine.
        mnist_dir: where to look for MNIST first.
        offer: what Ray offers there; None if it is not a node of a cluster.
    """
    versions = {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}}
    checks = (
        _check_versions(versions, where),
        *_check_imports(versions, where),
        *_check_device(versions, where, offer),
        _check_cpus(where, offer),
        _check_memory(where),
        *_check_mnist(where, mnist_dir),
    )
    return Machine(versions, checks)


def _version(name: str) -> str | None:
    for distribution in filter(None, (name, _OTHER_NAMES.get(name))):
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return None


def _check_versions(versions: Mapping[str, str | None], where: str) -> Check:
    found = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    missing = [name for name, version in versions.items() if version is None]
    if not missing:
        return Check("versions", where, "pass", found)
    remedy = f"To train and to run sweeps: {_INSTALL}."
    return Check("versions", where, "warn", f"{found}; without {', '.join(missing)}", remedy)


def _check_imports(versions: Mapping[str, str | None], where: str) -> Iterator[Check]:
    """A line for each package that is installed but cannot be imported."""
    for name in _IMPORTED:
        if versions[name] is None:
            continue
        try:
            importlib.import_module(name)
        except Exception as error:  # a broken installation may raise anything
            remedy = f"Install it again: pip install --force-reinstall {name}=={versions[name]}."
            yield Check(f"import {name}", where, "fail", f"{type(error).__name__}: {error}", remedy)


def _check_device(versions: Mapping[str, str | None], where: str, offer: Offer | None) -> Iterator[Check]:
    """The device on which torch trains, and whether Ray offers it."""
    if versions["torch"] is None:
        return
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":  # Ray hides GPUs from a task that asks for none
        del os.environ["CUDA_VISIBLE_DEVICES"]
    try:
        from rlscale.scaling.training.device import resolve_device

        device = resolve_device("auto")
    except Exception:  # the check of its import says why
        return
    gpus = None if offer is None else offer.gpus
    if device == "cpu" and gpus:
        remedy = "Install a torch that is built for CUDA, and a driver that is new enough for it."
        yield Check("device", where, "warn", f"torch finds no GPU, but Ray offers {gpus:g}", remedy)
    elif device == "cuda" and gpus == 0:
        remedy = "Start the node with ray start --num-gpus."
        yield Check("device", where, "warn", "cuda, but Ray offers no GPU", remedy)
    else:
        yield Check("device", where, "pass", device)


def _check_cpus(where: str, offer: Offer | None) -> Check:
    """Cores that processes may use, and whether Ray offers more."""
    usable: float = usable_cores()
    found = f"{usable:g} cores"
    quota = cpu_quota()
    if quota is not None and quota < usable:
        usable, found = quota, f"{found}, {quota:g} of them by the container's limit"
    if offer is None:
        return Check("CPUs", where, "pass", found)
    found += f", Ray offers {offer.cpus:g}"
    if offer.cpus <= max(1.0, usable):
        return Check("CPUs", where, "pass", found)
    remedy = f"Start the node with --num-cpus={max(1, int(usable))}: more runs than cores slow each other."
    return Check("CPUs", where, "warn", found, remedy)


def _check_memory(where: str) -> Check:
    available = available_memory()
    found = f"{usable_memory() / 1e9:.3g} GB"
    if available is None:
        return Check("memory", where, "pass", found)
    found += f", {available / 1e9:.3g} GB available"
    if available >= _LITTLE_MEMORY:
        return Check("memory", where, "pass", found)
    remedy = "Free some: the smallest run needs 0.5 GB; rlscale sweep plan estimates the memory of yours."
    return Check("memory", where, "warn", found, remedy)


def _check_mnist(where: str, mnist_dir: str | None) -> Iterator[Check]:
    try:
        from rlscale.scaling.tasks.digits.images import mnist_at_hand
    except Exception:  # the checks of imports say why
        return
    folder = mnist_at_hand(Path(mnist_dir) if mnist_dir else None)
    if folder:
        yield Check("MNIST", where, "pass", str(folder.resolve()))
        return
    remedy = (
        "Only the task mnist-bandit needs it and downloads it at its start; or put its four files into a "
        "folder and name that with --mnist-dir or RLSCALE_MNIST_DIR."
    )
    yield Check("MNIST", where, "warn", "not here", remedy)


def check_agreement(machines: Mapping[str, Machine]) -> list[Check]:
    """Whether all machines have the same versions: a line for each that differs, or one that passes."""
    checks = []
    for name in (*_MUST_AGREE, *_SHOULD_AGREE):
        where: dict[str, list[str]] = {}
        for machine, facts in machines.items():
            where.setdefault(facts.versions[name] or "none", []).append(machine)
        if len(where) > 1:
            found = "; ".join(f"{version}: {', '.join(names)}" for version, names in where.items())
            must = name in _MUST_AGREE
            reason = "" if must else ", or a run that resumes on another node differs in its last bits"
            remedy = f"Install the same {name} on all machines{reason}."
            checks.append(Check(f"same {name}", "cluster", "fail" if must else "warn", found, remedy))
    everything = ", ".join((*_MUST_AGREE, *_SHOULD_AGREE))
    return checks or [Check("same versions", "cluster", "pass", everything)]


def check_token(*, cluster: bool) -> Check:
    """Whether Ray asks for a token, so that not everyone who reaches its ports can run code.

    Args:
        cluster: whether a cluster is checked; on one machine Ray makes and asks for a token by default.
    """
    mode, name = os.environ.get("RAY_AUTH_MODE"), "Ray's token"
    given = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(given) if given else Path.home() / _TOKEN_FILE
    in_file = not os.environ.get("RAY_AUTH_TOKEN")
    has_token = path.is_file() if in_file else True
    if has_token and in_file and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return Check(name, HERE, "warn", f"others may read {path}", f"Run: chmod 600 {path}.")
    if mode is None and not cluster:
        return Check(name, HERE, "pass", "token, Ray's default on one machine")
    if mode is None or mode.lower() != "token":
        remedy = (
            "Export RAY_AUTH_MODE=token for every process of the cluster and here, with one token for all "
            "(ray get-auth-token --generate): otherwise everyone who reaches its ports can run code on it."
        )
        return Check(name, HERE, "warn", f"RAY_AUTH_MODE is {mode or 'not set'}", remedy)
    if cluster and not has_token:
        remedy = "Copy the cluster's token to ~/.ray/auth_token, or name its file in RAY_AUTH_TOKEN_PATH."
        return Check(name, HERE, "fail", "RAY_AUTH_MODE is token, but there is none", remedy)
    return Check(name, HERE, "pass", "token")
