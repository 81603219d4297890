"""The best point of a noisy function: not the one with the luckiest value.

    y = f + noise,  f ~ GP(mean of y, s^2 k),  k the Matern 5/2 covariance with one length scale
    the estimate of f at the points is  mean + K (K + r I)^-1 (y - mean),  r the variance of the noise over s^2

The length scale and r, or s if the noise is known, are those of the largest marginal likelihood on a grid.

Source: Rasmussen and Williams 2006, equations 2.25 and 2.30.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..ops.covariance import matern52_of_r2

if TYPE_CHECKING:
    from ..protocols import Array

MOST = 300  # points that are looked at: the ones with the best values
LENGTH_SCALES = (0.1, 0.2, 0.4, 0.8, 1.6)  # times the square root of the number of dimensions
RATIOS = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


def recommend(points: Array, values: Array, noise: float | None) -> tuple[int, float]:
    """The number of the point with the smallest estimate, and the estimate.

    Parameters
    ----------
    points : (n, d) array
        In the unit cube.
    values : (n,) array
        nan where there is none.
    noise : float, optional
        The standard deviation of the noise, if it is known.
    """
    known = np.flatnonzero(np.isfinite(values))
    known = known[np.argsort(values[known], kind="stable")[:MOST]]
    u, y = points[known], values[known]
    mean, variance = y.mean(), y.var()
    if not variance > 0:
        return int(known[0]), float(y[0])
    r2 = ((u[:, None] - u[None]) ** 2).sum(axis=2)
    best, estimate = -np.inf, y
    for length in LENGTH_SCALES:
        K, _ = matern52_of_r2(r2 / (length**2 * u.shape[1]), np.array(1.0))
        eigenvalues, Q = np.linalg.eigh(K)
        eigenvalues, z = np.maximum(eigenvalues, 0), Q.T @ (y - mean)
        for ratio in RATIOS:
            s2 = None
            if noise is not None:
                s2 = noise**2 / ratio if noise > 0 else variance
            r = ratio if noise is None or noise > 0 else 1e-9
            total = eigenvalues + r
            quadratic = (z**2 / total).sum()
            s2 = quadratic / len(y) if s2 is None else s2
            likelihood = -0.5 * (quadratic / s2 + len(y) * np.log(s2) + np.log(total).sum())
            if likelihood > best:
                best, estimate = likelihood, mean + Q @ (eigenvalues / total * z)
    n = int(estimate.argmin())
    return int(known[n]), float(estimate[n])
