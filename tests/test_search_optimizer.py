"""BlackBoxOptimizer: what the network is fed, the box, and that no trial is ever lost; the compiled step."""

import copy
import json
import math
from functools import partial

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from l2l_ref import backends, pretrained
from l2l_ref.learned import propose, stepping
from l2l_ref.learned.proposer import Proposer
from l2l_ref.search.box import Box, Symmetry
from l2l_ref.search.optimizer import BlackBoxOptimizer
from l2l_ref.search.restarts import RUN
from l2l_ref.search.scale import running_scale, scaled, scaled_rows
from l2l_ref.trees import build, leaves

network_alone = partial(BlackBoxOptimizer, finish=None)
UNIT = [(0.0, 1.0)] * 2


def proposer(dim=2, *, card=None, kind=Proposer, **settings):
    """One that moves about: its output weights are large, and it does not begin in the middle."""
    p = kind(dim, 5, rng=3, **{"backend": "numpy", **settings})
    p.params = p.params._replace(W=30 * p.params.W, b=np.linspace(0.3, 1, dim))
    p.card = card
    return p


class Spy(Proposer):
    """Keeps what it is fed since it was started, and how often that was."""

    starts = 0

    def initial_state(self, *arguments):
        self.rows, self.out, self.starts = [], [], self.starts + 1
        return super().initial_state(*arguments)

    def step(self, u, state):
        x, state = super().step(u, state)
        self.rows.append(u[0].copy())
        self.out.append(x[0].copy())
        return x, state


def bowl(x):
    return float(((x - 0.3) ** 2).sum())


def run(bb, f, n):
    """n points one after the other, (n, d)."""
    points = []
    for _ in range(n):
        trial = bb.ask()
        points.append(trial.x)
        bb.tell(trial, f(trial.x))
    return np.array(points)


# ---------------------------------------------------------------------------------------- the compiled step


@given(st.integers(1, 4), st.integers(1, 9), st.sampled_from([1, 2, 40]), st.sampled_from(propose.OUTPUTS),
       st.sampled_from([np.float32, np.float64]), st.sampled_from([1, 100]), st.integers(0, 99))
