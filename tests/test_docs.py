"""The documentation is true: its links, formulas, tags, numbers, table and code.

``python tests/test_docs.py --write`` writes the tables that are made from code into the pages.
"""

import argparse
import ast
import contextlib
import html
import importlib
import inspect
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

import l2l_ref  # noqa: E402
from l2l_ref import cli  # noqa: E402
from l2l_ref.catalogue import OPERATIONS  # noqa: E402
from l2l_ref.learned import coordinatewise  # noqa: E402
from l2l_ref.learned.optimizer import CoordinatewiseLSTM  # noqa: E402
from l2l_ref.metatrain import presets  # noqa: E402
from l2l_ref.metatrain.gradient_based import Recipe, meta_train  # noqa: E402
from l2l_ref.optimizees import MLP, Quadratic  # noqa: E402
from l2l_ref.trees import flatten  # noqa: E402

DOCS, PACKAGE = ROOT / "docs", ROOT / "l2l_ref"
PAGES = sorted(DOCS.rglob("*.md"))

FENCE = re.compile(r"^ *```([\w{}-]*)\n(.*?)^ *```$", re.M | re.S)
TAG = r"[A-Z]\d\d?"
ROW = re.compile(rf"^\| ({TAG}) \| (.*?) \| \[.*?\]\(.*?\) \| \[.*?\]\(.*?\) \| (\[(.*?)\]\(.*)$", re.M)
LINE_OF_CODE = re.compile(r'(\]\(([\w/]+\.py)#L)\d+( "(\w+)"\))')  # the title is the name of the function
FORMULA = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$", re.S)


