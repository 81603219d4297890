"""gradcheck on code that nobody here wrote: kinds of faults from public reports, each with inputs that are drawn."""

import warnings

import numpy as np
import pytest
from conftest import SLOW
from hypothesis import example, given, settings
from hypothesis import strategies as st

from l2l_ref.checking import gradcheck
from l2l_ref.checking.differences import both_ways, rounded

SETTINGS = settings(max_examples=40 if SLOW else 10, deadline=None)
SEEDS = st.integers(0, 10**6)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def hilbert(n):
    return 1.0 / (np.arange(n)[:, None] + np.arange(n) + 1.0)


# --- right claims are never FAIL

VANISHING = {
    "x^3": (lambda x: x**3, lambda x: 3 * x**2),
    "x^2 exp(x)": (lambda x: x**2 * np.exp(x), lambda x: (2 * x + x**2) * np.exp(x)),
    "x^2 sigmoid(x)": (lambda x: x**2 / (1 + np.exp(-x)),
                       lambda x: 2 * x / (1 + np.exp(-x)) + x**2 * np.exp(-x) / (1 + np.exp(-x)) ** 2),
    "x sin(x)": (lambda x: x * np.sin(x), lambda x: np.sin(x) + x * np.cos(x)),
    "x - tanh(x)": (lambda x: x - np.tanh(x), lambda x: np.tanh(x) ** 2),
}


@pytest.mark.parametrize("name", VANISHING)
@SETTINGS
@given(seed=SEEDS, scale=st.sampled_from([1e-3, 1.0, 10.0]))
def test_a_slope_that_vanishes(name, seed, scale):
    """The complex step of x^3 at 0 is h^2, not 0."""
    f, slope = VANISHING[name]
    x = np.array([0.0, *normal(seed, 2)])
    report = gradcheck(lambda x: f(scale * x).sum(), lambda x: scale * slope(scale * x), x, kind="gradient", seed=seed)
    assert report.verdict == "PASS", report


IN_UNITS = {
    "p^2 / 2m": (lambda m, p: p**2 / (2 * m), lambda d, m, p: (-d * p**2 / (2 * m**2), d * p / m)),
    "log": (lambda m, p: np.log(m) + np.log(p), lambda d, m, p: (d / m, d / p)),
    "reduced mass": (lambda m, p: m * p / (m + p), lambda d, m, p: (d * p**2 / (m + p) ** 2, d * m**2 / (m + p) ** 2)),
    "root": (lambda m, p: np.sqrt(m * p), lambda d, m, p: (d * np.sqrt(p / m) / 2, d * np.sqrt(m / p) / 2)),
}


@pytest.mark.parametrize("name", IN_UNITS)
@SETTINGS
@given(seed=SEEDS, m=st.integers(-60, 30), p=st.integers(-60, 30))
@example(seed=0, m=-31, p=-24)
def test_units_of_any_size(name, seed, m, p):
    """Masses in kg, momenta in kg m/s, probabilities: right claims are right, and half of them is wrong."""
    f, backward = IN_UNITS[name]
    rng = np.random.default_rng(seed)
    inputs = 10.0**m * rng.uniform(1, 2, 2), 10.0**p * rng.uniform(1, 2, 2)
    if name == "reduced mass" and abs(m - p) > 5:  # the larger one hardly matters: its slope is lost in f's last digits
        assert gradcheck(f, backward, inputs, seed=seed).verdict != "FAIL"
        return
    assert gradcheck(f, backward, inputs, seed=seed).verdict == "PASS"
    half = gradcheck(f, lambda d, *x: tuple(0.5 * g for g in backward(d, *x)), inputs, seed=seed)
    assert half.verdict == "FAIL", half


@SETTINGS
@given(SEEDS)
def test_tiny_entries_beside_large_ones(seed):
    x = np.array([1e-12, 1e6, 1e-300, 1.0]) * np.random.default_rng(seed).uniform(1, 2, 4)
    report = gradcheck(lambda x: (x * np.log(x)).sum(), lambda x: np.log(x) + 1, x, kind="gradient", seed=seed)
    assert report.verdict == "PASS", report
    wrong = gradcheck(lambda x: (x * np.log(x)).sum(), lambda x: np.log(x) + (x > 1e-9), x, kind="gradient", seed=seed)
    assert wrong.verdict == "FAIL", wrong


