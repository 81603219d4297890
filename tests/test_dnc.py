"""The differentiable neural computer: against an oracle in loops, at ties, over many steps, and its compiled twin."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import memory_step

from l2l_ref import backends
from l2l_ref.bench import dnc as bench_dnc
from l2l_ref.black_boxes import GPDistribution
from l2l_ref.checking import gradcheck
from l2l_ref.compiled import heads as twin
from l2l_ref.compiled import lstm as lstm_twin
from l2l_ref.learned import cells, propose
from l2l_ref.learned.proposer import Proposer
from l2l_ref.metatrain.black_box import meta_train_black_box
from l2l_ref.ops import addressing, dnc, heads
from l2l_ref.search import BlackBoxOptimizer
from l2l_ref.trees import add, build, leaves

SIZES = (st.integers(1, 4), st.integers(1, 6), st.integers(1, 5), st.integers(1, 3))  # B, N, W, R


def cast(tree, dtype):
    return build(tree, (a.astype(dtype) for a in leaves(tree)))


def drawn(seed, B, N, W, R, steps=3, D=2, H=3):
    """x (steps, B, D), a state that has seen some steps, params."""
    rng = np.random.default_rng(seed)
    params = dnc.dnc_init(rng, D, H, W, R)
    state = dnc.dnc_initial_state(B, H, N, W, R)
    for _ in range(4):
        state, _ = dnc.dnc_cell(rng.standard_normal((B, D)), state, params)
    return rng.standard_normal((steps, B, D)), state, params


def like(rng, tree):
    """Normal numbers in the place of all arrays."""
    return build(tree, (np.asarray(rng.standard_normal(a.shape), a.dtype) for a in leaves(tree)))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), *SIZES)
def test_the_memory_is_what_the_equations_say(seed, B, N, W, R):
    rng = np.random.default_rng(seed)
    xi, memory = 2 * rng.standard_normal((3, B, heads.interface_size(W, R))), heads.memory_initial_state(B, N, W, R)
    slow = [None] * B
    for x in xi:
        (read, memory), _ = heads.memory_access(x, memory)
        for b in range(B):
            r, slow[b] = memory_step(x[b].tolist(), slow[b], N, W, R, addressing.EPSILON)
            for ours, theirs in zip((read[b], *(a[b] for a in memory)), (r, *slow[b])):
                np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def chain(grad_through_write=True):
    """Ten steps as a pair: x (T, B, D), state, params -> the last state."""

    def forward(x, state, params):
        caches = []
        for x_t in x:
            state, cache = dnc.dnc_cell(x_t, state, params, grad_through_write)
            caches.append(cache)
        return state, caches

    def backward(d_state, caches):
        d_x, d_params = [], None
        for cache in reversed(caches):
            d, d_state, d_step = dnc.dnc_cell_backward(d_state, cache)
            d_x.append(d)
            d_params = d_step if d_params is None else add(d_params, d_step)
        return np.stack(d_x[::-1]), d_state, d_params

    return forward, backward


@pytest.mark.parametrize("B, N, W, R", [(2, 5, 3, 2), (1, 1, 1, 1), (1, 8, 2, 1)])
def test_the_gradient_of_ten_steps(B, N, W, R):
    """Away from ties: to every weight, input and entry of the state."""
    gradcheck(*chain(), drawn(0, B, N, W, R, steps=10), seed=0).raise_if_failed()


def test_at_ties_the_checker_reports_a_kink_and_nothing_else():
    """At the start every usage is 0. Only what changes their order is not smooth; no gradient is called wrong."""
    x, _, params = drawn(0, 2, 5, 3, 2)
    inputs = (x[0], dnc.dnc_initial_state(2, 3, 5, 3, 2), params)
    report = gradcheck(dnc.dnc_cell, dnc.dnc_cell_backward, inputs, seed=0)
    assert report.verdict == "INCONCLUSIVE" and "not smooth" in str(report)
    undecided = {entry.path for entry in report.entries if entry.verdict != "PASS"}
    assert undecided <= {"state.memory.u", "state.memory.w"}, report


def test_ties_are_allocated_in_the_order_of_the_slots():
    a, cache = addressing.allocation(np.array([[0.5, 0.25, 0.25, 1.0], [0.0, 0.0, 0.0, 0.0]]))
    np.testing.assert_array_equal(a, [[0.03125, 0.75, 0.1875, 0.0], [1.0, 0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(cache.order, [[1, 2, 0, 3], [0, 1, 2, 3]])


def test_the_stopped_gradient_is_the_gradient_of_a_constant():
    """Without ``grad_through_write`` nothing flows to the write weighting, and all else is as it was."""
    rng = np.random.default_rng(0)
    u, f, w_r = rng.random((2, 4)), rng.random((2, 3)), rng.dirichlet(np.ones(4), (2, 3))
    w = rng.dirichlet(np.ones(4), 2)
    _, cache = addressing.usage(u, w, f, w_r, grad_through_write=False)
    d_u, d_w, d_f, d_w_r = addressing.usage_backward(np.ones((2, 4)), cache)
    assert not d_w.any()
    _, cache = addressing.usage(u, w, f, w_r)
    full_u, full_w, full_f, full_w_r = addressing.usage_backward(np.ones((2, 4)), cache)
    assert full_w.any()
    for ours, theirs in ((d_u, full_u), (d_f, full_f), (d_w_r, full_w_r)):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-12), (np.float32, 2e-4)])
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0, 1, 3, 17]), st.integers(1, 6), st.integers(1, 17), st.integers(1, 3),
       st.booleans())
def test_the_twin_is_the_original(dtype, tolerance, seed, B, N, W, R, grad_through_write):
    x, state, params = drawn(seed, B, N, W, R)
    x, state, params = x[0].astype(dtype), cast(state, dtype), cast(params, dtype)
    d_state, results = None, []
    twins = dnc.Pairs(lstm_twin.lstm_cell, lstm_twin.lstm_cell_backward,
                      twin.memory_access, twin.memory_access_backward)
    for pairs in (dnc.ORIGINALS, twins):
        before = [a.copy() for a in leaves((x, state, params))]
        new, cache = dnc.dnc_cell(x, state, params, grad_through_write, pairs)
        d_state = d_state or like(np.random.default_rng(seed), new)
        kept = [a.copy() for a in leaves(d_state)]
        results.append(leaves((new, dnc.dnc_cell_backward(d_state, cache))))
        for a, b in zip((*before, *kept), leaves((x, state, params, d_state)), strict=True):
            np.testing.assert_array_equal(a, b)
    for expected, came in zip(*results, strict=True):
        assert came.dtype == dtype and came.shape == expected.shape
        if came.size:
            np.testing.assert_allclose(came, expected, rtol=0, atol=tolerance * max(1, np.abs(expected).max()))


def test_the_number_of_threads_does_not_show(monkeypatch):
    monkeypatch.setattr("l2l_ref.compiled.threads.WORTH_A_THREAD", 0)  # however little the work
    rng = np.random.default_rng(0)
    xi, memory = rng.standard_normal((200, heads.interface_size(16, 2))), heads.memory_initial_state(200, 16, 16, 2)
    results = []
    for threads in (1, 2):
        out, cache = twin.memory_access(xi, memory, threads=threads)
        results.append(leaves((out, twin.memory_access_backward(out, cache, threads=threads))))
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("N", [8, 16, 40])
def test_where_the_arrays_lie_does_not_show(N):
    """A run-time check of overlaps chooses between loops: both sum in the same order."""
    rng, buffer = np.random.default_rng(N), np.empty(400, np.float32)
    for _ in range(5):
        M, key = rng.standard_normal((N, 8)).astype(np.float32), rng.standard_normal(8).astype(np.float32)
        found = set()
        for distance in range(N, 300):
            c = buffer[distance : distance + N]
            twin._content(M, np.linalg.norm(M, axis=1), key, np.float32(3), buffer[:N], c)
            found.add(c.tobytes())
        assert len(found) == 1


@pytest.mark.parametrize("N", range(1, 8))
def test_the_largest_is_found_wherever_it_is(N):
    for k in range(N):
        s = np.full(N, -0.5, np.float32)
        s[k] = 0.25
        assert twin._largest(s) == 0.25


@pytest.mark.parametrize("module", [heads, twin])
def test_other_shapes_are_refused(module):
    xi, memory = np.zeros((2, heads.interface_size(3, 2))), heads.memory_initial_state(2, 4, 3, 2)
    module.memory_access(xi, memory)
    with pytest.raises(ValueError, match="xi: expected shape"):
        module.memory_access(xi[:, 1:], memory)
    for name in ("u", "L", "p", "w"):
        with pytest.raises(ValueError, match="expected shape"):
            module.memory_access(xi, memory._replace(**{name: getattr(memory, name)[:, 1:]}))


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_long_rollout_with_large_weights_stays_finite(backend):
    """Weights ten times as large saturate everything."""
    cell = cells.with_backend(cells.dnc_with(6, 4, 2), backend, 8)
    params = cast(build(p := dnc.dnc_init(np.random.default_rng(0), 3, 8, 4, 2), (10 * a for a in leaves(p))),
                  np.float32)
    state, rng = cell.initial_state(8, params), np.random.default_rng(1)
    with np.errstate(over="raise", invalid="raise"):
        for _ in range(2000 if backend == "numba" else 200):
            state, _ = cell.forward(rng.standard_normal((8, 3)).astype(np.float32), state, params)
    assert all(np.isfinite(a).all() for a in leaves(state))
    memory = state.memory
    for weighting in (memory.u[:, None], memory.w[:, None], memory.w_r, memory.p[:, None]):
        assert (weighting >= -1e-5).all() and (weighting <= 1 + 1e-5).all()
    for weighting in (memory.w, memory.w_r, memory.p, memory.L):
        assert (weighting.sum(axis=-1) <= 1 + 1e-4).all()


# ------------------------------------------------------------------------ as the network of a black-box optimizer


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.sampled_from([1, 2, 20]), *SIZES[1:], st.sampled_from(propose.OUTPUTS),
       st.sampled_from([np.float32, np.float64]))
def test_advance_is_propose(seed, B, N, W, R, output, dtype):
    rng = np.random.default_rng(seed)
    model = Proposer(2, 5, output, cell="dnc", memory=(N, W, R), rng=rng)
    params, state = model.params_as(dtype), model.initial_state(B, dtype)
    for _ in range(3):
        u = rng.standard_normal((B, 4)).astype(dtype)
        before = [a.copy() for a in leaves(state)]
        (x, _, after), _ = propose.propose(u, state, params, output, model.network)
        for backend in ("numpy", "numba"):
            came = backends.choose("propose", backend).dnc_propose_inference(u, state, params, output)
            for ours, theirs in zip(leaves((x, after)), leaves(came), strict=True):
                assert theirs.dtype == dtype
                tolerance = 300 * np.finfo(dtype).eps * max(1, abs(ours).max())
                np.testing.assert_allclose(theirs, ours, rtol=0, atol=tolerance)
        for a, b in zip(before, leaves(state), strict=True):
            np.testing.assert_array_equal(a, b)
        state = after
    with pytest.raises(ValueError, match="expected shape"):
        backends.choose("propose", "numba").dnc_propose_inference(u[:, 1:], state, params, output)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_proposer_with_a_memory_searches_and_is_restored(backend):
    model = Proposer(2, 6, "linear", cell="dnc", memory=(4, 3, 2), rng=0, backend=backend)
    search = BlackBoxOptimizer([(-1, 1), (0, 5)], model=model, seed=0)
    again = None
    for k in range(9):
        trial = search.ask()
        assert -1 <= trial.x[0] <= 1 and 0 <= trial.x[1] <= 5
        if k > 4:
            other = again.ask()
            np.testing.assert_array_equal(other.x, trial.x)
            again.tell(other, float((trial.x**2).sum()))
        search.tell(trial, float((trial.x**2).sum()))
        if k == 4:
            again = BlackBoxOptimizer.from_state(search.state_dict(), model=model)


@pytest.mark.parametrize("memory", [(4, 3), (4, 3, 0), (4.0, 3, 1), "4,3,1", 4])
def test_a_memory_of_another_form_is_refused(memory):
    with pytest.raises(ValueError, match="memory: expected 3 whole numbers"):
        Proposer(2, 4, cell="dnc", memory=memory)
    with pytest.raises(ValueError, match="memory: expected None for the cell lstm"):
        Proposer(2, 4, memory=(4, 3, 1))


def test_meta_training_with_a_memory_goes_down(tmp_path):
    model = Proposer(1, 8, "linear", cell="dnc", memory=(4, 4, 1), rng=0)
    trained, log = meta_train_black_box(model, GPDistribution(dim=1), 0, epochs=6, updates=30, functions=32, steps=5,
                                        first_steps=5, workers=1, validation_functions=64)
    assert log[-1]["validation_final"] < log[0]["validation_final"] - 0.1
    assert trained.config == model.config


def test_its_bench_compares_before_it_times(monkeypatch):
    small = {"batch": 3, "steps": 4, "hidden": 5, "sizes": (4, 3, 1), "rounds": 1}
    result = bench_dnc.dnc_step(threads=(1,), **small)
    assert [row["implementation"] for row in result["rows"]][:2] == ["numba", "numpy"]
    assert all(row["median_s"] > 0 and row["us_per_row_step"] > 0 for row in result["rows"])
    right = bench_dnc.IMPLEMENTATIONS["numpy"]

    def wrong(*arguments):
        work = right(*arguments)
        return lambda: 2 * work()

    monkeypatch.setitem(bench_dnc.IMPLEMENTATIONS, "numpy", wrong)
    with pytest.raises(ValueError, match="numpy: its gradient differs"):
        bench_dnc.dnc_step(threads=(1,), **small)
