"""Stands in for Hypothesis where it is not installed: tests of properties are skipped, and all others run.

Importing this file puts a module into ``sys.modules`` under each name that tests import.
"""

import sys
from types import ModuleType

import pytest


class Anything:
    """Whatever tests take from Hypothesis and do with it before they run: call it, subclass it, decorate with it."""

    def __init__(self, *arguments, **options):
        pass

    def __call__(self, *arguments, **options):
        return Anything()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything()

    def __or__(self, other):
        return Anything()


class Unchanged(Anything):
    """A decorator that leaves a test as it is."""

    def __call__(self, test):
        return test


class Module(ModuleType):
    __path__ = ()
    example = settings = Unchanged

    @staticmethod
    def given(*strategies, **named_strategies):
        return pytest.mark.skip(reason="needs hypothesis")

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything()


for name in ("", ".strategies", ".stateful", ".extra", ".extra.numpy"):
    sys.modules[f"hypothesis{name}"] = Module(f"hypothesis{name}")
