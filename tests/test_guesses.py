"""Common mistakes of hand-written gradients, each with the guess that a user would want to read.

The list was written before the hypotheses of `diagnosis` that it tests. Threads are named where they show the mistake;
the functions are our own.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from l2l_ref import gradcheck
from l2l_ref.checking.diagnosis import Compared, diagnose
from l2l_ref.checking.entries import Checked

rng = np.random.default_rng(21)
A, X = rng.normal(size=(4, 4)), rng.normal(size=(6, 3))
SPD = A @ A.T + np.eye(4)
x4, w3, y6 = rng.normal(size=4), rng.normal(size=3), rng.normal(size=6)
p5, q5 = rng.uniform(0.5, 2.0, 5), rng.uniform(1.5, 3.0, 5)
rows = np.array([2, 0, 2, 1, 2])  # of an embedding: row 2 is read three times
kept = np.arange(18).reshape(6, 3) % 5 % 2  # by dropout


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


class Mistake(NamedTuple):
    """A function, its wrong derivative, and what the guess should be.

    Each word of `words` must be in the text of the guess; "a|b" means one of the two.
    """

    name: str
    f: Callable[..., Any]
    wrong: Callable[..., Any]
    inputs: Any
    patterns: str
    words: str = ""
    kind: str = "backward"


def bias_rows(x, b):
    return x + b


def embedding_numpy_adds_once(d, E):
    g = np.zeros_like(E)
    g[rows] += d  # NumPy adds once for each row, however often it is named
    return g


def shared_weight_last_step(d, w, X):
    for t in reversed(range(len(X))):
        g = d[t] * X[t]
    return g, d[:, None] * w


def windows_assigned(d, x):
    g = np.zeros_like(x)
    for i in range(len(d)):
        g[i : i + 3] = d[i] / 3
    return g


def hessian_of_rosenbrock(x):
    H = np.diag([1200 * x[0] ** 2 - 400 * x[1] + 2, 200.0])
    H[0, 1] = -400 * x[0]
    H[1, 0] = 400 * x[0]
    return H


def cross_block_left_out(x):
    H = np.zeros((5, 5))
    H[:2, :2] = 2 * x[2:].sum() * np.eye(2)
    return H


def gradient_of_two_blocks(x):
    """Of sum(a^2) sum(b), where a is x[:2] and b is x[2:]."""
    return np.concatenate([2 * x[:2] * x[2:].sum(), np.full(3, (x[:2] ** 2).sum())])


MISTAKES = [
    # Off by a function of the input.
    Mistake("derivative by log(variance), f takes the variance (scikit-learn#6701)",
            lambda v: (np.log(v) + q5 / v).sum(), lambda v: 1 - q5 / v, p5, "ratio", "input|times", "gradient"),
    Mistake("derivative by the variance, f takes its logarithm",
            lambda u: (u + q5 * np.exp(-u)).sum(), lambda u: (1 - q5 * np.exp(-u)) / np.exp(u), w3[[0, 1, 2, 0, 1]],
            "ratio", "exp", "gradient"),
    Mistake("exponent not lowered", lambda x: x**3, lambda d, x: 3 * d * x**3, x4, "ratio", "times"),
    Mistake("derivative by the variance, f takes the standard deviation",
            lambda s: (np.log(s) + q5 / (2 * s**2)).sum(), lambda s: (1 / s - q5 / s**3) / (2 * s), p5,
            "ratio", "2", "gradient"),
    Mistake("the square in the quotient rule left out", lambda x, s: x / s, lambda d, x, s: (d / s, -d * x / s),
            (p5, q5), "ratio", "times"),
    # Off by another input.
    Mistake("layer's scale left out on the way back", lambda x, scale: x * scale,
            lambda d, x, scale: (d, (d * x).sum(0)), (X, w3), "ratio", "scale"),
    Mistake("1/sigma^2 left out", lambda mu, sigma: -((y6 - mu) ** 2).sum() / (2 * sigma**2),
            lambda mu, sigma: ((y6 - mu), ((y6 - mu) ** 2).sum() / sigma**3), (y6 * 0.3 + 1, np.array(1.7)),
            "ratio", "sigma", "gradient"),
    Mistake("log of the base left out", lambda x, p: x**p, lambda d, x, p: (d * p * x ** (p - 1), d * x**p), (q5, p5),
            "ratio", "log"),
    # Off by a function of the output.
    Mistake("tanh' left out, in a layer", lambda W, x: np.tanh(W @ x),
            lambda d, W, x: (np.outer(d, x), W.T @ (d * (1 - np.tanh(W @ x) ** 2))), (A, x4), "ratio", "output"),
    Mistake("exp' left out", lambda x: np.exp(x), lambda d, x: d, x4, "ratio", "output"),
    Mistake("sqrt: times the output where it must be divided", lambda x: np.sqrt(x), lambda d, x: d * np.sqrt(x) / 2,
            p5, "ratio", "output|input"),
    Mistake("gradient of log f where f is asked for", lambda x: np.exp(-(x**2).sum()), lambda x: -2 * x, x4,
            "ratio", "output", "gradient"),
    Mistake("norm not divided by itself", lambda x: np.linalg.norm(x), lambda x: x, x4, "ratio", "output", "gradient"),
    Mistake("RMSE: gradient of the mean square", lambda w: np.sqrt(((X @ w - y6) ** 2).mean()),
            lambda w: 2 * X.T @ (X @ w - y6) / 6, w3, "ratio", "output", "gradient"),
    Mistake("sigmoid': x (1 - x) of the input", lambda x: sigmoid(x), lambda d, x: d * x * (1 - x), x4,
            "ratio", "output"),
    # Off by a factor.
    Mistake("sign of the residual (GaussianProcesses.jl#26)", lambda w: 0.5 * ((y6 - X @ w) ** 2).sum(),
            lambda w: X.T @ (y6 - X @ w), w3, "sign", "sign", "gradient"),
    Mistake("degrees", lambda x: np.sin(np.deg2rad(x)), lambda d, x: d * np.cos(np.deg2rad(x)), 40 * x4,
            "factor", "180"),
    Mistake("log10", lambda x: np.log10(x), lambda d, x: d / x, p5, "factor", "10"),
    Mistake("normaliser of the normal density", lambda x: np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi),
            lambda d, x: -d * x * np.exp(-(x**2) / 2), x4, "factor", "sqrt"),
    Mistake("volume of a ball: 3 for 4", lambda r: 4 / 3 * np.pi * r**3, lambda d, r: 3 * np.pi * d * r**2, p5,
            "factor", "3/4"),
    Mistake("sum, f is the mean (fromscratchtoml#65)", lambda X, w: ((X @ w) ** 2).mean(),
            lambda X, w: (2 * np.outer(X @ w, w), 2 * X.T @ (X @ w)), (X, w3), "factor", "6", "gradient"),
    # Something added, or not.
    Mistake("weight decay left out", lambda w: -np.log(sigmoid(X @ w)).sum() + 0.05 * (w**2).sum(),
            lambda w: -X.T @ (1 - sigmoid(X @ w)), w3, "added", "0.1", "gradient"),
    Mistake("L1 penalty left out", lambda w: 0.5 * ((X @ w - y6) ** 2).sum() + 0.3 * abs(w).sum(),
            lambda w: X.T @ (X @ w - y6), w3, "added", "sign", "gradient"),
    Mistake("the mean taken as a constant in x - mean(x)", lambda x: x - x.mean(0), lambda d, x: d, X,
            "added", "constant|axis"),
    Mistake("residual connection left out", lambda x: x + np.tanh(A @ x),
            lambda d, x: A.T @ (d * (1 - np.tanh(A @ x) ** 2)), x4, "added|term", "d_out|cotangent"),
    # Contributions that are left out.
    Mistake("embedding: += of repeated rows", lambda E: E[rows], embedding_numpy_adds_once, X, "overwrite", "+="),
    Mistake("gradient of a bias: the last row, not the sum", bias_rows, lambda d, x, b: (d, d[-1]), (X, w3),
            "overwrite", "last"),
    Mistake("weights shared by the steps, = in the loop (qixianbiao/RNN#2)", lambda w, X: X @ w,
            shared_weight_last_step, (w3, X), "overwrite", "first"),
    Mistake("moving average, = for +=", lambda x: (x[:-2] + x[1:-1] + x[2:]) / 3, windows_assigned, y6,
            "overwrite", "+="),
    Mistake("softmax: the diagonal alone", softmax, lambda d, x: d * softmax(x) * (1 - softmax(x)), X,
            "diagonal", "diagonal|own"),
    Mistake("the second of two outputs forgotten", lambda x: {"h": np.sin(x), "c": x**2},
            lambda d, x: d["h"] * np.cos(x), x4, "term", "c"),
    # The right numbers in the wrong places.
    Mistake("W for its transpose", lambda x: A @ x, lambda d, x: A @ d, x4, "transpose", "transpose"),
    Mistake("factors of a product not exchanged", lambda x, y: x * y, lambda d, x, y: (d * x, d * y), (p5, q5),
            "swap", ""),
    Mistake("kernel flipped", lambda w: np.convolve(y6, w), lambda d, w: np.convolve(d, y6[::-1], "valid")[::-1], w3,
            "flip|shift", "revers"),
    Mistake("bias summed over the wrong axis of a square", bias_rows, lambda d, x, b: (d, d.sum(1)), (A, x4),
            "broadcast|transpose", "axis"),
    # Right for some inputs.
    Mistake("leaky ReLU without its leak", lambda x: np.where(x > 0, x, 0.01 * x), lambda d, x: np.where(x > 0, d, 0),
            y6, "where", "negative"),
    Mistake("dropout: the mask left out", lambda x: 2 * x * kept, lambda d, x: 2 * d, X, "where", "0"),
    # One triangle.
    Mistake("logdet by a Cholesky factor that reads one triangle: the inverse (pytorch#18825)",
            lambda S: 2 * np.log(np.diag(np.linalg.cholesky(S))).sum(), lambda S: np.linalg.inv(S), SPD,
            "symmetric", "triangle", "gradient"),
    # Jacobians and Hessians.
    Mistake("Hessian of Rosenbrock: one of two signs", lambda x: np.array(
            [-400 * x[0] * (x[1] - x[0] ** 2) - 2 * (1 - x[0]), 200 * (x[1] - x[0] ** 2)]), hessian_of_rosenbrock,
            np.array([-1.2, 0.7]), "symmetric", "symmetric", "jacobian"),
    Mistake("cross block of a Hessian left out (statsmodels' ZeroInflatedPoisson)", gradient_of_two_blocks,
            cross_block_left_out, p5, "block|zero", "0", "jacobian"),
]


# Two are named by "a sum over an axis of the output is missing: it is that of the first (or last) index alone", which
# is true, under the pattern "broadcast". They count as missed.
TRUE_AS_WELL = {
    "gradient of a bias: the last row, not the sum": "broadcast",
    "weights shared by the steps, = in the loop (qixianbiao/RNN#2)": "broadcast",
}


def compared(C, G, rows=0, **known):
    """What `diagnose` is given for a wrong array: claim, right gradient, and a bound of rounding."""
    bound = np.full(np.shape(G), 1e-13 * np.abs(G).max())
    terms = known.pop("terms", np.zeros((0, *np.shape(G))))
    checked = Checked(0, None, np.asarray(C, float), np.asarray(G, float), bound, terms)
    return Compared("x", checked, known.pop("outputs", ()), rows=rows, **known)


def jacobian(f, x):
    """d f / d x of an analytic f, by the complex step."""
    columns = [np.imag(f(x + 1e-30j * unit.reshape(x.shape))) / 1e-30 for unit in np.eye(x.size)]
    return np.stack(columns, -1).reshape(np.shape(f(x)) + x.shape)


def guesses_at(mistake):
    if mistake.kind == "jacobian":  # row by row
        f, x = mistake.f, mistake.inputs
        G = jacobian(f, x)
        return diagnose([compared(mistake.wrong(x), G, rows=1, values=x, outputs_values=f(x))])
    return gradcheck(mistake.f, mistake.wrong, mistake.inputs, kind=mistake.kind).guesses


@pytest.fixture(scope="module")
def guesses():
    return [(mistake, guesses_at(mistake)) for mistake in MISTAKES]


def named(mistake, guesses):
    """Whether a guess has the pattern that is wanted and all of the words."""
    return any(
        guess.pattern in mistake.patterns.split("|")
        and all(any(word in guess.text for word in words.split("|")) for words in mistake.words.split())
        for guess in guesses
    )


def test_there_are_forty_and_each_is_wrong():
    assert len(MISTAKES) == 40
    verdicts = {m.name: gradcheck(m.f, m.wrong, m.inputs, kind=m.kind).verdict for m in MISTAKES}
    assert verdicts == {m.name: "FAIL" for m in MISTAKES}


def test_at_least_four_fifths_are_named(guesses):
    missed = [mistake.name for mistake, given in guesses if not named(mistake, given)]
    assert len(missed) <= 8, missed


def test_none_is_named_wrongly(guesses):
    """What is said without "perhaps" is of the pattern that the mistake was made by, or says only where."""
    wrong = {
        mistake.name: str(guess) for mistake, given in guesses for guess in given
        if guess.likely and guess.pattern not in {*mistake.patterns.split("|"), "place", TRUE_AS_WELL.get(mistake.name)}
    }
    assert not wrong


def test_nothing_is_said_twice(guesses):
    assert all(len(given) == 1 for _, given in guesses if given)


# --- numbers

def only(C, G, **known):
    """The text of the only guess, "" if there is none."""
    given = diagnose([compared(C, G, **known)])
    assert len(given) <= 1
    return str(given[0]) if given else ""


G5 = rng.normal(size=5)


@pytest.mark.parametrize(("k", "name"), [
    (np.pi / 180, "pi/180"), (180 / np.pi, "180/pi"), (np.log(10), "ln 10"), (1 / np.log(10), "1/ln 10"),
    (np.log(2), "ln 2"), (-np.sqrt(2), "-sqrt(2)"), (2 * np.pi, "2 pi"), (3 / 4, "3/4"), (-0.5, "-1/2"), (5, "5"),
    (np.exp(0.1), "1.10517"),
])
def test_a_factor_is_called_by_its_name(k, name):
    assert f"guess: the gradient of x is {name} times the right one" in only(k * G5, G5)


def test_a_factor_of_a_single_number_is_printed_if_it_has_a_name():
    assert only(np.array(0.444432 * 1.3), np.array(1.3)) == ""
    assert only(np.array(1.3 / 3), np.array(1.3)) == "perhaps: the gradient of x is 1/3 times the right one"


def test_the_lengths_of_other_inputs_are_known():
    text = only(G5 / 17, G5, others=[("data", np.ones((17, 4)))])
    assert "1/17 times the right one (axis 0 of data has length 17: a mean for a sum, or the reverse?)" in text
    assert "12/13 times the right one (axis 0 of data has length 13: n for n - 1?)" in only(
        G5 * 12 / 13, G5, others=[("data", np.ones(13))])


def test_the_factors_2_and_one_half_are_no_means():
    """They are common, and so are axes of length 2."""
    for k, name in ((2.0, "2"), (0.5, "1/2"), (-2.0, "-2")):
        assert only(k * G5, G5, others=[("data", np.ones((2, 4)))]) == (
            f"guess: the gradient of x is {name} times the right one")


# --- bounds that differ

def guess_of(C, G, B):
    checked = Checked(0, None, C, G, B, np.zeros((0, *G.shape)))
    return " ".join(map(str, diagnose([Compared("x", checked, ())])))


@pytest.mark.parametrize("seed", range(5))
def test_a_factor_has_the_digits_that_are_known(seed):
    draw = np.random.default_rng(seed)
    G, B = draw.normal(size=8), np.full(8, 1e-5)
    off = draw.uniform(-0.5, 0.5, 8) * B
    one = np.arange(8) == 0
    assert ": the sign is flipped there" in guess_of(np.where(one, G, -G + off), G, B)
    assert ": 3/4 times the right one there" in guess_of(np.where(one, G, 0.75 * G + off), G, B)
    unnamed = guess_of(1.2345678 * G + off, G, B)
    assert re.fullmatch(r"guess: the gradient of x is 1\.23\d{1,3} times the right one", unnamed), unnamed
    assert abs(float(unnamed.split()[6]) - 1.2345678) < 1e-3


def test_an_entry_that_is_not_resolved_is_no_exception():
    """It may be as wrong as the others: then where they are is no pattern."""
    G, B = np.array([1.0, -2.0, 1.5, 3.0, 2.0]), np.full(5, 1e-9)
    C = G + [0.0, 1e-3, -2e-3, 1e-3, 3e-3]
    assert "everything but the first index" in guess_of(C, G, B)
    for unresolved in (1e-2, 0.05):
        B[0] = unresolved
        assert guess_of(C, G, B) == ""
    G[0], B[0] = 1e6, 1e-2  # an error of 1e-3 would not be seen, one of a thousandth would
    assert guess_of(C, G, B) == ""


# --- what is no guess

def test_numbers_without_a_pattern_get_no_guess():
    for seed in range(300):
        draw = np.random.default_rng(seed)
        shape = [(), (1,), (2,), (3,), (5,), (2, 2), (3, 3), (4, 3), (2, 3, 2)][seed % 9]
        terms = draw.normal(size=(4, *shape))
        known = dict(
            values=draw.normal(size=shape), outputs_values=draw.normal(size=4), cotangent=draw.normal(size=4),
            terms=terms, outputs=[("out", (2, 2))], others=[("s", draw.normal()), ("t", draw.normal(size=shape))])
        assert only(draw.normal(size=shape), terms.sum(0), **known) == "", seed


def test_scattered_errors_get_no_guess():
    G = rng.normal(size=(6, 5))
    C = G.copy()
    for where in ((0, 0), (1, 4), (3, 2), (4, 1)):
        C[where] += rng.normal()
    assert only(C, G, values=rng.normal(size=(6, 5))) == ""


def test_a_coarse_bound_makes_no_likely_guess():
    """Where the bound is a thirtieth of the slope, two entries agree with many hypotheses by chance."""
    likely = 0
    for seed in range(200):
        draw = np.random.default_rng(seed)
        G, C = draw.normal(size=(2, 2))
        checked = Checked(0, None, C, G, np.abs(G) / 30, np.zeros((0, 2)))
        given = diagnose([Compared("x", checked, (), values=draw.normal(size=2), others=[("s", draw.normal(size=2))])])
        likely += any(guess.likely for guess in given)
    assert likely == 0


# --- single hypotheses

def test_the_parts_of_outputs():
    terms = rng.normal(size=(7, 3))
    G = terms.sum(0)
    a, c = terms[:4].sum(0), terms[5:].sum(0)
    known = dict(terms=terms, outputs=[("out.a", (2, 2)), ("out.b", ()), ("out.c", (2,))])
    assert "the part of the gradient of x that comes through out.a is missing" in only(G - a, G, **known)
    assert "comes through out.c has the wrong sign" in only(G - 2 * c, G, **known)
    assert "comes through out.c is there twice" in only(G + c, G, **known)
    assert "only the part of the gradient of x that comes through out.a is there" in only(a, G, **known)
    assert "through the first index of axis 0 of out.c is missing" in only(G - terms[5], G, **known)


def test_what_is_off_by_a_multiple():
    """Normalisations whose mean, norm or sum is taken as a constant."""
    f = gradcheck(lambda x: x / np.linalg.norm(x), lambda d, x: d / np.linalg.norm(x), y6)
    assert "off by a multiple of x that is constant along all axes (a norm taken as a constant?)" in str(f)
    f = gradcheck(softmax, lambda d, x: d * softmax(x), X)
    assert "off by a multiple of the output that is constant along axis 1 (a sum or a norm" in str(f)


def test_the_same_mistake_of_several_arrays_is_told_once():
    def backward(d, a, b, c):
        return -d * b * c, -d * a * c, -d * a * b

    report = gradcheck(lambda a, b, c: a * b * c, backward, (p5, q5, p5 + 1))
    (guess,) = report.guesses
    assert guess.path == "a, b, c" and guess.text == "the sign of the gradient of each of a, b and c is flipped"


def test_a_matrix_of_which_one_triangle_is_read():
    G = np.tril(rng.normal(size=(4, 4)))
    assert "the gradient of x is G + G.T, where G is the right one: f reads one triangle" in only(G + G.T, G)
    assert "the gradient of x is (G + G.T) / 2" in only((G + G.T) / 2, G)
    assert "everything but the diagonal doubled" in only(2 * G - np.diag(np.diag(G)), G)


# --- Jacobians and Hessians, row by row

J = rng.normal(size=(4, 4))
H = J + J.T


def spoiled(M, where, factor):
    C = M.copy()
    C[where] *= factor
    return C


@pytest.mark.parametrize(("C", "G", "text"), [
    (J.T, J, "guess: the Jacobian of x is transposed"),
    (spoiled(J, 2, -1), J, "only row 2 of the Jacobian of x is wrong: the sign is flipped there"),
    (spoiled(J, (slice(None), 1), 0), J, "only column 1 of the Jacobian of x is wrong: it is zero there"),
    (spoiled(J, slice(1, 3), 2), J, "only rows 1 to 2 of the Jacobian of x are wrong: 2 times the right one there"),
    (spoiled(J, (slice(2, 4), slice(0, 2)), 0), J, "only the block [2:4, 0:2] of the Jacobian of x is wrong"),
    (spoiled(J, (slice(None), 0), np.pi), J, "pi times the right one there"),
    (np.triu(H), H, "is not symmetric, and the right one is; only the part below the diagonal is wrong: it is zero"),
    (spoiled(H, (0, 3), -1), H, "is not symmetric, and the right one is; only [0, 3] is wrong"),
    ((J + J.T) / 2, J, "the Jacobian of x is (G + G.T) / 2"),
    (J * [1, 2, 3, 4], J, "the Jacobian of x is the right one times the factors [1, 2, 3, 4] along axis 1"),
])
def test_the_wrong_part_of_a_jacobian(C, G, text):
    assert text in only(C, G, rows=1)


def test_a_jacobian_that_is_off_by_a_function_of_its_output_or_input():
    y = rng.uniform(0.1, 0.9, 3)
    G = rng.normal(size=(3, 4))
    assert "the Jacobian of x is the right one divided by out * (1 - out), where out is the output" in only(
        G / (y * (1 - y))[:, None], G, rows=1, outputs_values=y, values=x4)
    assert "the Jacobian of x is x times the right one" in only(G * x4, G, rows=1, outputs_values=y, values=x4)
    tensor = rng.normal(size=(3, 3, 3, 3))
    assert "the Jacobian of x is transposed, axes (2, 3, 0, 1)" in only(tensor.transpose(2, 3, 0, 1), tensor, rows=2)
    assert "only the first index of output axis 1 of the Jacobian of x" in only(
        spoiled(tensor, (slice(None), 0), 1.3), tensor, rows=2)
