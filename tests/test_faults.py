"""Every write, fsync, rename and opening of a file fails once, and every line is interrupted once: nothing is lost.

Afterwards each file is the one of before or the one of after, and the same call made again gives the same result.
"""

import os
import sys

import numpy as np
import pytest

from l2l_ref import files
from l2l_ref.learned.optimizer import CoordinatewiseLSTM
from l2l_ref.learned.proposer import Proposer
from l2l_ref.metatrain.gradient_based import meta_train
from l2l_ref.optimizees import Quadratic
from l2l_ref.pretrained import load, save
from l2l_ref.search.optimizer import BlackBoxOptimizer
from l2l_ref.trees import flatten

CALLS = ("open", "write", "fsync", "replace")


class Faults:
    """Lets call number ``which`` of those in `CALLS` fail; a write fails when half of it is done."""

    def __init__(self, monkeypatch, which):
        self.made = []
        for name in CALLS:
            monkeypatch.setattr(os, name, self.wrapped(name, getattr(os, name), which))

    def wrapped(self, name, original, which):
        def call(*arguments, **settings):
            self.made.append(name)
            if len(self.made) - 1 != which:
                return original(*arguments, **settings)
            if name == "write":
                original(arguments[0], arguments[1][: len(arguments[1]) // 2])
            raise OSError(28, f"fault in {name}", *arguments[:1] * (name == "open"))

        return call


def every_fault(monkeypatch, work):
    """Do the work with each of its calls failing once. Yields (the call, the error or None)."""
    which = 0
    while True:
        with monkeypatch.context() as patch:
            faults, error = Faults(patch, which), None
            try:
                work()
            except (OSError, ValueError) as caught:
                error = caught
        if which >= len(faults.made):
            assert error is None and which > 0
            return
        yield faults.made[which], error
        which += 1


def refused(error, *names):
    """Whether the error of a fault, if there is one, names one of the files."""
    return error is None or any(name in str(error) for name in names) and "\n" not in str(error)


# --------------------------------------------------------------------------------------------------------- a training

TINY = {"steps": 4, "unroll": 2, "epochs": 2, "tasks": 1, "functions": 2, "validation_functions": 2}


def model():
    return CoordinatewiseLSTM(hidden=(2,), backend="numpy")


def arrays_of(path, n):
    names = ("phi", "average", "m", "v", "best_phi", "best_m", "best_v")
    return files.read(path, lambda card: {name: ((n,), float) for name in names})[0]


def epochs_of(path):
    """epoch -> the arrays of its checkpoint."""
    found = {}

    def report(progress, recipe):
        found[progress.epoch] = arrays_of(path, progress.phi.size)

    meta_train(model(), Quadratic(dim=2), **TINY, checkpoint=path, report=report)
    return found


def test_every_fault_of_a_training(tmp_path, monkeypatch):
    whole = epochs_of(tmp_path / "whole.ckpt")
    digests = {files.digest(arrays): epoch for epoch, arrays in whole.items()}
    n = whole[1]["phi"].size
    trained = flatten(meta_train(model(), Quadratic(dim=2), **TINY)[0].params).tobytes()
    folder = tmp_path / "run"
    folder.mkdir()
    checkpoint, weights = folder / "run.ckpt", folder / "w.npz"

    def train():
        found, _ = meta_train(model(), Quadratic(dim=2), **TINY, checkpoint=checkpoint, resume=True)
        save(found, weights)

    seen = set()
    for call, error in every_fault(monkeypatch, train):
        assert refused(error, "run.ckpt", "w.npz"), error
        if checkpoint.exists():
            seen.add((call, digests[files.digest(arrays_of(checkpoint, n))]))  # one of those of the undisturbed run
        if weights.exists():
            assert flatten(load(weights).params).tobytes() == trained
        train()
        assert flatten(load(weights).params).tobytes() == trained
        assert sorted(os.listdir(folder)) == ["run.ckpt", "w.npz"]
        checkpoint.unlink()
        weights.unlink()
    assert {call for call, _ in seen} == set(CALLS) and {epoch for _, epoch in seen} == {1, 2}


# ----------------------------------------------------------------------------------------------------------- a search


def test_every_fault_of_a_search(tmp_path, monkeypatch):
    proposer, path = Proposer(2, 2, backend="numpy"), tmp_path / "s.json"
    search = BlackBoxOptimizer([(0, 1)] * 2, proposer)
    search.tell(search.ask(), 1.0)
    search.save(path)
    before, content = search.state_dict(), path.read_bytes()

    def go_on():
        found = BlackBoxOptimizer.load(path, proposer)
        found.tell(found.ask(), 0.5)
        found.save(path)

    go_on()
    after, calls = BlackBoxOptimizer.load(path, proposer).state_dict(), []
    path.write_bytes(content)
    for call, error in every_fault(monkeypatch, go_on):
        calls.append(call)
        assert refused(error, "s.json"), error
        assert BlackBoxOptimizer.load(path, proposer).state_dict() in (before, after)
        path.write_bytes(content)
        go_on()
        assert BlackBoxOptimizer.load(path, proposer).state_dict() == after and os.listdir(tmp_path) == ["s.json"]
        path.write_bytes(content)
    assert set(calls) == set(CALLS)


# --------------------------------------------------------------------------------------------- an interrupt of a write


class Interrupt:
    """Raises KeyboardInterrupt before line number ``which`` of those that files.py runs."""

    def __init__(self, which):
        self.which, self.lines = which, 0

    def __call__(self, frame, event, argument):
        if frame.f_code.co_filename != files.__file__:
            return None
        if event == "line":
            self.lines += 1
            if self.lines == self.which:
                raise KeyboardInterrupt
        return self


@pytest.mark.parametrize("there", [True, False])
def test_an_interrupt_before_every_line_of_a_write(tmp_path, there):
    path, expected = tmp_path / "w.npz", lambda card: {"W": ((3,), float)}
    which, outcomes = 1, set()
    while True:
        if there:
            files.write(path, {"W": np.zeros(3)}, {})
        tracer, interrupted, before = Interrupt(which), False, sys.gettrace()
        sys.settrace(tracer)
        try:
            files.write(path, {"W": np.ones(3)}, {})
        except KeyboardInterrupt:
            interrupted = True
        finally:
            sys.settrace(before)
        if not interrupted:
            break
        value = files.read(path, expected)[0]["W"].tolist() if path.exists() else None
        assert value in ([0, 0, 0] if there else None, [1, 1, 1])
        outcomes.add(str(value))
        files.write(path, {"W": np.ones(3)}, {})
        assert files.read(path, expected)[0]["W"].tolist() == [1, 1, 1] and os.listdir(tmp_path) == [path.name]
        path.unlink()
        which += 1
    assert which > 40 and len(outcomes) == 2
