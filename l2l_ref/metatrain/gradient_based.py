"""Meta-training: truncated backpropagation through time, Andrychowicz et al. 2016, section 2; or T5 of evolution.py.

    T1  L(phi) = mean over functions of the sum over t of w_t f(theta_t)
    T2  a trajectory of ``steps`` steps is cut into windows of ``unroll``; theta and the optimizer's state are
        carried from one window to the next, gradients are not

With ``horizons`` the number of steps is drawn anew for each trajectory, log-uniform:

    T4  log T uniform from the log of the shortest horizon to that of the longest one so far, T a multiple of ``unroll``

and over the fraction ``curriculum`` of the epochs the longest one so far grows, by the same factor in each epoch.

A window in which a gradient or the meta-gradient is not finite updates nothing, and ends its trajectory.

Adam updates phi after each window: T3 of metatrain/loop.py. (T1 is their equation 3.) Where all w_t of
a window are 0, there is nothing to learn from it, and phi stays as it is.

An *epoch* is a fixed number of freshly drawn tasks, followed by a validation on tasks that stay the same. The result is
the optimizer with the best validation (early stopping). An optimizer is judged by its mean loss over the last tenth of
the steps, because with minibatches the loss at the last step alone is mostly noise, or by the sum over all steps. On a
problem of several parts, a `Mixture`, it is judged by the mean over the parts, and there no loss counts for more than
`DIVERGED`, so that a single function on which an optimizer diverges does not hide what it does on all others.

Initial weights, training tasks and validation tasks have separate streams of random numbers, and the tasks of an epoch
depend on the seed and the number of the epoch alone. Training that is resumed therefore sees the same tasks as training
that was never interrupted.
"""

from __future__ import annotations

import copy
import reprlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from .. import backends, files
from ..checks import choice, whole_number, whole_numbers
from ..executors import Pieces
from ..learned import coordinatewise
from ..learned.cells import with_backend
from ..learned.moments_optimizer import MomentsMLP
from ..learned.optimizer import CoordinatewiseLSTM, CoordinatewiseRNN, OptimizerState
from ..learned.partitioned import PartitionedLSTM
from ..learned.sharing_optimizer import SharingLSTM
from ..optimizees.rollout import begin, rollout
from ..seeds import child
from ..trees import flatten, unflatten
from . import evolution, loop

if TYPE_CHECKING:
    from ..protocols import Array, Executor, HasExecutor, Path, Problem, Seed

Learned = TypeVar("Learned", CoordinatewiseLSTM, CoordinatewiseRNN, MomentsMLP, PartitionedLSTM, SharingLSTM)
HessianProduct: TypeAlias = "Callable[[Array], Array]"  # v (B, n) -> second derivatives times v (B, n)

# The streams of random numbers of one seed.
TRAINING, VALIDATION, COORDINATES, HORIZON = 1, 2, 4, 6

LOSS_WEIGHTS = ("uniform", "linear", "final", "tail")
ESTIMATORS = ("backpropagation", "evolution")

STUCK_AFTER = 3  # epochs before training may be reported as stuck
STUCK_ABOVE = 0.97  # times the loss of an optimizer that has learned nothing

DIVERGED = 10.0  # the most that a normalised loss of a part counts in a validation; a run begins near 1


