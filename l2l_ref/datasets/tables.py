"""Tables of numbers to train on: the user's, and distributions from which tables are drawn. None needs a file.

A distribution has ``draw(rng)``, which gives a table as `Images` with one row of "pixels" a sample, and ``config``. All
tables of a distribution have the same sizes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from .. import files
from ..checks import choice, require_shape, whole_number
from .images import Images

# Of five rows, in random order, how many belong to each split.
SHARES = {"train": (0, 1, 2), "validation": (3,), "test": (4,)}
LEAST_ROWS = 5


def table(inputs: Any, targets: Any, split: str) -> Images:
    """The rows of a split of a user's table.

    Parameters
    ----------
    inputs : array-like, shape (N, D)
        Finite numbers; N is at least 5.
    targets : array-like, shape (N,) or (N, C)
        Labels, integers from 0, or floating-point numbers, of which a single column may come as (N,).
    split : {"train", "validation", "test"}
        Three, one and one of five rows. The order of the rows plays no part: they are shuffled, always in the same way.

    Returns
    -------
    Images

    Raises
    ------
    ValueError
        For other shapes, and for entries that are not finite or labels below 0.
    """
    x, y = np.asarray(inputs), np.asarray(targets)
    require_shape("inputs", x, N=None, D=None)
    if len(x) < LEAST_ROWS or x.dtype.kind not in "iuf" or not np.isfinite(x).all():
        raise ValueError(f"inputs: expected at least {LEAST_ROWS} rows of finite numbers, got {x.dtype} of shape "
                         f"{x.shape}")
    if y.dtype.kind == "f":
        y = y[:, None] if y.ndim == 1 else y
        require_shape("targets", y, N=len(x), C=None)
        if not np.isfinite(y).all():
            raise ValueError("targets: expected finite numbers, got nan or infinity")
        outputs = y.shape[1]
    else:
        require_shape("targets", y, N=len(x))
        if y.dtype.kind not in "iu" or y.min() < 0 or y.max() < 1:
            raise ValueError(f"targets: expected labels, integers from 0, at least two different ones, or "
                             f"floating-point numbers, got {y.dtype}"
                             + (f", {y.min()}..{y.max()}" if y.dtype.kind in "iu" else ""))
        outputs = int(y.max()) + 1
    shuffled = np.random.default_rng(0).permutation(len(x))
    rows = np.sort(shuffled[np.isin(np.arange(len(x)) % 5, SHARES[choice("split", split, SHARES)])])
    return Images(x[rows], y[rows], 1.0, outputs, (1, x.shape[1], 1))


class Generated:
    """A distribution of tables; the subclasses are dataclasses whose fields are its settings."""

    name: ClassVar[str]

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():  # type: ignore[call-overload]
            if isinstance(getattr(type(self), name), float):  # the default
                if not 0 <= value < np.inf:
                    raise ValueError(f"{name}: expected a finite number >= 0, got {value!r}")
            else:
                whole_number(name, value)

    def draw(self, rng: np.random.Generator) -> Images:
        """A table."""
        raise NotImplementedError


@dataclass(frozen=True)
class LogisticTable(Generated):
    """Two classes, drawn from a logistic model, and features of different scales.

    With x and w standard normal, a label is 1 with the probability sigmoid(2 x.w / sqrt(features) + c), c standard
    normal too. Then each feature is multiplied by a scale of its own, log-uniform over ``decades`` powers of ten around
    1, which is what makes the problem badly conditioned.
    """

    rows: int = 256
    features: int = 10
    decades: float = 2.0
    name = "logistic-table"

    def draw(self, rng: np.random.Generator) -> Images:
        x, w, c = rng.standard_normal((self.rows, self.features)), rng.standard_normal(self.features), rng.normal()
        chance = 1 / (1 + np.exp(-(2 * x @ w / np.sqrt(self.features) + c)))
        labels = (rng.random(self.rows) < chance).astype(np.uint8)
        scales = 10 ** rng.uniform(-self.decades / 2, self.decades / 2, self.features)
        return Images(x * scales, labels, 1.0, 2, (1, self.features, 1))


@dataclass(frozen=True)
class Clusters(Generated):
    """Classes that are normal around random means, with features that a random matrix has mixed."""

    rows: int = 256
    features: int = 12
    classes: int = 4
    name = "clusters"

    def draw(self, rng: np.random.Generator) -> Images:
        means = rng.standard_normal((self.classes, self.features))
        labels = rng.integers(0, self.classes, self.rows).astype(np.uint8)
        mixing = rng.standard_normal((self.features, self.features)) / np.sqrt(self.features)
        x = (means[labels] + rng.standard_normal((self.rows, self.features))) @ mixing
        return Images(x, labels, 1.0, self.classes, (1, self.features, 1))


@dataclass(frozen=True)
class Teacher(Generated):
    """A regression: the targets are the outputs of a random network with one hidden layer of tanh, plus noise.

    The inputs are standard normal. Each output is scaled to the variance 1 before noise of the standard deviation
    ``noise`` is added.
    """

    rows: int = 256
    features: int = 8
    hidden: int = 16
    outputs: int = 1
    noise: float = 0.1
    name = "teacher"

    def draw(self, rng: np.random.Generator) -> Images:
        x = rng.standard_normal((self.rows, self.features))
        W, V = rng.standard_normal((self.features, self.hidden)), rng.standard_normal((self.hidden, self.outputs))
        y = np.tanh(2 * x @ W / np.sqrt(self.features)) @ V
        y = (y - y.mean(axis=0)) / y.std(axis=0) + self.noise * rng.standard_normal(y.shape)
        return Images(x, y, 1.0, self.outputs, (1, self.features, 1))


@dataclass(frozen=True)
class Spirals(Generated):
    """Points in the plane on interleaved spirals, one spiral a class, in an orientation that is drawn."""

    rows: int = 256
    arms: int = 2
    turns: float = 1.0
    noise: float = 0.03
    name = "spirals"

    def draw(self, rng: np.random.Generator) -> Images:
        labels = rng.integers(0, self.arms, self.rows).astype(np.uint8)
        radius = np.sqrt(rng.random(self.rows))
        angle = 2 * np.pi * (self.turns * radius + labels / self.arms + rng.random())
        x = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return Images(x + self.noise * rng.standard_normal(x.shape), labels, 1.0, self.arms, (1, 2, 1))


def described(source: Generated | tuple[Any, Any]) -> dict[str, Any]:
    """The part of a problem's ``config`` that says what data it is on, in JSON's types."""
    if isinstance(source, Generated):
        return {"problem": source.name, "data": asdict(source)}  # type: ignore[call-overload]
    inputs, targets = map(np.asarray, source)
    return {"problem": "table", "data": files.digest({"inputs": inputs, "targets": targets})}
