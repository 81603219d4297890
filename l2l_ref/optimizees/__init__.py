"""Differentiable problems on which gradient-based optimizers are trained and compared.

A *problem* is a distribution of functions. ``problem.sample(functions, seed)`` draws a *task*: a batch of B functions
of n parameters each. A task has

    theta0                          (B, n), the starting points, the same for all optimizers
    loss_and_gradient(theta)        theta (B, n) -> losses (B,), gradients (B, n)
    second_order(theta)             the same, and a function v (B, n) -> second derivatives times v (B, n)

Only meta-training with second derivatives needs ``second_order``. A problem with minibatches draws the next minibatches
at each call of either method, so a task that is drawn again from the same seed gives another optimizer the same
minibatches. Each function has its own random generator, made from the seed. ``problem.config`` describes the
distribution in JSON's types. ``problem.chance`` is the loss of a guess that has learned nothing, or None where there is
no such number. ``problem.shapes`` and ``task.shapes`` are the names and the shapes of the arrays that a row of theta
holds one after the other.
"""

from .convnet import ConvNet
from .factorization import Factorization
from .mixture import Mixture
from .mlp import MLP
from .quadratic import Quadratic
from .rosenbrock import Rosenbrock
from .style_transfer import StyleTransfer

__all__ = ["MLP", "ConvNet", "Factorization", "Mixture", "Quadratic", "Rosenbrock", "StyleTransfer"]
