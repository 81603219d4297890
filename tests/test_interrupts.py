"""What interrupts, threads and objects of the user may do to a search: nothing is lost, and nothing half done."""

import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import SLOW

import l2l_ref as l2l
from l2l_ref.checks import LONGEST
from l2l_ref.search.evaluators import make_evaluator

PACKAGE = Path(l2l.__file__).parent.parent


def proposer(dim=2):
    made = l2l.Proposer(dim, 4, rng=3)
    made.card = {"recipe": {"steps": 5}}  # so that runs begin anew within the test
    return made


def interrupted(call, at):
    """Call with a KeyboardInterrupt before line number ``at`` of the package; whether it was reached."""
    seen = 0

    def local(frame, event, argument):
        nonlocal seen
        if event == "line":
            seen += 1
            if seen == at:
                sys.settrace(None)
                raise KeyboardInterrupt
        return local

    sys.settrace(lambda frame, *_: local if "l2l_ref" in frame.f_code.co_filename else None)
    try:
        call()
        return False
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)


@pytest.mark.parametrize("told", [0, 1, 4, 5, 8])  # 5 and more: a run begins anew; powers of two: a new scale
@pytest.mark.parametrize("what", ["ask", "tell", "tell a point", "save"])
@pytest.mark.parametrize("dim", [1, 2])
def test_an_interrupt_before_any_line_is_before_or_after_the_call(tmp_path, told, what, dim):
    model, at = proposer(), 0
    while True:
        at += 1
        bb = l2l.BlackBoxOptimizer([(0, 1)] * dim, model, 1)
        for _ in range(told):
            trial = bb.ask()
            bb.tell(trial, float(trial.x.sum()))
        waiting = bb.ask()
        before = [list(event) for event in bb.log]
        call = {"ask": bb.ask, "tell": lambda bb=bb, w=waiting: bb.tell(w, 1.0),
                "tell a point": lambda bb=bb: bb.tell([0.5] * dim, 1.0),
                "save": lambda bb=bb: bb.save(tmp_path / "state.json")}[what]
        if not interrupted(call, at):
            break
        assert bb.log[:len(before)] == before and len(bb.log) <= len(before) + 1
        asked = {event[1] for event in bb.log if event[0] == "ask"}
        known = {event[1] for event in bb.log if event[0] == "tell" and event[1] is not None}
        assert {trial.id for trial in bb.pending} == asked - known
        again = l2l.BlackBoxOptimizer.from_state(bb.state_dict(), model)
        for _ in range(3):
            one, two = bb.ask(), again.ask()
            assert one.id == two.id and one.x.tolist() == two.x.tolist(), at
            bb.tell(one, 0.5)
            again.tell(two, 0.5)
        assert bb.best[1] == again.best[1]
        if waiting.id in {trial.id for trial in bb.pending}:
            bb.tell(waiting, 0.1)  # the user's own object, from before the interrupt
    assert at > 3


def test_an_interrupt_while_it_is_mended():
    bb = l2l.BlackBoxOptimizer([(0, 1)] * 2, proposer(), 1)
    for _ in range(6):
        trial = bb.ask()
        bb.tell(trial, float(trial.x.sum()))
    state, at = bb.state_dict(), 1
    bb._torn = True
    while interrupted(bb.ask, at):
        at += 7
        assert bb.state_dict()["events"][:12] == state["events"]
    assert at > 50
    again = l2l.BlackBoxOptimizer.from_state(bb.state_dict(), proposer())
    assert bb.ask().x.tolist() == again.ask().x.tolist()


@pytest.mark.parametrize("through", [pickle.dumps, None])
def test_copies_have_a_lock_of_their_own(through):
    import copy

    bb = l2l.BlackBoxOptimizer([(0, 1)] * 2, proposer(), 1)
    bb.ask()
    bb._torn = True  # what an interrupt leaves
    other = copy.deepcopy(bb) if through is None else pickle.loads(through(bb))
    assert other._lock is not bb._lock and other.ask().x.tolist() == bb.ask().x.tolist()


def test_eight_threads_share_an_optimizer():
    bb, ids, rounds = l2l.BlackBoxOptimizer([(0, 1)] * 2, proposer()), [], 10_000 if SLOW else 200
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)

    def work():
        for _ in range(rounds):
            trial = bb.ask()
            ids.append(trial.id)
            bb.tell(trial, float(trial.x.sum()))

    try:
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert sorted(ids) == list(range(8 * rounds)) and not bb.pending
    assert len([event for event in bb.log if event[0] == "tell"]) == 8 * rounds
    again = l2l.BlackBoxOptimizer.from_state(bb.state_dict(), proposer())
    assert again.ask().x.tolist() == bb.ask().x.tolist()


