"""Named settings for complete trainings. Where paper and released code differ, both are available.

``default`` is this project's setting, ``paper`` follows the text of Andrychowicz et al. 2016, ``release`` the code that
they released. docs/reference/presets.md lists the differences and what each one costs. Where a source gives no value,
the preset uses that of ``default``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import choice
from ..learned.moments_optimizer import MomentsMLP
from ..learned.optimizer import CoordinatewiseLSTM, CoordinatewiseRNN
from ..learned.partitioned import PartitionedLSTM
from ..learned.sharing_optimizer import SharingLSTM
from ..optimizees import MLP, ConvNet, Quadratic, StyleTransfer, zoo
from ..seeds import child

if TYPE_CHECKING:
    from ..protocols import Backend, Problem

SHARING = {"share", "averaged", "window"}  # the arguments that make a SharingLSTM
PARTS = 5  # the stream of random numbers of the initial weights of parts
NAMES = ("default", "paper", "release")
CELLS = {"lstm": CoordinatewiseLSTM, "rnn": CoordinatewiseRNN, "moments": MomentsMLP}

_QUADRATIC: dict[str, Any] = {
    "model": {},
    "problem": {"distribution": "uniform"},
    "recipe": {"functions": 128, "tasks": 20, "epochs": 80, "validation_functions": 1024,
               "learning_rate": 3e-3, "final_learning_rate": 3e-4, "averaging": 0.95, "rollback": 4},
}
_IMAGES: dict[str, Any] = {
    "model": {"preprocess": 10.0, "output_scale": 0.1},
    "problem": {},
    "recipe": {"functions": 1, "tasks": 20, "epochs": 60, "validation_functions": 12, "coordinates": 4000,
               "learning_rate": 1e-2, "final_learning_rate": 1e-4, "decay_from": 0.2, "averaging": 0.98,
               "clip": None},
}
_RELEASE = {"learning_rate": 1e-3, "final_learning_rate": 1e-3, "clip": None, "boundary_term": True}
_RELEASE_IMAGES: dict[str, Any] = {
    "model": {"preprocess": 5.0, "output_scale": 0.01},
    "problem": {},
    "recipe": {"functions": 1, "epochs": 500, **_RELEASE},
}
_RELEASE_CIFAR: dict[str, Any] = {**_RELEASE_IMAGES, "rule": {"conv*.W": "conv", "*": "fc"}}
_CIFAR: dict[str, Any] = {
    **_IMAGES, "rule": {"conv*": "conv", "*": "fc"},
    "recipe": {**_IMAGES["recipe"], "tasks": 10, "epochs": 40, "validation_functions": 6},
}
_ART_STEPS = {"steps": 128, "unroll": 32}
_ART: dict[str, Any] = {
    **_IMAGES, "recipe": {**_IMAGES["recipe"], **_ART_STEPS, "tasks": 12, "epochs": 30, "validation_functions": 3},
}
_RELEASE_ART: dict[str, Any] = {  # there is no neural art in the released code; these are its other settings
    **_RELEASE_IMAGES, "recipe": {**_RELEASE_IMAGES["recipe"], **_ART_STEPS, "epochs": 625, "validation_functions": 3},
}
_DIGITS = {"functions": 4, "epochs": 14, "validation_functions": 48, "learning_rate": 3e-3, "rollback": 3,
           "judge": "sum"}  # with so few images all final losses are near 0: networks memorise them

# The only setting of mixtures, and of any problem of the user.
MIXTURE: dict[str, Any] = {
    **_IMAGES, "recipe": {**_IMAGES["recipe"], "tasks": 16, "validation_functions": 32, "steps": 200,
                          "horizons": (50, 2000), "curriculum": 0.5, "clip": 1.0},
}

# That of an optimizer on running means, whose length of step backpropagation without the dashed edges does not teach.
MOMENTS: dict[str, Any] = {
    "model": {},
    "problem": {"rescale": 10.0, "starts": 10.0, "inputs": 300.0},
    "recipe": {"functions": 2, "tasks": 20, "steps": 400, "unroll": None, "validation_functions": 32,
               "horizons": (50, 2000), "curriculum": 0.5, "untold": 0.2, "estimator": "evolution", "pairs": 8,
               "sigma": 0.03, "keep": "last", "loss_weights": "tail", "logarithm": 1e-5, "learning_rate": 1e-2,
               "final_learning_rate": 1e-3, "decay_from": 0.5, "averaging": 0.95, "clip": 40.0},
}

ZOO, OWN = "zoo", "MODULE:PROBLEM"  # the second stands for the user's problems

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "quadratic": {
        "default": _QUADRATIC,
        "paper": {**_QUADRATIC, "problem": {"distribution": "normal"}},
        "release": {**_QUADRATIC, "recipe": {"functions": 128, "epochs": 500, **_RELEASE}},
    },
    "digits": {
        "default": {**_IMAGES, "recipe": {**_IMAGES["recipe"], **_DIGITS}},
        "paper": {**_IMAGES, "recipe": {**_IMAGES["recipe"], **_DIGITS}},
        "release": {**_RELEASE_IMAGES, "recipe": {**_RELEASE_IMAGES["recipe"], "functions": 4,
                                                  "validation_functions": 48}},
    },
    "mnist": {
        "default": _IMAGES,
        "paper": _IMAGES,
        "release": {**_RELEASE_IMAGES, "recipe": {**_RELEASE_IMAGES["recipe"], "validation_functions": 12}},
    },
    "cifar": {
        "default": _CIFAR,
        "paper": _CIFAR,
        "release": {**_RELEASE_CIFAR, "recipe": {**_RELEASE_CIFAR["recipe"], "validation_functions": 6}},
    },
    "art": {"default": _ART, "paper": _ART, "release": _RELEASE_ART},
}


def build(
    problem: str | Problem, preset: str = "default", *, seed: int = 0, model: dict[str, Any] | None = None,
    distribution: dict[str, Any] | None = None, recipe: dict[str, Any] | None = None, backend: Backend = "auto",
    threads: int | None = None, single: bool = False, cell: str = "lstm",
    start: CoordinatewiseLSTM | PartitionedLSTM | None = None,
) -> tuple[
    CoordinatewiseLSTM | PartitionedLSTM, Any, dict[str, Any]
]:
    """Make an untrained model, a problem and a recipe.

    Parameters
    ----------
    problem : {"quadratic", "digits", "mnist", "cifar", "art", "zoo"} or Problem
        A problem of your own is passed on as it is, and ``distribution`` has to be empty.
    preset : {"default", "paper", "release"}
        The last two only for the problems of Andrychowicz et al. 2016.
    seed : int
        Draws the initial weights.
    model, distribution, recipe : dict, optional
        Arguments of CoordinatewiseLSTM, of the problem and of ``meta_train`` that replace those of the preset. With
        arguments of SharingLSTM alone among those of the model, it is one.
    backend, threads
        As in CoordinatewiseLSTM.
    single : bool
        One set of weights for all parameters, also where the preset has a rule that parts them.
    cell : {"lstm", "rnn", "moments"}
        The recurrent cell; "moments" stands for a MomentsMLP, which has none. A SharingLSTM has LSTM cells alone.
    start : CoordinatewiseLSTM, PartitionedLSTM or SharingLSTM, optional
        Training begins with the weights of this optimizer, in each part with the same ones unless it has parts itself.

    Returns
    -------
    model : CoordinatewiseLSTM, CoordinatewiseRNN, PartitionedLSTM or SharingLSTM
    problem : Quadratic, MLP, ConvNet, StyleTransfer, Mixture or your own
    recipe : dict
        Pass the three on as ``meta_train(model, problem, seed=seed, **recipe)``.

    Raises
    ------
    ValueError
        For an unknown problem or preset, for bad arguments, and for a start of another kind or other sizes.
    """
    presets = PRESETS.get(problem) if isinstance(problem, str) else None
    if presets is None:
        if isinstance(problem, str):
            choice("problem", problem, (*PRESETS, ZOO))
        presets = {"default": MIXTURE}
    choice("preset", preset, presets if preset in NAMES else NAMES)
    choice("cell", cell, CELLS)
    chosen = MOMENTS if cell == "moments" and presets["default"] is MIXTURE else presets[preset]
    rule = {} if single else chosen.get("rule", {})

    arguments, kind = {**chosen["model"], **(model or {})}, CELLS[cell]
    if kind is MomentsMLP:  # which knows of each array what kind it is, and needs no parts
        arguments, rule = _of_moments(model or {}), {}
    if SHARING & arguments.keys():
        choice("cell", cell, ["lstm"])
        kind = SharingLSTM

    def drawn(rng: Any) -> CoordinatewiseLSTM:
        return kind(**arguments, rng=rng, backend=backend, threads=threads)

    optimizer: CoordinatewiseLSTM | PartitionedLSTM = drawn(seed)
    if rule:
        parts = sorted(set(rule.values()))
        optimizer = PartitionedLSTM({part: drawn(child(seed, PARTS, k)) for k, part in enumerate(parts)}, rule)
    if start is not None:
        came, wanted = _network(start), _network(optimizer)
        if came != wanted or isinstance(start, PartitionedLSTM) and not rule:
            raise ValueError(f"start: expected an optimizer of this kind: {wanted}; got {came}")
        parted = bool(rule) and not isinstance(start, PartitionedLSTM)
        optimizer = optimizer.with_params(dict.fromkeys(optimizer.parts, start.params) if parted else start.params)
    settings = {} if not isinstance(problem, str) else {**chosen["problem"], **(distribution or {})}
    drawn_from: Any
    if not isinstance(problem, str):
        drawn_from = problem
    elif problem == ZOO:
        drawn_from = zoo.training_mixture(**settings)
    elif problem == "quadratic":
        drawn_from = Quadratic(**settings)
    elif problem == "cifar":
        drawn_from = ConvNet("cifar10", **settings, backend=backend, threads=threads)
    elif problem == "art":
        drawn_from = StyleTransfer(**settings, backend=backend, threads=threads)
    else:
        drawn_from = MLP(problem, **settings)
    settings = {**chosen["recipe"], **(recipe or {})}
    whole = settings.get("second_derivatives") or settings.get("estimator") == "evolution"
    if whole and "coordinates" not in (recipe or {}):
        settings["coordinates"] = None  # these need all of them
    return optimizer, drawn_from, settings


def _of_moments(model: dict[str, Any]) -> dict[str, Any]:
    """The arguments of MomentsMLP among those of an optimizer; ValueError for others."""
    others = [name for name in model if name != "hidden"]
    if others:
        raise ValueError(f"{others[0]}: not for the cell moments")
    units = np.atleast_1d(model.get("hidden", 16))
    if units.shape != (1,):
        raise ValueError(f"hidden: expected the units of one layer for the cell moments, got {model['hidden']}")
    return {"hidden": units[0]} if model else {}


def _network(model: Any) -> str:
    """The settings that give the weights of a model their meaning, in words."""
    config = model.config
    parts = config.get("parts", {"": config}).values()
    kinds = {", ".join(f"{name} {value}" for name, value in part.items() if name != "output_scale") for part in parts}
    return f"{len(parts)} parts, {' and '.join(sorted(kinds))}" if len(kinds) > 1 else kinds.pop()
