"""Synthetic curves with known parameters, to measure how accurate fits and their intervals are."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy.interpolate import PchipInterpolator
from scipy.signal import lfilter
from scipy.special import expit

from rlscale.analysis.arrays import Floats
from rlscale.analysis.curves.curve_set import Curves
from rlscale.analysis.theory.power_law import PowerLaw
from rlscale.scaling.errors import InputError

Shape = Literal["linear", "power", "sigmoid", "saturating", "plateau", "ceiling", "steps", "spline"]


def _plateau(z: Floats) -> Floats:
    """Rises, stays nearly flat in the middle, rises again."""
    return z - 0.95 * np.sin(2 * np.pi * z) / (2 * np.pi)


def _steps(z: Floats) -> Floats:
    """Four smooth steps with little progress between them."""
    return 0.1 * z + 0.9 * expit(40 * (z[..., None] - np.array([0.2, 0.4, 0.6, 0.8]))).mean(axis=-1)


#: Returns in 0..1 as increasing functions of log I scaled to 0..1 over the noise-free curves.
SHAPES: dict[str, Callable[[Floats], Floats]] = {
    "linear": lambda z: z,
    "power": lambda z: np.expm1(4 * z) / np.expm1(4.0),
    "sigmoid": lambda z: expit(8 * (z - 0.5)),
    "saturating": lambda z: 0.99 * -np.expm1(-5 * z) / -np.expm1(-5.0),
    "plateau": _plateau,
    "ceiling": lambda z: np.minimum(z / 0.8, 1.0),
    "steps": _steps,
}


def _random_spline(rng: np.random.Generator) -> Callable[[Floats], Floats]:
    """An increasing spline through knots of random heights."""
    heights = np.concatenate([[0.0], np.cumsum(0.05 + rng.dirichlet(np.ones(6)))])
    return PchipInterpolator(np.linspace(0, 1, len(heights)), heights / heights[-1])


@dataclass(frozen=True)
class SyntheticSweep:
    """A sweep with a known law.

    Attributes:
        alpha_N, alpha_E, N_c: the law.
        sizes: N of each size; by default a factor of 2 between neighbours.
        seeds: runs of each size.
        max_interactions: E at which runs end.
        points: rows of each run, evenly spaced in E, or, from ``first_interactions`` on, in log E.
        first_interactions: E of the first row; None for even spacing.
        shape: return as a function of log I; ``spline`` draws another one each time.
        noise: standard deviation of the noise of one run, as a share of the range of returns.
        correlation: lag-one autocorrelation of the noise (AR(1)).
        late_start: share of training before a run begins to learn.
        late_start_power: the delay falls as N^-power about the middle of log N; 0 for one delay for all.
        ramp: share of training over which the rate of learning rises evenly from 0 to its full value.
        size_effect: standard deviation of a shift of log I that all runs of a size share.
    """

    alpha_N: float = 0.3
    alpha_E: float = 0.5
    N_c: float = 1e-3
    sizes: tuple[float, ...] = tuple(float(n) for n in 2.0 ** np.arange(12, 22) * 10)
    seeds: int = 3
    max_interactions: float = 1e8
    points: int = 250
    first_interactions: float | None = None
    shape: Shape = "linear"
    noise: float = 0.0
    correlation: float = 0.8
    late_start: float = 0.0
    late_start_power: float = 0.0
    ramp: float = 0.0
    size_effect: float = 0.0

    @property
    def law(self) -> PowerLaw:
        """The law the curves follow."""
        return PowerLaw.from_constants(self.alpha_N, self.alpha_E, self.N_c)

    def log_intrinsic(self, log_n: Floats, log_e: Floats) -> Floats:
        """log I of the curves without shifts, by the law; a study of wrong laws overrides it."""
        return self.law.log_intrinsic(log_n, log_e)

    def curves(self, rng: np.random.Generator) -> Curves:
        """Draw the curves.

        Raises:
            InputError: if ``late_start`` or ``ramp`` leaves nothing to learn from.
        """
        for name in ("late_start", "ramp"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(
                    f"{name} must be in [0, 1): got {getattr(self, name)}.", code="invalid_option"
                )
        n = np.repeat(np.asarray(self.sizes, float), self.seeds)  # (runs,)
        e = self._interactions()  # (points,)
        log_i = self.log_intrinsic(np.log(n)[:, None], np.log(self._learned(n, e)))  # (runs, points)
        if self.size_effect > 0:
            shifts = self.size_effect * rng.standard_normal(len(self.sizes))
            log_i = log_i + np.repeat(shifts, self.seeds)[:, None]
        z = (log_i - log_i.min()) / (log_i.max() - log_i.min())
        clean = (_random_spline(rng) if self.shape == "spline" else SHAPES[self.shape])(z)
        return self._as_curves(clean + self.noise * np.ptp(clean) * self.ar1_noise(rng, clean.shape))

    def _as_curves(self, returns: Floats) -> Curves:
        """Curves with these returns, shape ``(runs, points)``."""
        n, e = np.repeat(np.asarray(self.sizes, float), self.seeds), self._interactions()
        ids = tuple(f"run-{i:04d}" for i in range(len(n)))
        seeds = np.tile(np.arange(self.seeds), len(self.sizes))
        return Curves(
            run_ids=ids,
            run_sizes=n,
            run_index=np.repeat(np.arange(len(n)), self.points),
            interactions=np.tile(e, len(n)),
            returns=returns.ravel(),
            table=pd.DataFrame({"num_params": n, "seed": seeds}, index=pd.Index(ids, name="run_id")),
            source="synthetic",
        )

    def _learned(self, n: Floats, e: Floats) -> Floats:
        """Interactions that count for the law, shape ``(runs, points)`` or one that broadcasts to it."""
        delay = np.array([self.late_start * self.max_interactions])
        if self.late_start_power:
            middle = np.sqrt(self.sizes[0] * self.sizes[-1])
            delay = delay * (n[:, None] / middle) ** -self.late_start_power
        learned = np.maximum(e - delay, 0.1 * e[0])
        full = self.ramp * self.max_interactions
        return np.where(learned < full, learned**2 / (2 * full), learned - full / 2) if full else learned

    def _interactions(self) -> Floats:
        if self.first_interactions is None:
            return self.max_interactions * np.arange(1, self.points + 1) / self.points
        return np.geomspace(self.first_interactions, self.max_interactions, self.points)

    def ar1_noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        """Noise of unit standard deviation, AR(1) along each run, stationary from the start."""
        steps = rng.standard_normal(shape) * np.sqrt(1 - self.correlation**2)
        steps[:, 0] /= np.sqrt(1 - self.correlation**2)
        return lfilter([1.0], [1.0, -self.correlation], steps, axis=1)


@dataclass(frozen=True)
class SyntheticPair:
    """Two recipes with one map of return: recipe A reaches what B reaches with C_A = factor · C_B · (...).

    log C_A(R) = log C_B(R) + log factor + growth · (log C_B(R) - log pivot), and above the ceiling of A none.

    Attributes:
        sweep: recipe B, and the design of both.
        factor: C_A/C_B at the pivot.
        growth: change of log(C_A/C_B) with log C_B.
        alpha_N, alpha_E: exponents of A; those of B by default.
        pivot: C_B at which the ratio is ``factor``.
        ceiling: I_c in a third term I_c^-β of recipe A's law, in units of B's compute; infinite for none.
        shared: share of the variance of the noise that runs of one size and seed have in common, in 0..1.
    """

    sweep: SyntheticSweep
    factor: float = 1.0
    growth: float = 0.0
    alpha_N: float | None = None
    alpha_E: float | None = None
    pivot: float = 1e12
    ceiling: float = math.inf
    shared: float = 0.0

    def law_a(self) -> PowerLaw:
        """Recipe A's law; with B's exponents its sizes want ``factor`` times the interactions."""
        log_pivot = math.log(self.pivot)
        mine = self.sweep.law.stated_at(log_pivot)
        alpha_N, alpha_E = self.alpha_N or mine.alpha_N, self.alpha_E or mine.alpha_E
        k = alpha_N + alpha_E
        return PowerLaw(alpha_E / k, k, mine.m, log_pivot + math.log(self.factor))

    def log_compute_of_b(self, log_compute_a: Floats) -> Floats:
        """log C_B for what recipe A reaches with log C_A."""
        log_pivot = math.log(self.pivot)
        y = log_pivot + (log_compute_a - log_pivot - math.log(self.factor)) / (1 + self.growth)
        if math.isinf(self.ceiling):
            return y
        beta = self.sweep.law.beta
        return -np.logaddexp(-beta * y, -beta * math.log(self.ceiling)) / beta

    def curves(self, rng: np.random.Generator) -> tuple[Curves, Curves]:
        """Draw the curves of A and of B."""
        sweep = self.sweep
        log_n = np.log(np.repeat(np.asarray(sweep.sizes, float), sweep.seeds))[:, None]
        log_e = np.log(sweep._interactions())
        y_a = self.log_compute_of_b(self.law_a().log_intrinsic(log_n, log_e))
        y_b = sweep.law.log_intrinsic(log_n, log_e)
        low, high = min(y_a.min(), y_b.min()), max(y_a.max(), y_b.max())
        shape = _random_spline(rng) if sweep.shape == "spline" else SHAPES[sweep.shape]
        common = sweep.ar1_noise(rng, y_a.shape)
        found = []
        for y in (y_a, y_b):
            clean = shape((y - low) / (high - low))
            own = np.sqrt(1 - self.shared) * sweep.ar1_noise(rng, y.shape) + np.sqrt(self.shared) * common
            found.append(sweep._as_curves(clean + sweep.noise * np.ptp(clean) * own))
        return found[0], found[1]


def curves_frame(curves: Curves) -> pd.DataFrame:
    """The curves as a table with the columns of a stored one, e.g. to write a Parquet or CSV file."""
    return pd.DataFrame(
        {
            "run_id": np.asarray(curves.run_ids)[curves.run_index],
            "num_params": curves.run_sizes[curves.run_index],
            "interactions": curves.interactions,
            "return_mean": curves.returns,
        }
    )
