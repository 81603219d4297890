"""What a gradient check found, in a form for people and one for programs."""

import json
import math
from dataclasses import asdict, dataclass
from typing import NamedTuple


class GradientMismatch(AssertionError):
    """A backward function is not the derivative of its forward function."""


class Entry(NamedTuple):
    """The verdict on one array of gradients, with the numbers of its worst entry.

    ``error`` is |analytic - numeric| and ``bound`` what rounding and truncation explain of it,
    both divided by max(1, |numeric|). The worst entry is the one with the largest error / bound.
    """

    path: str        # "inputs[2].W_x"
    count: int       # entries in this array
    index: tuple     # of the worst entry
    analytic: float  # what f_backward says there
    numeric: float   # what differences say there
    error: float
    bound: float
    ok: bool         # every entry of the array is within its bound
    kinks: int = 0   # entries accepted because they lie between the two one-sided slopes of a kink
    note: str = ""

    @property
    def name(self):
        """Path and index of the worst entry: ``inputs[2].W_x[3, 17]``."""
        return self.path + (f"[{', '.join(map(str, self.index))}]" if self.index else "")

    @property
    def excess(self):
        """error / bound, where nan and anything / 0 count as infinite."""
        if self.error == 0.0:
            return 0.0
        ratio = self.error / self.bound if self.bound > 0.0 else math.inf
        return math.inf if math.isnan(ratio) else ratio

    def __str__(self):
        if self.count == 0:
            return f"{self.path} is empty"
        text = f"{self.name}: f_backward says {self.analytic:.10g}, differences say {self.numeric:.10g}"
        text += f" (error {self.error:.2g}, bound {self.bound:.2g})"
        if self.kinks:
            text += f"; {self.kinks} of {self.count} entries lie on a kink, between the one-sided slopes"
        return text + (f"; {self.note}" if self.note else "")


@dataclass(frozen=True)
class Report:
    """The result of `gradcheck`.

    Attributes
    ----------
    ok : bool
        No problem of structure, and every entry of every gradient within its bound.
    max_error : float
        Largest |analytic - numeric| / max(1, |numeric|) of all entries; inf when the structure is wrong.
    entries : tuple of Entry
        One for each floating array of the inputs.
    problems : tuple of str
        What is wrong with shapes, dtypes, counts, determinism and the like, a sentence each.
    method : str
        "central" or "complex": what the gradients were compared with.
    seed : int
        Seed of the random cotangent.
    notes : tuple of str
        What the reader should know although it is not an error.
    """

    ok: bool
    max_error: float
    entries: tuple
    problems: tuple
    method: str
    seed: int
    notes: tuple = ()

    @property
    def worst(self):
        """The entry closest to its bound, or furthest beyond it; None when nothing was compared."""
        return max((e for e in self.entries if e.count), key=lambda e: (not e.ok, e.excess), default=None)

    def __str__(self):
        kinks = [str(e) for e in self.entries if e.ok and e.kinks]
        if self.problems:
            lines = [f"gradcheck FAILED: {self.problems[0]}", *self.problems[1:]]
        elif self.ok:
            count = sum(entry.count for entry in self.entries)
            lines = [f"gradcheck ok: {count} entries in {len(self.entries)} arrays, method {self.method}"]
            if self.worst:
                lines[0] += f"; closest to its bound is {self.worst}"
            lines += [text for text in kinks if str(self.worst) != text]
        else:
            wrong = sorted((e for e in self.entries if not e.ok), key=lambda e: e.excess, reverse=True)
            lines = [f"gradcheck FAILED: {wrong[0]}", *map(str, wrong[1:])]
            lines += [f"right: {', '.join(e.path for e in self.entries if e.ok) or 'nothing'}"]
        return "\n  ".join([*lines, *self.notes])

    def to_json(self):
        """The report as JSON text; numbers that are not finite become null."""

        def clean(value):
            if isinstance(value, dict):
                return {key: clean(item) for key, item in value.items()}
            if isinstance(value, (tuple, list)):
                return [clean(item) for item in value]
            return None if isinstance(value, float) and not math.isfinite(value) else value

        entries = [{"name": entry.name, **entry._asdict()} for entry in self.entries]
        return json.dumps(clean({**asdict(self), "entries": entries}))

    def raise_if_failed(self):
        """Raise GradientMismatch with the text of this report unless ``ok``."""
        if not self.ok:
            raise GradientMismatch(str(self))
