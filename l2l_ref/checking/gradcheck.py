"""Is a hand-written backward function the derivative of its forward function?

    G1  out = f(inputs),  S = sum over outputs of cotangent * out     a random cotangent, fixed
    G2  f_backward(cotangent) claims dS / d(entry) for each floating entry of each input
    G3  differences.py finds the same number from values of f alone, and how far off that may be
    G4  |claim - difference| <= bound of the difference + rounding of the claim

There is no tolerance to choose. Rounding of the claim is seen in two ways: as a few eps of the terms
that it is a sum of, and as what the claim itself changes by when all inputs change in their last place.

The stages, in the order of their cost: structure and linearity (`structure`), some random directions through all
inputs at once (`directions`), single entries (`entries`), all of them where they are few,
or those that a bisection finds below a wrong direction; and for what is wrong a guess (`diagnosis`).

Differences are always taken in float64 where f takes it. Where inputs are of lower precision, f_backward runs
twice: as given, and on the same values in float64, so that float32 rounding hides no mistake in a formula.
"""

import numpy as np

from . import trees
from .diagnosis import Wrong, diagnose, of_shape
from .directions import DIRECTIONS, JVP, along, bisect, check_direction, curve_along, draw, not_analytic, rate_along
from .entries import Arbiter, check_array, curve_of
from .pair import KINDS, Pair
from .report import FAIL, INCONCLUSIVE, PASS, Report, badness
from .structure import examine, nonlinear
from .verdict import Claim

FEW = 1000     # entries that are checked one by one unless told otherwise
COARSE = 0.01  # a bound along a direction that is wider decides nothing
STREAM = (7,)
SAMPLE = 32    # entries of a large wrong array that are looked at for a guess


def gradcheck(f, f_backward, inputs, *, kind="backward", wrt=None, jvp=None, method="auto", thorough=None, rtol=0.0,
              seed=0, cache=None):
    """Compare a hand-written derivative with differences of its function.

    Parameters
    ----------
    f : callable
        ``f(*inputs) -> out`` or ``f(*inputs) -> (out, cache)``. A plain tuple of length two *is*
        (out, cache); any other return value, a NamedTuple of two outputs included, is all output.
    f_backward : callable
        ``f_backward(d_out, cache)``, or ``f_backward(d_out, *inputs)`` when f returns no cache. Returns
        a tuple with one gradient for each input; the gradient of a single input may come bare.
        The gradient of a constant (integers, booleans, None, other objects) is not looked at.
        None with ``jvp`` alone. ``kind`` lists the other forms.
    inputs : tuple
        The arguments of f, at which the derivative is checked; anything but a tuple or list is the one
        argument. Each is an array, scalar, tuple, list, NamedTuple or dict, nested as you like.
    kind : {"backward", "gradient", "jacobian", "hvp"}
        What f_backward is. "gradient": ``f(*inputs)`` is one number and ``f_backward(*inputs)`` its
        gradient, as in scipy.optimize; ``f_backward=True`` says that f returns (value, gradient) itself.
        "jacobian": ``f_backward(*inputs)`` is d out / d input, of shape out.shape + input.shape, for each input.
        "hvp": f is a gradient and ``f_backward(*inputs, v)`` the product of the Hessian and v.
    wrt : int, str or sequence of these, optional
        Positions of the inputs to check, or the names that f gives them; default all.
    jvp : callable, optional
        ``jvp(d_inputs, *inputs) -> d_out``, the derivative along a direction: ``d_inputs`` has one item for each
        input, None for constants. It is compared with differences, and with f_backward by
        <v, J u> = <J^T v, u>, which needs no step.
    method : {"auto", "central", "complex"}
        What single entries are compared with. Central differences, or the complex step, which is exact to
        rounding but needs an f that is analytic and takes complex128. "auto" and "complex" try it along one random
        direction and take central differences where it fails; "complex" says so in the report. Whatever
        the complex step calls wrong, central differences must confirm.
    thorough : bool, optional
        True checks every entry, False random directions alone; default every entry where there are at most
        1,000 of them.
    rtol : float
        An error that is forgiven, relative to the largest entry of its array's gradient: for a function that is
        itself only solved to some tolerance. 0 by default: what is allowed follows from the numbers.
    seed : int
        Seed of the random cotangent and directions.
    cache : bool, optional
        True or False overrides the rule above about what f returns.

    Returns
    -------
    Report
        ``report.verdict``, ``report.ok``, ``report.max_error``, ``print(report)``, ``report.raise_if_failed()``.

    Raises
    ------
    TypeError, ValueError
        The arguments make no check possible: no floating input, complex inputs, an unknown method.
        What is wrong with f or f_backward is in the report.
    """
    if type(inputs) is list and all(isinstance(item, (int, float)) for item in inputs):
        inputs = np.asarray(inputs, float)  # one vector, as SciPy takes it
    inputs = tuple(inputs) if type(inputs) in (tuple, list) else (inputs,)
    _require_arguments(f, f_backward, jvp, kind, method, cache, rtol)
    pair = Pair(f, f_backward, inputs, cache, kind, wrt)
    _require_floating(pair)
    # A stream of its own: inputs that were drawn from default_rng(seed) must not meet themselves as cotangent.
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=STREAM))
    if f_backward is None:
        return JVP(pair, jvp, rng).report(seed)

    structure = examine(pair, rng)
    if structure.problems or structure.undecided:
        guesses = _guess_shapes(pair, structure, rng) if structure.misfits else ()
        verdict = FAIL if structure.problems else INCONCLUSIVE
        return Report(verdict, problems=structure.problems, undecided=structure.undecided, guesses=guesses, seed=seed,
                      evaluations=pair.evaluations)
    return _Check(pair, structure, rng, method, thorough, jvp, rtol).report(seed)


