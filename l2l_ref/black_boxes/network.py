"""The training of a network as a black box: six hyperparameters in, the loss on images that were held out out.

A multilayer perceptron (optimizees/mlp.py, with ReLU) is trained on the digits of the package or on MNIST, for a given
number of images, by stochastic gradient descent with momentum (baselines/gradient.py) on the loss

    f(theta) + weight_decay / 2 ||theta||^2

where f is the cross-entropy of a minibatch. Weights and biases start with the standard deviation sqrt(2 / width), with
which a signal keeps its size from one hidden layer to the next. The space, the number of images and the starting points
are our choices.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..baselines.gradient import Momentum
from ..checks import positive, short, whole_number
from ..optimizees.mlp import MLP, mlp_loss

if TYPE_CHECKING:
    from ..protocols import Path, Seed

IMAGES = 30_000  # that a training sees: thirty epochs of the digits


class NetworkTraining:
    """Train a network with these hyperparameters and return its loss on the validation images, to be minimised.

    The loss is the cross-entropy and not the error, because the error on the 200 validation images of the digits takes
    few values, and good trainings would tie. It is at most that of a guess, log 10: a training that diverges, or that
    ends with confident mistakes, counts as one that has learned nothing. The value is therefore always finite, and no
    penalty dwarfs the differences between good trainings.

    Parameters
    ----------
    seed : int or SeedSequence
        Draws the starting point and the minibatches. The same seed and the same hyperparameters give the same value.
    dataset : {"digits", "mnist"}
    data_dir : path, optional
        The folder with the files of MNIST. By default the environment variable ``L2L_REF_DATA`` names it.
    images : int
        How many images a training sees, in minibatches that are drawn with replacement.

    Attributes
    ----------
    space : dict
        The hyperparameters by name, as `l2l_ref.minimize` and JSON have them.
    chance : float
        The largest value, log 10.

    Raises
    ------
    ValueError
        For another data set, and for numbers out of range.
    FileNotFoundError
        When MNIST's files are missing.
    """

    space: Mapping[str, Mapping[str, Any]] = {
        "learning_rate": {"type": "float", "low": 1e-3, "high": 1.0, "log": True},
        "momentum": {"type": "float", "low": 0.0, "high": 0.99},
        "batch": {"type": "int", "low": 16, "high": 256, "log": True},
        "weight_decay": {"type": "float", "low": 1e-6, "high": 1e-1, "log": True},
        "width": {"type": "int", "low": 8, "high": 128, "log": True},
        "depth": {"type": "int", "low": 1, "high": 3},
    }

    def __init__(self, seed: Seed = 0, dataset: str = "digits", data_dir: Path | None = None,
                 images: int = IMAGES) -> None:
        self._seed, self._dataset, self._data_dir = seed, dataset, data_dir
        self.images = whole_number("images", images)
        self._validation = MLP(dataset, split="validation", data_dir=data_dir)
        self.chance = self._validation.chance

    def __call__(self, x: Mapping[str, Any]) -> float:
        """The validation loss for hyperparameters x, a dict with the names of the space; in nats.

        Raises ValueError for other names, and for values with which there is no training, such as a width of 0.
        """
        if not isinstance(x, Mapping) or set(x) != set(self.space):
            raise ValueError(f"x: expected a dict with {', '.join(self.space)}, got {short(x)}")
        width, depth = whole_number("width", x["width"]), whole_number("depth", x["depth"])
        weight_decay = float(positive("weight_decay", x["weight_decay"], np.zeros(()), single=True))
        optimizer = Momentum(x["learning_rate"], x["momentum"])
        network = MLP(self._dataset, (width,) * depth, "relu", batch=x["batch"], theta0_scale=(2 / width) ** 0.5,
                      data_dir=self._data_dir)
        task = network.sample(1, self._seed)
        theta, state = task.theta0, optimizer.init(task.theta0)
        held_out = self._validation.data
        with np.errstate(all="ignore"):  # a training may diverge
            for _ in range(-(-self.images // network.batch)):
                loss, gradient = task.loss_and_gradient(theta)
                if not np.isfinite(loss[0]):
                    return self.chance
                update, state = optimizer.update(gradient + weight_decay * theta, state)
                theta = theta + update
            loss, _ = mlp_loss(theta[0], held_out.images, held_out.labels, network.sizes, held_out.scale, "relu")
        return min(float(loss), self.chance) if np.isfinite(loss) else self.chance
