"""The compiled twins that have a backward pass, on the examples of their originals; none where numba does not work."""

from functools import partial

from .. import backends
from . import gaussian_processes, images, layers, memory, meta_gradients, recurrent
from .operation import Operation

# The parts of `backends.PARTS` that hold a pair, and the operations of the originals.
PAIRS = {
    "lstm": (recurrent, ("lstm_cell",)),
    "heads": (memory, ("memory_access",)),
    "activations": (layers, ("relu",)),
    "convolution": (images, ("conv2d", "conv2d, stride 2", "conv2d, valid", "max_pool", "max_pool, overlapping")),
    "normalization": (images, ("batch_norm", "batch_norm with gain")),
    "gp": (gaussian_processes, ("gp_append", "gp_sample", "gp_sample with matern32", "gp_sample with matern52")),
    "surrogate": (gaussian_processes, (
        "log_improvement", "log_improvement in six dimensions", "log_improvement without variance")),
}
BY_BACKEND = (meta_gradients, ("meta_gradient", "second_order_meta_gradient"))  # these take the backend by its name


def _twins():
    for part, (chapter, names) in PAIRS.items():
        module = backends.choose(part, "numba")
        for operation in _named(chapter, names):
            forward = getattr(module, operation.pair.__name__)
            if isinstance(operation.forward, partial):
                forward = partial(forward, **operation.forward.keywords)
            yield _compiled(operation, forward)
    for operation in _named(*BY_BACKEND):
        yield _compiled(operation, partial(operation.forward, backend="numba"))


def _named(chapter, names):
    return [operation for operation in chapter.OPERATIONS if operation.name in names]


def _compiled(operation: Operation, forward) -> Operation:
    """The operation with another forward, for real numbers only."""
    return operation._replace(name=f"{operation.name}, compiled", forward=forward, analytic=False)


try:
    OPERATIONS: tuple[Operation, ...] = tuple(_twins())
except ImportError:
    OPERATIONS = ()
