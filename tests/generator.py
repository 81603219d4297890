"""Right and wrong gradients drawn at random: compositions of small primitives, each with a backward written by hand.

A `Composition` is a chain of 1 to 4 primitives. The first reads the input ``x``; a few read an input of their own
beside it. Each input has a physical unit between 1e-30 and 1e30, by which it is divided before anything else, and the
output may have one. What lies in between is of ordinary size. The backward is that of reverse accumulation:

    N1  h_{k+1} = p_k(h_k, own inputs of p_k),   d_k = sum of the terms of the backward of p_k

A mistake is one of these terms, of one primitive, multiplied by a factor: 0, -1, 2 or 1 + delta.

The same code runs in every precision. Its result in np.longdouble is the truth to which rounding and mistakes are
compared. Nothing here uses the checker or the package.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

Terms = tuple[tuple[Any, ...], ...]  # for h and each own input of a primitive, the terms of its gradient

LARGEST = 30     # entries of an array
AWAY = 0.05      # the least distance to a kink
COTANGENTS = 5   # draws of d_out, over which the smallest effect of a mistake counts
BEYOND = 100.0   # a mistake must change a gradient by so many times its rounding error, or it is none


class Primitive(NamedTuple):
    """One operation on a vector h (n,), with constants and inputs of its own."""

    name: str
    forward: Callable[..., tuple[Any, Any]]  # (h, constant, *own inputs) -> (out (m,), cache)
    backward: Callable[[Any, Any], Terms]    # (d_out, cache) -> the terms for h and for each own input
    fits: Callable[[Any], bool] = lambda h: True
    draw: Callable[..., tuple[Any, list[Any]]] = lambda rng, h, worst: (None, [])  # -> constant, own inputs
    homogeneous: bool = False  # p(u h) = u p(h) for u > 0: the unit may be taken off before or after it


class Step(NamedTuple):
    primitive: Primitive
    constant: Any
    own: tuple[int, ...]  # the numbers of its own inputs


class Mistake(NamedTuple):
    """The term of a primitive's backward that is wrong, its factor, and how much that changes."""

    step: int
    argument: int
    term: int
    factor: float
    error: float     # the largest change of an entry over the largest entry of that gradient
    rounding: float  # of the same gradient, relative as well, in float64


def elementwise(
    name: str, function: Any, terms: Any, fits: Any = lambda h: True, homogeneous: bool = False
) -> Primitive:
    """A primitive whose entries depend on one entry each; ``terms(x, y)`` are the terms of its derivative."""

    def forward(h: Any, constant: Any) -> tuple[Any, Any]:
        y = function(h)
        return y, (h, y)

    return Primitive(name, forward, lambda d, cache: (tuple(d * t for t in terms(*cache)),), fits,
                     homogeneous=homogeneous)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def solve(A: Any, b: Any) -> Any:
    """np.linalg.solve, and elimination with row exchanges for np.longdouble, which NumPy does not solve with."""
    if np.result_type(A, b) != np.longdouble:
        return np.linalg.solve(A, b)
    A, b = np.array(A, np.longdouble), np.array(b, np.longdouble)
    for k in range(len(b)):
        pivot = k + int(np.argmax(np.abs(A[k:, k])))
        A[[k, pivot]], b[[k, pivot]] = A[[pivot, k]], b[[pivot, k]]
        factors = A[k + 1 :, k] / A[k, k]
        A[k + 1 :] -= factors[:, None] * A[k]
        b[k + 1 :] -= factors * b[k]
    for k in reversed(range(len(b))):
        b[k] = (b[k] - A[k, k + 1 :] @ b[k + 1 :]) / A[k, k]
    return b


def forward_substitution(L: Any, b: Any) -> Any:
    x = np.zeros(len(b), np.result_type(L, b))
    for i in range(len(b)):
        x[i] = (b[i] - L[i, :i] @ x[:i]) / L[i, i]
    return x


def conditioned(rng: np.random.Generator, n: int, worst: float) -> Any:
    """A matrix (n, n) with singular values from 1 to a condition number of at most ``worst``."""
    condition = 10.0 ** rng.uniform(0.0, np.log10(worst))
    U, V = (np.linalg.qr(rng.standard_normal((n, n)))[0] for _ in range(2))
    return (U * condition ** np.linspace(0.0, 1.0, n)) @ V


def as_real(constant: Any, h: Any) -> Any:
    """A constant in the precision of h."""
    return np.asarray(constant, h.real.dtype)


