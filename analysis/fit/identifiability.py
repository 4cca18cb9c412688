"""Whether curves determine the exponents: warnings, each a sentence with a stable code.

``identified`` is false if a warning's code is among ``NOT_IDENTIFIED``: then the exponents, or their
intervals, may be badly wrong. The other warnings say how far to trust a result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlscale.analysis.arrays import Floats
from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.fit.bootstrap import Draws
from rlscale.analysis.fit.findings import IsoflopCheck, NuProfile
from rlscale.analysis.fit.flat_objective import reaches_beyond
from rlscale.analysis.fit.isoflop_under_law import disagrees
from rlscale.analysis.fit.late_start import LATEST, GradualCheck, LateStart
from rlscale.analysis.fit.objectives import K_BOUNDS, M_MARGIN, NU_BOUNDS
from rlscale.analysis.fit.result import OtherObjective
from rlscale.analysis.fit.sick_families import SICK
from rlscale.analysis.points.frontier import Frontier
from rlscale.analysis.points.preprocess import BinnedPoints
from rlscale.analysis.records import CodedWarning, Interval
from rlscale.analysis.statistics.intervals import percentile_interval
from rlscale.analysis.theory.power_law import PowerLaw
from rlscale.scaling.wording import either

SHARE_BOUNDS = (0.1, 0.9)
_BEGUN = 1 / 3  # of the way from the task's lowest return to the best one measured
_AT = 1e-3  # of a bound: nearer is at it
_FAR_APART = 2.0  # factor between the median onsets of smaller and larger sizes
NEGLIGIBLE = 0.01  # in nu: without noise the intervals have no width to speak of
#: Codes with which the exponents count as not identified.
NOT_IDENTIFIED = SICK | {
    *("optimum_outside_data", "at_bound", "draws_at_bound", "one_size_frontier", "wide_interval", "poor_fit"),
    *("interval_at_bound", "estimate_outside_interval", "objectives_opposite", "start_too_late"),
    *("gradual_start", "flat_objective"),
}
OPPOSITE_ENDS = (0.1, 0.9)  # of nu: one objective below, the other above


@dataclass(frozen=True)
class Evidence:
    """What the warnings depend on."""

    curves: Curves
    points: BinnedPoints
    law: PowerLaw
    unexplained: float  # share of the variance of the response that the law leaves, 0..1
    bounds_hit: list[str]
    draws: Draws
    intervals: dict[str, Interval]
    systematic: dict[str, float]
    other: OtherObjective
    isoflop: IsoflopCheck
    frontier: Frontier
    late_start: LateStart | None
    profile: NuProfile
    sick: list[CodedWarning]  # from ``rlscale.analysis.fit.sick_families``


def limited_by_size(law: PowerLaw, points: BinnedPoints) -> NDArray[np.bool_]:
    """Whether each point lies past the optimum of its size."""
    return law.limited_by_size(points.log_n, points.log_e)


def warnings_for(evidence: Evidence) -> list[CodedWarning]:
    """(code, sentence) of every warning, those about identification first."""
    found = [
        *_about_start(evidence),
        *_about_position(evidence),
        *evidence.sick,
        *_about_bounds(evidence),
        *_about_contradictions(evidence),
        *_about_intervals(evidence),
        *_about_sizes(evidence),
        *_about_frontier(evidence),
        *_about_choices(evidence),
    ]
    return sorted(found, key=lambda warning: warning[0] not in NOT_IDENTIFIED)


def _about_start(e: Evidence) -> list[CodedWarning]:
    late = e.late_start
    if late is None:
        return []
    if late.gate == "none" or late.onset is None:
        return [*_about_gradual_start(e, late.gradual), *_about_unseen_start(e)]
    found = []
    longest = np.zeros(len(e.curves.sizes))
    np.maximum.at(longest, e.curves.size_index[e.curves.run_index], e.curves.interactions)
    onsets = np.array([np.nan if one is None else one for one in late.onset_by_size])
    too_late = onsets > LATEST * longest
    if too_late.sum() >= len(longest) / 2:
        found.append(
            (
                "start_too_late",
                f"Learning starts at about {late.onset:.3g} interactions, after {LATEST:.1%} of training in "
                f"{too_late.sum()} of {len(longest)} sizes; what is left does not determine the exponents; "
                f"train for at least {late.onset / LATEST:.2g} interactions.",
            )
        )
    found.append(
        (
            "late_start",
            f"Learning starts late, at about {late.onset:.3g} interactions ({late.gate} start): the law is "
            f"fitted to the interactions that count after a delay of {late.delay:.3g}, which moves nu from "
            f"{late.nu_without:.3f} to {late.nu:.3f}.",
        )
    )
    halves = [half[np.isfinite(half)] for half in np.array_split(onsets, 2)]
    small, large = (float(np.median(half)) if len(half) else late.onset for half in halves)
    if max(small / large, large / small) > _FAR_APART:
        found.append(
            (
                "starts_differ",
                f"Small sizes start to learn at about {small:.3g} interactions, large ones at {large:.3g}; "
                f"one delay stands for all, so nu is less certain than its interval.",
            )
        )
    return found


def _about_gradual_start(e: Evidence, gradual: GradualCheck | None) -> list[CodedWarning]:
    if gradual is None or not gradual.seen:
        return []
    return [
        (
            "gradual_start",
            f"Learning seems to set in gradually: the law fits better with a delay of about "
            f"{gradual.delay:.2g} interactions, and nu is then {gradual.nu:.3f}, not {e.law.nu:.3f}; the "
            f"curves do not determine which; train longer, or drop more of early training "
            f"({either('--early-exclusion', 'early_exclusion')}).",
        )
    ]


def _about_unseen_start(e: Evidence) -> list[CodedWarning]:
    """A start before the first stored rows, which only the task's lowest return can tell."""
    if e.curves.return_bounds is None:
        return []
    low = e.curves.return_bounds[0]
    first = np.searchsorted(e.curves.run_index, np.arange(e.curves.num_runs))
    begins = float(np.mean(e.curves.returns[first]))
    highest = float(np.quantile(e.curves.returns, 0.995))
    if begins - low < _BEGUN * (highest - low):
        return []
    return [
        (
            "start_not_seen",
            f"The first stored rows, at {np.median(e.curves.interactions[first]):.3g} interactions, have a "
            f"return of {begins:.3g} already, where the task's lowest is {low:g}: whether learning started "
            f"late cannot be seen; store rows from earlier on.",
        )
    ]


