"""What bfloat16 does to a Procgen agent: errors of log-probabilities, and learning curves beside float32's.

The first minibatch of an iteration should see a ratio of 1 between the policy that acts and the
one that learns. The log ratio's error is measured on a rollout of an agent that has trained for a while,
and so is that against the same weights in float32.

With curves of both precisions (``--curves``, files that ``rlscale curves export`` wrote, and the
``--spec`` files that tell each run's precision) the returns of the runs of one width are compared over
the second half of their first ``--until`` interactions, run by run.

    python benchmarks/procgen_precision.py [--curves FILE ... --spec SPEC.yaml ...] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from procgen_stepping import config_of
from torch.distributions import Categorical

from rlscale.scaling.rollouts.rollout import Batch
from rlscale.scaling.training.run import Run

ITERATIONS, ENVS, STEPS = 8, 16, 256


def trained_run(width: float, threads: int) -> Run:
    """A StarPilot agent in bfloat16 after a few iterations."""
    run = Run(config_of("starpilot", width, "bfloat16", envs=ENVS, threads=threads))
    for _ in range(ITERATIONS):
        run.iterate()
    return run


@torch.no_grad()
def log_ratio_errors(run: Run) -> dict[str, float]:
    """Root mean square and maximum of log ratios that would be 0 in exact arithmetic."""
    model = run.agent.model
    rollout, _, _ = run.collector.collect(model, envs=ENVS, steps=STEPS, needs_bootstrap=True)
    zeros = torch.zeros(STEPS, ENVS)
    batch = run.agent.batch(rollout, zeros, zeros)
    errors = {"bfloat16 learning against bfloat16 acting": learning_logp(run, batch) - batch.logp}
    model.policy.precision = torch.float32
    errors["float32 learning against bfloat16 acting"] = learning_logp(run, batch) - batch.logp
    model.policy.precision = torch.bfloat16
    return {
        f"{name}, {statistic}": value
        for name, error in errors.items()
        for statistic, value in (
            ("rms", float(error.square().mean().sqrt())),
            ("max", float(error.abs().max())),
        )
    }


def learning_logp(run: Run, batch: Batch) -> torch.Tensor:
    """Log-probabilities as a gradient step computes them, (rows, steps)."""
    parts = batch.parts(run.agent.model.chunk, run.device)
    policies = ((part, run.agent.model.policy_logits(part.inputs)) for part in parts)
    return torch.cat([Categorical(logits=logits).log_prob(part.action) for part, logits in policies])


def compared_curves(
    curves: Sequence[Path], specs: Sequence[Path], *, width: float, until: int
) -> list[dict[str, Any]]:
    """Mean return over the second half of the first ``until`` interactions of each run of one width."""
    from rlscale.sweeps.specs.spec import expand, load_spec

    frame = pd.concat([pd.read_parquet(path) for path in curves])
    rows = []
    for config in (config for spec in specs for config in expand(load_spec(spec))):
        run = frame[frame["run_id"] == config.run_id].dropna(subset=["return_mean"])
        late = run[(run["interactions"] > until / 2) & (run["interactions"] <= until)]
        if late.empty or config.model.width != width:
            continue
        episodes = late["episodes"].to_numpy(float)
        variance = np.average(late["return_std"].to_numpy() ** 2, weights=episodes)
        rows.append(
            {
                "precision": config.precision,
                "seed": config.seed,
                "return": float(np.average(late["return_mean"], weights=episodes)),
                "standard_error": float(np.sqrt(variance / episodes.sum())),
                "episodes": int(episodes.sum()),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--curves", type=Path, nargs="+")
    parser.add_argument("--spec", type=Path, nargs="+")
    parser.add_argument("--width", type=float, default=0.25, help="of the runs that are compared")
    parser.add_argument("--until", type=int, default=200_000, help="interactions of them")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results" / "procgen_precision.json"
    )
    options = parser.parse_args()
    results: dict[str, Any] = {"log_ratio": {}, "curves": []}
    for width in (0.25, 1.0):
        errors = log_ratio_errors(trained_run(width, options.threads))
        results["log_ratio"][f"width {width:g}"] = errors
        for name, value in errors.items():
            print(f"width {width:g}: {name}: {value:.2g}")
    if options.curves and options.spec:
        results["curves"] = compared_curves(
            options.curves, options.spec, width=options.width, until=options.until
        )
        for row in results["curves"]:
            print(row)
    options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
