"""Where work is computed that falls into pieces: here, in processes of this machine, or on an executor of the user's.

An executor is whatever has ``submit``: the pools of ``concurrent.futures`` and loky, dask's ``Client``, the
``MPIPoolExecutor`` of mpi4py. A piece is a pure function of its arguments, and answers are returned in the order of the
pieces. So no result depends on where a piece was computed, on how many workers there were, or on how often a piece was
tried before it was answered.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import numbers
import os
import pickle
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import __version__
from .checks import short

if TYPE_CHECKING:
    from .protocols import Executor, HasExecutor

LOG = logging.getLogger("l2l_ref")
TELL_AFTER = 10.0  # seconds without an answer, after which it is told what is waited for
ATTEMPTS = 5       # how often in a row pieces may be lost, with no answer in between
KEPT = 4           # the constants that a worker keeps
SMALL = 100_000    # bytes of constants that are sent each time, in place of asking whether they are known

# What an executor raises where calls or results cannot be sent: another attempt would fail in the same way.
MISTAKES = (ImportError, AttributeError, TypeError, pickle.PickleError)


# ------------------------------------------------------------------------------------------- processes of this machine


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pool(count: int) -> Any:
    """A context that gives an executor of this many `processes`, or None for one, which is this process."""
    return processes(count) if count > 1 else contextlib.nullcontext()


def processes(count: int) -> Renewable:
    """An executor of this many processes, which begin anew when one of them has died.

    The processes share the cores, and BLAS has one thread in each. They end with this process, even if it is killed.
    """
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # of the new processes
        os.environ.setdefault(name, "1")
    threads = max(1, cores() // count)
    return Renewable(lambda: ProcessPoolExecutor(count, get_context("spawn"), _begin, (threads,)))


def _begin(threads: int) -> None:
    """What a process of a pool does first."""
    import signal

    os.environ.setdefault("L2L_REF_THREADS", str(threads))
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes; the parent decides
    end_with_parent()


def end_with_parent() -> None:
    """Let this worker process end when the one that started it does, even if that was killed."""
    import multiprocessing

    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class Renewable:
    """An executor from a function that makes one, and makes another one when the first has broken.

    It is a context: at its end, the executor is closed. After an exception nothing is waited for.

    Parameters
    ----------
    make : callable
        Without arguments; it returns an object with ``submit``.

    Raises
    ------
    ValueError
        When what was made has no ``submit``.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self.executor = self._made()

    def _made(self) -> Any:
        executor = self._make()
        require_submit(executor)
        return executor

    @property
    def submit(self) -> Any:
        """The ``submit`` of the present executor."""
        return self.executor.submit

    def renew(self) -> None:
        """End the executor, whatever it does, and make another one."""
        _end(self.executor)
        self.executor = self._made()

    def __enter__(self) -> Renewable:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is not None:
            _end(self.executor)
        elif hasattr(self.executor, "__exit__"):
            self.executor.__exit__(None, None, None)
        elif hasattr(self.executor, "shutdown"):
            self.executor.shutdown()


def _end(executor: Any) -> None:
    """End an executor without waiting for what it does."""
    with contextlib.suppress(Exception):  # it may be broken in any way
        for process in list((getattr(executor, "_processes", None) or {}).values()):  # of a pool, loky's too
            process.kill()
        if hasattr(executor, "get_executor"):
            executor.close()  # dask's Client, whose shutdown would end a cluster that others may use
        else:
            executor.shutdown(wait=False)


# -------------------------------------------------------------------------------------------------------------- pieces


class Packed(NamedTuple):
    """What a piece carries to the next call, as a worker has left it."""

    data: bytes


class Failed(NamedTuple):
    """What a piece raised, and where."""

    error: BaseException
    place: str


