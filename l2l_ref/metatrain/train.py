"""Meta-training by truncated backpropagation through time: section 2 of Andrychowicz et al. 2016.

    T1  L(phi) = mean over functions of the sum over t of w_t f(theta_t), w_t = 1
    T2  a run of ``steps`` steps is cut into windows of ``unroll``; theta and the optimizer's state are
        carried from one window to the next, gradients are not
    T3  after each window phi moves by Adam on the clipped meta-gradient

An *epoch* is a fixed number of tasks, freshly drawn, followed by a validation on tasks that stay the same.
The optimizer with the best validation is what comes out (early stopping). It is judged by the mean loss over the
last tenth of the steps, since where minibatches are drawn that of the last step alone is mostly noise, or by the
sum over all steps.

Seeds: weights, training tasks and validation tasks have streams of their own, and the tasks of an epoch depend
on the seed and the epoch's number alone. So a run that is resumed sees what it would have seen.
"""

import json
import operator
import reprlib
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from .. import files
from ..baselines.gradient import Adam, AdamState
from ..learned import backends
from ..learned import coordinatewise as cw
from ..learned.optimizer import CoordinatewiseLSTM
from ..optimizees.rollout import rollout

# The streams of random numbers of one run.
TRAINING, VALIDATION, COORDINATES = 1, 2, 4

STUCK_AFTER = 3  # epochs before a run may be called stuck
STUCK_ABOVE = 0.97  # of the level of having learned nothing

DIVERGED = float(np.finfo(float).max)  # stands in the log, which is JSON, for a validation that is not finite


