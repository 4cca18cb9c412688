"""Draw ``curves.parquet`` as ``collapse.png``, the two-state example, and print the page's numbers; run it here."""

from pathlib import Path

import numpy as np
import pandas as pd

from rlscale.analysis.figures.files import write_figure
from rlscale.analysis.figures.style import ACCENT, INK, QUIET, house_style, line_mark, new_figure
from rlscale.analysis.figures.trust import plot_band, plot_two_states
from rlscale.sweeps.specs.spec import expand, load_spec

#: Coefficient of the feature penalty (0: none), its name and its colour.
RECIPES = {0.0: ("PPO", ACCENT), 1.0: ("PPO with the feature penalty", INK)}
#: Column, label, and whether its axis is logarithmic.
PANELS = (
    ("return_mean", "Accuracy", False),
    ("policy_preactivation_norm", "Pre-activation norm", True),
    ("policy_approximate_rank", "Feature rank", False),
    ("excess_ratio", "Excess ratio", True),
    ("policy_dead_share", "Dead units", False),
    ("policy_variance", "Policy variance", False),
)
WIDTH = 64
#: The rank has collapsed below this; the excess ratio is looked for in this share of training before.
COLLAPSED, BEFORE = WIDTH / 10, 0.05


def coefficients() -> dict[str, float]:
    """The coefficient of each run of the spec, by its id; 0 without a penalty."""
    penalties = {run.run_id: run.agent.feature_penalty for run in expand(load_spec(Path("spec.yaml")))}
    return {run_id: penalty.coefficient if penalty else 0.0 for run_id, penalty in penalties.items()}


def about(run: pd.DataFrame) -> str:
    """What one run says to the claims."""
    length, x = run.interactions.max(), run.interactions.to_numpy()
    rank, norm = run.policy_approximate_rank.to_numpy(), run.policy_preactivation_norm.to_numpy()
    late = run[run.interactions > 0.95 * length]
    text = (
        f"accuracy best {run.return_mean.max():.2f}, last 5% {late.return_mean.mean():.2f}; norm "
        f"{norm[0]:.1f} to {norm[-1]:.0f}, correlation of log norm with E {np.corrcoef(x, np.log(norm))[0, 1]:.2f}; "
        f"rank first {rank[0]:.0f}, largest {rank.max():.0f}, least after that {rank[rank.argmax() :].min():.0f}, "
        f"last 5% {late.policy_approximate_rank.mean():.1f}; dead {late.policy_dead_share.mean():.2f}, entropy "
        f"{late.entropy.mean():.3f}, policy variance {late.policy_variance.mean():.4f}"
    )
    fallen = np.flatnonzero((rank < COLLAPSED) & (np.arange(len(rank)) > rank.argmax()))
    if not fallen.size:
        return f"{text}; no collapse of rank"
    excess = run.excess_ratio.to_numpy()[: fallen[0] + 1]
    if not np.isfinite(excess).any():
        return f"{text}; rank below {COLLAPSED} from {x[fallen[0]]:,}, no excess ratio before"
    peak = np.nanargmax(excess)
    return (
        f"{text}; rank below {COLLAPSED} from {x[fallen[0]]:,}; largest excess ratio until then "
        f"{excess[peak]:,.0f} at {x[peak]:,}, {(x[fallen[0]] - x[peak]) / length:.1%} of training before"
    )


def draw(rows: pd.DataFrame) -> None:
    with house_style():
        figure = new_figure((7.2, 4.6))
        panels = figure.subplots(2, 3, sharex=True).flat
        for ax, (column, label, is_log) in zip(panels, PANELS, strict=True):
            for coefficient, (_, colour) in RECIPES.items():
                runs = [run for _, run in rows[rows.coefficient.eq(coefficient)].groupby("seed")]
                values, thousands = [run[column] for run in runs], runs[0].interactions / 1000
                plot_band(thousands, values, colour=colour, geometric=is_log, ax=ax)
            ax.set_yscale("log" if is_log else "linear")
            ax.set_title(label, loc="left")
            ax.set_xlim(0, None)
        for ax in figure.axes[3:]:
            ax.set_xlabel("Interactions $E$, thousands")
        figure.axes[2].axhline(COLLAPSED, color=QUIET, linestyle=":", linewidth=0.8)
        marks, labels = zip(*((line_mark(colour), label) for label, colour in RECIPES.values()), strict=True)
        figure.legend(marks, labels, loc="outside upper left", ncols=2)
    write_figure(figure, Path("collapse.png"))


def draw_two_states() -> None:
    with house_style():
        figure = new_figure((7.2, 3.0))
        for ax, alpha in zip(figure.subplots(1, 2), (3.0, -1.0), strict=True):
            plot_two_states(0.3, alpha, ax=ax)
    write_figure(figure, Path("two_states.png"))


def main() -> None:
    rows = pd.read_parquet("curves.parquet")
    rows["coefficient"] = rows.run_id.map(coefficients())
    for (coefficient, seed), run in rows.groupby(["coefficient", "seed"]):
        print(f"penalty {coefficient:g}, seed {seed}: {about(run)}")
    draw(rows)
    draw_two_states()


if __name__ == "__main__":
    main()
