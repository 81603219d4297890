"""Child seeds: every random number is determined by a seed and a key, not by who draws it or in which order."""

from __future__ import annotations  # so that no annotation loads numpy.random

from collections.abc import Iterable

import numpy as np


def child(seed: int | np.random.SeedSequence, *key: int) -> np.random.SeedSequence:
    """The child of a seed that belongs to a key of whole numbers.

    ``child(seed, 3, 1)`` always returns the same SeedSequence, unlike ``seed.spawn``, which counts up in the caller's
    object.
    """
    if not isinstance(seed, np.random.SeedSequence):
        seed = np.random.SeedSequence(seed)
    return np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, *key))


def generators(seed: int | np.random.SeedSequence, numbers: Iterable[int], *key: int) -> list[np.random.Generator]:
    """One random generator for each of the numbers, made from the child ``(number, *key)`` of the seed."""
    return [np.random.default_rng(child(seed, number, *key)) for number in numbers]
