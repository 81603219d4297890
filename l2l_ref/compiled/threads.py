"""Work split over threads: a standard pool under kernels that release the GIL."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

WORTH_A_THREAD = 10_000_000  # multiplications, 0.2 to 0.4 ms; below, handing work to a thread takes about as long


@lru_cache(maxsize=None)
def _pool(threads):
    return ThreadPoolExecutor(threads, thread_name_prefix="l2l_ref")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork


def available():
    """How many threads are used when nobody says: L2L_REF_THREADS, else the cores of this process."""
    named = os.environ.get("L2L_REF_THREADS")
    if named is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if not named.isdigit() or int(named) < 1:
        raise ValueError(f"L2L_REF_THREADS: expected a whole number >= 1, got {named!r}")
    return int(named)


def run(kernel, parts, threads, *arguments):
    """Call ``kernel(first, stride, *arguments)`` so that the parts 0..parts-1 are all worked on.

    A call works on the parts first, first + stride, ...; which thread takes which does not show in the
    result, because a kernel writes each part to a place of its own.
    """
    threads = min(threads or available(), parts)
    if threads <= 1:
        kernel(0, 1, *arguments)
        return
    pool = _pool(threads - 1)
    others = [pool.submit(kernel, k, threads, *arguments) for k in range(1, threads)]
    kernel(0, threads, *arguments)
    for other in others:
        other.result()


def run_rows(kernel, rows, size, work, threads, *arguments):
    """`run` with parts of ``size`` rows, each of so many multiplications: on one thread where that is little work."""
    run(kernel, -(-rows // size), worth(threads, rows * work), *arguments)


def worth(threads, multiplications):
    """``threads``, or 1 for little work."""
    return 1 if multiplications < WORTH_A_THREAD else threads
