"""The heads of a differentiable neural computer, one that writes and R that read, and its external memory.

Dims: B memories at once, N slots of W numbers each, R read heads.

    J1   xi -> ReadInterface, WriteInterface                          the fields of both, each brought into its
               range; xi is (B, R W + 3 W + 5 R + 3)
    J2   w' = write weighting of M, and usage, links and precedence   W1 to W8
    J3   M' = M (1 - w' e^T) + w' v^T                                 erase and add, (B, N, W)
    J4   w'_r = read weighting of M'                                  W1, W2, W9, W10
    J5   r_r = M'^T w'_r                                              the reads, (B, R, W)

The write comes before the read: the read heads use the memory and the links after the write of the same step.

Source: Graves et al. 2016, Methods. There the read modes come last in xi.
Twin: compiled/heads.py.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from ..checks import require_shape
from . import addressing
from .activations import oneplus, oneplus_backward, sigmoid, sigmoid_backward, softmax, softmax_backward


class ReadInterface(NamedTuple):
    """The parameters that the controller emits for the read heads."""

    key: np.ndarray       # (B, R, W)
    strength: np.ndarray  # (B, R), > 1
    mode: np.ndarray      # (B, R, 3), on the simplex, in the order backward, content, forward


class WriteInterface(NamedTuple):
    """The parameters that the controller emits for the write head."""

    key: np.ndarray              # (B, 1, W)
    strength: np.ndarray         # (B, 1), > 1
    erase: np.ndarray            # (B, W), in (0, 1)
    write: np.ndarray            # (B, W)
    free_gate: np.ndarray        # (B, R), in (0, 1), how far to free the slots that were read
    allocation_gate: np.ndarray  # (B,), in (0, 1), how far to write to free slots instead of by content
    write_gate: np.ndarray       # (B,), in (0, 1), how much to write


ONEPLUS, SIGMOID, SOFTMAX = (oneplus, oneplus_backward), (sigmoid, sigmoid_backward), (softmax, softmax_backward)
# The pair that brings each field into its range, in the order of xi.
RANGES: tuple[tuple[Callable[..., Any], Callable[..., Any]] | None, ...] = (
    None, ONEPLUS, SOFTMAX, None, ONEPLUS, SIGMOID, None, SIGMOID, SIGMOID, SIGMOID,
)


def interface_shapes(word: int, heads: int) -> tuple[tuple[int, ...], ...]:
    """The shapes of the fields of both interfaces, without B, in the order of xi."""
    W, R = word, heads
    return (R, W), (R,), (R, 3), (1, W), (1,), (W,), (W,), (R,), (), ()


def interface_size(word: int, heads: int) -> int:
    """The size of xi: R W + 3 W + 5 R + 3."""
    return sum(int(np.prod(shape)) for shape in interface_shapes(word, heads))


class Memory(NamedTuple):
    """The external memory, and the state of its heads."""

    M: np.ndarray    # (B, N, W)
    u: np.ndarray    # (B, N), usage
    L: np.ndarray    # (B, N, N), temporal links
    p: np.ndarray    # (B, N), precedence
    w: np.ndarray    # (B, N), write weighting
    w_r: np.ndarray  # (B, R, N), read weightings


def memory_initial_state(B: int, slots: int, word: int, heads: int, dtype: DTypeLike = np.float64) -> Memory:
    """The Memory before the first step, all zeros."""
    shapes = (slots, word), (slots,), (slots, slots), (slots,), (slots,), (heads, slots)
    return Memory(*(np.zeros((B, *shape), dtype) for shape in shapes))


class SplitCache(NamedTuple):
    caches: tuple[Any, ...]  # one for each field, None for a field that may have any value


def split_interface(
    xi: np.ndarray, word: int, heads: int
) -> tuple[tuple[ReadInterface, WriteInterface], SplitCache]:
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


def split_interface_backward(
    d_out: tuple[ReadInterface, WriteInterface], cache: SplitCache
) -> tuple[np.ndarray, None, None]:
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


def erase_and_add(
    M: np.ndarray, w: np.ndarray, erase: np.ndarray, write: np.ndarray
) -> tuple[np.ndarray, EraseAndAddCache]:
    """J3. M (B, N, W), w (B, N), erase (B, W), write (B, W) -> M', cache. Raises ValueError on other shapes."""
    require_shape("M", M, B=None, N=None, W=None)
    B, N, W = M.shape
    require_shape("w", w, B=B, N=N)
    require_shape("erase", erase, B=B, W=W)
    require_shape("write", write, B=B, W=W)
    w = w[:, :, None]
    return M * (1 - w * erase[:, None]) + w * write[:, None], EraseAndAddCache(M, w[:, :, 0], erase, write)  # J3


