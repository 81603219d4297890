"""A forward function and its alleged derivative, called with nested arguments that are taken apart into leaves.

Every form of derivative is turned into a backward function: d_out -> gradients.
"""

from __future__ import annotations  # so that no annotation loads numpy.random

import contextlib
import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from . import trees
from .differences import both_ways
from .foreign import (
    as_numpy,
    attributes,
    dense_jacobian,
    from_numbers,
    is_sparse,
    refusal_of_input,
    stored_entries,
    vector_times_jacobian,
)

KINDS = ("backward", "gradient", "jacobian", "hvp")
MAY_BE = "f_backward takes any number of arguments: if these are the inputs alone, pass kind='gradient' or 'jacobian'"
DRAWS = 5  # times that all inputs are perturbed in their last place; a claim of 0 may stay 0 in three of them by chance

Backward = Callable[[Any], Any]  # d_out -> gradients
Arrays = list[Any]  # one array for each leaf, None for a constant


class Misfit(Exception):
    """A function returned something that cannot be used; the text is a sentence for the report."""


class Stopped(BaseException):
    """The budget is spent. It is no Exception, so that what catches those of f lets it through."""


ENDED = (Stopped, KeyboardInterrupt)  # either ends a check early, with what it knows by then


class Meter:
    """The number of calls of f, over all pairs of a check, and its limit. One call is kept for `Pair.restore`."""

    def __init__(self, limit: int | None = None, progress: Callable[[int], Any] | None = None) -> None:
        self.calls, self.limit, self.progress = 0, limit, progress

    def when(self, end: BaseException) -> str:
        """Why and when the check was ended early."""
        why = "max_evaluations is reached" if isinstance(end, Stopped) else "interrupted"
        return f"{why}, after {self.calls:,} calls of f"

    def count(self) -> None:
        """Count a call that is about to be made. Raises Stopped if it is one too many."""
        if self.limit is not None and self.calls >= self.limit - 1:
            raise Stopped
        self.calls += 1
        if self.progress is not None:
            self.progress(self.calls)


