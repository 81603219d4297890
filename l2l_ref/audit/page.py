"""The audit as a single page of HTML, which needs no other files, no network and no scripts.

matplotlib draws the equations and the curves; it is imported when a page is built. All text passes through `tag`, which
escapes it.
"""

import functools
import html
import inspect
import io
import math
import platform
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import numpy as np

from .. import __version__
from ..plotting import matplotlib_figure as require_matplotlib
from .check import KINDS, SEVERITY, Check, Result, examples, worst

__all__ = ["page", "require_matplotlib"]

EM = 20  # the font size of an equation in units of its drawing
# Colours that stand for those of the page in a drawing of matplotlib.
COLORS = {"#010101": "currentColor", "#020202": "var(--accent)", "#030303": "var(--fail)", "#040404": "var(--muted)"}
TEXT, ACCENT, LIMIT, GRID = COLORS

STYLE = """
:root {
  color-scheme: light dark;
  --text: #1b1f24; --muted: #667079; --page: #ffffff; --box: #f4f6f8; --line: #d8dde3; --accent: #0b62b0;
  --pass: #1a7340; --fail: #b3261e; --inconclusive: #8a5a00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --text: #e4e7ea; --muted: #98a2ac; --page: #14171a; --box: #1d2125; --line: #353c43; --accent: #6cb0f5;
    --pass: #66c78b; --fail: #ff8a80; --inconclusive: #e9b44c;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 92rem; padding: 1rem clamp(0.75rem, 2vw, 2rem) 4rem;
  color: var(--text); background: var(--page); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere;
}
h1 { margin: 0.5rem 0; font-size: 1.75rem; line-height: 1.2; }
h2 { margin: 0; font-size: 1.3rem; }
h3 { margin: 1.2rem 0 0.3rem; font-size: 0.95rem; }
a { color: var(--accent); }
section { margin-top: 2.5rem; padding-top: 1.5rem; border-top: 1px solid var(--line); }
.muted { color: var(--muted); }
section > p { margin: 0.2rem 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.1rem 1rem; margin: 0.3rem 0 0.8rem; }
dt { color: var(--muted); }
dd { margin: 0; min-width: 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.875rem; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: 0.3rem 0.9rem 0.3rem 0; text-align: right; white-space: nowrap; vertical-align: top; }
th { color: var(--muted); font-weight: 600; }
th:first-child, td:first-child, td.left { text-align: left; }
tbody tr, tfoot tr { border-top: 1px solid var(--line); }
td small { display: block; color: var(--muted); }
.pass { color: var(--pass); } .fail { color: var(--fail); } .inconclusive { color: var(--inconclusive); }
.verdict { font-size: 0.8rem; font-weight: 700; letter-spacing: 0.03em; }
.equation { margin: 0.3rem 0 0; padding: 0.3rem 0; font-size: 1.35rem; line-height: 2; word-spacing: 1.6em; }
.equation { overflow-x: auto; }
.columns { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 0 1.25rem; }
.reading { max-width: 46rem; }
.reading summary { font-size: 1rem; font-weight: 600; }
.measured { display: flex; flex-wrap: wrap; gap: 0.5rem 3rem; align-items: flex-start; margin-top: 1rem; }
.measured > * { min-width: 0; max-width: 100%; }
figure { margin: 0; }
figure svg { display: block; max-width: 100%; height: auto; }
figure text { font-family: inherit !important; }
figcaption { max-width: 27rem; font-size: 0.8rem; color: var(--muted); }
pre {
  margin: 0; padding: 0.7rem 0.8rem; overflow-x: auto; background: var(--box); border: 1px solid var(--line);
  border-radius: 6px; font: 0.7rem/1.55 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
}
pre code { font: inherit; }
pre.failure { border-color: var(--fail); white-space: pre-wrap; }
details { margin-top: 0.8rem; font-size: 0.875rem; }
code { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: 0.9em; }
@media (max-width: 900px) { .columns { grid-template-columns: minmax(0, 1fr); } }
.summary th:nth-child(2) { text-align: left; }
@media (max-width: 480px) {
  .reading dl { display: block; }
  .reading dt { font-weight: 600; }
  .reading dd { margin-bottom: 0.4rem; }
  .equation { font-size: 1.15rem; }
  table, table .verdict { font-size: 0.7rem; }
  th, td { padding-right: 0.45rem; }
  th:first-child, td:first-child { white-space: normal; }
  .summary table { width: 100%; }
  .summary tr { display: grid; grid-template-columns: repeat(6, 1fr); }
  .summary th:first-child, .summary td:first-child { grid-column: 1 / -1; font-size: 0.875rem; }
}
"""

