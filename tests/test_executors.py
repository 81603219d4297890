"""Pieces: the same weights wherever they were computed, whoever died meanwhile."""

import functools
import json
import math
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

import numpy as np
import pytest
from conftest import SLOW
from hypothesis import given
from hypothesis import strategies as st

import l2l_ref as l2l
from l2l_ref import backends, executors, files
from l2l_ref.bench.pieces import predicted
from l2l_ref.black_boxes import GPDistribution
from l2l_ref.executors import Pieces, pool
from l2l_ref.learned.cells import dnc_with
from l2l_ref.learned.sequence import sequence_init
from l2l_ref.metatrain import loop
from l2l_ref.metatrain.gradient_based import meta_train
from l2l_ref.metatrain.sequences import Copy, train_on_sequences
from l2l_ref.optimizees import MLP, Mixture, Quadratic
from l2l_ref.seeds import child
from l2l_ref.trees import flatten

TINY = {"epochs": 3, "updates": 2, "functions": 7, "steps": 5, "first_steps": 3, "validation_functions": 6,
        "workers": 2, "parallel": 0.5, "pieces": 3}


def search(backend, executor=None, cell="lstm", memory=None, **options):
    proposer = l2l.Proposer(2, 5, cell=cell, memory=memory, rng=1, backend=backend)
    trained, _ = l2l.meta_train_black_box(proposer, GPDistribution(dim=2), 3, executor=executor, **TINY | options)
    return trained.params


def gradient(problem, backend, executor=None, model=None, **options):
    model = model or l2l.CoordinatewiseLSTM((3,), rng=1, backend=backend)
    tiny = {"epochs": 3, "tasks": 2, "functions": 5, "pieces": 3, "validation_functions": 4}
    return meta_train(model, problem, 4, 2, 3, executor=executor, **tiny | options)[0].params


def quadratic(backend="numpy", executor=None, **options):
    return gradient(Quadratic(3), backend, executor, **{"horizons": (2, 6), "untold": 0.5} | options)


def evolution(backend, executor=None, **options):
    model = l2l.MomentsMLP(3, rng=1, backend=backend)
    return quadratic(backend, executor, model=model, pieces=1, estimator="evolution", pairs=3, **options)


def mnist(backend, executor=None, **options):
    if not os.environ.get("L2L_REF_DATA"):
        pytest.skip("no folder with MNIST")
    return gradient(MLP("mnist", (3,), batch=4), backend, executor, coordinates=100, **options)


def copy(backend="numpy", executor=None, **options):
    task, cell = Copy(bits=3, longest=2), dnc_with(slots=4, word=3, heads=1)
    params = sequence_init(np.random.default_rng(1), task.inputs, task.bits, 5, cell)
    tiny = {"epochs": 3, "updates": 2, "batch": 5, "pieces": 3, "validation": 4}
    return train_on_sequences(params, cell, task, 3, backend=backend, executor=executor, **tiny | options)[0]


TRAININGS = {  # name: train(backend, executor, **options) -> weights
    "gp, lstm": search,
    "gp, dnc": functools.partial(search, cell="dnc", memory=(4, 3, 2)),
    "quadratic": quadratic,
    "mixture": functools.partial(gradient, Mixture([Quadratic(3), Quadratic(5)]), logarithm=1e-3),
    "evolution": evolution,
    "digits": functools.partial(gradient, MLP("digits", (3,), batch=4), coordinates=20),
    "mnist": mnist,
    "copy": copy,
}
MATRIX = [(name, "numpy") for name in TRAININGS]
MATRIX += [(name, "numba") for name in TRAININGS if SLOW or name in ("gp, dnc", "quadratic")]


@functools.cache
def alone(name, backend="numpy"):
    """The digest of the weights of a training in this process."""
    return digest(TRAININGS[name](backend))


def digest(params):
    return files.digest({"phi": flatten(params)})


@contextmanager
def loky():
    yield pytest.importorskip("loky").get_reusable_executor(2)


@contextmanager
def dask(workers):
    """A client of a scheduler and workers in processes of their own."""
    distributed = pytest.importorskip("distributed")
    with (distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0") as cluster,
          distributed.Client(cluster) as client):
        yield client


EXECUTORS = {"2 processes": lambda: pool(2), "4 processes": lambda: pool(4), "threads": lambda: ThreadPoolExecutor(3),
             "loky": loky, "dask 1": lambda: dask(1), "dask 3": lambda: dask(3)}


