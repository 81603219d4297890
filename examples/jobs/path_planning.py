"""Twelve dimensions: a path through six points, short and far from twelve round obstacles."""

import sys

import numpy as np

import l2l_ref as l2l

TITLE, NEEDS = "path, 12 dimensions", None
POINTS = 6
SPACE = {f"{axis}{k}": l2l.Float(0, 1) for k in range(POINTS) for axis in "xy"}
EVALUATIONS, WORKERS = 100, 1


def objective(seed):
    """The length of the path from corner to corner, and 20 times the length of it that is inside of obstacles."""
    rng = np.random.default_rng([seed, 5])
    centres, radii = rng.uniform(0.1, 0.9, (12, 2)), rng.uniform(0.05, 0.15, 12)
    t = np.linspace(0, 1, 40)[:, None]

    def cost(x):
        inner = np.array(list(x.values())).reshape(POINTS, 2)
        corners = np.concatenate([[[0, 0]], inner, [[1, 1]]])
        path = np.concatenate([a + t * (b - a) for a, b in zip(corners[:-1], corners[1:])])
        steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
        inside = (np.linalg.norm(path[1:, None] - centres, axis=2) < radii).any(axis=1)
        return float(steps.sum() + 20 * steps[inside].sum())

    return cost, cost


if __name__ == "__main__":
    from beside_peers import main

    main(sys.modules[__name__])