class Pair:
    """f and its derivative, called with inputs that are put together from their leaves.

    ``kind`` says how the derivative is called and what it returns, see `gradcheck`.
    """

    def __init__(
        self, f: Callable[..., Any], f_backward: Any, inputs: tuple[Any, ...], cache: bool | None = None,
        kind: str = "backward", wrt: int | str | Sequence[int | str] | None = None, meter: Meter | None = None,
    ) -> None:
        self.f, self.f_backward, self.inputs, self.cache, self.kind, self.wrt = f, f_backward, inputs, cache, kind, wrt
        self.meter = Meter() if meter is None else meter
        self.names = names_of(f, len(inputs))
        for name, tree in zip(self.names, inputs):
            for path, leaf in trees.as_they_are(tree, name):
                sentence = refusal_of_input(path, leaf)
                if sentence:
                    raise TypeError(sentence)
        self.named = [
            (path, position, leaf)
            for position, (name, tree) in enumerate(zip(self.names, inputs))
            for path, leaf in trees.leaves(tree, name)
        ]
        self.leaves = [leaf for _, _, leaf in self.named]  # arrays of other libraries as NumPy arrays
        self.patterns: dict[int, np.ndarray | None] = {}  # which entries of a sparse Jacobian are stored, by the leaf
        self.taken_as_cache = False  # whether an array was taken as a cache that may have been meant as an output

    @cached_property
    def positions(self) -> list[int]:
        """The inputs to check, in their order: those that ``wrt`` names, by default all that have floating leaves."""
        wrt: Any = self.wrt
        if wrt is None:
            wrt = range(1) if self.kind == "hvp" else range(len(self.inputs))
        positions = {self._position(item) for item in ([wrt] if isinstance(wrt, str) or np.ndim(wrt) == 0 else wrt)}
        if self.kind == "jacobian" and self.wrt is None:  # which is for arrays
            positions = {i for i in positions if attributes(self.inputs[i]) is None} or positions
        return [
            i for i in sorted(positions) if any(trees.is_floating(leaf) for _, leaf in trees.leaves(self.inputs[i]))
        ]

    def _position(self, item: Any) -> int:
        if isinstance(item, str):
            if item not in self.names:
                raise ValueError(f"wrt: expected names among {', '.join(self.names)}, got {item!r}")
            return self.names.index(item)
        item = item.item() if isinstance(item, np.integer) else item
        if type(item) is not int or not 0 <= item < len(self.inputs):
            raise ValueError(f"wrt: expected positions from 0 to {len(self.inputs) - 1}, got {item!r}")
        return item

    @cached_property
    def tested(self) -> list[int]:
        """The numbers of the floating leaves to check."""
        return [k for k, (_, i, leaf) in enumerate(self.named) if i in self.positions and trees.is_floating(leaf)]

    def path(self, k: int) -> str:
        """The path of leaf k, as in "params.W_x"."""
        return self.named[k][0]

    def eps(self, k: int) -> float:
        """The machine precision of leaf k, 0 for a constant."""
        leaf = self.leaves[k]
        return float(np.finfo(np.asarray(leaf).dtype).eps) if trees.is_floating(leaf) else 0.0

    def arguments(self, values: Iterable[Any] | None = None) -> tuple[Any, ...]:
        """A copy of the inputs, with the leaves ``values`` if given. An f that writes into it does no harm."""
        values = self.leaves if values is None else values
        copies = (_copy(v, leaf) for v, leaf in zip(values, self.leaves))
        return tuple(trees.rebuild(self.inputs, copies))

    def forward(self, arguments: tuple[Any, ...]) -> tuple[Any, Backward]:
        """Call f. Return its outputs, and a function d_out -> gradients."""
        self.meter.count()
        result = self.f(*arguments)
        if self.kind in ("jacobian", "hvp") and trees.children(self.inputs[0]) is None:
            array = from_numbers(result)  # as SciPy takes it
            result = result if array is None else array
        if self.kind == "backward":
            pair = type(result) is tuple and len(result) == 2
            if self.cache and not pair:
                raise TypeError(f"f: with cache=True expected a tuple (out, cache), got {type(result).__name__}")
            if pair if self.cache is None else self.cache:
                self.taken_as_cache = self.cache is None and isinstance(result[1], np.ndarray)
                return result[0], lambda d_out: self.f_backward(d_out, result[1])
            return result, lambda d_out: self.f_backward(d_out, *arguments)
        if self.kind == "hvp":  # a Hessian is symmetric, so its product with a vector is the gradient's backward
            return result, lambda d_out: (self.f_backward(*arguments, d_out), *[None] * (len(arguments) - 1))
        if self.kind == "gradient":
            gradients = None
            if self.f_backward is True:
                if type(result) is not tuple or len(result) != 2:
                    raise TypeError(f"f: with f_backward=True expected (value, gradient), got {type(result).__name__}")
                result, gradients = result
            value = as_numpy(result)
            one = trees.children(value) is None or trees.is_complex(value)
            if not one or np.size(value) != 1:
                got = f"shape {np.shape(value)}" if one else f"a {type(result).__name__}"
                hint = "; if that is (value, gradient), pass f_backward=True" if _is_value_and_more(result) else ""
                raise TypeError(f"f: with kind='gradient' expected one number, got {got}{hint}")
            return result, lambda d_out: _times(
                self.f_backward(*arguments) if gradients is None else gradients, np.ravel(as_numpy(d_out))[0]
            )
        return result, lambda d_out: self._rows(self.f_backward(*arguments), d_out)

    def _rows(self, jacobians: Any, d_out: Any) -> tuple[Any, ...]:
        """d_out^T J for each input."""
        d_out = np.asarray(as_numpy(d_out))
        products: list[Any] = [None] * len(self.inputs)
        for i, jacobian in self._jacobians(jacobians, d_out).items():
            products[i], problems = vector_times_jacobian(d_out, jacobian, np.shape(as_numpy(self.inputs[i])))
            if problems:
                raise Misfit(f"the Jacobian of {self.names[i]} {problems[0]}")
        return tuple(products)

    def _jacobians(self, jacobians: Any, out: Any) -> dict[int, Any]:
        """The Jacobians that f_backward returned, by the number of the input."""
        if len(self.positions) == 1:
            shape = np.shape(out) + np.shape(as_numpy(self.inputs[self.positions[0]]))
            bare = type(jacobians) is not tuple or _are_numbers(jacobians, shape)
            jacobians = (jacobians,) if bare else jacobians
        given: Sequence[int] = self.positions
        if type(jacobians) not in (tuple, list) or len(jacobians) not in (len(given), len(self.inputs)):
            raise Misfit(f"f_backward: expected {len(given)} Jacobians, one for each input")
        if len(jacobians) == len(self.inputs):
            given = range(len(self.inputs))
        found: dict[int, Any] = {}
        for i, jacobian in zip(given, jacobians):
            if jacobian is not None and trees.is_floating(self.inputs[i]):
                found[i] = jacobian
        return found

    def matrices(self, values: Iterable[Any] | None = None) -> Arrays:
        """The Jacobian or Hessian that f_backward returns for each leaf, of shape out.shape + leaf.shape.

        That of kind="hvp" is put together from its products with the unit vectors.
        """
        arguments, out = self.arguments(values), self.output_leaves[0][1]
        dense: Arrays = [None] * len(self.leaves)
        if self.kind == "jacobian":  # whose inputs are arrays, each of them one leaf
            for i, jacobian in self._jacobians(self.f_backward(*arguments), out).items():
                self.patterns[i] = stored_entries(jacobian)
                dense[i] = dense_jacobian(jacobian, np.shape(out), np.shape(self.leaves[i]))[0]
            return dense
        x = np.asarray(self.leaves[0])
        columns = []
        for j in range(x.size):
            unit = np.zeros(x.size, x.dtype)
            unit[j] = 1.0
            v = trees.rebuild(self.inputs[0], iter([trees.like(unit.reshape(x.shape), self.leaves[0])]))
            columns.append(np.asarray(as_numpy(self.f_backward(*arguments, v))))
        dense[0] = np.stack(columns, -1).reshape(x.shape + x.shape)
        return dense

    def by_leaf(self, gradients: Any) -> tuple[list[Any], list[str]]:
        """One gradient for each leaf of the inputs, and a sentence for each place where they do not fit.

        f_backward may leave out the constants, and the inputs that are not to be checked.
        """
        n = len(self.inputs)
        only = self.inputs[self.positions[0]] if len(self.positions) == 1 else None
        if trees.is_floating(only) and _are_numbers(gradients, np.shape(as_numpy(only))):
            gradients = (gradients,)  # and not one gradient for each input
        elif n == 1:
            # A single gradient comes bare or as a tuple of one. If the input is itself a tuple of one, a gradient (a,)
            # is bare and ((a,),) is not.
            one = type(gradients) is tuple and len(gradients) == 1
            if not one or (type(self.inputs[0]) is tuple and type(gradients[0]) is not tuple):
                gradients = (gradients,)
        wanted = self.positions
        if len(wanted) < n and (type(gradients) not in (tuple, list) or len(gradients) != n):
            if len(wanted) == 1 and not (type(gradients) is tuple and len(gradients) == 1):
                gradients = (gradients,)
            if type(gradients) in (tuple, list) and len(gradients) == len(wanted):
                given = dict(zip(wanted, gradients))
                gradients = tuple(given.get(i) for i in range(n))
        if type(gradients) not in (tuple, list) or len(gradients) != n:
            several = type(gradients) in (tuple, list)
            got = f"{len(gradients)} gradients" if several else f"one {type(gradients).__name__}"
            return [], [f"f_backward returned {got}, expected {n} gradients, one for each input (or for those in wrt)"]
        matched: list[Any] = []
        problems: list[str] = []
        for name, gradient, tree in zip(self.names, gradients, self.inputs):
            below, wrong = trees.match(gradient, tree, f"gradient of {name}")
            matched += below
            problems += wrong
        return matched, problems

    def leave_out(self, gradients: Any) -> list[str]:
        """Take the objects for which f_backward returns nothing as constants. Return a sentence for each of them.

        An object may be anything that f needs, so it is checked only if there is a gradient, or if ``wrt`` names it.
        """
        objects = [i for i in self.positions if self.wrt is None and attributes(self.inputs[i]) is not None]
        each = gradients if type(gradients) in (tuple, list) and len(gradients) == len(self.inputs) else None
        left = [i for i in objects if each is None or each[i] is None]
        if not 0 < len(left) < len(self.positions):
            return []
        self.wrt = self.positions = [i for i in self.positions if i not in left]
        self.__dict__.pop("tested", None)  # which depends on the positions
        return [f"{self.names[i]} is taken as a constant, since f_backward returns no gradient for it" for i in left]

    def widened(self) -> Pair:
        """The same pair on the same values in float64, or this pair if f does not accept float64."""

        def wide(v: Any) -> Any:
            return trees.like(np.asarray(v, np.result_type(np.asarray(v).dtype, np.float64)), v)

        leaves = [wide(v) if trees.is_floating(v) else v for v in self.leaves]
        if all(np.asarray(a).dtype == np.asarray(b).dtype for a, b in zip(leaves, self.leaves)):
            return self
        inputs = tuple(trees.rebuild(self.inputs, iter(leaves)))
        pair = self.at(inputs)
        if any(np.asarray(a).dtype != np.asarray(b).dtype for a, b in zip(leaves, pair.leaves)):
            return self  # another library may have no float64
        try:
            pair.forward(pair.arguments())
        except Exception:  # f was not made for this dtype
            return self
        return pair

    def shrunk(self, factor: float) -> Pair:
        """The same pair with all floating inputs multiplied by ``factor``."""
        leaves = [trees.like(v * factor, v) if trees.is_floating(v) else v for v in self.leaves]
        return self.at(tuple(trees.rebuild(self.inputs, iter(leaves))))

    def nearby(self, rng: np.random.Generator, distance: float = 0.1) -> Pair:
        """The same pair with every entry to be checked moved at random, by a part of the size of its array."""

        def moved(v: Any) -> Any:
            size = typical_size(v)
            step = distance * size * rng.uniform(0.5, 1.0, np.shape(v)) * rng.choice([-1.0, 1.0], np.shape(v))
            return trees.like((np.asarray(v) + step).astype(np.asarray(v).dtype), v)

        leaves = [moved(v) if k in self.tested else v for k, v in enumerate(self.leaves)]
        return self.at(tuple(trees.rebuild(self.inputs, iter(leaves))))

    def readings(self) -> list[tuple[Pair, str]]:
        """What else f_backward may be that is taken as a backward function, and a sentence that says so.

        Its parameters must allow for it: it can be called with the inputs alone, or its first one is that of f.
        """
        names, found = ", ".join(self.names), []
        least, most = _positional(self.f_backward)
        if least <= len(self.inputs) <= most:
            kind = "gradient" if self.base_outputs.size == 1 else "jacobian"
            alone = Pair(self.f, self.f_backward, self.inputs, self.cache, kind, self.wrt, self.meter)
            found.append((alone, f"as a function of ({names}) alone, f_backward is right: did you mean kind={kind!r}?"))
        if most == np.inf or names_of(self.f_backward, 1) == self.names[:1]:
            last = Pair(self.f, lambda d_out, *x: self.f_backward(*x, d_out), self.inputs, False, "backward", self.wrt,
                        self.meter)
            hint = "; for the product with a Hessian pass kind='hvp'" if len(self.inputs) == 1 else ""
            found.append((last, f"as a function of ({names}, d_out), f_backward is right: expected d_out first{hint}"))
        return found

    def at(self, inputs: tuple[Any, ...]) -> Pair:
        """The same pair with other inputs."""
        return Pair(self.f, self.f_backward, inputs, self.cache, self.kind, self.wrt, self.meter)

    def restore(self) -> None:
        """Call f with the original inputs, since it may keep what it was called with last."""
        self.meter.calls += 1
        with contextlib.suppress(Exception):
            self.f(*self.arguments())

    def claims(self, cotangent: Arrays, values: Iterable[Any] | None = None) -> Arrays:
        """The gradients that f_backward returns, one for each leaf of the inputs."""
        out, vjp = self.forward(self.arguments(values))
        return self._arrays(vjp(cotangent_tree(out, cotangent)))

    def _arrays(self, gradients: Any) -> Arrays:
        matched, _ = self.by_leaf(gradients)
        return [None if g is None or not trees.is_floating(g) else np.asarray(g) for g in matched]

    def claims_for(self, cotangents: Iterable[Arrays]) -> list[Arrays]:
        """`claims` for each of several cotangents, from one forward pass."""
        out, vjp = self.forward(self.arguments())
        return [self._arrays(snapshot(vjp(cotangent_tree(out, cotangent)))) for cotangent in cotangents]

    def weights(self, cotangent: Arrays) -> np.ndarray:
        """The cotangent as one vector (M,)."""
        return np.concatenate([np.zeros(0), *(np.ravel(c).astype(np.float64) for c in cotangent if c is not None)])

    def spread(self, cotangent: Arrays | None, claims: Arrays, eps: list[float], rng: np.random.Generator) -> Arrays:
        """By how much each claim varies among `DRAWS` draws of inputs and d_out that differ by about their eps.

        The claim itself is no draw, since it may be wrong at this point alone. Without a cotangent the claims are
        `matrices`.
        """
        drawn: list[Arrays] = []
        finest = min((e for e in eps if e), default=0.0)
        for _ in range(DRAWS):
            d_out = cotangent and [
                None if c is None else c * (1.0 + 2.0 * finest * rng.uniform(-1.0, 1.0, c.shape)) for c in cotangent
            ]
            try:
                values = self._perturbed(rng, eps)
                others = self.matrices(values) if d_out is None else self.claims(d_out, values)
            except Exception:  # the inputs lie at the edge of the domain of f
                continue
            drawn.append(others)
        if len(drawn) < 2:
            drawn.append(claims)
        return [None if g is None else _range([others[k] for others in drawn], g) for k, g in enumerate(claims)]

    def inside(self, cotangent: Arrays | None, claims: Arrays) -> Arrays:
        """How much each claim changes when every operation is rounded up, or down (G6); nan where that is unknown."""
        def computed() -> Arrays:
            if cotangent is None:
                return self.matrices()
            out, vjp = self.forward(self.arguments())
            return [_flat(out), *self._arrays(vjp(cotangent_tree(out, cotangent)))]

        ways = both_ways(computed)
        unknown = [None if g is None else np.full(np.shape(g), np.nan) for g in claims]
        if ways is None:
            return unknown
        before = claims if cotangent is None else [self.base_outputs, *claims]
        changes = [None if a is None else np.fmax(abs(up - a), abs(down - a)) for a, up, down in zip(before, *ways)]
        # If nothing changes, the code may compute in threads or on devices of its own.
        seen = any(np.any(change) for change in changes if change is not None)
        return changes[-len(claims):] if seen else unknown

    @cached_property
    def base_out(self) -> Any:
        """What f returns at the unchanged inputs."""
        return self.forward(self.arguments())[0]

    @cached_property
    def base_outputs(self) -> np.ndarray:
        """All floating outputs at the unchanged inputs, as one vector (M,)."""
        return _flat(self.base_out)

    @cached_property
    def largest(self) -> float:
        """The largest absolute value of an input entry."""
        sizes = [np.abs(v).max(initial=0.0) for v in self.leaves if trees.is_floating(v)]
        return float(max(sizes, default=0.0))

    @property
    def noise(self) -> float:
        """The rounding error of an output that is a small remainder of numbers as large as the inputs.

        Such an error can make f a staircase that is flat as far as the differences reach, so that they do not see it.
        An example is (50 + log(1 + tiny)) - 50.
        """
        return self.out_eps * self.largest

    def _perturbed(self, rng: np.random.Generator, eps: list[float]) -> list[Any]:
        """The leaves, with every entry changed by up to 2 eps of itself; one ``eps`` for each leaf."""

        def perturbed(v: Any, e: float) -> Any:
            parts = rng.choice([-1.0, 1.0], np.shape(v)) * rng.uniform(0.75, 1.0, np.shape(v))  # none stays as it is
            changed = np.asarray(v) * (1.0 + 2.0 * e * parts)
            return trees.like(changed.astype(np.asarray(v).dtype), v)

        return [perturbed(v, e) if e else v for v, e in zip(self.leaves, eps)]

    @cached_property
    def out_eps(self) -> float:
        """The machine precision of the coarsest output, which may be coarser than the inputs."""
        dtypes = [np.asarray(leaf).dtype for _, leaf in self.output_leaves if trees.is_floating(leaf)]
        return max((float(np.finfo(dtype).eps) for dtype in dtypes), default=float(np.finfo(np.float64).eps))

    @cached_property
    def output_leaves(self) -> list[tuple[str, Any]]:
        """(path, leaf) of all outputs."""
        return trees.leaves(self.base_out, "out")

    def outputs(self, values: Iterable[Any]) -> np.ndarray:
        """All floating outputs as one vector (M,), for inputs with the leaves ``values``."""
        values = list(values)
        out, _ = self.forward(self.arguments(values))
        if not any([trees.is_complex(v) for v in values]):
            return _flat(out)
        # A complex step: the outputs are still those of a real function.
        arrays = [as_numpy(v) for _, v in trees.as_they_are(out)]
        numbers = [np.ravel(v) for v in arrays if trees.is_floating(v) or trees.is_complex(v)]
        vector = np.concatenate([np.zeros(0), *numbers])
        if vector.size != self.base_outputs.size:
            raise TypeError("a complex step needs real outputs")
        return vector

    def line(self, k: int, index: tuple[int, ...], dtype: DTypeLike) -> Callable[[Any], np.ndarray]:
        """The function t -> outputs (M,) where entry ``index`` of leaf k has the value t. Leaves are cast to dtype."""
        base = [trees.like(np.asarray(v, dtype), v) if trees.is_floating(v) else v for v in self.leaves]
        x = np.asarray(self.leaves[k])[index]

        def line(t: Any) -> np.ndarray:
            if t == x and not np.iscomplexobj(t):
                return self.base_outputs
            leaf = np.array(base[k])
            leaf[index] = t
            return self._outputs_or_nan([*base[:k], trees.like(leaf, self.leaves[k]), *base[k + 1 :]])

        return line

    def direction_line(self, directions: Arrays) -> Callable[[float], np.ndarray]:
        """The function t -> outputs (M,) at the inputs that `moved` returns."""

        def line(t: float) -> np.ndarray:
            if t == 0.0:
                return self.base_outputs
            return self._outputs_or_nan(self.moved(directions, t))

        return line

    def moved(self, directions: Arrays, t: Any) -> list[Any]:
        """The leaves, moved by t along ``directions``, one for each leaf; None leaves it where it is."""
        moved = []
        for v, d in zip(self.leaves, directions):
            if d is not None:
                step = np.asarray(v) + t * d
                v = trees.like(step if np.iscomplexobj(step) else step.astype(np.asarray(v).dtype), v)
            moved.append(v)
        return moved

    def _outputs_or_nan(self, values: Iterable[Any]) -> np.ndarray:
        """The outputs, or nan if f refuses these inputs."""
        try:
            with np.errstate(all="ignore"):
                outputs = self.outputs(values)
            if outputs.shape == self.base_outputs.shape:  # there may be more, as of a square root that becomes complex
                return outputs
        except Exception:  # f may refuse with any exception
            pass
        return np.full(len(self.base_outputs), np.nan)


