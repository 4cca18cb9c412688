"""The figures of the report: which plots make one, its title, and what to look at in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

from matplotlib.figure import Figure

from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.figures import fit as plots
from rlscale.analysis.figures import nu as plots_nu
from rlscale.analysis.figures.style import (
    ONE_PANEL,
    TWO_PANELS,
    ReturnScale,
    house_style,
    new_figure,
    return_scale_for,
)
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.formatting.numbers import percent
from rlscale.analysis.reports.alternatives import alternatives

#: Dots per inch of the PNG files, for print.
PNG_DPI = 300
_NO_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}


#: Inches of a figure of one panel that is as wide as the text of the page.
WIDE = (7.2, 3.7)


@dataclass(frozen=True)
class ReportFigure:
    """One figure.

    Attributes:
        name: of its files, without ending.
        title, caption: what it shows, and what to look at.
        alt: what is seen in it, for people who do not see it.
        draw: draws it for papers.
        wide: draws it as wide as the text of the page; None if ``draw`` does.
    """

    name: str
    title: str
    caption: str
    alt: str
    draw: Callable[[Curves, FitResult], Figure]
    wide: Callable[[Curves, FitResult], Figure] | None = None

    def make(self, curves: Curves, fit: FitResult) -> Figure:
        """The figure for papers, in the style of all figures."""
        with house_style():
            return self.draw(curves, fit)

    def make_wide(self, curves: Curves, fit: FitResult) -> Figure | None:
        """The figure for the page, if it is another one."""
        with house_style():
            return None if self.wide is None else self.wide(curves, fit)


def figures(curves: Curves, fit: FitResult) -> list[ReportFigure]:
    """The figures in order, with captions for these results."""
    scale = _scale_note(curves, fit)
    level = percent(fit.interval_level)
    seen = alternatives(curves, fit)
    return [
        ReportFigure(
            "learning_curves",
            "Learning curves by size",
            "Each line is the mean return over the seeds of one size, its band the range from the lowest to "
            f"the highest seed; the pale beginning is left out of the fit.{scale} Look for sizes that level "
            "off, limited by their size, and for sizes that still rise at the end, limited by experience: a "
            "fit needs both.",
            seen["learning_curves"],
            _learning_curves(ONE_PANEL),
            _learning_curves(WIDE),
        ),
        ReportFigure(
            "intrinsic_performance",
            "Intrinsic performance by size",
            "Intrinsic performance of a return is the least compute with which any size reaches it. Dots: "
            "returns passed through the fitted map, averaged in narrow bins. Lines: the fitted law. Dots "
            "that leave their line in the same direction for a whole size, or at the end of all sizes, are "
            "misfit. Each size is compute-optimal where its line crosses the dashed one.",
            seen["intrinsic_performance"],
            _single(plots.plot_intrinsic),
            _single(plots.plot_intrinsic, WIDE),
        ),
        ReportFigure(
            "compute_frontier",
            "The efficient frontier",
            "Return against compute for each size. Open dots: the best size at each compute, with no model "
            "assumed (the best of several noisy curves, hence a little high). Black line: what the fit says "
            f"is possible, dotted where its sizes or interactions lie outside the data.{scale} The colour "
            "that touches the frontier should change steadily from dark to light.",
            seen["compute_frontier"],
            _with_returns(plots.plot_frontier),
            _with_returns(plots.plot_frontier, WIDE),
        ),
        ReportFigure(
            "optimal_size",
            "Compute-optimal size",
            f"The fitted optimum with its {level} interval, and darker that of seeds alone; right of the "
            "dotted line all are extrapolations, dashed and pale. Dots: the trained size that was best at "
            "each compute, with no model assumed; they move from one trained size to the next. Open dots: "
            "there the next smaller size had ended and could not compete, so they may lie too high. "
            "Diamonds: vertices of parabolas through the sizes at equal compute, with intervals.",
            seen["optimal_size"],
            _single(plots.plot_optimal_size),
            _single(plots.plot_optimal_size, WIDE),
        ),
        ReportFigure(
            "monotone_map",
            "Return and intrinsic performance",
            "The fitted increasing map f between return and intrinsic performance, and the measured points "
            f"of all sizes placed by the law.{scale} If the law holds, all colours fall on one curve; where "
            "it is flat, returns hardly distinguish performances and the points scatter sideways.",
            seen["monotone_map"],
            _with_returns(plots.plot_monotone_map),
            _with_returns(plots.plot_monotone_map, WIDE),
        ),
        ReportFigure(
            "residuals",
            "Residuals",
            "Intrinsic performance by the map minus that by the law, in decades. Left: dots are points, "
            "lines averages of each size. Right: median and central 80% of each size, before and past the "
            "experience that is optimal for it. A good fit scatters about 0 everywhere; a trend along E, or "
            "red and black that differ in the same direction at all sizes, means another law.",
            seen["residuals"],
            _residuals,
        ),
        ReportFigure(
            "nu_uncertainty",
            "How sure the exponent is",
            f"Left: the exponent ν in each bootstrap draw, with the {level} interval shaded, darker that "
            "of seeds alone, and the estimate as a line; the curve is the least loss of any law with that "
            "ν. Right: the same exponent when more of early training is left out, by the other objective, "
            "and from parabolas through the sizes at equal compute, which assume no law. Points far "
            "outside the shade mean that a choice of the analysis matters more than the noise of the runs.",
            seen["nu_uncertainty"],
            _uncertainty,
        ),
    ]


def svg_of(figure: Figure, dpi: int = PNG_DPI) -> str:
    """The figure as SVG, the same text for the same figure; ``dpi`` of the parts that are images in it."""
    buffer = BytesIO()
    with house_style():
        figure.savefig(buffer, format="svg", dpi=dpi, metadata=_NO_METADATA)
    return buffer.getvalue().decode("utf-8")


def png_of(figure: Figure, dpi: int = PNG_DPI) -> bytes:
    """The figure as PNG."""
    buffer = BytesIO()
    with house_style():
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def return_scale(curves: Curves, fit: FitResult) -> ReturnScale:
    """One scale of returns for all figures of a report."""
    return return_scale_for(fit.points.return_, accuracy=curves.returns_are_accuracies)


Size = tuple[float, float]


def _single(plot: Callable[..., object], size: Size = ONE_PANEL) -> Callable[[Curves, FitResult], Figure]:
    def draw(_: Curves, fit: FitResult) -> Figure:
        figure = new_figure(size)
        plot(fit, ax=figure.add_subplot())
        return figure

    return draw


def _with_returns(
    plot: Callable[..., object], size: Size = ONE_PANEL
) -> Callable[[Curves, FitResult], Figure]:
    def draw(curves: Curves, fit: FitResult) -> Figure:
        figure = new_figure(size)
        plot(fit, scale=return_scale(curves, fit), ax=figure.add_subplot())
        return figure

    return draw


def _learning_curves(size: Size) -> Callable[[Curves, FitResult], Figure]:
    def draw(curves: Curves, fit: FitResult) -> Figure:
        figure = new_figure(size)
        share = float(fit.options["early_exclusion"])
        scale = return_scale(curves, fit)
        onset = fit.late_start.onset if fit.late_start and fit.delay else None
        ax = figure.add_subplot()
        plots.plot_learning_curves(
            curves, early_exclusion=share, not_before=fit.not_before, onset=onset, scale=scale, ax=ax
        )
        return figure

    return draw


def _residuals(_: Curves, fit: FitResult) -> Figure:
    figure = new_figure(TWO_PANELS)
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    plots.plot_residuals(fit, ax=left)
    plots.plot_residuals_by_size(fit, ax=right)
    return figure


def _uncertainty(_: Curves, fit: FitResult) -> Figure:
    figure = new_figure(TWO_PANELS)
    left, right = figure.subplots(1, 2)
    plots_nu.plot_nu(fit, ax=left)
    plots_nu.plot_nu_choices(fit, ax=right)
    return figure


def _scale_note(curves: Curves, fit: FitResult) -> str:
    if return_scale(curves, fit) == "linear":
        return ""
    return (
        " Returns near 1 are spread out: equal heights are equal factors of the failure rate 1 − R, so that "
        "0.9 to 0.99 is as far as 0 to 0.9."
    )
