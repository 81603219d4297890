"""Meta-training of the black-box optimizer: Chen et al. 2017, sections 3 and 5.

    U1  one update of theta with the gradient of X7, a mean over functions that are drawn anew for each update; the
        whole trajectory is unrolled
    U2  the horizon of an update is drawn from ``first_steps`` to T; curriculum: T grows from ``first_steps`` to
        ``steps``, by the same factor per epoch
    U3  with several workers, as many queries are in flight at once, and their values arrive in random order
    U4  a network for any number of dimensions is trained on several distributions; each update draws one of them

The review gives Adam and a curriculum from 10 to 100 steps; all other numbers here are our own choice. The number of
workers is drawn anew for each update, so that one network serves any number of them. Validation uses functions that
stay the same, one worker and the full horizon. A network is judged by the best value after the last query, or by the
sum of the best values so far. Horizons are drawn because a network that knows its horizon lets its first queries be
arbitrarily bad, which most losses do not penalise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from .. import backends, files
from ..checks import choice, whole_number
from ..executors import Pieces
from ..learned import trajectory
from ..learned.proposer import Proposer
from ..seeds import child
from ..trees import flatten, leaves, unflatten
from . import loop

if TYPE_CHECKING:
    from ..protocols import Array, Backend, Executor, FunctionDistribution, HasExecutor, Path, Seed

# The streams of random numbers of one seed.
TRAINING, VALIDATION, WORKERS = 1, 2, 4

PIECE = 500  # functions evaluated at once, to bound the memory


@dataclass(frozen=True, kw_only=True)
class Recipe(loop.Schedule):
    """How to meta-train a black-box optimizer: a `Schedule`, and what an epoch consists of.

    An epoch has ``updates`` updates, each on ``functions`` functions. The longest horizon grows from ``first_steps`` to
    ``steps`` over the fraction ``curriculum`` of the epochs (U2). ``loss``, ``penalty`` and ``through_incumbent`` are
    passed to `trajectory_loss`. A fraction ``parallel`` of the updates has 2 to ``workers`` workers, the others have
    one (U3). Validation uses ``validation_functions`` functions and is judged by the "final" best value or by the "sum"
    of the best values so far.

    The functions of an update are cut into ``pieces``, which an executor may compute at the same time. The weights
    depend on the number of pieces, because each has a seed of its own, but not on where the pieces are computed.
    """

    epochs: int = 100
    updates: int = 100
    functions: int = 256
    steps: int = 100
    first_steps: int = 10
    curriculum: float = 0.5
    loss: str = "oi"
    penalty: float = 1.0
    through_incumbent: bool = True
    workers: int = 8
    parallel: float = 0.25
    validation_functions: int = 512
    judge: str = "sum"
    learning_rate: float = 4e-3
    clip: float | None = 2.0
    averaging: float = 0.98
    pieces: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        choice("loss", self.loss, trajectory.LOSSES)
        for name in ("curriculum", "parallel"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a number in [0, 1], got {getattr(self, name)!r}")
        if not 0 <= self.penalty < np.inf:
            raise ValueError(f"penalty: expected a finite number >= 0, got {self.penalty!r}")
        choice("judge", self.judge, loop.JUDGES)
        if self.pieces > self.functions:
            raise ValueError(f"pieces: expected at most functions={self.functions}, got {self.pieces}")
        if self.first_steps > self.steps:
            raise ValueError(f"first_steps: expected at most steps={self.steps}, got {self.first_steps}")

    def horizon(self, epoch: int) -> int:
        """U2: the longest horizon in an epoch, counted from 0."""
        return round(self.first_steps * (self.steps / self.first_steps) ** loop.grown(self, epoch))


def trajectory_gradient(
    proposer: Proposer, distribution: FunctionDistribution, recipe: Recipe, steps: int, fed: Array, seed: Seed,
    backend: Backend = "auto", dtype: DTypeLike = np.float32, threads: int | None = None,
) -> tuple[float, Array]:
    """U1: the loss of one batch of functions and its gradient with respect to the weights, a flat float64 vector."""
    z, epsilon, given = distribution.sample(recipe.functions, steps, seed, dtype)
    out, cache = _search(proposer, distribution, z, epsilon, given, fed, backend, threads, dtype)
    process = {"fed": fed, **distribution.gp_arguments}
    loss, loss_cache = trajectory.trajectory_loss(out, recipe.loss, recipe.penalty, recipe.through_incumbent, process)
    d_out = trajectory.trajectory_loss_backward(np.full_like(loss, 1 / len(loss)), loss_cache)
    d_params, *_ = trajectory.trajectory_backward(d_out, cache)
    return float(loss.mean()), flatten(d_params).astype(np.float64)


def update_piece(constants: tuple[Any, ...], phi: Array, piece: tuple[Any, ...], carried: None,
                 ) -> tuple[tuple[float, Array], None]:
    """`trajectory_gradient` of a piece: of its number of functions, seed, steps, arrivals and distribution."""
    proposer, distributions, recipe, backend, threads = constants
    functions, seed, steps, fed, which = piece
    return trajectory_gradient(with_phi(proposer, phi), distributions[which], replace(recipe, functions=functions,
                               pieces=1), steps, fed, seed, backend, threads=threads), None


def best_so_far(
    proposer: Proposer, distribution: FunctionDistribution, functions: int, steps: int, seed: Seed,
    backend: Backend = "auto", threads: int | None = None,
) -> Array:
    """The best value of each function after 1..T queries with one worker, (B, T)."""
    z, epsilon, given = distribution.sample(functions, steps, seed)
    out, _ = _search(proposer, distribution, z, epsilon, given, trajectory.arrivals(steps), backend, threads)
    return np.minimum.accumulate(out.f, axis=1)


def _search(
    proposer: Proposer, distribution: FunctionDistribution, z: Array, epsilon: Array, given: Any, fed: Array,
    backend: Backend, threads: int | None, dtype: DTypeLike = np.float32,
) -> tuple[trajectory.Trajectory, trajectory.TrajectoryCache]:
    """The Trajectory of these functions and its cache."""
    return trajectory.trajectory(
        proposer.params_as(dtype), z, epsilon, fed, **distribution.gp_arguments, given=given,
        output=proposer.output, cell=proposer.of(distribution.dim).network, backend=backend, threads=threads,
        dim=distribution.dim
    )


def evaluate_held_out(
    proposer: Proposer, distribution: FunctionDistribution, functions: int, steps: int, seed: Seed,
    backend: Backend = "auto", threads: int | None = None,
) -> tuple[Array, list[list[float]]]:
    """The mean best value after 1..T queries, (T,), and moments of the values, on functions never used for a decision.

    The moments are those of the values that a network sees; a search scales y to them where it does not know the range.
    They are a list of pairs: for the first n = 1, 2, 4, .. values, the mean over functions of their mean and of their
    standard deviation.
    """
    best, moments = [], []
    for first in range(0, functions, PIECE):
        z, epsilon, given = distribution.sample(min(PIECE, functions - first), steps, child(seed, first // PIECE))
        out, _ = _search(proposer, distribution, z, epsilon, given, trajectory.arrivals(steps), backend, threads)
        best.append(np.minimum.accumulate(out.f, axis=1))
        counts = [2**k for k in range(steps.bit_length())]
        moments.append([(out.y[:, :n].mean(axis=1).sum(), out.y[:, :n].std(axis=1).sum()) for n in counts])
    mean_moments = np.sum(np.array(moments, np.float64), axis=0) / functions
    mean: Array = np.concatenate(best).mean(axis=0, dtype=np.float64)
    return mean, mean_moments.round(4).tolist()


def meta_train_black_box(
    proposer: Proposer, distribution: FunctionDistribution | Sequence[FunctionDistribution], seed: int = 0, *,
    backend: Backend | None = None,
    threads: int | None = None, checkpoint: Path | None = None, resume: bool = False, overwrite: bool = False,
    report: loop.Report | None = None, executor: Executor | HasExecutor | None = None,
    piece_seconds: float | None = None, **recipe: Any,
) -> tuple[Proposer, list[dict[str, Any]]]:
    """Meta-train a black-box optimizer on functions drawn from a distribution.

    Parameters
    ----------
    proposer : Proposer
        Gives the architecture, the initial weights and the backend. It is not changed.
    distribution : FunctionDistribution, or list of them
        `GPDistribution`, `SupportDistribution`, or any object with ``dim``, ``gp_arguments`` and ``sample``. Its
        ``config`` is used if it has one. A proposer for any number of dimensions takes several (U4).
    seed : int
        The same seed gives the same weights, whatever the number of threads.
    backend : {"auto", "numpy", "numba"}, optional
        By default that of the proposer.
    threads : int, optional
        For the compiled twins. By default all cores of the process.
    checkpoint, resume, overwrite, report
        As in `meta_train`. A ``report`` that has ``waiting`` gets texts on what is waited for and what went wrong.
    executor : Executor or HasExecutor, optional
        Where the ``pieces`` of an update are computed: anything with ``submit``, also dask's ``Client``. The weights do
        not depend on it.
    piece_seconds : float, optional
        If the executor gives no answer for so long, the pieces that are waited for are computed again.
    **recipe
        The fields of ``Recipe``.

    Returns
    -------
    proposer : Proposer
        A new one, with the weights of the best validation.
    log : list of dict
        One entry per epoch.

    Raises
    ------
    ValueError
        For a bad recipe, a distribution of another dimension, or a checkpoint that `meta_train` would refuse.
    OSError
        When the executor loses pieces again and again. The checkpoint then has the epochs that were finished.
    ImportError
        For the backend "numba" where it does not work.
    """
    settings, seed = Recipe(**recipe), whole_number("seed", seed, least=0)
    backend = proposer.backend if backend is None else backend
    threads = whole_number("threads", threads, optional=True)
    several: list[FunctionDistribution] = [distribution] if hasattr(distribution, "dim") else list(distribution)
    if not several:
        raise ValueError("distribution: expected one or more, got none")
    for one in several:
        if one.dim != proposer.of(one.dim).dim:
            raise ValueError(f"distribution: expected functions of {proposer.dim} dimensions, got {one.dim}")
        if settings.loss == "noisy-ei" and one.sample(1, 1, seed)[2] is not None:
            raise ValueError(f"loss: expected functions without given values for noisy-ei, got {type(one).__name__}")
    problem = [_problem_identity(one, settings.steps, seed) for one in several]
    identity = {"model": proposer.config, "problem": problem if len(problem) > 1 else problem[0],
                "recipe": asdict(settings), "seed": seed, "backend": backends.identity(backend),
                "initial": files.digest({"phi": flatten(proposer.params)})}

    pieces = Pieces((proposer, several, settings, backend, threads), executor, piece_seconds,
                    getattr(report, "waiting", None))

    def train_epoch(progress: loop.Progress) -> dict[str, Any]:
        longest, rng = settings.horizon(progress.epoch), np.random.default_rng(child(seed, WORKERS, progress.epoch))

        def gradient(k: int) -> tuple[float, Array]:
            steps, workers = int(rng.integers(settings.first_steps, longest, endpoint=True)), 1  # U2
            if settings.workers > 1 and rng.random() < settings.parallel:
                workers = int(rng.integers(2, settings.workers, endpoint=True))
            fed = trajectory.arrivals(steps, workers, rng)            # U3
            which = int(rng.integers(len(several))) if len(several) > 1 else 0  # U4
            parts = loop.cut(settings.functions, settings.pieces, child(seed, TRAINING, progress.epoch, k))
            answers, _ = pieces(update_piece, progress.phi, [(*part, steps, fed, which) for part in parts])
            return loop.mean(answers, [functions for functions, _ in parts])

        return {"steps": longest} | loop.train_updates(settings, progress, map(gradient, range(settings.updates)))  # U1

    def validate(phi: Array) -> dict[str, float]:
        best = np.mean([
            best_so_far(with_phi(proposer, phi), one, settings.validation_functions, settings.steps,
                        child(seed, VALIDATION), backend, threads).mean(axis=0, dtype=np.float64) for one in several
        ], axis=0)
        return loop.validation(best[-1], best.sum(), settings.judge)

    progress = loop.run(settings, identity, flatten(proposer.params).astype(np.float64), train_epoch, validate,
                        checkpoint=checkpoint, resume=resume, overwrite=overwrite, report=report)
    return with_phi(proposer, progress.best_phi), progress.log


def _problem_identity(distribution: FunctionDistribution, steps: int, seed: int) -> dict[str, Any]:
    """`loop.problem_identity`, of the arguments of the Gaussian process and one function."""
    if getattr(distribution, "config", None) is not None:
        return loop.problem_identity(distribution)
    arguments = repr(sorted(distribution.gp_arguments.items()))
    sample = distribution.sample(1, steps, child(seed, VALIDATION))
    return loop.problem_identity(distribution, arguments, *leaves(sample))


def with_phi(proposer: Proposer, phi: Array) -> Proposer:
    """The same proposer with other weights, in float32, as they will be saved."""
    params = unflatten(phi.astype(np.float32), proposer.params)
    return Proposer(proposer.dim, proposer.hidden, proposer.output, cell=proposer.cell, memory=proposer.memory,
                    params=params, backend=proposer.backend)
