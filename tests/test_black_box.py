"""The recurrent proposer: the order of arrival, and the gradient of the whole chain network -> process -> loss."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2l_ref.checking import gradcheck
from l2l_ref.learned import cells, propose, trajectory
from l2l_ref.ops.activations import sigmoid

SETTINGS = settings(max_examples=15, deadline=None)
JITTER = 0.1  # the same draw_settings in every precision


def drawn(seed, B, T, d, H=3, workers=1):
    rng = np.random.default_rng(seed)
    params = propose.proposer_init(rng, d, H)
    params = params._replace(W=rng.standard_normal((H, d)), b=rng.standard_normal(d))
    fed = trajectory.arrivals(T, workers, rng)
    return params, rng.standard_normal((B, T)), rng.standard_normal((B, T)), fed


def chain(loss, output, fed, noise=0.1, **changes):
    """The whole of it as a pair: params, z, epsilon, length scale -> loss of each function."""

    def forward(params, z, epsilon, length_scale):
        out, cache = trajectory.trajectory(params, z, epsilon, fed, length_scale, noise=noise, jitter=JITTER,
                                          output=output, **changes)
        process = {"fed": fed, "length_scale": 0.4, "variance": 1.0, "noise": noise, "jitter": JITTER}  # constants
        L, loss_cache = trajectory.trajectory_loss(out, loss, penalty=0.5, process=process)
        return L, (cache, loss_cache)

    def backward(d_L, cache):
        trajectory_cache, loss_cache = cache
        d_out = trajectory.trajectory_loss_backward(d_L, loss_cache)
        d_params, d_z, d_epsilon, _, d_length_scale = trajectory.trajectory_backward(d_out, trajectory_cache)
        return d_params, d_z, d_epsilon, d_length_scale

    return forward, backward


@SETTINGS
@given(st.integers(0, 10**6), st.sampled_from([1, 5]), st.integers(1, 6), st.integers(1, 3), st.integers(1, 4),
       st.sampled_from([loss for loss in trajectory.LOSSES if loss != "noisy-ei"]), st.sampled_from(propose.OUTPUTS))
def test_the_gradient_of_the_whole_chain(seed, B, T, d, workers, loss, output):
    params, z, epsilon, fed = drawn(seed, B, T, d, workers=workers)
    report = gradcheck(*chain(loss, output, fed), (params, z, epsilon, 0.4), seed=seed)
    # A query may come to lie on the edge of the cube, or two values tie: then it is a kink and says so.
    assert report.ok or report.verdict == "INCONCLUSIVE" and "smooth" in str(report), report


@pytest.mark.parametrize("workers", [1, 2])
def test_the_gradient_of_the_whole_chain_of_what_was_observed(workers):
    params, z, epsilon, fed = drawn(2, 2, 4, 2, workers=workers)
    gradcheck(*chain("noisy-ei", "sigmoid", fed), (params, z, epsilon, 0.4), thorough=False).raise_if_failed()


@pytest.mark.parametrize("loss, B", [("oi", 1), ("oi", 5), ("ei", 5), ("sum", 5)])
def test_the_gradient_of_a_long_chain_in_six_dimensions(loss, B):
    params, z, epsilon, fed = drawn(1, B, 30, 6, workers=3)
    gradcheck(*chain(loss, "sigmoid", fed), (params, z, epsilon, 0.4), thorough=False).raise_if_failed()


@pytest.mark.parametrize("seed, T, workers, loss", [(0, 4, 1, "oi"), (1, 4, 2, "ei"), (2, 5, 1, "sum")])
def test_the_gradient_of_the_whole_chain_with_a_memory(seed, T, workers, loss):
    """A differentiable neural computer in place of the LSTM, and nothing else changed."""
    cell, rng = cells.dnc_with(slots=3, word=2, heads=1), np.random.default_rng(seed)
    params = propose.proposer_init(rng, 2, 3, cell)
    params = params._replace(W=rng.standard_normal(params.W.shape))
    _, z, epsilon, fed = drawn(seed, 2, T, 2, workers=workers)
    gradcheck(*chain(loss, "sigmoid", fed, cell=cell), (params, z, epsilon, 0.4), seed=seed,
              thorough=False).raise_if_failed()


@pytest.mark.parametrize("output", propose.OUTPUTS)
def test_the_compiled_cell_and_sampler_give_the_same(output):
    pytest.importorskip("numba")
    params, z, epsilon, fed = drawn(0, 7, 12, 2, workers=2)
    results = []
    for backend in ("numpy", "numba"):
        out, cache = trajectory.trajectory(
            params, z, epsilon, fed, 0.4, noise=0.1, jitter=JITTER, output=output,
            cell=cells.LSTM, backend=backend
        )
        L, loss_cache = trajectory.trajectory_loss(out)
        d_params, *_ = trajectory.trajectory_backward(
            trajectory.trajectory_loss_backward(np.ones_like(L), loss_cache), cache
        )
        results.append((out.x, L, d_params.W, d_params.cell.W_x))
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_float32_stays_float32():
    params, z, epsilon, fed = drawn(0, 3, 5, 2)
    params = type(params)(type(params.cell)(*(a.astype(np.float32) for a in params.cell)),
                          params.W.astype(np.float32), params.b.astype(np.float32))
    z, epsilon = z.astype(np.float32), epsilon.astype(np.float32)
    out, cache = trajectory.trajectory(params, z, epsilon, fed, 0.4, noise=0.1)
    assert {a.dtype for a in out} == {np.dtype(np.float32)}
    L, loss_cache = trajectory.trajectory_loss(out)
    d_params, d_z, d_epsilon, _, _ = trajectory.trajectory_backward(
        trajectory.trajectory_loss_backward(np.ones_like(L), loss_cache), cache
    )
    assert {a.dtype for a in (L, *d_params.cell, d_params.W, d_params.b, d_z, d_epsilon)} == {np.dtype(np.float32)}


def test_one_worker_hears_of_the_query_before():
    assert trajectory.arrivals(5).tolist() == [-1, 0, 1, 2, 3]


@given(st.integers(0, 40), st.integers(1, 8), st.integers(0, 10**6))
def test_results_arrive_once_each_and_never_before_they_were_asked_for(steps, workers, seed):
    fed = trajectory.arrivals(steps, workers, np.random.default_rng(seed))
    known = fed[fed >= 0]
    assert (fed[:workers] == -1).all() and (fed[workers:] >= 0).all()
    assert len(set(known)) == len(known) and all(q < t for t, q in enumerate(fed))
    # never more than ``workers`` on their way
    assert all(t + 1 - (fed[: t + 1] >= 0).sum() <= workers for t in range(steps))


def test_nothing_is_known_before_the_first_value():
    """All functions of a batch get the same queries until something comes back, and then not."""
    params, z, epsilon, fed = drawn(3, 4, 6, 2, workers=3)
    out, _ = trajectory.trajectory(params, z, epsilon, fed, 0.4)
    assert (out.x[:, :3] == out.x[:1, :3]).all() and (out.x[0, 3] != out.x[1, 3]).any()


def test_a_step_is_what_the_equations_say():
    rng = np.random.default_rng(0)
    params = propose.proposer_init(rng, 2, 3)
    state = cells.lstm_initial_state(1, params.cell)
    (x, _, state), _ = propose.propose(np.array([[0.2, 0.7, -1.3, 1.0]]), state, params)
    np.testing.assert_allclose(x, sigmoid(state.h @ params.W + params.b)[0], rtol=1e-15)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"fed": np.array([0, 1, 2])}, "fed: expected for each query an earlier one"),
        ({"fed": np.array([-1, 0])}, "fed: expected shape"),
        ({"fed": np.array([-2, 0, 1])}, "fed: expected for each query"),
        ({"epsilon": np.zeros((2, 4))}, "epsilon: expected shape"),
        ({"z": np.zeros(3)}, "z: expected shape"),
        ({"output": "tanh"}, "output: expected one of sigmoid, linear, got 'tanh'"),
        ({"length_scale": 0.0}, "length_scale"),
    ],
)
def test_bad_arguments_are_refused(changes, message):
    params, z, epsilon, fed = drawn(0, 2, 3, 2)
    arguments = {"z": z, "epsilon": epsilon, "fed": fed, "length_scale": 0.4} | changes
    with pytest.raises(ValueError, match=message):
        trajectory.trajectory(params, **arguments)


def test_an_unknown_loss_and_no_workers_are_refused():
    params, z, epsilon, fed = drawn(0, 2, 3, 2)
    out, _ = trajectory.trajectory(params, z, epsilon, fed, 0.4)
    with pytest.raises(ValueError, match="loss: expected one of sum, ei, oi, final, best, noisy-ei, got 'ucb'"):
        trajectory.trajectory_loss(out, "ucb")
    with pytest.raises(ValueError, match="^process: expected the arguments of noisy_improvement_loss"):
        trajectory.trajectory_loss(out, "noisy-ei")
    with pytest.raises(ValueError, match="workers: expected a whole number >= 1"):
        trajectory.arrivals(3, 0)
