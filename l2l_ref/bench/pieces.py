"""Updates of meta-training on several workers, beside what T6 predicts.

    T6  T(W) = ceil(P / W) t + lambda + (W b_phi + P b_p) / beta

is the time of an update of P pieces on W workers. A piece takes t seconds. lambda is the time of a call that does and
carries nothing, and beta the bytes per second that calls carry. b_phi bytes of weights go to each worker, and b_p bytes
come back from each piece, its gradient. A *call* is all that `Pieces` does for an update: it pickles, submits to all
workers, waits and unpickles.

Everything on the right is measured apart from T(W): t within the only worker of a pool, lambda and beta with calls that
compute nothing. Each worker has one thread, of BLAS and of the compiled twins. Latency is simulated by workers that
sleep before they begin. dask is timed where it is installed.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..black_boxes import GPDistribution
from ..executors import Pieces, processes, submit_of
from ..extras import installed
from ..learned.proposer import Proposer
from ..learned.trajectory import arrivals
from ..metatrain import loop
from ..metatrain.black_box import Recipe, update_piece
from ..seeds import child
from ..trees import flatten
from .timing import Report, time_rounds

if TYPE_CHECKING:
    from ..protocols import Array

DIM, HIDDEN = 2, 64
LARGE = 1_000_000  # bytes of the call that beta is measured with
CALLS = 9          # of which the median is taken for lambda and beta


def predicted(pieces: int, workers: int, seconds: float, latency: float, weights: float, carried: float,
              rate: float) -> float:
    """T6: the seconds of an update. ``weights`` and ``carried`` are bytes, ``rate`` is bytes per second."""
    rounds = -(-pieces // workers)
    return rounds * seconds + latency + (workers * weights + pieces * carried) / rate            # T6


class Late:
    """An executor of which each call begins some seconds late."""

    def __init__(self, executor: Any, workers: int, seconds: float) -> None:
        self._executor, self._max_workers, self._seconds = executor, workers, seconds

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Submit, to be called late."""
        return submit_of(self._executor)(begin_late, self._seconds, function, *arguments)


def begin_late(seconds: float, function: Callable[..., Any], *arguments: Any) -> Any:
    """What the workers of `Late` call."""
    time.sleep(seconds)
    return function(*arguments)


def timed_piece(constants: Any, phi: Array, piece: Any, carried: None) -> tuple[tuple[Array, float], None]:
    """The gradient of `update_piece`, and how many seconds it took."""
    started = time.perf_counter()
    (_, d_phi), _ = update_piece(constants, phi, piece, carried)
    return (d_phi, time.perf_counter() - started), None


def resting_piece(constants: Any, phi: Array, seconds: float, carried: None) -> tuple[Array, None]:
    """A piece that computes nothing, and takes some seconds for it."""
    time.sleep(seconds)
    return phi, None


