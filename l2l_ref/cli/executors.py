"""Which executor a command computes on: processes, one of a function of the user's, or a dask scheduler. No command."""

from functools import partial

from ..executors import Renewable, pool
from ..extras import require
from .user_code import described, import_object, output_on_stderr

WHERE = ("executor", "scheduler")  # the options that stand in place of a number of processes


def add_where(add, work, processes):
    """Add the options `WHERE` by ``add``. ``work`` is what is computed there, ``processes`` the option they replace."""
    add("--executor", metavar="MODULE:FUNCTION",
        help=f"a function of yours that returns an executor for the {work}, in place of {processes}")
    add("--scheduler", metavar="ADDRESS",
        help=f"the address of a dask scheduler, whose workers compute the {work}, in place of {processes}")


def executor_of(args, processes):
    """A context that gives the executor, or None for this process. It is made anew when it has broken.

    Raises what `import_object` raises, and ValueError when the function raises an error or its result has no submit.
    """
    if args.executor and args.scheduler:
        raise ValueError("--scheduler: not together with --executor")
    if args.executor:
        return Renewable(partial(_made, import_object(args.executor), args.executor))
    if args.scheduler:
        require("distributed", "--scheduler")
        from distributed import Client

        return Renewable(partial(Client, args.scheduler))
    return pool(processes)


def _made(function, text):
    try:
        with output_on_stderr():
            return function()
    except (Exception, SystemExit) as error:
        raise ValueError(f"{text}: calling it raised {described(error)}") from error
