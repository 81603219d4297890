"""Checks of hand-written gradients. This folder needs NumPy alone, and imports nothing of the rest of the package."""

from .gradcheck import assert_gradients, gradcheck
from .report import GradientMismatch, Report

__all__ = ["GradientMismatch", "Report", "assert_gradients", "gradcheck"]
