"""The differentiable neural computer, from its weightings to a whole sequence."""

from functools import partial

import numpy as np

from ..learned import cells, sequence
from ..ops import activations, addressing, dnc, heads
from .operation import Operation, nonzero_array, normal, one_array, size_cases, times


def _weightings(rng, *shape):
    """Rows of numbers in (0, 1) whose sums are below 1 and differ."""
    return rng.uniform(0.3, 0.95, (*shape[:-1], 1)) * rng.dirichlet(np.ones(shape[-1]), shape[:-1])


def _content(rng, B=2, K=2, N=4, W=3, size=1.0, sharp=3.0):
    return size * normal(rng, B, N, W), normal(rng, B, K, W), rng.uniform(1.0, sharp, (B, K))


def _content_of_nothing(rng, key=1.0):
    M, k, beta = _content(rng)
    return np.zeros_like(M), key * k, beta


def _usage(rng, B=2, R=3, N=4):
    return rng.uniform(0.1, 0.9, (B, N)), _weightings(rng, B, N), rng.random((B, R)), _weightings(rng, B, R, N)


def _usage_at_the_ends(rng):
    """Gates of exactly 0 and 1, and read weightings of exactly 1, so that factors of W3 are 0."""
    u, w, _, w_r = _usage(rng, N=3, R=2)
    w_r[:, 0], w_r[1, 1] = np.eye(3)[0], np.eye(3)[0]
    return np.array([[0.0, 1.0, 0.3]] * 2), w, np.array([[1.0, 0.0], [1.0, 1.0]]), w_r


def _spread(rng, B=2, N=4):
    """Usages, with no two in a row near each other."""
    return rng.permuted(np.tile((np.arange(N) + 0.5) / N, (B, 1)), axis=1) + rng.uniform(-0.1, 0.1, (B, N)) / N


def _write_weighting(rng, B=2, N=4, gates=None):
    gates = rng.random((2, B)) if gates is None else np.full((2, B), gates)
    return _weightings(rng, B, N), _weightings(rng, B, N), *gates


def _link(rng, B=2, N=4):
    L = _weightings(rng, B, N, N) * (1 - np.eye(N))
    return L, _weightings(rng, B, N), _weightings(rng, B, N)


def _read_weighting(rng, B=2, R=2, N=4):
    return _link(rng, B, N)[0], _weightings(rng, B, R, N), _weightings(rng, B, R, N), rng.dirichlet(np.ones(3), (B, R))


def _erase_and_add(rng, B=2, N=4, W=3, gate=None):
    erase = rng.random((B, W)) if gate is None else np.full((B, W), gate)
    return normal(rng, B, N, W), _weightings(rng, B, N), erase, normal(rng, B, W)


def _memory(rng, B=2, N=4, W=3, R=2):
    L, p, w = _link(rng, B, N)
    return heads.Memory(normal(rng, B, N, W), _spread(rng, B, N), L, p, 0.1 * w / N, 0.1 * _weightings(rng, B, R, N))


def _xi(rng, B=2, W=3, R=2):
    return normal(rng, B, heads.interface_size(W, R))


def _interfaces(rng, B=2, W=3, R=2):
    return heads.split_interface(_xi(rng, B, W, R), W, R)[0]


def _read_heads(rng, **sizes):
    return _memory(rng, **sizes), _interfaces(rng, **{k: v for k, v in sizes.items() if k != "N"})[0]


def _write_head(rng, **sizes):
    return _memory(rng, **sizes), _interfaces(rng, **{k: v for k, v in sizes.items() if k != "N"})[1]


def _memory_access(rng, **sizes):
    return _xi(rng, **{k: v for k, v in sizes.items() if k != "N"}), _memory(rng, **sizes)


def _dnc(rng, B=2, D=2, H=3, N=4, W=3, R=2):
    memory = _memory(rng, B, N, W, R)
    output = np.tanh(normal(rng, B, H + R * W))
    return normal(rng, B, D), dnc.DNCState(output, normal(rng, B, H), memory), dnc.dnc_init(rng, D, H, W, R)


def _sequence(rng, B=2, T=4, D=2, K=3, H=3, cell=None):
    cell = cell or cells.LSTM
    asked = np.arange(T) >= T // 2
    return (normal(rng, B, T, D), rng.integers(0, 2, (B, T, K)), asked, sequence.sequence_init(rng, D, K, H, cell))


def _loss_of_sequence(x, y, asked, params, cell=cells.LSTM):
    """`sequence` with the loss as its only output."""
    (L, _, _), cache = sequence.sequence(x, y, asked, params, cell)
    return L, cache


_loss_of_sequence_backward = sequence.sequence_backward

GRAVES = "Graves et al. 2016, Methods"


