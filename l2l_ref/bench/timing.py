"""What all benchmarks share: results that are compared, interleaved rounds, and the limits of the machine."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

if TYPE_CHECKING:
    from ..protocols import Array

Report: TypeAlias = Callable[[str], object]  # is given a line of text about the progress

SETTLE = 0.1  # seconds of pause before a workload: the threads of the previous one may spin for a while


def prepare(
    implementations: Mapping[str, Any], threads: Sequence[int], tolerance: float,
    make: Callable[[Any, int | None], Callable[[], Array]],
) -> dict[tuple[str, int | None], Callable[[], Array]]:
    """Make the workload of each implementation that is installed, and run each once to compare the results.

    Parameters
    ----------
    implementations : dict
        Implementations by name.
    threads : sequence of int
        The numbers of threads to run with. "numpy" runs once, because BLAS has threads of its own.
    tolerance : float
        The largest difference of two results, relative to the largest entry.
    make : callable
        ``make(implementation, threads)`` gives a callable without arguments whose result is one vector. It raises
        ImportError when a package is missing.

    Returns
    -------
    dict
        {(name, threads): workload}.

    Raises
    ------
    ValueError
        When a result differs.
    """
    runs, reference = {}, None
    for name, implementation in implementations.items():
        for count in threads if name != "numpy" else (None,):
            try:
                workload = make(implementation, count)
            except ImportError:
                continue
            result = workload()
            reference = result if reference is None else reference
            error = np.abs(result - reference).max() / np.abs(reference).max()
            if not error < tolerance:
                raise ValueError(f"{name}: its gradient differs from numba's by {error:.2g} of the largest entry")
            runs[name, count] = workload
    return runs


def time_rounds(
    runs: Mapping[tuple[str, int | None], Callable[[], object]], rounds: int, report: Report | None = None,
) -> list[dict[str, Any]]:
    """Time workloads in interleaved rounds, so that other processes on the machine affect all of them alike.

    ``runs`` is a dict {(name, threads): workload}. Returns a list with one dict, a row of the table, for each of them.
    """
    times: dict[tuple[str, int | None], list[float]] = {key: [] for key in runs}
    for k in range(rounds):
        for key, workload in runs.items():
            time.sleep(SETTLE)
            workload()  # untimed, because an idle core needs a few milliseconds to return to full speed
            started = time.perf_counter()
            workload()
            times[key].append(time.perf_counter() - started)
        if report:
            report(f"round {k + 1}/{rounds}")
    return [{"implementation": name, "threads": count, "median_s": statistics.median(seconds), "min_s": min(seconds)}
            for (name, count), seconds in times.items()]


PEAK = """
import time, numpy as np
a, best = np.ones(({size}, {size}), "{dtype}"), np.inf
for _ in range(6):
    started = time.perf_counter()
    a @ a
    best = min(best, time.perf_counter() - started)
print(2 * {size} ** 3 / best / 1e9)
"""


def run_in_process(code: str, environment: Mapping[str, str]) -> str:
    """Run ``code`` in a separate Python process and return its output.

    Raises ValueError with the last line of its error output when it fails.
    """
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise ValueError((done.stderr.strip().splitlines() or [f"a process ended with code {done.returncode}"])[-1])
    return done.stdout


def machine_limits(dtype: DTypeLike = np.float32, threads: Sequence[int] = (1, 2), size: int = 2048) -> dict[str, Any]:
    """The limits of the machine: GFLOP/s of a large matrix product, and GB/s of copying 256 MB (read and written).

    BLAS takes its number of threads when it starts, so each number of them is measured in a separate process.
    """
    name, peaks = np.dtype(dtype).name, {}
    for count in threads:
        environment = os.environ | {f"{blas}_NUM_THREADS": str(count) for blas in ("OPENBLAS", "MKL", "OMP", "BLIS")}
        peaks[str(count)] = float(run_in_process(PEAK.format(size=size, dtype=name), environment))
    source, seconds = np.ones(2**25), np.inf
    target = np.empty_like(source)
    for _ in range(6):
        started = time.perf_counter()
        target[:] = source
        seconds = min(seconds, time.perf_counter() - started)
    return {"peak_gflops": {name: max(peaks.values())}, "peak_gflops_by_threads": peaks,
            "copy_gb_per_s": 2 * source.nbytes / seconds / 1e9}
