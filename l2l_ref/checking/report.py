"""What a gradient check found, in a form for people and one for programs."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import NamedTuple

from . import trees

PASS, FAIL, INCONCLUSIVE = "PASS", "FAIL", "INCONCLUSIVE"
MISSED = 1e-3  # the probability that `Report.checked_to` speaks of, where only directions were checked

ADJOINT = "<J^T v, u> against <v, J u>"
METHODS = {"central": "central differences", "complex": "the complex step"}


class GradientMismatch(AssertionError):
    """A backward function is not, or could not be shown to be, the derivative of its forward function."""


class Entry(NamedTuple):
    """The verdict on one array of gradients, with the numbers of its worst entry.

    ``error`` is |analytic - numeric| and ``bound`` what rounding and truncation explain of it, both
    relative to the largest entry of the array's gradient. The worst entry is the one with the
    largest error / bound, of wrong ones that with the largest error.
    """

    path: str        # "params.W_x"
    count: int       # entries that were checked
    index: tuple     # of the worst entry
    analytic: float  # what f_backward says there
    numeric: float   # what differences say there
    error: float
    bound: float
    verdict: str     # FAIL when one entry is wrong, else INCONCLUSIVE when one is undecided, else PASS
    widest: float = 0.0  # the largest bound of all entries
    wrong: int = 0
    undecided: int = 0
    kinks: tuple = ()    # indices of entries that lie on a kink, between the two one-sided slopes
    note: str = ""
    size: int = 0        # entries that there are

    @property
    def ok(self):
        return self.verdict == PASS

    @property
    def name(self):
        """Path and index of the worst entry: ``params.W_x[3, 17]``."""
        return trees.name(self.path, self.index)

    @property
    def excess(self):
        """error / bound, where nan and anything / 0 count as infinite."""
        return _excess(self)

    def __str__(self):
        if self.count == 0:
            return f"{self.path} is empty"
        text = f"{self.name}: {_numbers(self)}"
        return text + (f"; {self.note}" if self.note else "")


class Direction(NamedTuple):
    """The slope along a random direction through all inputs at once.

    ``error`` and ``bound`` are relative to the length of the gradient, each entry times the length of its move.
    """

    what: str  # "f_backward", "jvp", or ADJOINT where the two were compared with one another
    analytic: float
    numeric: float
    error: float
    bound: float
    verdict: str
    note: str = ""

    @property
    def ok(self):
        return self.verdict == PASS

    @property
    def excess(self):
        return _excess(self)

    def __str__(self):
        says = _numbers(self, self.what, "differences") if self.what != ADJOINT else _numbers(self, "f_backward", "jvp")
        return f"along a random direction {says}" + (f"; {self.note}" if self.note else "")


class Guess(NamedTuple):
    """What the wrong gradient of one array looks like. ``likely`` is False where little would fit as well by chance."""

    path: str
    pattern: str  # "sign", "factor", "transpose", "broadcast", "zero", "swap", "term", "shift", "block", "place"
    text: str
    likely: bool = True

    def __str__(self):
        return f"{'guess' if self.likely else 'perhaps'}: {self.text}"


@dataclass(frozen=True)
class Report:
    """The result of `gradcheck`.

    Attributes
    ----------
    verdict : {"PASS", "FAIL", "INCONCLUSIVE"}
        FAIL: something is wrong. INCONCLUSIVE: nothing is seen to be wrong, but not everything could be decided.
    entries : tuple of Entry
        One for each floating array of the inputs, where single entries were checked.
    directions : tuple of Direction
        Random directions through all inputs at once.
    problems, undecided : tuple of str
        What is wrong with shapes, dtypes, side effects and the like, and why nothing can be said: a sentence each.
    guesses : tuple of Guess
        What the mistake looks like.
    notes : tuple of str
        What the reader should know although it is not an error.
    method : str
        "central" or "complex": what single entries were compared with; "none" when it did not come to that.
    taylor_rate : float or None
        The order of the remainder f(x + t d) - f(x) - t * (f_backward's slope) in t: 2 when it is the slope,
        1 when it is not, None where rounding hides it. A second opinion that needs no step.
    seed : int
        Seed of the random cotangent and directions.
    evaluations : int
        How often f was called.
    """

    verdict: str
    entries: tuple = ()
    directions: tuple = ()
    problems: tuple = ()
    undecided: tuple = ()
    guesses: tuple = ()
    notes: tuple = ()
    method: str = "none"
    taylor_rate: float | None = None
    seed: int = 0
    evaluations: int = 0
    _curve: Callable | None = field(default=None, repr=False, compare=False)

    @property
    def ok(self):
        """True for PASS alone."""
        return self.verdict == PASS

    @property
    def max_error(self):
        """The largest error of an entry, or of a direction where no entries were checked; inf without numbers."""
        errors = [item.error for item in self.entries if item.count] or [item.error for item in self.directions]
        broken = bool(self.problems or self.undecided) and not errors
        return math.inf if broken or any(map(math.isnan, errors)) else max(errors, default=0.0)

    @property
    def checked_to(self):
        """An error of this size would have been seen.

        Where entries were checked: relative to the largest entry of its array. Where directions alone
        were: relative to the length of the whole gradient, and with a probability of `MISSED` of a miss, since
        the error of a direction is a normal number times the length of the error.
        """
        if any(entry.count for entry in self.entries):
            return max(entry.widest for entry in self.entries if entry.count)
        bounds = [d.bound for d in self.directions if d.ok and d.what != ADJOINT]
        if not bounds:
            return math.inf if self.directions else 0.0
        odds = math.prod(0.8 * bound for bound in bounds) / MISSED
        return max(odds ** (1.0 / len(bounds)), max(bounds))

    @property
    def worst(self):
        """The entry closest to its bound, or furthest beyond it; None when nothing was compared."""
        return max((e for e in self.entries if e.count), key=badness, default=None)

    def __str__(self):
        return "\n  ".join([f"gradcheck {self.verdict}: {self._headline()}", *self._details()])

    def _headline(self):
        if self.problems or self.undecided:
            return (self.problems + self.undecided)[0]
        if self.ok:
            to = f"checked to {self.checked_to:.1g}"
            if self.entries and self.checked_to == 0.0 and any(entry.kinks for entry in self.entries):
                return "every entry lies on a kink, between the one-sided slopes"
            count = sum(entry.count for entry in self.entries)
            if count or not self.directions:
                arrays = f"{count} {_plural(count, 'entry', 'entries')} of {len(self.entries)} "
                return f"{to}: {arrays}{_plural(len(self.entries), 'array', 'arrays')}, by {METHODS[self.method]}"
            decided = sum(d.ok for d in self.directions)
            number = len(self.directions)
            of = f"{number}" if decided == number else f"{decided} of {number}"
            return f"{to}, but for one chance in {1 / MISSED:.0f}: {of} random directions"
        worst = self.worst
        told = worst is not None and (worst.verdict == self.verdict or not self.directions)
        return str(worst if told else max(self.directions, key=badness))

    def _details(self):
        lines = [*(self.problems + self.undecided)[1:], *map(str, self.guesses)]
        shown = sorted((e for e in self.entries if e.count), key=badness, reverse=True)
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
                names = ", ".join(trees.name(e.path, index) for index in e.kinks[:8])
                more = f" and {len(e.kinks) - 8} more" if len(e.kinks) > 8 else ""
                lines.append(f"  at a kink of f, between the one-sided slopes: {names}{more}")
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

    def to_json(self):
        """The report as JSON text; numbers that are not finite become null."""

        def clean(value):
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

    def raise_if_failed(self):
        """Raise GradientMismatch with the text of this report unless ``ok``."""
        if not self.ok:
            raise GradientMismatch(str(self))

    def curve(self):
        """The V curve of the worst entry, or of a direction: what plain central differences give for each step.

        Returns
        -------
        steps, errors : arrays
            ``|difference - f_backward| / max(1, |f_backward|)``. It falls with the truncation error, h^2, and rises
            again with rounding, 1 / h; for a wrong gradient it stays on the level of the mistake in between.

        Raises
        ------
        ValueError
            Nothing was compared.
        """
        if self._curve is None:
            raise ValueError("curve: this check did not come to compare numbers")
        return self._curve()

    def plot(self, ax=None):
        """Draw `curve` with matplotlib; returns the axes."""
        import matplotlib.pyplot as plt

        steps, errors = self.curve()
        ax = plt.gca() if ax is None else ax
        drawn = errors > 0.0  # where the difference is exact there is nothing to draw
        ax.loglog(steps[drawn], errors[drawn], ".-", markersize=4, linewidth=1)
        # The same range for right and wrong gradients: what stays up is wrong, what comes down is right.
        ax.set_ylim(min(1e-13, errors[drawn].min(initial=1.0)), max(10.0, errors.max(initial=0.0)))
        ax.set_title(f"{self.worst.name if self.worst else 'a random direction'}: {self.verdict}")
        ax.set_xlabel("step h of the central difference")
        ax.set_ylabel("|difference - f_backward| / max(1, |f_backward|)")
        return ax


def _excess(item):
    if item.error == 0.0:
        return 0.0
    ratio = item.error / item.bound if item.bound > 0.0 else math.inf
    return math.inf if math.isnan(ratio) else ratio


def badness(item):
    """What the worst one has most of: of wrong ones the error, of others the share of the bound."""
    wrong = item.verdict == FAIL
    return (wrong, item.verdict == INCONCLUSIVE, item.error if wrong else _excess(item))


def _numbers(item, one="f_backward", other="differences"):
    say = "say" if other.endswith("s") else "says"
    if math.isnan(item.numeric):
        return f"{one} says {item.analytic:.10g}"
    return (f"{one} says {item.analytic:.10g}, {other} {say} {item.numeric:.10g} "
            f"(error {item.error:.2g}, bound {item.bound:.2g})")


def _plural(count, one, many):
    return one if count == 1 else many
