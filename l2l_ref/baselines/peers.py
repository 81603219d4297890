"""Third-party black-box optimizers, those that are installed, with the same ask and tell.

Each adapter is a generator for one function on the unit cube of d dimensions. It yields a point, is sent the value
there, and yields the next point. `Peer` makes a batch of them. All settings are the defaults of the packages, except
that scikit-optimize uses expected improvement as its acquisition function, and that CMA-ES, which has no defaults for
them, starts in the middle with a standard deviation of 0.3 and starts afresh with twice the population when it stops.

The optimizers of SciPy call the function themselves, and start afresh when they stop.
"""

from __future__ import annotations

import importlib.util
import itertools
import logging
import tempfile
import warnings
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .. import extras
from ..seeds import child

if TYPE_CHECKING:
    from ..protocols import Array, Seed


Asking: TypeAlias = Generator[Sequence[float], Any, None]  # yields points, is sent their values


def optuna_tpe(dim: int, evaluations: int, seed: int) -> Asking:
    return _optuna("TPESampler", dim, seed=seed)


def optuna_multivariate_tpe(dim: int, evaluations: int, seed: int) -> Asking:
    return _optuna("TPESampler", dim, seed=seed, multivariate=True)


def optuna_gp(dim: int, evaluations: int, seed: int) -> Asking:
    return _optuna("GPSampler", dim, seed=seed)


