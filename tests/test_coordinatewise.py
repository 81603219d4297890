"""The coordinatewise optimizer: the original against an oracle, the compiled twin against the original."""

import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2l_ref.compiled import coordinatewise as twin
from l2l_ref.learned import coordinatewise
from l2l_ref.ops.lstm import LSTMState
from l2l_ref.trees import flatten, unflatten

# For float32, sums of some hundred terms of order 1 in another order, and gates with an error of 4e-7.
TOLERANCE = {np.float64: 1e-10, np.float32: 1e-4}


@st.composite
def networks(draw, min_layers=1):
    """A case: hidden, p, scale, n, T, seed."""
    return {
        "hidden": tuple(draw(st.lists(st.integers(1, 6), min_size=min_layers, max_size=2))),
        "p": draw(st.sampled_from([None, 1.0, 5.0, 10.0])),
        "scale": draw(st.sampled_from([1.0, 0.1, -2.0])),
        "n": draw(st.sampled_from([0, 1, 2, 5, 63, 64, 65, 130])),
        "T": draw(st.integers(1, 6)),
        "weight": draw(st.sampled_from([0.3, 1.0, 20.0])),  # 20 saturates the gates
        "size": draw(st.sampled_from([1e-6, 1e-2, 1.0, 1e3])),
        "seed": draw(st.integers(0, 2**32 - 1)),
    }


def build(case, dtype):
    """gradients, d_updates, state, params, p, scale."""
    rng = np.random.default_rng(case["seed"])
    like = coordinatewise.init_params(rng, case["hidden"], 1 if case["p"] is None else 2)
    params = unflatten((case["weight"] * rng.standard_normal(flatten(like).size)).astype(dtype), like)
    gradients = (case["size"] * rng.standard_normal((case["T"], case["n"]))).astype(dtype)
    gradients[rng.random(gradients.shape) < 0.1] = 0
    d_updates = rng.standard_normal(gradients.shape).astype(dtype)
    state = tuple(
        LSTMState(*(np.tanh(rng.standard_normal((case["n"], H))).astype(dtype) for _ in range(2)))
        for H in case["hidden"]
    )
    return gradients, d_updates, state, params, case["p"], case["scale"]


