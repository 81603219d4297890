"""Addressing in a differentiable neural computer: the weightings that say where to write and where to read.

Dims: B memories at once, N slots of W numbers each, R read heads, K keys of a content lookup.

    W1   s_ki = key_k . M_i / (|key_k| |M_i|)                         similarity; |a| = sqrt(a . a + epsilon)
    W2   c_k = softmax(beta_k s_k)                                    content weighting, (B, K, N)
    W3   psi_i = prod_r (1 - f_r w_ri)                                retention, (B, N)
    W4   u'_i = (u_i + w_i - u_i w_i) psi_i                           usage, (B, N)
    W5   a_pi(k) = (1 - u_pi(k)) prod_{j < k} u_pi(j)                 allocation, (B, N); pi sorts u, smallest first
    W6   w' = g_w (g_a a + (1 - g_a) c)                               write weighting, (B, N)
    W7   L'_ij = (1 - w'_i - w'_j) L_ij + w'_i p_j,   L'_ii = 0       temporal links: i was written after j, (B, N, N)
    W8   p' = (1 - sum_i w'_i) p + w'                                 precedence: what was written last, (B, N)
    W9   forward_r = L' w_r,   backward_r = L'^T w_r                  (B, R, N)
    W10  w'_r = m_r1 backward_r + m_r2 c_r + m_r3 forward_r           read weighting, (B, R, N)

A weighting is a row of numbers in [0, 1] whose sum is at most 1.

Ties: the sort in W5 is stable, so slots of equal usage are allocated in the order of their numbers. At the first step
all slots are tied, and slot 0 is taken. At a tie W5 has no derivative, because two slots that change places in the
order exchange their shares abruptly. The backward pass then differentiates W5 for the order that was used.

Source: Graves et al. 2016, Methods. The epsilon in W1 is our choice: Graves et al. divide by the norms alone, which is
not possible for rows of zeros, as at the start.
"""

from typing import NamedTuple

import numpy as np

from ..checks import require_shape
from .activations import SoftmaxCache, softmax, softmax_backward

EPSILON = 1e-6


class ContentCache(NamedTuple):
    M: np.ndarray         # (B, N, W)
    key: np.ndarray       # (B, K, W)
    beta: np.ndarray      # (B, K)
    norm_M: np.ndarray    # (B, N)
    norm_key: np.ndarray  # (B, K)
    s: np.ndarray         # (B, K, N)
    softmax: SoftmaxCache


def content_weighting(M: np.ndarray, key: np.ndarray, beta: np.ndarray) -> tuple[np.ndarray, ContentCache]:
    """W1 and W2. M (B, N, W), key (B, K, W), beta (B, K) -> c (B, K, N), cache. Raises ValueError on other shapes."""
    require_shape("M", M, B=None, N=None, W=None)
    B, _, W = M.shape
    require_shape("key", key, B=B, K=None, W=W)
    require_shape("beta", beta, B=B, K=key.shape[1])
    norm_M, norm_key = (np.sqrt((a * a).sum(axis=2) + M.dtype.type(EPSILON)) for a in (M, key))  # W1
    s = key @ M.swapaxes(1, 2) / (norm_key[:, :, None] * norm_M[:, None])  # W1
    c, softmax_cache = softmax(beta[:, :, None] * s)                 # W2
    return c, ContentCache(M, key, beta, norm_M, norm_key, s, softmax_cache)


def content_weighting_backward(d_c: np.ndarray, cache: ContentCache) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """d_c (B, K, N) -> d_M (B, N, W), d_key (B, K, W), d_beta (B, K)."""
    M, key, beta, norm_M, norm_key, s, softmax_cache = cache
    d_sharp = softmax_backward(d_c, softmax_cache)                   # W2
    d_beta = (d_sharp * s).sum(axis=2)                               # W2
    d_s = d_sharp * beta[:, :, None]                                 # W2
    d_dot = d_s / (norm_key[:, :, None] * norm_M[:, None])           # W1
    d_s_s = d_s * s
    d_M = d_dot.swapaxes(1, 2) @ key - (d_s_s.sum(axis=1) / norm_M**2)[:, :, None] * M  # W1
    d_key = d_dot @ M - (d_s_s.sum(axis=2) / norm_key**2)[:, :, None] * key  # W1
    return d_M, d_key, d_beta


class UsageCache(NamedTuple):
    u: np.ndarray     # (B, N)
    w: np.ndarray     # (B, N)
    f: np.ndarray     # (B, R)
    w_r: np.ndarray   # (B, R, N)
    keep: np.ndarray  # (B, R, N), the factors of W3
    psi: np.ndarray   # (B, N)
    grad_through_write: bool


