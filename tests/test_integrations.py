"""The learned black-box optimizer in Optuna, scikit-learn and SciPy: nothing is lost, and the same seed is the same."""

import importlib
import math
import pickle
import sys
import threading
import warnings

import numpy as np
import pytest

import l2l_ref as l2l

# ------------------------------------------------------------------------------------------------ without the libraries


@pytest.mark.parametrize("library, message", [
    ("optuna", "LearnedSampler needs Optuna: pip install 'l2l-ref[optuna]'"),
    ("sklearn", "LearnedSearchCV needs scikit-learn: pip install 'l2l-ref[sklearn]'"),
])
def test_a_missing_library_is_named_with_its_extra(library, message, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"l2l_ref.integrations.{library}", raising=False)
    with pytest.raises(ImportError) as error:
        importlib.import_module(f"l2l_ref.integrations.{library}")
    assert str(error.value) == message


# ------------------------------------------------------------------------------------------------ Optuna


@pytest.fixture
def optuna():
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    return optuna


@pytest.fixture
def sampler(optuna):
    from l2l_ref.integrations.optuna import LearnedSampler

    return LearnedSampler


class Seen:
    """A finish that never proposes anything, and keeps what it sees of a search."""

    def __call__(self, history):
        self.history = history

    def values(self):
        return self.history.values.tolist()


def bowl(trial):
    x, y = trial.suggest_float("x", -5, 10), trial.suggest_float("y", -5, 5)
    return (x - 1) ** 2 + (y + 2) ** 2


def mixed(trial):
    kind = trial.suggest_categorical("kind", ["a", "b", None])
    steps, rate = trial.suggest_int("steps", 1, 9, step=2), trial.suggest_float("rate", 1e-4, 1, log=True)
    share = trial.suggest_float("share", 0, 1, step=0.25)
    return abs(math.log10(rate) + 2) + abs(steps - 5) + (kind != "b") + share


def points(study):
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("objective", [bowl, mixed])
def test_a_study_taken_up_by_another_sampler_is_the_study_that_went_on(optuna, sampler, objective):
    whole = optuna.create_study(sampler=sampler(seed=1))
    whole.optimize(objective, n_trials=30)
    first = optuna.create_study(storage="sqlite:///:memory:", study_name="s", sampler=sampler(seed=1))
    for n in (1, 9, 11, 9):  # the storage has everything: a new sampler each time
        optuna.load_study(study_name="s", storage=first._storage, sampler=sampler(seed=1)).optimize(objective, n)
    assert points(first) == points(whole)
    other = optuna.create_study(sampler=sampler(seed=2))
    other.optimize(objective, n_trials=5)
    assert points(other) != points(whole)[:5]


def test_a_study_has_the_points_of_the_same_search_by_hand(optuna, sampler):
    study = optuna.create_study(sampler=sampler(seed=3), direction="maximize")
    study.optimize(lambda trial: -bowl(trial), n_trials=15)
    first, *others = study.trials
    bb = l2l.BlackBoxOptimizer({"x": l2l.Float(-5, 10), "y": l2l.Float(-5, 5)}, seed=3, maximize=True)
    bb.tell(first.params, first.value)
    for other in others:
        trial = bb.ask()
        assert trial.x == other.params
        bb.tell(trial, other.value)


def test_failures_and_running_trials_are_handed_on(optuna, sampler):
    seen = Seen()
    study = optuna.create_study(sampler=sampler(finish=seen))
    running = []

    def ask():
        running.append(study.ask())
        return running[-1], bowl(running[-1])

    for n in range(8):
        trial, value = ask()
        if n == 1:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        elif n == 2:
            trial.report(value, 0)
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        elif n == 3:
            study.tell(trial, math.inf)
        elif n == 4 and hasattr(trial, "set_constraint"):  # of Optuna 5
            trial.set_constraint("c", 0.5)
            study.tell(trial, value)
        elif n == 5:
            continue
        else:
            study.tell(trial, value)
    ask()
    told = [trial for trial in study.trials if trial.state.is_finished()]
    failed = {1, 2, 3, 4} if hasattr(running[0], "set_constraint") else {1, 2, 3}
    assert np.isnan(seen.values()).tolist() == [trial.number in failed for trial in told]
    assert [v for v in seen.values() if v == v] == [trial.value for trial in told if trial.number not in failed]
    x, y = study.trials[5].params.values()
    np.testing.assert_allclose(seen.history.pending, [[(x + 5) / 15, (y + 5) / 10]])


