"""The audit: what it runs, what it says, and its page."""

import html
import inspect
import json
import re
import sys
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import SLOW, with_backward

from l2l_ref.audit import page as audit_page
from l2l_ref.audit.check import KINDS, audit, checks, examples, in_float32, to_json
from l2l_ref.catalogue import OPERATIONS
from l2l_ref.checking import trees
from l2l_ref.cli import main

RIGHT = {op.name: op._replace(cases={}) for op in OPERATIONS}
RELU, TANH, LOG_AND_SIGN = RIGHT["relu"], RIGHT["tanh"], RIGHT["log_and_sign"]
WRONG = with_backward(RELU, lambda d_r, cache: -d_r, name="wrong <b>&")
VOID = {"meta", "path", "use"}  # elements without an end; those of SVG close themselves
EDGES = ("tiny", "huge", "tied", "saturated")
AT_THE_EDGES = [pytest.param(op, case, id=f"{op.name}-{case}") for op in OPERATIONS for case in EDGES
                if case in op.cases and op.module.startswith("l2l_ref.ops.")]
LINKS = {"href", "src", "srcset", "data", "action", "xlink:href"}


def a_report(verdict="PASS", error=1e-12, bound=1e-9):
    """What `gradcheck` returns, as far as the audit looks at it."""
    number = SimpleNamespace(verdict=verdict, error=error, bound=bound, kinks=(), count=1, unseen=0)
    return SimpleNamespace(verdict=verdict, entries=(number,), directions=(), problems=(), notes=("a note",),
                           checked_to=1e-8, worst=number, curve=lambda: (np.zeros(0), np.zeros(0)))


@pytest.fixture
def checker(monkeypatch):
    """A checker that finds nothing, in no time; records what it was asked."""
    asked = []

    def gradcheck(f, f_backward, inputs, **options):
        asked.append((f, inputs, options))
        return a_report()

    monkeypatch.setattr("l2l_ref.audit.check.gradcheck", gradcheck)
    return asked


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """``l2l-ref audit`` of a few operations: (exit code, stdout, stderr)."""
    monkeypatch.setattr("l2l_ref.catalogue.OPERATIONS", (RELU, WRONG))
    monkeypatch.setattr("l2l_ref.catalogue.TWINS", ())
    monkeypatch.setattr("l2l_ref.catalogue.find", RIGHT.get)
    monkeypatch.chdir(tmp_path)

    def run(*words):
        return main(["audit", *words]), *capsys.readouterr()

    return run


