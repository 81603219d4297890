"""The yardstick of the gradient checker: functions with right gradients, and wrong ones made of them.

    cases()         functions of many kinds, in float64 and, where it is meaningful, in float32
    mistakes(case)  wrong backward functions for one of them

Nothing here knows how the checker works. A right gradient is written by hand; a mistake changes what the right
backward function returns, or is a slip written out where it is made. Each mistake changes the gradient at the inputs
of `SEEDS` by at least the size that its kind promises: a symmetric gradient, for one, is never listed as transposed.
A mistake always hits the same place and, but for the one that ignores d_out, is linear in d_out: no checker finds it
by its oddity.

    sign          a whole gradient negated
    factor        times 2, 1/2 or 1/N with N the length of the first axis; the mean in place of a sum
    transpose     the gradient of a matrix transposed, which is another shape unless the matrix is square
    broadcast     the sum over a broadcast axis left out, or its first item taken
    entry         one entry of ordinary size off by 1e-1 to 1e-4 of itself (float32: 1e-1)
    zero          a whole gradient zero
    zero entry    one entry of ordinary size zero
    swap          the gradients of two inputs of equal shape exchanged
    term          a term of the chain or product rule dropped, or its factor forgotten
    last step     one step of a recursion wrong, the last or the first, and all others right
    ignores d_out the gradient of the sum of all outputs, whatever d_out is
    scaled array  a whole gradient off by 1e-4 of itself (float32: 1e-1)

Dims in the shapes: N rows, D inputs, H hidden, T steps, K classes or components, C channels.
"""

import math
from functools import partial
from typing import Any, Callable, NamedTuple

import numpy as np

SEEDS = (0, 1, 2)
KINDS = ("sign", "factor", "transpose", "broadcast", "entry", "zero", "zero entry", "swap", "term", "last step",
         "ignores d_out", "scaled array")
# The smallest errors that must be found, relative to what is wrong.
SIZES = {"float64": (1e-1, 1e-2, 1e-3, 1e-4), "float32": (1e-1,)}
# A slip that by chance changes less than this of the largest entry of its gradient is not listed.
LEAST = {"float64": 1e-2, "float32": 1e-1}


class Case(NamedTuple):
    """A function with its right gradient.

    ``f(*inputs) -> out`` and ``f_backward(d_out, *inputs)``, or ``f(*inputs) -> (out, cache)`` and
    ``f_backward(d_out, cache)``. f_backward returns a tuple with one gradient for each input, None for a constant.
    """

    name: str
    f: Callable
    f_backward: Callable
    inputs: Callable       # rng -> tuple of inputs, whose shapes do not depend on rng
    dtype: str = "float64"
    float32: bool = True   # whether float32 holds the numbers and their gradient
    terms: Any = ()        # {label: f_backward} of kind "term"
    steps: Any = ()        # {label: f_backward} of kind "last step"
    sequence: Any = None   # number of the leaf whose first axis is that of the steps, for mistakes in one step
    broadcasts: Any = ()   # {leaf number: (axes, what f_backward sums over them to get this gradient)}

    def __str__(self):
        return f"{self.name}, {self.dtype}"


class Mistake(NamedTuple):
    kind: str
    label: str
    f_backward: Callable

    def __str__(self):
        return f"{self.kind}: {self.label}"


# --- trees: tuples, lists, NamedTuples and dicts of leaves


def flat(tree, path=""):
    """All leaves as a list of (path, leaf)."""
    if isinstance(tree, dict):
        inner = [(f"[{key!r}]", item) for key, item in tree.items()]
    elif hasattr(tree, "_fields"):
        inner = [(f".{field}", item) for field, item in zip(tree._fields, tree)]
    elif isinstance(tree, (tuple, list)):
        inner = [(f"[{i}]", item) for i, item in enumerate(tree)]
    else:
        return [(path, tree)]
    return [leaf for name, item in inner for leaf in flat(item, path + name)]


