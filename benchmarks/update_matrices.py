"""Update matrices along training: does learning one state move the others, by kind of agent?

    python benchmarks/update_matrices.py             # 10 minutes on one core
    python benchmarks/update_matrices.py --seeds 1 --interactions 5000

Lyle et al. (2022) show update matrices of DQN-like agents that drift towards the diagonal (each state is
learned for itself), while critics of policy-gradient agents keep stronger interference. Here: DQN and a
quantile variant (QR-DQN), and the critic of PPO, all with two hidden layers of 64 ReLU units and the same
initial weights' scales, on CartPole, discount 0.99. A value is that of the greedy action, in QR-DQN its mean
over quantiles. The matrix is the first-order kernel K_ij / K_ii of 100 states: those that the agent met last
(replay buffer, rollout), and 100 fixed ones that are the same for all agents and times.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gymnasium
import numpy as np
import torch
from scipy import stats
from torch import nn
from torch.nn import functional as F

from rlscale.analysis.figures.files import write_figure
from rlscale.analysis.figures.interference import plot_update_matrix, plot_with_band
from rlscale.analysis.figures.style import house_style, new_figure
from rlscale.scaling.config.run import run_config
from rlscale.scaling.diagnostics.interference import interference, normalized
from rlscale.scaling.diagnostics.tangent import kernel_of
from rlscale.scaling.models.mlp import Mlp
from rlscale.scaling.models.trunk import HEAD_SCALE, normed
from rlscale.scaling.rollouts.policy import flat_inputs
from rlscale.scaling.training.run import Run

RESULTS = Path(__file__).parent / "results"
TASK, GAMMA, UNITS, STATES = "CartPole-v1", 0.99, 64, 100
#: Where the measures are taken, as shares of the run.
SHARES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
DQN = {
    "learning_rate": 5e-4,
    "buffer": 20_000,
    "batch": 64,
    "starts": 500,
    "every": 2,
    "target": 250,
    "explore": 0.1,
}
PPO = {
    "horizon": 199,
    "gae_lambda": 0.95,
    "num_envs": 8,
    "rollout_steps": 128,
    "minibatches": 4,
    "epochs_policy": 4,
    "epochs_value": 4,
    "learning_rate": 5e-4,
    "algorithm": "ppo",
}
#: Quantiles of each agent; 1 is DQN.
QUANTILES = {"DQN": 1, "QR-DQN": 20}
COLOURS = {"DQN": "#b2182b", "QR-DQN": "#d6881b", "PPO critic": "#21618c"}

#: (interactions, mean return of late, values of states (n, 4), the network's parameters, states met of late)
Moment = tuple[int, float, Callable[[torch.Tensor], torch.Tensor], list[nn.Parameter], torch.Tensor]


class QNetwork(nn.Module):
    """Q of both actions by quantile, (n, actions, quantiles)."""

    def __init__(self, quantiles: int, generator: torch.Generator) -> None:
        super().__init__()
        self.trunk, self.quantiles = Mlp(UNITS, 2, "relu", (4,), generator), quantiles
        self.head = normed(nn.Linear(UNITS, 2 * quantiles), HEAD_SCALE, generator)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.head(self.trunk(states)).unflatten(1, (2, self.quantiles))

    def values(self, states: torch.Tensor) -> torch.Tensor:
        """max_a of the mean over quantiles, (n,)."""
        return self(states).mean(dim=2).max(dim=1).values


def td_loss(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Huber loss, or quantile Huber loss (Dabney et al. 2018), of quantiles and targets (n, q)."""
    if predicted.shape[1] == 1:
        return F.smooth_l1_loss(predicted, target)
    levels = (torch.arange(predicted.shape[1]) + 0.5) / predicted.shape[1]
    error = target[:, None, :] - predicted[:, :, None]
    huber = F.huber_loss(
        predicted[:, :, None].expand_as(error), target[:, None, :].expand_as(error), reduction="none"
    )
    return ((levels[:, None] - (error.detach() < 0).float()).abs() * huber).sum(dim=1).mean()