def _about_position(e: Evidence) -> list[CodedWarning]:
    share = float(e.points.weight @ limited_by_size(e.law, e.points))
    if SHARE_BOUNDS[0] <= share <= SHARE_BOUNDS[1]:
        return []
    side, remedy = (
        ("experience, not size, limits nearly all", "add smaller sizes or train longer")
        if share < SHARE_BOUNDS[0]
        else ("size, not experience, limits nearly all", "add larger sizes")
    )
    return [
        (
            "optimum_outside_data",
            f"The optimum lies outside the data: {side} points ({share:.0%} of the "
            f"weight is limited by size); the exponents are not determined and "
            f"the intervals may be narrow and wrong; {remedy}.",
        )
    ]


def _about_bounds(e: Evidence) -> list[CodedWarning]:
    found = []
    if e.bounds_hit:
        names = " and ".join(e.bounds_hit)
        found.append(("at_bound", f"The fit ended at the bound of {names}; the curves do not determine it."))
    if e.draws.at_bound > 0.1:
        found.append(
            (
                "draws_at_bound",
                f"{e.draws.at_bound:.0%} of the bootstrap draws ended at a bound of the search.",
            )
        )
    if e.unexplained > 0.5:
        found.append(
            (
                "poor_fit",
                f"The law leaves {e.unexplained:.0%} of the variance of returns (in units of their noise) "
                f"unexplained; the curves hardly follow it.",
            )
        )
    return found


def _about_contradictions(e: Evidence) -> list[CodedWarning]:
    """An interval that ends where the search had to, an estimate beside its interval, opposite objectives."""
    found = []
    if e.draws.replicates:
        sizes = np.exp([e.points.log_n.min() - M_MARGIN, e.points.log_n.max() + M_MARGIN])
        ends: dict[str, tuple[Floats, Floats]] = {
            "nu": (np.array(e.intervals["nu"]), np.array(NU_BOUNDS)),
            "alpha_N + alpha_E": (percentile_interval(e.draws.k), np.array(K_BOUNDS)),
            "N_opt": (np.exp(percentile_interval(e.draws.m)), sizes),
        }
        stuck = [
            f"{name} ({interval[0]:.3g} to {interval[1]:.3g})"
            for name, (interval, bounds) in ends.items()
            if interval[0] <= bounds[0] * (1 + _AT) or interval[1] >= bounds[1] * (1 - _AT)
        ]
        if stuck:
            found.append(
                (
                    "interval_at_bound",
                    f"The 90% interval of {' and of '.join(stuck)} ends at a bound of the search; the true "
                    f"one may reach further: add sizes or seeds.",
                )
            )
        low, high = e.intervals["nu"]
        if not low - NEGLIGIBLE <= e.law.nu <= high + NEGLIGIBLE:
            found.append(
                (
                    "estimate_outside_interval",
                    f"nu = {e.law.nu:.3f} lies outside its own 90% interval, {low:.3f} to {high:.3f}: "
                    f"single runs decide the fit; add seeds, and look at the runs of each size.",
                )
            )
    least, most = sorted((e.other.nu, e.law.nu))
    if least < OPPOSITE_ENDS[0] and most > OPPOSITE_ENDS[1]:
        found.append(
            (
                "objectives_opposite",
                f"The objective {e.other.objective!r} gives nu = {e.other.nu:.3f}, this one {e.law.nu:.3f}: "
                f"at most one can be right; look at the curves of each size, and add sizes.",
            )
        )
    return found