def mapped(function, tree):
    """The tree with every leaf replaced by ``function(leaf)``."""
    if isinstance(tree, dict):
        return {key: mapped(function, item) for key, item in tree.items()}
    if hasattr(tree, "_fields"):
        return type(tree)(*(mapped(function, item) for item in tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(mapped(function, item) for item in tree)
    return function(tree)


def cast(tree, dtype):
    """The tree with its floating arrays in dtype; a Python float has no precision of its own and stays."""
    return mapped(lambda v: v.astype(dtype) if isinstance(v, np.ndarray) and v.dtype.kind == "f" else v, tree)


def forward(f, inputs):
    """The outputs of f, and the arguments of f_backward after d_out."""
    result = f(*inputs)
    if type(result) is tuple and len(result) == 2:
        return result[0], (result[1],)
    return result, inputs


def cotangent(out, rng):
    """A random d_out for ``out``."""
    return mapped(lambda v: np.asarray(rng.standard_normal(np.shape(v)), np.asarray(v).dtype)[()], out)


# --- the collection

_CASES = []


def add(name, f, f_backward, inputs, **more):
    _CASES.append(Case(name, f, f_backward, inputs, **more))


def elementwise(name, f, slope, inputs, terms=(), **more):
    """A function of one array, entry by entry; ``terms`` are wrong slopes."""

    def pull(slope):
        return lambda d_y, x: (d_y * slope(x),)

    add(name, f, pull(slope), inputs, terms={label: pull(wrong) for label, wrong in dict(terms).items()}, **more)


def normal(*shapes):
    return lambda rng: tuple(np.asarray(rng.standard_normal(shape)) for shape in shapes)


def uniform(low, high, *shapes):
    return lambda rng: tuple(np.asarray(rng.uniform(low, high, shape)) for shape in shapes)


def alternating(low, high, n):
    """Numbers of both signs, all at least ``low`` away from zero."""
    return lambda rng: (rng.uniform(low, high, n) * (-1.0) ** np.arange(n),)


def cases(dtype=None):
    """All cases, or those of one dtype; a float32 case casts the inputs of the float64 one."""

    def in_float32(case):
        return case._replace(dtype="float32", inputs=lambda rng: cast(case.inputs(rng), np.float32))

    every = _CASES + [in_float32(case) for case in _CASES if case.float32]
    return [case for case in every if dtype is None or case.dtype == np.dtype(dtype).name]


# Polynomials and rational functions


add("cubic of a Python float", lambda x: x**3 - 2 * x + 1, lambda d_y, x: (d_y * (3 * x**2 - 2),),
    lambda rng: (float(rng.uniform(1, 2)),), float32=False)

add("product of a Python float and an array", lambda a, x: a * x**2,
    lambda d_y, a, x: (float(np.sum(d_y * x**2)), d_y * 2 * a * x),
    lambda rng: (float(rng.uniform(1, 2)), rng.standard_normal(5)),
    terms={"the inner derivative of x^2": lambda d_y, a, x: (float(np.sum(d_y * x**2)), d_y * a)})

add("square of a number", lambda x: x * x, lambda d_y, x: (d_y * (x + x),), uniform(1, 2, ()),
    terms={"one of two factors": lambda d_y, x: (d_y * x,)})

elementwise("cubic", lambda x: x**3 - 2 * x, lambda x: 3 * x**2 - 2, normal(6),
            terms={"the linear term": lambda x: 3 * x**2})


def horner(c, x):
    y = np.zeros_like(x)
    for coefficient in c[::-1]:
        y = y * x + coefficient
    return y


def horner_backward(d_y, c, x):
    d_c = np.array([np.sum(d_y * x**k) for k in range(len(c))])
    return d_c, d_y * sum(k * c[k] * x ** (k - 1) for k in range(1, len(c)))


add("polynomial and its coefficients", horner, horner_backward, normal(4, 5))


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def rosenbrock_backward(d_y, x, from_left=1):
    d_x = np.zeros_like(x)
    rise = 200 * (x[1:] - x[:-1] ** 2)
    d_x[:-1] = -2 * rise * x[:-1] - 2 * (1 - x[:-1])
    d_x[1:] += from_left * rise
    return (d_y * d_x,)


add("Rosenbrock", rosenbrock, rosenbrock_backward, normal(6),
    terms={"the neighbour on the left": partial(rosenbrock_backward, from_left=0)})

elementwise("rational", lambda x: x / (1 + x**2), lambda x: (1 - x**2) / (1 + x**2) ** 2, normal(6),
            terms={"the denominator's derivative": lambda x: 1 / (1 + x**2)})

elementwise("near a pole", lambda x: 1 / x, lambda x: -1 / x**2, uniform(1e-3, 2e-3, 5))

add("quotient", lambda a, b: a / b, lambda d_y, a, b: (d_y / b, -d_y * a / b**2), uniform(1, 2, (2, 3), (2, 3)))

add("product of three", lambda a, b, c: np.sum(a * b * c), lambda d_y, a, b, c: (d_y * b * c, d_y * a * c, d_y * a * b),
    normal(4, 4, 4), terms={"a factor of d_c": lambda d_y, a, b, c: (d_y * b * c, d_y * a * c, d_y * a)})

add("power", lambda a, b: a**b, lambda d_y, a, b: (d_y * b * a ** (b - 1), d_y * a**b * np.log(a)),
    uniform(1.5, 3, 4, 4),
    terms={"the logarithm": lambda d_y, a, b: (d_y * b * a ** (b - 1), d_y * a**b)})


def harmonic_mean(x):
    y = len(x) / np.sum(1 / x)
    return y.astype(x.dtype), (x, y)


def harmonic_mean_backward(d_y, cache):
    x, y = cache
    return (d_y * (y / x) ** 2 / len(x),)


add("harmonic mean", harmonic_mean, harmonic_mean_backward, uniform(1, 4, 5))

# Compositions of exp, log and the trigonometric functions

elementwise("exp of sin", lambda x: np.exp(np.sin(x)), lambda x: np.exp(np.sin(x)) * np.cos(x), normal(6),
            terms={"the inner derivative": lambda x: np.exp(np.sin(x))})
elementwise("log of 1 + x^2", lambda x: np.log(1 + x**2), lambda x: 2 * x / (1 + x**2), normal((2, 3)))
elementwise("x log x", lambda x: x * np.log(x), lambda x: np.log(x) + 1, uniform(0.5, 3, 5),
            terms={"the second half of the product rule": np.log})
elementwise("sqrt of 1 + x^2", lambda x: np.sqrt(1 + x**2), lambda x: x / np.sqrt(1 + x**2), normal(5))
elementwise("tan", np.tan, lambda x: 1 + np.tan(x) ** 2, uniform(-1.2, 1.2, 5))
elementwise("rapid sine", lambda x: np.sin(100 * x), lambda x: 100 * np.cos(100 * x), normal(5),
            terms={"the frequency": lambda x: np.cos(100 * x)})

add("sine of an outer product", lambda a, b: np.sin(np.outer(a, b)),
    lambda d_y, a, b: ((d_y * np.cos(np.outer(a, b))) @ b, a @ (d_y * np.cos(np.outer(a, b)))), normal(3, 4))

add("angle of a vector", np.arctan2, lambda d_y, y, x: (d_y * x / (x**2 + y**2), -d_y * y / (x**2 + y**2)),
    uniform(0.5, 2, 4, 4))

add("length of a vector", np.hypot, lambda d_r, y, x: (d_r * y / np.hypot(y, x), d_r * x / np.hypot(y, x)),
    uniform(0.5, 2, 4, 4))


class Wave(NamedTuple):
    amplitude: np.ndarray  # ()
    rate: np.ndarray       # ()
    frequency: np.ndarray  # ()


def damped_wave(wave, t):
    decay, angle = wave.amplitude * np.exp(-wave.rate * t), wave.frequency * t
    return decay * np.cos(angle)


def damped_wave_backward(d_y, wave, t, decays=1):
    amplitude, rate, frequency = wave
    y = damped_wave(wave, t)
    slope = -frequency * amplitude * np.exp(-rate * t) * np.sin(frequency * t)
    d_wave = Wave(np.sum(d_y * y / amplitude), -np.sum(d_y * y * t), np.sum(d_y * slope * t / frequency))
    return d_wave, d_y * (slope - decays * rate * y)


add("damped wave", damped_wave, damped_wave_backward,
    lambda rng: (Wave(*map(np.asarray, rng.uniform(0.5, 2, 3))), rng.uniform(0, 2, 7)),
    terms={"the decay": partial(damped_wave_backward, decays=0)})

# Squashing functions


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def with_output(name, f, slope, inputs, terms=()):
    """A function of one array, entry by entry, whose slope is taken from its output."""

    def pull(slope):
        return lambda d_y, y: (d_y * slope(y),)

    def pair(x):
        y = f(x)
        return y, y

    add(name, pair, pull(slope), inputs, terms={label: pull(wrong) for label, wrong in dict(terms).items()})


with_output("sigmoid", sigmoid, lambda y: y * (1 - y), normal((2, 3)), terms={"the factor 1 - y": lambda y: y})
with_output("tanh", np.tanh, lambda y: 1 - y**2, normal((2, 3)))
with_output("flat tanh", np.tanh, lambda y: 1 - y**2, alternating(3, 4, 6))


def softplus(x):
    # In this form no exponential overflows, and there is no kink: the two halves cancel at zero.
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


elementwise("softplus", softplus, sigmoid, normal(6))
elementwise("swish", lambda x: x * sigmoid(x), lambda x: sigmoid(x) * (1 + x * (1 - sigmoid(x))), normal(6),
            terms={"the sigmoid's derivative": sigmoid})


def erf(x):
    return np.array([math.erf(v) for v in x], x.dtype)


def normal_pdf(x):
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def normal_cdf(x):
    return (1 + erf(x / math.sqrt(2))) / 2


elementwise("GELU by the error function", lambda x: x * normal_cdf(x), lambda x: normal_cdf(x) + x * normal_pdf(x),
            normal(6), terms={"the density": normal_cdf})

GELU_C, GELU_A = math.sqrt(2 / math.pi), 0.044715


def gelu(x):
    t = np.tanh(GELU_C * (x + GELU_A * x**3))
    return x * (1 + t) / 2, (x, t)


def gelu_backward(d_y, cache, cubic=1):
    x, t = cache
    inner = GELU_C * (1 + cubic * 3 * GELU_A * x**2)
    return (d_y * ((1 + t) / 2 + x / 2 * (1 - t**2) * inner),)


add("GELU by tanh", gelu, gelu_backward, uniform(0.5, 2, (2, 3)),
    terms={"tanh's part": lambda d_y, cache: (d_y * (1 + cache[1]) / 2,)})

# Softmax and its relatives


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_pull(d_p, p, centred=1):
    return p * (d_p - centred * np.sum(d_p * p, axis=-1, keepdims=True))


def logsumexp(x):
    top = x.max(axis=-1, keepdims=True)
    return np.log(np.sum(np.exp(x - top), axis=-1)) + top[..., 0]


add("logsumexp", logsumexp, lambda d_y, x: (d_y[:, None] * softmax(x),), normal((3, 4)))

add("softmax", lambda x: (softmax(x),) * 2, lambda d_p, p: (softmax_pull(d_p, p),), normal((3, 3)),
    terms={"the sum over classes": lambda d_p, p: (softmax_pull(d_p, p, centred=0),)})

add("log softmax", lambda x: x - logsumexp(x)[:, None],
    lambda d_y, x: (d_y - softmax(x) * d_y.sum(axis=1, keepdims=True),), normal((2, 4)),
    terms={"the normaliser": lambda d_y, x: (d_y,)})


def tempered(x, temperature):
    p = softmax(x / temperature)
    return p, (x, temperature, p)


def tempered_backward(d_p, cache, inner=1):
    x, temperature, p = cache
    d_z = softmax_pull(d_p, p)
    return d_z / temperature**inner, -np.sum(d_z * x) / temperature**2


add("softmax with a temperature", tempered, tempered_backward,
    lambda rng: (rng.standard_normal((2, 4)), np.asarray(rng.uniform(0.5, 2))),
    terms={"the inner derivative in x": partial(tempered_backward, inner=0)})


def cross_entropy(logits, labels):
    rows = np.arange(len(labels))
    return np.mean(logsumexp(logits) - logits[rows, labels]), (softmax(logits), labels)


def cross_entropy_backward(d_loss, cache, picked=1):
    p, labels = cache
    d_logits = p.copy()
    d_logits[np.arange(len(labels)), labels] -= picked
    return d_loss * d_logits / len(labels), None


def logits_and_labels(rng):
    return rng.standard_normal((4, 3)), rng.integers(0, 3, 4)


add("cross entropy with labels", cross_entropy, cross_entropy_backward, logits_and_labels,
    terms={"the label": partial(cross_entropy_backward, picked=0)})

add("logistic loss", lambda x, y: np.mean(softplus(x) - y * x),
    lambda d_loss, x, y: (d_loss * (sigmoid(x) - y) / x.size, None),
    lambda rng: (rng.standard_normal((2, 3)), rng.integers(0, 2, (2, 3)).astype(np.int8)))

# Matrices

add("matrix product", lambda A, B: A @ B, lambda d_C, A, B: (d_C @ B.T, A.T @ d_C), normal((3, 4), (4, 3)))
add("product of square matrices", lambda A, B: A @ B, lambda d_C, A, B: (d_C @ B.T, A.T @ d_C), normal((3, 3), (3, 3)),
    terms={"the transposition of B": lambda d_C, A, B: (d_C @ B, A.T @ d_C)})
add("products of stacked matrices", lambda A, B: A @ B,
    lambda d_C, A, B: (d_C @ np.swapaxes(B, 1, 2), np.swapaxes(A, 1, 2) @ d_C), normal((2, 3, 2), (2, 2, 3)))
add("matrix product against a shared matrix", lambda A, B: A @ B,
    lambda d_C, A, B: (d_C @ B.T, (np.swapaxes(A, 1, 2) @ d_C).sum(axis=0)), normal((3, 2, 2), (2, 3)),
    broadcasts={1: ((0,), lambda d_C, A, B: np.swapaxes(A, 1, 2) @ d_C)})
add("quadratic form", lambda x, A: x @ A @ x, lambda d_y, x, A: (d_y * (A @ x + x @ A), d_y * np.outer(x, x)),
    normal(4, (4, 4)), terms={"the transposed half": lambda d_y, x, A: (d_y * (A @ x), d_y * np.outer(x, x))})
add("bilinear form", lambda x, A, y: x @ A @ y, lambda d, x, A, y: (d * (A @ y), d * np.outer(x, y), d * (x @ A)),
    normal(3, (3, 3), 3))
add("A B A^T", lambda A, B: A @ B @ A.T,
    lambda d_C, A, B: (d_C @ A @ B.T + d_C.T @ A @ B, A.T @ d_C @ A), normal((3, 2), (2, 2)),
    terms={"the second A": lambda d_C, A, B: (d_C @ A @ B.T, A.T @ d_C @ A)})
add("matrix cubed", lambda A: A @ A @ A,
    lambda d_C, A: (d_C @ A.T @ A.T + A.T @ d_C @ A.T + A.T @ A.T @ d_C,), normal((3, 3)),
    terms={"the factor in the middle": lambda d_C, A: (d_C @ A.T @ A.T + A.T @ A.T @ d_C,)})
add("einsum", lambda x, T, y: np.einsum("bi,ijk,bk->bj", x, T, y),
    lambda d, x, T, y: (np.einsum("bj,ijk,bk->bi", d, T, y), np.einsum("bj,bi,bk->ijk", d, x, y),
                        np.einsum("bj,bi,ijk->bk", d, x, T)), normal((3, 2), (2, 2, 2), (3, 2)))
add("trace and diagonal", lambda A: {"trace": np.trace(A), "diagonal": np.diag(A) ** 2},
    lambda d, A: (np.diag(d["trace"] + d["diagonal"] * 2 * np.diag(A)),), normal((3, 3)))


def well_posed(n, *others):
    """A matrix (n, n) that is far from singular, and other normal arrays."""
    return lambda rng: (rng.standard_normal((n, n)) + 3 * np.eye(n), *normal(*others)(rng))


def solve(A, b):
    x = np.linalg.solve(A, b)
    return x, (A, x)


def solve_backward(d_x, cache, transposed=True):
    A, x = cache
    d_b = np.linalg.solve(A.T if transposed else A, d_x)
    return -np.outer(d_b, x), d_b


add("solve", solve, solve_backward, well_posed(3, 3),
    terms={"the transposition of A": partial(solve_backward, transposed=False)})

add("inverse", lambda A: (np.linalg.inv(A),) * 2, lambda d_B, B: (-B.T @ d_B @ B.T,), well_posed(3),
    terms={"the transpositions": lambda d_B, B: (-B @ d_B @ B,)})
add("determinant", np.linalg.det, lambda d_y, A: (d_y * np.linalg.det(A) * np.linalg.inv(A).T,), well_posed(3),
    terms={"the determinant": lambda d_y, A: (d_y * np.linalg.inv(A).T,)})
add("log determinant", lambda A: np.linalg.slogdet(A)[1], lambda d_y, A: (d_y * np.linalg.inv(A).T,), well_posed(3))


def cholesky(M):
    L = np.linalg.cholesky(M @ M.T + np.eye(len(M), dtype=M.dtype))
    return L, (M, L)


def cholesky_backward(d_L, cache, diagonal=0.5):
    M, L = cache
    inner = np.tril(L.T @ np.tril(d_L))
    inner -= (1 - diagonal) * np.diag(np.diag(inner))
    left = np.linalg.solve(L.T, inner)
    d_A = np.linalg.solve(L.T, left.T).T
    return ((d_A + d_A.T) @ M,)


add("Cholesky factor", cholesky, cholesky_backward, normal((3, 3)),
    terms={"the half on the diagonal": partial(cholesky_backward, diagonal=1)})


def eigenvalues(A):
    values, V = np.linalg.eigh(A + A.T)
    return values, V


add("eigenvalues of a symmetric matrix", eigenvalues, lambda d, V: (2 * (V * d) @ V.T,),
    lambda rng: (0.5 * rng.standard_normal((3, 3)) + np.diag([0.0, 4.0, 8.0]),))


def ridge(X, y, penalty):
    G = X.T @ X + penalty * np.eye(X.shape[1], dtype=X.dtype)
    w = np.linalg.solve(G, X.T @ y)
    return w, (X, y, G, w)


def ridge_backward(d_w, cache, gram=1):
    X, y, G, w = cache
    u = np.linalg.solve(G, d_w)
    return np.outer(y - X @ w, u) - gram * np.outer(X @ u, w), X @ u, -u @ w


add("ridge regression", ridge, ridge_backward,
    lambda rng: (rng.standard_normal((5, 3)), rng.standard_normal(5), np.asarray(rng.uniform(0.5, 2))),
    terms={"the second X of X^T X": partial(ridge_backward, gram=0)})

# Layers


def linear(x, W, b):
    return x @ W + b, (x, W)


def linear_backward(d_y, cache):
    x, W = cache
    return d_y @ W.T, x.T @ d_y, d_y.sum(axis=0)


add("linear layer", linear, linear_backward, normal((4, 3), (3, 3), 3), broadcasts={2: ((0,), lambda d_y, cache: d_y)},
    terms={"the input": lambda d_y, cache: (d_y @ cache[1].T, np.ones_like(cache[0]).T @ d_y, d_y.sum(axis=0))})


class Layer(NamedTuple):
    W: np.ndarray  # (D, H)
    b: np.ndarray  # (H,)


def tanh_layer(x, layer):
    y = np.tanh(x @ layer.W + layer.b)
    return y, (x, layer.W, y)


def tanh_layer_backward(d_y, cache):
    x, W, y = cache
    d_a = d_y * (1 - y**2)
    return d_a @ W.T, Layer(x.T @ d_a, d_a.sum(axis=0))


add("tanh layer in a NamedTuple", tanh_layer, tanh_layer_backward,
    lambda rng: (rng.standard_normal((4, 3)), Layer(rng.standard_normal((3, 2)), rng.standard_normal(2))),
    broadcasts={2: ((0,), lambda d_y, cache: d_y * (1 - cache[2] ** 2))},
    terms={"tanh's derivative": lambda d_y, cache: (d_y @ cache[1].T, Layer(cache[0].T @ d_y, d_y.sum(axis=0)))})


def perceptron(params, x, target):
    h, cache_1 = tanh_layer(x, Layer(**params["hidden"]))
    y, cache_2 = linear(h, *params["out"].values())
    return np.mean((y - target) ** 2), (cache_1, cache_2, y - target)


def perceptron_backward(d_loss, cache):
    cache_1, cache_2, error = cache
    d_y = d_loss * 2 * error / error.size
    d_h, d_W, d_b = linear_backward(d_y, cache_2)
    d_x, d_hidden = tanh_layer_backward(d_h, cache_1)
    return {"hidden": d_hidden._asdict(), "out": {"W": d_W, "b": d_b}}, d_x, -d_y


def perceptron_inputs(rng):
    hidden = {"W": rng.standard_normal((2, 3)), "b": rng.standard_normal(3)}
    out = {"W": rng.standard_normal((3, 2)), "b": rng.standard_normal(2)}
    return {"hidden": hidden, "out": out}, rng.standard_normal((4, 2)), rng.standard_normal((4, 2))


def perceptron_error(d_loss, cache):
    """What d_b of the last layer is the sum of."""
    return d_loss * 2 * cache[2] / cache[2].size


add("perceptron in nested dicts", perceptron, perceptron_backward, perceptron_inputs,
    broadcasts={3: ((0,), perceptron_error)})


def chain(matrices, x):
    xs = [x]
    for W in matrices:
        xs.append(xs[-1] @ W)
    return xs[-1], (matrices, xs)


def chain_backward(d_x, cache):
    matrices, xs = cache
    gradients = []
    for W, x in zip(matrices[::-1], xs[-2::-1]):
        gradients.insert(0, x.T @ d_x)
        d_x = d_x @ W.T
    return gradients, d_x


add("chain of matrices in a list", chain, chain_backward,
    lambda rng: ([rng.standard_normal((3, 3)) for _ in range(3)], rng.standard_normal((2, 3))))

EPS = 1e-5


def batch_norm(x, gain, bias):
    scale = 1 / np.sqrt(x.var(axis=0) + EPS)
    z = (x - x.mean(axis=0)) * scale
    return gain * z + bias, (z, scale, gain)


def batch_norm_backward(d_y, cache, mean=1, variance=1):
    z, scale, gain = cache
    d_z = d_y * gain
    d_x = scale * (d_z - mean * d_z.mean(axis=0) - variance * z * (d_z * z).mean(axis=0))
    return d_x, (d_y * z).sum(axis=0), d_y.sum(axis=0)


add("batch normalisation", batch_norm, batch_norm_backward, normal((5, 3), 3, 3),
    terms={"the mean": partial(batch_norm_backward, mean=0), "the variance": partial(batch_norm_backward, variance=0)},
    broadcasts={1: ((0,), lambda d_y, cache: d_y * cache[0]), 2: ((0,), lambda d_y, cache: d_y)})


def layer_norm(x, gain, bias):
    scale = 1 / np.sqrt(x.var(axis=1, keepdims=True) + EPS)
    z = (x - x.mean(axis=1, keepdims=True)) * scale
    return gain * z + bias, (z, scale, gain)


def layer_norm_backward(d_y, cache, mean=1, variance=1):
    z, scale, gain = cache
    d_z = d_y * gain
    d_x = scale * (d_z - mean * d_z.mean(axis=1, keepdims=True) - variance * z * (d_z * z).mean(axis=1, keepdims=True))
    return d_x, (d_y * z).sum(axis=0), d_y.sum(axis=0)


add("layer normalisation", layer_norm, layer_norm_backward, normal((3, 5), 5, 5),
    terms={"the mean": partial(layer_norm_backward, mean=0), "the variance": partial(layer_norm_backward, variance=0)},
    broadcasts={1: ((0,), lambda d_y, cache: d_y * cache[0])})


def rms_norm(x):
    size = np.sqrt(np.mean(x**2, axis=1, keepdims=True))
    return x / size, (x / size, size)


def rms_norm_backward(d_y, cache, size=1):
    y, rms = cache
    return ((d_y - size * y * np.mean(d_y * y, axis=1, keepdims=True)) / rms,)


add("root mean square normalisation", rms_norm, rms_norm_backward, normal((3, 4)),
    terms={"the size": partial(rms_norm_backward, size=0)})


def attention(q, k, v):
    p = softmax(q @ k.T / math.sqrt(q.shape[1]))
    return p @ v, (q, k, v, p)


def attention_backward(d_y, cache, centred=1, scaled=True):
    q, k, v, p = cache
    d_s = softmax_pull(d_y @ v.T, p, centred)
    if scaled:
        d_s = d_s / math.sqrt(q.shape[1])
    return d_s @ k, d_s.T @ q, p.T @ d_y


add("attention", attention, attention_backward, normal((3, 2), (4, 2), (4, 2)),
    terms={"softmax's sum": partial(attention_backward, centred=0),
           "the scale": partial(attention_backward, scaled=False)})


def convolution_1d(x, kernel):
    n = len(x) - len(kernel) + 1
    return sum(kernel[j] * x[j : j + n] for j in range(len(kernel)))


def convolution_1d_backward(d_y, x, kernel, flipped=1):
    d_x, d_kernel, n = np.zeros_like(x), np.zeros_like(kernel), len(d_y)
    for j in range(len(kernel)):
        d_x[j : j + n] += kernel[::flipped][j] * d_y
        d_kernel[j] = np.sum(d_y * x[j : j + n])
    return d_x, d_kernel


add("convolution in one dimension", convolution_1d, convolution_1d_backward, normal(9, 3),
    terms={"the kernel's direction": partial(convolution_1d_backward, flipped=-1)})


def convolution_2d(x, kernel, bias):
    # x (C, 4, 4), kernel (C_out, C, 2, 2), bias (C_out,) -> (C_out, 3, 3)
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[2:], axis=(1, 2))
    return np.einsum("cijab,ocab->oij", windows, kernel) + bias[:, None, None], (x, kernel, windows)


def convolution_2d_backward(d_y, cache):
    x, kernel, windows = cache
    d_x, (_, I, J) = np.zeros_like(x), d_y.shape
    for a, b in np.ndindex(kernel.shape[2:]):
        d_x[:, a : a + I, b : b + J] += np.einsum("oij,oc->cij", d_y, kernel[:, :, a, b])
    return d_x, np.einsum("oij,cijab->ocab", d_y, windows), d_y.sum(axis=(1, 2))


add("convolution in two dimensions", convolution_2d, convolution_2d_backward, normal((2, 4, 4), (2, 2, 2, 2), 2),
    broadcasts={2: ((1, 2), lambda d_y, cache: d_y)})

add("mean pooling", lambda x: x.reshape(2, 2, 3, 2).mean(axis=(1, 3)),
    lambda d_y, x: (np.repeat(np.repeat(d_y, 2, axis=0), 2, axis=1) / 4,), normal((4, 6)))

# Broadcasting

add("bias over a batch", lambda x, b: np.sin(x + b),
    lambda d_y, x, b: (d_y * np.cos(x + b), (d_y * np.cos(x + b)).sum(axis=0)), normal((5, 3), 3),
    broadcasts={1: ((0,), lambda d_y, x, b: d_y * np.cos(x + b))})
add("scale over channels", lambda x, s: x * s,
    lambda d_y, x, s: (d_y * s, (d_y * x).sum(axis=(0, 2), keepdims=True)[0]),
    normal((3, 4, 3), (4, 1)), broadcasts={1: ((0, 2), lambda d_y, x, s: d_y * x)})


def outer_sum_summands(d_y, a, b):
    return d_y * np.exp(a[:, None] + b)


add("outer sum", lambda a, b: np.exp(a[:, None] + b),
    lambda d_y, a, b: tuple(outer_sum_summands(d_y, a, b).sum(axis=axis) for axis in (1, 0)), normal(3, 4),
    broadcasts={0: ((1,), outer_sum_summands), 1: ((0,), outer_sum_summands)})
add("column times row", lambda a, b: a * b + a,
    lambda d_y, a, b: ((d_y * (b + 1)).sum(axis=1, keepdims=True), (d_y * a).sum(axis=0, keepdims=True)),
    normal((4, 1), (1, 3)), broadcasts={0: ((1,), lambda d_y, a, b: d_y * (b + 1))},
    terms={"the second a": lambda d_y, a, b: (
        (d_y * b).sum(axis=1, keepdims=True), (d_y * a).sum(axis=0, keepdims=True))})
add("number times array", lambda a, x: a * x, lambda d_y, a, x: (np.sum(d_y * x), d_y * a), normal((), (2, 3)),
    broadcasts={0: ((0, 1), lambda d_y, a, x: d_y * x)})
add("broadcast in the middle", lambda x, m: x**2 * m,
    lambda d_y, x, m: (d_y * 2 * x * m, (d_y * x**2).sum(axis=1, keepdims=True)),
    normal((2, 4, 3), (2, 1, 3)), broadcasts={1: ((1,), lambda d_y, x, m: d_y * x**2)},
    terms={"the inner derivative": lambda d_y, x, m: (d_y * m, (d_y * x**2).sum(axis=1, keepdims=True))})

# Sums, means and norms

add("mean of squares over rows", lambda x: np.mean(x**2, axis=0), lambda d_y, x: (d_y * 2 * x / len(x),),
    normal((5, 3)))
add("sum over the last axis", lambda x: np.sum(np.exp(x), axis=-1), lambda d_y, x: (d_y[..., None] * np.exp(x),),
    normal((2, 3, 2)))
add("plain mean", np.mean, lambda d_y, x: (np.full_like(x, d_y / x.size),), normal((3, 4)))


def shares(x):
    total = x.sum(axis=1, keepdims=True)
    return x / total, (x, total)


def shares_backward(d_y, cache, total=1):
    x, s = cache
    return (d_y / s - total * np.sum(d_y * x, axis=1, keepdims=True) / s**2,)


add("shares of a total", shares, shares_backward, uniform(0.5, 2, (3, 4)),
    terms={"the total": partial(shares_backward, total=0)})

add("variance over an axis", lambda x: np.var(x, axis=1),
    lambda d_y, x: (d_y[:, None] * 2 * (x - x.mean(axis=1, keepdims=True)) / x.shape[1],), normal((3, 5)),
    terms={"the mean": lambda d_y, x: (d_y[:, None] * 2 * x / x.shape[1],)})
add("norms of rows", lambda x: np.sqrt(np.sum(x**2, axis=1)),
    lambda d_y, x: ((d_y / np.sqrt(np.sum(x**2, axis=1)))[:, None] * x,), normal((3, 4)))
add("Frobenius norm", np.linalg.norm, lambda d_y, x: (d_y * x / np.linalg.norm(x),), normal((3, 3)))
add("3-norms of columns", lambda x: np.sum(x**3, axis=0) ** (1 / 3),
    lambda d_y, x: (d_y * (x / np.sum(x**3, axis=0) ** (1 / 3)) ** 2,), uniform(0.5, 2, (3, 2)))
add("geometric mean", lambda x: np.exp(np.mean(np.log(x))),
    lambda d_y, x: (d_y * np.exp(np.mean(np.log(x))) / (len(x) * x),), uniform(0.5, 2, 5))
add("weighted mean", lambda x, w: np.sum(x * w) / np.sum(w),
    lambda d_y, x, w: (d_y * w / np.sum(w), d_y * (x - np.sum(x * w) / np.sum(w)) / np.sum(w)),
    uniform(0.5, 2, 5, 5),
    terms={"the total of weights": lambda d_y, x, w: (d_y * w / np.sum(w), d_y * x / np.sum(w))})


def cosine(a, b):
    size_a, size_b = np.sqrt(a @ a), np.sqrt(b @ b)
    y = a @ b / (size_a * size_b)
    return y, (a / size_a, b / size_b, size_a, size_b, y)


def cosine_backward(d_y, cache, sizes=1):
    a, b, size_a, size_b, y = cache
    return d_y * (b - sizes * y * a) / size_a, d_y * (a - sizes * y * b) / size_b


add("cosine of an angle", cosine, cosine_backward, uniform(0.2, 2, 4, 4),
    terms={"the lengths": partial(cosine_backward, sizes=0)})

# Functions with kinks, at points well away from them


def around_one(rng):
    """Numbers of both signs, some below one and some above, all at least 0.28 away from it."""
    return (np.array([-2, -0.5, 0.5, 2, -0.6, 3]) * rng.uniform(0.8, 1.2, 6),)


elementwise("relu away from zero", lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(x.dtype),
            alternating(0.3, 2, 6))
elementwise("leaky relu away from zero", lambda x: np.where(x > 0, x, 0.1 * x),
            lambda x: np.where(x > 0, 1.0, 0.1).astype(x.dtype), alternating(0.3, 2, 6),
            terms={"the leak": lambda x: np.ones_like(x)})
elementwise("absolute value away from zero", np.abs, np.sign, alternating(0.3, 2, 6),
            terms={"the sign": lambda x: np.ones_like(x)})
elementwise("clipping away from the limits", lambda x: np.clip(x, -1, 1) * x,
            lambda x: np.where(abs(x) < 1, 2 * x, np.sign(x)), around_one,
            terms={"the product rule": lambda x: np.clip(x, -1, 1)})
elementwise("Huber loss away from the join", lambda x: np.where(abs(x) < 1, x**2 / 2, abs(x) - 0.5),
            lambda x: np.clip(x, -1, 1), around_one)

# Where the largest entry of each row, or of each pair of columns, is: the gap to the others is at least 0.6.
PEAKS = np.array([[2.0, 0.0, 1.0, 3.0], [1.0, 3.0, 4.0, 2.0], [3.0, 1.0, 0.0, 4.0]])


def peaks(rng):
    return (PEAKS + rng.uniform(-0.2, 0.2, PEAKS.shape),)


def maximum(x):
    return x.max(axis=1), (x.argmax(axis=1), np.zeros_like(x))


def maximum_backward(d_y, cache):
    where, zeros = cache
    d_x = zeros.copy()
    d_x[np.arange(len(where)), where] = d_y
    return (d_x,)


add("maximum without ties", maximum, maximum_backward, peaks)


def max_pool(x):
    pairs = x.reshape(len(x), -1, 2)
    y = pairs.max(axis=2)
    return y, pairs == y[:, :, None]


add("max pooling without ties", max_pool,
    lambda d_y, chosen: ((d_y[:, :, None] * chosen).reshape(len(d_y), -1),), peaks)


def ordered(x):
    order = np.argsort(x)
    return x[order] * np.arange(1, len(x) + 1).astype(x.dtype), order


def ordered_backward(d_y, order):
    d_x = np.empty_like(d_y)
    d_x[order] = d_y * np.arange(1, len(order) + 1).astype(d_y.dtype)
    return (d_x,)


def shuffled(rng):
    return (np.array([3.0, 0.0, 5.0, 1.0, 4.0, 2.0]) + rng.uniform(-0.2, 0.2, 6),)


add("sort without ties", ordered, ordered_backward, shuffled,
    terms={"the order": lambda d_y, order: (d_y * np.arange(1, len(order) + 1).astype(d_y.dtype),)})


def median_square(x):
    middle = np.argsort(x)[2:4]
    return np.square(np.mean(x[middle])), (x, middle)


def median_square_backward(d_y, cache):
    x, middle = cache
    d_x = np.zeros_like(x)
    d_x[middle] = d_y * np.mean(x[middle])
    return (d_x,)


add("square of the median without ties", median_square, median_square_backward, shuffled)

# Cumulative operations


def backwards(d_y):
    """The sums of d_y from each entry to the end."""
    return np.cumsum(d_y[::-1])[::-1]


add("cumulative sum", lambda x: np.cumsum(np.sin(x)), lambda d_y, x: (backwards(d_y) * np.cos(x),), normal(6),
    sequence=0, terms={"the later sums": lambda d_y, x: (d_y * np.cos(x),)})
add("cumulative product", np.cumprod, lambda d_y, x: (backwards(d_y * np.cumprod(x)) / x,), alternating(0.5, 2, 5),
    sequence=0, terms={"the later products": lambda d_y, x: (d_y * np.cumprod(x) / x,)})
add("product", np.prod, lambda d_y, x: (d_y * np.prod(x) / x,), alternating(0.5, 2, 5))


def differences_backward(d_y, x, before=1):
    d_gaps = d_y * 2 * np.diff(x, axis=0)
    d_x = np.zeros_like(x)
    d_x[1:] = d_gaps
    d_x[:-1] -= before * d_gaps
    return (d_x,)


add("squared differences of rows", lambda x: np.diff(x, axis=0) ** 2, differences_backward, normal((4, 2)), sequence=0,
    terms={"the earlier of two rows": partial(differences_backward, before=0)})

# Indexing


def take_rows(table, index):
    return np.sin(table[index]), (table, index)


def take_rows_backward(d_y, cache, adds=True):
    table, index = cache
    d_rows, d_table = d_y * np.cos(table[index]), np.zeros_like(table)
    if adds:
        np.add.at(d_table, index, d_rows)
    else:
        d_table[index] = d_rows
    return d_table, None


add("rows of a table", take_rows, take_rows_backward,
    lambda rng: (rng.standard_normal((4, 2)), np.array([3, 0, 0, 2, 1, 0])),
    terms={"all but the last use of a row": partial(take_rows_backward, adds=False)})


def scatter_add(x, values, index):
    y = x**2
    np.add.at(y, index, np.exp(values))
    return y


add("scatter by addition", scatter_add,
    lambda d_y, x, values, index: (d_y * 2 * x, d_y[index] * np.exp(values), None),
    lambda rng: (rng.standard_normal(4), rng.standard_normal(5), np.array([1, 3, 1, 0, 1])))

add("triangle of a matrix", lambda A: A[np.tril_indices(3)] ** 2, lambda d_y, A: (2 * A * lower(d_y),), normal((3, 3)))


def lower(v):
    """The lower triangular matrix (3, 3) with the entries v (6,)."""
    A = np.zeros((3, 3), v.dtype)
    A[np.tril_indices(3)] = v
    return A


add("concatenation", lambda a, b: np.tanh(np.concatenate([a, b], axis=1)),
    lambda d_y, a, b: (d_y[:, :2] * (1 - np.tanh(a) ** 2), d_y[:, 2:] * (1 - np.tanh(b) ** 2)),
    normal((3, 2), (3, 2)))
add("rolling and reversing", lambda x: np.roll(x, 1) * x[::-1],
    lambda d_y, x: (np.roll(d_y * x[::-1], -1) + (d_y * np.roll(x, 1))[::-1],), normal(6),
    terms={"the reversed factor": lambda d_y, x: (np.roll(d_y * x[::-1], -1),)})

# Recursions


def rnn(x, W, U, b, h):
    # x (T, N, D), W (D, H), U (H, H), b (H,), h (N, H) -> all states (T, N, H)
    hs = [h]
    for x_t in x:
        hs.append(np.tanh(x_t @ W + hs[-1] @ U + b))
    return np.stack(hs[1:]), (x, W, U, hs)


def rnn_backward(d_hs, cache, carry=1, skip=None):
    x, W, U, hs = cache
    d_x, d_W, d_U, d_b, d_h = (np.zeros_like(v) for v in (x, W, U, U[0], hs[0]))
    for t in reversed(range(len(x))):
        d_a = (d_hs[t] + d_h) * (1 - hs[t + 1] ** 2)
        d_h = carry * d_a @ U.T
        if t != skip:
            d_x[t] = d_a @ W.T
            d_W += x[t].T @ d_a
            d_U += hs[t].T @ d_a
            d_b += d_a.sum(axis=0)
    return d_x, d_W, d_U, d_b, d_h


add("RNN over time", rnn, rnn_backward, normal((4, 2, 2), (2, 3), (3, 3), 3, (2, 3)), sequence=0,
    terms={"what comes from later steps": partial(rnn_backward, carry=0)},
    steps={"the last step not counted": partial(rnn_backward, skip=3),
           "the first step not counted": partial(rnn_backward, skip=0)})


class State(NamedTuple):
    h: np.ndarray  # (N, H)
    c: np.ndarray  # (N, H)


def lstm_cell(params, x, state):
    i, f, o, g = np.split(x @ params["W_x"] + state.h @ params["W_h"] + params["b"], 4, axis=1)
    i, f, o, g = sigmoid(i), sigmoid(f), sigmoid(o), np.tanh(g)
    c = f * state.c + i * g
    return State(o * np.tanh(c), c), (params, x, state, i, f, o, g, np.tanh(c))


def lstm_cell_backward(d_new, cache, through_h=1, forget=1):
    params, x, (h, c), i, f, o, g, tanh_c = cache
    d_c = d_new.c + through_h * d_new.h * o * (1 - tanh_c**2)
    d_a = np.concatenate([d_c * g * i * (1 - i), forget * d_c * c * f * (1 - f), d_new.h * tanh_c * o * (1 - o),
                          d_c * i * (1 - g**2)], axis=1)
    d_params = {"W_x": x.T @ d_a, "W_h": h.T @ d_a, "b": d_a.sum(axis=0)}
    return d_params, d_a @ params["W_x"].T, State(d_a @ params["W_h"].T, d_c * f)


def lstm_params(rng, D, H):
    shapes = {"W_x": (D, 4 * H), "W_h": (H, 4 * H), "b": (4 * H,)}
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


add("LSTM cell with parameters in a dict", lstm_cell, lstm_cell_backward,
    lambda rng: (lstm_params(rng, 2, 2), rng.standard_normal((3, 2)), State(*rng.standard_normal((2, 3, 2)))),
    terms={"the way of h' to c'": partial(lstm_cell_backward, through_h=0),
           "the forget gate": partial(lstm_cell_backward, forget=0)})


def lstm(params, x):
    # x (T, N, D) -> the last state, from zero
    zeros = np.zeros((x.shape[1], len(params["W_h"])), x.dtype)
    state, caches = State(zeros, zeros), []
    for x_t in x:
        state, cache = lstm_cell(params, x_t, state)
        caches.append(cache)
    return state, (params, caches)


def lstm_backward(d_state, cache, skip=None, carry=1):
    params, caches = cache
    d_params, d_xs = {name: np.zeros_like(value) for name, value in params.items()}, []
    for t in reversed(range(len(caches))):
        d_step, d_x, d_state = lstm_cell_backward(d_state, caches[t])
        d_state = State(carry * d_state.h, d_state.c)
        d_xs.insert(0, d_x)
        if t != skip:
            d_params = {name: d_params[name] + d_step[name] for name in params}
    return d_params, np.stack(d_xs)


add("LSTM over time", lstm, lstm_backward, lambda rng: (lstm_params(rng, 1, 2), rng.standard_normal((4, 2, 1))),
    sequence=3,
    terms={"the way through h": partial(lstm_backward, carry=0)},
    steps={"the last step not counted": partial(lstm_backward, skip=3),
           "the first step not counted": partial(lstm_backward, skip=0)})


def moving_average(x, keep):
    # The first average is the first value.
    y = [x[0]]
    for x_t in x[1:]:
        y.append(keep * y[-1] + (1 - keep) * x_t)
    return np.stack(y), (x, keep, np.stack(y))


def moving_average_backward(d_y, cache, first=1):
    x, keep, y = cache
    d_x, d_keep, d = np.zeros_like(x), np.zeros_like(keep), np.zeros_like(x[0])
    for t in reversed(range(1, len(x))):
        d = d + d_y[t]
        d_x[t] = (1 - keep) * d
        d_keep = d_keep + np.sum(d * (y[t - 1] - x[t]))
        d = keep * d
    d_x[0] = d_y[0] + first * d
    return d_x, d_keep


add("moving average", moving_average, moving_average_backward,
    lambda rng: (rng.standard_normal((5, 2)), np.asarray(rng.uniform(0.5, 0.9))),
    sequence=0, steps={"the first value without the later ones": partial(moving_average_backward, first=0)})


def logistic_map(x, r):
    xs = [x]
    for _ in range(5):
        xs.append(r * xs[-1] * (1 - xs[-1]))
    return xs[-1], (xs[:-1], r)


def logistic_map_backward(d, cache, skip=None):
    xs, r = cache
    d_r = np.zeros_like(r)
    for t in reversed(range(len(xs))):
        if t != skip:
            d_r = d_r + np.sum(d * xs[t] * (1 - xs[t]))
        d = d * r * (1 - 2 * xs[t])
    return d, d_r


add("logistic map", logistic_map, logistic_map_backward,
    lambda rng: (rng.uniform(0.1, 0.4, 3), np.asarray(rng.uniform(1.5, 2))),
    steps={"the last step not counted": partial(logistic_map_backward, skip=4),
           "the first step not counted": partial(logistic_map_backward, skip=0)})


def pendulum(angle, speed, damping):
    # Six steps of length 0.3; all angles and speeds.
    path = [(angle, speed)]
    for _ in range(6):
        speed = speed - 0.3 * (np.sin(angle) + damping * speed)
        angle = angle + 0.3 * speed
        path.append((angle, speed))
    return {"angle": np.stack([a for a, _ in path[1:]]), "speed": np.stack([s for _, s in path[1:]])}, (path, damping)


def pendulum_backward(d, cache, gravity=1, skip=None):
    path, damping = cache
    d_angle = d_speed = d_damping = np.zeros_like(damping)
    for t in reversed(range(6)):
        angle, speed = path[t]
        d_angle = d_angle + d["angle"][t]
        d_speed = d_speed + d["speed"][t] + 0.3 * d_angle
        if t != skip:
            d_damping = d_damping - 0.3 * speed * d_speed
        d_angle = d_angle - gravity * 0.3 * np.cos(angle) * d_speed
        d_speed = d_speed - 0.3 * damping * d_speed
    return d_angle, d_speed, d_damping


# In float32 a NumPy number, unlike an array, would not stay one beside a Python number under NumPy 1: hence shape (1,).
add("pendulum", pendulum, pendulum_backward, uniform(0.2, 1, 1, 1, 1),
    terms={"gravity": partial(pendulum_backward, gravity=0)},
    steps={"the last step not counted": partial(pendulum_backward, skip=5),
           "the first step not counted": partial(pendulum_backward, skip=0)})

# Several outputs, nested inputs


class Moments(NamedTuple):
    mean: np.ndarray
    variance: np.ndarray


def moments(x):
    return Moments(x.mean(axis=0), x.var(axis=0))


def moments_backward(d, x, mean=1):
    return ((mean * d.mean + 2 * d.variance * (x - x.mean(axis=0))) / len(x),)


add("mean and variance in a NamedTuple", moments, moments_backward, normal((4, 3)),
    terms={"the first output": partial(moments_backward, mean=0)})


def polar(p):
    return {"x": p["r"] * np.cos(p["phi"]), "y": p["r"] * np.sin(p["phi"])}


def polar_backward(d, p, y=1):
    c, s = np.cos(p["phi"]), np.sin(p["phi"])
    return ({"r": d["x"] * c + y * d["y"] * s, "phi": p["r"] * (y * d["y"] * c - d["x"] * s)},)


add("polar coordinates in dicts", polar, polar_backward,
    lambda rng: ({"r": rng.uniform(0.5, 2, 4), "phi": rng.uniform(0, 6, 4)},),
    terms={"the second output": partial(polar_backward, y=0)})
add("three outputs in a tuple", lambda x, y: (x + y, x * y, x**2),
    lambda d, x, y: (d[0] + d[1] * y + d[2] * 2 * x, d[0] + d[1] * x), normal((2, 2), (2, 2)),
    terms={"the third output": lambda d, x, y: (d[0] + d[1] * y, d[0] + d[1] * x)})


class Ellipse(NamedTuple):
    centre: dict     # {"x": (), "y": ()}
    axes: np.ndarray  # (2,)


def ellipse(shape, t):
    a, b = shape.axes
    return {"points": {"x": shape.centre["x"] + a * np.cos(t), "y": shape.centre["y"] + b * np.sin(t)}, "area": a * b}


def ellipse_backward(d, shape, t, area=1):
    (a, b), d_x, d_y = shape.axes, d["points"]["x"], d["points"]["y"]
    d_axes = np.array([np.sum(d_x * np.cos(t)), np.sum(d_y * np.sin(t))]) + area * d["area"] * shape.axes[::-1]
    return Ellipse({"x": d_x.sum(), "y": d_y.sum()}, d_axes), d_y * b * np.cos(t) - d_x * a * np.sin(t)


add("ellipse in a NamedTuple with a dict", ellipse, ellipse_backward,
    lambda rng: (Ellipse(dict(zip("xy", normal((), ())(rng))), rng.uniform(1, 2, 2)), rng.uniform(0, 6, 5)),
    terms={"the area": partial(ellipse_backward, area=0)}, broadcasts={0: ((0,), lambda d, shape, t: d["points"]["x"])})

# Probability


elementwise("Gaussian density", normal_pdf, lambda x: -x * normal_pdf(x), normal(6),
            terms={"the inner derivative": lambda x: -normal_pdf(x)})


def log_likelihood(x, mean, log_sigma):
    z = (x - mean) * np.exp(-log_sigma)
    return np.sum(-(z**2) / 2 - log_sigma - math.log(2 * math.pi) / 2), (z, log_sigma)


def log_likelihood_backward(d_y, cache, normaliser=1):
    z, log_sigma = cache
    d_x = -d_y * z * np.exp(-log_sigma)
    return d_x, -d_x.sum(axis=0), (d_y * (z**2 - normaliser)).sum(axis=0)


add("Gaussian log likelihood", log_likelihood, log_likelihood_backward, normal((4, 2), 2, 2),
    terms={"the normaliser": partial(log_likelihood_backward, normaliser=0)},
    broadcasts={2: ((0,), lambda d_y, cache: d_y * (cache[0] ** 2 - 1))})


def multivariate(x, mean, L):
    # The Gaussian with covariance L L^T, L lower triangular: entries above the diagonal are not read.
    L = np.tril(L)
    z = np.linalg.solve(L, x - mean)
    return -np.sum(z**2 / 2 + np.log(np.diag(L))), (z, L)


def multivariate_backward(d_y, cache, determinant=1):
    z, L = cache
    u = np.linalg.solve(L.T, z)
    return -d_y * u, d_y * u, d_y * (np.tril(np.outer(u, z)) - determinant * np.diag(1 / np.diag(L)))


add("Gaussian with a triangular factor", multivariate, multivariate_backward,
    lambda rng: (rng.standard_normal(3), rng.standard_normal(3), 0.5 * rng.standard_normal((3, 3)) + 2 * np.eye(3)),
    terms={"the determinant": partial(multivariate_backward, determinant=0)})


def mixture(x, means, log_sigmas, logits):
    z = (x[:, None] - means) * np.exp(-log_sigmas)
    joint = logits - logsumexp(logits[None]) - log_sigmas - z**2 / 2
    return np.sum(logsumexp(joint)), (z, np.exp(-log_sigmas), softmax(joint), softmax(logits))


def mixture_backward(d_y, cache, prior=1):
    z, precision, posterior, weights = cache
    d_means = d_y * posterior * z * precision
    d_logits = d_y * (posterior - prior * weights)
    return -d_means.sum(axis=1), d_means.sum(axis=0), (d_y * posterior * (z**2 - 1)).sum(axis=0), d_logits.sum(axis=0)


add("mixture of Gaussians", mixture, mixture_backward, normal(5, 3, 3, 3),
    terms={"the normaliser of the weights": partial(mixture_backward, prior=0)})


class Normal(NamedTuple):
    mean: np.ndarray       # (D,)
    log_sigma: np.ndarray  # (D,)


def divergence(p, q):
    ratio = np.exp(2 * (p.log_sigma - q.log_sigma))
    z = (p.mean - q.mean) * np.exp(-q.log_sigma)
    return np.sum(q.log_sigma - p.log_sigma + (ratio + z**2 - 1) / 2), (ratio, z, q.log_sigma)


def divergence_backward(d_y, cache):
    ratio, z, log_sigma = cache
    d_mean = d_y * z * np.exp(-log_sigma)
    return Normal(d_mean, d_y * (ratio - 1)), Normal(-d_mean, d_y * (1 - ratio - z**2))


add("divergence of two Gaussians", divergence, divergence_backward,
    lambda rng: tuple(Normal(rng.standard_normal(3), 0.5 * rng.standard_normal(3)) for _ in range(2)))

add("Poisson regression with counts", lambda X, w, counts: np.sum(np.exp(X @ w) - (X @ w) * counts.astype(X.dtype)),
    lambda d_y, X, w, counts: (d_y * np.outer(np.exp(X @ w) - counts.astype(X.dtype), w),
                               d_y * (np.exp(X @ w) - counts.astype(X.dtype)) @ X, None),
    lambda rng: (rng.standard_normal((5, 3)), 0.5 * rng.standard_normal(3), rng.integers(0, 4, 5)),
    terms={"the counts": lambda d_y, X, w, counts: (d_y * np.outer(np.exp(X @ w), w), d_y * np.exp(X @ w) @ X, None)})


def squared_exponential(X, lengths):
    gaps = (X[:, None] - X) / lengths
    K = np.exp(-np.sum(gaps**2, axis=2) / 2)
    return K, (gaps, lengths, K)


def squared_exponential_backward(d_K, cache, columns=1):
    gaps, lengths, K = cache
    G = (d_K * K)[:, :, None]
    d_X = -((G + columns * np.swapaxes(G, 0, 1)) * gaps).sum(axis=1) / lengths
    return d_X, (G * gaps**2).sum(axis=(0, 1)) / lengths


add("squared exponential kernel", squared_exponential, squared_exponential_backward,
    lambda rng: (rng.standard_normal((4, 2)), rng.uniform(0.7, 2, 2)),
    terms={"the columns": partial(squared_exponential_backward, columns=0)})

# Awkward scales, offsets and zeros

SCALES = 10.0 ** np.arange(-8, 9, 2)


def in_scales(x):
    return x / SCALES.astype(x.dtype)


def drawn_in_scales(rng):
    return (SCALES * rng.uniform(0.5, 2, len(SCALES)),)


elementwise("entries from 1e-8 to 1e8", lambda x: np.sin(in_scales(x)),
            lambda x: in_scales(np.cos(in_scales(x))), drawn_in_scales)
add("sum of squares of entries from 1e-8 to 1e8", lambda x: np.sum(in_scales(x) ** 2),
    lambda d_y, x: (d_y * 2 * in_scales(in_scales(x)),), drawn_in_scales)
elementwise("squares of entries from 1e-8 to 1e8", lambda x: x**2, lambda x: 2 * x, drawn_in_scales)
elementwise("exp on the scale of 1e-6", lambda x: np.exp(x / 1e-6), lambda x: np.exp(x / 1e-6) / 1e-6,
            uniform(-2e-6, 2e-6, 5))
add("sum of squares on the scale of 1e-3", lambda x: np.sum((x / 1e-3) ** 2), lambda d_y, x: (d_y * 2 * x / 1e-3**2,),
    uniform(1e-3, 2e-3, 5))
elementwise("tiny inputs", lambda x: np.tanh(1e12 * x), lambda x: 1e12 / np.cosh(1e12 * x) ** 2,
            uniform(-1e-12, 1e-12, 5))
elementwise("huge inputs", lambda x: np.log(x), lambda x: 1 / x, uniform(1e7, 1e8, 5))
elementwise("outputs near 1e10", lambda x: 1e10 * np.cosh(x), lambda x: 1e10 * np.sinh(x), normal(5))
elementwise("outputs near 1e-10", lambda x: 1e-10 * np.sin(x), lambda x: 1e-10 * np.cos(x), normal(5))
add("a huge and a tiny factor", lambda a, b: a * np.sin(b / 1e-8),
    lambda d_y, a, b: (d_y * np.sin(b / 1e-8), d_y * a * np.cos(b / 1e-8) / 1e-8),
    lambda rng: (1e8 * rng.uniform(0.5, 2, 4), 1e-8 * rng.uniform(0.2, 1.2, 4)))
elementwise("offset 1e6", lambda x: 1e6 + np.sin(x), np.cos, normal(5), float32=False)
add("sum with an offset of 1e6", lambda x: 1e6 + np.sum(x**2), lambda d_y, x: (d_y * 2 * x,),
    normal((2, 3)), float32=False)
elementwise("inputs around 1e6", lambda x: np.sin(x - 1e6), lambda x: np.cos(x - 1e6),
            lambda rng: (1e6 + rng.standard_normal(5),), float32=False)
add("every second entry unused", lambda x: np.sum(x[::2] ** 3),
    lambda d_y, x: (d_y * 3 * x**2 * (np.arange(len(x)) % 2 == 0),), normal(7))
add("an input unused", lambda x, y: np.exp(x), lambda d, x, y: (d * np.exp(x), np.zeros_like(y)), normal(4, (2, 2)))
add("one output constant", lambda x: {"one": np.ones_like(x), "x": x * x}, lambda d, x: (2 * d["x"] * x,), normal(4))


# Other people's numbers: units, points where the slope vanishes, digits that are lost inside


def with_zero(n):
    return lambda rng: (np.concatenate([[0.0], rng.uniform(0.5, 2, n)]),)


elementwise("cube at 0 and elsewhere", lambda x: x**3, lambda x: 3 * x**2, with_zero(4))

elementwise("x^2 sigmoid(x) at 0 and elsewhere", lambda x: x**2 * sigmoid(x),
            lambda x: 2 * x * sigmoid(x) + x**2 * sigmoid(x) * (1 - sigmoid(x)), with_zero(4),
            terms={"the slope of the sigmoid": lambda x: 2 * x * sigmoid(x)})

ELECTRON = 9.1093837e-31  # kg

add("kinetic energy of an electron in J", lambda m, v: m * v**2 / 2, lambda d, m, v: (np.sum(d * v**2 / 2), d * m * v),
    lambda rng: (ELECTRON * rng.uniform(1, 2), rng.uniform(1e5, 1e6, 4)), float32=False)

elementwise("energy of momenta of 1e-24 kg m/s", lambda p: p**2 / (2 * ELECTRON), lambda p: p / ELECTRON,
            uniform(1e-25, 1e-24, 5), float32=False)

elementwise("entropy of probabilities of 1e-40", lambda p: -p * np.log(p), lambda p: -np.log(p) - 1,
            uniform(1e-41, 1e-40, 5), terms={"the derivative of the logarithm": lambda p: -np.log(p)}, float32=False)

elementwise("square roots of numbers from 1e-12 to 1e6", np.sqrt, lambda x: 0.5 / np.sqrt(x),
            lambda rng: (rng.uniform(1, 2, 7) * 10.0 ** np.arange(-12, 7, 3),), float32=False)

elementwise("sine with a thousand periods", lambda x: np.sin(6e3 * x), lambda x: 6e3 * np.cos(6e3 * x),
            uniform(0.5, 1.5, 4), float32=False)

elementwise("sine beside a large constant", lambda x: 1e5 + np.sin(x), np.cos, uniform(0, 1, 4), float32=False)


HILBERT = 1 / (np.arange(4)[:, None] + np.arange(4) + 1)  # its condition number is 15,500

add("solution with a Hilbert matrix", lambda b: np.linalg.solve(HILBERT, b),
    lambda d_x, b: (np.linalg.solve(HILBERT, d_x),), normal(4), float32=False)


def in_a_float32_buffer(d_y, x, W):
    gradient = np.empty(x.shape, np.float32)
    gradient[...] = (d_y * (1 - np.tanh(x @ W) ** 2)) @ W.T
    return gradient.astype(x.dtype), x.T @ (d_y * (1 - np.tanh(x @ W) ** 2))


add("layer with a float32 buffer in its backward pass", lambda x, W: np.tanh(x @ W), in_a_float32_buffer,
    normal((3, 4), (4, 3)), float32=False)


def cube_root(a):
    x = np.ones_like(a)
    while np.abs(x**3 - a).max() > 1e-10 * np.abs(a).max():
        x = x - (x**3 - a) / (3 * x**2)
    return x - (x**3 - a) / (3 * x**2), x


add("cube root by Newton's method", cube_root, lambda d_x, x: (d_x / (3 * x**2),), uniform(1, 8, 4), float32=False)


# --- mistakes


def spoiled(f_backward, changes):
    """f_backward with what it returns changed: {number of a leaf: function of the gradient}."""

    def wrong(d_out, *rest):
        gradients = f_backward(d_out, *rest)
        leaves = [leaf for _, leaf in flat(gradients)]
        changed = iter([changes[k](leaf) if k in changes else leaf for k, leaf in enumerate(leaves)])
        return mapped(lambda _: next(changed), gradients)

    return wrong


def scaled(factor):
    return lambda gradient: gradient * np.asarray(gradient).dtype.type(factor)


def scaled_at(index, factor):
    def change(gradient):
        gradient = np.array(gradient)
        gradient[index] *= factor
        return gradient if gradient.ndim else gradient[()]

    return change


def not_summed(full, axes, shape):
    return full


def first_item(full, axes, shape):
    return full[tuple(0 if axis in axes else slice(None) for axis in range(full.ndim))].reshape(shape)


def mean_of(full, axes, shape):
    return full.mean(axis=axes).reshape(shape)


def unsummed(case, k, reduced):
    """f_backward with gradient k made by ``reduced`` from what it is the sum of."""
    axes, summands = case.broadcasts[k]

    def wrong(d_out, *rest):
        full = summands(d_out, *rest)
        return spoiled(case.f_backward, {k: lambda right: reduced(full, axes, np.shape(right))})(d_out, *rest)

    return wrong


def _samples(case):
    """For each seed: the arguments of f_backward, and the right gradients by leaf."""
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        out, rest = forward(case.f, case.inputs(rng))
        arguments = cotangent(out, rng), *rest
        yield arguments, [leaf for _, leaf in flat(case.f_backward(*arguments))]


def _change(wrong, right):
    """The largest change of an entry, relative to the largest entry of its gradient."""
    changes = [0.0]
    for (_, w), r in zip(flat(wrong), right):
        if np.shape(w) != np.shape(r):
            return np.inf
        if r is not None and np.max(np.abs(w - r)) > 0:
            changes.append(float(np.max(np.abs(w - r)) / max(np.max(np.abs(r)), np.finfo(np.float64).tiny)))
    return max(changes)


def _ordinary(gradients):
    """The index at which the gradients (one for each seed) are all nearest to their median size, and never zero."""
    sizes = np.abs(np.array(gradients, np.float64))
    medians = [np.median(size[size > 0]) for size in sizes]
    with np.errstate(divide="ignore"):
        off = sum(np.abs(np.log(size / median)) for size, median in zip(sizes, medians))
    return tuple(int(i) for i in np.unravel_index(np.argmin(off), off.shape))


def mistakes(case):
    """The wrong backward functions for one case, as a list of `Mistake`."""
    samples = list(_samples(case))
    names = [path for path, _ in flat(case.inputs(np.random.default_rng(0)), "inputs")]
    gradients = {k: [right[k] for _, right in samples] for k in range(len(names)) if samples[0][1][k] is not None}
    largest = max(gradients, key=lambda k: min(np.max(np.abs(g)) for g in gradients[k]))
    shape, name = np.shape(gradients[largest][0]), names[largest]
    index = _ordinary(gradients[largest])
    entry = name + (f"[{', '.join(map(str, index))}]" if index else "")
    found = []

    def propose(kind, label, f_backward, size=LEAST[case.dtype]):
        # float32 keeps a factor to 1e-7 of itself.
        if min(_change(f_backward(*arguments), right) for arguments, right in samples) >= 0.999 * size:
            found.append(Mistake(kind, label, f_backward))

    def spoil(kind, label, changes, size=LEAST[case.dtype]):
        propose(kind, label, spoiled(case.f_backward, changes), size)

    spoil("sign", f"{name} negated", {largest: scaled(-1)}, 2)
    spoil("factor", f"{name} doubled", {largest: scaled(2)}, 1)
    spoil("factor", f"{name} halved", {largest: scaled(0.5)}, 0.5)
    if shape and shape[0] > 2:
        spoil("factor", f"{name} divided by {shape[0]}", {largest: scaled(1 / shape[0])}, 0.5)
    spoil("zero", f"{name} zero", {largest: scaled(0)}, 1)
    spoil("scaled array", f"{name} times 1 + {SIZES[case.dtype][-1]}", {largest: scaled(1 + SIZES[case.dtype][-1])},
          SIZES[case.dtype][-1])
    # The size of the entry itself is what these are relative to: `_ordinary` sees to it that it is not zero.
    for size in SIZES[case.dtype]:
        spoil("entry", f"{entry} times 1 + {size}", {largest: scaled_at(index, 1 + size)}, 0.0)
    spoil("zero entry", f"{entry} zero", {largest: scaled_at(index, 0)}, 0.0)
    for k, (first, *_) in gradients.items():
        if np.ndim(first) > 1:
            spoil("transpose", f"{names[k]} transposed", {k: np.transpose})
    shapes = {k: np.shape(g[0]) for k, g in gradients.items()}
    for k in shapes:
        for j in (j for j in shapes if j > k and shapes[j] == shapes[k]):
            propose("swap", f"{names[k]} and {names[j]} exchanged", swapped(case.f_backward, k, j))
    for k in dict(case.broadcasts):
        propose("broadcast", f"{names[k]} not summed", unsummed(case, k, not_summed))
        propose("broadcast", f"{names[k]} the first item of the sum", unsummed(case, k, first_item))
        propose("factor", f"{names[k]} the mean for the sum", unsummed(case, k, mean_of))
    for label, f_backward in dict(case.terms).items():
        propose("term", f"without {label}", f_backward)
    if case.sequence is not None:
        spoil("last step", f"{names[case.sequence]}[-1] doubled", {case.sequence: scaled_at(-1, 2)})
        spoil("last step", f"{names[case.sequence]}[0] zero", {case.sequence: scaled_at(0, 0)})
    for label, f_backward in dict(case.steps).items():
        propose("last step", label, f_backward)
    propose("ignores d_out", "ones in place of d_out",
            lambda d_out, *rest: case.f_backward(mapped(lambda v: np.ones_like(v)[()], d_out), *rest))
    return found


def swapped(f_backward, k, j):
    """f_backward with the gradients of leaves k and j exchanged."""

    def wrong(d_out, *rest):
        right = [leaf for _, leaf in flat(f_backward(d_out, *rest))]
        return spoiled(f_backward, {k: lambda _: right[j], j: lambda _: right[k]})(d_out, *rest)

    return wrong
