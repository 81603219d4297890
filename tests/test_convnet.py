"""The convolutional network: by another way of computing it, its whole gradient, and what a seed fixes."""

import json
import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2l_ref import backends
from l2l_ref.bench import conv as bench_conv
from l2l_ref.checking import gradcheck
from l2l_ref.optimizees import ConvNet
from l2l_ref.optimizees.convnet import (
    Layout,
    convnet_loss,
    convnet_loss_backward,
    parameter_count,
    parameter_shapes,
    split_theta,
)
from l2l_ref.optimizees.rollout import rollout

SMALL = Layout((7, 6, 2), (3, 4), 3, (5,), 3)
BACKENDS = ["numpy", pytest.param("numba", marks=pytest.mark.skipif(not backends.available("numba"), reason="numba"))]


def drawn(layout, N=4, seed=0, scale=0.3, dtype=np.float64):
    """theta, images, labels, layout."""
    rng = np.random.default_rng(seed)
    theta = (scale * rng.standard_normal(parameter_count(layout))).astype(dtype)
    images = rng.integers(0, 256, (N, math.prod(layout.image)), np.uint8)
    return theta, images, rng.integers(0, layout.classes, N), layout


def test_parameters_are_counted_as_in_the_released_code():
    shapes = parameter_shapes(Layout())
    assert parameter_count(Layout()) == 22_682
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    assert [sizes[f"conv{k}.W"] + sizes[f"conv{k}.b"] for k in (1, 2, 3)] == [1_216, 6_416, 6_416]
    assert sum(sizes[f"conv{k}.offset"] for k in (1, 2, 3)) == 48 and sizes["fc1.offset"] == 32
    assert sizes["fc1.W"] + sizes["fc1.b"] == 8_224 and sizes["fc2.W"] + sizes["fc2.b"] == 330
    assert list(shapes)[:4] == ["conv1.W", "conv1.b", "conv1.offset", "conv2.W"]
    assert {name.rstrip("0123456789") for name in (name.partition(".")[0] for name in shapes)} == {"conv", "fc"}


def test_theta_holds_the_arrays_in_their_order():
    theta = np.arange(parameter_count(SMALL))
    arrays = split_theta(theta, SMALL)
    np.testing.assert_array_equal(np.concatenate([array.ravel() for array in arrays.values()]), theta)
    assert all(np.shares_memory(array, theta) for array in arrays.values())
    assert "conv1.offset" not in parameter_shapes(SMALL._replace(batch_norm=False))


def by_loops(theta, images, labels, layout, unit):
    """The loss in the order of the released code: ReLU before max pooling; a convolution pixel by pixel."""
    arrays = split_theta(theta, layout)
    z = images.reshape(-1, *layout.image) / unit

    def norm(a, name):
        if not layout.batch_norm:
            return a
        rows = a.reshape(-1, a.shape[-1])
        return (a - rows.mean(axis=0)) / np.sqrt(rows.var(axis=0) + 1e-3) + arrays[name]

    for k in range(1, len(layout.channels) + 1):
        W, (N, P, Q, _) = arrays[f"conv{k}.W"], z.shape
        before = (layout.kernel - 1) // 2
        padded = np.zeros((N, P + layout.kernel - 1, Q + layout.kernel - 1, z.shape[3]))
        padded[:, before : before + P, before : before + Q] = z
        a = np.empty((N, P, Q, W.shape[3]))
        for i, j in np.ndindex(P, Q):
            window = padded[:, i : i + layout.kernel, j : j + layout.kernel]
            a[:, i, j] = window.reshape(N, -1) @ W.reshape(-1, W.shape[3]) + arrays[f"conv{k}.b"]
        a = np.maximum(norm(a, f"conv{k}.offset"), 0)
        z = np.stack([np.stack([a[:, i : i + 2, j : j + 2].max(axis=(1, 2)) for j in range(0, Q, 2)], axis=1)
                      for i in range(0, P, 2)], axis=1)
    z = z.reshape(len(z), -1)
    last = len(layout.hidden) + 1
    for k in range(1, last):
        z = np.maximum(norm(z @ arrays[f"fc{k}.W"] + arrays[f"fc{k}.b"], f"fc{k}.offset"), 0)
    logits = z @ arrays[f"fc{last}.W"] + arrays[f"fc{last}.b"]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return -np.mean(np.log(p[np.arange(len(labels)), labels]))


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=15)
@given(st.integers(0, 10**6), st.integers(1, 5), st.sampled_from([(5, 5, 1), (6, 4, 3)]),
       st.lists(st.integers(1, 4), max_size=2), st.integers(1, 4), st.lists(st.integers(1, 3), max_size=2),
       st.booleans())