def divisors(n: int) -> list[int]:
    return [r for r in range(1, n + 1) if n % r == 0]


def below(limit: float) -> Callable[[Any], bool]:
    return lambda h: bool(np.abs(h).max() <= limit)


def between(low: float, high: float) -> Callable[[Any], bool]:
    return lambda h: bool(h.min() >= low and h.max() <= high)


def away(h: Any) -> bool:
    return bool(np.abs(h).min() >= AWAY)


def maximum_forward(h: Any, c: Any, b: Any) -> tuple[Any, Any]:
    return np.maximum(h, b), (h, b)


def maximum_backward(d: Any, cache: Any) -> Terms:
    h, b = cache
    return (d * (h > b),), (d * (h <= b),)


def maximum_draw(rng: np.random.Generator, h: Any, worst: float) -> tuple[Any, list[Any]]:
    return None, [h + rng.choice([-1.0, 1.0], h.shape) * rng.uniform(2 * AWAY, 1.0, h.shape)]


def sum_forward(h: Any, c: Any) -> tuple[Any, Any]:
    return h.sum(keepdims=True), h


def sum_backward(d: Any, h: Any) -> Terms:
    return ((d * np.ones_like(h),),)


def mean_forward(h: Any, c: Any) -> tuple[Any, Any]:
    return h.mean(keepdims=True), h


def mean_backward(d: Any, h: Any) -> Terms:
    return ((d * np.ones_like(h) / h.size,),)


def logsumexp_forward(h: Any, c: Any) -> tuple[Any, Any]:
    top = h.max()
    y = top + np.log(np.exp(h - top).sum(keepdims=True))
    return y, (h, y)


def logsumexp_backward(d: Any, cache: Any) -> Terms:
    h, y = cache
    return ((d * np.exp(h - y),),)


def norm_forward(h: Any, c: Any) -> tuple[Any, Any]:
    y = np.linalg.norm(h, keepdims=True)
    return y, (h, y)


def norm_backward(d: Any, cache: Any) -> Terms:
    h, y = cache
    return ((d * h / y,),)


def prod_forward(h: Any, c: Any) -> tuple[Any, Any]:
    y = h.prod(keepdims=True)
    return y, (h, y)


def prod_backward(d: Any, cache: Any) -> Terms:
    h, y = cache
    return ((d * y / h,),)


def variance_forward(h: Any, c: Any) -> tuple[Any, Any]:
    m = h.mean()
    return ((h - m) ** 2).mean(keepdims=True), (h, m)


def variance_backward(d: Any, cache: Any) -> Terms:
    h, m = cache
    return ((2 * d * h / h.size, -2 * d * m * np.ones_like(h) / h.size),)


def cumsum_forward(h: Any, c: Any) -> tuple[Any, Any]:
    return np.cumsum(h), None


def cumsum_backward(d: Any, cache: Any) -> Terms:
    return ((np.cumsum(d[::-1])[::-1],),)


def matmul_forward(h: Any, c: Any, W: Any) -> tuple[Any, Any]:
    return h @ W, (h, W)


def matmul_backward(d: Any, cache: Any) -> Terms:
    h, W = cache
    return (W @ d,), (np.outer(h, d),)


