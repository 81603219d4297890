"""The figures of `l2l_ref.compare.inspection`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..plotting import matplotlib_figure, save_figure
from .figures import DASHDOT, DASHED, DOTTED, LONG, MORE_COLORS, SOLID, STYLES
from .statistics import LEARNED

if TYPE_CHECKING:
    from ..protocols import Array, Path
    from .inspection import Proposals

PROPOSED = {  # colour, dashes and width
    LEARNED: (STYLES[LEARNED][0], SOLID, 1.8), "adam": (STYLES["adam"][0], DASHED, 1.3),
}
LOWEST = 1e-12  # an axis of norms ends here


def plot_proposals(found: Proposals, path: Path, title: str) -> None:
    """Draw the updates of a coordinate along the run, and below them the update against the gradient at some steps."""
    figure = matplotlib_figure()(figsize=(10.5, 6.2), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1.1))
    above, below = top.subplots(2, 1, sharex=True), bottom.subplots(1, len(found.steps), squeeze=False)[0]
    t, i = np.arange(len(found.gradients)), found.coordinate
    above[0].plot(t, found.gradients[:, i], color="#444444", lw=1.2)
    above[0].set_ylabel("gradient")
    sizes = np.abs(found.gradients[:, i])
    width, largest = 2 * max(float(np.median(sizes)), 1e-30), float(sizes.max())
    above[0].set_yscale("asinh", linear_width=width)  # the first gradients are far larger than the others
    ticks = [-largest, -width, 0, width, largest] if largest > 2 * width else [-largest, 0, largest]
    above[0].set_yticks(ticks, [f"{tick:.2g}" for tick in ticks])
    above[0].minorticks_off()
    above[0].set_ylim(1.2 * min(found.gradients[:, i].min(), 0), 1.2 * max(found.gradients[:, i].max(), 0))
    for name, updates in ((LEARNED, found.learned), ("adam", found.adam)):
        color, dashes, width = PROPOSED[name]
        above[1].plot(t, updates[:, i], color=color, ls=dashes, lw=width)
    above[1].set_ylabel("update")
    above[1].set_xlabel("step t")
    for axes in above:
        axes.axhline(0, color="#888888", lw=0.6)
        axes.set_xlim(-0.01 * len(t), len(t) - 1)
        for step in found.steps:
            axes.axvline(step, color="#0072b2", ls=DOTTED, lw=1)
    for axes, step, grid, learned, adam in zip(below, found.steps, found.grid, found.learned_of_grid,
                                               found.adam_of_grid):
        for name, proposed, updates in ((LEARNED, learned, found.learned), ("adam", adam, found.adam)):
            color, dashes, width = PROPOSED[name]
            label = {LEARNED: "learned", "adam": "Adam at the same points"}[name] if step == found.steps[0] else None
            axes.plot(grid, proposed, color=color, ls=dashes, lw=width, label=label)
            axes.plot(found.gradients[step, i], updates[step, i], "o", color=color, ms=5)
        axes.axhline(0, color="#888888", lw=0.6)
        axes.axvline(0, color="#888888", lw=0.6)
        axes.set_title(f"step {step}", fontsize=10)
        axes.set_xlabel("gradient")
        axes.locator_params(nbins=4)
    below[0].set_ylabel("proposed update")
    for axes in (*above, *below):
        axes.grid(alpha=0.3, lw=0.5)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9, handlelength=3)
    figure.suptitle(title, fontsize=11)
    save_figure(figure, path, dpi=150)


def plot_memory(curves: dict[str, Array], path: Path, title: str) -> None:
    """Draw the norms of `memory` against the number of steps back.

    ``curves`` has an array for each name, (T,), or (runs, T) of several optimizers, of which the median is drawn and
    the band from the smallest to the largest.
    """
    figure = matplotlib_figure()(figsize=(7.6, 4.2), layout="constrained")
    axes, styles = figure.subplots(), [SOLID, DASHED, DASHDOT, LONG, DOTTED]
    colors = ("#000000", "#d55e00", *MORE_COLORS)
    for k, (name, norms) in enumerate(curves.items()):
        norms = np.atleast_2d(norms)
        back, color = np.arange(1, norms.shape[1] + 1), colors[k % len(colors)]
        axes.plot(back, np.median(norms, axis=0), color=color, ls=styles[k % len(styles)], lw=1.8, label=name)
        if len(norms) > 1:
            axes.fill_between(back, norms.min(axis=0), norms.max(axis=0), color=color, alpha=0.15, lw=0)
    lowest = min(float(np.min(norms)) for norms in curves.values())
    axes.set_yscale("log")
    axes.set_ylim(max(LOWEST, lowest / 3))
    axes.set_xlim(1, back[-1])
    axes.set_xlabel("steps back, T - t")
    axes.set_ylabel(r"$\Vert\, \partial\, \mathrm{loss}_T \,/\, \partial\, \mathrm{state}_t \,\Vert$, relative")
    axes.grid(alpha=0.3, lw=0.5)
    figure.legend(loc="outside right center", frameon=False, fontsize=9, handlelength=3)
    axes.set_title(title, fontsize=11)
    save_figure(figure, path, dpi=150)
