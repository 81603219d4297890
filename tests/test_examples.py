"""The examples run, each as a user would run it, if the packages that they import are installed."""

import ast
import importlib.util
import os
import subprocess
import sys

import pytest
from conftest import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SHORTER = {"dnc_copy": ["2"]}  # a user's arguments that make it quick


def test_there_are_examples():
    assert len(EXAMPLES) >= 3


def missing(path):
    """What an example imports that is not installed."""
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    return [name for name in sorted({name.split(".")[0] for name in names})
            if not (path.parent / f"{name}.py").exists() and importlib.util.find_spec(name) is None]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_example(path, tmp_path):
    if missing(path):
        pytest.skip(f"needs {', '.join(missing(path))}")
    result = subprocess.run(
        [sys.executable, "-W", "error", str(path), *SHORTER.get(path.stem, [])],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout
