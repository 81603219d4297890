"""The recurrent cells that learned models are made of, behind one interface.

An LSTM, a vanilla RNN, a DNC, and an LSTM that the coordinates of a point share.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import backends
from ..ops import dnc, lstm, rnn
from . import shared_cell

if TYPE_CHECKING:
    from ..protocols import Array, Backend, RecurrentCell


class Cell(NamedTuple):
    """A recurrent cell as five functions: see `l2l_ref.protocols.RecurrentCell`."""

    name: str
    forward: Callable[..., tuple[Any, Any]]                      # (u, state, params) -> state', cache; state' has an h
    backward: Callable[[Any, Any], tuple[Array, Any, Any]]       # (d_state', cache) -> d_u, d_state, d_params
    initial_state: Callable[[int, Any], Any]                     # (rows, params) -> the state before the first step
    init: Callable[[np.random.Generator, int, int], Any]         # (rng, inputs, hidden) -> params
    output_size: Callable[[int], int]                            # hidden -> columns of h
    shared: bool = False                                         # by the coordinates of a point: h is (B, d, columns)


def lstm_initial_state(rows: int, params: lstm.LSTMParams) -> lstm.LSTMState:
    """The LSTMState of zeros."""
    zeros = np.zeros((rows, len(params.W_h)), params.W_h.dtype)
    return lstm.LSTMState(zeros, zeros.copy())


def lstm_init(rng: np.random.Generator, inputs: int, hidden: int) -> lstm.LSTMParams:
    """Draw LSTMParams, float64. The inputs have weights of standard deviation 1/sqrt(inputs).

    There are few inputs beside the H outputs of the step before; with the same weights they would be drowned out.
    """
    return lstm.lstm_init(rng, inputs, hidden, input_scale=inputs**-0.5)


def rnn_initial_state(rows: int, params: rnn.RNNParams) -> rnn.RNNState:
    """The RNNState of zeros."""
    return rnn.RNNState(np.zeros((rows, len(params.W_h)), params.W_h.dtype))


def units(hidden: int) -> int:
    """The columns of ``h`` of a cell that shows all of its units and nothing else."""
    return hidden


LSTM = Cell("lstm", lstm.lstm_cell, lstm.lstm_cell_backward, lstm_initial_state, lstm_init, units)
RNN = Cell("rnn", rnn.rnn_cell, rnn.rnn_cell_backward, rnn_initial_state, rnn.rnn_init, units)


def dnc_with(slots: int, word: int, heads: int) -> Cell:
    """The Cell of a differentiable neural computer (Graves et al. 2016).

    Parameters
    ----------
    slots, word, heads : int
        The memory slots, the numbers per slot, and the read heads.
    """
    return Cell("dnc", dnc.dnc_cell, dnc.dnc_cell_backward, partial(_dnc_initial_state, memory=(slots, word, heads)),
                partial(dnc.dnc_init, word=word, heads=heads), partial(_dnc_output_size, read=heads * word))


def _dnc_initial_state(rows: int, params: dnc.DNCParams, memory: tuple[int, int, int]) -> dnc.DNCState:
    W_h = params.controller.W_h
    return dnc.dnc_initial_state(rows, len(W_h), *memory, W_h.dtype)


def _dnc_output_size(hidden: int, read: int) -> int:
    return hidden + read


def with_backend(cell: RecurrentCell, backend: Backend, rows: int, threads: int | None = None) -> RecurrentCell:
    """The Cell with the pair that suits this many rows: the original or its compiled twin.

    Cells of other names stay as they are. A cache belongs to the pair that made it. ``threads`` is for the twins.
    ``backend`` and the errors raised are those of `l2l_ref.backends.choose`.
    """
    if not isinstance(cell, Cell) or cell.name not in CELLS:
        return cell
    forward, backward = backends.functions("lstm", backend, rows, ("lstm_cell", "lstm_cell_backward"), threads)
    if cell.name == "shared":
        return cell._replace(forward=partial(cell.forward, pair=(forward, backward)))
    if cell.name == "lstm":
        return cell._replace(forward=forward, backward=backward)
    access = backends.functions("heads", backend, rows, ("memory_access", "memory_access_backward"), threads)
    return cell._replace(forward=partial(cell.forward, pairs=dnc.Pairs(forward, backward, *access)))


def shared_with(dim: int) -> Cell:
    """The Cell of one LSTM for all coordinates, for functions of this many dimensions."""
    return Cell("shared", shared_cell.shared_cell, shared_cell.shared_cell_backward,
                partial(shared_cell.shared_initial_state, dim=dim), shared_cell.shared_init, units, shared=True)


CELLS = ("lstm", "dnc", "shared")  # of proposers


def cell_of(name: str, memory: tuple[int, int, int] | None = None, dim: int = 1) -> Cell:
    """The Cell of this name for functions of ``dim`` dimensions. ``memory`` is that of a DNC, as for `dnc_with`."""
    if name == "shared":
        return shared_with(dim)
    return LSTM if name == "lstm" or memory is None else dnc_with(*memory)
