"""What interrupts, threads and objects of the user may do to a search, to the state of a learned optimizer and to a
training: nothing is lost, and nothing half done.
"""

import os
import pickle
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import SLOW

import l2l_ref as l2l
from l2l_ref import backends
from l2l_ref.checks import LONGEST
from l2l_ref.metatrain import loop
from l2l_ref.search.evaluators import make_evaluator
from l2l_ref.trees import flatten

PACKAGE = Path(l2l.__file__).parent.parent


def proposer(dim=2):
    made = l2l.Proposer(dim, 4, rng=3)
    made.card = {"recipe": {"steps": 5}}  # so that runs begin anew within the test
    return made


def interrupted(call, at, where="l2l_ref"):
    """Call with a KeyboardInterrupt before line number ``at`` of the files ``where``; whether it was reached."""
    seen = 0

    def local(frame, event, argument):
        nonlocal seen
        if event == "line":
            seen += 1
            if seen == at:
                sys.settrace(None)
                raise KeyboardInterrupt
        return local

    sys.settrace(lambda frame, *_: local if where in frame.f_code.co_filename else None)
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
        bb = l2l.BlackBoxOptimizer([(0, 1)] * dim, model, 1, finish=None)  # test_finish.py has the finish
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
    bb = l2l.BlackBoxOptimizer([(0, 1)] * 2, proposer(), 1, finish=None)
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


def contents(state):
    return [a.copy() for layer in state.layers for a in layer] + [np.array(state.skipped)]


def require_same(one, two):
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize(("backend", "threads"), [("numpy", None), ("numba", 1), ("numba", 2)])
@pytest.mark.parametrize("taken", [0, 1, 3])  # a state has no spare, and then one that has been written to before
def test_an_interrupted_update_can_be_made_again(backend, threads, in_place, taken, monkeypatch):
    """The caller's state is the one of before, whatever the line; so is it when the result of a call was lost."""
    if not backends.available(backend):
        pytest.skip("numba does not work here")
    if backend == "numba":
        monkeypatch.setattr("l2l_ref.compiled.threads.WORTH_A_THREAD", 0)  # however little the work
    gradients = np.random.default_rng(0).standard_normal((4, 300)).astype(np.float32)
    gradients[:, 7] = np.nan
    gradient, at, lost = gradients[3], 0, False
    while not lost:
        at += 1
        opt = l2l.CoordinatewiseLSTM((3, 2), 10.0, rng=1, backend=backend, threads=threads)
        state = opt.init(gradient)
        for earlier in gradients[:taken]:
            _, state = opt.update(earlier, state, in_place=in_place)
        before = contents(state)
        expected, after = opt.update(gradient, state)
        lost = not interrupted(lambda o=opt, s=state: o.update(gradient, s, in_place=in_place), at)
        require_same(contents(state), before)
        update, again = opt.update(gradient, state, in_place=in_place)
        np.testing.assert_array_equal(update, expected)
        require_same(contents(again), contents(after))
    assert at > 20


EPOCHS = 2
TRAINING = {"epochs": EPOCHS, "tasks": 1, "functions": 3, "validation_functions": 3, "averaging": 0.5, "rollback": 1,
            "learning_rate": 0.05}


def train(path, report=None, resume=False):
    model = l2l.CoordinatewiseLSTM((2,), rng=3, backend="numpy")
    return l2l.meta_train(model, l2l.optimizees.Quadratic(dim=2), 4, 2, 1, checkpoint=path, resume=resume,
                          report=report, **TRAINING)


def contents_of(progress):
    """All that a training has come to, but for the time that it took."""
    log = [{name: value for name, value in entry.items() if name != "seconds"} for entry in progress.log]
    arrays = [progress.phi, progress.average, progress.best_phi, *progress.adam[1:], *progress.best_adam[1:]]
    counts = [progress.adam.t, progress.best_adam.t, progress.rollbacks, progress.since, progress.epoch]
    return [a.tolist() for a in arrays], counts, log


@pytest.mark.parametrize(("where", "stride"), [("metatrain", 3), ("files.py", 7), ("l2l_ref", 499)],
                         ids=["metatrain", "files", "all"])
def test_an_interrupt_before_any_line_of_a_training(tmp_path, monkeypatch, where, stride):
    """What is live is the end of an epoch, what is saved is that epoch or the next one, and training can go on."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # which takes most of the time
    warnings.simplefilter("ignore", ResourceWarning)  # of files that an interrupt leaves to be closed by Python
    ends = {}
    model, _ = train(tmp_path / "whole.npz",
                     lambda progress, _: ends.update({progress.epoch: contents_of(progress)}))
    assert ends[EPOCHS][1][2] > 0, "a rollback should be among what is interrupted"
    at = 1
    while True:
        path, live, resumed = tmp_path / f"{at}.npz", [], []
        if not interrupted(lambda p=path, k=live: train(p, lambda progress, _: k.append(progress)), at, where):
            break
        epoch = live[-1].epoch if live else 0
        assert not live or contents_of(live[-1]) == ends[epoch], at
        again, _ = train(path, lambda progress, _, k=resumed: k.append(progress.epoch), resume=True)
        np.testing.assert_array_equal(flatten(again.params), flatten(model.params), str(at))
        assert EPOCHS - len(resumed) in (epoch, epoch + 1), at
        at += max(1, stride // 17) if SLOW else stride
    assert at > 200


def test_an_interrupted_step_of_meta_training_can_be_made_again():
    schedule, rng, at = loop.Schedule(averaging=0.9, clip=0.1), np.random.default_rng(0), 0
    phi, first, second = rng.standard_normal((3, 5))
    while True:
        at += 1
        progress, expected = loop._begin(schedule, phi), loop._begin(schedule, phi)
        for each in (progress, expected):
            loop.descend(schedule, each, first)
        before = contents_of(progress)
        loop.descend(schedule, expected, second)
        if not interrupted(lambda p=progress: loop.descend(schedule, p, second), at):
            break
        if contents_of(progress) == before:
            loop.descend(schedule, progress, second)
        assert contents_of(progress) == contents_of(expected), at
    assert at > 20


@pytest.mark.parametrize("through", [pickle.dumps, None])
def test_copies_have_a_lock_of_their_own(through):
    import copy

    bb = l2l.BlackBoxOptimizer([(0, 1)] * 2, proposer(), 1)
    bb.ask()
    bb._torn = True  # what an interrupt leaves
    other = copy.deepcopy(bb) if through is None else pickle.loads(through(bb))
    assert other._lock is not bb._lock and other.ask().x.tolist() == bb.ask().x.tolist()


def test_eight_threads_share_an_optimizer():
    bb, ids, rounds = l2l.BlackBoxOptimizer([(0, 1)] * 2, proposer(), finish=None), [], 10_000 if SLOW else 200
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
