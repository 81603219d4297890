"""What the operations promise beside their derivatives: which inputs they refuse, and that no size overflows."""

import warnings

import numpy as np
import pytest

from l2l_ref.catalogue import OPERATIONS
from l2l_ref.checking import trees
from l2l_ref.ops.activations import sigmoid, softmax
from l2l_ref.ops.linear import linear
from l2l_ref.ops.losses import softmax_cross_entropy, squared_error
from l2l_ref.ops.lstm import lstm_cell
from l2l_ref.ops.preprocessing import log_and_sign
from l2l_ref.ops.rnn import rnn_cell

# name: (call, shape of each argument); N = 3, D = 2, H = 4, C = M = 5
CALLS = {
    "lstm_cell": (
        lambda x, h, c, W_x, W_h, b: lstm_cell(x, (h, c), (W_x, W_h, b)),
        {"x": (3, 2), "h": (3, 4), "c": (3, 4), "W_x": (2, 16), "W_h": (4, 16), "b": (16,)},
    ),
    "rnn_cell": (
        lambda x, h, W_x, W_h, b: rnn_cell(x, (h,), (W_x, W_h, b)),
        {"x": (3, 2), "h": (3, 4), "W_x": (2, 4), "W_h": (4, 4), "b": (4,)},
    ),
    "linear": (linear, {"x": (3, 2), "W": (2, 5), "b": (5,)}),
    "softmax_cross_entropy": (softmax_cross_entropy, {"logits": (3, 5), "labels": (3,)}),
    "squared_error": (squared_error, {"prediction": (3, 5), "target": (3, 5)}),
}
# Axes that may have any length, since no other argument has them.
FREE = {("linear", "x", 0), ("softmax_cross_entropy", "logits", 1)}
ARGUMENTS = [(name, argument) for name, (_, shapes) in CALLS.items() for argument in shapes]


def call(name, **changes):
    function, shapes = CALLS[name]
    return function(**{argument: zeros(argument, shape) for argument, shape in shapes.items()} | changes)


def zeros(argument, shape):
    return np.zeros(shape, int if argument == "labels" else float)


@pytest.mark.parametrize("name", CALLS)
def test_the_shapes_of_this_test_fit(name):
    """Else every refusal below could have another reason."""
    call(name)


@pytest.mark.parametrize("name, argument", ARGUMENTS)
def test_another_length_is_refused(name, argument):
    """Length 1 too, which NumPy would stretch."""
    shape = CALLS[name][1][argument]
    for axis, length in enumerate(shape):
        if (name, argument, axis) in FREE:
            continue
        for other in (length + 1, length - 1, 1, 0):
            wrong = zeros(argument, (*shape[:axis], other, *shape[axis + 1 :]))
            with pytest.raises(ValueError, match=r"expected shape \("):
                call(name, **{argument: wrong})


@pytest.mark.parametrize("name, argument", ARGUMENTS)
def test_what_is_no_such_array_is_refused_by_name(name, argument):
    shape = CALLS[name][1][argument]
    for wrong in (zeros(argument, ()), zeros(argument, (*shape, 1)), zeros(argument, (1, *shape)),
                  zeros(argument, shape).tolist(), 1.0, None):
        with pytest.raises(ValueError, match=f"^{argument}: expected "):
            call(name, **{argument: wrong})


@pytest.mark.parametrize("label", [-1, 5, 100])
def test_a_label_out_of_range_is_refused(label):
    with pytest.raises(ValueError, match=r"^labels: expected integers in 0\.\.4, got "):
        call("softmax_cross_entropy", labels=np.array([0, label, 4]))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.bool_, np.complex128, object, "U1"])
def test_labels_that_are_no_integers_are_refused(dtype):
    with pytest.raises(ValueError, match="^labels: expected integers, got "):
        call("softmax_cross_entropy", labels=np.array([0, 1, 1]).astype(dtype))


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint8])
def test_labels_of_any_integer_type(dtype):
    losses, _ = call("softmax_cross_entropy", labels=np.array([0, 1, 4], dtype))
    np.testing.assert_allclose(losses, np.log(5))


@pytest.mark.parametrize("p", [0, 0.0, -1.0, -np.inf, np.nan])
def test_a_p_that_is_not_positive_is_refused(p):
    with pytest.raises(ValueError, match="^p: expected a number > 0, got "):
        log_and_sign(np.ones(3), p)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_overflows(dtype):
    x = np.array([-1e4, 0, 1e4], dtype)
    with warnings.catch_warnings(), np.errstate(all="raise", under="ignore"):
        warnings.simplefilter("error")
        s, _ = sigmoid(x)
        p, _ = softmax(np.stack([x, -x, np.full_like(x, 1e4), np.full_like(x, -1e4)]))
        losses, _ = softmax_cross_entropy(np.stack([x, x]), np.array([0, 2]))
    np.testing.assert_array_equal(s, [0, 0.5, 1])
    np.testing.assert_array_equal(p[:2], [[0, 0, 1], [1, 0, 0]])
    np.testing.assert_allclose(p[2:], 1 / 3, rtol=1e-6)
    np.testing.assert_array_equal(losses, [2e4, 0])
    assert {array.dtype for array in (s, p, losses)} == {np.dtype(dtype)}


# Not every output depends on every entry: these leave out the first entry of an input, by their equations.
PARTLY = {"expected_improvement_loss", "final_loss", "temporal_link", "write_head", "memory_access", "dnc_cell",
          "trajectory_loss", "trajectory_loss of sum", "trajectory_loss of ei", "trajectory_loss of final",
          "trajectory_loss of best", "shared_cell", "propose, shared"}


@pytest.mark.parametrize("operation", [op for op in OPERATIONS if op.name not in PARTLY], ids=lambda op: op.name)
def test_no_operation_hides_a_nan(operation):
    """An input that is nan shows in some output, unless it is refused."""
    inputs = operation.example(np.random.default_rng(0))
    leaves = trees.leaves(inputs)
    for k, (path, leaf) in enumerate(leaves):
        if not trees.is_floating(leaf) or not np.size(leaf):
            continue
        spoiled = np.array(leaf)
        spoiled.flat[0] = np.nan
        changed = [trees.like(spoiled, v) if j == k else v for j, (_, v) in enumerate(leaves)]
        with np.errstate(all="ignore"):
            try:
                out, _ = operation.forward(*trees.rebuild(inputs, iter(changed)))
            except ValueError:
                continue
        assert any(np.isnan(v).any() for _, v in trees.leaves(out) if trees.is_floating(v)), path
