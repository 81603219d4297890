"""Layers that keep their parameters, gradients and cache in themselves, as functions that can be checked.

    forward   copy the layer, write the parameters into the copy, call its forward; the copy is the cache
    backward  copy that copy, set its gradient buffers to zero, call its backward, read the buffers

So the layer itself is never touched, a gradient that is added to a buffer is added to zero, and random numbers that the
layer draws from a generator of its own are the same in every call.
"""

from __future__ import annotations  # so that no annotation loads numpy.random

import copy
import functools
import inspect
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from . import trees
from .foreign import as_numpy
from .pair import names_of, signature

Getter = Callable[[Any], Any]  # layer -> tree of arrays
Method = str | Callable[..., Any]


def of_layer(
    layer: Any,
    *inputs: Any,
    params: Mapping[str, str] | str | Getter = "params",
    grads: str | Getter = "grads",
    forward: Method = "forward",
    backward: Method = "backward",
) -> tuple[Callable[..., Any], Callable[..., Any], tuple[Any, ...]]:
    """The arguments of `gradcheck` for an object with a forward and a backward method.

    ``gradcheck(*of_layer(layer, x))`` checks the gradients of x and of the parameters, which are the last input and are
    called ``params``. The layer is copied for each call, so it stays as it is.

    Parameters
    ----------
    layer : object
        It is copied with copy.deepcopy.
    *inputs
        The arguments of forward.
    params, grads : str or callable
        The attributes that hold the parameters and their gradients, or functions that get them from a layer: arrays in
        dicts and lists, nested as you like. ``params`` may also be a dict from the names of parameters to the names of
        their gradients, ``{"W": "dW", "layer1.b": "layer1.db"}``. An empty dict stands for a layer without parameters.
    forward, backward : str or callable
        The names of the methods, or functions whose first argument is the layer. ``backward(d_out)`` returns the
        gradient of the first input, or one for each input in a tuple.

    Returns
    -------
    f, f_backward, inputs
        ``f(*inputs, params)`` returns (out, cache).

    Raises
    ------
    TypeError
        The layer has no such attributes or methods, cannot be copied, or keeps a parameter that is no array.
    """
    for name, method in (("forward", forward), ("backward", backward)):
        if not callable(getattr(layer, method, None) if isinstance(method, str) else method):
            raise TypeError(f"{name}: expected the name of a method of {type(layer).__name__}, got {method!r}")
    if isinstance(params, Mapping):
        get_params, get_grads = _by_name(params.keys(), params), _by_name(params.values(), params)
        buffers = [_getter(attribute) for attribute in params.values()]
    else:
        get_params, get_grads = _getter(params), _getter(grads)
        buffers = [get_grads]
    start = _read(get_params, layer, "params")
    for (path, array), (_, copied) in zip(_arrays(start), _arrays(get_params(_copied(layer)))):
        if isinstance(array, (float, complex, np.inexact)):
            raise TypeError(f"{path}: expected an array, which can be written in place, got {type(array).__name__}")
        if isinstance(array, np.ndarray) and np.may_share_memory(array, copied):
            raise TypeError(f"{path}: expected an array of this layer alone, got one that a copy of the layer shares")
    count = len(inputs)

    def f(*arguments: Any) -> tuple[Any, Any]:
        ours = _copied(layer)
        for (path, array), (_, values) in zip(_arrays(get_params(ours)), _arrays(arguments[count])):
            if isinstance(array, np.ndarray):
                if values.dtype != array.dtype:
                    raise TypeError(f"{path}: expected {array.dtype}, the dtype of the layer's, got {values.dtype}")
                array[...] = values
        return _call(ours, forward, *arguments[:count]), ours

    def f_backward(d_out: Any, cache: Any) -> tuple[Any, ...]:
        ours = _copied(cache)
        for get in buffers:
            _set_to_zero(get, ours)
        d_inputs = _call(ours, backward, d_out)
        several = type(d_inputs) is tuple or type(d_inputs) is list and count > 1
        if not several or len(d_inputs) != count:
            d_inputs = (d_inputs, *[None] * (count - 1))[:count]
        return (*d_inputs, _read(get_grads, ours, "grads"))

    f.__signature__ = _signature(layer, forward, count)  # type: ignore[attr-defined]  # for the names in reports
    return f, f_backward, (*inputs, start)


def _arrays(tree: Any) -> list[tuple[str, Any]]:
    """The leaves of a tree of parameters with their paths, and complex arrays in one piece."""
    return [(path, as_numpy(leaf)) for path, leaf in trees.as_they_are(tree, "params")]


def _getter(where: str | Getter) -> Getter:
    return operator.attrgetter(where) if isinstance(where, str) else where


def _by_name(attributes: Iterable[str], params: Iterable[str]) -> Getter:
    """A function that gets these attributes of a layer, in a dict by the names of the parameters."""
    getters = {name: _getter(attribute) for name, attribute in zip(params, attributes)}
    return lambda layer: {name: getter(layer) for name, getter in getters.items()}


def _read(get: Getter, layer: Any, argument: str) -> Any:
    try:
        return get(layer)
    except AttributeError as error:
        raise TypeError(f"{argument}: expected attributes, such as params={{'W': 'dW'}}; {error}") from error


def _set_to_zero(get: Getter, layer: Any) -> None:
    """Set the buffers of a layer to zero, if it has them before it makes them in its backward."""
    try:
        buffers = _arrays(get(layer))
    except Exception:
        return
    for _, buffer in buffers:
        if isinstance(buffer, np.ndarray):
            buffer[...] = 0


def _copied(layer: Any) -> Any:
    try:
        return copy.deepcopy(layer)
    except Exception as error:
        name = type(layer).__name__
        raise TypeError(f"layer: expected an object that copy.deepcopy can copy, got {name} ({error})") from error


def _call(layer: Any, method: Method, *arguments: Any) -> Any:
    return getattr(layer, method)(*arguments) if isinstance(method, str) else method(layer, *arguments)


def _signature(layer: Any, forward: Method, count: int) -> inspect.Signature:
    """The names of the inputs, as forward calls them, and ``params``."""
    function = getattr(layer, forward) if isinstance(forward, str) else functools.partial(forward, layer)
    names = [*names_of(function, count), "params"]
    if len({*names}) < len(names) or not all(name.isidentifier() for name in names):
        names = [f"input{i}" for i in range(count)] + ["params"]
    return signature(names)
