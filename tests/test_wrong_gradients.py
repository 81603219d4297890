"""The scripts of examples/wrong_gradients: the wrong gradient fails, the right one passes, and the page says so.

``python tests/test_wrong_gradients.py --write`` runs them and writes their code, their reports and the two tables into
docs/explanation/wrong-gradients.md. What was found in a library stays on the page as it is unless that version is
installed.
"""

import ast
import difflib
import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from test_docs import FENCE, markers, slug, table  # noqa: E402

PAGE = ROOT / "docs/explanation/wrong-gradients.md"
REPORTED = re.compile(r"^Reported as ([\w.-]+/[\w.-]+)#(\d+)", re.M)
SEEN = re.compile(r"^Seen in ([\w-]+) ([\d.]+\d)", re.M)

SCRIPTS = sorted((ROOT / "examples/wrong_gradients").glob("*.py"))
DOCSTRINGS = {path: ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "" for path in SCRIPTS}
MISTAKES = [path for path in SCRIPTS if REPORTED.search(DOCSTRINGS[path])]
LIBRARIES = [path for path in SCRIPTS if SEEN.search(DOCSTRINGS[path])]

each_mistake = pytest.mark.parametrize("path", MISTAKES, ids=lambda path: path.stem)
each_library = pytest.mark.parametrize("path", LIBRARIES, ids=lambda path: path.stem)


