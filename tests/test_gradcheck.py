"""The checker is itself checked: planted errors are caught, right gradients are never accused."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2l_ref import checking
from l2l_ref.checking import GradientMismatch, assert_gradients, gradcheck
from l2l_ref.cli import main

SETTINGS = settings(max_examples=60, deadline=None)


class Params(NamedTuple):
    W: np.ndarray  # (D, H)
    b: np.ndarray  # (H,)


def layer(x, params):
    t = np.tanh(x @ params.W + params.b)
    return t, (x, params.W, t)


def layer_backward(d_t, cache):
    x, W, t = cache
    d_a = d_t * (1 - t**2)
    return d_a @ W.T, Params(x.T @ d_a, d_a.sum(axis=0))


def draw_inputs(seed=0, N=3, D=3, H=3, scale=1.0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    x, W, b = (scale * rng.standard_normal(shape) for shape in ((N, D), (D, H), (H,)))
    return x.astype(dtype), Params(W.astype(dtype), b.astype(dtype))


def spoil(change):
    """layer_backward with its gradients passed through ``change(d_x, d_W, d_b)``."""

    def backward(d_t, cache):
        d_x, (d_W, d_b) = layer_backward(d_t, cache)
        d_x, d_W, d_b = change(d_x, d_W, d_b)
        return d_x, Params(d_W, d_b)

    return backward


def at(array, index, factor):
    array = array.copy()
    array[index] *= factor
    return array


# --- planted errors in numbers

NUMBERS = {
    "one entry 1e-7 too large": (lambda x, W, b: (x, at(W, (1, 2), 1 + 1e-7), b), "params.W[1, 2]"),
    "one entry 1e-7 too small": (lambda x, W, b: (at(x, (2, 0), 1 - 1e-7), W, b), "x[2, 0]"),
    "one sign": (lambda x, W, b: (x, W, at(b, 1, -1)), "params.b[1]"),
    "all signs": (lambda x, W, b: (-x, -W, -b), ("x", "params")),
    "factor 2": (lambda x, W, b: (x, 2 * W, b), "params.W"),
    "transposed": (lambda x, W, b: (x, W.T.copy(), b), "params.W"),
    "zero": (lambda x, W, b: (0 * x, W, b), "x"),
    "mean for sum": (lambda x, W, b: (x, W, b / 3), "params.b"),
    "rows permuted": (lambda x, W, b: (x[[1, 0, 2]], W, b), "x"),
}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("method", ["central", "complex"])
def test_a_wrong_number_is_caught_and_named(name, method):
    change, where = NUMBERS[name]
    report = gradcheck(layer, spoil(change), draw_inputs(), method=method)
    assert not report.ok and not report.problems and report.method == method
    assert report.worst.name.startswith(where)
    assert report.max_error > 0 and report.worst.name in str(report)
    with pytest.raises(GradientMismatch, match="FAIL"):
        report.raise_if_failed()


@SETTINGS
@given(st.integers(0, 10**6), st.sampled_from(["x", "W", "b"]), st.sampled_from([1 + 1e-7, 1 - 1e-7]))
def test_one_part_in_ten_million_in_any_entry_is_caught(seed, array, factor):
    """Of the largest entry of each array: small ones may lie below what float64 can tell."""

    def largest(g):
        return at(g, np.unravel_index(np.abs(g).argmax(), g.shape), factor)

    def change(x, W, b):
        return tuple(largest(g) if name == array else g for name, g in zip("xWb", (x, W, b)))

    assert not gradcheck(layer, spoil(change), draw_inputs(seed, scale=0.5), seed=seed).ok


def test_a_term_wrong_in_the_formula_is_caught_behind_float32():
    """1e-6 is far below what float32 gradients can show: the float64 run of the same code shows it."""
    change = spoil(lambda x, W, b: (x, W * np.asarray(1 + 1e-6, W.dtype), b))
    assert gradcheck(layer, layer_backward, draw_inputs(dtype=np.float32)).ok
    report = gradcheck(layer, change, draw_inputs(dtype=np.float32))
    assert not report.ok and report.worst.path == "params.W"


def test_a_factor_wrong_in_float32_alone_is_caught():
    only32 = spoil(lambda x, W, b: (x, W if W.dtype == np.float64 else W * np.float32(1.001), b))
    assert gradcheck(layer, only32, draw_inputs()).ok
    assert not gradcheck(layer, only32, draw_inputs(dtype=np.float32)).ok


def test_an_error_in_the_cotangent_of_the_second_output_is_caught():
    def f(x):
        return (np.sin(x), x**2), x

    x = np.array([0.3, 0.7])
    assert gradcheck(f, lambda d, x: d[0] * np.cos(x) + 2 * d[1] * x, x).ok
    assert not gradcheck(f, lambda d, x: d[0] * np.cos(x), x).ok


# --- planted errors in structure

def nan_at(array, index):
    array = array.copy()
    array[index] = np.nan
    return array


STRUCTURE = {
    "sum over rows missing": (
        lambda x, W, b: (x, W, x),
        r"gradient of params.b has shape \(3, 3\), expected \(3,\)",
    ),
    "flat": (lambda x, W, b: (x, W.ravel(), b), r"params.W has shape \(9,\), expected \(3, 3\)"),
    "scalar": (lambda x, W, b: (1.0, W, b), r"x has shape \(\), expected \(3, 3\)"),
    "none": (lambda x, W, b: (x, None, b), r"gradient of params.W is missing"),
    "nan first": (lambda x, W, b: (nan_at(x, (0, 0)), W, b), r"x is not finite: nan at \[0, 0\]"),
    "nan last": (lambda x, W, b: (x, W, nan_at(b, 2)), r"params.b is not finite: nan at \[2\]"),
    "inf": (lambda x, W, b: (x, W, b / 0.0), r"params.b is not finite"),
    "float32": (lambda x, W, b: (x.astype(np.float32), W, b), r"x has dtype float32, expected float64"),
    "integer": (lambda x, W, b: (x.astype(int), W, b), r"x has dtype int64, expected float64"),
}


@pytest.mark.parametrize("name", STRUCTURE)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_a_gradient_of_the_wrong_form_is_described(name):
    change, sentence = STRUCTURE[name]
    report = gradcheck(layer, spoil(change), draw_inputs())
    assert report.max_error == np.inf
    with pytest.raises(GradientMismatch, match=sentence):
        report.raise_if_failed()


@pytest.mark.parametrize(
    "gradients, sentence",
    [
        (lambda x, p: (x,), "returned 1 gradients, expected 2"),
        (lambda x, p: (x, p, x), "returned 3 gradients, expected 2"),
        (lambda x, p: x, "returned one ndarray, expected 2 gradients"),
        (lambda x, p: (p, x), r"gradient of x is a Params, expected one array"),
        (lambda x, p: (x, tuple(p)), r"gradient of params is a tuple, expected a Params"),
        (lambda x, p: (x, None), r"gradient of params.W is missing"),
    ],
)
def test_gradients_in_the_wrong_number_or_kind_are_described(gradients, sentence):
    report = gradcheck(layer, lambda d, cache: gradients(*layer_backward(d, cache)), draw_inputs())
    with pytest.raises(GradientMismatch, match=sentence):
        report.raise_if_failed()


def forward_that_writes(x):
    out = x**2
    x += 1
    return out, x - 1


def backward_that_writes_inputs(d, x):
    g = 2 * d * x
    x *= 2
    return g


def backward_that_writes_d_out(d, x):
    d *= 2 * x
    return d


class Drifting:
    """A square whose every call adds a little: not a function."""

    def __init__(self):
        self.calls = 0

    def __call__(self, x):
        self.calls += 1
        return x**2 + 1e-9 * self.calls, x


class DriftingBackward(Drifting):
    def __call__(self, d, x):
        self.calls += 1
        return 2 * d * x + 1e-12 * self.calls


def square(x):
    return x**2, x


def square_backward(d, x):
    return 2 * d * x


@pytest.mark.parametrize(
    "f, f_backward, sentence",
    [
        (forward_that_writes, square_backward, r"f changed its argument x"),
        (square, backward_that_writes_inputs, r"f_backward changed inputs: x"),
        (square, backward_that_writes_d_out, "f_backward changed its d_out: out"),
        (Drifting(), square_backward, "f is not deterministic"),
        (square, DriftingBackward(), "f_backward is not deterministic"),
        (lambda x: (x * np.nan, x), square_backward, "out is not finite"),
    ],
)
def test_misbehaviour_is_described(f, f_backward, sentence):
    x = np.array([1.0, 2.0, 3.0])
    report = gradcheck(f, f_backward, x)
    assert not report.ok and x.tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(GradientMismatch, match=sentence):
        report.raise_if_failed()


def test_a_cache_used_up_by_the_first_backward_is_caught():
    report = gradcheck(lambda x: (x**2, [x]), lambda d, cache: 2 * d * (cache.pop() if cache else 0.0), np.ones(2))
    assert any("not deterministic" in problem for problem in report.problems)


# --- right gradients are never accused

@SETTINGS
@given(
    st.integers(0, 10**6), st.integers(0, 3), st.integers(1, 3), st.integers(1, 3),
    st.sampled_from([1e-6, 1e-3, 1.0, 8.0, 1e3, 1e6]), st.sampled_from([np.float64, np.float32]),
)
def test_a_right_layer_passes_at_any_size_scale_and_precision(seed, N, D, H, scale, dtype):
    report = gradcheck(layer, layer_backward, draw_inputs(seed, N, D, H, scale, dtype), seed=seed)
    assert report.ok, report


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    return p, p


ELEMENTARY = {
    "sin": (lambda x: (np.sin(x), x), lambda d, x: d * np.cos(x)),
    "cube": (lambda x: (x**3, x), lambda d, x: 3 * d * x**2),
    "log": (lambda x: (np.log(np.abs(x)), x), lambda d, x: d / x),
    "linear": (lambda x: (3 * x, None), lambda d, _: 3 * d),
    "constant": (lambda x: (np.ones(3), x), lambda d, x: 0 * x),
    "total": (lambda x: (x.sum(), x), lambda d, x: d * np.ones_like(x)),
    "softmax": (softmax, lambda d, p: p * (d - (p * d).sum())),
    "relu": (lambda x: (np.maximum(x, 0), x), lambda d, x: d * (x > 0)),
    "sigmoid": (lambda x: (0.5 + 0.5 * np.tanh(x / 2),) * 2, lambda d, s: d * s * (1 - s)),
}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1e-6, 1e-3, 1.0, 1e1, 1e3]))
@pytest.mark.parametrize("name", ELEMENTARY)
def test_right_elementary_functions_pass_at_any_scale(name, seed, scale):
    x = scale * np.random.default_rng(seed).standard_normal(4)
    report = gradcheck(*ELEMENTARY[name], x, seed=seed)
    assert report.ok, f"{x}\n{report}"


def test_nested_inputs_and_outputs_of_all_kinds():
    def f(tree, n, pair):
        out = {"y": tree["layers"][0].W @ tree["scale"] * n, "z": [pair[0] * pair[1], pair[1]]}
        return out, (tree, n, pair)

    def f_backward(d, cache):
        tree, n, (a, b) = cache
        W = tree["layers"][0].W
        d_W, d_scale = n * np.outer(d["y"], tree["scale"]), n * W.T @ d["y"]
        d_b = (d["z"][0] * a).sum() + d["z"][1]
        layers = [Params(d_W, np.zeros(2))]
        return {"scale": d_scale, "layers": layers, "name": None}, None, (d["z"][0] * b, d_b)

    tree = {"layers": [Params(np.ones((3, 2)), np.ones(2))], "scale": np.array([0.5, -1.0]), "name": "net"}
    report = gradcheck(f, f_backward, (tree, 3, (np.arange(2.0), 1.5)))
    assert report.ok, report
    paths = [entry.path for entry in report.entries]
    first = [f"tree{rest}" for rest in ("['layers'][0].W", "['layers'][0].b", "['scale']")]
    assert paths == [*first, "pair[0]", "pair[1]"]


def test_without_a_cache_the_backward_gets_the_inputs():
    assert gradcheck(np.multiply, lambda d, a, b: (d * b, d * a), (np.arange(3.0), np.ones(3))).ok
    two = gradcheck(lambda x: (x, x**2), lambda d, x: d[0] + 2 * x * d[1], np.ones(2), cache=False)
    assert two.ok


def test_wrt_leaves_the_other_inputs_alone():
    def backward(d, cache):
        d_x, _ = layer_backward(d, cache)
        return d_x, None

    assert gradcheck(layer, backward, draw_inputs(), wrt=0).ok
    assert not gradcheck(layer, backward, draw_inputs()).ok


def test_an_empty_input_still_needs_a_gradient_of_its_shape():
    x = np.zeros((0, 3))
    assert gradcheck(square, square_backward, x).ok
    assert not gradcheck(square, lambda d, x: np.zeros((3, 0)), x).ok


# --- kinks, roughness, methods

def relu(x):
    return np.maximum(x, 0), x


@pytest.mark.parametrize("slope, ok", [(0.0, True), (0.3, True), (1.0, True), (1.1, False), (-0.1, False)])
def test_at_a_kink_any_slope_between_the_one_sided_ones_passes_and_is_reported(slope, ok):
    report = gradcheck(relu, lambda d, x: d * np.where(x == 0, slope, x > 0), np.array([0.0, 1.0, -1.0]))
    assert report.ok is ok
    assert report.entries[0].kinks == ((0,),) * ok and "kink" in str(report)


def test_a_jump_is_not_a_pass():
    report = gradcheck(lambda x: (np.round(x), x), lambda d, x: 0 * d, np.array([0.5]))
    assert not report.ok and report.verdict == "INCONCLUSIVE" and "not smooth" in str(report)


def test_the_complex_step_is_not_believed_where_the_imaginary_part_is_dropped():
    def f(x):
        return np.abs(x) + 0 * x, x

    for backward, ok in ((lambda d, x: d * np.sign(x), True), (lambda d, x: 0 * d, False)):
        report = gradcheck(f, backward, np.array([0.5, -2.0]), method="complex")
        assert report.ok is ok and report.method == "central" and "not analytic" in report.notes[0]


def test_the_complex_step_is_used_where_it_works_and_is_sharper():
    by_complex = gradcheck(layer, layer_backward, draw_inputs(), method="complex")
    by_central = gradcheck(layer, layer_backward, draw_inputs(), method="central")
    assert by_complex.ok and by_complex.method == "complex" and not by_complex.notes
    assert by_complex.worst.bound < by_central.worst.bound / 10


def test_an_f_that_refuses_complex_inputs_is_checked_by_central_differences():
    def f(x):
        if np.iscomplexobj(x):
            raise TypeError("real numbers, please")
        return square(x)

    report = gradcheck(f, square_backward, np.ones(2), method="complex")
    assert report.ok and report.method == "central" and "real numbers, please" in str(report)


# --- the report and the arguments

def test_the_report_as_text_and_json():
    right = gradcheck(layer, layer_backward, draw_inputs())
    assert str(right).startswith("gradcheck PASS: checked to ")
    wrong = gradcheck(layer, spoil(lambda x, W, b: (x, at(W, (1, 2), 3), b)), draw_inputs())
    assert str(wrong).startswith("gradcheck FAIL: params.W[1, 2]: f_backward says ")
    data = json.loads(wrong.to_json())
    assert data["ok"] is False and [entry["verdict"] for entry in data["entries"]] == ["PASS", "FAIL", "PASS"]
    broken = gradcheck(layer, spoil(lambda x, W, b: (x, W.ravel(), b)), draw_inputs())
    assert json.loads(broken.to_json())["max_error"] is None


def test_equal_seeds_give_equal_reports():
    first, second = (gradcheck(layer, layer_backward, draw_inputs(), seed=3) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    "arguments, options, error, message",
    [
        ((1, square_backward, np.ones(2)), {}, TypeError, "f: expected a callable, got int"),
        ((square, None, np.ones(2)), {}, TypeError, "f_backward: expected a callable, got NoneType"),
        ((square, square_backward, np.ones(2)), {"method": "best"}, ValueError, "method: .* got 'best'"),
        ((square, square_backward, np.ones(2)), {"wrt": 1}, ValueError, "wrt: .* got 1"),
        ((square, square_backward, np.ones(2)), {"cache": "yes"}, TypeError, "cache: .* got 'yes'"),
        ((square, square_backward, np.ones(2, int)), {}, TypeError, "inputs: expected at least one array of floating"),
        ((square, square_backward, np.ones(2, bool)), {}, TypeError, "inputs: expected .* got bool"),
        ((lambda x: 2 * x, square_backward, np.ones(2)), {"cache": True}, TypeError, "f: with cache=True"),
    ],
)
def test_bad_arguments_are_refused(arguments, options, error, message):
    with pytest.raises(error, match=message):
        gradcheck(*arguments, **options)


# --- other forms of derivative

X = np.array([0.3, -1.2, 0.7, 2.0])


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def rosenbrock_gradient(x):
    g = np.zeros_like(x)
    g[:-1] = -400 * x[:-1] * (x[1:] - x[:-1] ** 2) - 2 * (1 - x[:-1])
    g[1:] += 200 * (x[1:] - x[:-1] ** 2)
    return g


def rosenbrock_hessian(x):
    H = np.diag(-400 * x[:-1], 1) + np.diag(-400 * x[:-1], -1)
    H[:-1, :-1] += np.diag(1200 * x[:-1] ** 2 - 400 * x[1:] + 2)
    return H + np.diag(np.r_[0.0, np.full(len(x) - 1, 200.0)])


FORMS = {
    "gradient": (rosenbrock, rosenbrock_gradient, "gradient"),
    "value and gradient": (lambda x: (rosenbrock(x), rosenbrock_gradient(x)), True, "gradient"),
    "jacobian": (rosenbrock_gradient, rosenbrock_hessian, "jacobian"),
    "hvp": (rosenbrock_gradient, lambda x, v: rosenbrock_hessian(x) @ v, "hvp"),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_derivative(name):
    f, derivative, kind = FORMS[name]
    assert gradcheck(f, derivative, X, kind=kind).ok
    if derivative is True:
        wrong = gradcheck(lambda x: (rosenbrock(x), at(rosenbrock_gradient(x), 2, 1 + 1e-6)), True, X, kind=kind)
    else:
        wrong = gradcheck(f, lambda *a: at(derivative(*a), 2, 1 + 1e-6), X, kind=kind)
    assert wrong.verdict == "FAIL"


def test_a_jacobian_for_each_of_several_inputs():
    def jacobians(A, x):
        return np.einsum("ij,k->ijk", np.eye(3), x), A

    A = np.arange(6.0).reshape(3, 2)
    assert gradcheck(lambda A, x: A @ x, jacobians, (A, np.ones(2)), kind="jacobian").ok
    transposed = gradcheck(lambda A, x: A @ x, lambda A, x: (jacobians(A, x)[0], A.T), (A, np.ones(2)), kind="jacobian")
    assert "the Jacobian of x has shape (2, 3), expected (3, 2)" in transposed.problems[0]


def product_jvp(d, x, y):
    return d[0] * y + x * d[1]


def test_a_derivative_along_directions_alone_and_beside_a_backward():
    inputs = (X, X[::-1].copy())
    backward = lambda d, x, y: (d * y, d * x)  # noqa: E731
    assert gradcheck(np.multiply, None, inputs, jvp=product_jvp).ok
    assert gradcheck(np.multiply, backward, inputs, jvp=product_jvp).ok
    wrong = lambda d, x, y: product_jvp(d, x, -y)  # noqa: E731
    assert gradcheck(np.multiply, None, inputs, jvp=wrong).verdict == "FAIL"
    both = gradcheck(np.multiply, backward, inputs, jvp=wrong)
    assert both.verdict == "FAIL" and all(entry.ok for entry in both.entries)
    assert "<J^T v, u>" in [d.what for d in both.directions if not d.ok][1]


# --- three verdicts, each with its reason

def test_inconclusive_says_why():
    def noisy(x):
        return x**2 + x * 9.87654321e12 % 1.0, x

    for f, where, reason in (
        (noisy, 0.5, "not smooth|noise"),
        (lambda x: (np.floor(x), x), 2.0, "not smooth"),
        (lambda x: (x + np.random.default_rng().random(), x), 0.5, "not deterministic"),
        (lambda x: (np.sqrt(x), x), 0.0, "edge of the domain: f is not finite on one side"),
        (lambda x: (x / 0.0, x), 0.5, "not finite"),
    ):
        with np.errstate(all="ignore"):
            report = gradcheck(f, lambda d, x: 0 * d, np.array([where]))
        assert report.verdict == "INCONCLUSIVE" and not report.ok, report
        with pytest.raises(GradientMismatch, match=reason):
            report.raise_if_failed()


def test_a_function_that_rounds_to_float32_inside_is_checked_as_far_as_that_goes():
    def f(x):
        return np.sin(x.astype(np.float32)).astype(float), x

    right = gradcheck(f, lambda d, x: d * np.cos(x), X)
    assert right.ok and 1e-9 < right.checked_to < 1e-2
    assert gradcheck(f, lambda d, x: 1.1 * d * np.cos(x), X).verdict == "FAIL"


def test_float32_alone_is_enough_where_f_takes_nothing_else():
    def f(x):
        if x.dtype != np.float32:
            raise TypeError("float32 only")
        return np.sin(x), x

    x = X.astype(np.float32)
    assert gradcheck(f, lambda d, x: d * np.cos(x), x).ok
    assert gradcheck(f, lambda d, x: np.float32(1.1) * d * np.cos(x), x).verdict == "FAIL"


@pytest.mark.parametrize(
    "wrong, sentence",
    [
        (lambda d, x: 2 * x, "ignores d_out"),
        (lambda d, x: 2 * x * d * np.abs(d), "not linear in d_out"),
        (lambda d, x: 2 * x * d + 1e-3, "not linear in d_out"),
    ],
)
def test_a_backward_that_is_not_linear_in_its_cotangent_is_described(wrong, sentence):
    report = gradcheck(lambda x: x**2, wrong, X)
    assert report.verdict == "FAIL" and sentence in report.problems[0] and report.evaluations < 10


# --- large inputs

def test_a_million_inputs_cost_fifty_evaluations():
    A = np.random.default_rng(1).standard_normal(10**6)
    calls = []

    def f(x):
        calls.append(1)
        return np.sum(np.sin(x) * A)

    x = np.random.default_rng(0).standard_normal(10**6)
    report = gradcheck(f, lambda d, x: d * np.cos(x) * A, x)
    assert report.ok and report.checked_to < 1e-8 and not report.entries
    assert len(calls) == report.evaluations <= 50


def test_bisection_finds_the_entry_that_is_wrong_among_many():
    x = {"W": np.random.default_rng(0).standard_normal((60, 50)), "b": np.ones(40)}

    def f(p):
        return np.sum(np.sin(p["W"])) + np.sum(p["b"] ** 3)

    def f_backward(d, p):
        d_W = d * np.cos(p["W"])
        return {"W": at(d_W, (31, 17), 1.01), "b": 3 * d * p["b"] ** 2}

    report = gradcheck(f, f_backward, (x,))
    assert report.verdict == "FAIL" and report.worst.name == "p['W'][31, 17]" and report.evaluations < 1500


def test_thorough_decides_between_entries_and_directions():
    assert gradcheck(square, square_backward, X, thorough=False).entries == ()
    assert gradcheck(square, square_backward, np.ones(1200), thorough=True).entries[0].count == 1200


# --- what is wrong

GUESSES = {
    "sign": (lambda x, W, b: (x, -W, b), "sign", "sign of the gradient of params.W is flipped"),
    "half": (lambda x, W, b: (x / 2, W, b), "factor", "gradient of x is 1/2 times the right one"),
    "mean for sum": (lambda x, W, b: (x, W, b / 4), "factor", "1/4 times the right one (axis 0 of out has length 4"),
    "transposed": (lambda x, W, b: (x, W.T.copy(), b), "transpose", "gradient of params.W is transposed"),
    "zero": (lambda x, W, b: (0 * x, W, b), "zero", "gradient of x is all zero"),
    "last row": (lambda x, W, b: (at(x, 3, 0), W, b), "place", "only the last index of axis 0 of the gradient of x"),
    "shifted": (lambda x, W, b: (np.roll(x, 1, 0), W, b), "shift", "shifted by one along axis 0"),
    "diagonal": (lambda x, W, b: (x, W * (1 + np.eye(3)), b), "place", "only the diagonal of the gradient of params.W"),
    "not summed": (lambda x, W, b: (x, W, np.tile(b / 4, (4, 1))), "broadcast", "a sum over axis 0 is missing"),
    "blocks": (lambda x, W, b: (x, W * [1.0, 0.0, -1.0], b), "block", "the factors [1, 0, -1]"),
}


@pytest.mark.parametrize("name", GUESSES)
def test_the_pattern_of_a_mistake_is_named(name):
    change, pattern, text = GUESSES[name]
    report = gradcheck(layer, spoil(change), draw_inputs(N=4))
    (guess,) = report.guesses
    assert guess.pattern == pattern and guess.likely and text in guess.text and f"guess: {guess.text}" in str(report)


def test_swapped_gradients_and_a_missing_sum_are_named():
    inputs = (np.arange(1.0, 4.0), np.array([0.5, -1.0, 2.0]))
    swapped = gradcheck(lambda *pair: pair[0] * pair[1], lambda d, x, y: (d * x, d * y), inputs)
    assert "the gradients of inputs[0] and inputs[1] are swapped" in str(swapped)

    def scaled(x, s):
        return x * s

    inputs = (np.ones((4, 3)) + np.eye(4, 3), np.arange(1.0, 4.0))
    first_only = gradcheck(scaled, lambda d, x, s: (d * s, (d * x)[0]), inputs)
    assert first_only.guesses[0].pattern == "broadcast" and "a sum over axis 0 of out is missing" in str(first_only)


def test_the_part_of_one_output_that_is_missing_is_named():
    def f(x):
        return {"y": np.sin(x), "z": x**3}

    report = gradcheck(f, lambda d, x: d["y"] * np.cos(x), X)
    assert "the part of the gradient of x that comes through out['z'] is missing" in str(report)


def test_a_single_entry_that_is_wrong_is_not_given_a_pattern():
    assert not gradcheck(layer, spoil(lambda x, W, b: (x, at(W, (1, 2), 1.3), b)), draw_inputs()).guesses


# --- the report

def test_the_taylor_remainder_is_a_second_opinion():
    assert gradcheck(layer, layer_backward, draw_inputs()).taylor_rate == pytest.approx(2.0, abs=0.1)
    wrong = gradcheck(layer, spoil(lambda x, W, b: (x, 1.03 * W, b)), draw_inputs())
    assert wrong.taylor_rate == pytest.approx(1.0, abs=0.2) and "Taylor remainder falls as t^" in str(wrong)


def test_the_v_curve_comes_down_for_a_right_gradient_alone():
    steps, errors = gradcheck(layer, layer_backward, draw_inputs()).curve()
    assert errors.min() < 1e-9 < errors[0] and steps[0] == 0.25
    _, errors = gradcheck(layer, spoil(lambda x, W, b: (x, 2 * W, b)), draw_inputs()).curve()
    assert errors.min() > 1e-3
    with pytest.raises(ValueError, match="curve: no numbers were compared in this check"):
        gradcheck(layer, spoil(lambda x, W, b: (x, None, b)), draw_inputs()).curve()


def test_a_report_draws_itself():
    plt = pytest.importorskip("matplotlib.pyplot")
    figure, ax = plt.subplots()
    assert gradcheck(layer, layer_backward, draw_inputs()).plot(ax) is ax and len(ax.lines) == 1
    plt.close(figure)


def test_assert_gradients_returns_the_report_or_raises_with_it():
    assert assert_gradients(layer, layer_backward, draw_inputs()).ok
    with pytest.raises(AssertionError, match="gradcheck FAIL: x.*\n.*guess"):
        assert_gradients(layer, spoil(lambda x, W, b: (-x, W, b)), draw_inputs())


def test_inputs_drawn_from_the_same_seed_are_not_the_cotangent():
    """x drawn from default_rng(0) and a cotangent from default_rng(0) would be one and the same."""

    def unit(x):
        size = np.sqrt(x @ x)
        return x / size, (x / size, size)

    x = np.random.default_rng(0).standard_normal(5)
    assert gradcheck(unit, lambda d, cache: -d / cache[1], x).verdict == "FAIL"


# --- what its first users tripped over

def tied_maximum_backward(d, a):
    return d * (a == a.max()) / (a == a.max()).sum()


@pytest.mark.parametrize("spoiled", [-1.0, 3.0])
def test_gross_mistakes_at_a_tie_do_not_pass(spoiled):
    ties = np.array([1.0, 1.0, 0.5])
    assert gradcheck(np.max, tied_maximum_backward, ties).ok
    assert gradcheck(np.max, lambda d, a: spoiled * tied_maximum_backward(d, a), ties).verdict == "FAIL"


@pytest.mark.parametrize("unit", [1e-19, 1e-9, 1e9])
@pytest.mark.parametrize("factor, verdict", [(1.0, "PASS"), (1.01, "FAIL"), (-1.0, "FAIL"), (0.0, "FAIL")])
def test_any_unit_will_do(unit, factor, verdict):
    """abs keeps the complex step out."""
    q = unit * np.array([1.0, 2.0, -3.0])
    report = gradcheck(lambda q: (np.abs(q) ** 2).sum() / unit, lambda d, q: factor * 2 * q * d / unit, q)
    assert report.verdict == verdict, report


def test_a_narrow_peak_at_a_large_coordinate():
    c, s = 2.4e9, 1e3

    def peak(x):
        return np.exp(-np.abs(x - c) ** 2 / (2 * s**2))

    x = c + s * np.array([-1.0, 0.5, 0.1])
    assert gradcheck(peak, lambda d, x: -d * (x - c) / s**2 * peak(x), x).ok
    assert gradcheck(peak, lambda d, x: -1.1 * d * (x - c) / s**2 * peak(x), x).verdict == "FAIL"


@pytest.mark.parametrize("n", [1, 10, 100, 300])
def test_a_mean_in_float32_inside_is_never_called_wrong(n):
    x = np.random.default_rng(n).standard_normal(n)
    report = gradcheck(lambda a: np.float64(np.mean(np.float32(np.abs(a)) ** 2)), lambda d, a: 2 * a * d / n, x)
    assert report.verdict != "FAIL", report


def test_kinks_at_many_entries_are_not_a_pass_by_directions():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(3000) * (rng.random(3000) > 0.3)
    report = gradcheck(lambda a: np.maximum(a, 0).sum(), lambda d, a: d * (a > 0), x)
    assert report.verdict == "INCONCLUSIVE" and "kink" in str(report)


def test_an_f_that_asserts_its_domain_is_checked_within_it():
    def log(a):
        assert (a > 0).all()
        return np.log(a)

    assert gradcheck(log, lambda d, a: d / a, np.array([1e-3, 2.0]), method="central").ok


@pytest.mark.parametrize("dtype", [np.longdouble, np.dtype(">f8"), np.float16])
def test_other_dtypes(dtype):
    x = np.array([0.25, -0.5, 1.5]).astype(dtype)
    assert gradcheck(lambda a: 2 * np.sin(a), lambda d, a: 2 * d * np.cos(a), x).ok


def test_gradients_of_constants_and_of_what_is_not_checked_may_be_left_out():
    inputs = (X, np.ones(4))
    assert gradcheck(lambda a, y: ((a - y) ** 2).sum(), lambda a, y: 2 * (a - y), inputs, kind="gradient", wrt="a").ok
    tree = {"x": X, "n": 3}
    assert gradcheck(lambda t: t["x"] ** t["n"], lambda d, t: {"x": 3 * d * t["x"] ** 2}, (tree,)).ok


def test_a_tolerance_can_be_given_for_what_is_solved_to_one():
    off = lambda d, x: d * np.cos(x) * (1 + 1e-7)  # noqa: E731
    assert gradcheck(np.sin, off, X).verdict == "FAIL"
    assert gradcheck(np.sin, off, X, rtol=1e-5).ok
    assert gradcheck(np.sin, lambda d, x: 1.001 * d * np.cos(x), X, rtol=1e-5).verdict == "FAIL"


def test_two_outputs_taken_for_a_cache_are_pointed_out():
    report = gradcheck(lambda x: (np.sin(x), np.cos(x)), lambda d, x: d * np.cos(x), X)
    assert report.verdict == "FAIL" and "cache=False" in str(report)


def test_the_checker_runs_alone(tmp_path):
    """Copied out of the package, beside nothing but NumPy."""
    there = tmp_path / "mychecker"
    shutil.copytree(Path(checking.__file__).parent, there, ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "import sys, numpy as np; from mychecker import gradcheck; "
        "assert gradcheck(np.sin, lambda d, x: d * np.cos(x), np.ones(3)).ok; "
        "assert gradcheck(np.sin, lambda d, x: d, np.ones(3)).verdict == 'FAIL'; "
        "print([m for m in ('l2l_ref', 'scipy', 'numba', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


# --- the command

MODULE = """
import numpy as np

