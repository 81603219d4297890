"""The network in the search of one function: from a told value to the next point in the user's box.

The equations are X1 of learned/trajectory.py and X2 to X4 of learned/propose.py.

Twin: compiled/stepping.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..protocols import Array
    from .proposer import Proposer

SAME = 1e-9  # points of the cube that are nearer are taken for the same one


class Stepper:
    """A step at a time, between the user's box and what the network sees of it.

    Parameters
    ----------
    proposer : Proposer
        For functions of D dimensions.
    box : Box of `l2l_ref.search.box`
        The user's, of d <= D dimensions. The others are in the cube of the network alone.
    """

    def __init__(self, proposer: Proposer, box: Any) -> None:
        self._proposer, self._box = proposer, box
        self._row = np.zeros((1, proposer.dim + 2), np.float32)

    def start(self, symmetry: Any) -> None:
        """Go back to before the first step, and see the cube by this Symmetry from now on."""
        self._symmetry, self._state = symmetry, self._proposer.initial_state()

    def step(self, u: Array | None = None, y: float = 0.0) -> tuple[Array, Array]:
        """Take a step.

        Parameters
        ----------
        u : (D,) float64 array, optional
            A point of the user's cube, or None to feed nothing.
        y : float
            Its value, in the network's scale.

        Returns
        -------
        u, x : float64 arrays
            The next query (D,) in the user's cube, and the same as a point of the box.
        """
        row = self._row
        if u is None:
            row.fill(0)                                              # X1
        else:
            row[0, :-2], row[0, -2], row[0, -1] = self._symmetry.to_network(u), y, 1  # X1
        v, self._state = self._proposer.step(row, self._state)       # X2 to X4
        u = self._symmetry.from_network(v[0])
        return u, self._box.point(u[: self._box.dim])


def is_useless(rows: Array, count: int, u: Array, radius: float, median: float) -> bool:
    """Whether a query repeats a point, or lies near one of the worse half, of which it would learn nothing new.

    It is also written into row number ``count``, without a value: a call of its own would cost as much as the rest.

    Parameters
    ----------
    rows : (more than count, d + 1) array
        The points of the cube that were asked for or told, each followed by its value: infinity where there is none.
    u : (D,) array
        The query, of which only the first d coordinates count.
    radius : float
        How near at most, in the coordinate in which the points differ most.
    median : float
        Larger values are of the worse half.
    """
    d = rows.shape[1] - 1
    rows[count, :d], rows[count, d] = u[:d], np.inf
    near = rows_at(rows[:count], u[:d], max(radius, SAME))
    return bool((near[:, d] > median).any() or len(near) and len(rows_at(near, u[:d])))


def rows_at(rows: Array, point: Array, apart: float = SAME) -> Array:
    """Those of the rows (n, at least d) that begin with this point (d,), no coordinate of which may differ by more."""
    for j, coordinate in enumerate(point):  # hardly any row is left after the first
        rows = rows[np.abs(rows[:, j] - coordinate) <= apart]
    return rows


def distances(rows: Array, points: Array) -> Array:
    """How far the points (n, d) are from the nearest one of ``rows`` (as for `is_useless`), (n,)."""
    far, apart = np.zeros((2, len(points), len(rows)))
    for point, row in zip(points.T, rows.T, strict=False):  # a maximum over a short axis takes ten times as long
        np.subtract(point[:, None], row, out=apart)
        np.maximum(far, np.abs(apart, out=apart), out=far)
    nearest: Array = far.min(axis=1, initial=np.inf)
    return nearest
