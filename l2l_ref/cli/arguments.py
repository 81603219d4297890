"""What several commands share: types of arguments, checks before long work, lines on stderr. No command itself."""

import argparse
import math
import os
import sys
from pathlib import Path

JSON = "print one JSON object on stdout"


def number(text):
    """The argparse type of finite numbers: "1e-3" -> 0.001."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a finite number, got {text!r}")
    return value


def seconds(text):
    """The argparse type of a time."""
    value = number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"expected a number > 0, got {text!r}")
    return value


def whole(least):
    """Return the argparse type of whole numbers that are at least ``least``."""

    def convert(text):
        if not text.removeprefix("-").isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number >= {least}, got {text!r}")
        return int(text)

    return convert


def units(text):
    """The argparse type of any number of whole numbers: "20,20" -> (20, 20), "" -> ()."""
    try:
        return tuple(whole(1)(part.strip()) for part in text.split(",") if part)
    except argparse.ArgumentTypeError:
        message = f"expected whole numbers >= 1 with commas between them, got {text!r}"
        raise argparse.ArgumentTypeError(message) from None


def counts(text):
    """The argparse type of one or more whole numbers: "1,2" -> (1, 2)."""
    values = units(text)
    if not values:
        raise argparse.ArgumentTypeError(f"expected at least one whole number, got {text!r}")
    return values


def labels(text):
    """The argparse type of labels: "3,5,7" -> (3, 5, 7), and "5" -> (0, 1, 2, 3, 4), the first so many."""
    try:
        values = tuple(whole(0)(part.strip()) for part in text.split(","))
    except argparse.ArgumentTypeError:
        values = ()
    values = tuple(range(*values)) if len(values) == 1 else values
    if not 2 <= len(set(values)) == len(values) or max(values) > 9:
        raise argparse.ArgumentTypeError("expected a number of labels, 2 to 10, or different labels 0 to 9 with commas "
                                         f"between them, got {text!r}")
    return values


def given(args, names):
    """Return {name: value} for those of these options that the user gave. The values of the others are None."""
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


class ProblemOptions:
    """Adds options to a parser, each in the group of the problems that it is for.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    options : dict
        The names of the options of each problem. An option that is listed for no problem is for all of them.
    """

    def __init__(self, parser, options):
        self._parser, self._options, self._groups = parser, options, {}

    def add(self, flag, *others, **settings):
        """The arguments are those of ``add_argument``."""
        name = flag.lstrip("-").replace("-", "_")
        problems = [problem for problem, names in self._options.items() if name in names]
        title = f"only for {', '.join(problems)}"
        if len(problems) in (0, len(self._options)):
            group = self._parser
        else:
            group = self._groups[title] = self._groups.get(title) or self._parser.add_argument_group(title)
        group.add_argument(flag, *others, **settings)


def default_text(name, defaults):
    """Say what an option is if the user does not give it: " (default 80 for quadratic; 14 for digits)".

    Parameters
    ----------
    name : str
    defaults : dict
        The values {name: value} of each problem. Without the option in any of them the text is empty.
    """
    problems_of = {}
    for problem, values in defaults.items():
        if name in values:
            value = values[name]
            text = ",".join(map(str, value)) if isinstance(value, tuple) else "none" if value is None else str(value)
            problems_of.setdefault(text, []).append(problem)
    if len(problems_of) < 2:
        return "".join(f" (default {text})" for text in problems_of)
    return f" (default {'; '.join(text + ' for ' + ', '.join(names) for text, names in problems_of.items())})"


def refuse_others(args, what, options):
    """Refuse options that the user gave and that do not belong to ``what``, a problem for example.

    Parameters
    ----------
    args : argparse.Namespace
    what : str
        A key of ``options``.
    options : dict
        The names of the options of each problem. Options that are listed for no problem belong to all of them.

    Raises
    ------
    ValueError
        The message names the option.
    """
    listed = {name for names in options.values() for name in names}
    for name in given(args, sorted(listed - set(options[what]))):
        raise ValueError(f"--{name.replace('_', '-')}: not for {what}")


def require_writable(path):
    """Do nothing if a file can be written to ``path``. Raises ValueError otherwise, before hours of work."""
    if path.is_dir():
        raise ValueError(f"{path}: is a folder")
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: expected a regular file, got a device, a pipe or a socket")
    folder = path.resolve().parent if path.is_symlink() else path.parent
    if not folder.is_dir():
        raise ValueError(f"{path}: there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise ValueError(f"{path}: the folder {folder} cannot be written to")


def planned_figure(asked, default):
    """Return the path of a command's figure, or None without matplotlib if the user did not ask for a figure.

    Parameters
    ----------
    asked : str or None
        The value of the option.
    default : str

    Raises
    ------
    ValueError
        The file cannot be written, or matplotlib does not know the format.
    ImportError
        The user asked for a figure and matplotlib is missing.
    """
    from ..plotting import require_figure  # here, so that a command without figures does not load it

    path = Path(asked or default)
    require_writable(path)
    try:
        require_figure(path)
    except ImportError as error:
        if asked:
            raise
        progress(f"no figure: {error}")
        return None
    return path


def progress(line):
    """Print one line on stderr, at once."""
    print(line, file=sys.stderr, flush=True)


def check_backend(backend):
    """Refuse numba where it does not work, and say on stderr if "auto" has to do without it.

    Raises
    ------
    ImportError
        ``backend`` is "numba", which does not work here.
    """
    from .. import backends  # here, so that a command without this option does not load it
    from ..extras import installed

    if backend == "numba":
        backends.choose("coordinatewise", backend)
    elif backend == "auto" and not backends.available("numba"):
        there = installed("numba", "scipy")
        progress("without numba this takes several times as long"
                 + (" (it is installed, but does not work here)" if there else ": pip install 'l2l-ref[fast]'"))
