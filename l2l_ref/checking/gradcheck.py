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

import contextlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any, Literal, TypedDict, Unpack

import numpy as np

from . import trees
from .directions import (
    DIRECTIONS,
    JVP,
    Claimed,
    bisect,
    check_direction,
    check_symmetry,
    claimed_in_low_precision,
    claimed_slope,
    curve_along,
    random_direction,
    rate_along,
    why_not_analytic,
)
from .entries import Arbiter, Checked, Row, check_array, curve_of
from .foreign import dtype_name, entry_not_stored
from .pair import ENDED, KINDS, Arrays, Meter, Pair, guessed_kind
from .report import FAIL, INCONCLUSIVE, PASS, Curve, Direction, Guess, Report, severity
from .structure import SINGLE_EPS, Structure, examine, nonlinear, solved
from .ties import Around, check_ties
from .verdict import ONLY_LOW, Claim

FEW = 1000     # up to this many entries are checked one by one by default
COARSE = 0.01  # a direction with a wider bound decides nothing
STREAM = (7,)  # the key of the random numbers of a check
SAMPLE = 64    # entries of a large wrong array that are examined for a guess
MATRIX = 10_000  # up to this many entries of Jacobians are compared one by one
NEAR = 2       # nearby points that are looked at where the whole gradient is zero

Kind = Literal["backward", "gradient", "jacobian", "hvp"]
Method = Literal["auto", "central", "complex"]


class Options(TypedDict, total=False):
    """The keyword arguments of `gradcheck`."""

    kind: Kind | None
    wrt: int | str | Sequence[int | str] | None
    jvp: Callable[..., Any] | None
    method: Method
    thorough: bool | None
    rtol: float
    seed: int
    cache: bool | None
    also_near: int | None
    max_evaluations: int | None
    progress: Callable[[int], Any] | None