@given(networks(min_layers=0))
def test_the_original_is_the_equations(case):
    gradients, _, state, params, p, scale = build(case, np.float64)
    (updates, last), _ = coordinatewise.unroll(gradients, state, params, p, scale)
    layers = [tuple(a.tolist() for a in layer) for layer in params.layers]
    if case["weight"] * case["size"] > 100:
        return  # exp overflows in the oracle's plain logistic function
    for i in range(min(case["n"], 2)):
        here = [(layer.h[i].tolist(), layer.c[i].tolist()) for layer in state]
        for t in range(case["T"]):
            update, here = oracles.optimizer_step(
                layers, params.W.tolist(), params.b.tolist(), float(gradients[t, i]), here, p, scale
            )
            np.testing.assert_allclose(updates[t, i], update, rtol=1e-10, atol=1e-10)
        for layer, (h, c) in zip(last, here):
            np.testing.assert_allclose(layer.h[i], h, rtol=1e-10, atol=1e-10)
            np.testing.assert_allclose(layer.c[i], c, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@settings(max_examples=60)
@given(case=networks())
def test_the_twin_advances_like_the_original(dtype, case):
    gradients, _, state, params, p, scale = build(case, dtype)
    update, new, _ = coordinatewise.step_inference(gradients[0], state, params, p, scale)
    twin_update, twin_new, _ = twin.step_inference(gradients[0], state, params, p, scale)
    assert twin_update.dtype == dtype
    # A gate's argument is a sum of terms of the size of the weights and the inputs.
    size = max(1.0, case["weight"] * (case["size"] if p is None else 1.0))
    atol = TOLERANCE[dtype] * size
    np.testing.assert_allclose(twin_update, update, rtol=0, atol=atol * case["weight"] * abs(scale) * 6)
    for layer, twin_layer in zip(new, twin_new):
        np.testing.assert_allclose(twin_layer.h, layer.h, rtol=0, atol=atol)
        np.testing.assert_allclose(twin_layer.c, layer.c, rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@settings(max_examples=60)
@given(case=networks())
def test_the_twin_has_the_meta_gradient_of_the_original(dtype, case):
    if case["weight"] > 1:
        case = {**case, "weight": 1.0}  # saturated recurrences amplify rounding without bound
    if case["p"] is None and case["size"] > 1:
        case = {**case, "size": 1.0}
    args = build(case, dtype)
    ours, theirs = coordinatewise.meta_gradient(*args), twin.meta_gradient(*args)
    if case["n"] == 0:
        assert not flatten(theirs).any()
        return
    exact = build(case, np.float64)
    exact = [np.float64(a) if isinstance(a, np.ndarray) else a for a in exact]
    scale = np.abs(flatten(coordinatewise.meta_gradient(*exact))).max()
    np.testing.assert_allclose(flatten(theirs), flatten(ours), rtol=0, atol=TOLERANCE[dtype] * max(scale, 1e-30))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("p", [None, 10.0])
def test_agreement_at_the_size_of_the_paper(dtype, p):
    """2 x 20 units, 20 steps: 1e-10 relative in float64, 1e-4 in float32."""
    case = {"hidden": (20, 20), "p": p, "scale": 0.1, "n": 1000, "T": 20, "weight": 0.2, "size": 0.1, "seed": 5}
    args = build(case, dtype)
    ours, theirs = flatten(coordinatewise.meta_gradient(*args)), flatten(twin.meta_gradient(*args))
    assert np.linalg.norm(theirs - ours) <= TOLERANCE[dtype] * np.linalg.norm(ours)


@pytest.mark.parametrize("n", [1, 64, 1500])
def test_the_number_of_threads_does_not_show(n, monkeypatch):
    monkeypatch.setattr("l2l_ref.compiled.threads.WORTH_A_THREAD", 0)  # however little the work
    case = {"hidden": (20, 20), "p": 10.0, "scale": 0.1, "n": n, "T": 5, "weight": 0.2, "size": 0.1, "seed": 5}
    gradients, d_updates, state, params, p, scale = build(case, np.float32)
    results = [
        np.concatenate([
            flatten(twin.meta_gradient(gradients, d_updates, state, params, p, scale, threads)),
            twin.step_inference(gradients[0], state, params, p, scale, threads)[0],
        ])
        for threads in (1, 2, 3, 7)
    ]
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


def test_wide_layers_take_smaller_tiles_and_agree():
    case = {"hidden": (70,), "p": None, "scale": 1.0, "n": 100, "T": 3, "weight": 0.1, "size": 0.1, "seed": 1}
    args = build(case, np.float64)
    np.testing.assert_allclose(
        flatten(twin.meta_gradient(*args)), flatten(coordinatewise.meta_gradient(*args)), rtol=1e-9, atol=1e-12
    )


def test_the_twin_refuses_a_network_without_layers():
    params = coordinatewise.init_params(np.random.default_rng(0), ())
    with pytest.raises(ValueError, match="at least one LSTM layer"):
        twin.step_inference(np.ones(3), (), params)


@pytest.mark.parametrize("module", [coordinatewise, twin])
def test_arguments_are_not_written_to(module):
    case = {"hidden": (3,), "p": 10.0, "scale": 1.0, "n": 70, "T": 3, "weight": 1.0, "size": 1.0, "seed": 2}
    args = build(case, np.float64)
    gradients, d_updates, state, params, p, scale = args
    arrays = [gradients, d_updates, *state[0], flatten(params)]
    copies = [a.copy() for a in arrays]
    for a in (*arrays[:4], *params.layers[0], params.W, params.b):
        a.flags.writeable = False
    module.step_inference(gradients[0], state, params, p, scale)
    module.meta_gradient(gradients, d_updates, state, params, p, scale)
    for a, copy in zip([*arrays[:4], flatten(params)], copies):
        np.testing.assert_array_equal(a, copy)


NOT_FINITE = [np.nan, -np.nan, np.inf, -np.inf]


@st.composite
def with_entries_that_are_not_finite(draw):
    """A case, the number of steps, and which of the coordinates get an entry of `NOT_FINITE` at each step."""
    case = draw(networks(min_layers=draw(st.integers(0, 1))))
    at = draw(st.lists(st.tuples(st.integers(0, case["T"] - 1), st.integers(0, 129), st.sampled_from(NOT_FINITE)),
                       max_size=draw(st.sampled_from([1, 5, 200]))))
    return case, [(t, k, value) for t, k, value in at if k < case["n"]]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("module", [coordinatewise, twin])
@given(drawn=with_entries_that_are_not_finite())
def test_a_coordinate_whose_gradient_is_not_finite_is_held(module, dtype, drawn):
    """Bit for bit: it keeps its state and does not move, and the others are as they would be without it."""
    case, at = drawn
    if module is twin and not case["hidden"]:
        return
    gradients, _, state, params, p, scale = build(case, dtype)
    bad = gradients.copy()
    for t, k, value in at:
        bad[t, k] = value
    spare = None
    for gradient, wrong in zip(gradients, bad):
        held = ~np.isfinite(wrong)
        clean, new, none = module.step_inference(gradient, state, params, p, scale)
        update, other, count = module.step_inference(wrong, state, params, p, scale, None, spare)
        assert none == 0 and count == held.sum() and type(count) is int
        np.testing.assert_array_equal(update, np.where(held, 0, clean))
        for before, free, after in zip(state, new, other, strict=True):
            for old, unhindered, found in zip(before, free, after):
                np.testing.assert_array_equal(found, np.where(held[:, None], old, unhindered))
        state, spare = other, state


def test_the_step_with_a_cache_is_the_equations_for_every_input():
    """What the audit and meta-training see: a nan comes out where a nan went in."""
    case = {"hidden": (4,), "p": 10.0, "scale": 1.0, "n": 10, "T": 2, "weight": 0.5, "size": 1.0, "seed": 3}
    gradients, d_updates, state, params, p, scale = build(case, np.float64)
    gradients[0, 3] = np.nan
    (updates, _), _ = coordinatewise.unroll(gradients, state, params, p, scale)
    assert (np.isnan(updates) == (np.arange(10) == 3)).all()
    for module in (coordinatewise, twin):
        d_params = module.meta_gradient(gradients, d_updates, state, params, p, scale)
        assert np.isnan(flatten(d_params)[:-1]).all()  # all but that of b, which is the sum of d_updates


@pytest.mark.parametrize(("inputs", "count"), [(1, 5061), (2, 5141)])
def test_phi_has_the_size_of_the_paper(inputs, count):
    assert flatten(coordinatewise.init_params(np.random.default_rng(0), (20, 20), inputs)).size == count


@given(st.integers(1, 8), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_suffix_sums_are_the_gradient_of_the_loss_in_the_updates(T, n, seed):
    """C5 for f = c . theta: dL/dg_t is the sum of the later c_s."""
    c = np.random.default_rng(seed).standard_normal((T, n))
    expected = [sum(c[s] for s in range(t, T)) for t in range(T)]
    np.testing.assert_allclose(coordinatewise.suffix_sums(c), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("module", [coordinatewise, twin])
@pytest.mark.parametrize("n", [0, 1, 65, 130])
def test_a_spare_state_changes_no_result_and_no_other_state(module, n):
    rng = np.random.default_rng(n)
    params = coordinatewise.init_params(rng, (3, 5), 2)
    gradients, start = rng.standard_normal((4, n)), coordinatewise.init_state(n, params)
    one = two = start
    spare = None
    for gradient in gradients:
        before, copies = two, [a.copy() for layer in two for a in layer]
        update, one, _ = module.step_inference(gradient, one, params, 10.0, 0.1)
        other, two, _ = module.step_inference(gradient, before, params, 10.0, 0.1, spare=spare)
        np.testing.assert_array_equal(update, other)
        for a, b in zip((a for layer in one for a in layer), (a for layer in two for a in layer), strict=True):
            np.testing.assert_array_equal(a, b)
        for a, b in zip((a for layer in before for a in layer), copies, strict=True):
            np.testing.assert_array_equal(a, b)
        if module is twin and spare is not None and n:
            assert all(np.shares_memory(a, b) for a, b in zip(two[0], spare[0]))
        spare = before


def read_only(a):
    a = a.copy("F")
    a.flags.writeable = False
    return a


@pytest.mark.parametrize("unfit", [
    lambda a: a[:-1], lambda a: a.astype(np.float32, "F"), np.ascontiguousarray, read_only, lambda a: a[:, :2],
], ids=["short", "float32", "by rows", "read-only", "narrow"])
def test_a_spare_state_that_does_not_fit_is_left_alone(unfit):
    params = coordinatewise.init_params(np.random.default_rng(0), (3, 5), 2)
    gradient, start = np.linspace(-1, 1, 70), coordinatewise.init_state(70, params)
    spare = tuple(LSTMState(*map(unfit, layer)) for layer in coordinatewise.init_state(70, params))
    update, state, _ = twin.step_inference(gradient, start, params, 10.0, 0.1, spare=spare)
    expected, _, _ = twin.step_inference(gradient, start, params, 10.0, 0.1)
    np.testing.assert_array_equal(update, expected)
    assert not any(a.any() for layer in spare for a in layer)
    assert not any(np.shares_memory(a, b) for layer, other in zip(state, spare) for a, b in zip(layer, other))
