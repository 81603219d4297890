"""What can be wrong before a single derivative is taken: shapes, dtypes, finiteness, side effects, linearity.

A backward function b is linear in its cotangent, whatever the forward function is:

    G5  b(a u + c v) = a b(u) + c b(v),  b(0) = 0

Checking this needs no step and costs one call of f, and G5 holds up to rounding. It finds a backward function that
ignores d_out, squares it or applies it twice.
"""

from __future__ import annotations  # so that no annotation loads numpy.random

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from . import trees
from .differences import DIRECTED, both_ways, scale_of
from .foreign import NUMERIC, dtype_name, refusal
from .pair import Arrays, Misfit, Pair, cotangent_tree, snapshot, typical_size

# The rounding error of a sum of two gradients, in eps of the largest entry. No mistake in a formula is that small.
LINEAR_EPS = 1e4
SINGLE_EPS = float(np.finfo(np.float32).eps)
SMALL = 1e-6  # relative: so far the arithmetic of f_backward may be off
GROWS = 1.2  # a slope that grows so for each smaller step is infinite
TOLERANCE = 1e-2  # relative: a larger error is no solver's
SOLVED = "an error as small as this may be the tolerance of a solver: if so, pass rtol={rtol}"


class Structure(NamedTuple):
    """The result of `examine`."""

    claims: list[Any]     # one gradient for each leaf of the inputs, None for a constant
    cotangent: list[Any]  # one array for each leaf of the outputs, None for a constant
    problems: tuple[str, ...] = ()   # sentences that say what is wrong
    undecided: tuple[str, ...] = ()  # sentences that say why nothing can be decided
    misshapen: tuple[tuple[int, Any], ...] = ()  # (number of the leaf, gradient of wrong shape)
    notes: tuple[str, ...] = ()