def buffer_of(dtype):
    def backward(d, x):
        g = np.zeros(x.shape, dtype)
        g[:-1] += d * x[1:]
        g[1:] += d * x[:-1]
        return g
    return backward


@SETTINGS
@given(SEEDS, st.integers(2, 20))
def test_float32_inside_of_a_backward_pass(seed, n):
    """A buffer, a cast cotangent, a cast in between: float32 code, whatever it is given."""
    x, W = normal(seed, n).astype(np.float32), normal(seed + 1, n, 3).astype(np.float32)
    pairs = [
        (lambda x: x[:-1] * x[1:], buffer_of(np.float32)),
        (lambda x: x @ W.astype(x.dtype), lambda d, x: (W @ d.astype(np.float32)).astype(x.dtype)),
        (lambda x: np.sin(x @ W.astype(x.dtype)),
         lambda d, x: W.astype(x.dtype) @ (d * np.cos(x @ W.astype(x.dtype))).astype(np.float32).astype(x.dtype)),
    ]
    for f, backward in pairs:
        report = gradcheck(f, backward, x, seed=seed)
        assert report.verdict == "PASS", report
        assert n < 6 or "float32 inside" in str(report)  # few roundings may happen to be none
        wrong = gradcheck(f, lambda d, x, b=backward: b(d, x) * x.dtype.type(1.001), x, seed=seed)
        assert wrong.verdict == "FAIL", wrong


@settings(max_examples=15 if SLOW else 5, deadline=None)
@given(SEEDS, st.integers(2, 13))
def test_a_solve_of_any_condition(seed, n):
    """Condition numbers up to 1e17: the rounding inside of the solver is seen when it is done with other roundings."""
    H, b = hilbert(n), normal(seed, n)

    def backward(d, A, b):
        g = np.linalg.solve(A.T, d)
        return -np.outer(g, np.linalg.solve(A, b)), g

    for f, back, inputs in (
        (np.linalg.solve, backward, (H, b)),
        (lambda b: np.linalg.solve(H, b), lambda d, b: np.linalg.solve(H.T, d), b),
    ):
        report = gradcheck(f, back, inputs, seed=seed)
        assert report.verdict != "FAIL", report
        assert n > 4 or report.verdict == "PASS"


@SETTINGS
@given(SEEDS, st.integers(3, 7))
def test_high_phases(seed, power):
    k = 10.0**power
    x = np.random.default_rng(seed).uniform(0.5, 1.5, 3)
    report = gradcheck(lambda x: np.sin(k * np.abs(x)), lambda d, x: d * k * np.cos(k * x), x, seed=seed)
    assert report.verdict != "FAIL", report


def newton(p, tolerance):
    z = 1.0
    for _ in range(100):
        step = (z**3 + p * z - 5) / (3 * z * z + p)
        z -= step
        if abs(step) < tolerance:
            break
    return z


def test_what_is_solved_to_a_tolerance_is_told_of_rtol():
    def slope(p):
        z = newton(p, 1e-3)
        return -z / (3 * z**2 + p) * (1 + 1e-8)

    report = gradcheck(lambda p: newton(p, 1e-3), slope, 2.0, kind="gradient")
    assert report.verdict == "FAIL" and "rtol=1e-0" in str(report), report
    assert gradcheck(lambda p: newton(p, 1e-3), slope, 2.0, kind="gradient", rtol=1e-6).ok


def test_rtol_holds_for_linearity_and_along_directions():
    M = normal(1, 12, 12)
    A = M @ M.T + np.eye(12)

    def conjugate_gradients(b, tolerance=1e-3):
        x, r = np.zeros_like(b), b.copy()
        p = r.copy()
        while np.sqrt(r @ r) > tolerance * np.sqrt(b @ b):
            step = r @ r / (p @ A @ p)
            x, new = x + step * p, r - step * (A @ p)
            p, r = new + new @ new / (r @ r) * p, new
        return x

    def check(**options):
        return gradcheck(lambda b: np.linalg.solve(A, b), lambda d, b: conjugate_gradients(d), normal(2, 12), **options)

    assert check().verdict == "FAIL" and "rtol" in str(check())
    assert check(rtol=0.1).verdict != "FAIL"
    assert check(rtol=0.1, thorough=False).verdict != "FAIL"


