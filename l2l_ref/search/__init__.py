"""Searching with a learned black-box optimizer: `BlackBoxOptimizer` to ask and tell, `minimize` for one call."""

from .finish import History
from .minimize import minimize, minimize_many
from .optimizer import BlackBoxOptimizer, Trial
from .result import ManyResult, Result
from .space import Categorical, Float, Int

__all__ = ["BlackBoxOptimizer", "Categorical", "Float", "History", "Int", "ManyResult", "Result", "Trial", "minimize",
           "minimize_many"]
