"""Check a hand-written gradient of your own: is MODULE:BACKWARD the derivative of MODULE:FUNCTION?

The exit code is 0 for PASS, 1 for FAIL and 3 for INCONCLUSIVE. It is 2 if no check was possible, because an argument or
the code of the functions is at fault. What the functions print goes to stderr. Ctrl-C ends the check with what it
knows.
"""

import inspect
import time
from pathlib import Path

from ..checking import gradcheck
from ..checking.pair import KINDS
from ..checking.report import FAIL, INCONCLUSIVE, PASS
from ..files import read_npz
from ..plotting import matplotlib_figure, require_figure, save_figure
from .arguments import JSON, number, progress, require_writable, whole
from .user_code import Marked, described, import_object, output_on_stderr

LARGEST = 2**28  # bytes of arrays in a file
CODES = {PASS: 0, FAIL: 1, INCONCLUSIVE: 3}


def configure(parser):
    parser.add_argument("function", metavar="MODULE:FUNCTION", help="the forward function, in an importable module")
    parser.add_argument("backward", metavar="MODULE:BACKWARD", nargs="?",
                        help="its hand-written derivative; leave it out if FUNCTION returns (value, gradient)")
    parser.add_argument("--inputs", metavar="FILE.npz", required=True,
                        help="the arguments of FUNCTION, one array each: np.savez(FILE, x=x, W=W) by the names of its "
                             "parameters, or np.savez(FILE, x, W) in their order")
    parser.add_argument("--kind", choices=KINDS,
                        help="what BACKWARD is: backward(d_out, cache or inputs), the gradient of a function with one "
                             "number as its value, its Jacobian, or a Hessian-vector product (default: by the number "
                             "of its arguments)")
    parser.add_argument("--cache", choices=("yes", "no"),
                        help="whether FUNCTION returns (out, cache) (default: yes if it returns a tuple of two)")
    parser.add_argument("--wrt", metavar="NAME,NAME", help="check the gradients of these arguments only (default: all)")
    parser.add_argument("--method", choices=("auto", "central", "complex"), default="auto",
                        help="compare single entries with central differences, or with the complex step, which is "
                             "exact to rounding but needs an analytic function; auto takes it where it works (default "
                             "auto)")
    parser.add_argument("--thorough", action="store_true",
                        help="check every entry (default: only if there are at most 1000, otherwise random directions)")
    parser.add_argument("--rtol", type=number, default=0.0,
                        help="an error to forgive, relative to the largest entry of a gradient, where a function is "
                             "solved to a tolerance (default 0)")
    parser.add_argument("--also-near", metavar="N", type=whole(0),
                        help="check directions at so many points nearby, too (default: 2 where the whole gradient is "
                             "zero, else 0)")
    parser.add_argument("--max-evaluations", metavar="N", type=whole(1),
                        help="end after so many calls of FUNCTION, with what is known by then (default: no limit)")
    parser.add_argument("--plot", metavar="FILE",
                        help="draw the error against the step of the differences; the ending of FILE is the format")
    parser.add_argument("--seed", type=whole(0), default=0, help="seed of the random directions (default 0)")
    parser.add_argument("--json", action="store_true", help=JSON)


def run(args):
    f = Marked(import_object(args.function), args.function)
    f_backward = True if args.backward is None else Marked(import_object(args.backward), args.backward)
    if args.plot:
        require_writable(Path(args.plot))
        require_figure(args.plot)
    arrays = inputs(args.inputs, f)
    try:
        with output_on_stderr():
            report = gradcheck(
                f, f_backward, arrays, kind=args.kind, method=args.method, seed=args.seed,
                wrt=args.wrt.split(",") if args.wrt else None, thorough=args.thorough or None, rtol=args.rtol,
                cache=None if args.cache is None else args.cache == "yes", also_near=args.also_near,
                max_evaluations=args.max_evaluations, progress=Calls(args.max_evaluations),
            )
    except Exception as error:
        if hasattr(error, "raised_by"):
            raise ValueError(f"{error.raised_by} raised {described(error)}") from error
        if isinstance(error, TypeError):  # no check is possible with such arguments
            raise ValueError(error) from error
        raise
    print(report.to_json() if args.json else report)
    if args.plot:
        plot(report, args.plot)
    return CODES[report.verdict]


class Calls:
    """Shows the number of calls of a slow function in the line of progress."""

    def __init__(self, limit):
        self._limit, self._shown = f" of at most {limit:,}" if limit else "", time.monotonic()

    def __call__(self, calls):
        now = time.monotonic()
        if now - self._shown > 1.0:
            self._shown = now
            progress(f"{calls:,}{self._limit} calls of the function")


def plot(report, path):
    """Draw the error of the report against the step, or say on stderr that nothing was compared."""
    figure = matplotlib_figure()(layout="constrained")
    try:
        report.plot(figure.subplots())
    except ValueError as error:
        progress(f"no plot: {error}")
    else:
        save_figure(figure, path)


def inputs(path, f):
    """Return the arguments of f that an .npz file holds, a tuple; 0-d arrays become scalars.

    Arrays that have the names of parameters of f are these arguments. The names arr_0, arr_1, ... are those of
    ``np.savez`` without names, and such arrays are taken in this order.

    Raises
    ------
    OSError
        There is no such file, or it cannot be opened.
    ValueError
        It is no .npz file of arrays, holds more than `LARGEST` bytes of them, or its names are not those of parameters.
    """
    try:
        arrays = read_npz(path, LARGEST)
    except ValueError as error:
        raise ValueError(f"{path}: expected an .npz file of arrays, as numpy.savez writes them; "
                         f"{str(error).removeprefix(f'{path}: ')}") from None
    if not arrays:
        raise ValueError(f"{path}: expected the arguments of the function, got no array")
    names = parameters(f)
    unnamed = [f"arr_{k}" for k in range(len(arrays))]
    if set(arrays) == set(unnamed) and not set(arrays) & set(names):
        names = unnamed
    unknown = [name for name in arrays if name not in names]
    if unknown:
        known = f"the parameters of the function, {', '.join(names)}" if names else "arr_0, arr_1, ..., without names"
        raise ValueError(f"{path}: expected arrays named like {known}; got {', '.join(unknown)}")
    missing = [name for name in names[: len(arrays)] if name not in arrays]
    if missing:
        raise ValueError(f"{path}: there is no array {missing[0]}, which is an argument of the function")
    values = (arrays[name] for name in names if name in arrays)
    return tuple(array if array.ndim else array[()] for array in values)


def parameters(f):
    """The names of the arguments that f takes by position, or () where Python cannot tell."""
    try:
        found = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):  # compiled functions
        return ()
    return tuple(p.name for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))
