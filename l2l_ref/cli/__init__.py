"""The command line: ``l2l-ref COMMAND``, the same as ``python -m l2l_ref COMMAND``. One file a command.

A command's module has ``configure(parser)`` and ``run(args) -> exit code``; its docstring's first line is the
help. A user's mistake is a ValueError, OSError or ImportError: one line on stderr, exit code 2. So is a number that
is too large for this machine.
"""

import argparse
import importlib
import os
import sys

MISTAKES = (ValueError, OSError, ImportError, MemoryError, OverflowError)
COMMANDS = ("compare", "train", "minimize", "models", "audit", "gradcheck", "bench", "data")


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage before it."""

    def error(self, message):
        self.exit(2, f"{self.prog}: {' '.join(message.split())} (see {self.prog} --help)\n")


def main(argv=None):
    """Run one command; returns the exit code."""
    parser = Parser(
        prog="l2l-ref", description="Learned optimizers in NumPy, with hand-written and proved backward passes."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    modules = {}
    for name in COMMANDS:
        modules[name] = importlib.import_module(f".{name}", __name__)
        summary = modules[name].__doc__.strip().splitlines()[0]
        modules[name].configure(commands.add_parser(name, help=summary, description=summary))
    args = parser.parse_args(argv)
    try:
        code = modules[args.command].run(args)
        sys.stdout.flush()  # here, where a pipe that has no reader can still be caught
        return code
    except BrokenPipeError:  # the reader of our output has gone, as in ``| head``
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # 128 + SIGPIPE, as shells say it
    except MISTAKES as error:
        print(f"l2l-ref {args.command}: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"l2l-ref {args.command}: interrupted", file=sys.stderr)
        return 130
