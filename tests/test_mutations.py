"""One thing wrong in any backward of the catalogue: the checker notices.

Every distinct backward, and every function of its module that it calls, is changed in one place by the rules of
``mutants.py``. The checker must refuse each mutant on an example of an operation with that backward, except where
the change cannot change a value: those are named in HARMLESS with the reason.
"""

import ast
import copy
import inspect
import random
import sys
from collections import Counter
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from conftest import SLOW
from mutants import RULES, Remembered, mutants, source_of

from l2l_ref.audit.check import examples
from l2l_ref.catalogue import OPERATIONS
from l2l_ref.checking import gradcheck, trees

ZERO = "-0.0 is 0.0"
SUM = "the axes of a sum have no order"
PRODUCT = "only their product is used"
CONSTANT = "it is read where b_t is a constant, whose gradient is not that of the loss: test_improvement.py has it"
EDGE_OF_CLIP = "at the edge of what is clipped the slopes of both sides are right"
EDGE = "at the edge of the cube any slope between those of its sides is right"
SHAPE = "e, f, y, mean and std have one shape"
ROWS = "every layer has as many rows"
ONE_SHAPE = "only the shape is used, and they have one"
ONE_COLUMN = "the product has one column, or row: 0 and -1 are the same"
STOPPED = "read where the gradient is stopped: test_dnc.py has it"
UNUSED = "where large does not hold, the divisor and with it d_large is not used"
SAMPLE = 40  # mutants of a function, unless all are asked for
D_K = "W * d_residual[:, None] @ W.swapaxes(1, 2)"
# function: {mutant: why the gradients stay the same}
HARMLESS = {
    "total": {"constant: axis=-1 -> axis=0": "directions_backward passes it one axis"},
    "clip_arrays_backward": {
        "cache: np.zeros_like(size) -> np.zeros_like(cache.factor)": "only its shape is used",
        "cache: np.zeros_like(size) -> np.zeros_like(cache.factor) (2)": "only its shape is used",
        "sign: np.zeros_like(size) -> -np.zeros_like(size)": ZERO,
        "sign: np.zeros_like(size) -> -np.zeros_like(size) (2)": ZERO,
    },
    "directions_backward": {
        "compare: np.abs(unclipped) > LARGEST -> np.abs(unclipped) >= LARGEST": EDGE_OF_CLIP,
        "index: d_o[:, :4] -> d_o[:, :5]": "of d_s the first four columns are read",
    },
    "into_cube_backward": {
        "compare: v.real > 1 -> v.real >= 1": EDGE,
        "compare: v.real < 0 -> v.real <= 0": EDGE,
        "sign: np.zeros_like(d_x) -> -np.zeros_like(d_x)": ZERO,
    },
    "usage_backward": {
        "sign: np.ones_like(keep[:, :1]) -> -np.ones_like(keep[:, :1])": "both products change their sign",
        "cache: keep[:, :1] -> cache.w_r[:, :1]": "only its shape is used",
        "sign: np.zeros_like(w) -> -np.zeros_like(w)": STOPPED,
        "constant: np.zeros_like(w) -> np.ones_like(w)": STOPPED,
        "cache: np.zeros_like(w) -> np.zeros_like(cache.psi)": STOPPED,
        "cache: np.zeros_like(w) -> np.zeros_like(cache.u)": STOPPED,
    },
    "allocation_backward": {
        **{f"cache: u.shape -> cache.{name}.shape": ONE_SHAPE for name in ("before", "order")},
        **{f"cache: u[:, 0] -> cache.{name}[:, 0]": ONE_SHAPE for name in ("before", "order")},
        "cache: np.empty_like(u) -> np.empty_like(cache.before)": ONE_SHAPE,
        "index: u[:, 0] -> u[:, -1]": ONE_SHAPE,
        "sign: np.empty_like(d_u) -> -np.empty_like(d_u)": "every entry is written before it is read",
        "sign: np.empty_like(u) -> -np.empty_like(u)": "every column is written before it is read",
        "sign: np.zeros_like(u[:, 0]) -> -np.zeros_like(u[:, 0])": ZERO,
    },
    "temporal_link_backward": {
        "cache: p.shape -> cache.w.shape": ONE_SHAPE,
        "index: (d_L_new @ p[:, :, None])[:, :, 0] -> (d_L_new @ p[:, :, None])[:, :, -1]": ONE_COLUMN,
        "index: (w[:, None] @ d_L_new)[:, 0] -> (w[:, None] @ d_L_new)[:, -1]": ONE_COLUMN,
    },
    "read_weighting_backward": {
        "swap: modes[:, :, k, None] -> modes[:, :, None, k]": "one number a head either way",
    },
    "erase_and_add_backward": {
        "index: (d_M_new @ write[:, :, None] - erased @ erase[:, :, None])[:, :, 0] -> "
        "(d_M_new @ write[:, :, None] - erased @ erase[:, :, None])[:, :, -1]": ONE_COLUMN,
        "index: (w[:, None] @ d_M_new)[:, 0] -> (w[:, None] @ d_M_new)[:, -1]": ONE_COLUMN,
        "index: (w[:, None] @ erased)[:, 0] -> (w[:, None] @ erased)[:, -1]": ONE_COLUMN,
    },
    "dnc_cell_backward": {
        "swap: (_, R, W) -> (_, W, R)": "only their product is used",
    },
    "sequence_backward": {
        "swap: (d_state, d_cell, d_W, d_b, d_x) -> (d_state, d_cell, d_b, d_W, d_x)":
            "two names for two zeros to begin a sum with",
    },
    "trajectory_backward": {
        "sign: np.empty_like(d_out.f) -> -np.empty_like(d_out.f)": "every column is written before it is read",
        "sign: d_y.dtype.type(0) -> -d_y.dtype.type(0)": ZERO,
        "sign: np.zeros_like(like.x) -> -np.zeros_like(like.x)": ZERO,
        "sign: np.zeros_like(like.z) -> -np.zeros_like(like.z)": ZERO,
        "sign: np.zeros_like(like.L) -> -np.zeros_like(like.L)": ZERO,
        "constant: in_place=True -> in_place=False": "a copy has the same values",
        "cache: x.shape -> cache.like.x.shape": "both have d columns, and no more is read",
    },
    "noisy_improvement_loss_backward": {  # of zeros that are added to; here the length scale is one number
        "sign: np.zeros((len(d_L), len(known)), d_L.dtype) -> -np.zeros((len(d_L), len(known)), d_L.dtype)": ZERO,
        "sign: np.zeros_like(length_scale, d_L.dtype) -> -np.zeros_like(length_scale, d_L.dtype)": ZERO,
        "cache: np.zeros_like(length_scale, d_L.dtype) -> np.zeros_like(cache.grad_through_incumbent, d_L.dtype)":
            ONE_SHAPE,
        "swap: (d_length_scale, d_variance, d_noise) -> (d_variance, d_length_scale, d_noise)": ZERO,
        "swap: (np.zeros_like(length_scale, d_L.dtype), number(0), number(0)) -> "
        "(number(0), np.zeros_like(length_scale, d_L.dtype), number(0))": ZERO,
    },
    "trajectory_loss_backward": {
        **{f"cache: out.f.shape -> cache.like.{name}.shape": SHAPE for name in ("e", "y", "mean", "std")},
    },
    "_times": {
        "index: (W @ v[:, :, None])[:, :, 0] -> (W @ v[:, :, None])[:, :, -1]": ONE_COLUMN,
    },
    "rosenbrock_backward": {
        "sign: np.zeros_like(theta) -> -np.zeros_like(theta)": ZERO,
    },
    "factorization_backward": {
        "swap: (_, p, q) -> (_, q, p)": PRODUCT,
    },
    "mlp_gradient_backward": {
        "index: linears[0] -> linears[-1]": ROWS,
    },
    "_backward_with_intermediates": {  # these lists are for mlp_gradient, which calls it on the way forward
        mutant: "not read by mlp_loss_backward; with it mlp_gradient_backward fails" for mutant in (
            "swap: (np.concatenate(pieces[::-1]), d_as[::-1], d_zs[::-1]) -> "
            "(np.concatenate(pieces[::-1]), d_zs[::-1], d_as[::-1])",
            "constant: ::-1 -> ::-2",
            "constant: ::-1 -> ::-2 (2)",
            "drop: d_as.append(d_a) -> pass",
            "drop: d_zs.append(d_z) -> pass",
            "sign: -1 -> 1",
            "sign: -1 -> 1 (2)",
            "swap: (pieces, d_as, d_zs) -> (d_as, pieces, d_zs)",
            "swap: (pieces, d_as, d_zs) -> (d_zs, d_as, pieces)",
            "swap: (pieces, d_as, d_zs) -> (pieces, d_zs, d_as)",
        )
    } | {"index: linears[0] -> linears[-1]": ROWS},
    "relu_backward": {
        "sign: np.zeros_like(d_r) -> -np.zeros_like(d_r)": ZERO,
    },
    "log_and_sign_backward": {
        "sign: np.ones_like(g) -> -np.ones_like(g)": UNUSED,
        "constant: np.ones_like(g) -> np.zeros_like(g)": UNUSED + "; it only keeps the division from warning",
        "cache: np.ones_like(g) -> np.ones_like(cache.large)": UNUSED,
        "cache: np.where(large, g, np.ones_like(g)) -> np.where(cache.g, g, np.ones_like(g))":
            "where large holds, g is not 0, so g is taken as before; " + UNUSED,
        "constant: copy=False -> copy=True": "a copy has the same values",
    },
    "step_backward": {
        "swap: (d_state, d_layers) -> (d_layers, d_state)": "two names for two new empty lists",
        "index: d_z[:, 0] -> d_z[:, -1]": "without preprocessing z_0 has one column, so d_z is (n, 1)",
    },
    "unroll_backward": {
        "sign: np.empty_like(d_updates) -> -np.empty_like(d_updates)": "every row is written before it is read",
    },
    "matrix_memory_backward": {
        "index: (d_i[:, None, :] @ M)[:, 0, :] -> (d_i[:, None, :] @ M)[:, -1, :]": ONE_COLUMN,
    },
    "window_memory_backward": {
        "index: (d_i[:, None, :] @ left)[:, 0, :] -> (d_i[:, None, :] @ left)[:, -1, :]": ONE_COLUMN,
        "index: (right @ d_along[:, :, None])[:, :, 0] -> (right @ d_along[:, :, None])[:, :, -1]": ONE_COLUMN,
        "cache: left.shape -> cache.right.shape": ONE_SHAPE,
    },
    "sharing_step_backward": {
        "constant: d_y.reshape(-1, d_y.shape[2]) -> d_y.reshape(-2, d_y.shape[2])": "NumPy counts what is left",
        "index: d_z[:, 0] -> d_z[:, -1]": "without preprocessing z_0 has one column, once i is cut off",
        "swap: (d_layers, d_params) -> (d_params, d_layers)": "two names for two new empty lists",
    },
    "sharing_unroll_backward": {
        "sign: np.empty_like(d_updates) -> -np.empty_like(d_updates)": "every row is written before it is read",
    },
    "quadratic_backward": {
        "index: (d_residual[:, None, :] @ W)[:, 0, :] -> (d_residual[:, None, :] @ W)[:, -1, :]":
            "the product is (B, 1, d): 0 and -1 are the same row",
    },
    "conv2d_backward": {
        "swap: (0, 1, 2) -> (1, 0, 2) (3)": SUM,
        "swap: (0, 1, 2) -> (2, 1, 0) (3)": SUM,
        "swap: (0, 1, 2) -> (0, 2, 1) (3)": SUM,
        **{f"swap: (d_x, None, None) -> {other}": "read without weight_gradients: test_images.py has it"
           for other in ("(None, d_x, None)", "(None, None, d_x)")},
    },
    "_input_gradient": {
        "sign: np.zeros(place.padded, d_p.dtype) -> -np.zeros(place.padded, d_p.dtype)": ZERO,
    },
    "max_pool_backward": {
        "sign: np.zeros(place.padded, d_y.dtype) -> -np.zeros(place.padded, d_y.dtype)": ZERO,
        "index: place.size[1] -> place.size[0]": "windows are square",
    },
    "total_variation_backward": {
        "sign: np.zeros((N, P, Q, C), across.dtype) -> -np.zeros((N, P, Q, C), across.dtype)": ZERO,
        "swap: ((scale * down, d_F[:, 1:], d_F[:, :-1]), (scale * across, d_F[:, :, 1:], d_F[:, :, :-1])) -> "
        "((scale * across, d_F[:, :, 1:], d_F[:, :, :-1]), (scale * down, d_F[:, 1:], d_F[:, :-1]))":
            "the terms of a sum have no order",
    },
    "gram_backward": {
        "swap: (_, P, Q, _) -> (_, Q, P, _)": PRODUCT,
        "transpose: cache.F @ d_both[:, None] -> cache.F @ d_both[:, None].swapaxes(-1, -2)": "it is symmetric",
    },
    "content_loss_backward": {
        "swap: (_, P, Q, C) -> (_, Q, P, C)": PRODUCT,
        "swap: (_, P, Q, C) -> (_, C, Q, P)": PRODUCT,
        "swap: (_, P, Q, C) -> (_, P, C, Q)": PRODUCT,
    },
    "style_loss_backward": {
        "swap: (_, C, _) -> (_, _, C)": "the Gram matrix is square",
    },
    "convnet_loss_backward": {
        "compare: k > 1 -> k >= 1": "the gradient with respect to the images is computed and not used",
        "constant: k > 1 -> k > 0": "the gradient with respect to the images is computed and not used",
    },
    "style_transfer_loss_backward": {
        "constant: (255 * d_x + d_smooth).reshape(len(d_x), -1) -> (255 * d_x + d_smooth).reshape(len(d_x), -2)":
            "NumPy takes any negative number for the rest",
    },
    "features_backward": {
        "constant: weight_gradients=False -> weight_gradients=True": "they are computed and not used",
    },
    "squared_distance_backward": {
        "swap: (0, 1, 2) -> (1, 0, 2)": SUM,
        "swap: (0, 1, 2) -> (2, 1, 0)": SUM,
        "swap: (0, 1, 2) -> (0, 2, 1)": SUM,
    },
    "solve_lower_backward": {
        "sign: np.zeros_like(L) -> -np.zeros_like(L)": ZERO,
    },
    "gp_append_backward": {
        "index: d_x[:, 0] -> d_x[:, -1]": "d_x is (B, 1, d): 0 and -1 are the same row",
        "constant: d_out, cache, in_place=False -> d_out, cache, in_place=True":
            "the same gradients, written into d_out: the checker refuses it for that",
    },
    "gp_sample_backward": {
        "sign: np.empty_like(d_state.x) -> -np.empty_like(d_state.x)": "every row is written before it is read",
        "sign: np.empty_like(d_f) -> -np.empty_like(d_f)": "every column is written before it is read",
        "sign: np.zeros(B, d_f.dtype) -> -np.zeros(B, d_f.dtype)": ZERO,
        "sign: d_f.dtype.type(0) -> -d_f.dtype.type(0)": ZERO,
        "constant: in_place=True -> in_place=False": "copies have the same values",
    },
    "gp_initial_state": {
        "sign: np.zeros((*shape, B), dtype) -> -np.zeros((*shape, B), dtype)": ZERO,
        "sign: np.moveaxis(np.zeros((*shape, B), dtype), -1, 0) -> "
        "-np.moveaxis(np.zeros((*shape, B), dtype), -1, 0)": ZERO,
        "constant: t=0 -> t=1": "no backward reads t of a d_state",
        "constant: t=0 -> t=-1": "no backward reads t of a d_state",
    },
    "gp_posterior_backward": {
        "swap: (d_rows, d_columns, d_length_scale_K, d_variance_K) -> "
        "(d_columns, d_rows, d_length_scale_K, d_variance_K)": "only their sum is used",
        f"transpose: {D_K} -> ({D_K}).swapaxes(-1, -2)": "it is symmetric",
    },
    "incumbent_backward": {
        "sign: np.zeros((len(d_b), T), d_b.dtype) -> -np.zeros((len(d_b), T), d_b.dtype)": ZERO,
    },
    "expected_improvement_loss_backward": {
        "sign: np.zeros_like(d_y[:, :1]) -> -np.zeros_like(d_y[:, :1])": ZERO,
        "sign: np.zeros_like(d_b) -> -np.zeros_like(d_b)": ZERO,
        "constant: np.zeros_like(d_b) -> np.ones_like(d_b)": CONSTANT,
    },
    "observed_improvement_loss_backward": {
        "sign: np.zeros_like(d_change) -> -np.zeros_like(d_change)": ZERO,
        "constant: np.zeros_like(d_change) -> np.ones_like(d_change)": CONSTANT,
    },
    "final_loss_backward": {
        "sign: np.zeros((len(d_L), cache.steps), d_L.dtype) -> -np.zeros((len(d_L), cache.steps), d_L.dtype)": ZERO,
    },
    "best_loss_backward": {
        "sign: np.zeros((len(d_L), cache.steps), d_L.dtype) -> -np.zeros((len(d_L), cache.steps), d_L.dtype)": ZERO,
    },
}

