"""The heads of a differentiable neural computer: one that writes, R that read, and its external memory.

Dims: B memories at once, N slots of W numbers each, R read heads.

    J1   xi -> what the read heads and the write head are told        numbers of the ``ReadInterface``, then of the
               ``WriteInterface``, each brought into its range: (B, R W + 3 W + 5 R + 3)
    J2   w' = write weighting of M, and usage, links and precedence   W1 to W8
    J3   M' = M (1 - w' e^T) + w' v^T                                 erase and add, (B, N, W)
    J4   w'_r = read weighting of M'                                  W1, W2, W9, W10
    J5   r_r = M'^T w'_r                                              what is read, (B, R, W)

The write comes before the read: heads read the memory and the links as this step's write has left them.

Source: Graves et al. 2016, Methods. There the read modes come last in xi.
Twin: compiled/heads.py.
"""

from typing import NamedTuple

import numpy as np

from ..checks import require_shape
from . import addressing
from .activations import oneplus, oneplus_backward, sigmoid, sigmoid_backward, softmax, softmax_backward


class ReadInterface(NamedTuple):
    """What the controller tells the read heads."""

    key: np.ndarray       # (B, R, W)
    strength: np.ndarray  # (B, R), above 1
    mode: np.ndarray      # (B, R, 3), on the simplex: backward, content, forward


class WriteInterface(NamedTuple):
    """What the controller tells the write head."""

    key: np.ndarray              # (B, 1, W)
    strength: np.ndarray         # (B, 1), above 1
    erase: np.ndarray            # (B, W), in (0, 1)
    write: np.ndarray            # (B, W)
    free_gate: np.ndarray        # (B, R), in (0, 1): whether a slot that was read is free again
    allocation_gate: np.ndarray  # (B,), in (0, 1): whether to write to a free slot or by content
    write_gate: np.ndarray       # (B,), in (0, 1): whether to write


ONEPLUS, SIGMOID, SOFTMAX = (oneplus, oneplus_backward), (sigmoid, sigmoid_backward), (softmax, softmax_backward)
# What brings each field into its range, in the order of xi.
RANGES = (None, ONEPLUS, SOFTMAX, None, ONEPLUS, SIGMOID, None, SIGMOID, SIGMOID, SIGMOID)


def interface_shapes(word, heads):
    """The shapes of the fields of both interfaces without B, in the order of xi."""
    W, R = word, heads
    return (R, W), (R,), (R, 3), (1, W), (1,), (W,), (W,), (R,), (), ()


def interface_size(word, heads):
    """Numbers of xi: R W + 3 W + 5 R + 3."""
    return sum(int(np.prod(shape)) for shape in interface_shapes(word, heads))


class Memory(NamedTuple):
    """The external memory and what is known of its use."""

    M: np.ndarray    # (B, N, W)
    u: np.ndarray    # (B, N), usage
    L: np.ndarray    # (B, N, N), temporal links
    p: np.ndarray    # (B, N), precedence
    w: np.ndarray    # (B, N), write weighting
    w_r: np.ndarray  # (B, R, N), read weightings


def memory_initial_state(B, slots, word, heads, dtype=np.float64):
    """The Memory before the first step: zeros."""
    shapes = (slots, word), (slots,), (slots, slots), (slots,), (slots,), (heads, slots)
    return Memory(*(np.zeros((B, *shape), dtype) for shape in shapes))


class SplitCache(NamedTuple):
    caches: tuple  # of each field, None for one without a range


def split_interface(xi, word, heads):
    """J1. xi (B, interface size) -> (ReadInterface, WriteInterface), cache.

    ``word`` and ``heads`` are W and R. Raises ValueError on another size.
    """
    require_shape("xi", xi, B=None, size=interface_size(word, heads))
    fields, caches, at = [], [], 0
    for shape, pair in zip(interface_shapes(word, heads), RANGES):
        size = int(np.prod(shape))
        field, cache = xi[:, at : at + size].reshape(len(xi), *shape), None  # J1
        if pair:
            field, cache = pair[0](field)                            # J1
        fields.append(field)
        caches.append(cache)
        at += size
    return (ReadInterface(*fields[:3]), WriteInterface(*fields[3:])), SplitCache(tuple(caches))


def split_interface_backward(d_out, cache):
    """(d_read_interface, d_write_interface) -> d_xi (B, interface size), None, None."""
    d_read, d_write = d_out
    parts = [
        pair[1](d_field, field_cache) if pair else d_field           # J1
        for d_field, pair, field_cache in zip((*d_read, *d_write), RANGES, cache.caches)
    ]
    return np.concatenate([part.reshape(len(part), int(np.prod(part.shape[1:]))) for part in parts], axis=1), None, None


class EraseAndAddCache(NamedTuple):
    M: np.ndarray      # (B, N, W)
    w: np.ndarray      # (B, N)
    erase: np.ndarray  # (B, W)
    write: np.ndarray  # (B, W)


def erase_and_add(M, w, erase, write):
    """J3. M (B, N, W), w (B, N), erase (B, W), write (B, W) -> M', cache. Raises ValueError on other shapes."""
    require_shape("M", M, B=None, N=None, W=None)
    B, N, W = M.shape
    require_shape("w", w, B=B, N=N)
    require_shape("erase", erase, B=B, W=W)
    require_shape("write", write, B=B, W=W)
    w = w[:, :, None]
    return M * (1 - w * erase[:, None]) + w * write[:, None], EraseAndAddCache(M, w[:, :, 0], erase, write)  # J3


