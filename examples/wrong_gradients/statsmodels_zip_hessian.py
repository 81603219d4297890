"""The Hessian of a zero-inflated Poisson model lacks its cross block.

Seen in statsmodels 0.15.0. The second derivatives by a parameter of the inflation and one of the mean are computed,
and then overwritten with the zeros of the other triangle. The standard errors of a fit come from this Hessian.
"""

import numpy as np

import l2l_ref as l2l

try:
    import statsmodels
    from statsmodels.discrete.count_model import ZeroInflatedPoisson
except ImportError:
    print("statsmodels is not installed")
    raise SystemExit from None

rng = np.random.default_rng(0)
x = np.column_stack([np.ones(100), rng.normal(size=100)])
inflated = rng.uniform(size=100) < 1 / (1 + np.exp(-x @ [0.2, 0.8]))
y = np.where(inflated, 0, rng.poisson(np.exp(x @ [0.6, 0.5])))
model = ZeroInflatedPoisson(y, x, exog_infl=x)
params = np.array([0.2, 0.8, 0.6, 0.5])

print(l2l.gradcheck(model.score, model.hessian, params, kind="jacobian"))


def log_likelihood(params):
    """That of the model by its definition, in extended precision, up to a constant."""
    w, mean = 1 / (1 + np.exp(-x @ params[:2])), np.exp(x @ params[2:])
    return np.sum(np.where(y == 0, np.log(w + (1 - w) * np.exp(-mean)), np.log(1 - w) + y * np.log(mean) - mean))


def second_difference(i, j):
    """The mixed second derivative, from four values."""
    h, unit, at = np.longdouble(1e-4), np.eye(4), params.astype(np.longdouble)
    values = [s * t * log_likelihood(at + h * (s * unit[i] + t * unit[j])) for s in (1, -1) for t in (1, -1)]
    return sum(values) / (4 * h**2)


print(f"\nstatsmodels {statsmodels.__version__}")
for i, j in ((0, 1), (0, 2), (1, 3), (2, 3)):
    print(f"entry [{i}, {j}]: hessian {model.hessian(params)[i, j]:.6f}, "
          f"second difference in long double {second_difference(i, j):.6f}")
