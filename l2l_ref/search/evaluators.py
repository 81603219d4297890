"""Where the evaluations of `minimize` run: in this process, in worker processes, or on an executor of the user's."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import pickle
import signal
import time
import traceback
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from typing import TYPE_CHECKING, Any, NamedTuple

from ..checks import LONGEST, is_feasible, short, told_value, whole_number
from ..executors import end_with_parent

if TYPE_CHECKING:
    Fun = Callable[..., Any]
    Args = tuple[Any, ...]

IN_FLIGHT = 4  # evaluations at once on an executor that does not say how many workers it has
LONGEST_TRACEBACK = 10_000
BUGS = (TypeError, NameError, AttributeError, LookupError, ImportError, NotImplementedError, SyntaxError)


class Outcome(NamedTuple):
    """What an evaluation gave."""

    value: float = math.nan
    failure: str | None = None  # why it failed
    error: Exception | None = None  # the exception, if there was one
    traceback: str = ""

    @property
    def is_bug(self) -> bool:
        """Whether the exception is of a kind that tells of a mistake in the function."""
        return isinstance(self.error, BUGS)


def evaluate(fun: Fun, x: Any, args: Args, constraints: Fun | None = None,
             interrupts: tuple[type[BaseException], ...] = ()) -> Outcome:
    """The Outcome of fun(x, *args). ``interrupts`` are raised; all other exceptions are failures."""
    try:
        if constraints is not None:
            given = constraints(x)
            if not is_feasible(given):
                return Outcome(failure=f"it is not feasible: the constraints are {short(given)}")
        value = fun(x, *args)
        try:
            y = told_value(value)
        except ValueError as error:
            return Outcome(failure=one_line(error), error=TypeError(str(error)))
    except interrupts:
        raise
    except BaseException as error:  # sys.exit ends the evaluation, not the search
        return Outcome(math.nan, one_line(error), *_portable(error))
    return Outcome(y, None if math.isfinite(y) else f"its value was {short(value)}")


def _portable(error: BaseException) -> tuple[Exception | None, str]:
    """The error, if it is an Exception, as it can be sent to another process, and its traceback in words."""
    if not isinstance(error, Exception):
        return None, ""
    try:
        text = "".join(traceback.format_exception(error, limit=-20))[-LONGEST_TRACEBACK:]
    except Exception:  # that of the user's __str__
        text = ""
    if multiprocessing.parent_process() is not None:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            return (TypeError if isinstance(error, BUGS) else RuntimeError)(one_line(error)), text
    return error, text


class SerialEvaluator:
    """One evaluation at a time, in this process."""

    size: int = 1  # evaluations at once

    def __init__(self, fun: Fun, args: Args, constraints: Fun | None = None, seconds: float | None = None) -> None:
        self._task, self._seconds = (fun, args, constraints), seconds
        self._started: list[tuple[Any, Any]] = []

    @property
    def busy(self) -> int:
        """The number of evaluations that were started and are not finished."""
        return len(self._started)

    def __enter__(self) -> SerialEvaluator:
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def start(self, trial: Any, x: Any) -> None:
        """Start the evaluation of ``trial``, at x."""
        self._started.append((trial, x))

    def finished(self) -> tuple[Any, Outcome]:
        """(trial, Outcome) of one evaluation, as soon as there is one."""
        trial, x = self._started[-1]
        fun, args, constraints = self._task
        outcome = evaluate(fun, x, args, constraints, (KeyboardInterrupt,))
        self._started.pop()
        return trial, outcome

    def _too_long(self) -> Outcome:
        return Outcome(failure=f"TimeoutError: it took longer than {self._seconds:g} s")


class ExecutorEvaluator(SerialEvaluator):
    """``size`` evaluations at once, on an executor of the user's."""

    def __init__(self, fun: Fun, args: Args, constraints: Fun | None, seconds: float | None, executor: Any,
                 size: int) -> None:
        super().__init__(fun, args, constraints, seconds)
        self._executor, self.size = executor, size
        self._futures: dict[Any, tuple[Any, float]] = {}  # future: trial and its end, in the order of their start

    @property
    def busy(self) -> int:
        return len(self._futures)

    def __exit__(self, *error: Any) -> None:
        for future in self._futures:
            future.cancel()

    def start(self, trial: Any, x: Any) -> None:
        fun, args, constraints = self._task
        future = self._executor.submit(evaluate, fun, x, args, constraints)
        self._futures[future] = trial, time.monotonic() + (self._seconds or math.inf)

    def finished(self) -> tuple[Any, Outcome]:
        first = min(end for _, end in self._futures.values())
        rest = None if first == math.inf else max(first - time.monotonic(), 0)
        done, _ = wait(self._futures, rest, return_when=FIRST_COMPLETED)
        if not done:  # an executor ends no evaluation; it is not waited for any more
            future = min(self._futures, key=lambda future: self._futures[future][1])
            future.cancel()
            return self._futures.pop(future)[0], self._too_long()
        future = next(future for future in self._futures if future in done)
        trial, _ = self._futures.pop(future)
        try:
            return trial, future.result()
        except Exception as error:  # the executor's: evaluate raises none
            return trial, Outcome(failure=one_line(error))