@pytest.fixture(scope="module", params=EXECUTORS)
def executor(request):
    with EXECUTORS[request.param]() as made:
        yield made


@pytest.mark.parametrize("name, backend", MATRIX)
def test_executors_do_not_matter(executor, name, backend):
    """L2L_REF_SLOW computes all of it with numba too. MPI is below."""
    if not backends.available(backend):
        pytest.skip(f"no {backend}")
    assert digest(TRAININGS[name](backend, executor)) == alone(name, backend)


def test_the_weights_depend_on_the_number_of_pieces():
    """A test of the tests above: pieces have seeds of their own."""
    assert digest(quadratic(pieces=1)) != digest(quadratic(pieces=2))
    assert digest(copy(pieces=1)) != digest(copy(pieces=2))


def test_pieces_are_a_mean():
    rng = np.random.default_rng(0)
    gradients, losses = rng.standard_normal((7, 4)), rng.standard_normal(7)
    parts = loop.cut(7, 3, child(0))
    assert [functions for functions, _ in parts] == [3, 2, 2]
    ends = np.cumsum([0, 3, 2, 2])
    answers = [(losses[a:b].mean(), gradients[a:b].mean(axis=0)) for a, b in zip(ends, ends[1:])]
    loss, gradient = loop.mean(answers, [functions for functions, _ in parts])
    assert loss == pytest.approx(losses.mean())
    np.testing.assert_allclose(gradient, gradients.mean(axis=0), rtol=1e-12)


@given(pieces=st.integers(1, 64), workers=st.integers(1, 64), seconds=st.floats(1e-3, 1e3), latency=st.floats(0, 1e3))
def test_workers_pay_where_the_model_says_it(pieces, workers, seconds, latency):
    """T6: without latency and bytes W workers are W times as fast where they have equal shares, and never faster."""
    alone, shared = (predicted(pieces, count, seconds, 0.0, 0.0, 0.0, 1.0) for count in (1, workers))
    assert alone == pieces * seconds and shared * workers >= alone * (1 - 1e-12)
    if pieces % workers == 0:
        assert shared * workers == pytest.approx(alone, rel=1e-12)
    pays = predicted(pieces, workers, seconds, latency, 1e5, 2e5, 1e9) < alone
    saved = (pieces - math.ceil(pieces / workers)) * seconds
    spent = latency + (workers * 1e5 + pieces * 2e5) / 1e9
    assert pays == (spent < saved) or spent == pytest.approx(saved, rel=1e-9)


