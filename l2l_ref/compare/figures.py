"""Figures. matplotlib is optional and imported when one is drawn."""

import numpy as np

from ..black_boxes import repellers
from ..plotting import matplotlib_figure
from . import published
from .black_box import comparison_seed, regret
from .statistics import LEARNED, interval

COLORS = {
    LEARNED: "#000000", "sgd": "#999999", "momentum": "#56b4e9", "nag": "#0072b2", "adagrad": "#cc79a7",
    "rmsprop": "#e69f00", "rprop": "#009e73", "adam": "#d55e00",
}
TITLES = {LEARNED: "LSTM (learned)", "sgd": "SGD", "momentum": "Momentum", "nag": "NAG", "adagrad": "Adagrad",
          "rmsprop": "RMSprop", "rprop": "Rprop", "adam": "Adam"}


def learning_curves(results, problem, steps, path):
    """Mean with 95 % band on the left, median on the right, f(theta_t) for t = 0..T; writes ``path``."""
    figure = matplotlib_figure()(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    published_losses = published.final_losses(problem.config, steps)
    t = np.arange(steps + 1)
    start = results[LEARNED].mean[0]
    for name, r in reversed(results.items()):  # the learned one last, on top
        style = {"color": COLORS.get(name), "lw": 2.2 if name == LEARNED else 1.2}
        rate = "" if r.learning_rate is None else f", {r.learning_rate:g}"
        mean, half = r.mean, r.half_width
        left.plot(t, mean, label=TITLES.get(name, name) + rate, **style)
        left.fill_between(t, np.maximum(mean - half, 1e-12), mean + half, color=style["color"], alpha=0.2, lw=0)
        right.plot(t, np.median(r.losses, axis=1), **style)
        if name in published_losses:
            left.plot([steps], [published_losses[name]], "o", mfc="none", mec=style["color"], ms=6, clip_on=False, zorder=5)
    if published_losses:
        left.plot([], [], "o", mfc="none", mec="#444444", ms=6, label="paper, last step")
    drawn = np.concatenate([[*published_losses.values()], *((r.mean, np.median(r.losses, axis=1)) for r in results.values())],
                           axis=None)
    lowest = min(drawn[np.isfinite(drawn) & (drawn > 0)], default=1e-3 * start)
    left.set_yscale("log")
    left.set_ylim(lowest / 1.3, 3 * start)  # a curve that leaves through the top has diverged
    left.set_title(f"mean of {r.losses.shape[1]} functions, 95 % band")
    right.set_title("median")
    for axes in (left, right):
        axes.set_xlabel("step t")
        axes.set_xlim(0, steps)
        axes.grid(alpha=0.3, lw=0.5)
    left.set_ylabel(r"$f(\theta_t)$")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside right center", frameon=False, fontsize=9,
                  title="optimizer, rate")
    figure.suptitle(describe(problem.config))
    figure.savefig(path, dpi=150)


def describe(config):
    """A problem in a few words."""
    if config["problem"] == "quadratic":
        return f"Quadratics, {config['dim']} parameters, {config['dist']}"
    hidden = "-".join(map(str, config["hidden"]))
    return f"{config['problem'].replace('mnist', 'MNIST')}, hidden units {hidden}, {config['activation']}"


# Black-box optimizers; learned ones after the first take the rest.
SEARCH_COLORS = {LEARNED: "#000000", "random": "#999999", "sobol": "#56b4e9", "ei": "#d55e00",
                 "integrated-ei": "#d55e00", "optuna-tpe": "#009e73", "hyperopt-tpe": "#cc79a7", "skopt-gp": "#e69f00",
                 "smac": "#8c6d31"}
MORE_COLORS = ("#0072b2", "#7a4fb5", "#00a5a5", "#b5179e")
SEARCH_TITLES = {"random": "random", "sobol": "Sobol", "ei": "EI, true hyper-parameters",
                 "integrated-ei": "EI, integrated", "optuna-tpe": "TPE, Optuna", "hyperopt-tpe": "TPE, Hyperopt",
                 "skopt-gp": "GP, scikit-optimize", "smac": "SMAC"}