def test_the_network_by_loops(backend, seed, N, image, channels, kernel, hidden, batch_norm):
    layout = Layout(image, tuple(channels), kernel, tuple(hidden), 3, batch_norm)
    arguments = drawn(layout, N, seed)
    f, _ = convnet_loss(*arguments, unit=255.0, backend=backend)
    np.testing.assert_allclose(f, by_loops(*arguments, 255.0), rtol=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_whole_gradient_along_directions(backend):
    """All 22,682 parameters of the network of the paper. The biases that normalisation cancels have no gradient."""
    theta, images, labels, layout = drawn(Layout(), 4, scale=0.1)
    loss = partial(convnet_loss, unit=255.0, backend=backend)
    report = gradcheck(loss, convnet_loss_backward, (theta, images, labels, layout), thorough=False)
    report.raise_if_failed()
    d_theta, *_ = convnet_loss_backward(1.0, loss(theta, images, labels, layout)[1])
    arrays = split_theta(d_theta, layout)
    largest = max(np.abs(array).max() for array in arrays.values())
    for name, array in arrays.items():
        cancelled = name in ("conv1.b", "conv2.b", "conv3.b", "fc1.b")
        assert (np.abs(array).max() < 1e-12 * largest) == cancelled, name


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_wrong_entry_of_the_gradient_is_noticed(backend):
    theta, images, labels, layout = drawn(SMALL)

    def wrong(d_f, cache):
        d_theta, *others = convnet_loss_backward(d_f, cache)
        split_theta(d_theta, layout)["conv2.W"][0] *= 1.01
        return d_theta, *others

    loss = partial(convnet_loss, unit=255.0, backend=backend)
    assert gradcheck(loss, wrong, (theta, images, labels, layout), thorough=False).verdict == "FAIL"


@pytest.mark.skipif(not backends.available("numba"), reason="needs numba")
def test_the_number_of_threads_does_not_show(monkeypatch):
    monkeypatch.setattr("l2l_ref.compiled.threads.WORTH_A_THREAD", 0)
    results = []
    for threads in (1, 2):
        f, cache = convnet_loss(*drawn(SMALL, 19, dtype=np.float32), 255.0, "numba", threads)
        results.append((f, convnet_loss_backward(np.float32(1), cache)[0]))
    assert results[0][0] == results[1][0] and results[0][1].dtype == np.float32
    np.testing.assert_array_equal(results[0][1], results[1][1])


def test_the_benchmark_compares_what_it_times(monkeypatch):
    monkeypatch.setattr(bench_conv, "machine_limits", lambda *arguments: {"peak_gflops": {}})
    small = {"batch": 3, "threads": (1,), "rounds": 1}
    rows = bench_conv.conv(**small)["rows"]
    assert {"numpy"} <= {row["implementation"] for row in rows} and all(row["ms"] > 0 for row in rows)
    right = bench_conv.IMPLEMENTATIONS["numpy"]

    def wrong(*arguments):
        work = right(*arguments)
        return lambda: 2 * work()

    monkeypatch.setattr(bench_conv, "IMPLEMENTATIONS", {"right": right, "numpy": wrong})
    with pytest.raises(ValueError, match="numpy: its gradient differs"):
        bench_conv.conv(**small)


@pytest.mark.skipif(not backends.available("numba"), reason="needs numba")
def test_auto_takes_the_twins_where_there_is_much_to_do():
    def modules(backend, N):
        _, cache = convnet_loss(*drawn(SMALL, N), backend=backend)
        return {function.__module__.split(".")[1] for function in cache.pairs}

    assert modules("auto", 1) == modules("numpy", 1000) == {"ops"} and modules("auto", 1000) == {"compiled"}


# The problem, on the images that come with the package


def digits(**changes):
    return ConvNet("digits", **{"channels": (3, 4), "kernel": 3, "hidden": (5,), "batch": 8} | changes)


def test_a_seed_fixes_starting_points_and_minibatches():
    problem = digits()
    one, two = problem.sample(2, 3), problem.sample(2, 3)
    assert one.theta0.shape == (2, parameter_count(problem.layout)) and one.theta0.dtype == np.float32
    np.testing.assert_array_equal(one.theta0, two.theta0)
    for _ in range(2):
        for a, b in zip(one.loss_and_gradient(one.theta0), two.loss_and_gradient(two.theta0)):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(problem.sample(1, 3).theta0[0], one.theta0[0])  # each function by itself
    losses = [one.loss_and_gradient(one.theta0)[0][0] for _ in range(3)]
    assert len(set(losses)) == 3


def test_starting_points():
    """Offsets begin at 0; all other parameters are normal with the standard deviation asked for."""
    theta0 = ConvNet("digits", theta0_scale=0.02).sample(1, 0, np.float64).theta0[0]
    arrays = split_theta(theta0, ConvNet("digits").layout)
    offsets = [array for name, array in arrays.items() if name.endswith(".offset")]
    others = np.concatenate([array.ravel() for name, array in arrays.items() if not name.endswith(".offset")])
    assert len(offsets) == 4 and not any(array.any() for array in offsets)
    assert abs(others.std() - 0.02) < 5 * 0.02 / math.sqrt(2 * others.size) and others.size > 10_000


def test_a_task_is_the_mean_over_its_minibatch():
    problem = digits()
    task = problem.sample(1, 5, np.float64)
    losses, gradients = task.loss_and_gradient(task.theta0)
    rng = problem.sample(1, 5, np.float64).rngs[0]
    rows = rng.integers(0, 1000, 8)
    data = problem.data
    f = by_loops(task.theta0[0], data.images[rows], data.labels[rows], problem.layout, 16.0)
    np.testing.assert_allclose(losses[0], f, rtol=1e-9)
    assert gradients.shape == task.theta0.shape


class Descent:
    def init(self, theta):
        return None

    def update(self, gradient, state):
        return -0.5 * gradient, state


def test_gradient_descent_learns():
    problem = digits(batch=64)
    losses = rollout(Descent(), problem.sample(2, 0), 60)
    assert (losses[0] > 0.9 * problem.chance).all() and (losses[-5:].mean(axis=0) < 0.5 * problem.chance).all()


def test_labels_splits_and_config():
    problem = digits(labels=[7, 1], split="validation")
    assert problem.layout.classes == 2 and problem.chance == np.log(2) and problem.data.classes == 2
    other = problem.on("test")
    assert other.split == "test" and other.config == problem.config and other.layout == problem.layout
    assert json.loads(json.dumps(problem.config)) == problem.config
    assert set(problem.shapes) == set(parameter_shapes(problem.layout))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"channels": (0,)}, "channels"), ({"hidden": (2.5,)}, "hidden"), ({"kernel": 0}, "kernel"),
        ({"batch": True}, "batch"), ({"theta0_scale": float("nan")}, "theta0_scale"), ({"labels": (3,)}, "labels"),
        ({"backend": "cuda"}, "backend"), ({"threads": 0}, "threads"), ({"split": "all"}, "split"),
    ],
)
def test_a_bad_network_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        digits(**changes)


def test_other_shapes_are_refused():
    theta, images, labels, layout = drawn(SMALL)
    with pytest.raises(ValueError, match="theta: expected shape"):
        convnet_loss(theta[:-1], images, labels, layout)
    with pytest.raises(ValueError, match="images: expected shape"):
        convnet_loss(theta, images[:, 1:], labels, layout)
    with pytest.raises(ValueError, match="labels: expected integers in 0..2"):
        convnet_loss(theta, images, labels + 3, layout)


def test_the_real_cifar(cifar_folder):
    task = ConvNet(data_dir=cifar_folder).sample(1, 0)
    losses, gradients = task.loss_and_gradient(task.theta0)
    assert task.theta0.shape == (1, 22_682) and abs(losses[0] - np.log(10)) < 0.3 and np.isfinite(gradients).all()
