"""The network in a search of one function: from a value that was told to the next point in the user's box.

Twin: compiled/stepping.py.
"""

import numpy as np


class Stepper:
    """X1 of learned/trajectory.py and X2 to X4 of learned/propose.py, a step at a time, between the user's box and what the network sees of it.

    Parameters
    ----------
    proposer : Proposer
        For D dimensions.
    box : Box of `l2l_ref.search.box`
        Of the first d of them.
    """

    def __init__(self, proposer, box):
        self._proposer, self._box = proposer, box
        self._row = np.zeros((1, proposer.dim + 2), np.float32)

    def start(self, symmetry):
        """To before the first step, seeing the cube by this Symmetry."""
        self._symmetry, self._state = symmetry, self._proposer.initial_state()

    def step(self, u=None, y=0.0):
        """Feed y, in the network's scale, as the value of u (D,) float64 in the user's cube; or nothing.

        Returns
        -------
        u, x : float64 arrays (D,) and (d,)
            The next query in the user's cube, and the point of the box that it is.
        """
        row = self._row
        if u is None:
            row.fill(0)                                              # X1
        else:
            row[0, :-2], row[0, -2], row[0, -1] = self._symmetry.to_network(u), y, 1  # X1
        v, self._state = self._proposer.step(row, self._state)    # X2 to X4
        u = self._symmetry.from_network(v[0])
        return u, self._box.point(u[: self._box.dim])
