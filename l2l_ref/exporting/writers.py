"""The four targets. Each fills the sections of its template with one `Description`.

A template is a file of sections, each below a line ``#: names`` or ``//: names``. `string.Template` fills the words
that begin with a dollar sign.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from importlib import resources
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..protocols import Array
    from .description import Description

SUFFIXES = {"numpy": ".py", "python": "_python.py", "c": ".h", "js": ".mjs"}
TARGETS = tuple(SUFFIXES)
WIDTH = 116
TABLE = "d, then the mean and the standard deviation of the first 1, 2, 4, .. values in training"
LICENCE = """
The code is under the MIT License. Copyright (c) 2026 the l2l_ref authors. Permission is hereby granted, free of
charge, to any person obtaining a copy of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to
do so, subject to the following conditions: The above copyright notice and this permission notice shall be included in
all copies or substantial portions of the Software. THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND,
EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE
AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE
SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE."""


def write(description: Description, target: str, file: str) -> str:
    """The text of the export to one of `TARGETS`; ``file`` is the name of the file, which its header mentions."""
    sections, comment = _sections(target), "/*" if target in ("c", "js") else '"""'
    names: dict[str, Any] = WRITERS[target](description)
    if description.kind == "search":
        names |= _search_names(description, target)
    lines, indent = names.pop("data"), "   " if comment == "/*" else ""
    file = _harmless(file)
    header = {"title": _harmless(description.title), "file": file, "steps": len(description.expected),
              "outputs": description.expected.shape[1],
              "use": Template(sections[f"use_{description.kind}"]).substitute(names, file=file).rstrip(),
              "card": _wrapped(description.card, indent), "licence": _wrapped([LICENCE], indent)}
    test = ["guard", *["gradients"] * (description.kind != "search"), f"test_{description.kind}", "test"]
    order = ["head", *(part for part in (*description.parts, *test) if part in sections)]
    if target == "c":
        order.insert(1, "data")  # C wants the weights before their use
    text = ""
    for part in order:
        text += "\n".join(["", *lines, ""]) if part == "data" else Template(sections[part]).substitute(names | header)
    tail = Template(sections["tail"]).substitute(names | header)
    return text + ("" if target == "c" else "\n" * (2 if target != "js" else 1) + "\n".join(lines) + "\n") + tail


def _sections(target: str) -> dict[str, str]:
    """The sections of a template by their names, of which one may have several."""
    text = resources.files(__package__).joinpath("templates", f"{target}.txt").read_text("utf-8")
    parts = re.split(r"^(?:#|//): ([\w -]+)\n", text, flags=re.MULTILINE)
    return {name: part for names, part in zip(parts[1::2], parts[2::2], strict=True) for name in names.split()}


def _wrapped(lines: list[str], indent: str) -> str:
    return "\n".join(textwrap.fill(_harmless(line), WIDTH, initial_indent=indent, subsequent_indent=indent)
                     for line in lines)


def _harmless(text: str) -> str:
    """One line that ends no comment and no string of any target."""
    return " ".join(text.split()).replace("*/", "* /").replace("/*", "/ *").replace("\\", "/").replace('"""', "'''")


def _number(value: Any) -> str:
    """The shortest decimal that is this number again, if it is read in double precision and rounded to its own."""
    text = repr(value.item()) if isinstance(value, np.float64) else str(value)
    if isinstance(value, np.float32) and np.float32(float(text)) != value:
        text = repr(float(value))  # the detour over double precision went to a neighbour
    return text


def _hex(value: Any) -> str:
    """A number as C99 and float.fromhex have it, without zeros at its end."""
    mantissa, _, exponent = float(value).hex().partition("p")
    suffix = "f" if isinstance(value, np.float32) else ""
    return f"{re.sub(r'[.]?0+$', '', mantissa) if '.' in mantissa else mantissa}p{exponent.lstrip('+')}{suffix}"


def _block(before: str, array: Array, after: str, number: Callable[[Any], str]) -> list[str]:
    """An array as lines: ``before``, its numbers, ``after``."""
    text, indent = ", ".join(number(value) for value in array.ravel()), len(before) - len(before.lstrip())
    return textwrap.wrap(f"{before.lstrip()}{text}{after}", WIDTH, initial_indent=" " * indent,
                         subsequent_indent=" " * (indent + 4), break_on_hyphens=False)


def _rows(array: Array, opens: str, closes: str, number: Callable[[Any], str]) -> list[str]:
    """The rows of a matrix, each on lines of its own."""
    texts = [f"{opens}{', '.join(map(number, row))}{closes}," for row in array]
    return [line for text in texts for line in textwrap.wrap(text, WIDTH, initial_indent="    ",
                                                             subsequent_indent="     ", break_on_hyphens=False)]