DECADES = 1.5  # of the means, from which on an axis is logarithmic
FLOOR = 4  # decades of an axis at most


def plot_best_so_far(compared, minima, path, titles=None):
    """A panel for each (problem, results of `compare_black_box`): mean best value with 95 % band; writes ``path``.

    ``minima`` are those of the functions of each problem, (F,), or None; where they are known the best value is
    drawn above them, on a logarithmic axis of at most `FLOOR` decades: what is at its lower edge may be below it.

    ``titles``, a dict, are names for the legend in place of those of the results. A curve that leaves a panel through
    its top was worse in the first twentieth of the evaluations.
    """
    titles = SEARCH_TITLES | (titles or {})
    columns = len(compared) if len(compared) < 4 else 2
    rows = -(-len(compared) // columns)
    width = {1: 7.8, 2: 10.5, 3: 13}[columns]
    figure = matplotlib_figure()(figsize=(width, 1 + 3.4 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    handles = {}
    for axes, (problem, results), least in zip(panels, compared, minima):
        curves = {name: interval((result.best if least is None else regret(result, least)).T)
                  for name, result in results.items()}
        means = np.array([mean for mean, _ in curves.values()])
        first = means.shape[1] // 20
        highest = means[:, first:].max()
        logarithmic = least is not None or (means.min() > 0 and means.max() > 10**DECADES * means.min())
        floor = max(means.min() / 2, highest / 10**FLOOR) if logarithmic else -np.inf
        colors = _search_colors(results)
        for name, (mean, half) in reversed(curves.items()):  # the learned one last, on top
            t = np.arange(1, len(mean) + 1)
            handles[name], = axes.plot(t, np.maximum(mean, floor), color=colors[name],
                                       lw=2.2 if name == LEARNED else 1.4)
            axes.fill_between(t, np.maximum(mean - half, floor), np.maximum(mean + half, floor), color=colors[name],
                              alpha=0.2, lw=0)
        if logarithmic:
            axes.set_yscale("log")
            if highest > floor > 0:
                axes.set_ylim(floor, 1.3 * highest)
        else:
            bands = means - np.nan_to_num([half for _, half in curves.values()])
            lowest = bands[:, first:].min()
            if highest > lowest:
                axes.set_ylim(lowest - 0.05 * (highest - lowest), highest + 0.15 * (highest - lowest))
        axes.set_xlim(1, max(2, len(mean)))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3, lw=0.5)
        axes.set_title(f"{problem.title}: {max(len(result.best) for result in results.values())} functions", fontsize=10)
        axes.set_xlabel("evaluations")
        axes.set_ylabel("mean best value" if least is None else "mean best value above the minimum")
    for axes in panels[len(compared) :]:
        axes.remove()
    results = compared[0][1]
    counts = {name: len(result.best) for name, result in results.items()}
    for name, count in counts.items():
        if count < max(counts.values()):
            titles[name] = f"{titles.get(name, name)} ({count})"
    figure.legend([handles[name] for name in results], [titles.get(name, name) for name in results],
                  loc="outside right center" if columns == 1 else "outside lower center", frameon=False, fontsize=9,
                  ncols=1 if columns == 1 else min(6, len(results)))
    figure.savefig(path, dpi=150)


def _search_colors(results):
    others = [name for name in results if name not in SEARCH_COLORS]
    return SEARCH_COLORS | {name: MORE_COLORS[k % len(MORE_COLORS)] for k, name in enumerate(others)}


SHOWN = 30  # paths of other runs in a panel
BEST_PATH = {"color": "#000000", "lw": 1.8, "zorder": 3}
OTHER_PATH = {"color": "#888888", "lw": 0.6, "alpha": 0.5, "zorder": 2}


def repeller_paths(problem, results, seed, path, titles=None):
    """A panel for each optimizer: the path of its best run, with the repellers, over those of other runs.

    ``problem`` is the `Instances` of the repellers, ``seed`` the SeedSequence that the instances were drawn with.
    """
    titles = SEARCH_TITLES | (titles or {})
    columns = min(3, len(results))
    rows = -(-len(results) // columns)
    figure = matplotlib_figure()(figsize=(3.6 * columns, 4.4 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, (name, result) in zip(panels, results.items()):
        inputs = problem.placed(result.x, problem.transforms(len(result.x), seed))
        order = result.best[:, -1].argsort()[: SHOWN + 1]
        for run in order[::-1]:  # the best last, on top
            way = np.concatenate([[repellers.START], repellers.paths(inputs[run])])
            axes.plot(*way.T, **(BEST_PATH if run == order[0] else OTHER_PATH))
        axes.plot(*way[::10].T, "o", color="#000000", ms=3, zorder=4)
        axes.plot(*repellers.START, "v", color="#000000", ms=8, zorder=5)
        for x, y, strength in inputs[order[0]].reshape(-1, 3):
            axes.scatter(x, y, s=20 + 300 * abs(strength), color="#d55e00", alpha=0.6, lw=0, zorder=4)
            axes.annotate(f"{strength:.2f}", (x, y), ha="center", va="center", fontsize=7, zorder=6)
        _rewards(axes)
        axes.tick_params(labelbottom=True)
        axes.set_title(f"{titles.get(name, name)}\nbest {result.best[order[0], -1]:.3g}, mean {result.mean[-1]:.3g}",
                       fontsize=10)
    for axes in panels[len(results) :]:
        axes.remove()
    figure.suptitle("Best run (black, a dot every 10 steps) and others (grey); rewards green, repellers orange with "
                    "their strength", fontsize=9, wrap=True)
    figure.savefig(path, dpi=150)


QUERIES, CURVES = 20, 4  # how many are shown of each function, and how many functions


def queries(problem, models, seed, path, titles=None):
    """Figure 9 of the review: where learned optimizers look on some functions of one dimension, and when.

    A row for each of ``models``, a dict of Proposers; functions and orientations are those of a comparison. The line is
    the function.
    """
    titles = SEARCH_TITLES | (titles or {})
    figure = matplotlib_figure()(figsize=(11, 0.8 + 2.4 * len(models)), layout="constrained")
    panels = figure.subplots(len(models), CURVES, squeeze=False, sharex=True, sharey="row")
    grid = np.linspace(0, 1, 201)
    sample = problem.sample(CURVES, QUERIES, comparison_seed(seed))
    lines = np.transpose([sample(np.full((CURVES, 1), s)) for s in grid])
    for row, (name, model) in zip(panels, models.items()):
        search = problem.learned(model, CURVES, QUERIES, seed)
        x, y = np.empty((CURVES, QUERIES, 1)), np.empty((CURVES, QUERIES))
        for t in range(QUERIES):
            x[:, t] = search.ask()
            y[:, t] = sample(x[:, t])
            search.tell(x[:, t], y[:, t])
        for k, axes in enumerate(row):
            axes.plot(grid, lines[k], color="#888888", lw=1)
            dots = axes.scatter(x[k, :, 0], y[k], c=np.arange(1, QUERIES + 1), cmap="viridis", s=22, zorder=3)
            for t in range(4):
                axes.annotate(str(t + 1), (x[k, t, 0], y[k, t]), xytext=(3, 4), textcoords="offset points", fontsize=8)
            axes.grid(alpha=0.3, lw=0.5)
        row[0].set_ylabel(titles.get(name, name))
    for axes in panels[-1]:
        axes.set_xlabel("x")
    figure.colorbar(dots, ax=panels, label="query", ticks=[1, 5, 10, 15, 20])
    figure.savefig(path, dpi=150)


def _rewards(axes):
    """Regions of reward, at one and two of their widths, and the part of the plane to show."""
    from matplotlib.patches import Circle

    for centre, width, reward in zip(repellers.CENTRES, repellers.WIDTHS, repellers.REWARDS):
        for radius in (width, 2 * width):
            axes.add_patch(Circle(centre, radius, color="#009e73", alpha=0.25 * reward, lw=0, zorder=1))
        axes.annotate(f"{reward:g}", centre, ha="center", va="center", fontsize=8, color="#00533c", zorder=2)
    axes.set(xlim=(-0.3, 1.3), ylim=(-0.5, 1.5), aspect="equal")
    axes.grid(alpha=0.3, lw=0.5)