class Pieces:
    """Computes pieces, here or on an executor.

    Parameters
    ----------
    constants : Any
        What all pieces of a run need and what does not change: a model, a problem, a recipe. It is sent to a worker
        once if it is large, and can be pickled if there is an executor.
    executor : Executor or HasExecutor, optional
        By default pieces are computed here, one after the other. One that has ``renew``, as `Renewable` has, is renewed
        when it has broken. Otherwise pieces are computed here from then on.
    seconds : float, optional
        If no piece is answered for so long, those that are waited for are taken for lost, and computed again: by a new
        pool of processes, or by the workers that are not busy with them. It should be several times what a worker needs
        for its share of the pieces.
    tell : callable, optional
        ``tell(text)`` is called with what is waited for and with what went wrong. By default the logger "l2l_ref" is
        told.

    Raises
    ------
    ValueError
        For an executor without ``submit``, for constants that cannot be pickled, and for ``seconds`` that are no finite
        number above 0, or that are given without an executor.
    """

    def __init__(self, constants: Any, executor: Executor | HasExecutor | None = None, seconds: float | None = None,
                 tell: Callable[[str], object] | None = None) -> None:
        if executor is not None:
            require_submit(executor)
        if seconds is not None:
            if isinstance(seconds, bool) or not isinstance(seconds, numbers.Real) or not 0 < seconds < np.inf:
                raise ValueError(f"piece_seconds: expected a finite number > 0, got {seconds!r}")
            if executor is None:
                raise ValueError(f"piece_seconds: expected None without an executor, got {seconds!r}")
        self._constants, self._executor, self._seconds = constants, executor, seconds
        self._tell: Callable[[str], object] = tell or LOG.info
        self._warn: Callable[[str], object] = tell or LOG.warning
        self._sent = False  # whether the constants are known to some workers
        self._overdue: set[Any] = set()  # calls that were given up, but still occupy a worker
        if executor is not None:
            try:
                inner = _dumps(constants)
            except Exception as error:  # whatever the user's objects raise
                raise ValueError(f"executor: the problem or the model cannot be sent to workers "
                                 f"({type(error).__name__}: {error})") from None
            self._parcel = pickle.dumps((_versions(), inner))
            self._digest = hashlib.sha256(self._parcel).hexdigest()

    def __call__(self, function: Callable[..., Any], shared: Any, pieces: Sequence[Any],
                 carried: Sequence[Any] | None = None) -> tuple[list[Any], list[Any]]:
        """The answers of all pieces, and what each of them carries to the next call, in the order of the pieces.

        Parameters
        ----------
        function : callable
            ``function(constants, shared, piece, carried)`` -> answer, carried. A function of a module, which changes
            none of its arguments but ``carried``.
        shared : Any
            What the pieces of this call share, the weights. They are sent once to each worker where the executor says
            how many workers it has, and otherwise with each piece.
        pieces : list
        carried : list, optional
            What the last call has returned. None for a piece that begins.

        Raises
        ------
        OSError
            When pieces were lost `ATTEMPTS` times in a row.
        Exception
            Whatever a piece raises.
        """
        states = [None] * len(pieces) if carried is None else list(carried)
        outcomes: dict[int, tuple[Any, Any]] = {}
        lost = 0
        while self._executor is not None and len(outcomes) < len(pieces):
            before = len(outcomes)
            fault = self._round(function, shared, pieces, states, outcomes)
            lost = 0 if len(outcomes) > before or fault is None else lost + 1
            if fault is None:
                continue
            text = _one_line(fault)
            if lost >= ATTEMPTS:
                left = [k + 1 for k in range(len(pieces)) if k not in outcomes]
                raise OSError(f"executor: {_named(left, len(pieces))} lost {lost} times in a row, at last by {text}")
            self._recover(fault, text)
        for k, piece in enumerate(pieces):
            if k not in outcomes:
                outcomes[k] = function(self._constants, shared, piece, _unpacked(states[k], self._constants))
        answers, after = zip(*(outcomes[k] for k in range(len(pieces))))
        return list(answers), list(after)

    def _round(self, function: Any, shared: Any, pieces: Sequence[Any], states: Sequence[Any],
               outcomes: dict[int, tuple[Any, Any]]) -> Exception | None:
        """Submit all pieces that have no outcome, and wait for them. Returns what the executor broke with, or None."""
        missing = [k for k in range(len(pieces)) if k not in outcomes]
        parcel = None if self._sent and len(self._parcel) > SMALL else self._parcel
        batches: dict[Any, list[int]] = {}
        try:
            submit = submit_of(self._executor)
            for part in np.array_split(missing, min(len(missing), self._free() or len(missing))):
                batch = part.tolist()
                work = [(pieces[k], states[k]) for k in batch]
                batches[submit(compute, self._digest, parcel, function, shared, work)] = batch
            return self._collect(batches, outcomes, len(pieces))
        except MISTAKES:
            raise
        except (RuntimeError, OSError) as error:  # of submit: the executor is broken or shut down
            if isinstance(error, _Raised):
                raise error.error from None
            return error
        finally:
            for future in batches.keys() - self._overdue:
                future.cancel()

    def _free(self) -> int | None:
        """The number of workers that no overdue call occupies, or None if the executor does not say how many it has."""
        self._overdue = {future for future in self._overdue if not future.done()}
        count = _workers(self._executor)
        return None if count is None else max(0, count - len(self._overdue))

    def _collect(self, batches: dict[Any, list[int]], outcomes: dict[int, tuple[Any, Any]], count: int,
                 ) -> Exception | None:
        from concurrent.futures import FIRST_COMPLETED, wait

        fault: Exception | None = None
        pending, began = set(batches), time.monotonic()
        last = told = began
        while pending:
            now = time.monotonic()
            until = told + TELL_AFTER if self._seconds is None else min(told + TELL_AFTER, last + self._seconds)
            done, pending = wait(pending, max(0.0, until - now), return_when=FIRST_COMPLETED)
            now = time.monotonic()
            waiting = sorted(k + 1 for future in pending for k in batches[future])
            for future in done:
                try:
                    came = future.result()
                except MISTAKES:
                    raise
                except Exception as error:  # the executor's: compute returns those of a piece
                    fault = error
                    continue
                last = told = now
                if came is None:  # a worker that does not know the constants
                    self._sent = False
                    continue
                self._sent = True
                for k, outcome in zip(batches[future], came):
                    if isinstance(outcome, Failed):
                        outcome.error.add_note(outcome.place)
                        raise _Raised(outcome.error)
                    outcomes[k] = outcome
            if pending and self._seconds is not None and now - last >= self._seconds:
                self._overdue |= pending  # not cancelled: otherwise a scheduler would give that worker the next call
                return TimeoutError(f"no answer within {self._seconds:g} s")
            if pending and now - told >= TELL_AFTER:
                self._tell(f"waiting for {_named(waiting, count)} for {now - began:.0f} s")
                told = now
        return fault

    def _recover(self, fault: Exception, text: str) -> None:
        """Make a broken executor anew, or do without it."""
        from concurrent.futures import BrokenExecutor

        executor: Any = self._executor
        mortal = hasattr(getattr(executor, "executor", executor), "_processes")  # those of a pool can be ended
        if isinstance(fault, TimeoutError) and not mortal and self._free():
            self._tell(f"pieces were lost ({text}); they are computed again by other workers")
            return
        if hasattr(executor, "renew"):
            self._warn(f"the executor broke ({text}); another one is made")
            try:
                executor.renew()
                self._sent = False
                self._overdue.clear()
                return
            except Exception as error:  # whatever the function of the user's raises
                text = _one_line(error)
        elif not isinstance(fault, (BrokenExecutor, RuntimeError)):
            self._warn(f"pieces were lost ({text}); they are computed again")
            return
        self._warn(f"the executor broke ({text}); from here on, pieces are computed in this process")
        self._executor = None


