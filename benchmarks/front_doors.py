"""Thousands of spoilt inputs and odd options: does each command answer, or refuse in one sentence?

The inputs, the ways to spoil them and what is asked of an answer are of ``tests/rlscale/doors.py``. Here
each command also has a limit of time and memory. It runs in a child of this process, which has loaded all
libraries, so its time is without start-up. A refusal may take 2 s of CPU, a result 30, either 1 GB.

    python benchmarks/front_doors.py [--minutes 15] [--seed 0] [--doors fit suggest]
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import platform
import resource
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "analysis"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "sweeps"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "rlscale"))

from doors import DOORS, Answer, Case, fill, tries
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

REFUSAL_SECONDS, RESULT_SECONDS, MOST_MEGABYTES = 2.0, 30.0, 1000
_WALL_SECONDS = 300  # after which a command is taken to wait for something
_A_ROUND = 50  # the counts are written after each
_LOADED = (
    "rlscale.analysis.reports.report",
    "rlscale.analysis.reports.compare",
    "rlscale.analysis.studies.backtest.study",
    "rlscale.analysis.studies.horizon.study",
    "rlscale.analysis.studies.compare.sealing",
    "rlscale.analysis.studies.with_studies",
    "rlscale.scaling.training.train",
    "rlscale.sweeps.running.launch",
    "rlscale.sweeps.importers.importing",
    "rlscale.terminal.live",
)


@dataclass
class Tally:
    """What became of the tries of one door."""

    results: int = 0
    refusals: int = 0
    findings: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    cpu_seconds: float = 0.0
    slowest_refusal: float = 0.0
    slowest_result: float = 0.0
    most_megabytes: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15.0, help="of CPU")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--doors", nargs="+", default=list(DOORS), choices=list(DOORS))
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "front_doors.json")
    options = parser.parse_args()
    for name in _LOADED:
        importlib.import_module(name)
    tallies = {name: Tally() for name in options.doors}
    with tempfile.TemporaryDirectory() as folder:
        good = Path(folder) / "good"
        good.mkdir()
        fill(good)
        rounds = 0
        while sum(tally.cpu_seconds for tally in tallies.values()) < 60 * options.minutes:
            try_many(good, Path(folder), tallies, options.seed + rounds)
            rounds += 1
            options.json.write_text(json.dumps(result_of(tallies, options.seed, rounds), indent=1) + "\n")
    print(json.dumps(total(tallies), indent=1))


def result_of(tallies: dict[str, Tally], first_seed: int, rounds: int) -> dict[str, Any]:
    return {
        "seed": first_seed,
        "rounds": rounds,
        "limits": {
            "refusal_seconds": REFUSAL_SECONDS,
            "result_seconds": RESULT_SECONDS,
            "MB": MOST_MEGABYTES,
        },
        "total": total(tallies),
        "doors": {name: as_json(tally) for name, tally in tallies.items()},
        "versions": {"python": platform.python_version()}
        | {name: metadata.version(name) for name in ("hypothesis", "pyarrow", "numpy", "pandas")},
        "machine": platform.machine(),
    }


def try_many(good: Path, folder: Path, tallies: dict[str, Tally], number: int) -> None:
    """One round of tries."""

    @seed(number)
    @settings(
        max_examples=_A_ROUND,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def one(data: st.DataObject) -> None:
        place = folder / "place"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(good, place)
        case = Case(data.draw(tries(tuple(tallies))), place, data.draw)
        measure(case, tallies[case.attempt.door], number)

    one()


def measure(case: Case, tally: Tally, number: int) -> None:
    """Ask in a child, and count what became of it."""
    answer, seconds, megabytes = in_a_child(case)
    tally.cpu_seconds += seconds
    tally.most_megabytes = max(tally.most_megabytes, megabytes)
    if answer is None:
        broken = ["killed: over its limits of time, or waits"]
    else:
        broken = case.faults(answer)
        limit = RESULT_SECONDS if answer.status == 0 else REFUSAL_SECONDS
        if seconds > limit:
            broken.append(f"took more than {limit:g} s")
        if megabytes > MOST_MEGABYTES:
            broken.append(f"took more than {MOST_MEGABYTES} MB")
        if answer.status == 0:
            tally.results += 1
            tally.slowest_result = max(tally.slowest_result, seconds)
        elif answer.status == 2:
            tally.refusals += 1
            tally.slowest_refusal = max(tally.slowest_refusal, seconds)
        else:
            tally.findings += 1
    if broken:
        tally.broken.update(broken)
        said = "" if answer is None else answer.err[-1500:]
        print(f"\n{number} {case.attempt} {seconds:.1f} s, {megabytes} MB: {broken}\n{said!a}", flush=True)


def in_a_child(case: Case) -> tuple[Answer | None, float, int]:
    """The answer, None if it was killed; the CPU seconds and the megabytes of the command."""
    context = multiprocessing.get_context("fork")
    reading, writing = context.Pipe(duplex=False)
    child = context.Process(target=ask_and_send, args=(case, writing))
    child.start()
    writing.close()
    try:
        found = reading.recv() if reading.poll(_WALL_SECONDS) else None
    except EOFError:
        found = None
    if found is None:
        child.kill()
    child.join()
    return found or (None, RESULT_SECONDS, 0)


def ask_and_send(case: Case, writing: Any) -> None:
    limit = int(RESULT_SECONDS) + 5
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    answer = case.ask()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    writing.send((answer, usage.ru_utime + usage.ru_stime, usage.ru_maxrss >> 10))


def as_json(tally: Tally) -> dict[str, Any]:
    return {
        "tries": tally.results + tally.refusals + tally.findings,
        "results": tally.results,
        "refusals": tally.refusals,
        "findings": tally.findings,
        "broken": dict(tally.broken),
        "slowest_refusal": round(tally.slowest_refusal, 2),
        "slowest_result": round(tally.slowest_result, 1),
        "most_megabytes": tally.most_megabytes,
        "cpu_seconds": round(tally.cpu_seconds),
    }


def total(tallies: dict[str, Tally]) -> dict[str, Any]:
    every = [as_json(tally) for tally in tallies.values()]
    summed = ("tries", "results", "refusals", "findings", "cpu_seconds")
    return {name: sum(each[name] for each in every) for name in summed} | {
        "broken": sum(sum(tally.broken.values()) for tally in tallies.values()),
        "slowest_refusal": max(each["slowest_refusal"] for each in every),
        "most_megabytes": max(each["most_megabytes"] for each in every),
    }


if __name__ == "__main__":
    main()