def prose(text):
    """A page without its code, fenced and inline."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))


def anchors(text):
    """The anchors that GitHub gives to the headings of a page."""
    return {slug(title) for title in re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.M)}


def slug(title):
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def markers(name):
    return f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n" + "".join(f"| {' | '.join(map(str, cells))} |\n" for cells in lines) + "\n"


def catalogue_table():
    rows = [
        [f"[{op.name}]({explanation_of(op)})", f"`{op.module.removeprefix('l2l_ref.')}`", f"${op.equation}$", op.source]
        for op in OPERATIONS
    ]
    return table(["operation", "module", "equation", "source"], rows)


def explanation_of(operation):
    """The link from explanation/ to the section that first names the backward, except in an introduction or a link."""
    for page in index_order():
        text = page.read_text("utf-8")
        for match in re.finditer(rf"(?<!\[)`{operation.backward.__name__}`", text):
            level, title = re.findall(r"^(#+) (.*)$", FENCE.sub("", text[: match.start()]), re.M)[-1]
            if page.parent.name == "explanation" and level != "#":
                return f"{page.name if page.stem != 'operations' else ''}#{slug(title)}"
    raise ValueError(f"{operation.name}: no page explains its backward")


def moves(recipe):
    recipe = Recipe(**recipe)
    return recipe.epochs * recipe.tasks * recipe.steps // recipe.unroll


def presets_table():
    def default(distribution, name):
        return inspect.signature(distribution).parameters[name].default

    rows = []
    for problem, by_name in presets.PRESETS.items():
        distribution = Quadratic if problem == "quadratic" else MLP
        for name in presets.NAMES:
            model, settings, recipe = (by_name[name][part] for part in ("model", "problem", "recipe"))
            full, drawn = Recipe(**recipe), distribution is Quadratic
            rows.append([
                problem, name,
                settings.get("distribution", default(distribution, "distribution")) if drawn else "-",
                "-" if problem == "art" else settings.get("theta0_scale", default(distribution, "theta0_scale")),
                f"{model.get('preprocess') or 'none'}", model.get("output_scale", 1.0),
                full.functions, full.tasks, full.epochs, f"{moves(recipe):,}",
                full.learning_rate, full.final_learning_rate,
            ])
    return table(
        ["problem", "preset", "W and y", "scale of theta0", "p", "output scale", "functions", "tasks", "epochs",
         "updates", "first rate", "last rate"],
        rows,
    )


def headers_and_comments():
    """(file, tags defined in its header, tags in its comments) for every module that has any."""
    for path in sorted(PACKAGE.rglob("*.py")):
        source = path.read_text("utf-8")
        header = ast.get_docstring(ast.parse(source), clean=False) or ""
        defined = set(re.findall(rf"^    ({TAG})  ", header, re.M))
        comments = " ".join(re.findall(r"#(.*)", source))
        used = set(re.findall(rf"\b({TAG})\b", comments))
        if defined or used:
            yield path.relative_to(PACKAGE).as_posix(), defined, used


def index_order():
    """The pages, in the order in which index.md lists them."""
    names = re.findall(r"\(([\w/-]+\.md)\)", (DOCS / "index.md").read_text("utf-8"))
    return [DOCS / name for name in dict.fromkeys(names)]


def derivation(tag):
    """Where a tag is derived: (page, anchor) of the formula that carries it, else of the first place that names it."""
    for wanted in (rf"\({tag}\)\$\$", rf"\b{tag}\b"):
        for page in index_order():
            text = page.read_text("utf-8")
            match = page.parent.name in ("explanation", "how-to") and re.search(wanted, text)
            if match:
                titles = re.findall(r"^#+ (.*)$", FENCE.sub("", text[: match.start()]), re.M)
                return page, slug(titles[-1])
    raise ValueError(f"{tag}: no page names it")


def tag_links(text):
    """notation.md with the links of the table of tags made anew: to the file and to the derivation."""
    home = {tag: file for file, tags, _ in headers_and_comments() for tag in tags}

    def row(match):
        tag, equation, rest = match[1], match[2], match[3]
        if tag not in home:
            return match[0]
        page, anchor = derivation(tag)
        return (f"| {tag} | {equation} | [{home[tag]}](../../l2l_ref/{home[tag]}) "
                f"| [{page.stem}](../{page.relative_to(DOCS).as_posix()}#{anchor}) | {rest}")

    return re.sub(ROW, row, text)


def code_lines(text):
    """README.md with the line numbers in its links to functions made anew."""

    def link(match):
        before, path, after, name = match.groups()
        tree = ast.parse((ROOT / path).read_text("utf-8"))
        (line,) = (node.lineno for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == name)
        return f"{before}{line}{after}"

    return LINE_OF_CODE.sub(link, text)


def options():
    """(command, argparse's description of one option) for every command."""
    for name in cli.COMMANDS:
        parser = argparse.ArgumentParser(prog=f"l2l-ref {name}", add_help=False)
        importlib.import_module(f"l2l_ref.cli.{name}").configure(parser)
        formatter = parser.formatter_class(parser.prog)
        for action in parser._actions:
            action.help = formatter._expand_help(action) if action.help else ""
            yield name, action


def option_row(action):
    """One row of the table of a command: how the option is written, and what it does."""
    value = action.metavar or ("" if action.choices or action.nargs == 0 else action.dest.upper())
    written = [f"`{name} {value}`" if value else f"`{name}`" for name in action.option_strings]
    title = getattr(action.container, "title", "")
    meaning = [f"{title.capitalize()}." if title.startswith("only for") else "",
               (action.help[:1].upper() + action.help[1:]).rstrip(".") + "."]
    if action.choices:
        meaning.append(f"One of {', '.join(f'`{choice}`' for choice in action.choices)}.")
    if isinstance(action, argparse._AppendAction):
        meaning.append("May be given several times.")
    if action.option_strings and action.required:
        meaning.append("Required.")
    if action.default not in (None, False, [], argparse.SUPPRESS) and "default" not in action.help:
        meaning.append(f"Default: `{action.default}`.")
    text = " ".join(filter(None, meaning))
    text = re.sub(r"^[a-z](?=[a-z])", lambda first: first[0].upper(), text)  # but not that of "x -> a number"
    return [", ".join(written) or f"`{value or action.dest}`", re.sub(r"([|<*])", r"\\\1", text)]


def commands_table():
    by_command = {name: [] for name in cli.COMMANDS}
    for name, action in options():
        by_command[name].append(option_row(action))
    text = ""
    for name, rows in by_command.items():
        about = inspect.cleandoc(importlib.import_module(f"l2l_ref.cli.{name}").__doc__).replace("``", "`")
        text += f"\n## l2l-ref {name}\n\n{about}\n{table(['option', 'meaning'], rows)}"
    return text


TABLES = [
    ("explanation/operations.md", "catalogue", catalogue_table),
    ("reference/presets.md", "presets", presets_table),
    ("reference/command-line.md", "commands", commands_table),
]

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
each_page_and_readme = pytest.mark.parametrize(
    "page", [ROOT / "README.md", *PAGES], ids=lambda page: str(page.relative_to(ROOT))
)


@each_page_and_readme
def test_links_resolve(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text("utf-8"))):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), f"{target}: no such file"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file.read_text("utf-8")), f"{target}: no such heading"