def test_another_sampler_sees_what_is_running(optuna, sampler):
    """Two samplers with the same seed, as of two processes, in turn: each knows what the other has asked for."""
    seen = Seen()
    one = optuna.create_study(storage="sqlite:///:memory:", study_name="s", sampler=sampler())
    two = optuna.load_study(study_name="s", storage=one._storage, sampler=sampler(finish=seen))
    one.optimize(bowl, n_trials=3)
    asked = [study.ask() for study in (one, two, one, two)]
    for trial in asked:
        bowl(trial)
    assert len(seen.history.pending) == 3
    assert len({tuple(trial.params.values()) for trial in asked}) == 4


def test_a_trial_that_others_are_about_to_ask_for_is_left_to_them(optuna, sampler):
    """The other process has begun a trial, but the storage does not know its point yet."""
    asked = []
    for others in (0, 1):
        study = optuna.create_study(sampler=sampler())
        study.optimize(bowl, n_trials=3)
        for _ in range(others):
            study._storage.create_new_trial(study._study_id)
        trial = study.ask()
        bowl(trial)
        asked.append(trial.params)
    assert asked[0] != asked[1]


def test_a_running_trial_of_another_sampler_is_pending(optuna, sampler):
    seen = Seen()
    study = optuna.create_study(storage="sqlite:///:memory:", study_name="s", sampler=sampler(finish=seen))
    study.optimize(bowl, n_trials=3)
    other = optuna.load_study(study_name="s", storage=study._storage, sampler=optuna.samplers.RandomSampler(seed=0))
    theirs = other.ask()
    bowl(theirs)
    bowl(study.ask())
    x, y = theirs.params.values()
    np.testing.assert_allclose(seen.history.pending, [[(x + 5) / 15, (y + 5) / 10]])


def test_threads_share_a_study(optuna, sampler):
    seen = Seen()
    study = optuna.create_study(sampler=sampler(finish=seen))
    barrier = threading.Barrier(4)

    def objective(trial):
        value = bowl(trial)
        barrier.wait(60)
        return value

    study.optimize(objective, n_trials=24, n_jobs=4)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 24
    assert len({tuple(point.values()) for point in points(study)}) == 24
    assert len(seen.values()) >= 20 and len(seen.history.pending) == 3  # of the last to ask


def test_conditional_and_changing_spaces(optuna, sampler):
    def objective(trial):
        depth = trial.suggest_int("depth", 1, 3)
        if trial.number == 4:
            raise KeyError("a mistake after one of the parameters")
        if depth > 1:
            trial.suggest_float("drop", 0, 1)
        trial.suggest_float("width", 0, 2 + trial.number % 2)  # whose bounds change
        trial.suggest_categorical("odd", [1.0, math.inf])      # which JSON cannot write
        return depth + trial.suggest_float("x", 0, 1)

    study = optuna.create_study(sampler=sampler())
    study.optimize(objective, n_trials=15, catch=(KeyError,))
    space = study.sampler.infer_relative_search_space(study, study.trials[-1])
    assert set(space) == {"depth", "x"}
    assert len(study.trials) == 15 and study.best_value < 1.2
    assert len({(p["depth"], p.get("x")) for p in points(study)}) == 15


