"""How the horizon h of the return changes the law, from a sweep that has several values of it.

For the bandit with γ = 1 - 2/(h + 1), longer horizons only add noise, in proportion to x = h - 2 + 1/h
(``rlscale.analysis.theory.horizon``). This module measures three consequences:

* interactions to a fixed return at a fixed size are affine in x, 1 + κ x = m(h) times those at h = 1;
* so N_c(h) = N_c m^-ν and E_c(h) = E_c m^ν: the exponent ν stays and N_opt(C) falls by the factor m^-ν;
* so a compute-optimal agent of N parameters needs E = (inherent term + term proportional to x)
  N^((1 - ν)/ν) interactions: at fixed N affine in h, not proportional to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import norm
from statsmodels.regression.linear_model import OLS, WLS
from statsmodels.tools import add_constant

from rlscale.analysis.arrays import Floats
from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.fit.joint_fit import JointScalingFit
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.progress import told
from rlscale.analysis.records import INTERVAL_LEVEL, CodedWarning, Interval, warning_fields
from rlscale.analysis.statistics.intervals import interval_of
from rlscale.analysis.studies.horizon.affine import Z
from rlscale.analysis.studies.horizon.crossings import smooth_curves
from rlscale.analysis.studies.horizon.levels import UNKNOWN_SD, default_levels, level_study, middle_fit
from rlscale.analysis.studies.horizon.result import (
    CommonFit,
    HorizonFit,
    HorizonResult,
    NuSlope,
    Prediction,
    SampleLaw,
    Shift,
)
from rlscale.analysis.studies.refits import at_compute
from rlscale.analysis.theory.horizon import horizon_term
from rlscale.scaling.errors import InputError


def fit_horizons(
    by_horizon: Mapping[float, Curves],
    estimator: JointScalingFit,
    *,
    known: Mapping[float, FitResult] | None = None,
) -> dict[float, FitResult]:
    """The law at each horizon, ascending in h; ``known`` holds earlier fits, which are not repeated.

    Raises:
        InputError: if there are fewer than two horizons, one is below 1, or one cannot be fitted.
    """
    if len(by_horizon) < 2:
        there = ", ".join(f"{h:g}" for h in by_horizon) or "none"
        source = next((curves.source for curves in by_horizon.values()), "the source")
        raise InputError(
            f"{source} has one horizon ({there}); a study of the horizon needs two or more: "
            f"sweep the axis horizon, e.g. [1, 4, 16, 64].",
            code="too_few_horizons",
        )
    fits = {}
    for horizon in told("horizons", sorted(by_horizon), len(by_horizon)):
        if not (np.isfinite(horizon) and horizon >= 1):
            raise InputError(
                f"A horizon of {horizon:g} is impossible: horizons are 1 or more steps.",
                code="invalid_number",
            )
        if known and horizon in known:
            fits[horizon] = known[horizon]
            continue
        try:
            fits[horizon] = estimator.fit(by_horizon[horizon])
        except InputError as error:
            raise InputError(f"Horizon {horizon:g}: {error}", code=error.code) from error
    return fits


def study_horizons(
    by_horizon: Mapping[float, Curves],
    fits: Mapping[float, FitResult],
    *,
    levels: Sequence[float] = (),
    predictions: Sequence[tuple[float, float]] = (),
) -> HorizonResult:
    """Measure how horizons differ.

    Args:
        by_horizon: the curves of each horizon.
        fits: of ``fit_horizons``.
        levels: returns whose interactions are compared; by default three that most sizes reach.
        predictions: (N, h) for which to predict interactions.

    Raises:
        InputError: if a level cannot be reached by any size at two horizons, or an (N, h) cannot be used.
    """
    first = next(iter(fits.values()))
    smooth = {h: smooth_curves(by_horizon[h]) for h in fits}
    chosen = [float(level) for level in levels] or default_levels(smooth)
    studies = [level_study(level, smooth, fits) for level in chosen]
    common = middle_fit([study.common for study in studies if study.common is not None], smooth, chosen)
    compute, shared = _shared_compute(fits)
    trusted = _trusted(fits)
    sizes = np.concatenate([by_horizon[h].sizes for h in fits])
    size_range = (float(sizes.min()), float(sizes.max()))
    law = _sample_law(trusted, compute, size_range, common)
    log_n_ref = float(np.log(law.size_ref))
    one_seed = all(cell.relative_sd is None for cell in studies[0].crossings if cell.N)
    warnings = [
        *([] if shared else [_not_shared(compute)]),
        *([] if len(trusted) == len(fits) else [_not_trusted(fits, trusted)]),
        *([_single_seeds()] if one_seed else []),
        *(
            (code, f"h = {h:g}: {sentence}")
            for h, fit in fits.items()
            for code, sentence in zip(fit.warning_codes, fit.warnings, strict=True)
        ),
    ]
    result = HorizonResult(
        source=first.provenance.source,
        tasks=first.provenance.tasks,
        size=first.provenance.size,
        objective=first.objective,
        compute=compute,
        size_range=size_range,
        fits=[
            HorizonFit(
                horizon=float(h),
                E_opt_ref=float(np.exp(fit.law.log_E_opt_of(log_n_ref))),
                num_runs=fit.num_runs,
                **at_compute(fit, compute),
            )
            for h, fit in fits.items()
        ],
        levels=studies,
        shifts=_shifts(fits, compute, law),
        law_horizons=[float(h) for h in trusted],
        nu_slope=_nu_slope(trusted),
        sample_law=law,
        predictions=[],
        **warning_fields(warnings),
        options={name: value for name, value in first.options.items() if name != "horizon"},
    )
    return with_predictions(result, predictions)


def with_predictions(result: HorizonResult, wanted: Sequence[tuple[float, float]]) -> HorizonResult:
    """The study with predictions of the interactions for each (N, h), in place of earlier ones.

    Raises:
        InputError: if N is not positive or h is below 1.
    """
    law, found = result.sample_law, []
    horizons = [fit.horizon for fit in result.fits]
    spans = {"size": result.size_range, "horizon": (min(horizons), max(horizons))}
    for num_params, horizon in wanted:
        if not (np.isfinite(num_params) and num_params > 0):
            raise InputError(
                f"A size must be positive and finite: got {num_params:g}.", code="invalid_number"
            )
        if not (np.isfinite(horizon) and horizon >= 1):
            raise InputError(
                f"A horizon must be 1 or more and finite: got {horizon:g}.", code="invalid_number"
            )
        x, log_ratio = float(horizon_term(horizon)), float(np.log(num_params / law.size_ref))
        value = np.log(law.inherent) + np.log1p(law.kappa * x) + (1 / law.nu - 1) * log_ratio
        drawn = np.array(law.draws).reshape(-1, 3)
        logs = drawn[:, 0] + np.log1p(drawn[:, 1] * x) + (1 / drawn[:, 2] - 1) * log_ratio
        values = {"size": num_params, "horizon": horizon}
        outside = [name for name, (low, high) in spans.items() if not low <= values[name] <= high]
        found.append(
            Prediction(
                N=num_params,
                horizon=horizon,
                interactions=float(np.exp(value)),
                interval=interval_of(np.exp(logs)) if len(logs) else None,
                outside=outside,
            )
        )
    return result.model_copy(update={"predictions": found})


# -- laws at several horizons -----------------------------------------------------


def _shared_compute(fits: Mapping[float, FitResult]) -> tuple[float, bool]:
    """A compute inside the data of all horizons, and whether there is any."""
    low = max(fit.range.C[0] for fit in fits.values())
    high = min(fit.range.C[1] for fit in fits.values())
    return float(np.sqrt(low * high)), low < high


def _not_shared(compute: float) -> CodedWarning:
    return (
        "no_shared_compute",
        f"No compute lies inside the data of all horizons: N_opt at {compute:.3g}, where horizons are "
        f"compared, is an extrapolation for some; train them for similar compute.",
    )


def _single_seeds() -> CodedWarning:
    return (
        "one_seed",
        f"No size has two seeds that reach the lowest level, so the error of each size's interactions is "
        f"taken as {UNKNOWN_SD:.0%}; add seeds.",
    )


def _trusted(fits: Mapping[float, FitResult]) -> dict[float, FitResult]:
    """The fits whose exponents are identified, or all where those are fewer than two.

    A fit that is not identified can still have a narrow interval, and so a large weight.
    """
    found = {h: fit for h, fit in fits.items() if fit.identified}
    return found if len(found) >= 2 else dict(fits)


def _not_trusted(fits: Mapping[float, FitResult], trusted: Mapping[float, FitResult]) -> CodedWarning:
    left = ", ".join(f"{h:g}" for h in fits if h not in trusted)
    return (
        "horizon_not_identified",
        f"The law is not identified at h = {left}: the slope of nu and the law of samples leave it out.",
    )


def _sample_law(
    fits: Mapping[float, FitResult], compute: float, size_range: Interval, common: CommonFit
) -> SampleLaw:
    """E(N, h): κ from fixed sizes, which determine it best, the rest from the laws.

    Each horizon's law gives E_opt of a size within the data; divided by 1 + κ x it is the inherent term. The
    inherent term and ν are weighted means over horizons.
    """
    laws = [fit.law for fit in fits.values()]
    log_n = float(np.mean([law.log_N_opt(np.log(compute)) for law in laws]))
    log_n = float(np.clip(log_n, *np.log(size_range)))
    x = horizon_term(list(fits))
    log_e, nu = np.array([law.log_E_opt_of(log_n) for law in laws]), np.array([law.nu for law in laws])
    count = min(fit.bootstrap.replicates for fit in fits.values())
    drawn_laws = [fit.draw_laws()[:count] for fit in fits.values()]
    drawn_e = np.array([[law.log_E_opt_of(log_n) for law in row] for row in drawn_laws]).T  # (draws, h)
    drawn_nu = np.array([[law.nu for law in row] for row in drawn_laws]).T
    of_e = _weights(drawn_e) if count else np.full(len(x), 1 / len(x))
    of_nu = _weights(drawn_nu) if count else np.full(len(x), 1 / len(x))
    draws, intervals = [], {}
    if count:
        low, high = np.log(common.intervals["kappa"])
        rng = np.random.default_rng(int(next(iter(fits.values())).options["seed"]))
        kappa = common.kappa * np.exp(rng.standard_normal(count) * (high - low) / (2 * Z))
        log_a = (drawn_e - np.log1p(kappa[:, None] * x)) @ of_e
        common_nu = drawn_nu @ of_nu
        draws = list(zip(log_a.tolist(), kappa.tolist(), common_nu.tolist(), strict=True))
        intervals = {
            "inherent": interval_of(np.exp(log_a)),
            "kappa": interval_of(kappa),
            "nu": interval_of(common_nu),
        }
    return SampleLaw(
        size_ref=float(np.exp(log_n)),
        inherent=float(np.exp((log_e - np.log1p(common.kappa * x)) @ of_e)),
        kappa=common.kappa,
        nu=float(nu @ of_nu),
        intervals=intervals,
        draws=draws,
    )


def _weights(draws: Floats) -> Floats:
    """Inverse variances of the columns, from their central 90% so that outliers do not matter; sum to 1."""
    low, high = np.quantile(draws, [(1 - INTERVAL_LEVEL) / 2, (1 + INTERVAL_LEVEL) / 2], axis=0)
    weight = 1 / np.maximum(high - low, 1e-6) ** 2
    return np.asarray(weight / weight.sum())


def _shifts(fits: Mapping[float, FitResult], compute: float, law: SampleLaw) -> list[Shift]:
    """N_opt(C) relative to the smallest horizon, measured and by m^-ν."""
    (first_h, first), *others = fits.items()
    x0 = float(horizon_term(first_h))
    _, kappa, nu = np.array(law.draws).reshape(-1, 3).T
    found = []
    for horizon, fit in others:
        x = float(horizon_term(horizon))
        pairs = zip(fit.draw_laws(), first.draw_laws(), strict=False)
        drawn = [float(one.N_opt(compute) / other.N_opt(compute)) for one, other in pairs]
        intervals = {}
        if drawn and len(nu):
            predicted = ((1 + kappa * x) / (1 + kappa * x0)) ** -nu
            intervals = {"ratio": interval_of(drawn), "predicted": interval_of(predicted)}
        found.append(
            Shift(
                horizon=float(horizon),
                ratio=float(fit.law.N_opt(compute) / first.law.N_opt(compute)),
                predicted=((1 + law.kappa * x) / (1 + law.kappa * x0)) ** -law.nu,
                intervals=intervals,
            )
        )
    return found


def _nu_slope(fits: Mapping[float, FitResult]) -> NuSlope:
    log_h = np.log10(np.array(list(fits), float))
    nu = np.array([fit.nu for fit in fits.values()])
    ends = [fit.intervals.get("nu") for fit in fits.values()]
    design = add_constant(log_h)
    if any(end is None for end in ends):
        return NuSlope(per_decade=float(OLS(nu, design).fit().params[1]), interval=None, p_value=None)
    widths = np.array([end[1] - end[0] for end in ends if end is not None])
    weights = (2 * Z / np.maximum(widths, 1e-6)) ** 2
    fitted = WLS(nu, design, weights=weights).fit()
    # The intervals give the errors; the scatter of few points can only widen them.
    scale = max(float(fitted.ssr) / (len(nu) - 2), 1.0) if len(nu) > 2 else 1.0
    error = float(np.sqrt(fitted.normalized_cov_params[1, 1] * scale))
    slope = float(fitted.params[1])
    return NuSlope(
        per_decade=slope,
        interval=(slope - Z * error, slope + Z * error),
        p_value=float(2 * norm.sf(abs(slope) / error)),
    )
