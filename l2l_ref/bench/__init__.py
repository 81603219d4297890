"""Benchmarks, one file for each kind of workload: ``python -m l2l_ref bench``."""