def test_the_lines_of_code_in_the_readme_are_current():
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(LINE_OF_CODE.findall(text)) >= 18 and text == code_lines(text), "run python tests/test_docs.py --write"


@each_page
def test_every_page_is_in_the_index(page):
    name = page.relative_to(DOCS).as_posix()
    assert name == "index.md" or f"({name})" in (DOCS / "index.md").read_text("utf-8")


def formulas(text):
    return [display or inline for display, inline in FORMULA.findall(prose(text))]


@each_page
def test_formulas_are_balanced(page):
    text = prose(page.read_text("utf-8"))
    assert text.count("$$") % 2 == 0
    for paragraph in text.split("\n\n"):
        assert paragraph.count("$$") % 2 == 0 and paragraph.count("$") % 2 == 0, paragraph
    for formula in formulas(text):
        for left, right in ("{}", "()", "[]"):
            assert formula.count(left) == formula.count(right), formula


@each_page
def test_formulas_are_written_for_every_markdown(page):
    """Nothing in a formula is Markdown to GitHub or refused by it; ``\\cr`` ends a line, ``x_i'`` has a prime."""
    text = prose(page.read_text("utf-8"))
    for formula in formulas(text):
        assert not re.search(r"\\[^a-zA-Z ]", formula), f"a backslash before a sign is taken away: {formula}"
        assert "|" not in formula, f"ends the cell of a table, write \\lvert or \\mid: {formula}"
        assert not re.search(r"<(?! )", formula), f"begins a tag, write \\lt or a space behind it: {formula}"
        assert "\\operatorname" not in formula, f"is refused by GitHub, write \\mathrm: {formula}"
    for match in FORMULA.finditer(text):
        if match[2]:
            before, after = text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]
            assert not before or before in "\n (", f"GitHub wants a space before it: {before}{match[0]}"
            assert not re.match(r"[\w$]", after), f"GitHub wants no letter or digit after it: {match[0]}{after}"
            assert match[2] == match[2].strip(), f"GitHub wants no space inside of the signs: {match[0]}"


@each_page
def test_plain_markdown_leaves_formulas_alone(page):
    """A renderer that knows no formulas hands each of them on as it is written: no emphasis, links, escapes, tags."""
    markdown = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table")
    text = page.read_text("utf-8")
    rendered = html.unescape(markdown.render(text))
    for match in FORMULA.finditer(prose(text)):
        assert match[0] in rendered, f"write it otherwise, as x_i' for x'_i: {match[0]}"


def test_katex_draws_every_formula():
    """Run by Node.js where the package katex is found (``NODE_PATH``)."""
    node = shutil.which("node")
    if not node or subprocess.run([node, "-e", "require('katex')"], capture_output=True).returncode:
        pytest.skip("needs node and its package katex")
    found = [(page.name, formula) for page in PAGES for formula in formulas(page.read_text("utf-8"))]
    script = """
        const katex = require("katex"), formulas = JSON.parse(require("fs").readFileSync(0))
        for (const [page, formula] of formulas)
            try { katex.renderToString(formula, {strict: "error"}) } catch (e) { console.log(page + ": " + e.message) }
    """
    run = subprocess.run([node, "-e", script], input=json.dumps(found), capture_output=True, text=True, check=True)
    assert len(found) > 500 and run.stdout == ""


