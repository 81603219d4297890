"""Points where f has no derivative because several entries tie there, as two that are both the largest.

Such a point is a corner at which smooth pieces of f meet. A difference along one entry may see none of them: at
a = b = c, min(max(a, b), c) stands still whichever entry moves, and the gradients around are (1, 0, 0), (0, 1, 0) and
(0, 0, 1). Each of them is a right claim, and so is a mean of them. Nothing else is, such as (1, 1, 0) or (0, 0, 0).
"""

from __future__ import annotations  # so that no annotation loads numpy.random

import itertools
from collections.abc import Sequence
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np

from . import trees
from .differences import scale_of
from .directions import Claims, check_direction, claimed_slope
from .pair import Arrays, Pair, typical_size
from .report import FAIL, TIES, Direction

TIE_GROUPS = 16  # groups of tied entries that are looked at
SAMPLES = 24     # moves of all inputs, which are all the orders of four entries
BATCHES = 8      # how often so many are looked at: a piece of f that fills a twentieth is missed once in 20,000 times
COORDINATES = 8  # up to this many entries are moved one by one, of more some random combinations
NUMBERS = 2 * 10**6  # more are not kept
CONSISTENT = 0.9  # the share of the samples that must lie on smooth pieces of f
JUMP = 16.0      # a difference of slopes so much larger than their change on the way to x is one at x itself
GROSS = 2.0**-10  # relative: a smaller mistake is not looked for

Place = tuple[int, tuple[int, ...]]  # (leaf, index): an entry


class Pieces(NamedTuple):
    """The slopes of the outputs along a direction, on the pieces of f around the inputs."""

    slopes: np.ndarray  # (samples, M)
    drift: np.ndarray   # (samples, M), how much they change on the way to the inputs


class Sides:
    """f on the way to the inputs from several sides, at two distances.

    Both are so small that a smooth piece of f is a straight line there. A slope that jumps at the inputs is told from
    one that merely changes fast, because it is the same at both.
    """

    def __init__(self, exact: Pair, moves: Sequence[Arrays]) -> None:
        self.exact, self.moves = exact, moves
        eps = exact.out_eps
        far, self.step = (2.0 ** np.round(np.log2(size)) for size in (32.0 * eps**0.4, np.sqrt(2.0 * eps)))
        self.distances = far, far / 4.0
        self._base: dict[int, np.ndarray] = {}

    def base(self, which: int) -> np.ndarray:
        """The outputs (samples, M), far or near."""
        if which not in self._base:
            self._base[which] = self._outputs(self.moves, which)
        return self._base[which]

    def _outputs(self, moves: Sequence[Arrays], which: int) -> np.ndarray:
        return np.array([self.exact.direction_line(move)(self.distances[which]) for move in moves])

    @cached_property
    def known(self) -> bool:
        """Whether f is continuous here, and defined around, so that its pieces can be told."""
        out = self.exact.base_outputs
        far, near = (np.abs(self.base(which) - out) for which in range(2))
        rest = 0.5 * far + 2.0**-8 * far.max(axis=0) + 64.0 * self.exact.out_eps * np.abs(out)
        return bool(np.mean((near <= rest).all(axis=1)) >= CONSISTENT)  # False for nan

    def slopes(self, direction: Arrays, which: int) -> np.ndarray:
        """The slopes (samples, M) along a direction, far or near."""
        moves = [_sum(move, direction, self.step / self.distances[which]) for move in self.moves]
        with np.errstate(invalid="ignore"):
            return np.asarray((self._outputs(moves, which) - self.base(which)) / self.step)

    def pieces(self, direction: Arrays) -> Pieces:
        """The slopes along a direction, extrapolated to the inputs."""
        far, near = (self.slopes(direction, which) for which in range(2))
        with np.errstate(invalid="ignore"):
            return Pieces((4.0 * near - far) / 3.0, np.abs(near - far))