def gradcheck(
    f: Callable[..., Any],
    f_backward: Callable[..., Any] | Literal[True] | None,
    inputs: Any,
    *,
    kind: Kind | None = None,
    wrt: int | str | Sequence[int | str] | None = None,
    jvp: Callable[..., Any] | None = None,
    method: Method = "auto",
    thorough: bool | None = None,
    rtol: float = 0.0,
    seed: int = 0,
    cache: bool | None = None,
    also_near: int | None = None,
    max_evaluations: int | None = None,
    progress: Callable[[int], Any] | None = None,
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
        argument. Each is an array, number, tuple, list, NamedTuple, dict or object that holds arrays, nested as you
        like. Arrays may be complex, or those of another library; f gets them in their own type.
    kind : {"backward", "gradient", "jacobian", "hvp"}, optional
        The form of f_backward. If you leave it out, it is guessed: an f_backward that takes the inputs alone is a
        gradient if f returns one number, else a Jacobian; any other is a backward function. "gradient": ``f(*inputs)``
        is one number and ``f_backward(*inputs)`` is its gradient, as in scipy.optimize; ``f_backward=True`` means that
        f itself returns (value, gradient). "jacobian": ``f_backward(*inputs)`` is d out / d input for each input, of
        shape out.shape + input.shape. "hvp": f is a gradient, and ``f_backward(*inputs, v)`` is the product of the
        Hessian and v.
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
    also_near : int, optional
        At how many points nearby, drawn at random, directions are checked as well. Special inputs hide mistakes: where
        a gradient is 0, no wrong sign can be seen. By default two are looked at where the whole gradient is 0.
    max_evaluations : int, optional
        After so many calls of f the check ends, with what it knows; what is not decided by then is INCONCLUSIVE. By
        default there is no limit. Ctrl-C does the same at any time.
    progress : callable, optional
        It is called with the number of calls of f before each of them.

    Returns
    -------
    Report
        ``report.verdict``, ``report.ok``, ``report.max_error``, ``print(report)``, ``report.raise_if_failed()``.

    Raises
    ------
    TypeError, ValueError
        The arguments make a check impossible: no floating input, masked entries, an unknown method. Mistakes of f or
        f_backward do not raise; they are in the report.
    """
    inputs = as_arguments(inputs)
    _require_arguments(f, f_backward, jvp, kind, method, cache, rtol)
    _require_counts(also_near, max_evaluations, progress)
    meter = Meter(max_evaluations, progress)
    pair = Pair(f, f_backward, inputs, cache, kind or "backward", wrt, meter)
    _require_floating(pair)
    rng = generator(seed, STREAM)
    note = ""
    try:
        # The caller's floating point settings, warnings as errors among them, must not decide a verdict.
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if kind is None:
                pair.kind, note = guessed_kind(pair)
            report = _checked(pair, jvp, rng, method, thorough, rtol, also_near)
    except ENDED as end:
        report = Report(INCONCLUSIVE, undecided=(f"{meter.when(end)}, before anything was compared",))
    finally:
        pair.restore()
    if note and (pair.kind != "backward" or report.problems and "did you mean" not in str(report.notes)):
        report = replace(report, notes=(*report.notes, note))
    return replace(report, seed=seed, evaluations=meter.calls)


def as_arguments(inputs: Any) -> tuple[Any, ...]:
    """The arguments of f. A list of numbers is one vector, as SciPy takes it."""
    if type(inputs) is list and all(isinstance(item, (int, float)) for item in inputs):
        inputs = np.asarray(inputs, float)
    return tuple(inputs) if type(inputs) in (tuple, list) else (inputs,)


def generator(seed: int, stream: tuple[int, ...]) -> np.random.Generator:
    """Random numbers that do not repeat the inputs, if these were drawn from default_rng(seed) or another stream."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=stream))


def _checked(
    pair: Pair, jvp: Callable[..., Any] | None, rng: np.random.Generator, method: Method, thorough: bool | None,
    rtol: float, also_near: int | None,
) -> Report:
    if pair.f_backward is None and jvp is not None:
        return JVP(pair, jvp, rng).report()
    try:
        structure = examine(pair, rng)
    except Exception as error:
        for sentence in _other_readings(pair, rng, method, rtol):
            error.add_note(sentence)
        raise
    if structure.problems or structure.undecided:
        guesses = _guess_shapes(pair, structure) if structure.misshapen else ()
        verdict = FAIL if structure.problems else INCONCLUSIVE
        report = Report(verdict, problems=structure.problems, undecided=structure.undecided, guesses=guesses)
    else:
        report = _Check(pair, structure, rng, method, thorough, jvp, rtol).run().report
    if report.problems:
        report = replace(report, notes=(*report.notes, *_other_readings(pair, rng, method, rtol)))
    return _elsewhere(report, pair, structure, rng, method, rtol, also_near) if report.ok else report


def _other_readings(pair: Pair, rng: np.random.Generator, method: Method, rtol: float) -> list[str]:
    """A sentence if f_backward, taken as a backward function, is right when it is called in another way."""
    if pair.kind != "backward" or pair.f_backward is None:
        return []
    with contextlib.suppress(*ENDED, Exception):  # f has no output, say
        for other, sentence in pair.readings():
            with contextlib.suppress(Exception):  # f_backward was not made for such a call
                structure = examine(other, rng)
                fits = not structure.problems and not structure.undecided and any(map(np.any, structure.claims))
                if fits and _Check(other, structure, rng, method, False, None, rtol).run().report.ok:
                    return [sentence]
    return []


def _elsewhere(
    report: Report, pair: Pair, structure: Structure, rng: np.random.Generator, method: Method, rtol: float,
    also_near: int | None,
) -> Report:
    """The report with what cannot be seen at these inputs, and what is seen at points nearby."""
    claims = {pair.path(k): structure.claims[k] for k in pair.tested if np.size(structure.claims[k])}
    zero = [path for path, claim in claims.items() if not claim.any()]
    notes = [f"{path} {look}" for k in pair.tested for path, look in [(pair.path(k), _special(pair.leaves[k]))] if look]
    if zero:
        which = "the whole gradient" if len(zero) == len(claims) else f"the gradient of {', '.join(zero)}"
        notes.insert(0, f"{which} is zero here, where a wrong sign or factor cannot be seen")
    seen = 0
    points = (NEAR if zero and len(zero) == len(claims) else 0) if also_near is None else also_near
    for _ in range(points):
        near = pair.nearby(rng)
        try:
            there = examine(near, rng)
            if there.problems or there.undecided:
                continue  # f or its gradient may not be defined there
            found = _Check(near, there, rng, method, False, None, rtol).run().report
        except ENDED as end:
            notes.append(f"no more points nearby: {pair.meter.when(end)}")
            break
        except Exception:  # f may refuse these inputs with any exception
            continue
        if found.verdict == FAIL:
            problem = "the gradient passes at these inputs, but is wrong at a point nearby: " + found.headline
            return replace(found, problems=(problem,), notes=(*notes, *found.notes))
        seen += found.ok and any(d.analytic != 0.0 for d in found.directions)
    if seen:
        notes.append(f"it is right at {seen} of {points} points nearby as well")
    elif zero and points:
        notes.append("so it is at the points nearby that were looked at: other inputs show more")
    elif notes:
        notes.append("other inputs, or also_near=3, show more")
    return replace(report, notes=(*report.notes, *notes))


def _special(values: Any) -> str:
    """What is special about an array, so that a mistake may not show; "" for an ordinary one."""
    v = np.asarray(values, np.float64)
    if v.size and (v == 1.0).all():
        return f"is {'all ones' if v.ndim else '1'}: a factor that is missing cannot be seen"
    if v.size and (v == 0.0).all():
        return f"is {'all zeros' if v.ndim else '0'}: a term that is multiplied by it cannot be seen"
    if v.size > 1 and (v == v.flat[0]).all():
        return "has equal entries: a wrong order of them cannot be seen"
    if v.ndim > 1 and len(v) > 1 and v[0].size and (v == v[0]).all():
        return "has equal rows: a term that vanishes where they agree cannot be seen"
    if v.ndim == 2 and len(v) > 1 and v.shape[0] == v.shape[1] and np.array_equal(v, v.T):
        return "is symmetric: a missing transposition cannot be seen"
    norms = np.sqrt(np.square(v).sum(axis=-1)) if v.ndim and v.shape[-1] > 1 else np.zeros(1)
    if norms.size and (np.abs(norms - 1.0) < 1e-9).all():
        return "has the norm 1: a factor of its norm cannot be seen"
    return ""


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
    """The numerical part of a check, once the structure is known to be right. It can be stopped at any call of f."""

    def __init__(
        self, pair: Pair, structure: Structure, rng: np.random.Generator, method: Method, thorough: bool | None,
        jvp: Callable[..., Any] | None, rtol: float,
    ) -> None:
        self.pair, self.rng, self.method, self.jvp, self.rtol = pair, rng, method, jvp, rtol
        self.leaves = pair.tested
        self.cotangent, self.notes, self.structure = structure.cotangent, list(structure.notes), structure
        self.entries = sum(np.size(pair.leaves[k]) for k in self.leaves)
        self.each_entry = self.entries <= FEW if thorough is None else thorough
        self.thorough = thorough
        self.problems: list[str] = []
        self.directions: list[Direction] = []
        self.checked: list[Checked] = []
        self.guesses: tuple[Guess, ...] = ()
        self.rate: float | None = None
        self.use_complex = False
        self.ended = ""  # why, if the check was ended early
        self._curve: Callable[[], Curve] | None = None

    def run(self) -> "_Check":
        """Take one stage after the other, until the end or until the budget is spent."""
        try:
            self._stages()
        except ENDED as end:
            self.ended = self.pair.meter.when(end)
        return self

    def _stages(self) -> None:
        self.exact = exact = self.pair.widened()
        self.weights = weights = exact.weights(self.cotangent)
        self._claim()
        if self.problems:
            return
        self.around = Around(exact, self.rng.spawn(1)[0])
        use_complex = self.method == "complex" or self.method == "auto" and self.each_entry
        refusal = why_not_analytic(exact, self.leaves, weights, self.rng) if use_complex else None
        self.use_complex = use_complex and not refusal
        if refusal and self.method == "complex":
            self.notes.append(f"complex step not used: {refusal}")
        arbiter = Arbiter(exact, self.cotangent) if self.use_complex else None

        drawn = [random_direction(exact, self.leaves, self.rng, relative=n % 2 == 1) for n in range(DIRECTIONS)]
        for direction in () if self.entries == 1 and self.each_entry else drawn:
            self.directions.append(self._along(direction))
        if self.directions:
            self.rate = rate_along(exact, drawn[0], weights, self.sharpest)
        self._curve = lambda: curve_along(exact, drawn[0], weights, self.sharpest)
        if self.each_entry and (self.use_complex or self.thorough or self.entries <= SAMPLE or not self._any_wrong()):
            self._check_entries(arbiter)
        elif self._any_wrong():
            self._bisect(arbiter)
        elif not any(d.ok and d.bound <= COARSE for d in self.directions):
            # Directions decide nothing at kinks. Then entries are checked, all of them or a sample.
            few = self.entries <= FEW
            self._check_entries(arbiter, None if few else self._sample)
        if any(ONLY_LOW in note for note in [c.entry.note for c in self.checked] + [d.note for d in self.directions]):
            self.rate = None  # which is that of the claims in float64
        self.guesses = self._guesses()
        self.notes += self._not_stored()
        self._find_curve()
        self._check_ties()
        if self.pair.kind == "hvp":
            self.directions += check_symmetry(exact, self.rng)
        if self.jvp is not None:
            self.directions += JVP(exact, self.jvp, self.rng).directions(weights, self.sharpest)

    def _claim(self) -> None:
        """Collect the claims of f_backward, and how exact they are."""
        pair, exact, structure, cotangent = self.pair, self.exact, self.structure, self.cotangent
        exact_claims = structure.claims if exact is pair else exact.claims(cotangent)
        self.problems += [
            f"the gradient of {pair.path(k)} is not finite on the same inputs in float64"
            for k in self.leaves if exact_claims[k] is None or not np.isfinite(exact_claims[k]).all()
        ]
        if self.problems:
            return
        eps = [pair.eps(k) for k in range(len(pair.leaves))]
        by_row = self._by_row()
        form = None if by_row else cotangent
        claimed = [(exact, exact.matrices() if by_row else exact_claims)]
        if exact is not pair:
            claimed.append((pair, pair.matrices() if by_row else structure.claims))
        spread = exact.spread(form, claimed[0][1], eps, self.rng)
        inside = [cache(partial(of.inside, form, gradients)) for of, gradients in claimed]
        self.rows: dict[int, list[Row]] = {}   # by the number of the leaf
        self.sharpest: dict[int, Claim] = {}   # for directions
        self.coarsest: dict[int, Claim] = {}   # the same in the precision of the inputs
        claims: dict[int, list[Claim]] = {}
        for k in self.leaves:
            forgiven = self.rtol * np.abs(claimed[0][1][k]).max(initial=0.0)
            claims[k] = []
            for number, (of, gradients) in enumerate(claimed):
                # The spread was found with the precision of the inputs. float32 saturates where float64 does not, so
                # the error of its arithmetic is looked for in both.
                measured = [(inside[i], of.eps(k) / claimed[i][0].eps(k)) for i in range(number + 1)]
                claims[k].append(Claim(gradients[k], of.eps(k), spread[k] * (of.eps(k) / pair.eps(k)), forgiven,
                                       partial(_scaled, measured, k)))
        self._require_linear(claims)
        for k in self.leaves:
            claims[k] = [c._replace(lost=c.inside()) if c.low and c.inside else c for c in claims[k]]
        for k in self.leaves:
            self.sharpest[k], self.coarsest[k] = claims[k][0], claims[k][-1]
            self.rows[k] = [Row((), self.weights, claims[k])]
            if by_row:
                self.sharpest[k] = claims[k][0].combined(self.weights.reshape(self._out_shape))
                self.rows[k] = [Row(row, unit, [c.at(row) for c in claims[k]], single=True)
                                for row, unit in zip(np.ndindex(self._out_shape), np.eye(len(self.weights)))]

    def _require_linear(self, claims: dict[int, list[Claim]]) -> None:
        """Add a problem if f_backward is not linear, and lower the precision of the claims to what it shows."""
        if self.pair.kind != "backward":
            return
        for number, of in enumerate([self.exact] if self.exact is self.pair else [self.exact, self.pair]):
            every: list[Any] = [None] * len(of.leaves)
            gradients, spread = list(every), list(every)
            for k, forms in claims.items():
                gradients[k], spread[k] = forms[number].gradient, forms[number].spread
            sentence, precision = nonlinear(of, self.cotangent, gradients, spread, self.rng, self.rtol,
                                            max(SINGLE_EPS, *(self.pair.eps(k) for k in claims)))
            if sentence:
                self.problems.append(sentence)
                return
            for k, eps in precision.items():
                if eps > of.eps(k):
                    claims[k][number] = claims[k][number]._replace(eps=eps)
                    self.notes.append(f"f_backward computes the gradient of {of.path(k)} in float32 inside")

    def _by_row(self) -> bool:
        """Whether the rows of a Jacobian or Hessian are compared one by one."""
        exact = self.exact
        one_output = len(exact.output_leaves) == 1
        one_input = self.pair.kind == "jacobian" or trees.children(self.pair.inputs[0]) is None
        small = len(self.weights) * self.entries <= MATRIX
        self._out_shape = np.shape(exact.output_leaves[0][1])
        return self.pair.kind in ("jacobian", "hvp") and one_output and one_input and small and self.each_entry

    def _along(self, direction: Arrays) -> Direction:
        claimed = [partial(claimed_slope, direction, self.sharpest)]
        if self.exact is not self.pair and not self.each_entry:
            claimed.append(partial(claimed_in_low_precision, direction, self.coarsest))
        return check_direction(self.exact, direction, self.weights, claimed, self.use_complex)

    def _any_wrong(self) -> bool:
        return any(d.verdict == FAIL for d in self.directions)

    def _check_entries(self, arbiter: Arbiter | None, sample: Callable[[int], Any] | None = None) -> None:
        """Check the entries of all arrays, or those that ``sample`` draws."""
        for k in self.leaves:
            self._check_array(k, arbiter, sample and sample(k))

    def _check_array(self, k: int, arbiter: Arbiter | None, indices: Any = None, quick: bool = False) -> Checked:
        out = self.exact.output_leaves[0][0] if self.rows[k][0].single else ""
        all_zero = not any(claim.gradient.any() for claim in self.sharpest.values())
        found = check_array(self.exact, k, self.rows[k], arbiter, indices, quick, out, all_zero, self.around)
        self.checked.append(found)
        if found.end is not None:
            raise found.end
        return found

    def _check_ties(self) -> None:
        """Check entries on a kink together, since claims that are right one by one may contradict each other."""
        kinks = list(dict.fromkeys((c.k, index[c.entry.rows:]) for c in self.checked for index in c.entry.kinks))
        found = check_ties(self.exact, kinks, self.weights, self.sharpest, self.around)
        wrong = FAIL in (*(d.verdict for d in found), *(c.entry.verdict for c in self.checked))
        if kinks and not wrong:
            found += self.around.together(kinks, self.weights, self.sharpest)
        self.directions += found
        tied = [trees.name(self.exact.path(c.k), index) for c in self.checked for index in c.tied]
        if tied and FAIL not in (d.verdict for d in found):
            names = ", ".join(tied[:4]) + ", ..." * (len(tied) > 4)
            self.notes.append(f"{names}: a tie, around which f has several slopes; each of them counts as right")

    def _bisect(self, arbiter: Arbiter | None) -> None:
        """Check the wrong entry that bisection finds, together with a sample of other entries of its array."""
        wrong = [d for d in self.directions if d.verdict == FAIL]
        low = all(ONLY_LOW in d.note for d in wrong)
        of, claims = (claimed_in_low_precision, self.coarsest) if low else (claimed_slope, self.sharpest)

        def claimed(direction: Arrays, widened: bool = False) -> Claimed:
            return of(direction, claims, widened)

        k, index = bisect(self.exact, self.leaves, self.weights, claimed, self.rng)
        if self._check_array(k, arbiter, [index]).entry.verdict == FAIL:
            # A guess at the mistake needs a few more entries, for which a rough slope is enough.
            first = self.checked.pop()
            try:
                self._check_array(k, arbiter, sorted({index, *self._sample(k)}), quick=True)
            except ENDED:
                self.checked = [first]
                raise

    def _sample(self, k: int) -> list[tuple[int, ...]]:
        """The indices of a random sample of the entries of an array."""
        shape = np.shape(self.exact.leaves[k])
        size = int(np.prod(shape))
        places = np.unravel_index(self.rng.choice(size, min(size, SAMPLE), replace=False), shape)
        return [tuple(int(i) for i in where) for where in zip(*places)] if shape else [()]

    @property
    def report(self) -> Report:
        """What was found, as far as the check went."""
        verdict = FAIL if self.problems else self._verdict()
        notes = list(self.notes)
        if verdict == FAIL and self.pair.taken_as_cache:
            notes.append("f returned a tuple of two, taken as (out, cache): with cache=False both are outputs")
        if verdict == FAIL and not any(guess.likely for guess in self.guesses):
            wrong = [c.relative_error for c in self.checked if c.entry.verdict == FAIL]
            wrong = wrong or [d.error for d in self.directions if d.verdict == FAIL]
            sentence = solved(max(wrong, default=0.0))
            notes += [sentence] if sentence else []
        undecided = ()
        if self.ended and verdict == FAIL:
            notes.append(f"ended early: {self.ended}")
        elif self.ended:
            undecided = (f"{self.ended}; nothing wrong was seen by then",)
        nothing = not self.checked and not self.directions
        return Report(
            verdict, tuple(c.entry for c in self.checked), tuple(self.directions), tuple(self.problems),
            undecided, self.guesses, tuple(notes),
            "none" if nothing else "complex" if self.use_complex else "central", self.rate, 0,
            self.pair.meter.calls, self._curve,
        )

    def _verdict(self) -> str:
        """The verdict of the check. Entries, each with a step and bound of its own, count more than directions."""
        verdicts = [c.entry.verdict for c in self.checked]
        along = [d.verdict for d in self.directions if d.what == "f_backward"]
        if FAIL in verdicts or any(d.verdict == FAIL for d in self.directions if d.what != "f_backward"):
            return FAIL
        if self.ended:
            return FAIL if {*along} == {FAIL} else INCONCLUSIVE
        if self.each_entry and not self._any_wrong():
            return INCONCLUSIVE if INCONCLUSIVE in verdicts else PASS
        if self.each_entry:
            undecided = INCONCLUSIVE in verdicts
            return FAIL if undecided and set(along) == {FAIL} else INCONCLUSIVE if undecided else PASS
        if FAIL in along:  # bisection found no wrong entry, so all directions must agree
            return INCONCLUSIVE if PASS in along or any(c.tied for c in self.checked) else FAIL
        decided = any(d.ok and d.bound <= COARSE for d in self.directions if d.what == "f_backward")
        each = all(c.entry.count == c.entry.size for c in self.checked) and {*verdicts} == {PASS}
        return PASS if decided or each else INCONCLUSIVE

    def _guesses(self) -> tuple[Guess, ...]:
        if not any(c.entry.wrong for c in self.checked):
            return ()
        from .diagnosis import Compared, diagnose  # which a check that passes does not need

        outputs = [(path, np.shape(leaf)) for path, leaf in self.exact.output_leaves if trees.is_floating(leaf)]
        wrong: list[Compared] = []
        right: list[Compared] = []
        for c in self.checked:
            if c.entry.count and c.gradient.shape == c.numeric.shape:
                others = [(path, leaf) for k, (path, _, leaf) in enumerate(self.exact.named)
                          if k != c.k and trees.is_floating(leaf)]
                (wrong if c.entry.wrong else right).append(Compared(
                    c.entry.path, c, outputs, values=self.exact.leaves[c.k], outputs_values=self.exact.base_outputs,
                    cotangent=None if c.entry.rows else self.weights, others=others, rows=c.entry.rows,
                ))
        return diagnose(wrong, right)

    def _not_stored(self) -> list[str]:
        """Sentences on derivatives that are not 0, and have no place in a sparse Jacobian."""
        found = []
        for c in self.checked:
            stored = self.exact.patterns.get(c.k) if c.entry.out else None
            if stored is not None:
                numeric, limit = (np.reshape(a, stored.shape) for a in (c.numeric, c.limit))
                found.append(entry_not_stored(c.entry.path, stored, numeric, limit))
        return [sentence for sentence in found if sentence]

    def _find_curve(self) -> None:
        """The curve of the worst entry takes the place of a direction's."""
        shown = [c for c in self.checked if c.entry.count and not c.entry.out
                 and len(c.entry.index) == np.ndim(self.exact.leaves[c.k])]
        if shown:
            worst = max(shown, key=lambda c: severity(c.entry))
            self._curve = lambda: curve_of(self.exact, self.weights, worst.entry, worst.k)


def _scaled(measured: Sequence[tuple[Callable[[], Arrays], float]], k: int) -> np.ndarray:
    """The largest of several measured errors of the gradient of leaf k, each multiplied by a factor."""
    return np.asarray(np.fmax.reduce([np.asarray(inside()[k], np.float64) * factor for inside, factor in measured]))


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
        checked = check_array(exact, k, [Row((), weights, [nothing])])
        rounding = 16.0 * pair.eps(k) * (np.abs(checked.numeric) + np.abs(checked.terms).sum(axis=0))
        checked = checked._replace(limit=rounding + np.nan_to_num(checked.limit, nan=0.0, posinf=0.0))
        guess = of_shape(pair.path(k), gradient, checked)
        if guess is not None:
            guesses.append(guess)
    return tuple(guesses)


def _require_arguments(f: Any, f_backward: Any, jvp: Any, kind: Any, method: Any, cache: Any, rtol: Any) -> None:
    if not callable(f):
        raise TypeError(f"f: expected a callable, got {type(f).__name__}")
    if kind is not None and kind not in KINDS:
        raise ValueError(f"kind: expected one of {', '.join(map(repr, KINDS))}, got {kind!r}")
    alone = f_backward is None and jvp is not None or f_backward is True and kind in ("gradient", None)
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


def _require_counts(also_near: Any, max_evaluations: Any, progress: Any) -> None:
    for name, value, least in (("also_near", also_near, 0), ("max_evaluations", max_evaluations, 1)):
        if value is None:
            continue
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name}: expected a whole number of at least {least}, got {value!r}")
    if progress is not None and not callable(progress):
        raise TypeError(f"progress: expected a callable, got {type(progress).__name__}")


def _require_floating(pair: Pair) -> None:
    """Raise TypeError unless there is an input to differentiate with respect to."""
    kinds = []
    for position in range(len(pair.inputs)) if pair.wrt is None else pair.positions:
        for _, leaf in trees.leaves(pair.inputs[position]):
            kinds.append(dtype_name(leaf))
    if not pair.tested:
        got = ", ".join(sorted(set(kinds))) or "nothing"
        raise TypeError(f"inputs: expected at least one array of floating dtype, got {got}")
