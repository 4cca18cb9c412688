"""Draw ``curves.parquet`` as ``curves.png`` and print how each run ends; run it here."""

from pathlib import Path

import pandas as pd

from rlscale.analysis.figures.files import write_figure
from rlscale.analysis.figures.style import house_style, new_figure, size_colours, size_key

SWEEPS = {"ppo-collapse-width": "PPO", "ppo-penalty-width": "PPO with the feature penalty"}
#: Share of training at the end whose mean is printed.
LAST = 0.05
#: Iterations that a drawn line averages over, so that ten lines in a panel can be told apart.
SMOOTH = 7


def main() -> None:
    rows = pd.read_parquet("curves.parquet")
    sizes = sorted(rows.num_params.unique())
    for (sweep, size, seed), run in rows.groupby(["sweep", "num_params", "seed"]):
        late = run[run.interactions > (1 - LAST) * run.interactions.max()]
        print(
            f"{SWEEPS[sweep]}, N = {size}, seed {seed}: best {run.return_mean.max():.2f}, last 5% "
            f"{late.return_mean.mean():.2f}"
        )
    with house_style():
        figure = new_figure((7.2, 3.0))
        panels = figure.subplots(1, 2, sharex=True, sharey=True)
        for ax, (sweep, title) in zip(panels, SWEEPS.items(), strict=True):
            for size, colour in zip(sizes, size_colours(sizes), strict=True):
                for _, run in rows[rows.sweep.eq(sweep) & rows.num_params.eq(size)].groupby("seed"):
                    smooth = run.return_mean.rolling(SMOOTH, center=True, min_periods=1).mean()
                    ax.plot(run.interactions / 1000, smooth, color=colour, linewidth=1.0)
            ax.set(title=title, xlim=(0, None), ylim=(0, 1), xlabel="Interactions $E$, thousands")
        panels[0].set_ylabel("Accuracy")
        size_key(panels[1], sizes, "Parameters $N$")
    write_figure(figure, Path("curves.png"))


if __name__ == "__main__":
    main()
