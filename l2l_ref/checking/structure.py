"""What can be wrong before a single derivative is taken: shapes, dtypes, finiteness, side effects, linearity.

A backward function is linear in its cotangent, whatever the forward is:

    G5  b(a u + c v) = a b(u) + c b(v),  b(0) = 0

This needs no step, costs no call of f, and holds to rounding. A backward that ignores d_out, squares it or
applies it twice is found here.
"""

from typing import NamedTuple

import numpy as np

from . import trees
from .pair import Misfit, laid_over, snapshot

# Rounding of a sum of two gradients, in eps of the largest entry; no mistake of form is that small.
LINEAR_EPS = 1e4


class Structure(NamedTuple):
    """``claims`` by leaf of the inputs, ``cotangent`` by leaf of the outputs; sentences otherwise."""

    claims: list
    cotangent: list
    problems: tuple = ()   # what is wrong
    undecided: tuple = ()  # why nothing can be said
    misfits: tuple = ()    # (leaf, gradient) of wrong shape
    notes: tuple = ()


def examine(pair, rng):
    """Call f twice and f_backward five times. Returns a Structure."""
    originals = [(path, leaf) for path, _, leaf in pair.named]

    def leaves_now(arguments):
        return [item for name, tree in zip(pair.names, arguments) for item in trees.leaves(tree, name)]

    arguments = pair.arguments()
    out, vjp = pair.forward(arguments)
    problems = [f"f changed its argument {path}" for path in _changed(originals, leaves_now(arguments))]
    undecided, notes = [], []
    outputs = trees.leaves(out, "out")
    for path, leaf in outputs:
        if trees.is_complex(leaf):
            raise TypeError(f"f: expected real outputs, got {np.asarray(leaf).dtype} in {path}")
        if trees.is_floating(leaf) and not np.isfinite(leaf).all():
            undecided.append(f"{path} is not finite at these inputs")
    if not any(trees.is_floating(leaf) for _, leaf in outputs):
        got = ", ".join(sorted({type(leaf).__name__ for _, leaf in outputs})) or "nothing"
        raise TypeError(f"f: expected at least one output of floating dtype, got {got}")
    cotangent = [
        rng.standard_normal(np.shape(leaf)).astype(np.asarray(leaf).dtype) if trees.is_floating(leaf) else None
        for _, leaf in outputs
    ]
    again = trees.leaves(pair.forward(pair.arguments())[0], "out")
    if len(again) != len(outputs) or _changed(outputs, again):
        if len(again) == len(outputs) and all(_close(a, b) for (_, a), (_, b) in zip(outputs, again)):
            notes.append("two calls of f with equal inputs differ in the last places")
        else:
            undecided.append("f is not deterministic: two calls with equal inputs differ")
    if problems or undecided:
        return Structure([], cotangent, tuple(problems), tuple(undecided))

    d_out = laid_over(out, cotangent)
    try:
        first = vjp(d_out)
    except Misfit as misfit:
        return Structure([], cotangent, (str(misfit),))
    problems += [f"f_backward changed inputs: {p}" for p in _changed(originals, leaves_now(arguments))]
    kept = [(path, c) for (path, _), c in zip(outputs, cotangent) if c is not None]
    problems += [f"f_backward changed its d_out: {p}" for p in _changed(kept, trees.leaves(d_out, "out"))]
    first = snapshot(first)
    second = vjp(laid_over(out, cotangent))
    if _changed(trees.leaves(first, "gradient"), trees.leaves(second, "gradient")):
        problems.append("f_backward is not deterministic: two calls with the same cotangent and cache differ")

    claims, sentences = pair.lay_out(first)
    problems += sentences
    misfits = []
    if not sentences:
        for k in pair.tested:
            sentence, misshapen = _misfit(f"gradient of {pair.path(k)}", claims[k], pair.leaves[k])
            problems += sentence
            misfits += [(k, claims[k])] * misshapen
    arrays = [np.asarray(g) if trees.is_floating(g) else None for g in claims or ()]
    return Structure(arrays, cotangent, tuple(problems), (), tuple(misfits), tuple(notes))


