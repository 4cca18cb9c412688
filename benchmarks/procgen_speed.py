"""Environment steps per second on Procgen: this trainer, openai/ppo-ewma and CleanRL, on CPU.

CoinRun easy, 64 environments of 256 steps an iteration, IMPALA with 16, 32, 32 channels, 8
minibatches, the same number of threads for all. Each measurement is a process of its own,
interleaved A B C A B C. All are timed alike: from the end of the first iteration, which
warms up, to the end of the last. PPG is timed over a whole cycle of policy iterations and one
auxiliary phase; a shorter policy phase than the default of 32 iterations amortises alike,
since the auxiliary phase's work grows with the steps that are stored.

The other two are measured as they are published, from a checkout each, with an interpreter
that has their dependencies (torch, mpi4py with an MPI, gym3, pandas; gym 0.23, tyro,
tensorboard; procgen). CleanRL's ppo_procgen.py is run as it stands, at its own settings.
openai/ppo-ewma's command line reaches neither the easy mode nor the length of a run, so its
``train_fn`` is called with the arguments that its own ``main`` would give and these two. Both
get the same number of threads through environment variables that they read (openai/ppo-ewma
would take half the cores). "tuned" means environment variables that have glibc keep freed
memory, which this trainer arranges by itself. What is not given is skipped. On an idle machine:

    python benchmarks/procgen_speed.py --ppo-ewma DIR --cleanrl DIR --peer-python PYTHON
        [--rounds 3] [--iterations 3] [--policy-iterations 1] [--threads 2] [--steps 256] [--only NAME ...]
        [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

ENVS, MINIBATCHES = 64, 8
AUXILIARY_SEQUENCES = 4  # the default of one of openai/ppo-ewma's workers
PRECISIONS = ("float32", "bfloat16")
KEEP_FREED_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}
#: The same hyperparameters as the others; what is not named here is a default that equals theirs.
OUR_AGENT = {
    "num_envs": ENVS,
    "minibatches": MINIBATCHES,
    "horizon": 1999,
    "gae_lambda": 0.95,
    "normalize_reward": True,
}
PEER_PACKAGES = ("torch", "numpy", "procgen-mirror", "gym3", "gym", "mpi4py")
CALL_TRAIN_FN = "import json, sys; from ppo_ewma.train import train_fn; train_fn(**json.loads(sys.argv[1]))"


@dataclass(frozen=True)
class Contender:
    """What is measured: a trainer and what it is told beyond what all have in common."""

    name: str
    trainer: str  # ours, ppo-ewma or cleanrl
    settings: Mapping[str, Any]
    phasic: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """The rate of one contender over that of another, and the least that is asked for."""

    ours: str
    theirs: str
    bar: float | None = None


@dataclass(frozen=True)
class Setup:
    """Where things are and how long a measurement is."""

    ppo_ewma: Path | None
    cleanrl: Path | None
    peer_python: str | None
    iterations: int
    policy_iterations: int
    threads: int
    steps: int

    @property
    def batch(self) -> int:
        """Environment steps of an iteration."""
        return ENVS * self.steps

    def timed_iterations(self, contender: Contender) -> int:
        return self.policy_iterations if contender.phasic else self.iterations


def peers(name: str, trainer: str, settings: Mapping[str, Any], *, phasic: bool = False) -> list[Contender]:
    """A trainer as it is published, and with the tuned allocator."""
    return [
        Contender(name, trainer, settings, phasic),
        Contender(f"{name}, tuned", trainer, settings, phasic, KEEP_FREED_MEMORY),
    ]


def ours(name: str, agent: Mapping[str, Any], *, phasic: bool = False) -> list[Contender]:
    """This trainer in each precision."""
    return [
        Contender(f"{name}, {precision}", "ours", {"precision": precision, "agent": agent}, phasic)
        for precision in PRECISIONS
    ]


CONTENDERS = (
    *ours("rlscale PPO dual", {"algorithm": "ppo", "architecture": "dual"}),
    *peers("ppo-ewma PPO dual", "ppo-ewma", {"arch": "dual", "n_pi": 0}),
    *ours("rlscale PPO shared", {"algorithm": "ppo", "architecture": "shared"}),
    *peers("ppo-ewma PPO shared", "ppo-ewma", {"arch": "shared", "n_pi": 0}),
    *ours(
        "rlscale PPO shared 3 epochs",
        {"algorithm": "ppo", "architecture": "shared", "epochs_policy": 3, "epochs_value": 3},
    ),
    *peers("CleanRL PPO", "cleanrl", {}),
    *ours("rlscale PPG dual", {"algorithm": "ppg", "architecture": "dual"}, phasic=True),
    *peers("ppo-ewma PPG dual", "ppo-ewma", {"arch": "dual"}, phasic=True),
)

COMPARISONS = tuple(
    Comparison(f"rlscale {mine}, {precision}", theirs, bar)
    for mine, theirs, bar in (
        ("PPO dual", "ppo-ewma PPO dual", 3.0),
        ("PPO dual", "ppo-ewma PPO dual, tuned", 1.6),
        ("PPO shared", "ppo-ewma PPO shared", None),
        ("PPO shared", "ppo-ewma PPO shared, tuned", None),
        ("PPO shared 3 epochs", "CleanRL PPO", 3.0),
        ("PPO shared 3 epochs", "CleanRL PPO, tuned", None),
        ("PPG dual", "ppo-ewma PPG dual", 2.5),
        ("PPG dual", "ppo-ewma PPG dual, tuned", None),
    )
    for precision in PRECISIONS
)


def steps_per_second(seconds: list[float], batch: int) -> float:
    """Rate from the times at which iterations ended, the first one being the warm-up."""
    return batch * (len(seconds) - 1) / (seconds[-1] - seconds[0])


def child_environment(setup: Setup, **more: str) -> dict[str, str]:
    threads = str(setup.threads)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    return (
        inherited | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "PYTHONUNBUFFERED": "1"} | more
    )


def times_of_lines(
    command: list[str], marker: str, *, environment: dict[str, str], folder: str
) -> Iterator[float]:
    """When a process prints lines that begin with ``marker``; exits with its complaint if it fails."""
    with tempfile.TemporaryFile("w+") as complaints:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=complaints, text=True
        )
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(marker):
                yield time.perf_counter()
        if process.wait() != 0:
            complaints.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{complaints.read()}")


def measure_ppo_ewma(contender: Contender, setup: Setup, folder: str) -> dict[str, float]:
    assert setup.ppo_ewma is not None
    assert setup.peer_python is not None
    iterations = 1 + setup.timed_iterations(contender)
    arguments = {
        "env_name": "coinrun",
        "distribution_mode": "easy",
        "num_envs": ENVS,
        "nstep": setup.steps,
        "nminibatch": MINIBATCHES,
        "aux_mbsize": AUXILIARY_SEQUENCES,
        "interacts_total": iterations * setup.batch,
        "log_dir": folder,
    } | ({"n_pi": setup.policy_iterations} if contender.phasic else {})
    environment = child_environment(
        setup,
        PYTHONPATH=str(setup.ppo_ewma),
        RCALL_LOGDIR=folder,
        RCALL_NUM_GPU="0",
        RCALL_NUM_CPU_PER_PROC=str(setup.threads),
        **contender.environment,
    )
    command = [setup.peer_python, "-c", CALL_TRAIN_FN, json.dumps(arguments | dict(contender.settings))]
    # Printed once at the end of each policy iteration.
    ends = list(times_of_lines(command, "RCALL_LOGDIR:", environment=environment, folder=folder))
    return {"rate": steps_per_second(ends, setup.batch), "iterations": len(ends) - 1}


def measure_cleanrl(contender: Contender, setup: Setup, folder: str) -> dict[str, float]:
    assert setup.cleanrl is not None
    assert setup.peer_python is not None
    iterations = 1 + setup.timed_iterations(contender)
    script = str(setup.cleanrl / "cleanrl" / "ppo_procgen.py")
    options = ["--env-id", "coinrun", "--total-timesteps", str(iterations * setup.batch), "--no-cuda"]
    options += ["--num-steps", str(setup.steps)]
    ends = list(
        times_of_lines(
            [setup.peer_python, script, *options],
            "SPS:",
            environment=child_environment(setup, **contender.environment),
            folder=folder,
        )
    )
    return {"rate": steps_per_second(ends, setup.batch), "iterations": len(ends) - 1}


def measure_ours(contender: Contender, setup: Setup, folder: str) -> dict[str, float]:
    """``rlscale train``, timed by the rows that it stores, one an iteration."""
    import yaml

    from rlscale.sweeps.store.run_store import RunStore

    iterations = 1 + setup.timed_iterations(contender)
    agent = OUR_AGENT | {"rollout_steps": setup.steps} | contender.settings["agent"]
    if contender.phasic:
        agent["phasic"] = {"policy_iterations": setup.policy_iterations, "sequences": AUXILIARY_SEQUENCES}
    values = {
        "task": "procgen-coinrun-easy",
        # PPG ends with a whole phase; what comes after the timed iterations is left out below.
        "interactions": setup.batch * (2 * setup.policy_iterations if contender.phasic else iterations),
        "threads": setup.threads,
        "precision": contender.settings["precision"],
        "rows_per_decade": 1000,
        "checkpoints": 1,
        "model": {"family": "impala"},
        "agent": agent,
    }
    config, store = Path(folder, "run.yaml"), Path(folder, "store")
    config.write_text(yaml.safe_dump(values))
    done = subprocess.run(
        [sys.executable, "-m", "rlscale.cli", "train", str(config), "--store", str(store), "--device", "cpu"],
        env=child_environment(setup),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"measuring {contender.name} failed:\n{done.stderr}")
    (record,) = RunStore(store).runs()
    rows = RunStore(store).read_curve(record.sweep, record.run_id).slice(0, iterations)
    assert rows["interactions"].to_pylist() == [setup.batch * (i + 1) for i in range(iterations)]
    return {
        "rate": steps_per_second(rows["wall_seconds"].to_pylist(), setup.batch),
        "iterations": iterations - 1,
        "flops_per_step": record.columns["flops_per_interaction"],
    }


def measure(contender: Contender, setup: Setup) -> dict[str, float]:
    """One measurement, in a fresh process."""
    measures = {"ours": measure_ours, "ppo-ewma": measure_ppo_ewma, "cleanrl": measure_cleanrl}
    with tempfile.TemporaryDirectory() as folder:
        return measures[contender.trainer](contender, setup, folder)


def convolution_peak(precision: str, seconds: float = 3.0) -> float:
    """The best FLOP/s of the middle stack's convolution, 32 channels at 32 x 32, channels last."""
    import torch

    dtype = getattr(torch, precision)
    layer = torch.nn.Conv2d(32, 32, 3, padding=1).to(dtype=dtype, memory_format=torch.channels_last)
    images = torch.randn(512, 32, 32, 32, dtype=dtype).to(memory_format=torch.channels_last)
    best, started = float("inf"), time.perf_counter()
    with torch.no_grad():
        while time.perf_counter() - started < seconds:
            before = time.perf_counter()
            layer(images)
            best = min(best, time.perf_counter() - before)
    return 2 * 512 * 32 * 32 * 32 * (32 * 9) / best


