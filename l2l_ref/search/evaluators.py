"""Where the evaluations of `minimize` run: in this process, in worker processes, or on an executor of the user's."""

from __future__ import annotations

import math
import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, ProcessPoolExecutor, wait
from typing import TYPE_CHECKING, Any

from ..checks import LONGEST, short, told_value, whole_number

if TYPE_CHECKING:
    from ..protocols import Array

    Outcome = tuple[Any, float, str | None]  # the trial, its value, and why the evaluation failed, or None
    Fun = Callable[..., Any]
    Args = tuple[Any, ...]

IN_FLIGHT = 4  # evaluations at once on an executor that does not say how many workers it has


def evaluate(fun: Fun, x: Array, args: Args) -> tuple[float, str | None]:
    """(value, None), or (nan, why) for an evaluation that failed."""
    try:
        value = fun(x, *args)
        y = told_value(value)
    except (Exception, SystemExit) as error:  # sys.exit ends the evaluation, not the search
        return math.nan, one_line(error)
    return y, None if math.isfinite(y) else f"its value was {short(value)}"


class SerialEvaluator:
    """One evaluation at a time, in this process."""

    size: int = 1  # evaluations at once

    def __init__(self, fun: Fun, args: Args) -> None:
        self._fun, self._args = fun, args
        self._started: list[tuple[Any, Array]] = []

    @property
    def busy(self) -> int:
        """The number of evaluations that were started and are not finished."""
        return len(self._started)

    def __enter__(self) -> SerialEvaluator:
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def start(self, trial: Any, x: Array) -> None:
        """Start the evaluation of ``trial``, at x."""
        self._started.append((trial, x))

    def finished(self) -> Outcome:
        """(trial, value, None or why it failed) of one evaluation, as soon as there is one."""
        trial, x = self._started.pop()
        return trial, *evaluate(self._fun, x, self._args)


class ExecutorEvaluator(SerialEvaluator):
    """``size`` evaluations at once, on an executor of the user's."""

    def __init__(self, fun: Fun, args: Args, executor: Any, size: int) -> None:
        super().__init__(fun, args)
        self._executor, self.size = executor, size
        self._futures: dict[Any, Any] = {}  # future: trial, in the order of their start

    @property
    def busy(self) -> int:
        return len(self._futures)

    def __exit__(self, *error: Any) -> None:
        for future in self._futures:
            future.cancel()

    def start(self, trial: Any, x: Array) -> None:
        self._futures[self._submit(evaluate, self._fun, x, self._args)] = trial

    def _submit(self, *task: Any) -> Any:
        return self._executor.submit(*task)

    def finished(self) -> Outcome:
        done, _ = wait(self._futures, return_when=FIRST_COMPLETED)
        future = next(future for future in self._futures if future in done)
        trial = self._futures.pop(future)
        try:
            return trial, *future.result()
        except Exception as error:  # the executor's: evaluate raises none
            return trial, math.nan, one_line(error)


def _pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, initializer=_end_with_parent)


def _end_with_parent() -> None:
    """Let this worker process end when the one that started it does, even if that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


class ProcessEvaluator(ExecutorEvaluator):
    """Worker processes of our own.

    A process that dies breaks every evaluation that its ProcessPoolExecutor has started. So each process has an
    executor of its own, which is replaced when it breaks.
    """

    def __init__(self, fun: Fun, args: Args, size: int) -> None:
        try:
            pickle.dumps((fun, args))
        except Exception as error:  # whatever the user's objects raise
            raise ValueError(f"fun: cannot be sent to worker processes ({one_line(error)})") from None
        super().__init__(fun, args, None, size)
        self._pools = [_pool() for _ in range(size)]
        self._number: dict[Any, int] = {}  # future: the number of its pool

    def __exit__(self, kind: Any = None, *error: Any) -> None:
        for pool in self._pools:
            pool.shutdown(wait=kind is None, cancel_futures=True)

    def _submit(self, *task: Any) -> Any:
        k = min(set(range(self.size)) - {self._number[future] for future in self._futures})
        try:
            future = self._pools[k].submit(*task)
        except BrokenExecutor:
            self._pools[k].shutdown()
            self._pools[k] = _pool()
            future = self._pools[k].submit(*task)
        self._number[future] = k
        return future

    def finished(self) -> Outcome:
        outcome = super().finished()
        self._number = {future: self._number[future] for future in self._futures}
        return outcome


def make_evaluator(fun: Fun, args: Args, workers: Any, in_flight: int | None) -> SerialEvaluator:
    """The evaluator for these ``workers``. Raises ValueError for bad arguments."""
    if not callable(fun):
        raise ValueError(f"fun: expected a function, got {type(fun).__name__}")
    executor = workers.get_executor() if hasattr(workers, "get_executor") else workers
    if hasattr(executor, "submit"):
        if in_flight is None:
            workers = getattr(executor, "_max_workers", None)
            in_flight = workers if type(workers) is int and workers > 0 else IN_FLIGHT
        return ExecutorEvaluator(fun, args, executor, whole_number("in_flight", in_flight))
    if in_flight is not None:
        raise ValueError("in_flight: is for workers that are an executor")
    try:
        size = whole_number("workers", workers)
    except ValueError:
        raise ValueError("workers: expected a whole number >= 1, an Executor or a dask Client, "
                         f"got {workers!r}") from None
    return SerialEvaluator(fun, args) if size == 1 else ProcessEvaluator(fun, args, size)


def one_line(error: BaseException) -> str:
    """An error in one line, cut to some hundred characters."""
    try:
        text = " ".join(str(error)[:8 * LONGEST].split())
    except Exception:  # that of the user's __str__
        text = ""
    text = text if len(text) <= LONGEST else text[:LONGEST] + "..."
    return ": ".join(part for part in (type(error).__name__, text) if part)
