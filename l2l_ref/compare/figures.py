"""The figures of comparisons. matplotlib is optional, and is imported when a figure is drawn.

Every curve of a panel has its own colour and its own dashes. The colours are those of Okabe and Ito 2008 and of Paul
Tol's muted scheme, which can be told apart with colour vision deficiencies. Curves of black-box optimizers also have
markers, so that they can be told apart in grey.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from ..baselines.gradient import OPTIMIZERS
from ..black_boxes import repellers
from ..optimizees.rollout import optimize
from ..optimizees.zoo import HELD_OUT
from ..plotting import matplotlib_figure, save_figure
from . import published
from .black_box import GPProblem, Instances, Make, SearchResult, comparison_seed, regret
from .gradient_based import comparison_tasks
from .statistics import LBFGS, LEARNED, interval
from .zoo import running_judge

if TYPE_CHECKING:
    from ..optimizees import StyleTransfer
    from ..protocols import Array, Optimizer, Path, Seed
    from .bbob import BBOBProblem
    from .gradient_based import Curves
    from .network import TuningResult
    from .zoo import ZooResult

Style: TypeAlias = tuple[str, Any]  # a colour and dashes

SOLID, DASHED, DASHDOT, DOTTED, LONG = "-", (0, (5, 2)), (0, (5, 2, 1, 2)), (0, (1, 1.5)), (0, (9, 3))
STYLES = {  # name: (colour, dashes)
    LEARNED: ("#000000", SOLID), "sgd": ("#999999", SOLID), "momentum": ("#56b4e9", DASHED),
    "nag": ("#0072b2", DASHDOT), "adagrad": ("#cc79a7", DOTTED), "rmsprop": ("#e69f00", DASHED),
    "rprop": ("#009e73", DASHDOT), "adam": ("#d55e00", SOLID), LBFGS: ("#882255", DOTTED),
}
TITLES = {LEARNED: "LSTM (learned)", "sgd": "SGD", "momentum": "Momentum", "nag": "NAG", "adagrad": "Adagrad",
          "rmsprop": "RMSprop", "rprop": "Rprop", "adam": "Adam", LBFGS: "L-BFGS (SciPy)"}


def plot_learning_curves(results: dict[str, Curves], problem: Any, steps: int, path: Path) -> None:
    """Draw f(theta_t) for t = 0..T into ``path``: the mean with its 95 % band on the left, the median on the right."""
    figure = matplotlib_figure()(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    published_losses = published.final_losses(problem.config, steps)
    t = np.arange(steps + 1)
    start = results[LEARNED].mean[0]
    drawn = [*published_losses.values()]
    for name, r in reversed(results.items()):  # the learned optimizer is the last, on top of the others
        color, dashes = STYLES[name]
        style = {"color": color, "ls": dashes, "lw": 2.2 if name == LEARNED else 1.4}
        rate = "" if r.learning_rate is None else f", {r.learning_rate:g}"
        mean, median = r.mean, np.median(r.losses, axis=1)
        drawn += [*mean, *median]
        left.plot(t, mean, label=TITLES.get(name, name) + rate, **style)
        left.fill_between(t, *logarithmic_band(mean, r.half_width), color=color, alpha=0.2, lw=0)
        right.plot(t, median, **style)
        if name in published_losses:
            left.plot([steps], [published_losses[name]], "o", mfc="none", mec=color, ms=6, clip_on=False, zorder=5)
    if published_losses:
        left.plot([], [], "o", mfc="none", mec="#444444", ms=6, label="Andrychowicz et al.\n2016, last step")
    lowest = min((value for value in drawn if 0 < value < np.inf), default=1e-3 * start)
    logarithmic(left, lowest / 1.3, 3 * start)  # a curve that leaves through the top has diverged
    left.set_title(f"mean of {_functions(r.losses.shape[1])}, 95 % band", fontsize=11)
    right.set_title("median", fontsize=11)
    for axes in (left, right):
        axes.set_xlabel("step t")
        axes.set_xlim(0, steps)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3, lw=0.5)
    left.set_ylabel(r"$f(\theta_t)$")
    handles, labels = left.get_legend_handles_labels()
    if published_losses:
        handles, labels = [*handles[-2::-1], handles[-1]], [*labels[-2::-1], labels[-1]]
    else:
        handles, labels = handles[::-1], labels[::-1]
    figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=9, handlelength=3,
                  title="optimizer, learning rate")
    figure.suptitle(describe(problem.config))
    save_figure(figure, path, dpi=150)


PICTURES = 4  # rows of the figure of pictures


def plot_pictures(problem: StyleTransfer, optimizers: dict[str, Optimizer], steps: int, seed: int, path: Path) -> None:
    """Draw what comes out of neural art into ``path``: Figure 7 of Andrychowicz et al. 2016.

    There is a row for each of the first functions of the comparison with this seed. It shows the photograph, the image
    of each of the ``optimizers`` after ``steps`` steps with its loss, and the painting.
    """
    task = next(comparison_tasks(problem.on("test"), PICTURES, seed))
    figure = matplotlib_figure()(figsize=(2.2 * (2 + len(optimizers)), 2.4 * PICTURES + 0.3), layout="constrained")
    panels = figure.subplots(PICTURES, 2 + len(optimizers), squeeze=False)

    def draw(column: int, title: str, images: Array, losses: Array | None = None) -> None:
        panels[0, column].set_title(title, fontsize=11)
        for row, image in enumerate(images):
            axes = panels[row, column]
            axes.imshow(np.clip(image, 0, 1), interpolation="lanczos")
            axes.set(xticks=[], yticks=[])
            if losses is not None:
                axes.set_xlabel(f"{losses[row]:.4g}", fontsize=9)

    draw(0, "photograph", task.photos)
    for column, (name, optimizer) in enumerate(optimizers.items(), 1):
        curves, theta = optimize(optimizer, task, steps)
        draw(column, TITLES.get(name, name), theta.reshape(task.photos.shape), curves[-1])
    draw(1 + len(optimizers), "painting", np.repeat(problem.painting[None], PICTURES, axis=0))
    figure.suptitle(f"{describe(problem.config)}: {steps} steps from the same noise, and the loss", fontsize=11)
    save_figure(figure, path, dpi=150)


COLUMNS = 6  # of the figure of the zoo


def plot_zoo(result: ZooResult, path: Path) -> None:
    """Draw a panel for each problem of the zoo into ``path``: the mean loss over the last tenth of the steps so far."""
    count, T = len(result.problems), result.horizons[-1]
    columns = min(COLUMNS, count)
    figure = matplotlib_figure()(figsize=(2.3 * columns, 2.0 * -(-count // columns) + 0.6), layout="constrained")
    panels = figure.subplots(-(-count // columns), columns, squeeze=False, sharex=True).ravel()
    t = np.arange(T + 1)
    for axes, (name, (start, rows)) in zip(panels, result.problems.items()):
        drawn = []
        for optimizer, row in reversed(rows.items()):  # the learned optimizer is the last, on top of the others
            style = STYLES.get(optimizer, ("#d55e00", DOTTED))  # Adam's colour for Adam that is not tuned
            curve = running_judge(row.curve)
            drawn.append(curve)
            label = TITLES.get(optimizer, optimizer.capitalize()) + " tuned" * (optimizer in OPTIMIZERS)
            label = "Learned, untuned" if optimizer == LEARNED else label
            axes.plot(t + 1, curve, color=style[0], ls=style[1], lw=2 if optimizer == LEARNED else 1.3, label=label)
        lowest = np.nanmin([curve[np.isfinite(curve) & (curve > 0)].min() for curve in drawn])
        axes.set(xscale="log", xlim=(1, T + 1), yscale="log",
                 ylim=(max(lowest, 1e-6 * start.mean()) / 1.3, 5 * start.mean()))
        axes.set_title(("* " if name in HELD_OUT else "") + name, fontsize=8)
        axes.tick_params(labelsize=7)
        axes.minorticks_off()
        axes.grid(alpha=0.3, lw=0.5)
    for axes in panels[count:]:
        axes.axis("off")
    figure.supxlabel("steps + 1; a loss is the mean over the last tenth of the steps so far", fontsize=9)
    figure.supylabel("loss", fontsize=9)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside upper center", ncols=len(labels), frameon=False, fontsize=9,
                  handlelength=3, title="* held out from train zoo", title_fontsize=8)
    save_figure(figure, path, dpi=150)


def logarithmic_band(mean: Array, half: Array) -> tuple[Array, Array]:
    """The 95 % band of a mean on a logarithmic axis: lower and upper edge, both of the shape of ``mean``.

    To first order the logarithm of the mean has the half width half / mean. The edges are therefore mean exp(-half /
    mean) and mean exp(half / mean), which differ little from mean - half and mean + half where half is small, and are
    positive where it is not. There is no band (nan) where the mean is not positive.
    """
    with np.errstate(all="ignore"):
        factor = np.exp(np.where(mean > 0, half / mean, np.nan))
        return mean / factor, mean * factor


def logarithmic(axes: Any, low: float, high: float) -> None:
    """Make the vertical axis logarithmic, from ``low`` to ``high``. A short one has labels between the powers of 10."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set_yscale("log")
    axes.set_ylim(low, high)
    if high < 300 * low:
        few, more = (1, 2, 5), (1, 1.5, 2, 3, 5, 7)
        many = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)
        axes.yaxis.set_major_locator(LogLocator(subs=few if high > 15 * low else more if high > 3 * low else many))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())


