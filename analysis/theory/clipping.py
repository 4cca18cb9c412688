"""The clipped objective bounds no ratio where states share features: a two-state example.

Moalla et al. 2024 (arXiv 2405.00662), section on the toy setting. Two states x and y have the features f and
alpha f, two actions the logits theta_1 phi and theta_2 phi. The batch is {(x, a_1), (y, a_1)}, both with
advantage 1; gradient steps take its samples in turn. A sample's step is 0 once its ratio has reached
1 + epsilon. It always raises the probability of a_1 in its own state; in the other state it raises it for
alpha > 0, beyond the clip, and lowers it for alpha < 0.
"""

from __future__ import annotations

import numpy as np

from rlscale.analysis.arrays import Floats


def two_state_ratios(
    feature: float,
    alpha: float,
    *,
    theta: tuple[float, float] = (0.0, 0.0),
    step: float = 1.5,
    clip: float = 0.1,
    updates: int = 20,
) -> Floats:
    """Ratios pi(a_1|s) / pi_old(a_1|s) in the two states, (updates + 1, 2), after each update; 1 at first.

    The update on a state of feature phi, whose probability of a_1 is p and was p_old, is

        theta_1 += delta, theta_2 -= delta, delta = step phi p (1 - p) / p_old,  if p < (1 + clip) p_old.

    Args:
        feature: f, of x.
        alpha: the feature of y is alpha f.
        theta: the weights before the first update.
    """
    phi = np.array([feature, alpha * feature])
    gap = theta[0] - theta[1]
    old = _probability(gap * phi)
    ratios = [np.ones(2)]
    for update in range(updates):
        state = update % 2
        p = _probability(gap * phi)
        if p[state] < (1 + clip) * old[state]:
            gap += 2 * step * phi[state] * p[state] * (1 - p[state]) / old[state]
        ratios.append(_probability(gap * phi) / old)
    return np.array(ratios)


def _probability(logit_gap: Floats) -> Floats:
    return 1 / (1 + np.exp(-logit_gap))
