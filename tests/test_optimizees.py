"""The problems: what a seed fixes, and that a task is the function it says it is."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2l_ref.baselines.gradient import Adam
from l2l_ref.datasets.tables import Clusters, LogisticTable, Spirals, Teacher, table
from l2l_ref.optimizees import MLP, ConvNet, Factorization, Quadratic, Rosenbrock
from l2l_ref.optimizees.mlp import mlp_loss, parameter_count, split_theta
from l2l_ref.optimizees.rollout import rollout


@given(st.sampled_from(["uniform", "normal"]), st.integers(1, 5), st.integers(1, 6), st.integers(0, 1000))
def test_a_quadratic_is_its_formula(distribution, d, B, seed):
    task = Quadratic(d, distribution).sample(B, seed, np.float64)
    theta = np.random.default_rng(seed).standard_normal((B, d))
    losses, gradients = task.loss_and_gradient(theta)
    for b in range(B):
        residual = task.W[b] @ theta[b] - task.y[b]
        np.testing.assert_allclose(losses[b], residual @ residual, rtol=1e-12)
        np.testing.assert_allclose(gradients[b], 2 * task.W[b].T @ residual, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("problem", [Quadratic(3), MLP("digits", hidden=(4, 3), batch=5)], ids=["quadratic", "mlp"])
def test_second_order_is_first_order_and_the_curvature_of_the_same_function(problem):
    one, same = problem.sample(2, 7, np.float64), [problem.sample(2, 7, np.float64) for _ in range(2)]
    v = np.random.default_rng(0).standard_normal(one.theta0.shape)
    for _ in range(2):  # the second minibatches too
        losses, gradients, product = one.second_order(one.theta0)
        (up_losses, up), (_, down) = (task.loss_and_gradient(one.theta0 + h * v)
                                      for task, h in zip(same, (1e-5, -1e-5)))
        np.testing.assert_allclose(losses, up_losses, atol=1e-2)
        np.testing.assert_allclose(gradients, (up + down) / 2, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(product(v), (up - down) / 2e-5, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("distribution", "expected"), [("uniform", 10 / 3), ("normal", 10.0)])
def test_the_distribution_of_the_quadratics(distribution, expected):
    """E f(0) = E||y||^2; 4,000 functions give it to 3 %."""
    task = Quadratic(10, distribution, theta0_scale=0.0).sample(4000, 0)
    assert abs(task.loss_and_gradient(task.theta0)[0].mean() / expected - 1) < 0.03
    assert (task.W.min() >= 0) == (distribution == "uniform")


@pytest.mark.parametrize("problem", [Quadratic(3), MLP("digits", hidden=(4,), batch=5)], ids=["quadratic", "mlp"])
def test_a_function_depends_on_the_seed_and_its_own_number(problem):
    few, many = problem.sample(2, 7), problem.sample(5, 7)
    np.testing.assert_array_equal(few.theta0, many.theta0[:2])
    for _ in range(3):  # the minibatches too
        few_loss, few_gradient = few.loss_and_gradient(few.theta0)
        many_loss, many_gradient = many.loss_and_gradient(many.theta0)
        np.testing.assert_array_equal(few_loss, many_loss[:2])
        np.testing.assert_array_equal(few_gradient, many_gradient[:2])
    assert not np.array_equal(problem.sample(2, 8).theta0, few.theta0)
    assert len(np.unique(many.theta0, axis=0)) == 5


def test_drawing_changes_nothing_in_the_seed():
    seed = np.random.SeedSequence(3)
    np.testing.assert_array_equal(Quadratic(2).sample(2, seed).theta0, Quadratic(2).sample(2, seed).theta0)


def test_minibatches_differ_from_step_to_step_and_come_from_the_split():
    problem = MLP("digits", hidden=(4,), batch=8)
    task = problem.sample(1, 0)
    losses = [float(task.loss_and_gradient(task.theta0)[0][0]) for _ in range(5)]
    assert len(set(losses)) == 5
    images = {split: {row.tobytes() for row in problem.on(split).data.images} for split in ("train", "test")}
    assert not images["train"] & images["test"]


def test_the_mlp_by_hand():
    sizes = (2, 3, 2)
    theta = np.arange(parameter_count(sizes)) / 10 - 0.7
    (W1, b1), (W2, b2) = split_theta(theta, sizes)
    images, labels = np.array([[1, 2], [3, 0]], np.uint8), np.array([1, 0])
    f, _ = mlp_loss(theta, images, labels, sizes, unit=4.0)
    z = 1 / (1 + np.exp(-(images / 4.0 @ W1 + b1)))
    logits = z @ W2 + b2
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(f, -np.mean(np.log(p[[0, 1], labels])), rtol=1e-12)


@pytest.mark.parametrize(
    ("sizes", "count"), [((784, 20, 10), 15_910), ((784, 40, 10), 31_810), ((784, 20, 20, 10), 16_330)]
)
def test_parameters_are_counted_as_in_the_paper(sizes, count):
    assert parameter_count(sizes) == count


class Descent:
    def init(self, theta):
        return None

    def update(self, gradient, state):
        return -0.01 * gradient, state


def test_a_rollout_measures_before_and_after_each_step():
    problem = Quadratic(2)
    curve = rollout(Descent(), problem.sample(3, 0), 4)
    assert curve.shape == (5, 3)
    task = problem.sample(3, 0)
    theta = task.theta0
    for t in range(5):
        losses, gradient = task.loss_and_gradient(theta)
        np.testing.assert_array_equal(curve[t], losses)
        theta = theta - np.float32(0.01) * gradient


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Quadratic(distribution="gauss"), "distribution"), (lambda: Quadratic(dim=0), "dim"),
        (lambda: Quadratic(dim=1.5), "dim"),
        (lambda: MLP(activation="elu"), "activation"), (lambda: MLP(hidden=(0,)), "hidden"),
        (lambda: MLP(batch=0), "batch"), (lambda: MLP(theta0_scale=float("nan")), "theta0_scale"),
        (lambda: Quadratic(theta0_scale=-1.0), "theta0_scale"), (lambda: MLP("cifar"), "cifar"),
        (lambda: MLP(split="all"), "split"), (lambda: MLP(hidden=(20, True)), "hidden"),
        (lambda: MLP(batch=True), "batch"),
        (lambda: MLP(hidden=np.array([True])), "hidden"), (lambda: MLP(hidden=(float("nan"),)), "hidden"),
        (lambda: MLP(hidden="20"), "hidden"), (lambda: MLP(hidden=(np.float32("inf"),)), "hidden"),
        (lambda: MLP(hidden=(2.5,)), "hidden"), (lambda: MLP(batch=float("inf")), "batch"),
        (lambda: Quadratic(dim=True), "dim"), (lambda: Quadratic(dim=np.True_), "dim"),
        (lambda: Quadratic(condition=0.5), "condition"), (lambda: MLP(start="xavier"), "start"),
        (lambda: ConvNet("digits", start="xavier"), "start"), (lambda: MLP(3), "dataset: expected a name"),
        (lambda: MLP((np.zeros((9, 2)), np.zeros(8, int))), "targets: expected shape"),
        (lambda: MLP((np.zeros((4, 2)), np.zeros(4, int))), "inputs: expected at least 5 rows"),
        (lambda: MLP((np.full((9, 2), np.nan), np.arange(9))), "inputs: .* finite"),
        (lambda: MLP((np.zeros((9, 2)), np.zeros(9, int))), "targets: expected labels"),
        (lambda: MLP((np.zeros((9, 2)), np.arange(9) - 1)), "targets: expected labels"),
        (lambda: MLP((np.zeros((9, 2)), np.full(9, np.inf))), "targets: expected finite"),
        (lambda: MLP((np.zeros((9, 2)), np.arange(9)), split="all"), "split"),
        (lambda: Teacher(rows=0), "rows"), (lambda: Spirals(noise=-1.0), "noise"),
        (lambda: Rosenbrock(1), "dim"), (lambda: Rosenbrock(steepness=(2.0, 1.0)), "steepness"),
        (lambda: Factorization(rank=0), "rank"), (lambda: Factorization(noise=float("nan")), "noise"),
    ],
)
def test_a_bad_law_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("hidden", [(20,), [np.int8(20)], np.array([20])])
def test_integers_of_any_type_become_ints(hidden):
    mlp, quadratic = MLP(hidden=hidden, batch=np.int64(5)), Quadratic(dim=hidden[0])
    assert mlp.hidden == (20,) and mlp.sizes == (64, 20, 10)
    assert all(type(value) is int for value in (*mlp.hidden, *mlp.sizes, mlp.batch, quadratic.dim))
    for problem in (mlp, quadratic):
        assert json.loads(json.dumps(problem.config)) == problem.config


def test_real_mnist(mnist_folder):
    problem = MLP("mnist", data_dir=mnist_folder)
    task = problem.sample(1, 0)
    assert task.theta0.shape == (1, 15_910)
    losses, _ = task.loss_and_gradient(task.theta0)
    assert abs(losses[0] - np.log(10)) < 0.5


TABLES = [LogisticTable(), Clusters(), Teacher(outputs=2), Spirals()]
OTHERS = [Rosenbrock(3), Factorization(4, 3, 2), Quadratic(4, "normal", condition=50.0),
          *(MLP(one, (3,), "tanh", batch=4, start="glorot") for one in TABLES)]


@pytest.mark.parametrize("problem", OTHERS, ids=lambda problem: problem.config["problem"])
def test_a_task_is_reproducible_and_its_gradient_is_that_of_its_loss(problem):
    """Along a random direction; the central difference at 1e-5 is good to 1e-8 of the gradient."""
    def task():
        return problem.sample(3, 5, np.float64)

    theta, v = task().theta0, np.random.default_rng(1).standard_normal(task().theta0.shape)
    (losses, gradients), (up, _), (down, _) = (task().loss_and_gradient(theta + h * v) for h in (0, 1e-5, -1e-5))
    np.testing.assert_allclose((gradients * v).sum(axis=1), (up - down) / 2e-5, rtol=1e-5, atol=1e-7)
    assert losses.shape == (3,) and problem.sample(2, 5).theta0.dtype == np.float32
    np.testing.assert_array_equal(problem.sample(2, 5).theta0, problem.sample(3, 5).theta0[:2])
    few = problem.sample(2, 5)  # each function by itself, with its data
    np.testing.assert_array_equal(few.loss_and_gradient(few.theta0)[0],
                                  problem.sample(3, 5).loss_and_gradient(problem.sample(3, 5).theta0)[0][:2])
    assert json.loads(json.dumps(problem.config)) == problem.config


@pytest.mark.parametrize("problem", [*OTHERS, MLP("digits", (5, 4)), ConvNet("digits")],
                         ids=lambda problem: problem.config["problem"])
def test_shapes_are_those_of_a_row_of_theta(problem):
    task = problem.sample(1, 0)
    assert task.shapes == problem.shapes
    assert sum(int(np.prod(shape)) for shape in problem.shapes.values()) == task.theta0.shape[1]


def test_the_shapes_of_a_network_name_its_layers():
    problem = MLP("digits", (5,))
    assert problem.shapes == {"fc1.W": (64, 5), "fc1.b": (5,), "fc2.W": (5, 10), "fc2.b": (10,)}


@pytest.mark.parametrize("make", [lambda start: MLP("digits", (200,), "tanh", start=start),
                                  lambda start: ConvNet("digits", channels=(64,), start=start)], ids=["mlp", "conv"])
@pytest.mark.parametrize("start", ["glorot", "he"])
def test_starting_points_have_the_variances_of_their_authors(make, start):
    """The weights' mean squares, each within five standard errors; biases and offsets are 0."""
    problem = make(start)
    theta, at = problem.sample(1, 0, np.float64).theta0[0], 0
    for name, shape in problem.shapes.items():
        array, at = theta[at : at + np.prod(shape)], at + np.prod(shape)
        if not name.endswith(".W"):
            assert not array.any()
            continue
        kernel, (inputs, outputs) = np.prod(shape[:-2]), shape[-2:]
        expected = 2 / (kernel * (inputs + outputs if start == "glorot" else inputs))
        assert abs((array**2).mean() / expected - 1) < 5 * np.sqrt(2 / array.size), name


