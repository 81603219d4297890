"""Benchmarks: ``python -m l2l_ref bench``, one file for each kind of workload."""