def examine(pair: Pair, rng: np.random.Generator) -> Structure:
    """Call f twice and f_backward twice, and compare what they return with the inputs and with each other."""
    originals = [(path, leaf) for path, _, leaf in pair.named]

    def leaves_now(arguments: tuple[Any, ...]) -> list[tuple[str, Any]]:
        return [item for name, tree in zip(pair.names, arguments) for item in trees.leaves(tree, name)]

    arguments = pair.arguments()
    out, vjp = pair.forward(arguments)
    pair.base_out = snapshot(out)
    problems = [f"f changed its argument {path}" for path in _changed(originals, leaves_now(arguments))]
    undecided, notes = [], []
    outputs = trees.leaves(out, "out")
    if pair.kind == "gradient" and trees.is_complex(out):
        raise TypeError(f"f: with kind='gradient' expected one real number, got {dtype_name(out)}")
    if pair.kind == "jacobian":
        for name, value in [*((pair.names[i], pair.inputs[i]) for i in pair.positions), ("f", out)]:
            if trees.children(value) is not None:
                pairs = "; view complex numbers as pairs of real ones" if trees.is_complex(value) else ""
                got = f"{dtype_name(value)}{pairs}"
                raise TypeError(f"{name}: with kind='jacobian' expected one array of real numbers, got {got}")
    for path, leaf in trees.as_they_are(out, "out"):
        reason = refusal(path, leaf)
        if reason:
            raise TypeError(f"f: {reason}")
    for path, leaf in outputs:
        if trees.is_floating(leaf) and not np.isfinite(leaf).all():
            undecided.append(f"{path} is not finite at these inputs")
    if not any(trees.is_floating(leaf) for _, leaf in outputs):
        got = ", ".join(sorted({dtype_name(leaf) for _, leaf in outputs})) or "nothing"
        raise TypeError(f"f: expected at least one output of floating dtype, got {got}")
    # The gradient of a single number is shown as f_backward returns it.
    one = sum(np.size(leaf) for _, leaf in outputs if trees.is_floating(leaf)) == 1
    cotangent = [
        (np.ones if one else rng.standard_normal)(np.shape(leaf)).astype(np.asarray(leaf).dtype)
        if trees.is_floating(leaf) else None for _, leaf in outputs
    ]
    again = trees.leaves(pair.forward(pair.arguments())[0], "out")
    if len(again) != len(outputs) or _changed(outputs, again):
        if len(again) == len(outputs) and all(_close(a, b) for (_, a), (_, b) in zip(outputs, again)):
            notes.append("two calls of f with equal inputs differ in the last places")
        else:
            undecided.append("f is not deterministic: two calls with equal inputs differ")
    if problems or undecided:
        return Structure([], cotangent, tuple(problems), tuple(undecided))

    d_out = cotangent_tree(out, cotangent)
    try:
        first = vjp(d_out)
    except Misfit as misfit:
        return Structure([], cotangent, (str(misfit),))
    problems += [f"f_backward changed inputs: {p}" for p in _changed(originals, leaves_now(arguments))]
    kept = [(path, c) for (path, _), c in zip(outputs, cotangent) if c is not None]
    problems += [f"f_backward changed its d_out: {p}" for p in _changed(kept, trees.leaves(d_out, "out"))]
    first = snapshot(first)
    refused = [refusal(path, leaf) for path, leaf in trees.as_they_are(first, "gradient")]
    problems += [f"f_backward: {reason}" for reason in refused if reason]
    second = snapshot(vjp(cotangent_tree(out, cotangent)))
    if _changed(trees.leaves(first, "gradient"), trees.leaves(second, "gradient")):
        problems.append(_why_different(first, second, lambda c: snapshot(vjp(cotangent_tree(out, c))), cotangent))

    notes += pair.leave_out(first)
    claims, sentences = pair.by_leaf(first)
    problems += sentences
    misshapen = []
    precisions = {c.dtype for c in cotangent if c is not None}
    if not sentences:
        for k in pair.tested:
            sentence, wrong_shape = _form(f"gradient of {pair.path(k)}", claims[k], pair.leaves[k], precisions)
            edge = _edge(pair, k, claims[k], cotangent) if sentence and not wrong_shape else ""
            undecided += [edge] if edge else []
            problems += sentence if not edge else []
            misshapen += [(k, claims[k])] * wrong_shape
        for k, leaf in enumerate(pair.leaves):
            if not trees.is_floating(leaf) and trees.is_floating(claims[k]) and np.any(claims[k]):
                notes.append(f"the gradient of {pair.path(k)} is not checked, since the input is {dtype_name(leaf)}")
    arrays = [np.asarray(g) if trees.is_floating(g) else None for g in claims]
    return Structure(arrays, cotangent, tuple(problems), tuple(undecided), tuple(misshapen), tuple(notes))


def _edge(pair: Pair, k: int, gradient: Any, cotangent: list[Any]) -> str:
    """A sentence if an entry of a gradient that is not finite lies where the slope of f is infinite or not defined."""
    if gradient is None or not trees.is_floating(gradient) or np.isfinite(gradient).all():
        return ""
    index = tuple(int(i) for i in np.argwhere(~np.isfinite(np.asarray(gradient)))[0])
    values = np.asarray(pair.leaves[k])
    x, line, weights = float(values[index]), pair.line(k, index, values.dtype), pair.weights(cotangent)
    steps = scale_of(x, typical_size(values)) * 2.0 ** -np.arange(4.0, 24.0, 4.0)
    name = f"the gradient of {trees.name(pair.path(k), index)} is {np.asarray(gradient)[index]}"
    for sign in (1.0, -1.0):
        sums = np.array([weights @ line(x + sign * h) for h in steps])
        slopes = np.abs(sums - weights @ line(x)) / steps
        if not np.isfinite(sums).all():
            return f"{name}, and {trees.name(pair.path(k), index)} lies at the edge of the domain of f"
        if (slopes[1:] > GROWS * slopes[:-1]).all():
            return f"{name}, and the slope of f is infinite there, as at the edge of a domain"
    return ""