def layer(x, W, b):
    y = np.tanh(x @ W + b)
    return y, (x, W, y)

def right(d_y, cache):
    x, W, y = cache
    d_a = d_y * (1 - y**2)
    return d_a @ W.T, x.T @ d_a, d_a.sum(axis=0)

def wrong(d_y, cache):
    d_x, d_W, d_b = right(d_y, cache)
    return d_x, d_W, -d_b

def square(x):
    return np.floor(x)

def broken(*inputs):
    print("their print")
    return 1 / 0

maximum = np.maximum

def maximum_backward(d_y, x, y):
    return d_y * (x > y), d_y * (y > x)

def noisy(x):
    print("their print")
    return np.sin(x)

def noisy_backward(d_y, x):
    print("their print")
    return d_y * np.cos(x)

def flat(d_y, x):
    return 0 * d_y
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "their_module.py").write_text(MODULE)
    rng = np.random.default_rng(0)
    arrays = {"W": rng.normal(size=(3, 4)), "b": rng.normal(size=4), "x": rng.normal(size=(5, 3))}
    np.savez(tmp_path / "in.npz", **arrays)
    np.savez(tmp_path / "one.npz", np.array([1.0, 2.5]))
    np.savez(tmp_path / "by_order.npz", arrays["x"], arrays["W"], arrays["b"])
    np.savez(tmp_path / "a_wrong_name.npz", x=arrays["x"], weights=arrays["W"], b=arrays["b"])
    np.savez(tmp_path / "wrong_names.npz", one=arrays["x"], two=arrays["W"], three=arrays["b"])
    np.savez(tmp_path / "mixed.npz", arrays["x"], W=arrays["W"], b=arrays["b"])
    np.savez(tmp_path / "without_W.npz", x=arrays["x"], b=arrays["b"])
    np.savez(tmp_path / "empty.npz")
    np.savez(tmp_path / "too_many.npz", *arrays.values(), np.ones(1))
    with zipfile.ZipFile(tmp_path / "bytes.npz", "w") as file:
        file.writestr("x.npy", b"hello")
    (tmp_path / "no.npz").write_text("no arrays")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("their_module", None)


