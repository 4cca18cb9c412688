"""What the page needs to forecast by itself, as data for ``scripts/forecast.js``.

The page computes every forecast from the stored law, points and draws, as ``rlscale forecast`` does. Only
what is drawn at random or refitted comes from here: which errors each draw takes, how it continues the map,
and the errors of predictions from earlier ends of the data.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rlscale.analysis.fit.result import Estimates, FitResult
from rlscale.analysis.forecast.optimum import other_lines
from rlscale.analysis.forecast.prediction import ReturnPredictor, continuations, predicting_draws
from rlscale.analysis.formatting.numbers import percent
from rlscale.analysis.formatting.sizes import SIZE_WORDS


def calculator_data(fit: FitResult) -> dict[str, Any]:
    """The fields of ``Fit`` in ``scripts/forecast.js``, and the words of the calculator."""
    points = fit.points
    known = fit.interaction_flops
    return {
        "unit": SIZE_WORDS[fit.provenance.size].unit,
        "level": fit.interval_level,
        "level_text": percent(fit.interval_level),
        "identified": fit.identified,
        "range": {"C": fit.range.C, "N": fit.range.N, "E": fit.range.E},
        "compute_ref": fit.compute_ref,
        "law": _law(fit),
        "delay": {"kind": fit.delay.kind, "steps": fit.delay.steps},
        "draws": {name: packed(getattr(fit.bootstrap, name)) for name in ("nu", "k", "m", "delay")},
        "exclusion_fits": [_law(one) for one in fit.exclusion_fits],
        "other_lines": other_lines(fit),
        "monotone_map": {
            "returns": packed(fit.monotone_map.return_),
            "log_intrinsic": packed(fit.monotone_map.log_intrinsic),
        },
        "points": {
            "log_n": packed(np.log(points.N)),
            "log_e": packed(np.log(points.E)),
            "returns": packed(points.return_),
            "weight": packed(points.weight),
        },
        "prediction": _prediction(fit),
        "interaction_flops": None if known is None else {"N": packed(known.N), "flops": packed(known.flops)},
    }


def calculator_examples(fit: FitResult) -> dict[str, str]:
    """What the form holds at first: a budget ten times the largest measured, and a common GPU."""
    return {
        "value": f"1e{int(np.ceil(np.log10(fit.range.C[1])))}",
        "gpu_flops": "1e14",
        "utilization": "0.3",
        "knows_flops": "yes" if fit.interaction_flops is not None else "",
    }


def packed(values: ArrayLike) -> dict[str, str]:
    """Doubles in little-endian order, in base64: half as long as their decimals, and exact."""
    return {"float64": base64.b64encode(np.asarray(values, "<f8").tobytes()).decode()}


def _law(fit: FitResult | Estimates) -> dict[str, float]:
    return {"nu": fit.nu, "k": fit.alpha_N + fit.alpha_E, "N_opt_ref": fit.N_opt_ref}


def _prediction(fit: FitResult) -> dict[str, Any]:
    predictor = ReturnPredictor.of(fit)
    points, ends = predictor.centre.points, predictor.earlier_ends
    used = predicting_draws(len(fit.bootstrap.nu))
    return {
        "points": {name: packed(getattr(points, name)) for name in ("log_n", "log_e", "returns", "weight")},
        "scale": predictor.centre.base.map.scale,
        "draws": [
            {"draw": draw, "tail": how.tail, "straight": how.straight}
            for draw, how in zip(used, continuations(len(used), predictor.seed), strict=True)
        ],
        "errors_taken": predictor.errors_taken().tolist(),
        "error_factor": predictor.error_factor,
        "earlier_ends": {
            "widening": ends.widening,
            "tested": ends.tested,
            "beyond_compute": [packed(part) for part in ends.beyond_compute],
            "beyond_sizes": [[packed(part) for part in cut] for cut in ends.beyond_sizes],
        },
    }