@settings(max_examples=15)
def test_an_inference_step_is_propose(d, H, B, output, dtype, size, seed):
    rng = np.random.default_rng(seed)
    p = Proposer(d, H, output, rng=rng)
    state = type(p.initial_state())(*(rng.standard_normal((2, B, H)).astype(dtype)))
    u = size * rng.standard_normal((B, d + 2)).astype(dtype)
    before = copy.deepcopy((u, state))
    (x, _, after), _ = propose.propose(u, state, p.params_as(dtype), output)
    for backend in ("numpy", "numba"):
        y, new = backends.choose("propose", backend).propose_inference(u, state, p.params_as(dtype), output)
        tolerance = (100 if size == 1 else 1000) * np.finfo(dtype).eps
        for expected, came in zip((x, *after), (y, *new)):
            assert came.dtype == dtype and came.shape == expected.shape
            np.testing.assert_allclose(came, expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(u, before[0])
    np.testing.assert_array_equal(state.h, before[1].h)
    np.testing.assert_array_equal(state.c, before[1].c)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_step_where_a_batch_is_cut(backend):
    """64 units: the twin multiplies 16 rows at once; 37 are two blocks and a rest."""
    p = Proposer(2, 64, rng=0, backend=backend)
    rng = np.random.default_rng(0)
    u = rng.standard_normal((37, 4)).astype(np.float32)
    state = type(p.initial_state())(*rng.standard_normal((2, 37, 64)).astype(np.float32))
    x, after = p.step(u, state)
    for k in (0, 15, 16, 32, 36):
        row = slice(k, k + 1)
        one, alone = p.step(u[row], type(state)(state.h[row], state.c[row]))
        np.testing.assert_allclose(one, x[row], atol=1e-6)
        np.testing.assert_allclose(alone.c, after.c[row], atol=1e-5)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_state_of_another_precision(backend):
    p, u = Proposer(2, 5, rng=0, backend=backend), np.full((3, 4), 0.5)
    x, state = p.step(u, p.initial_state(3))
    assert x.dtype == state.h.dtype == np.float64
    np.testing.assert_array_equal(x, p.step(u, p.initial_state(3, np.float64))[0])


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_step_refuses_what_does_not_fit(backend):
    p = Proposer(2, 3, backend=backend)
    for u in (np.zeros((1, 3), np.float32), np.zeros((2, 4), np.float32)):
        with pytest.raises(ValueError, match=r"u: expected shape \(1, 4\), got"):
            p.step(u, p.initial_state())
    with pytest.raises(ValueError, match="backend: expected one of auto, numpy, numba, got 'fast'"):
        Proposer(2, 3, backend="fast")


@pytest.mark.parametrize("rows", [1, 10, 10_000])
def test_auto_is_numpy_for_every_number_of_rows(rows, monkeypatch):
    monkeypatch.setattr(backends, "_twin", lambda name: pytest.fail("the twin was loaded"))
    p = Proposer(2, 3)
    assert p.backend == "auto" and backends.choose("propose", "auto") is propose
    p.step(np.zeros((rows, 4), np.float32), p.initial_state(rows))
    assert backends.choose("stepping", "auto") is stepping
    network_alone(UNIT, p).ask()


@given(st.integers(1, 4), st.integers(0, 2), st.integers(1, 9), st.sampled_from(["lstm", "dnc"]),
       st.sampled_from(propose.OUTPUTS), st.integers(0, 999))
@settings(max_examples=25)
def test_the_compiled_stepper_is_the_stepper(d, more, H, cell, output, seed):
    rng = np.random.default_rng(seed)
    settings = {"cell": cell, "memory": (3, 2, 2) if cell == "dnc" else None}
    p = Proposer(d + more, H, output, rng=rng, **settings)
    larger = build(p.params, (2 * a for a in leaves(p.params)))  # so that queries move
    log, integers = rng.integers(2, size=(2, d)).astype(bool)
    low = rng.integers(1, 9, d)
    box = Box(np.stack([low, low + rng.integers(1, 99, d)], axis=1), integers, log)
    steppers = [Proposer(d + more, H, output, params=larger, backend=backend, **settings).stepper(box)
                for backend in ("numpy", "numba")]
    assert type(steppers[0]) is not type(steppers[1])
    for fed in (False, True):  # started anew in another orientation
        symmetry = Symmetry(rng, d + more)
        for stepper in steppers:
            stepper.start(symmetry)
        for _ in range(4):
            word = (rng.random(d + more), rng.standard_normal()) if fed else ()
            before = copy.deepcopy(word)
            (u, x), (u_twin, x_twin) = (stepper.step(*word) for stepper in steppers)
            if fed:
                np.testing.assert_array_equal(word[0], before[0])
            assert u_twin.shape == u.shape == (d + more,) and x_twin.shape == x.shape == (d,)
            assert u_twin.dtype == x_twin.dtype == np.float64
            np.testing.assert_allclose(u_twin, u, atol=1e-4)
            np.testing.assert_allclose(x_twin, box.point(u_twin[:d]), rtol=1e-14)  # of its own query
            assert (x_twin >= box.low).all() and (x_twin <= box.high).all()


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_weights_that_are_assigned_later_are_those_of_the_next_step(backend):
    p = proposer(backend=backend)
    bb = network_alone(UNIT, p)
    bb.tell(bb.ask(), 1.0)
    p.params = p.params._replace(W=0 * p.params.W, b=np.zeros(2))
    assert bb.ask().x.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_weights_that_are_not_numbers_show(backend):
    p = proposer(backend=backend)
    p.params = p.params._replace(b=np.array([np.nan, 0.5]))
    x = network_alone([(0, 9)] * 2, p, integers=[True, True]).ask().x
    assert np.isnan(x).sum() == 1


def test_a_backend_is_chosen(tmp_path):
    for make in (network_alone, lambda *args, **settings: BlackBoxOptimizer.from_state(
            network_alone(*args).state_dict(), **settings)):
        assert make(UNIT)._proposer.backend == "auto" and make(UNIT, backend="numba")._proposer.backend == "numba"
    with pytest.raises(ValueError, match="backend: expected one of auto, numpy, numba, got 'fast'"):
        network_alone(UNIT, backend="fast")
    with pytest.raises(ValueError, match="backend: expected 'auto' with a Proposer, which has its own, got 'numpy'"):
        network_alone(UNIT, proposer(), backend="numpy")
    one, other = network_alone(UNIT, backend="numba"), network_alone(UNIT, backend="numpy")
    np.testing.assert_allclose(run(one, bowl, 10), run(other, bowl, 10), atol=1e-4)
    one.save(tmp_path / "one.json")
    again = BlackBoxOptimizer.load(tmp_path / "one.json", backend="numba")
    np.testing.assert_array_equal(run(again, bowl, 10), run(one, bowl, 10))


# ------------------------------------------------------------------------------------------------ the box


@pytest.mark.parametrize(("low", "high", "integer", "log"), [
    (-3, 5, False, False), (-3, 5, True, False), (0.1, 1e6, False, True), (1, 1000, True, True), (-1e300, 1e300, 0, 0),
    (1e-300, 1e300, 0, 1), (0, 1e-300, 0, 0), (1e9, 1e9 + 1e-6, 0, 0), (0, 1, 1, 0),
])
def test_box(low, high, integer, log):
    box = Box([(low, high)], [bool(integer)], [bool(log)])
    u = np.linspace(0, 1, 1001)[:, None]
    x = box.point(u)
    np.testing.assert_allclose(x[[0, -1], 0], [low, high], rtol=1e-12 if log else 0)
    assert x.min() >= low and x.max() <= high and (np.diff(x[:, 0]) >= 0).all()
    back = np.array([box.unit(x_k) for x_k in x])
    if not integer:
        np.testing.assert_allclose(back, u, atol=1e-9 if low < 1e9 else 1e-1)
        middle = math.sqrt(low) * math.sqrt(high) if log else low / 2 + high / 2
        np.testing.assert_allclose(x[500], middle, rtol=1e-9, atol=1e-9 * (high - low))
    else:
        assert (x % 1 == 0).all() and np.array_equal([box.point(u_k) for u_k in back], x)
        assert (back > 0).all() and (back < 1).all()


def test_each_integer_is_equally_wide():
    x = Box([(-2, 3)], [True]).point(np.linspace(0, 1, 6000, endpoint=False)[:, None])
    values, counts = np.unique(x, return_counts=True)
    assert values.tolist() == [-2, -1, 0, 1, 2, 3] and counts.tolist() == 6 * [1000]


@pytest.mark.parametrize(("bounds", "masks", "message"), [
    ([(1, 0)], {}, r"bounds: expected low < high.*got \(1, 0\) in dimension 0"),
    ([(3, 3), (2, 2)], {}, "expected a parameter with low < high, got fixed ones alone"),
    ([(0, np.inf)], {}, "bounds: expected low < high, finite"),
    ([(np.nan, 1)], {}, "bounds: expected low < high, finite"),
    ([(-1e308, 1e308)], {}, "a finite distance apart"),
    ([(0, 1)], {"log": [True]}, "low > 0 on a log scale"),
    ([(0, 1.5)], {"integers": [True]}, "whole numbers below"),
    ([(0, 1e17)], {"integers": [True]}, "whole numbers below"),
    ([0, 1], {}, r"bounds: expected shape \(d, 2\), got \(2,\)"),
    ([], {}, r"bounds: expected shape \(d, 2\)"),
    ("ab", {}, "bounds: expected pairs"),
    ([(0, 1)], {"integers": [True, False]}, "integers: expected None or 1 booleans"),
    ([(0, 1)], {"log": [0]}, "log: expected None or 1 booleans"),
])
def test_bad_boxes(bounds, masks, message):
    with pytest.raises(ValueError, match=message):
        network_alone(bounds, proposer(), **masks)


def test_scipys_bounds():
    Bounds = pytest.importorskip("scipy.optimize").Bounds

    assert Box(Bounds([0, 1], [2, 3])).bounds.tolist() == [[0, 2], [1, 3]]


def test_symmetries_are_all_drawn():
    all_of_them = (Symmetry(np.random.default_rng(seed), 2) for seed in range(99))
    images = {tuple(symmetry.to_network(np.array([0.1, 0.2])).round(9)) for symmetry in all_of_them}
    assert images == {(a, b) for p, q in ((0.1, 0.2), (0.2, 0.1)) for a in (p, 1 - p) for b in (q, 1 - q)}
    for seed in range(9):
        symmetry, u = Symmetry(np.random.default_rng(seed), 5), np.linspace(0.1, 0.3, 5)
        np.testing.assert_allclose(symmetry.from_network(symmetry.to_network(u)), u, atol=1e-15)


# ------------------------------------------------------------------------------------ what the network sees


def expected_y(values, moments=None):
    """y~ of all values as of the last tell of number 1, 2, 4, ..; written anew."""
    n = 2 ** (len(values).bit_length() - 1)
    early = np.array(values[:n])
    known = early[np.isfinite(early)]
    mean, std = (0, 1) if moments is None else moments[min(n.bit_length(), len(moments)) - 1]
    worst = np.nanmax(early)  # as it was when everything was fed
    filled = np.where(np.isnan(values), worst, values)
    if not len(known) or known.std() == 0:
        return np.full(len(values), mean)
    return np.clip(mean + std * (filled - known.mean()) / known.std(), -5, 5)


@pytest.mark.parametrize("moments", [None, [[0.5, 0.0], [-0.2, 0.5], [-0.4, 0.6]]])
def test_values_are_scaled_by_those_before_them(moments):
    p = proposer(kind=Spy, card={"moments": moments} if moments else None)
    bb = network_alone(UNIT, p, scaling="running")
    values = [30.0, 10.0, np.nan, 25.0, 100.0, -500.0, 17.0, 20.0, 21.0]
    for n, value in enumerate(values):
        trial = bb.ask()
        rows = np.array(p.rows)
        assert len(rows) == n + 1 and (rows[0] == 0).all()
        if n:
            np.testing.assert_array_equal(rows[1:, 3], 1)
            np.testing.assert_allclose(rows[1:, 2], expected_y(values[:n], moments), rtol=1e-6, atol=1e-6)
        bb.tell(trial, value)


def test_points_are_fed_as_they_were_evaluated():
    p = proposer(kind=Spy)
    bb = network_alone([(0, 9), (-1, 1)], p, seed=2, integers=[True, False])
    trial = bb.ask()
    assert trial.x[0] % 1 == 0
    x = trial.x.copy()
    trial.x[:] = 77  # a caller's own business
    bb.tell(trial, 1.0)
    bb.ask()
    unit = np.array([(x[0] + 0.5) / 10, (x[1] + 1) / 2])
    np.testing.assert_allclose(p.rows[1][:2], bb._symmetry.to_network(unit), atol=1e-6)
    assert bb.best[0].tolist() == x.tolist()


def test_given_scaling_replays_nothing():
    p = proposer(kind=Spy)
    bb = network_alone(UNIT, p, scaling=(1e9, 2.0))
    for value in (1e9, 1e9 + 3, 1e9 - 40, np.nan):
        bb.tell(bb.ask(), value)
    bb.ask()
    assert p.starts == 1
    np.testing.assert_array_equal([row[2] for row in p.rows[1:]], [0, 1.5, -5, 1.5])


def test_a_warm_start_is_one_step_a_point():
    p = proposer(kind=Spy)
    bb = network_alone(UNIT, p, scaling=(0, 1))
    for k in range(3):
        bb.tell([0.1 * k, 0.5], k)
    trial = bb.ask()
    assert [row[2] for row in p.rows] == [0, 1, 2] and trial.id == 0
    np.testing.assert_allclose(bb._symmetry.from_network(p.out[2].astype(float)), trial.x)
    bb.ask()
    near = np.abs(np.array([[0.1 * k, 0.5] for k in range(3)]) - trial.x).max(axis=1).argmin()
    assert [row[2] for row in p.rows] == [0, 1, 2, near]  # a guess, of the nearest point
    np.testing.assert_allclose(p.rows[3][:2], bb._symmetry.to_network(trial.x), atol=1e-6)


def test_values_are_fed_in_the_order_in_which_they_came():
    p = proposer(kind=Spy)
    bb = network_alone(UNIT, p, scaling=(0, 1))
    a, b, c = (bb.ask() for _ in range(3))
    bb.tell(c, 1.0)
    d = bb.ask()
    bb.tell(a, 2.0)
    bb.tell(d, 3.0)
    assert bb.pending == [b]
    bb.ask()
    assert [row[2] for row in p.rows[:4]] == [0, 1, 2, 3] and len(p.rows) == 5
    np.testing.assert_allclose(p.rows[1][:2], bb._symmetry.to_network(c.x), atol=1e-6)
    np.testing.assert_allclose(p.rows[4][:2], bb._symmetry.to_network(b.x), atol=1e-6)  # a guess of what is pending
    bb.tell(b, 4.0)
    bb.ask()
    assert [row[2] for row in p.rows[:5]] == [0, 1, 2, 3, 4]


def test_a_run_ends_and_the_next_knows_nothing_of_it():
    p = proposer(kind=Spy, card={"recipe": {"steps": 6}})
    bb = network_alone(UNIT, p, scaling=(0, 1), seed=4)
    first = bb._symmetry
    for value in (3, -1, 4, 1, 5):
        bb.tell(bb.ask(), value)
    trial = bb.ask()
    assert (p.starts, len(p.rows)) == (1, 6)
    bb.tell(trial, 2)
    again = bb.ask()
    assert p.starts == 2 and len(p.rows) == 1 and (p.rows[0] == 0).all()
    assert bb._symmetry is not first and bb.best[1] == -1
    bb.tell(again, 4.5)
    bb.ask()
    assert [row[2] for row in p.rows] == [0, 4.5]
    points = run(bb, bowl, 40)
    assert p.starts > 7 and ((points >= 0) & (points <= 1)).all()


@pytest.mark.parametrize("steps, run", [(None, 33), (6, 6), (33, 33), (100, 33)])
def test_a_run_is_as_long_as_the_network_was_trained_for_and_no_longer_than_it_pays(steps, run):
    p = proposer(kind=Spy, card={"recipe": {"steps": steps} if steps else {}})
    bb = network_alone(UNIT, p)
    for _ in range(run):
        bb.ask()
    assert bb._schedule.runs == 1
    bb.ask()
    assert bb._schedule.runs == 2


def test_guesses_count_too():
    p = proposer(kind=Spy, card={"recipe": {"steps": 6}})
    bb = network_alone(UNIT, p)
    for _ in range(6):
        bb.ask()
    assert (bb._schedule.runs, len(p.rows)) == (1, 6)
    bb.ask()
    assert (bb._schedule.runs, len(p.rows)) == (2, 1) and len(bb.pending) == 7


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_warm_start_of_more_points_than_a_run(steps):
    p = proposer(kind=Spy, card={"recipe": {"steps": steps}})
    bb = network_alone(UNIT, p, scaling=(0, 1))
    for k in range(50):
        bb.tell([k / 50, 0.5], abs(k - 20) / 10)
    bb.ask()
    np.testing.assert_allclose([row[2] for row in p.rows], [0, *(2.9 - 0.1 * k for k in reversed(range(steps // 2)))],
                               atol=1e-6)


@pytest.mark.parametrize("points", [1, 5, 6, 7, 20])
def test_points_told_after_an_ask_are_fed(points):
    """One may be what is left of a run that ends. More are points that were known: the best is fed, and the last."""
    p = proposer(kind=Spy, card={"recipe": {"steps": 6}})
    bb = network_alone(UNIT, p, scaling=(0, 1))
    bb.ask()
    for k in range(points):
        bb.tell([k / 20, 0.5], 2 - k / 10)
    bb.ask()
    values = [2 - k / 10 for k in range(points)]
    if points < 5:
        *fed, _ = [row[2] for row in p.rows if row[3]]  # the last is a guess of what is pending
        expected = values
    else:
        fed, expected = [row[2] for row in p.rows if row[3]], [values[-1], *values[-3:]]
    np.testing.assert_allclose(fed, expected, atol=1e-6)


def test_a_network_for_more_dimensions_is_fed_its_own_query_in_the_others():
    p = proposer(3, kind=Spy)
    bb = network_alone(UNIT, p, seed=1)
    trial = bb.ask()
    assert trial.x.shape == (2,) and len(bb.log[0][3]) == 1
    bb.tell(trial, 1.0)
    bb.ask()
    np.testing.assert_allclose(p.rows[1][:3], p.out[0], atol=1e-6)


def test_the_seed_orients():
    one = np.array([network_alone(UNIT, proposer(), seed=seed).ask().x for seed in range(40)])
    kinds = {tuple(np.sort(np.minimum(x, 1 - x)).round(6)) for x in one}
    assert len(kinds) == 1 and len({tuple(x.round(6)) for x in one}) == 8


# --------------------------------------------------------------------------------------- scales and shifts


def coarse(x):
    """A multiple of 2**-10, so that powers of two and a shift by 1e9 change no digit of it."""
    return round(1024 * bowl(x)) / 1024


@pytest.mark.parametrize(("factor", "shift"), [(1, 1e9), (1, -1e9), (2.0**-20, 0), (2.0**20, 0), (2.0**900, 0)])
def test_where_no_digit_is_lost_the_points_are_the_same(factor, shift):
    plain = run(network_alone(UNIT, proposer()), coarse, 40)
    np.testing.assert_array_equal(run(network_alone(UNIT, proposer()), lambda x: factor * coarse(x) + shift, 40),
                                  plain)
    assert len(np.unique(plain, axis=0)) > 20


@pytest.mark.parametrize(("factor", "shift"), [(1e-6, 0), (1e6, 0), (1, 1e9), (1e6, 1e9), (1e-6, 1)])
def test_scale_and_shift_do_not_matter(factor, shift):
    bb = network_alone(UNIT, proposer())
    plain = run(bb, bowl, 30)
    s = np.std([event[3] for event in bb.log if event[0] == "tell"][:2])  # the smallest s
    rounding = np.finfo(float).eps * abs(shift) / (factor * s) + np.finfo(np.float32).eps
    moved = run(network_alone(UNIT, proposer()), lambda x: factor * bowl(x) + shift, 30)
    np.testing.assert_allclose(moved, plain, atol=100 * rounding)  # of y~, and what 30 steps make of it
    assert 100 * rounding < 0.05


@given(st.lists(st.floats(allow_nan=True, allow_infinity=False), min_size=1, max_size=20))
@example([-1.7e308, 1.7e308, 0.0])
@example([5e-324, 0.0, 1.0])
@example([0.0] * 15 + [5e-324])
@example([0.0] * 15 + [1.7e308])
def test_no_value_is_too_large(values):
    scale = running_scale(np.array([values]))
    one = type(scale)(*(float(np.squeeze(a)) for a in scale))
    assert np.isfinite(one._replace(low=0.0)).all()
    for value in values:
        if not math.isnan(value):
            y = scaled(value, one)
            assert -5 <= y <= 5
            np.testing.assert_allclose(scaled_rows(np.array([value]), scale), [y], rtol=1e-12)


def fed(values, scale):
    return np.array([scaled(value, scale) for value in values])


@given(st.lists(st.integers(-30, 30), min_size=8, max_size=30, unique=True), st.floats(0.01, 1.2),
       st.sampled_from([1e-6, 1.0, 1e6]), st.sampled_from([0.0, -7.0]))
def test_values_that_span_orders_of_magnitude_are_seen_by_their_logarithm(exponents, spread, factor, shift):
    """Y1: in their order, whatever their unit; others are seen as they are."""
    values = np.exp(spread * np.array(exponents))
    scale = one_of(running_scale(values[None]))
    y = fed(np.sort(values), scale)
    assert (np.diff(y) >= 0).all()
    moved = factor * (values + shift * np.ptp(values))
    if scale.q > 1e-6 * np.abs(values).max():  # else rounding of the shifted values is seen
        np.testing.assert_allclose(fed(moved, one_of(running_scale(moved[None]))), fed(values, scale), atol=1e-3)
    raw = skewness(values)
    if raw <= 1.25 * (1 - 1e-9):
        assert scale.low == math.inf
        plain = np.clip((values - values.mean()) / values.std(), -5, 5)
        np.testing.assert_allclose(fed(values, scale), plain, atol=1e-9)
    elif raw >= 1.25 * (1 + 1e-9):
        np.testing.assert_allclose(scale.low, values.min() - values[0], rtol=1e-12)
        below = fed(values.min() - scale.q * np.array([2.0, 1.0, 0.0]), scale)
        if -5 < below[0]:
            np.testing.assert_allclose(np.diff(below), scale.q / scale.s, rtol=1e-6)  # below, its slope goes on


def one_of(scale):
    return type(scale)(*(float(np.squeeze(a)) for a in scale))


def skewness(values):
    return float((((values - values.mean()) / values.std()) ** 3).mean())


@pytest.mark.parametrize("spread, largest", [(0.1, 1.0), (3.0, 1.0), (5.0, 0.1), (7.0, 0.01)])
def test_how_much_of_a_logarithm(spread, largest):
    """The wider the values, the smaller q, as far as their skewness asks for it."""
    values = np.exp(spread * np.linspace(-1, 1, 16))
    scale = one_of(running_scale(values[None]))
    assert (scale.low == math.inf) == (skewness(values) <= 1.25)
    seen = fed(values, scale)
    if scale.low < math.inf:
        assert skewness(seen) <= 1.25 and scale.q <= largest * np.ptp(values)
    assert one_of(running_scale(values[None, :7])).low == math.inf  # too few to say


# ------------------------------------------------------------------------------------------ what is refused


def test_bad_tells():
    bb, other = network_alone(UNIT, proposer()), network_alone(UNIT, proposer(), seed=1)
    trial, twin = bb.ask(), other.ask()
    for bad in ("1", "a", [1.0, 2.0], 1j):
        with pytest.raises(ValueError, match="value: expected a number or None"):
            bb.tell(trial, bad)
    with pytest.raises(ValueError, match="expected a pending trial of this optimizer"):
        bb.tell(twin, 1.0)
    bb.tell(trial, np.array([1.0]))
    with pytest.raises(ValueError, match="expected a pending trial of this optimizer"):
        bb.tell(trial, 1.0)
    for x, message in (([2, 0], "within the bounds"), ([np.nan, 0], "within the bounds"), ([0], "shape"), ("x", "x: ")):
        with pytest.raises(ValueError, match=message):
            bb.tell(x, 1.0)
    with pytest.raises(ValueError, match="whole numbers"):
        network_alone(UNIT, proposer(), integers=[True, False]).tell([0.5, 0.5], 1.0)
    assert [event[0] for event in bb.log] == ["ask", "tell"] and bb.best == (pytest.approx(trial.x), 1.0)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"seed": -1}, "seed"), ({"seed": 0.5}, "seed"), ({"scaling": "fixed"}, "scaling"),
    ({"scaling": (0, 0)}, "scaling"), ({"scaling": (np.nan, 1)}, "scaling"), ({"scaling": 3}, "scaling"),
    ({"model": "nowhere"}, "model"),
    ({"model": proposer(1)}, "model: expected one for 2 dimensions or more, got one for 1"),
    ({"model": "mnist-lstm"}, "model: expected a black-box optimizer, got CoordinatewiseLSTM"),
])
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        network_alone(UNIT, **{"model": proposer(), **arguments})


@pytest.mark.parametrize("value", [None, np.nan, np.inf, -np.inf, 10**400])
def test_failures(value):
    bb = network_alone(UNIT, proposer())
    bb.tell(bb.ask(), value)
    assert bb.best is None and bb.log[-1][3] is None
    bb.tell(bb.ask(), 3.0)
    bb.tell(bb.ask(), value)
    assert bb.best[1] == 3.0 and np.isfinite(bb.ask().x).all()


def test_names_are_found_by_dimension(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match=r"one of \(none\); got 'lstm-oi'"):
        network_alone(UNIT)
    for d in (1, 3, 12):
        pretrained.save(Proposer(d, 2), tmp_path / f"lstm-oi-{d}.npz")
    pretrained.save(Proposer(2, 2), tmp_path / "lstm-oi-final-2.npz")
    assert [pretrained.find("lstm-oi", d) for d in (1, 2, 3, 4, 12)] == [
        "lstm-oi-1", "lstm-oi-3", "lstm-oi-3", "lstm-oi-12", "lstm-oi-12"]
    assert pretrained.find("lstm-oi", 13) is None and network_alone([(0, 1)] * 13)._proposer is None
    with pytest.raises(ValueError, match="one of lstm-oi, lstm-oi-final; got 'rnn'"):
        network_alone(UNIT, "rnn")
    assert network_alone(UNIT)._proposer.dim == 3
    assert network_alone(UNIT, "lstm-oi-12")._proposer.dim == 12
    assert network_alone(UNIT, tmp_path / "lstm-oi-3.npz")._proposer.dim == 3
    bb = BlackBoxOptimizer.from_state(network_alone(UNIT).state_dict())
    assert bb.ask().x.tolist() == network_alone(UNIT).ask().x.tolist()


# ------------------------------------------------------------------------------------------------ the state


def broken(state, path, value):
    state = copy.deepcopy(state)
    *way, last = path
    part = state
    for step in way:
        part = part[step]
    part[last] = value
    return state


@pytest.mark.parametrize(("path", "value"), [
    (["kind"], "x"), (["format"], 1), (["model"], None), (["model", "sha256"], "0"), (["seed"], "a"),
    (["bounds"], [[1, 0]]), (["bounds"], 10**400), (["integers"], [1, 0]), (["scaling"], None), (["events"], 3),
    (["events"], [3]), (["events", 0, 0], "eat"), (["events", 0, 1], 1), (["events", 0, 1], None),
    (["events", 0, 2], [0.5, 7]), (["events", 0, 2], None), (["events", 0, 2], [10**400, 0]), (["events", 0], ["ask"]),
    (["events", 1, 1], 5), (["events", 1, 1], False), (["events", 1, 2], [0.5, 0.5]), (["events", 1, 3], "1"),
    (["events", 1, 3], []), (["events", 2], {"ask": 0}), (["events", 1], ["tell", 0, [0.5, 0.5], 1, 2, 3]),
])
def test_broken_states(path, value):
    bb = network_alone(UNIT, proposer())
    run(bb, bowl, 3)
    with pytest.raises(ValueError, match="^state: [^\n]+$"):
        BlackBoxOptimizer.from_state(broken(bb.state_dict(), path, value), proposer())


def test_the_log_is_the_state():
    """Points are those of the log, also where a network would propose others, as on another machine."""
    bb = network_alone(UNIT, proposer(3), seed=1)
    bb.ask()
    state = bb.state_dict()
    state["events"][0] = ["ask", 0, [0.25, 0.75], [0.125]]
    again = BlackBoxOptimizer.from_state(state, proposer(3))
    assert again.log == state["events"]
    again.tell(again.pending[0], 1.0)
    assert again.best[0].tolist() == [0.25, 0.75]


def test_states_without_their_model(tmp_path):
    bb = network_alone(UNIT, proposer())
    with pytest.raises(ValueError, match="state: it was made with a Proposer"):
        BlackBoxOptimizer.from_state(bb.state_dict())
    for other in (Proposer(2, 5), proposer(output="linear"), proposer(card={"recipe": {"steps": 3}})):
        with pytest.raises(ValueError, match="state: it was made with another model"):
            BlackBoxOptimizer.from_state(bb.state_dict(), other)
    for k, text in enumerate(("", "{", "[]", "3", "[" * 100_000, "\xff")):
        path = tmp_path / f"{k}.json"
        path.write_text(text, "latin-1")
        with pytest.raises(ValueError, match=rf"{k}\.json: [^\n]+$"):
            BlackBoxOptimizer.load(path, proposer())
    with pytest.raises(FileNotFoundError):
        BlackBoxOptimizer.load(tmp_path / "none.json", proposer())


def test_saved_and_loaded(tmp_path):
    bb = network_alone(UNIT, proposer(backend="numba"), seed=3)
    run(bb, bowl, 11)
    bb.tell(bb.ask(), None)
    bb.ask()
    bb.save(tmp_path / "run.json")
    assert "NaN" not in (tmp_path / "run.json").read_text()
    again = BlackBoxOptimizer.load(tmp_path / "run.json", proposer(backend="numba"))
    np.testing.assert_array_equal(run(again, bowl, 20), run(bb, bowl, 20))
    assert repr(again) == repr(bb) and "asked=33, told=32" in repr(bb)


@pytest.mark.parametrize("model", ["lstm-oi", "dnc-oi"])
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_restored_search_goes_on_with_the_same_points(model, backend):
    for seed in range(5):
        bb = network_alone(UNIT, model, seed, backend=backend)
        run(bb, bowl, 30)
        again = BlackBoxOptimizer.from_state(bb.state_dict(), backend=backend)
        np.testing.assert_array_equal(run(again, bowl, 30), run(bb, bowl, 30))


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("after", [False, True])
def test_an_interrupted_ask_loses_no_result(backend, after, monkeypatch):
    p = proposer(backend=backend)
    bb, other = network_alone(UNIT, p, seed=3), network_alone(UNIT, p, seed=3)
    for search in (bb, other):
        run(search, bowl, 3)
    step = bb._stepper.step

    def interrupted(*arguments):
        if after:
            step(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(bb._stepper, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bb.ask()
    monkeypatch.undo()
    np.testing.assert_array_equal(run(bb, bowl, 5), run(other, bowl, 5))


# ------------------------------------------------------------------------------------------------------- its speed


def test_bench_suggest_has_a_row_for_each_number_of_past_evaluations(capsys):
    from l2l_ref.cli import main

    words = ["bench", "suggest", "--dim", "2", "--past", "1,2", "--rounds", "1"]
    assert main([*words, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {(row["model"], row["implementation"]) for row in rows} >= {
        ("lstm-oi", "numba"), ("lstm-oi", "numpy"), ("dnc-oi", "numba"), ("ei", None), ("integrated-ei", None)}
    assert [row["past"] for row in rows] == [1, 2] * (len(rows) // 2)
    assert all(0 < row["min_s"] <= row["median_s"] == row["us_per_suggestion"] / 1e6 for row in rows)
    assert main(words) == 0
    assert "lstm-oi, numba, after 2" in capsys.readouterr().out


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_one_run_without_restarts_is_the_trajectory_of_the_network(backend):
    """The algorithm of Chen et al. 2017: the network is never started afresh, and each query is fed."""
    model = Proposer(2, 5, "linear", rng=0, backend=backend)
    model.params = model.params._replace(W=30 * model.params.W)  # else all queries are in the middle
    bb = BlackBoxOptimizer([(0, 1)] * 2, model, scaling=(0, 1), finish=None, restarts=False)
    again = BlackBoxOptimizer([(0, 1)] * 2, model, scaling=(0, 1), finish=None)
    state, row = model.initial_state(), np.zeros((1, 4), np.float32)
    runs = []
    for k in range(120):
        trial, other = bb.ask(), again.ask()
        runs.append(trial.x.tolist() == other.x.tolist())
        x, state = model.step(row, state)
        value = float(np.sin(40 * k))
        expected = bb._symmetry.from_network(x[0])
        if bb.log[-1][4:] != ["replacement"]:
            np.testing.assert_allclose(trial.x, expected, atol=1e-5)
        row[0] = [*bb._symmetry.to_network(trial._u), value, 1]
        bb.tell(trial, value)
        again.tell(other, value)
    assert all(runs[:RUN]) and not all(runs)
    back = BlackBoxOptimizer.from_state(json.loads(json.dumps(bb.state_dict())), model)
    assert back.ask().x.tolist() == bb.ask().x.tolist()
    with pytest.raises(ValueError, match="^restarts: expected"):
        BlackBoxOptimizer([(0, 1)] * 2, model, restarts=1)
