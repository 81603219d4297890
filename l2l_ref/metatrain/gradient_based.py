"""Meta-training by truncated backpropagation through time: section 2 of Andrychowicz et al. 2016.

    T1  L(phi) = mean over functions of the sum over t of w_t f(theta_t), w_t = 1
    T2  a run of ``steps`` steps is cut into windows of ``unroll``; theta and the optimizer's state are
        carried from one window to the next, gradients are not

After each window phi moves: T3 of metatrain/loop.py.

An *epoch* is a fixed number of tasks, freshly drawn, followed by a validation on tasks that stay the same.
The optimizer with the best validation is what comes out (early stopping). It is judged by the mean loss over the
last tenth of the steps, since where minibatches are drawn that of the last step alone is mostly noise, or by the
sum over all steps.

Seeds: weights, training tasks and validation tasks have streams of their own, and the tasks of an epoch depend
on the seed and the epoch's number alone. So a run that is resumed sees what it would have seen.
"""

from dataclasses import asdict, dataclass

import numpy as np

from .. import backends, files
from ..checks import whole_number
from ..learned import coordinatewise
from ..learned.cells import LSTM, with_backend
from ..learned.optimizer import CoordinatewiseLSTM
from ..optimizees.rollout import rollout
from ..seeds import child
from ..trees import flatten, unflatten
from . import loop

# The streams of random numbers of one run.
TRAINING, VALIDATION, COORDINATES = 1, 2, 4

STUCK_AFTER = 3  # epochs before a run may be called stuck
STUCK_ABOVE = 0.97  # of the level of having learned nothing


@dataclass(frozen=True, kw_only=True)
class Recipe(loop.Schedule):
    """How to meta-train: a `Schedule`, and what an epoch is made of.

    An epoch has ``tasks`` tasks, each a batch of ``functions`` functions, run for ``steps`` steps in windows
    of ``unroll``. Validation is on ``validation_functions`` functions and judged by the "final" losses or by their
    "sum".

    With ``coordinates``, the meta-gradient of a window is estimated from so many coordinates, drawn at random,
    where there are more: on large networks that costs a fraction, and what it adds in noise is little beside
    what the draw of the function adds.

    ``boundary_term`` counts f at the first point of each window too, as the released code does. The point is a
    constant of the window, so this changes the loss that is reported and no gradient.

    With ``second_derivatives`` the gradients that the optimizer sees depend on phi, as they do (C6 in place of C5);
    the tasks must have ``second_order``, and the coordinates depend on each other, so that all are needed.
    """

    tasks: int = 20
    functions: int = 128
    steps: int = 100
    unroll: int = 20
    coordinates: int | None = None
    validation_functions: int = 256
    judge: str = "final"
    boundary_term: bool = False
    second_derivatives: bool = False

    def __post_init__(self):
        super().__post_init__()
        if self.judge not in ("final", "sum"):
            raise ValueError(f"judge: expected 'final' or 'sum', got {self.judge!r}")
        if self.steps % self.unroll:
            raise ValueError(f"unroll: expected a divisor of steps={self.steps}, got {self.unroll}")
        if self.second_derivatives and self.coordinates is not None:
            raise ValueError(f"coordinates: expected None with second_derivatives, got {self.coordinates}")


def run_window(model, task, theta, state, evaluation, unroll):
    """T2: ``unroll`` steps from theta.

    ``evaluation`` is what ``task.loss_and_gradient`` or ``task.second_order`` gave at theta, which the window before
    has already computed; the window goes on with the same of the two.

    Returns
    -------
    theta, state, evaluation
        As they are after the window.
    losses : (unroll, B) array
        f at theta_1 .. theta_unroll.
    gradients, loss_gradients : (unroll, B n) arrays
        What the optimizer saw, at theta_0 .. theta_unroll-1, and what the loss sums over, one step later.
    hessian_products : list
        At theta_0 .. theta_unroll-1, of ``task.second_order``; else empty.
    """
    evaluate = task.loss_and_gradient if len(evaluation) == 2 else task.second_order
    losses, gradients, loss_gradients, hessian_products = [], [], [], []
    for t in range(unroll):
        hessian_products += evaluation[2:]
        gradients.append(evaluation[1].ravel())
        update, state = model.update(evaluation[1], state, in_place=t > 0)  # the first state is the caller's
        theta = theta + update
        evaluation = evaluate(theta)
        losses.append(evaluation[0])
        loss_gradients.append(evaluation[1].ravel())
    return theta, state, evaluation, np.stack(losses), np.stack(gradients), np.stack(loss_gradients), hessian_products


