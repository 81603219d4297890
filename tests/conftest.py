"""Hypothesis profiles, and what several tests share."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("quick", max_examples=25, deadline=None)
settings.register_profile("ci", max_examples=100, deadline=None, derandomize=True)
settings.register_profile("long", max_examples=1500, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "quick"))

ROOT = Path(__file__).parent.parent


@pytest.fixture
def mnist_folder():
    """The folder of the real MNIST; the test is skipped where there is none."""
    named = os.environ.get("L2L_REF_DATA")
    for folder in [Path(named)] if named else [ROOT.parent / "shared" / "data"]:
        if (folder / "mnist").is_dir() or list(folder.glob("train-images*")):
            return folder
    pytest.skip("MNIST is not here: name its folder in L2L_REF_DATA")