BACKWARDS = list(dict.fromkeys(op.backward for op in OPERATIONS))


def with_helpers(function):
    """The function and the functions of its module that it calls, those that they call, ...; no other backward."""
    found = [function]
    for one in found:
        names = {node.id for node in ast.walk(source_of(one)) if isinstance(node, ast.Name)}
        called = [vars(sys.modules[one.__module__]).get(name) for name in sorted(names)]
        found += [
            other for other in called
            if inspect.isfunction(other) and other.__module__ == one.__module__ and other not in found + BACKWARDS
        ]
    return found


PARTS = [pytest.param(b, part, id=part.__name__) for b in BACKWARDS for part in with_helpers(b)]


def compiled(backward, part=None, tree=None):
    """The backward with its helpers, one part of which has become ``tree``, in a namespace of its own."""
    namespace = dict(vars(sys.modules[backward.__module__]))
    for function in with_helpers(backward):
        source = tree if function is part else source_of(function)
        exec(compile(source, f"<{function.__name__}>", "exec"), namespace)
    return namespace[backward.__name__]


class Example(NamedTuple):
    """What an operation is checked on, with the gradients of the right backward."""

    operation: object
    forward: Remembered
    inputs: tuple
    gradients: object
    work: int  # about proportional to the time of a check: entries to differentiate in times arrays of the cache

    def pull(self, backward):
        """The gradients by path, for a fixed cotangent; the forward runs anew, as a mutant may write into its cache."""
        out, cache = self.operation.forward(*copy.deepcopy(self.inputs))
        rng = np.random.default_rng(1)
        cotangent = (trees.like(rng.standard_normal(np.shape(leaf)), leaf) for _, leaf in trees.leaves(out))
        return trees.leaves(backward(trees.rebuild(out, cotangent), cache))

    def difference(self, backward):
        """0 when the gradients are the right ones bit for bit; infinite when there are none, or of other shapes."""
        try:
            gradients = self.pull(backward)
        except Exception:
            return np.inf
        if [path for path, _ in gradients] != [path for path, _ in self.gradients]:
            return np.inf
        return max(differ(a, b) for (_, a), (_, b) in zip(gradients, self.gradients))

    def refuses(self, backward):
        try:
            return not gradcheck(self.forward, self.forward.backward(backward), self.inputs, seed=0).ok
        except Exception:
            return True


