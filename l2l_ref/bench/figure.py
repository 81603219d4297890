"""The table of a benchmark as a bar chart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..plotting import matplotlib_figure, save_figure

if TYPE_CHECKING:
    from ..protocols import Path


def bench_name(row: dict[str, Any]) -> str:
    """The name of a row: its implementation or model, and for searches the number of past evaluations."""
    if "past" not in row:
        return row["implementation"]
    return f"{row['model']}{', ' + row['implementation'] if row['implementation'] else ''}, after {row['past']}"


def bench_bars(rows: list[dict[str, Any]], unit: str, title: str, path: Path) -> None:
    """Draw a bar for each row of a benchmark into ``path``.

    The length of a bar is the number under the key ``unit``, on a logarithmic axis if the numbers differ by a factor
    above
    20. ``title`` describes this number.
    """
    figure = matplotlib_figure()(figsize=(8, 1.2 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    names, values, colors = [], [], []
    for row in rows:
        threads = f", {row['threads']} thread{'s' * (row['threads'] > 1)}" if row.get("threads") else ""
        name = bench_name(row) + threads
        names.append(f"{row['work']}: {name}" if len({r["work"] for r in rows}) > 1 else name)
        values.append(max(row[unit], 0))
        colors.append("#000000" if "numba" in name or "compiled result" in name else "#999999")
    axes.barh(range(len(rows)), values, color=colors, height=0.7)
    for k, value in enumerate(values):
        axes.annotate(f"{float(f'{value:.3g}'):,g}", (value, k), xytext=(3, 0), textcoords="offset points", va="center",
                      fontsize=8)
    axes.set_yticks(range(len(rows)), names, fontsize=8)
    axes.invert_yaxis()
    positive = [value for value in values if value > 0]
    if positive and max(positive) > 20 * min(positive):
        axes.set_xscale("log")
    axes.margins(x=0.12, y=0.5 / len(rows))
    axes.set_xlabel(title)
    axes.set_title(rows[0]["work"] if len({row["work"] for row in rows}) == 1 else "", fontsize=10)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    save_figure(figure, path, dpi=150)