def once(constants, shared, piece, carried):
    """Dies in a worker, the first time that it is called."""
    if not os.path.exists(constants):
        open(constants, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return shared + piece, None


def always(constants, shared, piece, carried):
    if os.getpid() != constants:
        os.kill(os.getpid(), signal.SIGKILL)
    return shared + piece, None


def wrong(constants, shared, piece, carried):
    raise KeyError(f"piece {piece}")


def test_a_worker_that_dies_is_replaced(tmp_path):
    said = []
    with pool(2) as executor:
        assert Pieces(str(tmp_path / "died"), executor, tell=said.append)(once, 10, [1, 2, 3])[0] == [11, 12, 13]
    assert "another one is made" in said[0]


def test_without_another_pool_the_rest_is_computed_here():
    said = []
    with ProcessPoolExecutor(1, get_context("spawn")) as executor:
        assert Pieces(os.getpid(), executor, tell=said.append)(always, 10, [1, 2])[0] == [11, 12]
    assert "in this process" in said[0]


def test_what_a_piece_raises_is_raised():
    with ThreadPoolExecutor(2) as executor, pytest.raises(KeyError, match="piece 1"):
        Pieces(None, executor)(wrong, 0, [1])
    with pytest.raises(ValueError, match="^executor: expected an object with submit, got 3"):
        Pieces(None, 3)


class Own:
    """An executor of a user's, which has another one inside."""

    def __init__(self):
        self.executor, self.calls = ThreadPoolExecutor(2), 0

    def submit(self, *arguments):
        self.calls += 1
        return self.executor.submit(*arguments)


def test_an_executor_that_has_another_one_inside_is_asked_itself():
    own = Own()
    assert Pieces(os.getpid(), own)(always, 10, [1, 2])[0] == [11, 12] and own.calls == 2
    assert dict(executors.as_answered(divmod, {"a": (7, 2), "b": (9, 4)}, own)) == {"a": (3, 1), "b": (2, 1)}
    assert own.calls == 4


def test_what_is_no_executor_is_refused():
    with pytest.raises(ValueError, match="^executor: .* got the class ThreadPoolExecutor; call it"):
        Pieces(None, ThreadPoolExecutor)
    with pytest.raises(ValueError, match="^executor: expected an object with submit, got 3"):
        next(executors.as_answered(divmod, {"a": (7, 2)}, 3))


@pytest.mark.parametrize("seconds", ["3", True, 0, -1.0, math.nan, math.inf])
def test_piece_seconds_are_a_number_above_0(seconds):
    with ThreadPoolExecutor(1) as executor, pytest.raises(ValueError, match="^piece_seconds: expected a finite number"):
        Pieces(None, executor, seconds)


def test_piece_seconds_need_an_executor():
    with pytest.raises(ValueError, match="^piece_seconds: expected None without an executor, got 3.0"):
        Pieces(None, None, 3.0)


def test_the_logger_is_told_of_what_broke_where_nobody_else_is(caplog):
    with ProcessPoolExecutor(1, get_context("spawn")) as executor:
        assert Pieces(os.getpid(), executor)(always, 10, [1, 2])[0] == [11, 12]
    assert [record.levelname for record in caplog.records] == ["WARNING"] and "in this process" in caplog.text


def test_what_a_job_raises_is_raised():
    with pool(2) as executor, pytest.raises(ZeroDivisionError):
        list(executors.as_answered(divmod, {"a": (7, 0)}, executor))


def slow_once(constants, shared, piece, carried):
    """Its first call does not answer."""
    if not os.path.exists(constants):
        open(constants, "w").close()
        time.sleep(60)
    return shared + piece, None


def test_a_worker_that_never_answers_is_given_up(tmp_path):
    said = []
    with pool(2) as executor:
        pieces = Pieces(str(tmp_path / "asleep"), executor, 5.0, said.append)
        assert pieces(slow_once, 10, [1, 2, 3])[0] == [11, 12, 13]
    assert any("no answer within 5 s" in text for text in said)


RELEASED, STUCK = threading.Event(), iter([True])


def stuck_once(constants, shared, piece, carried):
    """Its first call ends when it is released."""
    if next(STUCK, False):
        RELEASED.wait(60)
    return shared + piece, None


def test_a_worker_that_is_stuck_gets_no_further_pieces_until_it_is_free():
    said = []
    with ThreadPoolExecutor(2) as threads:
        pieces = Pieces(None, threads, 1.0, said.append)
        for k in range(5):
            assert pieces(stuck_once, k, [1, 2, 3])[0] == [k + 1, k + 2, k + 3]
        assert [text for text in said if "waiting" not in text] == [
            "pieces were lost (TimeoutError: no answer within 1 s); they are computed again by other workers"]
        assert pieces._free() == 1
        RELEASED.set()
        while pieces._free() != 2:
            time.sleep(0.01)


def count(constants, shared, piece, carried):
    return (piece, carried), (carried or 0) + piece


def test_what_is_carried_comes_back():
    with ThreadPoolExecutor(2) as executor:
        for pieces in (Pieces(None), Pieces(None, executor)):
            carried = None
            for k in range(3):
                answers, carried = pieces(count, None, [1, 2], carried)
                assert answers == [(1, k or None), (2, 2 * k or None)]


class Killing:
    """An executor of two processes, of which one is killed before every seventh call."""

    def __init__(self):
        self.inner, self.calls, self.killed = pool(2), 0, 0

    def submit(self, *call):
        self.calls += 1
        processes = list((self.inner.executor._processes or {}).values())
        if self.calls % 7 == 0 and processes:
            processes[self.calls % len(processes)].kill()
            self.killed += 1
        return self.inner.submit(*call)

    def renew(self):
        self.inner.renew()


@pytest.mark.parametrize("name", ["gp, lstm", "quadratic"])
def test_workers_that_are_killed_change_nothing(name):
    killing = Killing()
    with killing.inner:
        assert digest(TRAININGS[name]("numpy", killing)) == alone(name)
    assert killing.killed >= 2


class Breaking:
    """An executor one call of which ends the training, as a scheduler that cannot be reached any more."""

    def __init__(self, executor):
        self.inner, self.calls = executor, 0

    def submit(self, *call):
        self.calls += 1
        if self.calls == 20:
            raise KeyboardInterrupt
        return self.inner.submit(*call)


def test_a_training_is_resumed_on_another_executor(tmp_path):
    checkpoint = tmp_path / "run"
    with ThreadPoolExecutor(3) as threads, pytest.raises(KeyboardInterrupt):
        quadratic(executor=Breaking(threads), checkpoint=checkpoint)
    assert checkpoint.exists()
    with pool(2) as processes:
        assert digest(quadratic(executor=processes, checkpoint=checkpoint, resume=True)) == alone("quadratic")


def interrupted(progress, recipe):
    if progress.epoch == 2:
        raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["quadratic", "gp, lstm", "copy"])