class Nameless(Exception):
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


def raises(error):
    def fun(x):
        raise error

    return fun


FAILURES = {
    "masked": lambda x: np.ma.masked,
    "masked array": lambda x: np.ma.array([-999.0], mask=[True]),
    "complex": lambda x: np.complex128(-5 + 2j),
    "complex64": lambda x: np.complex64(-5),
    "complex array": lambda x: np.array([-5 + 0j]),
    "text": lambda x: "-7",
    "bytes": lambda x: b"-7",
    "bytearray": lambda x: bytearray(b"-7"),
    "memoryview": lambda x: memoryview(b"-7"),
    "a huge int": lambda x: 10**5000,
    "a long list": lambda x: [0.0] * 10**6,
    "an object without a text": lambda x: Nameless(),
    "an exception without a text": raises(Nameless()),
    "an exception of megabytes": raises(ValueError("x" * 10**7)),
    "sys.exit": raises(SystemExit(0)),
    "a dict": lambda x: {},
}


@pytest.mark.parametrize("name", FAILURES)
def test_what_is_no_number_is_a_failure(name):
    calls = []

    def fun(x):
        calls.append(1)
        return FAILURES[name](x) if len(calls) % 2 else float(x.sum())

    result = l2l.minimize(fun, [(0, 1)] * 2, 10, proposer())
    assert len(calls) == result.nfev == 10 and len(result.failures) == 5 and 0 <= result.fun <= 2
    assert all(len(text) < LONGEST + 100 for _, text in result.failures)


@pytest.mark.parametrize("values", [
    np.ma.array([-999.0, 1.0], mask=[True, False]), [None, 1.0], np.array([-5 + 0j, 1.0], object),
    np.array(["-999", 1.0], object), [np.nan, 1], [-np.inf, 1], np.ma.array([7, 1], mask=[True, False]),
], ids=repr)
def test_what_is_no_number_is_a_failure_among_many(values):
    result = l2l.minimize_many(lambda X: values, [(0, 1)] * 2, 2, 3, proposer())
    assert np.isnan(result.fun[0]) and result.fun[1] == 1


def test_an_interrupt_by_the_user_is_no_failure():
    with pytest.raises(KeyboardInterrupt):
        l2l.minimize(raises(KeyboardInterrupt()), [(0, 1)] * 2, 10, proposer())


def test_a_pool_that_is_shut_down_ends_the_run_with_what_is_known():
    pool, calls = ThreadPoolExecutor(2), []

    def fun(x):
        calls.append(1)
        if len(calls) == 10:
            pool.shutdown(wait=False)
        return float(x.sum())

    result = l2l.minimize(fun, [(0, 1)] * 2, 100, proposer(), workers=pool)
    assert result.status == 2 and "shutdown" in result.message and np.isfinite(result.fun) and 10 <= result.nfev < 100


@pytest.mark.parametrize("size", [None, "many", 0, -3])
def test_a_pool_that_does_not_say_its_size(size):
    with ThreadPoolExecutor(2) as pool:
        pool._max_workers, real = size, pool._max_workers
        try:
            evaluator = make_evaluator(abs, (), pool, None)
        finally:
            pool._max_workers = real
    assert evaluator.size == 4


ORPHANS = """
import time, l2l_ref as l2l
def fun(x):
    print("evaluates", flush=True)
    time.sleep(0.2)
    return float(x.sum())
if __name__ == "__main__":
    l2l.minimize(fun, [(0, 1)] * 2, 1000, l2l.Proposer(2, 4), workers=3)
"""


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
@pytest.mark.parametrize("signal", ["SIGTERM", "SIGKILL"])
def test_workers_end_with_the_process_that_started_them(tmp_path, signal):
    import signal as signals

    (tmp_path / "search.py").write_text(ORPHANS)
    process = subprocess.Popen([sys.executable, "search.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True,
                               env={**os.environ, "PYTHONPATH": str(PACKAGE)})
    for _ in range(6):  # each of the workers runs
        process.stdout.readline()
    process.send_signal(getattr(signals, signal))
    process.wait()
    assert "x" not in process.stdout.read().replace("evaluates", "")  # which ends when the last worker has ended
    process.stdout.close()