def differ(a, b):
    """How much two gradients differ, relative to the second."""
    if a is None or b is None or np.shape(a) != np.shape(b) or np.asarray(a).dtype != np.asarray(b).dtype:
        return 0.0 if a is b else np.inf
    if np.asarray(a).tobytes() == np.asarray(b).tobytes():
        return 0.0
    tiny = np.finfo(float).tiny
    error = np.max(np.abs(a - b)) / max(np.max(np.abs(b)), tiny)
    return np.inf if np.isnan(error) else max(error, tiny)  # at least tiny: -0.0 is not 0.0


@cache
def examples_of(backward):
    """The Examples of all operations with this backward on which the checker accepts it, the cheapest first."""
    found = []
    for operation in OPERATIONS:
        for draw in examples(operation).values() if operation.backward is backward else ():
            inputs = draw(np.random.default_rng(0))
            _, cache = operation.forward(*inputs)
            entries = sum(np.size(leaf) for _, leaf in trees.leaves(inputs) if trees.is_floating(leaf))
            work = entries * len(trees.leaves(cache))
            example = Example(operation, Remembered(operation.forward), inputs, None, work)
            found.append(example._replace(gradients=example.pull(backward)))
    found = [example for example in found if not example.refuses(backward)]
    return sorted(found, key=lambda example: example.work)


