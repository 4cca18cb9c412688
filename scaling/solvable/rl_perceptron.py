r"""The RL perceptron simulated at finite size, many students at once (Patel et al. 2023).

Students w and teachers w* of dimension D, each pair with |w*|² = D, judge the signs of T inputs N(0, I) an
episode, after which w <- w + 1/(T sqrt(D)) sum_t G_t sgn(w.x_t) x_t.

An episode needs of its T·D numbers only two a step, the components of x_t along w* and along the rest of
w, and the weighted sum of what is outside that plane. What is outside is independent of the weights
a_t = G_t y_t, so the sum is exactly |a| times one normal vector. Hence three simulations with one law, slow
to fast:

- ``inputs`` draws all inputs, word by word as above;
- ``weights`` draws 2T numbers and one vector an episode, and keeps the students' weights;
- ``overlaps`` keeps R and Q alone, which are a Markov chain: 2T numbers and the squared length of that
  vector, chi-squared with D - 2 degrees of freedom. Its cost does not depend on D.

A student may see a part of its teacher alone: of the teacher's field it gets c times its own w*.x/sqrt(D) and
sqrt(1-c²) times one more normal number a step, in all three simulations. w*, R and ρ are then those of the
part that is seen, and c ρ is the overlap with the whole teacher.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from rlscale.scaling.errors import InputError

Floats = NDArray[np.float64]
#: η and T in force, from α and the means of ρ and Q over the students.
Control = Callable[[float, float, float], tuple[float, float]]
Keeps = Literal["inputs", "weights", "overlaps"]

#: Episodes whose squared lengths are drawn at once.
STOCK = 256


class Rule(Protocol):
    """What an episode pays: protocol, T, n, η1, η2 and the bonus, of values that are in range."""

    @property
    def protocol(self) -> str: ...
    @property
    def steps(self) -> int: ...
    @property
    def needed(self) -> int: ...
    @property
    def rate(self) -> float: ...
    @property
    def penalty(self) -> float: ...
    @property
    def bonus(self) -> float: ...


@dataclass(frozen=True)
class Simulated:
    """Students over time; ``rho``, ``q`` have shape (times, students).

    Attributes:
        alpha: whole episodes over D, (times,).
        rho: overlap of each student with its teacher.
        q: squared length over D.
        interactions: steps so far of one student, (times,): E counts steps, not episodes.
    """

    alpha: Floats
    rho: Floats
    q: Floats
    interactions: NDArray[np.int64]

    @property
    def r(self) -> Floats:
        """R = w.w*/D, (times, students)."""
        return np.asarray(self.rho * np.sqrt(self.q))


def credit(
    right: torch.Tensor, rule: Rule, scale: float = 1.0, dtype: torch.dtype = torch.float64
) -> torch.Tensor:
    """G_t of each step, (students, T), from which steps are right, bool (students, T).

    ``scale`` multiplies rate, penalty and bonus.
    """
    rate, penalty, bonus = scale * rule.rate, scale * rule.penalty, scale * rule.bonus
    all_right = right.all(1, keepdim=True)
    match rule.protocol:
        case "all-correct":
            return all_right.to(dtype).mul_(rate + penalty).sub_(penalty).expand(right.shape)
        case "n-of-t":
            enough = right.sum(1, keepdim=True) >= rule.needed
            return enough.to(dtype).mul_(rate + penalty).sub_(penalty).expand(right.shape)
        case "sub-reward":
            first = right[:, : rule.needed].all(1, keepdim=True)
            early = torch.arange(right.shape[1], device=right.device) < rule.needed
            return rate * all_right.to(dtype) + bonus * (first & early).to(dtype)
        case "breadcrumbs":
            to_come = right.flip(1).cumsum(1).flip(1)
            return rate * all_right.to(dtype) + bonus * to_come.to(dtype)
    raise InputError(
        f"protocol {rule.protocol} of the perceptron is unknown: use all-correct, n-of-t, sub-reward or "
        "breadcrumbs.",
        code="wrong_reward_rule",
    )


class Judged(NamedTuple):
    """What an episode adds: sum a x1 along w*, sum a x2 along the rest of w, |a| outside; and what was right.

    All have shape (students,); ``right`` is the share of its steps.
    """

    on_teacher: torch.Tensor
    on_rest: torch.Tensor
    size: torch.Tensor
    right: torch.Tensor


def judged(
    r: torch.Tensor,
    left: torch.Tensor,
    normal: torch.Tensor,
    rule: Rule,
    scale: float,
    field: torch.Tensor | None = None,
) -> Judged:
    """An episode in the plane of student and what it sees of its teacher.

    Args:
        r, left: R and sqrt(Q - R²), (students,).
        normal: x1 and x2, the components of the inputs along w* and along the rest of w, (2, students, T).
        field: what the teacher judges by, (students, T), if that is more than x1.
    """
    along, across = normal
    student = torch.addcmul(r[:, None] * along, left[:, None], across)
    right = student * (along if field is None else field) > 0
    weight = credit(right, rule, scale, along.dtype) * student.sign()
    on_teacher, on_rest = (weight * normal).sum(2)
    return Judged(on_teacher, on_rest, weight.norm(dim=1), right.to(along.dtype).mean(1))


def squared_lengths(
    degrees: int, count: int, generator: torch.Generator, dtype: torch.dtype = torch.float64
) -> torch.Tensor:
    """Chi-squared numbers, (count,), by the method of Marsaglia and Tsang (2000); 2 degrees or more.

    torch has gamma variates for its global generator alone, and a simulation needs one of its own.
    """
    made = {"generator": generator, "device": generator.device, "dtype": dtype}
    d = degrees / 2 - 1 / 3
    drawn = torch.empty(0, device=generator.device, dtype=dtype)
    while len(drawn) < count:
        x = torch.randn(count, **made)  # type: ignore[call-overload]
        v = (1 + x / (9 * d) ** 0.5) ** 3
        bound = 0.5 * x * x + d * (1 - v + v.clamp_min(1e-300).log())
        kept = (v > 0) & (torch.rand(count, **made).log() < bound)  # type: ignore[call-overload]
        drawn = torch.cat([drawn, 2 * d * v[kept]])
    return drawn[:count]


class Students:
    """A batch of students that learn from episodes in lockstep.

    The start: teacher and direction of the student random, and ``|w|² = Q0 D``.

    Args:
        dimension: D, 4 or more.
        count: number of students, each with a teacher of its own.
        keeps: which of the three simulations.
        rho0: the exact overlap at the start; None draws the student's direction, an overlap of about
            1/sqrt(D) of either sign.
        seen: c, the root of the share of the teacher's squared length that the students see.
        spherical: each student is scaled back to Q0 after each episode.
        seed: of the generator that belongs to these students.

    Raises:
        InputError: code ``invalid_number``.
    """

    def __init__(
        self,
        dimension: int,
        count: int,
        *,
        keeps: Keeps = "overlaps",
        rho0: float | None = 0.0,
        q0: float = 1.0,
        seen: float = 1.0,
        spherical: bool = False,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
        device: str = "cpu",
    ) -> None:
        _check_sizes(dimension, count, rho0, q0, seen)
        self.dimension, self.count, self.keeps = dimension, count, keeps
        self.q0, self.seen, self.spherical, self.dtype, self.device = q0, seen, spherical, dtype, device
        self._random = torch.Generator(device).manual_seed(seed)
        self._stock: list[torch.Tensor] = []
        rho = self._first_overlaps(rho0)
        if keeps == "overlaps":
            self.r = rho * q0**0.5
            self.q = torch.full((count,), q0, dtype=dtype, device=device)
            return
        teacher, other = self._normal(count, dimension), self._normal(count, dimension)
        self.teacher = teacher * (dimension**0.5 / teacher.norm(dim=1, keepdim=True))
        other -= self.teacher * ((other * self.teacher).sum(1, keepdim=True) / dimension)
        other *= dimension**0.5 / other.norm(dim=1, keepdim=True)
        self.w = q0**0.5 * (rho[:, None] * self.teacher + (1 - rho * rho).sqrt()[:, None] * other)

    def _first_overlaps(self, rho0: float | None) -> torch.Tensor:
        """ρ0, or the overlap of two random directions: a component of one over its length, (students,)."""
        if rho0 is not None:
            return torch.full((self.count,), rho0, dtype=self.dtype, device=self.device)
        rest = squared_lengths(self.dimension - 1, self.count, self._random, self.dtype)
        component = self._normal(self.count)
        return component / (component * component + rest).sqrt()

    def _normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self._random, dtype=self.dtype, device=self.device)

    def order_parameters(self) -> tuple[torch.Tensor, torch.Tensor]:
        """R and Q, (students,) each."""
        if self.keeps == "overlaps":
            return self.r, self.q
        return (self.w * self.teacher).mean(1), (self.w * self.w).mean(1)

    @torch.inference_mode()
    def episode(self, rule: Rule, *, steps: int | None = None, scale: float = 1.0) -> torch.Tensor:
        """One update of every student; ``steps`` in place of the rule's, ``scale`` on its rewards.

        Returns the share of right steps, (students,).
        """
        steps = rule.steps if steps is None else steps
        match self.keeps:
            case "inputs":
                right = self._learn_from_inputs(rule, steps, scale)
            case "weights":
                right = self._learn_from_a_vector(rule, steps, scale)
            case "overlaps":
                right = self._move_overlaps(rule, steps, scale)
        if self.spherical:
            self._scale_back()
        return right

    def state_dict(self) -> dict[str, Any]:
        """All that the next episodes depend on, as tensors."""
        kept = ("r", "q") if self.keeps == "overlaps" else ("w", "teacher")
        stock = torch.stack(self._stock) if self._stock else torch.empty(0, self.count)
        return {
            "random": self._random.get_state(),
            "stock": stock,
            **{name: getattr(self, name).clone() for name in kept},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state_dict``'s result, bit for bit."""
        self._random.set_state(state["random"].cpu())
        self._stock = list(state["stock"].to(self.device))
        for name in set(state) - {"random", "stock"}:
            setattr(self, name, state[name].to(self.device))

    def _field(self, seen: torch.Tensor) -> torch.Tensor | None:
        """The teacher's whole field (students, T), from what is seen of it; None if that is all."""
        if self.seen == 1:
            return None
        return self.seen * seen + (1 - self.seen**2) ** 0.5 * self._normal(*seen.shape)

    def _scale_back(self) -> None:
        if self.keeps == "overlaps":
            self.r = self.r * (self.q0 / self.q).sqrt()
            self.q = torch.full_like(self.q, self.q0)
        else:
            self.w *= (self.q0 * self.dimension) ** 0.5 / self.w.norm(dim=1, keepdim=True)

    def _learn_from_inputs(self, rule: Rule, steps: int, scale: float) -> torch.Tensor:
        inputs = self._normal(self.count, steps, self.dimension)
        student = torch.einsum("std,sd->st", inputs, self.w)
        teacher = torch.einsum("std,sd->st", inputs, self.teacher)
        whole = self._field(teacher / self.dimension**0.5)
        right = student * (teacher if whole is None else whole) > 0
        weight = credit(right, rule, scale, inputs.dtype) * student.sign()
        self.w += torch.einsum("st,std->sd", weight, inputs) / (steps * self.dimension**0.5)
        return right.to(inputs.dtype).mean(1)

    def _learn_from_a_vector(self, rule: Rule, steps: int, scale: float) -> torch.Tensor:
        root = self.dimension**0.5
        r, q = self.order_parameters()
        left = (q - r * r).clamp_min(1e-30).sqrt()  # of w outside the teacher's direction, over sqrt(D)
        normal = self._normal(2, self.count, steps)
        on_teacher, on_rest, size, right = judged(r, left, normal, rule, scale, self._field(normal[0]))
        vector = self._normal(self.count, self.dimension)
        # The vector's own part in the plane of teacher and student gives way to the sums over the steps.
        in_teacher = (vector * self.teacher).sum(1) / root
        in_rest = ((vector * self.w).sum(1) / root - r * in_teacher) / left
        of_w = (on_rest - size * in_rest) / (left * root)
        of_teacher = (on_teacher - size * in_teacher) / root - of_w * r
        once = 1 / (steps * root)
        self.w.mul_(1 + once * of_w[:, None])
        self.w.addcmul_(self.teacher, once * of_teacher[:, None]).addcmul_(vector, once * size[:, None])
        return right

    def _move_overlaps(self, rule: Rule, steps: int, scale: float) -> torch.Tensor:
        left = torch.addcmul(self.q, self.r, self.r, value=-1).clamp_min_(0).sqrt_()
        normal = self._normal(2, self.count, steps)
        on_teacher, on_rest, size, right = judged(self.r, left, normal, rule, scale, self._field(normal[0]))
        if not self._stock:
            drawn = squared_lengths(self.dimension - 2, STOCK * self.count, self._random, self.dtype)
            self._stock = list(drawn.view(STOCK, self.count))
        once = 1 / (steps * self.dimension)
        outside = size.square_().mul_(self._stock.pop())
        left.add_(on_rest, alpha=once)
        self.r = self.r.add(on_teacher, alpha=once)
        self.q = (self.r * self.r).addcmul_(left, left).add_(outside, alpha=once**2)
        return right


