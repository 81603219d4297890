"""Searching with a learned black-box optimizer: ask and tell, and minimize."""

from .minimize import minimize, minimize_many
from .optimizer import BlackBoxOptimizer, Trial

__all__ = ["BlackBoxOptimizer", "Trial", "minimize", "minimize_many"]
