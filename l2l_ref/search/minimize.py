"""Minimise a function by a learned black-box optimizer: one call, evaluations here or on many workers."""

import math
from concurrent.futures import BrokenExecutor

import numpy as np

from ..checks import whole_number
from ..scipy_callback import call_back
from .batch import BatchSearch
from .box import Box
from .evaluators import make_evaluator, one_line
from .optimizer import BlackBoxOptimizer, resolve_model
from .scale import given_scale


def minimize(fun, bounds, max_evaluations=100, model="lstm-oi", seed=0, *, args=(), integers=None, log=None, x0=None,
             callback=None, workers=1, in_flight=None, scaling="running", backend="auto"):
    """Look for the minimum of ``fun(x, *args)``, x (d,) within bounds.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args)`` is a number. Where it raises an Exception or gives nan or infinity the evaluation has failed, which is
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
    most = whole_number("max_evaluations", max_evaluations)
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

    with make_evaluator(fun, args, workers, in_flight) as evaluator:
        started = 0
        while started < most or evaluator.busy:
            while status == 0 and started < most and evaluator.busy < evaluator.size:
                trial = given[started] if started < len(given) else bb.ask()
                try:
                    evaluator.start(trial, getattr(trial, "x", trial).copy())
                except BrokenExecutor as error:
                    status, message = 2, f"The executor broke: {one_line(error)}"
                    tell(trial, math.nan, message)
                started += 1
            if not evaluator.busy:
                break
            tell(*evaluator.finished())
            if callback is not None and status == 0:
                try:
                    call_back(callback, so_far())
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
    B, T = whole_number("functions", functions), whole_number("max_evaluations", max_evaluations)
    box, seed = Box(bounds, integers, log), whole_number("seed", seed, least=0)
    _, proposer = resolve_model(model, box.dim, backend)
    d, X = box.dim, np.empty((T, B, box.dim))
    search = BatchSearch(proposer, B, T, seed, given_scale(scaling))
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


