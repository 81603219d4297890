"""Seeds of parts: every random number belongs to a seed and a key, whoever draws it and in whatever order."""

import numpy as np


def child(seed, *key):
    """The SeedSequence of one part of what ``seed``, an int or a SeedSequence, stands for.

    ``child(seed, 3, 1)`` is always the same, unlike ``seed.spawn``, which counts up in the caller's object.
    """
    if not isinstance(seed, np.random.SeedSequence):
        seed = np.random.SeedSequence(seed)
    return np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, *key))


def generators(seed, numbers, *key):
    """A random generator for each of these functions, given by their numbers: of the child ``(number, *key)``."""
    return [np.random.default_rng(child(seed, number, *key)) for number in numbers]
