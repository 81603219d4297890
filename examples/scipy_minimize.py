"""A learned optimizer as a method of scipy.optimize.minimize."""

import numpy as np
from scipy.optimize import minimize

import l2l_ref as l2l

rng = np.random.default_rng(0)
W, y = rng.random((10, 10)), rng.random(10)


def f(theta):
    residual = W @ theta - y
    return residual @ residual


def gradient(theta):
    return 2 * W.T @ (W @ theta - y)


optimizer = l2l.load("quadratic-lstm")
result = minimize(f, np.zeros(10), jac=gradient, method=optimizer.scipy_method, options={"maxiter": 100})
print(f"f fell from {f(np.zeros(10)):.3f} to {result.fun:.4f} in {result.nit} steps")

assert result.fun < 0.2 * f(np.zeros(10))
