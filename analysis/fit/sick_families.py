"""Families of runs of which no law must be believed: one run or size is ill, and says so beside the others.

The law claims three things of the mean return at a size N after E interactions: it does not fall with N, it
does not fall with E, and it is one increasing function of I(N, E) for all sizes; seeds of one size differ by
noise. Each test below looks for one clear breach. Rows of one run are correlated, so a run counts as one
observation: tests compare means of runs over stretches of training, by the spread of such means among seeds.

All of it works on the response of the fit, in units of the noise of one run (``rlscale.analysis.points``), in
cells of log E. ``benchmarks/sick_families.py`` measures how often each test speaks, in ill and good families.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.stats import spearmanr
from scipy.stats import t as student

from rlscale.analysis.arrays import Bools, Floats, Ints
from rlscale.analysis.curves.curve_set import MIN_SIZES, Curves
from rlscale.analysis.fit.objectives import ReturnObjective
from rlscale.analysis.points.preprocess import BinnedPoints, Preprocessor
from rlscale.analysis.points.sorted_rows import bin_numbers, group_means
from rlscale.analysis.records import CodedWarning
from rlscale.analysis.theory.power_law import PowerLaw
from rlscale.scaling.wording import either

#: Codes with which the exponents count as not identified.
SICK = frozenset({"looks_like_losses", "larger_is_worse", "run_apart", "returns_fall", "size_apart"})

_CELL = 0.1  # width in log E
#: How often chance may find a larger size worse in a family, over all of its comparisons.
_FALSE_ALARMS = 0.02
_LAST_CELLS = (6, 12)  # the ends of training over which seeds are compared
#: A run must end so far below its siblings, as a share of the range of the response (good runs did by up to
#: 0.13), and further than chance would make one of a family with this probability.
_APART, _APART_ALARMS = 0.13, 0.1
_SMALL = 0.05  # of the range of the response: less never matters
_FALL = 4.5  # in units of the noise of one run
#: A shift of log I must be so large and so many errors: less, if the others agree better without the size
#: (share of their loss), than if they do not. Factors below 1.6 are common among well-tuned sizes.
_SHIFT, _SHIFT_ERRORS = 0.8, 8.0
_BETTER, _SHIFT_IF_BETTER, _ERRORS_IF_BETTER = 0.8, 0.5, 4.5
_STEP = 0.05  # of log I between shifts that are tried; seeds cannot be told to agree better
_SHIFTS = np.arange(-60, 61) * _STEP
_LISTED = 4


@dataclass(frozen=True)
class RunCells:
    """The response of each run in cells of log E after early training.

    Attributes:
        response: mean in each cell, shape ``(runs, cells)``, NaN where a run has no row.
        log_e: middle of each cell, shape ``(cells,)``.
        size: position of the size of each run, shape ``(runs,)``.
    """

    response: Floats
    log_e: Floats
    size: Ints

    @property
    def seeds(self) -> Ints:
        """Runs of each size, shape ``(sizes,)``."""
        return np.bincount(self.size)

    @property
    def of_size(self) -> Floats:
        """Mean over the seeds, shape ``(sizes, cells)``, NaN where no seed has a row."""
        return np.stack([_mean(self.response[self.size == size], 0) for size in range(self.size.max() + 1)])

    @property
    def range(self) -> float:
        """From the least to the largest mean over seeds."""
        return float(np.nanmax(self.of_size) - np.nanmin(self.of_size))


def family_warnings(
    curves: Curves, preprocessor: Preprocessor, points: BinnedPoints, law: PowerLaw
) -> list[CodedWarning]:
    """(code, sentence) of every breach.

    Args:
        curves: those of the fit, all of their runs in ``preprocessor``.
        points: what was fitted.
        law: fitted to ``points``.
    """
    groups = [
        (
            "groups_fitted_together",
            f"The column {name} divides the runs into {len(values)} groups ({_listed(list(values))}), which "
            f"were fitted as one law; if each has a law of its own, fit each "
            + either(f"with: rlscale fit --by {name}.", f"of load_by(source, {name!r})."),
        )
        for name, values in curves.groups
    ]
    cells = run_cells(preprocessor)
    losses = looks_like_losses(cells, curves.minimize)
    if losses:  # then every other test speaks too, and says nothing more
        return [*groups, *losses]
    names = [f"{n:.4g}" for n in curves.sizes]
    return [
        *groups,
        *larger_is_worse(cells, names),
        *runs_apart(cells, names, curves.run_ids),
        *returns_fall(cells, names),
        *sizes_apart(cells, names, points, law),
    ]


def run_cells(preprocessor: Preprocessor) -> RunCells:
    """The response of each run in cells of log E."""
    rows, used = preprocessor.rows, preprocessor.used
    start = float(np.min(rows.log_e[used]))
    cell = bin_numbers(rows.log_e, start, _CELL)
    runs, span = len(rows.size_of_run), int(cell.max()) + 1
    keys, mean = group_means(rows.run * span + cell, runs * span, preprocessor.response, used)
    response = np.full(runs * span, np.nan)
    response[keys] = mean
    return RunCells(response.reshape(runs, span), start + _CELL * (np.arange(span) + 0.5), rows.size_of_run)


# -- the tests ----------------------------------------------------------------------


def looks_like_losses(cells: RunCells, minimize: bool) -> list[CodedWarning]:
    """Returns fall with training in nearly all runs.

    Args:
        minimize: whether the returns are the values of the source times -1.
    """
    correlations = []
    for run in cells.response:
        known = ~np.isnan(run)
        if known.sum() >= 4 and np.ptp(run[known]) > 0:
            correlations.append(float(spearmanr(cells.log_e[known], run[known]).statistic))
    falling = int(np.sum(np.array(correlations) < -0.5))
    if not correlations or falling < 0.8 * len(correlations):
        return []
    option = either("--minimize", "minimize=True")
    what, remedy = "falls", f"if it is a loss, use {option}"
    if minimize:
        what, remedy = "rises", f"if more of it is better, leave out {option}"
    return [
        (
            "looks_like_losses",
            f"return_mean {what} with training in {falling} of {len(correlations)} runs: {remedy}.",
        )
    ]


def larger_is_worse(cells: RunCells, names: list[str]) -> list[CodedWarning]:
    """A size lies below the next smaller one at most checkpoints, of all training or of its second half.

    Each pair is compared by the difference of the means of its runs, over the cells that both have, with
    Student's t-test on the spread of runs about the mean of their size, pooled over sizes.
    """
    mean = cells.of_size
    worst: dict[int, tuple[float, int]] = {}
    pairs = len(names) - 1
    for size in range(1, len(names)):
        both = np.flatnonzero(~np.isnan(mean[size]) & ~np.isnan(mean[size - 1]))
        for stretch in (both, both[len(both) // 2 :]):
            if not len(stretch):
                continue
            below = mean[size, stretch] < mean[size - 1, stretch]
            gap = float(np.mean(mean[size - 1, stretch] - mean[size, stretch]))
            if below.mean() <= 0.5 or gap < _SMALL * cells.range:
                continue
            spread, freedom = _spread_of_means(cells, stretch)
            error = spread * np.sqrt(1 / cells.seeds[size] + 1 / cells.seeds[size - 1])
            if gap > student.isf(_FALSE_ALARMS / (2 * pairs), freedom) * error:
                worst[size] = max(worst.get(size, (0.0, 0)), (float(below.mean()), len(stretch)))
    return [
        (
            "larger_is_worse",
            f"Size {names[size]} lies below size {names[size - 1]} at {share:.0%} of {count} checkpoints of "
            f"equal experience, more than seeds explain; check its learning rate and runs, or leave it out.",
        )
        for size, (share, count) in worst.items()
    ]


def runs_apart(cells: RunCells, names: list[str], run_ids: tuple[str, ...]) -> list[CodedWarning]:
    """A run ends far below the others of its size."""
    runs = np.flatnonzero(cells.seeds[cells.size] > 1)
    if not len(runs):
        return []
    size = cells.size[runs]
    # A run lies n/(n - 1) times as far from the mean of the others as from that of all n.
    factor = cells.seeds[size] / (cells.seeds[size] - 1)
    centred = cells.response[runs] - cells.of_size[size]
    freedom = float((cells.seeds - 1).sum())
    limit = student.isf(_APART_ALARMS / (len(runs) * len(_LAST_CELLS)), freedom)
    found: dict[int, float] = {}
    for count in _LAST_CELLS:
        below = -np.array([_mean(row[~np.isnan(row)][-count:]) for row in centred])
        spread = max(_robust_spread(below * np.sqrt(factor)), 0.01 * cells.range)
        far = below * factor > np.maximum(limit * spread * np.sqrt(factor), _APART * cells.range)
        for place in np.flatnonzero(far):
            share = float(below[place] * factor[place]) / cells.range
            found[int(runs[place])] = max(found.get(int(runs[place]), 0.0), share)
    if not found:
        return []
    return [
        (
            "run_apart",
            f"{_the_runs([run_ids[run] for run in found])} far below the other runs of "
            f"{_the_sizes([names[cells.size[run]] for run in found])} late in training, by up to "
            f"{max(found.values()):.0%} of the range of all; find out why, and leave out what failed.",
        )
    ]


def returns_fall(cells: RunCells, names: list[str]) -> list[CodedWarning]:
    """The mean of a size ends far below where it had been: more experience made it worse."""
    found: dict[int, float] = {}
    for size, (mean, seeds) in enumerate(zip(cells.of_size, cells.seeds, strict=True)):
        there = ~np.isnan(cells.response[cells.size == size])
        # Beyond the end of the shortest run the mean is of other seeds.
        stop = int(min(np.flatnonzero(run)[-1] for run in there if run.any()) + 1) if there.any() else 0
        known = mean[:stop][~np.isnan(mean[:stop])]
        if len(known) < 6:
            continue
        running = np.convolve(known, np.ones(3) / 3, mode="valid")
        fall = float(running[:-3].max() - running[-1]) if len(running) > 3 else 0.0
        if fall > max(_FALL / np.sqrt(seeds), 2 * _SMALL * cells.range):
            found[size] = fall / cells.range
    if not found:
        return []
    return [
        (
            "returns_fall",
            f"The returns of {_the_sizes([names[size] for size in found])} end below earlier ones, by up to "
            f"{max(found.values()):.0%} of the range of all: training collapsed; use the rows before that, "
            f"or leave the size out.",
        )
    ]


def sizes_apart(cells: RunCells, names: list[str], points: BinnedPoints, law: PowerLaw) -> list[CodedWarning]:
    """A size does not follow the law and the map of the others: its log I is shifted.

    Each size is left out in turn, and the others fitted again. The shift of log I that brings the size onto
    their map is found for each of its runs; the spread of that among seeds is its error. That leaves out the
    error of the law of the others, which must be extrapolated to the least and the largest size, hence the
    many errors that are asked for. One odd size moves the fits of all others, so the one named is that
    without which the others agree best. A size whose rows all lie before a late start has no points.
    """
    sizes = np.unique(points.size).tolist()
    if len(sizes) <= MIN_SIZES:
        return []
    left_out = {size: _left_out(cells, points, law, size) for size in sizes}
    usual = float(np.median([loss for _, loss in left_out.values()]))
    seeds = [shifts for shifts, _ in left_out.values() if len(shifts) > 1]
    apart = [(shifts - shifts.mean()) * np.sqrt(len(shifts) / (len(shifts) - 1)) for shifts in seeds]
    spread = max(_robust_spread(np.concatenate(apart)), _STEP) if seeds else 2 * _STEP
    odd = []
    for size, (shifts, loss) in left_out.items():
        shift = abs(float(shifts.mean()))
        better = loss < _BETTER * usual
        least, errors = (_SHIFT_IF_BETTER, _ERRORS_IF_BETTER) if better else (_SHIFT, _SHIFT_ERRORS)
        if shift > max(least, errors * spread / np.sqrt(len(shifts))):
            odd.append(size)
    if not odd:
        return []
    size = min(odd, key=lambda one: left_out[one][1])
    factor = float(np.exp(left_out[size][0].mean()))
    how = f"{1 / factor:.1f} times less" if factor < 1 else f"{factor:.1f} times more"
    return [
        (
            "size_apart",
            f"Size {names[size]} has {how} intrinsic performance than the law of the other sizes gives it; "
            f"check its learning rate and its runs, or leave it out.",
        )
    ]


def _left_out(cells: RunCells, points: BinnedPoints, law: PowerLaw, size: int) -> tuple[Floats, float]:
    """The shift in log I of each run of a size against the law and the map of the others, and their loss."""
    rest = _only(points, points.size != size)
    objective = ReturnObjective(rest, law.log_c0)
    found = objective.polish(law.theta, scale=1.0, max_evaluations=120)
    others = PowerLaw.from_theta(found.theta, law.log_c0)
    log_i = others.log_intrinsic(rest.log_n, rest.log_e)
    order = np.argsort(log_i, kind="stable")
    level = isotonic_regression(rest.response[order], weights=rest.weight[order]).x
    log_n = np.full(len(cells.log_e), points.log_n[points.size == size][0])
    expected = others.log_intrinsic(log_n, cells.log_e)
    shifted = np.interp(expected + _SHIFTS[:, None], log_i[order], level)  # (shifts, cells)
    return np.array([_best_shift(run, shifted) for run in cells.response[cells.size == size]]), found.loss


def _best_shift(run: Floats, shifted: Floats) -> float:
    """The smallest shift that explains a run about as well as the best one."""
    known = ~np.isnan(run)
    if not known.any():
        return 0.0
    loss = np.mean(np.square(run[known] - shifted[:, known]), axis=1)
    good = np.flatnonzero(loss <= 1.02 * loss.min() + 1e-9)
    return float(_SHIFTS[good[np.argmin(np.abs(_SHIFTS[good]))]])


# -- the parts ----------------------------------------------------------------------


def _only(points: BinnedPoints, kept: Bools) -> BinnedPoints:
    names = ("log_n", "log_e", "returns", "smooth_returns", "response", "size")
    weight = points.weight[kept] / points.weight[kept].sum()
    return replace(points, **{name: getattr(points, name)[kept] for name in names}, weight=weight)


def _mean(values: Floats, axis: int | None = None) -> Floats:
    """The mean of what is not NaN; NaN where all is."""
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def _spread_of_means(cells: RunCells, stretch: Ints) -> tuple[float, float]:
    """Standard deviation among seeds of means of runs over some cells, pooled over sizes, and its freedom.

    Without seeds to compare it is taken as the noise of one cell, which the response is in units of.
    """
    mean = _mean(cells.response[:, stretch], 1)
    known = ~np.isnan(mean)
    mean, size = mean[known], cells.size[known]
    seeds = np.bincount(size, minlength=len(cells.seeds))
    of_size = np.bincount(size, weights=mean, minlength=len(seeds)) / np.maximum(seeds, 1)
    freedom = int(np.maximum(seeds - 1, 0).sum())
    if not freedom:
        return 1.0, 4.0
    return float(np.sqrt(np.sum(np.square(mean - of_size[size])) / freedom)), float(freedom)


def _robust_spread(values: Floats) -> float:
    """Standard deviation of a normal sample about 0, from the median of its absolute values."""
    values = values[~np.isnan(values)]
    return float(1.4826 * np.median(np.abs(values))) if len(values) else 0.0


def _the_runs(names: list[str]) -> str:
    return f"Run {names[0]} ends" if len(names) == 1 else f"Runs {_listed(names)} end"


def _the_sizes(names: list[str]) -> str:
    distinct = list(dict.fromkeys(names))
    return f"size {distinct[0]}" if len(distinct) == 1 else f"sizes {_listed(distinct)}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
