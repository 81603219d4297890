"""Meta-training of a black-box optimizer, on a distribution of functions that the package has and on one of your own.

A distribution does not draw functions. It draws the numbers that decide their values while they are queried. Yours
needs ``dim``, ``gp_arguments`` and ``sample``. The one below has functions of a Gaussian process that are known to be
high at the centre of the cube. A network that is trained on them learns to avoid it.
"""

import numpy as np

import l2l_ref as l2l
from l2l_ref.black_boxes import GPDistribution
from l2l_ref.metatrain.black_box import best_so_far
from l2l_ref.ops.gp import Given, gp_append, gp_initial_state

DIM, QUERIES, HIGH = 2, 8, 2.0
RECIPE = {"epochs": 4, "updates": 25, "functions": 64, "steps": QUERIES, "first_steps": QUERIES, "workers": 1,
          "learning_rate": 1e-2, "final_learning_rate": 1e-3, "validation_functions": 200, "loss": "sum",
          "backend": "numpy"}


class HighAtTheCentre:
    """Draws of a Gaussian process with mean 0 and variance 1 whose value at the centre is HIGH."""

    dim = DIM
    config = {"problem": "high at the centre", "dim": DIM, "high": HIGH}
    gp_arguments = {"length_scale": 0.25, "variance": 1.0, "noise": 0.0, "covariance": "squared_exponential"}

    def sample(self, functions, steps, seed, dtype=np.float32):
        """Standard normal numbers (functions, steps) for values and noise, and what is given beforehand."""
        z, epsilon = np.random.default_rng(seed).standard_normal((2, functions, steps), dtype)
        centre, high = np.full((functions, DIM), 0.5), np.full(functions, HIGH)
        nothing = gp_initial_state(functions, 1 + steps, DIM)  # with room for the centre and all queries
        (_, known), _ = gp_append(nothing, centre, high, self.gp_arguments["length_scale"], variance=1.0)
        return z, epsilon, Given(known, scale=np.ones(functions), shift=np.zeros(functions))


def report(progress, recipe):
    entry = progress.log[-1]
    print(f"  epoch {entry['epoch']}/{recipe.epochs}: mean best value {entry['validation_final']:.3f}")


untrained = l2l.Proposer(DIM, hidden=16, rng=0)
for distribution in (GPDistribution(dim=DIM), HighAtTheCentre()):
    print(type(distribution).__name__)
    trained, log = l2l.meta_train_black_box(untrained, distribution, seed=0, report=report, **RECIPE)
    before, after = (best_so_far(model, distribution, 500, QUERIES, 99, "numpy").mean(axis=0)
                     for model in (untrained, trained))
    print(f"  on new functions, after 1 and {QUERIES} queries: untrained {before[0]:.3f} and {before[-1]:.3f}, "
          f"trained {after[0]:.3f} and {after[-1]:.3f}")
    assert after[-1] < before[-1] - 0.2

# The last network is used like any other model, here on a function that is high at the centre of its bounds.
l2l.save(trained, "high-at-the-centre.npz", {"problem": distribution.config})
result = l2l.minimize(lambda x: np.exp(-x @ x) + 0.1 * (x[0] - 1) ** 2, [(-2, 2), (-2, 2)], max_evaluations=QUERIES,
                      model="high-at-the-centre.npz", seed=0)
print(f"found {result.fun:.3f} at {np.round(result.x, 2)} in {result.nfev} evaluations; the centre has 1.1")