def window_loss(losses, first, boundary_term=False):
    """T1: the loss of a window, from f at its later points (unroll, B) and at its first one (B,)."""
    return float(losses.sum(axis=0).mean() + (first.mean() if boundary_term else 0.0))


def window_gradient(model, gradients, loss_gradients, state, functions, chosen=None):
    """dL/dphi of a window (T1, C5), a flat float64 vector. ``state`` is the one before the window.

    With ``chosen``, an array of m of the n coordinates drawn at random, an estimate from these alone: the
    gradient is a sum over coordinates, so n / m times a part of it is right in the mean.
    """
    d_updates = coordinatewise.suffix_sums(loss_gradients) / loss_gradients.dtype.type(functions)
    layers = state.layers
    if chosen is not None:
        weight = d_updates.dtype.type(d_updates.shape[1] / len(chosen))
        gradients, d_updates = gradients[:, chosen], weight * d_updates[:, chosen]
        layers = tuple(type(layer)(*(a.T[:, chosen].T for a in layer)) for layer in layers)
    params = model.params_as(gradients.dtype)
    twin = backends.choose("coordinatewise", model.backend, model.work(gradients.shape[1]))
    d_params = twin.meta_gradient(gradients, d_updates, layers, params, model.preprocess,
                                  model.output_scale, model.threads)
    return flatten(d_params).astype(np.float64)


def second_order_window_gradient(model, gradients, loss_gradients, hessian_products, state, functions):
    """`window_gradient` with second derivatives (T1, C6)."""

    def flat(product):
        return lambda v: product(v.reshape(functions, -1)).ravel()

    dtype = gradients.dtype
    cell = with_backend(LSTM, model.backend, gradients.shape[1], model.threads)
    d_params = coordinatewise.second_order_meta_gradient(
        gradients, loss_gradients / dtype.type(functions), list(map(flat, hessian_products)), state.layers,
        model.params_as(dtype), model.preprocess, model.output_scale, cell
    )
    return flatten(d_params).astype(np.float64)