def link(executor: Any, workers: int) -> tuple[float, float]:
    """lambda in seconds and beta in bytes per second, of calls of one piece per worker."""
    calls = Pieces(None, executor)

    def median(payload: Any) -> float:
        seconds = []
        for _ in range(CALLS):
            started = time.perf_counter()
            calls(resting_piece, payload, [0.0] * workers)
            seconds.append(time.perf_counter() - started)
        return statistics.median(seconds)

    median(None)  # starts the workers
    latency = median(None)
    return latency, 2 * workers * LARGE / max(median(np.zeros(LARGE // 8)) - latency, 1e-9)  # there and back


@contextlib.contextmanager
def dask(workers: int) -> Iterator[Any]:
    """A client of a dask cluster on this machine."""
    from distributed import Client, LocalCluster

    with (LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0") as cluster,
          Client(cluster) as client):
        yield client


def pieces(
    batch: int = 256, steps: int = 100, pieces: int = 8, workers: Sequence[int] = (1, 2),
    latency: Sequence[int] = (1, 10, 100), rest: int = 1000, rounds: int = 5, seed: int = 0,
    report: Report | None = None,
) -> dict[str, Any]:
    """Time updates on several workers. Returns the dict that ``bench pieces --json`` prints.

    An update of the LSTM that is a black-box optimizer has ``batch`` functions in so many ``pieces``, with ``steps``
    queries of each. It is timed for each number of ``workers``, and for the largest one also with ``latency``, a list
    of milliseconds. Beside it are updates of pieces that compute nothing, and take ``rest`` milliseconds each.

    Raises
    ------
    ValueError
        When two executors compute different gradients.
    """
    recipe = Recipe(functions=batch, pieces=pieces, steps=steps, first_steps=min(10, steps))
    proposer, most = Proposer(DIM, HIDDEN, "linear", rng=seed), max(workers)
    phi = flatten(proposer.params).astype(np.float64)
    constants = (proposer, [GPDistribution(dim=DIM)], recipe, "auto", 1)
    parts = [(*part, steps, arrivals(steps), 0) for part in loop.cut(batch, pieces, child(seed))]
    real, resting = f"gp, {batch} functions in {pieces} pieces", f"{2 * most} pieces of {rest} ms"
    runs, expected, first = dict[tuple[str, int | None], Any](), dict[str, float](), None
    with contextlib.ExitStack() as stack:
        pools = {count: stack.enter_context(processes(count)) for count in sorted({1, *workers})}
        links = {count: link(pools[count], count) for count in pools}
        where = [(_named(count), count, pools[count], links[count]) for count in pools]
        for ms in latency:
            extra, rate = links[most]
            where.append((f"{_named(most)}, {ms} ms late", most, Late(pools[most], most, ms / 1e3),
                          (extra + ms / 1e3, rate)))
        if installed("distributed"):
            client = stack.enter_context(dask(most))
            where.append((f"dask, {most} worker{'s' * (most > 1)}", most, client, link(client, most)))
        seconds = 0.0
        for name, count, executor, (extra, rate) in where:
            calls = Pieces(constants, executor)
            calls(timed_piece, phi, parts)  # what has to be compiled
            answers, _ = calls(timed_piece, phi, parts)
            if first is None:
                first = [gradient for gradient, _ in answers]
                taken = [[s for _, s in calls(timed_piece, phi, parts)[0]] for _ in range(rounds)]
                seconds = statistics.median(float(np.mean(of_update)) for of_update in taken)
            if not all(np.array_equal(came, wanted) for (came, _), wanted in zip(answers, first)):
                raise ValueError(f"{name}: its gradients differ from those of one process")
            runs[f"{real}: {name}", None] = lambda calls=calls: calls(timed_piece, phi, parts)
            expected[f"{real}: {name}"] = predicted(pieces, count, seconds, extra, phi.nbytes, phi.nbytes, rate)
            if count == most and not isinstance(executor, Late):
                empty, rests = Pieces(None, executor), [rest / 1e3] * 2 * most
                runs[f"{resting}: {name}", None] = lambda empty=empty, rests=rests: empty(resting_piece, phi, rests)
                expected[f"{resting}: {name}"] = predicted(len(rests), count, rests[0], extra, phi.nbytes, phi.nbytes,
                                                           rate)
        rows = time_rounds(runs, rounds, report)
    for row in rows:
        row |= {"ms": 1e3 * row["median_s"], "predicted_ms": 1e3 * expected[row["implementation"]]}
        row["work"], row["implementation"] = row["implementation"].split(": ")
    rows.sort(key=lambda row: row["work"] != real)
    return {"piece_ms": 1e3 * seconds, "bytes": phi.nbytes,
            "links": {name: {"latency_ms": 1e3 * extra, "mb_per_s": rate / 1e6} for name, _, _, (extra, rate) in where},
            "rows": rows, "summary": _summary(rows, real, resting, most)}


def _named(count: int) -> str:
    return f"{count} process{'es' * (count > 1)}"


def _summary(rows: list[dict[str, Any]], real: str, resting: str, most: int) -> list[str]:
    """How much faster the processes are than one, and how much slower dask is than processes."""
    times = {(row["work"], row["implementation"]): row["median_s"] for row in rows}
    lines = []
    if most > 1:
        faster = times[real, _named(1)] / times[real, _named(most)]
        lines.append(f"{_named(most)} are {faster:.2f} times as fast as one")
    for (work, name), seconds in times.items():
        if work == resting and name.startswith("dask"):
            lines.append(f"dask takes {seconds / times[resting, _named(most)] - 1:+.1%} of the time of processes more, "
                         f"with {resting}")
    return lines
