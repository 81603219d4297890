"""Whatever is asked and told, in whatever order, by whom: nothing is lost, doubled, repeated or out of the box."""

import copy
import json
import math
import pickle
import threading

import numpy as np
import pytest
from conftest import SLOW
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from test_interrupts import interrupted
from test_search_optimizer import proposer

import l2l_ref as l2l
from l2l_ref.search.optimizer import BlackBoxOptimizer

MIXED = {"bounds": [(-5, 10), (1, 4), (0.01, 100)], "integers": [False, True, False], "log": [False, False, True]}
FIXED = {"bounds": [(-5, 10), (3, 3), (0, 1)]}
SWITCHES = {"bounds": [(0, 1), (0, 2)], "integers": [True, True]}  # six points in all
NAMED = {"bounds": {"C": l2l.Float(1e-3, 1e3, log=True), "depth": l2l.Int(1, 8), "rate": l2l.Float(0, 1, step=0.25),
                    "kernel": l2l.Categorical(["rbf", "poly", (1, 2)]), "fixed": l2l.Int(7, 7)}}
MANY = {"bounds": [(0, 1)] * 5}  # more than the network has
BOXES = {"mixed": MIXED, "fixed": FIXED, "switches": SWITCHES, "named": NAMED, "many": MANY}
POINTS = {"switches": 6}
VALUES = st.floats(-1e6, 1e6) | st.floats(allow_nan=False) | st.sampled_from([None, math.nan, 1e8])


def key(x):
    """A point by which it is compared."""
    return json.dumps(x if isinstance(x, dict) else np.asarray(x, float).tolist())


def require_in_the_box(box, x):
    if isinstance(x, dict):
        assert list(x) == list(NAMED["bounds"]) and 1e-3 <= x["C"] <= 1e3 and x["rate"] in (0, 0.25, 0.5, 0.75, 1)
        assert type(x["depth"]) is int and 1 <= x["depth"] <= 8 and x["kernel"] in ("rbf", "poly", (1, 2))
        assert x["fixed"] == 7
        return
    low, high = np.transpose(box["bounds"])
    assert ((low <= x) & (x <= high)).all() and (x[np.array(box.get("integers", [False] * len(x)))] % 1 == 0).all()
    assert x.dtype == (np.int64 if all(box.get("integers", [False])) else np.float64)


def random_finish(history):
    """After three values, random points; it remembers how often it was asked."""
    n, d = history.points.shape
    assert history.values.shape == (n,) and history.pending.shape[1:] == (d,) == history.levels.shape
    if n < 3:
        return None
    count = 1 if history.memory is None else int(history.memory["count"]) + 1
    return np.random.default_rng([*history.seed, count]).random(d), {"count": count, "nothing": [[math.nan], [0.0]]}


