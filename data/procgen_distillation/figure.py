"""Draw ``curves.parquet`` and ``distilled.json`` as ``distillation.png``; run it here."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from rlscale.analysis.figures.files import write_figure
from rlscale.analysis.figures.style import ACCENT, INK, QUIET, house_style, line_mark, new_figure

#: Ends of the teacher's and the students' keys in the JSON, and their colours.
POLICIES = {"teacher": INK, "students": ACCENT}
#: Measures by what they say, and the labels of their places.
RETURNS = {"return_seen": "seen levels", "return_unseen": "unseen levels"}
DIVERGENCES = {
    "divergence_mixed_0.9": "mixed\n0.9",
    "divergence_mixed_0.75": "mixed\n0.75",
    "divergence_mixed_0.5": "mixed\n0.5",
    "divergence_noise_0.1": "noise\n0.1",
    "divergence_noise_0.3": "noise\n0.3",
}
#: Rows of the curve that a point of the first panel is the mean of.
TOGETHER = 8


def plot_curve(rows: pd.DataFrame, random: float, ax: Axes) -> None:
    """The teacher's return while it learned."""
    rows = rows.dropna(subset=["return_mean"])
    parts = [part for _, part in rows.groupby(np.arange(len(rows)) // TOGETHER)]
    returns = [np.average(part.return_mean, weights=part.episodes) for part in parts]
    ax.plot([part.interactions.mean() / 1000 for part in parts], returns, color=INK)
    ax.axhline(random, color=QUIET, linestyle=":", linewidth=0.9)
    ax.set(xlabel="Interactions $E$, thousands", ylim=(0, 10.2), xlim=(0, None))
    ax.set_title("Return of the teacher", loc="left")


def plot_measures(measures: dict[str, dict], names: dict[str, str], ax: Axes) -> None:
    """Teacher and students side by side, with their 90% intervals."""
    for shift, (who, colour) in zip((-0.1, 0.1), POLICIES.items(), strict=True):
        value = np.array([measures[name]["teacher" if who == "teacher" else "mean"] for name in names])
        low, high = np.array([measures[name][f"{who}_interval"] for name in names]).T
        ax.errorbar(
            np.arange(len(names)) + shift,
            value,
            yerr=[value - low, high - value],
            fmt="o",
            color=colour,
            markersize=3.5,
            capsize=2,
            linewidth=0.9,
        )
    ax.set_xticks(range(len(names)), list(names.values()))
    ax.set_xlim(-0.5, len(names) - 0.5)


def main() -> None:
    found = json.loads(Path("distilled.json").read_text())
    measures = {each["name"]: each for each in found["measures"]}
    random = {
        name: json.loads(Path(f"random_{name.removeprefix('return_')}.json").read_text())["return_mean"]
        for name in RETURNS
    }
    with house_style():
        figure = new_figure((8.4, 3.0))
        curve, returns, shifts = figure.subplots(1, 3, width_ratios=(1, 0.8, 1.3))
        plot_curve(pd.read_parquet("curves.parquet"), random["return_seen"], curve)
        plot_measures(measures, RETURNS, returns)
        for place, value in enumerate(random.values()):
            returns.plot([place - 0.25, place + 0.25], [value] * 2, color=QUIET, linestyle=":", linewidth=0.9)
        returns.set_ylim(0, 10.2)
        returns.set_title("Return", loc="left")
        plot_measures(measures, DIVERGENCES, shifts)
        shifts.set_yscale("log")
        shifts.set_title("KL from the policy before, nat", loc="left")
        marks = [line_mark(colour, marker="o", markersize=3.5, linewidth=0) for colour in POLICIES.values()]
        figure.legend(
            [*marks, line_mark(QUIET, ":", linewidth=0.9)],
            [*POLICIES, "random policy"],
            loc="outside upper left",
            ncols=3,
        )
    write_figure(figure, Path("distillation.png"))


if __name__ == "__main__":
    main()