@cache
def alike(backward, part):
    """{an array of the cache, as the part names it: all others of the same shape}, as sources."""
    found = {}
    for operation in OPERATIONS:
        if operation.backward is not backward or part is not backward:
            continue
        _, cache = operation.forward(*operation.example(np.random.default_rng(0)))
        nodes = list(ast.walk(source_of(part)))
        known = {"cache": cache}
        for node in nodes:
            if isinstance(node, ast.Assign) and ast.unparse(node.value) == "cache":
                known |= zip(map(ast.unparse, node.targets[0].elts), cache)
        for node in nodes:
            array = value_of(node, known)
            if isinstance(array, np.ndarray):
                others = [path for path, leaf in trees.leaves(cache, "cache")
                          if np.shape(leaf) == array.shape and leaf is not array]
                found[ast.unparse(node)] = list(dict.fromkeys(found.get(ast.unparse(node), []) + others))
    return found


def value_of(node, known):
    """What a name or an attribute stands for, where ``known`` says so; else None."""
    try:
        return eval(ast.unparse(node), {}, known) if isinstance(node, (ast.Name, ast.Attribute)) else None
    except (NameError, AttributeError):
        return None


@cache
def mutants_of(backward, part):
    return list(mutants(part, alike(backward, part)))


def is_caught(backward, wrong):
    """Whether the checker refuses a backward on an example; those that show most for least work are tried first.

    Where the gradients are the right ones bit for bit the checker has nothing to refuse.
    """
    found = [(example, example.difference(wrong)) for example in examples_of(backward)]
    plain = [example for example, difference in found if difference > 1e-8]
    rounding = [example for example, difference in found if 0 < difference <= 1e-8]
    return any(example.refuses(wrong) for example in plain + rounding)


