"""Checking hand-written gradients: NumPy only, knows nothing of the rest of the package."""

from .gradcheck import gradcheck
from .report import GradientMismatch, Report

__all__ = ["GradientMismatch", "Report", "gradcheck"]
