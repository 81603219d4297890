"""Comparisons of learned optimizers with hand-designed ones: ``python -m l2l_ref compare``."""
