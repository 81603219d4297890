"""What does not fit is refused by every compiled function before a kernel runs: no process dies, no array is left.

The arrays of each call lie at the end of a page behind which another begins that may not be touched, so a kernel that
leaves an array kills the process. The calls are therefore made in a process of their own.
"""

import ctypes
import mmap
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, SLOW

from l2l_ref import backends
from l2l_ref.learned import coordinatewise
from l2l_ref.learned.cells import cell_of
from l2l_ref.learned.moments_mlp import State as MomentsState
from l2l_ref.learned.propose import proposer_init
from l2l_ref.ops.gated_sum import GatedSumParams
from l2l_ref.ops.gp import Draw, gp_initial_state
from l2l_ref.ops.heads import memory_initial_state
from l2l_ref.ops.lstm import LSTMState, lstm_init
from l2l_ref.ops.moments import arrays_of
from l2l_ref.ops.surrogate import Hyperparameters
from l2l_ref.trees import flatten, leaves, unflatten

MISFITS = 100
REFUSED = (ValueError, TypeError)


# --------------------------------------------------------------------- a call of each function, in float32 or float64


def normal(rng, dtype):
    return lambda *shape: rng.standard_normal(shape).astype(dtype)


def cast(tree, dtype):
    return unflatten(flatten(tree).astype(dtype), tree)


def lstm_cell(module, rng, dtype):
    draw = normal(rng, dtype)
    return draw(5, 3), LSTMState(draw(5, 4), draw(5, 4)), cast(lstm_init(rng, 3, 4), dtype)


def lstm_cell_backward(module, rng, dtype):
    state, cache = module.lstm_cell(*lstm_cell(module, rng, dtype))
    return LSTMState(*map(np.ones_like, state)), cache


def memory_access(module, rng, dtype):
    B, N, W, R = 3, 5, 4, 2
    memory = memory_initial_state(B, N, W, R, dtype)
    return normal(rng, dtype)(B, R * W + 3 * W + 5 * R + 3), type(memory)(*(a + dtype(0.01) for a in memory))


def memory_access_backward(module, rng, dtype):
    (read, memory), cache = module.memory_access(*memory_access(module, rng, dtype))
    return (np.ones_like(read), type(memory)(*map(np.ones_like, memory))), cache


def gp_append(module, rng, dtype):
    state, draw = gp_initial_state(3, 4, 2, dtype), normal(rng, dtype)
    (_, state), _ = module.gp_append(state, draw(3, 2), draw(3), 0.5, 1.0)
    return state, draw(3, 2), draw(3), 0.5, 1.0


def gp_append_backward(module, rng, dtype):
    (draw, state), cache = module.gp_append(*gp_append(module, rng, dtype))
    return (Draw(*(np.ones_like(a) for a in draw)), gp_initial_state(3, 4, 2, dtype)), cache


def gp_sample(module, rng, dtype):
    draw = normal(rng, dtype)
    return draw(3, 4, 2), draw(3, 4), 0.5, 1.0


def gp_sample_backward(module, rng, dtype):
    f, cache = module.gp_sample(*gp_sample(module, rng, dtype))
    return np.ones_like(f), cache


def optimizer(rng, dtype, inputs=1):
    params = cast(coordinatewise.init_params(rng, (4, 3), inputs), dtype)
    return params, coordinatewise.init_state(6, params)


def packed(module, rng, dtype):
    return optimizer(rng, dtype)[:1]


def step_inference(module, rng, dtype):
    params, state = optimizer(rng, dtype)
    return normal(rng, dtype)(6), state, params


def meta_gradient(module, rng, dtype):
    params, state = optimizer(rng, dtype, 2)
    draw = normal(rng, dtype)
    return draw(5, 6), draw(5, 6), state, params, 10.0


def propose(rng, dtype, cell):
    params = cast(proposer_init(rng, 2, 4, cell), dtype)
    return normal(rng, dtype)(3, 4), cell.initial_state(3, params.cell), params