def dqn(quantiles: int, seed: int, interactions: int) -> Iterator[Moment]:
    """Double DQN with a replay buffer and a target network; yields at ``SHARES`` of the run."""
    torch.manual_seed(seed)
    rng, env = np.random.default_rng(seed), gymnasium.make(TASK)
    network = QNetwork(quantiles, torch.Generator().manual_seed(seed))
    target = QNetwork(quantiles, torch.Generator().manual_seed(seed))
    target.load_state_dict(network.state_dict())
    optimizer = torch.optim.Adam(network.parameters(), lr=DQN["learning_rate"])
    size = int(DQN["buffer"])
    memory = {"state": np.zeros((size, 4), np.float32), "next": np.zeros((size, 4), np.float32)}
    memory |= {name: np.zeros(size, np.float32) for name in ("action", "reward", "ended")}
    due, returns, total = [round(share * interactions) for share in SHARES], [0.0], 0.0
    state, _ = env.reset(seed=seed)
    for step in range(interactions + 1):
        if step in due:
            met = min(step, size) or 1
            where = rng.integers(met, size=STATES)
            recent = torch.from_numpy(memory["state"][where]) if step else start_states(rng)
            yield step, float(np.mean(returns[-20:])), network.values, list(network.parameters()), recent
        explore = max(DQN["explore"], 1 - step / (0.1 * interactions))
        if rng.random() < explore:
            action = int(rng.integers(2))
        else:
            with torch.no_grad():
                action = int(network(torch.from_numpy(state)[None]).mean(dim=2).argmax())
        following, reward, ended, cut, _ = env.step(action)
        place = step % size
        for name, value in zip(memory, (state, following, action, reward, ended), strict=True):
            memory[name][place] = value
        total += float(reward)
        state = following
        if ended or cut:
            returns.append(total)
            total, (state, _) = 0.0, env.reset()
        if step >= DQN["starts"] and step % DQN["every"] == 0:
            rows = rng.integers(min(step + 1, size), size=int(DQN["batch"]))
            part = {name: torch.from_numpy(values[rows]) for name, values in memory.items()}
            index = torch.arange(len(rows))
            with torch.no_grad():
                best = network(part["next"]).mean(dim=2).argmax(dim=1)
                goal = (
                    part["reward"][:, None]
                    + GAMMA * (1 - part["ended"])[:, None] * target(part["next"])[index, best]
                )
            loss = td_loss(network(part["state"])[index, part["action"].long()], goal)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 10.0)
            optimizer.step()
        if step % DQN["target"] == 0:
            target.load_state_dict(network.state_dict())


def ppo(seed: int, interactions: int) -> Iterator[Moment]:
    """The critic of PPO, a network of its own; yields at the first iteration past each share."""
    config = run_config(
        {
            "task": f"gymnasium:{TASK}",
            "interactions": interactions,
            "seed": seed,
            "model": {"family": "mlp", "activation": "relu"},
            "agent": PPO,
        },
        source="this benchmark",
    )
    run, rng = Run(config), np.random.default_rng(seed)
    critic = run.agent.model.value
    assert critic is not None

    def values(states: torch.Tensor) -> torch.Tensor:
        return run.agent.model.values(flat_inputs(states))[0][:, 0]

    recent, mean = start_states(rng), 0.0
    collect = run.collector.collect

    def watched(*arguments, **options):
        nonlocal recent, mean
        rollout, returns, lengths = collect(*arguments, **options)
        states = rollout.observation.flatten(0, 1)
        recent = states[torch.from_numpy(rng.permutation(len(states))[:STATES])]
        mean = float(returns.mean()) if len(returns) else mean
        return rollout, returns, lengths

    run.collector.collect = watched  # type: ignore[method-assign]
    for share in SHARES:
        while run.interactions < round(share * interactions):
            run.iterate()
        yield run.interactions, mean, values, list(critic.parameters()), recent


def start_states(rng: np.random.Generator) -> torch.Tensor:
    """States at the beginnings of episodes."""
    return torch.from_numpy(rng.uniform(-0.05, 0.05, (STATES, 4)).astype(np.float32))


def fixed_states() -> torch.Tensor:
    """Spread over what CartPole shows: positions, velocities, angles, angular velocities."""
    half = np.array([1.5, 1.5, 0.15, 1.5])
    return torch.from_numpy((np.random.default_rng(0).uniform(-1, 1, (STATES, 4)) * half).astype(np.float32))


