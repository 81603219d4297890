"""Where the evaluations of `minimize` run: in this process, in worker processes, on an executor of the user's."""

import math
import pickle
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, ProcessPoolExecutor, wait

from ..checks import told_value, whole_number

IN_FLIGHT = 4  # evaluations at once on an executor that does not say how many workers it has


def evaluate(fun, x, args):
    """(value, None), or (nan, why) for an evaluation that failed."""
    try:
        value = fun(x, *args)
        y = told_value(value)
    except Exception as error:
        return math.nan, one_line(error)
    return y, None if math.isfinite(y) else f"its value was {value}"


class SerialEvaluator:
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


class ExecutorEvaluator(SerialEvaluator):
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
            return trial, math.nan, one_line(error)


class ProcessEvaluator(ExecutorEvaluator):
    """Worker processes of our own.

    A process that dies breaks all that its ProcessPoolExecutor has on its way. So each has one of its own, which is
    replaced when it is broken.
    """

    def __init__(self, fun, args, size):
        try:
            pickle.dumps((fun, args))
        except Exception as error:  # whatever somebody's objects raise
            raise ValueError(f"fun: cannot be sent to worker processes ({one_line(error)})") from None
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


def make_evaluator(fun, args, workers, in_flight):
    """Where ``workers`` says. Raises ValueError."""
    if not callable(fun):
        raise ValueError(f"fun: expected a function, got {type(fun).__name__}")
    executor = workers.get_executor() if hasattr(workers, "get_executor") else workers
    if hasattr(executor, "submit"):
        size = getattr(executor, "_max_workers", IN_FLIGHT) if in_flight is None else whole_number("in_flight", in_flight)
        return ExecutorEvaluator(fun, args, executor, size)
    if in_flight is not None:
        raise ValueError("in_flight: is for workers that are an executor")
    size = whole_number("workers", workers)
    return SerialEvaluator(fun, args) if size == 1 else ProcessEvaluator(fun, args, size)


def one_line(error):
    """An error in one line."""
    return ": ".join(part for part in (type(error).__name__, " ".join(str(error).split())) if part)
