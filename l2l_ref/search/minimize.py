"""Minimise a function by a learned black-box optimizer: one call, evaluations here or on many workers."""

import math
import operator
import pickle
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, ProcessPoolExecutor, wait

import numpy as np

from ..learned.optimizer import _call_back
from .box import Box
from .optimizer import BlackBoxOptimizer, checked_seed, found, number
from .scale import given_scale
from .together import Together

IN_FLIGHT = 4  # evaluations at once on an executor that does not say how many workers it has


def minimize(fun, bounds, max_evaluations=100, model="lstm-oi", seed=0, *, args=(), integers=None, log=None, x0=None,
             callback=None, workers=1, in_flight=None, scaling="running", backend="auto"):
    """Look for the minimum of ``fun(x, *args)``, x (d,) within bounds.

    Parameters
    ----------
    fun : callable
        x, *args -> a number. Where it raises an Exception or gives nan or infinity the evaluation has failed, which is
        reported; the run goes on.
    bounds, model, seed, integers, log, scaling, backend
        As for `BlackBoxOptimizer`.
    max_evaluations : int
    x0 : (d,) or (k, d) array_like, optional
        Points to evaluate first.
    callback : callable, optional
        SciPy's, in either form, after each evaluation: of the best point so far. StopIteration ends the run, after the
        evaluations that are on their way.
    workers : int, concurrent.futures.Executor or dask Client
        How many evaluations at once: 1 here, more in processes of their own, of which each may die without harm to the
        others. Or where to evaluate.
    in_flight : int, optional
        Evaluations at once on an executor; by default as many as it says it has workers, else 4.

    Returns
    -------
    OptimizeResult
        SciPy's, or a dict with attributes where there is no SciPy: x, fun, nfev, nit, success, status (0; 1: every
        evaluation failed; 2: the executor broke; 99: the callback ended it), message, ``log`` (the optimizer's) and
        ``failures``, a list of (x, message).

    Raises
    ------
    ValueError
        For bad arguments, and for a function that cannot be sent to worker processes.
    """
    most = _whole("max_evaluations", max_evaluations)
    bb = BlackBoxOptimizer(bounds, model, seed, integers=integers, log=log, scaling=scaling, backend=backend)
    given = [] if x0 is None else [bb._box.checked(x) for x in np.atleast_2d(x0)]
    args = args if isinstance(args, tuple) else (args,)
    failures, status, message, d = [], 0, "The given number of evaluations was made.", bb._box.dim

    def so_far():
        x, value = bb.best or (np.full(d, np.nan), math.nan)
        return result_class()(x=x, fun=value, nfev=len(bb._told), nit=len(bb._told))

    def tell(trial, value, failure):
        bb.tell(trial, value)
        if failure:
            failures.append((getattr(trial, "x", trial), failure))

    with _place(fun, args, workers, in_flight) as place:
        started = 0
        while started < most or place.busy:
            while status == 0 and started < most and place.busy < place.size:
                trial = given[started] if started < len(given) else bb.ask()
                try:
                    place.start(trial, getattr(trial, "x", trial).copy())
                except BrokenExecutor as error:
                    status, message = 2, f"The executor broke: {_said(error)}"
                    tell(trial, math.nan, message)
                started += 1
            if not place.busy:
                break
            tell(*place.finished())
            if callback is not None and status == 0:
                try:
                    _call_back(callback, so_far())
                except StopIteration:
                    status, message = 99, "The callback ended the run."
    if status == 0 and bb.best is None:
        status, message = 1, f"Every evaluation failed; the last: {failures[-1][1]}"
    result = so_far()
    result.update(success=status == 0, status=status, message=message, log=bb.log, failures=failures)
    return result


def minimize_many(fun, bounds, functions, max_evaluations=100, model="lstm-oi", seed=0, *, integers=None, log=None,
                  scaling="running", backend="auto"):
    """As `minimize`, for many functions of the same bounds at once; each is searched as it would be alone.

    Parameters
    ----------
    fun : callable
        X (B, d) -> (B,), row b by function b; nan and infinity for an evaluation that failed.
    functions : int
        B.
    bounds, max_evaluations, model, seed, integers, log, scaling, backend
        As for `minimize`. Each function has an orientation of its own, drawn from the seed and its number.

    Returns
    -------
    OptimizeResult
        x (B, d), fun (B,), history (B, T) of all values, nfev, nit, success (all have a value), status, message. Where
        each evaluation of a function failed, x and fun are nan.

    Raises
    ------
    ValueError
        For bad arguments, and for values of another shape.
    """
    B, T = _whole("functions", functions), _whole("max_evaluations", max_evaluations)
    box, seed = Box(bounds, integers, log), checked_seed(seed)
    _, proposer = found(model, box.dim, backend)
    d, X = box.dim, np.empty((T, B, box.dim))
    search = Together(proposer, B, T, seed, given_scale(scaling))
    for t in range(T):
        u = search.ask()
        X[t] = box.point(u[:, :d])
        y = np.array(fun(X[t].copy()), np.float64)
        if y.shape != (B,):
            raise ValueError(f"fun: expected values of shape ({B},), got {y.shape}")
        u[:, :d] = box.unit(X[t])
        search.tell(u, np.where(np.isfinite(y), y, np.nan))
    best, rows, Y = search.best, np.arange(B), search.y
    x, value = X[best, rows], Y[best, rows]
    lost = int(np.isnan(value).sum())
    x[np.isnan(value)] = np.nan
    message = f"Every evaluation of {lost} of {B} functions failed." if lost else "All evaluations were made."
    return result_class()(x=x, fun=value, history=Y.T.copy(), nfev=B * T, nit=T, success=not lost, status=int(lost > 0),
                          message=message)