def _why_different(first: Any, second: Any, backward: Callable[[Arrays], Any], cotangent: Arrays) -> str:
    """Why two calls of f_backward with equal arguments differ: perhaps it adds to a buffer, which more calls show."""
    unknown = "f_backward is not deterministic: two calls with the same cotangent and cache differ"
    try:
        third = backward(cotangent)
        of_zero = backward([None if u is None else np.zeros_like(u) for u in cotangent])
    except Exception:  # f_backward may not work a third time
        return unknown
    a, b, c, d = ([leaf for _, leaf in trees.leaves(gradients)] for gradients in (first, second, third, of_zero))
    if len(a) == len(b) == len(c) == len(d):
        changed = [k for k in range(len(a)) if not _same(a[k], b[k])]
        buffer = "it adds to a buffer (accumulates), which has to be set to zero before each call"
        if all(_times(2, a[k], b[k]) and _times(3, a[k], c[k]) for k in changed):
            return f"f_backward: the second call returned twice what the first returned: {buffer}"
        # A call with d_out = 0 adds nothing to what was there.
        if all(_close(c[k], d[k]) and not _close(b[k], c[k]) for k in changed):
            return f"f_backward: what one call returns is added to what the next one returns: {buffer}"
    return unknown


def _times(factor: int, a: Any, b: Any) -> bool:
    """Whether b is a multiple of a."""
    return trees.is_floating(a) and np.shape(a) == np.shape(b) and _close(factor * a, b)


def nonlinear(
    pair: Pair, cotangent: list[Any], claims: list[Any], spread: list[Any], rng: np.random.Generator, rtol: float = 0.0,
    coarsest: float = SINGLE_EPS,
) -> tuple[str | None, dict[int, float]]:
    """G5: a sentence if f_backward is not linear in its cotangent, and the precision that it shows.

    That is the eps of each gradient, by the number of its leaf: at most ``coarsest``, for code that fills a float32
    buffer, or casts its cotangent, whatever it is given. Such code misses G5 by its rounding, and it is known by
    standing still where a cotangent changes by 2^-30 of itself.
    """
    precision = {k: pair.eps(k) for k in pair.tested}
    cotangent = [None if c is None else np.asarray(c, np.float64) for c in cotangent]  # mixed without rounding
    other: list[Any] = [None if c is None else rng.standard_normal(c.shape) for c in cotangent]
    a, c = 1.75, -0.625  # exact in every dtype
    mixed = [None if u is None else a * u + c * v for u, v in zip(cotangent, other)]
    zero = [None if u is None else np.zeros_like(u) for u in cotangent]
    nudged = [[None if u is None else u * (1.0 + step) for u in cotangent] for step in (2.0**-30, -(2.0**-30))]
    of_other, of_mixed, of_zero, *of_nudged = pair.claims_for([other, mixed, zero, *nudged])
    for k in pair.tested:
        u, v, both, nothing = (np.asarray(g[k], np.float64) for g in (claims, of_other, of_mixed, of_zero))
        if both.shape != u.shape or v.shape != u.shape or not u.size:
            continue
        size = np.abs(u).max() + np.abs(v).max()
        # Intermediate results of f_backward may be as large as the outputs divided by the inputs.
        weight = sum(np.abs(c).sum() for c in (*cotangent, *other) if c is not None)
        largest = weight * np.abs(pair.base_outputs).max(initial=0.0)
        smallest = np.finfo(np.asarray(pair.leaves[k]).dtype).tiny  # below it, numbers lose their digits
        natural = largest * max(1.0, 1.0 / max(np.abs(pair.leaves[k]).max() or 1.0, smallest))
        allowed = smallest + pair.eps(k) * (LINEAR_EPS * size + 64.0 * natural) + 64.0 * spread[k] + rtol * size
        if (np.abs(nothing) > allowed).any() and np.array_equal(u, v):
            return f"f_backward ignores d_out: the gradient of {pair.path(k)} is the same whatever d_out is", precision
        off = np.abs(both - (a * u + c * v)) + np.abs(nothing)
        if (off <= allowed).all():
            continue
        stands = (u == of_nudged[0][k]) | (u == of_nudged[1][k])
        if stands[u != 0.0].mean() > 0.5 and (off <= coarsest * (64.0 * size + natural)).all():
            precision[k] = max(precision[k], coarsest)
            continue
        if (off <= SMALL * size).all():  # so small an error may be that of the arithmetic of f_backward
            ways = both_ways(lambda: pair.claims_for([cotangent, other, mixed])) or ()
            changes = [sum(m * np.abs(np.asarray(way[n][k], np.float64) - g) for n, (m, g) in enumerate(
                ((abs(a), u), (abs(c), v), (1.0, both)))) for way in ways]
            if changes and (off <= allowed + DIRECTED * np.max(changes, axis=0)).all():
                continue
        index = np.unravel_index(int(np.argmax(np.nan_to_num(off, nan=np.inf))), off.shape)
        sentence = (
            f"f_backward is not linear in d_out: {trees.name(pair.path(k), index)} is {both[index]:.6g} for "
            f"a sum of two cotangents, where the sum of its two values is {(a * u + c * v)[index]:.6g}"
        )
        return "; ".join(filter(None, [sentence, solved(float(off.max() / size))])), precision
    return None, precision


