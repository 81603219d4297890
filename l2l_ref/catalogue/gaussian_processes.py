"""Gaussian processes: covariances, triangular systems, draws and the posterior."""

from functools import partial

import numpy as np

from ..ops import cholesky, covariance, gp, surrogate
from .operation import Operation, normal, times


def _points(rng, B=2, n=3, m=4, d=2, scales=False, spread=1.0, apart=None):
    """x, z and length_scale. If ``apart`` is given, the first points of x and z are about that far from each other."""
    x, z = spread * rng.random((B, n, d)), spread * rng.random((B, m, d))
    if apart is not None:
        z[:, :2] = x[:, :2] + apart * normal(rng, B, 2, d)
    return x, z, rng.uniform(0.3, 1.0, d if scales else ())


def _covariance(rng, **changes):
    return *_points(rng, **changes), rng.uniform(0.5, 2.0)


def _squared_distances(rng, B=2, n=3, m=4, low=0.1, high=9.0):
    """r2 and variance. r2 is not near 0, where the Matern covariances have a slope in r2 on one side only."""
    return rng.uniform(low, high, (B, n, m)), rng.uniform(0.5, 2.0)


DISTANCE_CASES = {
    "far apart": partial(_squared_distances, low=100.0, high=200.0),
    "one pair": partial(_squared_distances, B=1, n=1, m=1),
    "empty": partial(_squared_distances, m=0),
}
COVARIANCE_CASES = {
    "coincident": partial(_covariance, apart=0.0),
    "nearly coincident": partial(_covariance, apart=1e-6),
    "far apart": partial(_covariance, spread=10.0),
    "huge": times(1e4, _covariance),
    "a scale for each dimension": partial(_covariance, scales=True),
    "six dimensions": partial(_covariance, n=2, m=2, d=6),
    "one function": partial(_covariance, B=1),
    "one point": partial(_covariance, n=1, m=1, d=1),
    "empty": partial(_covariance, m=0),
}


def _lower(rng, B, t):
    """Cholesky factors without diagonal entries near 0."""
    return np.tril(normal(rng, B, t, t), -1) + rng.uniform(0.5, 2.0, (B, t))[:, :, None] * np.eye(t)


def _solve_lower(rng, B=2, t=4):
    return _lower(rng, B, t), normal(rng, B, t)


def _cholesky_row(rng, B=2, t=4, residual=(0.5, 2.0)):
    """L, k and c, such that c - l . l lies between the two numbers ``residual``."""
    L, l = _lower(rng, B, t), normal(rng, B, t)
    return L, (L @ l[:, :, None])[:, :, 0], (l * l).sum(axis=1) + rng.uniform(*residual, B)


JITTER = 0.1  # large, because the rounding of nearly singular matrices is not to be checked, and for both precisions


