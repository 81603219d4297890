"""Is a hand-written backward function the derivative of its forward function?

    G1  out = f(inputs),  S = sum over outputs of cotangent * out     a random cotangent, fixed
    G2  f_backward(cotangent) claims dS / d(entry) for each floating entry of each input
    G3  differences.py finds the same number from values of f alone, and how far off that may be
    G4  |claim - difference| <= bound of the difference + rounding of the claim

There is no tolerance to choose. The rounding error of a claim is estimated in two ways: as a few eps of the terms of
which it is the sum, and as the change of the claim itself when all inputs change in their last place.

The stages, in the order of their cost, are structure and linearity (`structure`); a few random directions through all
inputs at once (`directions`); single entries (`entries`), which are all of them if they are few, or those that
bisection finds in a wrong direction; and, for what is wrong, a guess at the mistake (`diagnosis`).

Differences are taken in float64 whenever f accepts it. If the inputs have a lower precision, f_backward runs twice: as
given, and on the same values in float64, so that float32 rounding cannot hide a mistake in a formula.
"""

from __future__ import annotations  # so that no annotation loads numpy.random

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypedDict, Unpack

import numpy as np

from . import trees
from .directions import (
    DIRECTIONS,
    JVP,
    bisect,
    check_direction,
    claimed_slope,
    curve_along,
    random_direction,
    rate_along,
    why_not_analytic,
)
from .entries import Arbiter, Checked, check_array, curve_of
from .pair import KINDS, Arrays, Pair
from .report import FAIL, INCONCLUSIVE, PASS, Curve, Direction, Entry, Guess, Report, severity
from .structure import Structure, examine, nonlinear
from .verdict import Claim

FEW = 1000     # up to this many entries are checked one by one by default
COARSE = 0.01  # a direction with a wider bound decides nothing
STREAM = (7,)  # the key of the random numbers of a check
SAMPLE = 32    # entries of a large wrong array that are examined for a guess

Kind = Literal["backward", "gradient", "jacobian", "hvp"]
Method = Literal["auto", "central", "complex"]


class Options(TypedDict, total=False):
    """The keyword arguments of `gradcheck`."""

    kind: Kind
    wrt: int | str | Sequence[int | str] | None
    jvp: Callable[..., Any] | None
    method: Method
    thorough: bool | None
    rtol: float
    seed: int
    cache: bool | None


def gradcheck(
    f: Callable[..., Any],
    f_backward: Callable[..., Any] | Literal[True] | None,
    inputs: Any,
    *,
    kind: Kind = "backward",
    wrt: int | str | Sequence[int | str] | None = None,
    jvp: Callable[..., Any] | None = None,
    method: Method = "auto",
    thorough: bool | None = None,
    rtol: float = 0.0,
    seed: int = 0,
    cache: bool | None = None,
) -> Report:
    """Compare a hand-written derivative with differences of its function.

    Parameters
    ----------
    f : callable
        ``f(*inputs) -> out`` or ``f(*inputs) -> (out, cache)``. A plain tuple of length two is taken as (out, cache).
        Any other return value, even a NamedTuple of two outputs, is taken as the output.
    f_backward : callable
        ``f_backward(d_out, cache)``, or ``f_backward(d_out, *inputs)`` if f returns no cache. It returns a tuple with
        one gradient for each input; the gradient of a single input may come without the tuple. The gradient of a
        constant (integers, booleans, None, other objects) is ignored. Pass None to check ``jvp`` alone. ``kind`` lists
        the other forms of derivative.
    inputs : tuple
        The arguments of f, at which the derivative is checked. Anything but a tuple or list is taken as the only
        argument. Each is an array, scalar, tuple, list, NamedTuple or dict, nested as you like.
    kind : {"backward", "gradient", "jacobian", "hvp"}
        The form of f_backward. "gradient": ``f(*inputs)`` is one number and ``f_backward(*inputs)`` is its gradient, as
        in scipy.optimize; ``f_backward=True`` means that f itself returns (value, gradient). "jacobian":
        ``f_backward(*inputs)`` is d out / d input for each input, of shape out.shape + input.shape. "hvp": f is a
        gradient, and ``f_backward(*inputs, v)`` is the product of the Hessian and v.
    wrt : int, str or sequence of these, optional
        The positions of the inputs to check, or the names that f gives them. By default all are checked.
    jvp : callable, optional
        ``jvp(d_inputs, *inputs) -> d_out``, the derivative along a direction. ``d_inputs`` has one item for each input,
        None for constants. It is compared with differences, and with f_backward by <v, J u> = <J^T v, u>, which needs
        no step.
    method : {"auto", "central", "complex"}
        What single entries are compared with: central differences or the complex step. The complex step is exact to
        rounding, but f must be analytic and accept complex128. "auto" and "complex" try it along one random direction
        and fall back on central differences; "complex" then adds a note to the report. Whatever the complex step calls
        wrong must be confirmed by central differences.
    thorough : bool, optional
        True checks every entry, False checks random directions alone. By default every entry is checked if there are at
        most 1,000.
    rtol : float
        An error to forgive, relative to the largest entry of the array's gradient, for a function that is itself only
        solved to a tolerance. The default is 0, since the limits follow from the numbers.
    seed : int
        The seed of the random cotangent and directions.
    cache : bool, optional
        Whether f returns (out, cache). It overrides the rule above.

    Returns
    -------
    Report
        ``report.verdict``, ``report.ok``, ``report.max_error``, ``print(report)``, ``report.raise_if_failed()``.

    Raises
    ------
    TypeError, ValueError
        The arguments make a check impossible: no floating input, complex inputs, an unknown method. Mistakes of f or
        f_backward do not raise; they are in the report.
    """
    if type(inputs) is list and all(isinstance(item, (int, float)) for item in inputs):
        inputs = np.asarray(inputs, float)  # one vector, as SciPy takes it
    inputs = tuple(inputs) if type(inputs) in (tuple, list) else (inputs,)
    _require_arguments(f, f_backward, jvp, kind, method, cache, rtol)
    pair = Pair(f, f_backward, inputs, cache, kind, wrt)
    _require_floating(pair)
    # The key keeps the cotangent from repeating the inputs, if these were drawn from default_rng(seed).
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=STREAM))
    if f_backward is None and jvp is not None:
        return JVP(pair, jvp, rng).report(seed)

    structure = examine(pair, rng)
    if structure.problems or structure.undecided:
        guesses = _guess_shapes(pair, structure) if structure.misshapen else ()
        verdict = FAIL if structure.problems else INCONCLUSIVE
        return Report(verdict, problems=structure.problems, undecided=structure.undecided, guesses=guesses, seed=seed,
                      evaluations=pair.evaluations)
    return _Check(pair, structure, rng, method, thorough, jvp, rtol).report(seed)


