"""Minimise a function by a learned black-box optimizer in one call, with evaluations here or on many workers."""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from .. import files
from ..checks import choice, flag, short, told_values, whole_number
from ..learned.proposer import Proposer
from ..scipy_callback import call_back
from .batch import BatchSearch
from .box import Box
from .evaluators import Outcome, SerialEvaluator, make_evaluator, one_line
from .optimizer import BlackBoxOptimizer, Trial, resolve_model
from .result import ManyResult, Result, make
from .scale import given_scale

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..protocols import Array, Backend, Bounds, Executor, HasExecutor, Path
    from .optimizer import Finish

LOG = logging.getLogger("l2l_ref")


def minimize(
    fun: Callable[..., Any], bounds: npt.ArrayLike | Bounds | Mapping[str, Any], max_evaluations: int = 100,
    model: Path | Proposer = "lstm-oi", seed: int = 0, *, args: Any = (), integers: npt.ArrayLike | None = None,
    log: npt.ArrayLike | None = None, x0: Any = None, callback: Callable[..., Any] | None = None,
    workers: int | Executor | HasExecutor = 1, in_flight: int | None = None,
    scaling: Literal["running"] | tuple[float, float] = "running", backend: Backend = "auto",
    finish: Finish | Literal["auto"] | None = "auto", maximize: bool = False, noise: bool | float | None = None,
    constraints: Callable[..., Any] | None = None, file: Path | None = None, max_seconds: float | None = None,
    evaluation_seconds: float | None = None, on_error: Literal["raise", "stop", "fail"] = "stop",
    progress: bool | Callable[..., Any] = False, restarts: bool = True,
) -> Result:
    """Look for the minimum of ``fun(x, *args)`` within bounds.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args)`` is a number, for x (d,), or a dict if the parameters have names. When it raises an exception
        or gives nan or infinity, the evaluation has failed: the result reports it, and the run goes on. Return nan
        where a point is not feasible.
    bounds, model, seed, integers, log, scaling, backend, finish, maximize, noise, restarts
        As for `BlackBoxOptimizer`.
    max_evaluations : int
        How many evaluations to make, with those that ``file`` knows already.
    args : tuple
        Further arguments of ``fun``.
    x0 : (d,) or (k, d) array_like, or dict or list of dicts, optional
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
    constraints : callable, optional
        ``constraints(x)`` gives numbers that are >= 0 where x is feasible, or a bool. Elsewhere ``fun`` is not called,
        and the evaluation has failed.
    file : path, optional
        Where to write the state as the run goes. If the file exists, the run is taken up: evaluations that were
        started and not finished are made again.
    max_seconds : float, optional
        After this time no evaluation is started any more.
    evaluation_seconds : float, optional
        An evaluation that takes longer has failed. It is ended, and therefore runs in a worker process; on an executor
        it is only not waited for.
    on_error : {"stop", "fail", "raise"}
        What an exception does. "stop": it is a failure of the evaluation. But if each of the first three raises one
        that tells of a mistake in the function, such as KeyError or TypeError, or gives no number, the run stops, and
        the traceback is in ``result.traceback`` and in the log of Python's `logging`. "fail": it is always a failure.
        "raise": it is raised, once the evaluations are told.
    progress : bool or callable
        Whether to show how far the run is, where stderr is a terminal; or a function of (evaluations, max_evaluations,
        best value or None).

    Returns
    -------
    Result
        A dict with attributes, as SciPy's ``OptimizeResult``, and one of those where ``scipy.optimize`` is loaded: x,
        fun, nfev, nit, success, status, message, proposed, log and failures. After Ctrl-C, SIGTERM or the end of the
        executor, it has what was known until then; the status says so.

    Raises
    ------
    ValueError
        For bad arguments, for a function that cannot be sent to worker processes, and for a file that is of another
        run.
    """
    most = whole_number("max_evaluations", max_evaluations)
    choice("on_error", on_error, ("raise", "stop", "fail"))
    seconds = {"max_seconds": max_seconds, "evaluation_seconds": evaluation_seconds}
    for name, value in seconds.items():
        if value is not None and not (isinstance(value, (int, float)) and value > 0):
            raise ValueError(f"{name}: expected None or a number > 0, got {short(value)}")
    bb = BlackBoxOptimizer(bounds, model, seed, integers=integers, log=log, scaling=scaling, backend=backend,
                           finish=finish, maximize=maximize, noise=noise, restarts=restarts)
    given = _points_of(bb, x0)
    args = args if isinstance(args, tuple) else (args,)
    evaluator = make_evaluator(fun, args, workers, in_flight, constraints, evaluation_seconds)
    with contextlib.ExitStack() as stack:
        run = _Run(bb, most, file, _shown(progress, most))
        if file is not None:
            stack.enter_context(files.only_writer(file))
            run.take_up(model if isinstance(model, Proposer) else None, finish if callable(finish) else None)
        waiting: deque[Any] = deque(run.bb.pending)
        told = [event[2] for event in run.bb._told]
        waiting.extend(x for x in given if run.bb._box.to_json(run.bb._box.checked(x)) not in told)
        end = time.monotonic() + (max_seconds or math.inf)
        stack.enter_context(_sigterm_is_an_interrupt())
        try:
            with evaluator:
                _evaluate_all(run, evaluator, waiting, end, callback, on_error)
        except KeyboardInterrupt as interrupt:
            run.write()
            if not run.bb._told:
                raise
            run.status, run.message = 130, f"The run was interrupted{f' by {interrupt}' if str(interrupt) else ''}."
        except BaseException:
            run.write()
            raise
        run.write()
    return run.result()


