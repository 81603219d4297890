"""What the jobs of this folder have in common: how each is searched, by l2l_ref and by the peers that are installed.

A job is a module with a dict ``SPACE``, the number ``EVALUATIONS``, the number ``WORKERS`` of evaluations at once, and
``objective(seed)``, which gives a function of a dict and another that scores what an optimizer recommends at the end:
without noise they are the same. Run one of them with ``python svm.py``, beside the peers with ``python svm.py --peers
--seeds 10``, and all with ``python beside_peers.py``, which prints the table in Markdown.

Evaluations at once are simulated: as many are pending as there are workers, and one of them, drawn at random, ends
next. So a run depends on its seed alone.
"""

import argparse
import importlib
import importlib.util
import json
import math
import time
from pathlib import Path

import numpy as np

import l2l_ref as l2l

JOBS = ("svm", "gradient_boosting", "inventory", "switches", "spectrum", "path_planning")


class Learned:
    """l2l_ref, as `minimize` uses it."""

    def __init__(self, job, seed):
        self._bb = l2l.BlackBoxOptimizer(job.SPACE, seed=seed, noise=getattr(job, "NOISE", None))

    def ask(self):
        trial = self._bb.ask()
        return trial, trial.x

    def tell(self, key, x, value):
        self._bb.tell(key, value)

    def recommended(self):
        return self._bb.recommended[0]


class Best:
    """A peer, of which the point with the best value is taken."""

    best = None, math.inf

    def tell(self, key, x, value):
        if value < self.best[1]:
            self.best = x, value
        self.told(key, value)

    def told(self, key, value):
        pass

    def recommended(self):
        return self.best[0]


class Random(Best):
    """Independent uniform draws."""

    def __init__(self, job, seed):
        self._space, self._rng = job.SPACE, np.random.default_rng(seed)

    def ask(self):
        return None, at(self._space, self._rng.random(len(self._space)))


class TPE(Best):
    """Optuna's TPE: multivariate, and it knows of pending evaluations."""

    def __init__(self, job, seed):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=job.WORKERS > 1)
        self._study, self._space = optuna.create_study(sampler=sampler), job.SPACE

    def ask(self):
        trial = self._study.ask()
        return trial, {name: suggested(trial, name, given) for name, given in self._space.items()}

    def told(self, key, value):
        self._study.tell(key, value)


class CMAES(Best):
    """CMA-ES of the package cmaes on the unit cube, whose points are rounded; it starts afresh when it stops."""

    def __init__(self, job, seed):
        self._space, self._rng = job.SPACE, np.random.default_rng(seed)
        self._start(np.full(len(self._space), 0.5), None)

    def _start(self, mean, population_size):
        from cmaes import CMA

        self._search = CMA(mean, 0.3, bounds=np.array([[0.0, 1.0]] * len(mean)), seed=int(self._rng.integers(2**31)),
                           population_size=population_size)
        self._told = []

    def ask(self):
        u = self._search.ask()
        return (self._search, u), at(self._space, u)

    def told(self, key, value):
        search, u = key
        if search is not self._search:  # asked for before it started afresh
            return
        self._told.append((u, value))
        if len(self._told) == search.population_size:
            search.tell(self._told)
            self._told = []
            if search.should_stop():
                self._start(self._rng.random(len(self._space)), 2 * search.population_size)


OPTIMIZERS = {"l2l_ref": (Learned, None), "TPE": (TPE, "optuna"), "CMA-ES": (CMAES, "cmaes"), "random": (Random, None)}


def at(space, u):
    """The point of the unit cube as a dict."""
    x = {}
    for (name, given), v in zip(space.items(), np.minimum(u, 1 - 1e-12).tolist()):
        if isinstance(given, l2l.Categorical):
            x[name] = given.choices[int(v * len(given.choices))]
            continue
        low, high = given.low, given.high + isinstance(given, l2l.Int)
        value = low * (high / low) ** v if given.log else low + v * (high - low)
        x[name] = int(value) if isinstance(given, l2l.Int) else value
    return x


def suggested(trial, name, given):
    """What an Optuna trial suggests for one parameter."""
    if isinstance(given, l2l.Categorical):
        return trial.suggest_categorical(name, given.choices)
    suggest = trial.suggest_int if isinstance(given, l2l.Int) else trial.suggest_float
    return suggest(name, given.low, given.high, log=given.log)


def run(job, optimizer, seed, evaluations=None):
    """One search. Returns the score of what it recommends, and the seconds a query took."""
    rng = np.random.default_rng([seed, 1])
    function, score = job.objective(seed)
    search = OPTIMIZERS[optimizer][0](job, seed)
    pending, asked, seconds, most = [], 0, 0.0, evaluations or job.EVALUATIONS
    while asked < most or pending:
        start = time.perf_counter()
        while asked < most and len(pending) < job.WORKERS:
            pending.append(search.ask())
            asked += 1
        seconds += time.perf_counter() - start
        key, x = pending.pop(rng.integers(len(pending)))
        value = function(x)
        start = time.perf_counter()
        search.tell(key, x, value)
        seconds += time.perf_counter() - start
    return score(search.recommended()), seconds / most


def results(job, optimizers, seeds, evaluations=None, file=None):
    """The scores {optimizer: [score of each seed]}. ``file`` keeps them, so that a run that was stopped goes on."""
    kept = json.loads(file.read_text()) if file and file.exists() else {}
    scores = {}
    for seed in seeds:
        for optimizer in optimizers:
            key = f"{job.TITLE}: {optimizer} {evaluations or job.EVALUATIONS} {seed}"
            if key not in kept:
                kept[key] = run(job, optimizer, seed, evaluations)
                if file:
                    file.write_text(json.dumps(kept, indent=0))
            scores.setdefault(optimizer, []).append(kept[key][0])
    return scores


def table(scores_by_job):
    """The mean score of each optimizer, and in how many of the seeds l2l_ref was better, equal and worse."""
    optimizers = list(next(iter(scores_by_job.values())))
    rows = [["job", *optimizers, *(f"against {name}" for name in optimizers[1:])], ["---"] * (2 * len(optimizers))]
    for name, scores in scores_by_job.items():
        ours = np.array(scores[optimizers[0]])
        against = [f"{(ours < other).sum()}-{(ours == other).sum()}-{(ours > other).sum()}"
                   for other in (np.array(scores[peer]) for peer in optimizers[1:])]
        rows.append([name, *(f"{np.mean(scores[o]):.4g}" for o in optimizers), *against])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main(job=None):
    """The command line of one job, or of all of them."""
    parser = argparse.ArgumentParser(description=(job or importlib.import_module(__name__)).__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1 if job else 10, help="how many")
    parser.add_argument("--evaluations", type=int, help="of each search, instead of what the job says")
    parser.add_argument("--peers", action="store_true", default=job is None, help="also run the peers")
    parser.add_argument("--file", type=Path, help="where to keep results; those that it has are not computed again")
    arguments = parser.parse_args()
    optimizers = [name for name, (_, package) in OPTIMIZERS.items()
                  if name == "l2l_ref" or arguments.peers and (package is None or importlib.util.find_spec(package))]
    scores = {}
    for module in [job] if job else map(importlib.import_module, JOBS):
        if module.NEEDS and importlib.util.find_spec(module.NEEDS) is None:
            print(f"{module.TITLE}: skipped, because it needs {module.NEEDS}")
            continue
        seeds = range(arguments.seed, arguments.seed + arguments.seeds)
        scores[module.TITLE] = results(module, optimizers, seeds, arguments.evaluations, arguments.file)
    if scores:
        print(table(scores))


if __name__ == "__main__":
    main()
