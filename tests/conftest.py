"""Hypothesis profiles, and what several tests share."""

import os
from pathlib import Path

import pytest

from l2l_ref.catalogue import Operation

try:
    from hypothesis import settings
except ImportError:
    import without_hypothesis  # noqa: F401
else:
    settings.register_profile("quick", max_examples=25, deadline=None)
    settings.register_profile("ci", max_examples=100, deadline=None, derandomize=True)
    settings.register_profile("long", max_examples=1500, deadline=None)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "quick"))

ROOT = Path(__file__).parent.parent
SLOW = bool(os.environ.get("L2L_REF_SLOW"))  # tests of many minutes run whole, where otherwise they run on a sample


@pytest.fixture(scope="session")
def mnist_folder():
    """The folder of the real MNIST; the test is skipped where there is none.

    Of the session, so that it looks before a test takes the variable away.
    """
    named = os.environ.get("L2L_REF_DATA")
    if named and ((Path(named) / "mnist").is_dir() or list(Path(named).glob("train-images*"))):
        return Path(named)
    pytest.skip("MNIST is not here: name its folder in L2L_REF_DATA")


@pytest.fixture(scope="session")
def cifar_folder():
    """The folder of the real CIFAR-10; the test is skipped where there is none."""
    named = os.environ.get("L2L_REF_DATA")
    for subfolder in (".", "cifar10", "cifar-10-batches-bin"):
        if named and list((Path(named) / subfolder).glob("test_batch.bin*")):
            return Path(named)
    pytest.skip("CIFAR-10 is not here: name its folder in L2L_REF_DATA")


@pytest.fixture(scope="session")
def art_folder():
    """The folder of the real pictures and networks; the test is skipped where there is none."""
    named = os.environ.get("L2L_REF_DATA")
    if named and (Path(named) / "images").is_dir() and (Path(named) / "networks").is_dir():
        return Path(named)
    pytest.skip("pictures and networks are not here: name their folder in L2L_REF_DATA")


def run_command(capsys, *words):
    """Run ``l2l-ref`` with these words: (exit code, stdout, stderr)."""
    from l2l_ref.cli import main

    try:
        code = main([str(word) for word in words])
    except SystemExit as end:  # argparse's way
        code = end.code
    return code, *capsys.readouterr()


def with_backward(operation, backward, **changes):
    """The same Operation with another backward than the one that stands below its forward."""
    replaced = type("Replaced", (Operation,), {"backward": staticmethod(backward)})
    return replaced(*operation._replace(**changes))