def output(path):
    """What a script prints, run as a user would run it. Warnings are errors, except in somebody else's library."""
    strict = [] if path in LIBRARIES else ["-W", "error"]
    places = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    result = subprocess.run(
        [sys.executable, *strict, str(path)], capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": os.pathsep.join(filter(None, places))},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def not_seen(path, printed):
    """The reason why a script cannot show the defect of a library here; "" if it can."""
    library, version = SEEN.search(DOCSTRINGS[path]).groups()
    if printed.endswith("is not installed"):
        return printed
    found = importlib.metadata.version(library)
    return "" if found == version else f"seen in {library} {version}, installed is {found}"


def verdicts(printed):
    """The two reports of a script, of which the first must be FAIL and the second PASS."""
    wrong, right = printed.split("\n\n")
    assert wrong.startswith("gradcheck FAIL: ") and right.startswith("gradcheck PASS: "), printed
    return wrong, right


def code_of(path):
    """The function of a script, and the difference between its wrong and its right backward pass, as Markdown."""
    source = path.read_text("utf-8")
    shown, pair = [], {}
    for node in ast.parse(source).body:
        code = ast.get_source_segment(source, node)
        if isinstance(node, ast.FunctionDef) and node.name in ("wrong", "right"):
            pair[node.name] = code
        elif isinstance(node, ast.FunctionDef):
            shown.append(code)
        elif isinstance(node, ast.Assign) and not pair:
            shown.append(code)
    kind = re.search(r'kind="(\w+)"', source)
    name = kind[1] if kind else "backward"
    before, after = (f"def {name}({pair[which].partition('(')[2]}".splitlines() for which in ("wrong", "right"))
    difference = list(difflib.unified_diff(before, after, lineterm="", n=99))[3:]
    function, change = "\n\n".join(shown), "\n".join(line.rstrip() for line in difference)
    return f"\n```python\n{function}\n```\n\n```diff\n{change}\n```\n"


def section(path, printed):
    """What stands on the page between the markers of a script."""
    if path in LIBRARIES:
        return f"\n```text\n{printed}\n```\n\n"
    wrong, right = verdicts(printed)
    where = f"Reported as {report_link(path)}; the script is {script_link(path)}."
    return f"\n{where}\n{code_of(path)}\n```text\n{wrong}\n\n{right.splitlines()[0]}\n```\n\n"


def between(text, name):
    begin, end = markers(name)
    assert text.count(begin) == 1 and text.count(end) == 1, f"{PAGE.name}: the markers of {name} are not there once"
    return text.partition(begin)[2].partition(end)[0]


def replaced(text, name, new):
    between(text, name)
    begin, end = markers(name)
    before, _, rest = text.partition(begin)
    return before + begin + new + end + rest.partition(end)[2]


def heading(text, path):
    """The heading under which a script stands, as a link."""
    above = text.partition(markers(path.stem)[0])[0]
    title = re.findall(r"^#+ (.*)$", FENCE.sub("", above), re.M)[-1]
    return f"[{title}](#{slug(title)})"


def report_link(path):
    repository, number = REPORTED.search(DOCSTRINGS[path]).groups()
    return f"[{repository}#{number}](https://github.com/{repository}/issues/{number})"


def script_link(path):
    return f"[{path.name}](../../examples/wrong_gradients/{path.name})"


def in_order(text, paths):
    return sorted(paths, key=lambda path: text.index(markers(path.stem)[0]))


def mistakes_table(text):
    """Each mistake with the first guess of its report or, where there is none, the verdict without its numbers."""
    rows = []
    for path in in_order(text, MISTAKES):
        report = between(text, path.stem)
        guess = re.search(r"^  (?:guess|perhaps): (.*)", report, re.M)
        verdict = re.search(r"^gradcheck FAIL: (.*?)(?: \(error.*)?$", report, re.M)
        says = re.sub(r"-?\d+\.\d{5,}", lambda number: f"{float(number[0]):.4g}", guess[1] if guess else verdict[1])
        rows.append([heading(text, path), says, report_link(path)])
    return table(["mistake", "what `gradcheck` says", "reported as"], rows)


def libraries_table(text):
    rows = [
        [" ".join(SEEN.search(DOCSTRINGS[path]).groups()), heading(text, path), script_link(path)]
        for path in in_order(text, LIBRARIES)
    ]
    return table(["seen in", "defect", "script"], rows)


def essence(printed):
    """A report without what depends on the machine: the order of the arrays, errors, bounds and last digits."""

    def short(number):
        return f"{float(number[0]):.5g}"

    lines = (re.sub(r"\(?(worst )?error.*|checked to \S+", "", line) for line in printed.splitlines())
    return sorted(re.sub(r"-?\d+\.\d{5,}(e[+-]\d+)?", short, line).rstrip() for line in lines)


def test_each_script_names_its_report_or_its_library():
    assert len(MISTAKES) >= 12 and set(MISTAKES) | set(LIBRARIES) == set(SCRIPTS)


@each_mistake
def test_the_wrong_gradient_fails_and_the_right_one_passes(path):
    printed = output(path)
    verdicts(printed)
    shown = between(PAGE.read_text("utf-8"), path.stem)
    write = "run python tests/test_wrong_gradients.py --write"
    assert code_of(path) in shown, write
    assert essence(shown) == essence(section(path, printed)), write


@each_library
def test_the_defect_of_a_library_is_seen(path):
    printed = output(path)
    reason = not_seen(path, printed)
    if reason:
        assert printed == reason or "\n" in printed
        pytest.skip(reason)
    assert printed.startswith("gradcheck FAIL: ")
    assert essence(between(PAGE.read_text("utf-8"), path.stem)) == essence(section(path, printed))


def test_the_tables_are_current():
    text = PAGE.read_text("utf-8")
    for name, made in (("mistakes", mistakes_table), ("libraries", libraries_table)):
        assert between(text, name) == made(text), "run python tests/test_wrong_gradients.py --write"


def write():
    text = PAGE.read_text("utf-8")
    for path in SCRIPTS:
        printed = output(path)
        reason = not_seen(path, printed) if path in LIBRARIES else ""
        if reason:
            print(f"{path.name} stays as it is on the page: {reason}")
        else:
            text = replaced(text, path.stem, section(path, printed))
    for name, made in (("mistakes", mistakes_table), ("libraries", libraries_table)):
        text = replaced(text, name, made(text))
    PAGE.write_text(text, "utf-8")


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python tests/test_wrong_gradients.py --write")
    write()