def erase_and_add_backward(
    d_M_new: np.ndarray, cache: EraseAndAddCache
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """d_M' (B, N, W) -> d_M (B, N, W), d_w (B, N), d_erase (B, W), d_write (B, W)."""
    M, w, erase, write = cache
    d_M = d_M_new * (1 - w[:, :, None] * erase[:, None])             # J3
    erased = d_M_new * M
    d_w = (d_M_new @ write[:, :, None] - erased @ erase[:, :, None])[:, :, 0]  # J3
    d_erase = -(w[:, None] @ erased)[:, 0]                           # J3
    return d_M, d_w, d_erase, (w[:, None] @ d_M_new)[:, 0]           # J3


class WriteHeadCache(NamedTuple):
    usage: addressing.UsageCache
    allocation: addressing.AllocationCache
    content: addressing.ContentCache
    weighting: addressing.WriteWeightingCache
    memory: EraseAndAddCache
    link: addressing.LinkCache


def write_head(
    memory: Memory, interface: WriteInterface, grad_through_write: bool = True
) -> tuple[Memory, WriteHeadCache]:
    """J2 and J3: decide where to write, and write. memory, WriteInterface -> memory', cache.

    The read weightings stay as they are. ``grad_through_write`` is explained in `usage`.
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


def write_head_backward(d_memory_new: Memory, cache: WriteHeadCache) -> tuple[Memory, WriteInterface]:
    """d_memory' -> d_memory, d_interface. The steps of the forward pass are taken in reverse order."""
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
    content: addressing.ContentCache
    weighting: addressing.ReadWeightingCache
    M: np.ndarray    # (B, N, W)
    w_r: np.ndarray  # (B, R, N), after the step


def read_heads(memory: Memory, interface: ReadInterface) -> tuple[tuple[np.ndarray, Memory], ReadHeadsCache]:
    """J4 and J5. memory, ReadInterface -> (reads (B, R, W), memory'), cache. Only w_r of the memory changes."""
    c, content_cache = addressing.content_weighting(memory.M, interface.key, interface.strength)  # J4: W1, W2
    w_r, weighting_cache = addressing.read_weighting(memory.L, memory.w_r, c, interface.mode)  # J4: W9, W10
    read = w_r @ memory.M                                            # J5
    return (read, memory._replace(w_r=w_r)), ReadHeadsCache(content_cache, weighting_cache, memory.M, w_r)


def read_heads_backward(
    d_out: tuple[np.ndarray, Memory], cache: ReadHeadsCache
) -> tuple[Memory, ReadInterface]:
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


def memory_access(
    xi: np.ndarray, memory: Memory, grad_through_write: bool = True
) -> tuple[tuple[np.ndarray, Memory], MemoryAccessCache]:
    """J1 to J5. xi (B, interface size), memory -> (reads (B, R, W), memory'), cache."""
    (reading, writing), split_cache = split_interface(xi, memory.M.shape[2], memory.w_r.shape[1])  # J1
    memory, write_cache = write_head(memory, writing, grad_through_write)  # J2, J3
    out, read_cache = read_heads(memory, reading)                    # J4, J5
    return out, MemoryAccessCache(split_cache, write_cache, read_cache)


def memory_access_backward(
    d_out: tuple[np.ndarray, Memory], cache: MemoryAccessCache
) -> tuple[np.ndarray, Memory]:
    """(d_read (B, R, W), d_memory') -> d_xi (B, interface size), d_memory."""
    d_memory, d_reading = read_heads_backward(d_out, cache.read)     # J4, J5
    d_memory, d_writing = write_head_backward(d_memory, cache.write)  # J2, J3
    d_xi, _, _ = split_interface_backward((d_reading, d_writing), cache.split)  # J1
    return d_xi, d_memory