READING = {
    "operation": "A forward function and its backward function, which was written by hand. Each is checked on an "
    "example and on several cases at the edges, in the four ways that follow.",
    **KINDS,
    "numbers": "The relative error of the backward function and, below it, the bound: the part of the error that "
    "rounding and truncation can explain. Of all entries and seeds, a table shows the one closest to its bound.",
    "unseen": "At some of the entries the gradient is so small that rounding hides it, as where a sigmoid is "
    "saturated. They agree with the differences, but their own size could not be seen.",
    "on a kink": "The function has no derivative at some of the entries. Any value between the two one-sided slopes is "
    "right there.",
    "checked to": "In every case, an error of at least this relative size would have been found, except at those that "
    "are unseen.",
    "PASS": "Every error is within its bound.",
    "FAIL": "An error exceeds its bound, or shapes, dtypes or the like are wrong.",
    "INCONCLUSIVE": "The differences are too inaccurate to decide. This does not count as right.",
    "V curve": "The error of plain central differences for each step, at the entry closest to its bound. Rounding "
    "grows as 1 / step towards the left, and truncation as the square of the step towards the right; a function "
    "without a third derivative has no right branch. If the backward function is right, the curve descends into a "
    "valley; if it is wrong, the curve stays up. The dashed lines are the error that the check measured, by "
    "extrapolation, and its bound.",
}


class Markup(str):
    """Text that is already HTML."""