class AskAndTell(RuleBasedStateMachine):
    """Runs of 7 queries, a network for one dimension too many, or none."""

    @initialize(seed=st.integers(0, 9), fixed=st.booleans(), box=st.sampled_from(sorted(BOXES)),
                maximize=st.booleans(), finish=st.sampled_from([None, "auto", random_finish]))
    def begin(self, seed, fixed, box, maximize, finish):
        self.finish = finish
        self.model = proposer(4, card={"recipe": {"steps": 7}, "moments": [[0, 0], [-0.1, 0.6], [-0.3, 0.7]]})
        self.model = "lstm-sum" if box == "many" else self.model
        self.name, self.box, self.maximize = box, BOXES[box], maximize
        self.bb = BlackBoxOptimizer(model=self.model, seed=seed, scaling=(1.0, 3.0) if fixed else "running",
                                    maximize=maximize, finish=self.finish, **self.box)
        self.asked, self.told, self.seen = {}, [], set()

    def see(self, trial):
        require_in_the_box(self.box, trial.x)
        assert trial.id not in self.asked
        known = key(trial.x)
        assert known not in self.seen or len(self.seen) >= POINTS.get(self.name, math.inf)
        self.seen.add(known)
        self.asked[trial.id] = trial.x if isinstance(trial.x, dict) else trial.x.tolist()

    @rule()
    def ask(self):
        self.see(self.bb.ask())

    @rule(n=st.integers(1, 5))
    def ask_for_a_batch(self, n):
        trials = self.bb.ask(n)
        assert len(trials) == n
        for trial in trials:
            self.see(trial)

    @precondition(lambda self: self.bb.pending)
    @rule(data=st.data(), value=VALUES, how=st.sampled_from(["itself", "pickled", "copied", "id", "x"]))
    def tell(self, data, value, how):
        trial = data.draw(st.sampled_from(self.bb.pending))
        twins = [other for other in self.bb.pending if key(other.x) == key(trial.x)]
        given = {"itself": trial, "pickled": pickle.loads(pickle.dumps(trial)), "copied": copy.deepcopy(trial),
                 "id": trial.id, "x": trial.x}[how]
        id = twins[0].id if how == "x" else trial.id  # the oldest, where all points are known
        self.bb.tell(given, value)
        self.told.append((id, self.asked[id], value))
        if how != "x":
            with pytest.raises(ValueError, match="pending"):
                self.bb.tell(given, value)

    @rule(data=st.data(), value=VALUES)
    def tell_unasked(self, data, value):
        if self.name == "named":
            x = {"C": data.draw(st.floats(1e-3, 1e3)), "depth": data.draw(st.integers(1, 8)), "rate": 0.5,
                 "kernel": "poly", "fixed": 7}
        else:
            x = [float(data.draw(st.integers(math.ceil(low), math.floor(high)) if low < high else st.just(low)))
                 for low, high in self.box["bounds"]]
        pending = next((t.id for t in self.bb.pending if key(t.x) == key(x)), None)
        self.bb.tell(x, value)
        self.told.append((pending, x, value))
        self.seen.add(key(x))

    @rule(n=st.integers(1, 3))
    def ask_from_threads(self, n):
        out = []
        threads = [threading.Thread(target=lambda: out.append(self.bb.ask())) for _ in range(n)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(out) == n
        for trial in sorted(out, key=lambda trial: trial.id):  # they may come back in another order
            self.see(trial)

    @rule(at=st.integers(1, 400), what=st.sampled_from(["ask", "batch", "tell"]))
    def interrupt(self, at, what):
        before = len(self.bb.log)
        trial = self.bb.pending[0] if what == "tell" and self.bb.pending else None

        def call(bb):
            return bb.tell(trial.id, 2.0) if trial else bb.ask() if what != "batch" else bb.ask(3)

        call(copy.deepcopy(self.bb))  # so that what is computed once has been: line number ``at`` is always the same
        interrupted(lambda: call(self.bb), at)
        while self.bb._lock._is_owned():  # a tracer can raise after the body of a ``with``, where no signal is handled
            self.bb._lock.release()
        new = self.bb.log[before:]
        assert len(new) in ((0, 1) if what != "batch" else (0, 3))
        if new and trial:
            self.told.append((trial.id, self.asked[trial.id], 2.0))
        elif new:
            for made in self.bb.pending[-len(new):]:
                self.see(made)

    @rule(how=st.sampled_from(["state", "pickle", "deepcopy"]))
    def restore(self, how):
        state = json.loads(json.dumps(self.bb.state_dict(), allow_nan=False))
        again = {"state": lambda: BlackBoxOptimizer.from_state(state, self.model, finish=self.finish),
                 "pickle": lambda: pickle.loads(pickle.dumps(self.bb)),
                 "deepcopy": lambda: copy.deepcopy(self.bb)}[how]()
        assert again.log == self.bb.log
        assert [(t.id, key(t.x)) for t in again.pending] == [(t.id, key(t.x)) for t in self.bb.pending]
        for _ in range(2):
            trial, same = self.bb.ask(), again.ask()
            assert (trial.id, key(trial.x)) == (same.id, key(same.x))
            self.see(trial)
        self.bb = again

    @invariant()
    def nothing_is_lost_or_doubled(self):
        if not hasattr(self, "bb"):
            return
        told = {id for id, _, _ in self.told}
        assert [trial.id for trial in self.bb.pending] == [id for id in self.asked if id not in told]
        tells = [event[1:] for event in self.bb.log if event[0] == "tell"]
        values = [None if value is None or not math.isfinite(value) else value for _, _, value in self.told]
        assert [(id, key(x), value) for id, x, value in tells] == [
            (id, key(x), value) for (id, x, _), value in zip(self.told, values)]
        known = [value for value in values if value is not None]
        assert (self.bb.best is None) == (not known)
        assert not known or self.bb.best[1] == (max if self.maximize else min)(known)


SEQUENCES, STEPS = (20_000, 25) if SLOW else (25, 15)
AskAndTell.TestCase.settings = settings(max_examples=SEQUENCES, stateful_step_count=STEPS, deadline=None)
TestAskAndTell = AskAndTell.TestCase
