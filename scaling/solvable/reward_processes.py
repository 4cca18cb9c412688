"""Random Markov reward processes whose values a transformer is to name from a context (Wang et al. 2024).

Each is drawn afresh with its features, φ of d numbers uniform in (-1, 1) for each state:

- ``boyan``: from state i to i + 1 or i + 2, and from the last one to any;
- ``loop``: a random directed graph, from each state at least to the next on a ring, never to itself;
- ``cartpole``: a cart and a pole of random build, pushed to the right with a random probability. Its states
  are tiles of the four numbers, as many along each, so what follows a tile is not decided by the tile alone.

Rewards are uniform in (-1, 1) for each state, or such that the values are linear in the features. Numbers
that decide where a process goes are uniform in (0.01, 0.99) before they are normalised.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rlscale.scaling.config.in_context import InContextConfig

Floats = NDArray[np.float64]
States = NDArray[np.intp]

#: Values of cartpole are measured on these walks, less their last steps: γ^100 is far below the noise.
_TRUTH_WALKS, _TRUTH_STEPS, _TAIL = 64, 600, 100
_TILES_DIMENSIONS = 4


class Process(Protocol):
    """A reward process."""

    @property
    def features(self) -> Floats:
        """φ of each state, (s, d)."""
        ...

    def walk(self, count: int, steps: int, rng: np.random.Generator) -> tuple[States, Floats]:
        """States (count, steps + 1) and rewards (count, steps) of walks from random starts."""
        ...

    def truth(self, gamma: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """How often each state is visited in the long run, and its value: (s,) each."""
        ...


@dataclass(frozen=True)
class Chain:
    """A process of finitely many states.

    Attributes:
        transitions: P, (s, s).
        start: probabilities of the first state, (s,).
        rewards: r, (s,): paid on leaving a state.
        features: φ, (s, d).
    """

    transitions: Floats
    start: Floats
    rewards: Floats
    features: Floats

    def walk(self, count: int, steps: int, rng: np.random.Generator) -> tuple[States, Floats]:
        """See ``Process``."""
        rows = _cumulated(self.transitions)
        states = np.empty((steps + 1, count), dtype=np.intp)
        states[0] = np.searchsorted(_cumulated(self.start), rng.random(count), side="right")
        for step, uniform in enumerate(rng.random((steps, count))):
            states[step + 1] = (rows[states[step]] <= uniform[:, None]).sum(axis=1)
        return states.T, self.rewards[states[:-1]].T

    def truth(self, gamma: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """μ with μ P = μ, and V = (I - γP)^-1 r."""
        return stationary(self.transitions), values_of(self.transitions, self.rewards, gamma)


@dataclass(frozen=True)
class CartPole:
    """A cart and pole whose states are tiles; steps are Euler's, as in gymnasium's CartPole-v1.

    Attributes:
        bins: tiles along each of position, velocity, angle and angular velocity.
        rewards: of each tile, (bins^4,): paid on coming to it.
        features: φ, (bins^4, d).
        right: probability of a push to the right.
        gravity, cart, pole, length, force, tau: the build; length is half the pole's.
    """

    bins: int
    rewards: Floats
    features: Floats
    right: float
    gravity: float
    cart: float
    pole: float
    length: float
    force: float
    tau: float
    bounds: Floats = field(default_factory=lambda: np.array([2.4, 2.0, np.radians(12), 2.0]) * 1.25)

    def walk(self, count: int, steps: int, rng: np.random.Generator) -> tuple[States, Floats]:
        """See ``Process``. A cart off the track, or a pole that has fallen, begins anew near the middle."""
        body = rng.uniform(-0.05, 0.05, (4, count))
        states = np.empty((steps + 1, count), dtype=np.intp)
        states[0] = self.tiles(body)
        for step in range(steps):
            body = self.moved(body, np.where(rng.random(count) < self.right, self.force, -self.force))
            fallen = (np.abs(body[0]) > 2.4) | (np.abs(body[2]) > np.radians(12))
            body = np.where(fallen, rng.uniform(-0.05, 0.05, (4, count)), body)
            states[step + 1] = self.tiles(body)
        return states.T, self.rewards[states[1:]].T

    def moved(self, body: Floats, force: Floats) -> Floats:
        """Position, velocity, angle and angular velocity (4, count) a step later, under a force (count,)."""
        _, velocity, angle, turning = body
        mass, lever = self.cart + self.pole, self.pole * self.length
        cos, sin = np.cos(angle), np.sin(angle)
        pushed = (force + lever * turning**2 * sin) / mass
        turned = (self.gravity * sin - cos * pushed) / (self.length * (4 / 3 - self.pole * cos**2 / mass))
        moved = pushed - lever * turned * cos / mass
        return np.asarray(body + self.tau * np.array([velocity, moved, turning, turned]))

    def tiles(self, body: Floats) -> States:
        """The tile of each body (4, count), 0 .. bins^4 - 1; outer tiles hold what is beyond the bounds."""
        share = (body / self.bounds[:, None] + 1) / 2
        along = np.clip((share * self.bins).astype(np.intp), 0, self.bins - 1)
        return np.asarray(np.ravel_multi_index(tuple(along), (self.bins,) * _TILES_DIMENSIONS))

    def truth(self, gamma: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Measured on long walks: visits of tiles, and the mean of the discounted rewards after a visit.

        A tile that was never visited has the value 0 and no visits.
        """
        states, rewards = self.walk(_TRUTH_WALKS, _TRUTH_STEPS, rng)
        returns = np.zeros((_TRUTH_WALKS, _TRUTH_STEPS + 1))
        for step in reversed(range(_TRUTH_STEPS)):
            returns[:, step] = rewards[:, step] + gamma * returns[:, step + 1]
        visited = states[:, :-_TAIL].ravel()
        visits = np.bincount(visited, minlength=len(self.rewards))
        total = np.bincount(visited, returns[:, :-_TAIL].ravel(), minlength=len(self.rewards))
        return visits / visits.sum(), total / np.maximum(visits, 1)