class _Run:
    """A run of `minimize`: the search, its failures, and its file."""

    def __init__(self, bb: BlackBoxOptimizer, most: int, file: Path | None, shown: Callable[..., Any]) -> None:
        self.bb, self.most = bb, most
        self.failures: list[tuple[Any, str]] = []
        self.status, self.message = 0, "The given number of evaluations was made."
        self.traceback = ""  # of the error that stopped the run
        self._file: Any = file
        self._shown = shown
        self._failed: list[tuple[int, str]] = []  # of the file: the number of the tell, and why
        self._written = self._took = 0.0          # when the file was written last, and how long that took
        self._unwritten = False

    def take_up(self, model: Proposer | None, finish: Any) -> None:
        """Go on with what the file has, if there is one."""
        if not os.path.exists(self._file):
            return
        state = files.read_json(self._file)
        new, failed = self.bb.state_dict(), state.get("failures", [])
        try:
            old = BlackBoxOptimizer.from_state(
                state, model, "auto" if model is not None else self.bb._backend, finish)
            differ = [name for name in new if name not in ("events", "memory") and state.get(name) != new[name]]
            if differ or set(new) - {"memory"} != set(state) - {"memory", "failures", "sha256"}:
                raise ValueError(f"expected the state of a run with the same arguments, got another "
                                 f"{', '.join(differ) or 'kind of box'}")
            self._failed = [(whole_number("n", n, 0, len(old._told) - 1), str(why)) for n, why in failed]
        except (ValueError, TypeError) as error:
            raise ValueError(f"{self._file}: {files.in_one_line(error)}") from None
        self.bb = old
        self.failures = [(old._to_user(old._told[n][2]), why) for n, why in self._failed]

    def tell(self, trial: Any, outcome: Outcome) -> None:
        """Tell the outcome of an evaluation, and write it."""
        if outcome.failure:
            self._failed.append((len(self.bb._told), outcome.failure))
            self.failures.append((trial.x if isinstance(trial, Trial) else trial, outcome.failure))
        self.bb.tell(trial, outcome.value)
        self._unwritten = True
        if time.monotonic() > self._written + 10 * self._took:  # writing takes a tenth of the time at most
            self.write()
        best = self.bb.best
        self._shown(len(self.bb._told), self.most, None if best is None else best[1])

    def write(self) -> None:
        """Write the file, if something is new."""
        if self._file is None or not self._unwritten:
            return
        began = time.monotonic()
        files.write_json(self._file, {**self.bb.state_dict(), "failures": self._failed})
        self._unwritten, self._written = False, time.monotonic()
        self._took = self._written - began

    def so_far(self) -> dict[str, Any]:
        """The fields of the result that change."""
        bb = self.bb
        box = bb._box
        x, value = bb.recommended or (box.to_user(np.full(len(box.low), np.nan)) if box.names is None else None,
                                      math.nan)
        return {"x": x, "fun": value, "nfev": len(bb._told), "nit": len(bb._told)}

    def result(self) -> Result:
        """The Result."""
        if self.status == 0 and self.bb.best is None:
            last = self.failures[-1][1] if self.failures else "there is none"
            self.status, self.message = 1, f"Every evaluation failed; the last: {last}"
        return make(Result, {"message": self.message, "success": self.status == 0, "status": self.status,
                             **self.so_far(), "proposed": self.bb.proposed, "log": self.bb.log,
                             "failures": self.failures,
                             **({"traceback": self.traceback} if self.traceback else {})})