def solved(error: float) -> str:
    """What to say of a relative error that is no larger than the tolerance of a solver; "" of a larger one."""
    return SOLVED.format(rtol=_above(error)) if 0.0 < error <= TOLERANCE else ""


def _above(error: float) -> str:
    """The power of ten above an error."""
    return f"{10.0 ** np.ceil(np.log10(2.0 * error)):.0e}"


def _same(a: Any, b: Any) -> bool:
    """Equal in every entry, where nan equals nan."""
    a, b = np.asarray(a), np.asarray(b)
    with_nan = np.issubdtype(a.dtype, np.inexact)
    return a.shape == b.shape and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=with_nan)


def _close(a: Any, b: Any) -> bool:
    """Equal except in the last places."""
    if not trees.is_floating(a) or not trees.is_floating(b) or np.shape(a) != np.shape(b):
        return _same(a, b)
    eps = np.finfo(np.asarray(a).dtype).eps
    return bool(np.all(np.abs(np.asarray(a) - b) <= 64 * eps * np.abs(a).max(initial=0.0)))


def _changed(before: list[tuple[str, Any]], after: list[tuple[str, Any]]) -> list[str]:
    """The paths of the numeric leaves that differ."""
    leaf_after = dict(after)
    return [
        path
        for path, leaf in before
        if isinstance(leaf, (np.ndarray, np.generic, float, int)) and not _same(leaf, leaf_after.get(path))
    ]


def _form(name: str, gradient: Any, leaf: Any, precisions: set[Any]) -> tuple[list[str], bool]:
    """What is wrong with the form of one gradient, as a list of at most one sentence, and whether it is the shape.

    ``precisions`` are the dtypes of the floating outputs.
    """
    if gradient is None:
        return [f"{name} is missing, expected an array of shape {np.shape(leaf)}"], False
    got, wanted = np.asarray(gradient), np.asarray(leaf)
    if got.dtype.kind not in NUMERIC:
        what = f"has dtype {got.dtype}" if isinstance(gradient, np.ndarray) else f"is a {type(gradient).__name__}"
        return [f"{name} {what}, expected an array of {wanted.dtype}"], False
    if got.shape != wanted.shape:
        return [f"{name} has shape {got.shape}, expected {wanted.shape}"], True
    # A Python float has no precision of its own, so its gradient may take that of the other inputs. Where f returns
    # float32 whatever it is given, float32 is the precision of its gradient, too.
    weak = got.dtype.kind == wanted.dtype.kind == "f" and (type(leaf) is float or precisions == {got.dtype})
    if got.dtype != wanted.dtype.newbyteorder("=") and not weak:
        return [f"{name} has dtype {got.dtype}, expected {wanted.dtype}"], False
    if not np.isfinite(got).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(got))[0])
        return [f"{name} is not finite: {got[index]} at {trees.name('', index) or 'its only entry'}"], False
    return [], False
