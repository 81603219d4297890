"""A control problem: a particle falls through a plane, and repellers are to push it through regions of reward.

    F2  a = gravity + sum_i max(w_i, 0) (p - c_i) / (|p - c_i|^2 + SOFTENING)     pushed away, by about w / distance
    F3  v' = v + STEP a,   p' = p + STEP v'
    F4  r(p) = sum_k REWARD_k exp(-|p - CENTRE_k|^2 / (2 WIDTH_k^2))
    F5  loss = -sum over t = 1..STEPS of DISCOUNT^(t-1) r(p_t)

An input has six numbers in [0, 1]: x, y and strength w of each of two repellers.

This is the control problem of Chen et al. 2017 (section 5.2.3 of the review). The source gives the state, which is
position and velocity, the force, the discounted reward and the six parameters, but **no numbers. All constants here are
ours.**
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from .benchmarks import BlackBox

if TYPE_CHECKING:
    from ..protocols import Array

COUNT, STEPS, STEP, DISCOUNT, SOFTENING = 2, 60, 0.05, 0.95, 1e-3
START, GRAVITY = np.array([0.5, 1.0]), np.array([0.0, -1.0])
CENTRES = np.array([[0.2, 0.5], [0.8, 0.3], [0.6, 0.0]])
WIDTHS = np.array([0.1, 0.1, 0.15])
REWARDS = np.array([1.0, 1.0, 0.5])


def paths(x: ArrayLike) -> Array:
    """x (..., 6) -> the positions p_1 .. p_STEPS of the particle, (..., STEPS, 2)."""
    x = np.asarray(x, np.float64)
    repellers = x.reshape(*x.shape[:-1], COUNT, 3)
    centres, strengths = repellers[..., :2], np.maximum(repellers[..., 2:], 0)  # an instance may go below 0
    p, v = np.broadcast_to(START, (*x.shape[:-1], 2)), np.zeros(2)
    positions = []
    for _ in range(STEPS):
        away = p[..., None, :] - centres
        push = strengths * away / ((away**2).sum(axis=-1, keepdims=True) + SOFTENING)
        a = GRAVITY + push.sum(axis=-2)                              # F2
        v = v + STEP * a                                             # F3
        p = p + STEP * v                                             # F3
        positions.append(p)
    return np.stack(positions, axis=-2)


def _loss(x: Array) -> Array:
    distance2 = ((paths(x)[..., None, :] - CENTRES) ** 2).sum(axis=-1)
    reward = (REWARDS * np.exp(-distance2 / (2 * WIDTHS**2))).sum(axis=-1)  # F4
    return -(reward * DISCOUNT ** np.arange(STEPS)).sum(axis=-1)     # F5


REPELLERS = BlackBox(
    "repellers", np.array([[0.0, 1.0]] * (3 * COUNT)), _loss, "Chen et al. 2017, section 5.2.3; constants ours"
)
