"""How many students times steps a second the simulated RL perceptron takes, beside a plain NumPy loop.

All in one run on one thread, in turn, seconds of processor time: the loop over students and steps, the same
with the T inputs of an episode as one matrix, and the three simulations of the toolkit, which have one law.
Medians over the rounds; ratios are taken within rounds, with their quartiles.

    python benchmarks/perceptron_speed.py [--dimension 900] [--steps 10] [--students 64] [--rounds 7]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from rlscale.analysis.theory.rl_perceptron import reward_rule
from rlscale.scaling.solvable.rl_perceptron import Students

SECONDS = 0.6  # about this long a simulation and round


def loop_of_steps(dimension: int, steps: int, count: int) -> Callable[[], None]:
    """An episode of every student as one would write it first: a loop over students, one over steps."""
    rng = np.random.default_rng(0)
    students, teachers = rng.standard_normal((2, count, dimension))

    def episode() -> None:
        for w, teacher in zip(students, teachers, strict=True):
            change, correct = np.zeros(dimension), True
            for _ in range(steps):
                x = rng.standard_normal(dimension)
                y = np.sign(w @ x)
                correct = correct and y == np.sign(teacher @ x)
                change += y * x
            if correct:
                w += change / (steps * np.sqrt(dimension))

    return episode


def loop_of_episodes(dimension: int, steps: int, count: int) -> Callable[[], None]:
    """The same with the inputs of an episode in one matrix."""
    rng = np.random.default_rng(0)
    students, teachers = rng.standard_normal((2, count, dimension))

    def episode() -> None:
        for w, teacher in zip(students, teachers, strict=True):
            x = rng.standard_normal((steps, dimension))
            y = np.sign(x @ w)
            if (y == np.sign(x @ teacher)).all():
                w += y @ x / (steps * np.sqrt(dimension))

    return episode


def speed(episode: Callable[[], None], work: int) -> float:
    """Students times steps a second of processor time."""
    episode()
    before, done = time.process_time(), 0
    while time.process_time() - before < SECONDS:
        episode()
        done += 1
    return done * work / (time.process_time() - before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--dimension", type=int, default=900)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--students", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results" / "perceptron_speed.json"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    sizes = (options.dimension, options.steps, options.students)
    rule = reward_rule("all-correct", options.steps)
    ways = {"loop over steps": loop_of_steps(*sizes), "loop over episodes": loop_of_episodes(*sizes)}
    for keeps in ("inputs", "weights", "overlaps"):
        for dtype in (torch.float64, torch.float32):
            batch = Students(
                options.dimension, options.students, keeps=keeps, dtype=dtype, device=options.device
            )
            name = f"{keeps}, {str(dtype).removeprefix('torch.')}"
            ways[name] = lambda batch=batch: batch.episode(rule)  # type: ignore[misc]
    work = options.students * options.steps
    rounds = {name: [] for name in ways}  # type: dict[str, list[float]]
    for _ in range(options.rounds):
        for name, episode in ways.items():
            rounds[name].append(speed(episode, work))
    loops = {name: np.array(rounds[name]) for name in ("loop over steps", "loop over episodes")}
    result = {
        name: {
            "students_times_steps_per_second": float(np.median(speeds)),
            **{
                f"times_the_{loop.replace(' ', '_')}": [
                    float(each) for each in np.quantile(np.array(speeds) / slow, (0.25, 0.5, 0.75))
                ]
                for loop, slow in loops.items()
            },
        }
        for name, speeds in rounds.items()
    }
    setting = {"dimension": sizes[0], "steps": sizes[1], "students": sizes[2], "device": options.device}
    setting |= {"rounds": options.rounds, "torch": torch.__version__, "numpy": np.__version__, "threads": 1}
    options.out.write_text(json.dumps({"setting": setting, "speeds": result}, indent=1) + "\n")
    for name, each in result.items():
        print(name, json.dumps(each))


if __name__ == "__main__":
    main()
