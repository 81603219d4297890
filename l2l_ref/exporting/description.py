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
from ..learned.proposer import Proposer
from ..learned.shared_cell import ROOT
from ..learned.sharing_optimizer import SharingLSTM
from ..ops.moments import BETAS, BETAS_V
from ..search.restarts import restart_period
from ..search.scale import moments_of
from .reference import COORDINATES, STEPS, gradients, queries

if TYPE_CHECKING:
    from .. import protocols
    from ..protocols import Array

CELLS = {"lstm": "an LSTM of {} units", "dnc": "a differentiable neural computer with {} hidden units",
         "shared": "an LSTM of {} units that all coordinates share"}


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
    table: Array | None = None      # of a search: d, and the moments after 1, 2, 4, .. values, float64


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
    if isinstance(model, Proposer):
        return _search(model, card)
    if not isinstance(model, CoordinatewiseLSTM):
        raise ValueError(f"model: expected an optimizer of this package, got a {type(model).__name__}")
    params = model.params_as(np.float32)
    layers = tuple(tuple(np.asarray(a) for a in layer) for layer in params.layers)
    cell = "rnn_cell" if len(model.params.layers) and model.config["model"].endswith("rnn") else "lstm_cell"
    parts = ["log_and_sign"] * (model.preprocess is not None) + ["affine"]
    parts += ["tanh", "sigmoid" if cell == "lstm_cell" else "scalar_tanh", cell] * bool(layers)
    settings: dict[str, Any] = {"P": model.preprocess} if model.preprocess is not None else {}
    settings["SCALE"] = model.output_scale
    kind = "coordinatewise"
    if isinstance(model, SharingLSTM):
        kind = "sharing"
        parts += ["average", f"{model.share}_memory"]
        settings |= {"AVERAGED": model.averaged} | ({"WINDOW": model.window} if model.share == "l-bfgs" else {})
    parts += ["float_array", "length", kind]
    return Description(_title(card, model), _card_lines(card), kind, tuple(parts), cell, settings, layers,
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
    parts = ("affine", "tanh", "scalar_tanh", "float_arrays", "moments")
    settings = {"BETAS": list(BETAS), "BETAS_V": list(BETAS_V)}
    return Description(title, _card_lines(card), "moments", parts, "", settings, (), params._asdict(),
                       np.stack(expected))


def _search(model: Proposer, card: dict[str, Any]) -> Description:
    """That of a `Proposer`, the network alone. The self-test of one for any number of dimensions has three."""
    params = model.params_as(np.float32)
    rounded = Proposer(model.dim, model.hidden, model.output, cell=model.cell, memory=model.memory, params=params,
                       backend="numpy")
    rounded.card = model.card
    d = model.dim or COORDINATES
    settings: dict[str, Any] = {"RUN": restart_period(model.card)}
    settings |= {"DIM": model.dim} if model.dim else {"ROOT": ROOT}
    parts = ("affine", "tanh", "logistic" if model.cell == "lstm" else "sigmoid", "lstm_cell",
             *["scalar_tanh", "scalar_sigmoid"] * (model.cell == "dnc" or model.output == "sigmoid"),
             *["average"] * (model.cell == "shared"), f"{model.output}_query", f"{model.cell}_proposer", "search")
    weights = {"W": params.W, "b": params.b}
    cell = params.cell
    if model.memory is not None:
        settings |= dict(zip(("SLOTS", "WORD", "HEADS"), model.memory))
        cell = params.cell.controller
        weights |= {"W_xi": params.cell.W_xi, "b_xi": params.cell.b_xi}
    dims = f"{model.dim} dimension{'s' * (model.dim > 1)}" if model.dim else "any number of dimensions"
    title = (f"{Path(str(card.get('name', 'model'))).name}: a black-box optimizer for {dims}, "
             f"{CELLS[model.cell].format(model.hidden)}.")
    return Description(title, _card_lines(card), "search", parts, "lstm_cell", settings, (tuple(cell),),
                       weights, queries(rounded, d), _moments_table(rounded))


def _moments_table(model: Proposer) -> Array:
    """A row for each number of dimensions that a card knows: d, and then mean and std after 1, 2, 4, .. values."""
    problem = (model.card or {}).get("problem")
    dims = problem.get("dim") if isinstance(problem, dict) and model.dim is None else None
    dims = dims if isinstance(dims, list) else [model.dim or 1]
    rows = [[d, *np.ravel(moments_of(model.of(d).card) or [[0.0, 1.0]]).tolist()] for d in dims]
    longest = max(map(len, rows))
    return np.array([row + row[-2:] * ((longest - len(row)) // 2) for row in rows])


def _expected(model: CoordinatewiseLSTM) -> Array:
    """What the NumPy original makes of `gradients` in float64, with the weights in float32."""
    rounded = model.with_params(model.params_as(np.float32))
    rounded.backend = "numpy"
    rows, state = [], rounded.init(np.zeros(COORDINATES))
    for gradient in gradients():
        update, state = rounded.update(gradient, state)
        rows.append(update)
    return np.stack(rows)


def _title(card: dict[str, Any], model: CoordinatewiseLSTM) -> str:
    cell = "RNN" if model.config["model"].endswith("rnn") else "LSTM"
    units = " and ".join(map(str, model.hidden)) or "no"
    of = " and coordinates that share information" if isinstance(model, SharingLSTM) else ""
    name = Path(str(card.get("name", "model"))).name
    return f"{name}: a coordinatewise {cell} optimizer with {units} hidden units{of}."


def _card_lines(card: dict[str, Any]) -> list[str]:
    """The lines of the header that say where the weights come from."""
    said = {name: card[name] if isinstance(card[name], str) else json.dumps(card[name])
            for name in ("problem", "command", "score", "seed", "sha256") if name in card}
    last = ", ".join(f"{name}: {said.pop(name)}" for name in ("seed", "sha256") if name in said)
    return ["Weights trained by l2l_ref " + str(card.get("version", "")).strip(),
            *(f"{name}: {text}" for name, text in said.items()), *([last] if last else [])]