def assert_gradients(
    f: Callable[..., Any],
    f_backward: Callable[..., Any] | Literal[True] | None,
    inputs: Any,
    **options: Unpack[Options],
) -> Report:
    """Call `gradcheck` with these arguments. Return its Report if it passes.

    Otherwise raise GradientMismatch, an AssertionError, with the text of the report.
    """
    __tracebackhide__ = True  # pytest then points to the caller
    report = gradcheck(f, f_backward, inputs, **options)
    report.raise_if_failed()
    return report


class _Check:
    """The numerical part of a check, once the structure is known to be right."""

    def __init__(
        self, pair: Pair, structure: Structure, rng: np.random.Generator, method: Method, thorough: bool | None,
        jvp: Callable[..., Any] | None, rtol: float,
    ) -> None:
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
        self.claims: dict[int, list[Claim]] = {}  # by the number of the leaf, the most exact first
        for k in () if self.broken else self.leaves:
            forgiven = rtol * np.abs(exact_claims[k]).max(initial=0.0)
            ratio = exact.eps(k) / pair.eps(k)
            self.claims[k] = [Claim(exact_claims[k], exact.eps(k), spread[k] * ratio, forgiven)]
            if exact is not pair:
                self.claims[k].append(Claim(structure.claims[k], pair.eps(k), spread[k], forgiven))
        self.sharpest = {k: claims[0] for k, claims in self.claims.items()}
        self.entries = sum(np.size(pair.leaves[k]) for k in self.leaves)
        self.each_entry = self.entries <= FEW if thorough is None else thorough

    def report(self, seed: int) -> Report:
        problems = list(self.broken)
        if not problems and self.pair.kind == "backward":
            spread = [self.claims[k][-1].spread if k in self.claims else None for k in range(len(self.pair.leaves))]
            claims = [self.claims[k][-1].gradient if k in self.claims else None for k in range(len(self.pair.leaves))]
            sentence = nonlinear(self.pair, self.cotangent, claims, spread, self.rng)
            problems += [sentence] if sentence else []
        if problems:
            return Report(FAIL, problems=tuple(problems), seed=seed, evaluations=self.evaluations)
        exact, weights, rng = self.exact, self.weights, self.rng
        use_complex = self.method == "complex" or self.method == "auto" and self.each_entry
        refusal = why_not_analytic(exact, self.leaves, weights, rng) if use_complex else None
        use_complex = use_complex and not refusal
        if refusal and self.method == "complex":
            self.notes.append(f"complex step not used: {refusal}")

        drawn = [random_direction(exact, self.leaves, rng, relative=number % 2 == 1) for number in range(DIRECTIONS)]
        directions = [check_direction(exact, d, weights, claimed_slope(d, self.sharpest), use_complex) for d in drawn]
        rate = rate_along(exact, drawn[0], weights, self.sharpest)
        checked: list[Checked] = []
        arbiter = Arbiter(exact, self.cotangent, weights) if use_complex else None
        if self.each_entry:
            checked = [check_array(exact, k, weights, self.claims[k], arbiter) for k in self.leaves]
        elif any(d.verdict == FAIL for d in directions):
            checked = self._bisected(arbiter)
        elif not any(d.ok and d.bound <= COARSE for d in directions):
            # Directions decide nothing at kinks. Then entries are checked, all of them or a sample.
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
    def evaluations(self) -> int:
        return self.pair.evaluations + (self.exact.evaluations if self.exact is not self.pair else 0)

    def _verdict(self, entries: Sequence[Entry], directions: Sequence[Direction]) -> str:
        """The verdict of the check. Entries, each with a step and bound of its own, count more than directions."""
        verdicts = [entry.verdict for entry in entries]
        along = [d.verdict for d in directions if d.what == "f_backward"]
        if FAIL in verdicts or any(d.verdict == FAIL for d in directions if d.what != "f_backward"):
            return FAIL
        if self.each_entry:
            undecided = INCONCLUSIVE in verdicts
            return FAIL if undecided and set(along) == {FAIL} else INCONCLUSIVE if undecided else PASS
        if FAIL in along:  # bisection found no wrong entry, so all directions must agree
            return INCONCLUSIVE if PASS in along else FAIL
        decided = any(d.ok and d.bound <= COARSE for d in directions if d.what == "f_backward")
        each = all(entry.count == entry.size for entry in entries) and {*verdicts} == {PASS}
        return PASS if decided or each else INCONCLUSIVE

    def _bisected(self, arbiter: Arbiter | None) -> list[Checked]:
        """Check the wrong entry that bisection finds, together with a sample of other entries of its array."""
        k, index = bisect(self.exact, self.leaves, self.weights, self.sharpest, self.rng)
        first = check_array(self.exact, k, self.weights, self.claims[k], arbiter, [index])
        if first.entry.verdict != FAIL:
            return [first]
        # A guess at the mistake needs a few more entries, for which a rough slope is enough.
        sample = sorted({index, *self._sample(k)})
        return [check_array(self.exact, k, self.weights, self.claims[k], arbiter, sample, quick=True)]

    def _sample(self, k: int) -> list[tuple[int, ...]]:
        """The indices of a random sample of the entries of an array."""
        shape = np.shape(self.exact.leaves[k])
        size = int(np.prod(shape))
        places = np.unravel_index(self.rng.choice(size, min(size, SAMPLE), replace=False), shape)
        return [tuple(int(i) for i in where) for where in zip(*places)] if shape else [()]

    def _guesses(self, checked: Sequence[Checked]) -> tuple[Guess, ...]:
        if not any(c.entry.wrong for c in checked):
            return ()
        from .diagnosis import Compared, diagnose  # which a check that passes does not need

        outputs = [(path, np.shape(leaf)) for path, leaf in self.exact.output_leaves if trees.is_floating(leaf)]
        wrong: list[Compared] = []
        right: list[Compared] = []
        for c in checked:
            if c.entry.count and c.gradient.shape == c.numeric.shape:
                (wrong if c.entry.wrong else right).append(Compared(c.entry.path, c, outputs))
        return diagnose(wrong, right)

    def _curve(self, checked: Sequence[Checked], direction: Arrays) -> Callable[[], Curve]:
        shown = [c for c in checked if c.entry.count and len(c.entry.index) == np.ndim(self.exact.leaves[c.k])]
        if not shown:
            return lambda: curve_along(self.exact, direction, self.weights, self.sharpest)
        worst = max(shown, key=lambda c: severity(c.entry))
        return lambda: curve_of(self.exact, self.weights, worst.entry, worst.k)


