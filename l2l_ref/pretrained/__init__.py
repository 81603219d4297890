"""Trained optimizers: those that ship with the package, and the user's own files."""

import reprlib
import sys
from pathlib import Path

import numpy as np

from .. import files
from ..learned import coordinatewise as cw
from ..learned.optimizer import LARGEST_LAYER, MOST_LAYERS, CoordinatewiseLSTM

FOLDER = Path(__file__).parent


def models():
    """The cards of the shipped optimizers, a list of dicts, sorted by name."""
    return [load(path.stem).card for path in sorted(FOLDER.glob("*.npz"))]


def load(name, **settings):
    """Load a trained optimizer.

    Parameters
    ----------
    name : str or path
        A name from ``models()``, or the path of a file that ``save`` wrote.
    **settings
        ``backend`` and ``threads`` of CoordinatewiseLSTM.

    Returns
    -------
    CoordinatewiseLSTM
        With its card as ``.card``, float32 weights.

    Raises
    ------
    ValueError
        When there is no such name or file, or the file is not a good one; says what is wrong.
    """
    path = FOLDER / f"{name}.npz"
    if not path.is_file():
        path = Path(name)
    if not path.is_file():
        shipped = ", ".join(sorted(p.stem for p in FOLDER.glob("*.npz")))
        raise ValueError(f"name: expected the path of a file or one of {shipped or '(none)'}; got {str(name)!r}")
    arrays, card = files.read(path, _expect)
    model = CoordinatewiseLSTM(params=_to_params(arrays, card["model"]), **_arguments(card["model"]), **settings)
    model.card = card
    return model


def save(model, path, card=None):
    """Write an optimizer's weights, as float32, and its card to ``path``, whole or not at all.

    ``card`` adds to what the model knows of itself; by default the card that it carries. Raises ValueError for
    weights that are not finite in float32.
    """
    card = dict(card or model.card or {})
    card["model"] = model.config
    card.setdefault("name", Path(path).stem)
    files.write(path, _to_arrays(model.params), card)


def _to_arrays(params):
    with np.errstate(over="ignore"):  # files.write refuses what this makes infinite
        return {name: np.ascontiguousarray(a, np.float32) for name, a in zip(_names(params), cw.arrays_of(params))}


def _names(params):
    return [f"layers.{l}.{field}" for l, layer in enumerate(params.layers) for field in layer._fields] + ["W", "b"]


def _arguments(config):
    """The model's part of a card -> arguments of CoordinatewiseLSTM; ValueError when it is none."""
    if not isinstance(config, dict) or config.get("model") != "coordinatewise-lstm":
        raise ValueError("its card does not describe a coordinatewise-lstm")
    hidden = config.get("hidden")
    if not isinstance(hidden, list) or len(hidden) > MOST_LAYERS or not all(
        type(units) is int and 1 <= units <= LARGEST_LAYER for units in hidden
    ):
        raise ValueError(f"hidden: expected at most {MOST_LAYERS} whole numbers in 1..{LARGEST_LAYER}, "
                         f"got {reprlib.repr(hidden)}")
    if "preprocess" not in config:
        raise ValueError("its card does not say what preprocess is")
    preprocess, scale = config["preprocess"], config.get("output_scale")
    if preprocess is not None and (type(preprocess) not in (int, float) or not 0 < preprocess < 80):
        raise ValueError(f"preprocess: expected null or a number between 0 and 80, got {reprlib.repr(preprocess)}")
    if type(scale) not in (int, float) or not 0 < abs(scale) <= sys.float_info.max:
        raise ValueError(f"output_scale: expected a finite number other than 0, got {reprlib.repr(scale)}")
    return {"hidden": tuple(hidden), "preprocess": preprocess, "output_scale": scale}


def _expect(card):
    arguments = _arguments(card.get("model"))
    sizes = (1 if arguments["preprocess"] is None else 2, *arguments["hidden"])
    shapes = {}
    for l, (D, H) in enumerate(zip(sizes, sizes[1:])):
        shapes |= {f"layers.{l}.W_x": (D, 4 * H), f"layers.{l}.W_h": (H, 4 * H), f"layers.{l}.b": (4 * H,)}
    shapes |= {"W": (sizes[-1], 1), "b": (1,)}
    return {name: (shape, np.float32) for name, shape in shapes.items()}


def _to_params(arrays, config):
    layers = tuple(
        cw.LSTMParams(*(arrays[f"layers.{l}.{field}"] for field in cw.LSTMParams._fields))
        for l in range(len(config["hidden"]))
    )
    return cw.Params(layers, arrays["W"], arrays["b"])
