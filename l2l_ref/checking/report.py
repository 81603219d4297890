"""The result of a gradient check, as text for people and as JSON for programs."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from . import trees

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PASS: Final = "PASS"
FAIL: Final = "FAIL"
INCONCLUSIVE: Final = "INCONCLUSIVE"
MISSED = 1e-3  # the probability of a miss to which `Report.checked_to` refers if only directions were checked

ADJOINT = "<J^T v, u> against <v, J u>"
TIES = "f_backward, tied entries moved together"
SYMMETRY = "<u, H v> against <v, H u>"
COMPARED = (ADJOINT, SYMMETRY)  # with each other, without a step
Curve = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]  # steps and errors
METHODS = {"central": "central differences", "complex": "the complex step"}


class GradientMismatch(AssertionError):
    """The check of a backward function ended in FAIL or INCONCLUSIVE."""


class Entry(NamedTuple):
    """The verdict on one array of gradients, with the numbers of its worst entry.

    ``error`` is |analytic - numeric|, and ``bound`` is the part of it that rounding and truncation can explain. Both
    are relative to the largest entry of the array's gradient. The worst entry is the wrong one with the largest error
    or, if none is wrong, the one with the largest error / bound.
    """

    path: str        # for example "params.W_x"
    count: int       # type: ignore[assignment]  # the number of entries that were checked
    index: tuple[int, ...]  # type: ignore[assignment]  # the index of the worst entry
    analytic: float  # its value according to f_backward
    numeric: float   # its value according to differences
    error: float
    bound: float
    verdict: str     # FAIL if any entry is wrong, else INCONCLUSIVE if any is undecided, else PASS
    widest: float = 0.0  # the largest bound of all entries
    wrong: int = 0       # the number of wrong entries
    undecided: int = 0   # the number of undecided entries
    kinks: tuple[tuple[int, ...], ...] = ()  # the indices of entries on a kink, between the two one-sided slopes
    note: str = ""
    size: int = 0        # the number of entries of the array
    out: str = ""        # the output, if this is an entry of a Jacobian: ``index`` is its row, then its column
    rows: int = 0        # the number of axes of the row
    unseen: int = 0      # the number of entries that passed, but are smaller than their bound

    @property
    def ok(self) -> bool:
        """True for PASS alone."""
        return self.verdict == PASS

    @property
    def name(self) -> str:
        """Path and index of the worst entry, as in ``params.W_x[3, 17]`` or ``d out[1] / d x[2]``."""
        return self.named(self.index)

    def named(self, index: tuple[int, ...]) -> str:
        """`name` for another entry."""
        if not self.out:
            return trees.name(self.path, index)
        return f"d {trees.name(self.out, index[:self.rows])} / d {trees.name(self.path, index[self.rows:])}"

    @property
    def excess(self) -> float:
        """error / bound; infinite if that is nan or a division by 0."""
        return _excess(self)

    def __str__(self) -> str:
        if self.count == 0:
            return f"{self.path} is empty"
        text = f"{self.name}: {_numbers(self)}"
        return text + (f"; {self.note}" if self.note else "")


class Direction(NamedTuple):
    """The slope along a random direction through all inputs at once.

    ``error`` and ``bound`` are relative to the norm of the gradient, each entry multiplied by the length of its move.
    """

    what: str  # "f_backward", "jvp", TIES, or one of COMPARED
    analytic: float
    numeric: float
    error: float
    bound: float
    verdict: str
    note: str = ""

    @property
    def ok(self) -> bool:
        """True for PASS alone."""
        return self.verdict == PASS

    @property
    def excess(self) -> float:
        """error / bound; infinite if that is nan or a division by 0."""
        return _excess(self)

    def __str__(self) -> str:
        if self.what == SYMMETRY:
            which = "symmetric" if self.ok else "not symmetric, so it is not that of a Hessian"
            return f"the product is {which}: " + _numbers(self, "<u, H v>", "<v, H u>")
        says = _numbers(self, self.what, "differences") if self.what != ADJOINT else _numbers(self, "f_backward", "jvp")
        if self.what == TIES:
            return f"tied entries moved together ({self.note}): {_numbers(self, 'f_backward', 'differences')}"
        return f"along a random direction {says}" + (f"; {self.note}" if self.note else "")


class Guess(NamedTuple):
    """What may be wrong with the gradient of one array. ``likely`` is False if the pattern could fit by chance."""

    path: str
    pattern: str  # "sign", "factor", "ratio", "transpose" and so on: see `diagnosis` and `places`
    text: str
    likely: bool = True

    def __str__(self) -> str:
        return f"{'guess' if self.likely else 'perhaps'}: {self.text}"


@dataclass(frozen=True)
class Report:
    """The result of `gradcheck`.

    Attributes
    ----------
    verdict : {"PASS", "FAIL", "INCONCLUSIVE"}
        FAIL: something is wrong. INCONCLUSIVE: nothing was seen to be wrong, but not everything could be decided.
    entries : tuple of Entry
        One for each floating array of the inputs, if single entries were checked.
    directions : tuple of Direction
        The random directions through all inputs at once.
    problems : tuple of str
        Sentences that say what is wrong with shapes, dtypes, side effects and the like.
    undecided : tuple of str
        Sentences that say why nothing could be decided.
    guesses : tuple of Guess
        What the mistake may be.
    notes : tuple of str
        Things to know that are not errors.
    method : {"central", "complex", "none"}
        What single entries were compared with; "none" if no numbers were compared.
    taylor_rate : float or None
        The order in t of the remainder f(x + t d) - f(x) - t s, where s is the slope according to f_backward. It is 2
        if s is right and 1 if s is wrong; None if rounding hides it. This is a second opinion that needs no step.
    seed : int
        The seed of the random cotangent and directions.
    evaluations : int
        The number of calls of f.
    """

    verdict: str
    entries: tuple[Entry, ...] = ()
    directions: tuple[Direction, ...] = ()
    problems: tuple[str, ...] = ()
    undecided: tuple[str, ...] = ()
    guesses: tuple[Guess, ...] = ()
    notes: tuple[str, ...] = ()
    method: str = "none"
    taylor_rate: float | None = None
    seed: int = 0
    evaluations: int = 0
    _curve: Callable[[], Curve] | None = field(default=None, repr=False, compare=False)

    @property
    def ok(self) -> bool:
        """True for PASS alone."""
        return self.verdict == PASS

    @property
    def max_error(self) -> float:
        """The largest error of an entry, or of a direction if no entries were checked; inf without any numbers."""
        errors = [item.error for item in self.entries if item.count] or [item.error for item in self.directions]
        broken = bool(self.problems or self.undecided) and not errors
        return math.inf if broken or any(map(math.isnan, errors)) else max(errors, default=0.0)

    @property
    def checked_to(self) -> float:
        """The size from which on an error would have been seen.

        If entries were checked, it is relative to the largest entry of the array. If only directions were checked, it
        is relative to the norm of the whole gradient, and an error of this size is missed with probability `MISSED`,
        because a direction shows a normal number times the norm of the error.
        """
        entries = [entry for entry in self.entries if entry.count]
        if entries:
            seen = [entry for entry in entries if entry.unseen + len(entry.kinks) < entry.count]
            return max(entry.widest for entry in seen or entries)
        bounds = [d.bound for d in self.directions if d.ok and d.what not in COMPARED]
        if not bounds:
            return math.inf if self.directions else 0.0
        odds = math.prod(0.8 * bound for bound in bounds) / MISSED
        return float(max(odds ** (1.0 / len(bounds)), max(bounds)))

    @property
    def worst(self) -> Entry | None:
        """The entry closest to its bound, or furthest beyond it; None if no entries were compared."""
        return max((e for e in self.entries if e.count), key=severity, default=None)

    def __str__(self) -> str:
        return "\n  ".join([f"gradcheck {self.verdict}: {self.headline}", *self._details()])

    @property
    def headline(self) -> str:
        """The first line of the report, after the verdict."""
        if self.problems or self.undecided:
            return (self.problems + self.undecided)[0]
        if self.ok:
            unseen, count = (sum(getattr(entry, what) for entry in self.entries) for what in ("unseen", "count"))
            lost = f"{unseen} of {count} {_plural(count, 'entry', 'entries')} below the noise" if unseen else ""
            to = "" if lost and self.checked_to >= 1.0 else f"checked to {self.checked_to:.1g}"
            to = ", ".join(filter(None, [to, lost]))
            if self.entries and self.checked_to == 0.0 and any(entry.kinks for entry in self.entries):
                return "every entry lies on a kink, between the slopes around it"
            if count or not self.directions:
                arrays = f"{count} {_plural(count, 'entry', 'entries')} of {len(self.entries)} "
                return f"{to}: {arrays}{_plural(len(self.entries), 'array', 'arrays')}, by {METHODS[self.method]}"
            decided = sum(d.ok for d in self.directions)
            number = len(self.directions)
            of = f"{number}" if decided == number else f"{decided} of {number}"
            return f"{to}, with a chance of 1 in {1 / MISSED:.0f} of a miss: {of} random directions"
        worst = self.worst
        if worst is not None and (worst.verdict == self.verdict or not self.directions):
            return str(worst)
        return str(max(self.directions, key=lambda d: (d.what == TIES and d.verdict == self.verdict, severity(d))))

    def _details(self) -> list[str]:
        lines = [*(self.problems + self.undecided)[1:], *map(str, self.guesses)]
        shown = sorted((e for e in self.entries if e.count), key=severity, reverse=True)
        width = max((len(e.path) for e in shown), default=0)
        for e in shown[:20]:
            number = f"{e.count} of {e.size:,}" if e.count < e.size else f"{e.count}"
            text = f"{e.path:<{width}}  {e.verdict}  {number} {_plural(e.size, 'entry', 'entries')}, "
            text += f"{e.wrong} wrong, " if e.wrong else ""
            text += f"{e.undecided} undecided, " if e.undecided else ""
            text += f"worst error {e.error:.1e}, bound {e.bound:.1e}"
            lines.append(text)
            if e.note and e.verdict != FAIL:
                lines.append(f"  {e.name}: {e.note}")
            if e.kinks:
                names = ", ".join(e.named(index) for index in e.kinks[:8])
                more = f" and {len(e.kinks) - 8} more" if len(e.kinks) > 8 else ""
                lines.append(f"  at a kink of f, between the slopes around it: {names}{more}")
        if len(shown) > 20:
            lines.append(f"... and {len(shown) - 20} more arrays, none of them worse")
        if not shown or self.verdict == INCONCLUSIVE and any(d.verdict == FAIL for d in self.directions):
            lines += map(str, self.directions)
        if self.taylor_rate is not None and not self.ok:
            means = "so it is wrong" if self.taylor_rate < 1.5 else "so a mistake is a small one"
            lines.append("second opinion, along a direction: the Taylor remainder falls as "
                         f"t^{self.taylor_rate:.2f}, {means}")
        if shown:
            lines.append("errors and bounds are relative to the largest entry of each gradient")
        return lines + list(self.notes)

    def __getstate__(self) -> dict[str, Any]:
        """The state of a pickle or a copy: without the curve, which needs the functions that were checked."""
        return {**self.__dict__, "_curve": None}

    def to_json(self) -> str:
        """The report as JSON text; numbers that are not finite become null."""

        def clean(value: Any) -> Any:
            if hasattr(value, "_asdict"):
                return clean({**({"name": value.name} if isinstance(value, Entry) else {}), **value._asdict()})
            if isinstance(value, dict):
                return {key: clean(item) for key, item in value.items()}
            if isinstance(value, (tuple, list)):
                return [clean(item) for item in value]
            return None if isinstance(value, float) and not math.isfinite(value) else value

        names = [f.name for f in fields(self) if f.name != "_curve"]
        summary = {"ok": self.ok, "max_error": self.max_error, "checked_to": self.checked_to}
        return json.dumps(clean({**summary, **{name: getattr(self, name) for name in names}}))

    def raise_if_failed(self) -> None:
        """Raise GradientMismatch with the text of this report unless ``ok``."""
        if not self.ok:
            raise GradientMismatch(str(self))

    def curve(self) -> Curve:
        """The V curve of the worst entry, or of a direction: the error of plain central differences for each step.

        Returns
        -------
        steps, errors : arrays
            The error is ``|difference - f_backward| / max(1, |f_backward|)``. As the step h shrinks, it falls with the
            truncation error, h^2, and then rises with rounding, 1 / h. For a wrong gradient it stays at the size of
            the mistake in between.

        Raises
        ------
        ValueError
            No numbers were compared, or the report is a copy.
        """
        if self._curve is None:
            raise ValueError("curve: no numbers were compared in this check, or this is a copy of its report")
        return self._curve()

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw `curve` with matplotlib, into ``ax`` or the current axes. Returns the axes."""
        try:
            import matplotlib.pyplot as plt
        except ImportError:
            raise ImportError("a plot needs matplotlib: pip install 'l2l-ref[plot]'") from None

        steps, errors = self.curve()
        ax = plt.gca() if ax is None else ax
        drawn = errors > 0.0  # an error of 0 has no place on a logarithmic axis
        ax.loglog(steps[drawn], errors[drawn], ".-", markersize=4, linewidth=1)
        # Right and wrong gradients get the same range, so that a curve that stays up is seen to be wrong.
        ax.set_ylim(min(1e-13, errors[drawn].min(initial=1.0)), max(10.0, errors.max(initial=0.0)))
        ax.set_title(f"{self.worst.name if self.worst else 'a random direction'}: {self.verdict}")
        ax.set_xlabel("step h of the central difference")
        ax.set_ylabel("|difference - f_backward| / max(1, |f_backward|)")
        return ax


def _excess(item: Entry | Direction) -> float:
    if item.error == 0.0:
        return 0.0
    ratio = item.error / item.bound if item.bound > 0.0 else math.inf
    return math.inf if math.isnan(ratio) else ratio


def severity(item: Entry | Direction) -> tuple[bool, bool, float]:
    """A key for sorting: wrong ones are worst, compared by error; the others are compared by error / bound."""
    wrong = item.verdict == FAIL
    return (wrong, item.verdict == INCONCLUSIVE, item.error if wrong else _excess(item))


def _numbers(item: Entry | Direction, one: str = "f_backward", other: str = "differences") -> str:
    say = "say" if other.endswith("s") else "says"
    if math.isnan(item.numeric):
        return f"{one} says {item.analytic:.10g}"
    return (f"{one} says {item.analytic:.10g}, {other} {say} {item.numeric:.10g} "
            f"(error {item.error:.2g}, bound {item.bound:.2g})")


def _plural(count: int, one: str, many: str) -> str:
    return one if count == 1 else many
