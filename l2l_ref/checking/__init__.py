"""Checking hand-written gradients: NumPy only, knows nothing of the rest of the package."""

from .gradcheck import assert_gradients, gradcheck
from .report import GradientMismatch, Report

__all__ = ["GradientMismatch", "Report", "assert_gradients", "gradcheck"]
