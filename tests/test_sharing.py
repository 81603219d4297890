"""Optimizers whose coordinates share information: by loops, what must not change, and weights that are set by hand."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import l2l_ref as l2l
from l2l_ref import backends, files
from l2l_ref.cli import main
from l2l_ref.learned import sharing
from l2l_ref.learned.coordinatewise import Params
from l2l_ref.learned.sharing_optimizer import SHARED, SharingLSTM
from l2l_ref.metatrain.gradient_based import meta_train, run_window, window_gradient
from l2l_ref.ops.lstm import LSTMParams
from l2l_ref.ops.sharing import Window, global_average, matrix_memory, window_memory
from l2l_ref.optimizees import Quadratic
from l2l_ref.optimizees.rollout import begin, rollout
from l2l_ref.trees import flatten, leaves, tree_map, unflatten

WORKING = [backend for backend in ("numpy", "numba") if backends.available(backend)]
each_kind = pytest.mark.parametrize("share", SHARED)


def small(share, **settings):
    """An untrained optimizer with weights of order 1, whose coordinates share a lot."""
    opt = SharingLSTM(share, **{"hidden": (4, 3), "averaged": 2, "window": 6, "rng": 1, "backend": "numpy"} | settings)
    rng = np.random.default_rng(2)
    opt.params = tree_map(lambda a: a + 0.3 * rng.standard_normal(a.shape), opt.params)
    return opt


def run(opt, gradients, functions=1):
    """The updates (T, n) on gradients (T, n), and the last state."""
    state, updates = opt.init(gradients[0], functions), []
    for gradient in gradients:
        update, state = opt.update(gradient, state)
        updates.append(update)
    return np.stack(updates), state


# ------------------------------------------------------------------------------------------------------- by loops


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 3), st.integers(0, 3))
def test_averages_and_memories_by_loops(seed, d, W, kept):
    rng, B, K = np.random.default_rng(seed), 2, W + kept
    h, M, r = rng.standard_normal((B, d, 4)), rng.standard_normal((B, d, d)), rng.standard_normal((B, d))
    a, b = rng.standard_normal((2, B, d, W))
    window = Window(*rng.standard_normal((2, B, d, K)))
    o, _ = global_average(h, 3)
    (i, M_new), _ = matrix_memory(M, r, a, b)
    (j, (left, right)), _ = window_memory(window, r, a, b)
    close = {"rtol": 1e-12, "atol": 1e-12}
    for f in range(B):
        for row, unit in itertools.product(range(d), range(4)):
            expected = sum(h[f, k, unit] for k in range(d)) / d if unit < 3 else h[f, row, unit]
            np.testing.assert_allclose(o[f, row, unit], expected, **close)
        identity_and_pairs = np.eye(d)
        for k in range(K):
            identity_and_pairs += np.outer(window.left[f, :, k], window.right[f, :, k])
        written = M[f].copy()
        for w in range(W):
            written += np.outer(a[f, :, w], b[f, :, w])
        np.testing.assert_allclose(i[f], M[f] @ r[f], **close)
        np.testing.assert_allclose(M_new[f], written, **close)
        np.testing.assert_allclose(j[f], identity_and_pairs @ r[f], **close)
        for new, old, come in ((left, window.left, a), (right, window.right, b)):
            columns = [*old[f].T, *come[f].T]
            np.testing.assert_array_equal(new[f].T, columns[-K:])


@pytest.mark.parametrize("kind", [matrix_memory, window_memory])
def test_shapes_that_do_not_fit(kind):
    memory = np.zeros((2, 3, 3)) if kind is matrix_memory else Window(np.zeros((2, 3, 4)), np.zeros((2, 3, 4)))
    r, a = np.zeros((2, 3)), np.zeros((2, 3, 1))
    longer = np.zeros((2, 4, 1))
    for wrong in ((r[0], a, a), (r, a[:1], a), (r, a, a[:, :2]), (longer[:, :, 0], longer, longer)):
        with pytest.raises(ValueError, match="expected shape"):
            kind(memory, *wrong)
    if kind is window_memory:
        with pytest.raises(ValueError, match="^window: expected at least the 5 pairs of a step, got 4"):
            kind(memory, r, np.zeros((2, 3, 5)), np.zeros((2, 3, 5)))


# ---------------------------------------------------------------------------------------------- what must not change


def test_without_averaged_units_and_memory_it_is_the_coordinatewise_optimizer():
    opt = small("average", averaged=0)
    plain = l2l.CoordinatewiseLSTM(opt.hidden, params=opt.params, backend="numpy")
    state, other = opt.init(np.zeros(6)), plain.init(np.zeros(6))
    for gradient in np.random.default_rng(0).standard_normal((4, 6)):
        update, state = opt.update(gradient, state)
        expected, other = plain.update(gradient, other)
        np.testing.assert_array_equal(update, expected)


@each_kind
@given(seed=st.integers(0, 2**32 - 1), d=st.integers(1, 5))
def test_the_order_of_coordinates_does_not_matter_and_functions_do_not_mix(share, seed, d):
    rng, opt, B, T = np.random.default_rng(seed), small(share), 3, 4
    gradients = rng.standard_normal((T, B, d))
    updates, _ = run(opt, gradients, functions=B)
    orders = np.stack([rng.permutation(d) for _ in range(B)])
    permuted, _ = run(opt, np.take_along_axis(gradients, orders[None], axis=2), functions=B)
    np.testing.assert_allclose(permuted, np.take_along_axis(updates, orders[None], axis=2), rtol=1e-9, atol=1e-11)
    for f in range(B):
        alone, _ = run(opt, gradients[:, f])
        np.testing.assert_allclose(alone, updates[:, f], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("share, after", [("average", 0), ("bfgs", 2), ("l-bfgs", 2)])
def test_when_a_coordinate_learns_of_the_others(share, after):
    """By a mean, in the same step; by a memory, which is read a step after it is written, two steps later."""
    opt = small(share, averaged=2 if share == "average" else 0)
    gradients = np.random.default_rng(0).standard_normal((5, 4))
    updates, _ = run(opt, gradients)
    gradients[0, 0] += 1
    changed = (run(opt, gradients)[0] != updates)[:, 1:]
    assert not changed[:after].any() and changed[after:].all()


def test_a_window_that_loses_nothing_is_the_matrix():
    matrix, window = small("bfgs"), small("l-bfgs", window=5 * sharing.HEADS)
    window.params = matrix.params
    gradients = np.random.default_rng(0).standard_normal((6, 2, 3))
    by_matrix, state = run(matrix, gradients[:5], functions=2)
    by_window, kept = run(window, gradients[:5], functions=2)
    np.testing.assert_allclose(by_window, by_matrix, rtol=1e-10, atol=1e-12)
    left, right = kept.network.memory
    np.testing.assert_allclose(np.eye(3) + left @ right.swapaxes(1, 2), state.network.memory, rtol=1e-10, atol=1e-12)
    # From the sixth step on, three pairs are lost in each.
    by_matrix, by_window = (run(opt, np.concatenate([gradients] * 2), functions=2)[0] for opt in (matrix, window))
    assert np.abs(by_window - by_matrix)[-1].max() > 1e-6


@each_kind
@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-11), (np.float32, 2e-4)])
def test_backends_agree(share, dtype, tolerance):
    if "numba" not in WORKING:
        pytest.skip("numba does not work here")
    task = Quadratic(dim=4).sample(10, 0, dtype)
    results = []
    for settings in ({"backend": "numpy"}, {"backend": "numba"}, {"backend": "numba", "threads": 2}):
        opt = small(share, output_scale=0.01, **settings)
        state, first = begin(opt, task.theta0, task, 1), task.loss_and_gradient(task.theta0)
        theta, _, _, _, gradients, loss_gradients, _ = run_window(opt, task, task.theta0, state, first, 3)
        assert theta.dtype == dtype
        results.append((theta, window_gradient(opt, gradients, loss_gradients, state, 10)))
    for (one, other), close in ((results[:2], tolerance), (results[1:], 0)):
        for a, b in zip(one, other):
            np.testing.assert_allclose(a, b, rtol=0, atol=close * np.abs(a).max())


# ------------------------------------------------------------------------------------------------- the meta-gradient


class Planes:
    """Linear functions f(theta) = w . theta: their gradients do not depend on the optimizer."""

    def __init__(self, functions, d):
        self.w, self.theta0 = np.random.default_rng(0).standard_normal((functions, d)), np.zeros((functions, d))

    def loss_and_gradient(self, theta):
        return (self.w * theta).sum(axis=1), self.w


@each_kind
def test_a_rollout_keeps_functions_apart(share):
    opt, together, alone = small(share), Planes(3, 4), Planes(3, 4)
    curves = rollout(opt, together, 5)
    for f in range(3):
        alone.w, alone.theta0 = together.w[f : f + 1], together.theta0[f : f + 1]
        np.testing.assert_allclose(rollout(opt, alone, 5)[:, 0], curves[:, f], rtol=1e-9, atol=1e-11)


@each_kind
def test_the_meta_gradient_of_a_window_is_the_derivative_of_its_loss(share):
    """On planes there are no dashed edges to drop: C5 is the derivative of the loss, through all that is shared."""
    opt, task, steps = small(share), Planes(3, 4), 5
    first = task.loss_and_gradient(task.theta0)
    state = begin(opt, task.theta0, task, 1)
    for _ in range(2):  # not from a state of zeros
        _, state = opt.update(first[1], state)

    def window(phi):
        model = opt.with_params(unflatten(phi, opt.params))
        return run_window(model, task, task.theta0, state, first, steps)

    phi = flatten(opt.params)
    _, _, _, _, gradients, loss_gradients, _ = window(phi)
    d_phi = window_gradient(opt, gradients, loss_gradients, state, 3)
    for direction in np.random.default_rng(1).standard_normal((3, len(phi))):
        step = 1e-5 * direction
        up, down = (window(phi + sign * step)[3].sum(axis=0).mean() for sign in (1, -1))
        np.testing.assert_allclose(d_phi @ direction, (up - down) / 2e-5, rtol=1e-6)


@each_kind
def test_it_is_trained_and_resumes_bit_for_bit(share, tmp_path):
    recipe = {"steps": 6, "unroll": 3, "tasks": 2, "functions": 4, "epochs": 3, "validation_functions": 3}
    model, problem = SharingLSTM(share, (4,), averaged=2, window=6, rng=0), Quadratic(dim=3)
    whole, log = meta_train(model, problem, **recipe)
    assert type(whole) is SharingLSTM and whole.config == model.config
    assert {entry["skipped"] for entry in log} == {0}
    assert (flatten(whole.params) != flatten(model.params).astype(np.float32)).mean() > 0.9

    class Stop(Exception):
        pass

    def stop(progress, recipe):
        if progress.epoch == 2:
            raise Stop

    with pytest.raises(Stop):
        meta_train(model, problem, **recipe, checkpoint=tmp_path / "c", report=stop)
    resumed, _ = meta_train(model, problem, **recipe, checkpoint=tmp_path / "c", resume=True)
    np.testing.assert_array_equal(flatten(resumed.params), flatten(whole.params))


# ---------------------------------------------------------------------------------------------------- as an optimizer


@each_kind
def test_trees_files_and_cards(share, tmp_path):
    opt = small(share)
    opt.card = {"command": "none"}
    l2l.save(opt, tmp_path / "shared.npz")
    again = l2l.load(tmp_path / "shared.npz", backend="numpy")
    assert type(again) is SharingLSTM and again.config == opt.config == again.card["model"]
    theta = {"W": np.ones((2, 3), np.float32), "b": [np.zeros(2, np.float32)]}
    flat = np.concatenate([np.ones(6, np.float32), np.zeros(2, np.float32)])
    got, _ = again.update(theta, again.init(theta))
    wanted, _ = opt.update(flat, opt.init(flat))
    assert got["W"].shape == (2, 3) and got["W"].dtype == np.float32
    np.testing.assert_array_equal(flatten(got), wanted)


@each_kind
def test_a_function_is_held_where_its_gradient_is_not_finite(share):
    opt, rng = small(share), np.random.default_rng(0)
    gradients = rng.standard_normal((4, 3, 5))
    wrong = gradients[2].copy()
    wrong[1, 2:4] = np.nan, np.inf
    _, state = run(opt, gradients[:2], functions=3)
    expected, free = opt.update(gradients[2], state)
    update, held = opt.update(wrong, state)
    assert held.skipped == 2 and free.skipped == 0
    np.testing.assert_array_equal(update, np.where(np.arange(3)[:, None] == 1, 0, expected))
    for before, unhindered, after in zip(*(leaves(s.network) for s in (state, free, held))):
        for f in range(3):
            same = before if f == 1 else unhindered
            np.testing.assert_array_equal(after.reshape(3, -1)[f], same.reshape(3, -1)[f])


def test_bad_arguments():
    for settings, message in (({"share": "all"}, "^share: expected one of average, bfgs, l-bfgs"),
                              ({"averaged": 21}, r"^averaged: expected a whole number in 0\.\.20"),
                              ({"hidden": (), "averaged": 1}, r"^averaged: expected a whole number in 0\.\.0"),
                              ({"window": 2}, "^window: expected")):
        with pytest.raises(ValueError, match=message):
            SharingLSTM(**settings)
    opt = small("bfgs")
    with pytest.raises(ValueError, match="^functions: expected a divisor of 5 coordinates, got 2"):
        opt.init(np.zeros(5), 2)
    with pytest.raises(ValueError, match="^state: expected one of this optimizer"):
        opt.update(np.zeros(5), small("l-bfgs").init(np.zeros(5)))
    with pytest.raises(ValueError, match="^gradient: expected shape"):
        opt.update(np.zeros(4), opt.init(np.zeros(5)))
    with pytest.raises(ValueError, match="^second_derivatives: expected False for a SharingLSTM"):
        meta_train(opt, Quadratic(), second_derivatives=True)
    with pytest.raises(ValueError, match="^coordinates: expected None for a SharingLSTM"):
        meta_train(opt, Quadratic(dim=3), steps=2, unroll=2, epochs=1, tasks=1, functions=2, coordinates=2)


def test_it_is_trained_from_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = ["--epochs", "1", "--tasks", "1", "--functions", "2", "--steps", "4", "--unroll", "2", "--hidden", "3"]
    assert main(["train", "quadratic", "--share", "l-bfgs", "--averaged", "1", "--window", "4", *recipe,
                 "--backend", "numpy", "--output", "q.npz", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert "--averaged 1 --window 4" in card["command"] and "--share l-bfgs" in card["command"]
    assert card["model"] == SharingLSTM("l-bfgs", (3,), averaged=1, window=4).config
    assert np.isfinite(rollout(l2l.load("q.npz"), Quadratic().sample(3, 0), 4)).all()


HOSTILE = {"an unknown kind": {"share": "all"}, "a kind that is no text": {"share": 1},
           "too many averaged units": {"averaged": 4}, "no number": {"averaged": None}, "no window": {"window": 0},
           "an endless window": {"window": 10**9}, "other weights": {"share": "average"}}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_card_is_refused(tmp_path, name):
    opt, path = small("l-bfgs"), tmp_path / "shared.npz"
    l2l.save(opt, path)
    with np.load(path) as archive:
        arrays = {key: archive[key] for key in archive.files if key != "card"}
        card = json.loads(archive["card"].tobytes())
    card["model"] |= HOSTILE[name]
    files.write(path, arrays, {key: value for key, value in card.items() if key not in ("format", "sha256")})
    with pytest.raises(ValueError, match="shared.npz"):
        l2l.load(path)


# ----------------------------------------------------------------------------------------- weights that are set by hand

EPS = 1e-3  # how far into their linear range the units are driven: tanh(x) is x to a relative error of x^2 / 3
OPEN, SHUT = 40.0, -40.0  # of a gate: the sigmoid is 1, and 4e-18


def layer(inputs, *units):
    """LSTMParams of units that remember nothing, h = tanh(sigmoid(u . x + bias) tanh(v . x)): (u, bias, v) for each."""
    H = len(units)
    W_x, b = np.zeros((inputs, 4, H)), np.zeros((4, H))
    for k, (u, bias, v) in enumerate(units):
        W_x[:, 0, k], b[0, k], W_x[:, 2, k] = u, bias, v
    b[1], b[3] = SHUT, OPEN
    return LSTMParams(W_x.reshape(inputs, 4 * H), np.zeros((H, 4 * H)), b.ravel())


def product(x, y):
    """Two units; h_1 - h_2 is EPS^2 (x . inputs)(y . inputs) / 2, up to a relative error of order EPS^2."""
    x, y = EPS * np.asarray(x), EPS * np.asarray(y)
    return (x, 0.0, y), (-x, 0.0, y)


@given(st.integers(0, 2**32 - 1), st.integers(1, 8))
def test_averaged_units_form_an_inner_product(seed, d):
    """Two averaged units show every coordinate the mean of the products of two inputs."""
    rng = np.random.default_rng(seed)
    gradient, i = rng.uniform(-3, 3, (2, 1, d))
    params = Params((layer(2, *product([1, 0], [0, 1])),), np.array([[1.0, *[0] * 7], [-1.0, *[0] * 7]]), np.zeros(8))
    start = sharing.init_state(1, d, params, sharing.matrix_start(1, d, float))._replace(i=i)
    (g, _), _ = sharing.sharing_step(gradient, start, params, averaged=2, scale=2 / EPS**2)
    # tanh(y), tanh(c) and the sigmoid of x leave a relative error of y^2 / 3 + y^2 / 4 + x^2 / 12 in each product.
    np.testing.assert_allclose(g, np.full((1, d), (gradient * i).mean()), rtol=0, atol=9 * (3 * EPS) ** 2)


CLIP_AT, RATE, LARGEST = 2.0, 0.1, 25.0  # the norm from which is clipped, the learning rate, the largest mean of g^2


def clipping_factor(mean_of_squares, d):
    """What clipping to the norm CLIP_AT multiplies a gradient of d coordinates by."""
    return np.minimum(1.0, CLIP_AT / np.sqrt(d * np.maximum(mean_of_squares, 1e-300)))


def clipping_by_hand(d, units=20):
    """An LSTM+GAC of two layers that takes clipped steps of gradient descent.

    Layer 1: two averaged units show the mean of g^2, a third one shows g. Layer 2: in unit k, g goes through a gate
    that depends on the mean; the sum of the gates, with the weights of the output layer, is fitted to the factor.

    Returns the optimizer, the factor that it has as a function of the mean of g^2, and the sum of those weights.
    """
    first = layer(1, *product([1], [1]), ([0], OPEN, [EPS]))
    centres = CLIP_AT**2 / d * np.geomspace(0.05, LARGEST * d / CLIP_AT**2, units - 1)
    slopes, biases = np.append(-3 / centres, 0.0), np.append(np.full(units - 1, 3.0), OPEN)
    scale = 2 / EPS**2  # the mean of g^2 from the two units
    silent = ([0, 0, 0], 0.0, [0, 0, 0])  # the averaged units of layer 2, which nothing needs
    gated = [([scale * slope, -scale * slope, 0], bias, [0, 0, 1]) for slope, bias in zip(slopes, biases)]
    second = layer(3, silent, silent, *gated)

    def gates(m):
        return 0.5 * (1 + np.tanh(0.5 * (np.multiply.outer(m, slopes) + biases)))

    grid = CLIP_AT**2 / d * np.geomspace(1e-3, LARGEST * d / CLIP_AT**2, 2000)
    weights = np.linalg.lstsq(gates(grid), clipping_factor(grid, d), rcond=1e-10)[0]
    output = -RATE / EPS * np.concatenate([[0, 0], weights])[:, None]
    opt = SharingLSTM("average", (3, 2 + units), averaged=2, params=Params((first, second), output, np.zeros(1)),
                      backend="numpy")
    return opt, lambda m: gates(m) @ weights, np.abs(weights).sum()


@pytest.mark.parametrize("d", [1, 2, 10])
def test_a_global_average_clips_the_norm_of_the_gradient(d):
    opt, factor, total = clipping_by_hand(d)
    alone = SharingLSTM("average", opt.hidden, averaged=0, params=opt.params, backend="numpy")
    rng, missed = np.random.default_rng(0), []
    for norm in np.geomspace(0.1, np.sqrt(LARGEST), 30):
        gradient = rng.standard_normal(d)
        gradient *= norm / np.linalg.norm(gradient)
        update, _ = opt.update(gradient, opt.init(gradient))
        # Each tanh that g goes through leaves the relative error x^2 / 3, the mean of squares x^2.
        close = 2 * RATE * total * (EPS * norm) ** 2 * norm
        m = (gradient**2).mean()
        np.testing.assert_allclose(update, -RATE * factor(m) * gradient, rtol=0, atol=close)
        clipped = -RATE * gradient * min(1.0, CLIP_AT / norm)
        np.testing.assert_allclose(update, clipped, rtol=0.03)  # how well 20 gates fit the factor; 2.2 % in one place
        missed.append(np.abs(alone.update(gradient, alone.init(gradient))[0] / clipped - 1).max())
    assert d == 1 or max(missed) > 0.1  # without the average, the same weights clip each coordinate by itself


def heads_by_hand(r=(0, 0), a=3 * ((0, 0),), b=3 * ((0, 0),)):
    """A controller without layers: each head is a linear function of the vector given and of what was read before."""
    columns = np.array([(0, 0), r, *a, *b], dtype=float)
    return Params((), columns.T.copy(), np.zeros(8))


def bfgs_update(state, s, y):
    """Read at y, writing zeros, then write with three heads; s . y and y . H y are put into the weights."""
    read = heads_by_hand(r=(1, 0))
    (_, state), _ = sharing.sharing_step(y[None], state, read, averaged=0)
    rho, yHy = 1 / (s @ y), y @ state.i[0]
    write = heads_by_hand(a=((1, 0), (0, 1), (1, 0)), b=((0, -rho), (-rho, 0), (rho + rho**2 * yHy, 0)))
    (_, state), _ = sharing.sharing_step(s[None], state, write, averaged=0)
    return state


def inverse_hessian(state):
    memory = state.memory
    return (np.eye(memory.left.shape[1]) + memory.left @ memory.right.swapaxes(1, 2) if isinstance(memory, Window)
            else memory)[0]


def start_of(kind, d, pairs):
    memory = sharing.matrix_start(1, d, float) if kind == "matrix" else sharing.window_start(1, d, float, pairs)
    return sharing.init_state(1, d, heads_by_hand(), memory)


@pytest.mark.parametrize("kind", ["matrix", "window"])
@given(seed=st.integers(0, 2**32 - 1), d=st.integers(1, 6))
def test_three_write_heads_make_one_step_of_bfgs(kind, seed, d):
    rng = np.random.default_rng(seed)
    state = start_of(kind, d, 12)
    for _ in range(2):  # the second one from an H that is not the identity
        s, noise = rng.standard_normal((2, d))
        y = s * rng.uniform(0.5, 2.0, d) + 0.1 * noise * (abs(s).min() > 0.1)  # s . y is not near 0
        y = y if s @ y > 0.1 * (s @ s) else s
        H = inverse_hessian(state)
        state = bfgs_update(state, s, y)
        rho, one = 1 / (s @ y), np.eye(d)
        expected = (one - rho * np.outer(s, y)) @ H @ (one - rho * np.outer(y, s)) + rho * np.outer(s, s)
        close = 1e-12 * (1 + np.abs(H).max()) * (1 + rho * np.linalg.norm(s) * np.linalg.norm(y)) ** 2
        np.testing.assert_allclose(inverse_hessian(state), expected, rtol=1e-12, atol=close)
        np.testing.assert_allclose(inverse_hessian(state) @ y, s, rtol=0, atol=close * np.linalg.norm(y))


@pytest.mark.parametrize("kind", ["matrix", "window"])
def test_bfgs_by_these_heads_finds_the_inverse_hessian_of_a_quadratic(kind):
    """With exact line searches, BFGS has the minimum and the inverse of the Hessian after d steps."""
    d, rng = 6, np.random.default_rng(0)
    factor = rng.standard_normal((d, d))
    A, theta = factor @ factor.T + np.eye(d), rng.standard_normal(d)
    state, read = start_of(kind, d, 9 * d), heads_by_hand(r=(1, 0))
    for _ in range(d):
        gradient = A @ theta
        (_, state), _ = sharing.sharing_step(gradient[None], state, read, averaged=0)
        direction = -state.i[0]
        s = direction * -(gradient @ direction) / (direction @ A @ direction)
        state, theta = bfgs_update(state, s, A @ s), theta + s
    np.testing.assert_allclose(theta, 0, atol=1e-10)
    np.testing.assert_allclose(inverse_hessian(state) @ A, np.eye(d), atol=1e-9)