@dataclass(frozen=True, kw_only=True)
class Recipe(loop.Schedule):
    """How to meta-train a gradient-based optimizer: a `Schedule`, and what an epoch consists of.

    An epoch has ``tasks`` tasks. Each is a batch of ``functions`` functions, optimized for ``steps`` steps in windows
    of ``unroll``. Validation uses ``validation_functions`` functions and is judged by the "final" losses or by their
    "sum".

    ``coordinates``, if given, is the number of coordinates, drawn at random, from which the meta-gradient of a window
    is estimated when there are more. For large networks this costs a fraction, and the noise that it adds is small
    beside the noise of drawing a function.

    ``loss_weights`` are the w_t of T1 for t = 1..``steps``: that many numbers >= 0, or one of four names. "uniform" is
    1 throughout, as in Andrychowicz et al., "linear" grows with t from near 0, "final" counts the last loss alone, and
    "tail" spreads a quarter over all steps and gives three quarters to the last tenth, by which a validation judges.
    All have the mean 1, so that learning rate and ``clip`` mean the same.

    ``boundary_term`` also counts f at the first point of each window, as the code released by Andrychowicz et al. does.
    That point is a constant of the window, so this changes the reported loss but no gradient.

    ``horizons``, if given, are the numbers of steps of the shortest and of the longest trajectory of training, T4. The
    longest one grows over the fraction ``curriculum`` of the epochs. ``steps`` is then that of the validation alone.
    An optimizer that wants to know the number of steps is not told in the fraction ``untold`` of the trajectories.

    ``estimator`` says where meta-gradients come from: "backpropagation", or "evolution", T5 of metatrain/evolution.py.
    Evolution takes ``pairs`` pairs of runs for an update, each on functions of its own, and perturbs phi by ``sigma``.
    Without ``unroll``, a run is one window. With ``imitation``, updates are also drawn towards those of Adam, T7.

    ``logarithm``, if given, is a small number: losses are replaced by the logarithm of their sum with it, in T1 and in
    the mean over functions and parts of a validation. All problems count the same then, however low their losses get.

    ``second_derivatives`` lets the gradients that the optimizer sees depend on phi, as they really do (C6 instead of
    C5). The tasks must then have ``second_order``. The coordinates depend on each other, so all of them are needed.

    The functions of a task are cut into ``pieces``, which an executor may compute at the same time. The weights depend
    on the number of pieces, because each has a seed of its own, but not on where the pieces are computed. Of evolution,
    each pair is a piece.
    """

    tasks: int = 20
    functions: int = 128
    steps: int = 100
    unroll: int | None = 20
    coordinates: int | None = None
    validation_functions: int = 256
    judge: str = "final"
    loss_weights: str | tuple[float, ...] = "uniform"
    boundary_term: bool = False
    horizons: tuple[int, int] | None = None
    curriculum: float = 0.0
    untold: float = 0.0
    estimator: str = "backpropagation"
    pairs: int = 8
    sigma: float = 0.03
    imitation: float = 0.0
    logarithm: float | None = None
    second_derivatives: bool = False
    pieces: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        choice("judge", self.judge, loop.JUDGES)
        choice("estimator", self.estimator, ESTIMATORS)
        if self.estimator == "evolution":
            for name, off in (("coordinates", None), ("second_derivatives", False), ("boundary_term", False),
                              ("pieces", 1)):
                if getattr(self, name) != off:
                    raise ValueError(f"{name}: expected {off} for the estimator evolution, got {getattr(self, name)!r}")
        elif self.imitation:
            raise ValueError(f"imitation: expected 0 for the estimator backpropagation, got {self.imitation!r}")
        if not 0 <= self.imitation < np.inf:
            raise ValueError(f"imitation: expected a finite number >= 0, got {self.imitation!r}")
        if self.pieces > self.functions:
            raise ValueError(f"pieces: expected at most functions={self.functions}, got {self.pieces}")
        for name in ("sigma", "logarithm"):
            value = getattr(self, name)
            if not (value is None and name == "logarithm" or 0 < value < np.inf):
                raise ValueError(f"{name}: expected a finite number > 0, got {value!r}")
        if self.unroll is not None and self.steps % self.unroll:
            raise ValueError(f"unroll: expected a divisor of steps={self.steps}, got {self.unroll}")
        if self.horizons is not None:
            shortest, longest = whole_numbers("horizons", self.horizons, count=2)
            object.__setattr__(self, "horizons", (shortest, longest))
            if not (self.unroll or 1) <= shortest <= longest:
                raise ValueError(f"horizons: expected two whole numbers >= unroll={self.unroll} in ascending order, "
                                 f"got {self.horizons}")
            if not isinstance(self.loss_weights, str):
                raise ValueError(f"loss_weights: expected one of {', '.join(LOSS_WEIGHTS)} with horizons, got numbers")
        for name in ("curriculum", "untold"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a number in [0, 1], got {getattr(self, name)!r}")
        if self.curriculum and self.horizons is None:
            raise ValueError(f"curriculum: expected 0 without horizons, got {self.curriculum!r}")
        if not isinstance(self.loss_weights, str):
            object.__setattr__(self, "loss_weights", tuple(map(float, self.loss_weights)))
        weights = self.weights()
        if weights.shape != (self.steps,) or not (np.isfinite(weights).all() and weights.min() >= 0 < weights.max()):
            raise ValueError(f"loss_weights: expected {self.steps} finite numbers >= 0, not all of them 0, "
                             f"got {reprlib.repr(self.loss_weights)}")
        if self.second_derivatives and self.coordinates is not None:
            raise ValueError(f"coordinates: expected None with second_derivatives, got {self.coordinates}")

    def weights(self, steps: int | None = None) -> Array:
        """w_t of T1 for t = 1..T, (T,) float64, of a trajectory of ``steps`` steps; None is that of the recipe."""
        if not isinstance(self.loss_weights, str):
            return np.array(self.loss_weights)
        T = self.steps if steps is None else steps
        t = np.arange(1, T + 1)
        last = t > T - max(1, T // 10)
        weights = {"uniform": np.ones(T), "linear": 2.0 * t / (T + 1), "final": np.where(t == T, float(T), 0.0),
                   "tail": 0.25 + 0.75 * last / last.mean()}
        chosen: Array = weights[choice("loss_weights", self.loss_weights, LOSS_WEIGHTS)]
        return chosen

    def longest(self, epoch: int) -> int:
        """The longest horizon in an epoch, counted from 0."""
        if self.horizons is None:
            return self.steps
        shortest, longest = self.horizons
        return round(shortest * (longest / shortest) ** loop.grown(self, epoch))

    def horizon(self, epoch: int, rng: np.random.Generator) -> int:
        """T4: the number of steps of a trajectory."""
        if self.horizons is None:
            return self.steps
        drawn = np.exp(rng.uniform(np.log(self.horizons[0]), np.log(self.longest(epoch))))
        unroll = self.unroll or 1
        return unroll * max(1, round(drawn / unroll))                # T4

    def told(self, steps: int, rng: np.random.Generator) -> int | None:
        """What the optimizer is told of the number of steps of a trajectory."""
        return None if self.untold and rng.random() < self.untold else steps


def run_window(
    model: Learned, task: Any, theta: Array, state: OptimizerState, evaluation: tuple[Any, ...], unroll: int,
) -> tuple[Array, OptimizerState, tuple[Any, ...], Array, Array, Array, list[HessianProduct]]:
    """T2: ``unroll`` steps from theta.

    Parameters
    ----------
    model : CoordinatewiseLSTM, CoordinatewiseRNN, PartitionedLSTM or SharingLSTM
    task : Task
    theta : ndarray, shape (B, n)
    state : OptimizerState
        It is not changed.
    evaluation : tuple
        The result of ``task.loss_and_gradient`` or ``task.second_order`` at theta, which the previous window has
        already computed. The window calls the same of the two.
    unroll : int

    Returns
    -------
    theta, state, evaluation
        At the end of the window.
    losses : ndarray, shape (unroll, B)
        f at theta_1 .. theta_unroll.
    gradients, loss_gradients : ndarray, shape (unroll, B n)
        The gradients that the optimizer saw, at theta_0 .. theta_unroll-1, and those of f one step later, of which T1
        consists when they have been multiplied by w_t.
    hessian_products : list of callable
        At theta_0 .. theta_unroll-1, from ``task.second_order``; otherwise empty.
    """
    evaluate = task.loss_and_gradient if len(evaluation) == 2 else task.second_order
    losses, gradients, loss_gradients, hessian_products = [], [], [], list[HessianProduct]()
    for t in range(unroll):
        hessian_products += evaluation[2:]
        gradients.append(evaluation[1].ravel())
        update, state = model.update(evaluation[1], state, in_place=t > 0)  # the caller keeps the first state
        theta = theta + update
        evaluation = evaluate(theta)
        losses.append(evaluation[0])
        loss_gradients.append(evaluation[1].ravel())
    return theta, state, evaluation, np.stack(losses), np.stack(gradients), np.stack(loss_gradients), hessian_products


def window_loss(losses: Array, first: Array, boundary_term: bool = False) -> float:
    """T1: the loss of a window, from w_t f at its later points (unroll, B) and f at its first point (B,)."""
    return float(losses.sum(axis=0).mean() + (first.mean() if boundary_term else 0.0))


def window_gradient(
    model: Learned, gradients: Array, loss_gradients: Array, state: OptimizerState, functions: int,
    chosen: Array | None = None,
) -> Array:
    """dL/dphi of a window (T1, C5), a flat float64 vector.

    ``loss_gradients`` are w_t times the gradients of f, (unroll, B n). ``state`` is the state before the window.

    With ``chosen``, an array of m of the n coordinates drawn at random, the gradient is estimated from these alone. It
    is a sum over coordinates, so n / m times the sum over m random ones has the right mean.
    """
    d_updates = coordinatewise.suffix_sums(loss_gradients) / loss_gradients.dtype.type(functions)
    return flatten(model.meta_gradient(gradients, d_updates, state, chosen)).astype(np.float64)


def second_order_window_gradient(
    model: CoordinatewiseLSTM, gradients: Array, loss_gradients: Array, hessian_products: list[HessianProduct],
    state: OptimizerState, functions: int,
) -> Array:
    """`window_gradient` with second derivatives (T1, C6)."""

    def flat(product: HessianProduct) -> HessianProduct:
        return lambda v: product(v.reshape(functions, -1)).ravel()

    dtype = gradients.dtype
    params = model.params_as(dtype)
    cell = with_backend(coordinatewise.cell_of(params), model.backend, gradients.shape[1], model.threads)
    d_params = coordinatewise.second_order_meta_gradient(
        gradients, loss_gradients / dtype.type(functions), list(map(flat, hessian_products)), state.layers,
        params, model.preprocess, model.output_scale, cell
    )
    return flatten(d_params).astype(np.float64)


def meta_train(
    model: Learned, problem: Problem, steps: int = 100, unroll: int | None = 20, seed: int = 0, *,
    checkpoint: Path | None = None, resume: bool = False, overwrite: bool = False, report: loop.Report | None = None,
    executor: Executor | HasExecutor | None = None, piece_seconds: float | None = None, **recipe: Any,
) -> tuple[Learned, list[dict[str, Any]]]:
    """Meta-train an optimizer on the functions of a problem.

    Parameters
    ----------
    model : CoordinatewiseLSTM, CoordinatewiseRNN, PartitionedLSTM or SharingLSTM
        Gives the architecture, the initial weights, the backend and the threads. It is not changed.
    problem : Problem
        One of `l2l_ref.optimizees`, a `Mixture` of several, or any object with ``sample(functions, seed)``. If it has
        ``on(split)``, training draws from "train" and validation from "validation". Its ``config`` and ``chance`` are
        used if it has them.
    steps, unroll : int
        The number of steps of a trajectory, and of a window of backpropagation. With ``horizons`` in the recipe, each
        trajectory of training has its own number, and ``steps`` is that of the validation.
    seed : int
        The same seed gives the same weights, whatever the number of threads.
    checkpoint : path, optional
        Written after each epoch, completely or not at all. A file that is there already is refused, unless ``resume``
        or ``overwrite`` says what to do with it. It belongs to one run at a time: meanwhile, another one is refused.
    resume : bool
        Continue from the checkpoint, or start afresh if there is none yet. The final weights are those of training that
        was never interrupted, bit for bit.
    overwrite : bool
        Start afresh, and replace the checkpoint after the first epoch.
    report : callable, optional
        Called as report(progress, recipe) after each epoch. If it has ``waiting``, that is called with texts on what is
        waited for and what went wrong.
    executor : Executor or HasExecutor, optional
        Where the ``pieces`` of a task, or the pairs of the estimator "evolution", are computed: anything with
        ``submit``, also dask's ``Client``. The weights do not depend on it. Model, problem and tasks are pickled.
    piece_seconds : float, optional
        If the executor gives no answer for so long, the pieces that are waited for are computed again.
    **recipe
        The other fields of ``Recipe``.

    Returns
    -------
    model : CoordinatewiseLSTM, CoordinatewiseRNN, PartitionedLSTM or SharingLSTM
        A new one, with the weights of the best validation.
    log : list of dict
        One entry per epoch.

    Raises
    ------
    ValueError
        For a bad recipe; for a checkpoint that is broken, or belongs to another run: another model, problem, recipe,
        seed or backend; and for one that is there and neither to be resumed nor overwritten, or that another run is
        writing. For an executor with ``second_derivatives``, whose functions cannot be sent.
    OSError
        When the executor loses pieces again and again. The checkpoint then has the epochs that were finished.
    """
    settings, seed = Recipe(steps=steps, unroll=unroll, **recipe), whole_number("seed", seed, least=0)
    if settings.second_derivatives and isinstance(model, (MomentsMLP, PartitionedLSTM, SharingLSTM)):
        raise ValueError(f"second_derivatives: expected False for a {type(model).__name__}, got True")
    if executor is not None and settings.second_derivatives:
        raise ValueError("executor: expected None with second_derivatives, whose functions cannot be sent to workers, "
                         f"got {type(executor).__name__}")
    train_on = problem.on("train") if hasattr(problem, "on") else problem
    validate_on = problem.on("validation") if hasattr(problem, "on") else problem
    level, first = getattr(problem, "chance", None), tuple[Any, ...]()
    if level is None or getattr(problem, "config", None) is None:
        validation = validate_on.sample(settings.validation_functions, child(seed, VALIDATION))
        first = validation.loss_and_gradient(validation.theta0)
        level = float(np.mean(first[0])) if level is None else level
    identity = {"model": model.config, "problem": loop.problem_identity(problem, *first), "recipe": asdict(settings),
                "seed": seed, "backend": backends.identity(model.backend),
                "initial": files.digest({"phi": flatten(model.params)})}

    pieces = Pieces((model, train_on, settings), executor, piece_seconds, getattr(report, "waiting", None))

    def train_epoch(progress: loop.Progress) -> dict[str, Any]:
        with np.errstate(over="ignore", invalid="ignore"):
            entry = loop.train_updates(settings, progress, epoch_gradients(pieces, settings, seed, progress))
        return entry if settings.horizons is None else entry | {"steps": settings.longest(progress.epoch)}

    def validate(phi: Array) -> dict[str, float]:
        with np.errstate(over="ignore", invalid="ignore"):
            curve = mean_curve(with_phi(model, phi), validate_on, settings.validation_functions, settings.steps,
                               child(seed, VALIDATION), logarithm=settings.logarithm)
            return loop.validation(curve[-max(1, settings.steps // 10) :].mean(), curve[1:].sum(), settings.judge)

    def warn(progress: loop.Progress) -> str | None:
        if progress.epoch >= STUCK_AFTER and progress.best["validation_final"] > STUCK_ABOVE * level:
            return (f"stuck at the level of having learned nothing ({level:.4g}) after {progress.epoch} epochs: try "
                    "another seed or a smaller learning rate")
        return None

    progress = loop.run(settings, identity, flatten(model.params).astype(np.float64), train_epoch, validate, warn=warn,
                        checkpoint=checkpoint, resume=resume, overwrite=overwrite, report=report)
    return with_phi(model, progress.best_phi), progress.log


def mean_curve(optimizer: Any, problem: Any, functions: int, steps: int, seed: Seed, dtype: Any = None,
               logarithm: float | None = None) -> Array:
    """The mean loss of ``functions`` functions after 0..T steps, (T + 1,).

    The mean is taken in ``dtype``, by default that of the losses. With ``logarithm`` it is a geometric mean, of losses
    to which this number is added.

    Of a problem that has ``sample_each`` it is the mean over its parts, and no loss counts for more than `DIVERGED`.
    """
    def mean(curves: Array, axis: int) -> Array:
        if logarithm is None:
            return curves.mean(axis=axis, dtype=dtype)
        return np.exp(np.log(np.maximum(curves, 0) + logarithm).mean(axis=axis, dtype=dtype))

    if not hasattr(problem, "sample_each"):
        return mean(rollout(optimizer, problem.sample(functions, seed), steps), 1)
    return mean(np.stack([mean(np.fmin(rollout(optimizer, task, steps), DIVERGED), 1)  # fmin drops nan
                          for task in problem.sample_each(functions, seed)]), 0)


def _choose(wanted: int | None, n: int, rng: np.random.Generator) -> Array | None:
    """``wanted`` of n coordinates in ascending order, or None for all of them."""
    if wanted is None or wanted >= n:
        return None
    return np.sort(rng.choice(n, wanted, replace=False))


def with_phi(model: Learned, phi: Array) -> Learned:
    """The same optimizer with other weights, in float32, as they will be saved."""
    with np.errstate(over="ignore"):
        params = unflatten(phi.astype(np.float32), model.params)
    return model.with_params(params)


def epoch_gradients(
    pieces: Pieces, recipe: Recipe, seed: int, progress: loop.Progress,
) -> Iterator[tuple[float, Array]]:
    """The loss and the meta-gradient of each window of an epoch, each at the ``progress.phi`` of its time.

    ``pieces`` has the constants (model, problem, recipe).
    """
    evolved = recipe.estimator == "evolution"
    function: Any = evolution.pair if evolved else window_piece
    rngs: list[Any] = [None] * (recipe.pairs if evolved else recipe.pieces)
    if recipe.coordinates is not None:
        own_seeds = loop.cut(recipe.functions, recipe.pieces, child(seed, COORDINATES, progress.epoch))
        rngs = [np.random.default_rng(own) for _, own in own_seeds]
    for k in range(recipe.tasks):
        rng = np.random.default_rng(child(seed, HORIZON, progress.epoch, k))
        steps = recipe.horizon(progress.epoch, rng)
        told = [recipe.told(steps, rng) for _ in rngs]
        of_task = child(seed, TRAINING, progress.epoch, k)
        if evolved:
            parts = [(recipe.functions, child(of_task, j)) for j in range(recipe.pairs)]
        else:
            parts = loop.cut(recipe.functions, recipe.pieces, of_task)
        carried = None
        for first in range(0, steps, recipe.unroll or steps):
            work = [(*part, steps, known, first, own) for part, known, own in zip(parts, told, rngs)]
            answers, carried = pieces(function, progress.phi, work, carried)
            rngs = [own for _, _, own in answers]
            if answers[0][1] is None:  # all w_t are 0
                continue
            loss, d_phi = loop.mean([answer[:2] for answer in answers], [functions for functions, _ in parts])
            yield loss, d_phi
            if not np.isfinite(d_phi @ d_phi):  # this trajectory has left float32's range: learn nothing from it
                break


def window_piece(
    constants: tuple[Learned, Problem, Recipe], phi: Array, piece: tuple[Any, ...], carried: evolution.Run | None,
) -> tuple[tuple[float, Array | None, Any], evolution.Run | None]:
    """The window of a piece of a task that begins after step ``first``: its loss, its meta-gradient, and the run.

    Parameters
    ----------
    constants : tuple
        The model, the problem and the recipe.
    phi : ndarray of float64, shape (n,)
    piece : tuple
        (functions, seed, steps, told, first, rng): the number of functions, their seed, the number of steps of the
        trajectory, what the optimizer is told of it, the steps before this window, and the Generator that draws
        coordinates, or None.
    carried : Run, optional
        The run where the last window has left it; None for the first window.

    Returns
    -------
    answer : tuple
        The loss, d_phi and the Generator for the next window. d_phi is None where all w_t are 0.
    carried : Run or None
        None at the end of the trajectory.
    """
    model, problem, recipe = constants
    functions, seed, steps, told, first, rng = piece
    with np.errstate(over="ignore", invalid="ignore"):
        current, unroll = with_phi(model, phi), recipe.unroll or steps
        if carried is None:
            task: Any = problem.sample(functions, seed)
            evaluate = task.second_order if recipe.second_derivatives else task.loss_and_gradient
            carried = evolution.Run(task, task.theta0, begin(model, task.theta0, task, told), evaluate(task.theta0))
        task, theta, before, evaluation, _ = carried
        f_first = evaluation[0]
        theta, state, evaluation, losses, gradients, loss_gradients, products = run_window(
            current, task, theta, before, evaluation, unroll
        )
        run = None if first + unroll >= steps else evolution.Run(task, theta, state, evaluation)
        w = recipe.weights(steps)[first : first + unroll, None]
        if not w.any():
            return (0.0, None, rng), run
        w = w.astype(losses.dtype)
        if recipe.logarithm is not None:
            by_f = 1 / (evolution.not_negative(losses) + losses.dtype.type(recipe.logarithm))
            loss_gradients = np.repeat(by_f, loss_gradients.shape[1] // losses.shape[1], axis=1) * loss_gradients
            losses, f_first = -np.log(by_f), np.log(f_first + recipe.logarithm)
        losses, loss_gradients = w * losses, w * loss_gradients  # T1
        if recipe.second_derivatives:
            d_phi = second_order_window_gradient(current, gradients, loss_gradients, products, before, functions)
        else:
            rng = copy.deepcopy(rng)  # a piece may be computed twice
            chosen = _choose(recipe.coordinates, gradients.shape[1], rng)
            d_phi = window_gradient(current, gradients, loss_gradients, before, functions, chosen)
        if state.skipped:  # the optimizer held a coordinate, of which the meta-gradient knows nothing
            d_phi = np.full_like(d_phi, np.nan)
        return (window_loss(losses, f_first, recipe.boundary_term), d_phi, rng), run
