"""What commands ask of their arguments: argparse types, and a look at where a file will go. No command itself."""

import argparse
import math
import os


def number(text):
    """"1e-3" -> 0.001; an argparse type."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a finite number, got {text!r}")
    return value


def whole(least):
    """The argparse type of whole numbers from ``least`` on."""

    def convert(text):
        if not text.removeprefix("-").isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number >= {least}, got {text!r}")
        return int(text)

    return convert


def units(text):
    """"20,20" -> (20, 20), "" -> (); an argparse type."""
    try:
        return tuple(whole(1)(part.strip()) for part in text.split(",") if part)
    except argparse.ArgumentTypeError:
        message = f"expected whole numbers >= 1 with commas between them, got {text!r}"
        raise argparse.ArgumentTypeError(message) from None


def counts(text):
    """"1,2" -> (1, 2), as ``units``, but at least one; an argparse type."""
    values = units(text)
    if not values:
        raise argparse.ArgumentTypeError(f"expected at least one whole number, got {text!r}")
    return values


def given(args, names):
    """{name: value} of those of these options that were given: the others are None."""
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def refuse_others(args, what, options):
    """ValueError for an option that was given and that ``what``, a problem say, has no use for.

    options : dict
        {what: names of its options}; an option that is listed nowhere is for all.
    """
    listed = {name for names in options.values() for name in names}
    for name in given(args, sorted(listed - set(options[what]))):
        raise ValueError(f"--{name.replace('_', '-')}: not for {what}")


def require_writable(path):
    """ValueError when a file could not be put at ``path``: said before hours of work, not after."""
    if path.is_dir():
        raise ValueError(f"{path}: is a folder")
    if not path.parent.is_dir():
        raise ValueError(f"{path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"{path}: the folder {path.parent} cannot be written to")
