"""What every meta-training shares: epochs of Adam, validation, keeping the best weights, a checkpoint after each epoch.

The caller decides what an epoch consists of and what a validation measures. Here phi, the weights, is one float64
vector.

    T3  Adam updates phi with the clipped meta-gradient; what is validated is phi, or its average over the updates
"""

from __future__ import annotations

import json
import math
import reprlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .. import files
from ..baselines.gradient import Adam, AdamState
from ..checks import choice, whole_number
from ..seeds import child

if TYPE_CHECKING:
    from ..protocols import Array
    from ..protocols import Path as PathLike

Report: TypeAlias = "Callable[[Progress, Any], object]"  # (progress, recipe)

DIVERGED = float(np.finfo(float).max)  # replaces a validation loss that is not finite in the log, which is JSON

# Settings that recipes did not have at first, and the values at which nothing is different.
LATER: dict[str, Any] = {"pieces": 1, "imitation": 0.0, "keep": "best"}
JUDGES = ("final", "sum")  # by which of its two numbers a validation is judged
KEEPS = ("best", "last")   # whose weights are kept: those of the epoch with the best validation, or of the last one


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The part of a recipe that the loop reads.

    Adam's learning rate is ``learning_rate`` for the fraction ``decay_from`` of the ``epochs``. It then falls towards
    ``final_learning_rate``, by the same factor in each epoch. The meta-gradient is clipped to the norm ``clip``; None
    switches clipping off. The weights that are validated and kept are an average of phi over the updates, in which the
    past loses the factor ``averaging`` per update; with 0 they are phi itself. With ``patience`` training ends after
    that many epochs without a better validation. ``keep`` says whether the weights of the "best" epoch are kept, or
    those of the "last" one, where validations are too few, or too unlike the runs of training, to choose between them.

    With ``rollback``, that many epochs without a better validation send training back to its state at the best one,
    and halve the learning rate from there on. Good optimizers lie close to unstable ones, and training that has crossed
    over needs a long time to come back by itself.
    """

    epochs: int = 60
    learning_rate: float = 3e-3
    final_learning_rate: float = 1e-4
    decay_from: float = 0.0
    clip: float | None = 10.0
    averaging: float = 0.0
    rollback: int | None = None
    patience: int | None = None
    keep: str = "best"

    def __post_init__(self) -> None:
        choice("keep", self.keep, KEEPS)
        for name, optional in self.whole_numbers().items():
            whole_number(name, getattr(self, name), optional=optional)
        for name in ("learning_rate", "final_learning_rate", "clip"):
            if name == "clip" and self.clip is None:
                continue
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name}: expected a finite number > 0, got {getattr(self, name)!r}")
        for name in ("decay_from", "averaging"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: expected a number in [0, 1), got {getattr(self, name)!r}")

    def whole_numbers(self) -> dict[str, bool]:
        """The fields that are whole numbers >= 1: name -> whether None is allowed too."""
        kinds = {"int": False, "int | None": True, int: False, int | None: True}
        return {f.name: kinds[f.type] for f in fields(self) if f.type in kinds}

    def rate(self, epoch: int) -> float:
        """Adam's learning rate in an epoch, counted from 0."""
        fallen = max(0.0, (epoch / self.epochs - self.decay_from) / (1 - self.decay_from))
        return self.learning_rate * (self.final_learning_rate / self.learning_rate) ** fallen


@dataclass
class Progress:
    """The state of training after an epoch; phi in float64. The checkpoint holds all of it.

    Its arrays are never modified, so `dataclasses.replace` makes a copy of it that can be trained on.
    """

    phi: np.ndarray
    average: np.ndarray
    adam: AdamState
    best_phi: np.ndarray     # the weights with the best validation
    best_adam: AdamState     # the state of Adam at that time
    rollbacks: int = 0
    since: int = 0           # epochs since the best validation or the last rollback
    epoch: int = 0
    log: list[dict[str, Any]] = field(default_factory=list)

    @property
    def best(self) -> dict[str, Any]:
        """The entry of the log of the epoch whose weights are kept."""
        return best_of(self.log)

    def assign(self, **values: Any) -> None:
        """Change several fields at once: an interrupt comes before or after, because no line of Python lies between."""
        self.__dict__.update(values)


