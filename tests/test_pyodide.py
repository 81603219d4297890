"""The export to Python's standard library runs in a browser's Python: Pyodide, here in Node."""

import shutil
import subprocess

import pytest

import l2l_ref as l2l

NODE = shutil.which("node")
SCRIPT = r"""
globalThis.fetch = () => { throw new Error("a request"); };
const { readFileSync } = require("fs");
require("pyodide").loadPyodide().then((pyodide) => {
  for (const path of process.argv.slice(1)) {
    const names = pyodide.toPy({ __name__: "optimizer" });
    pyodide.runPython(readFileSync(path, "utf8"), { globals: names });
    console.log(pyodide.runPython("test()", { globals: names }));
  }
});
"""


def test_exports_pass_their_self_test_in_pyodide(tmp_path):
    if not NODE or subprocess.run([NODE, "-e", "require.resolve('pyodide')"], capture_output=True).returncode:
        pytest.skip("needs node and its package pyodide, which NODE_PATH names")
    paths = [tmp_path / f"{name}.py" for name in ("quadratic-lstm", "general", "lstm-oi-2")]
    for path in paths:
        l2l.export(path.stem, "python", path)
    done = subprocess.run([NODE, "-e", SCRIPT, *map(str, paths)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    errors = [float(line) for line in done.stdout.split()]
    assert len(errors) == 3 and all(error <= 1e-12 for error in errors)