@pytest.mark.parametrize(
    "names, code, text",
    [
        ("layer right --inputs in.npz", 0, "gradcheck PASS: checked to"),
        ("layer wrong --inputs in.npz", 1, "the sign of the gradient of b is flipped"),
        ("layer wrong --inputs in.npz --wrt x,W", 0, "2 arrays"),
        ("square flat --inputs one.npz", 3, "INCONCLUSIVE: x[0]"),
        ("layer right --inputs no.npz", 2, "no.npz: expected an .npz file of arrays"),
        ("layer right --inputs none.npz", 2, "none.npz"),
        ("layer right --inputs bytes.npz", 2, "bytes.npz: expected an .npz file of arrays"),
        ("layer right --inputs by_order.npz", 0, "gradcheck PASS: checked to"),
        ("layer right --inputs a_wrong_name.npz", 2, "the parameters of the function, x, W, b; got weights"),
        ("layer right --inputs wrong_names.npz", 2, "the parameters of the function, x, W, b; got one, two, three"),
        ("layer right --inputs mixed.npz", 2, "the parameters of the function, x, W, b; got arr_0"),
        ("layer right --inputs without_W.npz", 2, "there is no array W, which is an argument of the function"),
        ("layer right --inputs empty.npz", 2, "expected the arguments of the function, got no array"),
        ("layer right --inputs too_many.npz", 2, "their_module:layer raised TypeError: layer() takes 3 positional"),
        ("maximum maximum_backward --inputs wrong_names.npz", 2, "expected arrays named like"),
        ("broken right --inputs by_order.npz", 2, "their_module:broken raised ZeroDivisionError: division by zero ("),
        ("layer broken --inputs in.npz", 2, "their_module:broken raised"),
        ("layer left --inputs in.npz", 2, "module their_module has no left"),
        ("layer right --inputs in.npz --wrt z", 2, "wrt: expected names among x, W, b, got 'z'"),
        ("layer right --inputs in.npz --kind gradient", 2, "expected one number, got a tuple"),
        ("layer np --inputs in.npz", 2, "expected a function, got module"),
    ],
)
def test_the_command(folder, capsys, names, code, text):
    f, backward, *rest = names.split()
    assert main(["gradcheck", f"their_module:{f}", f"their_module:{backward}", *rest]) == code
    out, err = capsys.readouterr()
    err = err.replace("their print\n", "")
    assert text in (err if code == 2 else out) and (code != 2 or err.count("\n") == 1)


