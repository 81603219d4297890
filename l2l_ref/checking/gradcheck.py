"""Is a hand-written backward function the derivative of its forward function?

    G1  out = f(inputs),  S = sum over outputs of cotangent * out     a random cotangent, fixed
    G2  f_backward(cotangent) claims dS / d(entry) for each floating entry of each input
    G3  differences.py finds the same number from values of f alone, and how far off that may be
    G4  |claim - difference| <= bound of the difference + rounding of the claim

There is no tolerance to choose. Rounding of the claim is seen in two ways: as a few eps of the sizes
that enter it, and as what the claim itself changes by when all inputs change in their last place.

Differences are always taken in float64. Where inputs are of lower precision, f_backward runs twice:
as given, and on the same values in float64, so that float32 rounding hides no mistake in a formula.
"""

from typing import NamedTuple

import numpy as np

from . import trees
from .differences import central_slope, complex_slope
from .pair import Pair, laid_over
from .report import Entry, Report

# An entry's rounding, in eps of its dtype, relative to the sizes that enter it.
CLAIM_EPS = 8.0


def gradcheck(f, f_backward, inputs, *, wrt=None, method="auto", seed=0, cache=None):
    """Compare a hand-written backward function with differences of its forward function.

    Parameters
    ----------
    f : callable
        ``f(*inputs) -> out`` or ``f(*inputs) -> (out, cache)``. A plain tuple of length two *is*
        (out, cache); any other return value, a NamedTuple of two outputs included, is all output.
    f_backward : callable
        ``f_backward(d_out, cache)``, or ``f_backward(d_out, *inputs)`` when f returns no cache. Returns
        a tuple with one gradient for each input; the gradient of a single input may come bare.
        The gradient of a constant (integers, booleans, None, other objects) is not looked at.
    inputs : tuple
        The arguments of f, at which the derivative is checked; anything but a tuple or list is the one
        argument. Each is an array, scalar, tuple, list, NamedTuple or dict, nested as you like.
    wrt : int or sequence of int, optional
        Positions of the inputs to check; default all.
    method : {"auto", "central", "complex"}
        Central differences ("auto" too), or the complex step, which is exact to rounding but needs an f
        that is analytic and takes complex128. If one random direction shows that f is not, central
        differences are used after all and the report says so.
    seed : int
        Seed of the random cotangent.
    cache : bool, optional
        True or False overrides the rule above about what f returns.

    Returns
    -------
    Report
        ``report.ok``, ``report.max_error``, ``print(report)``, ``report.raise_if_failed()``.

    Raises
    ------
    TypeError, ValueError
        The arguments make no check possible: no floating input, complex inputs, an unknown method.
        What is wrong with f or f_backward is in the report.
    """
    inputs = tuple(inputs) if type(inputs) in (tuple, list) else (inputs,)
    positions = _checked_arguments(f, f_backward, inputs, wrt, method, cache)
    pair = Pair(f, f_backward, inputs, cache)
    rng = np.random.default_rng(seed)

    claims, cotangent, problems = _structure(pair, rng, positions)
    if problems:
        return Report(False, np.inf, (), tuple(problems), "none", seed)
    exact = pair.widened()
    exact_claims, weights = exact.claims(cotangent), exact.weights(cotangent)
    if any(g is None or not np.isfinite(g).all() for g in (exact_claims[k] for k in pair.tested(positions))):
        problem = "f_backward is not finite on the same inputs in float64"
        return Report(False, np.inf, (), (problem,), "none", seed)
    spread = exact.spread(cotangent, exact_claims, [pair.eps(k) for k in range(len(pair.leaves))], rng)

    notes = []
    if method == "complex":
        refusal = exact.not_analytic(weights, rng)
        if refusal:
            notes.append(f"complex step not used: {refusal}")
    use_complex = method == "complex" and not notes
    entries = []
    for k in pair.tested(positions):
        sides = [_Claim(claims[k], pair.eps(k), spread[k])]
        if pair.eps(k) > exact.eps(k):
            sides.insert(0, _Claim(exact_claims[k], exact.eps(k), spread[k] * exact.eps(k) / pair.eps(k)))
        entries.append(_entry(exact, k, weights, sides, use_complex))
    max_error = max((error for _, error in entries), default=0.0)
    entries = tuple(entry for entry, _ in entries)
    used = "complex" if use_complex else "central"
    return Report(all(e.ok for e in entries), float(max_error), entries, (), used, seed, tuple(notes))


