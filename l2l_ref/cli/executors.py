"""Which executor a command computes on: processes, one of a function of the user's, or a dask scheduler. No command."""

from functools import partial

from ..executors import Renewable, pool, require_submit
from ..extras import require
from .user_code import described, import_object, output_on_stderr

WHERE = ("executor", "scheduler")  # the options that stand in place of a number of processes


def add_where(add, work, processes):
    """Add the options `WHERE` by ``add``. ``work`` is what is computed there, ``processes`` the option they replace."""
    add("--executor", metavar="MODULE:FUNCTION",
        help=f"a function of yours that returns an executor for the {work}, in place of {processes}")
    add("--scheduler", metavar="ADDRESS",
        help=f"the address of a dask scheduler, whose workers compute the {work}, in place of {processes}")


def chosen_of(args, processes):
    """The names of the options that choose where to compute, of ``processes`` and `WHERE`: one, or none for here.

    Raises ValueError for several.
    """
    chosen = [name for name in (processes, *WHERE) if getattr(args, name) not in (None, 1)]
    if len(chosen) > 1:
        raise ValueError(f"--{chosen[1]}: not together with --{chosen[0]}")
    return chosen


def executor_of(args, processes, usual=1):
    """A context that gives the executor, or None for this process. It is made anew when it has broken.

    ``processes`` is the name of the option with the number of processes, and ``usual`` this number where none is given.
    Raises ValueError for several options, what `import_object` raises, and ValueError when the function raises an
    error or its result has no submit.
    """
    chosen = chosen_of(args, processes)
    if chosen == ["executor"]:
        try:
            return Renewable(partial(_made, import_object(args.executor), args.executor))
        except (ValueError, ImportError) as error:
            raise type(error)(f"--executor: {error}") from error
    if chosen == ["scheduler"]:
        require("distributed", "--scheduler")
        from distributed import Client

        return Renewable(partial(Client, args.scheduler))
    return pool(getattr(args, processes) or usual)


def _made(function, text):
    try:
        with output_on_stderr():
            executor = function()
    except (Exception, SystemExit) as error:
        raise ValueError(f"{text}: calling it raised {described(error)}") from error
    require_submit(executor)
    return executor