@pytest.mark.parametrize("f, slope, x", [
    (np.sqrt, lambda x: 0.5 / np.sqrt(x), [0.0, 1.0]),
    (np.arccos, lambda x: -1 / np.sqrt(1 - x**2), [1.0, 0.3]),
    (np.cbrt, lambda x: 1 / (3 * np.cbrt(x) ** 2), [0.0, 2.0]),
])
def test_an_infinite_slope_is_not_called_wrong(f, slope, x):
    report = gradcheck(f, lambda d, x: d * slope(x), np.array(x))
    assert report.verdict == "INCONCLUSIVE" and "domain" in str(report)
    assert gradcheck(np.sin, lambda d, x: d * slope(x), np.array(x)).verdict == "FAIL"


# --- wrong claims are no silent PASS

@SETTINGS
@given(SEEDS, st.sampled_from([1e13, 1e14, 1e15]), st.sampled_from([2.0, -1.0, 0.0, 50.0]))
def test_what_is_lost_in_the_digits_of_f_is_no_pass(seed, offset, factor):
    x = np.random.default_rng(seed).uniform(0.2, 1.0, 2)
    report = gradcheck(lambda x: (offset + np.sin(np.abs(x))).sum(), lambda x: factor * np.cos(x), x, kind="gradient",
                       seed=seed)
    assert report.verdict != "PASS", report


@SETTINGS
@given(SEEDS, st.integers(2, 5))
def test_a_maximum_that_gives_all_to_every_tied_entry(seed, ties):
    rng = np.random.default_rng(seed)
    x = np.append(np.full(ties, 2.0), rng.uniform(-1, 1, 3))
    rng.shuffle(x)
    doubled = gradcheck(lambda x: x.max(), lambda d, x: d * (x == x.max()), x, seed=seed)
    assert doubled.verdict == "FAIL" and "tied" in str(doubled)
    shared = gradcheck(lambda x: x.max(), lambda d, x: d * (x == x.max()) / (x == x.max()).sum(), x, seed=seed)
    first = gradcheck(lambda x: x.max(), lambda d, x: d * (np.arange(x.size) == x.argmax()), x, seed=seed)
    assert shared.ok and first.ok


def test_kinks_at_equal_values_that_are_no_ties():
    def f(x):
        return np.maximum(x, 0).sum() - np.maximum(-x, 0).sum()

    x = np.array([0.0, 0.0, 1.0])
    assert gradcheck(lambda x: np.maximum(x, 0), lambda d, x: d * (x > 0), x).ok
    assert gradcheck(lambda x: np.abs(x).sum(), lambda d, x: d * np.sign(x), x).ok
    assert gradcheck(f, lambda d, x: d * np.where(x == 0, 0.0, 1.0), x).verdict == "FAIL"  # f is x here: smooth


@SETTINGS
@given(SEEDS, st.sampled_from([0.0, 1.0, 0.5]))
def test_wrong_at_one_special_point_alone(seed, special):
    x = np.append(normal(seed, 3), special)
    report = gradcheck(lambda x: np.sin(np.abs(x) + x),
                       lambda d, x: d * 2 * (x > 0) * np.cos(2 * x) * (x != special), x, seed=seed)
    assert report.verdict == ("PASS" if special == 0.0 else "FAIL"), report


def test_a_gradient_of_zero_is_looked_at_nearby():
    x = np.zeros(3)
    wrong = gradcheck(lambda x: np.cos(x).sum(), lambda x: np.sin(x), x, kind="gradient")
    assert wrong.verdict == "FAIL" and "nearby" in str(wrong)
    right = gradcheck(lambda x: np.cos(x).sum(), lambda x: -np.sin(x), x, kind="gradient")
    assert right.ok and "2 of 2 points nearby" in str(right)
    alone = gradcheck(lambda x: np.cos(x).sum(), lambda x: np.sin(x), x, kind="gradient", also_near=0)
    assert alone.ok and "zero here" in str(alone)


