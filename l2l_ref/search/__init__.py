"""Searching with a learned black-box optimizer: `BlackBoxOptimizer` to ask and tell, `minimize` for one call."""

from .minimize import minimize, minimize_many
from .optimizer import BlackBoxOptimizer, Trial
from .result import ManyResult, Result

__all__ = ["BlackBoxOptimizer", "ManyResult", "Result", "Trial", "minimize", "minimize_many"]