def test_a_checkpoint_from_before_there_were_pieces_is_resumed_with_one(tmp_path, name):
    checkpoint, train = tmp_path / "run", functools.partial(TRAININGS[name], "numpy")
    with pytest.raises(KeyboardInterrupt):
        train(pieces=1, checkpoint=checkpoint, report=interrupted)
    with np.load(checkpoint) as archive:
        arrays = {name: archive[name] for name in archive.files}
    card = json.loads(arrays.pop("card").tobytes())
    assert card["checkpoint"]["recipe"].pop("pieces") == 1
    files.write(checkpoint, arrays, card)
    with pytest.raises(ValueError, match="another run: its recipe, pieces is 1, not 3"):
        train(pieces=3, checkpoint=checkpoint, resume=True)
    assert digest(train(pieces=1, checkpoint=checkpoint, resume=True)) == digest(train(pieces=1))


@pytest.mark.parametrize("package, version, message", [
    ("numpy", "1.26.0", "expected workers with numpy 1.26.0, got numpy [0-9.a-z]+"),
    ("l2l_ref", "0.0.1", "expected workers with l2l_ref 0.0.1, got l2l_ref [0-9.a-z]+"),
    ("numba", "0.1", "expected workers with numba 0.1, got (numba [0-9.a-z]+|no numba)"),
])
def test_workers_with_other_versions_are_refused(monkeypatch, package, version, message):
    """The versions here are changed, and those of the workers are what is installed."""
    here = executors._versions() | {package: version}
    with pool(2) as processes:
        monkeypatch.setattr(executors, "_versions", lambda: here)
        with pytest.raises(ValueError, match=f"^executor: {message}$"):
            quadratic(executor=processes)


def test_data_sets_are_sent_by_name():
    digits = MLP("digits", (3,))
    assert len(pickle.dumps(digits)) < 1000 < digits.data.images.nbytes
    again = pickle.loads(pickle.dumps(digits))
    np.testing.assert_array_equal(again.data.images, digits.data.images)
    assert again.data.images is not None and pickle.loads(pickle.dumps(again)).data.labels.shape == (1000,)
    fewer = digits.data._replace(images=digits.data.images[:5])  # other content, which no name describes
    assert pickle.loads(pickle.dumps(fewer)).images.shape == (5, 64)


MPI = """
import sys
sys.path.insert(0, {folder!r})
from mpi4py.futures import MPIPoolExecutor
import test_executors as tests  # of three ranks, one gives the work

if __name__ == "__main__":
    with MPIPoolExecutor() as executor:
        for name, backend in tests.MATRIX:
            if tests.backends.available(backend) and (name != "mnist" or tests.os.environ.get("L2L_REF_DATA")):
                weights = tests.TRAININGS[name](backend, executor)
                assert tests.digest(weights) == tests.alone(name, backend), (name, backend)
    print("equal")
"""


def test_mpi(tmp_path):
    pytest.importorskip("mpi4py")
    mpiexec = shutil.which("mpiexec", path=os.path.dirname(sys.executable)) or shutil.which("mpiexec")
    if mpiexec is None:
        pytest.skip("no mpiexec")
    script = tmp_path / "mpi.py"
    script.write_text(MPI.format(folder=os.path.dirname(os.path.abspath(__file__))))
    done = subprocess.run([mpiexec, "-n", "3", sys.executable, "-m", "mpi4py.futures", str(script)], text=True,
                          capture_output=True, timeout=300, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"})
    assert done.returncode == 0 and "equal" in done.stdout, done.stderr