@pytest.mark.parametrize("value, words", [
    (np.ones(3), "all ones"), (np.zeros(3), "all zeros"), (np.full(3, 2.0), "equal entries"),
    (np.array([0.6, 0.8, 0.0]), "norm 1"),
])
def test_special_inputs_are_named(value, words):
    def f(x, gamma):
        return gamma * x**2, (x, gamma)

    x = normal(0, 5, 3)
    report = gradcheck(f, lambda d, c: (2 * d * c[0] * c[1], (d * c[0] ** 2).sum(0)), (x, value))
    assert report.ok and "gamma" in str(report) and words in str(report), report
    missing = gradcheck(f, lambda d, c: (2 * d * c[0] * np.sign(c[1]), (d * c[0] ** 2).sum(0)), (x, value), also_near=2)
    assert missing.verdict == "FAIL"


def test_entries_below_the_noise_are_counted():
    scale = np.array([1.0, 1e-14, 1.0, 1e-15])
    x = np.full(4, 0.7) + scale
    report = gradcheck(lambda x: (scale * np.sin(np.abs(x))).sum(), lambda x: scale * np.cos(x), x, kind="gradient")
    assert report.ok and "2 of 4 entries below the noise" in report.headline, report


# --- numbers in the user's own units

def test_a_gradient_is_shown_as_it_was_returned():
    x = normal(0, 3)
    entry = gradcheck(lambda x: (x**3).sum(), lambda x: x**2, x, kind="gradient").worst
    assert entry.analytic == x[entry.index] ** 2
    assert entry.numeric == pytest.approx(3 * x[entry.index] ** 2)


@SETTINGS
@given(SEEDS, st.integers(2, 4), st.integers(2, 4))
def test_the_wrong_entry_of_a_jacobian_is_named(seed, m, n):
    rng = np.random.default_rng(seed)
    A, x = rng.normal(size=(m, n)), rng.normal(size=n)
    row, column = rng.integers(m), rng.integers(n)

    def wrong(x):
        J = np.cos(A @ x)[:, None] * A
        J[row, column] += 0.5
        return J

    report = gradcheck(lambda x: np.sin(A @ x), wrong, x, kind="jacobian", seed=seed)
    assert report.worst.name == f"d out[{row}] / d x[{column}]" and report.worst.wrong == 1
    assert report.worst.analytic == wrong(x)[row, column]


def test_the_wrong_entry_of_a_hessian_is_named():
    A, x = normal(0, 4, 4), normal(1, 4)
    H = A + A.T
    spoiled = H.copy()
    spoiled[1, 3] *= 1.5
    assert gradcheck(lambda x: H @ x, lambda x, v: H @ v, x, kind="hvp").ok
    report = gradcheck(lambda x: H @ x, lambda x, v: spoiled @ v, x, kind="hvp")
    assert report.worst.name == "d out[1] / d x[3]" and report.worst.analytic == pytest.approx(spoiled[1, 3])


# --- what people have in their hands

def test_the_kind_is_guessed():
    x, A = normal(0, 3), normal(1, 2, 3)
    pairs = {
        "gradient": (lambda x: (x**2).sum(), lambda x: 2 * x),
        "jacobian": (lambda x: A @ x, lambda x: A),
    }
    for kind, (f, derivative) in pairs.items():
        report = gradcheck(f, derivative, x)
        assert report.ok and f"kind='{kind}'" in str(report)
    assert gradcheck(lambda x: x**2, lambda d, x: 2 * d * x, x).notes == ()
    assert gradcheck(lambda x: (x**2, x), lambda d, x: 2 * d * x, x).notes == ()
    assert gradcheck(lambda x, y: (x * y, (x, y)), lambda d, c: (d * c[1], d * c[0]), (x, x + 1)).notes == ()
    assert gradcheck(lambda x, y: (x * y).sum(), lambda x, y: (y, x), (x, x + 1)).ok
    assert gradcheck(np.sin, lambda d, *rest: d * np.cos(rest[0]), x).ok
    assert gradcheck(lambda x: (np.sin(x).sum(), np.cos(x)), True, x).ok
    with pytest.raises(TypeError, match="kind='gradient'"):
        gradcheck(lambda x: x, lambda: x, x)