def nonlinear(pair, cotangent, claims, spread, rng):
    """G5: a sentence when f_backward is not linear in its cotangent, else None."""
    other = [None if c is None else rng.standard_normal(c.shape) for c in cotangent]
    a, c = 1.75, -0.625  # exact in every dtype
    mixed = [None if u is None else a * u + c * v for u, v in zip(cotangent, other)]
    zero = [None if u is None else np.zeros_like(u) for u in cotangent]
    of_other, of_mixed, of_zero = pair.several_claims([other, mixed, zero])
    for k in pair.tested:
        u, v, both, nothing = (np.asarray(g[k], np.float64) for g in (claims, of_other, of_mixed, of_zero))
        if both.shape != u.shape or v.shape != u.shape or not u.size:
            continue
        size = np.abs(u).max() + np.abs(v).max()
        # On its way a gradient may have been as large as the outputs are beside the inputs.
        weight = sum(np.abs(c).sum() for c in (*cotangent, *other) if c is not None)
        largest = weight * np.abs(pair.here).max(initial=0.0)
        natural = largest * max(1.0, 1.0 / (np.abs(pair.leaves[k]).max() or 1.0))
        allowed = pair.eps(k) * (LINEAR_EPS * size + 64.0 * natural) + 64.0 * spread[k]
        if (np.abs(nothing) > allowed).any() and np.array_equal(u, v):
            return f"f_backward ignores d_out: the gradient of {pair.path(k)} is the same whatever d_out is"
        off = np.abs(both - (a * u + c * v)) + np.abs(nothing)
        if not (off <= allowed).all():
            index = np.unravel_index(int(np.argmax(np.nan_to_num(off, nan=np.inf))), off.shape)
            return (
                f"f_backward is not linear in d_out: {trees.name(pair.path(k), index)} is {both[index]:.6g} for "
                f"a sum of two cotangents, where the sum of its two values is {(a * u + c * v)[index]:.6g}"
            )
    return None


def _same(a, b):
    """Equal in every entry, where nan equals nan."""
    a, b = np.asarray(a), np.asarray(b)
    with_nan = np.issubdtype(a.dtype, np.inexact)
    return a.shape == b.shape and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=with_nan)


def _close(a, b):
    """Equal but for the last places."""
    if not trees.is_floating(a) or not trees.is_floating(b) or np.shape(a) != np.shape(b):
        return _same(a, b)
    eps = np.finfo(np.asarray(a).dtype).eps
    return bool(np.all(np.abs(np.asarray(a) - b) <= 64 * eps * np.abs(a).max(initial=0.0)))


def _changed(before, after):
    """Paths of the numeric leaves that differ."""
    after = dict(after)
    return [
        path
        for path, leaf in before
        if isinstance(leaf, (np.ndarray, np.generic, float, int)) and not _same(leaf, after.get(path))
    ]


def _misfit(name, gradient, leaf):
    """What is wrong with the form of one gradient, no sentence or one, and whether that is its shape."""
    if gradient is None:
        return [f"{name} is missing, expected an array of shape {np.shape(leaf)}"], False
    got, wanted = np.asarray(gradient), np.asarray(leaf)
    if got.shape != wanted.shape:
        return [f"{name} has shape {got.shape}, expected {wanted.shape}"], True
    # A Python float has no precision of its own: its gradient takes that of the arrays beside it.
    weak = type(leaf) is float and np.issubdtype(got.dtype, np.floating)
    if got.dtype != wanted.dtype.newbyteorder("=") and not weak:
        return [f"{name} has dtype {got.dtype}, expected {wanted.dtype}"], False
    if not np.isfinite(got).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(got))[0])
        return [f"{name} is not finite: {got[index]} at {trees.name('', index) or 'its only entry'}"], False
    return [], False
