"""Trained optimizers: those that ship with the package, and the user's own files."""

from __future__ import annotations

import io
import reprlib
import sys
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import numpy as np

from .. import files
from ..checks import choice, whole_number, whole_numbers
from ..learned.cells import CELLS
from ..learned.model import LARGEST_LAYER, MOST_LAYERS
from ..learned.moments_optimizer import MomentsMLP
from ..learned.optimizer import CoordinatewiseLSTM, CoordinatewiseRNN
from ..learned.partitioned import PartitionedLSTM, checked_rule
from ..learned.propose import OUTPUTS
from ..learned.proposer import Proposer, checked_dim, checked_memory
from ..learned.sharing import HEADS
from ..learned.sharing_optimizer import LARGEST_WINDOW, SHARED, SharingLSTM
from ..trees import build, leaves, paths

if TYPE_CHECKING:
    from .. import protocols
    from ..protocols import Array, Backend, Card

FOLDER = resources.files(__name__)  # perhaps inside of a zip file

# The names of what ships, for type checkers and editors; tests keep them equal to what is in the folder.
Model: TypeAlias = CoordinatewiseLSTM | CoordinatewiseRNN | MomentsMLP | PartitionedLSTM | SharingLSTM | Proposer
General: TypeAlias = Literal["general"]
Coordinatewise: TypeAlias = Literal["art-lstm", "digits-lstm", "mnist-lstm", "quadratic-lstm", "quadratic-normal-lstm"]
Partitioned: TypeAlias = Literal["cifar-lstm"]
Sharing: TypeAlias = Literal["quadratic-sharing-lstm"]
BlackBox: TypeAlias = Literal[
    "dnc-ei-2", "dnc-oi-1", "dnc-oi-2", "dnc-oi-3", "dnc-oi-4", "dnc-oi-6", "dnc-sum-2",
    "lstm-any", "lstm-any-ei", "lstm-any-sum", "lstm-ei-2", "lstm-oi-1", "lstm-oi-2", "lstm-oi-3", "lstm-oi-4",
    "lstm-oi-6", "lstm-sum-2",
]

ANY = {"lstm-oi": "lstm-any"}  # kinds of which there is a network for any number of dimensions
MOST_TRAINED = 20              # dimensions, of the functions that it was trained on


def names() -> list[str]:
    """The names of the shipped optimizers, sorted."""
    return sorted(entry.name[:-4] for entry in FOLDER.iterdir() if entry.name.endswith(".npz"))


def models() -> list[Card]:
    """The cards of the shipped optimizers, sorted by name: how each was trained and what it scores."""
    return [_read(name)[1] for name in names()]


@overload
def load(name: General = ..., *, backend: Backend = ..., threads: int | None = ...) -> MomentsMLP: ...


@overload
def load(name: Coordinatewise, *, backend: Backend = ..., threads: int | None = ...) -> CoordinatewiseLSTM: ...


@overload
def load(name: Partitioned, *, backend: Backend = ..., threads: int | None = ...) -> PartitionedLSTM: ...


@overload
def load(name: Sharing, *, backend: Backend = ..., threads: int | None = ...) -> SharingLSTM: ...


@overload
def load(name: BlackBox, *, backend: Backend = ...) -> Proposer: ...


@overload
def load(name: protocols.Path, **settings: Any) -> Model: ...


def load(name: protocols.Path = "general", **settings: Any) -> Model:
    """Load a trained optimizer.

    Parameters
    ----------
    name : str or path
        A name from ``models()``, or the path of a file that ``save`` wrote. By default "general", an optimizer for
        networks that it has not seen.
    **settings
        ``backend``, and for a gradient-based one ``threads``.

    Returns
    -------
    CoordinatewiseLSTM, CoordinatewiseRNN, MomentsMLP, PartitionedLSTM, SharingLSTM or Proposer
        Whichever the file holds, with float32 weights. Its ``card`` says how it was trained and what it scores.

    Raises
    ------
    TypeError
        For a name that is neither a string nor a path.
    ValueError
        When there is no such name or file, or the file is not a good one; the message says what is wrong.
    """
    if not isinstance(name, (str, PathLike)):
        raise TypeError(f"name: expected the name of a shipped optimizer or the path of a file, "
                        f"got {type(name).__name__}")
    arrays, card = _read(name)
    kind, arguments, like = _parse(card)
    params = build(like, (arrays[path] for path in paths(like)))
    model: Model = kind(**arguments, params=params, **settings)
    model.card = card
    return model


def find(name: str, dim: int) -> str | None:
    """The name of the shipped proposer for functions of ``dim`` dimensions: "lstm-oi", 2 -> "lstm-oi-2".

    Where none has exactly ``dim`` dimensions, it is the smallest larger one, because a function of few dimensions is
    one of more dimensions that ignores the others. Where none is large enough, it is the network of this kind for any
    number, up to `MOST_TRAINED`, and then None. Raises ValueError when there is no such name.
    """
    parts = [shipped.rpartition("-") for shipped in names()]
    dims = sorted(int(d) for stem, _, d in parts if stem == str(name) and d.isdecimal())
    enough = [d for d in dims if d >= dim]
    if enough:
        return f"{name}-{enough[0]}"
    if dims:
        any_number = ANY.get(str(name))
        return any_number if any_number in names() and dim <= MOST_TRAINED else None
    any_number = {shipped for shipped in names() if shipped.startswith(tuple(ANY.values()))}
    shipped = ", ".join(sorted({stem for stem, _, d in parts if d.isdecimal()} | any_number)) or "(none)"
    raise ValueError(f"model: expected a Proposer, the path of a file or one of {shipped}; got {str(name)!r}")