class _Claim(NamedTuple):
    """What f_backward says of one array, in one precision."""

    gradient: np.ndarray
    eps: float
    spread: np.ndarray  # change of the gradient when all inputs change by eps


def _checked_arguments(f, f_backward, inputs, wrt, method, cache):
    for name, function in (("f", f), ("f_backward", f_backward)):
        if not callable(function):
            raise TypeError(f"{name}: expected a callable, got {type(function).__name__}")
    if method not in ("auto", "central", "complex"):
        raise ValueError(f"method: expected 'auto', 'central' or 'complex', got {method!r}")
    if cache not in (None, True, False):
        raise TypeError(f"cache: expected None, True or False, got {cache!r}")
    positions = range(len(inputs)) if wrt is None else np.atleast_1d(wrt).tolist()
    for position in positions:
        if not isinstance(position, int) or not 0 <= position < len(inputs):
            raise ValueError(f"wrt: expected positions from 0 to {len(inputs) - 1}, got {position!r}")
    floating = 0
    for position in positions:
        for path, leaf in trees.leaves(inputs[position], f"inputs[{position}]"):
            if trees.is_complex(leaf):
                raise TypeError(f"{path}: expected a real array, got {np.asarray(leaf).dtype}")
            floating += trees.is_floating(leaf)
    if not floating:
        raise TypeError("inputs: expected at least one array of floating dtype to differentiate in, got none")
    return positions


def _same(a, b):
    """Equal bit for bit, where nan equals nan."""
    a, b = np.asarray(a), np.asarray(b)
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def _changed(before, after):
    """Paths of the numeric leaves that differ."""
    after = dict(after)
    return [
        path
        for path, leaf in before
        if isinstance(leaf, (np.ndarray, np.generic, float, int)) and not _same(leaf, after.get(path))
    ]


def _structure(pair, rng, positions):
    """Everything that can be wrong before numbers are compared.

    Returns the gradients by leaf of the inputs, the cotangent by leaf of the outputs, and the problems.
    """
    originals = [(path, leaf) for path, _, leaf in pair.named]

    def leaves_now(arguments):
        return [item for i, tree in enumerate(arguments) for item in trees.leaves(tree, f"inputs[{i}]")]

    arguments = pair.arguments()
    out, pull = pair.forward(arguments)
    problems = [f"f changed its argument {path}" for path in _changed(originals, leaves_now(arguments))]
    outputs = trees.leaves(out, "out")
    for path, leaf in outputs:
        if trees.is_complex(leaf):
            raise TypeError(f"f: expected real outputs, got {np.asarray(leaf).dtype} in {path}")
        if trees.is_floating(leaf) and not np.isfinite(leaf).all():
            problems.append(f"{path} is not finite at these inputs")
    again, _ = pair.forward(pair.arguments())
    again = trees.leaves(again, "out")
    if len(again) != len(outputs) or _changed(outputs, again):
        problems.append("f is not deterministic: two calls with equal inputs differ")
    cotangent = [
        rng.standard_normal(np.shape(leaf)).astype(np.asarray(leaf).dtype) if trees.is_floating(leaf) else None
        for _, leaf in outputs
    ]
    if problems:
        return None, cotangent, problems

    d_out = laid_over(out, cotangent)
    first = pull(d_out)
    problems += [f"f_backward changed inputs: {p}" for p in _changed(originals, leaves_now(arguments))]
    kept = [(path, c) for (path, _), c in zip(outputs, cotangent) if c is not None]
    problems += [f"f_backward changed its d_out: {p}" for p in _changed(kept, trees.leaves(d_out, "out"))]
    first = _snapshot(first)  # a second call may write into the same arrays
    second = pull(laid_over(out, cotangent))
    if _changed(trees.leaves(first, "gradient"), trees.leaves(second, "gradient")):
        problems.append("f_backward is not deterministic: two calls with the same cotangent and cache differ")

    gradients, misfits = pair.lay_out(first)
    problems += misfits
    if not misfits:
        for k in pair.tested(positions):
            problems += _misfit(f"gradient of {pair.named[k][0]}", gradients[k], pair.leaves[k])
    return gradients, cotangent, problems


