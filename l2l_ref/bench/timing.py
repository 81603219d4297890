"""How every benchmark is timed: interleaved rounds, compared results, the limits of the machine."""

import os
import statistics
import subprocess
import sys
import time

import numpy as np

SETTLE = 0.1  # seconds before a work is timed: the threads of the one before may spin for a while


def compared(implementations, threads, tolerance, make):
    """{(name, threads): work} of those that are installed, each run once: a wrong result is a ValueError, not a row.

    ``make(implementation, count)`` gives the work, whose result is one vector.
    """
    runs, reference = {}, None
    for name, implementation in implementations.items():
        for count in threads if name != "numpy" else (None,):  # NumPy's threads are its BLAS's own
            try:
                work = make(implementation, count)
            except ImportError:
                continue
            result = work()
            reference = result if reference is None else reference
            error = np.abs(result - reference).max() / np.abs(reference).max()
            if not error < tolerance:
                raise ValueError(f"{name}: its gradient differs from numba's by {error:.2g} of the largest entry")
            runs[name, count] = work
    return runs


def timed(runs, rounds, report=None):
    """A row for each of the runs, {(name, threads): work}, timed in interleaved rounds."""
    times = {key: [] for key in runs}
    for k in range(rounds):
        for key, work in runs.items():
            time.sleep(SETTLE)
            work()  # untimed: a core that has slept takes some milliseconds to be back
            started = time.perf_counter()
            work()
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


def in_process(code, environment):
    """What ``code`` prints in a process of its own. ValueError with the last line of what went wrong."""
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise ValueError((done.stderr.strip().splitlines() or [f"a process ended with code {done.returncode}"])[-1])
    return done.stdout


def machine(dtype=np.float32, threads=(1, 2), size=2048):
    """The machine's own limits: a large matrix product in GFLOP/s, and copying 256 MB, read and written, in GB/s.

    BLAS is told its threads before it starts, in a process of its own for each number of them.
    """
    name, peaks = np.dtype(dtype).name, {}
    for count in threads:
        environment = os.environ | {f"{blas}_NUM_THREADS": str(count) for blas in ("OPENBLAS", "MKL", "OMP", "BLIS")}
        peaks[str(count)] = float(in_process(PEAK.format(size=size, dtype=name), environment))
    source, seconds = np.ones(2**25), np.inf
    target = np.empty_like(source)
    for _ in range(6):
        started = time.perf_counter()
        target[:] = source
        seconds = min(seconds, time.perf_counter() - started)
    return {"peak_gflops": {name: max(peaks.values())}, "peak_gflops_by_threads": peaks,
            "copy_gb_per_s": 2 * source.nbytes / seconds / 1e9}
