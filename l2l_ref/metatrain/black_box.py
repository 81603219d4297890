"""Meta-training of the black-box optimizer: Chen et al. 2017, sections 3 and 5.

    U1  theta moves against the gradient of X7, a mean over functions drawn afresh for every update; the whole
        trajectory is unrolled
    U2  the horizon of an update is drawn from ``first_steps`` to T; curriculum: T grows from ``first_steps`` to
        ``steps``, by the same factor an epoch
    U3  with several workers, as many queries are on their way, and come back in random order

The review gives Adam and a curriculum from 10 to 100; all numbers here are our own choice. How many workers there are
is drawn anew for each update: one network then serves any number of them. Validation is on functions that stay the
same, with one worker and the full horizon; it is judged by the best value found, after the last query or summed
over all. A network that knows its horizon lets the first queries be as bad as they like (most losses do not mind), so
that horizons are drawn.
"""

from dataclasses import asdict, dataclass

import numpy as np

from .. import files
from ..checks import whole_number
from ..learned import trajectory
from ..learned.proposer import Proposer
from ..seeds import child
from ..trees import flatten, unflatten
from . import loop

# The streams of random numbers of one run.
TRAINING, VALIDATION, WORKERS = 1, 2, 4

PIECE = 500  # functions at once where memory would be large


