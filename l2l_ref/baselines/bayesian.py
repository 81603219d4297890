"""Bayesian optimization: a Gaussian process says what is to be expected of a query, and the most promising one is made.

Dims: one function, n observations (x, y) of it, m queries q, d dimensions.

With the covariances V1 of ops/gp.py, prior mean p and L the Cholesky factor of K:

    A = L^-1,   a = A (y - p),   w = A k                    (n, n), (n,) and (n, m)
    mean = p + a . w                                        the V2 of ops/gp.py
    deviation^2 = max(v (1 + jitter) - w . w, v jitter)     V3; no query is known better than to its jitter
    best = min (y - noise^2 A^T a)                          the smallest mean at an observed point

and expected improvement (ops/improvement.py) of mean, deviation and best is maximised over the cube. With A at hand a
query and its gradient cost O(n^2), and rounding errors are of the condition of L, the square root of that of K.

Source: Snoek, Larochelle & Adams 2012, "Practical Bayesian optimization of machine learning algorithms", whose program
is called Spearmint. The search for the maximum, the priors and the first query are ours.
"""

import numpy as np

from ..ops.covariance import covariance_pair
from ..ops.gp import checked_jitter, checked_noise
from ..ops.improvement import expected_improvement, expected_improvement_backward
from ..ops.shapes import positive
from .search import Search

SPREAD, NEAR, STARTS = 3000, 500, 3  # candidates all over the cube and near the best points; those to climb from
BLOCK = 875
TINY = 1e-300
EFFORT = {"maxfun": 40, "ftol": 1e-6}  # of an ascent; most gain comes early, then rounding errors of EI get in the way


def _squared_exponential(r2):
    k = np.exp(-r2 / 2)
    return k, -k / 2


def _matern32(r2):
    q = np.sqrt(3 * r2)
    decay = np.exp(-q)
    return (1 + q) * decay, -1.5 * decay


def _matern52(r2):
    q = np.sqrt(5 * r2)
    decay = np.exp(-q)
    return (1 + q + q * q / 3) * decay, -5 / 6 * (1 + q) * decay


# K2 to K4 of ops/covariance.py once more: squared distance -> correlation and its derivative. There they start from
# points, here from distances, which for thousands of candidates come out of one matrix product.
CORRELATIONS = {"squared_exponential": _squared_exponential, "matern32": _matern32, "matern52": _matern52}


class Belief:
    """What observations say of one function, and what improvement they promise.

    Parameters
    ----------
    x : ndarray (n, d)
        n >= 1 points, float64.
    y : ndarray (n,)
    length_scale : number, or ndarray (d,)
    variance, noise, mean : float
        Of the values; standard deviation of y about them; what is expected where nothing is known.
    covariance : {"squared_exponential", "matern32", "matern52"}
    jitter : float
        Relative to the variance, as in ops/gp.py.

    Attributes
    ----------
    log_likelihood : float
        log p(y | x), all constants included.
    best : float

    Raises
    ------
    ValueError
        Where K is not positive definite in this precision.
    """

    def __init__(self, x, y, length_scale, variance, noise, mean, covariance, jitter):
        from scipy.linalg.lapack import dpotrf, dtrtri

        self._correlation, self._length_scale = CORRELATIONS[covariance], length_scale
        self._variance, self._mean, self._jitter = variance, mean, jitter
        self._x = x / length_scale
        K = variance * self._correlation(self._distances(self._x))[0]
        K[np.diag_indices(len(x))] += variance * jitter + noise**2
        L, failed = dpotrf(K, lower=1, clean=1)
        if failed:
            raise ValueError("jitter: the covariance of the data is singular without more of it, or more noise")
        self._A = dtrtri(L, lower=1)[0]
        self._a = self._A @ (y - mean)
        self.best = (y - noise**2 * (self._a @ self._A)).min()
        self.log_likelihood = -0.5 * (self._a @ self._a) - np.log(np.diag(L)).sum() - 0.5 * len(y) * np.log(2 * np.pi)

    def improvement(self, q):
        """Expected improvement at q (m, d) -> (m,)."""
        k = self._variance * self._correlation(self._distances(q / self._length_scale))[0]
        return self._improvement(self._A @ k)[0]

    def improvement_and_gradient(self, q):
        """Expected improvement at q (m, d), and its gradient in q: (m,), (m, d). For few queries: no matrix product."""
        u = (self._x[:, None] - q / self._length_scale)              # (n, m, d)
        k, slope = self._correlation((u * u).sum(axis=2))
        w = self._A @ (self._variance * k)
        EI, deviation, floored, cache = self._improvement(w)
        d_mean, d_deviation, _ = expected_improvement_backward(np.ones_like(EI), cache)
        d_w = d_mean * self._a[:, None] - np.where(floored, 0, d_deviation / deviation) * w
        d_r2 = (self._A.T @ d_w) * self._variance * slope
        return EI, -2 * np.einsum("nm,nmd->md", d_r2, u) / self._length_scale

    def _improvement(self, w):
        mean = self._mean + self._a @ w
        left, least = self._variance * (1 + self._jitter) - np.einsum("nm,nm->m", w, w), self._variance * self._jitter
        deviation = np.sqrt(np.maximum(left, least))
        EI, cache = expected_improvement(mean, deviation, np.full_like(mean, self.best))
        return EI, deviation, left <= least, cache

    def _distances(self, q):
        """Squared distances (n, m) between the data and q (m, d), both in length scales: |x|^2 - 2 x . q + |q|^2."""
        middle = 0.5 / self._length_scale  # less is lost to rounding
        x, q = self._x - middle, q - middle
        x2, q2 = (x * x).sum(axis=1), (q * q).sum(axis=1)
        r2 = np.stack([*-2 * x.T, x2, np.ones_like(x2)], axis=1) @ np.stack([*q.T, np.ones_like(q2), q2])
        return np.maximum(r2, 0, out=r2)