def typical_size(values: Any) -> float:
    """The root of the mean square of an array, or 1 if that is 0."""
    squares = np.square(np.asarray(values, np.float64))
    return float(np.sqrt(squares.mean())) if squares.any() else 1.0


def _range(arrays: Sequence[Any], like: np.ndarray) -> np.ndarray:
    """The largest less the smallest of several arrays, entry by entry."""
    fitting = [a for a in arrays if a is not None and a.shape == like.shape]
    return np.ptp(np.array(fitting), axis=0) if fitting else np.zeros(like.shape)


def _flat(out: Any) -> np.ndarray:
    """All floating outputs as one vector."""
    return np.concatenate([np.zeros(0), *(np.ravel(v) for _, v in trees.leaves(out) if trees.is_floating(v))])


def names_of(f: Callable[..., Any], count: int) -> list[str]:
    """The names of the inputs: those of the parameters of f, or inputs[0], inputs[1], ..."""
    try:
        parameters = list(inspect.signature(f).parameters.values())[:count]
    except (TypeError, ValueError):  # ufuncs and other compiled functions
        parameters = []
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if len(parameters) == count and all(p.kind in positional for p in parameters):
        return [p.name for p in parameters]
    return [f"inputs[{i}]" for i in range(count)]


def signature(names: Sequence[str]) -> inspect.Signature:
    """A signature from which `names_of` reads these names."""
    return inspect.Signature([inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names])