def _about_intervals(e: Evidence) -> list[CodedWarning]:
    if "nu" not in e.intervals:
        more = either("--bootstrap 1000", "replicates=1000")
        return [("no_intervals", f"There are no intervals: run again with {more}.")]
    low, high = e.intervals["nu"]
    found = []
    if e.profile.flat is not None and reaches_beyond(e.profile, (low, high)):
        first, last = e.profile.flat
        found.append(
            (
                "flat_objective",
                f"The objective is flat within its noise for nu from {first:.2f} to {last:.2f}, beyond the "
                f"90% interval, {low:.2f} to {high:.2f}: the curves do not tell these laws apart; add sizes "
                f"further apart, longer runs or seeds.",
            )
        )
    if high - low <= 0.5:
        return found
    return [
        *found,
        (
            "wide_interval",
            f"The 90% interval of nu, {low:.2f} to {high:.2f}, spans more than half of its range; "
            f"add seeds or sizes.",
        ),
    ]


def _about_sizes(e: Evidence) -> list[CodedWarning]:
    sizes = e.curves.sizes
    seeds = np.bincount(e.curves.size_index)
    found = []
    if len(sizes) < 4:
        found.append(("few_sizes", f"Only {len(sizes)} sizes do not distinguish this law; add sizes."))
    decades = float(np.log10(sizes[-1] / sizes[0]))
    if decades < 1:
        found.append(("narrow_sizes", f"The sizes span {decades:.1f} decades; a decade or more is wanted."))
    single = int((seeds == 1).sum())
    if single:
        found.append(
            (
                "one_seed",
                f"{single} of {len(sizes)} sizes have one seed; the spread between seeds is not "
                f"{'known' if single == len(sizes) else 'known for them'}.",
            )
        )
    return found


def _about_frontier(e: Evidence) -> list[CodedWarning]:
    found = []
    if e.frontier.num_sizes <= 1:
        found.append(
            (
                "one_size_frontier",
                "One size is best at every compute: no optimum is seen; add smaller or larger.",
            )
        )
    elif e.frontier.num_sizes < 4:
        found.append(
            (
                "short_frontier",
                f"Only {e.frontier.num_sizes} sizes are best at some compute; add sizes or train longer.",
            )
        )
    limited = limited_by_size(e.law, e.points)
    present = np.unique(e.points.size)
    short = [s for s in present if not limited[e.points.size == s].any()]
    if len(short) > len(present) / 2:
        found.append(
            (
                "short_of_optimum",
                f"{len(short)} of {len(present)} sizes end before the experience that is optimal for them; "
                f"train them longer.",
            )
        )
    return found


def _about_isoflop(e: Evidence) -> list[CodedWarning]:
    """Whether the parabolas differ from the fit by more than they would if the law were true."""
    mine, free, check = e.intervals.get("nu"), e.isoflop.nu_interval, e.isoflop
    if check.nu is None:
        return []
    text = f"Parabolas through the sizes at equal compute, which assume no law, give nu = {check.nu:.3f}"
    if check.p_value is not None and check.difference_under_law is not None:
        measured = check.nu - e.law.nu
        if not disagrees(check) or abs(measured - check.difference_under_law) <= NEGLIGIBLE:
            return []
        text += (
            f", {measured:+.3f} from the fit's {e.law.nu:.3f}; if the law held, "
            f"{check.difference_under_law:+.3f} would be expected (p = {check.p_value:.2g}); use the total "
            f"interval of nu, which holds both."
        )
    elif mine and free and max(free[0] - mine[1], mine[0] - free[1]) > NEGLIGIBLE:
        text += (
            f" ({free[0]:.3f} to {free[1]:.3f}), apart from {e.law.nu:.3f} ({mine[0]:.3f} to {mine[1]:.3f})."
        )
    else:
        return []
    return [("isoflop_disagrees", text)]


def _about_choices(e: Evidence) -> list[CodedWarning]:
    found = []
    mine, theirs = e.intervals.get("nu"), e.other.intervals.get("nu")
    if mine and theirs and max(theirs[0] - mine[1], mine[0] - theirs[1]) > NEGLIGIBLE:
        found.append(
            (
                "objectives_disagree",
                f"The objective {e.other.objective!r} gives nu = {e.other.nu:.3f} "
                f"({theirs[0]:.3f} to {theirs[1]:.3f}), apart from "
                f"{e.law.nu:.3f} ({mine[0]:.3f} to {mine[1]:.3f}).",
            )
        )
    found += _about_isoflop(e)
    spread = e.systematic["nu"]
    # A refit on less data also differs by chance, so the full width is allowed.
    width = mine[1] - mine[0] if mine else 0.0
    if spread > max(width, 0.05):
        found.append(
            (
                "early_training_matters",
                f"Dropping more of early training moves nu by up to {spread:.3f}, more than the "
                f"width of its interval; learning may start late, so treat that as a systematic error.",
            )
        )
    return found