def test_enqueued_added_and_outlying_trials(optuna, sampler):
    seen = Seen()
    study = optuna.create_study(sampler=sampler(finish=seen))
    study.add_trial(optuna.trial.create_trial(
        params={"x": 1.0, "y": -2.0}, value=0.5, distributions={
            "x": optuna.distributions.FloatDistribution(-5, 10), "y": optuna.distributions.FloatDistribution(-5, 5)}))
    study.enqueue_trial({"x": 2.0})
    study.enqueue_trial({"x": 99.0, "y": 0.0})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the bounds
        study.optimize(bowl, n_trials=4)
    assert study.trials[1].params["x"] == 2 and study.trials[2].params["x"] == 99
    assert seen.values() == [0.5, study.trials[1].value, study.trials[3].value]  # the other is outside of the space
    assert seen.history.points[1][0] == pytest.approx(7 / 15)


def test_a_sampler_pickles_and_refuses_what_it_cannot_do(optuna, sampler):
    study = optuna.create_study(sampler=sampler(seed=5))
    study.optimize(bowl, n_trials=8)
    study.sampler = pickle.loads(pickle.dumps(study.sampler))
    study.optimize(bowl, n_trials=8)
    whole = optuna.create_study(sampler=sampler(seed=5))
    whole.optimize(bowl, n_trials=16)
    assert points(study) == points(whole)
    several = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler())
    with pytest.raises(ValueError, match="LearnedSampler: expected one objective, got 2"):
        several.ask().suggest_float("x", 0, 1)


# ------------------------------------------------------------------------------------------------ scikit-learn


SPACE = {"C": l2l.Float(1e-3, 1e3, log=True)}


@pytest.fixture
def search():
    pytest.importorskip("sklearn")
    from sklearn.linear_model import LogisticRegression

    from l2l_ref.integrations.sklearn import LearnedSearchCV

    def make(space=SPACE, estimator=None, **options):
        options = {"cv": 2, "n_iter": 4, "random_state": 0} | options
        return LearnedSearchCV(estimator or LogisticRegression(), space, **options)

    return make


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4))
    return X, (X @ [1, -2, 0.5, 0] + 0.5 * rng.normal(size=60) > 0).astype(int)


@pytest.mark.filterwarnings("ignore")  # of fits that fail, and of checks that are skipped
def test_scikit_learns_own_checks(search):
    from sklearn.utils.estimator_checks import check_estimator

    results = check_estimator(search(n_iter=2), on_skip=None)
    passed = [result for result in results if result["status"] == "passed"]
    assert len(passed) > 40 and {result["status"] for result in results} <= {"passed", "skipped"}


def test_the_search_is_that_of_a_black_box_optimizer(search, data):
    space = {"C": l2l.Float(1e-3, 1e3, log=True), "fit_intercept": [True, False], "max_iter": l2l.Int(50, 200)}
    found = search(space, n_iter=7, batch=3, random_state=1).fit(*data)
    again = search(space, n_iter=7, batch=3, random_state=1).fit(*data)
    candidates = found.cv_results_["params"]
    assert candidates == again.cv_results_["params"] and len(candidates) == 7
    assert candidates != search(space, n_iter=7, batch=3, random_state=2).fit(*data).cv_results_["params"]
    assert {(type(x["max_iter"]), type(x["fit_intercept"])) for x in candidates} == {(int, bool)}
    assert found.best_score_ == max(found.cv_results_["mean_test_score"])

    seed = int(np.random.RandomState(1).randint(2**31 - 1))
    bb = l2l.BlackBoxOptimizer(space | {"fit_intercept": l2l.Categorical([True, False])}, seed=seed, maximize=True)
    for n, first in (3, 0), (3, 3), (1, 6):
        trials = bb.ask(n)
        assert [trial.x for trial in trials] == candidates[first : first + n]
        for trial, score in zip(trials, found.cv_results_["mean_test_score"][first:]):
            bb.tell(trial, score)


def test_several_scores_and_a_search_without_one_to_go_by(search, data):
    found = search(scoring=["accuracy", "neg_log_loss"], refit="neg_log_loss").fit(*data)
    assert found.best_score_ == max(found.cv_results_["mean_test_neg_log_loss"])


