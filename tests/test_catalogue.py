"""Every operation of the catalogue is right, and every backward of the package is in the catalogue."""

import ast
import inspect

import numpy as np
import pytest
from conftest import ROOT, with_backward
from hypothesis import given, settings
from hypothesis import strategies as st

from l2l_ref import backends, catalogue
from l2l_ref.audit.check import audit, examples, in_float32
from l2l_ref.catalogue import OPERATIONS, TWINS
from l2l_ref.checking import gradcheck, trees

CASES = [pytest.param(op, case, id=f"{op.name}-{case}") for op in OPERATIONS for case in examples(op)]
SETTINGS = settings(max_examples=2, deadline=None)


def inputs_of(operation, case, seed):
    return examples(operation)[case](np.random.default_rng(seed))


@SETTINGS
@given(seed=st.integers(0, 10**6))
@pytest.mark.parametrize("operation, case", CASES)
def test_the_backward_is_the_derivative_of_the_forward(operation, case, seed):
    gradcheck(operation.forward, operation.backward, inputs_of(operation, case, seed), seed=seed).raise_if_failed()


def test_a_backward_pass_may_miss_linearity_by_its_rounding():
    """Saturated, its numbers nearly cancel: that is seen when they are rounded otherwise."""
    operation = next(op for op in OPERATIONS if op.name == "mlp_gradient")
    inputs = inputs_of(operation, "saturated", 8518)
    gradcheck(operation.forward, operation.backward, inputs, seed=8518).raise_if_failed()

    def offset(d_out, cache):
        gradients = list(operation.backward(d_out, cache))
        gradients[0] = gradients[0] + 1e-9 * np.abs(gradients[0]).max()
        return tuple(gradients)

    assert gradcheck(operation.forward, offset, inputs, seed=8518).verdict == "FAIL"


@SETTINGS
@given(seed=st.integers(0, 10**6))
@pytest.mark.parametrize("operation, case", [p for p in CASES if p.values[0].analytic])
def test_an_operation_called_analytic_passes_by_the_complex_step(operation, case, seed):
    inputs = inputs_of(operation, case, seed)
    report = gradcheck(operation.forward, operation.backward, inputs, seed=seed, method="complex")
    report.raise_if_failed()
    # At kinks and in saturation central differences cannot vouch for it.
    assert report.method == "complex" or case != "example", report.notes


@pytest.mark.parametrize("operation, case", CASES)
def test_float32_in_gives_float32_out_and_back(operation, case):
    inputs = in_float32(inputs_of(operation, case, 0))
    out, cache = operation.forward(*inputs)
    gradients = operation.backward(out, cache)  # the output serves as a cotangent of the right form
    for name, tree in (("out", out), ("gradient", gradients)):
        for path, leaf in trees.leaves(tree, name):
            assert not trees.is_floating(leaf) or np.asarray(leaf).dtype == np.float32, path
    gradcheck(operation.forward, operation.backward, inputs).raise_if_failed()


@pytest.mark.parametrize("operation, case", CASES)
def test_constants_have_no_gradient(operation, case):
    inputs = inputs_of(operation, case, 0)
    out, cache = operation.forward(*inputs)
    gradients = operation.backward(out, cache)
    gradients = gradients if len(inputs) > 1 else (gradients,)
    assert len(gradients) == len(inputs)
    for value, gradient in zip(inputs, gradients):
        inner = [leaf for _, leaf in trees.leaves(value)]
        if inner and not any(map(trees.is_floating, inner)):
            assert gradient is None


def backwards_in_the_source():
    """(module, name) of every function named ``*_backward``, read from the files, methods included."""
    for path in sorted((ROOT / "l2l_ref").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[1] in ("checking", "compiled"):  # the one checks, the other holds twins
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.endswith("_backward"):
                yield ".".join(parts), node.name


def test_every_backward_is_in_the_catalogue():
    known = {(op.backward.__module__, op.backward.__name__) for op in OPERATIONS}
    found = set(backwards_in_the_source())
    assert found, "no backward found: the test looks in the wrong place"
    assert found == known


def test_every_backward_of_a_twin_is_in_the_catalogue():
    if not TWINS:
        pytest.skip("numba does not work here")
    known = {(op.backward.__module__, op.backward.__name__) for op in TWINS}
    for part, (_, twin, *_) in backends.PARTS.items():
        module = backends.choose(part, "numba")
        for name in vars(module):
            if name.endswith("_backward") and not name.startswith("_"):
                assert (module.__name__, name) in known, f"{twin}: {name}"
    assert {"meta_gradient, compiled", "second_order_meta_gradient, compiled"} <= {op.name for op in TWINS}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("operation", TWINS, ids=lambda op: op.name)
def test_the_backward_of_a_twin_is_the_derivative_of_its_forward(operation, dtype):
    inputs = inputs_of(operation, "example", 0)
    inputs = inputs if dtype == np.float64 else in_float32(inputs)
    gradcheck(operation.forward, operation.backward, inputs, thorough=False).raise_if_failed()
    wrong = with_backward(operation, lambda d, cache: _negative(operation.backward(d, cache)))
    assert gradcheck(wrong.forward, wrong.backward, inputs, thorough=False).verdict == "FAIL"


def _negative(tree):
    return trees.rebuild(tree, iter([-leaf if trees.is_floating(leaf) else leaf for _, leaf in trees.leaves(tree)]))


def test_a_meta_gradient_without_second_derivatives_is_wrong():
    """What the term H_t mu_t of C6 is worth."""
    operation = catalogue.find("second_order_meta_gradient")

    def without(d_L, cache):
        gradients, loss_gradients, products, *others = cache
        return operation.backward(d_L, (gradients, loss_gradients, [np.zeros_like] * len(products), *others))

    assert gradcheck(operation.forward, without, inputs_of(operation, "example", 0)).verdict == "FAIL"


@pytest.mark.parametrize("operation", OPERATIONS + TWINS, ids=lambda op: op.name)
def test_an_entry_says_what_it_computes_and_where_it_is_from(operation):
    assert operation.name.strip() and operation.equation.strip() and operation.source.strip()
    assert operation.module == inspect.getmodule(operation.backward).__name__


def test_names_are_unique():
    names = [op.name for op in OPERATIONS + TWINS]
    assert len(names) == len(set(names))


def test_an_operation_is_found_by_its_name():
    assert all(catalogue.find(op.name) == op for op in OPERATIONS + TWINS)
    with pytest.raises(ValueError, match="name: expected an operation, one of sigmoid, .*, got 'no such'"):
        catalogue.find("no such")


def test_the_audit_reports_a_wrong_operation():
    right = OPERATIONS[0]
    wrong = with_backward(right, lambda d, cache: -right.backward(d, cache), name="wrong")
    results = {result.name: result for result in audit([right, wrong], seeds=(0,))}
    assert results[right.name].ok and results[right.name].max_error <= results[right.name].tolerance
    assert not results["wrong"].ok and results["wrong"].max_error > results["wrong"].tolerance
    assert results["wrong"].failures
    assert results["wrong"].cases == 1 + len(right.cases)
