"""Threads of the compiled twins: bounded, waited for, and no obstacle to a process that ends or forks."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from conftest import ROOT

from l2l_ref.compiled import threads


def run_program(program, timeout=120):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=timeout,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("before", [2, 0])
def test_an_update_goes_on_after_the_main_thread_has_ended(before):
    """Python's pools take no more work then, and none can be made; the parts are done by the thread that asks."""
    program = f"""
import threading, numpy as np, l2l_ref as l2l
optimizer = l2l.load("mnist-lstm", backend="numba", threads=3)
original = l2l.load("mnist-lstm", backend="numpy")
g = np.linspace(-1, 1, 50_000, dtype=np.float32)
def updates(optimizer, count):
    state = optimizer.init(g)
    for _ in range(count):
        update, state = optimizer.update(g, state)
        yield update
compiled = list(updates(optimizer, {before}))
def train():
    threading.main_thread().join()
    print(np.allclose(*(list(updates(o, 3))[-1] for o in (optimizer, original)), atol=1e-5))
threading.Thread(target=train).start()
"""
    assert run_program(program) == "True\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_that_is_forked_while_a_thread_compiles_can_compile():
    program = """
import os, signal, threading, warnings
import numba, numpy as np
import l2l_ref.compiled.jit
warnings.simplefilter("ignore")  # newer versions of Python warn of a fork beside threads
def compiled(k):
    names = {}
    exec("def f(x):\\n  total = 0.0\\n" + f"  for v in x:\\n    total += v ** {k}\\n" * 30 + "  return total", names)
    return numba.njit(names["f"])(np.ones(3))
compiled(0)  # so that everything is imported: Python itself does not let a child wait for another thread's import
thread = threading.Thread(target=lambda: [compiled(k) for k in range(1, 4)])
thread.start()
children = []
for _ in range(3):
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        compiled(7)
        os._exit(0)
    children.append(child)
print([os.waitpid(child, 0)[1] for child in children])
thread.join()
"""
    assert run_program(program) == "[0, 0, 0]\n"


def test_the_pool_has_no_more_threads_than_the_machine_has_cores():
    before = threading.active_count()
    for count in range(2, 40):
        threads.run(lambda first, stride: time.sleep(0.001), 64, count)
    named = [thread for thread in threading.enumerate() if thread.name.startswith("l2l_ref")]
    assert len(named) <= os.cpu_count()
    assert threading.active_count() - before <= os.cpu_count()


def test_every_part_is_done_once_whatever_the_number_of_threads():
    for count in (1, 2, 3, 7, 40):
        done = np.zeros(50, int)

        def mark(first, stride, done=done):
            done[first::stride] += 1

        threads.run(mark, len(done), count)
        assert (done == 1).all()


def test_nothing_writes_any_more_when_an_exception_leaves():
    """What goes on in the background would write into arrays that the caller may use again."""
    finished = []

    def kernel(first, stride):
        if first == 0:
            raise KeyboardInterrupt
        time.sleep(0.2)
        finished.append(first)

    with pytest.raises(KeyboardInterrupt):
        threads.run(kernel, 3, 3)
    assert sorted(finished) == [1, 2]


def test_an_exception_of_another_thread_is_raised():
    def kernel(first, stride):
        if first == 1:
            raise FloatingPointError(f"part {first}")

    with pytest.raises(FloatingPointError, match="part 1"):
        threads.run(kernel, 2, 2)