def _evaluate_all(run: _Run, evaluator: SerialEvaluator, waiting: deque[Any], end: float,
                  callback: Callable[..., Any] | None, on_error: str) -> None:
    """Ask, evaluate and tell. ``waiting`` has trials and points that come first."""
    bugs = 0 if on_error == "stop" and not run.bb._told else math.nan
    while True:
        while run.status == 0 and len(run.bb._told) + evaluator.busy < run.most and evaluator.busy < evaluator.size:
            if time.monotonic() > end:
                run.status, run.message = 3, "The given time is over."
                break
            trial = waiting.popleft() if waiting else run.bb.ask()
            try:
                evaluator.start(trial, copy.copy(trial.x if isinstance(trial, Trial) else trial))
            except RuntimeError as error:  # it is broken, or was shut down
                run.status, run.message = 2, f"The executor broke: {one_line(error)}"
                run.tell(trial, Outcome(failure=run.message))
        if not evaluator.busy:
            return
        trial, outcome = evaluator.finished()
        run.tell(trial, outcome)
        if outcome.error is not None and on_error == "raise":
            raise outcome.error
        bugs = bugs + 1 if outcome.is_bug else math.nan
        if bugs == 3 and run.status == 0:
            run.status, run.traceback = 4, outcome.traceback
            run.message = f"The first three evaluations raised errors; the last: {outcome.failure}"
            LOG.error("%s\n%s", run.message, run.traceback)
        if callback is not None and run.status == 0:
            try:
                call_back(callback, make(Result, run.so_far()))
            except StopIteration:
                run.status, run.message = 99, "The callback ended the run."


def _points_of(bb: BlackBoxOptimizer, x0: Any) -> list[Any]:
    """The points to begin with, as a function gets them."""
    if x0 is None:
        return []
    if bb._box.names is None:
        given: Any = np.atleast_2d(x0)
    else:
        given = [x0] if isinstance(x0, Mapping) else x0
    return [bb._box.to_user(bb._box.checked(x)) for x in given]


@contextlib.contextmanager
def _sigterm_is_an_interrupt() -> Iterator[None]:
    """Let SIGTERM, if nobody else handles it, be a KeyboardInterrupt in this thread."""
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt("SIGTERM")

    ours = (threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
    if ours:
        signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _shown(progress: Any, most: int) -> Callable[..., Any]:
    """What is called after each evaluation."""
    if callable(progress):
        return cast("Callable[..., Any]", progress)
    if not flag("progress", progress) or not sys.stderr.isatty():
        return lambda *_: None

    def bar(count: int, most: int, best: float | None) -> None:
        done = 30 * count // most
        text = f"[{'#' * done}{'.' * (30 - done)}] {count}/{most}, best {'none' if best is None else f'{best:.6g}'}"
        print(f"\r{text:<70}", end="\n" if count == most else "", file=sys.stderr, flush=True)

    return bar


def minimize_many(
    fun: Callable[[Array], Any], bounds: npt.ArrayLike | Bounds, functions: int, max_evaluations: int = 100,
    model: Path | Proposer = "lstm-oi", seed: int = 0, *, integers: npt.ArrayLike | None = None,
    log: npt.ArrayLike | None = None, scaling: Literal["running"] | tuple[float, float] = "running",
    backend: Backend = "auto", restarts: bool = True,
) -> ManyResult:
    """As `minimize` with ``finish=None``, for many functions of the same bounds at once.

    Each is searched as it would be alone.

    Parameters
    ----------
    fun : callable
        X (B, d) -> (B,): function b evaluates row b. nan and infinity stand for an evaluation that failed.
    functions : int
        The number of functions B.
    bounds, max_evaluations, model, seed, integers, log, scaling, backend, restarts
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
        raise ValueError(f"model: expected one for {box.dim} dimensions, got {model!r}, which has none for so many")
    d, X = box.dim, np.empty((T, B, len(box.low)))
    search = BatchSearch(proposer, B, T, seed, given_scale(scaling), box=box, restarts=flag("restarts", restarts))
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