@pytest.mark.parametrize("named, text", [
    ("their_module.py:layer", "expected the name of a module, not its file: their_module:layer\n"),
    ("some/where/their_module.py:layer", "not its file: their_module:layer in the folder some/where\n"),
    ("their_module:layr", "module their_module has no layr; did you mean their_module:layer?\n"),
    ("their_modul:layer", "No module named 'their_modul' in {folder}, nor among the installed packages\n"),
])
def test_a_function_that_cannot_be_found(folder, capsys, named, text):
    assert main(["gradcheck", named, "their_module:right", "--inputs", "in.npz"]) == 2
    assert capsys.readouterr().err.endswith(text.format(folder=folder))


def test_an_error_in_their_function_is_located(folder, capsys):
    assert main(["gradcheck", "their_module:broken", "their_module:right", "--inputs", "by_order.npz"]) == 2
    line = MODULE.splitlines().index("    return 1 / 0") + 1
    assert capsys.readouterr().err.endswith(f"({folder / 'their_module.py'}, line {line})\n")


@pytest.mark.parametrize("content, message", [
    ("x = 1 / 0", "importing other_module raised ZeroDivisionError: division by zero (FILE, line 1)"),
    ("def f(:", "importing other_module raised SyntaxError: invalid syntax (other_module.py, line 1)"),
    ("raise SystemExit(3)", "importing other_module raised SystemExit: 3 (FILE, line 1)"),
    ("import no_such_module", "No module named 'no_such_module'"),
])
def test_a_module_that_cannot_be_imported_is_one_line(folder, capsys, content, message):
    (folder / "other_module.py").write_text(content)
    assert main(["gradcheck", "other_module:f", "their_module:right", "--inputs", "in.npz"]) == 2
    message = message.replace("FILE", str(folder / "other_module.py"))
    assert capsys.readouterr() == ("", f"l2l-ref gradcheck: other_module:f: {message}\n")


