"""Budgets in FLOPs or GPU hours as compute C = N·E, from the FLOPs of the sweep's own training.

The FLOPs of an interaction are not proportional to N: small convolutional nets use more per parameter.
So C solves  flops(N_opt(C)) · E_opt(C) = budget,  where the FLOPs per interaction of a size are interpolated
in log-log between the sizes of the sweep, and proportional to N beyond them.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

from rlscale.analysis.fit.findings import InteractionFlops
from rlscale.analysis.fit.result import FitResult
from rlscale.analysis.forecast.result import Budget
from rlscale.analysis.theory.quantities import check_quantity
from rlscale.scaling.errors import InputError
from rlscale.scaling.wording import either

_SECONDS = 3600.0


def flops_budget(fit: FitResult, flops: float, *, per_param_interaction: float | None = None) -> Budget:
    """The compute whose optimum costs ``flops`` of training.

    Args:
        fit: a fit of curves that know their FLOPs, unless ``per_param_interaction`` is given.
        flops: positive.
        per_param_interaction: FLOPs for each unit of size and interaction, in place of the sweep's.

    Raises:
        InputError: if a number cannot be used, or the fit knows no FLOPs.
    """
    compute, conversion = _compute_of(
        fit, check_quantity(either("--flops", "flops"), flops), per_param_interaction
    )
    return Budget(unit="flops", value=flops, flops=flops, compute=compute, conversion=conversion)


def gpu_hours_budget(
    fit: FitResult,
    hours: float,
    *,
    gpu_flops: float | None,
    utilization: float | None,
    per_param_interaction: float | None = None,
) -> Budget:
    """The compute that GPU hours buy.

    Args:
        fit, per_param_interaction: as for ``flops_budget``.
        hours: of one GPU, positive.
        gpu_flops: its peak rate, FLOP/s.
        utilization: the share of it that training reaches, above 0 and at most 1.

    Raises:
        InputError: as ``flops_budget``, and if the rate or the utilization is missing.
    """
    if gpu_flops is None or utilization is None:
        raise InputError(
            "GPU hours need the GPU's peak rate and the share of it that training attains: add e.g. "
            + either("--gpu-flops 1e14 --utilization 0.3.", "gpu_flops=1e14, utilization=0.3."),
            code="missing_option",
        )
    check_quantity(either("--gpu-hours", "hours"), hours)
    check_quantity(either("--gpu-flops", "gpu_flops"), gpu_flops)
    if not 0 < utilization <= 1:
        raise InputError(
            f"{either('--utilization', 'utilization')} must be above 0 and at most 1: got {utilization}.",
            code="invalid_number",
        )
    flops = check_quantity("The FLOPs of these hours", hours * _SECONDS * gpu_flops * utilization)
    compute, conversion = _compute_of(fit, flops, per_param_interaction)
    rate = f"{hours:g} hours at {utilization:.0%} of {gpu_flops:.3g} FLOP/s are {flops:.3g} FLOPs. "
    return Budget(unit="gpu-hours", value=hours, flops=flops, compute=compute, conversion=rate + conversion)


def log_flops_per_interaction(known: InteractionFlops, log_n: float) -> float:
    """Log FLOPs of training for an interaction: log-log between sizes, proportional to N beyond."""
    knots = np.log(known.N)
    beyond = log_n - float(np.clip(log_n, knots[0], knots[-1]))
    return float(np.interp(log_n, knots, np.log(known.flops))) + beyond


def _compute_of(fit: FitResult, flops: float, per_param_interaction: float | None) -> tuple[float, str]:
    """(C, how it was found)."""
    if per_param_interaction is not None:
        rate = check_quantity(
            either("--flops-per-param-interaction", "per_param_interaction"), per_param_interaction
        )
        return check_quantity(
            "The compute of this budget", flops / rate
        ), f"{rate:.3g} FLOPs per unit of size and interaction, as given."
    known = fit.interaction_flops
    if known is None:
        raise InputError(
            "This fit knows no FLOPs (its curves had no column flops_per_interaction): give "
            + either("--flops-per-param-interaction, or --compute.", "per_param_interaction, or a compute."),
            code="flops_unknown",
        )
    law = fit.law

    def excess(log_c: float) -> float:
        log_n = float(law.log_N_opt(log_c))
        return log_flops_per_interaction(known, log_n) + log_c - log_n - float(np.log(flops))

    low = high = law.log_c0
    while excess(low) > 0:
        low -= 10.0
    while excess(high) < 0:
        high += 10.0
    log_c = low if low == high else float(brentq(excess, low, high, xtol=1e-12))
    log_n = float(law.log_N_opt(log_c))
    rate = float(np.exp(log_flops_per_interaction(known, log_n) - log_n))
    inside = np.log(known.N[0]) <= log_n <= np.log(known.N[-1])
    where = "measured by the sweep" if inside else "as of the sweep's nearest size"
    n = float(np.exp(log_n))
    compute = check_quantity("The compute of this budget", float(np.exp(min(log_c, 700.0))))
    return compute, f"{rate:.3g} FLOPs per unit of size and interaction at N = {n:.3g}, {where}."