def _functions(count: int) -> str:
    return f"{count:,} function{'s' * (count > 1)}"


def describe(config: dict[str, Any]) -> str:
    """A problem in a few words."""
    if config["problem"] == "art":
        return f"Neural art, {config['style'].replace('_', ' ')}, {config['size']} x {config['size']} pixels"
    if config["problem"] == "quadratic":
        return f"Quadratics, {config['dim']} parameters, {config['dist']}"
    hidden = "-".join(map(str, config["hidden"]))
    if config["problem"] == "convnet":
        labels = config["labels"]
        name = config["dataset"].upper().replace("CIFAR10", "CIFAR-10")
        return (f"{name}{'' if labels is None else ', labels ' + ' '.join(map(str, labels))}, convolutions "
                f"{'-'.join(map(str, config['channels']))}, hidden units {hidden}")
    return f"{config['problem'].replace('mnist', 'MNIST')}, hidden units {hidden}, {config['activation']}"


class CurveStyle(NamedTuple):
    """How a curve is drawn. No two curves of a figure have the same one."""

    color: str
    dashes: Any
    marker: str


SEARCH_STYLES = {  # of black-box optimizers; other names, which are those of learned ones, get MORE_STYLES
    LEARNED: ("#000000", SOLID), "random": ("#999999", DOTTED), "sobol": ("#56b4e9", DASHDOT), "ei": ("#d55e00", SOLID),
    "integrated-ei": ("#cc79a7", LONG), "optuna-tpe": ("#009e73", DASHED), "hyperopt-tpe": ("#ddcc77", DASHED),
    "skopt-gp": ("#e69f00", DASHDOT), "smac": ("#8c6d31", DOTTED), "optuna-gp": ("#0072b2", DASHED),
    "cmaes": ("#d55e00", SOLID), "scipy-de": ("#882255", LONG),
    "scipy-annealing": ("#117733", DASHDOT), "nevergrad": ("#aa4499", SOLID), "network": ("#666666", LONG),
}
MORE_COLORS = ("#0072b2", "#882255", "#117733", "#aa4499", "#332288", "#44aa99", "#999933", "#661100")
MORE_DASHES = (DASHED, LONG, DASHDOT, SOLID)
# A colour comes back with other dashes.
MORE_STYLES = [(MORE_COLORS[k % 8], MORE_DASHES[(k + k // 8) % 4]) for k in range(32)]
MARKERS = "os^vDPX<>*p"  # their number has no factor in common with 32: a style comes back with another marker
MARKS = 8  # of a curve
SEARCH_TITLES = {"random": "random", "sobol": "Sobol", "ei": "EI, true hyperparameters",
                 "integrated-ei": "EI, integrated", "optuna-tpe": "TPE, Optuna", "hyperopt-tpe": "TPE, Hyperopt",
                 "skopt-gp": "GP, scikit-optimize", "smac": "SMAC", "network": "network alone",
                 "optuna-gp": "GP, Optuna", "cmaes": "CMA-ES", "scipy-de": "differential evolution, SciPy",
                 "scipy-annealing": "dual annealing, SciPy", "nevergrad": "NGOpt, Nevergrad"}
DECADES = 1.5  # range of the means from which on an axis is logarithmic
FLOOR = 4  # decades on an axis at most
MOST_IN_PANEL = 14  # lines of a legend


def plot_best_so_far(
    compared: Sequence[tuple[GPProblem | Instances | BBOBProblem, dict[str, SearchResult]]],
    minima: Sequence[Array | None], path: Path, titles: dict[str, str] | None = None, label: str | None = None,
) -> None:
    """Draw the mean best value so far with its 95 % band, one panel for each problem, into ``path``.

    Parameters
    ----------
    compared : list of (problem, results)
        The results are those of `compare_black_box`.
    minima : list
        For each problem the minima of its functions, (F,), or None. If they are known, the figure shows simple regret,
        the best value minus the minimum, on a logarithmic axis of at most `FLOOR` decades. A curve that reaches the
        lower edge may continue below it.
    path : path
    titles : dict, optional
        Names for the legend that replace those of the results.
    label : str, optional
        What the vertical axis shows. Values that are logarithms already need one.

    A curve that leaves a panel through its top was worse in the first twentieth of the evaluations.
    """
    columns = min(len(compared), 2)
    rows = -(-len(compared) // columns)
    figure = matplotlib_figure()(figsize=(9 if columns == 1 else 10.5, 1 + 3.4 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    styles, handles = search_styles(compared[0][1]), dict[str, Any]()
    for axes, (problem, results), least in zip(panels, compared, minima):
        handles |= _plot_best_so_far(axes, results, least, label, styles)
        count = max(len(result.best) for result in results.values())
        axes.set_title(f"{problem.title}: {_functions(count)}", fontsize=10)
    results = compared[0][1]
    counts = {name: len(result.best) for name, result in results.items()}
    labels = [_title(name, titles) + (f" ({_functions(count)})" if count < max(counts.values()) else "")
              for name, count in counts.items()]
    look = {"frameon": False, "fontsize": 9, "handlelength": 4}
    in_order = [handles[name] for name in results]
    if len(panels) > len(compared) and len(results) <= MOST_IN_PANEL:  # the panel that is left over takes the legend
        panels[-1].axis("off")
        panels[-1].legend(in_order, labels, loc="center", **look)
    else:
        for axes in panels[len(compared) :]:
            axes.remove()
        figure.legend(in_order, labels, loc="outside right center" if columns == 1 else "outside lower center",
                      ncols=1 if columns == 1 else min(3, len(results)), **look)
    save_figure(figure, path, dpi=150)


def _plot_best_so_far(axes: Any, results: dict[str, SearchResult], minima: Array | None,
                      label: str | None, styles: dict[str, CurveStyle]) -> dict[str, Any]:
    """Draw one panel. Returns the line of each result."""
    curves = {name: interval((result.best if minima is None else regret(result, minima)).T)
              for name, result in results.items()}
    means = np.array([mean for mean, _ in curves.values()])
    first = means.shape[1] // 20
    highest = means[:, first:].max()
    on_logs = minima is not None or label is None and (means.min() > 0 and means.max() > 10**DECADES * means.min())
    floor = max(means.min() / 1.3, highest / 10**FLOOR) if on_logs else -np.inf
    handles = dict[str, Any]()
    for place, (name, (mean, half)) in reversed(list(enumerate(curves.items()))):  # the learned one is the last, on top
        color, dashes, marker = styles[name]
        t = np.arange(1, len(mean) + 1)
        mean = np.maximum(mean, floor)
        every = max(1, len(mean) // MARKS)
        handles[name], = axes.plot(
            t, mean, color=color, ls=dashes, lw=2.2 if name == LEARNED else 1.5, marker=marker, ms=5, mec="white",
            mew=0.5, markevery=(every * place // len(curves), every))  # beside those of the others
        low, high = logarithmic_band(mean, half) if on_logs else (mean - half, mean + half)
        axes.fill_between(t, low, high, color=color, alpha=0.2, lw=0)
    if on_logs and highest > floor > 0:
        logarithmic(axes, floor, 1.3 * highest)
    elif on_logs:
        axes.set_yscale("log")
    else:
        bands = means - np.nan_to_num([half for _, half in curves.values()])
        lowest = bands[:, first:].min()
        if highest > lowest:
            axes.set_ylim(lowest - 0.05 * (highest - lowest), highest + 0.15 * (highest - lowest))
    axes.set_xlim(1, max(2, len(mean)))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3, lw=0.5)
    axes.set_xlabel("evaluations")
    axes.set_ylabel(label or ("mean best value" if minima is None else "mean simple regret"))
    return handles


def plot_tuning(results: dict[str, dict[int, TuningResult]], title: str, path: Path) -> None:
    """Draw the mean best value of `compare_network` into ``path``: against evaluations, and against simulated time.

    A method has one colour. Its line is solid for one worker, and dashed for several. In the right panel it begins when
    the first evaluation of each run has ended.
    """
    figure = matplotlib_figure()(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    counts = sorted({count for by_workers in results.values() for count in by_workers})
    styles, means = {name: style.color for name, style in search_styles(results).items()}, []
    styles["network"] = "#0072b2"  # random is grey, too
    for name, by_workers in reversed(results.items()):
        for count, result in by_workers.items():
            color, width = styles[name], 2.2 if name == LEARNED else 1.5
            line = {"color": color, "lw": width, "ls": SOLID if count == 1 else DASHED}
            mean = result.best.mean(axis=0)
            evaluations = np.arange(1, len(mean) + 1)
            left.plot(evaluations, mean, **line)
            t = np.linspace(result.times[:, 0].max(), result.times[:, -1].max(), 1000)
            right.plot(t, result.best_at(t).mean(axis=0), **line)
            means.append(mean)
    start = len(evaluations) // 20
    logarithmic(left, min(mean[-1] for mean in means) / 1.1, 1.1 * max(mean[start] for mean in means))
    left.set(xlabel="evaluations", ylabel="mean best validation loss", xlim=(1, max(2, len(evaluations))))
    left.xaxis.get_major_locator().set_params(integer=True)
    right.set(xlabel="simulated time, in trainings", xlim=(0, None))
    for axes in (left, right):
        axes.grid(alpha=0.3, lw=0.5)
    handles = [left.plot([], [], color=styles[name], lw=2.2 if name == LEARNED else 1.5)[0] for name in results]
    handles += [left.plot([], [], color="#444444", ls=SOLID if count == 1 else DASHED)[0] for count in counts]
    labels = [SEARCH_TITLES.get(name, name) for name in results]
    labels += [f"{count} worker{'s' * (count > 1)}" for count in counts]
    figure.legend(handles, labels, loc="outside lower center", frameon=False, fontsize=9, handlelength=3, ncols=4)
    figure.suptitle(f"{title}, {len(result.best)} runs", fontsize=11)
    save_figure(figure, path, dpi=150)


def plot_times(
    compared: Sequence[tuple[GPProblem | Instances, dict[str, SearchResult]]], path: Path,
    titles: dict[str, str] | None = None,
) -> None:
    """Draw the time that each optimizer takes for a suggestion into ``path``: the right part of Figure 10 of the
    review.

    ``compared`` and ``titles`` are as in `plot_best_so_far`. Each problem has a marker of its own, and the fastest
    optimizer is at the top.
    """
    results = compared[0][1]
    times = {name: [of[name].seconds_per_suggestion for _, of in compared] for name in results}
    order = sorted(times, key=lambda name: -float(np.median(times[name])))
    figure = matplotlib_figure()(figsize=(9, 1.3 + 0.32 * len(order)), layout="constrained")
    axes = figure.subplots()
    for k, (problem, _) in enumerate(compared):
        axes.plot([times[name][k] for name in order], range(len(order)), MARKERS[k % len(MARKERS)], ls="none", ms=7,
                  mfc="none", mew=1.5, color=MORE_COLORS[k % 8], label=problem.title)
    axes.set_xscale("log")
    axes.set_yticks(range(len(order)), [_title(name, titles) for name in order])
    axes.set_ylim(-0.7, len(order) - 0.3)
    axes.set_xlabel("seconds per suggestion")
    axes.grid(alpha=0.3, lw=0.5)
    figure.legend(loc="outside right center", frameon=False, fontsize=9)
    save_figure(figure, path, dpi=150)


def search_styles(results: Iterable[str]) -> dict[str, CurveStyle]:
    """A style for each result of a figure, by its name. 176 names and more have different ones."""
    names = list(results)
    known = {SEARCH_STYLES[name] for name in names if name in SEARCH_STYLES}
    taken = {color for color, _ in known}
    others = cycle([style for style in MORE_STYLES if style[0] not in taken])
    looks = [SEARCH_STYLES.get(name) or next(others) for name in names]
    return {name: CurveStyle(color, dashes, MARKERS[k % len(MARKERS)])
            for k, (name, (color, dashes)) in enumerate(zip(names, looks))}


def _title(name: str, titles: dict[str, str] | None) -> str:
    """A result in the words of a legend. What follows a comma, a number of workers, stays."""
    words = SEARCH_TITLES | (titles or {})
    start, comma, rest = name.partition(", ")
    return words.get(start, start) + comma + rest


OTHERS = 30  # paths of other searches in a panel
BEST_PATH = {"color": "#000000", "lw": 1.8, "zorder": 3}
OTHER_PATH = {"color": "#888888", "lw": 0.6, "alpha": 0.5, "zorder": 2}


def plot_repeller_paths(
    problem: Instances, results: dict[str, SearchResult], seed: Seed, path: Path, titles: dict[str, str] | None = None,
) -> None:
    """Draw the particle's path in the best search of each optimizer, with the repellers, over those of other searches.

    ``problem`` is the `Instances` of the repellers, ``seed`` the SeedSequence with which the instances were drawn,
    ``path`` the file.
    """
    columns = len(results) if len(results) <= 4 else min(4, -(-len(results) // 2))
    rows = -(-len(results) // columns)
    figure = matplotlib_figure()(figsize=(3.4 * columns, 0.4 + 4.4 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, (name, result) in zip(panels, results.items()):
        inputs = problem.placed(result.x, problem.transforms(len(result.x), seed))
        order = result.best[:, -1].argsort()[: OTHERS + 1]
        for k in order[::-1]:  # the best search is the last, on top of the others
            positions = np.concatenate([[repellers.START], repellers.paths(inputs[k])])
            axes.plot(*positions.T, **(BEST_PATH if k == order[0] else OTHER_PATH))
        axes.plot(*positions[::10].T, "o", color="#000000", ms=3, zorder=4)
        axes.plot(*repellers.START, "v", color="#000000", ms=8, zorder=5)
        for x, y, strength in inputs[order[0]].reshape(-1, 3):
            axes.scatter(x, y, s=20 + 300 * abs(strength), color="#d55e00", alpha=0.6, lw=0, zorder=4)
            axes.annotate(f"{strength:.2f}", (x, y), xytext=(5, 5), textcoords="offset points", fontsize=8,
                          color="#8f3f00", zorder=6)
        _rewards(axes)
        axes.set_xticks([0, 0.5, 1])
        axes.tick_params(labelbottom=True)
        axes.set_title(f"{_title(name, titles)}\nbest {result.best[order[0], -1]:.3g}, mean {result.mean[-1]:.3g}",
                       fontsize=10)
    for axes in panels[len(results) :]:
        axes.remove()
    figure.suptitle("The particle's path in the best search (black, a dot every 10 steps) and in others (grey).\n"
                    "Regions of reward are green, repellers orange; the numbers are their strengths.", fontsize=9)
    save_figure(figure, path, dpi=150)


def _rewards(axes: Any) -> None:
    """Draw the regions of reward, at one and two of their widths, and set the part of the plane that is shown."""
    from matplotlib.patches import Circle

    for centre, width, reward in zip(repellers.CENTRES, repellers.WIDTHS, repellers.REWARDS):
        for radius in (width, 2 * width):
            axes.add_patch(Circle(centre, radius, color="#009e73", alpha=0.25 * reward, lw=0, zorder=1))
        axes.annotate(f"{reward:g}", centre, ha="center", va="center", fontsize=8, color="#00533c", zorder=2)
    axes.set(xlim=(-0.3, 1.3), ylim=(-0.5, 1.5), aspect="equal")
    axes.grid(alpha=0.3, lw=0.5)


QUERIES = 50  # on each function
UNKNOWN, QUERY, TRAJECTORY = "#0072b2", "#009e73", "#d55e00"  # blue, green and red, as in Chen et al. 2017


def plot_queries(
    problem: GPProblem | Instances, made: dict[str, Make], evaluations: int, seed: int, path: Path,
    titles: dict[str, str] | None = None,
) -> None:
    """Draw where and when optimizers query functions of one dimension: Figure 9 of the review.

    A cell shows one optimizer on one function: above the function, a line, and its values at the first `QUERIES`
    queries; below the queries in their order, from the top to the bottom. One optimizer is shown on four functions,
    up to five are shown on two, and more on one.

    Parameters
    ----------
    problem : GPProblem or Instances
    made : dict
        The `searches` of a comparison that are shown.
    evaluations : int
        For how many evaluations the searches were made.
    seed : int
        That of the comparison. The functions are its first ones.
    path, titles
        As in `plot_best_so_far`.
    """
    functions = 4 if len(made) == 1 else 2 if len(made) < 6 else 1
    cells = len(made) * functions
    rows = -(-cells // 5) if cells > 4 else 1
    columns = -(-cells // rows)
    shown = min(QUERIES, evaluations)
    figure = matplotlib_figure()(figsize=(0.7 + 2.3 * columns, 0.4 + 4.2 * rows), layout="constrained")
    panels = figure.subplots(2 * rows, columns, squeeze=False, sharex=True, height_ratios=[2, 3] * rows)
    grid = np.linspace(0, 1, 201)
    sample = problem.sample(functions, len(grid), comparison_seed(seed))
    sample = getattr(sample, "paths", sample)  # the line is without noise
    lines = np.transpose([sample(np.full((functions, 1), s)) for s in grid])
    low, high = lines.min(), lines.max()
    trajectories = {name: _queries(problem, make, functions, evaluations, shown, seed) for name, make in made.items()}
    for cell in range(rows * columns):
        above, below = panels[2 * (cell // columns) : 2 * (cell // columns) + 2, cell % columns]
        if cell >= cells:
            above.remove()
            below.remove()
            continue
        function, place = divmod(cell, len(made))
        name = list(made)[place]
        x, y = (a[function] for a in trajectories[name])
        above.plot(grid, lines[function], color=UNKNOWN, lw=1.5)
        above.plot(x, y, "x", color=QUERY, ms=5, mew=1.3)
        above.set_title(_title(name, titles) + (f"\nfunction {function + 1}" if functions > 1 else ""), fontsize=9)
        above.set_ylim(min(low, y.min()) - 0.2, max(high, y.max()) + 0.2)
        below.plot(x, np.arange(1, shown + 1), "-", color=TRAJECTORY, lw=0.8)
        below.plot(x, np.arange(1, shown + 1), ".", color=TRAJECTORY, ms=5)
        below.set(xlim=(-0.03, 1.03), ylim=(shown + 1, 0), xlabel="x", xticks=[0, 0.5, 1])
        for axes, label in ((above, "f(x)"), (below, "query")):
            axes.grid(alpha=0.3, lw=0.5)
            if cell % columns == 0:
                axes.set_ylabel(label)
            else:
                axes.tick_params(labelleft=False)
    save_figure(figure, path, dpi=150)


def _queries(problem: GPProblem | Instances, make: Make, functions: int, evaluations: int, shown: int,
             seed: int) -> tuple[Array, Array]:
    """The first queries of a search and the values told there, both (functions, shown)."""
    sample, search = problem.sample(functions, evaluations, comparison_seed(seed)), make(functions, 0)
    x, y = np.empty((functions, shown)), np.empty((functions, shown))
    for t in range(shown):
        asked = search.ask()
        x[:, t], y[:, t] = asked[:, 0], sample(asked)
        search.tell(asked, y[:, t])
    return x, y
