"""Trained optimizers: those that ship with the package, and the user's own files."""

import reprlib
import sys
from pathlib import Path

import numpy as np

from .. import files
from ..checks import choice, whole_number, whole_numbers
from ..learned import coordinatewise
from ..learned.cells import CELLS, cell_of
from ..learned.model import LARGEST_LAYER, MOST_LAYERS
from ..learned.optimizer import CoordinatewiseLSTM
from ..learned.propose import OUTPUTS, ProposerParams
from ..learned.proposer import LARGEST_DIM, Proposer, checked_memory
from ..ops.dnc import DNCParams
from ..ops.heads import interface_size
from ..ops.lstm import LSTMParams
from ..trees import arrays_of, build, names_of

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
        ``backend``, and ``threads`` of CoordinatewiseLSTM.

    Returns
    -------
    CoordinatewiseLSTM or Proposer
        What the file holds; with its card as ``.card``, float32 weights.

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
    kind, arguments, like = _parse(card)
    params = build(like, (arrays[name] for name in names_of(like)))
    model = kind(**arguments, params=params, **settings)
    model.card = card
    return model


def find(name, dim):
    """The name of the shipped proposer for functions of ``dim`` dimensions: "lstm-oi", 2 -> "lstm-oi-2".

    Where there is none for exactly so many it is the smallest larger one, since a function is one of more dimensions
    that ignores the others. Raises ValueError when there is no such name, or none large enough.
    """
    parts = [path.stem.rpartition("-") for path in FOLDER.glob("*-*.npz")]
    dims = sorted(int(d) for stem, _, d in parts if stem == str(name) and d.isdecimal())
    enough = [d for d in dims if d >= dim]
    if enough:
        return f"{name}-{enough[0]}"
    if dims:
        raise ValueError(f"model: {name} is there for at most {dims[-1]} dimensions, got {dim}")
    shipped = ", ".join(sorted({stem for stem, _, d in parts if d.isdecimal()}))
    shipped = shipped or "(none)"
    raise ValueError(f"model: expected a Proposer, the path of a file or one of {shipped}; got {str(name)!r}")


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
        return {name: np.ascontiguousarray(a, np.float32) for name, a in zip(names_of(params), arrays_of(params))}


def _coordinatewise(config):
    """The model's part of a card -> class, its arguments, weights of the right shapes; ValueError when it is none."""
    hidden = whole_numbers("hidden", config.get("hidden"), most=LARGEST_LAYER, most_count=MOST_LAYERS)
    if "preprocess" not in config:
        raise ValueError("its card does not say what preprocess is")
    preprocess, scale = config["preprocess"], config.get("output_scale")
    if preprocess is not None and (type(preprocess) not in (int, float) or not 0 < preprocess < 80):
        raise ValueError(f"preprocess: expected null or a number between 0 and 80, got {reprlib.repr(preprocess)}")
    if type(scale) not in (int, float) or not 0 < abs(scale) <= sys.float_info.max:
        raise ValueError(f"output_scale: expected a finite number other than 0, got {reprlib.repr(scale)}")
    sizes = (1 if preprocess is None else 2, *hidden)
    like = coordinatewise.Params(tuple(_lstm(D, H) for D, H in zip(sizes, hidden)), _shaped(sizes[-1], 1), _shaped(1))
    return CoordinatewiseLSTM, {"hidden": hidden, "preprocess": preprocess, "output_scale": scale}, like


def _proposer(config):
    """As `_coordinatewise`, for a Proposer."""
    sizes = {}
    for name, most in (("dim", LARGEST_DIM), ("hidden", LARGEST_LAYER)):
        sizes[name] = config.get(name)
        whole_number(name, sizes[name], most=most)
    names = {}
    for name, known in (("cell", CELLS), ("output", OUTPUTS)):
        names[name] = config.get(name)
        choice(name, names[name], known)
    (d, H), memory = sizes.values(), checked_memory(names["cell"], config.get("memory"))
    output_size = cell_of(names["cell"], memory).output_size(H)
    cell = _lstm(d + 2 + output_size - H, H)
    if memory:
        _, *read = memory
        cell = DNCParams(cell, _shaped(H, interface_size(*read)), _shaped(interface_size(*read)))
    return Proposer, sizes | names | {"memory": memory}, ProposerParams(cell, _shaped(output_size, d), _shaped(d))


def _lstm(D, H):
    return LSTMParams(_shaped(D, 4 * H), _shaped(H, 4 * H), _shaped(4 * H))


def _shaped(*shape):
    """An array of this shape that takes no memory."""
    return np.broadcast_to(np.float32(0), shape)


KINDS = {"coordinatewise-lstm": _coordinatewise, "proposer": _proposer}


def _parse(card):
    config = card.get("model")
    kind = config.get("model") if isinstance(config, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"its card does not describe one of {', '.join(KINDS)}")
    return KINDS[kind](config)


def _expect(card):
    _, _, like = _parse(card)
    return {name: (a.shape, np.float32) for name, a in zip(names_of(like), arrays_of(like))}
