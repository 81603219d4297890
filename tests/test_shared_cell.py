"""The cell that the coordinates of a point share, and networks for functions of any number of dimensions."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import l2l_ref as l2l
from l2l_ref import backends
from l2l_ref.black_boxes import GPDistribution
from l2l_ref.learned import propose, shared_cell
from l2l_ref.learned.proposer import Proposer
from l2l_ref.trees import leaves


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.sampled_from([1, 2, 20]), st.integers(1, 7), st.integers(1, 6),
       st.sampled_from(propose.OUTPUTS), st.sampled_from([np.float32, np.float64]))
def test_an_inference_step_is_propose(seed, B, d, H, output, dtype):
    rng = np.random.default_rng(seed)
    model = Proposer(d, H, output, cell="shared", rng=rng)
    params, state = model.params_as(dtype), model.initial_state(B, dtype)
    for _ in range(4):
        u = rng.standard_normal((B, d + 2)).astype(dtype)
        u[:, -1] = rng.integers(2, size=B)
        before = [a.copy() for a in leaves(state)]
        (x, _, after), _ = propose.propose(u, state, params, output, model.network)
        for backend in ("numpy", "numba"):
            came = backends.choose("propose", backend).shared_propose_inference(u, state, params, output)
            for ours, theirs in zip(leaves((x, after)), leaves(came), strict=True):
                assert theirs.dtype == dtype and theirs.shape == ours.shape
                tolerance = 300 * np.finfo(dtype).eps * max(1, abs(ours).max())
                np.testing.assert_allclose(theirs, ours, rtol=0, atol=tolerance)
        for a, b in zip(before, leaves(state), strict=True):
            np.testing.assert_array_equal(a, b)
        state = after


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.integers(1, 6), st.integers(1, 7))
def test_the_order_of_the_coordinates_does_not_matter(seed, d, H):
    rng = np.random.default_rng(seed)
    model, order = Proposer(d, H, "linear", cell="shared", rng=rng), rng.permutation(d)
    state = model.initial_state(3, np.float64)
    other = state._replace(code=state.code[:, order])
    for t in range(4):
        u = np.concatenate([rng.random((3, d)), rng.standard_normal((3, 1)), np.full((3, 1), t > 0)], axis=1)
        x, state = model.step(u, state)
        y, other = model.step(np.concatenate([u[:, :d][:, order], u[:, d:]], axis=1), other)
        np.testing.assert_allclose(y, x[:, order], rtol=0, atol=1e-12)


def test_the_best_point_is_remembered():
    model = Proposer(2, 4, "linear", cell="shared")
    state = model.initial_state(1, np.float64)
    assert (state.k == 0).all()
    for x, y, best in ((0.1, 3.0, 3.0), (0.2, 5.0, 3.0), (0.3, -1.0, -1.0), (0.4, -1.0, -1.0)):
        _, state = model.step(np.array([[x, x, y, 1.0]]), state)
        assert state.q == best and state.k == 1
    np.testing.assert_array_equal(state.p, [[0.3, 0.3]])
    _, state = model.step(np.zeros((1, 4)), state)  # nothing is fed, which is not a value of 0
    np.testing.assert_array_equal(state.p, [[0.3, 0.3]])


def test_codes_differ_and_have_mean_0_and_variance_1():
    for d in (2, 3, 6, 20, 1000):
        codes = shared_cell.codes(d)
        apart = np.abs(codes[:, None] - codes[None]).max(axis=2) + np.eye(d)
        assert apart.min() > 0.5 / d**0.25
    codes = shared_cell.codes(1000)
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=0.05)
    np.testing.assert_allclose(codes.var(axis=0), 1, atol=0.05)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_one_network_searches_in_any_number_of_dimensions_and_is_restored(backend):
    model = Proposer(None, 6, "linear", cell="shared", rng=0, backend=backend)
    for d in (1, 3, 25):
        bb = l2l.BlackBoxOptimizer([(0, 1)] * d, model, finish=None)
        for k in range(6):
            trial = bb.ask()
            assert trial.x.shape == (d,) and (trial.x >= 0).all() and (trial.x <= 1).all()
            bb.tell(trial, float(trial.x.sum()) + k % 3)
        again = l2l.BlackBoxOptimizer.from_state(json.loads(json.dumps(bb.state_dict())), model)
        assert again.ask().x.tolist() == bb.ask().x.tolist()


def test_a_bound_proposer_has_the_moments_of_the_nearest_dimension():
    moments = [[[0.0, 1.0], [k, 0.5]] for k in range(3)]
    model = Proposer(None, 4, cell="shared")
    model.card = {"problem": {"dim": [1, 4, 20]}, "moments": moments}
    assert [model.of(d).card["moments"] for d in (1, 2, 3, 8, 9, 50)] == [moments[k] for k in (0, 0, 1, 1, 2, 2)]
    for card in (None, {}, {"problem": {"dim": [1, 2]}, "moments": moments}, {"problem": [], "moments": moments},
                 {"problem": {"dim": [1, "2", 3]}, "moments": moments},
                 {"problem": {"dim": [0, 1, 2]}, "moments": [1] * 3}):
        model.card = card
        assert model.of(3).card == card and l2l.BlackBoxOptimizer([(0, 1)] * 3, model).ask().id == 0


def test_bad_input():
    with pytest.raises(ValueError, match="^dim: expected a whole number in 1..1000, got None"):
        Proposer(None)
    with pytest.raises(ValueError, match="^dim: expected None or a whole number in 1..1000, got 0"):
        Proposer(0, cell="shared")
    with pytest.raises(ValueError, match="^memory: expected None for the cell shared"):
        Proposer(None, cell="shared", memory=(2, 2, 1))
    model = Proposer(None, 4, cell="shared")
    with pytest.raises(ValueError, match="^distribution: expected one or more, got none"):
        l2l.meta_train_black_box(model, [])
    with pytest.raises(ValueError, match="^distribution: expected functions of 2 dimensions, got 3"):
        l2l.meta_train_black_box(Proposer(2, 4), [GPDistribution(dim=2), GPDistribution(dim=3)])
    for call in (model.initial_state, lambda: model.step(np.zeros((1, 4)), None), lambda: model.stepper(None)):
        with pytest.raises(ValueError, match=r"^dim: expected a proposer for one number .* call its of\(dim\)"):
            call()
    bound = model.of(3)
    with pytest.raises(ValueError, match="expected shape"):
        bound.step(np.zeros((1, 4), np.float32), bound.initial_state())
