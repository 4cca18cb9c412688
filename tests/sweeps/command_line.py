"""The real command line, for the tests of all commands.

Each command is a process of its own. Importing numpy, pandas and torch would take most of them longer than
all else that they do, so this file run as a program is a server that has imported such libraries, and nothing
of rlscale: it forks a process for each command. What follows is as if ``python -m rlscale.cli`` had started
it, with its own arguments, environment, working folder, output, exit status and session.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

DEADLINE = 600.0  # seconds; only ever met when something hangs
LIBRARIES = (
    *("numpy", "scipy.interpolate", "scipy.optimize", "scipy.stats", "pandas", "statsmodels.api"),
    *("pyarrow.compute", "pyarrow.dataset", "pyarrow.fs", "pyarrow.parquet", "pydantic", "yaml", "jinja2"),
    *(
        "typer",
        "rich.console",
        "rich.live",
        "rich.table",
        "matplotlib.backends.backend_agg",
        "matplotlib.figure",
    ),
    *("gymnasium", "torch", "torch._dynamo"),  # which an optimizer imports at its first step
)
#: Variables that the interpreter or the loader reads when it starts.
AT_START = ("PYTHON", "LD_", "LC_", "LANG")


def run(
    *arguments: object, columns: int = 80, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """``rlscale`` with these arguments to its end, on a terminal of so many columns."""
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complaints:
        variables = {"COLUMNS": str(columns), **(env or {})}
        command = begin(*arguments, stdout=said, stderr=complaints, cwd=cwd, env=variables)
        try:
            command.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            command.kill()
            raise
        for stream in (said, complaints):
            stream.seek(0)
        return subprocess.CompletedProcess(arguments, command.returncode, said.read(), complaints.read())


def begin(
    *arguments: object,
    stdout: IO[str],
    stderr: IO[str],
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> "subprocess.Popen[str] | Forked":
    """Start ``rlscale`` with these arguments in a session of its own; ``env`` is added to the environment."""
    words, environment = [str(word) for word in arguments], {**os.environ, **(env or {})}
    if any(name.startswith(AT_START) for name in env or {}):
        return subprocess.Popen(
            [sys.executable, "-m", "rlscale.cli", *words],
            stdout=stdout,
            stderr=stderr,
            text=True,
            env=environment,
            cwd=cwd,
            start_new_session=True,
        )
    request = {"words": words, "environment": environment, "folder": str(cwd or Path.cwd())}
    return Forked(_server(), request, stdout, stderr)


class Forked:
    """A command that the server forked, with the methods of ``Popen`` that tests use."""

    def __init__(self, server: socket.socket, request: Mapping[str, Any], *streams: IO[str]) -> None:
        self._replies, theirs = socket.socketpair()
        with theirs, tempfile.TemporaryFile("w+") as file:
            json.dump(request, file)
            file.flush()
            socket.send_fds(server, [b"x"], [each.fileno() for each in (theirs, file, *streams)])
        self.returncode: int | None = None
        self.pid = int(self._replies.recv(100))

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self._replies.settimeout(timeout)
            try:
                self.returncode = int(self._replies.recv(100))
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired("rlscale", timeout or 0.0) from None
            self._replies.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@cache
def _server() -> socket.socket:
    """The way to the process that forks, which ends with this one."""
    ours, theirs = socket.socketpair()
    with theirs:
        subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
    return ours


def _serve(requests: socket.socket) -> dict[str, Any]:
    """Fork for each request; returns it in the process that is to do it."""
    for name in LIBRARIES:
        with suppress(ModuleNotFoundError):  # an extra that is not installed
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # or the first collection in each process would copy all that is shared
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        byte, descriptors, *_ = socket.recv_fds(requests, 1, 4)
        if not byte:
            raise SystemExit
        if not os.fork():  # a process that waits for the command, so that this one need not
            requests.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            replies, file, *streams = descriptors
            if pid := os.fork():
                os.write(replies, str(pid).encode())
                _, status = os.waitpid(pid, 0)
                with suppress(BrokenPipeError):
                    os.write(replies, str(os.waitstatus_to_exitcode(status)).encode())
                os._exit(0)
            os.setsid()
            os.close(replies)
            for standard, stream in zip((1, 2), streams, strict=True):
                os.dup2(stream, standard)
                os.close(stream)
            with open(file, "rb") as content:
                content.seek(0)
                request: dict[str, Any] = json.load(content)
            return request
        for descriptor in descriptors:
            os.close(descriptor)


def _do(command: Mapping[str, Any]) -> int:
    """What ``python -m rlscale.cli`` does; returns the exit status."""
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # ignored below a shell that works in the background
    os.environ.clear()
    os.environ.update(command["environment"])
    os.chdir(command["folder"])
    sys.path[0] = command["folder"]
    sys.argv = ["rlscale.cli", *command["words"]]
    try:
        runpy.run_module("rlscale.cli", run_name="__main__", alter_sys=True)
        return 0
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1


if __name__ == "__main__":
    status = 0

    @atexit.register  # as the first, so it runs last
    def _leave() -> None:
        """Taking all those libraries down would take as long as many a command."""
        sys.stdout.flush()
        os._exit(status)

    status = _do(_serve(socket.socket(fileno=int(sys.argv[1]))))
