"""Tasks that need a memory, after Graves et al. 2014 and 2016, and the training of a recurrent cell on them.

Copy: a few random words of bits are shown and then a mark; the same words have to come out. Associative recall: a few
items are shown, each of several words behind a mark. Then one of the items is shown again behind another mark, and the
item that followed it has to come out.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .. import backends, files
from ..checks import whole_number
from ..learned.cells import with_backend
from ..learned.sequence import SequenceParams, sequence, sequence_backward
from ..seeds import child
from ..trees import flatten, unflatten
from . import loop

if TYPE_CHECKING:
    from ..protocols import Array, Backend, Path, RecurrentCell

TRAINING, VALIDATION, LENGTHS = 1, 2, 4


class SequenceTask(Protocol):
    """A task of sequences to train a recurrent cell on."""

    @property
    def shortest(self) -> int:
        """The smallest length."""

    @property
    def longest(self) -> int:
        """The largest length."""

    def sample(self, length: int, batch: int, rng: np.random.Generator, /) -> tuple[Array, Array, Array]:
        """Draw a batch of sequences of one length: x (B, T, inputs), y (B, T, bits), asked (T,)."""


@dataclass(frozen=True)
class Copy:
    """The copy task: ``shortest`` to ``longest`` words of ``bits`` bits."""

    bits: int = 8
    longest: int = 10
    shortest: int = 1

    def __post_init__(self) -> None:
        whole_number("bits", self.bits)
        whole_number("longest", self.longest, least=whole_number("shortest", self.shortest))

    @property
    def config(self) -> dict[str, Any]:
        """What the task is, in JSON's types."""
        return {"task": "Copy", **asdict(self)}

    @property
    def inputs(self) -> int:
        """The length of an input: the bits and the mark."""
        return self.bits + 1

    def sample(self, length: int, batch: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
        """Draw a batch of sequences of ``length`` words.

        Returns the inputs x (B, T, inputs), the targets y (B, T, bits) and asked (T,), the steps at which the output
        counts.
        """
        words = rng.integers(0, 2, (batch, length, self.bits))
        T = 2 * length + 1
        x, y = np.zeros((batch, T, self.inputs), np.float32), np.zeros((batch, T, self.bits), np.int64)
        x[:, :length, : self.bits], x[:, length, self.bits] = words, 1
        y[:, length + 1 :] = words
        return x, y, np.arange(T) > length


@dataclass(frozen=True)
class Recall:
    """Associative recall: ``shortest`` to ``longest`` items of ``words`` words of ``bits`` bits."""

    bits: int = 6
    words: int = 2
    longest: int = 5
    shortest: int = 2

    def __post_init__(self) -> None:
        for name in ("bits", "words"):
            whole_number(name, getattr(self, name))
        whole_number("longest", self.longest, least=whole_number("shortest", self.shortest, least=2))

    @property
    def config(self) -> dict[str, Any]:
        """What the task is, in JSON's types."""
        return {"task": "Recall", **asdict(self)}

    @property
    def inputs(self) -> int:
        """The length of an input: the bits and the two marks."""
        return self.bits + 2

    def sample(self, length: int, batch: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
        """Draw a batch of sequences of ``length`` items: x, y and asked as in `Copy.sample`."""
        items = rng.integers(0, 2, (batch, length, self.words, self.bits))
        which = rng.integers(0, length - 1, batch)
        block = self.words + 1
        T = length * block + block + self.words
        x, y = np.zeros((batch, T, self.inputs), np.float32), np.zeros((batch, T, self.bits), np.int64)
        for k in range(length):
            x[:, k * block, self.bits] = 1
            x[:, k * block + 1 : (k + 1) * block, : self.bits] = items[:, k]
        query = length * block
        x[:, query, self.bits + 1] = 1
        x[:, query + 1 : query + block, : self.bits] = items[np.arange(batch), which]
        y[:, query + block :] = items[np.arange(batch), which + 1]
        return x, y, np.arange(T) >= query + block


@dataclass(frozen=True, kw_only=True)
class Recipe(loop.Schedule):
    """How to train on sequences: a `Schedule`, and what an epoch consists of.

    An epoch has ``updates`` updates, each on ``batch`` sequences of one random length. The longest length that can be
    drawn grows over the fraction ``curriculum`` of the epochs. Validation uses ``validation`` sequences of each length.
    """

    epochs: int = 60
    updates: int = 100
    batch: int = 32
    learning_rate: float = 8e-3
    final_learning_rate: float = 1e-4
    decay_from: float = 0.5
    clip: float | None = 1.0
    curriculum: float = 0.0
    validation: int = 64

    def longest(self, task: SequenceTask, epoch: int) -> int:
        """The longest length in an epoch, counted from 0."""
        return round(task.shortest + (task.longest - task.shortest) * loop.grown(self, epoch))


def sequence_gradient(
    params: SequenceParams, cell: RecurrentCell, x: Array, y: Array, asked: Array,
) -> tuple[float, Array]:
    """The mean loss of a batch and its gradient with respect to the weights, a flat float64 vector."""
    (losses, _, _), cache = sequence(x, y, asked, params, cell)
    *_, d_params = sequence_backward(np.full_like(losses, 1 / len(losses)), cache)
    return float(losses.mean()), flatten(d_params).astype(np.float64)


def wrong_bits(params: SequenceParams, cell: RecurrentCell, x: Array, y: Array, asked: Array) -> float:
    """The number of wrong output bits per sequence."""
    (_, v, _), _ = sequence(x, y, asked, params, cell)
    return float(((v[:, asked] > 0) != y[:, asked]).sum() / len(x))


def train_on_sequences(
    params: SequenceParams, cell: RecurrentCell, task: SequenceTask, seed: int = 0, *, backend: Backend = "auto",
    checkpoint: Path | None = None, resume: bool = False, overwrite: bool = False, report: loop.Report | None = None,
    **recipe: Any,
) -> tuple[SequenceParams, list[dict[str, Any]]]:
    """Train a recurrent cell on a task.

    Parameters
    ----------
    params : SequenceParams
        The initial weights. They are not changed.
    cell : Cell
    task : SequenceTask
        `Copy`, `Recall`, or any object with ``shortest``, ``longest`` and ``sample``. Its ``config`` is used if it has
        one.
    seed, checkpoint, resume, overwrite, report
        As in `meta_train`.
    backend : {"auto", "numpy", "numba"}
    **recipe
        The fields of ``Recipe``.

    Returns
    -------
    params : SequenceParams
        In float32, those with the fewest wrong bits in validation.
    log : list of dict
        One entry per epoch. ``validation_final`` is the number of wrong bits per sequence for the longest sequences,
        ``validation_sum`` the mean of this number over all lengths.
    """
    settings, seed = Recipe(**recipe), whole_number("seed", seed, least=0)
    cell = with_backend(cell, backend, settings.batch)
    sample = task.sample(task.longest, 1, np.random.default_rng(child(seed, VALIDATION)))
    identity = {"problem": loop.problem_identity(task, *sample), "recipe": asdict(settings), "seed": seed,
                "cell": cell.name, "backend": backends.identity(backend),
                "initial": files.digest({"phi": flatten(params)})}
    lengths = range(task.shortest, task.longest + 1)

    def weights(phi: Array) -> SequenceParams:
        return unflatten(phi.astype(np.float32), params)

    def train_epoch(progress: loop.Progress) -> dict[str, Any]:
        rng = np.random.default_rng(child(seed, LENGTHS, progress.epoch))
        longest = settings.longest(task, progress.epoch)

        def gradient(k: int) -> tuple[float, Array]:
            length = int(rng.integers(task.shortest, longest, endpoint=True))
            batch = task.sample(length, settings.batch, np.random.default_rng(child(seed, TRAINING, progress.epoch, k)))
            return sequence_gradient(weights(progress.phi), cell, *batch)

        return {"steps": longest} | loop.train_updates(settings, progress, map(gradient, range(settings.updates)))

    def validate(phi: Array) -> dict[str, float]:
        wrong = [
            wrong_bits(weights(phi), cell,
                       *task.sample(n, settings.validation, np.random.default_rng(child(seed, VALIDATION, n))))
            for n in lengths
        ]
        return loop.validation(wrong[-1], sum(wrong) / len(wrong), "sum")

    progress = loop.run(settings, identity, flatten(params).astype(np.float64), train_epoch, validate,
                        checkpoint=checkpoint, resume=resume, overwrite=overwrite, report=report)
    return weights(progress.best_phi), progress.log