class Network:
    """It keeps the weights that it was called with."""

    def __init__(self, W):
        self.W = W

    def loss(self, W):
        self.W = W
        return (np.tanh(W) ** 2).sum()


@pytest.mark.parametrize("W", [
    np.array([1.0, -0.0, 2.0]), np.float32([1, 2, 3]), np.asfortranarray(np.arange(6.0).reshape(2, 3)),
])
@pytest.mark.parametrize("factor", [1, 3])
def test_objects_are_left_as_they_were(W, factor):
    network = Network(W)
    gradcheck(network.loss, lambda W: factor * 2 * np.tanh(W) / np.cosh(W) ** 2, W, kind="gradient")
    assert network.W.dtype == W.dtype and network.W.tobytes("A") == W.tobytes("A")
    assert network.W.flags.f_contiguous == W.flags.f_contiguous


def test_inputs_keep_their_order_in_memory():
    def f(x):
        assert x.flags.f_contiguous
        return (x**2).sum()

    assert gradcheck(f, lambda x: 2 * x, np.asfortranarray(normal(0, 3, 4)), kind="gradient").ok


def test_the_settings_of_the_caller_change_no_verdict():
    x = np.array([0.5, 800.0])

    def check():
        return gradcheck(lambda x: 1 / (1 + np.exp(-x)), lambda d, x: d * np.exp(-x) / (1 + np.exp(-x)) ** 2, x)

    plain = str(check())
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert str(check()) == plain


# --- cost in hand