def peak_in_own_process(precision: str, setup: Setup) -> float:
    done = subprocess.run(
        [sys.executable, __file__, "--peak", precision],
        env=child_environment(setup, **KEEP_FREED_MEMORY),
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def spread(values: list[float], digits: int = 4) -> dict[str, float]:
    """Median, least and largest, rounded to significant digits."""
    three = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: float(f"{value:.{digits}g}") for name, value in three.items()}


def compare(comparison: Comparison, rates: Mapping[str, list[float]]) -> dict[str, Any]:
    """Ratio of medians, and the least and largest ratio within a round."""
    mine, theirs = rates[comparison.ours], rates[comparison.theirs]
    within = [a / b for a, b in zip(mine, theirs, strict=True)]
    ratio = float(f"{statistics.median(mine) / statistics.median(theirs):.3g}")
    return {
        "ours": comparison.ours,
        "theirs": comparison.theirs,
        "ratio": {"of_medians": ratio} | spread(within, 3),
        "bar": comparison.bar,
        "bar_met": None if comparison.bar is None else ratio >= comparison.bar,
    }


def versions_of(python: str | None) -> dict[str, str]:
    """What an interpreter has of the packages that the others run on."""
    if python is None:
        return {}
    code = f"""
import json, platform
from importlib import metadata
installed = {{d.metadata["Name"]: d.version for d in metadata.distributions()}}
print(json.dumps({{"python": platform.python_version()}}
      | {{n: installed[n] for n in {PEER_PACKAGES!r} if n in installed}}))
"""
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def can_run(contender: Contender, setup: Setup) -> bool:
    """Whether what a contender needs was given; says so if not."""
    needs = {"ours": [], "ppo-ewma": ["ppo_ewma", "peer_python"], "cleanrl": ["cleanrl", "peer_python"]}
    missing = [name for name in needs[contender.trainer] if getattr(setup, name) is None]
    if missing:
        options = " and ".join(f"--{name.replace('_', '-')}" for name in missing)
        print(f"{contender.name} is skipped: give {options}", file=sys.stderr)
    return not missing