@pytest.mark.parametrize("backward, part", PARTS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_every_mutant_is_caught_but_the_harmless_ones(backward, part):
    harmless = HARMLESS.get(part.__name__, {})
    made = {str(mutant): mutant for mutant in mutants_of(backward, part)}
    assert set(harmless) <= set(made), "harmless, but not a mutant"
    tried = sorted(made)
    if not SLOW and len(tried) > SAMPLE:
        tried = random.Random(part.__name__).sample(tried, SAMPLE)
    survivors = {name for name in tried if not is_caught(backward, compiled(backward, part, made[name].tree))}
    assert survivors == set(harmless) & set(tried)


@pytest.mark.parametrize("backward", BACKWARDS, ids=lambda backward: backward.__name__)
def test_an_unchanged_copy_passes(backward):
    """Otherwise every mutant would fail, whatever was changed in it."""
    copied = compiled(backward)
    assert copied is not backward
    assert all(example.difference(copied) == 0 for example in examples_of(backward))
    for operation in OPERATIONS:
        if operation.backward is backward:
            gradcheck(operation.forward, copied, operation.example(np.random.default_rng(0))).raise_if_failed()


def test_there_are_mutants_of_every_kind():
    made = [mutants_of(*part.values) for part in PARTS]
    assert all(len(set(map(str, some))) == len(some) > 0 for some in made), "two mutants of one name, or none"
    assert set(HARMLESS) <= {part.id for part in PARTS}
    kinds = Counter(mutant.kind for some in made for mutant in some)
    assert set(kinds) == {*RULES, "cache"}
    assert kinds.total() >= 500, kinds