def matmul_draw(rng: np.random.Generator, h: Any, worst: float) -> tuple[Any, list[Any]]:
    m = int(rng.integers(1, LARGEST // len(h) + 1))
    return None, [rng.standard_normal((len(h), m)) / np.sqrt(len(h))]


def solve_constant_forward(h: Any, A: Any) -> tuple[Any, Any]:
    return solve(as_real(A, h), h), as_real(A, h)


def solve_constant_backward(d: Any, A: Any) -> Terms:
    return ((solve(A.T, d),),)


def solve_constant_draw(rng: np.random.Generator, h: Any, worst: float) -> tuple[Any, list[Any]]:
    return conditioned(rng, len(h), worst), []


def solve_input_forward(h: Any, c: Any, A: Any) -> tuple[Any, Any]:
    y = solve(A, h)
    return y, (A, y)


def solve_input_backward(d: Any, cache: Any) -> Terms:
    A, y = cache
    v = solve(A.T, d)
    return (v,), (-np.outer(v, y),)


def solve_input_draw(rng: np.random.Generator, h: Any, worst: float) -> tuple[Any, list[Any]]:
    return None, [conditioned(rng, len(h), worst)]


def triangular_forward(h: Any, c: Any, L: Any) -> tuple[Any, Any]:
    y = forward_substitution(L, h)
    return y, (L, y)


def triangular_backward(d: Any, cache: Any) -> Terms:
    L, y = cache
    v = forward_substitution(L.T[::-1, ::-1], d[::-1])[::-1]
    return (v,), (-np.tril(np.outer(v, y)),)


def triangular_draw(rng: np.random.Generator, h: Any, worst: float) -> tuple[Any, list[Any]]:
    n = len(h)
    L = rng.standard_normal((n, n)) / n  # what lies above the diagonal is not read
    L[np.diag_indices(n)] = rng.uniform(1.0, 2.0, n) * rng.choice([-1.0, 1.0], n)
    return None, [L]


def quadratic_forward(h: Any, c: Any, Q: Any) -> tuple[Any, Any]:
    return (h @ Q @ h)[None], (h, Q)


def quadratic_backward(d: Any, cache: Any) -> Terms:
    h, Q = cache
    return (d * (Q @ h), d * (Q.T @ h)), (d * np.outer(h, h),)


def quadratic_draw(rng: np.random.Generator, h: Any, worst: float) -> tuple[Any, list[Any]]:
    return None, [rng.standard_normal((len(h), len(h)))]


def softmax_forward(h: Any, c: Any) -> tuple[Any, Any]:
    e = np.exp(h - h.max())
    y = e / e.sum()
    return y, y


def softmax_backward(d: Any, y: Any) -> Terms:
    return ((d * y, -y * (d * y).sum()),)


def outer_forward(h: Any, c: Any, b: Any) -> tuple[Any, Any]:
    return np.outer(h, b).ravel(), (h, b)


def outer_backward(d: Any, cache: Any) -> Terms:
    h, b = cache
    d = d.reshape(len(h), len(b))
    return (d @ b,), (d.T @ h,)


def outer_draw(rng: np.random.Generator, h: Any, worst: float) -> tuple[Any, list[Any]]:
    return None, [rng.standard_normal(int(rng.integers(1, LARGEST // len(h) + 1)))]


def add_forward(h: Any, c: Any, b: Any) -> tuple[Any, Any]:
    return (h.reshape(-1, len(b)) + b).ravel(), len(b)


def add_backward(d: Any, n: Any) -> Terms:
    return (d,), (d.reshape(-1, n).sum(axis=0),)


def row_draw(rng: np.random.Generator, h: Any, worst: float) -> tuple[Any, list[Any]]:
    return None, [rng.standard_normal(int(rng.choice(divisors(len(h)))))]


def multiply_forward(h: Any, c: Any, b: Any) -> tuple[Any, Any]:
    rows = h.reshape(-1, len(b))
    return (rows * b).ravel(), (rows, b)


def multiply_backward(d: Any, cache: Any) -> Terms:
    rows, b = cache
    d = d.reshape(rows.shape)
    return ((d * b).ravel(),), ((d * rows).sum(axis=0),)


def gather_forward(h: Any, indices: Any) -> tuple[Any, Any]:
    return h[indices], (h, indices)


def gather_backward(d: Any, cache: Any) -> Terms:
    h, indices = cache
    d_h = np.zeros_like(h)
    np.add.at(d_h, indices, d)
    return ((d_h,),)


def gather_draw(rng: np.random.Generator, h: Any, worst: float) -> tuple[Any, list[Any]]:
    return rng.integers(0, len(h), int(rng.integers(1, LARGEST + 1))), []


def transpose_forward(h: Any, rows: Any) -> tuple[Any, Any]:
    return h.reshape(rows, -1).T.ravel(), rows


def transpose_backward(d: Any, rows: Any) -> Terms:
    return ((d.reshape(-1, rows).T.ravel(),),)


def transpose_draw(rng: np.random.Generator, h: Any, worst: float) -> tuple[Any, list[Any]]:
    return int(rng.choice(divisors(len(h)))), []


def concatenate_forward(h: Any, c: Any, b: Any) -> tuple[Any, Any]:
    return np.concatenate([h, b, h]), len(h)


def concatenate_backward(d: Any, n: Any) -> Terms:
    return (d[:n], d[-n:]), (d[n:-n],)


def concatenate_draw(rng: np.random.Generator, h: Any, worst: float) -> tuple[Any, list[Any]]:
    return None, [rng.uniform(0.3, 2.0, int(rng.integers(1, LARGEST - 2 * len(h) + 1)))]


def power(p: float) -> Primitive:
    return elementwise(f"power {p}", lambda x: x**p, lambda x, y: (p * x ** (p - 1.0),), between(0.1, 10.0))


def rescale(unit: float) -> Primitive:
    """A division by a physical unit."""
    return elementwise(f"/ {unit:.0e}", lambda x: x / unit, lambda x, y: (np.ones_like(x) / unit,))


def at_most(n: int) -> Callable[[Any], bool]:
    return lambda h: len(h) <= n and bool(np.abs(h).max() <= 50.0)


PRIMITIVES = (
    elementwise("exp", np.exp, lambda x, y: (y,), below(5.0)),
    elementwise("log", np.log, lambda x, y: (1 / x,), between(0.05, 1e3)),
    elementwise("sin", np.sin, lambda x, y: (np.cos(x),), below(20.0)),
    elementwise("tanh", np.tanh, lambda x, y: (np.ones_like(x), -y * y), below(4.0)),
    elementwise("sigmoid", sigmoid, lambda x, y: (y, -y * y), below(8.0)),
    elementwise("sqrt", np.sqrt, lambda x, y: (1 / (2 * y),), between(0.05, 1e3)),
    elementwise("square", np.square, lambda x, y: (2 * x,), below(30.0)),
    elementwise("cube", lambda x: x**3, lambda x, y: (3 * x * x,), below(10.0)),
    elementwise("reciprocal", lambda x: 1 / x, lambda x, y: (-y * y,), lambda h: np.abs(h).min() > 0.1),
    elementwise("softplus", lambda x: np.log(1 + np.exp(x)), lambda x, y: (sigmoid(x),), below(8.0)),
    power(0.3), power(2.5), power(-1.5),
    elementwise("x log x", lambda x: x * np.log(x), lambda x, y: (np.log(x), np.ones_like(x)), between(0.05, 30.0)),
    elementwise("abs", np.abs, lambda x, y: (np.sign(x),), away, True),
    elementwise("relu", lambda x: np.maximum(x, 0), lambda x, y: (np.where(x > 0, 1, 0).astype(x.dtype),), away, True),
    Primitive("maximum", maximum_forward, maximum_backward, draw=maximum_draw),
    Primitive("sum", sum_forward, sum_backward, homogeneous=True),
    Primitive("mean", mean_forward, mean_backward, homogeneous=True),
    Primitive("logsumexp", logsumexp_forward, logsumexp_backward, below(8.0)),
    Primitive("norm", norm_forward, norm_backward, homogeneous=True),
    Primitive("prod", prod_forward, prod_backward, lambda h: len(h) <= 8 and np.abs(h).min() > 0.1),
    Primitive("variance", variance_forward, variance_backward, lambda h: len(h) > 1),
    Primitive("cumsum", cumsum_forward, cumsum_backward, homogeneous=True),
    Primitive("matmul", matmul_forward, matmul_backward, at_most(15), matmul_draw),
    Primitive("solve, constant", solve_constant_forward, solve_constant_backward, lambda h: 1 < len(h) <= 12,
              solve_constant_draw, True),
    Primitive("solve, input", solve_input_forward, solve_input_backward, lambda h: 1 < len(h) <= 5, solve_input_draw),
    Primitive("triangular solve", triangular_forward, triangular_backward, at_most(5), triangular_draw),
    Primitive("quadratic form", quadratic_forward, quadratic_backward, at_most(5), quadratic_draw),
    Primitive("softmax", softmax_forward, softmax_backward, lambda h: len(h) > 1 and np.abs(h).max() < 8.0),
    Primitive("outer", outer_forward, outer_backward, at_most(15), outer_draw),
    Primitive("add", add_forward, add_backward, draw=row_draw),
    Primitive("multiply", multiply_forward, multiply_backward, at_most(LARGEST), row_draw),
    Primitive("gather", gather_forward, gather_backward, draw=gather_draw, homogeneous=True),
    Primitive("transpose", transpose_forward, transpose_backward, draw=transpose_draw, homogeneous=True),
    Primitive("concatenate", concatenate_forward, concatenate_backward, at_most(14), concatenate_draw),
)


class Composition:
    """A function with its backward, and the inputs at which they are compared."""

    def __init__(self, steps: Sequence[Step], units: Sequence[float], inputs: Sequence[Any], kind: str, keeps: bool,
                 weights: Any) -> None:
        self.steps, self.units, self.inputs, self.kind, self.keeps = steps, units, tuple(inputs), kind, keeps
        self.weights = weights  # of the last vector, for kind="gradient"

    def __str__(self) -> str:
        names = " -> ".join(step.primitive.name for step in self.steps)
        arrays = ", ".join(f"{v.shape} in {u:.0e}" for v, u in zip(self.inputs, self.units))
        return f"{names}; {self.kind}{' with cache' * self.keeps}, {self.inputs[0].dtype}, inputs {arrays}"

    def run(self, inputs: Sequence[Any]) -> tuple[Any, list[Any]]:
        """The output, and the cache of each step."""
        h, caches = np.asarray(inputs[0]), []
        for step in self.steps:
            own = [np.asarray(inputs[k]) / self.units[k] for k in step.own]
            constant = (step.constant,) if step.own or step.constant is not None else (None,)
            h, cache = step.primitive.forward(h, *constant, *own)
            caches.append(cache)
        return (as_real(self.weights, h) @ h if self.kind == "gradient" else h), [h, *caches]

    def pull(self, d_out: Any, kept: list[Any], mistake: Mistake | None = None) -> tuple[Any, ...]:
        """Reverse accumulation (N1): one gradient for each input."""
        h, caches = kept[0], kept[1:]
        d = d_out * as_real(self.weights, h) if self.kind == "gradient" else d_out
        gradients: list[Any] = [None] * len(self.inputs)
        for number in reversed(range(len(self.steps))):
            step = self.steps[number]
            sums = []
            for argument, terms in enumerate(step.primitive.backward(d, caches[number])):
                if mistake and (mistake.step, mistake.argument) == (number, argument):
                    terms = [mistake.factor * t if n == mistake.term else t for n, t in enumerate(terms)]
                sums.append(sum(terms[1:], start=terms[0]))
            d = sums[0]
            for k, gradient in zip(step.own, sums[1:]):
                gradients[k] = gradient / self.units[k]
        gradients[0] = d
        return tuple(gradients)

    def pair(self, mistake: Mistake | None = None) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """f and f_backward as a user would pass them."""
        if self.kind == "gradient":
            def gradient(*inputs: Any) -> Any:
                out, kept = self.run(inputs)
                return self.pull(np.ones_like(out), kept, mistake)

            return lambda *inputs: self.run(inputs)[0], gradient
        if self.keeps:
            return lambda *inputs: self.run(inputs), lambda d, cache: self.pull(d, cache, mistake)
        return (lambda *inputs: self.run(inputs)[0],
                lambda d, *inputs: self.pull(d, self.run(inputs)[1], mistake))

    def gradients(self, dtype: Any, cotangent: Any, mistake: Mistake | None = None) -> tuple[Any, ...]:
        """The gradients with all numbers in one precision."""
        inputs = [np.asarray(v, dtype) for v in self.inputs]
        out, kept = self.run(inputs)
        return self.pull(np.asarray(cotangent, dtype), kept, mistake)

    def cotangents(self) -> list[Any]:
        """A few d_out; a single one if there is a single number to be differentiated."""
        shape = np.shape(self.run(self.inputs)[0])
        if int(np.prod(shape)) == 1:
            return [np.ones(shape)]
        return [np.random.default_rng(k).standard_normal(shape) for k in range(COTANGENTS)]

    def effect(self, mistake: Mistake) -> Mistake:
        """The mistake with its error and the rounding, for the input and the d_out where they show: see `Mistake`.

        Of several d_out the one counts for which the error is smallest. Of several inputs, the one for which it is
        largest.
        """
        shown = []
        for cotangent in self.cotangents():
            truth = self.gradients(np.longdouble, cotangent)
            wrong = self.gradients(np.longdouble, cotangent, mistake)
            double = self.gradients(np.float64, cotangent)
            of_inputs = [(0.0, 0.0)]
            for t, w, g in zip(truth, wrong, double):
                largest = np.abs(t).max()
                if largest > 0.0:
                    rounding = max(float(np.abs(g - t).max() / largest), float(np.finfo(np.float64).eps))
                    of_inputs.append((float(np.abs(w - t).max() / largest), rounding))
            shown.append(max(of_inputs))
        error, rounding = min(shown)
        return mistake._replace(error=error, rounding=rounding)

    def mistake(self, rng: np.random.Generator) -> Mistake | None:
        """One wrong term that changes a gradient by more than `BEYOND` times its rounding; None if there is none."""
        _, kept = self.run(self.inputs)
        d = np.ones_like(kept[0])
        terms = []
        for number in reversed(range(len(self.steps))):
            found = self.steps[number].primitive.backward(d, kept[1 + number])
            terms += [(number, a, t) for a, of in enumerate(found) for t in range(len(of))]
            d = sum(found[0][1:], start=found[0][0])
        for which in rng.permutation(len(terms)):
            delta = float(rng.choice([-1.0, 1.0]) * 10.0 ** rng.uniform(-6.0, 0.0))
            factor = float(rng.choice([0.0, -1.0, 2.0, 1.0 + delta], p=[0.2, 0.2, 0.1, 0.5]))
            mistake = self.effect(Mistake(*terms[which], factor, 0.0, 0.0))
            if mistake.error > BEYOND * mistake.rounding:
                return mistake
        return None


def draw(seed: int, worst: float | None = None) -> Composition:
    """The composition of a seed. ``worst`` is the largest condition number, by default 1e14, or 1e5 in float32."""
    rng = np.random.default_rng([21, seed])
    while True:
        composition = _attempt(rng, worst)
        if composition is not None:
            return composition


def _attempt(rng: np.random.Generator, worst: float | None) -> Composition | None:
    """One composition, or None if a number in between leaves the ordinary size or the dtype."""
    dtype = rng.choice([np.float64, np.float32])
    worst = worst or (1e14 if dtype == np.float64 else 1e5)
    kind = str(rng.choice(["backward", "gradient"]))
    n = int(rng.integers(1, rng.choice([4, 8, LARGEST]) + 1))
    h = rng.uniform(0.3, 2.0, n) if rng.integers(2) else rng.standard_normal(n)
    inputs, units = [h], [10.0 ** rng.uniform(-30.0, 30.0)]
    steps = [Step(rescale(units[0]), None, ())]
    for _ in range(int(rng.integers(1, 5))):
        fitting = [p for p in PRIMITIVES if p.fits(h)]
        primitive = fitting[rng.integers(len(fitting))]
        constant, own = primitive.draw(rng, h, worst)
        step = Step(primitive, constant, tuple(range(len(inputs), len(inputs) + len(own))))
        inputs += own
        units += [10.0 ** rng.uniform(-30.0, 30.0) for _ in own]
        h = primitive.forward(h, constant, *own)[0]
        steps.append(step)
        if not (np.isfinite(h).all() and 1e-3 < np.abs(h).max() < 1e3 and h.size <= LARGEST):
            return None
    if steps[1].primitive.homogeneous and rng.integers(2):
        steps[:2] = steps[1::-1]
    if rng.integers(2):
        out = rng.uniform(-30.0, 30.0)
        steps.append(Step(rescale(10.0**-out), None, ()))
    inputs = [np.asarray(v * u, dtype) for v, u in zip(inputs, units)]
    composition = Composition(steps, units, inputs, kind, bool(rng.integers(2)) and kind == "backward",
                              rng.uniform(0.5, 2.0, h.shape))
    return composition if _representable(composition) else None


def _representable(composition: Composition) -> bool:
    """Whether the output and the gradients are finite in the dtype of the inputs, and do not vanish below its range."""
    with np.errstate(all="ignore"):
        out, kept = composition.run(composition.inputs)
        numbers = [out, *composition.pull(np.ones_like(out), kept)]
        out, kept = composition.run([np.asarray(v, np.longdouble) for v in composition.inputs])
        truths = [out, *composition.pull(np.ones_like(out), kept)]
    limits = np.finfo(composition.inputs[0].dtype)
    if not all(np.isfinite(v).all() for v in numbers):
        return False
    sizes = [np.abs(v).max() for v in truths]
    return all(s == 0.0 or limits.tiny / limits.eps < s < limits.max / 1e3 for s in sizes)


def by_differences(composition: Composition, cotangent: Any) -> list[Any]:
    """The gradients by central differences in np.longdouble, extrapolated twice: independent of every backward."""
    inputs = [np.asarray(v, np.longdouble) for v in composition.inputs]
    gradients = [np.zeros_like(v) for v in inputs]
    for k, unit in enumerate(composition.units):
        for index in np.ndindex(inputs[k].shape):
            quotients = []
            for power_of_two in (8, 9, 10):
                step = np.longdouble(unit) * np.longdouble(2.0) ** -power_of_two
                ends = []
                for sign in (1, -1):
                    moved = [v.copy() for v in inputs]
                    moved[k][index] += sign * step
                    ends.append(composition.run(moved)[0])
                quotients.append(np.sum((ends[0] - ends[1]) / (2 * step) * cotangent))
            first = [(4 * b - a) / 3 for a, b in zip(quotients, quotients[1:])]
            gradients[k][index] = (16 * first[1] - first[0]) / 15
    return gradients
