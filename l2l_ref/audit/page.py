"""The audit as one page of HTML that needs nothing else: no network, no scripts.

matplotlib typesets the equations and draws the curves; it is imported when a page is built. Everything that is
text passes through `tag`, which escapes it.
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
from datetime import datetime, timezone

import numpy as np

from .. import __version__
from ..plotting import matplotlib_figure as require_matplotlib
from .check import KINDS, SEVERITY, examples, worst

__all__ = ["page", "require_matplotlib"]

EM = 20  # units of an equation's drawing to a font size
# Colours that stand in a drawing of matplotlib for those of the page.
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
.equation { margin: 0.6rem 0 0; font-size: 1.35rem; line-height: 2; word-spacing: 1.6em; }
.equation svg { max-width: 100%; }
.columns { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 0 1.25rem; }
.columns.wide { grid-template-columns: minmax(0, max-content) minmax(0, 1fr); gap: 0 4rem; }
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
@media (max-width: 900px) { .columns, .columns.wide { grid-template-columns: minmax(0, 1fr); } }
"""

READING = {
    **KINDS,
    "numbers": "The error of the backward, and below it the bound: what rounding and truncation explain of it. Of all "
    "entries and seeds the one closest to its bound, or furthest beyond.",
    "on a kink": "There is no derivative in some entries; right is what lies between the one-sided slopes.",
    "checked to": "An error from this relative size on would have been seen in every case.",
    "FAIL": "An error beyond its bound, or a wrong structure.",
    "INCONCLUSIVE": "The differences themselves are too rough to decide. It does not count as right.",
    "V curve": "The error of plain central differences against their step, at the entry closest to its bound. On the "
    "left branch rounding grows as 1 / step, on the right one truncation as its square; without a third derivative "
    "there is no right branch. A right backward lets the curve come down into the valley, a wrong one keeps it up. The "
    "lines are what the check measured, by extrapolation, and its bound.",
}


class Markup(str):
    """Text that is HTML already."""


