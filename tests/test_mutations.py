"""One sign wrong in any backward of the catalogue: the checker notices.

A mutant is a backward in which one thing was changed: a + became a -, a - a +, a leading minus went,
one factor of a product was negated, or the result. A + of lists stays, since a - of lists would not even run. Where
a change of source cannot change a value it is named in HARMLESS with the reason.
"""

import ast
import inspect
import sys
import textwrap

import numpy as np
import pytest

from l2l_ref.catalogue import OPERATIONS
from l2l_ref.checking import gradcheck
from l2l_ref.evaluation.audit import examples

# (backward, source of the changed expression): why the value stays the same
HARMLESS = {}
# Backwards that put numbers into places and have no sign to change.
SIGNLESS = {"final_loss_backward", "best_loss_backward", "incumbent_backward"}

FLIPPED = {ast.Add: ast.Sub, ast.Sub: ast.Add}
SIGN = {ast.Add: "+", ast.Sub: "-"}


def about_positions(tree):
    """Nodes of indices and axes, ``x[t + 1]`` and ``axis=-1``: arithmetic on positions, not on values."""
    places = [node.slice for node in ast.walk(tree) if isinstance(node, ast.Subscript)]
    places += [node.value for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "axis"]
    return {id(inner) for place in places for inner in ast.walk(place)}


def of_numbers(node):
    """Whether a + stands between numbers: not between lists, where a - raises TypeError."""
    return not any(isinstance(side, (ast.List, ast.Tuple)) for side in ast.iter_child_nodes(node))


def mutations(tree):
    """Yield (description, node, change); ``change()`` mutates ``tree`` in place."""
    positions = about_positions(tree)
    for node in ast.walk(tree):
        if id(node) in positions:
            continue
        if isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in FLIPPED and of_numbers(node):
            other = FLIPPED[type(node.op)]
            yield f"{SIGN[type(node.op)]} -> {SIGN[other]}", node, lambda n=node, o=other: setattr(n, "op", o())
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            yield "minus removed", node, lambda n=node: setattr(n, "op", ast.UAdd())
        elif isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.MatMult, ast.Div)):
            yield "product negated", node, lambda n=node: setattr(n, "left", ast.UnaryOp(ast.USub(), n.left))
        elif isinstance(node, ast.Return) and ast.unparse(node.value).startswith("np."):
            yield "result negated", node, lambda n=node: setattr(n, "value", ast.UnaryOp(ast.USub(), n.value))


def backwards():
    """One operation for each distinct backward."""
    return {op.backward: op for op in reversed(OPERATIONS)}.values()


def source_of(backward):
    return ast.parse(textwrap.dedent(inspect.getsource(backward)))


def all_mutants():
    for operation in backwards():
        backward = operation.backward
        for number, (description, node, _) in enumerate(mutations(source_of(backward))):
            if (backward.__name__, ast.unparse(node)) not in HARMLESS:
                label = f"{backward.__name__}:line {node.lineno}: {description} in {ast.unparse(node)}"
                yield pytest.param(backward, number, id=label)


def mutant(backward, number):
    """The backward with its mutation ``number``, compiled in the namespace of its module."""
    tree = source_of(backward)
    list(mutations(tree))[number][2]()
    namespace = dict(vars(sys.modules[backward.__module__]))
    exec(compile(ast.fix_missing_locations(tree), f"<mutant of {backward.__name__}>", "exec"), namespace)
    return namespace[backward.__name__]


MUTANTS = list(all_mutants())


@pytest.mark.parametrize("backward, number", MUTANTS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_wrong_sign_is_caught(backward, number):
    wrong = mutant(backward, number)
    for operation in OPERATIONS:
        if operation.backward is not backward:
            continue
        for draw in reversed(examples(operation).values()):  # the edge cases are the smallest
            if not gradcheck(operation.forward, wrong, draw(np.random.default_rng(0))).ok:
                return
    pytest.fail("the mutant passes every example")


@pytest.mark.parametrize("operation", backwards(), ids=lambda op: op.backward.__name__)
def test_an_unchanged_copy_passes(operation):
    """Otherwise every mutant would fail, whatever was changed in it."""
    backward = operation.backward
    tree = source_of(backward)
    namespace = dict(vars(sys.modules[backward.__module__]))
    exec(compile(tree, "<copy>", "exec"), namespace)
    copy = namespace[backward.__name__]
    assert copy is not backward
    gradcheck(operation.forward, copy, operation.example(np.random.default_rng(0))).raise_if_failed()


def test_there_are_enough_mutants():
    assert len(MUTANTS) >= 20
    signless = {op.backward for op in backwards() if op.backward.__name__ in SIGNLESS}
    assert {parameters.values[0] for parameters in MUTANTS} == {op.backward for op in backwards()} - signless