class Around:
    """The slopes of f on the pieces around the inputs, found on the way to the inputs from random sides.

    A small piece may be missed, so there are up to `BATCHES` times `SAMPLES` sides, where that matters.
    """

    def __init__(self, exact: Pair, rng: np.random.Generator) -> None:
        self.exact, self.rng = exact, rng
        self.count = sum(np.size(exact.leaves[k]) for k in exact.tested)
        self._batches: list[Sides] = []
        self._last: Place | None = None
        self._found: dict[int, Pieces] = {}  # of this entry, by the number of the batch

    @cached_property
    def scales(self) -> Arrays:
        """On what scale f may change, for each entry of the leaves."""
        scale = np.vectorize(scale_of, otypes=[float])
        return [scale(v, typical_size(v)) if k in self.exact.tested else None for k, v in enumerate(self.exact.leaves)]

    @property
    def affordable(self) -> bool:
        """Whether there are few enough numbers, and several entries."""
        return self.count > 1 and (self.count + COORDINATES * self.exact.base_outputs.size) * SAMPLES <= NUMBERS

    def batch(self, number: int) -> Sides:
        """The sides with this number, which must be the next one if it is new."""
        if number == len(self._batches):
            self._batches.append(Sides(self.exact, self._moves()))
        return self._batches[number]

    def _moves(self) -> list[Arrays]:
        """Random directions through all inputs. Entries of equal size are moved in every order, or in many of them."""
        values = np.concatenate([np.ravel(np.asarray(self.exact.leaves[k], float)) for k in self.exact.tested])
        strata = np.tile((np.arange(SAMPLES)[:, None] + 0.5) / SAMPLES * 2.0 - 1.0, (1, values.size))
        levels = self.rng.permuted(strata, axis=0) + self.rng.uniform(-0.5, 0.5, strata.shape) / SAMPLES
        _, group, counts = np.unique(np.abs(values), return_inverse=True, return_counts=True)
        for number in np.flatnonzero((1 < counts) & (counts <= SAMPLES))[:TIE_GROUPS]:
            members = np.flatnonzero(group.ravel() == number)
            ranked = np.sort(levels[:, members], axis=1)
            for row, order in zip(ranked, _orders(members.size, self.rng)):
                row[:] = row[order]
            levels[:, members] = ranked * np.where(values[members] < 0.0, -1.0, 1.0)
        return [self._direction(row) for row in levels]

    def _direction(self, row: np.ndarray) -> Arrays:
        direction: Arrays = [None] * len(self.exact.leaves)
        start = 0
        for k in self.exact.tested:
            scale = self.scales[k]
            direction[k] = scale * row[start : start + scale.size].reshape(scale.shape)
            start += scale.size
        return direction

    def allows(
        self, place: Place, weights: np.ndarray, claim: float, limit: float, kink: bool = False, kinks: bool = False
    ) -> bool:
        """Whether f has several slopes here along an entry, and the claim is one of them, or lies between them.

        ``kink`` says whether the entry itself lies on one, ``kinks`` whether others do. Where the slopes cannot be told
        apart, any claim of an entry counts that ties with more than one other: `check_ties` then looks at their sum.
        """
        tied = equal_entries(self.exact, [place]) if kink else []
        if len(tied) > SAMPLES and is_tie(self.exact, tied, weights):
            return True  # there are too many orders to look at
        told = None
        if self.affordable:
            if place != self._last:  # the rows of a Jacobian ask for the same entry
                self._found, self._last = {}, place
            scale = float(self.scales[place[0]][place[1]])
            along = _along(self.exact, [place], [scale])
            told = self.between(along, weights, claim * scale, limit * scale, kink or kinks, self._found)
        return len(tied) > 2 and is_tie(self.exact, tied, weights) if told is None else told

    def between(
        self, direction: Arrays, weights: np.ndarray, claim: float, limit: float, corner: bool, known: dict[int, Pieces]
    ) -> bool | None:
        """Whether the claim lies between the slopes along a direction; None if these cannot be told apart.

        Each output may be on another piece, so the range of their weighted sum is the sum of their ranges. If a
        ``corner`` is known to be here, small pieces are looked for. What was ``known`` of this direction, by the number
        of the batch, is added to.
        """
        if not self.affordable:
            return None
        if not corner and not known:
            far = weights * self.batch(0).slopes(direction, 0)
            if np.ptp(far.sum(axis=1)) <= GROSS * np.abs(far).sum(axis=1).max():
                return False  # the same from all sides
        lows, highs, drift, several = np.full(weights.shape, np.inf), np.full(weights.shape, -np.inf), 0.0, False
        for number in range(BATCHES):
            batch = self.batch(number)
            if number not in known and batch.known:
                known[number] = batch.pieces(direction)
            found = known.get(number)
            kept = None if found is None else _consistent([found], weights)
            if found is None or kept is None or not kept.any():
                return None
            terms = weights * found.slopes[kept]
            lows, highs = np.minimum(lows, terms.min(axis=0)), np.maximum(highs, terms.max(axis=0))
            low, high = float(lows.sum()), float(highs.sum())
            drift = max(drift, float((found.drift[kept] @ np.abs(weights)).max()))
            several = high - low > JUMP * drift
            slack = GROSS * (high - low) + drift + max(limit, 0.0)
            if several and low - slack <= claim <= high + slack:
                return True
            if not several and not corner:
                break
        return False if several else None

    def together(self, kinks: Sequence[Place], weights: np.ndarray, claims: Claims) -> list[Direction]:
        """A Direction along which all pieces of f have the same slope, if the claims contradict it; else none.

        So the sum of two claims is known where two entries tie for a maximum.
        """
        exact = self.exact
        places = equal_entries(exact, kinks)
        if self.count <= COORDINATES:
            places = [(k, index) for k in exact.tested for index in np.ndindex(np.shape(exact.leaves[k]))]
        if len(places) < 2 or not self.affordable:
            return []
        scales = np.array([self.scales[k][index] for k, index in places])
        parts = np.eye(len(places))
        if len(places) > COORDINATES:
            parts = self.rng.standard_normal((COORDINATES, len(places)))
        along = [_along(exact, places, part * scales) for part in parts]
        # A tie is broken by any change of the inputs, so the claims say nothing of their spread.
        claims = {k: claim._replace(spread=np.zeros(claim.spread.shape)) for k, claim in claims.items()}
        claimed = [claimed_slope(direction, claims) for direction in along]
        claim, terms, drift = np.array([c.slope for c in claimed]), np.zeros((0, len(weights), len(parts))), 0.0
        for number in range(BATCHES):
            batch = self.batch(number)
            if not batch.known:
                return []
            found = [batch.pieces(direction) for direction in along]
            kept = _consistent(found, weights)
            if not kept.any():
                return []
            terms = np.concatenate([terms, np.stack([weights * piece.slopes[kept] for piece in found], axis=-1)])
            drift = max(drift, *(float((piece.drift[kept] @ np.abs(weights)).max()) for piece in found))
            mean = terms.sum(axis=1).mean(axis=0)
            varied = (terms - terms.mean(axis=0)).reshape(-1, len(parts))
            jump = float(np.abs(varied).max())
            if jump <= JUMP * drift:
                return []
            variance, axes = np.linalg.eigh(varied.T @ varied / len(terms))
            same = axes[:, variance <= (GROSS / 4.0 * jump) ** 2]
            off = same @ (same.T @ (claim - mean))
            size = float(np.abs([*claim, *mean]).max())
            bound = GROSS * size + JUMP * drift + max(c.rounding for c in claimed)
            if not off.size or np.abs(off).max() <= bound:
                return []
        move = parts.T @ off * scales
        largest = move[np.argmax(np.abs(move))]
        says, right = float(claim @ off) / largest, float(mean @ off) / largest
        names = _named(exact, places, move / largest)
        return [Direction(TIES, says, right, abs(says - right) / size, bound / size, FAIL, names)]


