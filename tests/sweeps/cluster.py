"""Ray clusters of several nodes on this machine.

All of a cluster is below one process, which is this file run as a program: it starts the nodes,
prints their address, and starts one more for each line that it reads. What is orphaned below it
becomes its child, so the process tree shows all that belongs to the cluster.

On a busy machine all of it takes its time: Ray's own limits are raised, what must be ready is waited for, and
what did not start is started again.
"""

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from processes import command_of, descendants, start_time, zombies_of

NUM_NODES = 3
#: How long the parts of Ray wait for each other when they start, far beyond what a busy machine needs.
PATIENCE = {
    "RAY_gcs_server_port_wait_time_s": "300",
    "RAY_gcs_server_request_timeout_seconds": "300",
    "RAY_py_gcs_connect_timeout_s": "300",
    "RAY_worker_register_timeout_seconds": "600",
    "RAY_agent_register_timeout_ms": "600000",
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "300",
    "RAY_health_check_timeout_ms": "60000",  # of a node that does not answer; a dead one refuses at once
}
_NODES = {"RAY_gcs_rpc_server_reconnect_timeout_s": "600", "RAY_health_check_period_ms": "1000"}
_STARTS = 3  # attempts to start something that waits no longer than Ray's limits that cannot be raised
_DEADLINE = 300.0
_OBJECT_STORE_BYTES = 80 * 1024**2
_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_awaited: set[int] = set()  # children whose exit status somebody asks for


class Cluster:
    """A cluster of ``NUM_NODES`` nodes with one CPU each, that asks for a token.

    ``kind`` is "cluster-utils" for ``ray.cluster_utils.Cluster`` or "ray-start" for nodes that
    ``ray start`` began, each with a folder of its own for temporary files.
    """

    def __init__(self, kind: str) -> None:
        for left in reversed(range(_STARTS)):
            try:
                self._start(kind)
                return
            except ClusterEnded:
                if not left:
                    raise

    def _start(self, kind: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="ray-"))  # short, for the paths of sockets are limited
        token = self._folder / "token"
        token.write_text(os.urandom(32).hex())
        self.env = {  # of every process that has to do with the cluster
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_TMPDIR": str(self._folder),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",
            **PATIENCE,
        }
        self._log = open(self._folder / "log.txt", "w+")  # noqa: SIM115
        self._root = subprocess.Popen(
            [sys.executable, __file__, kind, str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, **self.env, **_NODES},
            start_new_session=True,
        )
        try:
            self.address, self.dashboard = self._reply()
        except BaseException:
            self.close()
            raise

    def _reply(self) -> list[str]:
        line = self._root.stdout.readline()
        if not line:
            raise ClusterEnded(Path(self._log.name).read_text())
        return json.loads(line)

    def add_node(self) -> None:
        """Start one more node and wait until it is there."""
        self._root.stdin.write("\n")
        self._root.stdin.flush()
        self._reply()

    def processes(self) -> dict[int, str]:
        """The command lines of all that the cluster runs, oldest first."""
        pids = sorted(descendants({self._root.pid}), key=lambda pid: (int(start_time(pid) or 0), pid))
        return {pid: command_of(pid) for pid in pids}

    def raylets(self) -> list[int]:
        """The raylets, the head's first."""
        return [pid for pid, command in self.processes().items() if "/raylet/raylet " in command]

    def gcs(self) -> int:
        """The process that keeps the cluster together, part of the head."""
        return next(pid for pid, command in self.processes().items() if "/gcs_server " in command)

    def close(self) -> None:
        """End all that there is of the cluster."""
        while below := descendants({self._root.pid}):
            for pid in below:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._root.kill()
        self._root.wait()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class ClusterEnded(Exception):
    """A cluster did not start, or ended; with its log."""


def _serve(kind: str, folder: Path) -> None:
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGCHLD, _reap)
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the nodes print goes to the log
    if kind == "cluster-utils":
        add_node, addresses = _with_cluster_utils()
    else:
        add_node, addresses = _with_ray_start(folder)
    print(json.dumps(addresses), file=replies, flush=True)
    for _ in sys.stdin:
        add_node()
        print("true", file=replies, flush=True)


def _reap(*_: object) -> None:
    """Forget children that ended: a worker takes its raylet for alive as long as its number is there."""
    for pid in zombies_of(os.getpid()) - _awaited:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _with_cluster_utils():
    from ray.cluster_utils import Cluster as Nodes

    options = {"num_cpus": 1, "object_store_memory": _OBJECT_STORE_BYTES}
    nodes = Nodes(initialize_head=True, head_node_args={**options, "include_dashboard": False})
    for _ in range(NUM_NODES - 1):
        nodes.add_node(**options, wait=False)
    nodes.wait_for_nodes(timeout=_DEADLINE)

    def add_node() -> None:
        name = nodes.add_node(**options, wait=False).plasma_store_socket_name

        def is_there() -> bool:
            return name in {each["ObjectStoreSocketName"] for each in nodes.global_state.node_table()}

        _wait_until(is_there, "a node that joins")

    return add_node, (nodes.address, None)


def _with_ray_start(folder: Path):
    port, dashboard, client = _free_ports(3)
    address = f"127.0.0.1:{port}"
    head = ("--head", f"--port={port}", f"--ray-client-server-port={client}", "--no-monitor")
    agent, started = _ray_start(folder / "head", *head, f"--dashboard-port={dashboard}")
    assert _is_up(started)
    _wait_until(
        lambda: _listens(agent), "the agent"
    )  # which takes the jobs; Ray waits only seconds for it when one is submitted

    def add_nodes(count: int) -> None:
        """Start nodes at once, and those that did not start in Ray's 30 s again."""
        for _ in range(_STARTS):
            number = len(list(folder.glob("node-*")))
            begun = [_ray_start(folder / f"node-{number + i}", f"--address={address}") for i in range(count)]
            count -= sum([_is_up(started) for _, started in begun])
            if not count:
                return
        raise AssertionError("nodes do not start")

    add_nodes(NUM_NODES - 1)
    return lambda: add_nodes(1), (address, f"http://127.0.0.1:{dashboard}")


def _ray_start(folder: Path, *options: str) -> tuple[int, subprocess.Popen]:
    """Start a node; returns the port of its agent beside the process."""
    folder.mkdir()
    (agent,) = _free_ports(1)
    started = subprocess.Popen(
        [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", *options),
            *("--node-ip-address=127.0.0.1", "--num-cpus=1", f"--temp-dir={folder}"),
            *(f"--object-store-memory={_OBJECT_STORE_BYTES}", "--disable-usage-stats"),
            f"--dashboard-agent-listen-port={agent}",
        ]
    )
    _awaited.add(started.pid)
    return agent, started


def _is_up(node: subprocess.Popen) -> bool:
    """Whether a node has started; ``ray start`` ends when it has."""
    status = node.wait()
    _awaited.discard(node.pid)
    return status == 0


def _wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not seen after {_DEADLINE} s"
        time.sleep(0.1)


def _listens(port: int) -> bool:
    """Whether somebody takes connections at a port of this machine."""
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port)).close()
        return True
    return False


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


if __name__ == "__main__":
    _serve(sys.argv[1], Path(sys.argv[2]))