def propose_inference(module, rng, dtype):
    return propose(rng, dtype, cell_of("lstm", None))


def dnc_propose_inference(module, rng, dtype):
    return propose(rng, dtype, cell_of("dnc", (5, 4, 2)))


def shared_propose_inference(module, rng, dtype):
    return propose(rng, dtype, cell_of("shared", dim=2))


def conv2d(module, rng, dtype):
    draw = normal(rng, dtype)
    return draw(2, 5, 6, 3), draw(3, 2, 3, 4), draw(4), 2


def conv2d_backward(module, rng, dtype):
    y, cache = module.conv2d(*conv2d(module, rng, dtype))
    return np.ones_like(y), cache


def max_pool(module, rng, dtype):
    return normal(rng, dtype)(2, 5, 6, 3), 2


def max_pool_backward(module, rng, dtype):
    y, cache = module.max_pool(*max_pool(module, rng, dtype))
    return np.ones_like(y), cache


def relu(module, rng, dtype):
    return (normal(rng, dtype)(3, 4),)


def relu_backward(module, rng, dtype):
    r, cache = module.relu(*relu(module, rng, dtype))
    return np.ones_like(r), cache


def batch_norm(module, rng, dtype):
    draw = normal(rng, dtype)
    return draw(6, 3), draw(3), draw(3)


def batch_norm_backward(module, rng, dtype):
    y, cache = module.batch_norm(*batch_norm(module, rng, dtype))
    return np.ones_like(y), cache


def evidence(module, rng, dtype):
    """Eight points, of which seven have a value and six of these count; three sets of hyperparameters; float64 only."""
    draw = normal(rng, np.float64)
    hyperparameters = Hyperparameters(1 + draw(3, 2) ** 2, 0.1 + draw(3) ** 2, draw(3) ** 2)
    return draw(8, 2), draw(7), hyperparameters, 6


def surrogate(module, rng, dtype):
    x, y, hyperparameters, counted = evidence(module, rng, dtype)
    return x, y, hyperparameters, module.evidence(x, y, hyperparameters, counted)[1], np.full(3, 1 / 3)


def log_improvement(module, rng, dtype):
    return normal(rng, np.float64)(4, 2), module.surrogate(*surrogate(module, rng, dtype))


def log_improvement_backward(module, rng, dtype):
    log, cache = module.log_improvement(*log_improvement(module, rng, dtype))
    return np.ones_like(log), cache


def climb(module, rng, dtype):
    q, s = log_improvement(module, rng, dtype)
    return np.clip(q, 0, 1), s, np.ones(2), 0  # what steps make of rounding is another test's


def is_useless(module, rng, dtype):
    return rng.random((6, 3)), 4, rng.random(2), 0.2, 0.5


def distances(module, rng, dtype):
    return rng.random((5, 3)), rng.random((4, 2))


def moments_of(rng, dtype):
    """A gradient, running means and the arrays of two functions."""
    arrays = arrays_of([(2, 3), (4,)], 2)
    n = int(arrays.size.sum())
    gradient, m, x = (rng.standard_normal(shape).astype(dtype) for shape in (n, (3, n), n))
    return arrays, n, gradient, m, x, rng.random((2, n)).astype(dtype)


def advance(module, rng, dtype):
    arrays, n, gradient, m, x, v = moments_of(rng, dtype)
    A = len(arrays.size)
    state = MomentsState(m, v, x, np.zeros((5, A), dtype), *(np.ones(A, dtype) for _ in range(4)), 3)
    return gradient, state, arrays


def gated_update(module, rng, dtype):
    arrays, n, gradient, m, x, v = moments_of(rng, dtype)
    params = GatedSumParams(*(0.3 * rng.standard_normal(shape).astype(dtype) for shape in ((20, 5), 5, (5, 8), 8)))
    A = len(arrays.size)
    shared = rng.standard_normal((A, 15)).astype(dtype)
    return gradient, m, v, x, 4, rng.random(A).astype(dtype), shared, arrays, params