def snapshot(tree: Any) -> Any:
    """A copy of a tree of results, since the next call may write into the same arrays."""
    copies = (_copy(v, v) for _, v in trees.leaves(tree))
    return trees.rebuild(tree, copies)


def cotangent_tree(out: Any, cotangent: Arrays) -> Any:
    """The cotangent as a tree with the structure of ``out``; constants among the outputs get None."""
    items = []
    for (_, leaf), c in zip(trees.leaves(out), cotangent):
        items.append(None if c is None else _copy(trees.like(np.asarray(c, np.asarray(leaf).dtype), leaf), leaf))
    return trees.rebuild(out, iter(items))


def _are_numbers(tree: Any, shape: tuple[int, ...]) -> bool:
    """Whether these are nested lists of numbers that make an array of this shape."""
    if type(tree) not in (list, tuple) or any(isinstance(item, np.ndarray) for item in tree):
        return False
    array = from_numbers(tree)
    return array is not None and array.shape == shape


def _copy(value: Any, leaf: Any) -> Any:
    """A copy of an array, in the memory order of ``leaf``. What is no array needs no copy."""
    if not isinstance(value, np.ndarray):
        return value
    if value.flags.c_contiguous and leaf.flags.c_contiguous:
        return value.copy()
    copied = np.empty_like(leaf, value.dtype)
    copied[...] = value
    return copied