def _trajectory(rng, B=2, T=4, d=2, scales=False, repeated=False, apart=0.0):
    """x (B, T, d), z (B, T), length_scale, variance. ``repeated`` puts every other point ``apart`` from the first."""
    x = rng.random((B, T, d))
    if repeated:
        x[:, 1::2] = x[:, :1] + apart * normal(rng, B, T // 2, d)
    return x, normal(rng, B, T), rng.uniform(0.3, 0.8, d if scales else ()), rng.uniform(0.5, 2.0)


SAMPLE_CASES = {
    "coincident": partial(_trajectory, B=1, T=3, repeated=True),
    "nearly coincident": partial(_trajectory, B=1, T=3, repeated=True, apart=1e-6),
    "one function": partial(_trajectory, B=1, d=1),
}


def _gp_append(rng, B=2, T=4, d=2, t=2, **changes):
    """A state after t of T queries, the next x and z, length_scale, variance."""
    x, z, length_scale, variance = _trajectory(rng, B, T, d, **changes)
    state = gp.gp_initial_state(B, T, d)
    for s in range(t):
        (_, state), _ = gp.gp_append(state, x[:, s], z[:, s], length_scale, variance, jitter=JITTER)
    return state, x[:, t], z[:, t], length_scale, variance


def _gp_posterior(rng, B=2, n=3, m=4, d=2, noise=0.2, **changes):
    x, queries, length_scale, variance = _covariance(rng, B=B, n=n, m=m, d=d, **changes)
    return x, normal(rng, B, n), queries, length_scale, variance, noise


POSTERIOR_CASES = {
    "at the data": partial(_gp_posterior, apart=0.0),
    "no data": partial(_gp_posterior, n=0),
    "one function": partial(_gp_posterior, B=1),
}


def _observe(rng, B=2, T=3):
    return normal(rng, B, T), normal(rng, B, T), rng.uniform(0.1, 1.0)


def _fitted(d=2, n=6, trend=0.3, noise=0.1):
    """A Surrogate of two processes for n values, two of them pending; it is fixed, so that only queries are inputs."""
    rng = np.random.default_rng(d)
    x, y = rng.random((n, d)), normal(rng, n - 2)
    hyperparameters = surrogate.Hyperparameters(
        rng.uniform(1.0, 2.0, (2, d)), np.full(2, noise), np.array([0.0, trend]))
    _, factors = surrogate.evidence(x, y, hyperparameters)
    return surrogate.surrogate(x, y, hyperparameters, factors, np.array([0.4, 0.6]))


def _certain():
    """A Surrogate whose variance is at its floor at all queries, and whose mean is below the best value."""
    s = _fitted()
    return s._replace(A=3 * s.A, best=s.best + 5)


def _queries(rng, m=3, d=2, low=0.0, high=1.0):
    return (rng.uniform(low, high, (m, d)),)


GP_SOURCE = "Chen et al. 2017; review, section 4.2.2"
ROW = (r"k_t = k(x_t, x_{< t}) \qquad l_t = L_{< t}^{-1} k_t \qquad"
       r" \delta_t = \sqrt{v (1 + \varepsilon) - l_t \cdot l_t} \qquad")
SAMPLE = ROW + r" f_t = l_t \cdot z_{< t} + \delta_t z_t \qquad t = 1 .. T"
POSTERIOR = (r"K = k(x, x) + (v \varepsilon + \sigma^2) I \qquad m = k^T K^{-1} y \qquad"
             r" s^2 = v (1 + \varepsilon) - k^T K^{-1} k")


OPERATIONS = (
    Operation(
        "squared_distance", covariance.squared_distance, _points,
        r"r^2 = \sum_j \ (x_j - z_j)^2 / s_j^2", "definition",
        cases={
            "coincident": partial(_points, apart=0.0),
            "tiny": times(1e-8, _points),
            "huge": times(1e4, _points),
            "a scale for each dimension": partial(_points, scales=True),
            "one function": partial(_points, B=1),
            "empty": partial(_points, n=0),
        },
    ),
    Operation(
        "squared_exponential_of_r2", covariance.squared_exponential_of_r2, _squared_distances,
        r"k = v \ e^{-r^2 / 2}", "Rasmussen & Williams 2006, equation (4.9)",
        cases=DISTANCE_CASES,
    ),
    Operation(
        "matern32_of_r2", covariance.matern32_of_r2, _squared_distances,
        r"k = v (1 + q) e^{-q} \qquad q = \sqrt{3 r^2}", "Rasmussen & Williams 2006, equation (4.17)",
        cases=DISTANCE_CASES,
    ),
    Operation(
        "matern52_of_r2", covariance.matern52_of_r2, _squared_distances,
        r"k = v (1 + q + q^2 / 3) e^{-q} \qquad q = \sqrt{5 r^2}", "Rasmussen & Williams 2006, equation (4.17)",
        cases=DISTANCE_CASES,
    ),
    Operation(
        "squared_exponential", covariance.squared_exponential, _covariance,
        r"k = v \ e^{-r^2 / 2}", "Rasmussen & Williams 2006, equation (4.9)",
        cases=COVARIANCE_CASES,
    ),
    Operation(
        "matern32", covariance.matern32, _covariance,
        r"k = v (1 + q) e^{-q} \qquad q = \sqrt{3} \ r", "Rasmussen & Williams 2006, equation (4.17)",
        cases=COVARIANCE_CASES,
    ),
    Operation(
        "matern52", covariance.matern52, _covariance,
        r"k = v (1 + q + q^2 / 3) e^{-q} \qquad q = \sqrt{5} \ r", "Rasmussen & Williams 2006, equation (4.17)",
        cases=COVARIANCE_CASES,
    ),
    Operation(
        "solve_lower", cholesky.solve_lower, _solve_lower,
        r"L x = b", "definition",
        cases={
            "huge": times(1e4, _solve_lower),
            "one matrix": partial(_solve_lower, B=1),
            "one row": partial(_solve_lower, t=1),
            "empty": partial(_solve_lower, t=0),
        },
    ),
    Operation(
        "cholesky_row", cholesky.cholesky_row, _cholesky_row,
        r"l = L^{-1} k \qquad \delta = \sqrt{c - l \cdot l}", "Golub & Van Loan 2013, section 4.2",
        cases={
            "little left": partial(_cholesky_row, t=2, residual=(1e-3, 2e-3)),
            "one matrix": partial(_cholesky_row, B=1),
            "first row": partial(_cholesky_row, t=0),
            "empty": partial(_cholesky_row, B=0),
        },
    ),
    Operation(
        "gp_append", partial(gp.gp_append, jitter=JITTER), _gp_append,
        ROW + r" m_t = l_t \cdot z_{< t} \qquad f_t = m_t + \delta_t z_t", GP_SOURCE,
        cases={
            "coincident": partial(_gp_append, T=2, t=1, repeated=True),
            "nearly coincident": partial(_gp_append, T=2, t=1, repeated=True, apart=1e-5),
            "a scale for each dimension": partial(_gp_append, T=3, scales=True),
            "six dimensions": partial(_gp_append, B=1, T=2, d=6, t=1),
            "first query": partial(_gp_append, T=2, t=0),
            "last query": partial(_gp_append, T=3),
            "one function": partial(_gp_append, B=1, d=1),
            "empty": partial(_gp_append, B=0),
        },
    ),
    Operation(
        "gp_sample", partial(gp.gp_sample, jitter=JITTER), _trajectory,
        SAMPLE, GP_SOURCE,
        cases=SAMPLE_CASES | {
            "a scale for each dimension": partial(_trajectory, T=3, scales=True),
            "six dimensions": partial(_trajectory, B=1, T=3, d=6),
            "thirty steps": partial(_trajectory, B=1, T=30, d=1),
            "one step": partial(_trajectory, T=1),
            "empty": partial(_trajectory, B=0),
        },
    ),
    *(
        Operation(
            f"gp_sample with {name}", partial(gp.gp_sample, covariance=name, jitter=JITTER),
            partial(_trajectory, T=3), SAMPLE, GP_SOURCE, cases=SAMPLE_CASES,
        )
        for name in ("matern32", "matern52")
    ),
    Operation(
        "observe", gp.observe, _observe,
        r"y = f + \sigma \epsilon", "Chen et al. 2017; review, equation (7)",
        cases={
            "tiny": times(1e-8, _observe),
            "huge": times(1e4, _observe),
            "one value": partial(_observe, B=1, T=1),
            "empty": partial(_observe, B=0),
        },
    ),
    Operation(
        "gp_posterior", partial(gp.gp_posterior, jitter=JITTER), _gp_posterior,
        POSTERIOR, "Rasmussen & Williams 2006, equations (2.23) and (2.24)",
        cases=POSTERIOR_CASES | {
            "little noise": partial(_gp_posterior, B=1, noise=0.01),
            "a scale for each dimension": partial(_gp_posterior, scales=True),
            "six dimensions": partial(_gp_posterior, n=2, m=2, d=6),
            "no queries": partial(_gp_posterior, m=0),
            "empty": partial(_gp_posterior, B=0),
        },
    ),
    Operation(
        "gp_posterior with matern52", partial(gp.gp_posterior, covariance="matern52", jitter=JITTER), _gp_posterior,
        POSTERIOR, "Rasmussen & Williams 2006, equations (2.23) and (2.24)", cases=POSTERIOR_CASES,
    ),
    Operation(
        "log_improvement", partial(surrogate.log_improvement, s=_fitted()), _queries,
        r"\log EI = \log \sum_b \ \pi_b \ E \max(y^*_b - y_b(q), 0) \qquad y_b(q) = N(\mu_b, \sigma_b^2)",
        "Rasmussen & Williams 2006, section 2.7; Jones, Schonlau & Welch 1998, equation (15)", analytic=False,
        cases={"outside": partial(_queries, low=1.5, high=2.0), "one query": partial(_queries, m=1),
               "empty": partial(_queries, m=0)},
    ),
    Operation(
        "log_improvement in six dimensions", partial(surrogate.log_improvement, s=_fitted(6, 12)),
        partial(_queries, d=6),
        r"\log EI = \log \sum_b \ \pi_b \ E \max(y^*_b - y_b(q), 0)",
        "Rasmussen & Williams 2006, section 2.7", analytic=False,
        cases={"outside": partial(_queries, low=1.5, high=2.0, d=6), "one query": partial(_queries, m=1, d=6),
               "empty": partial(_queries, m=0, d=6)},
    ),
    Operation(
        "log_improvement without variance", partial(surrogate.log_improvement, s=_certain()), _queries,
        r"\log EI = \log \sum_b \ \pi_b \ E \max(y^*_b - y_b(q), 0)",
        "Rasmussen & Williams 2006, section 2.7", analytic=False,
        cases={"many queries": partial(_queries, m=20), "one query": partial(_queries, m=1),
               "empty": partial(_queries, m=0)},
    ),
)
