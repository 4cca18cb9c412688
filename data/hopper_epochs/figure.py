"""Draw ``curves.parquet`` and ``capacity.json`` as ``epochs.png``, and print the numbers; run it here."""

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from rlscale.analysis.figures.files import write_figure
from rlscale.analysis.figures.style import ACCENT, INK, house_style, line_mark, new_figure
from rlscale.analysis.figures.trust import plot_band
from rlscale.sweeps.specs.spec import expand, load_spec

#: Epochs over each batch, and their colour.
RECIPES = {10: INK, 20: ACCENT}
#: Column, label, and whether its axis is logarithmic.
PANELS = (
    ("return_mean", "Return", False),
    ("policy_preactivation_norm", "Pre-activation norm", False),
    ("policy_approximate_rank", "Feature rank", False),
    ("excess_ratio", "Excess ratio", False),
    ("policy_variance", "Policy variance", False),
    ("actor", "Capacity loss of the actor", True),
)
RANKS = ("approximate", "effective", "srank", "absolute", "pytorch")
#: Shares of training at both ends that are compared.
FIRST, LAST = 0.1, 0.1
CLIP = 0.2


def epochs_of_runs() -> dict[str, int]:
    """Epochs of each run of the spec, by its id."""
    return {run.run_id: run.agent.epochs_policy for run in expand(load_spec(Path("spec.yaml")))}


def capacity_rows(epochs: dict[str, int]) -> pd.DataFrame:
    """The capacity loss along each run, a row a checkpoint."""
    found = json.loads(Path("capacity.json").read_text())["runs"]
    return pd.DataFrame(
        {
            "epochs": epochs[run["run_id"]],
            "seed": run["columns"]["seed"],
            "interactions": point["interactions"],
            "actor": point["actor"]["value"],
            "critic": point["critic"]["value"],
        }
        for run in found
        for point in run["points"]
    )


def ends(run: pd.DataFrame, column: str) -> tuple[float, float]:
    """Means over the first and the last part of training."""
    e, values = run.interactions / run.interactions.max(), run[column]
    return float(values[e <= FIRST].mean()), float(values[e > 1 - LAST].mean())


def rank_name(kind: str) -> str:
    return "policy_srank" if kind == "srank" else f"policy_{kind}_rank"


def about(run: pd.DataFrame) -> str:
    """What one run says to the paper's findings."""
    columns = ["return_mean", "policy_preactivation_norm", *map(rank_name, RANKS), "value_approximate_rank"]
    columns += ["policy_dead_share", "excess_ratio", "ratio_below", "kl_exact", "policy_variance", "entropy"]
    columns += ["policy_ntk_rank", "policy_weight_norm"]
    text = [f"{name} {first:.3g} to {last:.3g}" for name in columns for first, last in [ends(run, name)]]
    norms = run[["interactions", "policy_preactivation_norm"]].dropna()
    rising = stats.spearmanr(*norms.to_numpy().T).statistic
    trust = run[["ratio_below", "policy_approximate_rank"]].dropna()
    together = stats.spearmanr(*trust.to_numpy().T).statistic
    return f"norm against E {rising:.2f}; ratio below against rank {together:.2f}; " + "; ".join(text)


def agreement(runs: list[pd.DataFrame]) -> str:
    """The mean over runs of Spearman's correlation between each two ranks."""
    found = []
    for one, other in combinations(RANKS, 2):
        pairs = [run[[rank_name(one), rank_name(other)]].dropna().to_numpy().T for run in runs]
        known = [stats.spearmanr(*pair).statistic for pair in pairs if np.ptp(pair, axis=1).all()]
        found.append(
            f"{one} and {other} {np.mean(known):.2f} ({len(known)} runs)" if known else f"{one}, {other} -"
        )
    return "; ".join(found)


def draw(rows: pd.DataFrame, capacity: pd.DataFrame) -> None:
    with house_style():
        figure = new_figure((7.2, 4.6))
        for ax, (column, label, is_log) in zip(figure.subplots(2, 3, sharex=True).flat, PANELS, strict=True):
            table = capacity if column == "actor" else rows
            for epochs, colour in RECIPES.items():
                runs = [run for _, run in table[table.epochs.eq(epochs)].groupby("seed")]
                values, thousands = [run[column] for run in runs], runs[0].interactions / 1000
                plot_band(thousands, values, colour=colour, geometric=is_log, ax=ax)
            ax.set_yscale("log" if is_log else "linear")
            ax.set_title(label, loc="left")
            ax.set_xlim(0, None)
        for ax in figure.axes[3:]:
            ax.set_xlabel("Interactions $E$, thousands")
        figure.axes[3].axhline((1 + CLIP) / (1 - CLIP), color=INK, linestyle=":", linewidth=0.8)
        marks = [line_mark(colour) for colour in RECIPES.values()]
        figure.legend(marks, [f"{n} epochs" for n in RECIPES], loc="outside upper left", ncols=2)
    write_figure(figure, Path("epochs.png"))


def main() -> None:
    epochs = epochs_of_runs()
    rows = pd.read_parquet("curves.parquet")
    rows["epochs"] = rows.run_id.map(epochs)
    runs = [(name, run) for name, run in rows.groupby(["seed", "epochs"])]
    for (seed, count), run in runs:
        print(f"seed {seed}, {count} epochs: {about(run)}")
    print(agreement([run for _, run in runs]))
    capacity = capacity_rows(epochs)
    for (seed, count), run in capacity.groupby(["seed", "epochs"]):
        losses = f"actor {list(run.actor.round(6))}, critic {list(run.critic.round(5))}"
        print(f"seed {seed}, {count} epochs: {losses}")
    draw(rows, capacity)


if __name__ == "__main__":
    main()
