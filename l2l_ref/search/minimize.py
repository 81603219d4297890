"""Minimise a function by a learned black-box optimizer in one call, with evaluations here or on many workers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..checks import told_values, whole_number
from ..scipy_callback import call_back
from .batch import BatchSearch
from .box import Box
from .evaluators import make_evaluator, one_line
from .optimizer import BlackBoxOptimizer, Trial, resolve_model
from .result import ManyResult, Result, make
from .scale import given_scale

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..learned.proposer import Proposer
    from ..protocols import Array, Backend, Bounds, Executor, HasExecutor, Path


def minimize(
    fun: Callable[..., Any], bounds: npt.ArrayLike | Bounds, max_evaluations: int = 100,
    model: Path | Proposer = "lstm-oi", seed: int = 0, *, args: Any = (), integers: npt.ArrayLike | None = None,
    log: npt.ArrayLike | None = None, x0: npt.ArrayLike | None = None, callback: Callable[..., Any] | None = None,
    workers: int | Executor | HasExecutor = 1, in_flight: int | None = None,
    scaling: Literal["running"] | tuple[float, float] = "running", backend: Backend = "auto",
) -> Result:
    """Look for the minimum of ``fun(x, *args)`` within bounds.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args)`` is a number, for x (d,). When it raises an Exception or gives nan or infinity, the evaluation
        has failed: the result reports it, and the run goes on.
    bounds, model, seed, integers, log, scaling, backend
        As for `BlackBoxOptimizer`.
    max_evaluations : int
    args : tuple
        Further arguments of ``fun``.
    x0 : (d,) or (k, d) array_like, optional
        Points to evaluate first.
    callback : callable, optional
        Called after each evaluation with the best point so far, in either form of SciPy's callbacks. StopIteration ends
        the run, after the evaluations that were started.
    workers : int, concurrent.futures.Executor or dask Client
        How many evaluations to run at once. With 1 they run in this process. With more, each runs in a worker process
        of its own; if one dies, the others go on. Instead of a number, you can pass an executor to run them on.
    in_flight : int, optional
        The number of evaluations at once on an executor. By default it is the number of workers that the executor says
        it has, else 4.

    Returns
    -------
    Result
        A dict with attributes, as SciPy's ``OptimizeResult``, and one of those where ``scipy.optimize`` is loaded: x,
        fun, nfev, nit, success, status, message, log and failures.

    Raises
    ------
    ValueError
        For bad arguments, and for a function that cannot be sent to worker processes.
    """
    most = whole_number("max_evaluations", max_evaluations)
    bb = BlackBoxOptimizer(bounds, model, seed, integers=integers, log=log, scaling=scaling, backend=backend)
    given = [] if x0 is None else [bb._box.checked(x) for x in np.atleast_2d(x0)]
    args = args if isinstance(args, tuple) else (args,)
    failures: list[tuple[Array, str]] = []
    status, message = 0, "The given number of evaluations was made."

    def so_far() -> dict[str, Any]:
        x, value = bb.best or (np.full(bb._box.dim, np.nan), math.nan)
        return {"x": x, "fun": value, "nfev": len(bb._told), "nit": len(bb._told)}

    def tell(trial: Trial | Array, value: float, failure: str | None) -> None:
        bb.tell(trial, value)
        if failure:
            failures.append((trial.x if isinstance(trial, Trial) else trial, failure))

    with make_evaluator(fun, args, workers, in_flight) as evaluator:
        started = 0
        while started < most or evaluator.busy:
            while status == 0 and started < most and evaluator.busy < evaluator.size:
                trial = given[started] if started < len(given) else bb.ask()
                try:
                    evaluator.start(trial, (trial.x if isinstance(trial, Trial) else trial).copy())
                except RuntimeError as error:  # it is broken, or was shut down
                    status, message = 2, f"The executor broke: {one_line(error)}"
                    tell(trial, math.nan, message)
                started += 1
            if not evaluator.busy:
                break
            tell(*evaluator.finished())
            if callback is not None and status == 0:
                try:
                    call_back(callback, make(Result, so_far()))
                except StopIteration:
                    status, message = 99, "The callback ended the run."
    if status == 0 and bb.best is None:
        status, message = 1, f"Every evaluation failed; the last: {failures[-1][1]}"
    return make(Result, {"message": message, "success": status == 0, "status": status, **so_far(), "log": bb.log,
                         "failures": failures})


def minimize_many(
    fun: Callable[[Array], Any], bounds: npt.ArrayLike | Bounds, functions: int, max_evaluations: int = 100,
    model: Path | Proposer = "lstm-oi", seed: int = 0, *, integers: npt.ArrayLike | None = None,
    log: npt.ArrayLike | None = None, scaling: Literal["running"] | tuple[float, float] = "running",
    backend: Backend = "auto",
) -> ManyResult:
    """As `minimize`, for many functions of the same bounds at once. Each is searched as it would be alone.

    Parameters
    ----------
    fun : callable
        X (B, d) -> (B,): function b evaluates row b. nan and infinity stand for an evaluation that failed.
    functions : int
        The number of functions B.
    bounds, max_evaluations, model, seed, integers, log, scaling, backend
        As for `minimize`. Each function has an orientation of its own, drawn from the seed and its number.

    Returns
    -------
    ManyResult
        As the Result of `minimize`: x (B, d), fun (B,), history (B, T) of all values, nfev, nit, success (whether each
        function has a value), status and message. Where every evaluation of a function failed, x and fun are nan.

    Raises
    ------
    ValueError
        For bad arguments, and for values of another shape.
    """
    B, T = whole_number("functions", functions), whole_number("max_evaluations", max_evaluations)
    box, seed = Box(bounds, integers, log), whole_number("seed", seed, least=0)
    _, proposer = resolve_model(model, box.dim, backend)
    if proposer is None:
        raise ValueError(f"model: expected one for {box.dim} dimensions, got {model!r} for fewer")
    d, X = box.dim, np.empty((T, B, len(box.low)))
    search = BatchSearch(proposer, B, T, seed, given_scale(scaling), box=box)
    for t in range(T):
        u = search.ask()
        X[t] = box.point(u[:, :d])
        search.tell(u, told_values(fun(X[t].copy()), B))
    best, rows, Y = search.best, np.arange(B), search.y
    x, value = X[best, rows], Y[best, rows]
    lost = int(np.isnan(value).sum())
    x[np.isnan(value)] = np.nan
    message = f"Every evaluation of {lost} of {B} functions failed." if lost else "All evaluations were made."
    return make(ManyResult, {"message": message, "success": not lost, "status": int(lost > 0), "x": x, "fun": value,
                             "history": Y.T.copy(), "nfev": B * T, "nit": T})
