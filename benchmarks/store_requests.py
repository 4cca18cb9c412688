"""Requests that a sweep makes to an object store: for each run, for each checkpoint, and to see what is done.

The real command, ``rlscale sweep run`` on local Ray, with a store on moto's S3 server on loopback, which
logs every request. Sweeps of several sizes tell the shares apart:

    requests = sweep + runs * (run + checkpoints * checkpoint)

Counted are the requests of pyarrow's own S3 client, workers and driver together; LIST is the GET of a
listing. What a driver asks for by the clock, its sign of life, is counted for itself.

    python benchmarks/store_requests.py [--runs 20]
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml
from moto.server import ThreadedMotoServer

METHODS = ("PUT", "POST", "LIST", "GET", "HEAD", "DELETE")
FEW, MANY = 2, 8  # checkpoints of a run
RLSCALE = [sys.executable, "-m", "rlscale.cli"]
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class CountedServer(logging.Handler):
    """moto's S3 server with one bucket; counts what it logs."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.of_drivers: Counter[str] = Counter()
        log = logging.getLogger("werkzeug")
        log.setLevel(logging.INFO)
        log.propagate = False
        log.handlers = [self]
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=True)
        self._server.start()
        _, self._port = self._server.get_host_and_port()
        urllib.request.urlopen(
            urllib.request.Request(f"http://127.0.0.1:{self._port}/bucket", method="PUT")
        ).close()

    def emit(self, record: logging.LogRecord) -> None:
        said = re.search(r'"(\w+) (\S+) HTTP', re.sub(r"\x1b\[\d+m", "", record.getMessage()))
        if said:
            counts = self.of_drivers if "drivers" in said[2] else self.counts
            counts["LIST" if "list-type=" in said[2] else said[1]] += 1

    def uri(self, store: str) -> str:
        return f"s3://bucket/{store}?scheme=http&endpoint_override=127.0.0.1:{self._port}"

    def during(self, *arguments: str) -> Counter[str]:
        """Requests by method while ``rlscale`` does what it is asked.

        Raises:
            RuntimeError: if it fails, with the end of what it said.
        """
        before = Counter(self.counts)
        done = subprocess.run(
            [*RLSCALE, *arguments], capture_output=True, text=True, env=os.environ | CREDENTIALS, check=False
        )
        if done.returncode:
            raise RuntimeError(f"rlscale {' '.join(arguments)} failed: {(done.stdout + done.stderr)[-2000:]}")
        return self.counts - before


def write_spec(path: Path, name: str, runs: int, checkpoints: int) -> None:
    base = {
        "task": "digits-bandit",
        "interactions": 64 * MANY,
        "checkpoints": checkpoints,
        "model": {"width": 0.025},
        "agent": {"rollout_steps": 64, "minibatches": 1},
    }
    path.write_text(yaml.safe_dump({"name": name, "base": base, "axes": {"seed": list(range(runs))}}))


def measure(server: CountedServer, folder: Path, runs: int) -> dict[str, dict[str, float]]:
    """Requests by method of a sweep's parts, and of commands on a store of ``2 * runs`` finished runs."""

    def sweep(name: str, count: int, checkpoints: int) -> Counter[str]:
        spec = folder / f"{name}.yaml"
        write_spec(spec, name, count, checkpoints)
        return server.during("sweep", "run", str(spec), "--store", server.uri(name))

    began = time.perf_counter()
    few, more = sweep("few", runs, FEW), sweep("more", 2 * runs, FEW)
    dense = sweep("dense", runs, MANY)
    minutes = (time.perf_counter() - began) / 60
    of_drivers = {m: server.of_drivers[m] / minutes for m in METHODS}
    checkpoint = {m: (dense[m] - few[m]) / (runs * (MANY - FEW)) for m in METHODS}
    run = {m: (more[m] - few[m]) / runs - FEW * checkpoint[m] for m in METHODS}
    return {
        "checkpoint": checkpoint,
        "run": run,
        "sweep": {m: few[m] - runs * (run[m] + FEW * checkpoint[m]) for m in METHODS},
        "driver, a minute": of_drivers,
        "run again, nothing to do": dict(sweep("more", 2 * runs, FEW)),
        "status": dict(server.during("sweep", "status", server.uri("more"))),
        "export": dict(
            server.during("curves", "export", server.uri("more"), "--out", str(folder / "curves.parquet"))
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20, help="of the smaller sweeps; one has twice as many")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "store_requests.json")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(CountedServer(), Path(folder), given.runs)
    print(f"{'requests of':26}" + "".join(f"{method:>8}" for method in METHODS))
    for what, counts in rows.items():
        print(f"{what:26}" + "".join(f"{counts.get(method, 0):>8.2f}" for method in METHODS))
    result: dict[str, Any] = {
        "what": "requests to S3 by method: of one checkpoint, of one run beside its checkpoints, of a sweep "
        "beside its runs, and of commands on a store of finished runs",
        "runs_of_the_finished_store": 2 * given.runs,
        "requests": {what: {m: round(counts.get(m, 0), 3) for m in METHODS} for what, counts in rows.items()},
        "versions": {"python": platform.python_version()}
        | {name: metadata.version(name) for name in ("pyarrow", "moto", "ray")},
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
