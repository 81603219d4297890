"""The learned black-box optimizer as an object: weights, settings, and steps of many functions at once."""


import numpy as np

from .. import backends
from ..checks import choice, whole_number, whole_numbers
from ..trees import arrays_of, build
from . import cells, propose
from .model import FLOATS, LARGEST_LAYER, LearnedModel

LARGEST_DIM = 1000
MEMORY = (16, 16, 2)


class Proposer(LearnedModel):
    """The recurrent proposer of Chen et al. 2017, on the unit cube.

    Parameters
    ----------
    dim : int
        d, of the functions that it searches.
    hidden : int
        Units of the cell. The paper does not print its number.
    output : {"sigmoid", "linear"}
        How a query is kept in the cube: what a linear output puts outside is moved to its edge.
    cell : {"lstm", "dnc"}
    memory : (int, int, int)
        Of a DNC: slots, numbers in a slot, read heads.
    rng : int, SeedSequence or Generator
        Draws the weights.
    params : ProposerParams, optional
        Weights to take in place of drawn ones.
    backend : {"auto", "numpy", "numba"}
        Of its steps. "auto" is NumPy; numba pays for tens of thousands of steps of few functions.
    """

    def __init__(self, dim, hidden=64, output="sigmoid", *, cell="lstm", memory=None, rng=0, params=None,
                 backend="auto"):
        for name, value, most in (("dim", dim, LARGEST_DIM), ("hidden", hidden, LARGEST_LAYER)):
            whole_number(name, value, most=most)
        for name, value, known in (("output", output, propose.OUTPUTS), ("cell", cell, cells.CELLS),
                                   ("backend", backend, backends.BACKENDS)):
            choice(name, value, known)
        self.memory = checked_memory(cell, memory)
        self.network = cells.cell_of(cell, self.memory)
        self.backend = backend
        self.dim, self.hidden, self.output, self.cell = int(dim), int(hidden), output, cell
        self.card = None
        like = propose.proposer_init(np.random.default_rng(rng), self.dim, self.hidden, self.network, output)
        self.params = like if params is None else params
        wanted, came = ([a.shape for a in arrays_of(tree)] for tree in (like, self.params))
        if wanted != came:
            raise ValueError(f"params: expected arrays of shapes {wanted}, got {came}")
        if not all(a.dtype in FLOATS for a in arrays_of(self.params)):
            raise ValueError("params: expected float32 or float64 arrays")

    def __repr__(self):
        memory = f", memory={self.memory}" if self.memory else ""
        return f"Proposer(dim={self.dim}, hidden={self.hidden}, output={self.output!r}, cell={self.cell!r}{memory})"

    @property
    def config(self):
        """The settings, in JSON's types."""
        config = {"model": "proposer", "cell": self.cell, "dim": self.dim, "hidden": self.hidden, "output": self.output}
        return config | ({"memory": list(self.memory)} if self.memory else {})

    def initial_state(self, functions=1, dtype=np.float32):
        """The state of so many functions before their first query."""
        return self.network.initial_state(functions, self.params_as(dtype).cell)

    def step(self, u, state):
        """X2 to X4 of learned/trajectory.py: u (B, d + 2), state -> x (B, d), state'.

        In the precision of u, float32 or float64. Raises ValueError for shapes that do not fit.
        """
        if state[0].dtype != u.dtype:
            state = build(state, (a.astype(u.dtype) for a in arrays_of(state)))
        module = backends.choose("propose", self.backend)
        propose_inference = module.propose_inference if self.cell == "lstm" else module.dnc_propose_inference
        return propose_inference(u, state, self.params_as(u.dtype), self.output)

    def stepper(self, box):
        """A `Stepper` of learned/stepping.py for a search of one function in this Box.

        On numba it reads the weights and does not call `step`.
        """
        return backends.choose("stepping", self.backend).Stepper(self, box)


def checked_memory(cell, memory):
    """(slots, numbers in a slot, read heads) of a DNC, None of another cell. Raises ValueError."""
    if cell != "dnc":
        if memory is not None:
            raise ValueError(f"memory: expected None for the cell {cell}, got {memory!r}")
        return None
    memory = MEMORY if memory is None else memory
    return whole_numbers("memory", memory, most=LARGEST_LAYER, count=3)
