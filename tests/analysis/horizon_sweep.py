"""Curves at several horizons that follow the proposition exactly: E to any return is m(h) times as large."""

from __future__ import annotations

import numpy as np
import pandas as pd

from rlscale.analysis.theory.horizon import horizon_term
from rlscale.analysis.theory.power_law import PowerLaw

KAPPA = 0.1
LAW = PowerLaw.from_constants(0.4, 0.4, 0.02)
SIZES = (1e3, 3e3, 1e4, 3e4, 1e5, 3e5)
LAST = 1e6


def growth(horizon: float, kappa: float = KAPPA) -> float:
    """m(h) = 1 + kappa (h - 2 + 1/h)."""
    return float(1 + kappa * horizon_term(horizon))


def horizon_frame(
    horizons=(1.0, 4.0, 16.0, 64.0),
    *,
    noise: float = 0.0,
    seeds: int = 2,
    points: int = 80,
    kappa: float = KAPPA,
    last: float = LAST,
    multiplier=None,
) -> pd.DataFrame:
    """A tidy table; returns are linear in log I of the h = 1 law at E/m(h), between about 0 and 1.

    Noise is mostly a factor of E shared by a run, as between seeds, and a little in each return.
    """
    rng = np.random.default_rng(0)
    rows = []
    steps = np.geomspace(last / 400, last, points)
    low, high = (
        float(np.log(LAW.intrinsic(n, e)))
        for n, e in ((SIZES[0], last / 400 / growth(64)), (SIZES[-1], last))
    )
    for horizon in horizons:
        m = growth(horizon, kappa) if multiplier is None else multiplier(horizon)
        for size in SIZES:
            for seed in range(seeds):
                speed = np.exp(noise * rng.standard_normal())
                z = (np.log(LAW.intrinsic(size, steps / m * speed)) - low) / (high - low)
                returns = z + 0.05 * noise * rng.standard_normal(points)
                run = {"run_id": f"h{horizon:g}-n{size:g}-s{seed}", "horizon": horizon, "seed": seed}
                rows.append(
                    pd.DataFrame(
                        {**run, "num_params": size, "interactions": np.round(steps), "return_mean": returns}
                    )
                )
    return pd.concat(rows, ignore_index=True)