def measured(moments: Iterator[Moment], keep: dict[str, np.ndarray] | None) -> list[dict[str, float]]:
    """The measures along one run; ``keep`` gets some matrices, their states in order of their values."""
    found, fixed = [], fixed_states()
    for (interactions, mean, values, parameters, recent), share in zip(moments, SHARES, strict=True):
        row = {"interactions": float(interactions), "return": mean}
        for name, states in (("met", recent), ("fixed", fixed)):
            now = values(states)
            kernel = kernel_of(now, parameters)
            one = interference(kernel)
            row[f"off_diagonal_{name}"] = one.off_diagonal
            row[f"effective_rank_{name}"] = one.effective_rank
            row[f"approximate_rank_{name}"] = one.approximate_rank
            if keep is not None and name == "fixed" and share in (0.0, 0.1, 1.0):
                order = now.detach().argsort()
                keep[f"{share:g}"] = normalized(kernel[order][:, order]).numpy()
        found.append(row)
    return found


def summary(runs: list[list[dict[str, float]]]) -> list[dict[str, list[float]]]:
    """Mean and 90% t interval over seeds at each moment: [mean, low, high] of each measure."""
    rows = []
    for moment in zip(*runs, strict=True):
        row = {}
        for name in moment[0]:
            values = np.array([each[name] for each in moment])
            half = (
                stats.t.ppf(0.95, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
                if len(values) > 1
                else 0
            )
            row[name] = [float(values.mean()), float(values.mean() - half), float(values.mean() + half)]
        rows.append(row)
    return rows


def draw(found: dict[str, list[dict[str, list[float]]]], matrices: dict[str, dict[str, np.ndarray]]) -> None:
    """Matrices of the first seed above, the measures of all seeds below."""
    with house_style():
        figure = new_figure((7.4, 6.4))
        top, bottom = figure.subfigures(2, 1, height_ratios=(1.9, 1.0))
        axes = top.subplots(len(matrices), 3)
        for row, (agent, kept) in zip(axes, matrices.items(), strict=True):
            for ax, (share, matrix) in zip(row, kept.items(), strict=True):
                plot_update_matrix(matrix, ax=ax)
                if agent == next(iter(matrices)):
                    ax.set_title({"0": "at the start", "0.1": "after a tenth", "1": "at the end"}[share])
            row[0].set_ylabel(agent)
        bar = top.colorbar(axes[0, 0].images[0], ax=axes, aspect=40, pad=0.02)
        bar.set_label("$K_{ij}/K_{ii}$, states by value")
        left, right = bottom.subplots(1, 2)
        for ax, name, label in (
            (left, "off_diagonal_fixed", r"Mean $|K_{ij}/K_{ii}|$, $i \neq j$"),
            (right, "effective_rank_fixed", "Effective rank"),
        ):
            for agent, rows in found.items():
                steps = [row["interactions"][0] / 1000 for row in rows]
                columns = np.array([row[name] for row in rows]).T
                plot_with_band(steps, *columns, colour=COLOURS[agent], label=agent, ax=ax)
            ax.set_ylim(bottom=0)
            ax.set_xlabel("Interactions, thousands")
            ax.set_ylabel(label)
        left.legend(loc=(0.62, 0.5))
    write_figure(figure, RESULTS / "update_matrices.png")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--interactions", type=int, default=20_000)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    started, found, matrices = time.perf_counter(), {}, {}
    for agent in COLOURS:
        runs, matrices[agent] = [], {}
        for seed in range(asked.seeds):
            n = asked.interactions
            moments = dqn(QUANTILES[agent], seed, n) if agent in QUANTILES else ppo(seed, n)
            runs.append(measured(moments, matrices[agent] if seed == 0 else None))
        found[agent] = summary(runs)
        print(f"{agent}: mean [90% interval over {asked.seeds} seeds]")
        for row in found[agent]:
            print(
                "  " + "  ".join(f"{name} {v[0]:.3g} [{v[1]:.3g}, {v[2]:.3g}]" for name, v in row.items()),
                flush=True,
            )
    seconds = round(time.perf_counter() - started)
    stored = {"seeds": asked.seeds, "interactions": asked.interactions, "agents": found, "seconds": seconds}
    (RESULTS / "update_matrices.json").write_text(json.dumps(stored, indent=1) + "\n")
    draw(found, matrices)


if __name__ == "__main__":
    main()