def simulate(
    rule: Rule,
    alphas: Sequence[float] | Floats,
    students: Students,
    *,
    control: Control | None = None,
) -> Simulated:
    """Students up to the last α, measured at each α, rounded to whole episodes.

    Args:
        alphas: increasing, from 0 or later.
        control: η and T over time, of ``all-correct`` alone; T is rounded.

    Raises:
        InputError: wrong times (``invalid_number``), a control of another protocol (``wrong_reward_rule``),
            students that grew without bound (``unreachable_tolerance``).
    """
    ends = _episodes_at(alphas, students.dimension)
    if control is not None and rule.protocol != "all-correct":
        raise InputError(
            f"protocol {rule.protocol} has no schedules of rate and steps: use all-correct.",
            code="wrong_reward_rule",
        )
    rho, q, interactions = [], [], []
    done = taken = 0
    for end in ends:
        while done < end:
            steps, scale = rule.steps, 1.0
            if control is not None:
                rate, wanted = control(done / students.dimension, *_means(students))
                steps, scale = max(1, round(wanted)), rate / rule.rate
            students.episode(rule, steps=steps, scale=scale)
            done, taken = done + 1, taken + steps
        of_r, of_q = (each.double().cpu().numpy() for each in students.order_parameters())
        if not (np.isfinite(of_q).all() and (of_q > 0).all()):
            raise InputError(
                f"The simulated students are no longer finite at alpha {done / students.dimension:.3g}; give "
                "smaller rates or an earlier end.",
                code="unreachable_tolerance",
            )
        rho.append(of_r / np.sqrt(of_q))
        q.append(of_q)
        interactions.append(taken)
    alpha = np.array(ends) / students.dimension
    return Simulated(alpha, np.array(rho), np.array(q), np.array(interactions, dtype=np.int64))


