"""Bayesian optimization: a Gaussian process predicts the value of a query, and the most promising query is made.

Dims: one function, n observations (x, y) of it, m queries q, d dimensions.

With the covariances V1 of ops/gp.py, the prior mean p and the Cholesky factor L of K:

    A = L^-1,   a = A (y - p),   w = A k                    (n, n), (n,) and (n, m)
    mean = p + a . w                                        V2 of ops/gp.py
    std^2 = max(v (1 + jitter) - w . w, v jitter)           V3; the jitter bounds what can be known of a query
    best = min (y - noise^2 A^T a)                          the smallest mean at an observed point

Expected improvement (ops/improvement.py), a function of mean, std and best, is maximised over the cube. With A, a query
and its gradient cost O(n^2) operations. Rounding errors grow with the condition number of L, which is the square root
of that of K.

If the hyperparameters are not known, expected improvement is averaged over samples of them, given the data.

Source: Snoek, Larochelle & Adams 2012, "Practical Bayesian optimization of machine learning algorithms"; their program
is called Spearmint. The search for the maximum, the priors and the first query are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ..checks import positive, whole_number
from ..extras import require
from ..ops.covariance import OF_R2, covariance_pair
from ..ops.gp import checked_jitter, checked_noise
from ..ops.improvement import expected_improvement, expected_improvement_backward
from .random_search import Search

if TYPE_CHECKING:
    from ..protocols import Array, Seed

SPREAD, NEAR, STARTS = 2500, 1000, 5  # candidates all over the cube and near the best points; ascents per query
BLOCK = 875  # candidates evaluated at once, so that their covariances fit into the cache
TINY = 1e-300
EFFORT = {"maxfun": 40, "ftol": 1e-6}  # of an ascent: the gain comes early, later the rounding errors of EI dominate

# Centre and width of the normal priors for standardised values: of the mean, and of the logarithms of the other
# hyperparameters. A prior is cut off at CUT widths.
CUT = 5
PRIORS = {"length_scale": (np.log(0.5), 1.0), "variance": (0.0, 1.0), "noise": (np.log(1e-3), 1.5), "mean": (0.0, 1.0)}
BURN_IN = 10  # samples that are discarded at the start of a function's chain


class GPPosterior:
    """The posterior of one function, given observations and hyperparameters.

    Parameters
    ----------
    x : ndarray (n, d)
        n >= 1 points, float64.
    y : ndarray (n,)
    length_scale : number, or ndarray (d,)
    variance, noise, mean : float
        The variance of the values, the standard deviation of the noise in y, and the prior mean.
    covariance : {"squared_exponential", "matern32", "matern52"}
    jitter : float
        Relative to the variance, as in ops/gp.py.

    Attributes
    ----------
    length_scale
    log_likelihood : float
        log p(y | x), with all constants.
    best : float
        The value that a query is to improve on.

    Raises
    ------
    ValueError
        When K is not positive definite in this precision.
    """

    def __init__(
        self, x: Array, y: Array, length_scale: float | Array, variance: float, noise: float, mean: float,
        covariance: str, jitter: float,
    ) -> None:
        from scipy.linalg.lapack import dpotrf, dtrtri

        self._forward, self._backward = OF_R2[covariance]
        self.length_scale, self._least = length_scale, variance * jitter
        self._variance, self._mean, self._jitter = variance, mean, jitter
        self._x = x / length_scale
        K, _ = self._forward(self._distances(self._x), variance)
        K[np.diag_indices(len(x))] += variance * jitter + noise**2
        L, failed = dpotrf(K, lower=1, clean=1)
        if failed:
            raise ValueError(f"jitter: expected a larger one, or more noise, got {jitter:g}: the data covariance "
                             "is singular")
        self._A = dtrtri(L, lower=1)[0]
        self._a = self._A @ (y - mean)
        self._alpha = self._a @ self._A
        self.best = (y - noise**2 * self._alpha).min()
        self.log_likelihood = -0.5 * (self._a @ self._a) - np.log(np.diag(L)).sum() - 0.5 * len(y) * np.log(2 * np.pi)

    def at(self, q: Array) -> tuple[Array, Array]:
        """Mean and standard deviation at q (m, d), each of shape (m,)."""
        k, _ = self._forward(self._distances(q / self.length_scale), self._variance)
        w = self._A @ k
        return self._mean + self._a @ w, np.sqrt(np.maximum(self._residual(w), self._least))

    def at_with_gradients(self, q: Array) -> tuple[Array, Array, Array, Array]:
        """Mean and std at q (m, d), each (m,), and their gradients with respect to q, each (m, d). For small m."""
        u = self._x[:, None] - q / self.length_scale                 # (n, m, d)
        k, cache = self._forward((u * u).sum(axis=2), self._variance)
        slope, _ = self._backward(np.ones_like(k), cache)            # dk / dr2
        w = self._A @ k
        residual = self._residual(w)
        std = np.sqrt(np.maximum(residual, self._least))
        d_mean = self._alpha[:, None]                                # dmean / dk
        d_std = np.where(residual > self._least, -(self._A.T @ w) / std, 0)
        d_mean, d_std = (
            -2 * np.einsum("nm,nmd->md", d_k * slope, u) / self.length_scale
            for d_k in (d_mean, d_std)
        )
        return self._mean + self._a @ w, std, d_mean, d_std

    def _residual(self, w: Array) -> Array:
        return self._variance * (1 + self._jitter) - np.einsum("nm,nm->m", w, w)

    def _distances(self, q: Array) -> Array:
        """Squared distances (n, m) between the data and q (m, d), both in length scales: |x|^2 - 2 x . q + |q|^2."""
        middle = 0.5 / self.length_scale  # centred numbers lose less to rounding
        x, q = self._x - middle, q - middle
        x2, q2 = (x * x).sum(axis=1), (q * q).sum(axis=1)
        r2 = np.stack([*-2 * x.T, x2, np.ones_like(x2)], axis=1) @ np.stack([*q.T, np.ones_like(q2), q2])
        return np.maximum(r2, 0, out=r2)


def improvement(posteriors: Sequence[GPPosterior], q: Array) -> Array:
    """Expected improvement at q (m, d), averaged over posteriors -> (m,)."""

    def at(block: Array) -> Any:
        EI, _ = _improvement(posteriors, *zip(*(posterior.at(block) for posterior in posteriors)))
        return EI.mean(axis=0)

    return np.concatenate([at(block) for block in np.array_split(q, -(-len(q) // BLOCK))])


def log_improvement_and_gradient(posteriors: Sequence[GPPosterior], q: Array) -> tuple[Array, Array]:
    """log (EI + TINY) at q (m, d), with EI averaged over posteriors, and its gradient in q -> (m,), (m, d).

    The logarithm has slopes of order 1 where EI itself is flat. TINY keeps it finite where EI underflows.
    """
    mean, std, mean_slopes, std_slopes = zip(*(posterior.at_with_gradients(q) for posterior in posteriors))
    EI, cache = _improvement(posteriors, mean, std)
    d_mean, d_std, _ = expected_improvement_backward(np.full_like(EI, 1 / len(posteriors)), cache)
    d_q = (d_mean[..., None] * mean_slopes + d_std[..., None] * std_slopes).sum(axis=0)
    EI = EI.mean(axis=0) + TINY
    return np.log(EI), d_q / EI[:, None]


def _improvement(posteriors: Sequence[GPPosterior], mean: Sequence[Array], std: Sequence[Array]) -> tuple[Array, Any]:
    """Expected improvement, one row for each posterior, and the cache."""
    best = np.array([posterior.best for posterior in posteriors])
    return expected_improvement(np.array(mean), np.array(std), np.broadcast_to(best[:, None], np.shape(mean)))


def climb(posteriors: Sequence[GPPosterior], starts: Array) -> Array:
    """The points (m, d) in the cube that L-BFGS-B reaches from ``starts`` (m, d) by maximising expected improvement."""
    from scipy.optimize import minimize

    def loss(flat: Array) -> tuple[float, Array]:
        value, d_q = log_improvement_and_gradient(posteriors, flat.reshape(starts.shape))
        return -value.sum(), -d_q.ravel()

    result = minimize(loss, starts.ravel(), jac=True, method="L-BFGS-B", bounds=[(0, 1)] * starts.size, options=EFFORT)
    return np.clip(result.x, 0, 1).reshape(starts.shape)


def candidates(x: Array, y: Array, rng: np.random.Generator, scale: Any) -> Array:
    """Points (m, d) from which the ascents start: all over the cube, near the best five of x (n, d), and the very best.

    The points all over the cube are uniform on a cube of twice the width and then clipped, so that half of the
    coordinates lie on the boundary; in six dimensions most of the unexplored space is there. The points near the best
    five are shifted by normal numbers times ``scale``, which is at most 1, times a factor between 0.001 and 1 whose
    logarithm is uniform.
    """
    n, d = x.shape
    best = x[np.argsort(y, kind="stable")[:5]]
    steps = np.minimum(scale, 1) * 10 ** rng.uniform(-3, 0, (NEAR, 1)) * rng.standard_normal((NEAR, d))
    near = best[rng.integers(len(best), size=NEAR)] + steps
    return np.clip(np.concatenate([rng.uniform(-0.5, 1.5, (SPREAD, d)), near, best[:1]]), 0, 1)


def maximise(posteriors: Sequence[GPPosterior], q: Array) -> Array:
    """The point (d,) with the largest expected improvement that ascents from the best of q (m, d) find."""
    starts = q[np.argsort(-improvement(posteriors, q), kind="stable")[:STARTS]]
    reached = np.concatenate([starts, climb(posteriors, starts)])
    return reached[np.argmax(log_improvement_and_gradient(posteriors, reached)[0])]


class ExpectedImprovement(Search):
    """Spearmint's method with given hyperparameters, which should be the true ones. Needs SciPy.

    The first query is the centre of the cube.

    Parameters
    ----------
    functions, dim, seed, first
        As in `Search`.
    length_scale : number, or ndarray (d,)
    variance, noise, mean : float
        The variance of the values, the standard deviation of the noise, and the mean of the values.
    covariance : {"squared_exponential", "matern32", "matern52"}
    jitter : float >= 0, optional
        Relative to the variance. By default `l2l_ref.ops.gp.JITTER`.
    """

    name = "ei"

    def __init__(
        self, functions: int, dim: int, seed: Seed = 0, first: int = 0, *, length_scale: ArrayLike,
        variance: float = 1.0, noise: float = 0.0, mean: float = 0.0, covariance: str = "squared_exponential",
        jitter: float | None = None,
    ) -> None:
        require("scipy", "expected improvement")
        super().__init__(functions, dim, seed, first)
        like = self.x
        scale = positive("length_scale", length_scale, like)
        if scale.shape not in ((), (dim,)):
            raise ValueError(f"length_scale: expected a number or an array of shape (d={dim}), got {scale.shape}")
        covariance_pair(covariance)
        if not np.isfinite(mean):
            raise ValueError(f"mean: expected a finite number, got {mean!r}")
        self._hyperparameters: dict[str, Any] = {
            "length_scale": scale, "variance": positive("variance", variance, like, single=True),
            "noise": checked_noise(noise, like), "mean": mean, "covariance": covariance,
            "jitter": checked_jitter(jitter, like),
        }

    def _suggest(self, b: int) -> Array:
        x, y = self.x[b], self.y[b]
        if len(y) == 0:
            return np.full(self.dim, 0.5)
        posterior = GPPosterior(x, y, **self._hyperparameters)
        return maximise([posterior], candidates(x, y, self._rngs[b], self._hyperparameters["length_scale"]))


def slice_sample(log_density: Callable[[Array], float], u: Array, direction: Array, rng: np.random.Generator) -> Array:
    """One step of slice sampling from u (k,) along ``direction`` (k,): Neal 2003, figures 3 and 5. -> (k,)

    ``log_density``, (k,) -> float, is the logarithm of the density that is sampled, up to a constant. The length of
    ``direction`` is the width of the first interval.
    """
    level = log_density(u) - rng.exponential()
    low = -rng.random()
    high = low + 1
    while log_density(u + low * direction) > level:
        low -= 1
    while log_density(u + high * direction) > level:
        high += 1
    while True:
        step = rng.uniform(low, high)
        proposed = u + step * direction
        if log_density(proposed) >= level:
            return proposed
        low, high = (step, high) if step < 0 else (low, step)


class IntegratedExpectedImprovement(Search):
    """Spearmint's method: expected improvement, averaged over samples of the hyperparameters. Needs SciPy.

    Values are standardised before each query, so they may be on any scale. A length scale for each dimension, the
    variance, the noise and the mean have the priors `PRIORS`. Slice sampling draws from their posterior, one
    hyperparameter after the other. Each function has a Markov chain that continues from one query to the next.

    Parameters
    ----------
    functions, dim, seed, first
        As in `Search`.
    samples : int
        The number of samples in the average.
    covariance : {"squared_exponential", "matern32", "matern52"}
    jitter : float >= 0, optional
        Relative to the variance. By default `l2l_ref.ops.gp.JITTER`.
    """

    name = "integrated-ei"

    def __init__(
        self, functions: int, dim: int, seed: Seed = 0, first: int = 0, *, samples: int = 10,
        covariance: str = "matern52", jitter: float | None = None,
    ) -> None:
        require("scipy", "expected improvement")
        super().__init__(functions, dim, seed, first)
        whole_number("samples", samples)
        covariance_pair(covariance)
        self.samples, self._covariance, self._jitter = samples, covariance, checked_jitter(jitter, self.x)
        priors = [PRIORS["length_scale"]] * dim + [PRIORS[name] for name in ("variance", "noise", "mean")]
        self._centre, self._width = np.array(priors).T
        self._u: list[Array | None] = [None] * functions  # the present state of each chain

    def _suggest(self, b: int) -> Array:
        x, y, rng = self.x[b], self.y[b], self._rngs[b]
        if len(y) == 0:
            return np.full(self.dim, 0.5)
        posteriors = self._posteriors(b)
        scale = np.mean([np.asarray(posterior.length_scale) for posterior in posteriors], axis=0)
        return maximise(posteriors, candidates(x, y, rng, scale))

    def _posteriors(self, b: int) -> list[GPPosterior]:
        """The posteriors of function b under samples of the hyperparameters."""
        x, y, rng = self.x[b], self.y[b], self._rngs[b]
        y = y / (np.abs(y).max() or 1)  # so that the next line cannot overflow
        y = (y - y.mean()) / (y.std() or 1)

        def posterior(u: Array) -> GPPosterior:
            *logs, mean = u
            *length_scale, variance, noise = np.exp(logs)
            return GPPosterior(x, y, np.array(length_scale), variance, noise, mean, self._covariance, self._jitter)

        def log_density(u: Array) -> float:
            z = (u - self._centre) / self._width
            return -np.inf if (np.abs(z) > CUT).any() else posterior(u).log_likelihood - 0.5 * (z @ z)

        last = self._u[b]
        chain = [self._centre if last is None else last]
        for _ in range(self.samples + BURN_IN * (last is None)):
            u = chain[-1]
            for direction in rng.permutation(np.diag(self._width)):
                u = slice_sample(log_density, u, direction, rng)
            chain.append(u)
        self._u[b] = chain[-1]
        return [posterior(u) for u in chain[-self.samples :]]
