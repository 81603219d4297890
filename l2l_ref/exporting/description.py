"""What is written of a model: its weights, the order of its equations, and what the package computes with it.

All targets are written from one `Description`, so they have the same weights, equations and expected outputs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import pretrained
from ..learned.moments_optimizer import MomentsMLP
from ..learned.optimizer import CoordinatewiseLSTM
from ..learned.partitioned import PartitionedLSTM
from ..learned.sharing_optimizer import SharingLSTM
from ..ops.moments import BETAS, BETAS_V

if TYPE_CHECKING:
    from .. import protocols
    from ..protocols import Array

STEPS, COORDINATES = 100, 3  # of a self-test


class Description(NamedTuple):
    """A model, and what its self-test expects.

    ``parts`` are names of sections of the templates: the equations of the model in the order in which they are defined.
    """

    title: str
    card: list[str]                 # lines that say how it was trained
    kind: str
    parts: tuple[str, ...]
    cell: str                       # "lstm_cell", "rnn_cell" or none
    settings: dict[str, Any]        # by the names that they have in the file
    layers: tuple[tuple[Array, ...], ...]  # W_x, W_h and b, float32
    weights: dict[str, Array]       # the others, by the names that they have in the file, float32
    expected: Array                 # (STEPS, coordinates), float64


def describe(model: protocols.Path | pretrained.Model, part: str | None = None) -> Description:
    """The Description of a model, its name or its file. Arguments and errors are those of `l2l_ref.export`."""
    model = model if hasattr(model, "params") else pretrained.load(model)  # type: ignore[arg-type]
    card = dict(getattr(model, "card", None) or {})
    if isinstance(model, PartitionedLSTM):
        if part not in model.parts:
            raise ValueError(f"part: expected one of {', '.join(model.parts)}, because each part of this optimizer is "
                             f"a file of its own, got {part!r}")
        card["name"] = f"{card.get('name', 'model')}, part {part}"
        model = model.parts[part]
    elif part is not None:
        raise ValueError(f"part: expected None for an optimizer that has no parts, got {part!r}")
    if isinstance(model, MomentsMLP):
        return _moments(model, card)
    if isinstance(model, SharingLSTM) or not isinstance(model, CoordinatewiseLSTM):
        raise ValueError(f"model: expected a CoordinatewiseLSTM, a CoordinatewiseRNN, a part of a PartitionedLSTM or "
                         f"a MomentsMLP; {type(model).__name__} cannot be exported yet")
    params = model.params_as(np.float32)
    layers = tuple(tuple(np.asarray(a) for a in layer) for layer in params.layers)
    cell = "rnn_cell" if len(model.params.layers) and model.config["model"].endswith("rnn") else "lstm_cell"
    parts = ["log_and_sign"] * (model.preprocess is not None) + ["affine"]
    parts += (["tanh"] + ["sigmoid"] * (cell == "lstm_cell") + [cell]) * bool(layers) + ["coordinatewise"]
    settings: dict[str, Any] = {"P": model.preprocess} if model.preprocess is not None else {}
    settings["SCALE"] = model.output_scale
    return Description(_title(card, model), _card_lines(card), "coordinatewise", tuple(parts), cell, settings, layers,
                       {"W": params.W, "b": params.b}, _expected(model))


def _moments(model: MomentsMLP, card: dict[str, Any]) -> Description:
    """That of a `MomentsMLP`. Its self-test has a matrix of 4 numbers and a vector of 3."""
    params = model.params_as(np.float32)
    rounded = MomentsMLP(model.hidden, params=params, backend="numpy")
    theta = np.arange(1, 8) / 4
    state = rounded.init([theta[:4].reshape(2, 2), theta[4:]], steps=STEPS)
    expected = []
    for gradient in gradients(len(theta)):
        update, state = rounded.update([gradient[:4].reshape(2, 2), gradient[4:]], state)
        expected.append(np.append(*update))
    title = (f"{Path(str(card.get('name', 'model'))).name}: an optimizer that weighs running means of the gradient by "
             f"a network of {model.hidden} hidden units.")
    return Description(title, _card_lines(card), "moments", ("affine", "tanh", "moments"), "",
                       {"BETAS": list(BETAS), "BETAS_V": list(BETAS_V)}, (), params._asdict(), np.stack(expected))


def gradients(coordinates: int = COORDINATES) -> Array:
    """The gradients of a self-test, (STEPS, coordinates): the same numbers in all languages, exactly.

    They come from the generator of Park and Miller 1988, and are between -1 and 1 times a power of two.
    """
    seed, rows = 1, np.empty((STEPS, coordinates))
    for t in range(STEPS):
        for k in range(coordinates):
            seed = seed * 16807 % 2147483647
            rows[t, k] = (seed / 2.0**30 - 1) / 2.0 ** (3 * (t % 8))
    return rows


def _expected(model: CoordinatewiseLSTM) -> Array:
    """What the NumPy original makes of `gradients` in float64, with the weights in float32."""
    rounded = type(model)(model.hidden, model.preprocess, model.output_scale, backend="numpy",
                          params=model.params_as(np.float32))
    rows, state = [], rounded.init(np.zeros(COORDINATES))
    for gradient in gradients():
        update, state = rounded.update(gradient, state)
        rows.append(update)
    return np.stack(rows)


def _title(card: dict[str, Any], model: CoordinatewiseLSTM) -> str:
    cell = "RNN" if model.config["model"].endswith("rnn") else "LSTM"
    units = " and ".join(map(str, model.hidden)) or "no"
    return f"{Path(str(card.get('name', 'model'))).name}: a coordinatewise {cell} optimizer with {units} hidden units."


def _card_lines(card: dict[str, Any]) -> list[str]:
    """The lines of the header that say where the weights come from."""
    said = [(name, card[name]) for name in ("problem", "command", "seed", "score", "sha256") if name in card]
    texts = [f"{name}: {value if isinstance(value, str) else json.dumps(value)}" for name, value in said]
    return ["Weights trained by l2l_ref " + str(card.get("version", "")).strip(), *texts]
