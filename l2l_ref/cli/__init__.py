"""The command line: ``l2l-ref COMMAND``, the same as ``python -m l2l_ref COMMAND``. Each command has a file.

The module of a command has ``configure(parser)``, which adds its options, and ``run(args)``, which returns the exit
code. Only the module of the command that is asked for is imported. Mistakes of the user are raised as ValueError,
OSError or ImportError and end with one line on stderr and exit code 2; so does a number that is too large for this
machine.
"""

import argparse
import importlib
import os
import sys

from .. import __version__

MISTAKES = (ValueError, OSError, ImportError, MemoryError, OverflowError)

# Each command and its summary, which is also the first line of its module.
COMMANDS = {
    "compare": "Compare a learned optimizer with hand-designed ones: a table and a figure.",
    "train": "Meta-train an optimizer on a problem.",
    "inspect": "Look into trained optimizers: what they make of a gradient, and how far back they remember.",
    "sweep": "Train or compare with many settings: a table, a figure, and a file to go on from.",
    "minimize": "Minimise a function of your own with a learned black-box optimizer.",
    "export": "Write a trained optimizer as one source file in NumPy, Python, C or JavaScript, with its weights and a "
              "self-test.",
    "play": "Write a page for a browser in which learned optimizers are watched at work.",
    "models": "List the optimizers that ship with the package: how each was trained and what it scores.",
    "audit": "Check every hand-written backward pass of the package against finite differences of its forward pass.",
    "gradcheck": "Check a hand-written gradient of your own: is MODULE:BACKWARD the derivative of MODULE:FUNCTION?",
    "bench": "Time the hot paths, beside other packages that are installed.",
    "data": "Show where data sets are looked for and which of them are there.",
}


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage before it."""

    def error(self, message):
        self.exit(2, f"{self.prog}: {' '.join(message.split())} (see {self.prog} --help)\n")


def main(argv=None):
    """Run one command. Returns the exit code."""
    _open_closed_streams()
    words = sys.argv[1:] if argv is None else list(argv)
    chosen = next((word for word in words if not word.startswith("-")), None)
    parser = Parser(prog="l2l-ref", description="Learned optimizers in NumPy. Every backward pass is written by hand "
                                                "and checked against finite differences.")
    parser.add_argument("--version", action="version", version=f"l2l-ref {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    module = importlib.import_module(f".{chosen}", __name__) if chosen in COMMANDS else None
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if name == chosen:
            module.configure(command)
    args = parser.parse_args(words)
    try:
        code = module.run(args)
        sys.stdout.flush()  # here, where a pipe without a reader can still be caught
        return code
    except BrokenPipeError:  # the reader of our output has gone, as in ``| head``
        _discard_stdout()
        return 141  # 128 + SIGPIPE, as shells say it
    except MISTAKES as error:
        print(f"l2l-ref {args.command}: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
        _discard_stdout()
        return 2
    except KeyboardInterrupt:
        print(f"l2l-ref {args.command}: interrupted", file=sys.stderr)
        return 130


def _open_closed_streams():
    """A service may start us with stdout or stderr closed; what we print there then goes nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))


def _discard_stdout():
    """If stdout takes no more output, drop what is left in its buffer; Python would complain about it on exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