def draw_process(settings: InContextConfig, rng: np.random.Generator) -> Process:
    """A random process with random features, of the kind and sizes of the settings.

    Where these say ``representable``, rewards are (I - γP) Φ w with w normal, so that the values are Φ w.
    """
    states, gamma = settings.states, settings.gamma
    phi = rng.uniform(-1, 1, (states, settings.features))
    if settings.process == "cartpole":
        return _cart_pole(phi, rng)
    p = _boyan(states, rng) if settings.process == "boyan" else _loop(states, settings.threshold, rng)
    start = _probabilities(rng, states)
    if settings.representable:
        rewards = (np.eye(states) - gamma * p) @ phi @ rng.normal(size=settings.features)
    else:
        rewards = rng.uniform(-1, 1, states)
    return Chain(p, start, rewards, phi)


def stationary(transitions: Floats) -> Floats:
    """μ with μ P = μ and sum 1, (s,), of an irreducible chain."""
    count = len(transitions)
    equations = np.vstack([np.eye(count) - transitions.T, np.ones(count)])
    return np.asarray(np.linalg.lstsq(equations, np.append(np.zeros(count), 1.0), rcond=None)[0])


def values_of(transitions: Floats, rewards: Floats, gamma: float) -> Floats:
    """V = (I - γP)^-1 r, (s,)."""
    return np.asarray(np.linalg.solve(np.eye(len(rewards)) - gamma * transitions, rewards))


def _boyan(states: int, rng: np.random.Generator) -> Floats:
    p = np.zeros((states, states))
    one = rng.uniform(0.01, 0.99, states - 2)
    at = np.arange(states - 2)
    p[at, at + 1], p[at, at + 2] = one, 1 - one
    p[-2, -1] = 1.0
    p[-1] = _probabilities(rng, states)
    return p


def _loop(states: int, threshold: float, rng: np.random.Generator) -> Floats:
    kept = rng.uniform(0.01, 0.99, (states, states)) > threshold
    np.fill_diagonal(kept, False)
    kept |= np.roll(np.eye(states, dtype=bool), 1, axis=1)
    weights = rng.uniform(0.01, 0.99, (states, states)) * kept
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _cart_pole(phi: Floats, rng: np.random.Generator) -> CartPole:
    return CartPole(
        bins=round(len(phi) ** 0.25),
        rewards=rng.uniform(-1, 1, len(phi)),
        features=phi,
        right=rng.uniform(),
        gravity=rng.uniform(7, 12),
        cart=rng.uniform(0.5, 1.5),
        pole=rng.uniform(0.05, 0.15),
        length=rng.uniform(0.5, 1.5),
        force=rng.uniform(5, 15),
        tau=rng.uniform(0.01, 0.05),
    )


def _probabilities(rng: np.random.Generator, count: int) -> Floats:
    weights = rng.uniform(0.01, 0.99, count)
    return np.asarray(weights / weights.sum())


def _cumulated(probabilities: Floats) -> Floats:
    """Their running sums over the last axis, the last set to 1, which rounding may miss."""
    sums = np.cumsum(probabilities, axis=-1)
    sums[..., -1] = 1.0
    return sums