def test_the_output_in_the_readme_is_what_its_block_prints(capsys):
    """But for errors and bounds, whose last digits are those of a machine."""
    text = (ROOT / "README.md").read_text("utf-8")
    (block, output), = re.findall(r"```python\n([^`]*)```\n\n```text\n(.*?)```", text, re.S)
    exec(compile(f"import numpy as np\nimport l2l_ref as l2l\n{block}", "README.md", "exec"), {})

    def without_errors(lines):
        return [re.sub(r"\(?(worst )?error.*", "", line).rstrip() for line in sorted(lines.splitlines())]

    assert without_errors(capsys.readouterr().out) == without_errors(output)


@each_page_and_readme
def test_python_blocks_run(page, tmp_path):
    """The blocks of a page run one after the other, in one namespace, in an empty folder."""
    blocks = [match for match in FENCE.finditer(page.read_text("utf-8")) if match[1] == "python"]
    names, skipped = {"__name__": "docs"}, []
    with contextlib.chdir(tmp_path):
        for match in blocks:
            line = match.string.count("\n", 0, match.start()) + 1
            code = compile("\n" * line + match[2], str(page), "exec")
            try:
                exec(code, names)
            except FileNotFoundError as missing:  # a data set that is not there
                skipped.append(f"line {line}: {missing}")
            except ModuleNotFoundError as missing:
                if missing.name.startswith("l2l_ref"):
                    raise
                skipped.append(f"line {line}: {missing}")
    if skipped:
        pytest.skip("; ".join(skipped))


def rows_of_tags():
    """(tag, its test) of every row of the table of tags."""
    return [(tag, test) for tag, _, _, test in ROW.findall((DOCS / "reference/notation.md").read_text("utf-8"))]


def test_every_tag_is_in_the_table():
    rows = [tag for tag, _ in rows_of_tags()]
    defined = [tag for _, tags, _ in headers_and_comments() for tag in tags]
    assert len(defined) > 100 and "W10" in defined
    assert len(set(defined)) == len(defined) and len(set(rows)) == len(rows), "a tag stands for one equation"
    assert set(rows) == set(defined), set(rows) ^ set(defined)


def test_the_links_of_the_tags_are_current():
    text = (DOCS / "reference/notation.md").read_text("utf-8")
    assert text == tag_links(text), "run python tests/test_docs.py --write"


