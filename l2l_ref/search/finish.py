"""The finish of a search: where to evaluate next, by a light Gaussian process whose hyperparameters are estimated.

A network opens a search well and then stands still. From its points and values on, this file goes on. Nothing in here
is learned from other functions. A query is one of two kinds, in turn:

- A **global** query. The surrogate (ops/surrogate.py) has a length scale for each dimension of the unit cube and no
  trend. It sees the values on the scale of scale.py, so their logarithms where they are skewed. It sees at most
  `WINDOW` of them, half of which are the best and half the latest, so that the cost of a query is bounded.
- A **local** query, within a trust region around the best point. The surrogate has one length scale and a quadratic
  trend. It sees the nearest points, in coordinates z of the region:

    Y3  x = best + 2 r T (z - 1/2),   det T = 1                      radius r, axes T

  After each local query T is turned and stretched until the second derivatives of the surrogate are the same in all
  directions, by `STRETCH` at most at a time. In such coordinates a narrow valley is round. r grows when the best point
  moves by about r, and shrinks when it does not move. Below `SMALLEST` there are no local queries until a global one
  finds a better point.

The hyperparameters are not optimised. `PARTICLES` sets of them are kept, those with the largest posterior density, and
`MUTANTS` of them are varied before each query. Expected improvement is averaged over the best `MIXED` of them. It is
evaluated at a few dozen candidates, and its gradient improves the best of these.

Pending points count as evaluated, with the value that the surrogate predicts. Failed evaluations, which are nan or have
a penalty for a value, count as the worst of the others, for the prediction but not for the hyperparameters. No query
repeats a point.

Source: Eriksson et al. 2019, "Scalable global optimization via local Bayesian optimization", for the trust region, and
Hansen & Ostermeier 2001 for coordinates in which a function is round. The rest is ours.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .. import backends
from ..ops.surrogate import Factors, Hyperparameters, Surrogate, mean_curvature
from .scale import HUGE, running_scale, standardised

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..protocols import Array, Backend

PARTICLES, MUTANTS, MIXED = 8, 8, 4
WINDOW = 200                # points that a global surrogate sees at most
SPREAD, NEAR = 32, 64       # candidates all over the cube, and near the best points
STARTS, STEPS = 3, 12       # candidates that the gradient improves, and steps that it takes
JITTER = 1e-8               # noise that there always is, relative to the variance; locally LOCAL_JITTER
LOCAL_JITTER = 1e-10
REPEATED = 1e-12            # points that are closer than this in every coordinate are one point

FIRST_LOCAL = 2             # times d + 1: the evaluations before the first local query
SHRINK, GROW = 0.7, 2.0     # of the radius
WIDEST, SMALLEST = 0.5, 1e-7  # radius
STRETCH, LONGEST = 2.0, 1e3   # of an axis, at once and in all
OUTLIER = 1e4               # values that are this many times as far above the best as others do not count
EARLY = 8                   # times d + 1: the values with which all are compared for that

# Centre and width of the normal priors, of the logarithms: noise, trend and length scales in two dimensions, which grow
# with the square root of the dimension.
Priors = dict[str, tuple[float, float]]
GLOBAL: Priors = {"length_scale": (math.log(0.5), 1.0), "noise": (math.log(1e-6), 4.0)}
LOCAL: Priors = {"length_scale": (0.0, 1.0), "noise": (math.log(1e-7), 2.0), "trend": (0.0, 2.0)}


class FinishState(NamedTuple):
    """What a finish carries from query to query, in plain arrays. Nothing in it is ever written to."""

    particles: Array        # (PARTICLES, d + 1): logarithms of the length scales and of the noise
    local_particles: Array  # (PARTICLES, 3): of the length scale, the noise and the trend
    axes: Array             # (d, d), T
    radius: Array           # (), r; nan where there is no trust region yet
    last: Array             # (4,): was the last query local, how many were told before, the best of them, 2 |z - 1/2|
    centre: Array           # (d,), the best point before the last query
    queries: Array          # (), the number of queries so far


def initial_state(dim: int, rng: np.random.Generator) -> FinishState:
    """The FinishState before the first query, in ``dim`` dimensions, with particles drawn from their priors."""
    return FinishState(_drawn(_normal(GLOBAL, dim), PARTICLES, rng), _drawn(_normal(LOCAL, dim), PARTICLES, rng),
                       np.eye(dim), np.array(np.nan), np.full(4, np.nan), np.full(dim, 0.5), np.array(0))


def opening_evaluations(dim: int) -> int:
    """The number of evaluations after which the finish does better than a learned opening of shipped networks."""
    return 2 * dim + 2


def next_query(
    x: Array, y: Array, pending: Array | None, rng: np.random.Generator, state: FinishState, *,
    snap: Callable[[Array], Array] | None = None, backend: Backend = "auto",
) -> tuple[Array, FinishState]:
    """The point at which to evaluate next.

    Parameters
    ----------
    x : (n, d) array
        The points told so far, in the unit cube.
    y : (n,) array
        Their values, in the order in which they were told; nan where the evaluation failed.
    pending : (m, d) array or None
        Points whose values are not known yet.
    rng : numpy.random.Generator
        It is advanced. Queries with the same arguments, generator and backend are the same, bit for bit.
    state : FinishState
        That of the last query, or an `initial_state`.
    snap : callable, optional
        Points (k, d) -> the nearest points (k, d) that can be evaluated, where not all of the cube can.
    backend : {"auto", "numpy", "numba"}

    Returns
    -------
    point : (d,) array
    state : FinishState
    """
    history = _History(x, y, pending, snap)
    if not history.known.any():
        return _spread(history, rng), state._replace(queries=state.queries + 1)
    state = _learnt(state, history)
    state = state._replace(queries=state.queries + 1)
    if state.queries % 2 == 0 and _may_be_local(state, history):
        point, state = _local_query(history, rng, state, backend)
        if point is not None:
            return point, state
    return _global_query(history, rng, state, backend)


class _History:
    """What is known: ``x`` (n, d), ``y`` (n,) with nan for failures, ``pending`` (m, d)."""

    def __init__(self, x: Array, y: Array, pending: Array | None, snap: Callable[[Array], Array] | None) -> None:
        self.x, self.y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        self.dim = self.x.shape[1]
        self.pending = np.empty((0, self.dim)) if pending is None else np.asarray(pending, np.float64)
        self.best = int(np.where(np.isfinite(self.y), self.y, np.inf).argmin()) if len(self.y) else 0
        self.known = np.isfinite(self.y) & ~self._penalties()
        self.taken = np.concatenate([self.x, self.pending])
        self._snap = snap

    def _penalties(self) -> Array:
        """Which values are so far above the first quarter of the early ones that they only stand for a failure."""
        if not len(self.y):
            return np.zeros(0, bool)
        with np.errstate(over="ignore", invalid="ignore"):
            above = np.minimum(self.y - self.y[self.best], HUGE)
            early = above[: EARLY * (self.dim + 1)]
            early = early[early > 0]
            return above > OUTLIER * np.quantile(early, 0.25) if len(early) else np.zeros(len(self.y), bool)

    def placed(self, q: Array) -> Array:
        """The points (k, d) that can be evaluated near q (k, d)."""
        q = np.clip(q, 0, 1)
        return q if self._snap is None else self._snap(q)

    def first_new(self, candidates: Array, apart: float = REPEATED) -> Array | None:
        """The first of the candidates (k, d) that is not a point of the history nor a pending one, or None."""
        for point in candidates:
            if not (np.abs(self.taken - point).max(axis=1) <= apart).any():
                return point.copy()
        return None


def _spread(history: _History, rng: np.random.Generator) -> Array:
    """Of some random points the one that is farthest from all others."""
    points = history.placed(rng.random((SPREAD, history.dim)))
    if not len(history.taken):
        return points[0]
    apart = np.abs(history.taken[:, None] - points).max(axis=2).min(axis=0)
    return points[apart.argmax()]


# ------------------------------------------------------------------------------------------- the surrogate


class _Model:
    """The surrogate of values y (k,) at the first k of the points x (n, d), of which the first ``counted`` count.

    ``priors`` is `GLOBAL` or `LOCAL`. ``particles`` are those that are kept, the best first; ``length_scale`` (d,) is
    that of the `MIXED` best.
    """

    def __init__(self, x: Array, y: Array, counted: int, particles: Array, priors: Priors, jitter: float,
                 rng: np.random.Generator, backend: Backend) -> None:
        d = x.shape[1]
        centre, width = normal = _normal(priors, d)
        scales = len(centre) + 1 - len(priors)
        module = backends.choose("surrogate", backend, len(x))
        theta = np.concatenate([particles, _mutants(particles, normal, rng)])
        trend = np.exp(theta[:, scales + 1]) if "trend" in priors else np.zeros(len(theta))
        over_scale = np.ascontiguousarray(np.broadcast_to(np.exp(-theta[:, :scales]), (len(theta), d)))
        hyper = Hyperparameters(over_scale, np.exp(theta[:, scales]) + jitter, trend)
        log_density, factors = module.evidence(x, y, hyper, counted)
        while not np.isfinite(log_density).any():  # no particle has as much noise as rounding needs
            hyper = hyper._replace(noise=100 * hyper.noise)
            log_density, factors = module.evidence(x, y, hyper, counted)
        log_density = log_density - (((theta - centre) / width) ** 2).sum(axis=1) / 2
        order = np.argsort(-log_density, kind="stable")
        self.particles, mixed = theta[order[:PARTICLES]], order[:MIXED][np.isfinite(log_density[order[:MIXED]])]
        weight = np.exp(log_density[mixed] - log_density[mixed[0]])
        weight /= weight.sum()
        self.length_scale = np.exp(-weight @ np.log(over_scale[mixed]))
        self._module = module
        self.surrogate: Surrogate = module.surrogate(
            x, y, Hyperparameters(*(a[mixed] for a in hyper)), Factors(*(a[mixed] for a in factors)), weight)

    def log_improvement(self, q: Array) -> Array:
        """At q (m, d) -> (m,)."""
        log: Array = self._module.log_improvement(q, self.surrogate)[0]
        return log

    def climb(self, q: Array) -> Array:
        """The points (m, d) of the cube that steps along the gradient of the logarithm reach from q (m, d).

        A step has a length, relative to the length scales, which grows when it succeeds and shrinks when it does not.
        """
        square = np.minimum(self.length_scale, 1) ** 2
        length = np.full((len(q), 1), 0.1)
        log, slope = self._with_slope(q)
        for _ in range(STEPS):
            size = np.sqrt((square * slope * slope).sum(axis=1, keepdims=True)) + 1e-300
            tried = np.clip(q + length * square * slope / size, 0, 1)
            tried_log, tried_slope = self._with_slope(tried)
            better = (tried_log > log)[:, None]
            q, log = np.where(better, tried, q), np.maximum(log, tried_log)
            slope, length = np.where(better, tried_slope, slope), length * np.where(better, 1.5, 0.3)
        return q

    def _with_slope(self, q: Array) -> tuple[Array, Array]:
        log, cache = self._module.log_improvement(q, self.surrogate)
        return log, self._module.log_improvement_backward(np.ones(len(q)), cache)


def _normal(priors: Priors, dim: int) -> Array:
    """Centres and widths (2, h) of the priors of a particle: a trend comes with one length scale for all dimensions."""
    centre, width = priors["length_scale"]
    scales = [(centre + 0.5 * math.log(dim / 2), width)] * (1 if "trend" in priors else dim)
    return np.array([*scales, *(priors[name] for name in ("noise", "trend") if name in priors)]).T


def _drawn(normal: Array, count: int, rng: np.random.Generator) -> Array:
    centre, width = normal
    return centre + width * rng.standard_normal((count, len(centre)))


def _mutants(particles: Array, normal: Array, rng: np.random.Generator) -> Array:
    """Particles (MUTANTS, h): good ones with some entries changed or taken from others, and one from the prior."""
    h = particles.shape[1]
    parents = np.minimum(rng.geometric(0.4, MUTANTS) - 1, len(particles) - 1)
    changed = rng.random((MUTANTS, h)) < 0.5
    changed[np.arange(MUTANTS), rng.integers(h, size=MUTANTS)] = True
    steps = 10 ** rng.uniform(-1.5, 0, (MUTANTS, 1)) * normal[1] * rng.standard_normal((MUTANTS, h))
    mutants = particles[parents] + changed * steps
    others = particles[rng.integers(len(particles), size=MUTANTS)]
    mutants = np.where(rng.random((MUTANTS, h)) < 0.2, others, mutants)
    mutants[0] = _drawn(normal, 1, rng)[0]
    return mutants


# ------------------------------------------------------------------------------------------- global queries


def _global_query(history: _History, rng: np.random.Generator, state: FinishState,
                  backend: Backend) -> tuple[Array, FinishState]:
    known, failed = _window(history)
    y = history.y[known]
    scale = running_scale(y[None])
    y = standardised(y, type(scale)(*(np.squeeze(a) for a in scale)))
    x = np.concatenate([history.x[known], history.x[failed], history.pending])
    model = _Model(x, np.append(y, np.full(len(failed), y.max())), len(y), state.particles,
                   GLOBAL, JITTER, rng, backend)
    q = history.placed(_global_candidates(x[np.argsort(y, kind="stable")[:5]], model.length_scale, rng))
    log = model.log_improvement(q)
    starts = q[np.argsort(-log, kind="stable")[:STARTS]]
    reached = np.concatenate([history.placed(model.climb(starts)), starts])
    order = np.argsort(-model.log_improvement(reached), kind="stable")
    point = history.first_new(np.concatenate([reached[order], q[np.argsort(-log, kind="stable")]]))
    if point is None:
        point = _spread(history, rng)
    last = np.array([0, len(history.y), history.y[history.best], 0])
    return point, state._replace(particles=model.particles, last=last, centre=history.x[history.best].copy())


def _window(history: _History) -> tuple[Array, Array]:
    """The numbers of the points with a value that a global surrogate sees, the best first, and of the failed ones."""
    known = np.flatnonzero(history.known)
    order = known[np.argsort(history.y[known], kind="stable")]
    if len(order) > WINDOW:
        best = order[: WINDOW // 2]
        order = np.concatenate([best, np.setdiff1d(known, best)[-(WINDOW - len(best)):]])
    return order, np.flatnonzero(~history.known)[-WINDOW // 4:]


def _global_candidates(best: Array, length_scale: Array, rng: np.random.Generator) -> Array:
    """Points all over the cube, half of them with many coordinates at its edge, and points near the best (k, d)."""
    d = best.shape[1]
    q = rng.random((SPREAD, d))
    q[: SPREAD // 2] = 2 * q[: SPREAD // 2] - 0.5
    steps = np.minimum(length_scale, 1) * 10 ** rng.uniform(-3, 0, (NEAR, 1)) * rng.standard_normal((NEAR, d))
    few = np.where(rng.random((NEAR, 1)) < 0.5, 1, max(0.3, 1.5 / d))
    steps *= rng.random((NEAR, d)) < few
    around = best[np.minimum(rng.geometric(0.5, NEAR) - 1, len(best) - 1)]
    return np.concatenate([q, around + steps])


# -------------------------------------------------------------------------------------------- local queries


def _learnt(state: FinishState, history: _History) -> FinishState:
    """The state after what has become known since the last query."""
    local, told, value, size = state.last
    if not len(history.y) > told:
        return state
    radius, better = float(state.radius), history.y[history.best] < value
    if local and better:
        radius *= GROW if size > 0.8 else SHRINK if size < 0.25 else 1
    elif local:
        radius *= SHRINK ** (2 / history.dim)
    elif better:
        moved = np.abs(np.linalg.solve(state.axes, history.x[history.best] - state.centre)).max()
        radius = max(radius, 2 * moved)  # nan stays nan
    return state._replace(radius=np.array(min(radius, WIDEST) if radius == radius else np.nan))


def _may_be_local(state: FinishState, history: _History) -> bool:
    return history.known.sum() >= FIRST_LOCAL * (history.dim + 1) and not state.radius < SMALLEST


def _local_query(history: _History, rng: np.random.Generator, state: FinishState,
                 backend: Backend) -> tuple[Array | None, FinishState]:
    """A query in the trust region; None where all that it can offer are repetitions."""
    d, centre, axes, radius = history.dim, history.x[history.best], state.axes, float(state.radius)
    size = (d + 1) * (d + 2) + 10  # of the neighbourhood: twice as many as a quadratic function has coefficients
    away = history.x - centre
    if math.isnan(radius):
        axes = np.eye(d)
        nearest = np.sort(np.abs(away).max(axis=1))
        radius = float(np.clip(nearest[d + 1], 1e-3, 0.3))
    axes = _bounded(axes, WIDEST / radius)
    region = 2 * radius * axes                                       # Y3
    inverse = np.linalg.inv(region)

    def inside(z: Array) -> Array:
        """Points of the region that are in the cube: clipped there, and drawn back to it along a line to the best."""
        step = (z - 0.5) @ region.T
        with np.errstate(divide="ignore", invalid="ignore"):
            longest = np.where(step > 0, (1 - centre) / step, np.where(step < 0, -centre / step, np.inf)).min(axis=1)
        x = np.concatenate([centre + step, centre + step * np.minimum(longest, 1)[:, None]])
        z = 0.5 + (history.placed(x) - centre) @ inverse.T
        return z[np.abs(z - 0.5).max(axis=1) <= 0.75]

    z = 0.5 + away @ inverse.T
    near = np.argsort(np.abs(z - 0.5).max(axis=1), kind="stable")[:size]
    y = np.where(history.known[near], history.y[near] - history.y[history.best], np.nan)
    failed = ~(y <= OUTLIER * np.nanmedian(y))
    y = y[~failed]
    y = y / (y.max() or 1)
    y = y / (y.std() or 1)
    near = np.concatenate([near[~failed], near[failed]])
    pending = 0.5 + (history.pending - centre) @ inverse.T
    points = np.concatenate([z[near], pending[np.abs(pending - 0.5).max(axis=1) <= 1]])
    model = _Model(points, np.append(y, np.full(failed.sum(), y.max())), len(y), state.local_particles,
                   LOCAL, LOCAL_JITTER, rng, backend)

    steps = np.minimum(model.length_scale, 1) * 10 ** rng.uniform(-2, 0, (SPREAD, 1)) * rng.standard_normal((SPREAD, d))
    q = inside(np.concatenate([rng.random((SPREAD, d)), np.clip(0.5 + steps, 0, 1)]))
    starts = q[np.argsort(-model.log_improvement(q), kind="stable")[:STARTS]]
    reached = np.concatenate([inside(model.climb(starts)), starts])
    reached = reached[np.argsort(-model.log_improvement(reached), kind="stable")]
    point = history.first_new(history.placed(centre + (reached - 0.5) @ region.T), max(REPEATED, 1e-5 * radius))
    state = state._replace(local_particles=model.particles, axes=_rounder(axes, mean_curvature(model.surrogate)))
    if point is None:
        return None, state._replace(radius=np.array(radius * SHRINK))
    moved = 2 * np.abs((point - centre) @ inverse.T).max()
    last = np.array([1, len(history.y), history.y[history.best], moved])
    return point, state._replace(radius=np.array(radius), last=last, centre=centre.copy())


def _bounded(axes: Array, longest: float) -> Array:
    """The axes T with none longer than this."""
    U, lengths, V = np.linalg.svd(axes)
    return (U * np.minimum(lengths, longest)) @ V


def _rounder(axes: Array, curvature: Array) -> Array:
    """The axes in which a function with this curvature is rounder, with det T = 1."""
    sizes, directions = np.linalg.eigh((curvature + curvature.T) / 2)
    logarithm = np.log(np.abs(sizes) + 1e-300)
    stretch = np.exp(np.clip((logarithm.mean() - logarithm) / 2, -math.log(STRETCH), math.log(STRETCH)))
    U, lengths, V = np.linalg.svd(axes @ (directions * stretch) @ directions.T)
    lengths = np.clip(lengths / np.exp(np.log(lengths).mean()), 1 / LONGEST, LONGEST)
    return (U * (lengths / np.exp(np.log(lengths).mean()))) @ V