def meta_train(model, problem, steps=100, unroll=20, seed=0, *, checkpoint=None, resume=False, report=None, **recipe):
    """Meta-train an optimizer on the functions of a problem.

    Parameters
    ----------
    model : CoordinatewiseLSTM
        Gives the architecture and the initial weights; is not changed.
    problem : a problem of ``optimizees``, or any object with ``sample(functions, seed)``
        Where it has ``on(split)``, training draws from "train" and validation from "validation". ``config``
        and ``chance`` (see ``optimizees``) are used where they are there.
    steps, unroll : int
        The horizon, and the length of a window of backpropagation.
    seed : int
        Same seed, same weights, whatever the number of threads.
    checkpoint : path, optional
        Written after each epoch, whole or not at all.
    resume : bool
        Go on from the checkpoint; start afresh where there is none yet. The final weights are those of a
        run that was never interrupted, bit for bit.
    report : callable, optional
        Called as report(progress, recipe) after each epoch.
    **recipe
        The other fields of ``Recipe``.

    Returns
    -------
    model, log
        A new CoordinatewiseLSTM with the best weights seen, and a list with a dict for each epoch.

    Raises
    ------
    ValueError
        For a bad recipe, or a checkpoint that is broken or belongs to another run.
    """
    recipe, seed = Recipe(steps=steps, unroll=unroll, **recipe), whole_number("seed", seed, least=0)
    train_on = problem.on("train") if hasattr(problem, "on") else problem
    validate_on = problem.on("validation") if hasattr(problem, "on") else problem
    run = {"model": model.config, "problem": getattr(problem, "config", type(problem).__name__),
           "recipe": asdict(recipe), "seed": seed,
           "backend": backends.name_of(backends.choose("coordinatewise", model.backend, np.inf)),
           "initial": files.digest({"phi": flatten(model.params)})}
    level = getattr(problem, "chance", None)
    if level is None:
        validation = validate_on.sample(recipe.validation_functions, child(seed, VALIDATION))
        level = float(np.mean(validation.loss_and_gradient(validation.theta0)[0]))

    def train_epoch(progress):
        return _train_epoch(model, train_on, recipe, seed, progress)

    def validate(phi):
        validation = validate_on.sample(recipe.validation_functions, child(seed, VALIDATION))
        with np.errstate(over="ignore", invalid="ignore"):
            curve = rollout(_with_phi(model, phi), validation, recipe.steps).mean(axis=1)
            last = curve[-max(1, recipe.steps // 10) :].mean()
            final, total = loop.finite(last), loop.finite(curve[1:].sum())
        return {"validation_final": final, "validation_sum": total,
                "judged": final if recipe.judge == "final" else total}

    def warn(progress):
        if progress.epoch >= STUCK_AFTER and progress.best["validation_final"] > STUCK_ABOVE * level:
            return (f"stuck at the level of having learned nothing ({level:.4g}) after {progress.epoch} epochs: try "
                    "another seed or a smaller learning rate")

    progress = loop.run(recipe, run, flatten(model.params).astype(np.float64), train_epoch, validate, warn=warn,
                        checkpoint=checkpoint, resume=resume, report=report)
    return _with_phi(model, progress.best_phi), progress.log


def _choose(wanted, n, rng):
    """``wanted`` of n coordinates in ascending order, or None for all of them."""
    if wanted is None or wanted >= n:
        return None
    return np.sort(rng.choice(n, wanted, replace=False))


def _with_phi(model, phi):
    """The same optimizer with other weights, in float32 as they will be saved."""
    with np.errstate(over="ignore"):
        params = unflatten(phi.astype(np.float32), model.params)
    return CoordinatewiseLSTM(model.hidden, model.preprocess, model.output_scale, params=params,
                              backend=model.backend, threads=model.threads)


def _train_epoch(model, problem, recipe, seed, progress):
    """One epoch: moves ``progress``, returns an entry for the log."""
    rng = np.random.default_rng(child(seed, COORDINATES, progress.epoch))
    losses, norms, skipped = [], [], 0
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(recipe.tasks):
            task = problem.sample(recipe.functions, child(seed, TRAINING, progress.epoch, k))
            evaluate = task.second_order if recipe.second_derivatives else task.loss_and_gradient
            theta, evaluation = task.theta0, evaluate(task.theta0)
            state = model.init(theta)
            for _ in range(recipe.steps // recipe.unroll):
                current = _with_phi(model, progress.phi)
                before, first = state, evaluation[0]
                theta, state, evaluation, window, gradients, loss_gradients, products = run_window(
                    current, task, theta, state, evaluation, recipe.unroll
                )
                if recipe.second_derivatives:
                    d_phi = second_order_window_gradient(current, gradients, loss_gradients, products, before,
                                                         recipe.functions)
                else:
                    chosen = _choose(recipe.coordinates, gradients.shape[1], rng)
                    d_phi = window_gradient(current, gradients, loss_gradients, before, recipe.functions, chosen)
                norm = loop.descend(recipe, progress, d_phi)
                if norm is None:  # this trajectory has left float32's range: learn nothing from it
                    skipped += 1
                    break
                losses.append(window_loss(window, first, recipe.boundary_term))
                norms.append(norm)
    return {"learning_rate": loop.rate(recipe, progress), "loss": float(np.mean(losses)) if losses else None,
            "gradient_norm": float(np.median(norms)) if norms else None, "skipped": skipped}