def _assignments(d: Description, form: str) -> str:
    return "\n".join(form.format(name, value) for name, value in d.settings.items())


def _search_names(d: Description, target: str) -> dict[str, Any]:
    """What the sections of a search need beside the rest."""
    dim = d.settings.get("DIM")
    own, limit = {"c": ("s->d", "L2L_DIM"), "js": ("this.d", "DIM")}.get(target, ("self.d", "DIM"))
    any_number = "1 to L2L_DIM" if target == "c" else "1 or more"
    return {"D": limit if dim else own, "most": ", DIM" if dim else "", "dim": dim or d.expected.shape[1],
            "dims": any_number if not dim else f"1 to {dim}" if dim > 1 else "1", "test_d": d.expected.shape[1]}


def _state(d: Description) -> tuple[str, ...]:
    return ("h", "c") if d.cell == "lstm_cell" else ("h",)


def _names(d: Description, **more: Any) -> dict[str, Any]:
    return {"names": '"hc"' if len(_state(d)) == 2 else '"h"', "cell": d.cell,
            "settings": _assignments(d, "{} = {!r}"), **more}


def _shape(a: Array) -> str:
    return f".reshape{a.shape}" if a.ndim > 1 else ""


def _numpy(d: Description) -> dict[str, Any]:
    data = []
    if d.kind != "moments":
        data = ["# The weights of the layers: W_x (D, 4H), W_h (H, 4H) and b (4H,) of each", "LAYERS = ["]
        if d.cell == "rnn_cell":
            data[0] = data[0].replace("4H", "H")
        for layer in d.layers:
            data.append("    [")
            for a in layer:
                data += _block("        np.array([", a, f"], np.float32){_shape(a)},", _number)
            data.append("    ],")
        data.append("]")
    for name, a in d.weights.items():
        data += _block(f"{name} = np.array([", a, f"], np.float32){_shape(a)}", _number)
    if d.table is not None:
        data += [f"# {TABLE}", *_block("MOMENTS = np.array([", d.table, f"]).reshape{d.table.shape}", _number)]
    data += ["# What the package computes in the self-test",
             *_block("EXPECTED = np.array([", d.expected, f"]).reshape{d.expected.shape}", _number)]
    features = "log_and_sign(g)" if "P" in d.settings else "g[:, None]"
    return _names(d, data=data, features=features,
                  imports="import math\nimport operator\n" if d.kind == "search" else "")


def _lists(d: Description, opens: str, closes: str, name: str, rows: tuple[str, str], end: str,
           comment: str) -> list[str]:
    """The weights as flat arrays: of Python's module array, or JavaScript's typed ones."""
    data = [f"{comment} The weights, row by row; float32, exactly"]
    if d.kind != "moments":
        data[0] = f"{comment} The weights of the layers: W_x, W_h and b of each, row by row; float32, exactly"
        data += [f"{name}HIDDEN = {[len(W_h) for _, W_h, _ in d.layers]}{end}", f"{name}LAYERS = ["]
        for layer in d.layers:
            data.append("    [")
            for a in layer:
                data += _block(f"        {opens}", a, f"{closes},", _number)
            data.append("    ],")
        data.append("]" + end)
    for letter, a in d.weights.items():
        data += _block(f"{name}{letter} = {opens}", a, closes + end, _number)
    if d.table is not None:
        data += [f"{comment} {TABLE}", f"{name}MOMENTS = ["]
        data += [*_rows(d.table, *rows, _number), "]" + end]
    data += [f"{name}EXPECTED = ["]
    data += _rows(d.expected, *rows, _number)
    return [*data, "]" + end]


def _python(d: Description) -> dict[str, Any]:
    math = {"moments": "exp, isfinite, log, sqrt, tanh", "search": "exp, isfinite, log, log1p, sqrt, tanh"}.get(
        d.kind, "exp, isfinite, log, tanh")
    data = _lists(d, 'array("f", [', "])", "", ("[", "]"), "", "#")
    return _names(d, data=data, math=math, features="log_and_sign(g)" if "P" in d.settings else "[g]",
                  imports="from operator import index\n" if d.kind == "search" else "")


def _js(d: Description) -> dict[str, Any]:
    data = _lists(d, "Float32Array.from([", "])", "const ", ("[", "]"), ";", "//")
    return _names(d, data=data, features="logAndSign(g)" if "P" in d.settings else "[g]",
                  names=str(list(_state(d))), cell={"rnn_cell": "rnnCell"}.get(d.cell, "lstmCell"),
                  settings=_assignments(d, "const {} = {!r};"))


