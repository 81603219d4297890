"""Numba twins of hot functions. A twin has the name, the signature and, to rounding, the results of its NumPy original.

A twin imports constants of its original, but none of its functions. Importing a module of this folder needs numba, so
only ``l2l_ref.backends`` does that, and only when a twin is wanted.
"""
