"""A search of hyperparameters in the form of scikit-learn's own."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping
from typing import Any

from ..extras import require

require("sklearn", "LearnedSearchCV")

from sklearn.model_selection import RandomizedSearchCV  # noqa: E402
from sklearn.utils import check_random_state  # noqa: E402

from ..search.optimizer import BlackBoxOptimizer  # noqa: E402
from ..search.space import Categorical  # noqa: E402


class LearnedSearchCV(RandomizedSearchCV):  # type: ignore[misc]
    """Finds the hyperparameters of an estimator with the best score in cross-validation by a `BlackBoxOptimizer`.

    It is used as `RandomizedSearchCV`, whose other parameters and attributes it has. ``n_jobs`` runs the folds of the
    candidates of a batch at once.

    Parameters
    ----------
    estimator
    param_distributions : dict
        A `Float`, an `Int`, a `Categorical` or a list of choices for each name.
    n_iter : int
        The number of candidates.
    batch : int
        How many candidates are asked for before their scores are known.
    model : str, path or Proposer
        As for `BlackBoxOptimizer`.
    options
        Those of `RandomizedSearchCV`. Of several scores, ``refit`` names the one to search by.

    Notes
    -----
    A candidate of which a fold has no score has failed, and the search goes on. One of which all folds have failed is
    not in ``cv_results_``; if the first ten are such, scikit-learn's error is raised.
    """

    def __init__(self, estimator: Any, param_distributions: Mapping[str, Any], *, n_iter: int = 50, batch: int = 1,
                 model: Any = "lstm-oi", scoring: Any = None, n_jobs: int | None = None, refit: Any = True,
                 cv: Any = None, verbose: int = 0, pre_dispatch: int | str = "2*n_jobs", random_state: Any = None,
                 error_score: Any = float("nan"), return_train_score: bool = False) -> None:
        super().__init__(estimator, param_distributions, n_iter=n_iter, scoring=scoring, n_jobs=n_jobs, refit=refit,
                         cv=cv, verbose=verbose, pre_dispatch=pre_dispatch, random_state=random_state,
                         error_score=error_score, return_train_score=return_train_score)
        self.batch, self.model = batch, model

    def _run_search(self, evaluate_candidates: Callable[..., dict[str, Any]]) -> None:
        """Ask, evaluate and tell."""
        for name, value in {"n_iter": self.n_iter, "batch": self.batch}.items():
            if not isinstance(value, numbers.Integral) or value < 1:
                raise ValueError(f"{name}: expected a whole number >= 1, got {value!r}")
        space = {name: given if not isinstance(given, list) else Categorical(given)
                 for name, given in self.param_distributions.items()}
        bb = BlackBoxOptimizer(space, self.model, int(check_random_state(self.random_state).randint(2**31 - 1)),
                               maximize=True)
        failed, results = 0, None
        for done in range(0, self.n_iter, self.batch):
            trials = bb.ask(min(self.batch, self.n_iter - done))
            try:
                results = evaluate_candidates([trial.x for trial in trials])
            except ValueError as error:
                failed += len(trials)
                hopeless = results is None and failed >= min(10, self.n_iter)
                if hopeless or self.error_score == "raise" or "fits failed" not in str(error):
                    raise
                scores = [None] * len(trials)
            else:
                name = "mean_test_score" if "mean_test_score" in results else f"mean_test_{self.refit}"
                scores = results[name][-len(trials):]
            for trial, score in zip(trials, scores):
                bb.tell(trial, score)