class Result(dict):
    """A dict with attributes, where there is no SciPy."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    __setattr__, __delattr__ = dict.__setitem__, dict.__delitem__


def result_class():
    """SciPy's OptimizeResult, or ours."""
    try:
        from scipy.optimize import OptimizeResult
    except ImportError:
        return Result
    return OptimizeResult


# ------------------------------------------------------------------------------------- where to evaluate


def evaluate(fun, x, args):
    """(value, None), or (nan, why) for an evaluation that failed."""
    try:
        value = fun(x, *args)
        y = number(value)
    except Exception as error:
        return math.nan, _said(error)
    return y, None if math.isfinite(y) else f"its value was {value}"


class Here:
    """One evaluation at a time, in this process."""

    size, busy = 1, 0

    def __init__(self, fun, args):
        self._fun, self._args = fun, args

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def start(self, trial, x):
        self._started, self.busy = (trial, x), 1

    def finished(self):
        """(trial, value, None or why it failed) of one evaluation, as soon as there is one."""
        (trial, x), self.busy = self._started, 0
        return trial, *evaluate(self._fun, x, self._args)


class There(Here):
    """``size`` evaluations at once, on an executor of the user's."""

    def __init__(self, fun, args, executor, size):
        super().__init__(fun, args)
        self._executor, self.size, self._futures = executor, size, {}  # future: trial, in the order of their start

    @property
    def busy(self):
        return len(self._futures)

    def __exit__(self, *error):
        for future in self._futures:
            future.cancel()

    def start(self, trial, x):
        self._futures[self._submit(evaluate, self._fun, x, self._args)] = trial

    def _submit(self, *task):
        return self._executor.submit(*task)

    def finished(self):
        done, _ = wait(self._futures, return_when=FIRST_COMPLETED)
        future = next(future for future in self._futures if future in done)
        trial = self._futures.pop(future)
        try:
            return trial, *future.result()
        except Exception as error:  # the executor's: evaluate raises none
            return trial, math.nan, _said(error)


class Processes(There):
    """Worker processes of our own.

    A process that dies breaks all that its ProcessPoolExecutor has on its way. So each has one of its own, which is
    replaced when it is broken.
    """

    def __init__(self, fun, args, size):
        try:
            pickle.dumps((fun, args))
        except Exception as error:  # whatever somebody's objects raise
            raise ValueError(f"fun: cannot be sent to worker processes ({_said(error)})") from None
        super().__init__(fun, args, None, size)
        self._pools, self._number = [ProcessPoolExecutor(1) for _ in range(size)], {}  # future: of its pool

    def __exit__(self, kind, *error):
        for pool in self._pools:
            pool.shutdown(wait=kind is None, cancel_futures=True)

    def _submit(self, *task):
        k = min(set(range(self.size)) - {self._number[future] for future in self._futures})
        try:
            future = self._pools[k].submit(*task)
        except BrokenExecutor:
            self._pools[k].shutdown()
            self._pools[k] = ProcessPoolExecutor(1)
            future = self._pools[k].submit(*task)
        self._number[future] = k
        return future

    def finished(self):
        outcome = super().finished()
        self._number = {future: self._number[future] for future in self._futures}
        return outcome


def _place(fun, args, workers, in_flight):
    """Where ``workers`` says. Raises ValueError."""
    if not callable(fun):
        raise ValueError(f"fun: expected a function, got {type(fun).__name__}")
    executor = workers.get_executor() if hasattr(workers, "get_executor") else workers
    if hasattr(executor, "submit"):
        size = getattr(executor, "_max_workers", IN_FLIGHT) if in_flight is None else _whole("in_flight", in_flight)
        return There(fun, args, executor, size)
    if in_flight is not None:
        raise ValueError("in_flight: is for workers that are an executor")
    size = _whole("workers", workers, "a whole number >= 1, an Executor or a dask Client")
    return Here(fun, args) if size == 1 else Processes(fun, args, size)


def _whole(name, value, expected="a whole number >= 1"):
    try:
        whole = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        whole = 0
    if whole < 1:
        raise ValueError(f"{name}: expected {expected}, got {value!r}")
    return whole


def _said(error):
    """An error in one line."""
    return ": ".join(part for part in (type(error).__name__, " ".join(str(error).split())) if part)