def is_file(name: protocols.Path) -> bool:
    """Whether `load` would find a file under this name."""
    return str(name) in names() or Path(name).is_file()


def save(model: Model, path: protocols.Path, card: Card | None = None) -> None:
    """Write an optimizer's weights, as float32, and its card to ``path``, whole or not at all.

    ``card`` adds to what the model says of itself; by default it is the card that the model carries. Raises TypeError
    for what has no weights, an `Adjusted` for example, and ValueError for weights that are not finite in float32.
    """
    if not hasattr(model, "params") or not hasattr(model, "config"):
        raise TypeError(f"model: expected an optimizer with weights, got {type(model).__name__}")
    card = dict(card or model.card or {})
    card["model"] = model.config
    card.setdefault("name", Path(path).stem)
    files.write(path, _to_arrays(model.params), card)


def _read(name: protocols.Path) -> tuple[dict[str, Array], Card]:
    """The arrays and the card of a shipped optimizer or of a file."""
    if str(name) in names():
        shipped = FOLDER.joinpath(f"{name}.npz")
        return files.read(io.BytesIO(shipped.read_bytes()), _expect, str(shipped))
    if not Path(name).is_file():
        raise ValueError(f"name: expected the path of a file or one of {', '.join(names()) or '(none)'}; "
                         f"got {str(name)!r}")
    return files.read(name, _expect)


def _to_arrays(params: Any) -> dict[str, Array]:
    with np.errstate(over="ignore"):  # files.write refuses what this makes infinite
        return {path: np.ascontiguousarray(a, np.float32) for path, a in zip(paths(params), leaves(params))}


# A card's "model" -> the class, its arguments, and weights of the right shapes; ValueError when it is none.


def _coordinatewise(config: Card) -> tuple[Any, dict[str, Any], Any]:
    kind = CoordinatewiseRNN if config.get("model") == "coordinatewise-rnn" else CoordinatewiseLSTM
    hidden = whole_numbers("hidden", config.get("hidden"), most=LARGEST_LAYER, most_count=MOST_LAYERS)
    if "preprocess" not in config:
        raise ValueError("its card does not say what preprocess is")
    preprocess: Any = config["preprocess"]
    scale: Any = config.get("output_scale")
    if preprocess is not None and (type(preprocess) not in (int, float) or not 0 < preprocess < 80):
        raise ValueError(f"preprocess: expected null or a number between 0 and 80, got {reprlib.repr(preprocess)}")
    if type(scale) not in (int, float) or not 0 < abs(scale) <= sys.float_info.max:
        raise ValueError(f"output_scale: expected a finite number other than 0, got {reprlib.repr(scale)}")
    arguments = {"hidden": hidden, "preprocess": preprocess, "output_scale": scale}
    return kind, arguments, kind.shapes(hidden, preprocess)


def _proposer(config: Card) -> tuple[Any, dict[str, Any], Any]:
    arguments: dict[str, Any] = {}
    for name, known in (("cell", CELLS), ("output", OUTPUTS)):
        arguments[name] = choice(name, config.get(name), known)
    arguments["dim"] = checked_dim(config.get("dim"), arguments["cell"])
    arguments["hidden"] = whole_number("hidden", config.get("hidden"), most=LARGEST_LAYER)
    arguments["memory"] = checked_memory(arguments["cell"], config.get("memory"))
    return Proposer, arguments, Proposer.shapes(**arguments)


def _partitioned(config: Card) -> tuple[Any, dict[str, Any], Any]:
    parts, rule = config.get("parts"), config.get("rule")
    if not isinstance(rule, list) or not isinstance(parts, dict) or not all(type(c) is dict for c in parts.values()):
        raise ValueError("its card does not say what its parts and their rule are")
    arguments = {"rule": checked_rule(list(parts), rule)}
    read = {name: _coordinatewise(parts[name]) for name in sorted(parts)}

    def make(rule: dict[str, str], params: Any, **settings: Any) -> PartitionedLSTM:
        return PartitionedLSTM({name: kind(**own, params=params[name], **settings)
                                for name, (kind, own, _) in read.items()}, rule)

    return make, arguments, {name: like for name, (_, _, like) in read.items()}


def _sharing(config: Card) -> tuple[Any, dict[str, Any], Any]:
    _, arguments, _ = _coordinatewise(config)
    arguments["share"] = share = choice("share", config.get("share"), SHARED)
    hidden = arguments["hidden"]
    arguments["averaged"] = whole_number("averaged", config.get("averaged"), least=0, most=min(hidden, default=0))
    arguments["window"] = whole_number("window", config.get("window"), least=HEADS, most=LARGEST_WINDOW)
    return SharingLSTM, arguments, SharingLSTM.shapes(hidden, arguments["preprocess"], share)


def _moments(config: Card) -> tuple[Any, dict[str, Any], Any]:
    arguments = {"hidden": whole_number("hidden", config.get("hidden"), most=LARGEST_LAYER)}
    return MomentsMLP, arguments, MomentsMLP.shapes(**arguments)


KINDS = {"coordinatewise-lstm": _coordinatewise, "coordinatewise-rnn": _coordinatewise,
         "moments-mlp": _moments, "partitioned-lstm": _partitioned, "proposer": _proposer, "sharing-lstm": _sharing}


def _parse(card: Card) -> tuple[Any, dict[str, Any], Any]:
    config = card.get("model")
    kind = config.get("model") if isinstance(config, dict) else None
    if not isinstance(config, dict) or not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"its card does not describe one of {', '.join(KINDS)}")
    return KINDS[kind](config)


def _expect(card: Card) -> files.Expected:
    _, _, like = _parse(card)
    return {path: (a.shape, np.float32) for path, a in zip(paths(like), leaves(like))}
