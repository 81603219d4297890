"""The zoo: a fixed suite of small problems of many kinds, on which optimizers are meta-trained and measured.

Sixteen problems are for meta-training, and eight are held out: other data, other architectures, other kinds of
functions. ``train zoo`` does not see those, so they show what an optimizer does on what it has not seen.
All problems of training need no file. Four of those held out need MNIST or CIFAR-10.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ..checks import choice
from ..datasets.tables import Clusters, LogisticTable, Spirals, Teacher
from .convnet import ConvNet
from .factorization import Factorization
from .mixture import Mixture
from .mlp import MLP
from .quadratic import Quadratic
from .rosenbrock import Rosenbrock

if TYPE_CHECKING:
    from ..protocols import Path, Problem

_digits = partial(MLP, "digits", batch=64)
_tables = partial(MLP, batch=64)

# What makes each problem of meta-training.
TRAINING: dict[str, Callable[[], Problem]] = {
    "quadratic": partial(Quadratic, 10),
    "quadratic, condition 1000": partial(Quadratic, 20, "normal", condition=1000.0),
    "rosenbrock": partial(Rosenbrock, 10, theta0_scale=0.5),
    "logistic regression": partial(_tables, LogisticTable(), ()),
    "softmax regression": partial(_digits, ()),
    "sigmoid 20": partial(_digits, (20,), "sigmoid"),
    "sigmoid 20-20": partial(_digits, (20, 20), "sigmoid", start="glorot"),
    "tanh 32": partial(_digits, (32,), "tanh", start="glorot"),
    "tanh 16-16-16": partial(_digits, (16, 16, 16), "tanh", start="glorot"),
    "relu 32": partial(_digits, (32,), "relu", start="he"),
    "relu 64-64": partial(_digits, (64, 64), "relu", start="he"),
    "relu 8-8-8-8": partial(_digits, (8, 8, 8, 8), "relu", start="he"),
    "relu 128, small start": partial(_digits, (128,), "relu", theta0_scale=0.03),
    "regression, tanh 16": partial(_tables, Teacher(), (16,), "tanh", start="glorot"),
    "regression, relu 32-32": partial(_tables, Teacher(features=16, outputs=2), (32, 32), "relu", start="he"),
    "convolution": partial(ConvNet, "digits", channels=(4,), kernel=3, hidden=(), batch=32, backend="numpy"),
}

# What makes each problem that is held out, of ``data_dir``.
HELD_OUT: dict[str, Callable[[Path | None], Problem]] = {
    "mnist, relu 20": lambda folder: MLP("mnist", (20,), "relu", batch=64, start="he", data_dir=folder),
    "mnist, sigmoid 20-20": lambda folder: MLP("mnist", (20, 20), "sigmoid", batch=64, data_dir=folder),
    "cifar, relu 16": lambda folder: MLP("cifar10", (16,), "relu", batch=64, start="he", data_dir=folder),
    "cifar, convolution": lambda folder: ConvNet("cifar10", channels=(4,), kernel=3, hidden=(), batch=16,
                                                  data_dir=folder),
    "tanh 12-12-12-12": lambda folder: _digits((12,) * 4, "tanh", start="glorot"),
    "clusters": lambda folder: _tables(Clusters(), ()),
    "spirals": lambda folder: _tables(Spirals(), (16, 16), "tanh", start="glorot"),
    "factorization": lambda folder: Factorization(),
}

NEED_FILES = tuple(name for name in HELD_OUT if name.startswith(("mnist", "cifar")))

# Of what a network is the loss; the others are functions of a few parameters.
NETWORKS = tuple(name for name in (*TRAINING, *HELD_OUT)
                 if name not in ("quadratic", "quadratic, condition 1000", "rosenbrock", "factorization"))


def problem(name: str, data_dir: Path | None = None) -> Problem:
    """A problem of the suite.

    Raises
    ------
    ValueError
        For an unknown name.
    FileNotFoundError
        When its data set is not there.
    """
    choice("name", name, (*TRAINING, *HELD_OUT))
    return TRAINING[name]() if name in TRAINING else HELD_OUT[name](data_dir)


def training_mixture(rescale: float | None = None, starts: float | None = None,
                     inputs: float | None = None) -> Mixture:
    """The `Mixture` of all problems of meta-training, each as often as any other, with the arguments of `Mixture`."""
    return Mixture([make() for make in TRAINING.values()], rescale=rescale, starts=starts, inputs=inputs)
