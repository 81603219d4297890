"""Tasks that need a memory, after Graves et al. 2014 and 2016, and the training of a recurrent cell on them.

Copy: a few random words of bits are shown and then a mark; the same words have to come out. Associative recall: a few
items are shown, each of several words behind a mark. Then one of the items is shown again behind another mark, and the
item that followed it has to come out. Shortest path: the edges of a small directed graph are shown one after the other,
then a query for two of its nodes, and then a mark; the nodes on the shortest path between the two have to come out.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .. import backends, files
from ..checks import whole_number
from ..executors import Pieces
from ..learned.cells import with_backend
from ..learned.sequence import SequenceParams, sequence, sequence_backward
from ..seeds import child
from ..trees import flatten, unflatten
from . import loop

if TYPE_CHECKING:
    from ..protocols import Array, Backend, Executor, HasExecutor, Path, RecurrentCell

TRAINING, VALIDATION, LENGTHS = 1, 2, 4
ROUNDS = 1000  # of drawing graphs, before their parameters are given up as hopeless


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


@dataclass(frozen=True)
class ShortestPath:
    """Shortest path: ``edges`` directed edges between ``nodes`` nodes, and paths of ``shortest`` to ``longest`` edges.

    All pairs of a graph and a query are equally likely whose shortest path is unique and has the length that is drawn.
    """

    nodes: int = 6
    edges: int = 8
    longest: int = 3
    shortest: int = 1

    def __post_init__(self) -> None:
        most = whole_number("nodes", self.nodes, least=2) - 1
        least = whole_number("shortest", self.shortest, most=most)
        whole_number("longest", self.longest, least, most)
        # A path is the only shortest one if all other edges lead back along it, and there are so many of those.
        whole_number("edges", self.edges, least=self.longest, most=self.nodes * most // 2)

    @property
    def config(self) -> dict[str, Any]:
        """What the task is, in JSON's types."""
        return {"task": "ShortestPath", **asdict(self)}

    @property
    def bits(self) -> int:
        """The length of an output: a node, one-hot."""
        return self.nodes

    @property
    def inputs(self) -> int:
        """The length of an input: two nodes, one-hot, and the marks of the query and of the answer."""
        return 2 * self.nodes + 2

    def sample(self, length: int, batch: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
        """Draw a batch of sequences whose answers have ``length`` nodes: x, y and asked as in `Copy.sample`.

        The answer is the path without its start. Raises ValueError where ``length`` is not in 1..``nodes`` - 1 or above
        ``edges``, and where such paths are so rare among graphs of so many edges that none was found.
        """
        whole_number("length", length, most=min(self.nodes - 1, self.edges))
        edges, paths = self._graphs(length, batch, rng)
        while len(paths) < batch:
            more_edges, more_paths = self._graphs(length, batch, rng)
            edges, paths = np.concatenate([edges, more_edges]), np.concatenate([paths, more_paths])
        one_hot, query = np.eye(self.nodes, dtype=np.int64), self.edges
        words = np.concatenate([edges, paths[:, None, [0, -1]]], axis=1)[:batch]
        T = query + 2 + length
        x, y = np.zeros((batch, T, self.inputs), np.float32), np.zeros((batch, T, self.bits), np.int64)
        x[:, : query + 1, : 2 * self.nodes] = one_hot[words].reshape(batch, query + 1, -1)
        x[:, query, -2] = x[:, query + 1, -1] = 1
        y[:, query + 2 :] = one_hot[paths[:batch, 1:]]
        return x, y, np.arange(T) > query + 1

    def _graphs(self, length: int, batch: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw edges (b, edges, 2) in random order and paths (b, length + 1), for some b in 1..batch.

        A random path and other edges are drawn together. What has a shorter way, or another of that length, is dropped.
        """
        n, rows = self.nodes, np.arange(batch)[:, None]
        for _ in range(ROUNDS):
            path = rng.permuted(np.tile(np.arange(n), (batch, 1)), axis=1)[:, : length + 1]
            place = rng.random((batch, n, n))
            place[:, range(n), range(n)] = 2  # no node has an edge to itself
            place[rows, path[:, :-1], path[:, 1:]] = -1
            edges = rng.permuted(place.reshape(batch, -1).argsort(axis=1)[:, : self.edges], axis=1)
            graph = np.zeros((batch, n * n), np.int64)
            graph[rows, edges] = 1
            graph = graph.reshape(batch, n, n)
            # walks[b, i, j] is the number of walks of k edges from i to j; 2 stands for more than one.
            walks, ends = graph, (rows[:, 0], path[:, 0], path[:, -1])
            unique = np.ones(batch, bool)
            for _ in range(length - 1):
                unique &= walks[ends] == 0
                walks = np.minimum(walks @ graph, 2)
            unique &= walks[ends] == 1
            if unique.any():
                return np.stack(np.divmod(edges[unique], n), axis=-1), path[unique]
        raise ValueError(f"edges: expected so few that a shortest path of {length} edges between {n} nodes is unique "
                         f"more than once in {ROUNDS * batch} draws, got {self.edges}")


@dataclass(frozen=True, kw_only=True)
class Recipe(loop.Schedule):
    """How to train on sequences: a `Schedule`, and what an epoch consists of.

    An epoch has ``updates`` updates, each on ``batch`` sequences of one random length. The longest length that can be
    drawn grows over the fraction ``curriculum`` of the epochs. Validation uses ``validation`` sequences of each length.

    The sequences of an update are cut into ``pieces``, which an executor may compute at the same time. The weights
    depend on the number of pieces, because each has a seed of its own, but not on where the pieces are computed.
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
    pieces: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pieces > self.batch:
            raise ValueError(f"pieces: expected at most batch={self.batch}, got {self.pieces}")

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


def sequence_piece(
    constants: tuple[SequenceParams, RecurrentCell, SequenceTask], phi: Array, piece: tuple[Any, ...], carried: None,
) -> tuple[tuple[float, Array], None]:
    """`sequence_gradient` of a piece: of its number of sequences, their seed and their length."""
    params, cell, task = constants
    batch, seed, length = piece
    sample = task.sample(length, batch, np.random.default_rng(seed))
    return sequence_gradient(_with_phi(params, phi), cell, *sample), None


def _with_phi(params: SequenceParams, phi: Array) -> SequenceParams:
    """Weights of the shapes of ``params``, in float32."""
    return unflatten(phi.astype(np.float32), params)


def wrong_bits(params: SequenceParams, cell: RecurrentCell, x: Array, y: Array, asked: Array) -> float:
    """The number of wrong output bits per sequence."""
    return float(_wrong(params, cell, x, y, asked).sum() / len(x))


def right_sequences(params: SequenceParams, cell: RecurrentCell, x: Array, y: Array, asked: Array) -> float:
    """The fraction of sequences that have no wrong output bit."""
    return float((~_wrong(params, cell, x, y, asked).any(axis=(1, 2))).mean())


def _wrong(params: SequenceParams, cell: RecurrentCell, x: Array, y: Array, asked: Array) -> Array:
    """Which of the bits that are asked for are wrong: (B, asked steps, bits)."""
    (_, v, _), _ = sequence(x, y, asked, params, cell)
    return (v[:, asked] > 0) != y[:, asked]


def train_on_sequences(
    params: SequenceParams, cell: RecurrentCell, task: SequenceTask, seed: int = 0, *, backend: Backend = "auto",
    checkpoint: Path | None = None, resume: bool = False, overwrite: bool = False, report: loop.Report | None = None,
    executor: Executor | HasExecutor | None = None, piece_seconds: float | None = None, **recipe: Any,
) -> tuple[SequenceParams, list[dict[str, Any]]]:
    """Train a recurrent cell on a task.

    Parameters
    ----------
    params : SequenceParams
        The initial weights. They are not changed.
    cell : Cell
    task : SequenceTask
        `Copy`, `Recall`, `ShortestPath`, or any object with ``shortest``, ``longest`` and ``sample``. Its ``config`` is
        used if it has one.
    seed, checkpoint, resume, overwrite, report, executor, piece_seconds
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

    pieces = Pieces((params, cell, task), executor, piece_seconds, getattr(report, "waiting", None))

    def train_epoch(progress: loop.Progress) -> dict[str, Any]:
        rng = np.random.default_rng(child(seed, LENGTHS, progress.epoch))
        longest = settings.longest(task, progress.epoch)

        def gradient(k: int) -> tuple[float, Array]:
            length = int(rng.integers(task.shortest, longest, endpoint=True))
            parts = loop.cut(settings.batch, settings.pieces, child(seed, TRAINING, progress.epoch, k))
            answers, _ = pieces(sequence_piece, progress.phi, [(*part, length) for part in parts])
            return loop.mean(answers, [sequences for sequences, _ in parts])

        return {"steps": longest} | loop.train_updates(settings, progress, map(gradient, range(settings.updates)))

    def validate(phi: Array) -> dict[str, float]:
        wrong = [
            wrong_bits(_with_phi(params, phi), cell,
                       *task.sample(n, settings.validation, np.random.default_rng(child(seed, VALIDATION, n))))
            for n in lengths
        ]
        return loop.validation(wrong[-1], sum(wrong) / len(wrong), "sum")

    progress = loop.run(settings, identity, flatten(params).astype(np.float64), train_epoch, validate,
                        checkpoint=checkpoint, resume=resume, overwrite=overwrite, report=report)
    return _with_phi(params, progress.best_phi), progress.log