def test_what_their_functions_print_goes_to_stderr(folder, capsys):
    words = ["gradcheck", "their_module:noisy", "their_module:noisy_backward", "--inputs", "one.npz", "--json"]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["verdict"] == "PASS" and set(err.splitlines()) == {"their print"}


@pytest.mark.parametrize("name, message", [("c.xyz", "c.xyz: expected a file name that ends in"),
                                           ("no/c.png", "no/c.png: there is no folder no")])
def test_a_plot_that_cannot_be_written_is_said_before_the_check(folder, capsys, monkeypatch, name, message):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("l2l_ref.cli.gradcheck.gradcheck", lambda *a, **k: pytest.fail("the check was begun"))
    words = ["gradcheck", "their_module:layer", "their_module:right", "--inputs", "in.npz", "--plot", name]
    assert main(words) == 2
    assert capsys.readouterr().err.startswith(f"l2l-ref gradcheck: {message}")


def test_a_plot_of_nothing_leaves_the_verdict_alone(folder, capsys):
    pytest.importorskip("matplotlib")
    words = ["gradcheck", "their_module:layer", "their_module:flat", "--inputs", "in.npz", "--plot", "c.png"]
    assert main(words) == 1
    assert capsys.readouterr().err.startswith("no plot: curve: no numbers were compared in this check")


def test_the_command_gives_json_and_a_curve(folder, capsys):
    pytest.importorskip("matplotlib")
    names = ["their_module:layer", "their_module:wrong"]
    assert main(["gradcheck", *names, "--inputs", "in.npz", "--json", "--plot", "v.png"]) == 1
    assert json.loads(capsys.readouterr().out)["verdict"] == "FAIL"
    assert (folder / "v.png").read_bytes()[:4] == b"\x89PNG"
