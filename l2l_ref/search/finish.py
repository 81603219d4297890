"""The finish of a search: where to evaluate next, by a light Gaussian process whose hyperparameters are estimated.

A network opens a search well and then stands still. From its points and values on, this file goes on. Nothing in here
is learned from other functions. A query is one of two kinds, in turn:

- A **global** query. The surrogate (ops/surrogate.py) has a length scale for each parameter and no trend. It sees the
  values on the scale of scale.py, so their logarithms where they are skewed. It sees a bounded number of them, half of
  which are the best and half the latest (`_window`). Of a categorical parameter with more than two choices it sees a
  coordinate for each choice, so that all choices are equally far apart.
- A **local** query, within a trust region around the best point. The surrogate has one length scale and a quadratic
  trend. It sees the nearest points, in coordinates z of the region:

    Y3  x = best + 2 r T (z - 1/2),   det T = 1                      radius r, axes T

  After each local query T is turned and stretched until the second derivatives of the surrogate are the same in all
  directions, by `STRETCH` at most at a time. In such coordinates a narrow valley is round. r grows when the best point
  moves by about r, and shrinks when it does not move. Below `SMALLEST` there are no local queries until a global one
  finds a better point. Parameters with few values, at most `FEW`, keep those of the best point. There are no local
  queries of a noisy function.

The hyperparameters are not optimised. `PARTICLES` sets of them are kept, those with the largest posterior density, and
`MUTANTS` variations of them are tried before each query. Expected improvement is averaged over the best `MIXED` of
them. It is evaluated at a few dozen candidates, and its gradient improves the best of these.

Pending points count as evaluated, with the value that the surrogate predicts. Failed evaluations count as the worst of
the others, for the prediction but not for the hyperparameters. No query repeats a point.

Source: Eriksson et al. 2019, "Scalable global optimization via local Bayesian optimization", for the trust region, and
Hansen & Ostermeier 2001 for coordinates in which a function is round. The rest is ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import backends
from ..learned.stepping import SAME, distances, rows_at
from ..ops.surrogate import Factors, Hyperparameters, Surrogate, mean_curvature
from .scale import running_scale, standardised

if TYPE_CHECKING:
    from ..protocols import Array, Backend

PARTICLES, MUTANTS, MIXED = 8, 8, 4
MANY = 100                  # with more points, half as many particles are tried: the cost of one grows with the cube
WINDOW = 60, 20, 150        # points that a global surrogate sees: at most 60 + 20 d, and at most 150
SPREAD, NEAR = 32, 64       # candidates all over the cube, and near the best points
STARTS, STEPS = 3, 12       # candidates that the gradient improves, and steps that it takes
JITTER = 1e-8               # noise that there always is, relative to the variance; locally LOCAL_JITTER
LOCAL_JITTER = 1e-10

OPENING = 2                 # times d + 1: the evaluations before the first query of the finish
FIRST_LOCAL = 2             # times d + 1: the evaluations before the first local query
SHRINK, GROW = 0.7, 2.0     # of the radius
WIDEST, SMALLEST = 0.5, 1e-7  # radius
STRETCH, LONGEST = 2.0, 1e3   # of an axis, at once and in all
OUTLIER = 1e4               # times as far above the best as half of its neighbours: a value of no use for a trend
FEW = 10                    # values of a parameter that local queries leave alone

# Centre and width of the normal priors, of the logarithms: noise, trend and length scales in two dimensions, which grow
# with the square root of the dimension.
Priors = dict[str, tuple[float, float]]
GLOBAL: Priors = {"length_scale": (math.log(0.5), 1.0), "noise": (math.log(1e-6), 4.0)}
NOISY: Priors = GLOBAL | {"noise": (math.log(1e-1), 2.0)}
LOCAL: Priors = {"length_scale": (0.0, 1.0), "noise": (math.log(1e-7), 2.0), "trend": (0.0, 2.0)}


class History(NamedTuple):
    """What a finish sees of a search: everything in the unit cube of the d parameters that are not fixed.

    A finish is a function ``finish(history) -> (point (d,), memory)``, or None as long as the opening is to go on: the
    network, or Sobol points. Values are to be made small, also where the user maximises.
    """

    points: Array       # (n, d), in the order in which their values were told
    values: Array       # (n,), nan where the evaluation failed, penalties among them
    pending: Array      # (m, d), asked for and not told
    categorical: Array  # (d,), of bool: which coordinates have no order
    levels: Array       # (d,), how many values each can take: infinity for a continuous one
    rounded: Callable[[Array], Array]  # (B, d) -> the same points as they would be evaluated
    noisy: bool         # whether the values have noise
    seed: list[int]     # of the random numbers of this point
    memory: dict[str, Array] | None  # what the finish returned with its last point; it is in the saved state


class FinishState(NamedTuple):
    """What `next_query` remembers. Nothing in it is ever written to. c: how many parameters local queries change."""

    particles: Array        # (PARTICLES, d + 1): logarithms of the length scales and of the noise
    local_particles: Array  # (PARTICLES, 3): of the length scale, the noise and the trend
    axes: Array             # (c, c), T
    radius: Array           # (), r; nan where there is no trust region yet
    last: Array             # (4,): was the last query local, how many were told before, the best of them, 2 |z - 1/2|
    centre: Array           # (d,), the best point before the last query
    queries: Array          # (), the number of queries so far


def initial_state(history: History, rng: np.random.Generator) -> FinishState:
    """The FinishState before the first query, with particles drawn from their priors."""
    d, c = len(history.levels), int(_many_values(history).sum())
    return FinishState(
        _drawn(_normal(_priors(history), d), PARTICLES, rng), _drawn(_normal(LOCAL, max(c, 1)), PARTICLES, rng),
        np.eye(c), np.array(np.nan), np.full(4, np.nan), np.full(d, 0.5), np.array(0.0))


def require_memory(memory: dict[str, Array], history: History) -> None:
    """Raise ValueError for a memory that `next_query` cannot have returned."""
    expected = initial_state(history, np.random.default_rng(0))._asdict()
    if set(memory) != set(expected):
        raise ValueError(f"memory: expected {', '.join(expected)}, got {', '.join(map(str, memory))}")
    for name, array in expected.items():
        if array.size and np.shape(memory[name]) != array.shape:
            raise ValueError(f"memory: expected {name} of shape {array.shape}, got {np.shape(memory[name])}")
        if name not in ("radius", "last") and not np.isfinite(memory[name]).all():
            raise ValueError(f"memory: expected finite numbers as {name}")


def next_query(history: History, backend: Backend = "auto") -> tuple[Array, dict[str, Array]] | None:
    """The point (d,) at which to evaluate next, and what to remember of it; None as long as the opening is to go on.

    With the same history and backend, both are the same, bit for bit.
    """
    data = _Data(history.points, history.values, history.pending, history.rounded)
    if not len(data.y) or len(data.taken) < OPENING * (data.dim + 1):
        return None
    rng = np.random.default_rng(history.seed)
    state = initial_state(history, rng) if history.memory is None else FinishState(**history.memory)
    if not data.known.any():
        return _spread(data, rng), state._asdict()
    state = _learnt(state, data, _many_values(history))
    state = state._replace(queries=state.queries + 1)
    if state.queries % 2 == 0 and not history.noisy and not state.radius < SMALLEST:
        point, state = _local_query(data, _many_values(history), rng, state, backend)
        if point is not None:
            return point, state._asdict()
    point, state = _global_query(data, history, rng, state, backend)
    return point, state._asdict()


def _many_values(history: History) -> Array:
    """Which coordinates (d,) local queries change."""
    return ~history.categorical & (history.levels > FEW)


def _priors(history: History) -> Priors:
    return NOISY if history.noisy else GLOBAL


class _Data:
    """Points ``x`` (n, d), ``y`` (n,) with nan for failures, and ``pending`` (m, d)."""

    def __init__(self, x: Array, y: Array, pending: Array, rounded: Callable[[Array], Array]) -> None:
        self.x, self.y, self.pending, self._rounded = x, y, pending, rounded
        self.dim = x.shape[1]
        self.known = np.isfinite(y)
        self.best = int(np.where(self.known, y, np.inf).argmin()) if len(y) else 0
        self.taken = np.concatenate([x, pending])

    def section(self, free: Array) -> _Data:
        """What is known in the section of the cube that goes through the best point: only ``free`` (d,) may differ."""
        if free.all():
            return self
        best = self.x[self.best]

        def of(points: Array) -> Array:
            return (np.abs(points - best)[:, ~free] < SAME).all(axis=1)

        def rounded(q: Array) -> Array:
            points = np.repeat(best[None], len(q), axis=0)
            points[:, free] = q
            return self._rounded(points)[:, free]

        rows = of(self.x)
        return _Data(self.x[rows][:, free], self.y[rows], self.pending[of(self.pending)][:, free], rounded)

    def placed(self, q: Array) -> Array:
        """The points (k, d) that can be evaluated near q (k, d)."""
        return self._rounded(np.clip(q, 0, 1))

    def first_new(self, candidates: Array, apart: float = SAME) -> Array | None:
        """The first of the candidates (k, d) that is neither a point with a value nor a pending one, or None."""
        return next((point.copy() for point in candidates if not len(rows_at(self.taken, point, apart))), None)


class _Coordinates:
    """What the surrogate sees of a point: of a categorical parameter of more than two choices, one number for each."""

    def __init__(self, history: History) -> None:
        counts = np.where(history.categorical & (history.levels > 2), history.levels, 1).astype(int)
        self.parameter = np.repeat(np.arange(len(counts)), counts)  # of each coordinate
        self._choices = np.repeat(counts, counts)
        self._number = np.concatenate([np.arange(count) for count in counts])
        self.moves = self._choices == 1  # whether the gradient may change it

    def __call__(self, q: Array) -> Array:
        """q (m, d) of the cube -> (m, D)."""
        e = q[:, self.parameter]
        return e if self.moves.all() else np.where(self.moves, e, np.floor(e * self._choices) == self._number)

    def moved(self, q: Array, e: Array) -> Array:
        """The points q (m, d) after their coordinates have become e (m, D)."""
        q = q.copy()
        q[:, self.parameter[self.moves]] = e[:, self.moves]
        return q


def _spread(data: _Data, rng: np.random.Generator) -> Array:
    """Of some random points the one that is farthest from all others."""
    points = data.placed(rng.random((SPREAD, data.dim)))
    farthest: Array = points[distances(data.taken, points).argmax()]
    return farthest


# ------------------------------------------------------------------------------------------- the surrogate


class _Model:
    """The surrogate of values y (k,) at the first k of the points x (n, D), of which the first ``counted`` count.

    ``normal`` are the priors of a particle, ``trend`` whether it has one, and ``scale_of`` (D,) which of its length
    scales that of a coordinate is. ``particles`` are those that are kept, the best first; ``length_scale`` are those of
    the `MIXED` best.
    """

    def __init__(self, x: Array, y: Array, counted: int, particles: Array, normal: Array, scale_of: Array, trend: bool,
                 jitter: float, rng: np.random.Generator, backend: Backend) -> None:
        centre, width = normal
        scales = len(centre) - 1 - trend
        module = backends.choose("surrogate", backend, len(x))
        tried = PARTICLES if len(x) <= MANY else PARTICLES // 2
        theta = np.concatenate([particles[:tried], _mutants(particles, normal, rng)[:tried]])
        hyper = Hyperparameters(np.exp(-theta[:, scale_of]), np.exp(theta[:, scales]) + jitter,
                                np.exp(theta[:, scales + 1]) if trend else np.zeros(len(theta)))
        log_density, factors = module.evidence(x, y, hyper, counted)
        while not np.isfinite(log_density).any():  # no particle has as much noise as rounding needs
            hyper = hyper._replace(noise=100 * hyper.noise)
            log_density, factors = module.evidence(x, y, hyper, counted)
        log_density = log_density - (((theta - centre) / width) ** 2).sum(axis=1) / 2
        order = np.argsort(-log_density, kind="stable")
        self.particles, mixed = theta[order[:PARTICLES]], order[:MIXED][np.isfinite(log_density[order[:MIXED]])]
        weight = np.exp(log_density[mixed] - log_density[mixed[0]])
        weight /= weight.sum()
        self.length_scale = np.exp(weight @ theta[mixed, :scales])
        self._module, self._scale_of = module, scale_of
        self.surrogate: Surrogate = module.surrogate(
            x, y, Hyperparameters(*(a[mixed] for a in hyper)), Factors(*(a[mixed] for a in factors)), weight)

    def log_improvement(self, q: Array) -> Array:
        """At q (m, D) -> (m,)."""
        log: Array = self._module.log_improvement(q, self.surrogate)[0]
        return log

    def climb(self, q: Array, moves: Any = True) -> Array:
        """The points (m, D) of the cube that steps along the gradient reach from q (m, D), in the coordinates that are
        to move."""
        reached: Array = self._module.climb(
            q, self.surrogate, np.where(moves, np.minimum(self.length_scale[self._scale_of], 1), 0), STEPS)
        return reached


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


def _global_query(data: _Data, history: History, rng: np.random.Generator, state: FinishState,
                  backend: Backend) -> tuple[Array, FinishState]:
    known, failed = _window(data)
    y = data.y[known]
    scale = running_scale(y[None])
    y = standardised(y, type(scale)(*(np.squeeze(a) for a in scale)))
    x, seen = np.concatenate([data.x[known], data.x[failed], data.pending]), _Coordinates(history)
    model = _Model(seen(x), np.append(y, np.full(len(failed), y.max())), len(y), state.particles,
                   _normal(_priors(history), data.dim), seen.parameter, False, JITTER, rng, backend)
    q = data.placed(_global_candidates(x[np.argsort(y, kind="stable")[:5]], model.length_scale, history, rng))
    log = model.log_improvement(seen(q))
    starts = q[np.argsort(-log, kind="stable")[:STARTS]]
    climbed = data.placed(seen.moved(starts, model.climb(seen(starts), seen.moves)))
    reached = np.concatenate([climbed, starts])
    order = np.argsort(-model.log_improvement(seen(reached)), kind="stable")
    point = data.first_new(np.concatenate([reached[order], q[np.argsort(-log, kind="stable")]]))
    if point is None:
        point = _spread(data, rng)
    last = np.array([0, len(data.y), data.y[data.best], 0])
    return point, state._replace(particles=model.particles, last=last, centre=data.x[data.best].copy())


def most_seen(dim: int) -> int:
    """The number of points with a value that a global surrogate sees at most."""
    fixed, each, most = WINDOW
    return min(fixed + each * dim, most)


def _window(data: _Data) -> tuple[Array, Array]:
    """The numbers of the points with a value that a global surrogate sees, the best first, and of the failed ones."""
    known, window = np.flatnonzero(data.known), most_seen(data.dim)
    order = known[_smallest(data.y[known], window)]
    if len(known) > window:
        best, latest = order[: window // 2], known[-window:]
        order = np.concatenate([best, latest[~np.isin(latest, best)][-(window - len(best)):]])
    return order, np.flatnonzero(~data.known)[-(window // 4):]


def _smallest(a: Array, count: int) -> Array:
    """The numbers of the ``count`` smallest entries of a (n,), in order, the earlier first among equal ones.

    Only these are sorted: a search may have a thousand times as many points as a surrogate sees.
    """
    among = np.arange(len(a))
    if len(a) > count:
        among = np.flatnonzero(a <= np.partition(a, count - 1)[count - 1])
    smallest: Array = among[np.argsort(a[among], kind="stable")][:count]
    return smallest


def _global_candidates(best: Array, length_scale: Array, history: History, rng: np.random.Generator) -> Array:
    """Points all over the cube, half of them with many coordinates at its edge, and points near the best (k, d).

    Near the best, a coordinate that is changed gets another value: the next one at least, or any choice.
    """
    d = best.shape[1]
    q = rng.random((SPREAD, d))
    q[: SPREAD // 2] = 2 * q[: SPREAD // 2] - 0.5
    steps = np.minimum(length_scale, 1) * 10 ** rng.uniform(-3, 0, (NEAR, 1)) * rng.standard_normal((NEAR, d))
    steps = np.copysign(np.maximum(np.abs(steps), 1 / history.levels), steps)
    few = np.where(rng.random((NEAR, 1)) < 0.5, 1, max(0.3, 1.5 / d))
    changed = rng.random((NEAR, d)) < few
    around = best[np.minimum(rng.geometric(0.5, NEAR) - 1, len(best) - 1)]
    near = around + steps * changed
    if history.categorical.any():
        near = np.where(changed & history.categorical, rng.random((NEAR, d)), near)
    return np.concatenate([q, near])


# -------------------------------------------------------------------------------------------- local queries


def _learnt(state: FinishState, data: _Data, free: Array) -> FinishState:
    """The state after what has become known since the last query. Local queries change the ``free`` coordinates."""
    local, told, value, size = state.last
    if not len(data.y) > told:
        return state
    radius, better = float(state.radius), data.y[data.best] < value
    moved = data.x[data.best] - state.centre
    if better and (np.abs(moved[~free]) > SAME).any():
        radius = math.nan  # the best point is in another section
    elif local and better:
        radius *= GROW if size > 0.8 else SHRINK if size < 0.25 else 1
    elif local:
        radius *= SHRINK ** (2 / free.sum())
    elif better and free.any():
        radius = max(radius, 2 * np.abs(np.linalg.solve(state.axes, moved[free])).max())  # nan stays nan
    return state._replace(radius=np.array(min(radius, WIDEST) if radius == radius else np.nan))


def _local_query(whole: _Data, free: Array, rng: np.random.Generator, state: FinishState,
                 backend: Backend) -> tuple[Array | None, FinishState]:
    """A query in the trust region; None where too little is known, or all that it can offer are repetitions."""
    data = whole.section(free)
    if not free.any() or data.known.sum() < FIRST_LOCAL * (data.dim + 1):
        return None, state
    d, centre, axes, radius = data.dim, data.x[data.best], state.axes, float(state.radius)
    size = (d + 1) * (d + 2) + 10  # of the neighbourhood: twice as many as a quadratic function has coefficients
    away = data.x - centre
    if math.isnan(radius):
        axes = np.eye(d)
        nearest = np.partition(np.abs(away).max(axis=1), d + 1)
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
        z = 0.5 + (data.placed(x) - centre) @ inverse.T
        return z[np.abs(z - 0.5).max(axis=1) <= 0.75]

    z = 0.5 + away @ inverse.T
    near = _smallest(np.abs(z - 0.5).max(axis=1), size)
    y = np.where(data.known[near], data.y[near] - data.y[data.best], np.nan)
    failed = ~(y <= OUTLIER * np.nanmedian(y))
    y = y[~failed]
    y = y / (y.max() or 1)
    y = y / (y.std() or 1)
    near = np.concatenate([near[~failed], near[failed]])
    pending = 0.5 + (data.pending - centre) @ inverse.T
    points = np.concatenate([z[near], pending[np.abs(pending - 0.5).max(axis=1) <= 1]])
    model = _Model(points, np.append(y, np.full(failed.sum(), y.max())), len(y), state.local_particles,
                   _normal(LOCAL, d), np.zeros(d, int), True, LOCAL_JITTER, rng, backend)

    steps = np.minimum(model.length_scale, 1) * 10 ** rng.uniform(-2, 0, (SPREAD, 1)) * rng.standard_normal((SPREAD, d))
    q = inside(np.concatenate([rng.random((SPREAD, d)), np.clip(0.5 + steps, 0, 1)]))
    starts = q[np.argsort(-model.log_improvement(q), kind="stable")[:STARTS]]
    reached = np.concatenate([inside(model.climb(starts)), starts])
    reached = reached[np.argsort(-model.log_improvement(reached), kind="stable")]
    point = data.first_new(data.placed(centre + (reached - 0.5) @ region.T), max(SAME, 1e-5 * radius))
    state = state._replace(local_particles=model.particles, axes=_rounder(axes, mean_curvature(model.surrogate)))
    if point is None:
        return None, state._replace(radius=np.array(radius * SHRINK))
    moved = 2 * np.abs((point - centre) @ inverse.T).max()
    last = np.array([1, len(whole.y), data.y[data.best], moved])
    best = whole.x[whole.best]
    placed = best.copy()
    placed[free] = point
    return placed, state._replace(radius=np.array(radius), last=last, centre=best.copy())


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