def best_of(log: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The entry whose weights are kept: with the lowest "rank", which is the validation where there is none."""
    return min(log, key=lambda entry: entry.get("rank", entry["judged"]))


def run(
    schedule: Schedule, identity: dict[str, Any], phi: Array, train_epoch: Callable[[Progress], dict[str, Any]],
    validate: Callable[[Array], dict[str, float]], *, warn: Callable[[Progress], str | None] | None = None,
    checkpoint: PathLike | None = None, resume: bool = False, overwrite: bool = False, report: Report | None = None,
) -> Progress:
    """Train phi by epochs.

    Parameters
    ----------
    schedule : Schedule
    identity : dict
        Everything that the weights depend on, in JSON's types. A checkpoint with another identity is refused.
    phi : ndarray of float64, shape (n,)
        The initial weights.
    train_epoch : callable
        ``train_epoch(progress)`` changes ``progress`` by `train_updates` and returns an entry for the log.
    validate : callable
        phi -> dict with ``validation_final``, ``validation_sum`` and ``judged``. A smaller ``judged`` is better.
    warn : callable, optional
        ``warn(progress)`` -> a sentence for the user when training gets nowhere, or None.
    checkpoint, resume, overwrite, report
        As in `meta_train`.

    Returns
    -------
    Progress

    Raises
    ------
    ValueError
        When the identity is not of JSON's types; when the checkpoint is broken, belongs to another run, or is there
        and neither to be resumed nor overwritten; and while another run writes it.
    """
    try:
        json.dumps(identity)
    except (TypeError, ValueError) as error:
        raise ValueError(f"config: expected values of JSON's types, but {error}") from None
    if not checkpoint:
        return _train(schedule, _begin(schedule, phi), train_epoch, validate, warn, None, report)
    if resume and overwrite:
        raise ValueError("overwrite: expected False with resume, got True")
    with files.only_writer(checkpoint):
        if not Path(checkpoint).exists() or overwrite:
            progress = _begin(schedule, phi)
        elif resume:
            progress = _resume(checkpoint, identity, len(phi))
        else:
            raise ValueError(f"{checkpoint}: expected no file, got one: resume goes on with its run, overwrite "
                             "replaces it")
        return _train(schedule, progress, train_epoch, validate, warn,
                      lambda progress: _save(checkpoint, progress, identity), report)


def _begin(schedule: Schedule, phi: Array) -> Progress:
    adam = Adam(schedule.learning_rate).init(phi)
    return Progress(phi, phi, adam, phi, adam)


def _train(
    schedule: Schedule, progress: Progress, train_epoch: Callable[[Progress], dict[str, Any]],
    validate: Callable[[Array], dict[str, float]], warn: Callable[[Progress], str | None] | None,
    save: Callable[[Progress], None] | None, report: Report | None,
) -> Progress:
    while progress.epoch < schedule.epochs and not _patience_is_over(progress, schedule):
        started = time.perf_counter()
        after = replace(progress)  # an interrupt leaves this one half done, and progress at the end of an epoch
        entry = {"epoch": after.epoch + 1, **train_epoch(after)}
        entry |= validate(after.average)
        entry["seconds"] = time.perf_counter() - started
        after.log = [*progress.log, entry]
        after.epoch += 1
        after.since += 1
        if schedule.keep == "last":
            entry["rank"] = DIVERGED if entry["judged"] >= DIVERGED else -float(after.epoch)
        if after.best is entry and entry["judged"] < DIVERGED:
            after.best_phi, after.best_adam, after.since = after.average, after.adam, 0
        if schedule.rollback is not None and after.since >= schedule.rollback:
            after.phi = after.average = after.best_phi
            after.adam, after.since = after.best_adam, 0
            after.rollbacks += 1
        warning = warn(after) if warn else None
        if warning:
            entry["stuck"] = warning
        if save:
            save(after)
        progress.assign(**vars(after))
        if report:
            report(progress, schedule)
    return progress


def descend(schedule: Schedule, progress: Progress, d_phi: Array) -> float | None:
    """T3: update ``progress`` once with a meta-gradient.

    Returns the norm of the gradient before clipping; None, and no update, if that is not finite.
    """
    norm = float(np.sqrt(d_phi @ d_phi))
    if not np.isfinite(norm):
        return None
    if schedule.clip is not None and norm > schedule.clip:
        d_phi = d_phi * (schedule.clip / norm)
    adam = Adam(rate(schedule, progress))
    update, moments = adam.update(d_phi, progress.adam)              # T3
    phi = progress.phi + update
    average = schedule.averaging * progress.average + (1 - schedule.averaging) * phi
    progress.assign(phi=phi, average=average, adam=moments)
    return norm


def train_updates(schedule: Schedule, progress: Progress, gradients: Iterable[tuple[float, Array]]) -> dict[str, Any]:
    """Update ``progress`` once with each of ``gradients``, an iterator of (loss, d_phi).

    The iterator computes each pair when it is asked for, at the ``progress.phi`` of that moment. Returns the entry for
    the log, a dict. It counts the gradients that were not finite, with which nothing was updated, as "skipped".
    """
    losses, norms, skipped = [], [], 0
    for loss, d_phi in gradients:
        norm = descend(schedule, progress, d_phi)
        if norm is None:
            skipped += 1
            continue
        losses.append(loss)
        norms.append(norm)
    return {"learning_rate": rate(schedule, progress), "skipped": skipped,
            "loss": float(np.mean(losses)) if losses else None,
            "gradient_norm": float(np.median(norms)) if norms else None}


def cut(functions: int, pieces: int, seed: np.random.SeedSequence) -> list[tuple[int, np.random.SeedSequence]]:
    """The number of functions and the seed of each piece of an update. One piece has the seed of the update itself."""
    if pieces == 1:
        return [(functions, seed)]
    return [(functions // pieces + (j < functions % pieces), child(seed, j)) for j in range(pieces)]


def mean(answers: Sequence[tuple[float, Array]], weights: Sequence[int]) -> tuple[float, Array]:
    """The mean loss and the mean gradient of pieces, weighted by their functions; added in their order, in float64."""
    if len(answers) == 1:
        return answers[0]
    unit = math.gcd(*weights)  # equal weights are 1, and round nothing
    total, d_phi = 0.0, np.zeros_like(answers[0][1])
    for (loss, gradient), weight in zip(answers, weights):
        total += weight // unit * loss
        d_phi += weight // unit * gradient
    return total / (sum(weights) // unit), d_phi / (sum(weights) // unit)


def rate(schedule: Schedule, progress: Progress) -> float:
    """Adam's present learning rate: that of the epoch, halved by each rollback."""
    return schedule.rate(progress.epoch) * 0.5**progress.rollbacks


def grown(recipe: Any, epoch: int) -> float:
    """How far a curriculum has come in an epoch, counted from 0: from 0 to 1 over the fraction ``curriculum``."""
    return min(1.0, epoch / (recipe.curriculum * recipe.epochs)) if recipe.curriculum else 1.0


def validation(final: float, total: float, judge: str) -> dict[str, float]:
    """The entry of a validation for the log. A loss that is not finite becomes `DIVERGED`."""
    final, total = (float(value) if np.isfinite(value) else DIVERGED for value in (final, total))
    return {"validation_final": final, "validation_sum": total, "judged": final if judge == "final" else total}


def problem_identity(problem: Any, *sample: Any) -> Any:
    """What a checkpoint says of a problem, so that it is recognised when training is resumed.

    This is the problem's ``config`` where it has one. Otherwise it is the name of its class and a digest of ``sample``,
    which depends on the problem's data and constants.
    """
    config = getattr(problem, "config", None)
    if config is not None:
        return config
    arrays = {str(k): np.asarray(array) for k, array in enumerate(sample) if array is not None}
    return {"class": type(problem).__name__, "sample": files.digest(arrays)}


def _patience_is_over(progress: Progress, recipe: Schedule) -> bool:
    if recipe.patience is None or not progress.log:
        return False
    return bool(progress.epoch - progress.best["epoch"] >= recipe.patience)


COUNTS = ("epoch", "adam_t", "best_adam_t", "rollbacks", "since")
MOST_COUNTED = 2**53  # as far as a float counts


def _save(path: PathLike, progress: Progress, run: dict[str, Any]) -> None:
    adam, best = progress.adam, progress.best_adam
    arrays = {"phi": progress.phi, "average": progress.average, "m": adam.m, "v": adam.v,
              "best_phi": progress.best_phi, "best_m": best.m, "best_v": best.v}
    counts = (progress.epoch, adam.t, best.t, progress.rollbacks, progress.since)
    files.write(path, arrays, {"checkpoint": run, **dict(zip(COUNTS, counts)), "log": progress.log})


def _resume(path: PathLike, run: dict[str, Any], n: int) -> Progress:
    """The Progress, with n weights, that a checkpoint holds. ValueError when it belongs to another run."""
    run = json.loads(json.dumps(run))  # as a file gives it back: with lists instead of tuples

    def expect(card: dict[str, Any]) -> dict[str, Any]:
        saved = card.get("checkpoint")
        if not isinstance(saved, dict):
            raise ValueError("it is not a checkpoint of meta-training")
        if isinstance(saved.get("recipe"), dict):  # checkpoints of earlier versions, which did not know all settings
            saved["recipe"] = {name: off for name, off in LATER.items() if name in run["recipe"]} | saved["recipe"]
        for part, current in run.items():
            _require_same(part, saved.get(part), current)
        epoch, log = card.get("epoch"), card.get("log")
        for name in COUNTS:
            if type(card.get(name)) is not int or not 0 <= card[name] <= MOST_COUNTED:
                raise ValueError(f"its {name} is not a count")
        if max(card["rollbacks"], card["since"]) > epoch:
            raise ValueError(f"its rollbacks and since do not fit {epoch} epochs")
        if not isinstance(log, list) or len(log) != epoch or not all(_is_entry(*pair) for pair in enumerate(log)):
            raise ValueError(f"its log does not describe {epoch} epochs")
        return {name: ((n,), np.float64) for name in ("phi", "average", "m", "v", "best_phi", "best_m", "best_v")}

    arrays, card = files.read(path, expect)
    for name in ("v", "best_v"):
        if (arrays[name] < 0).any():
            raise ValueError(f"{path}: {name}: expected means of squares, which are >= 0, got negative values")
    return Progress(
        arrays["phi"], arrays["average"], AdamState(card["adam_t"], arrays["m"], arrays["v"]),
        arrays["best_phi"], AdamState(card["best_adam_t"], arrays["best_m"], arrays["best_v"]),
        card["rollbacks"], card["since"], card["epoch"], card["log"],
    )


def _require_same(part: str, saved: Any, current: Any) -> None:
    if saved == current:
        return
    if isinstance(saved, dict) and isinstance(current, dict):
        for name in sorted(saved.keys() | current.keys()):
            _require_same(f"{part}, {name}", saved.get(name), current.get(name))
    raise ValueError(f"it belongs to another run: its {part} is {reprlib.repr(saved)}, not {reprlib.repr(current)}")


def _is_entry(index: int, entry: Any) -> bool:
    numbers = ("validation_final", "validation_sum", "judged", "seconds")
    return (isinstance(entry, dict) and entry.get("epoch") == index + 1
            and all(type(entry.get(name)) is float and np.isfinite(entry[name]) for name in numbers))