def as_answered(function: Callable[..., Any], jobs: Mapping[Any, tuple[Any, ...]],
                executor: Executor | HasExecutor | None = None) -> Iterator[tuple[Any, Any]]:
    """``function(*arguments)`` of each job by its key, in the order in which the jobs are answered.

    Parameters
    ----------
    function : callable
    jobs : dict of tuple
        The arguments by the keys of the jobs.
    executor : Executor or HasExecutor, optional
        By default jobs are computed here, one after the other. What is lost when an executor breaks is computed again,
        on another one if it has ``renew``.

    Yields
    ------
    key, result

    Raises
    ------
    ValueError
        For an executor without ``submit``.
    OSError
        When jobs were lost `ATTEMPTS` times in a row, or with an executor that has no ``renew``.
    Exception
        Whatever a job raises.
    """
    from concurrent.futures import as_completed

    if executor is None:
        for key, arguments in jobs.items():
            yield key, function(*arguments)
        return
    require_submit(executor)
    left, lost = dict(jobs), 0
    while left:
        futures: dict[Any, Any] = {}
        try:
            submit = submit_of(executor)
            for key, arguments in left.items():
                futures[submit(_answer, function, arguments)] = key
            for future in as_completed(futures):
                answer, key = future.result(), futures[future]
                if isinstance(answer, Failed):
                    answer.error.add_note(answer.place)
                    raise _Raised(answer.error)
                lost = 0
                del left[key]
                yield key, answer
        except _Raised as raised:
            raise raised.error from None
        except MISTAKES:
            raise
        except Exception as error:  # the executor's: _answer returns those of a job
            lost += 1
            text = _one_line(error)
            if lost >= ATTEMPTS or not hasattr(executor, "renew"):
                raise OSError(f"executor: {len(left)} of {len(jobs)} jobs were lost, at last by {text}") from None
            LOG.warning(f"the executor broke ({text}); another one is made")
            executor.renew()
        finally:
            for future in futures:
                future.cancel()


def require_submit(executor: Any) -> None:
    """Raise ValueError for what is no executor."""
    if isinstance(executor, type):
        raise ValueError(f"executor: expected an object with submit, got the class {executor.__name__}; call it")
    if not hasattr(executor, "submit"):
        raise ValueError(f"executor: expected an object with submit, got {short(executor)}")


