"""A forward function and its backward, called with their nested arguments taken apart into leaves."""

from functools import cached_property

import numpy as np

from . import trees
from .differences import COMPLEX_STEP, central_slope, complex_slope


class Pair:
    """f and f_backward, called with the structure of the inputs taken apart and put together again."""

    def __init__(self, f, f_backward, inputs, cache):
        self.f, self.f_backward, self.inputs, self.cache = f, f_backward, inputs, cache
        self.named = [
            (path, position, leaf)
            for position, tree in enumerate(inputs)
            for path, leaf in trees.leaves(tree, f"inputs[{position}]")
        ]
        self.leaves = [leaf for _, _, leaf in self.named]

    def tested(self, positions):
        """Numbers of the floating leaves of the inputs at ``positions``."""
        return [k for k, (_, i, leaf) in enumerate(self.named) if i in positions and trees.is_floating(leaf)]

    def eps(self, k):
        leaf = self.leaves[k]
        return float(np.finfo(np.asarray(leaf).dtype).eps) if trees.is_floating(leaf) else 0.0

    def arguments(self, values=None):
        """Fresh inputs, so that an f which writes into them spoils nothing of ours."""
        values = self.leaves if values is None else values
        copies = (v.copy() if isinstance(v, np.ndarray) else v for v in values)
        return tuple(trees.rebuild(self.inputs, copies))

    def forward(self, arguments):
        """Outputs, and a function d_out -> gradients."""
        result = self.f(*arguments)
        pair = type(result) is tuple and len(result) == 2
        if self.cache and not pair:
            raise TypeError(f"f: with cache=True expected a tuple (out, cache), got {type(result).__name__}")
        if pair if self.cache is None else self.cache:
            return result[0], lambda d_out: self.f_backward(d_out, result[1])
        return result, lambda d_out: self.f_backward(d_out, *arguments)

    def lay_out(self, gradients):
        """The gradients by leaf of the inputs, and sentences about where they do not fit."""
        n = len(self.inputs)
        if n == 1:
            # Bare, unless it is a tuple of one. Where the input itself is one, only ((a,),) is not bare.
            one = type(gradients) is tuple and len(gradients) == 1
            if not one or (type(self.inputs[0]) is tuple and type(gradients[0]) is not tuple):
                gradients = (gradients,)
        if type(gradients) not in (tuple, list) or len(gradients) != n:
            got = len(gradients) if type(gradients) in (tuple, list) else f"one {type(gradients).__name__}"
            return None, [f"f_backward returned {got} gradients, expected {n}, one for each input"]
        found, problems = [], []
        for i, (gradient, tree) in enumerate(zip(gradients, self.inputs)):
            below, wrong = trees.match(gradient, tree, f"gradient of inputs[{i}]")
            found += below
            problems += wrong
        return found, problems

    def widened(self):
        """The same pair on the same values in float64."""

        def wide(v):
            return trees.like(np.asarray(v, np.result_type(np.asarray(v).dtype, np.float64)), v)

        leaves = [wide(v) if trees.is_floating(v) else v for v in self.leaves]
        return Pair(self.f, self.f_backward, tuple(trees.rebuild(self.inputs, iter(leaves))), self.cache)

    def claims(self, cotangent, values=None):
        """What f_backward says, by leaf; ``cotangent`` by leaf of the outputs."""
        out, pull = self.forward(self.arguments(values))
        found, _ = self.lay_out(pull(laid_over(out, cotangent)))
        return [None if g is None or not trees.is_floating(g) else np.asarray(g) for g in found]

    def weights(self, cotangent):
        """The cotangent as one vector (M,)."""
        return np.concatenate([np.zeros(0), *(np.ravel(c).astype(np.float64) for c in cotangent if c is not None)])

    def spread(self, cotangent, claims, eps, rng):
        """How much each claim changes when every input changes by about its eps: three draws, the largest."""
        spread = [None if g is None else np.zeros(g.shape) for g in claims]
        for _ in range(3):
            try:
                others = self.claims(cotangent, self._jiggled(rng, eps))
            except (ValueError, ArithmeticError):  # the inputs were on the edge of where f is defined
                continue
            for k, (g, other) in enumerate(zip(claims, others)):
                if g is not None and other is not None and other.shape == g.shape:
                    spread[k] = np.fmax(spread[k], np.abs(other - g))
        return spread

    @cached_property
    def here(self):
        """All floating outputs at the inputs themselves, as one vector (M,)."""
        return self.outputs(self.leaves)

    @cached_property
    def largest(self):
        """The largest size of an input entry."""
        sizes = [np.abs(v).max(initial=0.0) for v in self.leaves if trees.is_floating(v)]
        return float(max(sizes, default=0.0))

    @property
    def noise(self):
        """Rounding of an output that is what remains of numbers as large as the inputs.

        Differences cannot see it when it makes f a staircase that is flat as far as they reach:
        (50 + log(1 + tiny)) - 50, for one.
        """
        return self.out_eps * self.largest

    def _jiggled(self, rng, eps):
        """The leaves with every entry changed by up to 2 eps of itself; ``eps`` by leaf."""
        return [
            trees.like(v * (1.0 + 2.0 * e * rng.uniform(-1.0, 1.0, np.shape(v))), v) if e else v
            for v, e in zip(self.leaves, eps)
        ]

    @cached_property
    def out_eps(self):
        """Machine precision of the coarsest output, which may be below that of the inputs."""
        out, _ = self.forward(self.arguments())
        dtypes = [np.asarray(v).dtype for _, v in trees.leaves(out) if trees.is_floating(v)]
        return max((float(np.finfo(dtype).eps) for dtype in dtypes), default=float(np.finfo(np.float64).eps))

    def outputs(self, values):
        """All floating outputs as one vector (M,)."""
        out, _ = self.forward(self.arguments(values))
        arrays = [v for _, v in trees.leaves(out) if trees.is_floating(v) or trees.is_complex(v)]
        return np.concatenate([np.zeros(0), *map(np.ravel, arrays)])

    def line(self, k, index, dtype):
        """t -> outputs (M,) where entry ``index`` of leaf k has the value t; floating leaves are cast to dtype."""
        base = [trees.like(np.asarray(v, dtype), v) if trees.is_floating(v) else v for v in self.leaves]

        def line(t):
            leaf = np.array(base[k])
            leaf[index] = t
            return self._tried([*base[:k], trees.like(leaf, self.leaves[k]), *base[k + 1 :]])

        return line

    def _tried(self, values):
        """The outputs, or nan where f is not defined."""
        try:
            with np.errstate(all="ignore"):
                return self.outputs(values)
        except (ValueError, ArithmeticError):
            return np.full(len(self.here), np.nan)

    def not_analytic(self, w, rng):
        """Why the complex step cannot be used, by one random direction; None when it can."""
        directions = [
            rng.standard_normal(np.shape(v)) * np.maximum(1.0, np.abs(v)) if trees.is_floating(v) else None
            for v in self.leaves
        ]

        def moved(t):
            return [v if d is None else trees.like(v + t * d, v) for v, d in zip(self.leaves, directions)]

        def line(t):
            return self._tried(moved(t))

        try:
            # First not through _tried: the message of a refusal is worth more than nan.
            self.outputs(moved(1j * COMPLEX_STEP))
            step = complex_slope(line, 0.0, w, self.out_eps)
        except (TypeError, ValueError, ArithmeticError) as error:
            return f"f refuses complex inputs ({error})"
        central = central_slope(line, 0.0, w, self.out_eps, self.noise, lambda slope: True)
        low, high = central.sides or (central.value - central.bound, central.value + central.bound)
        if low - step.bound <= step.value <= high + step.bound:
            return None
        return (
            "f is not analytic here: in one random direction it gives "
            f"{step.value:.10g}, central differences {central.value:.10g}"
        )


def laid_over(out, cotangent):
    """The cotangent as a tree like ``out``; constants among the outputs get None."""
    items = []
    for (_, leaf), c in zip(trees.leaves(out), cotangent):
        items.append(None if c is None else trees.like(np.array(c, np.asarray(leaf).dtype), leaf))
    return trees.rebuild(out, iter(items))
