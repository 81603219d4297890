"""Split work over threads: a standard thread pool runs kernels that release the GIL."""

import os
from concurrent.futures import wait

from ..executors import cores

# Multiplications, which take 0.2 to 0.4 ms. Handing less work than this to threads takes about as long as doing it.
WORTH_A_THREAD = 10_000_000


def _open_pool():
    """Make the one pool of this process. Its threads begin when they are needed, one for each core at most."""
    global _pool
    try:
        from concurrent.futures import ThreadPoolExecutor
    except RuntimeError:  # the main thread had ended before this file was loaded: there can be no pool any more
        _pool = None
    else:
        _pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="l2l_ref")


_open_pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open_pool)  # threads do not survive a fork


def available():
    """The default number of threads: L2L_REF_THREADS if set, else the number of cores this process may use."""
    named = os.environ.get("L2L_REF_THREADS")
    if named is None:
        return cores()
    if not named.isdigit() or int(named) < 1:
        raise ValueError(f"L2L_REF_THREADS: expected a whole number >= 1, got {named!r}")
    return int(named)


def run(kernel, parts, threads, *arguments):
    """Call ``kernel(first, stride, *arguments)`` on several threads so that all parts 0..parts-1 are done.

    One call does the parts first, first + stride, ... The result does not depend on which thread does which part,
    because a kernel writes each part to a place of its own.
    """
    threads = min(threads or available(), parts)
    if threads <= 1 or _pool is None:
        kernel(0, 1, *arguments)
        return
    own, others = [0], []
    try:
        for k in range(1, threads):
            try:
                others.append(_pool.submit(kernel, k, threads, *arguments))
            except RuntimeError as error:
                if "shutdown" not in str(error):
                    raise
                own.append(k)  # the main thread has ended since, and no pool takes work any more
        for k in own:
            kernel(k, threads, *arguments)
    finally:
        wait(others)  # they write into the caller's arrays, also when an exception leaves here
    for other in others:
        other.result()


def run_rows(kernel, rows, size, work, threads, *arguments):
    """`run` with parts of ``size`` rows, on one thread if that is little work; ``work`` is multiplications per row."""
    run(kernel, -(-rows // size), worth(threads, rows * work), *arguments)


def worth(threads, multiplications):
    """``threads``, or 1 if there are too few multiplications to share."""
    return 1 if multiplications < WORTH_A_THREAD else threads
