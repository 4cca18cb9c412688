"""Connections to Ray: to a cluster, or to one that is started here and listens on loopback alone."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import ray_constants
from ray._private import worker as ray_worker

from rlscale.scaling.errors import InputError, RlscaleError

# For the workers of a Ray that is started here: versions that hide GPUs from tasks without one warn of it.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

_OBJECT_STORE_BYTES = 128 * 1024**2  # results are a few words; Ray's default takes 30% of memory
_PROBLEM_LENGTH = 300
_HEAD_SECONDS = 1.0  # between two looks at the head
_RAYS_PATIENCE = "RAY_gcs_rpc_server_reconnect_timeout_s"  # after which Ray ends a driver without a head
_PARTING_SECONDS = 6.0  # that ray.shutdown takes without a head
_REACHED_SECONDS = 10.0


def connect(address: str | None) -> None:
    """Connect this process to the cluster at ``address``, or to a Ray that is started for it.

    Raises:
        InputError: if the cluster cannot be reached.
        RlscaleError: if Ray does not start here.
    """
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    ray_worker._worker_logs_enabled = False  # else the last lines of a dead node's log are printed
    try:
        if address is not None:
            _reach(address)
            ray.init(address=address, **quiet)
            return
        with _on_loopback():
            ray.init(
                address="local",
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                _node_ip_address="127.0.0.1",
                **quiet,
            )
    except Exception as error:  # Ray raises whatever it meets, bare exceptions among them
        problem = " ".join(str(error).split())[:_PROBLEM_LENGTH]
        if address is not None:
            raise InputError(f"The Ray cluster at {address} cannot be reached: {problem}") from error
        raise RlscaleError(
            f"Ray did not start on this machine; try again when it is less busy: {problem}"
        ) from error


def _reach(address: str) -> None:
    """Find out in seconds whether anything listens at HOST:PORT; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACHED_SECONDS).close()


class Head:
    """The head of the cluster to which this process is connected.

    Ray itself ends a driver that has not reached the head for a minute, without saying what to do.
    ``on_change`` is told when the head does not answer any more, and when it does again.
    """

    def __init__(self, on_change: Callable[[bool], None]) -> None:
        self._on_change, self._answers = on_change, True
        self._address = ray.get_runtime_context().gcs_address
        self._patience = max(0.0, float(os.environ.get(_RAYS_PATIENCE, "60")) - _PARTING_SECONDS) / 2
        self._asked = self._reached = time.monotonic()

    def is_there(self) -> bool:
        """Whether the head was there when it was last looked for, at most ``_HEAD_SECONDS`` ago.

        While it is not, what asks Ray about the cluster does not return.

        Raises:
            RlscaleError: if it has been away for so long that Ray will end this process soon.
        """
        now = time.monotonic()
        if now - self._asked >= _HEAD_SECONDS:
            self._asked = now
            try:
                _reach(self._address)
                self._reached = now
                self._tell(True)
            except OSError as error:
                self._tell(False)
                if now - self._reached >= self._patience:
                    raise RlscaleError(
                        f"The head of the Ray cluster at {self._address} is gone: "
                        f"go on with the same command on another cluster."
                    ) from error
        return self._reached == self._asked

    def _tell(self, answers: bool) -> None:
        if answers != self._answers:
            self._answers = answers
            self._on_change(answers)


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Have the Ray that starts meanwhile take 127.0.0.1 for its address, and listen nowhere else.

    Ray replaces a loopback address that it is given by one that other machines can reach, unless
    it may not form clusters, as by default on Windows and macOS.
    """
    name, before = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR, ray_constants.ENABLE_RAY_CLUSTER
    variable = os.environ.get(name)
    os.environ[name], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
        if variable is None:
            del os.environ[name]
        else:
            os.environ[name] = variable
