"""The recurrent networks that learned models are made of, behind one interface."""

from functools import partial
from typing import NamedTuple

import numpy as np

from .. import backends
from ..ops import dnc, lstm


class Cell(NamedTuple):
    """A recurrent cell: the pair, how it starts, and how its weights are drawn."""

    name: str
    forward: object   # (u, state, params) -> state', cache; state' has an h
    backward: object  # (d_state', cache) -> d_u, d_state, d_params
    initial_state: object  # (rows, params) -> the state before the first step
    init: object      # (rng, inputs, hidden) -> params
    output_size: object   # hidden -> columns of h


def lstm_initial_state(rows, params):
    """The LSTMState of zeros."""
    zeros = np.zeros((rows, len(params.W_h)), params.W_h.dtype)
    return lstm.LSTMState(zeros, zeros.copy())


def lstm_init(rng, inputs, hidden):
    """LSTMParams whose inputs are few beside the H numbers of the step before, and are heard nevertheless."""
    return lstm.lstm_init(rng, inputs, hidden, input_scale=inputs**-0.5)


LSTM = Cell("lstm", lstm.lstm_cell, lstm.lstm_cell_backward, lstm_initial_state, lstm_init, lambda hidden: hidden)


def dnc_with(slots, word, heads):
    """The Cell of a differentiable neural computer with so many slots, numbers in a slot, and read heads."""

    def initial_state(rows, params):
        W_h = params.controller.W_h
        return dnc.dnc_initial_state(rows, len(W_h), slots, word, heads, W_h.dtype)

    return Cell("dnc", dnc.dnc_cell, dnc.dnc_cell_backward, initial_state, partial(dnc.dnc_init, word=word, heads=heads),
                lambda hidden: hidden + heads * word)


def with_backend(cell, backend, rows, threads=None):
    """The Cell with the pair that suits this many rows: the original or its compiled twin.

    A cache belongs to the pair that made it. ``threads`` is for the twins. ``backend`` and what is raised are as for
    `l2l_ref.backends.choose`.
    """
    forward, backward = backends.functions("lstm", backend, rows, ("lstm_cell", "lstm_cell_backward"), threads)
    if cell.name == "lstm":
        return cell._replace(forward=forward, backward=backward)
    access = backends.functions("heads", backend, rows, ("memory_access", "memory_access_backward"), threads)
    return cell._replace(forward=partial(cell.forward, pairs=dnc.Pairs(forward, backward, *access)))


CELLS = ("lstm", "dnc")


def cell_of(name, memory=None):
    """The Cell of this name; ``memory`` of a DNC is (slots, numbers in a slot, read heads)."""
    return LSTM if name == "lstm" else dnc_with(*memory)