def test_the_condition_number_of_a_quadratic():
    task = Quadratic(6, condition=400.0).sample(3, 0, np.float64)
    np.testing.assert_allclose(np.linalg.cond(np.swapaxes(task.W, 1, 2) @ task.W), 400.0, rtol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(task.W, 2, axis=(1, 2)), 1.0)


def test_rosenbrock_by_hand():
    task = Rosenbrock(2, (100.0, 100.0)).sample(1, 0, np.float64)
    f, gradient = task.loss_and_gradient(np.array([[-1.2, 1.0]]))  # where Rosenbrock begins
    np.testing.assert_allclose(f, 24.2)
    np.testing.assert_allclose(gradient, [[-215.6, -88.0]])


def test_a_table_of_ones_own_is_parted_into_three_splits():
    x, y = np.arange(40.0).reshape(20, 2), np.arange(20) % 3
    parts = [table(x, y, split) for split in ("train", "validation", "test")]
    assert [len(part.images) for part in parts] == [12, 4, 4] and parts[0].classes == 3
    rows = np.concatenate([part.images for part in parts])
    np.testing.assert_array_equal(rows[np.argsort(rows[:, 0])], x)
    problem = MLP((x, y), (4,))
    assert problem.on("test").config == problem.config and len(problem.on("test").data.images) == 4
    assert MLP((x, y + 0), (4,)).config == problem.config != MLP((x + 1, y), (4,)).config


def test_targets_of_floats_make_a_regression():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((50, 3)), rng.standard_normal(50)
    problem = MLP((x, y), (), batch=7)
    task = problem.sample(1, 0, np.float64)
    theta = task.theta0[0]
    rows = problem.sample(1, 0).rngs[0].integers(0, 30, 7)
    data = problem.data
    residual = data.images[rows] @ theta[:3, None] + theta[3] - data.labels[rows]
    np.testing.assert_allclose(task.loss_and_gradient(task.theta0)[0], (residual**2).mean(), rtol=1e-12)
    assert problem.chance is None and problem.sizes == (3, 1)


@pytest.mark.parametrize("one", TABLES, ids=lambda one: one.name)
def test_a_table_can_be_learned_and_each_function_has_its_own(one):
    problem = MLP(one, (24, 24), "tanh", start="glorot", batch=64)
    task = problem.sample(2, 0)
    assert not np.array_equal(task.data[0].images, task.data[1].images)
    curve = rollout(Adam(0.02), task, 400)
    assert (curve[-20:].mean(axis=0) < 0.7 * curve[:5].mean(axis=0)).all()
