"""Comparisons of learned optimizers with baselines and third-party optimizers: ``python -m l2l_ref compare``."""
