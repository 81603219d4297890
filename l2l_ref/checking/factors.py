"""The factors by which wrong gradients are usually off, and their names."""

import math
from collections.abc import Callable

import numpy as np

from .compared import Compared

NICE = 1e-6  # how close a factor must be to a number like 2 or 1/8 to be called so
COARSE = 1e-3  # a factor that is known less well has no name

# A wrong gradient is often the right one times, or divided by, one of these: of the input, the output, another input.
FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "{t}": lambda t: t,
    "{t}**2": np.square,
    "{t} * (1 - {t})": lambda t: t * (1.0 - t),
    "(1 - {t}**2)": lambda t: 1.0 - t**2,
    "(1 - {t})": lambda t: 1.0 - t,
    "sqrt({t})": np.sqrt,
    "exp({t})": np.exp,
    "log({t})": np.log,
    "sign({t})": np.sign,
    "cos({t})": np.cos,
    "sin({t})": np.sin,
    "tan({t})": np.tan,
    "(1 - tanh({t})**2)": lambda t: 1.0 - np.tanh(t) ** 2,
    "sigmoid'({t})": lambda t: 0.25 / np.cosh(t / 2.0) ** 2,
}
MULTIPLES = {1.0: "", -1.0: "-", 2.0: "2 * ", -2.0: "-2 * ", 0.5: "1/2 * ", -0.5: "-1/2 * "}  # of these functions
WHY = {  # where such a factor may come from
    ("input", "{t}", "times"): "the derivative by the logarithm of this input, or a power too high?",
    ("input", "{t}", "divided"): "a power too low?",
    ("input", "tan({t})", "times"): "sin for cos?",
    ("input", "tan({t})", "divided"): "cos for sin?",
    ("output", "{t}", "divided"): "the derivative of exp left out, or that of the logarithm of f?",
    ("output", "{t} * (1 - {t})", "divided"): "the derivative of a sigmoid left out?",
    ("output", "{t} * (1 - {t})", "times"): "the derivative of a sigmoid taken twice?",
    ("output", "(1 - {t}**2)", "divided"): "the derivative of tanh left out?",
    ("output", "(1 - {t}**2)", "times"): "the derivative of tanh taken twice?",
}
FROM_OUTPUT = ("{t} * (1 - {t})", "(1 - {t}**2)")  # derivatives that are computed from the output, not from the input

CONSTANTS = {
    "pi": math.pi, "2 pi": 2 * math.pi, "4 pi": 4 * math.pi, "pi/2": math.pi / 2, "sqrt(pi)": math.sqrt(math.pi),
    "sqrt(2 pi)": math.sqrt(2 * math.pi), "180/pi": 180 / math.pi, "sqrt(2)": math.sqrt(2.0),
    "sqrt(3)": math.sqrt(3.0), "ln 10": math.log(10.0), "ln 2": math.log(2.0), "e": math.e,
}
INVERSES = {"180/pi": "pi/180", "pi/2": "2/pi", "2 pi": "1/(2 pi)", "4 pi": "1/(4 pi)"}
LARGEST = 10  # the numerators and denominators of simple fractions


def name_of(k: float, wrong: Compared, accuracy: float = 0.0) -> tuple[str, str]:
    """A factor by its name, or "", and a hint where it may come from. It is known to the relative ``accuracy``.

    The factors 2 and 1/2 get no hint: they are common, and so are axes of length 2.
    """
    lengths: dict[int, str] = {}
    arrays = (*wrong.outputs, (wrong.path, wrong.C.shape), *((name, value.shape) for name, value in wrong.others))
    for name, shape in arrays:
        for axis, n in enumerate(shape):
            lengths.setdefault(n, f"axis {axis} of {name} has length {n}")
        if len(shape) > 1:
            lengths.setdefault(math.prod(shape), f"{name} has {math.prod(shape)} entries")
    named = {f"{p}/{q}" if q > 1 else f"{p}": p / q for p in range(1, LARGEST + 1) for q in range(1, LARGEST + 1)
             if math.gcd(p, q) == 1}
    hints: dict[str, str] = {}
    for n, length in lengths.items():
        for p, q, hint in ((n, 1, "a mean for a sum, or the reverse?"), (1, n, "a mean for a sum, or the reverse?"),
                           (n - 1, n, "n for n - 1?"), (n, n - 1, "n - 1 for n?")):
            if n > 2 and min(p, q) > 0:
                name = f"{p}/{q}" if q > 1 else f"{p}"
                named.setdefault(name, p / q)
                hints.setdefault(name, f" ({length}: {hint})")
    for name, value in CONSTANTS.items():
        named[name] = value
        named[INVERSES.get(name, f"1/{name}")] = 1.0 / value
    name, value = min(named.items(), key=lambda item: abs(abs(k) / item[1] - 1.0))
    if abs(abs(k) - value) > max(NICE, min(accuracy, COARSE)) * value:
        return "", ""
    return ("-" if k < 0.0 else "") + name, hints.get(name, "")


def shown(k: float, accuracy: float) -> str:
    """A factor without a name, with the digits that are known; "" if that is not even the first."""
    return f"{k:.{min(6, int(-np.log10(accuracy)))}g}" if accuracy < 0.1 else ""