def mean_improvement(beliefs, q):
    """Expected improvement at q (m, d), averaged over beliefs -> (m,)."""
    blocks = np.array_split(q, -(-len(q) // BLOCK))  # that fit into the cache
    return np.mean([np.concatenate([belief.improvement(block) for block in blocks]) for belief in beliefs], axis=0)


def log_improvement_and_gradient(beliefs, q):
    """log (EI + TINY) at q (m, d), EI averaged over beliefs, and its gradient in q -> (m,), (m, d).

    The logarithm has slopes of order 1 where EI itself is flat, and TINY keeps it finite where EI underflows.
    """
    EI, d_q = (np.mean(parts, axis=0) for parts in zip(*(belief.improvement_and_gradient(q) for belief in beliefs)))
    return np.log(EI + TINY), d_q / (EI + TINY)[:, None]


def climb(beliefs, starts):
    """The points (m, d) that ascent in the cube reaches from each of ``starts`` (m, d), by L-BFGS-B."""
    from scipy.optimize import minimize

    def loss(flat):
        value, d_q = log_improvement_and_gradient(beliefs, flat.reshape(starts.shape))
        return -value.sum(), -d_q.ravel()

    found = minimize(loss, starts.ravel(), jac=True, method="L-BFGS-B", bounds=[(0, 1)] * starts.size, options=EFFORT)
    return np.clip(found.x, 0, 1).reshape(starts.shape)


def candidates(x, y, rng, scale):
    """Points (m, d) among which to begin: all over the cube, near the best of x (n, d), and the very best.

    Those near are moved by up to ``scale``, in one or all coordinates, and by less with equal probability for each
    factor of ten down to 1e-3.
    """
    n, d = x.shape
    best = x[np.argsort(y, kind="stable")[:5]]
    around = best[rng.integers(len(best), size=NEAR)]
    steps = rng.standard_normal((NEAR, d)) * scale * 10 ** rng.uniform(-3, 0, (NEAR, 1))
    return np.concatenate([rng.random((SPREAD, d)), np.clip(around + steps, 0, 1), best[:1]])


def maximise(beliefs, q):
    """The point (d,) with the largest expected improvement that is found from the candidates q (m, d)."""
    starts = q[np.argsort(-mean_improvement(beliefs, q), kind="stable")[:STARTS]]
    reached = np.concatenate([starts, climb(beliefs, starts)])
    return reached[np.argmax(log_improvement_and_gradient(beliefs, reached)[0])]


class ExpectedImprovement(Search):
    """Spearmint's method with the true hyper-parameters, which are given.

    The first query is the middle of the cube.

    Parameters
    ----------
    functions, dim, seed, first
        As in `Search`.
    length_scale : number, or ndarray (d,)
    variance, noise, mean : float
        Variance and mean of the values, standard deviation of the observations about them.
    covariance : {"squared_exponential", "matern32", "matern52"}
    jitter : float >= 0, optional
        Relative to the variance; default `l2l_ref.ops.gp.JITTER`.
    """

    name = "ei"

    def __init__(self, functions, dim, seed=0, first=0, *, length_scale, variance=1.0, noise=0.0, mean=0.0,
                 covariance="squared_exponential", jitter=None):
        super().__init__(functions, dim, seed, first)
        like = self.x
        length_scale = positive("length_scale", length_scale, like)
        if length_scale.shape not in ((), (dim,)):
            raise ValueError(f"length_scale: expected a number or an array of shape (d={dim}), "
                             f"got {length_scale.shape}")
        covariance_pair(covariance)
        if not np.isfinite(mean):
            raise ValueError(f"mean: expected a finite number, got {mean!r}")
        self._law = {
            "length_scale": length_scale, "variance": positive("variance", variance, like, single=True),
            "noise": checked_noise(noise, like), "mean": mean, "covariance": covariance,
            "jitter": checked_jitter(jitter, like),
        }

    def _suggest(self, b):
        x, y = self.x[b], self.y[b]
        if len(y) == 0:
            return np.full(self.dim, 0.5)
        belief = Belief(x, y, **self._law)
        return maximise([belief], candidates(x, y, self._rngs[b], self._law["length_scale"]))