def tag(name: str, *children: Any, **attributes: Any) -> Markup:
    """An element as Markup. Children that are not Markup are escaped; ``class_`` is the attribute ``class``."""
    pairs = ((key.strip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not None)
    start = "".join(f' {key}="{html.escape(str(value))}"' for key, value in pairs)
    return Markup(f"<{name}{start}>{_joined(children)}</{name}>")


def _joined(children: Iterable[Any]) -> Markup:
    return Markup("".join(c if isinstance(c, Markup) else html.escape(str(c), quote=False) for c in children))


def page(results: Sequence[Result], seeds: Sequence[int]) -> str:
    """The page of an audit, as text.

    Parameters
    ----------
    results : sequence of Result
    seeds : sequence of int
        The seeds of the audit.
    """
    verdict = max((result.verdict for result in results), key=SEVERITY.index)
    checks = Counter(check.verdict for result in results for check in result.checks)
    facts = {
        "l2l_ref": __version__,
        "date": f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
        "NumPy, Python": f"{np.__version__}, {platform.python_version()}",
        "seeds": ", ".join(map(str, seeds)),
        "operations": f"{sum(result.ok for result in results)} of {len(results)} passed",
        "checks": ", ".join(f"{checks[v]} {v}" for v in SEVERITY if checks[v]),
        "time": f"{sum(result.seconds for result in results):.0f} s",
    }
    reading = tag("summary", "How to read this page"), _definitions(READING)
    body = [
        tag("h1", "Audit of the backward passes ", _verdict(verdict)),
        tag("details", *reading, open="", class_="reading"),
        tag("h3", "This audit"), _definitions(facts),
        tag("h3", "All operations"), tag("div", _summary(results), class_="summary"),
        *map(_section, results),
    ]
    head = [
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", f"l2l_ref audit: {verdict}"), tag("style", Markup(STYLE)),
    ]
    document = tag("html", tag("head", *head), "\n", tag("body", *body), lang="en")
    return f"<!DOCTYPE html>\n{document}\n"


def _definitions(texts: Mapping[str, str]) -> Markup:
    return tag("dl", *(tag(name, text) for pair in texts.items() for name, text in zip(("dt", "dd"), pair)))


def _verdict(verdict: str) -> Markup:
    return tag("span", verdict, class_=f"verdict {verdict.lower()}")


def _anchor(name: str) -> str:
    return re.sub(r"\W+", "-", name)


def _table(head: Sequence[str], rows: Iterable[Sequence[Markup]], foot: Sequence[Markup] | None = None) -> Markup:
    """A table of cells that are elements already. It scrolls in a box of its own if it is wider than the page."""
    parts = [tag("thead", tag("tr", *(tag("th", cell) for cell in head)))]
    parts.append(tag("tbody", *(tag("tr", *row) for row in rows)))
    if foot is not None:
        parts.append(tag("tfoot", tag("tr", *foot)))
    return tag("div", tag("table", *parts), class_="scroll", tabindex=0)


def _number(value: float) -> str:
    return f"{value:.1e}" if value and math.isfinite(value) else f"{value:g}"


def _summary(results: Sequence[Result]) -> Markup:
    rows = [
        [
            tag("td", tag("a", result.name, href=f"#{_anchor(result.name)}")),
            tag("td", _verdict(result.verdict), class_="left"),
            tag("td", result.cases),
            *(_measured(result.of(kind)) for kind in KINDS),
        ]
        for result in results
    ]
    return _table(["operation", "verdict", "cases", *KINDS], rows)


def _measured(checks: Sequence[Check]) -> Markup:
    """A cell with the error and the bound of the worst of the checks."""
    check = worst(checks)
    if check is None:
        return tag("td", "-")
    lines = [f"\N{LESS-THAN OR EQUAL TO} {_number(check.bound)}"]
    if any(entry.kinks for check in checks for entry in check.report.entries):
        lines.append("on a kink")
    if any(entry.unseen for check in checks for entry in check.report.entries):
        lines.append("unseen")
    if check.verdict != "PASS":
        lines.append(_verdict(check.verdict))
    error = tag("span", _number(check.error), class_=check.verdict.lower())
    return tag("td", error, *(tag("small", line) for line in lines))


def _section(result: Result) -> Markup:
    operation = result.operation
    forward, backward = (
        tag("div", tag("h3", f"{side}: ", tag("code", title)), tag("pre", tag("code", source), tabindex=0))
        for side, (title, source) in (
            ("Forward", _source(operation.forward)), ("Backward", _source(operation.backward)),
        )
    )
    rows = [
        [tag("td", case), *(_measured(result.of(kind, case)) for kind in KINDS)] for case in examples(operation)
    ]
    sizes = [_checked_to(result.of(kind)) for kind in KINDS]
    foot = [tag("th", "checked to"), *(tag("td", "-" if size is None else _number(size)) for size in sizes)]
    example = result.of("central", "example")[0]
    return tag(
        "section",
        tag("h2", result.name, " ", _verdict(result.verdict)),
        tag("p", tag("code", result.module), f"; {operation.source}", class_="muted"),
        equation(operation.equation),
        tag("div", forward, backward, class_="columns"),
        tag("div", _table(["case", *KINDS], rows, foot), _curve(result.name, example), class_="measured"),
        _notes(result.checks),
        *(_failure(check) for check in result.failures),
        id=_anchor(result.name),
    )


def _checked_to(checks: Sequence[Check]) -> float | None:
    """The size of error that each of these checks would have found; None if there are no checks."""
    return max((c.report.checked_to for c in checks if math.isfinite(c.report.checked_to)), default=None)


def _notes(checks: Iterable[Check]) -> Markup:
    """The notes in the reports, folded up."""
    notes = [tag("li", f"{check}: {note}") for check in checks for note in check.report.notes]
    return tag("details", tag("summary", "notes"), tag("ul", *notes)) if notes else Markup("")


def _failure(check: Check) -> Markup:
    return _joined([tag("h3", check), tag("pre", check.report, class_="failure")])


def _source(function: Any) -> tuple[str, str]:
    """The title and the source of a function or a partial, such as ("name, p = 3.0", "def name..")."""
    fixed = ""
    if isinstance(function, functools.partial):
        arguments = [*map(repr, function.args), *(f"{name} = {value!r}" for name, value in function.keywords.items())]
        fixed = ", " + ", ".join(arguments)
        function = function.func
    try:
        source = textwrap.dedent(inspect.getsource(function)).rstrip()
    except (OSError, TypeError):
        source = "The source is not available."
    return getattr(function, "__name__", repr(function)) + fixed, source


def equation(latex: str) -> Markup:
    r"""A formula as SVG outlines in the colour of the text, one for each part between ``\qquad``."""
    parts = [_formula(part.strip()) for part in latex.split(r"\qquad")]
    return tag("div", Markup(" ".join(parts)), class_="equation")


LETTERS = {1: "M", 2: "L", 3: "Q", 4: "C", 79: "Z"}  # from the codes of a matplotlib Path to those of SVG


def _formula(latex: str) -> Markup:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    path = TextPath((0, 0), f"${latex}$", size=EM, prop=FontProperties(math_fontfamily="cm"))
    segments = [
        LETTERS[int(code)] + " ".join(f"{v:.1f}" for v in points * np.resize([1, -1], len(points)) if code != 79)
        for points, code in path.iter_segments(simplify=False, curves=True)
    ]
    (left, bottom), (right, top) = path.get_extents().get_points() + [[-1, -1], [1, 1]]
    width, height = right - left, top - bottom
    return tag(
        "svg", tag("path", d="".join(segments)), role="img", aria_label=latex, fill="currentColor",
        viewBox=f"{left:.1f} {-top:.1f} {width:.1f} {height:.1f}",
        style=f"width: {width / EM:.2f}em; vertical-align: {bottom / EM:.2f}em",
    )


def _curve(name: str, check: Check) -> Markup:
    """The V curve of a check, as a figure."""
    if check.report.problems:
        return Markup("")
    steps, errors = map(np.asarray, check.report.curve())
    drawn = np.isfinite(errors) & (errors > 0.0)
    if not drawn.any():
        return Markup("")
    figure = require_matplotlib()(figsize=(4.5, 2.7))
    axes = figure.add_axes((0.15, 0.17, 0.8, 0.8))
    axes.loglog(steps[drawn], errors[drawn], ".-", color=ACCENT, lw=1.2, ms=4)
    for value, label, color, side in ((check.bound, "bound", LIMIT, "right"), (check.error, "measured", TEXT, "left")):
        if value > 0.0:
            axes.axhline(value, color=color, lw=1, ls="--")
            axes.text(side == "right", value, label, transform=axes.get_yaxis_transform(), ha=side, va="bottom",
                      color=color, fontsize=8)
    axes.set_xlabel("step", color=TEXT, fontsize=9)
    axes.set_ylabel("relative error", color=TEXT, fontsize=9)
    axes.minorticks_off()
    axes.tick_params(colors=TEXT, labelsize=8)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:.0e}")
    axes.grid(color=GRID, alpha=0.3, lw=0.5)
    for side, spine in axes.spines.items():
        spine.set_color(GRID)
        spine.set_visible(side in ("left", "bottom"))
    caption = f"{getattr(check.report.worst, 'name', 'example')}, {check}"
    return tag("figure", _embedded(figure, _anchor(name), f"V curve of {name}"), tag("figcaption", caption))


def _embedded(figure: Any, prefix: str, label: str) -> Markup:
    """A matplotlib figure as an element with text as text, the colours of the page, and ids of its own."""
    import matplotlib

    written = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": prefix}):
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    svg = written.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->| xmlns(:\w+)?=\"[^\"]*\"", "", svg, flags=re.S)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    for stand_in, color in COLORS.items():
        svg = svg.replace(stand_in, color)
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(label)}"', 1))
