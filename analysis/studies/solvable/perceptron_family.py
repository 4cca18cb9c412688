r"""RL perceptrons of many sizes: a family whose scaling law follows from its equations.

If student and teacher have the same dimension, curves of different D collapse: they are one function of
α = E/(T D), so a return costs E proportional to D and C = D E proportional to D². The smallest student is
always best, and there is no frontier. A larger student must see more. So here one teacher has D* inputs, a
student of dimension D has the first D of them, and these hold the share c² = (D/D*)^k of the teacher's
squared weights (``rlscale.analysis.theory.rl_perceptron``). All steps of an episode must be right, students
are spherical (Q = 1) and use the steepest rate η_opt. With u = ρ², the overlap ρ with what is seen obeys

    dρ/dα = η P^(T-1) c (1-ρ²)/s - ρ η² P^T/(2T),    η_opt = T c (1-ρ²)/(s ρ P),    s = sqrt(2π),
    du/dα = T P^(T-2) c² (1-u)²/(2π).

With w = 1/(1-u) the interactions of an overlap are an integral, E = T D α = (2πD/c²) ∫ P^(2-T) dw. With T = 2
it is elementary, at every overlap and size: the overlap c ρ with the whole teacher obeys

    (c ρ)^-2 = (D*/D)^k + 2π D*^(2k) D^(1-2k)/E

up to the start (ρ0² to 0). The least of this over D E = C is at D^(2-k) = C k/(4π (1-k) D*^k), ν = 1/(2-k).
At k = 1/2 the second term is 2π D*/E, and this is the paper's law, with α_N = 1/2, α_E = 1, ν = 2/3, β = 1/3.
At other k its form is another: below 1/2 larger students need more interactions for the same experience,
above it fewer. At k = 1 all inputs weigh the same and students should be as large as the teacher.

For another T the integrand is P^(2-T). While little is learned P is 1/2, and the horizon multiplies the
interactions by 2^(T-2): a power of 2, where the bandit's are affine in the horizon.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import pi

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import cumulative_simpson
from scipy.optimize import minimize_scalar

from rlscale.analysis.arrays import Floats
from rlscale.analysis.theory.power_law import PowerLaw
from rlscale.scaling.errors import InputError

_LARGEST_W = 1e7  # 1 - ρ² of 1e-7: beyond what any run reaches
_GRID = 4001


@dataclass(frozen=True)
class StudentFamily:
    """Students of many dimensions D of one teacher.

    Attributes:
        teacher: D*.
        power: k in (0, 1].
        steps: T.
        rho0: overlap with what is seen at the start.

    Raises:
        InputError: code ``invalid_number``.
    """

    teacher: int
    power: float
    steps: int = 2
    rho0: float = 0.1

    def __post_init__(self) -> None:
        for name, wrong, remedy in (
            ("teacher", self.teacher < 4, "give 4 or more"),
            ("power", not 0 < self.power <= 1, "give a number above 0, at most 1"),
            ("steps", self.steps < 1, "give 1 or more"),
            ("rho0", not 0 < self.rho0 < 1, "give an overlap above 0 and below 1"),
        ):
            if wrong:
                raise InputError(
                    f"{name} of the students is {getattr(self, name)}: {remedy}.", code="invalid_number"
                )

    def seen(self, dimension: float) -> float:
        """c: root of the share of the teacher's squared weights that a student of dimension D sees."""
        return float((dimension / self.teacher) ** (self.power / 2))

    def ceiling(self, dimension: float) -> float:
        """The return that a student of dimension D nears with unlimited experience."""
        return float(_correctness(np.array(self.seen(dimension))))

    def returns(self, dimension: float, interactions: ArrayLike) -> Floats:
        """The share of right steps at E, of the shape of ``interactions``."""
        log_e, p = self._curve(float(dimension))
        return np.interp(np.log(np.asarray(interactions, float)), log_e, p)

    def interactions_to(self, level: float, dimension: float) -> float:
        """E at which a student of dimension D gets the share ``level`` right; inf if it never does."""
        log_e, p = self._curve(float(dimension))
        if level > p[-1]:
            return float("inf")
        return float(np.exp(np.interp(level, p, log_e)))

    def _curve(self, dimension: float) -> tuple[Floats, Floats]:
        return _curve(self, dimension)

    def N_opt(self, compute: float) -> float:
        """The dimension in 4 .. D* with the largest return at D E = ``compute``."""
        found = minimize_scalar(
            lambda log_n: -float(self.returns(np.exp(log_n), compute / np.exp(log_n))),
            bounds=(np.log(4.0), np.log(self.teacher)),
            method="bounded",
            options={"xatol": 1e-6},
        )
        return float(np.exp(found.x))

    @property
    def nu(self) -> float:
        """1/(2-k), the exponent of the optimal size at T = 2; at other T while little is learned."""
        return 1 / (2 - self.power)

    def law(self) -> PowerLaw:
        """The paper's law, which this family obeys at T = 2 and k = 1/2 up to its start.

        Raises:
            InputError: at other T or k (code ``invalid_law``).
        """
        if self.steps != 2 or self.power != 0.5:
            raise InputError(
                f"Students with T = {self.steps} and k = {self.power:g} do not obey the law of N and E: "
                "T = 2 and k = 1/2 do.",
                code="invalid_law",
            )
        compute = 4 * pi * self.teacher**2  # where N_opt is the teacher's dimension
        return PowerLaw.from_optimum(2 / 3, 1.5, N_opt=float(self.teacher), compute=compute)


def _correctness(overlap: Floats) -> Floats:
    return 1 - np.arccos(np.clip(overlap, -1.0, 1.0)) / pi


@lru_cache(maxsize=256)
def _curve(family: StudentFamily, dimension: float) -> tuple[Floats, Floats]:
    """The learning curve of a student: log E and P, both increasing, (points,)."""
    c, first = family.seen(dimension), 1 / (1 - family.rho0**2)
    above = np.concatenate([[0.0], np.geomspace(1e-7, _LARGEST_W, _GRID - 1)])  # w - w0
    p = _correctness(c * np.sqrt(1 - 1 / (first + above)))
    spent = np.empty(_GRID)  # ∫ P^(2-T) dw
    spent[0], spent[1] = 0.0, above[1] * p[0] ** (2 - family.steps)
    log_above = np.log(above[1:])
    spent[1:] = spent[1] + cumulative_simpson(
        p[1:] ** (2 - family.steps) * above[1:], x=log_above, initial=0.0
    )
    return np.log(2 * pi * dimension / c**2 * spent[1:]), p[1:]


@dataclass(frozen=True)
class Recovered:
    """A quantity of a fit beside its true value."""

    name: str
    truth: float
    estimate: float
    interval: tuple[float, float]

    @property
    def inside(self) -> bool:
        """Whether the interval holds the truth."""
        return self.interval[0] <= self.truth <= self.interval[1]
