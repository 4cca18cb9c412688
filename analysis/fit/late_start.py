"""Learning that starts late, as part of the joint fit.

A start that all sizes share bends every curve at one E. The free map takes the bend for its own, so the loss
hardly shows it, while ν is too large by 0.1 to 0.3. The curves themselves show it
(``rlscale.analysis.points.onset``); where the gate says so, the law is fitted to the experience E' that
counts (``rlscale.analysis.theory.delay``):

* ``sharp``: rows with E >= 1.5 E_on and τ = E_on; draw b of the bootstrap has τ_b = c_b E_on, c_b uniform
  in 0.8 … 1.1, because the onset is seen a little after learning has begun.
* ``soft``: rows with E >= E_on and τ/E_on in 0, 1/2, 1, 2, 4, 8, each fitted and weighed by its loss L,

      w ∝ (L/min L)^(-n/2),      n = max(rows (1 - ρ)/(1 + ρ), 3 sizes),

  ρ the correlation of neighbouring residuals of a size. The law is the weighted mean; draws sample τ by w.

Without a gate nothing changes. Choosing τ by the loss alone would cost well-behaved curves up to 0.1 in ν.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from rlscale.analysis.arrays import Floats
from rlscale.analysis.fit.objectives import Minimum, ReturnObjective
from rlscale.analysis.fit.search import search_near
from rlscale.analysis.points.onset import Start
from rlscale.analysis.points.preprocess import BinnedPoints
from rlscale.analysis.records import Record
from rlscale.analysis.statistics.isotonic import isotonic_fit
from rlscale.analysis.theory.delay import NO_DELAY, Delay, DelayKind
from rlscale.analysis.theory.power_law import PowerLaw

SHARP_CUT = 1.5
_SHARP_DRAWS = (0.8, 1.1)
#: Delays of the check for gradual starts, in shares of the longest run; what counts as seen.
_GRADUAL_SHARES = (0.003, 0.01, 0.03, 0.06, 0.12, 0.25)
_GRADUAL_GAIN, _GRADUAL_SHIFT = 12.0, 0.03
_GRADUAL_GAIN_ONCE = 35.0  # where no row was dropped, so that there is one gain and not two
_NO_LOSS = 1e-12
SOFT_DELAYS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
#: An onset beyond this share of training leaves too little of it for a fit.
LATEST = 1 / 16


@dataclass(frozen=True)
class Treatment:
    """What a fit does about the start.

    Attributes:
        not_before: E before which rows are dropped.
        delays: to be fitted, each a law.
        uncertain: whether a sharp delay is known as well as an onset is; otherwise exactly.
    """

    not_before: float = 0.0
    delays: tuple[Delay, ...] = (NO_DELAY,)
    uncertain: bool = False

    @classmethod
    def of(cls, start: Start) -> Treatment:
        """What the gate asks for."""
        on = start.interactions
        if start.gate == "sharp":
            return cls(SHARP_CUT * on, (Delay("sharp", on),), uncertain=True)
        if start.gate == "soft":
            return cls(on, tuple(Delay("soft", share * on) for share in SOFT_DELAYS))
        return cls()

    @classmethod
    def known(cls, delay: Delay) -> Treatment:
        """What a delay that is known asks for."""
        return cls(SHARP_CUT * delay.steps if delay.kind == "sharp" else 0.0, (delay,))

    def fixed(self, delay: Delay) -> Treatment:
        """The same rows with one delay, that of the fitted law."""
        return replace(self, delays=(delay,))

    def drawn(self, weight: Floats, replicates: int, rng: np.random.Generator) -> list[Delay]:
        """The delay of each draw of the bootstrap, by the weights of the delays."""
        if self.uncertain:
            (delay,) = self.delays
            return [Delay("sharp", float(c) * delay.steps) for c in rng.uniform(*_SHARP_DRAWS, replicates)]
        return [self.delays[i] for i in rng.choice(len(weight), size=replicates, p=weight)]


def delay_weights(laws: list[PowerLaw], points: BinnedPoints) -> Floats:
    """Weight of each law of a ``soft`` start, shape ``(laws,)``, sums to 1.

    Args:
        laws: one a delay, with it.
        points: that all were fitted to.
    """
    if len(laws) == 1:
        return np.ones(1)
    losses = np.array(
        [ReturnObjective(points.counted(law.delay), law.log_c0).loss(law.theta) for law in laws]
    )
    count = _effective_count(laws[int(np.argmin(losses))], points)
    logs = -0.5 * count * np.log(np.maximum(losses, _NO_LOSS) / max(float(losses.min()), _NO_LOSS))
    weight = np.exp(logs - logs.max())
    return np.asarray(weight / weight.sum())


def _effective_count(law: PowerLaw, points: BinnedPoints) -> float:
    """n above: points that would tell as much if residuals of neighbours were independent."""
    log_i = law.log_intrinsic(points.log_n, points.log_e)
    residual = points.response - isotonic_fit(log_i, points.response, points.weight)
    same = points.size[1:] == points.size[:-1]
    product = float(np.sum(residual[1:][same] * residual[:-1][same]))
    rho = float(np.clip(product / max(float(np.sum(residual[:-1][same] ** 2)), 1e-300), 0.0, 0.999))
    return max(len(points.weight) * (1 - rho) / (1 + rho), 3.0 * len(np.unique(points.size)))


def gradual_check(law: PowerLaw, points: BinnedPoints, everything: BinnedPoints) -> GradualCheck:
    """Whether some soft delay fits better than none, where no gate says so.

    Args:
        law: fitted to ``points`` without a delay.
        points: as measured.
        everything: points of all rows, early ones too, which show more of a short ramp; one chance gain is
            seldom in both.
    """
    best, in_all = _best_gradual(law, points), _best_gradual(law, everything)
    wanted = _GRADUAL_GAIN if len(everything.weight) > len(points.weight) else _GRADUAL_GAIN_ONCE
    return GradualCheck(
        delay=best.delay,
        nu=best.nu,
        gain=best.gain,
        gain_all_rows=in_all.gain,
        seen=min(best.gain, in_all.gain) > wanted
        and min(abs(best.nu - law.nu), abs(in_all.nu - law.nu)) > _GRADUAL_SHIFT,
    )


@dataclass(frozen=True)
class _Gradual:
    """A soft delay τ in environment steps, ν with it, and what it gains, see ``GradualCheck``."""

    delay: float
    nu: float
    gain: float


def _best_gradual(law: PowerLaw, points: BinnedPoints) -> _Gradual:
    """The delay with the largest gain, of those that change ν if there are any."""
    longest = float(np.exp(points.log_e.max()))
    plain = ReturnObjective(points, law.log_c0)
    start = Minimum(law.theta, plain.loss(law.theta), 1)
    without = min(start, search_near(plain, law.theta), key=lambda minimum: minimum.loss)
    count = _effective_count(PowerLaw.from_theta(without.theta, law.log_c0), points)
    found = []
    for share in _GRADUAL_SHARES:
        delay = Delay("soft", share * longest)
        objective = ReturnObjective(points.counted(delay), law.log_c0)
        near = search_near(objective, law.theta)
        # A delay moves the optimum far from the start, so one search often stops short of it.
        further = min(near, search_near(objective, near.theta), key=lambda minimum: minimum.loss)
        gain = count * float(np.log(max(without.loss, _NO_LOSS) / max(further.loss, _NO_LOSS)))
        found.append(_Gradual(delay.steps, PowerLaw.from_theta(further.theta, law.log_c0).nu, gain))
    changing = [one for one in found if abs(one.nu - law.nu) > _GRADUAL_SHIFT]
    return max(changing or found, key=lambda one: one.gain)


def averaged_law(laws: list[PowerLaw], weight: Floats) -> PowerLaw:
    """The law with the weighted means of ν, log k, m and τ."""
    if len(laws) == 1:
        return laws[0]
    nu, log_k, m, steps = np.array([(w.nu, np.log(w.k), w.m, w.delay.steps) for w in laws]).T @ weight
    delay = Delay(laws[-1].delay.kind, float(steps))
    return PowerLaw(float(nu), float(np.exp(log_k)), float(m), laws[0].log_c0, delay)


class DelayWeight(Record):
    """One delay τ of a soft start, in environment steps, its weight, and ν and N_opt fitted with it.

    ``N_opt_ref`` is at the ``compute_ref`` of the fit; null in files of earlier versions.
    """

    delay: float
    weight: float
    nu: float
    N_opt_ref: float | None = None


class GradualCheck(Record):
    """The soft delay that fits best where the gate is ``none``: learning may set in gradually.

    Attributes:
        delay: τ in environment steps.
        nu: with it.
        gain: twice the logarithm of the ratio of likelihoods with and without it.
        gain_all_rows: the same with early rows too, at the delay that is best for them.
        seen: whether both gains are beyond chance, above 12, or 35 if no row was dropped, and nu changes.
            Neighbouring residuals are correlated beyond what n takes into account, so a tenth of good sweeps
            gain 6 by chance (``benchmarks/gradual_starts.py``).
    """

    delay: float
    nu: float
    gain: float
    gain_all_rows: float | None = None
    seen: bool


class LateStart(Record):
    """Where learning starts, and what the fit did about it.

    Attributes:
        gate: ``none`` (nothing), ``sharp`` or ``soft``.
        onset: E_on, the median over sizes, in environment steps; null if most sizes never rise.
        onset_by_size: E_on of each size, ascending; null where it never rises.
        flat: e-folds of E before the onset, median over sizes.
        slopes: of the mean curve before, just after and later than the onset, in returns per e-fold of E.
        not_before: E before which rows were dropped because of it; 0 without a gate.
        delay: τ of the fitted law, in environment steps; 0 without a gate.
        delays: those that were weighed, of a soft start; of a sharp one the one delay; else none.
        nu: with the delay.
        nu_without: as fitted without the gate.
        gradual: a check for a gradual start without a gate; null with one.
    """

    gate: DelayKind
    onset: float | None
    onset_by_size: list[float | None]
    flat: float | None
    slopes: list[float | None]
    not_before: float
    delay: float
    delays: list[DelayWeight]
    nu: float
    nu_without: float
    gradual: GradualCheck | None = None

    @classmethod
    def of(
        cls,
        start: Start,
        treatment: Treatment,
        law: PowerLaw,
        delayed: list[PowerLaw],
        weight: Floats,
        nu_without: float,
        gradual: GradualCheck | None,
    ) -> LateStart:
        """The record of a fit that looked for a start."""
        weighed = zip(delayed, weight.tolist(), strict=True) if start.gate != "none" else ()
        return cls(
            gate=start.gate,
            onset=_known(start.interactions),
            onset_by_size=[_known(onset) for onset in start.by_size.tolist()],
            flat=_known(start.flat),
            slopes=[_known(slope) for slope in start.slopes],
            not_before=treatment.not_before,
            delay=law.delay.steps,
            delays=[
                DelayWeight(
                    delay=one.delay.steps,
                    weight=w,
                    nu=one.nu,
                    N_opt_ref=float(one.N_opt(np.exp(one.log_c0))),
                )
                for one, w in weighed
            ],
            nu=law.nu,
            nu_without=nu_without,
            gradual=gradual,
        )


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