def tag(name, *children, **attributes):
    """An element as Markup. What is not Markup is escaped; ``class_`` is the attribute ``class``."""
    pairs = ((key.strip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not None)
    start = "".join(f' {key}="{html.escape(str(value))}"' for key, value in pairs)
    return Markup(f"<{name}{start}>{_joined(children)}</{name}>")


def _joined(children):
    return Markup("".join(c if isinstance(c, Markup) else html.escape(str(c), quote=False) for c in children))


def page(results, seeds):
    """The page of an audit, as text.

    Parameters
    ----------
    results : list of Result
    seeds : sequence of int
        What `audit` was given.
    """
    verdict = max((result.verdict for result in results), key=SEVERITY.index)
    checks = Counter(check.verdict for result in results for check in result.checks)
    facts = {
        "l2l_ref": __version__,
        "date": f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
        "NumPy, Python": f"{np.__version__}, {platform.python_version()}",
        "seeds": ", ".join(map(str, seeds)),
        "operations": f"{sum(result.ok for result in results)} of {len(results)} right",
        "checks": ", ".join(f"{checks[v]} {v}" for v in SEVERITY if checks[v]),
        "time": f"{sum(result.seconds for result in results):.0f} s",
    }
    reading = tag("h3", "How to read it"), _definitions(READING)
    body = [
        tag("h1", "Audit of the backward passes ", _verdict(verdict)),
        tag("div", _summary(results), tag("div", _definitions(facts), *reading), class_="columns wide"),
        *map(_section, results),
    ]
    head = [
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", f"l2l_ref audit: {verdict}"), tag("style", Markup(STYLE)),
    ]
    document = tag("html", tag("head", *head), "\n", tag("body", *body), lang="en")
    return f"<!DOCTYPE html>\n{document}\n"


def _definitions(texts):
    return tag("dl", *(tag(name, text) for pair in texts.items() for name, text in zip(("dt", "dd"), pair)))


def _verdict(verdict):
    return tag("span", verdict, class_=f"verdict {verdict.lower()}")


def _anchor(name):
    return re.sub(r"\W+", "-", name)


def _table(head, rows, foot=None):
    """Rows of cells that are made already; a table wider than the page scrolls in a box of its own."""
    parts = [tag("thead", tag("tr", *(tag("th", cell) for cell in head)))]
    parts.append(tag("tbody", *(tag("tr", *row) for row in rows)))
    if foot is not None:
        parts.append(tag("tfoot", tag("tr", *foot)))
    return tag("div", tag("table", *parts), class_="scroll", tabindex=0)


def _number(value):
    return f"{value:.1e}" if value and math.isfinite(value) else f"{value:g}"


def _summary(results):
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


def _measured(checks):
    """A cell: the error and the bound of the worst of some checks."""
    check = worst(checks)
    if check is None:
        return tag("td", "-")
    lines = [f"\N{LESS-THAN OR EQUAL TO} {_number(check.bound)}"]
    if any(entry.kinks for check in checks for entry in check.report.entries):
        lines.append("on a kink")
    if check.verdict != "PASS":
        lines.append(_verdict(check.verdict))
    error = tag("span", _number(check.error), class_=check.verdict.lower())
    return tag("td", error, *(tag("small", line) for line in lines))


def _section(result):
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
    seen = [_seen(result.of(kind)) for kind in KINDS]
    foot = [tag("th", "checked to"), *(tag("td", "-" if size is None else _number(size)) for size in seen)]
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


def _seen(checks):
    """The size of error that each of these checks would have seen; None when there is no check."""
    return max((c.report.checked_to for c in checks if math.isfinite(c.report.checked_to)), default=None)


def _notes(checks):
    """What the checker said beside the numbers, folded up."""
    notes = [tag("li", f"{check}: {note}") for check in checks for note in check.report.notes]
    return tag("details", tag("summary", "notes"), tag("ul", *notes)) if notes else Markup("")


def _failure(check):
    return _joined([tag("h3", check), tag("pre", check.report, class_="failure")])


def _source(function):
    """("name, p = 3.0", source) of a function or a partial of one."""
    fixed = ""
    if isinstance(function, functools.partial):
        arguments = [*map(repr, function.args), *(f"{name} = {value!r}" for name, value in function.keywords.items())]
        fixed = ", " + ", ".join(arguments)
        function = function.func
    try:
        source = textwrap.dedent(inspect.getsource(function)).rstrip()
    except (OSError, TypeError):
        source = "its source is not at hand"
    return getattr(function, "__name__", repr(function)) + fixed, source


def equation(latex):
    r"""A formula as SVG outlines in the colour of the text, one for each part between ``\qquad``."""
    parts = [_formula(part.strip()) for part in latex.split(r"\qquad")]
    return tag("div", Markup(" ".join(parts)), class_="equation")


LETTERS = {1: "M", 2: "L", 3: "Q", 4: "C", 79: "Z"}  # the codes of a matplotlib Path in SVG


def _formula(latex):
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    path = TextPath((0, 0), f"${latex}$", size=EM, prop=FontProperties(math_fontfamily="cm"))
    segments = [
        LETTERS[code] + " ".join(f"{v:.1f}" for v in points * np.resize([1, -1], len(points)) if code != 79)
        for points, code in path.iter_segments(simplify=False, curves=True)
    ]
    (left, bottom), (right, top) = path.get_extents().get_points() + [[-1, -1], [1, 1]]
    width, height = right - left, top - bottom
    return tag(
        "svg", tag("path", d="".join(segments)), role="img", aria_label=latex, fill="currentColor",
        viewBox=f"{left:.1f} {-top:.1f} {width:.1f} {height:.1f}",
        style=f"width: {width / EM:.2f}em; vertical-align: {bottom / EM:.2f}em",
    )


def _curve(name, check):
    """A figure: the V curve of a check."""
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


def _embedded(figure, prefix, label):
    """A matplotlib figure as an element: text as text, the page's colours, ids that no other figure has."""
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
