"""Differentiable problems on which optimizers of [1] are trained and compared.

A problem is a distribution from which functions are drawn: ``problem.sample(functions, seed)`` gives a *task*, a
batch of B functions of n parameters each. A task has

    theta0                          (B, n), where everybody starts
    loss_and_gradient(theta)        theta (B, n) -> losses (B,), gradients (B, n)
    second_order(theta)             the same, and a function v (B, n) -> second derivatives times v (B, n)

The last is needed for meta-training with second derivatives alone. Where minibatches are drawn, each call of either
draws the next ones, so a task sampled again from the same seed shows another optimizer the same minibatches. Each
function has a random generator of its own, spawned from the seed. ``problem.config`` says what the distribution is, in JSON's
types, and ``problem.chance`` is the loss of a guess that has learned nothing (None where there is no such thing).
"""

from .mlp import MLP
from .quadratic import Quadratic

__all__ = ["MLP", "Quadratic"]