@dataclass(frozen=True)
class Recipe:
    """How to meta-train.

    ``epochs`` of ``tasks`` tasks, each a batch of ``functions`` functions, run for ``steps`` steps in windows
    of ``unroll``. Adam's learning rate is ``learning_rate`` for the fraction ``decay_from`` of the epochs and
    then falls, by the same factor each epoch, towards ``final_learning_rate``. The meta-gradient is clipped to
    the norm ``clip``, or not at all. What is validated and kept is phi averaged over the updates, with weights
    that fall off by the factor ``averaging`` an update; 0 is phi itself. Validation is on
    ``validation_functions`` functions and judged by the "final" losses or by their "sum"; with ``patience`` the run
    ends after so many epochs without a better one.

    With ``coordinates``, the meta-gradient of a window is estimated from so many coordinates, drawn at random,
    where there are more: on large networks that costs a fraction, and what it adds in noise is little beside
    what the draw of the function adds.

    With ``rollback``, so many epochs without a better validation send the run back to where it was at the best
    one, and halve the learning rate from there on. Good optimizers lie close to unstable ones, and a run that has
    stepped over the edge takes long to find back.

    ``boundary_term`` counts f at the first point of each window too, as the released code does. The point is a
    constant of the window, so this changes the loss that is reported and no gradient.
    """

    epochs: int = 60
    tasks: int = 20
    functions: int = 128
    steps: int = 100
    unroll: int = 20
    learning_rate: float = 3e-3
    final_learning_rate: float = 1e-4
    decay_from: float = 0.0
    clip: float | None = 10.0
    averaging: float = 0.0
    coordinates: int | None = None
    rollback: int | None = None
    validation_functions: int = 256
    judge: str = "final"
    patience: int | None = None
    boundary_term: bool = False

    def __post_init__(self):
        optional = ("patience", "rollback", "coordinates")
        for name in ("epochs", "tasks", "functions", "steps", "unroll", "validation_functions", *optional):
            value = getattr(self, name)
            if not (isinstance(value, int) and value >= 1 or name in optional and value is None):
                raise ValueError(f"{name}: expected a whole number >= 1, got {value!r}")
        if self.judge not in ("final", "sum"):
            raise ValueError(f"judge: expected 'final' or 'sum', got {self.judge!r}")
        if self.steps % self.unroll:
            raise ValueError(f"unroll: expected a divisor of steps={self.steps}, got {self.unroll}")
        for name in ("learning_rate", "final_learning_rate", "clip"):
            if name == "clip" and self.clip is None:
                continue
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name}: expected a finite number > 0, got {getattr(self, name)!r}")
        for name in ("decay_from", "averaging"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: expected a number in [0, 1), got {getattr(self, name)!r}")

    def rate(self, epoch):
        """Adam's learning rate in an epoch, counted from 0."""
        fallen = max(0.0, (epoch / self.epochs - self.decay_from) / (1 - self.decay_from))
        return self.learning_rate * (self.final_learning_rate / self.learning_rate) ** fallen


@dataclass
class Progress:
    """Where a run stands after an epoch; phi in float64, all of it in the checkpoint."""

    phi: np.ndarray
    average: np.ndarray
    adam: AdamState
    best_phi: np.ndarray     # of the best validation,
    best_adam: AdamState     # with Adam as it then was
    rollbacks: int = 0
    since: int = 0           # epochs since the best validation or the last rollback
    epoch: int = 0
    log: list[dict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def best(self):
        """The entry of the log with the best validation."""
        return min(self.log, key=lambda entry: entry["judged"])


def run_window(model, task, theta, state, evaluation, unroll):
    """T2: ``unroll`` steps from theta.

    ``evaluation`` is (losses, gradients) at theta, which the window before has already computed.

    Returns
    -------
    theta, state, evaluation
        As they are after the window.
    losses : (unroll, B) array
        f at theta_1 .. theta_unroll.
    gradients, loss_gradients : (unroll, B n) arrays
        What the optimizer saw, at theta_0 .. theta_unroll-1, and what the loss sums over, one step later.
    """
    losses, gradients, loss_gradients = [], [], []
    for _ in range(unroll):
        gradients.append(evaluation[1].ravel())
        update, state = model.update(evaluation[1], state)
        theta = theta + update
        evaluation = task.loss_and_gradient(theta)
        losses.append(evaluation[0])
        loss_gradients.append(evaluation[1].ravel())
    return theta, state, evaluation, np.stack(losses), np.stack(gradients), np.stack(loss_gradients)


def window_loss(losses, first, boundary_term=False):
    """T1: the loss of a window, from f at its later points (unroll, B) and at its first one (B,)."""
    return float(losses.sum(axis=0).mean() + (first.mean() if boundary_term else 0.0))


def window_gradient(model, gradients, loss_gradients, state, functions, chosen=None):
    """dL/dphi of a window (T1, C5), a flat float64 vector. ``state`` is the one before the window.

    With ``chosen``, an array of m of the n coordinates drawn at random, an estimate from these alone: the
    gradient is a sum over coordinates, so n / m times a part of it is right in the mean.
    """
    d_updates = cw.suffix_sums(loss_gradients) / loss_gradients.dtype.type(functions)
    layers = state.layers
    if chosen is not None:
        weight = d_updates.dtype.type(d_updates.shape[1] / len(chosen))
        gradients, d_updates = gradients[:, chosen], weight * d_updates[:, chosen]
        layers = tuple(type(layer)(*(a.T[:, chosen].T for a in layer)) for layer in layers)
    params = model.params_as(gradients.dtype)
    twin = backends.choose(model.backend, params, gradients.shape[1])
    d_params = twin.meta_gradient(gradients, d_updates, layers, params, model.preprocess,
                                  model.output_scale, model.threads)
    return cw.flatten(d_params).astype(np.float64)


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
    recipe, seed = Recipe(steps=steps, unroll=unroll, **recipe), operator.index(seed)
    if seed < 0:
        raise ValueError(f"seed: expected a whole number >= 0, got {seed}")
    train_on = problem.on("train") if hasattr(problem, "on") else problem
    validate_on = problem.on("validation") if hasattr(problem, "on") else problem
    run = {"model": model.config, "problem": getattr(problem, "config", type(problem).__name__),
           "recipe": asdict(recipe), "seed": seed, "backend": backends.name_of(model.backend, model.params),
           "initial": files.digest({"phi": cw.flatten(model.params)})}
    phi = cw.flatten(model.params).astype(np.float64)
    if resume and checkpoint and Path(checkpoint).exists():
        progress = _resume(checkpoint, run, len(phi))
    else:
        adam = Adam(recipe.learning_rate).init(phi)
        progress = Progress(phi, phi, adam, phi, adam)
    level = getattr(problem, "chance", None)
    if level is None:
        validation = validate_on.sample(recipe.validation_functions, _seed(seed, VALIDATION))
        level = float(np.mean(validation.loss_and_gradient(validation.theta0)[0]))

    while progress.epoch < recipe.epochs and not _patience_is_over(progress, recipe):
        started = time.perf_counter()
        entry = _train_epoch(model, train_on, recipe, seed, progress)
        candidate = _with_phi(model, progress.average)
        validation = validate_on.sample(recipe.validation_functions, _seed(seed, VALIDATION))
        with np.errstate(over="ignore", invalid="ignore"):
            curve = rollout(candidate, validation, recipe.steps).mean(axis=1)
            last = curve[-max(1, recipe.steps // 10) :].mean()
            final, total = (float(v) if np.isfinite(v) else DIVERGED for v in (last, curve[1:].sum()))
        entry |= {"validation_final": final, "validation_sum": total,
                  "judged": final if recipe.judge == "final" else total, "seconds": time.perf_counter() - started}
        progress.log.append(entry)
        progress.epoch += 1
        progress.since += 1
        if progress.best is entry and entry["judged"] < DIVERGED:
            progress.best_phi, progress.best_adam, progress.since = progress.average, progress.adam, 0
        if recipe.rollback is not None and progress.since >= recipe.rollback:
            progress.phi = progress.average = progress.best_phi
            progress.adam, progress.since = progress.best_adam, 0
            progress.rollbacks += 1
        if progress.epoch >= STUCK_AFTER and progress.best["validation_final"] > STUCK_ABOVE * level:
            entry["stuck"] = (f"stuck at the level of having learned nothing ({level:.4g}) after "
                              f"{progress.epoch} epochs: try another seed or a smaller learning rate")
        if checkpoint:
            _save(checkpoint, progress, run)
        if report:
            report(progress, recipe)

    return _with_phi(model, progress.best_phi), progress.log


def _seed(seed, *stream):
    return np.random.SeedSequence(seed, spawn_key=stream)


def _choose(wanted, n, rng):
    """``wanted`` of n coordinates in ascending order, or None for all of them."""
    if wanted is None or wanted >= n:
        return None
    return np.sort(rng.choice(n, wanted, replace=False))


def _with_phi(model, phi):
    """The same optimizer with other weights, in float32 as they will be saved."""
    with np.errstate(over="ignore"):
        params = cw.unflatten(phi.astype(np.float32), model.params)
    return CoordinatewiseLSTM(model.hidden, model.preprocess, model.output_scale, params=params,
                              backend=model.backend, threads=model.threads)


def _train_epoch(model, problem, recipe, seed, progress):
    """One epoch: moves progress.phi and progress.adam, returns an entry for the log."""
    adam = Adam(recipe.rate(progress.epoch) / 2**progress.rollbacks)
    rng = np.random.default_rng(_seed(seed, COORDINATES, progress.epoch))
    losses, norms, skipped = [], [], 0
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(recipe.tasks):
            task = problem.sample(recipe.functions, _seed(seed, TRAINING, progress.epoch, k))
            theta, evaluation = task.theta0, task.loss_and_gradient(task.theta0)
            state = model.init(theta)
            for _ in range(recipe.steps // recipe.unroll):
                current = _with_phi(model, progress.phi)
                before, first = state, evaluation[0]
                theta, state, evaluation, window, gradients, loss_gradients = run_window(
                    current, task, theta, state, evaluation, recipe.unroll
                )
                chosen = _choose(recipe.coordinates, gradients.shape[1], rng)
                d_phi = window_gradient(current, gradients, loss_gradients, before, recipe.functions, chosen)
                norm = float(np.sqrt(d_phi @ d_phi))
                if not np.isfinite(norm):  # this trajectory has left float32's range: learn nothing from it
                    skipped += 1
                    break
                if recipe.clip is not None and norm > recipe.clip:
                    d_phi *= recipe.clip / norm
                update, progress.adam = adam.update(d_phi, progress.adam)     # T3
                progress.phi = progress.phi + update
                progress.average = recipe.averaging * progress.average + (1 - recipe.averaging) * progress.phi
                losses.append(window_loss(window, first, recipe.boundary_term))
                norms.append(norm)
    return {"epoch": progress.epoch + 1, "learning_rate": adam.learning_rate,
            "loss": float(np.mean(losses)) if losses else None,
            "gradient_norm": float(np.median(norms)) if norms else None, "skipped": skipped}


def _patience_is_over(progress, recipe):
    return recipe.patience is not None and progress.log and (
        progress.epoch - progress.best["epoch"] >= recipe.patience
    )


COUNTS = ("epoch", "adam_t", "best_adam_t", "rollbacks", "since")


def _save(path, progress, run):
    adam, best = progress.adam, progress.best_adam
    arrays = {"phi": progress.phi, "average": progress.average, "m": adam.m, "v": adam.v,
              "best_phi": progress.best_phi, "best_m": best.m, "best_v": best.v}
    counts = (progress.epoch, adam.t, best.t, progress.rollbacks, progress.since)
    files.write(path, arrays, {"checkpoint": run, **dict(zip(COUNTS, counts)), "log": progress.log})


def _resume(path, run, n):
    """The Progress, of n weights, that a checkpoint holds; ValueError when it is another run's."""
    run = json.loads(json.dumps(run))  # as it comes back from a file: tuples are lists there

    def expect(card):
        theirs = card.get("checkpoint")
        if not isinstance(theirs, dict):
            raise ValueError("it is not a checkpoint of meta-training")
        for part, ours in run.items():
            _require_same(part, theirs.get(part), ours)
        epoch, log = card.get("epoch"), card.get("log")
        for name in COUNTS:
            if type(card.get(name)) is not int or card[name] < 0:
                raise ValueError(f"its {name} is not a count")
        if not isinstance(log, list) or len(log) != epoch or not all(_is_entry(*pair) for pair in enumerate(log)):
            raise ValueError(f"its log does not describe {epoch} epochs")
        return {name: ((n,), np.float64) for name in ("phi", "average", "m", "v", "best_phi", "best_m", "best_v")}

    arrays, card = files.read(path, expect)
    for name in ("v", "best_v"):
        if (arrays[name] < 0).any():
            raise ValueError(f"{path}: {name}, a mean of squares, holds negative values")
    return Progress(
        arrays["phi"], arrays["average"], AdamState(card["adam_t"], arrays["m"], arrays["v"]),
        arrays["best_phi"], AdamState(card["best_adam_t"], arrays["best_m"], arrays["best_v"]),
        card["rollbacks"], card["since"], card["epoch"], card["log"],
    )


def _require_same(part, theirs, ours):
    if theirs == ours:
        return
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for name in sorted(theirs.keys() | ours.keys()):
            _require_same(f"{part}, {name}", theirs.get(name), ours.get(name))
    raise ValueError(f"it belongs to another run: its {part} is {reprlib.repr(theirs)}, not {reprlib.repr(ours)}")


def _is_entry(index, entry):
    return (isinstance(entry, dict) and entry.get("epoch") == index + 1
            and all(type(entry.get(name)) is float for name in ("validation_final", "validation_sum", "judged", "seconds")))
