"""Numba twins of hot operations: the names, signatures and results of their NumPy originals.

Importing anything here needs numba, so only ``l2l_ref.backends`` does, when it is asked to.
"""
