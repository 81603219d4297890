"""The figures of a sweep: the loss at the last step against the setting that was varied, and validations by epochs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..plotting import matplotlib_figure, save_figure
from .figures import MARKERS, MORE_STYLES, STYLES, TITLES, logarithmic

if TYPE_CHECKING:
    from ..protocols import Path

Setting: TypeAlias = dict[str, str]
Run: TypeAlias = tuple[Setting, dict[str, float | None]]  # the setting, and the loss of each optimizer

UNITS, LAYERS, SEED = "units in each layer", "layers", "seed"
WIDE = 8  # an axis whose largest value is this many times its smallest is logarithmic


def plot_sweep(runs: Sequence[Run], path: Path, *, drawn: bool = False, title: str = "") -> None:
    """Draw the losses of a sweep into ``path``.

    There is a curve for each optimizer, or with one optimizer for each value of what was varied beside the horizontal
    axis. Layers of equal size are drawn over the number of their units. Runs that differ in the seed alone are drawn as
    dots, with the curve through their mean. Settings that were ``drawn`` are dots in a panel for each of their axes.
    """
    points = [(_units_and_layers(setting, runs), losses) for setting, losses in runs if losses]
    varied = [name for name in points[0][0] if len({setting[name] for setting, _ in points}) > 1 or len(points) == 1]
    series = list(points[0][1])
    if drawn:
        panels = [(name, "", {(s, ""): points for s in series}) for name in varied]
    else:
        across = _horizontal([name for name in varied if name != SEED] or varied, points)
        others = [name for name in varied if name not in (across, SEED)]
        groups: dict[str, list[Run]] = {}
        for setting, losses in points:
            groups.setdefault(", ".join(_label(name, setting[name]) for name in others), []).append((setting, losses))
        if len(series) == 1:
            panels = [(across, "", {(series[0], group): of for group, of in groups.items()})]
        else:
            panels = [(across, group, {(s, ""): of for s in series}) for group, of in groups.items()]
    figure = matplotlib_figure()(figsize=(2.6 + 3.6 * len(panels), 4.0), layout="constrained")
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    values = [loss for _, losses in points for loss in losses.values() if loss is not None]
    for axes, (name, heading, curves) in zip(all_axes, panels):
        _draw(axes, name, curves, drawn)
        axes.set_title(heading, fontsize=10)
        axes.set_xlabel(name.replace("_", " "))
        axes.grid(alpha=0.3, lw=0.5)
    if values and min(values) > 0:
        logarithmic(all_axes[0], min(values) / 1.15, 1.15 * max(values))
    all_axes[0].set_ylabel(f"mean {series[0]}" if len(series) == 1 else "mean loss at the last step")
    handles, labels = all_axes[0].get_legend_handles_labels()
    if any(labels):
        figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=9, handlelength=3)
    figure.suptitle(title, fontsize=11)
    save_figure(figure, path, dpi=150)


def plot_halving(runs: Sequence[tuple[str, Sequence[float], bool]], halve_at: Sequence[int], path: Path, *,
                 title: str = "") -> None:
    """Draw the best validation so far against the epoch: of each run its name, its validations, whether it has ended.

    Runs that were stopped are thin and grey, and end with a cross. The legend has the others, the best one first.
    """
    figure = matplotlib_figure()(figsize=(7.2, 4.0), layout="constrained")
    axes, curves = figure.subplots(), [(name, np.minimum.accumulate(values), ended) for name, values, ended in runs
                                       if len(values)]
    ended = sorted((curve for curve in curves if curve[2]), key=lambda curve: float(curve[1][-1]))
    for _, best, _ in (curve for curve in curves if not curve[2]):
        axes.plot(range(1, len(best) + 1), best, color="#999999", lw=0.9, zorder=1)
        axes.plot(len(best), best[-1], "x", color="#555555", ms=6, zorder=2)
    for k, (name, best, _) in enumerate(ended):
        color, dashes = MORE_STYLES[k % len(MORE_STYLES)]
        axes.plot(range(1, len(best) + 1), best, color=color, ls=dashes, lw=1.6, marker=MARKERS[k % len(MARKERS)],
                  markevery=[len(best) - 1], ms=6, label=name, zorder=3)
    for epoch in halve_at:
        axes.axvline(epoch, color="#bbbbbb", lw=0.8, ls=":", zorder=0)
    lowest, highest = (pick(float(pick(best)) for _, best, _ in curves) for pick in (min, max))
    if lowest > 0 and highest >= 3 * lowest:
        logarithmic(axes, lowest / 1.15, 1.15 * highest)
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylabel("best validation so far")
    if ended:
        figure.legend(loc="outside right center", frameon=False, fontsize=9, handlelength=3)
    figure.suptitle(title, fontsize=11)
    save_figure(figure, path, dpi=150)


def _draw(axes: Any, name: str, curves: dict[tuple[str, str], list[Run]], drawn: bool) -> None:
    texts = list(dict.fromkeys(setting[name] for runs in curves.values() for setting, _ in runs))
    numbers = _numbers(texts)
    where = dict(zip(texts, range(len(texts)) if numbers is None else numbers))
    for k, ((optimizer, group), runs) in enumerate(curves.items()):
        color, dashes = STYLES[optimizer] if optimizer in STYLES else MORE_STYLES[k % len(MORE_STYLES)]
        at: dict[float, list[float]] = {}
        for setting, losses in runs:
            loss = losses.get(optimizer)
            if loss is not None:
                at.setdefault(where[setting[name]], []).append(loss)
        label, marker = group or TITLES.get(optimizer, ""), MARKERS[k % len(MARKERS)]
        if drawn or max(map(len, at.values()), default=1) > 1:
            dots = [(x, y) for x, ys in at.items() for y in ys]
            axes.plot(*zip(*dots), marker, color=color, ms=6, mfc="none", label=label if drawn else None)
        if not drawn:
            x = sorted(at)
            axes.plot(x, [np.mean(at[v]) for v in x], marker=marker, color=color, ls=dashes, ms=4, lw=1.6, label=label)
    if numbers is None:
        axes.set_xticks(list(where.values()), texts)
        axes.margins(x=0.15)
        return
    if min(numbers) > 0 and max(numbers) >= WIDE * min(numbers):
        axes.set_xscale("log")
    if not drawn and len(texts) <= 10:
        axes.set_xticks(numbers, texts)
        axes.minorticks_off()


def _units_and_layers(setting: Setting, runs: Sequence[Run]) -> Setting:
    """The setting with ``hidden`` as a number of units and of layers, if the layers of all runs are of equal size."""
    hidden = [other["hidden"].split(",") for other, _ in runs if "hidden" in other]
    if not hidden or not all(units[0] and len(set(units)) == 1 for units in hidden):
        return setting
    units = setting["hidden"].split(",")
    return {UNITS: units[0], LAYERS: str(len(units)), **{k: v for k, v in setting.items() if k != "hidden"}}


def _horizontal(varied: list[str], points: Sequence[Run]) -> str:
    """The axis of numbers with the most values, else the first one."""
    values = {name: list(dict.fromkeys(setting[name] for setting, _ in points)) for name in varied}
    of_numbers = [name for name in varied if _numbers(values[name]) is not None]
    return max(of_numbers, key=lambda name: len(values[name]), default=varied[0])


def _numbers(texts: Sequence[str]) -> list[float] | None:
    try:
        return [float(text) for text in texts]
    except ValueError:
        return None


def _label(name: str, value: str) -> str:
    if name == LAYERS:
        return f"{value} layer{'s' * (value != '1')}"
    return f"{name.replace('_', ' ')} {value}"