CALLS = {
    "lstm": (lstm_cell, lstm_cell_backward), "heads": (memory_access, memory_access_backward),
    "gp": (gp_append, gp_append_backward, gp_sample, gp_sample_backward),
    "coordinatewise": (packed, step_inference, meta_gradient),
    "moments_mlp": (advance, gated_update),
    "propose": (propose_inference, dnc_propose_inference, shared_propose_inference),
    "convolution": (conv2d, conv2d_backward, max_pool, max_pool_backward), "activations": (relu, relu_backward),
    "normalization": (batch_norm, batch_norm_backward),
    "stepping": (is_useless, distances),
    "surrogate": (evidence, surrogate, log_improvement, log_improvement_backward, climb),
}
# Those whose functions return a cache, too.
PAIRS = {"lstm", "heads", "gp", "convolution", "activations", "normalization", "surrogate"}
FUNCTIONS = [(part, call.__name__) for part, calls in CALLS.items() for call in calls]


# ------------------------------------------------------------------------------------------------------- misfits


def guarded(array):
    """A copy that ends where a page begins that may not be touched; of what is no plain array, the thing itself."""
    if type(array) is not np.ndarray or array.dtype.hasobject or not sys.platform.startswith("linux"):
        return array
    if not array.flags.c_contiguous:
        return guarded(array.T).T if array.T.flags.c_contiguous else array
    page = mmap.PAGESIZE
    pages = -(-array.nbytes // page)
    memory = mmap.mmap(-1, (pages + 1) * page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    ctypes.CDLL(None).mprotect(ctypes.c_void_p(address + pages * page), ctypes.c_size_t(page), 0)
    copy = np.frombuffer(memory, np.uint8)[pages * page - array.nbytes : pages * page].view(array.dtype)
    copy = copy.reshape(array.shape)
    copy[...] = array
    copy.flags.writeable = array.flags.writeable
    return copy


def resized(rng, array):
    """The same with an axis longer, shorter, empty, added, taken away or moved."""
    axes, axis = array.ndim, int(rng.integers(max(array.ndim, 1)))
    choices = [lambda: array[None], lambda: array[..., None], lambda: np.zeros((), array.dtype)]
    if axes:
        choices += [lambda: np.repeat(array, 2, axis), lambda: np.repeat(array, 50, axis),
                    lambda: np.concatenate([array, array.take([0], axis)], axis),
                    lambda: array.take(range(array.shape[axis] - 1), axis), lambda: array.take([0], axis),
                    lambda: array.take([], axis), lambda: array.take(0, axis)]
    if axes > 1:
        choices += [lambda: array.swapaxes(0, -1), lambda: array.ravel()]
    return choices[rng.integers(len(choices))]()


def retyped(rng, array):
    """The same values in another form, some of which no kernel may see."""
    other = np.float32 if array.dtype == np.float64 else np.float64
    choices = [
        lambda: array.astype(other), lambda: array.astype(complex), lambda: array.astype(object),
        lambda: array.astype(int), lambda: array.astype(bool), lambda: array.astype(np.float16),
        lambda: array.astype(np.longdouble), lambda: array.astype(str), lambda: array.astype("M8[s]"),
        lambda: array.astype(array.dtype.newbyteorder()), lambda: array.tolist(), lambda: None, lambda: "array",
        lambda: 1.0, lambda: unaligned(array), lambda: array[..., ::-1].copy()[..., ::-1], lambda: array.copy("F"),
        lambda: np.repeat(array, 2, -1)[..., ::2] if array.ndim else array,
    ]
    if SLOW:
        choices.append(lambda: read_only(array))  # for which a kernel is compiled anew
    return choices[rng.integers(len(choices))]()


def unaligned(array):
    copy = np.empty(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def read_only(array):
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def replaced(tree, at, new):
    """The tree with its leaf number ``at`` replaced, and the others guarded."""
    counter = iter(range(len(leaves(tree))))

    def build(node):
        if isinstance(node, tuple):
            parts = [build(part) for part in node]
            return type(node)(*parts) if hasattr(node, "_fields") else tuple(parts)
        return new if next(counter) == at else guarded(node)

    return build(tree)


def misfit(rng, arguments, others):
    """The arguments with one array that does not fit, or with a part of those of a larger model."""
    if rng.random() < 0.1:
        at = int(rng.integers(len(arguments)))
        return (*arguments[:at], others[at], *arguments[at + 1 :])
    parts = leaves(arguments)
    places = [k for k, part in enumerate(parts) if isinstance(part, np.ndarray) and part.ndim]
    at = places[rng.integers(len(places))]
    change = resized if rng.random() < 0.6 else retyped
    return replaced(arguments, at, guarded(change(rng, parts[at])))


def call_misfits(part, name, seed):
    """Make the calls, and print how many were refused."""
    module, original = backends.choose(part, "numba"), backends.choose(part, "numpy")
    rng, make = np.random.default_rng(seed), {call.__name__: call for call in CALLS[part]}[name]
    refused = 0
    for _ in range(MISFITS):
        dtype = (np.float32, np.float64)[rng.integers(2)] if SLOW else np.float32
        backward = name.endswith("_backward")
        arguments = make(module, rng, dtype)
        # What fits otherwise is compared with the original, in which a cache of the twin has no meaning.
        changed = (arguments[0],) if backward else arguments
        # With a state that is larger along every axis there is more to read than there should be, not less.
        larger = tuple(np.repeat(a, 3, -1) if isinstance(a, np.ndarray) else a for a in changed)
        given = misfit(rng, changed, larger)
        try:
            result = getattr(module, name)(*given, *(arguments[1:] if backward else ()))
        except REFUSED as error:
            refused += 1
            assert str(error), error
            continue
        types = {getattr(part, "dtype", None) for part in leaves(given)}
        if name != "packed" and not backward and not (part == "surrogate" and np.dtype(np.longdouble) in types):
            half = np.dtype(np.float16) in types
            tolerance = 1e-2 if half else 1e-4  # the original computes in half precision
            expected = getattr(original, name)(*given)
            if part in PAIRS and isinstance(result, tuple):
                expected, result = expected[0], result[0]
            for got, wanted in zip(leaves(result), leaves(expected), strict=True):
                np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance / 10)
    print(refused)


def run_program(program):
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300,
                          env={**os.environ, "PYTHONPATH": path})


@pytest.mark.parametrize("part, name", FUNCTIONS)
def test_a_misfit_is_refused_before_a_kernel_runs(part, name):
    done = run_program(f"import test_misfits; test_misfits.call_misfits({part!r}, {name!r}, 0)")
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr[-3000:]}"
    # To relu every shape is right, and advance does not read half of the state.
    assert int(done.stdout) > MISFITS // {"relu": 5, "advance": 4}.get(name, 3)


def test_every_compiled_function_with_arguments_is_tried():
    for part in backends.PARTS:
        module, original = backends.choose(part, "numba"), backends.choose(part, "numpy")
        shared = {name for name, value in vars(module).items()
                  if not name.startswith("_") and callable(value) and callable(getattr(original, name, None))
                  and getattr(value, "__module__", None) == module.__name__ and not isinstance(value, type)}
        assert shared <= {call.__name__ for call in CALLS.get(part, ())}, part


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="guard pages are made by mprotect")
def test_a_guarded_array_cannot_be_left():
    program = ("import ctypes, numpy as np, test_misfits; a = test_misfits.guarded(np.ones(3)); "
               "ctypes.string_at(a.ctypes.data, a.nbytes); print('inside', flush=True); "
               "ctypes.string_at(a.ctypes.data, a.nbytes + 1)")
    done = run_program(program)
    assert done.stdout == "inside\n" and done.returncode < 0