def usage(
    u: np.ndarray, w: np.ndarray, f: np.ndarray, w_r: np.ndarray, grad_through_write: bool = True
) -> tuple[np.ndarray, UsageCache]:
    """W3 and W4. u (B, N), w (B, N), free gates f (B, R), w_r (B, R, N) -> u', cache.

    w and w_r are the weightings of the previous step. ``grad_through_write=False`` stops the gradient at w, as a
    well-known public implementation does. Raises ValueError on other shapes.
    """
    require_shape("u", u, B=None, N=None)
    B, N = u.shape
    require_shape("w", w, B=B, N=N)
    require_shape("f", f, B=B, R=None)
    require_shape("w_r", w_r, B=B, R=f.shape[1], N=N)
    keep = 1 - f[:, :, None] * w_r                                   # W3
    psi = keep.prod(axis=1)                                          # W3
    return (u + w - u * w) * psi, UsageCache(u, w, f, w_r, keep, psi, grad_through_write)  # W4


def usage_backward(
    d_u_new: np.ndarray, cache: UsageCache
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """d_u' (B, N) -> d_u (B, N), d_w (B, N), d_f (B, R), d_w_r (B, R, N)."""
    u, w, f, w_r, keep, psi, grad_through_write = cache
    d_u = d_u_new * (1 - w) * psi                                    # W4
    d_w = d_u_new * (1 - u) * psi if grad_through_write else np.zeros_like(w)  # W4
    d_psi = d_u_new * (u + w - u * w)                                # W4
    # The product of all factors except one. Dividing the whole product by that one would fail where it is 0.
    ones = np.ones_like(keep[:, :1])
    before = np.cumprod(np.concatenate([ones, keep[:, :-1]], axis=1), axis=1)
    after = np.cumprod(np.concatenate([ones, keep[:, :0:-1]], axis=1), axis=1)[:, ::-1]
    d_keep = d_psi[:, None] * before * after                         # W3
    return d_u, d_w, -(d_keep * w_r).sum(axis=2), -d_keep * f[:, :, None]  # W3


class AllocationCache(NamedTuple):
    order: np.ndarray   # (B, N), the slots from the least used to the most used
    u: np.ndarray       # (B, N), the usages in this order
    before: np.ndarray  # (B, N), the product of all usages earlier in this order


def allocation(u: np.ndarray) -> tuple[np.ndarray, AllocationCache]:
    """W5. u (B, N) -> a (B, N), cache. Raises ValueError on other shapes."""
    require_shape("u", u, B=None, N=None)
    order = np.argsort(u.real, axis=1, kind="stable")
    u = np.take_along_axis(u, order, axis=1)
    before = np.cumprod(np.concatenate([np.ones_like(u[:, :1]), u[:, :-1]], axis=1), axis=1)  # W5
    a = np.empty_like(u)
    np.put_along_axis(a, order, (1 - u) * before, axis=1)            # W5
    return a, AllocationCache(order, u, before)


def allocation_backward(d_a: np.ndarray, cache: AllocationCache) -> np.ndarray:
    """d_a (B, N) -> d_u (B, N). It starts at the most used slot, and divides by no usage, as a usage may be 0."""
    order, u, before = cache
    d_a = np.take_along_axis(d_a, order, axis=1)
    d_u, later = np.empty_like(u), np.zeros_like(u[:, 0])
    for k in reversed(range(u.shape[1])):
        d_u[:, k] = before[:, k] * (later - d_a[:, k])               # W5
        later = d_a[:, k] * (1 - u[:, k]) + u[:, k] * later          # W5
    d = np.empty_like(d_u)
    np.put_along_axis(d, order, d_u, axis=1)
    return d


class WriteWeightingCache(NamedTuple):
    a: np.ndarray    # (B, N)
    c: np.ndarray    # (B, N)
    g_a: np.ndarray  # (B, 1)
    g_w: np.ndarray  # (B, 1)


def write_weighting(
    a: np.ndarray, c: np.ndarray, g_a: np.ndarray, g_w: np.ndarray
) -> tuple[np.ndarray, WriteWeightingCache]:
    """W6. Allocation a (B, N), content c (B, N), allocation gate g_a (B,), write gate g_w (B,) -> w' (B, N), cache.

    Raises ValueError on other shapes.
    """
    require_shape("a", a, B=None, N=None)
    require_shape("c", c, B=len(a), N=a.shape[1])
    require_shape("g_a", g_a, B=len(a))
    require_shape("g_w", g_w, B=len(a))
    g_a, g_w = g_a[:, None], g_w[:, None]
    return g_w * (g_a * a + (1 - g_a) * c), WriteWeightingCache(a, c, g_a, g_w)  # W6


def write_weighting_backward(
    d_w: np.ndarray, cache: WriteWeightingCache
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """d_w' (B, N) -> d_a (B, N), d_c (B, N), d_g_a (B,), d_g_w (B,)."""
    a, c, g_a, g_w = cache
    d_mix = d_w * g_w                                                # W6
    d_g_w = (d_w * (g_a * a + (1 - g_a) * c)).sum(axis=1)            # W6
    d_g_a = (d_mix * (a - c)).sum(axis=1)                            # W6
    return d_mix * g_a, d_mix * (1 - g_a), d_g_a, d_g_w              # W6


class LinkCache(NamedTuple):
    L: np.ndarray  # (B, N, N)
    p: np.ndarray  # (B, N)
    w: np.ndarray  # (B, N)


def temporal_link(
    L: np.ndarray, p: np.ndarray, w: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], LinkCache]:
    """W7 and W8. L (B, N, N), p (B, N), new write weighting w (B, N) -> (L', p'), cache.

    The diagonal of L' is 0, and L' depends on p, not on p'. Raises ValueError on other shapes.
    """
    require_shape("L", L, B=None, N=None, M=None)
    B, N, _ = L.shape
    require_shape("L", L, B=B, N=N, M=N)
    require_shape("p", p, B=B, N=N)
    require_shape("w", w, B=B, N=N)
    after, earlier = w[:, :, None], w[:, None]
    L_new = (1 - after - earlier) * L + after * p[:, None]           # W7
    L_new[:, range(N), range(N)] = 0                                 # W7
    return (L_new, (1 - w.sum(axis=1, keepdims=True)) * p + w), LinkCache(L, p, w)  # W8


def temporal_link_backward(
    d_out: tuple[np.ndarray, np.ndarray], cache: LinkCache
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(d_L' (B, N, N), d_p' (B, N)) -> d_L, d_p (B, N), d_w (B, N)."""
    d_L_new, d_p_new = d_out
    L, p, w = cache
    N = p.shape[1]
    d_L_new = d_L_new.copy()
    d_L_new[:, range(N), range(N)] = 0                               # W7
    d_L = (1 - w[:, :, None] - w[:, None]) * d_L_new                 # W7
    moved = d_L_new * L
    d_w = (d_L_new @ p[:, :, None])[:, :, 0] - moved.sum(axis=2) - moved.sum(axis=1)  # W7
    d_p = (w[:, None] @ d_L_new)[:, 0]                               # W7
    d_w = d_w + d_p_new - (d_p_new * p).sum(axis=1, keepdims=True)   # W8
    return d_L, d_p + (1 - w.sum(axis=1, keepdims=True)) * d_p_new, d_w  # W8


class ReadWeightingCache(NamedTuple):
    L: np.ndarray         # (B, N, N)
    w: np.ndarray         # (B, R, N)
    c: np.ndarray         # (B, R, N)
    modes: np.ndarray     # (B, R, 3)
    forward: np.ndarray   # (B, R, N)
    backward: np.ndarray  # (B, R, N)


def read_weighting(
    L: np.ndarray, w: np.ndarray, c: np.ndarray, modes: np.ndarray
) -> tuple[np.ndarray, ReadWeightingCache]:
    """W9 and W10. L (B, N, N), previous weightings w (B, R, N), content c (B, R, N), modes (B, R, 3) -> w', cache.

    The modes come in the order backward, content, forward. Raises ValueError on other shapes.
    """
    require_shape("w", w, B=None, R=None, N=None)
    B, R, N = w.shape
    require_shape("L", L, B=B, N=N, M=N)
    require_shape("c", c, B=B, R=R, N=N)
    require_shape("modes", modes, B=B, R=R, modes=3)
    forward, backward = w @ L.swapaxes(1, 2), w @ L                  # W9
    back, content, on = (modes[:, :, k, None] for k in range(3))
    return back * backward + content * c + on * forward, ReadWeightingCache(L, w, c, modes, forward, backward)  # W10


def read_weighting_backward(
    d_w_new: np.ndarray, cache: ReadWeightingCache
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """d_w' (B, R, N) -> d_L (B, N, N), d_w (B, R, N), d_c (B, R, N), d_modes (B, R, 3)."""
    L, w, c, modes, forward, backward = cache
    back, content, on = (modes[:, :, k, None] for k in range(3))
    d_modes = np.stack([(d_w_new * m).sum(axis=2) for m in (backward, c, forward)], axis=2)  # W10
    d_backward, d_forward = back * d_w_new, on * d_w_new             # W10
    d_L = d_forward.swapaxes(1, 2) @ w + w.swapaxes(1, 2) @ d_backward  # W9
    return d_L, d_forward @ L + d_backward @ L.swapaxes(1, 2), content * d_w_new, d_modes  # W9, W10