def assert_gradients(f, f_backward, inputs, **options):
    """`gradcheck`, and a GradientMismatch (an AssertionError) with the whole report unless it passes.

    Takes the arguments of `gradcheck` and returns the Report.
    """
    __tracebackhide__ = True  # pytest then points at the caller
    report = gradcheck(f, f_backward, inputs, **options)
    report.raise_if_failed()
    return report


class _Check:
    """The numbers of one check, after its structure has been found in order."""

    def __init__(self, pair, structure, rng, method, thorough, jvp, rtol):
        self.pair, self.rng, self.method, self.jvp = pair, rng, method, jvp
        self.exact = exact = pair.widened()
        self.leaves = pair.tested
        exact_claims = structure.claims if exact is pair else exact.claims(structure.cotangent)
        self.weights = exact.weights(structure.cotangent)
        self.cotangent, self.notes = structure.cotangent, list(structure.notes)
        self.broken = [
            f"the gradient of {pair.path(k)} is not finite on the same inputs in float64"
            for k in self.leaves if exact_claims[k] is None or not np.isfinite(exact_claims[k]).all()
        ]
        eps = [pair.eps(k) for k in range(len(pair.leaves))]
        spread = exact.spread(structure.cotangent, exact_claims, eps, rng)
        self.claims = {}
        for k in () if self.broken else self.leaves:
            forgiven = rtol * np.abs(exact_claims[k]).max(initial=0.0)
            ratio = exact.eps(k) / pair.eps(k)
            self.claims[k] = [Claim(exact_claims[k], exact.eps(k), spread[k] * ratio, forgiven)]
            if exact is not pair:
                self.claims[k].append(Claim(structure.claims[k], pair.eps(k), spread[k], forgiven))
        self.sharpest = {k: claims[0] for k, claims in self.claims.items()}
        self.entries = sum(np.size(pair.leaves[k]) for k in self.leaves)
        self.each_entry = self.entries <= FEW if thorough is None else thorough

    def report(self, seed):
        problems = list(self.broken)
        if not problems and self.pair.kind == "backward":
            spread = [self.claims[k][-1].spread if k in self.claims else None for k in range(len(self.pair.leaves))]
            claims = [self.claims[k][-1].gradient if k in self.claims else None for k in range(len(self.pair.leaves))]
            sentence = nonlinear(self.pair, self.cotangent, claims, spread, self.rng)
            problems += [sentence] if sentence else []
        if problems:
            return Report(FAIL, problems=tuple(problems), seed=seed, evaluations=self.evaluations)
        exact, weights, rng = self.exact, self.weights, self.rng
        refusal = not_analytic(exact, self.leaves, weights, rng) if self.method != "central" and self._worth() else ""
        use_complex = self.method != "central" and self._worth() and not refusal
        if refusal and self.method == "complex":
            self.notes.append(f"complex step not used: {refusal}")

        drawn = [draw(exact, self.leaves, rng, relative=number % 2 == 1) for number in range(DIRECTIONS)]
        directions = [check_direction(exact, d, weights, along(d, self.sharpest), use_complex) for d in drawn]
        rate = rate_along(exact, drawn[0], weights, self.sharpest)
        checked, arbiter = [], Arbiter(exact, self.cotangent, weights) if use_complex else None
        if self.each_entry:
            checked = [check_array(exact, k, weights, self.claims[k], arbiter) for k in self.leaves]
        elif any(d.verdict == FAIL for d in directions):
            checked = self._below(arbiter)
        elif not any(d.ok and d.bound <= COARSE for d in directions):
            # At kinks directions decide nothing: entry by entry then, as far as that goes.
            few = self.entries <= FEW
            checked = [check_array(exact, k, weights, self.claims[k], arbiter, None if few else self._sample(k))
                       for k in self.leaves]
        guesses = self._guesses(checked)
        entries = tuple(c.entry for c in checked)
        curve = self._curve(checked, drawn[0])
        if self.jvp is not None:
            directions += JVP(exact, self.jvp, rng).directions(weights, self.sharpest)
        verdict = self._verdict(entries, directions)
        if verdict == FAIL and self.pair.taken_as_cache:
            self.notes.append("f returned a tuple of two, taken as (out, cache): with cache=False both are outputs")
        return Report(verdict, entries, tuple(directions), (), (), guesses, tuple(self.notes),
                      "complex" if use_complex else "central", rate, seed, self.evaluations, curve)

    @property
    def evaluations(self):
        return self.pair.evaluations + (self.exact.evaluations if self.exact is not self.pair else 0)

    def _worth(self):
        """Whether the complex step is worth trying: for single entries, or because it was asked for."""
        return self.each_entry or self.method == "complex"

    def _verdict(self, entries, directions):
        """Entries, each with a step and a bound of its own, say more than directions do."""
        verdicts = [entry.verdict for entry in entries]
        along = [d.verdict for d in directions if d.what == "f_backward"]
        if FAIL in verdicts or any(d.verdict == FAIL for d in directions if d.what != "f_backward"):
            return FAIL
        if self.each_entry:
            undecided = INCONCLUSIVE in verdicts
            return FAIL if undecided and set(along) == {FAIL} else INCONCLUSIVE if undecided else PASS
        if FAIL in along:  # and yet no single entry below is wrong: then all directions must agree on it
            return INCONCLUSIVE if PASS in along else FAIL
        decided = any(d.ok and d.bound <= COARSE for d in directions if d.what == "f_backward")
        each = all(entry.count == entry.size for entry in entries) and {*verdicts} == {PASS}
        return PASS if decided or each else INCONCLUSIVE

    def _below(self, arbiter):
        """The array with the wrong entry that bisection finds, at that entry and at a sample of others."""
        k, index = bisect(self.exact, self.leaves, self.weights, self.sharpest, self.rng)
        first = check_array(self.exact, k, self.weights, self.claims[k], arbiter, [index])
        if first.entry.verdict != FAIL:
            return [first]
        # What a mistake looks like is seen from some more entries, for which the first good step will do.
        sample = sorted({index, *self._sample(k)})
        return [check_array(self.exact, k, self.weights, self.claims[k], arbiter, sample, quick=True)]

    def _sample(self, k):
        """Indices of some entries of an array."""
        shape = np.shape(self.exact.leaves[k])
        size = int(np.prod(shape))
        places = np.unravel_index(self.rng.choice(size, min(size, SAMPLE), replace=False), shape)
        return [tuple(int(i) for i in where) for where in zip(*places)] if shape else [()]

    def _guesses(self, checked):
        outputs = [(path, np.shape(leaf)) for path, leaf in self.exact.output_leaves if trees.is_floating(leaf)]
        sides = {True: [], False: []}
        for c in checked:
            if c.entry.count and c.gradient.shape == c.numeric.shape:
                sides[c.entry.wrong > 0].append(Wrong(c.entry.path, c, outputs))
        return diagnose(sides[True], sides[False]) if sides[True] else ()

    def _curve(self, checked, direction):
        shown = [c for c in checked if c.entry.count and len(c.entry.index) == np.ndim(self.exact.leaves[c.k])]
        if not shown:
            return lambda: curve_along(self.exact, direction, self.weights, self.sharpest)
        worst = max(shown, key=lambda c: badness(c.entry))
        return lambda: curve_of(self.exact, self.weights, worst.entry, worst.k)


