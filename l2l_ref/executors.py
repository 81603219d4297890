"""What all users of processes share: the number of cores, and a pool of processes that ends with its parent."""

from __future__ import annotations

import contextlib
import os
from typing import Any


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pool(processes: int) -> Any:
    """A context that gives an executor of this many processes, or None for one, which is this process.

    The processes share the cores, and BLAS has one thread in each. They end with this process, even if it is killed.
    """
    if processes == 1:
        return contextlib.nullcontext()
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # of the new processes
        os.environ.setdefault(name, "1")
    threads = max(1, cores() // processes)
    return ProcessPoolExecutor(processes, get_context("spawn"), _begin, (threads,))


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
    import threading

    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
