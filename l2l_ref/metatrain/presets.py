"""Named settings of whole trainings: where paper and released code differ, both can be had.

``default`` is this project's, ``paper`` follows the text of Andrychowicz et al. 2016, ``release`` the code that
its authors released. docs/reference/presets.md lists the differences and what each costs. Where a source is silent the
value is that of ``default``.
"""

from ..learned.optimizer import CoordinatewiseLSTM
from ..optimizees import MLP, Quadratic

NAMES = ("default", "paper", "release")

_QUADRATIC = {
    "model": {},
    "problem": {"distribution": "uniform"},
    "recipe": {"functions": 128, "tasks": 20, "epochs": 80, "validation_functions": 1024,
               "learning_rate": 3e-3, "final_learning_rate": 3e-4, "averaging": 0.95, "rollback": 4},
}
_IMAGES = {
    "model": {"preprocess": 10.0, "output_scale": 0.1},
    "problem": {},
    "recipe": {"functions": 1, "tasks": 20, "epochs": 60, "validation_functions": 12, "coordinates": 4000,
               "learning_rate": 1e-2, "final_learning_rate": 1e-4, "decay_from": 0.2, "averaging": 0.98,
               "clip": None},
}
_RELEASE = {"learning_rate": 1e-3, "final_learning_rate": 1e-3, "clip": None, "boundary_term": True}
_RELEASE_IMAGES = {
    "model": {"preprocess": 5.0, "output_scale": 0.01},
    "problem": {},
    "recipe": {"functions": 1, "epochs": 500, **_RELEASE},
}
_DIGITS = {"functions": 4, "epochs": 14, "validation_functions": 48, "learning_rate": 3e-3, "rollback": 3,
           "judge": "sum"}  # so few images are learned by heart: all final losses are near 0

PRESETS = {
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
}


def build(problem, preset="default", *, seed=0, model=None, distribution=None, recipe=None, backend="auto", threads=None):
    """An untrained model, a problem and a recipe.

    Parameters
    ----------
    problem : {"quadratic", "digits", "mnist"}
    preset : {"default", "paper", "release"}
    seed : int
        Draws the initial weights.
    model, distribution, recipe : dict, optional
        What to change in the arguments of CoordinatewiseLSTM, of the problem, and of ``meta_train``.

    Returns
    -------
    model, problem, recipe
        Pass them on as ``meta_train(model, problem, seed=seed, **recipe)``.
    """
    if problem not in PRESETS:
        raise ValueError(f"problem: expected one of {', '.join(PRESETS)}, got {problem!r}")
    if preset not in NAMES:
        raise ValueError(f"preset: expected one of {', '.join(NAMES)}, got {preset!r}")
    chosen = PRESETS[problem][preset]
    optimizer = CoordinatewiseLSTM(**{**chosen["model"], **(model or {})}, rng=seed, backend=backend, threads=threads)
    settings = {**chosen["problem"], **(distribution or {})}
    drawn_from = Quadratic(**settings) if problem == "quadratic" else MLP(problem, **settings)
    settings = {**chosen["recipe"], **(recipe or {})}
    if settings.get("second_derivatives") and "coordinates" not in (recipe or {}):
        settings["coordinates"] = None  # all of them are needed
    return optimizer, drawn_from, settings