def _times(gradients: Any, factor: float) -> Any:
    """A tree of gradients, each multiplied by a number."""

    def is_number(g: Any) -> bool:  # an integer may be one of a list of numbers
        return trees.is_floating(g) or is_sparse(g) or np.ndim(g) == 0 and np.asarray(g).dtype.kind in "iu"

    scaled = (g * factor if is_number(g) else g for _, g in trees.leaves(gradients))
    return trees.rebuild(gradients, scaled)


def _is_value_and_more(out: Any) -> bool:
    """Whether this is a tuple of two, of which the first is one number."""
    return type(out) is tuple and len(out) == 2 and trees.children(out[0]) is None and np.size(out[0]) == 1


def guessed_kind(pair: Pair) -> tuple[str, str]:
    """The kind of derivative by what the functions take and return, and a note if that is not sure to be meant.

    Raises TypeError if f_backward takes a number of arguments that fits no kind.
    """
    n, f_backward = len(pair.inputs), pair.f_backward
    if f_backward is True:
        return "gradient", ""
    least, most = _positional(f_backward)
    optional = least == n and most < np.inf  # f(x, scale=1.0) takes the inputs alone, f(x, *rest) perhaps does not
    if least == n + 1 or not optional and any(least <= count <= most for count in (2, n + 1)):
        return "backward", MAY_BE if least <= n and most == np.inf else ""
    if not least <= n <= most:
        takes = f"{least}" if least == most else f"{least} to {most}"
        raise TypeError(
            f"f_backward: expected a function of (d_out, cache) or (d_out, *inputs), or of the inputs alone with "
            f"kind='gradient' or 'jacobian'; it takes {takes} arguments, and there are {n} inputs"
        )
    pair.meter.count()
    out = pair.f(*pair.arguments())
    if n == 2 and pair.cache is not False and type(out) is tuple and len(out) == 2:
        return "backward", ""
    one = trees.children(out) is None and np.size(out) == 1
    kind = "gradient" if one or _is_value_and_more(out) else "jacobian"
    return kind, f"f_backward takes the inputs alone, so it is taken as kind={kind!r}"


def _positional(function: Any) -> tuple[int, float]:
    """The least and the largest number of positional arguments that a function takes."""
    if isinstance(function, np.ufunc):
        return function.nin, function.nin
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # compiled functions do not tell
        return 0, np.inf
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    any_number = any(p.kind == p.VAR_POSITIONAL for p in parameters)
    return sum(p.default is p.empty for p in positional), np.inf if any_number else len(positional)