class Worker:
    """A process that evaluates one point at a time."""

    def __init__(self) -> None:
        self.connection, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=_work, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()
        self.trial: Any = None   # what it evaluates
        self.end = math.inf      # when it has to be done

    def kill(self) -> None:
        """End the process, whatever it does."""
        self.process.kill()
        self.process.join()
        self.connection.close()


def _work(connection: Any) -> None:
    """What a worker process does."""
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes; the parent decides
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent()
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        outcome = evaluate(*task)
        try:
            connection.send(outcome)
        except Exception as error:
            connection.send(Outcome(failure=one_line(error)))


class ProcessEvaluator(SerialEvaluator):
    """Worker processes of our own. One that dies or takes too long loses its own evaluation alone, and is replaced."""

    def __init__(self, fun: Fun, args: Args, constraints: Fun | None, seconds: float | None, size: int) -> None:
        try:
            pickle.dumps((fun, args, constraints))
        except Exception as error:  # whatever the user's objects raise
            raise ValueError(f"fun: cannot be sent to worker processes ({one_line(error)})") from None
        super().__init__(fun, args, constraints, seconds)
        self.size = size
        self._idle: list[Worker] = []
        self._busy: list[Worker] = []  # in the order of their start

    @property
    def busy(self) -> int:
        return len(self._busy)

    def __exit__(self, *error: Any) -> None:
        for worker in self._idle:  # they end when nobody can send to them any more
            worker.connection.close()
        for worker in reversed(self._idle):
            worker.process.join(1)
        for worker in (*self._busy, *self._idle):
            worker.kill()

    def start(self, trial: Any, x: Any) -> None:
        worker = self._idle.pop() if self._idle else Worker()
        fun, args, constraints = self._task
        worker.trial, worker.end = trial, time.monotonic() + (self._seconds or math.inf)
        self._busy.append(worker)
        with contextlib.suppress(BrokenPipeError, ConnectionError):  # it has died, which `finished` sees
            worker.connection.send((fun, x, args, constraints))

    def finished(self) -> tuple[Any, Outcome]:
        first = min(worker.end for worker in self._busy)
        rest = None if first == math.inf else max(first - time.monotonic(), 0)
        wait_for([worker.connection for worker in self._busy], rest)
        ready = [worker for worker in self._busy if worker.connection.poll()]
        worker = ready[0] if ready else min(self._busy, key=lambda worker: worker.end)
        if not ready:
            outcome = self._too_long()
        else:
            try:
                outcome = worker.connection.recv()
            except (EOFError, OSError):
                worker.process.join()
                error = BrokenProcessPool(f"the worker process ended with exit code {worker.process.exitcode}")
                ready, outcome = [], Outcome(failure=one_line(error))
            except Exception as error:  # what cannot be unpickled
                outcome = Outcome(failure=one_line(error))
        self._busy.remove(worker)
        if ready:
            self._idle.append(worker)
        else:
            worker.kill()
        return worker.trial, outcome


def make_evaluator(fun: Fun, args: Args, workers: Any, in_flight: int | None, constraints: Fun | None = None,
                   seconds: float | None = None) -> SerialEvaluator:
    """The evaluator for these ``workers``. Raises ValueError for bad arguments."""
    if not callable(fun):
        raise ValueError(f"fun: expected a function, got {type(fun).__name__}")
    if constraints is not None and not callable(constraints):
        raise ValueError(f"constraints: expected a function, got {type(constraints).__name__}")
    executor = workers.get_executor() if hasattr(workers, "get_executor") else workers
    if hasattr(executor, "submit"):
        if in_flight is None:
            workers = getattr(executor, "_max_workers", None)
            in_flight = workers if type(workers) is int and workers > 0 else IN_FLIGHT
        return ExecutorEvaluator(fun, args, constraints, seconds, executor, whole_number("in_flight", in_flight))
    if in_flight is not None:
        raise ValueError("in_flight: is for workers that are an executor")
    try:
        size = whole_number("workers", workers)
    except ValueError:
        raise ValueError("workers: expected a whole number >= 1, an Executor or a dask Client, "
                         f"got {workers!r}") from None
    if size == 1 and seconds is None:
        return SerialEvaluator(fun, args, constraints)
    return ProcessEvaluator(fun, args, constraints, seconds, size)  # a process can be ended


def one_line(error: BaseException) -> str:
    """An error in one line, cut to some hundred characters."""
    try:
        text = " ".join(str(error)[:8 * LONGEST].split())
    except Exception:  # that of the user's __str__
        text = ""
    text = text if len(text) <= LONGEST else text[:LONGEST] + "..."
    return ": ".join(part for part in (type(error).__name__, text) if part)
