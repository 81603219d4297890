"""What comparisons of both kinds share: the learned optimizer's name, the stream of seeds, confidence intervals."""

import numpy as np

# Streams of random numbers: what is tuned on is not what is compared on.
TUNING, COMPARISON = 11, 12
LEARNED = "learned"
Z95 = 1.96


def interval(values):
    """Mean and half width of its 95 % interval, over the last axis."""
    count = values.shape[-1]
    with np.errstate(invalid="ignore", over="ignore"):
        spread = values.std(axis=-1, ddof=1) if count > 1 else np.full(values.shape[:-1], np.nan)
        return values.mean(axis=-1), Z95 * spread / np.sqrt(count)
