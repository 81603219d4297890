"""Tasks that ask for a memory, after Graves et al. 2016 and 2014, and training a recurrent cell on them.

Copy: some random words of bits, a mark, and then the same words are asked for. Associative recall: some items, each of
a few words behind a mark; then one item again behind another mark, and the item that came after it is asked for.
"""

import operator
from dataclasses import asdict, dataclass

import numpy as np

from .. import files
from ..learned.cells import with_backend
from ..learned.sequence import sequence, sequence_backward
from ..seeds import child
from ..trees import flatten, unflatten
from . import loop

TRAINING, VALIDATION, LENGTHS = 1, 2, 4


@dataclass(frozen=True)
class Copy:
    """1 to ``longest`` words of ``bits`` bits."""

    bits: int = 8
    longest: int = 10
    shortest: int = 1

    @property
    def inputs(self):
        return self.bits + 1

    def sample(self, length, batch, rng):
        """x (B, T, inputs), y (B, T, bits), asked (T,) for so many words."""
        words = rng.integers(0, 2, (batch, length, self.bits))
        T = 2 * length + 1
        x, y = np.zeros((batch, T, self.inputs), np.float32), np.zeros((batch, T, self.bits), np.int64)
        x[:, :length, : self.bits], x[:, length, self.bits] = words, 1
        y[:, length + 1 :] = words
        return x, y, np.arange(T) > length


@dataclass(frozen=True)
class Recall:
    """2 to ``longest`` items of ``words`` words of ``bits`` bits."""

    bits: int = 6
    words: int = 2
    longest: int = 5
    shortest: int = 2

    @property
    def inputs(self):
        return self.bits + 2

    def sample(self, length, batch, rng):
        """x (B, T, inputs), y (B, T, bits), asked (T,) for so many items."""
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
    """How to train on sequences: a `Schedule`, and what an epoch is made of.

    An epoch has ``updates`` updates on ``batch`` sequences of one length, drawn up to a longest one; this grows over
    the fraction ``curriculum`` of the epochs. Validation is on ``validation`` sequences of each length.
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

    def longest(self, task, epoch):
        """The longest length in an epoch, counted from 0."""
        grown = min(1.0, epoch / (self.curriculum * self.epochs)) if self.curriculum else 1.0
        return round(task.shortest + (task.longest - task.shortest) * grown)


def sequence_gradient(params, cell, x, y, asked):
    """The mean loss of a batch and its gradient in the weights, a flat float64 vector."""
    (losses, _, _), cache = sequence(x, y, asked, params, cell)
    *_, d_params = sequence_backward(np.full_like(losses, 1 / len(losses)), cache)
    return float(losses.mean()), flatten(d_params).astype(np.float64)


def wrong_bits(params, cell, x, y, asked):
    """Bits that are wrong, a sequence."""
    (_, v, _), _ = sequence(x, y, asked, params, cell)
    return float(((v[:, asked] > 0) != y[:, asked]).sum() / len(x))


def train_on_sequences(params, cell, task, seed=0, *, backend="auto", checkpoint=None, resume=False, report=None,
                       **recipe):
    """Train SequenceParams on a task.

    Parameters
    ----------
    params : SequenceParams
        Where to begin; is not changed.
    cell : Cell
    task : Copy, Recall, or any object with ``shortest``, ``longest`` and ``sample``
    seed, backend, checkpoint, resume, report
        As in `meta_train_black_box`.
    **recipe
        The fields of ``Recipe``.

    Returns
    -------
    params, log
        float32 weights with the fewest wrong bits in validation, and a list with a dict for each epoch.
        ``validation_final`` is of the longest sequences, ``validation_sum`` of all lengths, wrong bits a sequence.
    """
    recipe, seed = Recipe(**recipe), operator.index(seed)
    cell = with_backend(cell, backend, recipe.batch)
    identity = {"problem": {"task": type(task).__name__} | asdict(task), "recipe": asdict(recipe), "seed": seed,
                "cell": cell.name, "initial": files.digest({"phi": flatten(params)})}
    lengths = range(task.shortest, task.longest + 1)

    def weights(phi):
        return unflatten(phi.astype(np.float32), params)

    def train_epoch(progress):
        rng = np.random.default_rng(child(seed, LENGTHS, progress.epoch))
        longest = recipe.longest(task, progress.epoch)

        def gradient(k):
            length = int(rng.integers(task.shortest, longest, endpoint=True))
            batch = task.sample(length, recipe.batch, np.random.default_rng(child(seed, TRAINING, progress.epoch, k)))
            return sequence_gradient(weights(progress.phi), cell, *batch)

        return {"steps": longest} | loop.train_updates(recipe, progress, recipe.updates, gradient)

    def validate(phi):
        wrong = [
            wrong_bits(weights(phi), cell,
                       *task.sample(n, recipe.validation, np.random.default_rng(child(seed, VALIDATION, n))))
            for n in lengths
        ]
        final, total = loop.finite(wrong[-1]), loop.finite(sum(wrong) / len(wrong))
        return {"validation_final": final, "validation_sum": total, "judged": total}

    progress = loop.run(recipe, identity, flatten(params).astype(np.float64), train_epoch, validate,
                        checkpoint=checkpoint, resume=resume, report=report)
    return weights(progress.best_phi), progress.log
