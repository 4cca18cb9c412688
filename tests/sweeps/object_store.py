"""A real S3 server on loopback, and a cable to it that can be pulled."""

import math
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from contextlib import suppress
from pathlib import Path

DEADLINE = 60.0
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test-secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",  # or the search for credentials asks a cloud's metadata server
}


class S3Server:
    """moto's server, one process, with its content in memory. Its log has every request."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self._log = folder / "s3.log"
        with open(self._log, "w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
            )
        self.port = self._wait_for_port()
        self._buckets = 0

    def bucket(self) -> str:
        """The name of a new bucket."""
        self._buckets += 1
        name = f"bucket-{self._buckets}"
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{name}", method="PUT")
        urllib.request.urlopen(request, timeout=DEADLINE).close()
        return name

    def uri(self, path: str, *, port: int | None = None) -> str:
        """The URI of ``BUCKET/PATH`` on this server, or on another port."""
        return f"s3://{path}?scheme=http&endpoint_override=127.0.0.1:{port or self.port}"

    def requests(self) -> Counter[str]:
        """The number of requests of each method so far; LIST is the GET of a bucket's listing."""
        log = re.sub(r"\x1b\[\d+m", "", self._log.read_text())
        lines = re.findall(r'"(GET|PUT|POST|DELETE|HEAD) (\S+) HTTP', log)
        return Counter("LIST" if "list-type=" in target else method for method, target in lines)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def _wait_for_port(self) -> int:
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            said = re.search(r"Running on http://127\.0\.0\.1:(\d+)", self._log.read_text())
            if said:
                return int(said[1])
            assert self._process.poll() is None, self._log.read_text()
            time.sleep(0.05)
        raise AssertionError(f"no S3 server after {DEADLINE} s\n{self._log.read_text()}")


class Cable:
    """Passes connections on to a port of this machine; while it is pulled, breaks and counts them."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._connections: list[socket.socket] = []
        self._left: float = math.inf
        self._is_pulled = False
        self.broken = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def plug(self) -> None:
        """Pass connections on again."""
        self._left, self._is_pulled = math.inf, False

    def pull(self) -> None:
        """Break all connections, and those that are made from now on."""
        self._is_pulled = True
        while self._connections:
            connection = self._connections.pop()
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def break_after(self, size: int) -> None:
        """Pull it once so many more bytes have passed."""
        self._left = size

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            if self._is_pulled:
                self.broken += 1
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._target))
            self._connections += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                self._left -= len(data)
                if self._left < 0:
                    self.pull()
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