OPERATIONS = (
    Operation(
        "oneplus", activations.oneplus, one_array(3, 4),
        r"b = 1 + \log(1 + e^x)", GRAVES,
        cases={
            "saturated": times(30, one_array(5)),
            "tied": lambda rng: (np.array([0.0, -0.0, 0.0]),),
            "tiny": times(1e-8, one_array(5)),
            "huge": times(1e4, nonzero_array),
            "one entry": one_array(1),
            "empty": one_array(0, 3),
        },
    ),
    Operation(
        "content_weighting", addressing.content_weighting, _content,
        r"c = \text{softmax}(\beta s) \qquad s_i = \dfrac{k \cdot M_i}{\ell_k \ell_i}", GRAVES,
        cases={
            "empty slots": _content_of_nothing,
            "nothing to look for": partial(_content_of_nothing, key=0.0),
            "sharp": partial(_content, sharp=30.0),
            "huge": partial(_content, size=1e4),
            "one memory": partial(_content, B=1, K=1),
            "one slot": partial(_content, N=1),
            "empty": partial(_content, B=0),
        },
    ),
    Operation(
        "usage", addressing.usage, _usage,
        r"u' = (u + w - u w) \prod_r \ (1 - f_r w_r)", GRAVES,
        cases={
            "gates of 0 and 1": _usage_at_the_ends,
            "one memory": partial(_usage, B=1),
            "one slot": partial(_usage, N=1),
            "one read head": partial(_usage, R=1),
            "empty": partial(_usage, B=0),
        },
    ),
    Operation(
        "allocation", addressing.allocation, lambda rng: (_spread(rng),),
        r"a_{\pi_k} = (1 - u_{\pi_k}) \prod_{j < k} \ u_{\pi_j} \qquad \pi = \text{stable argsort of} \ u", GRAVES,
        cases={
            "0 and 1": lambda rng: (np.array([[0.0, 0.4, 1.0], [1.0, 0.0, 0.5]]),),
            "tied at 1": lambda rng: (np.array([[1.0, 0.4, 1.0]]),),
            "one memory": lambda rng: (_spread(rng, B=1),),
            "one slot": lambda rng: (_spread(rng, N=1),),
            "sixteen slots": lambda rng: (_spread(rng, N=16),),
            "empty": lambda rng: (_spread(rng, B=0),),
        },
    ),
    Operation(
        "write_weighting", addressing.write_weighting, _write_weighting,
        r"w = g_w (g_a a + (1 - g_a) c)", GRAVES,
        cases={
            "gates of 0": partial(_write_weighting, gates=0.0),
            "gates of 1": partial(_write_weighting, gates=1.0),
            "one memory": partial(_write_weighting, B=1),
            "one slot": partial(_write_weighting, N=1),
            "empty": partial(_write_weighting, B=0),
        },
    ),
    Operation(
        "temporal_link", addressing.temporal_link, _link,
        r"L_{ij}' = (1 - w_i - w_j) L_{ij} + w_i p_j \qquad p' = (1 - \sum_i \ w_i) p + w", GRAVES,
        cases={
            "one memory": partial(_link, B=1),
            "one slot": partial(_link, N=1),
            "empty": partial(_link, B=0),
        },
    ),
    Operation(
        "read_weighting", addressing.read_weighting, _read_weighting,
        r"w' = m_1 L^T w + m_2 c + m_3 L w", GRAVES,
        cases={
            "one memory": partial(_read_weighting, B=1),
            "one slot": partial(_read_weighting, N=1),
            "one read head": partial(_read_weighting, R=1),
            "empty": partial(_read_weighting, B=0),
        },
    ),
    Operation(
        "split_interface", heads.split_interface, lambda rng: (_xi(rng), 3, 2),
        r"\xi \to \text{oneplus, sigmoid and softmax of its parts}", GRAVES,
        cases={
            "saturated": times(30, lambda rng: (_xi(rng), 3, 2)),
            "one memory": lambda rng: (_xi(rng, B=1), 3, 2),
            "one read head": lambda rng: (_xi(rng, R=1), 3, 1),
            "empty": lambda rng: (_xi(rng, B=0), 3, 2),
        },
    ),
    Operation(
        "erase_and_add", heads.erase_and_add, _erase_and_add,
        r"M' = M (1 - w e^T) + w v^T", GRAVES,
        cases={
            "nothing erased": partial(_erase_and_add, gate=0.0),
            "all erased": partial(_erase_and_add, gate=1.0),
            "one memory": partial(_erase_and_add, B=1),
            "one slot": partial(_erase_and_add, N=1),
            "empty": partial(_erase_and_add, B=0),
        },
    ),
    Operation(
        "write_head", heads.write_head, _write_head,
        r"M', u', L', p', w' = \text{write}(M, u, L, p, w, w_r; \text{interface})", GRAVES,
        cases=size_cases(_write_head),
    ),
    Operation(
        "read_heads", heads.read_heads, _read_heads,
        r"w_r' = \text{read weighting}(M', L') \qquad r = M'^T w_r'", GRAVES, cases=size_cases(_read_heads),
    ),
    Operation(
        "memory_access", heads.memory_access, _memory_access,
        r"r, \text{memory}' = \text{read}(\text{write}(\text{memory}; \xi); \xi)", GRAVES,
        cases=size_cases(_memory_access),
    ),
    Operation(
        "dnc_cell", dnc.dnc_cell, _dnc,
        r"h' = \text{lstm}((x, r), h) \qquad \xi = h' W + b \qquad r' = \text{memory access}(\xi)", GRAVES,
        cases={**size_cases(_dnc), "no input": partial(_dnc, D=0)},
    ),
    Operation(
        "sequence", _loss_of_sequence, _sequence,
        r"s_{t+1} = \text{cell}(x_t, s_t) \qquad L = \text{mean} \ l(h_{t+1} W + b, y_t)", "definition",
        cases={
            "one sequence": partial(_sequence, B=1),
            "one step": partial(_sequence, T=1),
            "one bit": partial(_sequence, K=1),
            "empty": partial(_sequence, B=0),
        },
    ),
)
