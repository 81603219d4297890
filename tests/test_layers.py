"""Imports point down, and importing the package stays light."""

import ast
import re
import subprocess
import sys

import pytest
from conftest import ROOT

from l2l_ref.backends import PARTS

PACKAGE = ROOT / "l2l_ref"

# A file imports from floors below its own, and from its own folder.
FLOOR = {
    "checking": 1, "ops": 1, "trees": 1, "files": 1, "checks": 0, "seeds": 0, "protocols": 0, "extras": 0,
    "executors": 1, "scipy_callback": 0, "plotting": 1, "backends": 1,
    "compiled": 2,
    "datasets": 2, "baselines": 2, "black_boxes": 2, "optimizees": 2, "learned": 2, "catalogue": 2,
    "sweep": 2,
    "metatrain": 3, "pretrained": 3, "search": 3, "guard": 3,
    "audit": 4, "bench": 4, "exporting": 4, "compare": 4, "integrations": 4,
    "cli": 5,
}
# Within a floor: the types of arguments below their checks, the writing of files below figures, data sets below what
# uses them, weights below what searches with them, the catalogue above what it lists, the black box whose value is that
# of a training above the network and the optimizer.
SAME_FLOOR = {
    ("checks", "protocols"), ("plotting", "files"),
    ("optimizees", "datasets"), ("black_boxes", "datasets"),
    ("black_boxes", "baselines"), ("black_boxes", "optimizees"),
    ("catalogue", "learned"), ("catalogue", "optimizees"),
    ("search", "pretrained"),
}
FILES = sorted(PACKAGE.rglob("*.py"))


def part(path):
    """The first name under the package: a folder, or a module's stem."""
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def imported(path):
    """Names of modules that a file imports, absolute."""
    package = ("l2l_ref", *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = ".".join((*base, *([node.module] if node.module else [])))
            yield from ([f"{stem}.{alias.name}" for alias in node.names] if stem == "l2l_ref" else [stem])


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path):
    here = part(path)
    if here in ("__init__", "__main__"):
        return
    assert here in FLOOR, f"{here} has no floor: give it one here"
    for name in imported(path):
        if not name.startswith("l2l_ref."):
            continue
        there = name.split(".")[1]
        if there in (here, "__version__"):
            continue
        assert there != "compiled", "backends.py alone knows the twins, and names them in a table"
        assert FLOOR[there] < FLOOR[here] or (here, there) in SAME_FLOOR, f"{path.name} imports {name}"


# What would write or read a user's file past files.py, and where it may stand.
PAST_FILES = re.compile(r"\bopen\(|\.savefig\(|np\.(load|savez?|savetxt|fromfile)\(|Path\([^()]*\)\.(read|write)_|"
                        r"json\.(load|dump)\(|\.tofile\(")
EXCEPTIONS = {
    "datasets/__init__.py": ["open(", "np.load("],       # the digits of the package
    "cli/__init__.py": ["open(", "open("],               # os.devnull
    "audit/page.py": [".savefig("], "plotting.py": [".savefig("],  # into memory
    "cli/gradcheck.py": ["np.savez(", "np.savez("],      # texts for the user
}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_alone_opens_files(path):
    if path != PACKAGE / "files.py":
        found = [match.group() for match in PAST_FILES.finditer(path.read_text("utf-8"))]
        assert found == EXCEPTIONS.get(path.relative_to(PACKAGE).as_posix(), [])


TWINS = [path for path in FILES
         if part(path) == "compiled" and path.stem not in ("__init__", "arguments", "jit", "threads")]


@pytest.mark.parametrize("twin", TWINS, ids=lambda p: p.name)
def test_a_twin_and_its_original_have_one_name_and_name_each_other(twin):
    original = PACKAGE / f"{PARTS[twin.stem].original.replace('.', '/')}.py"
    assert PARTS[twin.stem].twin == f"compiled.{twin.stem}" and original.name == twin.name
    for path, line in (original, f"Twin: compiled/{twin.name}"), (twin, f"Original: {part(original)}/{twin.name}"):
        assert line in ast.get_docstring(ast.parse(path.read_text("utf-8"))), f"{path}: the header lacks {line!r}"


def test_every_part_has_a_twin():
    assert {path.stem for path in TWINS} == set(PARTS)


