"""Environment steps per second on CartPole and Hopper: this trainer, stable-baselines3 and CleanRL, on CPU.

All train PPO with two separate networks of 2 x 64 tanh, the same batches, minibatches, epochs, discount and
step size, and a clipped gradient:

* CartPole-v1: 4 environments of 128 steps, 4 minibatches, 4 epochs (CleanRL's ppo.py and its settings);
* Hopper-v4: 1 environment of 2,048 steps, 32 minibatches, 10 epochs, observations and rewards normalised
  (CleanRL's ppo_continuous_action.py and its settings, which are stable-baselines3's defaults too).

This trainer also stores its curve and its checkpoints; CleanRL writes TensorBoard's files; stable-baselines3
logs nothing. CleanRL's files are run as they are published, from a checkout, without its clipped value loss
and its falling step size, which the others do not have; ppo_continuous_action.py needs gymnasium 0.29.

Each measurement is a process of its own, in turn A B C A B C, with one thread. A process says when an
iteration has ended; from the end of the first iteration, which warms up, to that of the last its processor
time and the time on the clock are taken, of all three from outside. Rates are steps per processor second,
which other work on the machine disturbs least.

    python benchmarks/control_speed.py --cleanrl DIR --cleanrl-python PYTHON [--rounds 3] [--only rlscale ...]

PYTHON is an interpreter with CleanRL's packages (torch, gymnasium 0.29, mujoco, tyro, tensorboard); this one
needs stable-baselines3.
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
from pathlib import Path
from typing import Any

TRAINERS = ("rlscale", "stable-baselines3", "CleanRL")
#: The least ratio of our rate to theirs that is asked for.
BARS = {"stable-baselines3": 2.0, "CleanRL": 1.0}
ITERATION = "SPS:"  # a line that begins like this ends an iteration; CleanRL's own
PACKAGES = ("torch", "gymnasium", "mujoco", "stable_baselines3", "rlscale")
TICK = os.sysconf("SC_CLK_TCK")
TASKS: dict[str, dict[str, Any]] = {
    "CartPole-v1": {
        "envs": 4,
        "steps": 128,
        "minibatches": 4,
        "epochs": 4,
        "learning_rate": 2.5e-4,
        "entropy": 0.01,
        "normalize": False,
        "iterations": 30,
        "script": "ppo.py",
    },
    "Hopper-v4": {
        "envs": 1,
        "steps": 2048,
        "minibatches": 32,
        "epochs": 10,
        "learning_rate": 3e-4,
        "entropy": 0.0,
        "normalize": True,
        "iterations": 3,
        "script": "ppo_continuous_action.py",
    },
}


def total_steps(task: str) -> int:
    """Environment steps of a measurement, with those of the first iteration."""
    settings = TASKS[task]
    return (1 + settings["iterations"]) * settings["envs"] * settings["steps"]


# -- the three trainers, each in a process of its own ---------------------------------------


def train_ours(task: str, folder: str) -> None:
    from rlscale.scaling.config.run import run_config
    from rlscale.scaling.training.facts import run_columns
    from rlscale.scaling.training.train import train
    from rlscale.sweeps.store.run_store import RunStore

    settings = TASKS[task]
    agent = {
        "algorithm": "ppo",
        "architecture": "dual",
        "learning_rate": settings["learning_rate"],
        "adam_eps": 1e-5,
        "horizon": 199,
        "gae_lambda": 0.95,
        "num_envs": settings["envs"],
        "rollout_steps": settings["steps"],
        "minibatches": settings["minibatches"],
        "minibatch_of": "steps",
        "epochs_policy": settings["epochs"],
        "epochs_value": settings["epochs"],
        "clip": 0.2,
        "importance_cap": 0,
        "value_coef": 0.25,  # of the square without a half
        "entropy_coef": settings["entropy"],
        "normalize_advantage_of": "minibatch",
        "max_grad_norm": 0.5,
    }
    if settings["normalize"]:
        agent |= {"normalize_observation": "running", "normalize_reward": True}
    values = {"task": f"gymnasium:{task}", "interactions": total_steps(task), "agent": agent}
    config = run_config(values, source="the benchmark")
    writer = RunStore(folder, create=True).claim(
        "speed",
        config.run_id,
        config=config.model_dump(mode="json"),
        columns=run_columns(config),
        provenance={},
        host="here",
        pid=os.getpid(),
    )

    def on_progress(interactions: int, _: float) -> None:
        if interactions:
            print(ITERATION, interactions, flush=True)

    train(config, writer, on_progress=on_progress)


def train_sb3(task: str, _: str) -> None:
    import gymnasium
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

    torch.set_num_threads(1)
    settings = TASKS[task]

    class Marks(BaseCallback):
        """A rollout begins when the iteration before has ended."""

        def _on_rollout_start(self) -> None:
            if self.num_timesteps:
                print(ITERATION, self.num_timesteps, flush=True)

        def _on_training_end(self) -> None:
            print(ITERATION, self.num_timesteps, flush=True)

        def _on_step(self) -> bool:
            return True

    envs: VecEnv = DummyVecEnv([lambda: Monitor(gymnasium.make(task))] * settings["envs"])
    model = PPO(
        "MlpPolicy",
        VecNormalize(envs, gamma=0.99) if settings["normalize"] else envs,
        n_steps=settings["steps"],
        batch_size=settings["envs"] * settings["steps"] // settings["minibatches"],
        n_epochs=settings["epochs"],
        learning_rate=settings["learning_rate"],
        gamma=0.99,
        gae_lambda=0.95,
        clip_range=0.2,
        ent_coef=settings["entropy"],
        vf_coef=0.25,
        max_grad_norm=0.5,
        device="cpu",
    )
    model.learn(total_steps(task), callback=Marks())


def cleanrl_options(task: str) -> list[str]:
    settings = TASKS[task]
    values = {
        "env-id": task,
        "total-timesteps": total_steps(task),
        "num-envs": settings["envs"],
        "num-steps": settings["steps"],
        "num-minibatches": settings["minibatches"],
        "update-epochs": settings["epochs"],
        "learning-rate": settings["learning_rate"],
        "ent-coef": settings["entropy"],
    }
    options = [word for name, value in values.items() for word in (f"--{name}", str(value))]
    return [*options, "--no-cuda", "--no-clip-vloss", "--no-anneal-lr"]


# -- measuring ------------------------------------------------------------------------------


def processor_seconds(pid: int) -> float:
    """User and system time of a process so far (proc_pid_stat(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def measure(trainer: str, task: str, asked: argparse.Namespace) -> dict[str, float]:
    """Steps per processor second and per second on the clock of a whole process.

    Exits with the process's complaint if it fails.
    """
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as complaints:
        if trainer == "CleanRL":
            script = str(asked.cleanrl.resolve() / "cleanrl" / TASKS[task]["script"])
            command = [asked.cleanrl_python, script, *cleanrl_options(task)]
        else:
            command = [sys.executable, __file__, "--child", trainer, task, folder]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            cwd=folder,
            env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        )
        assert process.stdout is not None
        marks = [
            (processor_seconds(process.pid), time.perf_counter())
            for line in process.stdout
            if line.startswith(ITERATION)
        ]
        if process.wait() != 0:
            complaints.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{complaints.read()}")
    settings = TASKS[task]
    assert len(marks) == 1 + settings["iterations"], f"{trainer} ended {len(marks)} iterations"
    steps = settings["iterations"] * settings["envs"] * settings["steps"]
    processor, clock = (last - first for first, last in zip(marks[0], marks[-1], strict=True))
    return {"per_processor_second": steps / processor, "per_second": steps / clock}


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and most, to three digits."""
    three = {"median": statistics.median(values), "least": min(values), "most": max(values)}
    return {name: float(f"{value:.3g}") for name, value in three.items()}


def compare(rates: dict[str, list[float]], theirs: str) -> dict[str, Any]:
    """Our rate over theirs, round by round."""
    ratio = spread([a / b for a, b in zip(rates["rlscale"], rates[theirs], strict=True)])
    return {"ratio": ratio, "bar": BARS[theirs], "bar_met": ratio["median"] >= BARS[theirs]}


def versions_of(python: str) -> dict[str, str]:
    """What an interpreter has of the packages that the trainers run on."""
    code = f"""
import json
from importlib import metadata
found = {{d.metadata["Name"]: d.version for d in reversed(list(metadata.distributions()))}}
print(json.dumps({{name: found[name] for name in {PACKAGES!r} if name in found}}))
"""
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cleanrl", type=Path, help="a checkout of vwxyzjn/cleanrl")
    parser.add_argument("--cleanrl-python", default=sys.executable, help="the interpreter that runs CleanRL")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=TRAINERS, default=list(TRAINERS))
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "control_speed.json")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        trainer, task, folder = asked.child
        (train_ours if trainer == "rlscale" else train_sb3)(task, folder)
        return
    if "CleanRL" in asked.only and asked.cleanrl is None:
        parser.error("give --cleanrl, or --only without it")
    load_before = os.getloadavg()[0]
    result: dict[str, Any] = {
        "what": "environment steps per processor second, and per second on the clock, of whole training "
        "processes after their first iteration, in turn",
        "rounds": asked.rounds,
        "load_average_before": round(load_before, 2),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "tasks": {},
    }
    for task in asked.tasks:
        rates: dict[str, list[float]] = {trainer: [] for trainer in asked.only}
        clock: dict[str, list[float]] = {trainer: [] for trainer in asked.only}
        for round_ in range(1, asked.rounds + 1):
            for trainer in asked.only:
                found = measure(trainer, task, asked)
                rates[trainer].append(found["per_processor_second"])
                clock[trainer].append(found["per_second"])
                print(f"round {round_}, {task}, {trainer}: {rates[trainer][-1]:,.0f}", flush=True)
        result["tasks"][task] = {
            "settings": TASKS[task],
            "steps_per_processor_second": {trainer: spread(rates[trainer]) for trainer in asked.only},
            "steps_per_second": {trainer: spread(clock[trainer]) for trainer in asked.only},
            "rlscale_over": {
                theirs: compare(rates, theirs)
                for theirs in BARS
                if theirs in asked.only and "rlscale" in asked.only
            },
        }
    result["versions"] = {"rlscale and stable-baselines3": versions_of(sys.executable)}
    if "CleanRL" in asked.only:
        result["versions"]["CleanRL"] = versions_of(asked.cleanrl_python)
    asked.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({task: found["rlscale_over"] for task, found in result["tasks"].items()}, indent=1))


if __name__ == "__main__":
    main()