def _orders(count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """`SAMPLES` orders of entries: all of them if there are no more, or such that each entry gets into each place."""
    if count <= 4:
        orders = [np.array(order) for order in itertools.permutations(range(count))]
    else:
        orders = []
        while len(orders) < SAMPLES:
            order = rng.permutation(count)
            orders += [np.roll(one, shift) for one in (order, order[::-1]) for shift in range(count)]
    return list(itertools.islice(itertools.cycle(orders), SAMPLES))


def _consistent(found: Sequence[Pieces], weights: np.ndarray) -> np.ndarray:
    """Which samples lie on smooth pieces of f; none if these are too few to rely on."""
    size = np.abs(weights)
    with np.errstate(invalid="ignore"):
        largest = max(np.nanmax(np.abs(piece.slopes) @ size) for piece in found)
        kept = np.all([piece.drift @ size <= 2.0**-6 * largest for piece in found], axis=0)
    return kept if kept.mean() >= CONSISTENT else np.zeros(kept.shape, bool)


def _sum(a: Arrays, b: Arrays, factor: float) -> Arrays:
    """a + factor * b for directions; None stands for 0."""
    return [u if v is None else v * factor if u is None else u + factor * v for u, v in zip(a, b)]


def _along(exact: Pair, places: Sequence[Place], moves: Sequence[float] | np.ndarray) -> Arrays:
    """The direction that moves these entries by so much, and no other."""
    direction: Arrays = [None] * len(exact.leaves)
    for (k, index), move in zip(places, moves):
        if direction[k] is None:
            direction[k] = np.zeros(np.shape(exact.leaves[k]))
        direction[k][index] = move
    return direction


def _named(exact: Pair, places: Sequence[Place], moves: np.ndarray) -> str:
    """The names of the entries that are moved, at most four, and how far if it is not 1."""
    names = [trees.name(exact.path(k), index) + ("" if abs(abs(move) - 1.0) < 1e-3 else f" by {move:.3g}")
             for (k, index), move in zip(places, moves) if abs(move) > 1e-3]
    return ", ".join(names[:4]) + ", ..." * (len(names) > 4)


def check_ties(
    exact: Pair, kinks: Sequence[Place], weights: np.ndarray, claims: Claims, around: Around
) -> list[Direction]:
    """Move entries that tie together: there f has no kink, and the sum of their claims must be its slope.

    ``kinks`` are the entries (leaf, index) on a kink. Two of them tie if they are equal, or opposite, and the kink of
    one is gone as soon as the others are moved away, as in max(a, b) at a = b, or max(abs(a), abs(b)) at a = -b. That
    is not so for relu(a) + relu(b) at a = b = 0. They are moved away from 0. If f has a kink there, too, the sum
    must be between the slopes ``around`` the inputs.
    """
    groups: dict[float, list[Place]] = {}
    for k, index in kinks:
        groups.setdefault(abs(float(np.asarray(exact.leaves[k])[index])), []).append((k, index))
    checked = []
    for tied in [group for group in groups.values() if len(group) > 1][:TIE_GROUPS]:
        if not is_tie(exact, tied, weights):
            continue
        direction = _outwards(exact, tied)
        # A tie is broken by any change of the inputs, so the claims say nothing of their spread.
        claims = {k: claim._replace(spread=np.zeros(claim.spread.shape)) for k, claim in claims.items()}
        claimed = partial(claimed_slope, direction, claims)
        found = check_direction(exact, direction, weights, [claimed], what=TIES, kink=True)
        if found.verdict == FAIL and "kink" in found.note:
            claim = claimed_slope(direction, claims)
            if around.between(direction, weights, claim.slope, claim.rounding, True, {}):
                continue
        names = _named(exact, tied, np.ones(len(tied)))
        checked.append(found._replace(note="; ".join(filter(None, [names, found.note]))))
    return checked


def equal_entries(exact: Pair, places: Sequence[Place]) -> list[Place]:
    """These entries, and then all others of the same absolute values."""
    sizes = list({abs(float(np.asarray(exact.leaves[k])[index])) for k, index in places})
    others = [(k, tuple(int(i) for i in where)) for k in exact.tested
              for where in np.argwhere(np.isin(np.abs(np.asarray(exact.leaves[k])), sizes))]
    return list(dict.fromkeys([*places, *others]))


def _outwards(exact: Pair, entries: Sequence[Place]) -> Arrays:
    """The direction that moves these entries by 1, away from 0, and no other."""
    return _along(exact, entries, [-1.0 if np.asarray(exact.leaves[k])[index] < 0.0 else 1.0 for k, index in entries])


def is_tie(exact: Pair, tied: Sequence[Place], weights: np.ndarray) -> bool:
    """Whether the kink of the first entry is gone when the others are moved away from 0, or towards it."""
    first, others = _outwards(exact, tied[:1]), _outwards(exact, tied[1:])
    k, index = tied[0]
    scale = scale_of(float(np.asarray(exact.leaves[k])[index]))
    distance, step = scale * 2.0**-8, scale * 2.0**-14

    def bend(away: float) -> float:
        """|the second difference| along the first entry, with the others moved away."""
        values = exact.moved(others, away) if away else exact.leaves
        at = [exact.outputs(exact.at(tuple(trees.rebuild(exact.inputs, iter(values)))).moved(first, t))
              for t in (-step, 0.0, step)]
        return float(np.abs(weights) @ np.abs(at[0] - 2.0 * at[1] + at[2]))

    here = bend(0.0)
    return here > 0.0 and min(bend(distance), bend(-distance)) < 0.1 * here