class Page(HTMLParser):
    """Ids, links and text of a page; every element must be closed in its order."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.elements, self.text, self.open = [], [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, name, attributes):
        self.elements.append(name)
        self.ids += [value for key, value in attributes if key == "id"]
        self.links += [value for key, value in attributes if key in LINKS]
        if name not in VOID:
            self.open.append(name)

    def handle_startendtag(self, name, attributes):
        self.handle_starttag(name, attributes)
        if name not in VOID:
            self.open.pop()

    def handle_endtag(self, name):
        if name not in VOID:
            assert self.open.pop() == name

    def handle_data(self, data):
        self.text.append(data)


def test_every_kind_is_asked_of_the_checker(checker):
    results = list(audit([RELU], seeds=(3,)))
    assert [(check.case, check.kind, check.seed) for check in results[0].checks] == [
        ("example", kind, 3) for kind in KINDS
    ]
    options = [(o["method"], o["thorough"], o["seed"]) for _, _, o in checker]
    assert options == [("central", True, 3), ("complex", True, 3), ("complex", False, 3), ("central", True, 3)]
    assert [inputs[0].dtype for _, inputs, _ in checker] == [np.float64] * 3 + [np.float32]


def test_what_is_not_analytic_is_spared_the_complex_step(checker):
    (result,) = audit([RELU._replace(analytic=False)], seeds=(0,))
    assert [check.kind for check in result.checks] == ["central", "adjoint", "float32"]
    assert {options["method"] for _, _, options in checker} == {"central"}
    assert ">-</td>" in audit_page.page([result], (0,))


def test_right_is_right_in_every_kind():
    (result,) = audit([LOG_AND_SIGN], seeds=(0,))
    assert result.ok and not result.failures and 0 < result.max_error <= result.tolerance
    assert all(check.worst is not None for check in result.checks)


def test_wrong_is_wrong_in_every_kind():
    (result,) = audit([WRONG], seeds=(0,))
    assert result.verdict == "FAIL" and result.max_error > result.tolerance
    assert len(result.failures) == len(KINDS)


def only_in_float32(tree, factor):
    """The tree with its float32 arrays multiplied by a factor, in float32."""
    def wrong(leaf):
        return trees.like(np.asarray(leaf) * np.float32(factor), leaf) if np.result_type(leaf) == np.float32 else leaf

    return trees.rebuild(tree, iter([wrong(v) if trees.is_floating(v) else v for _, v in trees.leaves(tree)]))


def float32_check(operation, case):
    """The check "float32", alone."""
    return next(check for check in checks(operation, case, 0) if check.kind == "float32")


@pytest.fixture
def float32_alone(monkeypatch):
    """Of the four kinds of check only "float32" is made."""
    from l2l_ref.audit import check

    def gradcheck(f, f_backward, inputs, **options):
        low = any(np.result_type(v) == np.float32 for _, v in trees.leaves(inputs) if trees.is_floating(v))
        return check_gradients(f, f_backward, inputs, **options) if low else a_report()

    check_gradients = check.gradcheck
    monkeypatch.setattr(check, "gradcheck", gradcheck)


def gradients_of(operation, inputs):
    """The gradients of the leaves for one random cotangent."""
    out, cache = operation.forward(*inputs)
    weights = np.random.default_rng(1)
    d_out = trees.rebuild(out, iter([
        trees.like(weights.standard_normal(np.shape(v)).astype(np.asarray(v).dtype), v) if trees.is_floating(v)
        else None for _, v in trees.leaves(out)
    ]))
    found = operation.backward(d_out, cache)
    return [np.asarray(v) for _, v in trees.leaves(found if len(inputs) > 1 else (found,)) if trees.is_floating(v)]


def shows(operation, case, factor, kinks):
    """Whether float32 can resolve it that a gradient is multiplied by a factor: at one entry at least.

    It cannot where the gradient is zero, or so small that the change is below 100 times the error that the rounding of
    float32 makes in the same array: the largest difference to the gradient of the same inputs in float64. It cannot on
    a kink, where any value between the two one-sided slopes is right, or where the gradient changes by a tenth of the
    mistake when the inputs change in their last place.
    """
    inputs = in_float32(examples(operation)[case](np.random.default_rng(0)))

    def changed(change):
        return trees.rebuild(inputs, iter([
            trees.like(change(np.asarray(v)), v) if trees.is_floating(v) else v for _, v in trees.leaves(inputs)
        ]))

    low, high = gradients_of(operation, inputs), gradients_of(operation, changed(lambda v: v.astype(np.float64)))
    beside = [gradients_of(operation, changed(lambda v, to=to: np.nextafter(v, v.dtype.type(to)).astype(np.float64)))
              for to in (-np.inf, 0.0, np.inf)]
    for k, at_kinks in enumerate(kinks):
        change = abs(factor - 1) * np.abs(high[k])
        jump = np.max([np.abs(g[k] - high[k]) for g in beside], axis=0)
        change[change < 10 * jump] = 0.0
        for index in at_kinks:
            change[index] = 0.0
        if (change > 100 * np.abs(low[k] - high[k]).max(initial=0.0)).any():
            return True
    return False


def test_what_float32_can_resolve():
    sigmoid = next(op for op in OPERATIONS if op.name == "sigmoid")
    assert all(shows(sigmoid, case, 1.01, [()]) for case in ("tiny", "tied", "saturated"))
    assert not shows(sigmoid, "huge", -1.0, [()])  # its gradient is 0 there


@pytest.mark.parametrize("operation, case", AT_THE_EDGES[:: 1 if SLOW else 3])
def test_a_gradient_that_is_wrong_in_float32_alone_fails_at_the_edges(operation, case, float32_alone):
    right = float32_check(operation, case)
    assert right.verdict == "PASS", right.report
    kinks = [entry.kinks for entry in right.report.entries]
    for factor in (1.01, 2.0, -1.0):
        wrong = with_backward(operation, lambda d, cache, k=factor: only_in_float32(operation.backward(d, cache), k))
        found = float32_check(wrong, case)
        assert found.verdict == "FAIL" or not shows(operation, case, factor, kinks), (factor, found.report)
        assert found.verdict != "FAIL" or found.error > found.bound


def test_the_float32_column_shows_the_error_of_float32():
    """That of s (1 - s) in float32, and not that of the same formula in float64."""
    sigmoid = next(op for op in OPERATIONS if op.name == "sigmoid")
    for case in ("example", "one entry"):
        found = float32_check(sigmoid, case)
        assert found.verdict == "PASS" and 1e-9 < found.error < 5e-7 and found.error < found.bound < 1e-5


def test_checked_to_is_narrow_beside_pass():
    """Whatever the size of the inputs, no bound of float32 is as wide as the gradient."""
    for name, case in (("sigmoid", "tiny"), ("tanh", "tiny"), ("linear", "tiny"), ("linear", "huge"),
                       ("lstm_cell", "tiny"), ("squared_error", "tiny"), ("squared_error", "huge")):
        operation = next(op for op in OPERATIONS if op.name == name)
        found = float32_check(operation, case)
        assert found.verdict == "PASS" and found.report.checked_to < 1e-4, (name, case, found.report)


def test_a_wrong_structure_has_no_finite_error():
    (result,) = audit([with_backward(RELU, lambda d, cache: d[:1])], seeds=(0,))
    assert result.verdict == "FAIL" and result.max_error == np.inf
    assert to_json([result])["operations"][0]["max_error"] is None
    Page(audit_page.page([result], (0,)))


def test_what_cannot_be_decided_is_not_right(checker, monkeypatch):
    monkeypatch.setattr("l2l_ref.audit.check.gradcheck", lambda *a, **k: a_report("INCONCLUSIVE"))
    (result,) = audit([RELU], seeds=(0,))
    assert not result.ok and result.verdict == "INCONCLUSIVE"
    said = to_json([result])
    assert not said["ok"] and said["operations"][0]["verdict"] == "INCONCLUSIVE"


def test_json_keeps_its_promises(run):
    code, out, err = run("--only", "relu", "--json")
    said = json.loads(out, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert code == 0 and out.count("\n") == 1 and said["ok"] is True and "relu" in err
    (operation,) = said["operations"]
    assert operation.keys() >= {"name", "module", "equation", "cases", "max_error", "tolerance", "ok"}
    assert (operation["name"], operation["module"], operation["cases"]) == ("relu", "l2l_ref.ops.activations", 1)
    assert {check["kind"] for check in operation["checks"]} == set(KINDS)


def test_a_wrong_operation_ends_with_1_and_its_text(run, tmp_path):
    code, out, err = run("--html", "a.html")
    assert code == 1 and "1 of 2 operations did not pass" in out and "wrong <b>&, example, central, seed 0:" in out
    table = out.splitlines()
    assert table[1].startswith("relu") and table[1].endswith("PASS") and table[2].endswith("FAIL")
    assert "page: a.html" in err
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "<b>" not in text and "wrong <b>&" in page.text
    assert text.count('class="failure"') == 2 * len(KINDS)  # two seeds
    assert run("--json")[0] == 1
    assert run("--only", "relu")[0] == 0


def test_a_page_without_matplotlib_is_said_before_the_audit(run, monkeypatch, tmp_path):
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr("l2l_ref.cli.audit.audit", lambda *arguments: pytest.fail("the audit was begun"))
    code, out, err = run("--html", "a.html")
    assert (code, out) == (2, "") and err.count("\n") == 1 and "pip install 'l2l-ref[plot]'" in err
    assert not list(tmp_path.iterdir())


def test_the_page_shows_every_operation_and_needs_nothing_else(checker):
    text = audit_page.page(list(audit(OPERATIONS, seeds=(0,))), (0,))
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert not {"script", "link", "img", "iframe", "object"} & set(page.elements)
    assert not re.search(r"https?:|@import|url\((?!#)", text)
    content = "".join(page.text)
    for op in OPERATIONS:
        assert op.name in page.text and op.source in content
        for function in (op.forward, op.backward):
            function = getattr(function, "func", function)
            assert html.escape(inspect.getsource(function).rstrip(), quote=False) in text
        for part in op.equation.split(r"\qquad"):
            assert f'aria-label="{html.escape(part.strip())}"' in text
        for case in op.cases:
            assert case in page.text
    assert "log_and_sign, p = 3.0" in page.text


def test_how_to_read_the_page_comes_first(checker):
    page = Page(audit_page.page(list(audit([RELU], seeds=(0,))), (0,)))
    order = [page.text.index(text) for text in ("How to read this page", "This audit", "All operations", "relu")]
    assert order == sorted(order)
    assert set(audit_page.READING) <= set(page.text)


def test_a_table_says_where_the_gradient_is_too_small_to_be_seen():
    sigmoid = next(op for op in OPERATIONS if op.name == "sigmoid")
    for case, said in (("huge", True), ("tied", False)):
        table = audit_page.page(list(audit([sigmoid._replace(example=sigmoid.cases[case], cases={})], (0,))), (0,))
        assert ("<small>unseen</small>" in table) is said


def test_curves_take_the_colours_of_the_page_and_ids_of_their_own():
    text = audit_page.page(list(audit([TANH, LOG_AND_SIGN], seeds=(0,))), (0,))
    page = Page(text)
    assert page.elements.count("figure") == 2
    assert len(page.ids) == len(set(page.ids)) and {link[1:] for link in page.links} <= set(page.ids)
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(page.ids)
    svg = text.partition("<figure>")[2]
    assert not set(audit_page.COLORS) & set(re.findall(r"#[0-9a-f]{6}", svg)) and "var(--accent)" in svg
    assert len(text) < 150_000


def test_a_source_that_cannot_be_read_is_said():
    assert audit_page._source(np.add) == ("add", "The source is not available.")


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda op: op.name)
def test_equations_can_be_drawn(operation):
    page = Page(audit_page.equation(operation.equation))
    assert page.elements.count("svg") == page.elements.count("path") == operation.equation.count(r"\qquad") + 1


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda op: op.name)
def test_every_operation_is_tried_at_its_edges(operation):
    assert any(case.startswith("one ") for case in operation.cases), "a batch of one"
    assert len(operation.cases) >= 3
