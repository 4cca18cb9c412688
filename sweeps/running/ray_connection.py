"""Connections to Ray: to a cluster, or to a Ray that starts here and listens on loopback alone."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from typing import Any

import ray

from rlscale.scaling.errors import InputError, RlscaleError
from rlscale.sweeps.running.events import HeadBack, HeadLost, OnEvent
from rlscale.sweeps.running.ray_private import (
    LOOPBACK_ARGUMENTS,
    cpus_of_nodes,
    hide_logs_of_dead_nodes,
    on_loopback,
    reconnect_seconds,
)

# For the workers of a Ray that starts here: versions that hide GPUs from tasks without one warn about it.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

_OBJECT_STORE_BYTES = 128 * 1024**2  # results are a few words; Ray's default is 30% of memory
_PROBLEM_LENGTH = 300
_HEAD_SECONDS = 1.0  # between two attempts to reach the head
_SHUTDOWN_SECONDS = 6.0  # that ray.shutdown takes without a head
_CONNECT_SECONDS = 10.0


def connect(address: str | None) -> None:
    """Connect this process to the cluster at ``address``; None starts a Ray on this machine.

    A process that is connected already stays so.

    Raises:
        InputError: if the cluster cannot be reached.
        RlscaleError: if Ray does not start here.
    """
    if ray.is_initialized():
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    hide_logs_of_dead_nodes()
    try:
        if address is not None:
            _reach(address)
            ray.init(address=address, **quiet)
            return
        with on_loopback():
            ray.init(
                address="local",
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                **LOOPBACK_ARGUMENTS,
                **quiet,
            )
    except Exception as error:  # Ray raises many kinds of errors, bare exceptions among them
        problem = " ".join(str(error).split())[:_PROBLEM_LENGTH]
        if address is not None:
            raise InputError(
                f"The Ray cluster at {address} cannot be reached: {problem}", code="cluster_unreachable"
            ) from error
        raise RlscaleError(
            f"Ray did not start on this machine; try again when it is less busy: {problem}",
            code="ray_did_not_start",
        ) from error


def disconnect() -> None:
    """Leave the cluster; a Ray that was started for this process ends."""
    ray.shutdown()


def require_nodes(address: str | None) -> None:
    """Refuse a cluster on whose nodes nothing can run, in seconds; Ray itself would wait for them.

    An address that is not HOST:PORT is not asked.

    Raises:
        InputError: if the head does not answer (code ``cluster_unreachable``), or no node has a CPU
            (``no_nodes``).
    """
    if address is None or not _is_place(address):
        return
    try:
        _reach(address)
    except OSError as error:
        raise InputError(
            f"The Ray cluster at {address} cannot be reached: {error}", code="cluster_unreachable"
        ) from error
    try:
        cpus = cpus_of_nodes(address, _CONNECT_SECONDS)
    except Exception:  # a version of Ray that answers otherwise: connecting will tell
        return
    require_cpus(address, cpus)


def require_cpus(address: str, cpus: Sequence[float]) -> None:
    """Refuse a cluster whose living nodes have these CPUs if none has any (code ``no_nodes``)."""
    if not any(count > 0 for count in cpus):
        there = f"only {len(cpus)} without CPUs for runs" if cpus else "none"
        raise InputError(
            f"The Ray cluster at {address} has no nodes that could do a run (there: {there}); start one "
            f"with: ray start --address={address}",
            code="no_nodes",
        )


def _is_place(address: str) -> bool:
    host, _, port = address.rpartition(":")
    return bool(host) and port.isdigit()


def _reach(address: str) -> None:
    """Find out in seconds whether anything listens at HOST:PORT; Ray itself would try for minutes."""
    if _is_place(address):
        host, _, port = address.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()


class Head:
    """The head of the cluster to which this process is connected.

    Ray itself ends a driver that has not reached the head for a minute, without saying what to do.
    ``on_event`` gets a ``HeadLost`` when the head stops answering, and a ``HeadBack`` when it answers again.
    """

    def __init__(self, on_event: OnEvent) -> None:
        self._on_event, self._answers = on_event, True
        self._address = ray.get_runtime_context().gcs_address
        self._patience = max(0.0, reconnect_seconds() - _SHUTDOWN_SECONDS) / 2
        self._asked = self._reached = time.monotonic()

    def is_there(self) -> bool:
        """Whether the head answered the last attempt to reach it, at most ``_HEAD_SECONDS`` ago.

        While it does not answer, calls that ask Ray about the cluster do not return.

        Raises:
            RlscaleError: if it has not answered for so long that Ray will end this process soon.
        """
        now = time.monotonic()
        if now - self._asked >= _HEAD_SECONDS:
            self._asked = now
            try:
                _reach(self._address)
                self._reached = now
                self._report(True)
            except OSError as error:
                self._report(False)
                if now - self._reached >= self._patience:
                    raise RlscaleError(
                        f"The head of the Ray cluster at {self._address} is gone: "
                        f"continue with the same command on another cluster.",
                        code="cluster_lost",
                    ) from error
        return self._reached == self._asked

    def _report(self, answers: bool) -> None:
        if answers != self._answers:
            self._answers = answers
            self._on_event(HeadBack() if answers else HeadLost())
