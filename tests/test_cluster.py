"""Trainings on a dask cluster whose parts are killed, stopped, restarted, added and taken away."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from conftest import ROOT, SLOW
from test_executors import digest, quadratic

from l2l_ref import executors, files
from l2l_ref.executors import Pieces, Renewable

distributed = pytest.importorskip("distributed")

WORKERS, PARENTS = (30, 10) if SLOW else (4, 2)  # so many are killed

TRAIN = ["train", "quadratic", "--pieces", "3", "--epochs", "40", "--tasks", "2", "--functions", "3", "--steps", "6",
         "--unroll", "2", "--hidden", "3", "--backend", "numpy"]


@contextmanager
def cluster_of(workers, **options):
    with distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0", **options) as made:
        yield made


def settings_of(folder):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
                                "OPENBLAS_NUM_THREADS": "1"}
    return {"cwd": folder, "env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}


def command(*words):
    return [sys.executable, "-m", "l2l_ref", *TRAIN, *map(str, words)]


def weights_in(path):
    with np.load(path) as archive:
        return files.digest({name: archive[name] for name in archive.files if name != "card"})


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    subprocess.run(command("--output", "alone.npz"), **settings_of(folder), check=True, timeout=120)
    return weights_in(folder / "alone.npz")


def test_kills_of_workers_and_of_the_parent_change_nothing(tmp_path, undisturbed):
    """At random moments, which L2L_REF_KILL_SEED draws again. L2L_REF_SLOW kills 30 workers and 10 parents."""
    seed = int(os.environ.get("L2L_REF_KILL_SEED") or np.random.SeedSequence().entropy % 2**32)
    print(f"L2L_REF_KILL_SEED={seed}")
    rng, killed, finished = np.random.default_rng(seed), {"worker": 0, "parent": 0}, 0
    left = list(rng.permutation(["worker"] * WORKERS + ["parent"] * PARENTS))
    with cluster_of(2) as cluster:
        words = command("--output", "there.npz", "--checkpoint", "run", "--resume", "--scheduler",
                        cluster.scheduler_address)
        while left or not finished:
            process = subprocess.Popen(words, **settings_of(tmp_path))
            process.stderr.readline()  # an epoch has ended
            while left and process.poll() is None:
                time.sleep(rng.uniform(0, 1))
                victim = left[-1]
                if victim == "parent":
                    process.kill()
                else:
                    pids = [worker.pid for worker in list(cluster.scheduler.workers.values())]
                    if not pids:  # both are being started, or died when they had just been: then dask gives up on them
                        cluster.scale(2)
                        continue
                    os.kill(pids[int(rng.integers(len(pids)))], signal.SIGKILL)
                killed[left.pop()] += 1
                if victim == "parent":
                    break
            _, said = process.communicate(timeout=300)
            assert process.returncode in (0, -signal.SIGKILL), said
            if process.returncode == 0:
                assert weights_in(tmp_path / "there.npz") == undisturbed
                (tmp_path / "run").unlink()
                finished += 1
    print(killed, "finished", finished)


def test_workers_that_join_and_leave_change_nothing():
    with cluster_of(1) as cluster, distributed.Client(cluster) as client:
        stop = threading.Event()

        def scale():
            for k in range(1000):
                cluster.scale((3, 1, 2)[k % 3])
                if stop.wait(0.7):
                    return

        thread = threading.Thread(target=scale)
        thread.start()
        try:
            for _ in range(3 if SLOW else 1):
                assert digest(quadratic(executor=client, epochs=12)) == digest(quadratic(epochs=12))
        finally:
            stop.set()
            thread.join()


@contextmanager
def started(*words):
    process = subprocess.Popen([sys.executable, "-m", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env=settings_of(".")["env"])
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def scheduler_at(port):
    return started("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")


def worker_of(port):
    return started("distributed.cli.dask_worker", f"tcp://127.0.0.1:{port}", "--nthreads", "1", "--no-dashboard",
                   "--no-nanny")


@contextmanager
def training_whose_scheduler_is_killed(port, folder):
    """A training after its first lines, and its scheduler, which has just been killed."""
    words = command("--output", "there.npz", "--checkpoint", "run", "--scheduler", f"tcp://127.0.0.1:{port}")
    with scheduler_at(port) as scheduler, worker_of(port):
        process = subprocess.Popen(words, **settings_of(folder))
        for _ in range(3):
            process.stderr.readline()
        scheduler.kill()
        yield process, scheduler


def test_a_scheduler_that_restarts(tmp_path, undisturbed, unused_port, monkeypatch):
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "10s")  # it is waited for so long
    with training_whose_scheduler_is_killed(unused_port, tmp_path) as (process, scheduler):
        scheduler.wait()
        with scheduler_at(unused_port), worker_of(unused_port):
            _, said = process.communicate(timeout=200)
    assert process.returncode == 0, said
    assert "the executor broke" in said and weights_in(tmp_path / "there.npz") == undisturbed


def test_a_scheduler_that_does_not_come_back(tmp_path, undisturbed, unused_port, monkeypatch):
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "3s")
    with training_whose_scheduler_is_killed(unused_port, tmp_path) as (process, scheduler):
        _, said = process.communicate(timeout=200)
    assert process.returncode == 0, said
    assert "computed in this process" in said and weights_in(tmp_path / "there.npz") == undisturbed


@pytest.fixture
def unused_port():
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def add(constants, shared, piece, carried):
    time.sleep(0.05)
    return shared + piece, None


def test_a_worker_that_never_answers_again(monkeypatch):
    """It is stopped, so its connection stays. What it had is computed elsewhere, and it gets nothing more."""
    monkeypatch.setattr(executors, "TELL_AFTER", 1.0)
    said = []
    with cluster_of(2) as cluster, Renewable(lambda: distributed.Client(cluster.scheduler_address)) as executor:
        assert Pieces(None, executor)(add, 10, [1, 2, 3])[0] == [11, 12, 13]  # however long it takes them to begin
        pieces = Pieces(None, executor, 10.0, said.append)
        pid = next(iter(cluster.workers.values())).pid
        os.kill(pid, signal.SIGSTOP)
        try:
            for k in (20, 30, 40):
                assert pieces(add, k, [1, 2, 3])[0] == [k + 1, k + 2, k + 3]
        finally:
            os.kill(pid, signal.SIGCONT)
    assert any("waiting for piece" in text for text in said)
    assert sum("no answer within 10 s" in text for text in said) == 1