@dataclass(frozen=True, kw_only=True)
class Recipe(loop.Schedule):
    """How to meta-train a black-box optimizer: a `Schedule`, and what an epoch is made of.

    An epoch has ``updates`` updates, each on ``functions`` functions. The longest horizon grows from ``first_steps`` to
    ``steps`` over the fraction ``curriculum`` of the epochs (U2). ``loss``, ``penalty`` and ``through_incumbent``
    are those of `trajectory_loss`. A fraction ``parallel`` of the updates has 2 to ``workers`` workers, the others
    one (U3). Validation is on ``validation_functions`` functions, and judged by the "final" best value or by the
    "sum" of the best values so far.
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

    def __post_init__(self):
        super().__post_init__()
        if self.loss not in trajectory.LOSSES:
            raise ValueError(f"loss: expected one of {', '.join(trajectory.LOSSES)}, got {self.loss!r}")
        for name in ("curriculum", "parallel"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected a number in [0, 1], got {getattr(self, name)!r}")
        if not 0 <= self.penalty < np.inf:
            raise ValueError(f"penalty: expected a finite number >= 0, got {self.penalty!r}")
        if self.judge not in ("final", "sum"):
            raise ValueError(f"judge: expected 'final' or 'sum', got {self.judge!r}")
        if self.first_steps > self.steps:
            raise ValueError(f"first_steps: expected at most steps={self.steps}, got {self.first_steps}")

    def horizon(self, epoch):
        """U2: the longest horizon in an epoch, counted from 0."""
        grown = min(1.0, epoch / (self.curriculum * self.epochs)) if self.curriculum else 1.0
        return round(self.first_steps * (self.steps / self.first_steps) ** grown)


def trajectory_gradient(proposer, distribution, recipe, steps, fed, seed, backend="auto", dtype=np.float32):
    """U1: the loss of one batch of functions and its gradient in the weights, a flat float64 vector."""
    z, epsilon, given = distribution.sample(recipe.functions, steps, seed, dtype)
    out, cache = trajectory.trajectory(
        proposer.params_as(dtype), z, epsilon, fed, **distribution.gp_arguments, given=given, output=proposer.output,
        cell=proposer.network, backend=backend
    )
    loss, loss_cache = trajectory.trajectory_loss(out, recipe.loss, recipe.penalty, recipe.through_incumbent)
    d_out = trajectory.trajectory_loss_backward(np.full_like(loss, 1 / len(loss)), loss_cache)
    d_params, *_ = trajectory.trajectory_backward(d_out, cache)
    return float(loss.mean()), flatten(d_params).astype(np.float64)


def best_so_far(proposer, distribution, functions, steps, seed, backend="auto"):
    """The best value of each function after 1..T queries, (B, T); one worker."""
    z, epsilon, given = distribution.sample(functions, steps, seed)
    return np.minimum.accumulate(_run(proposer, distribution, z, epsilon, given, backend).f, axis=1)


def _run(proposer, distribution, z, epsilon, given, backend):
    """The Trajectory with one worker."""
    out, _ = trajectory.trajectory(
        proposer.params_as(np.float32), z, epsilon, trajectory.arrivals(z.shape[1]), **distribution.gp_arguments, given=given,
        output=proposer.output, cell=proposer.network, backend=backend
    )
    return out


def held_out(proposer, distribution, functions, steps, seed, backend="auto"):
    """On functions that nothing was decided on: the mean best value after 1..T queries, (T,), and the moments.

    The moments are those of the values that a network sees, which y is scaled to where its range is not known: for
    n = 1, 2, 4, .. values the mean over functions of their mean and of their standard deviation, a list of pairs.
    """
    best, moments = [], []
    for first in range(0, functions, PIECE):
        z, epsilon, given = distribution.sample(min(PIECE, functions - first), steps, child(seed, first // PIECE))
        out = _run(proposer, distribution, z, epsilon, given, backend)
        best.append(np.minimum.accumulate(out.f, axis=1))
        counts = [2**k for k in range(steps.bit_length())]
        moments.append([(out.y[:, :n].mean(axis=1).sum(), out.y[:, :n].std(axis=1).sum()) for n in counts])
    moments = np.sum(moments, axis=0, dtype=np.float64) / functions
    return np.concatenate(best).mean(axis=0, dtype=np.float64), moments.round(4).tolist()


def meta_train_black_box(proposer, distribution, seed=0, *, backend="auto", checkpoint=None, resume=False, report=None,
                         **recipe):
    """Meta-train a black-box optimizer.

    Parameters
    ----------
    proposer : Proposer
        Gives the architecture and the initial weights; is not changed.
    distribution : GPDistribution, SupportDistribution, or any object with ``dim``, ``gp_arguments`` and ``sample``
        The functions.
    seed : int
        Same seed, same weights, whatever the number of threads.
    backend : {"auto", "numpy", "numba"}
    checkpoint, resume, report
        As in `meta_train`.
    **recipe
        The fields of ``Recipe``.

    Returns
    -------
    proposer, log
        A new Proposer with the best weights seen, and a list with a dict for each epoch.

    Raises
    ------
    ValueError
        For a bad recipe, a distribution of another dimension, or a checkpoint that is broken or belongs to another run.
    """
    recipe, seed = Recipe(**recipe), whole_number("seed", seed, least=0)
    if distribution.dim != proposer.dim:
        raise ValueError(f"distribution: expected functions of {proposer.dim} dimensions, got {distribution.dim}")
    identity = {"model": proposer.config, "problem": getattr(distribution, "config", type(distribution).__name__),
                "recipe": asdict(recipe), "seed": seed, "initial": files.digest({"phi": flatten(proposer.params)})}

    def train_epoch(progress):
        longest, rng = recipe.horizon(progress.epoch), np.random.default_rng(child(seed, WORKERS, progress.epoch))

        def gradient(k):
            steps, workers = int(rng.integers(recipe.first_steps, longest, endpoint=True)), 1  # U2
            if recipe.workers > 1 and rng.random() < recipe.parallel:
                workers = int(rng.integers(2, recipe.workers, endpoint=True))
            fed = trajectory.arrivals(steps, workers, rng)            # U3
            return trajectory_gradient(
                with_phi(proposer, progress.phi), distribution, recipe, steps, fed,
                child(seed, TRAINING, progress.epoch, k), backend
            )

        return {"steps": longest} | loop.train_updates(recipe, progress, recipe.updates, gradient)  # U1

    def validate(phi):
        best = best_so_far(with_phi(proposer, phi), distribution, recipe.validation_functions, recipe.steps,
                           child(seed, VALIDATION), backend).mean(axis=0, dtype=np.float64)
        final, total = loop.finite(best[-1]), loop.finite(best.sum())
        return {"validation_final": final, "validation_sum": total,
                "judged": final if recipe.judge == "final" else total}

    progress = loop.run(recipe, identity, flatten(proposer.params).astype(np.float64), train_epoch, validate,
                        checkpoint=checkpoint, resume=resume, report=report)
    return with_phi(proposer, progress.best_phi), progress.log


def with_phi(proposer, phi):
    """The same proposer with other weights, in float32 as they will be saved."""
    params = unflatten(phi.astype(np.float32), proposer.params)
    return Proposer(proposer.dim, proposer.hidden, proposer.output, cell=proposer.cell, memory=proposer.memory,
                    params=params)