def erase_and_add_backward(d_M_new, cache):
    """d_M' (B, N, W) -> d_M (B, N, W), d_w (B, N), d_erase (B, W), d_write (B, W)."""
    M, w, erase, write = cache
    d_M = d_M_new * (1 - w[:, :, None] * erase[:, None])             # J3
    erased = d_M_new * M
    d_w = (d_M_new @ write[:, :, None] - erased @ erase[:, :, None])[:, :, 0]  # J3
    d_erase = -(w[:, None] @ erased)[:, 0]                           # J3
    return d_M, d_w, d_erase, (w[:, None] @ d_M_new)[:, 0]           # J3


class WriteHeadCache(NamedTuple):
    usage: tuple
    allocation: tuple
    content: tuple
    weighting: tuple
    memory: tuple
    link: tuple


def write_head(memory, interface, grad_through_write=True):
    """J2 and J3: decide where to write, and write.

    memory, WriteInterface -> memory', cache. Its read weightings are those of before. ``grad_through_write`` as in `usage`.
    """
    M, u, L, p, w, w_r = memory
    u, usage_cache = addressing.usage(u, w, interface.free_gate, w_r, grad_through_write)  # J2: W3, W4
    a, allocation_cache = addressing.allocation(u)                   # J2: W5
    c, content_cache = addressing.content_weighting(M, interface.key, interface.strength)  # J2: W1, W2
    gates = interface.allocation_gate, interface.write_gate
    w, weighting_cache = addressing.write_weighting(a, c[:, 0], *gates)  # J2: W6
    M, memory_cache = erase_and_add(M, w, interface.erase, interface.write)  # J3
    (L, p), link_cache = addressing.temporal_link(L, p, w)           # J2: W7, W8
    return Memory(M, u, L, p, w, w_r), WriteHeadCache(
        usage_cache, allocation_cache, content_cache, weighting_cache, memory_cache, link_cache
    )


def write_head_backward(d_memory_new, cache):
    """d_memory' -> d_memory, d_interface; the last step first."""
    d_M, d_u, d_L, d_p, d_w, d_w_r = d_memory_new
    d_L, d_p, d_w_link = addressing.temporal_link_backward((d_L, d_p), cache.link)  # J2: W7, W8
    d_M, d_w_memory, d_erase, d_write = erase_and_add_backward(d_M, cache.memory)  # J3
    d_a, d_c, d_g_a, d_g_w = addressing.write_weighting_backward(d_w + d_w_link + d_w_memory, cache.weighting)  # J2: W6
    d_M_content, d_key, d_strength = addressing.content_weighting_backward(d_c[:, None], cache.content)  # J2: W1, W2
    d_u = d_u + addressing.allocation_backward(d_a, cache.allocation)  # J2: W5
    d_u, d_w, d_f, d_w_r_usage = addressing.usage_backward(d_u, cache.usage)  # J2: W3, W4
    d_memory = Memory(d_M + d_M_content, d_u, d_L, d_p, d_w, d_w_r + d_w_r_usage)
    return d_memory, WriteInterface(d_key, d_strength, d_erase, d_write, d_f, d_g_a, d_g_w)


class ReadHeadsCache(NamedTuple):
    content: tuple
    weighting: tuple
    M: np.ndarray    # (B, N, W)
    w_r: np.ndarray  # (B, R, N), the new ones


def read_heads(memory, interface):
    """J4 and J5: memory, ReadInterface -> (what is read (B, R, W), memory'), cache. Of the memory, w_r alone is new."""
    c, content_cache = addressing.content_weighting(memory.M, interface.key, interface.strength)  # J4: W1, W2
    w_r, weighting_cache = addressing.read_weighting(memory.L, memory.w_r, c, interface.mode)  # J4: W9, W10
    read = w_r @ memory.M                                            # J5
    return (read, memory._replace(w_r=w_r)), ReadHeadsCache(content_cache, weighting_cache, memory.M, w_r)


def read_heads_backward(d_out, cache):
    """(d_read (B, R, W), d_memory') -> d_memory, d_interface."""
    d_read, d_memory = d_out
    d_w_r = d_memory.w_r + d_read @ cache.M.swapaxes(1, 2)           # J5
    d_L, d_w_r, d_c, d_mode = addressing.read_weighting_backward(d_w_r, cache.weighting)  # J4: W9, W10
    d_M, d_key, d_strength = addressing.content_weighting_backward(d_c, cache.content)  # J4: W1, W2
    d_M = d_M + cache.w_r.swapaxes(1, 2) @ d_read                    # J5
    return (d_memory._replace(M=d_memory.M + d_M, L=d_memory.L + d_L, w_r=d_w_r),
            ReadInterface(d_key, d_strength, d_mode))


class MemoryAccessCache(NamedTuple):
    split: SplitCache
    write: WriteHeadCache
    read: ReadHeadsCache


def memory_access(xi, memory, grad_through_write=True):
    """J1 to J5. xi (B, interface size), memory -> (what is read (B, R, W), memory'), cache."""
    (reading, writing), split_cache = split_interface(xi, memory.M.shape[2], memory.w_r.shape[1])  # J1
    memory, write_cache = write_head(memory, writing, grad_through_write)  # J2, J3
    out, read_cache = read_heads(memory, reading)                    # J4, J5
    return out, MemoryAccessCache(split_cache, write_cache, read_cache)


def memory_access_backward(d_out, cache):
    """(d_read (B, R, W), d_memory') -> d_xi (B, interface size), d_memory."""
    d_memory, d_reading = read_heads_backward(d_out, cache.read)     # J4, J5
    d_memory, d_writing = write_head_backward(d_memory, cache.write)  # J2, J3
    d_xi, _, _ = split_interface_backward((d_reading, d_writing), cache.split)  # J1
    return d_xi, d_memory
