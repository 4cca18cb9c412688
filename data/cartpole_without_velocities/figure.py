"""Draw ``curves.parquet`` as ``learning_curves.png`` and print the numbers of its page; run it here."""

from pathlib import Path

import numpy as np
import pandas as pd

from rlscale.analysis.figures.files import write_figure
from rlscale.analysis.figures.style import ACCENT, INK, QUIET, house_style, key_above, line_mark, new_figure

SOLVED = 475  # CartPole-v1's own threshold
#: Family and width, its name and its colour.
NETWORKS = {
    ("mlp-lstm", 1.0): ("with an LSTM", ACCENT),
    ("mlp", 1.0): ("the same without", INK),
    ("mlp", 3.0): ("as large, without", QUIET),
}
LAST = 0.9  # the table's returns are those of the last tenth


def main() -> None:
    rows = pd.read_parquet("curves.parquet").dropna(subset=["return_mean"])
    for (family, width, seed), run in rows.groupby(["family", "width", "seed"]):
        late = run[run.interactions > LAST * run.interactions.max()]
        solved = run.interactions[run.return_mean >= SOLVED]
        below = run.interactions[run.return_mean < SOLVED]
        mean = np.average(late.return_mean, weights=late.episodes)
        print(
            f"{family} {width:g} seed {seed}: N {run.num_params.iloc[0]:,}, last tenth {mean:.0f}, best row "
            f"{run.return_mean.max():.0f}, first row at {SOLVED}: {solved.min():,.0f}, last row below: "
            f"{below.max():,.0f}, {run.wall_seconds.max():.0f} s"
        )
    with house_style():
        figure = new_figure()
        ax = figure.add_subplot()
        ax.axhline(SOLVED, color=QUIET, linestyle=":", linewidth=0.8)
        for (family, width, _), run in rows.groupby(["family", "width", "seed"]):
            _, colour = NETWORKS[family, width]
            ax.plot(run.interactions / 1000, run.return_mean, color=colour, linewidth=0.9)
        ax.set(xlabel="Interactions $E$, thousands", ylabel="Return $R$", xlim=(0, None), ylim=(0, 510))
        key_above(ax, [(line_mark(colour), label) for label, colour in NETWORKS.values()])
    write_figure(figure, Path("learning_curves.png"))


if __name__ == "__main__":
    main()