def _guess_shapes(pair: Pair, structure: Structure) -> tuple[Guess, ...]:
    """Guesses for gradients of the wrong shape."""
    from .diagnosis import of_shape

    exact, guesses = pair.widened(), []
    weights = exact.weights(structure.cotangent)
    for k, gradient in structure.misshapen:
        values = np.asarray(exact.leaves[k])
        if values.size > FEW or not np.isfinite(gradient).all():
            continue
        nothing = Claim(np.full(values.shape, np.nan), pair.eps(k), np.zeros(values.shape))
        checked = check_array(exact, k, weights, [nothing])
        rounding = 16.0 * pair.eps(k) * (np.abs(checked.numeric) + np.abs(checked.terms).sum(axis=0))
        checked = checked._replace(limit=rounding + np.nan_to_num(checked.limit, nan=0.0, posinf=0.0))
        guess = of_shape(pair.path(k), gradient, checked)
        if guess is not None:
            guesses.append(guess)
    return tuple(guesses)


def _require_arguments(f: Any, f_backward: Any, jvp: Any, kind: Any, method: Any, cache: Any, rtol: Any) -> None:
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


def _require_floating(pair: Pair) -> None:
    """Raise TypeError unless there is an input to differentiate with respect to."""
    kinds = []
    for position in range(len(pair.inputs)) if pair.wrt is None else pair.positions:
        for path, leaf in trees.leaves(pair.inputs[position], pair.names[position]):
            if trees.is_complex(leaf):
                raise TypeError(f"{path}: expected a real array, got {np.asarray(leaf).dtype}")
            kinds.append(str(np.asarray(leaf).dtype))
    if not pair.tested:
        got = ", ".join(sorted(set(kinds))) or "nothing"
        raise TypeError(f"inputs: expected at least one array of floating dtype, got {got}")