def _c(d: Description) -> dict[str, Any]:
    data = []
    for number, layer in enumerate(d.layers, 1):
        for name, a in zip(("W_x", "W_h", "b"), layer):
            data += _block(f"static const float l2l_{name}_{number}[{a.size}] = {{", a, "};", _hex)
    for name, a in d.weights.items():
        data += _block(f"static const float l2l_{name}[{a.size}] = {{", a, "};", _hex)
    if d.table is not None:
        data += [f"/* {TABLE} */", f"static const double L2L_MOMENTS[{len(d.table)}][{d.table.shape[1]}] = {{"]
        data += [*_rows(d.table, "{", "}", _hex), "};"]
    data += ["#ifdef L2L_TEST", f"static const double L2L_EXPECTED[{len(d.expected)}][{d.expected.shape[1]}] = {{"]
    data += [*_rows(d.expected, "{", "}", _hex), "};", "#endif"]
    names = _names(d, data=data, widest=max([len(layer[1]) for layer in d.layers], default=1))
    return names | {"moments": _c_moments, "search": _c_search}.get(d.kind, _c_layers)(d)


def _c_moments(d: Description) -> dict[str, Any]:
    return {"widest": len(d.weights["b_1"]), "settings": ""}


def _c_search(d: Description) -> dict[str, Any]:
    """The sizes of a search: some are for the user to define."""
    assert d.table is not None
    free = {"EVALUATIONS": 256, "RUN": d.settings["RUN"], **({} if "DIM" in d.settings else {"DIM": 20})}
    fixed = {"H": len(d.layers[0][1]), **{name: value for name, value in d.settings.items() if name not in free}}
    settings = [f"#define L2L_{name} {value!r}" for name, value in fixed.items()]
    settings += [f"#ifndef L2L_{name}\n#define L2L_{name} {value}\n#endif" for name, value in free.items()]
    return {"settings": "\n".join(settings), "rows": len(d.table), "pairs": d.table.shape[1] // 2,
            "sizes": "" if "DIM" in d.settings else " and L2L_DIM"}


def _c_layers(d: Description) -> dict[str, Any]:
    """The calls of the layers, and where each has its state."""
    calls, at, outputs = [], 0, len(d.weights["b"])
    inputs, above, sharing = 2 if "P" in d.settings else 1, "z", d.kind == "sharing"
    first, each = ("C12", "C13") if sharing else ("C1", "C2")
    if "P" in d.settings:
        calls.append(_tagged("        l2l_log_and_sign(gradient[i], z);", first))
    if sharing and outputs > 1:
        calls.append(_tagged(f"        z[{inputs}] = s[L2L_READ];", first))
        inputs += 1
    for number, (_, W_h, _) in enumerate(d.layers, 1):
        H = len(W_h)
        state = ", ".join(f"s + {at + k * H}" if at + k * H else "s" for k in range(len(_state(d))))
        weights = ", ".join(f"l2l_{name}_{number}" for name in ("W_x", "W_h", "b"))
        calls.append(_tagged(f"        l2l_{d.cell}({inputs}, {H}, {above}, {state}, {weights});", each))
        if sharing:
            calls += ["    }", _tagged(f"    l2l_average(n, state, {at});", each), "    for (int i = 0; i < n; i++) {",
                      "        l2l_real *s = state[i];"]
        above, inputs, at = f"s + {at}" if at else "s", H, at + len(_state(d)) * H
    settings = _assignments(d, "#define L2L_{} {!r}")
    names: dict[str, Any] = {}
    matrix = "bfgs_memory" in d.parts
    memory = "L2L_N" if matrix else 2 * d.settings.get("WINDOW", 0)
    if not sharing:
        calls.append(_tagged(f"        l2l_affine({inputs}, 1, {above}, l2l_W, &y);", "C3"))
        calls[:0] = [] if d.layers else ["        (void)s;"]
    else:
        names["output"] = _tagged(f"        l2l_affine({inputs}, L2L_OUTPUTS, {above}, l2l_W, s + L2L_Y);", "C14")
        settings += f"\n#define L2L_OUTPUTS {outputs}\n#define L2L_Y {at}\n#define L2L_READ {at + outputs}"
        settings += f"\n#define L2L_MEMORY {at + outputs + 1}"
        settings = ("#ifndef L2L_N\n#define L2L_N 32\n#endif\n" if matrix else "") + settings
        names["identity"] = "\n        state[i][L2L_MEMORY + i] = 1;" if matrix else ""
        names["at_most"] = "       N is at most L2L_N, 32 if you do not define it" if matrix else ""
    size = f"(L2L_MEMORY + {memory})" if sharing else at or 1
    settings += f"\n#define L2L_STATE {size}  /* numbers per coordinate */"
    return {"body": "\n".join(calls), "settings": settings, **names}


def _tagged(line: str, tag: str) -> str:
    return line.ljust(82) + f"/* {tag} */"


WRITERS: dict[str, Callable[[Description], dict[str, Any]]] = {"numpy": _numpy, "python": _python, "c": _c, "js": _js}