def _snapshot(tree):
    copies = (v.copy() if isinstance(v, np.ndarray) else v for _, v in trees.leaves(tree))
    return trees.rebuild(tree, copies)


def _misfit(name, gradient, leaf):
    """What is wrong with the form of one gradient: no sentence or one."""
    if gradient is None:
        return [f"{name} is missing, expected an array of shape {np.shape(leaf)}"]
    got, wanted = np.asarray(gradient), np.asarray(leaf)
    if got.shape != wanted.shape:
        return [f"{name} has shape {got.shape}, expected {wanted.shape}"]
    # A Python float has no precision of its own: its gradient takes that of the arrays beside it.
    weak = type(leaf) is float and np.issubdtype(got.dtype, np.floating)
    if got.dtype != wanted.dtype and not weak:
        return [f"{name} has dtype {got.dtype}, expected {wanted.dtype}"]
    if not np.isfinite(got).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(got))[0])
        where = f"[{', '.join(map(str, index))}]" if index else ""
        return [f"{name} is not finite: {got[index]} at {where or 'its only entry'}"]
    return []


def _entry(exact, k, weights, claims, use_complex):
    """Compare one array entry by entry; returns its Entry and its largest error."""
    path, _, leaf = exact.named[k]
    values = np.asarray(leaf)
    if values.size == 0:
        return Entry(path, 0, (), 0.0, 0.0, 0.0, 0.0, True), 0.0
    size = float(np.sqrt(np.mean(np.square(values)))) or 1.0
    found = []
    for index in np.ndindex(values.shape):

        def limit(slope, claim):
            # A claim may pass through numbers that nearly cancel, such as 1 - tanh^2: then it is as far
            # off as if the outputs changed by eps in response to a change of the inputs by their size,
            # and another input may multiply that.
            sizes = slope.terms + slope.reach * max(1.0 / size, 1.0, exact.largest)
            return slope.bound + CLAIM_EPS * claim.eps * sizes + 4.0 * claim.spread[index]

        def confirms(slope):
            return all(abs(c.gradient[index] - slope.value) <= limit(slope, c) for c in claims)

        x = values[index]
        if use_complex:
            slope = complex_slope(exact.line(k, index, np.complex128), x, weights, exact.out_eps)
        else:
            line = exact.line(k, index, values.dtype)
            slope = central_slope(line, x, weights, exact.out_eps, exact.noise, confirms)
        found += [_verdict(path, values, index, c.gradient[index], slope, limit(slope, c)) for c in claims]
    worst = max(found, key=lambda entry: (not entry.ok, entry.excess))
    kinks = len({entry.index for entry in found if entry.kinks})
    max_error = max((np.inf if np.isnan(entry.error) else entry.error) for entry in found)
    return worst._replace(ok=all(entry.ok for entry in found), kinks=kinks), max_error


def _verdict(path, values, index, analytic, slope, bound):
    """The Entry for a single number."""
    analytic, value = float(analytic), float(slope.value)
    error, kink, note = abs(analytic - value), False, ""
    ok = bool(error <= bound)  # in this form nan is not ok
    # A bound as large as the slope itself decides nothing, unless the slope is next to nothing.
    if ok and slope.bound > max(0.1 * abs(value), 0.1 * abs(analytic), 1e-3 * slope.natural) and error > 0.0:
        ok, note = False, "differences cannot decide here: f is too rough or too noisy"
    elif not ok and slope.sides is not None:
        ok = kink = slope.sides[0] <= analytic <= slope.sides[1]
        note = "" if kink else "it is a kink, and f_backward is not between the one-sided slopes"
    scale = max(1.0, abs(value))
    error = 0.0 if kink else error / scale
    return Entry(path, values.size, index, analytic, value, error, float(bound / scale), bool(ok), int(kink), note)
