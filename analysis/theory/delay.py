"""Learning that starts late: only some of the interactions count as experience.

At first an agent may learn nothing at all (a sparse reward, an empty replay buffer), or less than later. The
law (``rlscale.analysis.theory.power_law``) then holds between N and the experience that counts,

    sharp:   E' = E - τ                        nothing is learned before τ,
    soft:    E' = E - τ (1 - exp(-E/τ))        learning sets in over about τ: dE'/dE = 1 - exp(-E/τ),

while compute is C = N·E still, because interactions before the start are paid for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import lambertw

from rlscale.analysis.arrays import Floats

DelayKind = Literal["none", "sharp", "soft"]
_SMALL = 1e-3  # E/τ below which series are more accurate than differences of nearly equal numbers


@dataclass(frozen=True)
class Delay:
    """A delay of learning, the same for all sizes.

    Attributes:
        kind: ``none``, ``sharp`` or ``soft``.
        steps: τ in environment steps, 0 if there is none.
    """

    kind: DelayKind = "none"
    steps: float = 0.0

    def __bool__(self) -> bool:
        return self.kind != "none" and self.steps > 0

    def log_counted(self, log_e: ArrayLike) -> Floats:
        """log E' of log E; minus infinity before a sharp start."""
        log_e = np.asarray(log_e, float)
        if not self:
            return log_e
        ratio = np.exp(log_e - np.log(self.steps))  # E/τ
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.kind == "sharp":
                return np.where(ratio > 1, log_e + np.log1p(-1 / ratio), -np.inf)
            start = np.minimum(ratio, _SMALL)
            small = np.log(0.5) + 2 * np.log(start) + np.log1p(-start / 3 + start**2 / 12)
            exact = np.log(ratio + np.expm1(-ratio))
        return np.asarray(np.log(self.steps) + np.where(ratio < _SMALL, small, exact))

    def log_elapsed(self, log_counted: ArrayLike) -> Floats:
        """log E of log E', the inverse of ``log_counted``."""
        log_counted = np.asarray(log_counted, float)
        if not self:
            return log_counted
        if self.kind == "sharp":
            return np.logaddexp(log_counted, np.log(self.steps))
        ratio = np.exp(log_counted - np.log(self.steps))  # E'/τ
        root = np.minimum(np.sqrt(2 * ratio), 1.0)
        small = root / (1 - root / 6)
        exact = ratio + 1 + lambertw(-np.exp(-np.minimum(ratio, 700.0) - 1)).real
        return np.asarray(np.log(self.steps) + np.log(np.where(root < _SMALL, small, exact)))

    def log_slope(self, log_e: ArrayLike) -> Floats:
        """log of d log E'/d log E, at least 0; infinite before a sharp start."""
        log_e = np.asarray(log_e, float)
        if not self:
            return np.zeros_like(log_e)
        ratio = np.exp(log_e - np.log(self.steps))
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.kind == "sharp":
                return np.where(ratio > 1, -np.log1p(-1 / ratio), np.inf)
            exact = np.log(-ratio * np.expm1(-ratio) / (ratio + np.expm1(-ratio)))
            start = np.minimum(ratio, _SMALL)
            small = np.log(2.0) + np.log1p(-start / 2 + start**2 / 6) - np.log1p(-start / 3 + start**2 / 12)
        return np.where(ratio < _SMALL, small, exact)


NO_DELAY = Delay()
