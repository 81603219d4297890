"""Several problems as one: what an optimizer is trained on that is to train networks which it has not seen.

A task of a mixture has its functions from one of the problems, which the seed draws. So the functions of a task have
the same parameters, and one run of meta-training after the other is on another problem.

    Q8  f'(theta) = f(theta) / c         c the mean of f at theta0 over functions of the same problem
    Q9  f'(theta') = f(s theta'),  theta0' = r theta0 / s        one s and one r for each array of a function

Q8 gives every problem the same weight in the meta-gradient: whatever the unit of its loss, a run with r = 1 begins near
1. c is measured once, when the mixture is made, on `SCALE_FUNCTIONS` functions of a fixed seed. It belongs to the
problem, not to the function, so a function that happens to start near its minimum does not weigh more than others.

Q9 is random rescaling of half of the functions. With r = 1 they stay the same, but the optimizer sees them in other
units, array by array, so it cannot learn which size of update suits which problem. Their gradient is s times that of f.
Other starts than those that a problem is made for have r other than 1. Inputs that are multiplied by s are the same as
a first array in other units that starts as if it were not: r = s.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from ..seeds import child, generators

if TYPE_CHECKING:
    from ..protocols import Array, Problem, Seed

SCALE_FUNCTIONS = 32
CHOICE, FUNCTIONS, RESCALING, SCALE = 0, 1, 2, 3  # the streams of random numbers of one seed


class Mixture:
    """A distribution over problems of different sizes and kinds.

    Parameters
    ----------
    problems : sequence of Problem
        Those of `l2l_ref.optimizees`, or any objects with ``sample(functions, seed)``.
    weights : sequence of float, optional
        How often each problem is drawn, in proportion; by default all equally often.
    rescale : float or None
        The largest factor s of Q9, at least 1: log s is uniform between -log and +log of it. The problems then need
        ``shapes``. None, or 1, does not rescale.
    starts : float or None
        The largest r of Q9, at least 1, of an eighth of the functions, the same in all arrays. None leaves r at 1.
    inputs : float or None
        The largest s = r of Q9 of the first array, at least 1, of another eighth of the functions.

    Attributes
    ----------
    scales : tuple of float
        c of Q8 of each problem.

    Raises
    ------
    TypeError
        For a problem without ``sample``.
    ValueError
        For no problem, for weights that are not as many finite numbers >= 0 as there are problems, or all 0, for a
        ``rescale``, ``starts`` or ``inputs`` out of range, and for a problem whose loss at the start is not a finite
        number above 0.

    Examples
    --------
    >>> mixture = Mixture([Quadratic(10), MLP("digits", (20,), "relu", start="he")], rescale=3.0)
    >>> model, log = meta_train(CoordinatewiseLSTM(preprocess=10.0), mixture, functions=1)
    """

    chance = 1.0  # by Q8, the loss of an optimizer that stays where it is

    def __init__(self, problems: Sequence[Problem], weights: Sequence[float] | None = None,
                 rescale: float | None = None, starts: float | None = None, inputs: float | None = None) -> None:
        self.problems = tuple(problems)
        for k, problem in enumerate(self.problems):
            if not callable(getattr(problem, "sample", None)):
                raise TypeError(f"problems[{k}]: expected an object with sample(functions, seed), "
                                f"got {type(problem).__name__}")
        if not self.problems:
            raise ValueError("problems: expected at least one, got none")
        count = len(self.problems)
        shares = np.ones(count) if weights is None else np.asarray(weights, float)
        if shares.shape != (count,) or not (np.isfinite(shares).all() and shares.min() >= 0 < shares.max()):
            raise ValueError(f"weights: expected {count} finite numbers >= 0, not all of them 0, "
                             f"got {weights!r}")
        for name, factor in (("rescale", rescale), ("starts", starts), ("inputs", inputs)):
            if factor is not None and not 1 <= factor < np.inf:
                raise ValueError(f"{name}: expected None or a finite number >= 1, got {factor!r}")
        self.weights = tuple(float(share) for share in shares / shares.sum())
        self.rescale, self.starts, self.inputs = (
            None if factor is None else float(factor) for factor in (rescale, starts, inputs))
        self.scales = tuple(_scale(k, problem) for k, problem in enumerate(self.problems))

    @property
    def config(self) -> dict[str, Any] | None:
        """The settings, in JSON's types; None when a problem has no ``config``."""
        configs = [getattr(problem, "config", None) for problem in self.problems]
        if None in configs:
            return None
        return {"problem": "mixture", "problems": configs, "weights": list(self.weights), "rescale": self.rescale,
                "scales": list(self.scales),
                **{name: getattr(self, name) for name in ("starts", "inputs") if getattr(self, name) is not None}}

    def on(self, split: str) -> Mixture:
        """The same mixture on other data, with the same scales. Problems without ``on`` stay as they are."""
        other = copy.copy(self)
        other.problems = tuple(p.on(split) if hasattr(p, "on") else p for p in self.problems)
        return other

    def sample(self, functions: int, seed: Seed, dtype: DTypeLike = np.float32) -> MixtureTask:
        """Draw a task of ``functions`` functions of one problem. ``seed`` is an int or a SeedSequence."""
        k = int(np.random.default_rng(child(seed, CHOICE)).choice(len(self.problems), p=self.weights))
        return self._task(k, functions, seed, dtype)

    def sample_each(self, functions: int, seed: Seed, dtype: DTypeLike = np.float32) -> list[MixtureTask]:
        """A task of each problem, with ``functions`` functions in all, and at least one each.

        The functions of a problem depend on the seed and on its place in the mixture.
        """
        each = max(1, functions // len(self.problems))
        return [self._task(k, each, child(seed, k), dtype) for k in range(len(self.problems))]

    def _task(self, k: int, functions: int, seed: Seed, dtype: DTypeLike) -> MixtureTask:
        task = _sample(self.problems[k], functions, child(seed, FUNCTIONS), dtype)
        largest = self.rescale, self.starts, self.inputs
        factors, starts = (None, None) if largest == (None,) * 3 else _factors(task, largest, child(seed, RESCALING))
        return MixtureTask(task, self.scales[k], factors, starts)


class MixtureTask:
    """A task of one of the problems, with Q8 and, where ``factors`` s and ``starts`` r, (B, n), are given, Q9.

    ``problem_task`` is the problem's own. ``shapes`` are None where it has none.
    """

    def __init__(self, task: Any, scale: float, factors: Array | None, starts: Array | None = None) -> None:
        self.problem_task, self.shapes, self._factors = task, getattr(task, "shapes", None), factors
        self._scale = task.theta0.dtype.type(scale)
        self.theta0 = task.theta0 if factors is None else starts * task.theta0 / factors  # Q9

    def loss_and_gradient(self, theta: Array) -> tuple[Array, Array]:
        """theta (B, n) -> losses (B,), gradients (B, n)."""
        losses, gradients = self.problem_task.loss_and_gradient(self._times_factors(theta))
        return losses / self._scale, self._times_factors(gradients) / self._scale  # Q8, Q9

    def second_order(self, theta: Array) -> tuple[Array, Array, Callable[[Array], Array]]:
        """`loss_and_gradient`, and the product with the second derivatives, where the problem has it."""
        losses, gradients, product = self.problem_task.second_order(self._times_factors(theta))
        return (losses / self._scale, self._times_factors(gradients) / self._scale,
                lambda v: self._times_factors(product(self._times_factors(v))) / self._scale)

    def _times_factors(self, values: Array) -> Array:
        return values if self._factors is None else values * self._factors


def _sample(problem: Any, functions: int, seed: Seed, dtype: DTypeLike) -> Any:
    """A task; a user's problem need not know of dtypes."""
    return problem.sample(functions, seed) if dtype is np.float32 else problem.sample(functions, seed, dtype)


def _scale(k: int, problem: Problem) -> float:
    """c of Q8."""
    task = problem.sample(SCALE_FUNCTIONS, child(0, SCALE))
    scale = float(np.mean(task.loss_and_gradient(task.theta0)[0], dtype=np.float64))
    if not 0 < scale < np.inf:
        raise ValueError(f"problems[{k}]: expected a mean loss at the start that is finite and above 0, got {scale:g}")
    return scale


def _factors(task: Any, largest: tuple[float | None, ...], seed: Seed) -> tuple[Array, Array]:
    """s and r of Q9, (B, n), of the largest factors ``rescale``, ``starts`` and ``inputs``."""
    shapes = getattr(task, "shapes", None)
    if shapes is None:
        raise ValueError(f"rescale, starts, inputs: expected problems whose tasks have shapes, "
                         f"got {type(task).__name__}")
    sizes = [math.prod(shape) for shape in shapes.values()]
    rescale, starts, inputs = (math.log(factor or 1) for factor in largest)
    log_s, log_r = [], []
    for rng in generators(seed, range(len(task.theta0))):
        s = rng.uniform(-rescale, rescale, len(sizes)) * rng.integers(2)
        r, kind = np.zeros(len(sizes)), rng.integers(8)
        if kind == 0:
            r += rng.uniform(-starts, starts)
        elif kind == 1:
            units = rng.uniform(-inputs, inputs)
            s[0] += units
            r[0] += units
        log_s.append(s)
        log_r.append(r)
    s, r = (np.repeat(np.exp(logs), sizes, axis=1).astype(task.theta0.dtype) for logs in (log_s, log_r))
    return s, r
