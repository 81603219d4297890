"""Functions of the user that a command imports and calls. No command itself."""

import contextlib
import difflib
import functools
import importlib
import os
import sys
import traceback
from pathlib import Path

NOT_THE_USERS = (Path(__file__).parents[1], Path(importlib.__file__).parent)  # this package, and what imports


def import_problem(text):
    """Import the problem that MODULE:PROBLEM names, an object with ``sample``, or call the function that makes one.

    Raises what `import_object` raises, and ValueError when the function raises an error or there is no problem.
    """
    problem = import_object(text, "problem", callable_alone=False)
    if callable(problem) and (isinstance(problem, type) or not hasattr(problem, "sample")):
        try:
            with output_on_stderr():
                problem = problem()
        except (Exception, SystemExit) as error:
            raise ValueError(f"{text}: calling it raised {described(error)}") from error
    if not callable(getattr(problem, "sample", None)):
        raise ValueError(f"{text}: expected a problem, which has sample(functions, seed), or a function that makes "
                         f"one, got {type(problem).__name__}")
    return problem


def import_object(text, what="function", callable_alone=True):
    """Import the function that MODULE:FUNCTION names. Modules of the current folder are found too.

    ``what`` is the word for it in messages. Without ``callable_alone`` it need not be callable.

    Returns
    -------
    callable

    Raises
    ------
    ValueError
        The text has another form, the module raises an error while it is imported, or it has no such function.
    ImportError
        There is no such module.
    """
    module, _, name = text.partition(":")
    if not module or not name:
        raise ValueError(f"{text}: expected MODULE:{what.upper()}")
    if module.endswith(".py") or "/" in module or os.sep in module:
        path = Path(module).with_suffix("")
        where = "" if path.parent == Path() else f" in the folder {path.parent}"
        raise ValueError(f"{text}: expected the name of a module, not its file: {path.name}:{name}{where}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        with output_on_stderr():
            function = importlib.import_module(module)
    except ModuleNotFoundError as error:
        here = "" if error.name != module else f" in {os.getcwd()}, nor among the installed packages"
        raise ImportError(f"{text}: {error}{here}") from error
    except (Exception, SystemExit) as error:  # whatever a module does when it is imported
        raise ValueError(f"{text}: importing {module} raised {described(error)}") from error
    try:
        for part in name.split("."):
            function = getattr(function, part)
    except AttributeError:
        close = difflib.get_close_matches(name, dir(sys.modules[module]), 1)
        hint = f"; did you mean {module}:{close[0]}?" if close else ""
        raise ValueError(f"{text}: module {module} has no {name}{hint}") from None
    if callable_alone and not callable(function):
        raise ValueError(f"{text}: expected a function, got {type(function).__name__}")
    return function


class Marked:
    """A function of the user that leaves a mark on the errors it raises: ``raised_by``, the text that names it.

    The mark distinguishes its errors from ours. The errors stay what they are, since a gradient check reacts to them.
    """

    def __init__(self, function, text):
        functools.update_wrapper(self, function)
        self._function, self._text = function, text

    def __call__(self, *args):
        try:
            return self._function(*args)
        except Exception as error:
            error.raised_by = self._text
            raise
        except SystemExit as end:  # its code would be taken for a verdict
            error = RuntimeError(f"it called sys.exit({end.code!r})")
            error.raised_by = self._text
            raise error from None


@contextlib.contextmanager
def output_on_stderr():
    """Send to stderr what is printed within this context: stdout is for the result, which a program may read.

    Where stdout is a file descriptor, the descriptor itself is changed, because worker processes inherit it.
    """
    try:
        sys.stdout.flush()
        stdout, stderr = sys.stdout.fileno(), sys.stderr.fileno()
    except (OSError, AttributeError):  # not the case in a notebook
        with contextlib.redirect_stdout(sys.stderr):
            yield
        return
    kept = os.dup(stdout)
    os.dup2(stderr, stdout)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, stdout)
        os.close(kept)


def described(error):
    """An error of the user's code in one line, and where: "ZeroDivisionError: division by zero (f.py, line 3)"."""
    words = ": ".join(part for part in (type(error).__name__, " ".join(str(error).split())) if part)
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_file()
             and not any(Path(frame.filename).is_relative_to(folder) for folder in NOT_THE_USERS)]
    if not lines or isinstance(error, SyntaxError):  # which says the place itself
        return words
    users = [frame for frame in lines if frame.filename == lines[0].filename]  # not those of NumPy, which it called
    return f"{words} ({users[-1].filename}, line {users[-1].lineno})"