@pytest.mark.parametrize("path", TWINS, ids=lambda p: p.name)
def test_twins_import_constants_but_no_functions_of_the_originals(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        assert not (isinstance(node, ast.Import) and any("l2l_ref" in alias.name for alias in node.names))
        if isinstance(node, ast.ImportFrom) and node.level > 1 and node.module != "checks":
            assert all(alias.name.isupper() for alias in node.names), ast.unparse(node)


@pytest.mark.parametrize("path", [p for p in FILES if part(p) in ("ops", "checking")], ids=lambda p: p.name)
def test_math_and_checker_import_numpy_alone(path):
    outside = {name.split(".")[0] for name in imported(path)} - {"l2l_ref", "numpy"}
    # A report can draw itself, when somebody asks for it and has matplotlib.
    assert outside <= sys.stdlib_module_names | ({"matplotlib"} if path.name == "report.py" else set())


@pytest.mark.parametrize("path", [p for p in FILES if part(p) == "checking"], ids=lambda p: p.name)
def test_the_checker_knows_nothing_of_the_rest(path):
    assert all(name.startswith("l2l_ref.checking") for name in imported(path) if name.startswith("l2l_ref"))


def test_numba_is_named_in_one_module():
    naming = {str(p.relative_to(PACKAGE)) for p in FILES if any(n.split(".")[0] == "numba" for n in imported(p))}
    assert naming == {"compiled/jit.py"}


# What somebody with NumPy alone can do; the blocked modules raise ImportError when anything asks for them.
NUMPY_ALONE = """
import sys
for name in ("scipy", "numba", "matplotlib", "llvmlite", "hypothesis", "pytest"):
    sys.modules[name] = None
import numpy as np
import l2l_ref as l2l

model = l2l.load("mnist-lstm")
theta = np.linspace(-1, 1, 100, dtype=np.float32)
state = model.init(theta)
before = float((theta**2).sum())
for _ in range(50):
    update, state = model.update(2 * theta, state)
    theta = theta + update
assert float((theta**2).sum()) < before
report = l2l.gradcheck(lambda x: (x**2, x), lambda d, x: 2 * d * x, (np.arange(3.0),))
assert report.ok, report
model, log = l2l.meta_train(l2l.CoordinatewiseLSTM(hidden=(2,)), l2l.optimizees.Quadratic(2), steps=4, unroll=2,
                            epochs=1, tasks=1, functions=2, validation_functions=2)
result = l2l.minimize(lambda x: (x**2).sum(), [(-1, 2)], 5, l2l.Proposer(1, 4))
assert result.success and result.nfev == 5
"""

LIGHT = """
import sys
import numpy
before = set(sys.modules)
import l2l_ref
model = l2l_ref.load("mnist-lstm")
state = model.init(numpy.zeros(3))
model.update(numpy.ones(3), state)
l2l_ref.gradcheck
new = {name.split(".")[0] for name in set(sys.modules) - before}
heavy = new - set(sys.stdlib_module_names) - {"l2l_ref", "numpy"}
assert not heavy, heavy
"""

AUDIT = """
import sys
from l2l_ref.cli import main
assert main(["audit", "--only", "relu", "--json"]) == 0
print(*(name for name in sys.modules if name.startswith("l2l_ref")), file=sys.stderr)
"""

TIMED = """
import time, numpy
start = time.perf_counter()
import l2l_ref
print(time.perf_counter() - start)
"""


def run(code):
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_numpy_alone_is_enough():
    run(NUMPY_ALONE)


def test_nothing_heavy_is_imported():
    run(LIGHT)


def test_an_audit_loads_what_it_checks_and_little_more():
    """relu, its chapter of the catalogue with what that needs, the checker and the command."""
    result = subprocess.run([sys.executable, "-c", AUDIT], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    loaded = result.stderr.splitlines()[-1].split()
    files = "ops", "ops.activations", "ops.linear", "ops.losses", "checks"
    audited = {f"l2l_ref.{name}" for name in files}
    assert audited <= set(loaded)
    assert len(set(loaded) - audited) <= 21, sorted(loaded)


def test_importing_takes_at_most_30_ms_more_than_numpy():
    fastest = min(float(run(TIMED)) for _ in range(3))
    assert fastest < 0.030, f"{1000 * fastest:.1f} ms"


def test_no_module_imports_itself_by_a_detour():
    """The imports at the top of the modules have no cycle; what functions import is not looked at."""
    modules = {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in FILES}

    def imports(name):
        path = modules[name]
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.ImportFrom):
                continue
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            stem = ".".join(part for part in (base, node.module) if part)
            for alias in node.names:
                module = f"{stem}.{alias.name}" if f"{stem}.{alias.name}" in modules else stem
                if module in modules and module != name:
                    yield module

    done, on_the_way = set(), []

    def visit(name):
        assert name not in on_the_way, f"a cycle: {' -> '.join([*on_the_way[on_the_way.index(name):], name])}"
        if name not in done:
            on_the_way.append(name)
            for module in imports(name):
                visit(module)
            done.add(on_the_way.pop())

    for name in modules:
        visit(name)
    assert done == set(modules)
