"""Checks of every operation of the catalogue: ``python -m l2l_ref audit``."""