PROMISED = re.findall(r"`(test_\w+\.py)::(test_\w+)`", (DOCS / "guarantees.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("file, name", PROMISED)
def test_the_test_that_holds_a_promise_exists(file, name):
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    assert name in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]


def test_every_promise_has_a_test():
    text = (DOCS / "guarantees.md").read_text(encoding="utf-8")
    rows = [row for row in text.split("## What is not promised")[0].splitlines() if row.startswith("| ")]
    promises = [row for row in rows if not row.startswith("| Promise")]
    assert len(promises) > 20 and all("::test_" in row for row in promises)


def test_the_test_of_a_tag_imports_the_file_that_defines_it():
    home = {tag: file for file, tags, _ in headers_and_comments() for tag in tags}
    in_catalogue = {op.module for op in OPERATIONS}
    for tag, test in rows_of_tags():
        module = "l2l_ref." + home[tag].removesuffix(".py").replace("/", ".")
        imported = set()
        for node in ast.walk(ast.parse((ROOT / "tests" / test).read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        assert (module in imported or module.rpartition(".")[0] in imported
                or test == "test_catalogue.py" and module in in_catalogue), f"{tag}: {test} does not import {module}"


def test_every_tag_in_a_comment_is_defined():
    known = {tag for tag, _ in rows_of_tags()}
    for file, _, used in headers_and_comments():
        assert used <= known, f"{file}: {used - known}"


@each_page
def test_named_functions_exist(page):
    defined = {
        node.name
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    text = page.read_text("utf-8")
    named = set(re.findall(r"`(\w+_backward)`", text)) - {"op_backward", "f_backward"}
    of_examples = set(re.findall(r"^def (\w+)", text, re.M))
    assert named <= defined | of_examples, named - defined - of_examples


def test_every_backward_is_on_a_page():
    text = "".join(page.read_text("utf-8") for page in PAGES)
    missing = [op.backward.__name__ for op in OPERATIONS if f"`{op.backward.__name__}`" not in text]
    assert not missing


def test_the_python_interface_is_documented():
    """Every public name has an entry with an example, and every name that a public module exports is on the page."""
    text = (DOCS / "reference/api.md").read_text("utf-8")
    entries = {name: entry for name, entry in re.findall(r"^### l2l_ref\.(\w+)$(.*?)(?=^##|\Z)", text, re.M | re.S)}
    assert set(entries) == set(l2l_ref.__all__) - {"__version__"}
    for name, entry in entries.items():
        value = getattr(l2l_ref, name)
        example = FENCE.search(entry)
        assert example[1] == "python" and name in example[2], f"{name}: no example"
        if inspect.ismodule(value):
            for exported in getattr(value, "__all__", ()):
                assert re.search(rf"(`|\.){exported}\b", text), f"l2l_ref.{name}.{exported}"
        else:
            assert f":: l2l_ref.{name}\n" in entry, f"{name}: no directive"


@pytest.mark.parametrize("page, name, table", TABLES, ids=[name for _, name, _ in TABLES])
def test_tables_are_current(page, name, table):
    begin, end = markers(name)
    assert (DOCS / page).read_text("utf-8").partition(begin)[2].partition(end)[0] == table(), (
        "run python tests/test_docs.py --write"
    )


def test_the_lstm_table_quotes_the_code():
    """The left column of "Line by line" is the code of lstm_cell_backward, whole and in its order."""
    source = (PACKAGE / "ops/lstm.py").read_text("utf-8")
    (function,) = (
        node for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and node.name == "lstm_cell_backward"
    )
    lines = source.splitlines()[function.lineno : function.end_lineno]
    code = [line.partition("#")[0].strip().rstrip(",") for line in lines if re.search(r"# L\d", line)]
    text = (DOCS / "explanation/lstm.md").read_text("utf-8").partition("## Line by line")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(.+?)` \|", text, re.M) == code


@pytest.mark.parametrize("inputs", [1, 2])
def test_parameters_are_counted_right(inputs):
    params = coordinatewise.init_params(np.random.default_rng(0), (20, 20), inputs)
    assert f"**{flatten(params).size:,}**" in (DOCS / "explanation/coordinatewise.md").read_text("utf-8")


def test_the_worked_example_is_right():
    """x_t, the gradient and u_t of the second window, in meta-gradient.md, by the closed form."""
    x = -0.5 + 1.5 * 0.98 ** np.arange(6)
    u = [2 * x[t + 1 :].sum() for t in range(5)]
    text = (DOCS / "explanation/meta-gradient.md").read_text("utf-8")
    for t in range(5):
        assert f"| {t} | {x[t]:.6f} | {2 * x[t]:.6f} | {u[t]:.6f} |" in text
    assert f"{np.dot(u, 2 * x[:5]):.6f}," in text and f"{np.sum(u):.6f}$$" in text


@pytest.mark.parametrize("inputs", [1, 2])
def test_the_memory_of_a_tile_is_right(inputs):
    pytest.importorskip("numba")
    from l2l_ref.compiled.coordinatewise import _buffer_size

    numbers = _buffer_size.py_func(20, 128, np.array([inputs, 20, 20]))
    text = (DOCS / "explanation/meta-gradient.md").read_text("utf-8")
    assert f"| {numbers:,} | {4 * numbers:,} bytes | {8 * numbers:,} bytes |" in text


def test_the_errors_of_tanh_are_as_small_as_stated():
    pytest.importorskip("numba")
    from l2l_ref.compiled import jit

    coefficients = re.search(r"^P0, .*?^ONE", Path(jit.__file__).read_text("utf-8"), re.M | re.S)[0]
    P, Q = np.array([float(v) for v in re.findall(r"\d\.\d+(?:e-\d+)?", coefficients)]).reshape(2, 5)
    assert np.array_equal(np.float32(P), np.float32([jit.P0, jit.P1, jit.P2, jit.P3, jit.P4]))

    def fit(x, P, Q):
        u = x * x
        p, q = P[4], Q[4]
        for k in (3, 2, 1, 0):
            p, q = p * u + P[k], q * u + Q[k]
        return x * p / q

    x = np.concatenate([np.geomspace(1e-8, 8.6, 20_001), np.linspace(1e-4, 8.6, 20_001)])
    assert np.abs(fit(x, P, Q) / np.tanh(x) - 1).max() < 1.4e-8

    x = x.astype(np.float32)
    exact = np.tanh(x.astype(np.float64))
    t = fit(np.minimum(x, np.float32(7.9)), np.float32(P), np.float32(Q))
    assert t.dtype == np.float32
    assert np.abs(t - exact).max() < 4e-7 and np.abs(t / exact - 1).max() < 4e-7

    half = np.float32(0.5)
    s = half - half * t  # sigmoid(-2x)
    assert np.abs(s - 1 / (1 + np.exp(2 * x.astype(np.float64)))).max() < 2e-7


def test_release_moves_phi_as_often_as_the_released_code():
    for problem, presets_of in presets.PRESETS.items():
        assert moves(presets_of["release"]["recipe"]) == 50_000, problem


def test_the_table_of_differences_is_right():
    """The last three columns of the first table in presets.md, for the rows that are settings."""
    text = (DOCS / "reference/presets.md").read_text("utf-8")
    text = text.partition("## The seven differences")[2].partition("\n## ")[0]
    rows = {}
    for line in re.findall(r"^\| (.*) \|$", text, re.M):
        first, *_, default, paper, release = line.split(" | ")
        rows[first] = dict(zip(presets.NAMES, (default, paper, release), strict=True))

    def row(start):
        (found,) = (row for first, row in rows.items() if first.startswith(start))
        return found

    for name in presets.NAMES:
        settings = {problem: presets.PRESETS[problem][name] for problem in presets.PRESETS}
        assert row("entries of $W$")[name] == settings["quadratic"]["problem"]["distribution"]
        for problem in "digits", "mnist":
            assert float(row("output scale")[name]) == settings[problem]["model"]["output_scale"]
            assert float(row("constant $p$")[name]) == settings[problem]["model"]["preprocess"]
        for chosen in settings.values():
            first_point_too = chosen["recipe"].get("boundary_term", False)
            assert row("loss of a window")[name] == ("21" if first_point_too else "20")
        rates = {settings[problem]["recipe"][rate] for problem in settings
                 for rate in ("learning_rate", "final_learning_rate")}
        assert (rates == {0.001}) == (row("learning rate")[name] == "0.001")


def write():
    for page, name, table in TABLES:
        path = DOCS / page
        text = path.read_text("utf-8")
        begin, end = markers(name)
        if begin not in text or end not in text:
            sys.exit(f"{path}: the two markers of the table {name!r} are not there")
        before, _, rest = text.partition(begin)
        path.write_text(before + begin + table() + end + rest.partition(end)[2], "utf-8")
    path = DOCS / "reference/notation.md"
    path.write_text(tag_links(path.read_text("utf-8")), "utf-8")
    path = ROOT / "README.md"
    path.write_text(code_lines(path.read_text("utf-8")), "utf-8")


def test_the_checkpoint_is_described_as_it_is(tmp_path):
    path, text = tmp_path / "run.ckpt", (DOCS / "reference/files.md").read_text("utf-8")
    meta_train(CoordinatewiseLSTM(hidden=(1,), backend="numpy"), Quadratic(1), steps=1, unroll=1, checkpoint=path,
               epochs=1, tasks=1, functions=1, validation_functions=1)
    with np.load(path) as stored:
        card = json.loads(bytes(stored["card"]))
        names = {*stored.files, *card, *card["checkpoint"]} - {"card", "format", "sha256"}
    section = text[text.index("## Checkpoints") : text.index("## Weights for PyTorch")]
    assert {name for name in names if f"`{name}`" not in section} == set()


def test_no_placeholder_is_left():
    for page in PAGES:
        left = re.findall(r"<!-- (.*?) -->", page.read_text("utf-8"))
        assert all(re.fullmatch(r"\w+: (begin|end)", marker) for marker in left), f"{page.name}: {left}"


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python tests/test_docs.py --write")
    write()