def optuna_study(sampler: str, **settings: Any) -> Any:
    """A study of Optuna whose sampler has this name and these settings."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.create_study(sampler=getattr(optuna.samplers, sampler)(**settings))


def _optuna(sampler: str, dim: int, **settings: Any) -> Asking:
    study = optuna_study(sampler, **settings)
    while True:
        trial = study.ask()
        y = yield [trial.suggest_float(f"x{i}", 0, 1) for i in range(dim)]
        study.tell(trial, y)


def cmaes(dim: int, evaluations: int, seed: int) -> Asking:
    from cmaes import CMA

    rng, bounds = np.random.default_rng(seed), np.array([[0.0, 1.0]] * dim)
    mean, size = np.full(dim, 0.5), None
    while True:
        search = CMA(mean, 0.3, bounds=bounds, seed=int(rng.integers(2**31)), population_size=size)
        while not search.should_stop():
            generation = []
            for _ in range(search.population_size):
                x = search.ask()
                generation.append((x, (yield x)))
            search.tell(generation)
        mean, size = rng.random(dim), 2 * search.population_size


def nevergrad_ngopt(dim: int, evaluations: int, seed: int) -> Asking:
    import nevergrad

    space = nevergrad.p.Array(shape=(dim,), lower=0.0, upper=1.0)
    space.random_state.seed(seed % 2**32)
    search = nevergrad.optimizers.NGOpt(space, budget=evaluations)
    while True:
        candidate = search.ask()
        search.tell(candidate, (yield candidate.value))


def hyperopt_tpe(dim: int, evaluations: int, seed: int) -> Asking:
    from hyperopt import JOB_STATE_DONE, STATUS_OK, Trials, base, hp, tpe

    names = [f"x{i}" for i in range(dim)]
    domain = base.Domain(lambda point: 0.0, {name: hp.uniform(name, 0, 1) for name in names})
    trials, rng = Trials(), np.random.default_rng(seed)
    while True:
        trial, = tpe.suggest(trials.new_trial_ids(1), domain, trials, int(rng.integers(2**31)))
        y = yield [trial["misc"]["vals"][name][0] for name in names]
        trial.update(state=JOB_STATE_DONE, result={"loss": y, "status": STATUS_OK})
        trials.insert_trial_doc(trial)
        trials.refresh()


def skopt_gp(dim: int, evaluations: int, seed: int) -> Asking:
    from skopt import Optimizer

    optimizer = Optimizer([(0.0, 1.0)] * dim, "GP", acq_func="EI", random_state=seed)
    while True:
        x = optimizer.ask()
        optimizer.tell(x, (yield x))


def smac(dim: int, evaluations: int, seed: int) -> Asking:
    from ConfigSpace import ConfigurationSpace, Float
    from smac import HyperparameterOptimizationFacade, Scenario
    from smac.runhistory.dataclasses import TrialValue

    space = ConfigurationSpace(seed=seed, space=[Float(f"x{i}", (0.0, 1.0)) for i in range(dim)])
    with tempfile.TemporaryDirectory() as folder:  # for the files that it writes
        scenario = Scenario(space, deterministic=True, n_trials=evaluations, seed=seed, output_directory=folder)
        search = HyperparameterOptimizationFacade(scenario, lambda config, seed=0: 0.0, logging_level=logging.ERROR)
        while True:
            trial = search.ask()
            y = yield [trial.config[f"x{i}"] for i in range(dim)]
            search.tell(trial, TrialValue(cost=y))


PEERS = {  # the package to look for, and the adapter
    "optuna-tpe": ("optuna", optuna_tpe), "hyperopt-tpe": ("hyperopt", hyperopt_tpe), "skopt-gp": ("skopt", skopt_gp),
    "smac": ("smac", smac),
}


Minimiser: TypeAlias = Callable[[Callable[["Array"], float], int, int, int], object]


def scipy_differential_evolution(function: Callable[[Array], float], dim: int, evaluations: int, seed: int) -> None:
    from scipy.optimize import differential_evolution

    for k in itertools.count():
        differential_evolution(function, [(0, 1)] * dim, seed=np.random.default_rng([seed, k]))


def scipy_dual_annealing(function: Callable[[Array], float], dim: int, evaluations: int, seed: int) -> None:
    from scipy.optimize import dual_annealing

    for k in itertools.count():
        dual_annealing(function, [(0, 1)] * dim, seed=np.random.default_rng([seed, k]))


def asked(search: Callable[[int, int, int], Asking]) -> Minimiser:
    """The optimizer that asks as one that calls the function itself, until that raises an exception."""

    def minimise(function: Callable[[Array], float], dim: int, evaluations: int, seed: int) -> None:
        asking, value = search(dim, evaluations, seed), None
        while True:
            value = function(np.array(asking.send(value), np.float64))

    return minimise


BBOB_PEERS: dict[str, tuple[tuple[str, ...], Minimiser]] = {  # the packages to look for, and the adapter
    "optuna-tpe": (("optuna",), asked(optuna_multivariate_tpe)), "optuna-gp": (("optuna", "torch"), asked(optuna_gp)),
    "cmaes": (("cmaes",), asked(cmaes)), "scipy-de": (("scipy",), scipy_differential_evolution),
    "scipy-annealing": (("scipy",), scipy_dual_annealing), "nevergrad": (("nevergrad",), asked(nevergrad_ngopt)),
    "skopt-gp": (("skopt",), asked(skopt_gp)),
}


def installed_for_bbob() -> list[str]:
    """The names of the BBOB_PEERS whose packages are installed. ImportError if there is none."""
    names = [name for name, (packages, _) in BBOB_PEERS.items() if extras.installed(*packages)]
    if not names:
        raise ImportError(f"peers: none of {', '.join(BBOB_PEERS)} is installed: pip install 'l2l-ref[bbob,peers]'")
    return names


def installed() -> list[str]:
    """The names of the peers whose packages are installed. ImportError if there is none."""
    names = [name for name, (package, _) in PEERS.items() if importlib.util.find_spec(package)]
    if not names:
        raise ImportError(f"peers: none of {', '.join(PEERS)} is installed: pip install 'l2l-ref[peers]'")
    return names


class Peer:
    """A third-party optimizer on B functions of d dimensions, those with the numbers ``first`` to ``first + B - 1``.

    Parameters
    ----------
    name : str
        A key of `PEERS`.
    functions, dim : int
        B and d.
    evaluations : int
        The number of evaluations of each function.
    seed : int or SeedSequence
    first : int
        The number of the first function.
    """

    def __init__(self, name: str, functions: int, dim: int, evaluations: int, seed: Seed, first: int = 0) -> None:
        seeds = (child(seed, k, 2) for k in range(first, first + functions))
        self._searches = [PEERS[name][1](dim, evaluations, int(s.generate_state(1)[0] >> 1)) for s in seeds]
        self._y: list[Any] = [None] * functions

    def ask(self) -> Array:
        """The next point of each function, (B, d)."""
        return np.array([search.send(y) for search, y in zip(self._searches, self._y)], np.float64)

    def tell(self, x: Array, y: Array) -> None:
        """Give the values y (B,) at the points x (B, d) of the last `ask`."""
        self._y = y.tolist()