@pytest.mark.parametrize("n, most", [(1, 60), (30, 750), (1000, 1500), (1001, 1500)])
def test_a_wrong_gradient_costs_no_more_than_this(n, most):
    A = normal(0, n)

    def wrong(x):
        d = np.cos(x) * np.sign(x) * A
        d[n // 3] *= 3
        return d

    report = gradcheck(lambda x: (np.sin(np.abs(x)) * A).sum(), wrong, normal(1, n), kind="gradient")
    assert report.verdict == "FAIL" and report.evaluations <= most
    assert n == 1 or report.worst.index == (n // 3,)


@pytest.mark.parametrize("n, most", [(1, 30), (30, 100), (1000, 1100), (1001, 60)])
def test_a_right_gradient_costs_no_more_than_this(n, most):
    A = normal(0, n)
    report = gradcheck(lambda x: (np.sin(x) * A).sum(), lambda x: np.cos(x) * A, normal(1, n), kind="gradient")
    assert report.ok and report.evaluations <= most


@SETTINGS
@given(st.integers(1, 300))
def test_a_budget_is_kept(most):
    calls, told = [], []

    def f(x):
        calls.append(x)
        return (np.abs(x) ** 3).sum()

    report = gradcheck(f, lambda x: 3 * x**2 * np.sign(x), normal(0, 50), kind="gradient", max_evaluations=most,
                       progress=told.append)
    assert report.verdict == "INCONCLUSIVE" and "max_evaluations is reached" in report.headline
    assert len(calls) == report.evaluations <= most and told == list(range(1, most))


@pytest.mark.parametrize("at", [1, 2, 5, 40, 200])
def test_an_interrupt_gives_the_report_so_far(at):
    calls = []

    def f(x):
        calls.append(x)
        if len(calls) == at:
            raise KeyboardInterrupt
        return (np.abs(x) ** 3).sum()

    report = gradcheck(f, lambda x: 3 * x**2 * np.sign(x), normal(0, 50), kind="gradient")
    assert report.verdict == "INCONCLUSIVE" and "interrupted" in report.headline
    assert len(calls) == at + 1  # and one that leaves f as it was


@pytest.mark.parametrize("name, value", [("also_near", -1), ("also_near", 1.5), ("max_evaluations", 0),
                                         ("max_evaluations", True), ("progress", 3)])
def test_bad_arguments(name, value):
    with pytest.raises((TypeError, ValueError), match=f"{name}: expected"):
        gradcheck(np.sin, lambda d, x: d * np.cos(x), np.ones(2), **{name: value})


# --- other roundings

def test_operations_are_rounded_up_and_down():
    ways = both_ways(lambda: np.ones(3) / np.array([3.0, 4.0, 7.0]))
    if ways is None:
        pytest.skip("the rounding cannot be chosen here")
    up, down = ways
    assert (up - down)[1] == 0.0
    np.testing.assert_array_equal((up - down)[[0, 2]], np.spacing(down)[[0, 2]])


def test_the_rounding_is_put_back():
    third = np.ones(1) / 3
    with pytest.raises(ZeroDivisionError):
        with rounded("up"):
            raise ZeroDivisionError
    assert np.ones(1) / 3 == third


@SETTINGS
@given(SEEDS, st.integers(2, 12))
def test_other_roundings_show_the_error_of_a_solver(seed, n):
    """Against the exact solution, by fractions."""
    from fractions import Fraction

    H, b = hilbert(n), normal(seed, n)
    rows = [[*map(Fraction, H[i].tolist()), Fraction(float(b[i]))] for i in range(n)]
    for i in range(n):
        rows[i] = [v / rows[i][i] for v in rows[i]]
        for k in set(range(n)) - {i}:
            rows[k] = [u - rows[k][i] * v for u, v in zip(rows[k], rows[i])]
    exact = np.array([float(row[-1]) for row in rows])
    ways = both_ways(lambda: np.linalg.solve(H, b))
    if ways is None:
        pytest.skip("the rounding cannot be chosen here")
    came = np.linalg.solve(H, b)
    shown = max(np.abs(way - came).max() for way in ways)
    assert np.abs(came - exact).max() <= 8 * shown + 4 * np.finfo(float).eps * np.abs(exact).max()


def test_a_sparsity_pattern_that_lacks_an_entry():
    sparse = pytest.importorskip("scipy.sparse")
    x = normal(0, 3)
    report = gradcheck(lambda x: x * x[::-1], lambda x: sparse.csr_array(np.diag(x[::-1])), x, kind="jacobian")
    assert report.verdict == "FAIL" and "the sparsity pattern of the Jacobian of x lacks row" in str(report)


# --- ties of several, and of opposite numbers


@SETTINGS
@given(SEEDS, st.integers(3, 6), st.sampled_from([0.3, 1.0, 7.0]))
def test_order_statistics_of_several_equal_numbers(seed, n, value):
    """Each of three equal numbers moves up to the first place or down to the last, never to its own."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([np.full(n, value), value + rng.uniform(1, 2, 2)])
    w = rng.standard_normal(n + 2)

    def backward(d, x):
        g = np.empty(n + 2)
        g[np.argsort(x, kind="stable")] = d * w
        return g

    def f(x):
        return np.sort(x) @ w

    assert gradcheck(f, backward, x, seed=seed).verdict != "FAIL"
    wrong = gradcheck(f, lambda d, x: backward(d, x) * 1.01, x, seed=seed)
    assert wrong.verdict == "FAIL", wrong


@SETTINGS
@given(SEEDS, st.integers(1, 3))
def test_the_largest_absolute_value_of_opposite_numbers(seed, n):
    x = np.concatenate([[3.0, -3.0], np.random.default_rng(seed).uniform(-1, 1, n)])

    def share(d, x):
        top = np.abs(x) == np.abs(x).max()
        return d * np.sign(x) * top / top.sum()

    assert gradcheck(lambda x: np.abs(x).max(), share, x, seed=seed).ok
    report = gradcheck(lambda x: np.abs(x).max(), lambda d, x: 2 * share(d, x), x, seed=seed)
    assert report.verdict == "FAIL" and "tied" in str(report)


@settings(max_examples=40 if SLOW else 5, deadline=None)
@given(SEEDS, st.booleans())
@example(5, False)
@example(16, True)
def test_a_network_whose_units_stand_at_zero(seed, strictly):
    """Whole numbers make many ties and kinks at once, which share entries."""
    rng = np.random.default_rng(seed)
    n, m = (int(size) for size in rng.integers(1, 6, 2))
    x, W, b = (rng.integers(-1, 2, shape).astype(float) for shape in ((n, m), (m, 3), 3))
    V = rng.normal(size=(3, 2))

    def f(x, W, b):
        return np.tanh(np.maximum(x @ W + b, 0) @ V)

    def backward(d, x, W, b, sign=1.0):
        z = x @ W + b
        d_z = d * (1 - f(x, W, b) ** 2) @ V.T * ((z > 0) if strictly else (z >= 0))
        return d_z @ W.T, sign * x.T @ d_z, d_z.sum(axis=0)

    report = gradcheck(f, backward, (x, W, b), seed=seed)
    assert report.verdict != "FAIL", report
    if np.abs(backward(np.ones((n, 2)), x, W, b)[1]).min() > 0.0:
        wrong = gradcheck(f, lambda d, *a: backward(d, *a, sign=-1.0), (x, W, b), seed=seed)
        assert wrong.verdict == "FAIL", wrong


def test_a_batch_norm_of_equal_rows_is_told_what_it_hides():
    """Its third term is 0 there, whatever its sign is."""
    def f(x):
        return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)

    def wrong(d, x):
        return (d - d.mean(0) + f(x) * (d * f(x)).mean(0)) / np.sqrt(x.var(0) + 1e-5)

    x = np.array([[0.3, 0.5, 1.0], [0.3, 0.5, 1.0]])
    report = gradcheck(f, wrong, x)
    assert report.ok and "x has equal rows: a term that vanishes where they agree cannot be seen" in report.notes
    assert gradcheck(f, wrong, x, also_near=2).verdict == "FAIL"


def nested(rng, low, high):
    """Minima and maxima of values[low:high], nested at random."""
    if high - low == 1:
        return lambda values: values[low]
    middle = rng.integers(low + 1, high)
    choose, first, second = rng.choice([np.minimum, np.maximum]), nested(rng, low, middle), nested(rng, middle, high)
    return lambda values: choose(first(values), second(values))


@settings(max_examples=40 if SLOW else 4, deadline=None)
@given(SEEDS, st.integers(2, 12), st.integers(2, 4))
@example(7, 12, 3)
def test_a_corner_where_several_pieces_meet(seed, n, pieces):
    """The slope of a piece is right, and so are means of them, whatever the differences along one entry say."""
    rng = np.random.default_rng(seed)
    pieces = min(n, pieces)
    slopes, x = rng.normal(size=(pieces, n)), rng.uniform(0.5, 2, n) * rng.choice([-1, 1], n)
    choice = nested(rng, 0, pieces)
    chosen = [int((v == choice(v)).argmax()) for v in rng.normal(size=(1000, pieces))]
    right = slopes[np.bincount(chosen, minlength=pieces) > 50]  # a piece that fills less may be missed

    def report(claim):
        return gradcheck(lambda t: choice(slopes @ (t - x)) + np.sum(np.sin(t)), lambda t: claim + np.cos(t), x,
                         kind="gradient", seed=seed)

    for claim in (right[0], right.mean(axis=0)):
        assert report(claim).verdict == "PASS", report(claim)
    for wrong in (2.0 * right.sum(axis=0), 0.5 * right[0], 0.0 * right[0]):
        assert report(wrong).verdict == "FAIL", report(wrong)


MINIMAX = {
    "three equal": (lambda x: np.minimum(np.maximum(x[0], x[1]), x[2]), [1.0, 1.0, 1.0], np.eye(3)),
    "one by another factor": (lambda x: np.minimum(np.maximum(2 * x[0], x[1]), x[2]), [1.0, 2.0, 2.0],
                              np.diag([2.0, 1.0, 1.0])),
    "two by another factor": (lambda x: np.maximum(2 * x[0], x[1]), [1.0, 2.0], np.diag([2.0, 1.0])),
    "the median": (lambda x: np.median(x), [1.0, 1.0, 1.0], np.eye(3)),
}


@pytest.mark.parametrize("x", [[1.0, 2, 2, 2, 7], [2.0, 2, 2], [0.5, -1, 0.5, 0.5, 3]])
def test_a_median_whose_backward_breaks_the_tie_by_the_order(x):
    """So it is unsteady: it goes to another entry as soon as the inputs change in their last place."""
    def times(factor):
        return lambda d, x: factor * d * np.eye(x.size)[np.argsort(x, kind="stable")[x.size // 2]]

    report = gradcheck(np.median, times(1.0), np.array(x))
    assert report.verdict == "PASS", report
    assert gradcheck(np.median, times(2.5), np.array(x)).verdict != "PASS"


@pytest.mark.parametrize("name", MINIMAX)
def test_ties_that_no_entry_shows_alone(name):
    f, x, right = MINIMAX[name]
    x = np.array(x)
    for claim in (*right, right.mean(axis=0)):
        report = gradcheck(f, lambda _, claim=claim: claim, x, kind="gradient")
        assert report.verdict == "PASS" and ("a tie" in str(report) or "kink" in str(report)), report
    for claim in (right.sum(axis=0), 0 * x, right[0] + 0.5 * right[1], 2 * right[0] - right[1]):
        report = gradcheck(f, lambda _, claim=claim: claim, x, kind="gradient")
        assert report.verdict == "FAIL", report
    assert "tied entries moved together" in str(gradcheck(f, lambda _: right.sum(axis=0), x, kind="gradient"))


@SETTINGS
@given(SEEDS)
def test_a_tie_of_three_in_float32_alone(seed):
    def ordered(x):
        if x.dtype != np.float32:
            raise TypeError("float32 only")
        return np.sort(x)

    def backward(d, x):
        g = np.empty_like(x)
        g[np.argsort(x, kind="stable")] = d
        return g

    for x in ([1, 1, 1], [2, 1, 1, 3, 1]):
        report = gradcheck(ordered, backward, np.array(x, np.float32), seed=seed)
        assert report.verdict == "PASS", report


def test_the_jacobian_of_a_sort_at_a_tie():
    x = np.array([1.0, 1.0, 1.0, 0.0])

    def jacobian(x):
        return np.eye(4)[np.argsort(x, kind="stable")]

    assert gradcheck(np.sort, jacobian, x, kind="jacobian").verdict == "PASS"
    both = gradcheck(np.maximum, lambda x, y: (np.diag(1.0 * (x >= y)), np.diag(1.0 * (y >= x))),
                     (np.array([1.0, 2.0]), np.array([1.0, 3.0])), kind="jacobian")
    assert both.verdict == "FAIL" and "tied" in str(both)


@pytest.mark.parametrize("rate", [1.0, 150.0, 1e4, 1e6])
def test_what_changes_fast_is_no_tie(rate):
    """Around the inputs, f has many slopes there, too."""
    x = np.array([0.3, 0.7, 1.0])
    for factor in (1.001, 0.5, 0.0):
        report = gradcheck(lambda x: np.sin(rate * x).sum(), lambda x, k=factor * rate: k * np.cos(rate * x),
                           x, kind="gradient")
        assert report.verdict == "FAIL", report
    jump = gradcheck(lambda x: x[0] * (x[1] >= 0.7), lambda x: np.array([0.5, 0.0]), x[:2], kind="gradient")
    assert jump.verdict == "FAIL", jump


def test_a_solver_is_named_for_small_errors_of_each_entry_alone():
    """A flipped sign of a small entry is small beside the largest one, but it is no tolerance."""
    x = np.array([30.0, 0.7, 20.0])

    def wrong(x):
        return 2 * x * [1, -1, 1]

    report = gradcheck(lambda x: np.sum(x**2), wrong, x, kind="gradient")
    assert report.verdict == "FAIL" and "rtol" not in str(report)
    off = 1 + np.array([3e-7, -1e-6, 5e-7])
    assert "rtol" in str(gradcheck(lambda x: np.sum(x**2), lambda x: 2 * x * off, x, kind="gradient"))
