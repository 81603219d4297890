"""Pieces: the same weights wherever they were computed, whoever died meanwhile."""

import os
import signal
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

import numpy as np
import pytest

import l2l_ref as l2l
from l2l_ref import files
from l2l_ref.black_boxes import GPDistribution
from l2l_ref.executors import Pieces, pool
from l2l_ref.metatrain import loop
from l2l_ref.seeds import child
from l2l_ref.trees import flatten

TINY = {"epochs": 3, "updates": 2, "functions": 7, "steps": 5, "first_steps": 3, "validation_functions": 6,
        "workers": 2, "parallel": 0.5, "pieces": 3}


def weights(executor=None, cell=None, **recipe):
    """The digest of the weights of a tiny training."""
    proposer = l2l.Proposer(2, 5, rng=1, backend="numpy", **cell or {})
    trained, _ = l2l.meta_train_black_box(proposer, GPDistribution(dim=2), 3, executor=executor, **TINY | recipe)
    return files.digest({"phi": flatten(trained.params)})


@contextmanager
def loky():
    yield pytest.importorskip("loky").get_reusable_executor(2)


@contextmanager
def dask(workers):
    distributed = pytest.importorskip("distributed")
    with distributed.Client(n_workers=workers, threads_per_worker=1, processes=False, dashboard_address=None) as client:
        yield client


EXECUTORS = {"2 processes": lambda: pool(2), "threads": lambda: ThreadPoolExecutor(3), "loky": loky,
             "dask 1": lambda: dask(1), "dask 3": lambda: dask(3)}


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("cell", [{}, {"cell": "dnc", "memory": (4, 3, 2)}], ids=["lstm", "dnc"])
def test_executors_do_not_matter(cell, executor):
    with EXECUTORS[executor]() as made:
        assert weights(made, cell) == weights(None, cell)


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