@pytest.mark.filterwarnings("ignore")  # of fits that fail
def test_candidates_that_fail_do_not_end_the_search(search, data):
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Fragile(ClassifierMixin, BaseEstimator):
        def __init__(self, C=1.0, limit=1.0):
            self.C, self.limit = C, limit

        def fit(self, X, y):
            if self.C > self.limit:
                raise RuntimeError("too large")
            self.classes_ = np.unique(y)
            return self

        def predict(self, X):
            return np.zeros(len(X), int)

    fits = search(estimator=Fragile(), n_iter=12).fit(*data).cv_results_["params"]
    assert 0 < len(fits) < 12 and all(x["C"] <= 1 for x in fits)
    with pytest.raises(ValueError, match="fits failed"):
        search(estimator=Fragile(limit=0.0), n_iter=12).fit(*data)
    with pytest.raises(RuntimeError, match="too large"):
        search(estimator=Fragile(limit=0.0), error_score="raise").fit(*data)


@pytest.mark.parametrize("options", [{"n_iter": 0}, {"batch": 0}, {"batch": 1.5}])
def test_bad_numbers_of_candidates_are_refused(search, data, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        search(**options).fit(*data)


# ------------------------------------------------------------------------------------------------ SciPy


BOUNDS = [(-5, 10), (-5, 5)]


def fun(x, shift=0.0):
    return (x[0] - 1 - shift) ** 2 + (x[1] + 2) ** 2


@pytest.fixture
def scipy_minimize():
    optimize = pytest.importorskip("scipy.optimize")
    from l2l_ref.integrations.scipy import learned_search

    def minimize(f=fun, x0=(0, 0), bounds=BOUNDS, options=None, **more):
        return optimize.minimize(f, x0, bounds=bounds, method=learned_search, options=options or {"maxfev": 12}, **more)

    return minimize


def test_scipy_finds_what_minimize_finds(scipy_minimize):
    from scipy.optimize import OptimizeResult

    result = scipy_minimize(options={"maxfev": 15, "seed": 4}, args=(0.5,), tol=1e-3)
    direct = l2l.minimize(fun, BOUNDS, 15, seed=4, args=(0.5,), x0=(0, 0))
    assert isinstance(result, OptimizeResult) and result.log == direct.log and result.success
    assert result.nfev == 15 and result.log[0][2] == [0, 0]


def test_scipy_callbacks(scipy_minimize):
    seen = []

    def stop(intermediate_result):
        seen.append(intermediate_result.fun)
        if len(seen) == 3:
            raise StopIteration

    assert scipy_minimize(callback=stop).status == 99 and len(seen) == 3
    xs = []
    scipy_minimize(callback=xs.append)
    assert len(xs) == 12 and xs[0].shape == (2,)


def test_scipy_constraints(scipy_minimize):
    from scipy.optimize import LinearConstraint, NonlinearConstraint

    for given in ({"type": "ineq", "fun": lambda x, most: most - x[0], "args": (0.5,)},
                  NonlinearConstraint(lambda x: [x[0], x[1]], [-np.inf, -np.inf], [0.5, 5]),
                  LinearConstraint([[1, 0]], ub=0.5), [LinearConstraint(np.eye(2), [-4, -4], [0.5, 4])]):
        points = []

        def watched(x, points=points):
            points.append(x)
            return fun(x)

        result = scipy_minimize(watched, constraints=given)
        assert result.x[0] <= 0.5 and len(points) + len(result.failures) == 12 and result.failures
        assert all(x[0] <= 0.5 for x in points)


def test_scipy_refuses_what_it_cannot_do(scipy_minimize):
    from scipy.optimize import LinearConstraint, OptimizeWarning

    with pytest.raises(ValueError, match="bounds: expected a pair for each dimension, got None"):
        scipy_minimize(bounds=None)
    for equality in ({"type": "eq", "fun": lambda x: x[0]}, LinearConstraint([[1, 0]], 1, 1)):
        with pytest.raises(ValueError, match="constraints: expected inequalities"):
            scipy_minimize(constraints=equality)
    with pytest.warns(OptimizeWarning, match="Unknown solver options: popsize"):
        scipy_minimize(options={"maxfev": 3, "popsize": 4})
