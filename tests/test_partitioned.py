"""An optimizer of several parts is its parts, each on the coordinates that the rule gives to it."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import l2l_ref as l2l
from l2l_ref import files
from l2l_ref.learned.optimizer import CoordinatewiseLSTM
from l2l_ref.learned.partitioned import PartitionedLSTM
from l2l_ref.metatrain import presets
from l2l_ref.metatrain.gradient_based import meta_train, run_window, window_gradient
from l2l_ref.metatrain.presets import build
from l2l_ref.optimizees import ConvNet
from l2l_ref.optimizees.rollout import begin, rollout
from l2l_ref.trees import flatten, tree_map

RULE = {"conv*.W": "kernels", "conv*": "rest", "fc*": "rest"}
SMALL = {"dataset": "digits", "channels": (3, 2), "kernel": 3, "hidden": (4,), "batch": 8}


def two_parts(backend="numpy", same=False):
    return PartitionedLSTM({
        "kernels": CoordinatewiseLSTM((5, 3), 10.0, 0.1, rng=1, backend=backend),
        "rest": CoordinatewiseLSTM((5, 3) if same else (4,), 10.0 if same else None, 0.1, rng=1 if same else 2,
                                   backend=backend),
    }, RULE)


def gradient_tree(rng, dtype=np.float32):
    shapes = {"conv1.W": (3, 3, 1, 2), "conv1.b": (2,), "fc1.W": (4, 3), "fc1.b": (3,)}
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_each_part_moves_its_own_arrays(backend, dtype):
    opt, rng = two_parts(backend), np.random.default_rng(0)
    theta = gradient_tree(rng, dtype)
    state, own = opt.init(theta), {}
    for part, names in (("kernels", ["conv1.W"]), ("rest", ["conv1.b", "fc1.W", "fc1.b"])):
        own[part] = names, opt.parts[part].init({name: theta[name] for name in names})
    for step in range(3):
        gradient = gradient_tree(rng, dtype)
        update, state = opt.update(gradient, state, in_place=step > 0)
        for part, (names, before) in own.items():
            wanted, after = opt.parts[part].update({name: gradient[name] for name in names}, before)
            own[part] = names, after
            for name in names:
                assert update[name].dtype == dtype
                np.testing.assert_array_equal(update[name], wanted[name])


def test_rows_of_parameters_are_trees_of_named_arrays():
    opt, rng, B = two_parts(), np.random.default_rng(0), 3
    trees = [gradient_tree(rng) for _ in range(B)]
    names = {name: array.shape for name, array in trees[0].items()}
    rows = np.stack([np.concatenate([tree[name].ravel() for name in names]) for tree in trees])
    update, state = opt.update(rows, opt.init(rows, names))
    for row, tree in zip(update, trees):
        wanted, _ = opt.update(tree, opt.init(tree))
        np.testing.assert_allclose(row, np.concatenate([wanted[name].ravel() for name in names]), rtol=1e-6, atol=1e-9)
    assert state.skipped == 0
    rows[0, 0] = rows[1, -1] = np.nan  # one in each part
    assert opt.update(rows, state)[1].skipped == 2


@pytest.mark.parametrize("chosen", [None, [0, 7, 30, 100, 101, 102, 150]])
def test_the_meta_gradient_of_equal_parts_adds_up_to_that_of_one(chosen):
    """With the same weights in both parts, phi is there twice, and dL/dphi is the sum of the two gradients."""
    parted = two_parts(same=True)
    whole = parted.parts["kernels"]
    task = ConvNet(**SMALL).sample(2, 0, np.float64)
    chosen = None if chosen is None else np.array(chosen)

    def gradient_of(model):
        state = begin(model, task.theta0, task, 1)
        task_again = ConvNet(**SMALL).sample(2, 0, np.float64)
        first = task_again.loss_and_gradient(task_again.theta0)
        _, _, _, _, gradients, loss_gradients, _ = run_window(model, task_again, task_again.theta0, state, first, 4)
        return window_gradient(model, gradients, loss_gradients, state, 2, chosen)

    expected = gradient_of(whole)
    got = gradient_of(parted).reshape(2, -1)
    assert np.abs(got).min(axis=1).max() < np.abs(expected).max()  # neither part is all of it
    scale = np.abs(expected).max()
    np.testing.assert_allclose(got.sum(axis=0) / scale, expected / scale, atol=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_a_choice_of_coordinates_weighs_each_part_alike(seed, count):
    """Over all choices the mean is the whole gradient: a choice and the rest of the coordinates add up to it."""
    rng, opt = np.random.default_rng(seed), two_parts()
    theta = {name: a.astype(np.float64) for name, a in gradient_tree(rng).items()}
    state, n, T = opt.init(theta), 35, 3
    gradients, d_updates = rng.standard_normal((2, T, n))
    chosen = np.sort(rng.choice(n, min(count, n - 1), replace=False))
    rest = np.setdiff1d(np.arange(n), chosen)
    whole = flatten(opt.meta_gradient(gradients, d_updates, state))
    halves = sum(len(some) / n * flatten(opt.meta_gradient(gradients, d_updates, state, some))
                 for some in (chosen, rest))
    np.testing.assert_allclose(halves, whole, rtol=1e-9, atol=1e-12 * np.abs(whole).max())


def test_it_is_trained_as_one_and_resumes_bit_for_bit(tmp_path):
    problem, recipe = ConvNet(**SMALL), {"steps": 4, "unroll": 2, "tasks": 2, "functions": 1, "epochs": 3,
                                         "validation_functions": 2, "coordinates": 50}
    whole, log = meta_train(two_parts(), problem, **recipe)
    assert {entry["skipped"] for entry in log} == {0}
    first = flatten(two_parts().params)
    moved = flatten(whole.params) != first.astype(np.float32)
    assert moved.mean() > 0.9 and type(whole) is PartitionedLSTM

    class Stop(Exception):
        pass

    def stop(progress, recipe):
        if progress.epoch == 2:
            raise Stop

    with pytest.raises(Stop):
        meta_train(two_parts(), problem, **recipe, checkpoint=tmp_path / "c", report=stop)
    resumed, _ = meta_train(two_parts(), problem, **recipe, checkpoint=tmp_path / "c", resume=True)
    np.testing.assert_array_equal(flatten(resumed.params), flatten(whole.params))


def test_one_file_one_card(tmp_path):
    opt = two_parts()
    opt.card = {"command": "none"}
    l2l.save(opt, tmp_path / "parts.npz")
    again = l2l.load(tmp_path / "parts.npz", backend="numpy", threads=2)
    assert again.card["model"] == opt.config and list(again.rule.items()) == list(RULE.items())
    assert again.card["command"] == "none" and again.threads == 2
    np.testing.assert_array_equal(flatten(again.params), flatten(opt.params).astype(np.float32))
    theta = gradient_tree(np.random.default_rng(0))
    got, wanted = (o.update(theta, o.init(theta))[0] for o in (again, opt))
    for name in theta:
        np.testing.assert_array_equal(got[name], wanted[name])


HOSTILE = {
    "no parts": {"parts": {}}, "parts of no settings": {"parts": {"kernels": 1, "rest": 2}},
    "parts in a list": {"parts": [1, 2]}, "no rule": {"rule": []}, "a rule that is no list": {"rule": {"*": "rest"}},
    "a part without a pattern": {"rule": [["*", "rest"]]},
    "a pattern of no part": {"rule": [["*", "rest"], ["*", "x"]]},
    "pairs of three": {"rule": [["*", "rest", "kernels"]]}, "no text": {"rule": [[1, "rest"], ["*", "kernels"]]},
    "endless": {"rule": [["*", "rest"], ["*", "kernels"]] * 10_000},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_card_is_refused(tmp_path, name):
    opt, path = two_parts(), tmp_path / "parts.npz"
    l2l.save(opt, path)
    with np.load(path) as archive:
        arrays = {key: archive[key] for key in archive.files if key != "card"}
        card = json.loads(archive["card"].tobytes())
    card["model"] |= HOSTILE[name]
    files.write(path, arrays, {key: value for key, value in card.items() if key not in ("format", "sha256")})
    with pytest.raises(ValueError, match="parts.npz"):
        l2l.load(path)


class Nameless:
    theta0 = np.zeros((1, 3))


def test_bad_rules_and_names():
    parts = {"a": CoordinatewiseLSTM(rng=0), "b": CoordinatewiseLSTM(rng=1)}
    for bad in ({}, {"*": "a"}, {"*": "c"}, {"x": "a", "y": "b", "z": "c"}):
        with pytest.raises(ValueError, match="^rule: expected"):
            PartitionedLSTM(parts, bad)
    with pytest.raises(ValueError, match="^parts: expected"):
        PartitionedLSTM({}, {})
    opt = PartitionedLSTM(parts, {"x*": "a", "y*": "b"})
    with pytest.raises(ValueError, match="^rule: expected a pattern for 'z'"):
        opt.init({"z": np.zeros(3)})
    with pytest.raises(ValueError, match="^names: expected"):
        opt.init(np.zeros((2, 3)), {"x": (4,)})
    state = opt.init({"x": np.zeros(3), "y": np.zeros(2)})
    with pytest.raises(ValueError, match="^gradient"):
        opt.update({"x": np.zeros(3), "y": np.zeros(4)}, state)
    with pytest.raises(ValueError, match="^params: expected"):
        opt.params = {"a": opt.params["a"]}
    with pytest.raises(ValueError, match="expected named parameters"):
        rollout(opt, Nameless(), 1)
    with pytest.raises(ValueError, match="^second_derivatives"):
        meta_train(two_parts(), ConvNet(**SMALL), second_derivatives=True)


def test_weights_can_be_assigned():
    opt = two_parts()
    opt.params = tree_map(lambda a: 0 * a, opt.params)
    theta = gradient_tree(np.random.default_rng(0))
    assert not any(a.any() for a in opt.update(theta, opt.init(theta))[0].values())


def test_training_begins_with_the_weights_of_another_optimizer(monkeypatch):
    monkeypatch.setattr(presets, "ConvNet", lambda *args, **settings: None)  # which wants images
    shipped = l2l.load("digits-lstm")
    model, _, _ = build("cifar", start=shipped)
    assert list(model.params) == ["conv", "fc"]
    assert all(np.array_equal(flatten(part), flatten(shipped.params)) for part in model.params.values())
    again, _, _ = build("cifar", seed=1, start=model)
    assert np.array_equal(flatten(again.params), flatten(model.params))
    alone, _, _ = build("digits", start=shipped)
    assert np.array_equal(flatten(alone.params), flatten(shipped.params))
    others = (l2l.load("quadratic-lstm"), l2l.load("lstm-oi-2"), l2l.CoordinatewiseLSTM(preprocess=5.0),
              l2l.CoordinatewiseLSTM((20,), 10.0), l2l.CoordinatewiseRNN(preprocess=10.0))
    wanted = "start: expected .* coordinatewise-lstm, hidden .20, 20., preprocess 10.0"
    for problem, other in [("digits", model), *itertools.product(("cifar", "digits"), others)]:
        with pytest.raises(ValueError, match=wanted):
            build(problem, start=other)