class _Raised(OSError):
    """Takes what a piece raised through what catches the errors of an executor."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


# ------------------------------------------------------------------------------------------------------- in the worker

_constants: dict[str, Any] = {}  # the constants that this worker knows, by their digests


def compute(digest: str, parcel: bytes | None, function: Callable[..., Any], shared: Any,
            work: list[tuple[Any, Any]]) -> list[Any] | None:
    """What an executor calls: the outcomes of some pieces, or None where the constants are not known here."""
    if digest not in _constants:
        if parcel is None:
            return None
        (versions, inner), found = pickle.loads(parcel), _versions()
        if versions != found:
            error = ValueError(f"executor: expected workers with {_listed(versions, found)}, "
                               f"got {_listed(found, versions)}")
            return [Failed(error, "")]
        constants = pickle.loads(inner)
        while len(_constants) >= KEPT:
            _constants.pop(next(iter(_constants)), None)
        _constants[digest] = constants
    constants, outcomes = _constants[digest], list[Any]()
    for piece, state in work:
        try:
            answer, after = function(constants, shared, piece, _unpacked(state, constants))
            outcomes.append((answer, after if after is None else Packed(_dumps(after, constants))))
        except Exception as error:  # it is raised by the one who waits
            outcomes.append(Failed(_portable(error), traceback.format_exc(limit=-20)))
            break
    return outcomes


def _answer(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """What `as_answered` submits: the result, or `Failed`."""
    try:
        return function(*arguments)
    except Exception as error:  # it is raised by the one who waits
        return Failed(_portable(error), traceback.format_exc(limit=-20))


def _portable(error: Exception) -> BaseException:
    """The error, as it can be sent to another process."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # an exception with arguments of its own
        return RuntimeError(_one_line(error))
    return error


def _unpacked(state: Any, constants: Any) -> Any:
    if not isinstance(state, Packed):
        return state

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, pid: Any) -> Any:
            return constants[pid]

    return Unpickler(io.BytesIO(state.data)).load()


def _dumps(value: Any, constants: Any = None) -> bytes:
    """Pickled; by cloudpickle where it is installed, which also takes functions and classes of ``__main__``.

    The executors of loky and dask bring it with them, and their workers have it. What is an item of the tuple
    ``constants`` is not sent again: a task refers to its problem.
    """
    known = {id(one): k for k, one in enumerate(constants)} if isinstance(constants, tuple) else {}
    known = {own: k for own, k in known.items() if hasattr(constants[k], "__dict__")}  # no None, no small number
    try:
        from cloudpickle import Pickler as Base
    except ImportError:
        from pickle import Pickler as Base

    class Pickler(Base):  # type: ignore[misc, valid-type]
        def persistent_id(self, one: Any) -> Any:
            return known.get(id(one))

    stream = io.BytesIO()
    Pickler(stream, pickle.HIGHEST_PROTOCOL).dump(value)
    return stream.getvalue()


def _versions() -> dict[str, str | None]:
    """What the last bit of a result depends on, and what has to be the same on all workers.

    numba and SciPy are among it, since "auto" takes the twins where they are installed, which round in their own way.
    """
    return {"l2l_ref": __version__, "numpy": np.__version__, "numba": _installed("numba"), "scipy": _installed("scipy")}


def _installed(package: str) -> str | None:
    """The version of a package, which is not imported, or None."""
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _listed(versions: dict[str, str | None], others: dict[str, str | None]) -> str:
    """The versions that differ from the others, in words."""
    return " and ".join(f"{name} {version}" if version else f"no {name}"
                        for name, version in versions.items() if version != others.get(name))


def submit_of(executor: Any) -> Any:
    """The ``submit`` of an executor, whose futures are those of ``concurrent.futures``."""
    executor = executor.executor if isinstance(executor, Renewable) else executor
    if hasattr(executor, "get_executor"):  # dask takes two calls with equal arguments for one, unless they are not pure
        return executor.get_executor(pure=False).submit
    return executor.submit


def _workers(executor: Any) -> int | None:
    """The number of workers of an executor, or None if it does not say."""
    executor = executor.executor if isinstance(executor, Renewable) else executor
    if hasattr(executor, "nthreads") and callable(executor.nthreads):  # dask's Client
        return sum(executor.nthreads().values()) or None
    for name in ("_max_workers", "num_workers"):
        count = getattr(executor, name, None)
        if type(count) is int and count > 0:
            return count
    return None


def _named(numbers: Sequence[int], count: int) -> str:
    """[1, 2, 5], 8 -> "pieces 1, 2, 5 of 8"."""
    named = ", ".join(map(str, numbers[:8])) + ", ..." * (len(numbers) > 8)
    return f"piece{'s' * (len(numbers) != 1)} {named} of {count}"


def _one_line(error: BaseException) -> str:
    return ": ".join(part for part in (type(error).__name__, " ".join(str(error).split())[:300]) if part)