def _means(students: Students) -> tuple[float, float]:
    r, q = students.order_parameters()
    return float((r / q.sqrt()).mean()), float(q.mean())


def _episodes_at(alphas: Sequence[float] | Floats, dimension: int) -> list[int]:
    times = np.asarray(alphas, float)
    if times.ndim != 1 or not times.size or not np.isfinite(times).all() or times[0] < 0:
        raise InputError(
            "alpha of the perceptron: give one or more numbers that are not negative.", code="invalid_number"
        )
    if (np.diff(times) <= 0).any():
        raise InputError("alpha of the perceptron: give increasing numbers.", code="invalid_number")
    ends = [round(time * dimension) for time in times]
    if len(set(ends)) < len(ends) or (ends[0] == 0 and times[0] > 0):
        raise InputError(
            f"alpha of the perceptron: an episode of D = {dimension} takes {1 / dimension:.3g}; give times "
            "at least that far apart.",
            code="invalid_number",
        )
    return ends


def _check_sizes(dimension: int, count: int, rho0: float | None, q0: float, seen: float) -> None:
    for name, value, wrong, remedy in (
        ("dimension D", dimension, dimension < 4, "give 4 or more"),
        ("number of students", count, count < 1, "give 1 or more"),
        ("rho0", rho0, rho0 is not None and not -1 <= rho0 <= 1, "give an overlap from -1 to 1"),
        ("q0", q0, not 0 < q0 < float("inf"), "give a positive number"),
        ("seen", seen, not 0 < seen <= 1, "give a number above 0, at most 1"),
    ):
        if wrong:
            raise InputError(f"{name} of the perceptron is {value}: {remedy}.", code="invalid_number")