def print_tables(result: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "steps per second: median", "least", "most", "of bound")
    for name, row in result["contenders"].items():
        rate = row["steps_per_second"]
        share = f"{row['share_of_bound']:.0%}" if "share_of_bound" in row else ""
        table.add_row(name, *(f"{rate[key]:,.0f}" for key in ("median", "min", "max")), share)
    ratios = Table("", "beside", "ratio of medians", "within rounds", "bar")
    for row in result["comparisons"]:
        ratio = row["ratio"]
        bar = "" if row["bar"] is None else f"{row['bar']:g} {'met' if row['bar_met'] else 'MISSED'}"
        within = f"{ratio['min']:.3g} to {ratio['max']:.3g}"
        ratios.add_row(row["ours"], row["theirs"], f"{ratio['of_medians']:.3g}", within, bar)
    console = Console()
    for part in (table, ratios):
        console.print(part)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ppo-ewma", type=Path, help="a checkout of openai/ppo-ewma")
    parser.add_argument("--cleanrl", type=Path, help="a checkout of vwxyzjn/cleanrl")
    parser.add_argument("--peer-python", help="the interpreter that runs both")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=3, help="timed, after one that is not")
    parser.add_argument("--policy-iterations", type=int, default=1, help="of PPG's cycle")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=256, help="of an environment an iteration")
    names = [contender.name for contender in CONTENDERS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "procgen_speed.json")
    parser.add_argument("--peak", choices=PRECISIONS, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = parse_options()
    if options.peak:
        print(convolution_peak(options.peak))
        return
    setup = Setup(
        *(path and path.resolve() for path in (options.ppo_ewma, options.cleanrl)),
        options.peer_python,
        options.iterations,
        options.policy_iterations,
        options.threads,
        options.steps,
    )
    contenders = [c for c in CONTENDERS if c.name in options.only and can_run(c, setup)]
    load_before = os.getloadavg()[0]
    peaks: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    rates: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    facts: dict[str, dict[str, float]] = {}
    for round_ in range(1, options.rounds + 1):
        for precision in PRECISIONS:
            peaks[precision].append(peak_in_own_process(precision, setup))
        for contender in contenders:
            facts[contender.name] = measure(contender, setup)
            rates[contender.name].append(facts[contender.name]["rate"])
            print(f"round {round_}, {contender.name}: {rates[contender.name][-1]:,.1f}/s", file=sys.stderr)

    rows: dict[str, dict[str, Any]] = {}
    for contender in contenders:
        name = contender.name
        rows[name] = {"steps_per_second": spread(rates[name]), "timed_iterations": facts[name]["iterations"]}
        if contender.trainer == "ours":
            flops = facts[name]["flops_per_step"] * statistics.median(rates[name])
            peak = statistics.median(peaks[contender.settings["precision"]])
            rows[name] |= {
                "flops_per_second": float(f"{flops:.4g}"),
                "share_of_bound": round(flops / peak, 3),
            }
    result = {
        "what": "environment steps per second of whole training processes on CoinRun easy after the first "
        "iteration, interleaved",
        "options": {"envs": ENVS, "minibatches": MINIBATCHES}
        | {
            name: getattr(options, name)
            for name in ("rounds", "iterations", "policy_iterations", "threads", "steps")
        },
        "load_average_before": round(load_before, 2),
        "convolution_flops_per_second": {precision: spread(values) for precision, values in peaks.items()},
        "contenders": rows,
        "comparisons": [compare(c, rates) for c in COMPARISONS if c.ours in rates and c.theirs in rates],
        "versions": {"ours": versions_of(sys.executable), "theirs": versions_of(options.peer_python)}
        | {"rlscale": metadata.version("rlscale")},
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print_tables(result)


if __name__ == "__main__":
    main()
