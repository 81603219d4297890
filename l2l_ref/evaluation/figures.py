"""Figures. matplotlib is optional and imported when one is drawn."""

import numpy as np

from . import published
from .compare import LEARNED

COLORS = {
    LEARNED: "#000000", "sgd": "#999999", "momentum": "#56b4e9", "nag": "#0072b2", "adagrad": "#cc79a7",
    "rmsprop": "#e69f00", "rprop": "#009e73", "adam": "#d55e00",
}
TITLES = {LEARNED: "LSTM (learned)", "sgd": "SGD", "momentum": "Momentum", "nag": "NAG", "adagrad": "Adagrad",
          "rmsprop": "RMSprop", "rprop": "Rprop", "adam": "Adam"}


def matplotlib_figure():
    """matplotlib's Figure class; ImportError that names the extra when matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("a figure needs matplotlib: pip install 'l2l-ref[plot]'") from None
    return Figure


def learning_curves(results, problem, steps, path):
    """Mean with 95 % band on the left, median on the right, f(theta_t) for t = 0..T; writes ``path``."""
    figure = matplotlib_figure()(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    shown = published.final_losses(problem.config, steps)
    t = np.arange(steps + 1)
    start = results[LEARNED].mean[0]
    for name, r in reversed(results.items()):  # the learned one last, on top
        style = {"color": COLORS.get(name), "lw": 2.2 if name == LEARNED else 1.2}
        rate = "" if r.learning_rate is None else f", {r.learning_rate:g}"
        mean, half = r.mean, r.half_width
        left.plot(t, mean, label=TITLES.get(name, name) + rate, **style)
        left.fill_between(t, np.maximum(mean - half, 1e-12), mean + half, color=style["color"], alpha=0.2, lw=0)
        right.plot(t, np.median(r.losses, axis=1), **style)
        if name in shown:
            left.plot([steps], [shown[name]], "o", mfc="none", mec=style["color"], ms=6, clip_on=False, zorder=5)
    if shown:
        left.plot([], [], "o", mfc="none", mec="#444444", ms=6, label="paper, last step")
    drawn = np.concatenate([[*shown.values()], *((r.mean, np.median(r.losses, axis=1)) for r in results.values())],
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