def _guess_shapes(pair, structure, rng):
    """Guesses for gradients of the wrong shape."""
    exact, guesses = pair.widened(), []
    weights = exact.weights(structure.cotangent)
    for k, gradient in structure.misfits:
        values = np.asarray(exact.leaves[k])
        if values.size > FEW or not np.isfinite(gradient).all():
            continue
        nothing = Claim(np.full(values.shape, np.nan), pair.eps(k), np.zeros(values.shape))
        checked = check_array(exact, k, weights, [nothing])
        rounding = 16.0 * pair.eps(k) * (np.abs(checked.numeric) + np.abs(checked.terms).sum(axis=0))
        checked = checked._replace(limit=rounding + np.nan_to_num(checked.limit, nan=0.0, posinf=0.0))
        guess = of_shape(pair.path(k), gradient, checked)
        guesses += [guess] * (guess is not None)
    return tuple(guesses)


def _require_arguments(f, f_backward, jvp, kind, method, cache, rtol):
    if not callable(f):
        raise TypeError(f"f: expected a callable, got {type(f).__name__}")
    if kind not in KINDS:
        raise ValueError(f"kind: expected one of {', '.join(map(repr, KINDS))}, got {kind!r}")
    alone = f_backward is None and jvp is not None or f_backward is True and kind == "gradient"
    if not callable(f_backward) and not alone:
        raise TypeError(f"f_backward: expected a callable, got {type(f_backward).__name__}")
    if jvp is not None and not callable(jvp):
        raise TypeError(f"jvp: expected a callable, got {type(jvp).__name__}")
    if method not in ("auto", "central", "complex"):
        raise ValueError(f"method: expected 'auto', 'central' or 'complex', got {method!r}")
    if not (isinstance(rtol, (int, float)) and 0 <= rtol < 1):
        raise ValueError(f"rtol: expected a number in [0, 1), got {rtol!r}")
    if cache not in (None, True, False):
        raise TypeError(f"cache: expected None, True or False, got {cache!r}")


def _require_floating(pair):
    """TypeError when there is nothing to differentiate in."""
    kinds = []
    for position in range(len(pair.inputs)) if pair.wrt is None else pair.positions:
        for path, leaf in trees.leaves(pair.inputs[position], pair.names[position]):
            if trees.is_complex(leaf):
                raise TypeError(f"{path}: expected a real array, got {np.asarray(leaf).dtype}")
            kinds.append(str(np.asarray(leaf).dtype))
    if not pair.tested:
        got = ", ".join(sorted(set(kinds))) or "nothing"
        raise TypeError(f"inputs: expected at least one array of floating dtype to differentiate in, got {got}")
